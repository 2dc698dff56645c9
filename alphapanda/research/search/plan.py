"""The plan of a search: everything that decides its results, fixed before the first replay.

A plan names tapes, strategies and AlphaPanda's own code by digest, so two plans are equal where all results would be. It
stands in the folder's manifest, and a search goes on only under a plan that is equal.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

import alphapanda
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research.search.light import Range
from alphapanda.research.search.space import Dimension, Point, Span, dimension, drawn, grid
from alphapanda.research.search.wanted import Wanted
from alphapanda.runtime.container import named
from alphapanda.runtime.settings import RECORDED, load_settings, recorded
from alphapanda.runtime.strategies import code_digest, find_class
from alphapanda.services.strategy_runner.strategy import Strategy

Classes = Mapping[str, type[Strategy]]
"""Classes by name, where they cannot be imported by it: those of a notebook's cells."""
_PACKAGE = Path(alphapanda.__file__).parent
_DECIDING = ("adapters", "contracts", "core", "pipeline.py", "reference", "research", "runtime", "services")


class Planned(msgspec.Struct, frozen=True):
    """One strategy: `params` are in a plan those that stay, in a job all that are given."""

    strategy_id: str
    lane: int
    class_: str
    params: dict[str, Any]
    code_digest: str


class Part(msgspec.Struct, frozen=True):
    """One stretch of every tape on which sets are tried, or the chosen one is looked at."""

    name: str
    ranges: tuple[Range, ...]  # one a tape
    said: tuple[str, ...]  # the same in the market's own time


class Stage(msgspec.Struct, frozen=True):
    """Sets are tried on `train`; the best of them is then replayed on `test`."""

    train: Part
    test: Part | None


class Plan(msgspec.Struct, frozen=True):
    """What is searched, how, and on what."""

    kind: str  # sweep, walkforward or sensitivity
    strategies: tuple[Planned, ...]
    tapes: tuple[str, ...]  # digests
    settings: dict[str, Any]
    objective: str
    method: str
    trials: int
    seed: int
    batch: int
    dimensions: dict[str, Any]
    varied: tuple[str, ...]  # the dimensions that are settings
    points: tuple[Point, ...] | None  # the sets in order; None: optuna proposes them
    stages: tuple[Stage, ...]
    pipeline: str  # digest of AlphaPanda's own code

    @property
    def replays(self) -> int:
        """How many replays it takes (optuna may propose a set twice, which is then not replayed again)."""
        sets = self.trials if self.points is None else len(self.points)
        return len(self.tapes) * sum(sets + (stage.test is not None) for stage in self.stages)

    @property
    def digest(self) -> str:
        """SHA-256 of its JSON."""
        return hashlib.sha256(encoded(self)).hexdigest()


def plain(value: Any) -> Any:
    """What JSON makes of it; dimensions keep their order."""
    return json.loads(json.dumps(msgspec.to_builtins(value), default=str))


def encoded(value: Any) -> bytes:
    """JSON with sorted keys: equal values have equal bytes."""
    return json.dumps(msgspec.to_builtins(value), sort_keys=True, default=str).encode()


@functools.cache
def pipeline_digest() -> str:
    """SHA-256 over AlphaPanda's own sources and tables, as far as they decide what a replay says."""
    sha = hashlib.sha256()
    places = [_PACKAGE / name for name in _DECIDING]
    for path in sorted(file for place in places for file in ([place] if place.is_file() else place.rglob("*"))):
        if path.suffix in (".py", ".toml", ".yaml"):
            sha.update(f"{path.relative_to(_PACKAGE).as_posix()}\n".encode() + path.read_bytes())
    return sha.hexdigest()


def class_named(name: str, classes: Classes) -> type[Strategy]:
    """The class of that name. Raises ConfigurationError."""
    return classes[name] if name in classes else find_class(name)


def planned(wanted: Wanted, classes: Classes) -> tuple[Planned, ...]:
    """The strategies, with all parameters that are given for them, in the types of their annotations."""
    made = [class_named(one.class_, classes).from_params(one.params) for one in wanted.strategies]
    return tuple(
        Planned(entry.id or spec.strategy_id, entry.lane or spec.lane, entry.class_,
                {name: spec.strategy.params()[name] for name in entry.params}, code_digest(type(spec.strategy)))
        for entry, spec in zip(wanted.strategies, named(made), strict=True)
    )  # fmt: skip


