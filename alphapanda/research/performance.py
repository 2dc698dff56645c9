"""Statistics of a run in one table: one function, `statistics`, serves the command line, notebooks, tearsheets and dashboards.

Each figure is a function of its own in `ratios` (of returns), `relative` (to a benchmark), `trades` or `activity`, with its
formula and source. Returns are simple, from equity at session closes; rates are annualised with 252 sessions and a risk-free
rate of zero; deviations are of the sample (ddof 1). A figure that cannot be had is None, never NaN or infinity.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from alphapanda.research import activity, relative
from alphapanda.research import ratios as r
from alphapanda.research.ratios import (
    cagr,
    calmar,
    drawdowns,
    longest_drawdown,
    longest_drawdown_s,
    max_drawdown,
    returns,
    sharpe,
    sortino,
)  # fmt: skip
from alphapanda.research.statistic import FEWEST_SESSIONS, SESSIONS_A_YEAR, Floats, Statistic, grouped, ratio
from alphapanda.research.trades import profit_factor, trade_statistics, win_rate

__all__ = [
    "FEWEST_SESSIONS", "HEADLINES", "SESSIONS_A_YEAR", "Statistic", "cagr", "calmar", "drawdowns", "longest_drawdown",
    "longest_drawdown_s", "max_drawdown", "position_pnl", "position_value", "profit_factor", "returns", "sharpe", "slippage",
    "sortino", "statistics", "win_rate",
]  # fmt: skip
HEADLINES = (
    "net_pnl", "total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "exposure_time", "turnover", "fills",
    "round_trips", "win_rate", "profit_factor", "expectancy", "charges", "slippage",
)  # fmt: skip
"""What a short table shows."""


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


class _Run(NamedTuple):
    """What figures are made of."""

    equity: pl.DataFrame
    fills: pl.DataFrame
    start: float
    curve: Floats  # start, and equity at every snapshot
    closes: Floats  # start, and equity at every session close
    daily: Floats  # returns from close to close


def statistics(
    equity: pl.DataFrame, fills: pl.DataFrame, trips: pl.DataFrame, start: float, benchmark: ArrayLike | None = None
) -> dict[str, Statistic]:  # fmt: skip
    """Every figure of a run, by name, in groups.

    `equity`: ts, equity, realised, unrealised, charges, reason, and gross_exposure for exposures, in time order; `fills`:
    price, reference_price, quantity, multiplier; `trips`: net, and where it has them the columns of `round_trips`; `start`:
    equity at the start. Session closes are the rows with reason `end`. `benchmark`: what it was worth at the start and at each
    session close, shape (closes + 1,), in any unit; without it, figures against it are None. Raises AlphaPandaError for
    another shape.
    """
    curve = np.concatenate(([start], equity["equity"].to_numpy())) if equity.height else np.array([start])
    ends = equity.filter(pl.col("reason") == "end").unique("ts", keep="last", maintain_order=True)["equity"].to_numpy()
    closes = np.concatenate(([start], ends))
    run = _Run(equity, fills, start, curve, closes, returns(closes))
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is no number, and so None
        figures = (*_result(run), *_returns(run), *_risk(run), *_drawdown(run), *_activity(run))
        found = [*figures, *_trips(trips), *_benchmark(run, benchmark)]
    return {one.name: one for one in found}


def _result(run: _Run) -> list[Statistic]:
    last = run.equity.row(-1, named=True) if run.equity.height else {"realised": 0.0, "unrealised": 0.0, "charges": 0.0}
    end, start = float(run.curve[-1]), run.start
    return grouped(
        "result",
        ("net_pnl", end - start, "currency", "end equity - start equity"),
        ("total_return", end / start - 1 if start > 0 else None, "fraction", "end equity / start equity - 1"),
        ("realised", last["realised"], "currency", "profit of closed quantity at average cost, before charges"),
        ("unrealised", last["unrealised"], "currency", "open quantity at the last tick - its cost"),
        ("charges", last["charges"], "currency", "brokerage, taxes and fees"),
        ("slippage", slippage(run.fills), "currency", "sum of (fill - reference) * signed quantity; a cost is positive"),
    )  # fmt: skip


def _returns(run: _Run) -> list[Statistic]:
    daily = run.daily
    known = daily[np.isfinite(daily)]
    best, worst, mean = (float(known.max()), float(known.min()), float(known.mean())) if len(known) else (None, None, None)
    return grouped(
        "return",
        ("sessions", len(run.closes) - 1, "count", "session closes in the run"),
        ("cagr", r.annual_return(daily), "fraction", "product(1 + r)^(252 / sessions) - 1 of session returns; none under 20"),
        ("volatility", r.volatility(daily), "fraction", "std (ddof 1) of session returns * sqrt(252); none under 20"),
        ("best_session", best, "fraction", "highest session return"),
        ("worst_session", worst, "fraction", "lowest session return"),
        ("average_session", mean, "fraction", "mean session return"),
        ("winning_sessions", win_rate(known), "fraction", "sessions with a return above zero / sessions"),
        ("skewness", r.skewness(daily), "ratio", "third central moment / std^3 (ddof 0); none under 20"),
        ("kurtosis", r.kurtosis(daily), "ratio", "fourth central moment / std^4 (ddof 0) - 3; none under 20"),
    )  # fmt: skip


def _risk(run: _Run) -> list[Statistic]:
    daily = run.daily
    return grouped(
        "risk",
        ("sharpe", sharpe(daily), "ratio", "mean / std (ddof 1) of session returns * sqrt(252); none under 20"),
        ("sortino", sortino(daily), "ratio", "mean / downside deviation (target 0, ddof 1) * sqrt(252); none under 20"),
        ("calmar", calmar(run.start, run.closes[1:]), "ratio", "CAGR / |max drawdown| at session closes; none under 20 sessions"),
        ("downside_deviation", r.downside_deviation(daily), "fraction",
         "sqrt(sum(min(r, 0)^2) / (n - 1)) * sqrt(252); none under 20"),
        ("omega", r.omega(daily), "ratio", "sum of returns above 0 / |sum of those below|; none under 20"),
        ("tail_ratio", r.tail_ratio(daily), "ratio", "|95th percentile| / |5th percentile| of returns; none under 20"),
        ("value_at_risk", r.value_at_risk(daily), "fraction", "5th percentile of session returns; none under 20"),
        ("conditional_value_at_risk", r.conditional_value_at_risk(daily), "fraction",
         "mean of the worst 5 % of session returns; none under 20"),
        ("stability", r.stability(daily), "fraction", "R^2 of a line through cumulated log returns; none under 20"),
        ("probabilistic_sharpe", r.probabilistic_sharpe(daily), "fraction",
         "probability that the true Sharpe ratio is above 0; none under 20"),
    )  # fmt: skip


def _drawdown(run: _Run) -> list[Statistic]:
    net, deepest = float(run.curve[-1]) - run.start, float(np.min(run.curve - np.maximum.accumulate(run.curve)))
    below_s = longest_drawdown_s(run.equity["ts"].cast(pl.Int64), run.equity["equity"])
    return grouped(
        "drawdown",
        ("max_drawdown", max_drawdown(run.curve), "fraction", "least of equity / running peak - 1, over all snapshots"),
        ("max_drawdown_amount", deepest, "currency", "deepest fall below the running peak"),
        ("longest_drawdown_s", below_s, "s", "from a peak until it is reached again, or the end"),
        ("longest_drawdown_sessions", longest_drawdown(run.closes), "sessions", "closes in a row below an earlier one"),
        ("average_drawdown", r.average_drawdown(run.closes), "fraction", "mean depth of drawdowns at session closes"),
        ("ulcer_index", r.ulcer_index(run.closes), "fraction", "root of the mean squared drawdown at session closes"),
        ("recovery_factor", ratio(net, -deepest), "ratio", "net P&L / |max drawdown amount|; none without one"),
    )  # fmt: skip


def _activity(run: _Run) -> list[Statistic]:
    equity, fills, sessions = run.equity, run.fills, len(run.closes) - 1
    return grouped(
        "activity",
        ("fills", fills.height, "count", "executed fills"),
        ("traded_value", activity.traded_value(fills), "currency", "sum of price * |quantity| * multiplier"),
        ("turnover", activity.turnover(fills, equity), "ratio", "traded value / mean equity over snapshots"),
        ("annual_turnover", activity.annual_turnover(fills, equity, sessions), "ratio", "turnover * 252 / sessions"),
        ("exposure_time", activity.exposure_time(equity), "fraction", "seconds with a position / those in session, by snapshots"),
        ("average_exposure", activity.average_exposure(equity), "fraction", "gross exposure / equity, mean over session time"),
        ("largest_exposure", activity.largest_exposure(equity), "fraction", "greatest gross exposure / equity at a snapshot"),
    )  # fmt: skip


def _trips(trips: pl.DataFrame) -> list[Statistic]:
    """Figures of round trips, after charges."""
    columns = {
        "gross": "gross",
        "charges": "charges",
        "mae": "mae",
        "mfe": "mfe",
        "durations_s": "duration_s",
        "returns": "return",
    }
    given = {argument: trips[name].to_numpy() for argument, name in columns.items() if name in trips.columns}
    if "exit_ts" in trips.columns:
        exits_ns = trips["exit_ts"].dt.epoch("ns").to_numpy()
        given["exits_s"] = (exits_ns - exits_ns[:1].sum()) / 1e9  # from the first exit on
    found = trade_statistics(trips["net"].to_numpy(), **given)
    closed = found.pop("trades").value
    count = Statistic("round_trips", closed, "count", "from flat to flat; a reversal ends one and begins the next", "trade")
    return [count, *found.values()]


def _benchmark(run: _Run, benchmark: ArrayLike | None) -> list[Statistic]:
    """Figures against the benchmark's session returns."""
    worth = np.full(len(run.closes), np.nan) if benchmark is None else np.asarray(benchmark, np.float64)
    daily, other = run.daily, returns(worth)
    whole = ratio(float(worth[-1]), float(worth[0]))
    return grouped(
        "benchmark",
        ("benchmark_return", None if whole is None else whole - 1, "fraction", "benchmark at the last close / at the start - 1"),
        ("alpha", relative.alpha(daily, other), "fraction", "(1 + mean(r - beta * b))^252 - 1; none under 20"),
        ("beta", relative.beta(daily, other), "ratio", "cov(r, b) / var(b) of session returns; none under 20"),
        ("correlation", relative.correlation(daily, other), "ratio", "Pearson's, of session returns; none under 20"),
        ("information_ratio", relative.information_ratio(daily, other), "ratio",
         "mean(r - b) / std(r - b) (ddof 1) * sqrt(252); none under 20"),
        ("tracking_error", relative.tracking_error(daily, other), "fraction", "std(r - b) (ddof 1) * sqrt(252); none under 20"),
        ("up_capture", relative.up_capture(daily, other), "ratio", "annual return / benchmark's, where it rose; none under 20"),
        ("down_capture", relative.down_capture(daily, other), "ratio",
         "annual return / benchmark's, where it fell; none under 20"),
    )  # fmt: skip
