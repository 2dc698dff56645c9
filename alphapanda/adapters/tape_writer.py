"""Writes a tape: rows pass the door's pure part, are hashed as wire lines, and stored in segments.

The folder is written under a temporary name beside its place, synced, and renamed; an error removes it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import polars as pl

from alphapanda.adapters.durable import sync
from alphapanda.adapters.instrument_table import write_instruments
from alphapanda.adapters.tape import FORMAT, TICK_FIELDS, file_digest
from alphapanda.contracts.codec import encode
from alphapanda.contracts.errors import TapeError
from alphapanda.contracts.events import Event, MarketTick, Payload
from alphapanda.contracts.instruments import Instrument
from alphapanda.pipeline import TICKS, TOPIC_OF
from alphapanda.reference.profiles import MarketProfile
from alphapanda.services.market_feed.columns import ColumnDoor, Placed

SEGMENT_ROWS = 131_072
_BATCH_ROWS = 32_768  # rows that are events at one time
_INTEGERS = ("ts_ns", "instrument_token", "last_quantity", "volume", "bid_quantity", "ask_quantity", "exchange_ts_ns")


class Segments:
    """One topic's rows on their way to files: at most one segment of one local date in memory."""

    def __init__(self, folder: Path, topic: str, segment_rows: int) -> None:
        self.folder, self.topic, self.segment_rows = folder, topic, segment_rows
        self.files: list[dict[str, Any]] = []
        self._date, self._part, self._rows = "", 0, list[pl.DataFrame]()

    def add(self, date: str, frame: pl.DataFrame) -> None:
        """Take rows of one local date, in seq order."""
        if date != self._date:
            self.flush(everything=True)
            self._date, self._part = date, 0
        self._rows.append(frame)
        self.flush(everything=False)

    def flush(self, *, everything: bool) -> None:
        """Write whole segments, or all there is."""
        while (height := sum(frame.height for frame in self._rows)) >= (1 if everything else self.segment_rows):
            frame = pl.concat(self._rows)
            self._write(frame[: self.segment_rows])
            self._rows = [frame[self.segment_rows :]] if height > self.segment_rows else []

    def _write(self, frame: pl.DataFrame) -> None:
        path = self.folder / self.topic / f"date={self._date}" / f"part-{self._part:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path, compression="zstd")
        self._part += 1
        self.files.append({
            "path": str(path.relative_to(self.folder)), "topic": self.topic, "date": self._date, "rows": frame.height,
            "first": [int(frame["epoch"][0]), int(frame["number"][0])],
            "last": [int(frame["epoch"][-1]), int(frame["number"][-1])],
            "first_ts_ns": int(frame["ts_ns"][0]), "last_ts_ns": int(frame["ts_ns"][-1]), "sha256": file_digest(path),
        })  # fmt: skip


