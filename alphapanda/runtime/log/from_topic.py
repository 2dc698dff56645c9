"""A log as a tape: the door's events between two times, seqs or offsets, ready for a replay, or written as a tape.

A time is mapped to one seq by `market.clock`, and all door partitions are sought to it (`clock_index`). What is read is what
the log held when it was opened, up to the last event whose number is known to have no gap before it. A replay from the
middle starts cold: the trading session's earlier session events and commands are handed over first, as from a tape.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from alphapanda.adapters.tape import BeatChoice, Seq, Tape
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.codec import encode_all
from alphapanda.contracts.errors import ConfigurationError, TapeError
from alphapanda.contracts.events import Beat, BrokerUpdate, Epoch, Event, FeedGap, SessionOpen
from alphapanda.core.stretches import Stretch
from alphapanda.pipeline import COMMANDS, DOOR, TICKS
from alphapanda.runtime.container import AppContainer, StrategySpec
from alphapanda.runtime.log.clock_index import ClockIndex
from alphapanda.runtime.log.compact import write_numbered
from alphapanda.runtime.log.control import after, name_of
from alphapanda.runtime.log.door_order import DoorOrder
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, LogError, Partition, Record
from alphapanda.runtime.log.reader import PartitionReader, Unreadable, pos_alone
from alphapanda.runtime.log.start import Start, claimed_in
from alphapanda.runtime.log.worker import stretches
from alphapanda.runtime.replay_run import Finished, Progress, place, run_replay

PATIENCE_S, RECORDS_AT_ONCE = 30.0, 1_000
_NOT_HANDED_OVER = (Beat, Epoch, FeedGap, BrokerUpdate, Unreadable)


class _Placed(NamedTuple):
    """A door event, and where it lay."""

    event: Event
    partition: Partition
    offset: int


class TopicRange(Tape):
    """What a log holds, as a tape. Instruments, profile and columns are those of `market`.

    `digest` is that of what was last read by `runs`; `manifest["ranges"]` says where in the log that lay.
    """

    def __init__(self, log: Log, partitioning: Partitioning, market: Tape, name: str = TICKS) -> None:
        """`name` is what manifests call the place. Raises TapeError where the log is empty."""
        self.path, self.columns, self.beat_interval_s = Path(name), market.columns, market.beat_interval_s
        self.profile, self.instruments = market.profile, market.instruments
        self._log, self._partitioning = log, partitioning
        self._clock = ClockIndex(log, partitioning)
        if self._clock.first is None:
            raise TapeError(f"{name}: no door has written here yet, there is nothing to replay")
        self._first: Seq = self._clock.first
        # After the clock: so an epoch that it tells of is promised within these bounds.
        self._bounds = log.bounds(partitioning.all(DOOR))
        self.digest = hashlib.sha256().hexdigest()
        ticks = (end - first for (topic, _), (first, end) in self._bounds.items() if topic == TICKS)
        self.manifest: dict[str, Any] = {"ticks": sum(ticks), "source": name, "ranges": {}}
        self._controls = [*self._clock.events, *self._commands()]
        self._controls.sort(key=_by_pos)

    def verify(self) -> None:
        """A log has no digests to compare with."""

    @property
    def seqs(self) -> tuple[Seq, Seq]:
        """First seq, and the one after the last that is known to be complete."""
        return self._first, self._end

    @cached_property
    def _end(self) -> Seq:
        end = self._clock.last
        for placed in self._placed(self._clock.start_at(self._clock.time_at(end))):
            end = after(placed.event.pos[:2])
        return end

    def seq_at(self, ts_ns: int) -> Seq:
        """The first seq at or past this door time; the end of the log if there is none."""
        for placed in self._placed(self._clock.start_at(ts_ns)):
            if placed.event.ts_ns >= ts_ns:
                return placed.event.pos[:2]
        return self.seqs[1]

    def seq_at_offset(self, partition: Partition, offset: int) -> Seq:
        """The seq of the first event of a door partition at or after an offset; the end of the log if there is none."""
        if partition not in self._bounds:
            there = ", ".join(map(name_of, self._bounds))
            raise ConfigurationError(f"{name_of(partition)} is no partition of the door: there are {there}")
        for records in self._records({partition: offset}):
            for record in records:
                if record.key is not None and (event := pos_alone(record, "")) is not None:
                    return event.pos[:2]
        return self.seqs[1]

    def events(self, start: Seq | None = None, end: Seq | None = None) -> Iterator[Event]:
        """Everything in [start, end), one event at a time."""
        return (placed.event for placed in self._between(start, end))

    def runs(
        self, start: Seq | None = None, end: Seq | None = None, batch_rows: int = 16_384,
        heard_beats: BeatChoice | None = None, *, read_ahead: bool = False,
    ) -> Iterator[Stretch]:  # fmt: skip
        """Everything in [start, end) in seq order; each run is of one kind, and of at most `batch_rows` events.

        All beats are handed out: `heard_beats` may choose among them, and need not. Logs read ahead in any case.
        """
        for batch in self.batches(start, end, batch_rows):
            yield from stretches(batch)

    def batches(self, start: Seq | None = None, end: Seq | None = None, rows: int = 16_384) -> Iterator[list[Event]]:
        """Everything in [start, end) in seq order, so many events at a time; `digest` and `ranges` are known at the end."""
        sha = hashlib.sha256()
        if start is not None and start > self.seqs[0]:
            _hash(sha, self.earlier_in_session(start))
        ranges: dict[str, dict[str, int]] = {}
        batch: list[Event] = []
        for event, partition, offset in self._between(start, end):
            batch.append(event)
            found = ranges.setdefault(name_of(partition), {"first": offset, "end": offset, "events": 0})
            found["end"], found["events"] = offset + 1, found["events"] + 1
            if len(batch) >= rows:
                _hash(sha, batch)
                yield batch
                batch = []
        if batch:
            _hash(sha, batch)
            yield batch
        self.digest, self.manifest["ranges"] = sha.hexdigest(), dict(sorted(ranges.items()))

    def earlier_in_session(self, start: Seq) -> list[Event]:
        """Session events and commands of the trading session that `start` lies in, from its open on, before `start`."""
        earlier: list[Event] = []
        for event in self._controls:
            if event.pos[:2] >= start:
                break
            if type(event.data) is SessionOpen:
                earlier = []
            if type(event.data) not in _NOT_HANDED_OVER:
                earlier.append(event)
        return earlier

    def _between(self, start: Seq | None, end: Seq | None) -> Iterator[_Placed]:
        low = start if start is not None else self.seqs[0]
        for placed in self._placed(self._start_for(low)):
            seq = placed.event.pos[:2]
            if end is not None and seq >= end:
                return
            if seq >= low:
                yield placed

    def _start_for(self, seq: Seq) -> Start:
        """Readers that hear everything from `seq` on. Raises LogError where retention removed some of it."""
        start = self._clock.start_at(self._clock.time_at(seq))
        for partition, reader in start.readers.items():
            first = self._bounds[partition][0]
            if first and reader.position <= first:
                raise LogError(
                    f"{name_of(partition)} begins at offset {first}: retention removed what lay before, and it may be wanted;"
                    " start later, or replay a recorded session"
                )
        return start

    def _placed(self, start: Start) -> Iterator[_Placed]:
        """The door's events in seq order, from where the readers stand to what was there when this was made."""
        readers = start.readers
        order: DoorOrder[_Placed] = DoorOrder(list(readers.values()), start.seq)
        for records in self._records({partition: reader.position for partition, reader in readers.items()}):
            for record in records:
                event = readers[record.partition].take(record).event
                if event is not None:
                    order.put(event.pos[:2], _Placed(event, record.partition, record.offset))
            yield from _readable(order.ready())
        last_epoch = max(self._clock.last[0], min(reader.up_to[0] for reader in readers.values()))
        yield from _readable(order.rest(last_epoch))

    def _records(self, positions: dict[Partition, int]) -> Iterator[list[Record]]:
        """Records from these positions to the bounds, as they come."""
        left = {partition: at for partition, at in positions.items() if at < self._bounds[partition][1]}
        if not left:
            return
        source = self._log.reader(left)
        try:
            while left:
                records = source.poll(PATIENCE_S, RECORDS_AT_ONCE)
                if not records:
                    raise LogError(f"the log holds more of {', '.join(map(name_of, left))}, and gave none for {PATIENCE_S:g} s")
                bounds = self._bounds
                yield [record for record in records if record.offset < bounds[record.partition][1]]
                for partition, offset in {record.partition: record.offset for record in records}.items():
                    if offset + 1 >= bounds[partition][1]:
                        left.pop(partition, None)
        finally:
            source.close()

    def _commands(self) -> list[Event]:
        """Every operator command."""
        partition: Partition = (COMMANDS, 0)
        reader = PartitionReader(partition, self._partitioning, claimed_in(self._log))
        records = self._records({partition: self._bounds[partition][0]})
        heard = (reader.take(record).event for some in records for record in some)
        return [event for event in heard if event is not None]


