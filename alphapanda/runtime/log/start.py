"""What readers need at their start: which epochs were claimed, and, for those that start in the middle, where to begin."""

from collections.abc import Callable
from typing import NamedTuple

from alphapanda.runtime.log.control import Seq
from alphapanda.runtime.log.protocol import Log, Partition
from alphapanda.runtime.log.reader import PartitionReader


class Start(NamedTuple):
    """Where to begin, and readers of the door that stand there (`ClockIndex.start_at`)."""

    seq: Seq  # the last clock event before the wanted time: nothing wanted lies below
    readers: dict[Partition, PartitionReader]


def claimed_in(log: Log) -> Callable[[], int]:
    """What asks the log for the highest epoch claimed: the offset, plus one, of the last claim."""
    epochs = ("control.epochs", 0)
    return lambda: log.bounds([epochs])[epochs][1]