def settings_of(plan: Plan, point: Point) -> dict[str, Any]:
    """What decides results, as `load_settings` takes it: the fixed settings, and those of a set."""
    kept = {f"{section}.{key}": value for section, table in plan.settings.items() for key, value in table.items()}
    return {**kept, **{name: point[name] for name in plan.varied}}


def make_plan(
    kind: str, wanted: Wanted, tapes: Sequence[Tape], stages: Sequence[Stage], classes: Classes,
    table: Callable[[Mapping[str, Dimension]], Sequence[Point]] | None = None,
) -> Plan:  # fmt: skip
    """The plan; `table` makes the sets of the dimensions in place of the method.

    Raises ConfigurationError for what cannot be searched.
    """
    search, strategies = wanted.search, planned(wanted, classes)
    settings = recorded(load_settings(dict(wanted.settings)))
    dimensions = _typed(search.params, search.settings, strategies, settings, classes)
    if not dimensions:
        raise ConfigurationError("there is nothing to search over: name at least one parameter or setting with its values")
    points: Sequence[Point] | None = None if table is None else table(dimensions)
    if points is None and search.method != "optuna":
        points = grid(dimensions) if search.method == "grid" else drawn(dimensions, search.trials, search.seed)
    plan = Plan(
        kind, strategies, tuple(tape.digest for tape in tapes), settings, search.objective, search.method, search.trials,
        search.seed, search.batch, {name: _as_json(one) for name, one in dimensions.items()}, tuple(search.settings),
        None if points is None else tuple(points), tuple(stages), pipeline_digest(),
    )  # fmt: skip
    return msgspec.convert(plain(plan), Plan)  # as it is read back: tuples of parameters are lists in JSON


def _as_json(one: Dimension) -> Any:
    return msgspec.to_builtins(one) if isinstance(one, Span) else list(one)


def _typed(
    params: Mapping[str, Any], varied: Mapping[str, Any], strategies: Sequence[Planned], settings: Mapping[str, Any],
    classes: Classes,
) -> dict[str, Dimension]:  # fmt: skip
    """The dimensions, each value in the type that its parameter or setting has."""
    found: dict[str, Dimension] = {}
    for name, given in params.items():
        owner, parameter = owner_of(name, strategies)
        cls = class_named(owner.class_, classes)
        found[name] = _each(dimension(name, given), lambda value, c=cls, p=parameter: c.from_params({p: value}).params()[p])
    for name, given in varied.items():
        section, _, key = name.partition(".")
        if name in found or section not in RECORDED or key not in settings[section]:
            raise ConfigurationError(f"setting {name!r} cannot be varied: it is section.key of {', '.join(RECORDED)}")
        found[name] = _each(
            dimension(name, given), lambda value, n=name, s=section, k=key: recorded(load_settings({n: value}))[s][k]
        )
    return found


def _each(one: Dimension, convert: Any) -> Dimension:
    """The dimension with its values converted; of a range only both ends are tried."""
    if isinstance(one, Span):
        low, high = convert(one.low), convert(one.high)
        if isinstance(low, bool | str) or not isinstance(low, int | float):
            raise ConfigurationError(f"a range {one.low}:{one.high} is for numbers: name the values")
        return Span(low, high, one.step, one.log)
    return tuple(dict.fromkeys(convert(value) for value in one)) if _hashable(one) else tuple(convert(value) for value in one)


def _hashable(values: Sequence[Any]) -> bool:
    return not any(isinstance(one, list | dict) for one in values)


def owner_of(name: str, strategies: Sequence[Planned]) -> tuple[Planned, str]:
    """Whose parameter a dimension is: `fast` where there is one strategy, else `strategy_id.fast`."""
    first, dot, parameter = name.partition(".")
    if not dot and len(strategies) == 1:
        return strategies[0], name
    found = [one for one in strategies if one.strategy_id == first and dot]
    if not found:
        ids = ", ".join(f"{one.strategy_id}.NAME" for one in strategies)
        raise ConfigurationError(f"parameter {name!r} is of no strategy: write {ids}")
    return found[0], parameter
