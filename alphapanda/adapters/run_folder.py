"""A run's folder: one Parquet file for each output topic, a digest for each, and the manifest.

Events are encoded once, to their wire lines, many at a time. A worker thread does it, hashes the lines, and turns the same
lines into columns, so what is digested is what is stored. The folder is written under a temporary name, synced, and renamed: a run exists whole
or not at all.
"""

import hashlib
import json
import os
import shutil
import types
import typing
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from alphapanda.contracts.codec import encode_all, wire_name
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.events import Event, ExecMode, OrderFill, Payload
from alphapanda.contracts.instruments import Instrument
from alphapanda.pipeline import COPIES, FILLED, OUTPUT_TOPICS, STAGES, TOPIC_OF

EVENTS_A_BATCH = 5_000
ROWS_A_PART = 250_000
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
        return pl.Struct({field: pl.Int64() for field in hint.__struct_fields__})
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


class TopicFile:
    """One topic on its way to disk: events in hand, a digest so far, parts written."""

    def __init__(self, folder: Path, topic: str, columns: TopicColumns, worker: ThreadPoolExecutor) -> None:
        self.path, self.columns, self.worker = folder / f"{topic}.parquet", columns, worker
        self.sha, self.parts = hashlib.sha256(), list[Path]()
        self.copies: dict[ExecMode, TopicFile] = {}
        self.events: list[Event] = []
        self._frames: list[pl.DataFrame] = []  # the worker's
        self._pending: Future[None] | None = None

    def add(self, event: Event) -> None:
        """Take one event."""
        self.events.append(event)
        if len(self.events) >= EVENTS_A_BATCH:
            self.flush()

    def flush(self) -> None:
        """Hand the events to the worker; waits for those before, so at most two batches are in memory."""
        self.pending_done()
        events, self.events = self.events, []
        self._pending = self.worker.submit(self._take, events)

    def pending_done(self) -> None:
        """Wait for the worker."""
        if self._pending is not None:
            self._pending.result()

    def _take(self, events: list[Event]) -> None:
        lines = encode_all(events) if events else []
        self._store(lines)
        for mode, copy in self.copies.items():
            copy._store([line for line, event in zip(lines, events, strict=True) if event.data.exec_mode is mode])  # type: ignore[attr-defined]  # fills

    def _store(self, lines: list[str]) -> None:
        text = "".join(f"{line}\n" for line in lines).encode()
        self.sha.update(text)
        self._frames.append(self.columns.frame(text))
        if sum(frame.height for frame in self._frames) >= ROWS_A_PART:
            self._write_part()

    def _write_part(self) -> None:
        part = self.path.with_suffix(f".part-{len(self.parts):05d}")
        self.parts.append(part)
        pl.concat(self._frames).write_parquet(part, compression="zstd")
        self._frames = []

    def close(self) -> str:
        """Write what is left as one file; returns the digest."""
        if self._frames:
            self._write_part()
        if len(self.parts) == 1:
            self.parts[0].rename(self.path)
        else:
            pl.scan_parquet(self.parts, glob=False).sink_parquet(self.path, compression="zstd", maintain_order=True)
            for part in self.parts:
                part.unlink()
        return self.sha.hexdigest()


class RunFolder:
    """Writes one run. Use as a context manager: leaving it with an error removes what was written."""

    def __init__(self, root: Path, feature_names: tuple[str, ...]) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root, self.folder = root, root / f".run-{os.getpid()}-{id(self)}.tmp"
        self.folder.mkdir()
        self._worker = ThreadPoolExecutor(1, "run-writer")
        made: dict[str, list[type[Payload]]] = {}
        for stage in STAGES:
            for cls, topic in stage.writes.items():
                made.setdefault(topic, []).append(cls)
        for topic in COPIES.values():
            made[topic] = [OrderFill]
        self.topics = {topic: TopicFile(self.folder, topic, TopicColumns(made[topic], feature_names), self._worker)
                       for topic in OUTPUT_TOPICS}  # fmt: skip
        self.counts: dict[type[Payload], int] = dict.fromkeys((cls for stage in STAGES for cls in stage.writes), 0)
        self.topics[FILLED].copies = {mode: self.topics[topic] for mode, topic in COPIES.items()}
        self._add = {cls: self.topics[TOPIC_OF[cls]].add for stage in STAGES for cls in stage.writes}

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._worker.shutdown(wait=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, events: list[Event]) -> None:
        """Take events in `pos` order."""
        for event in events:
            cls = type(event.data)
            self._add[cls](event)
            self.counts[cls] += 1

    def close(self) -> dict[str, str]:
        """Finish every topic's file; returns the digest of each topic."""
        for file in self.topics.values():
            file.flush()
        for file in self.topics.values():
            file.pending_done()
        return {topic: file.close() for topic, file in self.topics.items()}

    def publish(self, run_id: str, manifest: dict[str, Any], instruments: list[Instrument]) -> Path:
        """Add manifest and instruments, sync, and rename to `run_id=...`, replacing a run of the same id."""
        rows = [msgspec.structs.asdict(one) for one in instruments]
        pl.DataFrame(rows, schema_overrides={"expiry": pl.String}).write_parquet(self.folder / "instruments.parquet")
        (self.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        for path in sorted(self.folder.iterdir()):
            sync(path)
        sync(self.folder)
        final = self.root / f"run_id={run_id}"
        if final.exists():
            shutil.rmtree(final)
        self.folder.rename(final)
        sync(self.root)
        return final


def run_digest(digests: dict[str, str]) -> str:
    """SHA-256 over the lines `topic digest`, sorted."""
    lines = "".join(f"{topic} {digest}\n" for topic, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def sync(path: Path) -> None:
    """Make what was written to a file or folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(root: Path) -> None:
    """Raises AlphaPandaError when runs cannot be written there."""
    if root.exists() and not root.is_dir():
        raise AlphaPandaError(f"{root} is a file: runs need a folder; set storage.runs or --out to another place")
