"""The recorder: every door and output topic, heard by the one rule, into segments that hold each event once.

Each partition is recorded by itself. A segment and the place behind it are one file, so wherever the recorder is killed, a
restart goes on from there: nothing is lost and nothing doubled. It knows no end: it goes on until it is told to stop.
What cannot be read is kept with its reason, and goes to `recorder.dlq` before the segment that passes it.

Refused: topics whose beginning retention removed before it was recorded, and what no reader takes (`PartitionReader`). Of
two recorders of one session the second to store a segment stops.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from alphapanda.adapters.segments import Row, last_segment, make_places, nothing, write_segment
from alphapanda.pipeline import DOOR, OUTPUT_TOPICS
from alphapanda.runtime.log.dead_letters import dead_letter
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, LogError, LogWriter, Partition, Record
from alphapanda.runtime.log.reader import Heard, PartitionReader
from alphapanda.runtime.log.start import claimed_in

RECORDED = (*DOOR, *OUTPUT_TOPICS)
NAME = "recorder"
SEGMENT_ROWS, SEGMENT_S = 50_000, 5.0
RECORDS_WITHOUT_ROWS = 100_000
"""After so many promises alone a segment without rows is stored: a restart need not read them again."""


class _Recorded:
    """One partition: its reader, and what is heard and not stored yet."""

    def __init__(self, reader: PartitionReader) -> None:
        self.reader, self.first, self.rows = reader, reader.position, list[Row]()
        self.epoch = 0  # the last epoch promised in what is stored

    def is_due(self) -> bool:
        """Whether there is something to store: events, many promises, or one that ends an epoch."""
        return bool(self.rows) or self.passed >= RECORDS_WITHOUT_ROWS or (self.passed > 0 and self.reader.up_to[0] > self.epoch)

    @property
    def passed(self) -> int:
        """Records heard and not stored."""
        return self.reader.position - self.first

    def stored(self) -> None:
        """Note that everything heard is stored."""
        self.rows, self.first, self.epoch = [], self.reader.position, self.reader.up_to[0]

    def take(self, record: Record) -> Heard:
        """Hear one record. Raises ContractError for what cannot stand there."""
        heard = self.reader.take(record)
        event, reason = heard
        if event is not None:
            self.rows.append((record.offset, event.pos, event.ts_ns, record.value, reason))
        elif reason is not None:
            self.rows.append((record.offset, None, None, record.value, reason))
        return heard


class Recorder:
    """Call `step` again and again, then `close`. Not for two threads."""

    def __init__(
        self, log: Log, partitioning: Partitioning, folder: Path, *, segment_rows: int = SEGMENT_ROWS,
        segment_s: float = SEGMENT_S, at: Callable[[str], None] = nothing, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Go on behind the segments in `folder`. `at` is called at named points. Raises LogError, SegmentError."""
        self.folder, self._log, self._at, self._clock = folder, log, at, clock
        self._segment_rows, self._segment_s = segment_rows, segment_s
        claimed = claimed_in(log)
        bounds = log.bounds(partitioning.all(RECORDED))
        self._parts: dict[Partition, _Recorded] = {}
        for partition, (first, end) in bounds.items():
            reader = PartitionReader(partition, partitioning, claimed)
            segment = last_segment(folder, partition)
            if segment is not None:
                reader.restore(segment.state)
            if not first <= reader.position <= end:
                raise LogError(
                    f"the recorder goes on at offset {reader.position} of {partition[0]}[{partition[1]}], which holds {first} to"
                    f" {end} (exclusive): retention removed what was not recorded, or the topic was made anew under {folder};"
                    " begin a new topic prefix"
                )
            part = self._parts[partition] = _Recorded(reader)
            part.epoch = reader.up_to[0] if segment is not None else 0
        make_places(folder, self._parts)
        self._source = log.reader(self.positions())
        self._dead: LogWriter | None = None
        self._next_cut = clock() + segment_s
        self.heard, self.dead, self.stored = 0, 0, 0

    def positions(self) -> dict[Partition, int]:
        """The next offset of each partition."""
        return {partition: part.reader.position for partition, part in self._parts.items()}

    @property
    def skipped(self) -> int:
        """Repeats, and what an older writer wrote below a promise."""
        return sum(part.reader.skipped for part in self._parts.values())

    def step(self, timeout_s: float) -> int:
        """Hear what is there, waiting up to `timeout_s` for the first; store what is due. Returns how many records came.

        Raises ContractError, LogError, SegmentError: the recorder is to stop, and may be started again.
        """
        records = self._source.poll(max(0.0, min(timeout_s, self._next_cut - self._clock())))
        for record in records:
            part = self._parts[record.partition]
            event, reason = part.take(record)
            if reason is not None:
                self._bury(record, reason)
            elif event is not None:
                self.heard += 1
            if len(part.rows) >= self._segment_rows:
                self._cut(record.partition)
        if self._clock() >= self._next_cut:
            self.flush()
        return len(records)

    def _bury(self, record: Record, reason: str) -> None:
        if self._dead is None:
            self._dead = self._log.writer()
        dead_letter(self._dead, NAME, record, reason)
        self.dead += 1

    def flush(self, *, everything: bool = False) -> None:
        """Store what is heard; with `everything` also where nothing but promises was."""
        for partition, part in self._parts.items():
            if part.is_due() or (everything and part.passed):
                self._cut(partition)
        self._log.commit(f"{NAME}.0", {partition: part.first for partition, part in self._parts.items()})
        self._at("offsets committed")
        self._next_cut = self._clock() + self._segment_s

    def _cut(self, partition: Partition) -> None:
        part = self._parts[partition]
        if self._dead is not None:
            self._dead.flush()
            self._at("dead letters durable")
        write_segment(self.folder, partition, part.first, part.rows, part.reader.state(), self._at)
        self.stored += len(part.rows)
        part.stored()

    def behind(self, ends: Mapping[Partition, int]) -> bool:
        """Whether some partition was not read up to these ends."""
        return any(part.reader.position < ends.get(partition, 0) for partition, part in self._parts.items())

    def ends(self) -> dict[Partition, int]:
        """Where the partitions end now."""
        return {partition: end for partition, (_, end) in self._log.bounds(self._parts).items()}

    def close(self) -> None:
        """Store what is heard, and let go of the log."""
        self.flush(everything=True)
        self.abandon()

    def abandon(self) -> None:
        """Let go of the log without storing more: after an error; a restart hears it again."""
        self._source.close()
        if self._dead is not None:
            self._dead.close()
