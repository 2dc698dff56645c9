"""Streaming indicators that need more of a bar than its close.

The same rules as in `rules`: plain data, one bar at a time, TA-Lib's reading of a formula.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from alphapanda.services.feature_engine.rules import BarLike, SmaState, State, Values, WilderState


def true_range(bar: BarLike, last_close: float) -> float:
    """Wilder's true range: the bar's own, widened to the close before it."""
    return max(bar.high - bar.low, abs(bar.high - last_close), abs(bar.low - last_close))


@dataclass(slots=True)
class AtrState(State):
    """Wilder's average of true ranges; the first bar has none."""

    average: WilderState
    last_close: float | None = None

    @classmethod
    def of(cls, window: int) -> "AtrState":
        """A fresh state."""
        return cls(WilderState(window))

    def update(self, bar: BarLike) -> Values:
        """The average true range."""
        last, self.last_close = self.last_close, bar.close
        return (None,) if last is None else (self.average.add(true_range(bar, last)),)


@dataclass(slots=True)
class AdxState(State):
    """Wilder's directional movement. Sums of the first window - 1 moves, then `sum - sum / window + move`.

    Where there was no movement at all the index stays what it was.
    """

    window: int
    last: tuple[float, float, float] | None = None  # high, low, close
    moves: int = 0
    plus: float = 0.0
    minus: float = 0.0
    ranges: float = 0.0
    index: float = 0.0  # while warming up: the sum of its first `window` parts

    def update(self, bar: BarLike) -> Values:
        """ADX, +DI and -DI."""
        last, self.last = self.last, (bar.high, bar.low, bar.close)
        if last is None:
            return None, None, None
        self.moves += 1
        up, down = bar.high - last[0], last[1] - bar.low
        keep = 1 - 1 / self.window if self.moves >= self.window else 1.0
        self.plus = self.plus * keep + (up if up > down and up > 0 else 0.0)
        self.minus = self.minus * keep + (down if down > up and down > 0 else 0.0)
        self.ranges = self.ranges * keep + true_range(bar, last[2])
        if self.moves < self.window:
            return None, None, None
        plus = minus = 0.0
        if self.ranges > 0:
            plus, minus = 100 * (self.plus / self.ranges), 100 * (self.minus / self.ranges)
        return self._index(plus, minus), plus, minus

    def _index(self, plus: float, minus: float) -> float | None:
        """The mean of the first `window` parts, then Wilder's average of them."""
        window, parts = self.window, self.moves - self.window + 1
        part = 100 * (abs(minus - plus) / (plus + minus)) if plus + minus > 0 else None
        if parts <= window:
            self.index += part or 0.0
            if parts == window:
                self.index /= window
        elif part is not None:
            self.index = (self.index * (window - 1) + part) / window
        return self.index if parts >= window else None


@dataclass(slots=True)
class StochasticState(State):
    """%K: the close within the range of `window` bars, in percent, averaged; %D: the average of %K. A flat range gives 0."""

    window: int
    smooth_k: SmaState
    smooth_d: SmaState
    highs: deque[float] = field(default_factory=deque)
    lows: deque[float] = field(default_factory=deque)

    @classmethod
    def of(cls, window: int, smooth_k: int, smooth_d: int) -> "StochasticState":
        """A fresh state."""
        return cls(window, SmaState(smooth_k), SmaState(smooth_d))

    def update(self, bar: BarLike) -> Values:
        """%K and %D, from one moment on."""
        self.highs.append(bar.high)
        self.lows.append(bar.low)
        if len(self.highs) > self.window:
            self.highs.popleft()
            self.lows.popleft()
        if len(self.highs) < self.window:
            return None, None
        high, low = max(self.highs), min(self.lows)
        k = self.smooth_k.add((bar.close - low) / (high - low) * 100 if high > low else 0.0)
        d = None if k is None else self.smooth_d.add(k)
        return (None, None) if d is None else (k, d)


@dataclass(slots=True)
class ObvState(State):
    """Volume of bars that closed higher, less that of bars that closed lower; the first bar counts. An integer, so exact."""

    last_close: float | None = None
    volume: int = 0

    def update(self, bar: BarLike) -> Values:
        """The balance."""
        last, self.last_close = self.last_close, bar.close
        if last is None or bar.close > last:
            self.volume += bar.volume
        elif bar.close < last:
            self.volume -= bar.volume
        return (float(self.volume),)


@dataclass(slots=True)
class VwapState(State):
    """Sum of price * volume over sum of volume since the session's open; none before anything was traded.

    The price is the typical one, (high + low + close) / 3, which is the last price on ticks. What the sum loses in rounding
    is kept beside it (Neumaier 1974), so no error builds up over a session of a million ticks.
    """

    value: float = 0.0
    lost: float = 0.0
    volume: int = 0

    def session_opened(self) -> None:
        """Start over."""
        self.value, self.lost, self.volume = 0.0, 0.0, 0

    def update(self, bar: BarLike) -> Values:
        """The average price."""
        if bar.volume:
            price = bar.close if bar.high == bar.low else math.fsum((bar.high, bar.low, bar.close)) / 3
            more = price * bar.volume
            total = self.value + more
            self.lost += (self.value - total) + more if self.value >= more else (more - total) + self.value
            self.value = total
            self.volume += bar.volume
        return ((self.value + self.lost) / self.volume,) if self.volume else (None,)
