"""Every indicator there is, and the state that computes it."""

from collections.abc import Callable
from typing import Any

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.services.feature_engine import models
from alphapanda.services.feature_engine.models import Indicator
from alphapanda.services.feature_engine.ranges import AdxState, AtrState, ObvState, StochasticState, VwapState
from alphapanda.services.feature_engine.rules import (
    BollingerState,
    EmaState,
    MacdState,
    RsiState,
    SmaState,
    State,
    ZScoreState,
)  # fmt: skip

_STATES: dict[type[Indicator], Callable[[Any], State]] = {
    models.Sma: lambda asked: SmaState(asked.window),
    models.Ema: lambda asked: EmaState(asked.window, from_mean=asked.start == "sma"),
    models.ZScore: lambda asked: ZScoreState(asked.window),
    models.Rsi: lambda asked: RsiState.of(asked.window),
    models.Macd: lambda asked: MacdState.of(asked.fast, asked.slow, asked.signal),
    models.Bollinger: lambda asked: BollingerState(asked.window, asked.deviations),
    models.Atr: lambda asked: AtrState.of(asked.window),
    models.Adx: lambda asked: AdxState(asked.window),
    models.Stochastic: lambda asked: StochasticState.of(asked.window, asked.smooth_k, asked.smooth_d),
    models.Obv: lambda asked: ObvState(),
    models.Vwap: lambda asked: VwapState(),
}
INDICATORS: tuple[type[Indicator], ...] = tuple(_STATES)
"""Every indicator there is."""


def state_of(request: Indicator) -> State:
    """A fresh state for what was asked. Raises ConfigurationError for an indicator that is not known."""
    if type(request) not in _STATES:
        known = ", ".join(one.__name__ for one in INDICATORS)
        raise ConfigurationError(f"indicator {type(request).__name__} is not known: there are {known}")
    return _STATES[type(request)](request)
