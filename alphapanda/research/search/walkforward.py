"""Walk-forward: in each fold the best set of the training stretch is looked at on the test stretch that follows it.

Only the tests count: nothing in them was seen when their set was chosen. Every test begins with the books at their start.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
import polars as pl

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.research.figures import GAIN, GREY, LINE, LOSS, blank
from alphapanda.research.performance import sharpe
from alphapanda.research.search import honest
from alphapanda.research.search.folder import SearchFolder
from alphapanda.research.search.outcome import Outcome
from alphapanda.research.search.sweep import Best, best_of, nothing_scored, problems


class FoldOutcome(NamedTuple):
    """One fold."""

    number: int
    best: Best | None
    sessions: tuple[float, ...]  # returns at session closes of the test
    train_sessions: int


class WalkForward:
    """A walk-forward's results."""

    def __init__(self, folder: SearchFolder) -> None:
        self.folder, self.path, self.plan = folder, folder.path, folder.plan
        self.outcome = Outcome(folder)

    @classmethod
    def open(cls, path: Path | str) -> "WalkForward":
        """A walk-forward's folder. Raises AlphaPandaError where it is none."""
        folder = SearchFolder.open(Path(path))
        if folder.plan.kind != "walkforward":
            raise AlphaPandaError(f"{path} is a {folder.plan.kind}, no walk-forward")
        return cls(folder)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @cached_property
    def outcomes(self) -> list[FoldOutcome]:
        """Every fold, in order."""
        found = []
        for number, stage in enumerate(self.plan.stages, 1):
            assert stage.test is not None  # noqa: S101  # a fold has one
            test = next(iter(self.outcome.tried(stage.test)), None)
            best, chosen = best_of(self.outcome, stage, test), self.outcome.best(stage.train)
            closes = test.results[0].sessions if test is not None else ()
            found.append(FoldOutcome(number, best, closes, 0 if chosen is None else len(chosen.results[0].sessions)))
        return found

    @cached_property
    def folds(self) -> pl.DataFrame:
        """One row a fold: its ranges, the chosen set, the objective and figures in training and test."""
        rows = []
        for one, stage in zip(self.outcomes, self.plan.stages, strict=True):
            assert stage.test is not None  # noqa: S101  # a fold has one
            best = one.best
            chosen = dict.fromkeys(self.plan.dimensions) if best is None else best.point
            stats, later = ({}, {}) if best is None else (best.stats, best.holdout_stats)
            rows.append({
                "fold": one.number, "train": stage.train.said[0], "test": stage.test.said[0], **chosen,
                "train_score": None if best is None else best.score, "test_score": None if best is None else best.holdout,
                "train_net_pnl": stats.get("net_pnl"), "test_net_pnl": later.get("net_pnl"),
                "test_max_drawdown": later.get("max_drawdown"), "test_round_trips": later.get("round_trips"),
            })  # fmt: skip
        return pl.DataFrame(rows, infer_schema_length=None)

    @property
    def replays(self) -> pl.DataFrame:
        """One row a replay."""
        return self.outcome.replays

    @cached_property
    def returns(self) -> list[float]:
        """Session returns of all tests, one after the other."""
        return [value for one in self.outcomes for value in one.sessions]

    @cached_property
    def stats(self) -> dict[str, float | int | None]:
        """What the tests say together.

        `net_pnl` and `round_trips`: sums. `sharpe`: of all tests' session returns (none under 20). `efficiency`: net P&L a
        session in the tests over that in the trainings (Pardo, The Evaluation and Optimization of Trading Strategies, 2008):
        1 where all carries over; none where training made nothing. `profitable`: part of the folds that made money.
        """
        tested = [one for one in self.outcomes if one.best is not None and one.best.holdout_stats]
        made = [one.best.holdout_stats["net_pnl"] or 0.0 for one in tested if one.best is not None]
        trained = [one.best.stats["net_pnl"] or 0.0 for one in tested if one.best is not None]
        trips = [one.best.holdout_stats["round_trips"] or 0 for one in tested if one.best is not None]
        sessions, before = len(self.returns), sum(one.train_sessions for one in tested)
        rate = sum(trained) / before if before else 0.0
        return {
            "folds": len(tested), "net_pnl": sum(made), "round_trips": int(sum(trips)), "sessions": sessions,
            "sharpe": sharpe(self.returns), "efficiency": sum(made) / sessions / rate if rate > 0 and sessions else None,
            "profitable": sum(one > 0 for one in made) / len(made) if made else None,
        }  # fmt: skip

    @property
    def tried(self) -> int:
        """How many sets were tried in every fold."""
        return max((len(self.outcome.tried(stage.train)) for stage in self.plan.stages), default=0)

    @cached_property
    def warnings(self) -> list[str]:
        """What must be said beside it."""
        said = [line for stage in self.plan.stages for line in problems(self.outcome.frame(stage.train))][:1]
        without = [one.number for one in self.outcomes if one.best is None]
        if without:
            said.append(f"folds {', '.join(map(str, without))}: {nothing_scored(self.plan.objective, self.tried)}")
        said += honest.few_round_trips("all tests together", self.stats["round_trips"])
        if (
            (self.stats["net_pnl"] or 0)
            <= 0
            < sum(one.best.stats["net_pnl"] or 0.0 for one in self.outcomes if one.best is not None)
        ):
            said.append("the trainings made money and the tests did not: what was found did not carry over")
        if len(self.outcomes) < FEW_FOLDS:
            said.append(f"{len(self.outcomes)} folds are few: under {FEW_FOLDS} one of them decides")
        return said

    def plot(self) -> go.Figure:
        """Net P&L of each fold's training and test, and of the tests so far."""
        return folds_figure(self.folds)

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "name": self.name, "path": str(self.path), "objective": self.plan.objective, "tried": self.tried, "stats": self.stats,
            "warnings": self.warnings, "folds": self.folds.to_dicts(),
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"<WalkForward {self.name} folds={len(self.outcomes)} net_pnl={self.stats['net_pnl']:,.2f}>"

    def _repr_html_(self) -> str:
        from alphapanda.research.search.show import walk_card

        return walk_card(self)


FEW_FOLDS = 4


def folds_figure(folds: pl.DataFrame) -> go.Figure:
    """Bars of training and test, and the sum of the tests as a line."""
    figure = blank("Net P&L by fold", "currency", "fold")
    for column, colour in (("train_net_pnl", GREY), ("test_net_pnl", LINE)):
        named = column.removesuffix("_net_pnl")
        figure.add_trace(go.Bar(x=folds["fold"].to_list(), y=folds[column].to_list(), name=named, marker={"color": colour}))
    total: Sequence[float] = np.cumsum(folds["test_net_pnl"].fill_null(0.0).to_numpy()).tolist()
    line = {"color": GAIN if len(total) and total[-1] > 0 else LOSS, "width": 1.6}
    figure.add_trace(go.Scatter(x=folds["fold"].to_list(), y=total, name="tests so far", mode="lines+markers", line=line))
    figure.update_layout(barmode="group", xaxis={"type": "category"})
    return figure
