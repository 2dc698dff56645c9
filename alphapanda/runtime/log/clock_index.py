"""Starting in the middle: where in a log a time, or a seq, is.

Who starts there has not seen the promises before. `market.clock` is small and read whole, once: it maps time to seq, and its
`Settled` records say where earlier epochs ended in each partition, and up to which offset no promise can be unknown.
"""

from array import array
from bisect import bisect_left, bisect_right

from alphapanda.contracts.events import Beat, Event, Pos
from alphapanda.pipeline import CLOCK, DOOR
from alphapanda.runtime.log.control import FIRST, Seq, Settled, name_of
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, LogError
from alphapanda.runtime.log.reader import PartitionReader
from alphapanda.runtime.log.start import Start, claimed_in

PATIENCE_S = 30.0


class ClockIndex:
    """Times and places of the clock's events up to where it ended when this was made.

    `events` are all but the beats; `first` and `last` (and its time) are None and (1, 0) where there is none.
    """

    def __init__(self, log: Log, partitioning: Partitioning) -> None:
        self._log, self._partitioning, self._claimed = log, partitioning, claimed_in(log)
        self.events: list[Event] = []
        self.first: Seq | None = None
        self.last: Seq = FIRST
        self._times, self._epochs, self._numbers = array("q"), array("q"), array("q")
        self._ends: dict[str, set[tuple[int, Pos]]] = {}
        self._read_to: dict[str, int] = {}
        self._read()

    def _read(self) -> None:
        at = (CLOCK, 0)
        begin, end = self._log.bounds([at])[at]
        if begin == end:
            return
        reader = PartitionReader(at, self._partitioning, self._claimed, begin)
        source = self._log.reader({at: begin})
        try:
            while reader.position < end:
                records = source.poll(PATIENCE_S)
                if not records:
                    raise LogError(f"{CLOCK} ends at {end}, and nothing came after {reader.position} for {PATIENCE_S:g} s")
                for record in records:
                    if record.offset >= end:
                        break
                    event, _ = reader.take(record)
                    if event is not None:
                        self._note(event)
                    if isinstance(reader.control, Settled):
                        self._settle(reader.control)
                        reader.control = None
        finally:
            source.close()

    def _note(self, event: Event) -> None:
        self.last = event.pos[:2]
        self.first = self.first or self.last
        self._times.append(event.ts_ns)
        self._epochs.append(self.last[0])
        self._numbers.append(self.last[1])
        if type(event.data) is not Beat:
            self.events.append(event)

    def _settle(self, record: Settled) -> None:
        self._read_to = record.read_to
        for name, end in record.ends.items():
            self._ends.setdefault(name, set()).add((record.epoch, end))

    def time_at(self, seq: Seq) -> int:
        """Door time of the last clock event at or before `seq`; 0 where there is none."""
        at = bisect_right(range(len(self._times)), seq, key=self._seq)
        return self._times[at - 1] if at else 0

    def _seq(self, at: int) -> Seq:
        return self._epochs[at], self._numbers[at]

    def start_at(self, ts_ns: int) -> Start:
        """Readers of all door partitions that hear everything from `ts_ns` on; earlier events may be heard too."""
        at = bisect_left(self._times, ts_ns)
        seq, before_ns = (self._seq(at - 1), self._times[at - 1]) if at else (FIRST, 0)
        door = self._partitioning.all(DOOR)
        readers = {}
        for partition, (first, _) in self._log.bounds(door).items():
            name = name_of(partition)
            known = min(self._read_to.get(name, 0), self._log.offset_for_time(partition, before_ns // 1_000_000))
            reader = PartitionReader(
                partition, self._partitioning, self._claimed, max(first, known), self._ends.get(name, set())
            )  # fmt: skip
            reader.up_to = seq
            readers[partition] = reader
        return Start(seq, readers)
