"""Events on their way to Parquet: one file for each output topic, and the digest of its wire lines.

Events are encoded once, to their wire lines, many at a time. The lines are hashed, and the same lines become columns: what
is digested is what is stored.
"""

import hashlib
import types
import typing
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from alphapanda.contracts.codec import encode_all, wire_name
from alphapanda.contracts.events import Event, OrderFill, Payload
from alphapanda.pipeline import COPIES, FILLED, OUTPUT_TOPICS, STAGES, TOPIC_OF

LINES_A_FRAME, ROWS_A_PART = 2_000, 250_000
_DTYPES: dict[Any, pl.DataType] = {int: pl.Int64(), float: pl.Float64(), str: pl.String(), bool: pl.Boolean()}
_POS = ("epoch", "number", "stage", "lane", "n")
_TIME = pl.Datetime("ns", "UTC")


def _dtype(name: str, hint: Any, names: tuple[str, ...]) -> pl.DataType:
    """How a payload field is read from its wire form; times are text at first."""
    if name.endswith("_ns"):
        return pl.String()
    if typing.get_origin(hint) is types.UnionType:
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is dict:
        return pl.Struct({one: pl.Float64() for one in names})
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        hints = typing.get_type_hints(hint)
        return pl.Struct({field: _dtype(field, hints[field], names) for field in hint.__struct_fields__})
    return _DTYPES.get(hint, pl.String())  # enums are text


class TopicColumns:
    """The columns of one topic: the envelope, `pos` in parts, and every field of its payload types."""

    def __init__(self, payloads: list[type[Payload]], feature_names: tuple[str, ...]) -> None:
        fields: dict[str, pl.DataType] = {}
        self.times: list[str] = []
        for cls in payloads:
            hints = typing.get_type_hints(cls)
            for name in cls.__struct_fields__:
                fields[wire_name(name)] = _dtype(name, hints[name], feature_names)
                if name.endswith("_ns") and wire_name(name) not in self.times:
                    self.times.append(wire_name(name))
        # polars cannot store a struct without fields, and without features there is nothing in it
        self.fields = {name: kind for name, kind in fields.items() if kind != pl.Struct({})}
        self.wire = {
            "type": pl.String(), "ts": pl.String(), "data": pl.Struct({**self.fields, "cause": pl.String()}),
            "id": pl.String(),
        }  # fmt: skip

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


class TopicLines:
    """One topic so far: the digest of its lines, and where `columns` are given the lines as frames."""

    def __init__(self, columns: TopicColumns | None) -> None:
        self.columns, self.sha = columns, hashlib.sha256()
        self.frames: list[pl.DataFrame] = []
        self._texts: list[bytes] = []
        self._lines = 0

    def add(self, lines: Sequence[str]) -> None:
        """Take wire lines, in `pos` order."""
        text = "".join(f"{line}\n" for line in lines).encode()
        self.sha.update(text)
        if self.columns is not None:
            self._texts.append(text)
            self._lines += len(lines)
            if self._lines >= LINES_A_FRAME:
                self._make_frame(self.columns)

    def _make_frame(self, columns: TopicColumns) -> None:
        self.frames.append(columns.frame(b"".join(self._texts)))
        self._texts, self._lines = [], 0

    def finish(self) -> None:
        """Make a frame of the lines that are left; without any line at all, an empty one. Raises KeyError without columns."""
        if self.columns is None:
            raise KeyError("of this topic only the digest was kept")
        if self._lines or not self.frames:
            self._make_frame(self.columns)


class TopicFile(TopicLines):
    """One topic's file: a digest so far, columns in hand, parts written."""

    def __init__(self, folder: Path, topic: str, columns: TopicColumns) -> None:
        super().__init__(columns)
        self.path, self.parts = folder / f"{topic}.parquet", list[Path]()

    def add(self, lines: Sequence[str]) -> None:
        """Take wire lines, in `pos` order."""
        super().add(lines)
        if sum(frame.height for frame in self.frames) >= ROWS_A_PART:
            self._write_part()

    def _write_part(self) -> None:
        part = self.path.with_suffix(f".part-{len(self.parts):05d}")
        self.parts.append(part)
        pl.concat(self.frames).write_parquet(part, compression="zstd")
        self.frames = []

    def close(self) -> str:
        """Write what is left as one file; returns the digest."""
        if not self.parts or self._lines:
            self.finish()
        if self.frames:
            self._write_part()
        if len(self.parts) == 1:
            self.parts[0].rename(self.path)
        else:
            pl.scan_parquet(self.parts, glob=False).sink_parquet(self.path, compression="zstd", maintain_order=True)
            for part in self.parts:
                part.unlink()
        return self.sha.hexdigest()


class TopicFiles:
    """The files of all output topics. A fill's line also goes to the topic of its exec mode."""

    def __init__(self, folder: Path, feature_names: tuple[str, ...]) -> None:
        made: dict[str, list[type[Payload]]] = {}
        for stage in STAGES:
            for cls, topic in stage.writes.items():
                made.setdefault(topic, []).append(cls)
        for topic in COPIES.values():
            made[topic] = [OrderFill]
        self.files = {topic: TopicFile(folder, topic, TopicColumns(made[topic], feature_names)) for topic in OUTPUT_TOPICS}

    def take(self, batch: dict[type[Payload], list[Event]]) -> None:
        """Take events by type, each list in `pos` order; no later batch has an event before these."""
        topics: dict[str, list[Event]] = {}
        for cls, events in batch.items():
            mine = topics.setdefault(TOPIC_OF[cls], [])
            mixed = bool(mine)
            mine += events
            if mixed:
                mine.sort(key=lambda event: event.pos)
        for topic, events in topics.items():
            lines = encode_all(events)
            self.files[topic].add(lines)
            if topic == FILLED:
                for mode, copy in COPIES.items():
                    copied = [line for line, event in zip(lines, events, strict=True) if event.data.exec_mode is mode]  # type: ignore[attr-defined]  # fills
                    self.files[copy].add(copied)

    def close(self) -> dict[str, str]:
        """Finish every file; returns the digest of each topic."""
        with ThreadPoolExecutor() as pool:  # nearly all of it is outside Python
            return dict(zip(self.files, pool.map(TopicFile.close, self.files.values()), strict=True))
