"""A sweep: sets over tapes, the best chosen on the training part, and looked at on the holdout.

The holdout is replayed for the best set alone: whoever looks at it for every set has chosen on it.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.research.search import figures, honest
from alphapanda.research.search.folder import SearchFolder
from alphapanda.research.search.outcome import STATS, Outcome, Tried
from alphapanda.research.search.plan import Part, Stage
from alphapanda.research.search.space import Point


class Best(NamedTuple):
    """The set with the best score on the training part, beside what it did on the holdout."""

    number: int
    point: Point
    score: float
    holdout: float | None  # the same objective there; None without a holdout, or where it has no value
    stats: dict[str, float | None]  # on the training part, means over tapes
    holdout_stats: dict[str, float | None]


class Sweep:
    """A sweep's results, also of one that is under way or was killed."""

    def __init__(self, folder: SearchFolder) -> None:
        self.folder, self.path, self.plan = folder, folder.path, folder.plan
        self.outcome = Outcome(folder)

    @classmethod
    def open(cls, path: Path | str) -> "Sweep":
        """A sweep's folder. Raises AlphaPandaError where it is none."""
        folder = SearchFolder.open(Path(path))
        if folder.plan.kind == "walkforward":
            raise AlphaPandaError(f"{path} is a walk-forward: open it with WalkForward.open")
        return cls(folder)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def stage(self) -> Stage:
        """Training and holdout."""
        return self.plan.stages[0]

    @cached_property
    def results(self) -> pl.DataFrame:
        """One row a set on the training part: number, its values, score, statistics (means over tapes), problem."""
        return self.outcome.frame(self.stage.train)

    @property
    def replays(self) -> pl.DataFrame:
        """One row a replay, the holdout's too: part, tape, the set's values, statistics, digest, seconds."""
        return self.outcome.replays

    @property
    def tried(self) -> int:
        """How many sets were tried."""
        return self.results.height

    @property
    def done(self) -> bool:
        """Whether nothing is missing."""
        return self.folder.finished

    @cached_property
    def best(self) -> Best | None:
        """The best set; None where none has a score."""
        return best_of(self.outcome, self.stage, self._holdout)

    @cached_property
    def _holdout(self) -> Tried | None:
        return None if self.stage.test is None else next(iter(self.outcome.tried(self.stage.test)), None)

    @cached_property
    def deflated(self) -> honest.Deflated | None:
        """The best set's Sharpe ratio against what luck would have brought; None for several tapes, or too few returns."""
        return deflated(self.outcome, self.stage.train)

    @cached_property
    def warnings(self) -> list[str]:
        """What must be said beside the best set."""
        if self.best is None:
            return [*problems(self.results), nothing_scored(self.plan.objective, self.tried)]
        said = [*problems(self.results), *honest.luck(self.deflated, self.tried)]
        if (self.best.stats["net_pnl"] or 0) <= 0:
            said.append("the best set made no money in training")
        said += honest.few_round_trips("the best set's training", self.best.stats["round_trips"])
        return [*said, *self._about_holdout(self.best), *at_the_edge(self.results, self.best.point, self.plan.dimensions)]

    def _about_holdout(self, best: Best) -> list[str]:
        if self.stage.test is None:
            return ["no holdout: the score is of the very data on which the set was chosen; keep some back with holdout=0.3"]
        if self._holdout is None:
            return []
        said = [f"on the holdout: {self._holdout.problem}"] if self._holdout.problem else []
        gained, then = best.stats["net_pnl"], best.holdout_stats.get("net_pnl")
        if gained is not None and then is not None and gained > 0 >= then:
            said.append(f"the best set made {gained:,.2f} in training and {then:,.2f} on the holdout: it did not carry over")
        return said + honest.few_round_trips("the holdout", best.holdout_stats.get("round_trips"))

    def heatmap(self, x: str | None = None, y: str | None = None, value: str = "score") -> Any:
        """A plotly figure of `value` (score or a statistic) over two dimensions; with one dimension a line."""
        across, down = figures.axes(list(self.plan.dimensions), x, y)
        shown = f"{self.plan.objective if value == 'score' else value} on the training part".replace("_", " ")
        return figures.heatmap(self.results, across, down, value, shown, None if self.best is None else self.best.point)

    def plot(self) -> Any:
        """The score of every set."""
        return figures.scores_figure(self.results, self.plan.objective)

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "name": self.name, "path": str(self.path), "objective": self.plan.objective, "method": self.plan.method,
            "tried": self.tried, "done": self.done, "best": None if self.best is None else self.best._asdict(),
            "deflated": None if self.deflated is None else self.deflated._asdict(), "warnings": self.warnings,
            "results": self.results.to_dicts(),
        }  # fmt: skip

    def __repr__(self) -> str:
        best = "none" if self.best is None else f"{self.best.point} {self.plan.objective}={self.best.score:,.4f}"
        return f"<Sweep {self.name} tried={self.tried} best={best}>"

    def _repr_html_(self) -> str:
        from alphapanda.research.search.show import card

        return card(self)


def best_of(outcome: Outcome, stage: Stage, look: Tried | None) -> Best | None:
    """The best set of a stage, with what it did where it was looked at."""
    one = outcome.best(stage.train)
    if one is None or one.score is None:
        return None
    later = look if look is not None and look.number == one.number else None
    return Best(
        one.number, one.point, one.score, None if later is None else later.score, {name: one.stat(name) for name in STATS},
        {} if later is None else {name: later.stat(name) for name in STATS},
    )  # fmt: skip


def deflated(outcome: Outcome, train: Part) -> honest.Deflated | None:
    """The deflated view of a part's best set; of one tape alone."""
    best, tried = outcome.best(train), outcome.tried(train)
    if best is None or len(best.results) != 1:
        return None
    return honest.deflate(best.results[0].moments, [one.results[0].moments for one in tried], len(tried))


def nothing_scored(objective: str, tried: int) -> str:
    """Why there is no best set."""
    more = " (it needs 20 sessions)" if objective in ("sharpe", "sortino", "calmar") else ""
    return f"none of {tried} sets has a value of {objective}{more}: there is no best set"


def problems(results: pl.DataFrame) -> list[str]:
    """Sets that failed, or in which a strategy was halted."""
    wrong = results.filter(pl.col("problem").is_not_null())
    return [f"{wrong.height} of {results.height} sets do not count, such as {wrong['problem'][0]}"] if wrong.height else []


def at_the_edge(results: pl.DataFrame, best: Point, dimensions: Mapping[str, Any]) -> list[str]:
    """Dimensions at whose first or last tried number the best set lies: the best may lie beyond."""
    return [
        f"the best {name}={best[name]} lies at the edge of what was tried: there may be a better one beyond it"
        for name in dimensions
        if results[name].dtype.is_numeric() and _at_edge(results[name].unique().sort().to_list(), best[name])
    ]


def _at_edge(values: Sequence[Any], best: Any) -> bool:
    return len(values) > 2 and best in (values[0], values[-1])
