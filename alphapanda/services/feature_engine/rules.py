"""Streaming indicators and the bar under construction. Each takes one price at a time and knows no future."""

import math
from collections import deque
from dataclasses import dataclass, field

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.services.feature_engine.models import Indicator


@dataclass(slots=True)
class SmaState:
    """Mean of the last `window` prices; None before there are as many. Summed afresh, so no error builds up."""

    window: int
    prices: deque[float] = field(default_factory=deque)

    def add(self, price: float) -> float | None:
        """The value with this price, or None while warming up."""
        self.prices.append(price)
        if len(self.prices) > self.window:
            self.prices.popleft()
        return math.fsum(self.prices) / self.window if len(self.prices) == self.window else None


@dataclass(slots=True)
class EmaState:
    """Exponential mean: `e += 2 / (window + 1) * (price - e)`, from the first price; None for the first window - 1."""

    window: int
    value: float = 0.0
    seen: int = 0

    def add(self, price: float) -> float | None:
        """The value with this price, or None while warming up."""
        self.value = self.value + 2 / (self.window + 1) * (price - self.value) if self.seen else price
        self.seen += 1
        return self.value if self.seen >= self.window else None


@dataclass(slots=True)
class ZScoreState:
    """Distance of the price from the mean of the last `window` prices, in population standard deviations."""

    window: int
    prices: deque[float] = field(default_factory=deque)

    def add(self, price: float) -> float | None:
        """The value with this price, or None while warming up."""
        self.prices.append(price)
        if len(self.prices) > self.window:
            self.prices.popleft()
        if len(self.prices) < self.window:
            return None
        mean = math.fsum(self.prices) / self.window
        deviation = math.sqrt(math.fsum((p - mean) ** 2 for p in self.prices) / self.window)
        return (price - mean) / deviation if deviation > 0 else 0.0


IndicatorState = SmaState | EmaState | ZScoreState
_STATES: dict[str, type[SmaState] | type[EmaState] | type[ZScoreState]] = {
    "sma": SmaState, "ema": EmaState, "zscore": ZScoreState,
}  # fmt: skip


def state_of(request: Indicator) -> IndicatorState:
    """A fresh state for what was asked."""
    if request.kind not in _STATES:
        raise ConfigurationError(f"indicator {request.kind!r} is not known: there are {', '.join(_STATES)}")
    return _STATES[request.kind](request.window)


@dataclass(slots=True)
class OpenBar:
    """A bar under construction over [start, end)."""

    start_ts_ns: int
    end_ts_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: int = 0
    ticks: int = 0

    def add(self, price: float, volume: int) -> None:
        """Take one price."""
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.volume += volume
        self.ticks += 1
