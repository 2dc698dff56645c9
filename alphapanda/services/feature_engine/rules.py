"""Bars, and the streaming indicators that need closes alone. Each takes one bar or price at a time and knows no future.

An indicator's state is plain data. `add` takes what its formula needs; `update` takes anything shaped as a bar and gives
one value for each name of the request, None while that one warms up. Where a formula can be read in several ways, TA-Lib's
is taken, its treatment of flat prices included.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

Values = tuple[float | None, ...]


class BarLike(Protocol):
    """What an indicator may look at."""

    @property
    def high(self) -> float:
        """Highest price."""

    @property
    def low(self) -> float:
        """Lowest price."""

    @property
    def close(self) -> float:
        """Last price."""

    @property
    def volume(self) -> int:
        """Quantity traded."""


class TickBar(msgspec.Struct, frozen=True, gc=False):
    """One tick as a bar: a single price, and what was traded since the tick before."""

    high: float
    low: float
    close: float
    volume: int


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


class State:
    """Base of all indicators' states."""

    __slots__ = ()

    def update(self, bar: BarLike) -> Values:
        """The values with this bar, in the order of the request's names."""
        raise NotImplementedError

    def session_opened(self) -> None:
        """A trading session begins: only what is anchored there starts over."""


class OfCloses(State):
    """Base of those that give one value, of closes alone."""

    __slots__ = ()

    def update(self, bar: BarLike) -> Values:
        """The value with this close."""
        return (self.add(bar.close),)

    def add(self, price: float) -> float | None:
        """The value with this price, or None while warming up."""
        raise NotImplementedError


@dataclass(slots=True)
class SmaState(OfCloses):
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
class EmaState(OfCloses):
    """Exponential mean: `e += 2 / (window + 1) * (price - e)`; None for the first window - 1.

    It starts at the first price, or with `from_mean` at the mean of the first `window` prices.
    """

    window: int
    value: float = 0.0
    seen: int = 0
    from_mean: bool = False

    def add(self, price: float) -> float | None:
        """The value with this price, or None while warming up."""
        self.seen += 1
        if self.from_mean and self.seen <= self.window:
            self.value += price / self.window
        else:
            self.value = self.value + 2 / (self.window + 1) * (price - self.value) if self.seen > 1 else price
        return self.value if self.seen >= self.window else None


@dataclass(slots=True)
class ZScoreState(OfCloses):
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
        mean, deviation = mean_and_deviation(self.prices)
        return (price - mean) / deviation if deviation > 0 else 0.0


@dataclass(slots=True)
class BollingerState(State):
    """Mean of the last `window` prices, and `deviations` population standard deviations above and below."""

    window: int
    deviations: float
    prices: deque[float] = field(default_factory=deque)

    def update(self, bar: BarLike) -> Values:
        """Upper, middle and lower."""
        self.prices.append(bar.close)
        if len(self.prices) > self.window:
            self.prices.popleft()
        if len(self.prices) < self.window:
            return None, None, None
        mean, deviation = mean_and_deviation(self.prices)
        return mean + self.deviations * deviation, mean, mean - self.deviations * deviation


def mean_and_deviation(prices: deque[float]) -> tuple[float, float]:
    """Mean and population standard deviation in two passes of exact sums: flat prices have none at all."""
    mean = math.fsum(prices) / len(prices)
    return mean, math.sqrt(math.fsum((price - mean) ** 2 for price in prices) / len(prices))


@dataclass(slots=True)
class WilderState:
    """Wilder's average: the mean of the first `window` values, then `(average * (window - 1) + value) / window`."""

    window: int
    value: float = 0.0
    seen: int = 0

    def add(self, value: float) -> float | None:
        """The average with this value, or None while warming up."""
        self.seen += 1
        if self.seen > self.window:
            self.value = (self.value * (self.window - 1) + value) / self.window
        else:
            self.value += value
            if self.seen == self.window:
                self.value /= self.window
        return self.value if self.seen >= self.window else None


@dataclass(slots=True)
class RsiState(OfCloses):
    """100 * gains / (gains + losses), both Wilder's averages of the changes; 0 where nothing moved."""

    gains: WilderState
    losses: WilderState
    last: float | None = None

    @classmethod
    def of(cls, window: int) -> "RsiState":
        """A fresh state."""
        return cls(WilderState(window), WilderState(window))

    def add(self, price: float) -> float | None:
        """The value with this price, or None while warming up."""
        last, self.last = self.last, price
        if last is None:
            return None
        change = price - last
        gain, loss = self.gains.add(max(change, 0.0)), self.losses.add(max(-change, 0.0))
        if gain is None or loss is None:
            return None
        return 100 * (gain / (gain + loss)) if gain + loss > 0 else 0.0


@dataclass(slots=True)
class MacdState(State):
    """Fast less slow exponential mean, its own exponential mean, and their difference; all three from one moment on.

    Every mean starts at a simple one, and both means of prices at the same price: the fast one hears nothing of the first
    slow - fast prices.
    """

    fast: EmaState
    slow: EmaState
    signal: EmaState
    unheard: int  # prices that the fast mean is still to leave out

    @classmethod
    def of(cls, fast: int, slow: int, signal: int) -> "MacdState":
        """A fresh state."""
        one, two, three = (EmaState(window, from_mean=True) for window in (fast, slow, signal))
        return cls(one, two, three, slow - fast)

    def update(self, bar: BarLike) -> Values:
        """Line, signal and histogram."""
        slow, fast = self.slow.add(bar.close), None
        if self.unheard:
            self.unheard -= 1
        else:
            fast = self.fast.add(bar.close)
        if fast is None or slow is None:
            return None, None, None
        line = fast - slow
        signal = self.signal.add(line)
        return (None, None, None) if signal is None else (line, signal, line - signal)
