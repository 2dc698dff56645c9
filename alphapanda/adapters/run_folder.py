"""A run's folder: one Parquet file for each output topic, a digest for each, and the manifest.

It is written under a temporary name, synced, and renamed: a run exists whole or not at all. Large runs are written by a
process of their own (`run_writer`), so that the loop does not wait for it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alphapanda.adapters.durable import sync
from alphapanda.adapters.event_batch import EVENTS_A_BATCH, Batch, by_type
from alphapanda.adapters.instrument_table import write_instruments
from alphapanda.adapters.run_writer import Work, WriterProcess, Written
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
        self._names, self._enough = feature_names, FEW_EVENTS
        self._writer: WriterProcess | None = None
        self._work: Work | None = None
        self._extra: Callable[[], Batch] = dict
        self._waiting: list[Event] = []

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._writer is not None:
            self._writer.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def process_with(self, work: Work, extra: Callable[[], Batch]) -> None:
        """Have whoever writes the events do this work with each batch first. To be said before any event is written.

        `extra` gives, for each batch as it leaves, what is for the work alone.
        """
        self._work, self._extra = work, extra

    def write(self, events: list[Event]) -> None:
        """Take events in `pos` order."""
        waiting = self._waiting
        waiting += events
        if len(waiting) >= self._enough:
            if self._writer is None:
                self._writer, self._enough = WriterProcess(self.folder, self._names, self._work), EVENTS_A_BATCH
            self._writer.take(self._batch())

    def _batch(self) -> Batch:
        waiting, self._waiting = self._waiting, []
        return by_type(waiting) | self._extra()

    def close(self) -> Written:
        """Finish every topic's file. Raises RunWriterError where that failed."""
        batch = self._batch()
        if self._writer is None:
            files = TopicFiles(self.folder, self._names)
            files.take(batch if self._work is None else self._work(batch))
            return Written(files.close(), files.tally, 0.0)
        self._writer.take(batch)
        return self._writer.close()

    def publish(self, run_id: str, manifest: dict[str, Any], instruments: list[Instrument]) -> Path:
        """Add manifest and instruments, sync, and rename to `run_id=...`, replacing a run of the same id."""
        sync(write_instruments(self.folder, instruments))
        made = self.folder / "manifest.json"
        made.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        sync(made)
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
