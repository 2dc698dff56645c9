"""What the recorder heard in each partition, as Parquet segments: `segments/<topic>/<partition>/<first offset>.parquet`.

A row an event: offset, `pos` in parts, door time, wire line; dead letters have a reason, and no `pos` where none was to be
read. A segment covers the offsets from its name up to `end`, so those of a partition lie end to end; its metadata hold the
reader's state behind it: a restart goes on from the last one.

A segment appears whole, and only where there is none of its name: the file is linked into place, which of two recorders
that go on from the same place only one can do.
"""

import json
import os
from collections.abc import Callable, Collection, Iterator
from heapq import merge
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from alphapanda.adapters.durable import sync
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.events import Pos
from alphapanda.runtime.log.protocol import Partition

FORMAT = 1
POS = ("epoch", "number", "stage", "lane", "n")
SCHEMA: dict[str, Any] = {
    "offset": pl.Int64, **dict.fromkeys(POS, pl.Int64), "ts_ns": pl.Int64, "line": pl.Binary, "reason": pl.String,
}  # fmt: skip
Seq = tuple[int, int]
ReaderState = tuple[int, Pos, Seq, int, Collection[tuple[int, Pos]]]
Row = tuple[int, Pos | None, int | None, bytes, str | None]
"""offset, pos, ts_ns, wire line, reason."""


class SegmentError(AlphaPandaError):
    """Segments are not as they must be."""


class TakenError(SegmentError):
    """There is a segment of this name: another recorder goes on from the same place."""


class Segment(NamedTuple):
    """One segment's file, and what its metadata say."""

    path: Path
    first: int  # it covers offsets [first, end)
    end: int
    events: int
    dead: int
    state: ReaderState


def nothing(point: str) -> None:
    """Does nothing at a named point; tests raise or kill there."""


def write_segment(
    folder: Path, partition: Partition, first: int, rows: list[Row], state: ReaderState, at: Callable[[str], None] = nothing
) -> None:
    """Add the segment that begins at offset `first`. Raises TakenError where another recorder was faster."""
    place = _place(folder, partition)
    path = place / f"{first:020d}.parquet"
    made = place / f".{first}-{os.getpid()}.tmp"
    dead = sum(row[4] is not None for row in rows)
    said = {"format": FORMAT, "partition": partition, "end": state[0], "events": len(rows) - dead, "dead": dead, "state": state}
    _frame(rows).write_parquet(made, compression="zstd", metadata={"alphapanda": json.dumps(said, default=sorted)})
    at("segment written")
    try:
        sync(made)
        at("segment synced")
        os.link(made, path)  # unlike a rename it never replaces
    except (FileExistsError, FileNotFoundError) as error:
        made.unlink(missing_ok=True)
        raise TakenError(f"{path}: another recorder of this session goes on; this one stops") from error
    at("segment in place")
    made.unlink(missing_ok=True)
    sync(place)
    at("folder synced")


def make_places(folder: Path, partitions: Collection[Partition]) -> None:
    """Folders for all partitions, so that one of which nothing was stored yet is known to be missing."""
    for partition in partitions:
        _place(folder, partition).mkdir(parents=True, exist_ok=True)


def _place(folder: Path, partition: Partition) -> Path:
    return folder / "segments" / partition[0] / str(partition[1])


def _frame(rows: list[Row]) -> pl.DataFrame:
    offsets, places, times, lines, reasons = zip(*rows, strict=True) if rows else ((),) * 5
    parts: Any = zip(*((None,) * 5 if pos is None else pos for pos in places), strict=True) if rows else ((),) * 5
    columns = dict(zip(POS, parts, strict=True))
    return pl.DataFrame({"offset": offsets, **columns, "ts_ns": times, "line": lines, "reason": reasons}, schema=SCHEMA)


def segments_of(folder: Path, partition: Partition) -> list[Segment]:
    """The partition's segments, in order. Raises SegmentError where one is missing or cannot be read."""
    found = [_read(path) for path in sorted(_place(folder, partition).glob("[0-9]*.parquet"))]
    for before, segment in pairwise(found):
        if before.end != segment.first:
            raise SegmentError(
                f"between {before.path} and {segment.path.name} offsets {before.end} to {segment.first} are not covered: was a"
                " segment removed? Restore it, or record the session anew from the log"
            )
    return found


