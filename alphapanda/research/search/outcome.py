"""What a search has found so far, read from its folder: every set's score on each part, and the best."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import polars as pl

from alphapanda.research.search.evaluate import Result
from alphapanda.research.search.folder import RESULTS, SearchFolder
from alphapanda.research.search.plan import Part
from alphapanda.research.search.space import Point
from alphapanda.research.search.wanted import OBJECTIVES

STATS = (
    "net_pnl", "total_return", "sharpe", "sortino", "max_drawdown", "win_rate", "profit_factor", "charges", "slippage", "fills",
    "round_trips",
)  # fmt: skip
"""The statistics that stand in frames beside the score; every other one is in the results' files."""


class Tried(NamedTuple):
    """One set on one part, over all tapes. `score`: the mean of the objective over tapes; None where it has none."""

    number: int
    point: Point
    score: float | None
    results: tuple[Result, ...]

    @property
    def problem(self) -> str | None:
        """Why its figures do not count."""
        said = [one.error or "; ".join(one.halted) for one in self.results if not one.usable]
        return said[0] if said else None

    def stat(self, name: str) -> float | None:
        """The mean of a statistic over tapes; counts are sums. None where one tape has no value."""
        values = [one.stats.get(name) for one in self.results]
        if not values or None in values:
            return None
        total = sum(value for value in values if value is not None)
        return total if name in ("fills", "round_trips", "sessions") else total / len(values)


def score_of(results: Sequence[Result], objective: str) -> float | None:
    """The mean of the objective over tapes; None where a replay has none, failed, or had a strategy halted."""
    values = [one.stats.get(objective) if one.usable else None for one in results]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


class Outcome:
    """A search's results."""

    def __init__(self, folder: SearchFolder) -> None:
        self.folder, self.plan = folder, folder.plan

    @cached_property
    def by_part(self) -> dict[str, list[Result]]:
        """Finished replays by the name of their part, in no order."""
        found: dict[str, list[Result]] = {}
        for path in sorted((self.folder.path / RESULTS).glob("[!.]*.json")):
            result = self.folder.result(path.stem)
            if result is not None:
                found.setdefault(result.part, []).append(result)
        return found

    @property
    def finished(self) -> int:
        """How many replays are finished."""
        return sum(map(len, self.by_part.values()))

    def tried(self, part: Part) -> list[Tried]:
        """The sets that are finished on every tape, in the order of proposal."""
        places, sets = {digest: i for i, digest in enumerate(self.plan.tapes)}, dict[int, list[Result]]()
        for result in self.by_part.get(part.name, []):
            sets.setdefault(result.number, []).append(result)
        found = []
        for number, results in sorted(sets.items()):
            if len(results) == len(places):
                results.sort(key=lambda one: places[one.tape_digest])
                score = score_of(results, self.plan.objective)
                found.append(Tried(number, results[0].point, score, tuple(results)))
        return found

    def best(self, part: Part) -> Tried | None:
        """The set with the best score; of equals the first. None where no set has a score."""
        sign = OBJECTIVES[self.plan.objective]
        scored = [one for one in self.tried(part) if one.score is not None]
        return max(scored, key=lambda one: (sign * one.score, -one.number), default=None)  # type: ignore[operator]

    def frame(self, part: Part) -> pl.DataFrame:
        """One row a set: number, its values, score, statistics, problem."""
        rows = [row(one, list(self.plan.dimensions)) for one in self.tried(part)]
        return pl.DataFrame(rows, schema=self._schema(), infer_schema_length=None)

    def _schema(self) -> dict[str, Any]:
        dimensions = {name: _dtype([one.point.get(name) for one in self._all()]) for name in self.plan.dimensions}
        stats = dict.fromkeys(STATS, pl.Float64) | {"fills": pl.Int64, "round_trips": pl.Int64}
        return {"number": pl.Int64} | dimensions | {"score": pl.Float64} | stats | {"problem": pl.String}

    def _all(self) -> list[Result]:
        return [one for results in self.by_part.values() for one in results]

    @cached_property
    def replays(self) -> pl.DataFrame:
        """One row a replay: part, tape, the set's values, statistics, digest, seconds."""
        rows = []
        for one in sorted(self._all(), key=lambda one: (one.part, one.number, self.plan.tapes.index(one.tape_digest))):
            said = {"part": one.part, "tape": self.folder.tapes[self.plan.tapes.index(one.tape_digest)]}
            values = row(Tried(one.number, one.point, score_of([one], self.plan.objective), (one,)), list(self.plan.dimensions))
            rows.append(said | values | {"digest": one.digest, "seconds": one.seconds, "run_id": one.run_id})
        last = {"digest": pl.String, "seconds": pl.Float64, "run_id": pl.String}
        return pl.DataFrame(rows, schema={"part": pl.String, "tape": pl.String} | self._schema() | last)


def row(one: Tried, dimensions: Sequence[str]) -> dict[str, Any]:
    """A set as frames have it."""
    values = {name: _shown(one.point.get(name)) for name in dimensions}
    return {
        "number": one.number,
        **values,
        "score": one.score,
        **{name: one.stat(name) for name in STATS},
        "problem": one.problem,
    }


def _shown(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _dtype(values: Sequence[Any]) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pl.Boolean
    if kinds == {int}:
        return pl.Int64
    return pl.Float64 if kinds and kinds <= {int, float} else pl.String
