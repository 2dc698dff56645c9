"""Recordings for `verify`: a log as it is now, a run's folder with its tape, a recorded session.

A log is read by the one rule for readers, each partition by a reader of its own, so that merging by `pos` holds no more
than one batch of each. What a service promised is looked up before anything is read: so all that it rests on is there.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from pathlib import Path
from typing import Any

from alphapanda.adapters.segments import Segments
from alphapanda.adapters.tape import Tape
from alphapanda.adapters.topic_events import events_in
from alphapanda.contracts.codec import decode
from alphapanda.contracts.errors import AlphaPandaError, ContractError
from alphapanda.contracts.events import Event
from alphapanda.pipeline import COPIES, DOOR, FILLED, OUTPUT_TOPICS, STAGES, TICKS, Stage
from alphapanda.research.verify import LaneRooms, Letter, Recorded, Recording, Seq
from alphapanda.runtime.log.control import FIRST, Progress, decode_control
from alphapanda.runtime.log.dead_letters import PATIENCE_S, read_dead_letters
from alphapanda.runtime.log.door_order import unbroken
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, LogError, Partition, Record
from alphapanda.runtime.log.reader import PartitionReader, Unreadable
from alphapanda.runtime.log.start import claimed_in
from alphapanda.runtime.replay import Rooms

TAIL = 512
"""Records in which the last promise of a partition is looked for at first: it stands after every batch."""


class LogRecording:
    """A log up to where its partitions end now."""

    def __init__(self, log: Log, *, one_process: bool = False) -> None:
        """`one_process`: the services ran as `run all`, which does not read the inner topics back, nor keeps their letters.

        Raises LogError where retention removed the beginning: then nothing can be worked out again from it.
        """
        self._log, self._partitioning, self._one_process = log, Partitioning.of_log(log), one_process
        self._topics = (*DOOR, *OUTPUT_TOPICS)
        self._letters: list[Letter] = []
        self.done = _done({stage.room: self._promised(stage) for stage in STAGES})
        self._bounds = log.bounds(self._partitioning.all(self._topics))
        if gone := [f"{topic}[{number}]" for (topic, number), (first, _) in self._bounds.items() if first]:
            raise LogError(
                f"retention removed the beginning of {', '.join(gone)}: verify the recorded session instead of the log"
            )

    def recording(self) -> Recording:
        """For one `verify`: it is read once."""
        claimed = claimed_in(self._log)
        topics = {}
        for topic in self._topics:
            readers = [PartitionReader(one, self._partitioning, claimed) for one in self._partitioning.all([topic])]
            topics[topic] = merge(*map(self._events, readers), key=lambda one: one.event.pos)
        return Recording(topics, self.done, self._kept_and_wanted)

    def _promised(self, stage: Stage) -> Seq:
        """Below it the stage has written all: the least of the promises in its partitions."""
        return min(self._promise_in(partition) for partition in self._partitioning.all(_own(stage)))

    def _promise_in(self, partition: Partition) -> Seq:
        first, end = self._log.bounds([partition])[partition]
        back = TAIL
        while first < end:
            at = max(first, end - back)
            promises = [_promise_of(record) for record in self._records(partition, at, end) if record.key is None]
            if promises:
                return max(promises)
            if at == first:
                break
            back *= 8
        return FIRST

    def _records(self, partition: Partition, first: int, end: int) -> Iterator[Record]:
        """Records [first, end). Raises LogError where the log stops answering."""
        if first >= end:
            return
        source = self._log.reader({partition: first})
        try:
            at = first
            while at < end:
                records = source.poll(PATIENCE_S)
                if not records:
                    raise LogError(
                        f"{partition[0]}[{partition[1]}] ends at {end}, and nothing came after {at} for {PATIENCE_S:g} s"
                    )
                for record in records:
                    at = record.offset + 1
                    if at <= end:
                        yield record
        finally:
            source.close()

    def _events(self, reader: PartitionReader) -> Iterator[Recorded]:
        topic, number = reader.partition
        for record in self._records(reader.partition, *self._bounds[reader.partition]):
            event, reason = reader.take(record)
            if reason is not None:
                self._letters.append(Letter(topic, number, record.offset, _digest(record.key, record.value)))
            if event is not None:
                yield Recorded(event, record.value)

    def _kept_and_wanted(self) -> dict[str, tuple[list[Letter], list[Letter]]]:
        """Once all is read: what each service must have kept, and what it kept."""
        found = {}
        for stage in STAGES:
            topics = DOOR if self._one_process else (*DOOR, *stage.reads, *stage.hears)
            kept = [
                Letter(one.topic, one.partition, one.offset, _digest(one.key, one.value))
                for one in read_dead_letters(self._log, stage.room)
            ]
            found[stage.room] = [one for one in self._letters if one.topic in topics], kept
        return found


def _promise_of(record: Record) -> Seq:
    try:
        control = decode_control(record.value)
    except ContractError:  # whoever reads the partition by the rule stops there, and says so
        return FIRST
    return control.up_to if isinstance(control, Progress) else FIRST


def _digest(key: bytes | None, value: bytes) -> bytes:
    return hashlib.sha256(b"%d:%s" % (-1 if key is None else len(key), (key or b"") + value)).digest()


def of_run(folder: Path, manifest: Mapping[str, Any], tape: Tape) -> Recording:
    """A run's folder and the tape it is of. Values are compared, as columns do not keep the lines' bytes.

    Raises AlphaPandaError for a run that began in the middle: its lanes had heard something before, which it does not have.
    """
    if tape.digest != manifest["tape"]["digest"]:
        raise AlphaPandaError(f"{folder} is a run of the tape {manifest['tape']['digest']}, and {tape.path} is {tape.digest}")
    start, end = (tuple(manifest["tape"][name]) for name in ("start", "end"))
    if start != tape.seqs[0]:
        raise AlphaPandaError(
            f"{folder} began in the middle of its tape, at {start}: only what began at its start can be verified"
        )
    topics: dict[str, Iterable[Recorded]] = {topic: _stored(folder / f"{topic}.parquet") for topic in OUTPUT_TOPICS}
    topics[TICKS] = (Recorded(event, None) for event in tape.events(end=(end[0], end[1])))  # all of the door, in order already
    return Recording(topics)


def of_session(folder: Path, partitions: Mapping[str, int]) -> Recording:
    """A recorded session, from its segments, which hold the lines; `partitions` of each topic as the session has them.

    Of dead letters it has the inputs, and not what each service kept of them: that is compared in the log alone. While it
    is recorded, only what was promised in every partition that a service writes and joins is compared.
    """
    segments = Segments(folder)
    topics: dict[str, Iterable[Recorded]] = {topic: _lines(segments, topic) for topic in OUTPUT_TOPICS}
    topics[TICKS] = _door_lines(segments)
    promised = {stage.room: min(_promise(segments, one, partitions[one]) for one in _own(stage)) for stage in STAGES}
    return Recording(topics, _done(promised), grows=True)


def _done(promised: Mapping[str, Seq]) -> dict[str, Seq]:
    """Below it a stage's inputs are there too: of services in one process, and in a recording, these may come later."""
    of_topic = {topic: promised[stage.room] for stage in STAGES for topic in stage.writes.values()}
    return {stage.room: min([promised[stage.room], *(of_topic[one] for one in (*stage.reads, *stage.hears))]) for stage in STAGES}


