"""A replay spec: a TOML file, or the same from the command line."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.runtime.container import StrategySpec, named
from alphapanda.runtime.strategies import find_class


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class StrategyEntry(_Part):
    """One strategy: its class, and where they are not to be the defaults its id, lane and parameters."""

    class_: str = Field(alias="class")
    id: str | None = Field(None, pattern=r"^[a-z0-9_]+$")
    lane: int | None = Field(None, ge=1)
    params: dict[str, Any] = {}


class ReplaySpec(_Part):
    """What to replay."""

    tape: Path
    strategies: tuple[StrategyEntry, ...] = Field(min_length=1)
    start: str | None = None
    end: str | None = None
    settings: dict[str, Any] = {}
    search: dict[str, Any] = {}  # what a search of this spec tries; a replay does not look at it
    out: Path | None = None

    def specs(self) -> list[StrategySpec]:
        """The strategies, made anew: each replay needs its own."""
        made = named([find_class(one.class_).from_params(one.params) for one in self.strategies])
        return [
            StrategySpec(entry.id or spec.strategy_id, entry.lane or spec.lane, spec.strategy)
            for entry, spec in zip(self.strategies, made, strict=True)
        ]


def read_spec(path: Path, **overrides: Any) -> ReplaySpec:
    """The spec in a TOML file, with what is not None in `overrides` on top. Raises ConfigurationError naming file and field."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"replay spec {path} is not there") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error
    return make_spec(str(path), {**table, **{name: value for name, value in overrides.items() if value is not None}})


def make_spec(where: str, table: dict[str, Any]) -> ReplaySpec:
    """A spec from a table; `where` is named in errors."""
    try:
        return ReplaySpec.model_validate(table)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigurationError(f"{where}: {wrong}") from error
