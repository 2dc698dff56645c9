"""`ap.sweep`, `ap.walkforward` and `ap.sensitivity`: from what is asked for to what was found.

The same functions serve the command line, which has its own way of saying what is wanted (`run_sweep` and so on).
"""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from alphapanda.adapters.tape import Tape
from alphapanda.cli_terminal import Bar
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research.search import sensitivity as table
from alphapanda.research.search.carry_out import Told, carry_out
from alphapanda.research.search.folder import SearchFolder
from alphapanda.research.search.light import Range
from alphapanda.research.search.plan import Classes, Part, Plan, Stage, make_plan, planned
from alphapanda.research.search.ranges import Length, folds, local_text, split, whole
from alphapanda.research.search.sensitivity import Sensitivity
from alphapanda.research.search.space import Point
from alphapanda.research.search.sweep import Sweep
from alphapanda.research.search.walkforward import WalkForward
from alphapanda.research.search.wanted import WalkForward as Walk
from alphapanda.research.search.wanted import Wanted, make_wanted
from alphapanda.research.search.workers import InProcess, Processes, Workers
from alphapanda.runtime.settings import load_settings, recorded
from alphapanda.services.strategy_runner.strategy import Strategy

StrategyLike = type[Strategy] | Strategy | str
Tapes = str | Path | Sequence[str | Path]


class How(msgspec.Struct, kw_only=True, frozen=True):
    """What leaves no trace in the results."""

    workers: int | None = None  # processes; 0: this one; None: one a core
    name: str | None = None
    out: Path | None = None  # folder of searches
    progress: Told | bool | None = None
    keep_runs: bool = False


def sweep(
    tape: Tapes, strategy: StrategyLike | Sequence[StrategyLike], params: Mapping[str, Any] | None = None, *,
    settings: Mapping[str, Any] | None = None, vary: Mapping[str, Any] | None = None, method: str = "grid", trials: int = 64,
    objective: str = "net_pnl", holdout: float = 0.0, seed: int = 7, start: str | None = None, end: str | None = None,
    workers: int | None = None, name: str | None = None, out: str | Path | None = None, progress: Told | bool | None = None,
    keep_runs: bool = False,
) -> Sweep:  # fmt: skip
    """Try many sets of parameters and settings; choose the best on the training part, and look at it on the holdout.

    `params` maps parameters to what is to be tried: a list, `range(10, 60, 10)`, or text such as `"10:50:10"` (with several
    strategies `"strategy_id.name"`); `vary` does so for settings (`{"execution.latency_ms": [0, 50]}`). `strategy` is a class,
    an instance (whose other parameters stay), or a name. `method`: grid, random or optuna. `holdout`: the part of each tape,
    at its end, that is kept back. `workers`: processes, by default one a core; 0 stands for this process, the only one that
    has the classes of a notebook's cells. The same call again goes on where it was stopped, or gives what is there.
    Raises ConfigurationError and TapeError.
    """
    search = {"method": method, "params": dict(params or {}), "settings": dict(vary or {}), "trials": trials, "seed": seed,
              "objective": objective, "holdout": holdout}  # fmt: skip
    wanted, classes = _asked(tape, strategy, settings, search, start, end)
    return run_sweep(wanted, _how(workers, name, out, progress, keep_runs=keep_runs), classes)


def walkforward(
    tape: str | Path, strategy: StrategyLike | Sequence[StrategyLike], params: Mapping[str, Any] | None = None, *,
    train: int | str = 20, test: int | str = 5, gap: int | str = 0, mode: str = "rolling",
    settings: Mapping[str, Any] | None = None, vary: Mapping[str, Any] | None = None, method: str = "grid", trials: int = 64,
    objective: str = "net_pnl", seed: int = 7, start: str | None = None, end: str | None = None, workers: int | None = None,
    name: str | None = None, out: str | Path | None = None, progress: Told | bool | None = None,
) -> WalkForward:  # fmt: skip
    """Fold after fold: the best set of `train` sessions is looked at in the `test` sessions that follow, after a `gap`.

    `mode`: rolling, or anchored (each training begins where the tape does). Lengths are sessions (20), or on a tape of one
    session market time ("90m"). The rest as for `sweep`.
    """
    walk = {"mode": mode, "train": train, "test": test, "gap": gap}
    search = {"method": method, "params": dict(params or {}), "settings": dict(vary or {}), "trials": trials, "seed": seed,
              "objective": objective, "walk": walk}  # fmt: skip
    wanted, classes = _asked(tape, strategy, settings, search, start, end)
    return run_walkforward(wanted, _how(workers, name, out, progress), classes)


