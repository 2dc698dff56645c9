"""What `import alphapanda as ap` offers: `ap.replay`, `ap.load`, `ap.runs`, `ap.sql`, `ap.lookahead`."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from alphapanda.adapters.tape import Seq, Tape
from alphapanda.cli_terminal import Bar
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research import lookahead as lookahead_check
from alphapanda.research import runs as results
from alphapanda.research import store
from alphapanda.research.lookahead import Verdict
from alphapanda.research.runs import Run
from alphapanda.runtime.container import AppContainer, named
from alphapanda.runtime.replay_run import Progress, run_replay
from alphapanda.runtime.settings import RECORDED, load_settings
from alphapanda.runtime.signals_from import RecordedSignals
from alphapanda.runtime.spec import ReplaySpec, read_spec
from alphapanda.services.strategy_runner.strategy import Strategy


def replay(
    tape: str | Path | None = None, strategies: Sequence[Strategy] = (), *, start: str | Seq | None = None,
    end: str | Seq | None = None, settings: Mapping[str, Any] | None = None, out: str | Path | None = None,
    progress: Progress | bool | None = None, signals_from: Run | str | Path | None = None,
) -> Run:  # fmt: skip
    """Replay a tape through the whole pipeline and return the run.

    `start` and `end` are seqs (`"1-500"`) or times (`"2024-03-01T04:00:00Z"`); the range is [start, end). `settings` maps
    `section.key` to a value, such as `{"execution.latency_ms": 5}`. `progress`: True, False, or a function of ticks done
    and ticks in all; by default a bar in notebooks and terminals. `signals_from`: a run over the same tape, whose signals
    are played back in place of strategies, with its settings where `settings` says nothing else; tape and range are then
    its own unless given. Raises ConfigurationError and TapeError.
    """
    with _told(progress) as told:
        if signals_from is not None:
            if strategies:
                raise ConfigurationError("signals_from takes the place of strategies: give one of the two")
            source = signals_from if isinstance(signals_from, Run) else load(signals_from)
            return replay_signals(source, tape, start=start, end=end, settings=settings, out=out, progress=told)
        if tape is None:
            raise ConfigurationError("say which tape is to be replayed")
        container = AppContainer(load_settings(dict(settings or {})))
        place = Path(out) if out is not None else None
        finished = run_replay(container, Tape.open(tape), named(strategies), start=start, end=end, out=place, progress=told)
    return Run.open(finished.path)


def replay_signals(
    source: Run, tape: str | Path | None = None, *, start: str | Seq | None = None, end: str | Seq | None = None,
    settings: Mapping[str, Any] | None = None, out: str | Path | None = None, progress: Progress | None = None,
) -> Run:  # fmt: skip
    """Play back a run's signals; see `replay`."""
    said = source.manifest["tape"]
    opened = Tape.open(tape if tape is not None else said["path"])
    signals = RecordedSignals.of_run(source.path, source.manifest, opened)
    kept = {f"{name}.{key}": value for name in RECORDED for key, value in source.manifest["settings"][name].items()}
    container = AppContainer(load_settings({**kept, **(settings or {})}))
    finished = run_replay(
        container, opened, signals.specs(opened), start=start or tuple(said["start"]), end=end or tuple(said["end"]),
        out=Path(out) if out is not None else None, progress=progress, signals=signals,
    )  # fmt: skip
    return Run.open(finished.path)


@contextlib.contextmanager
def _told(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """The function to tell: the caller's, or a bar's."""
    if callable(progress):
        yield progress
    elif progress or (progress is None and (sys.stderr.isatty() or _in_notebook())):
        with Bar("replay") as bar:
            yield bar
    else:
        yield None


def _in_notebook() -> bool:
    """Whether a kernel with a display of its own is asking."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def load(name: str | Path = "latest", root: str | Path | None = None) -> Run:
    """A run by id, by folder, or the newest."""
    return results.load(name, root or load_settings().storage.runs)


def runs(root: str | Path | None = None) -> pl.DataFrame:
    """All runs, newest first."""
    return results.runs(root or load_settings().storage.runs)


def sql(query: str, *, root: str | Path | None = None, tapes: str | Path | None = None) -> duckdb.DuckDBPyRelation:
    """A DuckDB relation over every run and tape: views runs, tapes, ticks, fills, orders, signals and more (docs/results.md).

    `root` and `tapes` are the folders of runs and tapes, by default those of the settings. Raises AlphaPandaError where the
    query is not understood.
    """
    storage = load_settings().storage
    return store.query(query, results.runs(root or storage.runs), Path(tapes or storage.tapes))


def lookahead(spec: str | Path | ReplaySpec, *, cuts: int = lookahead_check.CUTS, seed: int = 7) -> Verdict:
    """Whether a spec's strategies decide the same when the future is cut off or changed (docs/lookahead.md)."""
    return lookahead_check.check(spec if isinstance(spec, ReplaySpec) else read_spec(Path(spec)), cuts=cuts, seed=seed)
