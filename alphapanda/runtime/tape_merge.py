"""Many streams of rows become one, by time and without sorting anything within a stream.

Rows with one key keep the order of the streams. A stream is opened when its first key comes due, so memory is bounded by
how many overlap.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import polars as pl

Frames = Iterator[pl.DataFrame]


class Stream(NamedTuple):
    """Frames with `_key`, which never falls; no key is below `first`."""

    first: int
    open: Callable[[], Frames]


class _Open:
    """A stream that is being read: what of it waits, and whether more may come."""

    def __init__(self, order: int, frames: Frames) -> None:
        self.order, self._frames, self.ended = order, frames, False
        self.waiting: pl.DataFrame | None = None
        self.extend()

    def extend(self) -> None:
        """Read one more frame, or find the end."""
        frame = next(self._frames, None)
        if frame is None:
            self.ended = True
        else:
            self.waiting = frame if self.waiting is None else pl.concat([self.waiting, frame])

    @property
    def settled_below(self) -> int | None:
        """Nothing below this key is still to come; None at the end."""
        return None if self.ended or self.waiting is None else int(self.waiting["_key"][-1])

    def take(self, below: int | None) -> pl.DataFrame | None:
        """What waits with a key below; all of it for None."""
        frame, self.waiting = self.waiting, None
        if frame is None or below is None:
            return frame
        count = int(frame["_key"].search_sorted(below, side="left"))
        self.waiting = frame[count:] if count < frame.height else None
        return frame[:count] if count else None


def merged(streams: Sequence[Stream]) -> Frames:
    """All rows, `_key` never falling."""
    closed = sorted(enumerate(streams), key=lambda item: (item[1].first, item[0]))[::-1]
    reading: list[_Open] = []
    while closed or reading:
        limits = [limit for one in reading if (limit := one.settled_below) is not None]
        limits += [closed[-1][1].first] if closed else []
        until = min(limits, default=None)
        parts = [part for one in reading if (part := one.take(until)) is not None]
        if len(parts) == 1:
            yield parts[0]
        elif parts:
            yield pl.concat(parts).sort("_key", maintain_order=True)
        # Whoever set the limit goes on: it has more rows, or it begins.
        for one in reading:
            if not one.ended and (one.waiting is None or one.settled_below == until):
                one.extend()
        if closed and closed[-1][1].first == until:
            order, stream = closed.pop()
            reading = sorted([*reading, _Open(order, stream.open())], key=lambda one: one.order)
        reading = [one for one in reading if one.waiting is not None or not one.ended]
