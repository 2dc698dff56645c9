"""A run's folder: one Parquet file for each output topic, a digest for each, and the manifest.

It is written under a temporary name, synced, and renamed: a run exists whole or not at all. Large runs are written by a
process of their own (`run_writer`), so that the loop does not wait for it.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from alphapanda.adapters.event_batch import EVENTS_A_BATCH, EventBatch
from alphapanda.adapters.instrument_table import write_instruments
from alphapanda.adapters.run_writer import WriterProcess
from alphapanda.adapters.topic_files import TopicFiles
from alphapanda.contracts.events import Event
from alphapanda.contracts.instruments import Instrument

FEW_EVENTS = 5_000
"""A run with few events is written at its end, by the process that made them."""


class RunFolder:
    """Writes one run. Use as a context manager: leaving it with an error removes what was written."""

    def __init__(self, root: Path, feature_names: tuple[str, ...]) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root, self.folder = root, root / f".run-{os.getpid()}-{id(self)}.tmp"
        self.folder.mkdir()
        self.writer_rss_mb = 0.0
        self._names = feature_names
        self._writer: WriterProcess | None = None
        self._batch = EventBatch()
        self.counts, self.refused = self._batch.counts, self._batch.refused

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._writer is not None:
            self._writer.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, events: list[Event]) -> None:
        """Take events in `pos` order."""
        if self._batch.add(events) >= (FEW_EVENTS if self._writer is None else EVENTS_A_BATCH):
            if self._writer is None:
                self._writer = WriterProcess(self.folder, self._names)
            self._writer.take(self._batch.taken())

    def close(self) -> dict[str, str]:
        """Finish every topic's file; returns the digest of each topic. Raises RunWriterError where that failed."""
        batch = self._batch.taken()
        if self._writer is None:
            files = TopicFiles(self.folder, self._names)
            files.take(batch)
            return files.close()
        self._writer.take(batch)
        digests, self.writer_rss_mb = self._writer.close()
        return digests

    def publish(self, run_id: str, manifest: dict[str, Any], instruments: list[Instrument]) -> Path:
        """Add manifest and instruments, sync, and rename to `run_id=...`, replacing a run of the same id."""
        write_instruments(self.folder, instruments)
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
