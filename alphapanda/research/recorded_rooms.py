"""What something recorded was made with: its market, settings and strategies, from what its manifest says.

The code is today's, whatever it was then: whether it says the same is the question.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphapanda.adapters.instrument_table import read_instruments
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.profiles import MarketProfile
from alphapanda.runtime.container import AppContainer, StrategySpec
from alphapanda.runtime.replay import Rooms
from alphapanda.runtime.settings import RECORDED, load_settings
from alphapanda.runtime.spec import ReplaySpec
from alphapanda.runtime.strategies import find_class


@dataclass(frozen=True)
class Market:
    """As much of a tape as rooms look at."""

    path: Path
    profile: MarketProfile
    beat_interval_s: int
    columns: list[str]
    instruments: dict[int, Instrument]
    bar_interval_s: int | None = None


@dataclass(frozen=True)
class Making:
    """All that rooms are made of."""

    container: AppContainer
    market: Market | Tape
    strategies: list[dict[str, Any]] | ReplaySpec

    def rooms(self) -> Rooms:
        """Fresh rooms, with strategies of their own."""
        return self.container.rooms(self.market, self._specs())  # type: ignore[arg-type]  # `Market` is what it looks at

    def _specs(self) -> list[StrategySpec]:
        if isinstance(self.strategies, ReplaySpec):
            return self.strategies.specs()
        return [
            StrategySpec(one["strategy_id"], one["lane"], find_class(one["class"]).from_params(one["params"]))
            for one in self.strategies
        ]

    @property
    def feedback_delay_ms(self) -> int:
        """How late feedback was."""
        return self.container.settings.pipeline.feedback_delay_ms


def container_of(settings: Mapping[str, Mapping[str, Any]]) -> AppContainer:
    """With recorded settings: they decide results, whatever the environment says now."""
    return AppContainer(load_settings({f"{name}.{key}": value for name in RECORDED for key, value in settings[name].items()}))


def making_of(folder: Path, said: Mapping[str, Any]) -> Making:
    """What stands in a session's `session.json`, or in the manifest of a run, and in the instruments beside it."""
    if said.get("signals_from") is not None:
        raise ConfigurationError(f"{folder} plays back the signals of another run: its strategies cannot be worked out again")
    market = said["market"] if "market" in said else said["tape"]
    return Making(
        container_of(said["settings"]),
        Market(
            folder, MarketProfile.from_dict(market["profile"]), market["beat_interval_s"], market["columns"],
            {one.instrument_token: one for one in read_instruments(folder)},
        ),
        said["strategies"],
    )  # fmt: skip


def making_of_spec(spec: ReplaySpec) -> Making:
    """What a replay spec says."""
    return Making(AppContainer(load_settings(spec.settings)), Tape.open(spec.tape), spec)


def read_json(path: Path) -> dict[str, Any]:
    """A manifest. Raises AlphaPandaError where it is damaged or not there."""
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise AlphaPandaError(f"{path} cannot be read: {error}") from error
    return said