def last_segment(folder: Path, partition: Partition) -> Segment | None:
    """The newest segment. What a killed recorder left half written is removed; one that still lives will notice, and stop."""
    place = _place(folder, partition)
    for left in place.glob(".*.tmp"):
        left.unlink(missing_ok=True)
    paths = sorted(place.glob("[0-9]*.parquet"))
    return _read(paths[-1]) if paths else None


def _read(path: Path) -> Segment:
    try:
        said = json.loads(pl.read_parquet_metadata(path)["alphapanda"])
    except (pl.exceptions.PolarsError, OSError, KeyError, ValueError) as error:
        raise SegmentError(f"{path} is not a segment: {error}; restore it, or record the session anew from the log") from error
    if said["format"] != FORMAT:
        raise SegmentError(f"{path} has segment format {said['format']}, this reads {FORMAT}")
    position, last, up_to, up_ts_ns, ends = said["state"]
    state: ReaderState = (position, tuple(last), tuple(up_to), up_ts_ns, {(epoch, tuple(pos)) for epoch, pos in ends})
    return Segment(path, int(path.stem), said["end"], said["events"], said["dead"], state)


class Segments:
    """All segments of a session as they were when this was made; later ones are not seen."""

    def __init__(self, folder: Path) -> None:
        """Raises SegmentError where they do not lie end to end."""
        self.folder = folder
        self.by_partition: dict[Partition, list[Segment]] = {}
        for place in sorted((folder / "segments").glob("*/*")):
            partition = place.parent.name, int(place.name)
            if found := segments_of(folder, partition):
                self.by_partition[partition] = found

    def of(self, topics: Collection[str]) -> dict[Partition, list[Segment]]:
        """Those of these topics."""
        return {partition: found for partition, found in self.by_partition.items() if partition[0] in topics}

    def last_epoch(self, topics: Collection[str]) -> int:
        """The epochs before it have ended: every partition of these topics was promised past them."""
        places = [(place.parent.name, int(place.name)) for place in (self.folder / "segments").glob("*/*")]
        parts = [self.by_partition.get(partition) for partition in places if partition[0] in topics]
        return min((found[-1].state[2][0] if found else 1 for found in parts), default=1)

    def ranges(self, topics: Collection[str]) -> dict[str, dict[str, int]]:
        """`topic/partition` -> offsets [first, end), events and dead letters among them."""
        return {
            f"{topic}/{number}": {
                "first": found[0].first, "end": found[-1].end,
                "events": sum(one.events for one in found), "dead": sum(one.dead for one in found),
            }
            for (topic, number), found in self.of(topics).items()
        }  # fmt: skip

    def frames(self, topic: str) -> Iterator[pl.DataFrame]:
        """The events of a topic, `pos` in parts and `line`, in `pos` order."""
        parts = list(self.of([topic]).values())
        if len(parts) == 1:
            yield from map(_events, parts[0])
        elif parts:
            yield pl.concat([_events(segment) for part in parts for segment in part]).sort(POS)

    def in_order(self, topics: Collection[str], *, dead: bool = False) -> Iterator[tuple[Pos, bytes, str | None]]:
        """(pos, line, None) of every event of these topics, in `pos` order, one segment a partition in memory.

        With `dead` also what had a readable `pos` and no more: (pos, line, reason).
        """
        return merge(*(_rows(part, dead=dead) for part in self.of(topics).values()))


def _events(segment: Segment) -> pl.DataFrame:
    return pl.read_parquet(segment.path).filter(pl.col("reason").is_null()).select(*POS, "line")


def _rows(part: list[Segment], *, dead: bool) -> Iterator[tuple[Pos, bytes, str | None]]:
    kept = pl.col("epoch").is_not_null() if dead else pl.col("reason").is_null()
    for segment in part:
        for frame in pl.read_parquet(segment.path).filter(kept).iter_slices(4_096):
            places: Any = zip(*(frame[name].to_list() for name in POS), strict=True)
            yield from zip(places, frame["line"].to_list(), frame["reason"].to_list(), strict=True)
