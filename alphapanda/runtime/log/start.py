"""Starting in the middle: readers of the door for replay from a time on.

Who starts there has not seen the promises before. `market.clock` is small and read whole: it maps time to seq, and its
`Settled` records say where earlier epochs ended in each partition, and up to which offset no promise can be unknown.
"""

from collections.abc import Callable
from typing import NamedTuple

from alphapanda.contracts.events import Pos
from alphapanda.pipeline import CLOCK, DOOR
from alphapanda.runtime.log.control import FIRST, Seq, Settled, name_of
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, Partition
from alphapanda.runtime.log.reader import PartitionReader


class Start(NamedTuple):
    """Where to begin, and readers of the door that stand there."""

    seq: Seq  # the last clock event before the wanted time: nothing wanted lies below
    readers: dict[Partition, PartitionReader]


def claimed_in(log: Log) -> Callable[[], int]:
    """What asks the log for the highest epoch claimed: the offset, plus one, of the last claim."""
    epochs = ("control.epochs", 0)
    return lambda: log.bounds([epochs])[epochs][1]


def start_at(log: Log, partitioning: Partitioning, ts_ns: int) -> Start:
    """Readers of all door partitions that hear everything from `ts_ns` on; earlier events may be heard too."""
    door, clock_at = partitioning.all(DOOR), (CLOCK, 0)
    claimed = claimed_in(log)
    clock = PartitionReader(clock_at, partitioning, claimed)
    before: tuple[Seq, int] = (FIRST, 0)
    settled: list[Settled] = []
    first, end = log.bounds([clock_at])[clock_at]
    source = log.reader({clock_at: first})
    at = first
    while at < end:
        for record in source.poll(1.0):
            at = record.offset + 1
            event, _ = clock.take(record)
            if event is not None and event.ts_ns < ts_ns:
                before = event.pos[:2], event.ts_ns
            if isinstance(clock.control, Settled):
                settled.append(clock.control)
                clock.control = None
    source.close()
    readers = {}
    bounds = log.bounds(door)
    for partition in door:
        known = settled[-1].read_to[name_of(partition)] if settled else 0
        ends: set[tuple[int, Pos]] = {(record.epoch, record.ends[name_of(partition)]) for record in settled}
        position = max(bounds[partition][0], min(known, log.offset_for_time(partition, before[1] // 1_000_000)))
        readers[partition] = PartitionReader(partition, partitioning, claimed, position, ends)
        readers[partition].up_to = before[0]
    return Start(before[0], readers)