def sensitivity(
    tape: str | Path, strategy: StrategyLike | Sequence[StrategyLike], *, vary: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None, start: str | None = None, end: str | None = None, workers: int | None = None,
    name: str | None = None, out: str | Path | None = None, progress: Told | bool | None = None,
) -> Sensitivity:  # fmt: skip
    """The same strategies under several fill models, latencies and slippages; `vary` replaces the values that are tried.

    The first row is what the settings say. The rest as for `sweep`.
    """
    wanted, classes = _asked(tape, strategy, settings, {"settings": dict(vary or {})}, start, end)
    return run_sensitivity(wanted, _how(workers, name, out, progress), classes)


def load(path: str | Path) -> Sweep | WalkForward | Sensitivity:
    """What a search's folder holds, whichever kind it is, finished or not. Raises AlphaPandaError where it is none."""
    folder = SearchFolder.open(Path(path))
    return _KINDS[folder.plan.kind](folder)


_KINDS: dict[str, Callable[[SearchFolder], Sweep | WalkForward | Sensitivity]] = {
    "sweep": Sweep, "walkforward": WalkForward, "sensitivity": Sensitivity,
}  # fmt: skip


def _how(
    workers: int | None, name: str | None, out: str | Path | None, progress: Told | bool | None, *, keep_runs: bool = False
) -> How:  # fmt: skip
    where = None if out is None else Path(out)
    return How(workers=workers, name=name, out=where, progress=progress, keep_runs=keep_runs)


def run_sweep(wanted: Wanted, how: How, classes: Classes) -> Sweep:
    """Carry out a sweep."""
    tapes = _opened(wanted)
    cut = [split(tape, whole(tape, wanted.start, wanted.end), wanted.search.holdout) for tape in tapes]
    holdouts = [late for _, late in cut if late is not None]
    test = _part("holdout", tapes, holdouts) if holdouts else None
    stage = Stage(_part("train", tapes, [early for early, _ in cut]), test)
    plan = make_plan("sweep", wanted, tapes, [stage], classes)
    return Sweep(_carried_out(plan, tapes, how, classes))


def run_walkforward(wanted: Wanted, how: How, classes: Classes) -> WalkForward:
    """Carry out a walk-forward. Raises ConfigurationError for more than one tape."""
    tapes, walk = _opened(wanted), wanted.search.walk or Walk()
    if len(tapes) != 1:
        raise ConfigurationError(f"a walk-forward walks along one tape, and there are {len(tapes)}")
    lengths = [Length.of(name, getattr(walk, name)) for name in ("train", "test", "gap")]
    found = folds(tapes[0], whole(tapes[0], wanted.start, wanted.end), *lengths, anchored=walk.mode == "anchored")
    stages = [
        Stage(_part(f"fold{i:03d}-train", tapes, [one.train]), _part(f"fold{i:03d}-test", tapes, [one.test]))
        for i, one in enumerate(found, 1)
    ]
    plan = make_plan("walkforward", wanted, tapes, stages, classes)
    return WalkForward(_carried_out(plan, tapes, how, classes))


def run_sensitivity(wanted: Wanted, how: How, classes: Classes) -> Sensitivity:
    """Carry out a sensitivity table; parameters stay as they are, also where `wanted` names some to be searched over."""
    tapes = _opened(wanted)
    columns = set.intersection(*(set(tape.columns) for tape in tapes))
    settings = recorded(load_settings(dict(wanted.settings)))
    depth = settings["execution"]["stop_price"] == "quote"  # the other goes with last prices
    varied = table.assumptions(sorted(columns), wanted.search.settings, depth=depth)
    baseline: Point = {name: settings[name.partition(".")[0]][name.partition(".")[2]] for name in varied}
    asked = wanted.model_copy(update={"search": wanted.search.model_copy(update={"settings": varied, "params": {}})})
    parts = [Stage(_part("train", tapes, [whole(tape, wanted.start, wanted.end) for tape in tapes]), None)]
    plan = make_plan("sensitivity", asked, tapes, parts, classes, partial(table.points, baseline))
    return Sensitivity(_carried_out(plan, tapes, how, classes))


