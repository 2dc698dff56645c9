"""The highest and the lowest price between the fills of a book: what maximum adverse and favourable excursions are made of.

Ticks are reduced once, to one range for each stretch between two fills of a book; every closed trade then looks at a few
ranges. So a million ticks cost a pass over their columns, however many trades there are, and may come part by part.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alphapanda.core.ledger import E8, value_e8

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Prices = pl.DataFrame | Iterable[pl.DataFrame]
"""Ticks: `ts` (a time) or `ts_ns`, `instrument_token`, `last_price`; with `epoch` and `number`, those order them exactly."""
_SHORT = 100


class Factor(NamedTuple):
    """So many units now for each at the start, after splits."""

    new: int = 1
    old: int = 1

    def times(self, new: int, old: int) -> "Factor":
        """The same after one more split."""
        common = gcd(self.new * new, self.old * old)
        return Factor(self.new * new // common, self.old * old // common)


class Step(NamedTuple):
    """A stretch of a trade over which it held the same: from one fill of the book to another, by number."""

    start: int
    stop: int
    quantity: int  # signed
    paid_e8: int  # what was paid for it so far, less what came back
    factor: Factor = Factor()  # the units of `quantity`


@dataclass
class Ranges:
    """Lowest and highest price of each stretch between two consecutive fills, both ends included, in units of the start.

    The fills' own prices count. `keys`: what orders fills and ticks, shape (n,); `prices`: of the fills, shape (n,).
    """

    keys: Ints
    prices: Floats

    def __post_init__(self) -> None:
        self._low = np.minimum(self.prices[:-1], self.prices[1:])
        self._high = np.maximum(self.prices[:-1], self.prices[1:])

    def see(self, keys: Ints, prices: Floats) -> None:
        """Take ticks in the order of `keys`; those between no two fills are left out."""
        if len(self.keys) < 2 or len(keys) == 0:
            return
        starts = np.searchsorted(keys, self.keys[:-1], "left")
        stops = np.searchsorted(keys, self.keys[1:], "right")
        some = stops > starts
        if not some.any():
            return
        edges = np.stack((starts[some], stops[some]), axis=1).ravel()
        ended = np.append(prices, prices[-1])  # an edge may lie behind the last tick
        self._low[some] = np.minimum(self._low[some], np.minimum.reduceat(ended, edges)[::2])
        self._high[some] = np.maximum(self._high[some], np.maximum.reduceat(ended, edges)[::2])

    @cached_property
    def _extremes_e8(self) -> tuple[Ints, Ints, list[int], list[int]]:
        """Lowest and highest prices in 1e-8, as arrays and as lists: of short stretches the latter are quicker to look at."""
        low, high = (np.asarray(np.rint(prices * E8), np.int64) for prices in (self._low, self._high))
        return low, high, low.tolist(), high.tolist()

    def excursion_e8(self, steps: Sequence[Step], multiplier_e8: int) -> tuple[int, int]:
        """Least and greatest profit before charges over `steps`, in 1e-8: least <= 0 <= greatest. Nothing may be seen after."""
        low, high, lows, highs = self._extremes_e8
        least = greatest = 0
        for start, stop, quantity, paid_e8, factor in steps:
            if stop - start < _SHORT:
                extremes_e8 = min(lows[start:stop]), max(highs[start:stop])
            else:
                extremes_e8 = int(low[start:stop].min()), int(high[start:stop].max())
            for price_e8 in extremes_e8:
                profit_e8 = value_e8(price_e8 * factor.old, quantity, multiplier_e8) // factor.new - paid_e8
                least, greatest = min(least, profit_e8), max(greatest, profit_e8)
        return least, greatest


class Splits:
    """Splits and bonuses of one instrument, in the order of their times."""

    def __init__(self, rows: Iterable[tuple[int, int, int]] = ()) -> None:
        self.rows = sorted(rows)  # ts_ns, new, old
        self._ts = np.asarray([ts_ns for ts_ns, _, _ in self.rows], np.int64)
        self._factors = np.cumprod([1.0, *(new / old for _, new, old in self.rows)])

    def adjusted(self, ts_ns: Ints, prices: Floats) -> Floats:
        """Prices of a unit of the start."""
        return prices * self._factors[np.searchsorted(self._ts, ts_ns, "right")] if self.rows else prices


def times_ns(frame: pl.DataFrame) -> Ints:
    """Its times as integers: of `ts_ns`, else of `ts`, else row numbers."""
    if "ts_ns" in frame.columns:
        return frame["ts_ns"].cast(pl.Int64).to_numpy()
    if "ts" not in frame.columns:
        return np.arange(frame.height, dtype=np.int64)
    ts = frame["ts"]
    return np.asarray((ts.dt.cast_time_unit("ns") if ts.dtype.is_temporal() else ts).cast(pl.Int64).to_numpy(), np.int64)


def order_keys(frame: pl.DataFrame, by_seq: bool) -> Ints:
    """What orders its rows: their seq, or their time."""
    if not by_seq:
        return times_ns(frame)
    return np.asarray(frame.select((pl.col("epoch") * 2**40 + pl.col("number")).cast(pl.Int64)).to_series().to_numpy(), np.int64)


def has_seq(frame: pl.DataFrame) -> bool:
    """Whether its rows say where in the one order they stand."""
    return {"epoch", "number"} <= set(frame.columns)


def parts(prices: Prices) -> Iterator[pl.DataFrame]:
    """The frames of `prices`, one after the other."""
    yield from (prices,) if isinstance(prices, pl.DataFrame) else prices


def by_token(part: pl.DataFrame, splits: Mapping[int, Splits], by_seq: bool) -> Iterator[tuple[int, Ints, Floats]]:
    """Ticks of each instrument of `splits`: token, keys in order, prices of a unit of the start."""
    mine = part.filter(pl.col("instrument_token").is_in(list(splits)))
    for (token,), frame in mine.partition_by("instrument_token", as_dict=True, maintain_order=True).items():
        keys = order_keys(frame, by_seq)
        price = splits[token].adjusted(times_ns(frame), frame["last_price"].cast(pl.Float64).to_numpy())
        if len(keys) > 1 and (np.diff(keys) < 0).any():
            order = np.argsort(keys, kind="stable")
            keys, price = keys[order], price[order]
        yield token, keys, price
