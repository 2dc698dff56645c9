"""What a strategy can ask the feature engine for.

`Bars("1m")` asks for bars; every other request for one or more named values on each tick, or on each bar of an interval.
Nothing is computed that no strategy asked for. Formulas, sources and warm-up: `docs/indicators.md`.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

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


class Indicator:
    """Base of the requests for values; two that differ in more than the interval never share a name."""

    kind: ClassVar[str]
    interval: str

    @property
    def interval_s(self) -> int:
        """The interval in seconds, 0 for ticks."""
        return interval_s(self.interval)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its values in a FeatureSet, in the order in which its state gives them."""
        raise NotImplementedError

    def _need(self, least: int, **counts: int) -> None:
        for name, count in counts.items():
            if count < least:
                raise ConfigurationError(f"{self.kind} needs a {name} of at least {least}, not {count}")


@dataclass(frozen=True)
class Windowed(Indicator):
    """A value over `window` ticks or bars."""

    window: int
    interval: str = TICK

    def __post_init__(self) -> None:
        self._need(2, window=self.window)

    @property
    def names(self) -> tuple[str, ...]:
        """One name, such as `zscore_20`."""
        return (f"{self.kind}_{self.window}",)


class Sma(Windowed):
    """Simple moving average of closes."""

    kind = "sma"


@dataclass(frozen=True)
class Ema(Windowed):
    """Exponential moving average of closes, alpha = 2 / (window + 1).

    It starts at the first price, or (`start="sma"`) at the mean of the first `window` prices.
    """

    kind = "ema"
    start: Literal["first", "sma"] = "first"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start not in ("first", "sma"):
            raise ConfigurationError(f"ema starts at the first price or at the first sma, not {self.start!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """`ema_20`, or `ema_sma_20` where it starts at a mean."""
        return (f"ema_{self.window}" if self.start == "first" else f"ema_sma_{self.window}",)


class ZScore(Windowed):
    """(close - mean) / standard deviation over the window, population (ddof 0); 0 where all closes are equal."""

    kind = "zscore"


@dataclass(frozen=True)
class Rsi(Windowed):
    """Wilder's relative strength index of closes, 0 to 100."""

    kind = "rsi"
    window: int = 14


@dataclass(frozen=True)
class Atr(Windowed):
    """Wilder's average true range."""

    kind = "atr"
    window: int = 14


@dataclass(frozen=True)
class Adx(Windowed):
    """Wilder's average directional index, with the two directional indicators it is made of."""

    kind = "adx"
    window: int = 14

    @property
    def names(self) -> tuple[str, ...]:
        """`adx_14`, `plus_di_14`, `minus_di_14`."""
        return f"adx_{self.window}", f"plus_di_{self.window}", f"minus_di_{self.window}"


@dataclass(frozen=True)
class Macd(Indicator):
    """Difference of a fast and a slow exponential average of closes, its own average, and how far it is from that."""

    kind = "macd"
    fast: int = 12
    slow: int = 26
    signal: int = 9
    interval: str = TICK

    def __post_init__(self) -> None:
        self._need(2, fast=self.fast, signal=self.signal)
        self._need(self.fast + 1, slow=self.slow)

    @property
    def names(self) -> tuple[str, ...]:
        """`macd_12_26_9`, `macd_signal_12_26_9`, `macd_hist_12_26_9`."""
        given = f"{self.fast}_{self.slow}_{self.signal}"
        return f"macd_{given}", f"macd_signal_{given}", f"macd_hist_{given}"


@dataclass(frozen=True)
class Bollinger(Indicator):
    """Moving average of closes, and bands some population standard deviations above and below."""

    kind = "bb"
    window: int = 20
    deviations: float = 2.0
    interval: str = TICK

    def __post_init__(self) -> None:
        self._need(2, window=self.window)
        if not 0 < self.deviations <= 100:
            raise ConfigurationError(f"bb needs deviations above 0 and at most 100, not {self.deviations}")

    @property
    def names(self) -> tuple[str, ...]:
        """`bb_upper_20_2`, `bb_middle_20_2`, `bb_lower_20_2`; 2.5 deviations read `2p5`, so that a name is one in SQL too."""
        given = f"{self.window}_{repr(float(self.deviations)).removesuffix('.0').replace('.', 'p').replace('-', 'm')}"
        return f"bb_upper_{given}", f"bb_middle_{given}", f"bb_lower_{given}"


@dataclass(frozen=True)
class Stochastic(Indicator):
    """Slow stochastic: where the close lies in the range of `window`, smoothed twice by simple averages; 0 to 100."""

    kind = "stoch"
    window: int = 14
    smooth_k: int = 3
    smooth_d: int = 3
    interval: str = TICK

    def __post_init__(self) -> None:
        self._need(1, window=self.window, smooth_k=self.smooth_k, smooth_d=self.smooth_d)

    @property
    def names(self) -> tuple[str, ...]:
        """`stoch_k_14_3_3`, `stoch_d_14_3_3`."""
        given = f"{self.window}_{self.smooth_k}_{self.smooth_d}"
        return f"stoch_k_{given}", f"stoch_d_{given}"


@dataclass(frozen=True)
class Obv(Indicator):
    """On-balance volume, from the first tick or bar on."""

    kind = "obv"
    interval: str = TICK

    @property
    def names(self) -> tuple[str, ...]:
        """`obv`."""
        return ("obv",)


@dataclass(frozen=True)
class Vwap(Indicator):
    """Volume-weighted average price since the session's open: of last prices, or of bars' typical prices."""

    kind = "vwap"
    interval: str = TICK

    @property
    def names(self) -> tuple[str, ...]:
        """`vwap`."""
        return ("vwap",)


FeatureRequest = Bars | Indicator
