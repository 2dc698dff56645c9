"""Which sets are to be tried next: those of the plan, or those that optuna proposes from what it was told.

Optuna is asked for a fixed number of sets at a time and told their scores in the order in which it named them, and its
sampler is seeded by seed and number: so its proposals are the same on any number of processes, and after a kill.
"""

import random
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research.search.plan import Plan
from alphapanda.research.search.space import Point, Span
from alphapanda.research.search.wanted import OBJECTIVES

Numbered = tuple[int, Point]
"""A set with its number in the order of proposal."""


class Proposer(Protocol):
    """Proposes sets batch by batch."""

    def batches(self) -> Iterator[list[Numbered]]:
        """The next sets; between two of them `tell` is called with the scores of the first."""

    def tell(self, scores: Sequence[float | None]) -> None:
        """The scores of the batch, in its order; None where a set has none."""


class Fixed:
    """The plan's own sets, all at once."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = list(enumerate(points))

    def batches(self) -> Iterator[list[Numbered]]:
        """One batch."""
        yield self._points

    def tell(self, scores: Sequence[float | None]) -> None:
        """They do not matter."""


class Optuna:
    """Optuna's TPE, with its journal in the search's folder."""

    def __init__(self, plan: Plan, part: str, folder: Path) -> None:
        self._optuna = _optuna()
        self._plan, self._space = plan, {name: self._distribution(name, one) for name, one in plan.dimensions.items()}
        journal = self._optuna.storages.journal.JournalFileBackend(str(folder / f"optuna-{part}.journal"))
        direction = "maximize" if OBJECTIVES[plan.objective] > 0 else "minimize"
        self._study = self._optuna.create_study(
            storage=self._optuna.storages.JournalStorage(journal), study_name=part, direction=direction, load_if_exists=True
        )
        self._asked: list[Any] = []

    def _distribution(self, name: str, one: Any) -> Any:
        kinds = self._optuna.distributions
        if not isinstance(one, dict):
            if any(isinstance(value, list | dict) for value in one):
                raise ConfigurationError(f"{name}: optuna chooses among numbers and texts, not lists")
            return kinds.CategoricalDistribution(one)
        span = msgspec.convert(one, Span)
        if span.whole:
            return kinds.IntDistribution(int(span.low), int(span.high), log=span.log, step=int(span.step or 1))
        return kinds.FloatDistribution(span.low, span.high, log=span.log, step=span.step)

    def batches(self) -> Iterator[list[Numbered]]:
        """Batches until there were as many trials as the plan says; those that a kill left without a score come first."""
        running = self._optuna.trial.TrialState.RUNNING
        unfinished = [self._optuna.trial.Trial(self._study, one._trial_id)
                      for one in self._study.get_trials(deepcopy=False, states=(running,))]  # fmt: skip
        done = len(self._study.get_trials(deepcopy=False)) - len(unfinished)
        while done < self._plan.trials:
            size = min(self._plan.batch - done % self._plan.batch, self._plan.trials - done)
            self._asked = [*unfinished, *(self._ask(done + i) for i in range(len(unfinished), size))]
            unfinished = []
            yield [(trial.number, {name: trial.params[name] for name in self._space}) for trial in self._asked]
            done += len(self._asked)

    def _ask(self, number: int) -> Any:
        seed = random.Random(f"{self._plan.seed}-{number}").getrandbits(31)  # noqa: S311  # a search, not a secret
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed)
        return self._study.ask(self._space)

    def tell(self, scores: Sequence[float | None]) -> None:
        """A set without a score failed."""
        for trial, score in zip(self._asked, scores, strict=True):
            if score is None:
                self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, score)


def _optuna() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what its own imports warn of says nothing about the search
            import optuna
    except ModuleNotFoundError as error:
        raise ConfigurationError("the method optuna needs the extra `search`: pip install 'alphapanda[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def proposer(plan: Plan, part: str, folder: Path) -> Proposer:
    """Who proposes the sets of a part."""
    return Optuna(plan, part, folder) if plan.points is None else Fixed(plan.points)
