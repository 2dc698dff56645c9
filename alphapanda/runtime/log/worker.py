"""A service over the log: reads by the one rule, joins by frontier, handles whole seqs, writes outputs and promises.

A worker is a function of its inputs, so its place is one number and two of a kind may run at once: both write the same,
and readers hear each event once. Stages of one process (`PipelineWorker`) read the door alone and hear their inner
topics in memory; one process a stage (`StageWorker`) reads them from the log. Both write the same bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

from alphapanda.contracts.events import Beat, Event, MarketTick
from alphapanda.core.handler import LaneProtocol, run_seq
from alphapanda.core.stretches import Beats, Controls, Stretch, Ticks
from alphapanda.pipeline import COPIES, DOOR, FILLED, STAGES, Stage
from alphapanda.runtime.log.control import Seq
from alphapanda.runtime.log.join import Join
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, LogError, Partition, Record
from alphapanda.runtime.log.publisher import Publisher
from alphapanda.runtime.log.reader import PartitionReader
from alphapanda.runtime.log.snapshots import Snapshot, Snapshots
from alphapanda.runtime.log.start import claimed_in
from alphapanda.runtime.replay import Replay, Rooms

NS_PER_MS = 1_000_000
SEQS_A_BATCH = 4_096


class DeadLetters(Protocol):
    """Where records go that cannot be read."""

    def __call__(self, publisher: Publisher, record: Record, reason: str) -> None:
        """Append the record, before the progress that passes it."""


def topics_of(stages: Sequence[Stage]) -> list[str]:
    """All topics that these stages write, copies included."""
    made = [topic for stage in stages for topic in dict.fromkeys(stage.writes.values())]
    return [*made, *COPIES.values()] if FILLED in made else made


class Worker:
    """What both kinds share. Call `boot`, then `step` again and again, `save` now and then, and `close`."""

    stage: Stage | None = None

    def __init__(
        self, log: Log, partitioning: Partitioning, name: str, *, delay_ms: int, owned: Sequence[Partition],
        listeners: Sequence[LaneProtocol], snapshots: Snapshots, dead_letters: DeadLetters,
    ) -> None:  # fmt: skip
        """`name` is `service.shard`; `owned` are the output partitions."""
        self.log, self.partitioning, self.name, self._snapshots = log, partitioning, name, snapshots
        self._dead_letters, self._delay_ns = dead_letters, delay_ms * NS_PER_MS
        inside = (*self.stage.reads, *self.stage.hears) if self.stage is not None else ()
        claimed = claimed_in(log)
        self.readers = {
            partition: PartitionReader(partition, partitioning, claimed) for partition in partitioning.all((*DOOR, *inside))
        }
        self.join = Join(self.stage, self.readers, partitioning, listeners, self._delay_ns)
        self.publisher = Publisher(log, partitioning, owned, self._delay_ns)
        self.clock_ns, self.handled = 0, 0
        self.dead_reasons: list[str] = []  # of dead letters; the host takes them
        self._touched: set[int] | None = set()

    # ---- starting and ending

    def boot(self) -> None:
        """Go on from the newest snapshot, else from the beginning. Raises LogError where that cannot be right."""
        bounds = self.log.bounds(self.readers)
        snapshot = self._snapshots.newest()
        own = self._resume(snapshot) if snapshot is not None else {}
        self._check_bounds(bounds)
        waiting = self.publisher.catch_up(own, self.join.frontier)
        if snapshot is not None and snapshot.digest != self._snapshots.digest and waiting:
            raise LogError(f"{self._other_code()} The log holds {waiting} later outputs of theirs")
        self._source = self.log.reader({partition: reader.position for partition, reader in self.readers.items()})

    def _resume(self, snapshot: Snapshot) -> Mapping[Partition, int]:
        """Become what the service was; returns where its outputs ended in the log. Raises LogError where that cannot be."""
        try:
            state = snapshot.state()
            self._restore(state)
        except Exception as error:
            if snapshot.digest == self._snapshots.digest:
                raise
            raise LogError(f"{self._other_code()} It does not fit ({type(error).__name__}: {error})") from error
        own: Mapping[Partition, int] = state["own"]
        for partition, (first, end) in self.log.bounds(own).items():
            if not first <= own[partition] <= end:
                raise LogError(
                    f"{self.name}: its snapshot says that {partition[0]}[{partition[1]}] reached {own[partition]}, and it holds"
                    f" {first} to {end} (exclusive): the topic was made anew under this prefix, or retention removed it; remove"
                    f" {self._snapshots.folder} or begin a new topic prefix"
                )
        return own

    def _other_code(self) -> str:
        return (
            f"{self.name}: the snapshot at {self.join.frontier} is of other code, settings or strategies: run the old ones until"
            f" a clean stop, or begin a new topic prefix, or remove {self._snapshots.folder} to work everything out again from"
            " the first record."
        )

    def _check_bounds(self, bounds: Mapping[Partition, tuple[int, int]]) -> None:
        for partition, reader in self.readers.items():
            first, end = bounds[partition]
            if not first <= reader.position <= end:
                raise LogError(
                    f"{self.name}: {partition[0]}[{partition[1]}] holds offsets {first} to {end} (exclusive), and this service"
                    f" goes on at {reader.position}: retention was shorter than the time since its last snapshot, or the topic"
                    f" was made anew; begin a new topic prefix, or remove {self._snapshots.folder}"
                )

    def save(self) -> None:
        """Take a snapshot; it stands only on outputs that are durable."""
        self.publisher.writer.flush()
        self._snapshots.save(self.join.frontier, {
            "readers": {partition: reader.state() for partition, reader in self.readers.items()},
            "join": self.join.state(), "clock_ns": self.clock_ns, "own": self.publisher.positions(), "rooms": self._rooms_state(),
        })  # fmt: skip
        self.log.commit(self.name, {partition: reader.position for partition, reader in self.readers.items()})

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state["readers"].keys() != self.readers.keys():
            raise LogError(f"{self.name}: the snapshot is of other partitions: begin a new topic prefix")
        for partition, kept in state["readers"].items():
            self.readers[partition].restore(kept)
        self.join.restore(state["join"])
        self.clock_ns = state["clock_ns"]
        self._restore_rooms(state["rooms"])

    def close(self) -> None:
        """Promise what is finished, take a snapshot, let go of the log."""
        self._promise(everything=True)
        self.save()
        self.publisher.writer.close()
        self._source.close()

    # ---- going on

    def step(self, timeout_s: float) -> int:
        """Read what is there, waiting up to `timeout_s` for the first record, and handle what is ready; returns how many seqs.

        Raises ContractError, LogError: the service is to stop.
        """
        owes = self.publisher.owes(self.join.frontier)
        records = self._source.poll(min(timeout_s, 0.005) if owes else timeout_s, 1_000)
        readers, receive = self.readers, self.join.receive
        for record in records:
            event, reason = readers[record.partition].take(record)
            if reason is not None:
                self._dead_letters(self.publisher, record, reason)
                self.dead_reasons.append(reason)
            if event is not None:
                receive(record.partition, event)
        handled = self.work()
        self._promise(everything=owes and not records)
        self.publisher.writer.serve()
        return handled

    def _promise(self, *, everything: bool = False) -> None:
        self.publisher.promise(self.join.frontier, self.clock_ns, self._touched, everything=everything)
        self._touched = set()

    def _touch(self, root: Event) -> None:
        """Note which feature partitions later stages may wait for because of this seq."""
        if type(root.data) is not MarketTick:
            self._touched = None
        elif self._touched is not None:
            self._touched.add(self.partitioning.of(root)[1])

    @property
    def frontier(self) -> Seq:
        """Everything below is handled."""
        return self.join.frontier

    @property
    def waits(self) -> bool:
        """Whether something lies there to be done."""
        return bool(self.join.roots)

    def work(self) -> int:
        """Handle the seqs that are ready; returns how many."""
        raise NotImplementedError

    def _rooms_state(self) -> Any:
        raise NotImplementedError

    def _restore_rooms(self, state: Any) -> None:
        raise NotImplementedError


class StageWorker(Worker):
    """One stage, or a shard of it: the lanes whose output partitions it owns."""

    def __init__(
        self, log: Log, partitioning: Partitioning, stage: Stage, lanes: Sequence[Any], shard: Sequence[int], **more: Any
    ) -> None:
        """`lanes` are the whole stage's; `shard` are the partition numbers it owns (of features in stage 1, else lanes')."""
        self.stage = stage
        owned = [partition for partition in partitioning.all(topics_of([stage])) if partition[1] in shard]
        if stage.rank <= 2:
            topic = next(iter(stage.writes.values()))
            lanes = [lane for lane in lanes if partitioning.place(topic, (0, 0, 0, lane.lane, 0)) in shard]
        self.lanes = list(lanes)
        self._by_token = {lane.lane: [lane] for lane in self.lanes} if stage.rank == 1 else None
        listeners = [lane for lane in self.lanes if stage.hears and lane.hears]
        super().__init__(log, partitioning, f"{stage.room}.{shard[0]}", owned=owned, listeners=listeners, **more)

    def work(self) -> int:
        """Handle the seqs that are ready; returns how many."""
        count, stage = 0, self.stage
        assert stage is not None  # noqa: S101  # set above
        while count < SEQS_A_BATCH and (joined := self.join.next()) is not None:
            root = joined.root
            due_ns = root.ts_ns - self._delay_ns
            feedback = self.join.due() if stage.hears else ()
            outputs = run_seq(stage.rank, self._lanes_for(root), joined.inputs, feedback, due_ns)
            if outputs:
                self.publisher.publish(outputs)
            if feedback:
                self.join.forget_heard()
            self.clock_ns = root.ts_ns
            self._touch(root)
            count += 1
        self.handled += count
        return count

    def _lanes_for(self, root: Event) -> Sequence[LaneProtocol]:
        if self._by_token is not None and type(root.data) is MarketTick:
            return self._by_token.get(root.data.instrument_token, ())
        return self.lanes

    def _rooms_state(self) -> Any:
        return [lane.snapshot() for lane in self.lanes]

    def _restore_rooms(self, state: Any) -> None:
        for lane, kept in zip(self.lanes, state, strict=True):
            lane.restore(kept)


class PipelineWorker(Worker):
    """All stages in one process: the replay loop, with every intermediate topic written and none read back."""

    def __init__(self, log: Log, partitioning: Partitioning, rooms: Rooms, **more: Any) -> None:
        self.replay = Replay(rooms, more["delay_ms"], self._emit)
        super().__init__(log, partitioning, "all.0", owned=partitioning.all(topics_of(STAGES)), listeners=(), **more)

    def _emit(self, events: list[Event]) -> None:
        self.publisher.publish(events)

    def work(self) -> int:
        """Handle the seqs that are ready; returns how many."""
        roots = self.join.roots_alone(SEQS_A_BATCH)
        for stretch in stretches(self._heard_of(roots)):
            self.replay.take(stretch)
        if roots:
            self.clock_ns = roots[-1].ts_ns
            self._touched = None
            self.handled += len(roots)
        return len(roots)

    def _heard_of(self, roots: list[Event]) -> list[Event]:
        """The roots without the beats at which nobody says anything."""
        beats = [place for place, root in enumerate(roots) if type(root.data) is Beat]
        heard = set(self.replay.heard_beats([roots[place].ts_ns for place in beats]))
        silent = {place for i, place in enumerate(beats) if i not in heard}
        return [root for place, root in enumerate(roots) if place not in silent] if silent else roots

    def _rooms_state(self) -> Any:
        return self.replay.snapshot()

    def _restore_rooms(self, state: Any) -> None:
        self.replay.restore(state)


def stretches(roots: Iterable[Event]) -> list[Stretch]:
    """Outside events in stretches of one kind."""
    made: list[Stretch] = []
    for (kind, epoch), group in groupby(roots, key=lambda root: (type(root.data), root.pos[0])):
        events = list(group)
        numbers = [event.pos[1] for event in events]
        if kind is MarketTick:
            ticks: list[Any] = [event.data for event in events]
            made.append(Ticks(epoch, numbers, [tick.instrument_token for tick in ticks], ticks))
        elif kind is Beat:
            made.append(Beats(epoch, numbers, [event.ts_ns for event in events]))
        else:
            made.append(Controls(events))
    return made
