"""Carrying out a plan: propose, replay, keep, until every part has its sets and every best set its holdout."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphapanda.research.search.evaluate import Job, Result
from alphapanda.research.search.folder import SearchFolder
from alphapanda.research.search.outcome import Outcome, score_of
from alphapanda.research.search.plan import Part, Planned, encoded, owner_of, settings_of
from alphapanda.research.search.propose import Numbered, proposer
from alphapanda.research.search.space import Point
from alphapanda.research.search.workers import Workers

Told = Callable[[float, float], None]
"""Called with (replays done, replays in all) now and then; one under way counts by its part."""


@dataclass
class Progressing:
    """How far a search is."""

    told: Told | None
    total: int
    done: int = 0
    under_way: dict[str, float] = field(default_factory=dict)

    def ticks(self, job: Job, ticks: int) -> None:
        """A job has replayed so many ticks."""
        numbers = job.span.end[1] - job.span.start[1] if job.span.start[0] == job.span.end[0] else 0
        self.under_way[job.key] = min(1.0, ticks / numbers) if numbers > 0 else 0.0
        self._tell()

    def finished(self, key: str) -> None:
        """A replay is finished, or was found finished."""
        self.under_way.pop(key, None)
        self.done += 1
        self._tell()

    def _tell(self) -> None:
        if self.told is not None:
            self.told(self.done + sum(self.under_way.values()), max(self.total, self.done))


class Carrier:
    """One search under way."""

    def __init__(self, folder: SearchFolder, workers: Workers, progress: Progressing, *, keep_runs: bool) -> None:
        self.folder, self.plan, self._workers, self._progress = folder, folder.plan, workers, progress
        self._keep = str(folder.path / "runs") if keep_runs else None

    def run(self) -> None:
        """Everything that is missing. What is finished is not replayed again."""
        self._search()
        outcome, looks = Outcome(self.folder), list[tuple[Part, int, Point]]()
        for stage in self.plan.stages:
            best = outcome.best(stage.train)
            if stage.test is not None and best is not None:
                looks.append((stage.test, best.number, best.point))
        self._replay(looks)
        self.folder.finish()

    def _search(self) -> None:
        """Sets on the training parts: a batch of each part at a time, so that all processes have work."""
        proposers = {stage.train.name: proposer(self.plan, stage.train.name, self.folder.path) for stage in self.plan.stages}
        parts = {stage.train.name: stage.train for stage in self.plan.stages}
        batches = {name: one.batches() for name, one in proposers.items()}
        while now := self._next(batches):
            results = self._replay([(parts[name], number, point) for name, points in now.items() for number, point in points])
            for name, points in now.items():
                proposers[name].tell([score_of(results[name, encoded(point)], self.plan.objective) for _, point in points])

    def _next(self, batches: dict[str, Iterator[list[Numbered]]]) -> dict[str, list[Numbered]]:
        now = {name: next(batch, None) for name, batch in batches.items()}
        return {name: points for name, points in now.items() if points}

    def _replay(self, asked: Sequence[tuple[Part, int, Point]]) -> dict[tuple[str, bytes], list[Result]]:
        """Results by part and set, in the order of the tapes; what is not in the folder is replayed and put there."""
        found, jobs = dict[str, Result](), dict[str, Job]()
        for part, number, point in asked:
            for job in self.jobs(part, number, point):
                jobs.setdefault(job.key, job)  # optuna may propose a set twice
        for key in jobs:
            if (kept := self.folder.result(key)) is not None:
                found[key] = kept
                self._progress.finished(key)
        missing = [job for key, job in jobs.items() if key not in found]
        for result in self._workers.run(missing, self._progress.ticks):
            self.folder.keep(result)
            found[result.key] = result
            self._progress.finished(result.key)
        return {
            (part.name, encoded(point)): [found[job.key] for job in self.jobs(part, number, point)]
            for part, number, point in asked
        }

    def jobs(self, part: Part, number: int, point: Point) -> list[Job]:
        """A set on a part: one job a tape."""
        strategies, settings = self._strategies(point), settings_of(self.plan, point)
        found = []
        for path, digest, span in zip(self.folder.tapes, self.plan.tapes, part.ranges, strict=True):
            key = hashlib.sha256(encoded([part.name, digest, point])).hexdigest()[:20]
            tape = str(Path(path).absolute())
            found.append(Job(key, number, part.name, point, tape, digest, span, strategies, settings, self._keep))
        return found

    def _strategies(self, point: Point) -> tuple[Planned, ...]:
        params: dict[str, dict[str, Any]] = {one.strategy_id: dict(one.params) for one in self.plan.strategies}
        for name, value in point.items():
            if name in self.plan.varied:
                continue
            owner, parameter = owner_of(name, self.plan.strategies)
            params[owner.strategy_id][parameter] = value
        return tuple(
            Planned(one.strategy_id, one.lane, one.class_, params[one.strategy_id], one.code_digest)
            for one in self.plan.strategies
        )


def carry_out(folder: SearchFolder, workers: Workers, told: Told | None, *, keep_runs: bool = False) -> None:
    """Carry out what is missing of a search. Raises what its replays raise; what is finished stays."""
    with folder.alone(), closing(workers):
        Carrier(folder, workers, Progressing(told, folder.plan.replays), keep_runs=keep_runs).run()