class TapeWriter:
    """Use as a context manager; `close` makes the tape appear."""

    def __init__(
        self, dst: Path, *, profile: MarketProfile, instruments: Iterable[Instrument], columns: Iterable[str],
        source: str, beat_interval_s: int = 1, segment_rows: int = SEGMENT_ROWS,
    ) -> None:  # fmt: skip
        if dst.exists():
            raise TapeError(f"{dst} is there already: choose another place, or remove it")
        dst.parent.mkdir(parents=True, exist_ok=True)
        self.dst, self.folder = dst, dst.parent / f".{dst.name}-{os.getpid()}.tmp"
        self.folder.mkdir()
        self.profile, self.source, self.beat_interval_s = profile, source, beat_interval_s
        self.columns = [name for name in TICK_FIELDS if name in {*columns, "ts_ns", "instrument_token", "last_price"}]
        self.instruments = sorted(instruments, key=lambda one: one.instrument_token)
        self.door = ColumnDoor(profile, beat_interval_s)
        self._segment_rows = segment_rows
        self._segments: dict[str, Segments] = {}
        self._sha = hashlib.sha256()

    def __enter__(self) -> "TapeWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def rows(self, frame: pl.DataFrame, duplicates: int = 0) -> None:
        """Rows as they came: `ts_ns` is the source's time, the other columns those of the tape."""
        for part in frame.iter_slices(_BATCH_ROWS):
            types = {name: pl.Int64 if name in _INTEGERS else pl.Float64 for name in self.columns}
            typed = part.select(pl.col(name).cast(types[name]) for name in self.columns)
            self._put(self.door.rows(typed["ts_ns"].to_numpy()), typed)
        self.door.counters.duplicates += duplicates

    def take(self, source_ts_ns: int, data: Payload) -> None:
        """One event that is no tick."""
        self._put(self.door.take(source_ts_ns, data), None)

    def _put(self, placed: Placed, frame: pl.DataFrame | None) -> None:
        others = [
            _event(placed.epoch, number, ts_ns, data)
            for number, ts_ns, data in zip(placed.other_numbers, placed.other_ts_ns, placed.others, strict=True)
        ]
        ticks: list[Event] = []
        if frame is not None:
            frame = frame.with_columns(
                pl.lit(placed.epoch, pl.Int32).alias("epoch"),
                pl.Series("number", placed.numbers),
                pl.Series("ts_ns", placed.ts_ns),
            )
            made = map(
                MarketTick, *(frame[name].to_list() if name in frame.columns else [None] * frame.height for name in TICK_FIELDS)
            )
            ticks = [_event(placed.epoch, n, tick.ts_ns, tick) for n, tick in zip(placed.numbers.tolist(), made, strict=True)]
            self._store(TICKS, frame.select("epoch", "number", *self.columns))
        # Both lists are in order already, so this sort is a merge.
        self._sha.update(b"".join(encode(event) + b"\n" for event in sorted([*others, *ticks], key=lambda event: event.pos)))
        by_topic: dict[str, list[Event]] = {}
        for event in others:
            by_topic.setdefault(TOPIC_OF[type(event.data)], []).append(event)
        for topic, events in by_topic.items():
            self._store(topic, _frame(events))

    def numbered(self, events: list[Event]) -> None:
        """Events that have their seqs already (a slice of another tape), in `pos` order."""
        self._sha.update(b"".join(encode(event) + b"\n" for event in events))
        for topic in dict.fromkeys(TOPIC_OF[type(event.data)] for event in events):
            mine = [event for event in events if TOPIC_OF[type(event.data)] == topic]
            self._store(topic, self._tick_frame(mine) if topic == TICKS else _frame(mine))

    def _tick_frame(self, events: list[Event]) -> pl.DataFrame:
        columns = {name: [getattr(event.data, name) for event in events] for name in self.columns}
        types = {name: pl.Int64 if name in _INTEGERS else pl.Float64 for name in self.columns}
        numbers = {"epoch": [event.pos[0] for event in events], "number": [event.pos[1] for event in events]}
        return pl.DataFrame(numbers | columns, schema={"epoch": pl.Int32, "number": pl.Int64, **types})

    def _store(self, topic: str, frame: pl.DataFrame) -> None:
        zone = pl.from_epoch("ts_ns", time_unit="ns").dt.replace_time_zone("UTC").dt.convert_time_zone(self.profile.zone)
        segments = self._segments.setdefault(topic, Segments(self.folder, topic, self._segment_rows))
        for part in frame.with_columns(zone.dt.date().cast(pl.String).alias("_date")).partition_by("_date", maintain_order=True):
            segments.add(part["_date"][0], part.drop("_date"))

    def close(self, extra: dict[str, Any] | None = None) -> dict[str, Any]:
        """End the running session, write manifest and instruments, and put the folder in its place."""
        self._put(self.door.finish(), None)
        return self.publish({"counters": _counters(self.door), **(extra or {})})

    def publish(self, extra: dict[str, Any]) -> dict[str, Any]:
        """Put the folder in its place without asking the door for more."""
        for segments in self._segments.values():
            segments.flush(everything=True)
        files = [file for topic in sorted(self._segments) for file in self._segments[topic].files]
        if not files:
            raise TapeError(f"{self.source}: there is nothing to write, no row was left; see the treatments of dirty rows")
        manifest = {
            "format": FORMAT, "source": self.source, "digest": self._sha.hexdigest(), "profile": self.profile.to_dict(),
            "beat_interval_s": self.beat_interval_s, "columns": self.columns,
            "seq": [min(file["first"] for file in files), max(file["last"] for file in files)],
            "ts_ns": [min(file["first_ts_ns"] for file in files), max(file["last_ts_ns"] for file in files)],
            "ticks": sum(file["rows"] for file in files if file["topic"] == TICKS),
            "dates": sorted({file["date"] for file in files}), "files": files, **extra,
        }  # fmt: skip
        write_instruments(self.folder, self.instruments)
        (self.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        for path in sorted(self.folder.rglob("*")):
            sync(path)
        self.folder.rename(self.dst)
        sync(self.dst.parent)
        return manifest


def _counters(door: ColumnDoor) -> dict[str, Any]:
    counters = door.counters
    return {
        "rows": counters.rows, "duplicates": counters.duplicates, "backward_time": counters.backward_time,
        "outside_session": counters.outside_session, "gaps": counters.gaps, "longest_gap_ns": counters.longest_gap_ns,
        "gap_list": [list(one) for one in counters.gap_list], "types": dict(sorted(counters.types.items())),
    }  # fmt: skip


def _event(epoch: int, number: int, ts_ns: int, data: Payload) -> Event:
    pos = (epoch, number, 0, 0, 0)
    return Event(pos, ts_ns, None, data)


def _frame(events: list[Event]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "epoch": [event.pos[0] for event in events], "number": [event.pos[1] for event in events],
            "ts_ns": [event.ts_ns for event in events], "type": [type(event.data).__name__ for event in events],
            "data": [msgspec.json.encode(event.data).decode() for event in events],
        },
        schema={"epoch": pl.Int32, "number": pl.Int64, "ts_ns": pl.Int64, "type": pl.String, "data": pl.String},
    )  # fmt: skip
