"""What a search is asked for: a TOML file, the command line, or arguments; one form for all three.

A sweep's TOML file is a replay spec with a table `[search]`, whose `params` and `settings` name the dimensions.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.runtime.spec import StrategyEntry

Method = Literal["grid", "random", "optuna"]
OBJECTIVES: dict[str, int] = {
    "net_pnl": 1, "total_return": 1, "sharpe": 1, "sortino": 1, "calmar": 1, "max_drawdown": 1, "max_drawdown_amount": 1,
    "profit_factor": 1, "win_rate": 1, "realised": 1, "charges": -1, "slippage": -1, "longest_drawdown_s": -1,
    "longest_drawdown_sessions": -1,
}  # fmt: skip
"""The statistics that can be searched for: 1 where more is better, -1 where less is."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class WalkForward(_Part):
    """How a tape is walked: lengths in sessions (20), or on a tape of one session in market time ("90m")."""

    mode: Literal["rolling", "anchored"] = "rolling"
    train: int | str = 20
    test: int | str = 5
    gap: int | str = 0


class Search(_Part):
    """How to search."""

    method: Method = "grid"
    params: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    trials: int = Field(64, ge=1, le=100_000, description="sets to be tried by random and optuna")
    objective: str = "net_pnl"
    holdout: float = Field(0.0, ge=0, lt=1, description="part of each tape that is kept back")
    seed: int = 7
    batch: int = Field(4, ge=1, le=64, description="optuna: sets proposed at a time; decides results, workers do not")
    walk: WalkForward | None = None


class Wanted(_Part):
    """What is to be searched: strategies with their fixed parameters, over tapes, with fixed settings."""

    tapes: tuple[Path, ...] = Field(min_length=1)
    strategies: tuple[StrategyEntry, ...] = Field(min_length=1)
    start: str | None = None
    end: str | None = None
    settings: dict[str, Any] = {}
    search: Search = Search()


def read_wanted(path: Path) -> dict[str, Any]:
    """The table in a TOML file. Raises ConfigurationError naming the file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path} is not there") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error


def make_wanted(where: str, table: dict[str, Any]) -> Wanted:
    """A search from a table as a replay spec has it (`tape` stands for one of `tapes`); `where` is named in errors."""
    given = {name: one for name, one in table.items() if name != "out"}  # a search has a folder of its own
    if "tape" in given:
        given["tapes"] = [given.pop("tape"), *given.get("tapes", ())]
    try:
        wanted = Wanted.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigurationError(f"{where}: {wrong}") from error
    if wanted.search.objective not in OBJECTIVES:
        raise ConfigurationError(
            f"{where}: objective {wanted.search.objective!r} is not known: there are {', '.join(OBJECTIVES)}"
        )
    return wanted
