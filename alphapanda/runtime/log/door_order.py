"""The door's events of several partitions, put into their one order, for those who read a log or a recording to its end.

A number that is missing is believed only where every door partition was promised past it: in an epoch that a later door
ended. In the last epoch what stands behind a missing number is not known to be complete, and is left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from alphapanda.runtime.log.control import Seq, after
from alphapanda.runtime.log.reader import PartitionReader

T = TypeVar("T")


class DoorOrder(Generic[T]):
    """Takes what the door's partitions say, and hands it out by seq."""

    def __init__(self, readers: Sequence[PartitionReader], first: Seq) -> None:
        """`first` is the seq to begin with."""
        self._readers, self.frontier = readers, first
        self._waiting: dict[Seq, T] = {}

    def put(self, seq: Seq, item: T) -> None:
        """Take an event that was heard."""
        self._waiting[seq] = item

    def ready(self) -> Iterator[T]:
        """What nothing can come before any more."""
        while self._waiting:
            if self.frontier not in self._waiting:
                head = min(self._waiting)
                if any(reader.up_to < head for reader in self._readers):
                    return
                self.frontier = head
            item = self._waiting.pop(self.frontier)
            self.frontier = after(self.frontier)
            yield item

    def rest(self, last_epoch: int) -> Iterator[T]:
        """What is left once everything was read; the epochs before `last_epoch` are known to have ended."""
        for seq, item in unbroken(sorted(self._waiting.items()), self.frontier, last_epoch):
            self.frontier = after(seq)
            yield item
        self._waiting.clear()


def unbroken(items: Iterable[tuple[Seq, T]], first: Seq, last_epoch: int) -> Iterator[tuple[Seq, T]]:
    """Items in seq order up to the first number that is missing and may still come."""
    expected = first
    for seq, item in items:
        if seq[0] > expected[0]:
            expected = (seq[0], 0)
        if seq[0] > last_epoch or (seq[0] == last_epoch and seq != expected):
            return
        yield seq, item
        expected = after(seq)