def _part(name: str, tapes: Sequence[Tape], ranges: Sequence[Range]) -> Part:
    return Part(name, tuple(ranges), tuple(local_text(tape, span) for tape, span in zip(tapes, ranges, strict=True)))


def _opened(wanted: Wanted) -> list[Tape]:
    tapes = [Tape.open(path) for path in wanted.tapes]
    if len({tape.digest for tape in tapes}) < len(tapes):
        raise ConfigurationError("the same tape stands twice in what is to be searched")
    return tapes


def _carried_out(plan: Plan, tapes: Sequence[Tape], how: How, classes: Classes) -> SearchFolder:
    root = how.out or load_settings().storage.sweeps
    name = how.name or f"{'-'.join(one.strategy_id for one in plan.strategies)[:60]}-{plan.digest[:8]}"
    folder = SearchFolder.begin(root / name, plan, {tape.digest: str(tape.path) for tape in tapes})
    with _told(how.progress, plan.kind) as told:
        carry_out(folder, _workers(how.workers, plan, classes), told, keep_runs=how.keep_runs)
    return folder


def _workers(count: int | None, plan: Plan, classes: Classes) -> Workers:
    """Whoever replays. Raises ConfigurationError where processes are asked for that cannot have the classes."""
    local = [one.class_ for one in plan.strategies if one.class_ in classes]
    if count is None:
        count = 0 if local else min(os.cpu_count() or 1, plan.replays)
    if count < 0:
        raise ConfigurationError(f"workers are a number of processes, not {count}")
    if count and local:
        raise ConfigurationError(
            f"{', '.join(local)} lives in this process alone (a notebook's cell, a script or a function): put it into a file that"
            " can be imported, or say workers=0"
        )
    return Processes(count) if count else InProcess(classes)


@contextlib.contextmanager
def _told(progress: Told | bool | None, title: str) -> Iterator[Told | None]:
    """The function to tell: the caller's, or a bar's; by default a bar in notebooks and terminals."""
    if callable(progress):
        yield progress
    elif progress or (progress is None and (sys.stderr.isatty() or _in_notebook())):
        with Bar(title) as bar:
            yield bar  # type: ignore[misc]  # it shows parts, too
    else:
        yield None


def _in_notebook() -> bool:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _asked(
    tape: Tapes, strategy: StrategyLike | Sequence[StrategyLike], settings: Mapping[str, Any] | None, search: Mapping[str, Any],
    start: str | None, end: str | None,
) -> tuple[Wanted, Classes]:  # fmt: skip
    """What the arguments say, and the classes that only this process has."""
    several = [strategy] if isinstance(strategy, str | type | Strategy) else list(strategy)
    classes: dict[str, type[Strategy]] = {}
    entries = [_entry(one, classes) for one in several]
    tapes = [tape] if isinstance(tape, str | Path) else list(tape)
    given = {
        "tapes": tapes,
        "strategies": entries,
        "settings": dict(settings or {}),
        "search": dict(search),
        "start": start,
        "end": end,
    }
    wanted = make_wanted("search", given)
    planned(wanted, classes)  # what is wrong with them is said before anything else
    return wanted, classes


def _entry(one: StrategyLike, classes: dict[str, type[Strategy]]) -> dict[str, Any]:
    if isinstance(one, str):
        return {"class": one}
    cls = one if isinstance(one, type) else type(one)
    name = importable_name(cls)
    if name is None:
        name = f"{cls.__module__}:{cls.__qualname__}"
        classes[name] = cls
    return {"class": name, "params": {} if isinstance(one, type) else one.params()}


def importable_name(cls: type[Strategy]) -> str | None:
    """`module:Class` or `file.py:Class`, by which another process finds the class; None where it cannot."""
    module = sys.modules.get(cls.__module__)
    path = getattr(module, "__file__", None)
    if cls.__module__ == "__main__" or path is None or getattr(module, cls.__qualname__, None) is not cls:
        return None
    found = importlib.util.find_spec(cls.__module__)
    if found is not None and found.origin == path:
        return f"{cls.__module__}:{cls.__qualname__}"
    return f"{path}:{cls.__qualname__}"
