"""A tape played into a log: through a real door, and through the replay loop with its outputs where services write them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alphapanda.adapters.file_log import FileLog
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.codec import encode, key_of
from alphapanda.contracts.events import Epoch, Event
from alphapanda.pipeline import OUTPUT_TOPICS
from alphapanda.runtime.container import AppContainer, StrategySpec, named
from alphapanda.runtime.log.control import Progress, Seq, after, encode_control
from alphapanda.runtime.log.door import LogDoor
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, Partition
from alphapanda.runtime.log.reader import PartitionReader
from alphapanda.runtime.log.start import claimed_in
from alphapanda.runtime.replay import Loop
from alphapanda.runtime.settings import load_settings
from strategies.pairs import Pairs
from tests.strategies_for_tests import Inventory, Turner

CONTAINER = AppContainer(load_settings())
BATCH = 500


def specs() -> list[StrategySpec]:
    """A strategy that uses its own fills, one over two instruments, one on features."""
    return named([Turner(), Pairs(symbols=("BANYAN", "CEDAR"), window=20, entry_bps=5), Inventory(symbols=("NEEM",))])


def file_log(folder: Path, tick_partitions: int = 4) -> tuple[FileLog, Partitioning]:
    """A log in a folder, and its partitions."""
    partitioning = Partitioning.of_table(tick_partitions)
    return FileLog(folder, partitioning.counts), partitioning


class Player:
    """One door and one pipeline over a log."""

    def __init__(self, log: Log, partitioning: Partitioning, tape: Tape) -> None:
        self.log, self.partitioning, self.tape = log, partitioning, tape
        self.door = LogDoor(log, partitioning)
        self.writer = log.writer()
        self.loop = Loop(CONTAINER.rooms(tape, specs()).by_stage(), 250_000_000)
        self.outputs = partitioning.all(OUTPUT_TOPICS)

    def play(self, events: Sequence[Event] | None = None) -> Iterator[list[Event]]:
        """Play the tape, or these events; after each batch gives what passed the door. A first epoch event is the door's own."""
        passed: list[Event] = []
        for event in events if events is not None else self.tape.events():
            if isinstance(event.data, Epoch):
                passed.append(self.door.open(event.ts_ns, event.data.reason))
            else:
                passed.append(self.door.enter(event.ts_ns, event.data))
            if len(passed) >= BATCH:
                yield self._settle(passed)
                passed = []
        yield self._settle(passed)
        self.door.flush()

    def _settle(self, passed: list[Event]) -> list[Event]:
        self.door.serve()
        for root in passed:
            self.send(self.loop.step(root))
        if passed:
            self.promise(after(passed[-1].pos[:2]), passed[-1].ts_ns)
        self.writer.flush()
        return passed

    def send(self, made: Sequence[Event]) -> None:
        """Outputs to where they lie."""
        for event in made:
            for partition in self.partitioning.with_copies(event):
                self.writer.send(partition, key_of(event.data).encode(), encode(event), event.ts_ns // 1_000_000)

    def promise(self, up_to: Seq, ts_ns: int) -> None:
        """Progress in every output partition."""
        for partition in self.outputs:
            self.writer.send(partition, None, encode_control(Progress(up_to, ts_ns)), ts_ns // 1_000_000)

    def close(self) -> None:
        """Let go of the log."""
        self.door.close()
        self.writer.close()


def play(log: Log, partitioning: Partitioning, tape: Tape) -> None:
    """Play a whole tape."""
    player = Player(log, partitioning, tape)
    for _ in player.play():
        pass
    player.close()


def heard_in(log: Log, partitioning: Partitioning, partition: Partition) -> list[tuple[int, bytes]]:
    """Offset and line of everything that a reader hears in a partition."""
    first, end = log.bounds([partition])[partition]
    reader, found = PartitionReader(partition, partitioning, claimed_in(log), first), list[tuple[int, bytes]]()
    source = log.reader({partition: first})
    while reader.position < end:
        for record in source.poll(5):
            if reader.take(record).event is not None:
                found.append((record.offset, record.value))
    source.close()
    return found


def lines_of(events: Sequence[Any]) -> list[bytes]:
    """Their wire lines."""
    return [encode(event) for event in events]
