"""What a strategy can ask the feature engine for.

`Bars("1m")` asks for bars; `Sma`, `Ema` and `ZScore` ask for a value on each tick, or on each bar of an interval.
Nothing is computed that no strategy asked for.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from alphapanda.contracts.errors import ConfigurationError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
TICK = ""
"""The interval of a feature that is computed on every tick."""


def interval_s(text: str) -> int:
    """Seconds of an interval such as `1s`, `5m`, `1h`; 0 for ticks. Raises ConfigurationError."""
    if text == TICK:
        return 0
    match = re.fullmatch(r"([1-9]\d*)([smhd])", text)
    if match is None:
        raise ConfigurationError(f"interval {text!r} is not understood: write a whole number and s, m, h or d, such as 5m")
    return int(match[1]) * _UNITS_S[match[2]]


@dataclass(frozen=True)
class Bars:
    """Bars of this interval."""

    interval: str

    @property
    def interval_s(self) -> int:
        """The interval in seconds; at least one."""
        if self.interval == TICK:
            raise ConfigurationError("bars need an interval, such as 1m")
        return interval_s(self.interval)


@dataclass(frozen=True)
class Indicator:
    """A value over the last `window` prices: of ticks, or of the closes of bars."""

    window: int
    interval: str = TICK
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        if self.window < 2:
            raise ConfigurationError(f"{self.kind} needs a window of at least 2, not {self.window}")

    @property
    def interval_s(self) -> int:
        """The interval in seconds, 0 for ticks."""
        return interval_s(self.interval)

    @property
    def name(self) -> str:
        """Its name in a FeatureSet, such as `zscore_20`."""
        return f"{self.kind}_{self.window}"


class Sma(Indicator):
    """Simple moving average."""

    kind = "sma"


class Ema(Indicator):
    """Exponential moving average, alpha = 2 / (window + 1), started at the first price."""

    kind = "ema"


class ZScore(Indicator):
    """(price - mean) / standard deviation over the window, population (ddof 0); 0 where all prices are equal."""

    kind = "zscore"


FeatureRequest = Bars | Indicator
