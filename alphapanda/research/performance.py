"""Statistics of a run: each figure one function, with its formula and convention.

Returns are simple, from equity at session closes; rates are annualised with 252 sessions and a risk-free rate of zero;
deviations are of the sample (ddof 1). A figure that cannot be had is None, never NaN or infinity. One function,
`statistics`, serves the command line, notebooks and tearsheets.
"""

import math
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

SESSIONS_A_YEAR = 252
FEWEST_SESSIONS = 20
Floats = NDArray[np.float64]


class Statistic(NamedTuple):
    """A figure with what it means."""

    name: str
    value: float | int | None
    unit: str
    formula: str


def returns(equity: ArrayLike) -> Floats:
    """Simple returns of a series of equities: e[i] / e[i - 1] - 1. Shape (n,) gives (n - 1,)."""
    values = np.asarray(equity, np.float64)
    return values[1:] / values[:-1] - 1


def sharpe(daily: ArrayLike) -> float | None:
    """Mean over standard deviation (ddof 1), times sqrt(252). None under 20 returns or without deviation.

    Source: Sharpe, The Sharpe Ratio, Journal of Portfolio Management 1994, with a rate of zero.
    """
    values = np.asarray(daily, np.float64)
    if len(values) < FEWEST_SESSIONS:
        return None
    deviation = float(np.std(values, ddof=1))
    return float(np.mean(values)) / deviation * math.sqrt(SESSIONS_A_YEAR) if deviation > 0 else None


def sortino(daily: ArrayLike) -> float | None:
    """Mean over downside deviation, times sqrt(252); downside deviation = sqrt(sum(min(r, 0)^2) / (n - 1)).

    Source: Sortino and Price 1994, target zero; ddof 1 as for Sharpe. None under 20 returns or without a loss.
    """
    values = np.asarray(daily, np.float64)
    if len(values) < FEWEST_SESSIONS:
        return None
    downside = math.sqrt(float(np.sum(np.minimum(values, 0) ** 2)) / (len(values) - 1))
    return float(np.mean(values)) / downside * math.sqrt(SESSIONS_A_YEAR) if downside > 0 else None


def drawdowns(equity: ArrayLike) -> Floats:
    """Fall from the running peak as a fraction, zero or negative: e / max(e so far) - 1. Shape as `equity`."""
    values = np.asarray(equity, np.float64)
    return values / np.maximum.accumulate(values) - 1


def max_drawdown(equity: ArrayLike) -> float:
    """The deepest fall from a running peak, as a fraction, zero or negative."""
    values = drawdowns(equity)
    return float(values.min()) if len(values) else 0.0


def longest_drawdown(equity: ArrayLike) -> int:
    """The longest run of observations below an earlier peak."""
    longest = current = 0
    for fall in drawdowns(equity):
        current = current + 1 if fall < 0 else 0
        longest = max(longest, current)
    return longest


def longest_drawdown_s(ts_ns: ArrayLike, equity: ArrayLike) -> float:
    """The longest time in seconds from a peak to the moment equity is back at it, or to the end."""
    times, falls = np.asarray(ts_ns, np.int64), drawdowns(equity)
    longest, peak_ns = 0, int(times[0]) if len(times) else 0
    for at_ns, fall in zip(times.tolist(), falls.tolist(), strict=True):
        longest = max(longest, at_ns - peak_ns)
        if fall == 0:
            peak_ns = at_ns
    return longest / 1e9 if len(falls) and falls.min() < 0 else 0.0


def cagr(start: float, end: float, sessions: int) -> float | None:
    """Compound annual growth: (end / start)^(252 / sessions) - 1. None without sessions, or where equity is not positive."""
    if sessions < 1 or start <= 0 or end <= 0:
        return None
    exponent = SESSIONS_A_YEAR / sessions * math.log(end / start)
    return math.expm1(exponent) if exponent < 700 else None


def calmar(start: float, daily_equity: ArrayLike) -> float | None:
    """CAGR over the absolute maximum drawdown of session-close equity. None under 20 sessions or without a drawdown."""
    values = np.asarray(daily_equity, np.float64)
    if len(values) < FEWEST_SESSIONS:
        return None
    growth, fall = cagr(start, float(values[-1]), len(values)), max_drawdown([start, *values])
    return growth / -fall if growth is not None and fall < 0 else None


