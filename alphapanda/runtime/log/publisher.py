"""What a worker writes: its outputs, or a comparison where they are in the log already, and promises after them.

Outputs and promises leave without waiting for their acknowledgement; `flush` waits. What the own partitions hold beyond a
snapshot's frontier is worked out again and compared instead of sent: other bytes stop the service, so every restart is
also a test of determinism.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from alphapanda.contracts.codec import encode, key_of
from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import Event, Pos
from alphapanda.pipeline import FEATURES, FILLED, GENERATED, PLACED, VALIDATED
from alphapanda.runtime.log.control import FIRST, Progress, Seq, encode_control
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, Partition
from alphapanda.runtime.log.reader import PartitionReader
from alphapanda.runtime.log.start import claimed_in

NS_PER_MS = 1_000_000
LIVE_S = 60.0
"""An order younger than this left in a live session, not in a replay of an old one."""
URGENT = frozenset({FEATURES, GENERATED, VALIDATED})
"""Topics that a stage on the way from tick to order joins: promised after every batch. The others can wait a little."""


class Publisher:
    """One worker's end of its output partitions. Not for two threads."""

    def __init__(self, log: Log, partitioning: Partitioning, partitions: Collection[Partition], delay_ns: int) -> None:
        self._log, self._partitioning, self.partitions = log, partitioning, list(partitions)
        self.writer = log.writer()
        self._lazy_ns = delay_ns // 4
        self._written: dict[Partition, dict[Pos, bytes]] = {partition: {} for partition in partitions}
        self._promised: dict[Partition, tuple[Seq, int]] = dict.fromkeys(partitions, (FIRST, -1))
        self.compared = 0
        self.sent = Counter[str]()  # events by topic
        self.latencies: dict[str, list[float]] = {
            PLACED: [],
            FILLED: [],
        }  # s from the tick, of a live session; the host takes them

    def positions(self) -> dict[Partition, int]:
        """Where the own partitions end: after `flush`, behind all outputs so far."""
        return {partition: end for partition, (_, end) in self._log.bounds(self.partitions).items()}

    def catch_up(self, positions: Mapping[Partition, int], frontier: Seq) -> int:
        """Read what is there of outputs from `frontier` on; returns how many. `positions`: where to read from."""
        bounds = self._log.bounds(self.partitions)
        starts = {partition: max(first, positions.get(partition, 0)) for partition, (first, _) in bounds.items()}
        left = {partition for partition, (_, end) in bounds.items() if starts[partition] < end}
        claimed = claimed_in(self._log)
        readers = {one: PartitionReader(one, self._partitioning, claimed) for one in left}
        source = self._log.reader({partition: starts[partition] for partition in left})
        while left:
            for record in source.poll(1.0):
                event, _ = readers[record.partition].take(record)
                if event is not None and event.pos[:2] >= frontier:
                    self._written[record.partition][event.pos] = record.value
                if record.offset + 1 >= bounds[record.partition][1]:
                    left.discard(record.partition)
        source.close()
        return sum(map(len, self._written.values()))

    def publish(self, events: Iterable[Event]) -> None:
        """Send outputs, in `pos` order. Raises ContractError where the log holds other bytes for one of them."""
        for event in events:
            line = encode(event)
            for partition in self._partitioning.with_copies(event):
                written = self._written[partition]
                if written and (known := written.pop(event.pos, None)) is not None:
                    self._compare(partition, known, line)
                else:
                    self._send(partition, event, line)

    def _compare(self, partition: Partition, known: bytes, line: bytes) -> None:
        if known != line:
            raise ContractError(
                f"{partition[0]}[{partition[1]}] holds other bytes than a restart makes: stopping before more is written."
                f" In the log: {known.decode(errors='replace')} Now: {line.decode()}"
            )
        self.compared += 1

    def _send(self, partition: Partition, event: Event, line: bytes) -> None:
        data = event.data
        headers = [("pos", event.id.encode())]
        for name in ("exec_mode", "strategy_id"):
            if (value := getattr(data, name, None)) is not None:
                headers.append((name, value.encode()))
        self.writer.send(partition, key_of(data).encode(), line, max(1, event.ts_ns // NS_PER_MS), headers)
        self.sent[partition[0]] += 1
        if partition[0] in self.latencies:
            seconds = time.time() - event.ts_ns / 1e9
            if 0 <= seconds < LIVE_S:
                self.latencies[partition[0]].append(seconds)

    def promise(self, up_to: Seq, ts_ns: int, touched: Collection[int] | None, *, everything: bool = False) -> None:
        """Promise what is finished. `touched`: the feature partitions that someone may wait for, None for all.

        Raises ContractError where the log holds an output below `up_to` that did not come out again.
        """
        for partition in self.partitions:
            promised, at_ns = self._promised[partition]
            if promised >= up_to:
                continue
            topic, number = partition
            urgent = topic in URGENT and (topic != FEATURES or touched is None or number in touched)
            if urgent or everything or ts_ns - at_ns >= self._lazy_ns:
                self._check_missing(partition, up_to)
                self._promised[partition] = up_to, ts_ns
                self.writer.send(partition, None, encode_control(Progress(up_to, ts_ns)), max(1, ts_ns // NS_PER_MS))

    def _check_missing(self, partition: Partition, up_to: Seq) -> None:
        first = next(iter(self._written[partition]), None)
        if first is not None and first[:2] < up_to:
            line = self._written[partition][first].decode(errors="replace")
            raise ContractError(f"{partition[0]}[{partition[1]}] holds an output that a restart does not make: {line}")

    def owes(self, up_to: Seq) -> bool:
        """Whether some partition was not promised all of it."""
        return any(promised < up_to for promised, _ in self._promised.values())