def _readable(items: Iterator[_Placed]) -> Iterator[_Placed]:
    return (placed for placed in items if type(placed.event.data) is not Unreadable)


def _by_pos(event: Event) -> Any:
    return event.pos


def _hash(sha: Any, events: list[Event]) -> None:
    sha.update("".join(f"{line}\n" for line in encode_all(events)).encode())


def place_in_topic(topic: TopicRange, where: str | Seq | None) -> Seq | None:
    """A seq from a seq, a time, or an offset written `market.ticks/0@1234`. Raises ConfigurationError."""
    if isinstance(where, str) and "@" in where:
        name, _, offset = where.partition("@")
        topic_name, slash, number = name.rpartition("/")
        if not slash or not number.isdigit() or not offset.isdigit():
            raise ConfigurationError(f"{where!r} is not understood: write an offset as market.ticks/0@1234")
        return topic.seq_at_offset((topic_name, int(number)), int(offset))
    return place(topic, where)


def tape_from_topic(topic: TopicRange, dst: Path, start: str | Seq | None = None, end: str | Seq | None = None) -> dict[str, Any]:
    """Write [start, end) of a log as a tape; returns its manifest, which says where in the log that lay.

    Seqs stay, and earlier session events and commands come along, as in a slice of a tape. Raises TapeError for an empty range.
    """
    low, high = place_in_topic(topic, start) or topic.seqs[0], place_in_topic(topic, end) or topic.seqs[1]
    carried = topic.earlier_in_session(low) if low > topic.seqs[0] else []
    with TapeWriter(
        dst, profile=topic.profile, instruments=topic.instruments.values(), columns=topic.columns,
        source=f"topic {topic.path}", beat_interval_s=topic.beat_interval_s,
    ) as writer:  # fmt: skip
        write_numbered(writer, carried)
        count = 0
        for events in topic.batches(low, high):
            write_numbered(writer, events)
            count += len(events)
        if not count:
            raise TapeError(f"{topic.path}: there is nothing in [{start}, {end})")
        return writer.publish({
            "carried": [event.id for event in carried], "slice_start": list(low), "ranges": topic.manifest["ranges"],
        })  # fmt: skip


def replay_topic(
    container: AppContainer, topic: TopicRange, specs: Sequence[StrategySpec], *, start: str | Seq | None = None,
    end: str | Seq | None = None, out: Path | None = None, progress: Progress | None = None,
) -> Finished:  # fmt: skip
    """Replay [start, end) of a log; each may be a seq, a time or an offset. The run is that of the same slice of a tape."""
    low, high = place_in_topic(topic, start), place_in_topic(topic, end)
    return run_replay(container, topic, specs, start=low, end=high or topic.seqs[1], out=out, progress=progress)


def open_topic(log: Log, market: Tape, prefix: str = "") -> TopicRange:
    """What a log holds, as a tape of this market. Raises TapeError where no door has written yet."""
    return TopicRange(log, Partitioning.of_log(log), market, f"{prefix}{TICKS}")
