"""What `import alphapanda as ap` offers: `ap.replay`, `ap.load`, `ap.runs`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from alphapanda.adapters.tape import Seq, Tape
from alphapanda.research import runs as results
from alphapanda.research.runs import Run
from alphapanda.runtime.container import AppContainer, named
from alphapanda.runtime.replay_run import Progress, run_replay
from alphapanda.runtime.settings import load_settings
from alphapanda.services.strategy_runner.strategy import Strategy


def replay(
    tape: str | Path, strategies: Sequence[Strategy], *, start: str | Seq | None = None, end: str | Seq | None = None,
    settings: Mapping[str, Any] | None = None, out: str | Path | None = None, progress: Progress | None = None,
) -> Run:  # fmt: skip
    """Replay a tape through the whole pipeline and return the run.

    `start` and `end` are seqs (`"1-500"`) or times (`"2024-03-01T04:00:00Z"`); the range is [start, end). `settings` maps
    `section.key` to a value, such as `{"execution.latency_ms": 5}`. Raises ConfigurationError and TapeError.
    """
    container = AppContainer(load_settings(dict(settings or {})))
    place = Path(out) if out is not None else None
    finished = run_replay(container, Tape.open(tape), named(strategies), start=start, end=end, out=place, progress=progress)
    return Run.open(finished.path)


def load(name: str | Path = "latest", root: str | Path | None = None) -> Run:
    """A run by id, by folder, or the newest."""
    return results.load(name, root or load_settings().storage.runs)


def runs(root: str | Path | None = None) -> pl.DataFrame:
    """All runs, newest first."""
    return results.runs(root or load_settings().storage.runs)
