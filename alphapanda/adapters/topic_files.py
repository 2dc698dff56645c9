"""Events on their way to Parquet: one file for each output topic, and the digest of its wire lines.

Events are encoded to their wire lines, many at a time, and the lines are hashed. The columns are made of the same events,
without reading the lines again; a test holds them equal to what the lines say: what is digested is what is stored.
"""

import functools
import hashlib
import math
import shutil
import types
import typing
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import msgspec
import polars as pl

from alphapanda.adapters.durable import sync
from alphapanda.adapters.event_batch import Batch
from alphapanda.contracts.codec import Encoded, encoded, wire_name
from alphapanda.contracts.events import Event, ExecMode, Payload, RejectedSignal
from alphapanda.pipeline import COPIES, FILLED, OUTPUT_TOPICS, STAGES, TOPIC_OF

ROWS_A_FRAME, ROWS_A_PART = 400, 250_000
COMPRESSION: Literal["lz4"] = "lz4"
"""The loop waits for the last of it: zstd would make files a fifth smaller, in half as much time again."""
_DTYPES: dict[Any, pl.DataType] = {int: pl.Int64(), float: pl.Float64(), str: pl.String(), bool: pl.Boolean()}
_POS = ("epoch", "number", "stage", "lane", "n")
_TIME = pl.Datetime("ns", "UTC")


def _dtype(hint: Any, names: tuple[str, ...]) -> pl.DataType:
    """How a payload field that is no time is stored."""
    if typing.get_origin(hint) is types.UnionType:
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is dict:
        return pl.Struct({one: pl.Float64() for one in names})
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = typing.get_type_hints(hint)
        return pl.Struct({field: _dtype(hints[field], names) for field in hint.__struct_fields__})
    return _DTYPES.get(hint, pl.String())  # enums are text


def _series(name: str, values: Sequence[Any], kind: pl.DataType) -> pl.Series:
    """Values of one field as a column: what would be read from their JSON."""
    return _MADE.get(type(kind), pl.Series)(name, values, kind)


def _times(name: str, values: Sequence[Any], kind: pl.DataType) -> pl.Series:
    return pl.Series(name, values, pl.Int64()).cast(kind)


def _floats(name: str, values: Sequence[Any], kind: pl.DataType) -> pl.Series:
    made = pl.Series(name, values, kind)
    if math.isfinite(made.sum()):  # so each of them is
        return made
    return pl.select(pl.when(made.is_finite()).then(made).alias(name)).to_series()  # JSON has no others: they are null there


def _structs(name: str, values: Sequence[Any], kind: pl.DataType) -> pl.Series:
    fields = kind.fields  # type: ignore[attr-defined]  # of a pl.Struct
    there = [value is not None for value in values]
    if not any(there):
        return _null(name, kind).new_from_index(0, len(values))
    names, blank = [field.name for field in fields], (None,) * len(fields)
    rows = [blank if value is None else _row(value, names) for value in values]
    made = pl.DataFrame([
        _series(field.name, column, field.dtype) for field, column in zip(fields, zip(*rows, strict=True), strict=True)
    ]).to_struct(name)  # fmt: skip
    return made if all(there) else pl.select(pl.when(pl.Series(there)).then(made).alias(name)).to_series()


def _row(value: Any, names: list[str]) -> tuple[Any, ...]:
    """The fields of a struct, or what a dict has under these names."""
    return tuple(map(value.get, names)) if isinstance(value, dict) else msgspec.structs.astuple(value)


_MADE: dict[type[pl.DataType], Callable[[str, Sequence[Any], pl.DataType], pl.Series]] = {
    pl.Datetime: _times, pl.Float64: _floats, pl.Struct: _structs,
}  # fmt: skip


@functools.cache
def _null(name: str, kind: pl.DataType) -> pl.Series:
    """One null; repeated, it is a column much sooner than a list of them is."""
    return pl.Series(name, [None], kind)