def _own(stage: Stage) -> list[str]:
    topics = list(dict.fromkeys(stage.writes.values()))
    return [*topics, *COPIES.values()] if FILLED in topics else topics


def _promise(segments: Segments, topic: str, count: int) -> Seq:
    """The least promise in a topic's partitions."""
    stored = [found[-1].state[2] for found in segments.of([topic]).values()]
    return min(stored) if len(stored) == count else FIRST


def _lines(segments: Segments, topic: str) -> Iterator[Recorded]:
    return (Recorded(decode(line), line) for _, line, _ in segments.in_order([topic]))


def _door_lines(segments: Segments) -> Iterator[Recorded]:
    """All of the door, up to where it is known to be complete; what could not be read has a number and nothing else."""
    parts = segments.of(DOOR)
    last_epoch = min((found[-1].state[2][0] for found in parts.values()), default=1)
    recorded = ((pos[:2], (pos, line, reason)) for pos, line, reason in segments.in_order(DOOR, dead=True))
    for _, (pos, line, reason) in unbroken(recorded, FIRST, last_epoch):
        yield Recorded(decode(line) if reason is None else Event(pos, 0, None, Unreadable(reason)), line)


def _stored(path: Path) -> Iterator[Recorded]:
    return (Recorded(event, None) for event in events_in(path))


def isolated(make: Callable[[], Rooms]) -> LaneRooms:
    """Rooms for `verify`: each stage from a set of its own, so that what one notes, no other sees."""
    return [make().by_stage()[place] for place in range(len(STAGES))]