def profit_factor(profits: ArrayLike) -> float | None:
    """Sum of gains over the absolute sum of losses. None without a loss."""
    values = np.asarray(profits, np.float64)
    losses = -float(values[values < 0].sum())
    return float(values[values > 0].sum()) / losses if losses > 0 else None


def win_rate(profits: ArrayLike) -> float | None:
    """Share of profits above zero. None without any."""
    values = np.asarray(profits, np.float64)
    return float(np.mean(values > 0)) if len(values) else None


def slippage(fills: pl.DataFrame) -> float:
    """Sum of (fill price - reference price) * signed quantity * multiplier: a cost is positive. In currency."""
    if fills.height == 0:
        return 0.0
    return float((((fills["price"] - fills["reference_price"]) * fills["quantity"]) * fills["multiplier"]).sum())


def position_value(buy_value: float, sell_value: float) -> float:
    """Kite's `value` of a position: what was sold less what was bought."""
    return sell_value - buy_value


def position_pnl(buy_value: float, sell_value: float, quantity: int, last: float, multiplier: float = 1.0) -> float:
    """Kite's `pnl` of a position: its value plus what the net quantity is worth at the last price."""
    return position_value(buy_value, sell_value) + quantity * last * multiplier


def statistics(equity: pl.DataFrame, fills: pl.DataFrame, trips: pl.DataFrame, start: float) -> dict[str, Statistic]:
    """Every figure of a run, by name.

    `equity`: ts, equity, realised, unrealised, charges, reason, in time order; `fills`: price, reference_price, quantity,
    multiplier; `trips`: net; `start`: equity at the start. Session closes are the rows with reason `end`.
    """
    curve = np.concatenate(([start], equity["equity"].to_numpy())) if equity.height else np.array([start])
    daily = equity.filter(pl.col("reason") == "end").unique("ts", keep="last", maintain_order=True)["equity"].to_numpy()
    with_start = np.concatenate(([start], daily))
    change, profits = returns(with_start), trips["net"].to_numpy()
    last = equity.row(-1, named=True) if equity.height else {"realised": 0.0, "unrealised": 0.0, "charges": 0.0}
    end, deepest = float(curve[-1]), float(np.min(curve - np.maximum.accumulate(curve)))
    below_s = longest_drawdown_s(equity["ts"].cast(pl.Int64), equity["equity"])
    found = [
        Statistic("net_pnl", end - start, "currency", "end equity - start equity"),
        Statistic("total_return", end / start - 1 if start else None, "fraction", "end equity / start equity - 1"),
        Statistic("realised", last["realised"], "currency", "profit of closed quantity at average cost, before charges"),
        Statistic("unrealised", last["unrealised"], "currency", "open quantity at the last tick - its cost"),
        Statistic("charges", last["charges"], "currency", "brokerage, taxes and fees"),
        Statistic("slippage", slippage(fills), "currency", "sum of (fill - reference) * signed quantity; a cost is positive"),
        Statistic("sessions", len(daily), "count", "session closes in the run"),
        Statistic("sharpe", sharpe(change), "ratio", "mean / std (ddof 1) of session returns * sqrt(252); none under 20"),
        Statistic("sortino", sortino(change), "ratio", "mean / downside deviation (target 0, ddof 1) * sqrt(252); none under 20"),
        Statistic("calmar", calmar(start, daily), "ratio", "CAGR / |max drawdown| at session closes; none under 20 sessions"),
        Statistic("max_drawdown", max_drawdown(curve), "fraction", "least of equity / running peak - 1, over all snapshots"),
        Statistic("max_drawdown_amount", deepest, "currency", "deepest fall below the running peak"),
        Statistic("longest_drawdown_s", below_s, "s", "from a peak until it is reached again, or the end"),
        Statistic("longest_drawdown_sessions", longest_drawdown(with_start), "sessions", "closes in a row below an earlier one"),
        Statistic("fills", fills.height, "count", "executed fills"),
        Statistic("round_trips", len(profits), "count", "from flat to flat; a reversal ends one and begins the next"),
        Statistic("win_rate", win_rate(profits), "fraction", "round trips with a net profit / round trips"),
        Statistic("profit_factor", profit_factor(profits), "ratio", "net gains / |net losses|; none without a loss"),
    ]  # fmt: skip
    return {one.name: one for one in found}