class TopicColumns:
    """The columns of one topic: the envelope, `pos` in parts, and every field of its payload types."""

    def __init__(self, payloads: list[type[Payload]], feature_names: tuple[str, ...]) -> None:
        fields: dict[str, pl.DataType] = {}
        for cls in payloads:
            hints = typing.get_type_hints(cls)
            for name in cls.__struct_fields__:
                fields[wire_name(name)] = _TIME if name.endswith("_ns") else _dtype(hints[name], feature_names)
        # polars cannot store a struct without fields, and without features there is nothing in it
        self.fields = {name: kind for name, kind in fields.items() if kind != pl.Struct({})}
        self.times = [name for name, kind in self.fields.items() if kind == _TIME]
        data = {**self.fields, **dict.fromkeys(self.times, pl.String()), "cause": pl.String()}
        self.wire = {"type": pl.String(), "ts": pl.String(), "data": pl.Struct(data), "id": pl.String()}

    def frame(self, lines: bytes) -> pl.DataFrame:
        """The lines, each with its newline, as columns."""
        read = pl.read_ndjson(lines, schema=self.wire) if lines else pl.DataFrame(schema=self.wire)
        pos = pl.col("id").str.split_exact("-", 4).struct.rename_fields(list(_POS)).alias("pos")
        frame = read.with_columns(pos).unnest("pos", "data")
        times = [
            pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%.9fZ", time_unit="ns", time_zone="UTC")
            for name in ("ts", *self.times)
        ]
        frame = frame.with_columns([*times, *(pl.col(name).cast(pl.Int64) for name in _POS)])
        return frame.select("id", *_POS, "ts", "type", "cause", *self.fields)

    def frame_of(self, events: Sequence[Event], ids: Sequence[str], causes: Sequence[str | None]) -> pl.DataFrame:
        """What `frame` gives for the lines of events in `pos` order, made of the events and the texts of their `pos`."""
        if not events:
            return self.frame(b"")
        frames = []
        for cls in dict.fromkeys(type(event.data) for event in events):
            mine = [type(event.data) is cls for event in events]
            frames.append(self._of_type(cls, [*compress(events, mine)], [*compress(ids, mine)], [*compress(causes, mine)]))
        return frames[0] if len(frames) == 1 else pl.concat(frames).sort(_POS)

    def _of_type(self, cls: type[Payload], events: list[Event], ids: list[str], causes: list[str | None]) -> pl.DataFrame:
        columns = zip(*[msgspec.structs.astuple(event.data) for event in events], strict=True)
        values = dict(zip(map(wire_name, cls.__struct_fields__), columns, strict=True))
        pos = zip(*[event.pos for event in events], strict=True)
        return pl.DataFrame([
            pl.Series("id", ids, pl.String()),
            *(pl.Series(name, column, pl.Int64()) for name, column in zip(_POS, pos, strict=True)),
            _times("ts", [event.ts_ns for event in events], _TIME),
            pl.Series("type", [cls.__name__], pl.String()).new_from_index(0, len(events)),
            pl.Series("cause", causes, pl.String()),
            *(_series(name, values[name], kind) if name in values else _null(name, kind).new_from_index(0, len(events))
              for name, kind in self.fields.items()),
        ])  # fmt: skip


class TopicLines:
    """One topic so far: the digest of its lines, and where `columns` are given its events as frames."""

    def __init__(self, columns: TopicColumns | None) -> None:
        self.columns, self.sha = columns, hashlib.sha256()
        self.frames: list[pl.DataFrame] = []
        self._events: list[Event] = []
        self._ids: list[str] = []
        self._causes: list[str | None] = []

    def hash(self, lines: Sequence[str]) -> None:
        """Take wire lines, in `pos` order, for the digest alone."""
        self.sha.update("\n".join([*lines, ""]).encode())

    def add(self, events: Sequence[Event], texts: Encoded) -> None:
        """Take events, in `pos` order, and what they were encoded to."""
        self.hash(texts.lines)
        if self.columns is not None:
            self._events += events
            self._ids += texts.ids
            self._causes += texts.causes
            if len(self._events) >= ROWS_A_FRAME:
                self._make_frame(self.columns)

    def _make_frame(self, columns: TopicColumns) -> None:
        self.frames.append(columns.frame_of(self._events, self._ids, self._causes))
        self._events, self._ids, self._causes = [], [], []

    def finish(self) -> None:
        """Make a frame of the events that are left; without any at all, an empty one. Raises KeyError without columns."""
        if self.columns is None:
            raise KeyError("of this topic only the digest was kept")
        if self._events or not self.frames:
            self._make_frame(self.columns)


