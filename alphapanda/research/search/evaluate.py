"""One replay of a search: a job in, a finished result out.

An `Evaluator` stays warm: classes are imported once, each tape is opened and verified once.
"""

import gc
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError, TapeError
from alphapanda.research import series
from alphapanda.research.performance import FEWEST_SESSIONS, returns
from alphapanda.research.runs import Run
from alphapanda.research.search.honest import Moments, moments
from alphapanda.research.search.light import LightRun, Range, light_replay
from alphapanda.research.search.plan import Classes, Planned, class_named
from alphapanda.runtime.container import AppContainer, StrategySpec
from alphapanda.runtime.replay_run import Progress, run_replay
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.strategies import author_line, code_digest
from alphapanda.services.strategy_runner.strategy import Strategy

COLLECT_EVERY_S = 1.0
"""Replays leave cycles behind, and while one is under way nobody looks for them; to look costs as much as a small replay."""


class Job(msgspec.Struct, frozen=True):
    """One replay: everything that a worker needs to know."""

    key: str
    number: int  # the set's, in the order of proposal
    part: str
    point: dict[str, Any]
    tape: str
    tape_digest: str
    span: Range
    strategies: tuple[Planned, ...]
    settings: dict[str, Any]
    keep: str | None = None  # folder of runs, where whole runs are kept


class Result(msgspec.Struct, frozen=True):
    """One finished replay. Without `error` it has a digest and statistics."""

    key: str
    number: int
    part: str
    point: dict[str, Any]
    tape_digest: str
    span: Range
    seconds: float
    error: str | None = None  # why the set could not be replayed
    halted: tuple[str, ...] = ()  # strategies that raised, and where
    digest: str = ""
    digests: dict[str, str] = {}
    stats: dict[str, float | int | None] = {}
    counts: dict[str, Any] = {}
    moments: Moments | None = None
    sessions: tuple[float, ...] = ()  # returns at session closes
    run_id: str | None = None

    @property
    def usable(self) -> bool:
        """Whether its figures are those of strategies that ran to the end."""
        return self.error is None and not self.halted


class Evaluator:
    """Replays jobs, one after the other, in this process."""

    def __init__(self, classes: Classes) -> None:
        self._given, self._classes = classes, dict[str, type[Strategy]]()
        self._tapes: dict[str, Tape] = {}
        self._collected_s = time.monotonic()

    def __call__(self, job: Job, progress: Progress | None = None) -> Result:
        """Replay one job. What is wrong with its set alone is in the result; TapeError and ConfigurationError are raised."""
        began, tape = time.perf_counter(), self._tape(job)
        classes = [self._class(one) for one in job.strategies]
        try:
            run = self._replay(job, tape, classes, progress)
        except TapeError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever an author's code raises with this set: the others go on
            seconds = round(time.perf_counter() - began, 6)
            return Result(job.key, job.number, job.part, job.point, job.tape_digest, job.span, seconds, said(error))
        result = _result(job, run, time.perf_counter() - began)
        if time.monotonic() - self._collected_s >= COLLECT_EVERY_S:
            del run
            gc.collect()
            self._collected_s = time.monotonic()
        return result

    def _tape(self, job: Job) -> Tape:
        tape = self._tapes.get(job.tape)
        if tape is None:
            tape = Tape.open(job.tape)
            if tape.digest != job.tape_digest:
                raise TapeError(f"{job.tape} is another tape than the search was begun with: its digest differs")
            tape.verify()
            self._tapes[job.tape] = tape
        return tape

    def _class(self, one: Planned) -> type[Strategy]:
        cls = self._classes.get(one.class_)
        if cls is None:
            cls = self._classes[one.class_] = class_named(one.class_, self._given)
            if code_digest(cls) != one.code_digest:
                raise ConfigurationError(f"the code of {one.class_} was changed while the search was under way: begin it anew")
        return cls

    def _replay(self, job: Job, tape: Tape, classes: list[type[Strategy]], progress: Progress | None) -> Run:
        container = AppContainer(load_settings(job.settings))
        specs = [
            StrategySpec(one.strategy_id, one.lane, cls.from_params(one.params))
            for one, cls in zip(job.strategies, classes, strict=True)
        ]
        if job.keep is None:
            return light_replay(container, tape, specs, job.span, progress)
        done = run_replay(
            container, tape, specs, start=job.span.start, end=job.span.end, out=Path(job.keep), progress=progress, verify=False
        )
        return Run.open(done.path)


def said(error: BaseException) -> str:
    """An error in words: a user's mistake as it stands, another with its kind and the author's line."""
    if isinstance(error, AlphaPandaError):
        return str(error)
    line = author_line(error)
    if line == "?":  # nothing of the author's took part: it is ours
        frame = traceback.extract_tb(error.__traceback__)[-1]
        line = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"{type(error).__name__}: {error}, at {line}"


def _result(job: Job, run: Run, seconds: float) -> Result:
    manifest, equity = run.manifest, run.equity
    closes = series.sessions(equity, run.start_equity)["return"].to_list()
    rows: list[dict[str, Any]] = manifest["halted"] if isinstance(run, LightRun) else run.halted.to_dicts()
    return Result(
        job.key, job.number, job.part, job.point, job.tape_digest, job.span, round(seconds, 6),
        halted=tuple(f"{row['strategy_id']} at {row['where']}: {row['error']}" for row in rows),
        digest=run.digest, digests=manifest["digests"], stats=run.stats, counts=manifest["counts"],
        moments=_moments(run, closes), sessions=tuple(closes), run_id=manifest["run_id"] or None,
    )  # fmt: skip


def _moments(run: Run, closes: list[float]) -> Moments | None:
    """Of session returns, or where these are fewer than 20 of returns between snapshots on the clock."""
    if len(closes) >= FEWEST_SESSIONS:
        return moments(closes, "session")
    clock = run.equity.filter(run.equity["reason"] == "clock")["equity"].to_numpy()
    values = returns(np.concatenate(([run.start_equity], clock)))
    return moments(values.tolist(), "clock snapshot")
