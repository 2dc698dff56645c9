"""Series behind the figures: each a pure function of a run's frames, with its formula and convention.

They agree with `performance`: returns are simple, at session closes; a year has 252 sessions; deviations have ddof 1.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from alphapanda.research.performance import returns, sharpe

ROLLING_SESSIONS = 20
FEW_SESSIONS = 3
"""A run with fewer is looked at inside its sessions."""
BUCKET = "15m"


class Returns(NamedTuple):
    """Returns, and over what each is."""

    values: list[float]
    over: str  # session, or snapshot interval


def sessions(equity: pl.DataFrame, start: float) -> pl.DataFrame:
    """Session closes: ts, equity, return (simple, from the close before; the first from `start`)."""
    closes = equity.filter(pl.col("reason") == "end").unique("ts", keep="last", maintain_order=True).select("ts", "equity")
    return closes.with_columns(pl.Series("return", returns([start, *closes["equity"]]), pl.Float64))


def distribution(equity: pl.DataFrame, start: float) -> Returns:
    """Returns of sessions, or of a run with fewer than three, between snapshots on the clock."""
    closes = sessions(equity, start)
    if closes.height >= FEW_SESSIONS:
        return Returns(closes["return"].to_list(), "session")
    clock = equity.filter(pl.col("reason") == "clock")["equity"]
    return Returns(returns([start, *clock]).tolist(), "clock snapshot")


def monthly(equity: pl.DataFrame, start: float, zone: str) -> pl.DataFrame:
    """Session returns compounded by local month: year, month (1 to 12), return = product of (1 + r) - 1."""
    local = pl.col("ts").dt.convert_time_zone(zone)
    closes = sessions(equity, start).with_columns(local.dt.year().alias("year"), local.dt.month().alias("month"))
    return closes.group_by("year", "month", maintain_order=True).agg(((pl.col("return") + 1).product() - 1).alias("return"))


def rolling_sharpe(equity: pl.DataFrame, start: float, window: int = ROLLING_SESSIONS) -> pl.DataFrame:
    """The Sharpe ratio of the last `window` session returns at each close: ts, sharpe; None where it has no value."""
    closes = sessions(equity, start)
    values = closes["return"].to_numpy()
    found = [sharpe(values[i - window : i]) for i in range(window, len(values) + 1)]
    return pl.DataFrame(
        {"ts": closes["ts"][window - 1 :] if found else closes["ts"][:0], "sharpe": pl.Series(found, dtype=pl.Float64)}
    )


def turnover(fills: pl.DataFrame, equity: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Value traded over mean equity, by local date, or in a run of fewer than three by quarter of an hour.

    ts (local, start of the stretch, without zone), value (in currency), turnover (fraction; one way: buys and sells add up),
    every (the stretch: 1d or 15m). The mean is over the run's snapshots.
    """
    local = pl.col("ts").dt.convert_time_zone(zone).dt.replace_time_zone(None)
    value = (pl.col("price") * pl.col("quantity").abs() * pl.col("multiplier")).alias("value")
    frame = fills.select(local, value)
    every = "1d" if frame.select(pl.col("ts").dt.date().n_unique()).item() >= FEW_SESSIONS else BUCKET
    mean = equity["equity"].mean()
    over = pl.col("value") / mean if isinstance(mean, float) and mean else pl.lit(None, pl.Float64)
    sums = frame.group_by(pl.col("ts").dt.truncate(every), maintain_order=True).agg(pl.col("value").sum()).sort("ts")
    return sums.with_columns(over.alias("turnover"), pl.lit(every).alias("every"))


def execution(fills: pl.DataFrame, orders: pl.DataFrame) -> pl.DataFrame:
    """How each fill came about, one row a fill: prices, slippage, slippage_bps, latency_ms, waited_ms, and what it is of.

    `latency_ms`: from the order's placing to its fill, in market time; `waited_ms`: the part of it after the order could be
    filled (the rest is the configured latency). `slippage_bps`: slippage over the value at the reference price, in hundredths
    of a percent; a cost is positive. An order that is no MARKET order waits for its price, too.
    """
    placed = orders.select("order_id", pl.col("ts").alias("placed_ts"), "active_ts", "order_type")
    joined = fills.join(placed, on="order_id", how="left", maintain_order="left")
    value = pl.col("reference_price") * pl.col("quantity").abs() * pl.col("multiplier")
    return joined.select(
        "ts", "strategy_id", "symbol", "instrument_token", "order_type", "side", "quantity", "price", "reference_price",
        "slippage",
        pl.when(value > 0).then(pl.col("slippage") / value * 1e4).alias("slippage_bps"), "charges",
        _ms(pl.col("ts") - pl.col("placed_ts")).alias("latency_ms"), _ms(pl.col("ts") - pl.col("active_ts")).alias("waited_ms"),
        "order_id", "id",
    )  # fmt: skip


def _ms(span: pl.Expr) -> pl.Expr:
    return span.dt.total_nanoseconds() / 1e6


def bins(values: list[float], most: int = 60) -> tuple[list[float], list[float], list[int]]:
    """A histogram: middles, widths and counts, by the rule `auto` of numpy with at most `most` bins."""
    finite = np.asarray([one for one in values if one is not None and np.isfinite(one)], np.float64)
    if not len(finite):
        return [], [], []
    edges = np.histogram_bin_edges(finite, "auto")
    if len(edges) > most + 1:
        edges = np.histogram_bin_edges(finite, most)
    counts, edges = np.histogram(finite, edges)
    return ((edges[1:] + edges[:-1]) / 2).tolist(), np.diff(edges).tolist(), counts.tolist()


def quantities(positions: pl.DataFrame) -> pl.DataFrame:
    """Held quantity after each change, over all books: ts, instrument_token, symbol, quantity."""
    own = ("exec_mode", "strategy_id", "instrument_token")
    change = (pl.col("quantity") - pl.col("quantity").shift(1, fill_value=0).over(own)).alias("change")
    summed = positions.with_columns(change).with_columns(pl.col("change").cum_sum().over("instrument_token").alias("quantity"))
    return summed.select("ts", "instrument_token", "symbol", "quantity")


def market_latencies(execution: pl.DataFrame) -> list[float]:
    """`latency_ms` of fills of MARKET orders: others wait for their price, which says nothing about speed."""
    found: list[float] = execution.filter(pl.col("order_type") == "MARKET")["latency_ms"].to_list()
    return found


def gap(a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """How much more `b` had gained than `a`, at every time at which either has a snapshot: ts, gap (in currency).

    `a` and `b`: ts, gain, in time order; before its first snapshot a run has gained nothing.
    """
    times = pl.concat([a.select("ts"), b.select("ts")]).unique().sort("ts")
    last = [one.select("ts", "gain").unique("ts", keep="last", maintain_order=True).set_sorted("ts") for one in (a, b)]
    joined = times.join_asof(last[0], on="ts").join_asof(last[1], on="ts", suffix="_b")
    return joined.select("ts", (pl.col("gain_b").fill_null(0.0) - pl.col("gain").fill_null(0.0)).alias("gap"))