class TopicFile(TopicLines):
    """One topic's file: a digest so far, columns in hand, parts written."""

    def __init__(self, folder: Path, topic: str, columns: TopicColumns) -> None:
        super().__init__(columns)
        self.path, self.parts = folder / f"{topic}.parquet", list[Path]()

    def add(self, events: Sequence[Event], texts: Encoded) -> None:
        """Take events, in `pos` order, and what they were encoded to."""
        super().add(events, texts)
        if sum(frame.height for frame in self.frames) >= ROWS_A_PART:
            self._write_part()

    def _write_part(self) -> None:
        part = self.path.with_suffix(f".part-{len(self.parts):05d}")
        self.parts.append(part)
        pl.concat(self.frames).write_parquet(part, compression=COMPRESSION)
        self.frames = []

    def finish(self) -> None:
        """Make a frame of the events that are left, or an empty one where there was no event at all."""
        if self._events or not self.parts:
            super().finish()

    def close(self) -> None:
        """Write what is left as one file, and sync it."""
        self.finish()
        if self.frames:
            self._write_part()
        if len(self.parts) == 1:
            self.parts[0].rename(self.path)
        else:
            pl.scan_parquet(self.parts, glob=False).sink_parquet(self.path, compression=COMPRESSION, maintain_order=True)
            for part in self.parts:
                part.unlink()
        sync(self.path)


class Tally(msgspec.Struct):
    """How many events there were."""

    events: dict[str, int] = {}  # by type
    refused: dict[str, int] = {}  # signals that risk refused, by reason

    def take(self, batch: Batch) -> None:
        """Count these."""
        for cls, events in batch.items():
            self.events[cls.__name__] = self.events.get(cls.__name__, 0) + len(events)
        for event in batch.get(RejectedSignal, ()):
            reason = event.data.reason  # type: ignore[attr-defined]
            self.refused[reason] = self.refused.get(reason, 0) + 1


class TopicFiles:
    """The files of all output topics. A fill's line also goes to the topic of its exec mode."""

    def __init__(self, folder: Path, feature_names: tuple[str, ...]) -> None:
        made: dict[str, list[type[Payload]]] = {}
        for stage in STAGES:
            for cls, topic in stage.writes.items():
                made.setdefault(topic, []).append(cls)
        self.folder = folder
        self.files = {topic: TopicFile(folder, topic, TopicColumns(classes, feature_names)) for topic, classes in made.items()}
        self.topics: dict[str, TopicLines] = {topic: self.files.get(topic) or TopicLines(None) for topic in OUTPUT_TOPICS}
        self.tally = Tally()

    def take(self, batch: Batch) -> None:
        """Take events by type, each list in `pos` order; no later batch has an event before these."""
        self.tally.take(batch)
        topics: dict[str, list[Event]] = {}
        for cls, events in batch.items():
            mine = topics.setdefault(TOPIC_OF[cls], [])
            mixed = bool(mine)
            mine += events
            if mixed:
                mine.sort(key=lambda event: event.pos)
        for topic, events in topics.items():
            texts = encoded(events)
            self.topics[topic].add(events, texts)
            if topic == FILLED:
                for mode, copy in COPIES.items():
                    copied = [event.data.exec_mode is mode for event in events]  # type: ignore[attr-defined]  # fills
                    self.topics[copy].hash([*compress(texts.lines, copied)])

    def close(self) -> dict[str, str]:
        """Finish every file; returns the digest of each topic."""
        for file in self.files.values():
            file.finish()
        with ThreadPoolExecutor() as pool:  # nearly all of the rest is outside Python
            fills = pool.submit(self._close_fills)  # the longest
            list(pool.map(TopicFile.close, (file for topic, file in self.files.items() if topic != FILLED)))
        fills.result()
        return self.digests()

    def _close_fills(self) -> None:
        self.files[FILLED].close()
        for mode, copy in COPIES.items():
            self._write_copy(mode, copy)

    def _write_copy(self, mode: ExecMode, copy: str) -> None:
        """The fills of one mode; as a rule these are all fills."""
        fills, path = self.files[FILLED], self.folder / f"{copy}.parquet"
        if self.topics[copy].sha.digest() == fills.sha.digest():
            shutil.copyfile(fills.path, path)
        else:
            chosen = pl.scan_parquet(fills.path, glob=False).filter(pl.col("exec_mode") == mode.value)
            chosen.sink_parquet(path, compression=COMPRESSION, maintain_order=True)
        sync(path)

    def digests(self) -> dict[str, str]:
        """The digest of each topic."""
        return {topic: one.sha.hexdigest() for topic, one in self.topics.items()}
