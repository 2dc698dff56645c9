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
        self._notes: Callable[[], Batch] = dict
        self.waiting: list[Event] = []
        """What was said, in `pos` order, and not passed on yet."""

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._writer is not None:
            self._writer.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def have_done(self, work: Work, notes: Callable[[], Batch]) -> None:
        """Have this done with all events before they are written, by whoever writes them. To be said before the first.

        `notes` gives, for each batch as it leaves, what is for the work alone.
        """
        self._work, self._notes = work, notes

    def write(self, events: list[Event]) -> None:
        """Take events in `pos` order."""
        self.waiting += events
        self.pass_on()

    def pass_on(self) -> None:
        """Hand over what waits, if it is enough. To be called between two seqs, after every few events."""
        if len(self.waiting) >= self._enough:
            if self._writer is None:
                self._writer, self._enough = WriterProcess(self.folder, self._names, self._work), EVENTS_A_BATCH
            self._writer.take(self._batch())

    def _batch(self) -> Batch:
        batch = by_type(self.waiting) | self._notes()
        self.waiting.clear()  # in place: others hold on to it
        return batch

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
