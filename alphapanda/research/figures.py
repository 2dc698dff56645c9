"""Figures: pure functions from frames to plotly figures, shared by notebooks, dashboards and tearsheets.

Every one has at most a few thousand points, whatever it is made of, and is drawn as SVG. Times are shown in `zone`; colours
read on light and dark ground. A figure without anything to show says so in words.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl

from alphapanda.research.performance import drawdowns
from alphapanda.research.prices import MOST_POINTS, thinned
from alphapanda.research.series import bins

LINE, GAIN, LOSS, GREY = "#2f6fed", "#12946b", "#d1453b", "#8a93a3"
COLOURS = (LINE, "#d18b2f", "#8e5bd0", "#1aa3a3", "#c2417c", "#6b8e23", GREY)
MOST_MARKS = 500
"""More fills than this on one chart are too many to tell apart."""
SHOWN_POSITIONS = 2
_DIVERGING = [[0.0, LOSS], [0.5, "rgba(138,147,163,.12)"], [1.0, GAIN]]


def blank(title: str, unit: str = "", x: str = "") -> go.Figure:
    """A figure without traces, in the shared style."""
    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "font": {"size": 15}}, height=340, margin={"l": 64, "r": 20, "t": 56, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", font={"color": GREY}, hovermode="x unified",
        yaxis={"title": unit, "gridcolor": "rgba(138,147,163,.25)", "zerolinecolor": "rgba(138,147,163,.5)"},
        xaxis={"title": x, "gridcolor": "rgba(138,147,163,.15)", "zerolinecolor": "rgba(138,147,163,.5)"},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1.0, "xanchor": "right"},
    )  # fmt: skip
    return figure


def _said(figure: go.Figure, text: str) -> go.Figure:
    """A figure that has nothing to show says why."""
    figure.add_annotation(text=text, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
    return figure


def local(frame: pl.DataFrame, zone: str, ts: str = "ts") -> Any:
    """Its times in `zone`, as plotly takes them."""
    return frame[ts].dt.convert_time_zone(zone).dt.replace_time_zone(None).dt.cast_time_unit("us").to_numpy()


def _line(frame: pl.DataFrame, y: str, name: str, colour: str, zone: str, **more: object) -> go.Scatter:
    line = {"color": colour, "width": 1.4, **(more.pop("line", None) or {})}  # type: ignore[dict-item]
    return go.Scatter(x=local(frame, zone), y=frame[y].to_numpy(), name=name, mode="lines", line=line, **more)


def equity_figure(
    equity: pl.DataFrame, currency: str, benchmark: pl.DataFrame | None = None, zone: str = "UTC"
) -> go.Figure:  # fmt: skip
    """Equity of all books, and of `benchmark` (ts, benchmark)."""
    figure = blank("Equity" if benchmark is None else "Equity against buying and holding what was traded", currency, zone)
    if equity.height == 0:
        return _said(figure, "no snapshot yet")
    figure.add_trace(_line(thinned(equity, "equity"), "equity", "equity", LINE, zone))
    if benchmark is not None and benchmark.height:
        shown = thinned(benchmark, "benchmark")
        figure.add_trace(_line(shown, "benchmark", "buy and hold", GREY, zone, line={"dash": "dot"}))
    return figure


def compare_figure(curves: Mapping[str, tuple[pl.DataFrame, float]], zone: str = "UTC") -> go.Figure:
    """Several runs' equity over their start: name -> (equity, start)."""
    figure = blank("Equity, start = 1", "equity / start equity", zone)
    for i, (name, (equity, start)) in enumerate(curves.items()):
        frame = thinned(equity.select("ts", (pl.col("equity") / start).alias("growth")), "growth")
        figure.add_trace(_line(frame, "growth", name, COLOURS[i % len(COLOURS)], zone))
    return figure


def gap_figure(gap: pl.DataFrame, currency: str, zone: str = "UTC") -> go.Figure:
    """How much more one run gained than another (`series.gap`)."""
    figure = blank("B - A, net profit", currency, zone)
    if gap.height == 0:
        return _said(figure, "no snapshot")
    figure.add_trace(_line(thinned(gap, "gap"), "gap", "B - A", LINE, zone, fill="tozeroy"))
    return figure


def drawdown_figure(equity: pl.DataFrame, zone: str = "UTC", start: float | None = None) -> go.Figure:
    """Fall from the running peak, in percent; `start` is the first peak."""
    figure = blank("Drawdown", "%", zone)
    if equity.height == 0:
        return _said(figure, "no snapshot yet")
    with_start = np.concatenate(([equity["equity"][0] if start is None else start], equity["equity"].to_numpy()))
    frame = equity.select("ts").with_columns(pl.Series("fall", drawdowns(with_start)[1:] * 100))
    figure.add_trace(_line(thinned(frame, "fall"), "fall", "drawdown", LOSS, zone, fill="tozeroy"))
    return figure


def exposure_figure(equity: pl.DataFrame, currency: str, zone: str = "UTC") -> go.Figure:
    """Gross and net exposure."""
    figure = blank("Exposure", currency, zone)
    if equity.height == 0:
        return _said(figure, "no snapshot yet")
    for column, colour in (("gross_exposure", GREY), ("net_exposure", LINE)):
        figure.add_trace(_line(thinned(equity, column), column, column.replace("_", " "), colour, zone))
    return figure


def pnl_figure(equity: pl.DataFrame, currency: str, zone: str = "UTC") -> go.Figure:
    """Realised and unrealised profit, and charges, over time."""
    figure = blank("Profit and loss", currency, zone)
    if equity.height == 0:
        return _said(figure, "no snapshot yet")
    for column, colour in (("realised", GAIN), ("unrealised", LINE), ("charges", LOSS)):
        figure.add_trace(_line(thinned(equity, column), column, column, colour, zone))
    return figure


def turnover_figure(turnover: pl.DataFrame, zone: str = "UTC") -> go.Figure:
    """Bars of `series.turnover`."""
    every = turnover["every"][0] if turnover.height else "1d"
    figure = blank(f"Turnover by {'session date' if every == '1d' else 'quarter of an hour'}", "traded value / mean equity", zone)
    if turnover.height == 0:
        return _said(figure, "no fills")
    shown = turnover.tail(MOST_POINTS)
    x = shown["ts"].dt.cast_time_unit("us").to_numpy()
    figure.add_trace(go.Bar(x=x, y=shown["turnover"].to_numpy(), marker={"color": LINE}, name="turnover"))
    return figure


def monthly_figure(monthly: pl.DataFrame) -> go.Figure:
    """Heatmap of `series.monthly`: a row a year, a column a month, in percent."""
    figure = blank("Return by month", "")
    if monthly.height == 0:
        return _said(figure, "no session has closed")
    years = monthly["year"].unique().sort().to_list()
    cells = np.full((len(years), 12), np.nan)
    for year, month, value in monthly.select("year", "month", "return").iter_rows():
        cells[years.index(year), month - 1] = value * 100
    text = [["" if np.isnan(one) else f"{one:.2f}%" for one in row] for row in cells]
    most = float(np.nanmax(np.abs(cells))) or 1.0
    figure.add_trace(go.Heatmap(
        z=[[None if np.isnan(one) else one for one in row] for row in cells], x=list(_MONTHS), y=list(map(str, years)),
        text=text, texttemplate="%{text}", zmin=-most, zmax=most, colorscale=_DIVERGING, showscale=False, hoverongaps=False,
        hovertemplate="%{x} %{y}: %{text}<extra></extra>", xgap=2, ygap=2,
    ))  # fmt: skip
    figure.update_layout(hovermode="closest", height=150 + 44 * len(years), yaxis={"type": "category", "autorange": "reversed"})
    return figure


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def histogram_figure(
    title: str, values: Sequence[float | None], unit: str, none: str = "nothing to count", *, signed: str | None = None
) -> go.Figure:
    """How often values of which size occur; the title gets count, mean and median.

    `signed`: whether above zero is good (`gain`), bad (`cost`), or neither (None), which the colours tell.
    """
    known = [one for one in values if one is not None]
    if not known:
        return _said(blank(title, "count", unit), none)
    middles, widths, counts = bins(known)
    said = f"n {len(known):,}, mean {np.mean(known):,.4g}, median {np.median(known):,.4g} {unit}"
    figure = blank(f"{title}<br><sub>{said}</sub>", "count", unit)
    below, above = {"gain": (LOSS, GAIN), "cost": (GAIN, LOSS), None: (LINE, LINE)}[signed]
    colours = [below if middle < 0 else above for middle in middles]
    figure.add_trace(go.Bar(x=middles, y=counts, width=widths, marker={"color": colours}, name="count"))
    figure.update_layout(bargap=0, hovermode="closest")
    return figure


def returns_figure(returns: Sequence[float], over: str) -> go.Figure:
    """Distribution of returns, in percent, each over one `over`."""
    return histogram_figure(f"Returns by {over}", [one * 100 for one in returns], "%", "no return yet", signed="gain")


def round_trips_figure(trips: pl.DataFrame, currency: str) -> go.Figure:
    """Distribution of round trips' net profit."""
    return histogram_figure(
        "Round trips, net profit", trips["net"].to_list(), currency, "no round trip was closed", signed="gain"
    )


def latency_figure(latencies_ms: Sequence[float]) -> go.Figure:
    """Distribution of times from an order's placing to its fill (`series.market_latencies`)."""
    return histogram_figure("Placed to filled, MARKET orders", latencies_ms, "ms", "no MARKET order was filled")


def costs_figure(execution: pl.DataFrame) -> go.Figure:
    """Distribution of fills' slippage (`series.execution`)."""
    return histogram_figure("Slippage of a fill", execution["slippage_bps"].to_list(), "bps", "no fills", signed="cost")


def rolling_sharpe_figure(rolling: pl.DataFrame, window: int, zone: str = "UTC") -> go.Figure:
    """Line of `series.rolling_sharpe`."""
    figure = blank(f"Rolling Sharpe, {window} sessions, annualised", "ratio", zone)
    if rolling["sharpe"].drop_nulls().len() == 0:
        return _said(figure, f"it needs {window} session closes, with deviation")
    figure.add_trace(_line(thinned(rolling, "sharpe"), "sharpe", "Sharpe", LINE, zone))
    return figure


def fills_figure(symbol: str, prices: pl.DataFrame | None, fills: pl.DataFrame, zone: str = "UTC") -> go.Figure:
    """Fills of one instrument on its price; `prices` (ts, last_price) is None where the tape is no longer at hand."""
    figure = blank(f"Fills on price: {symbol}", "price", zone)
    if prices is not None and prices.height:
        figure.add_trace(_line(thinned(prices, "last_price"), "last_price", "last price", GREY, zone, hoverinfo="y"))
    for side, colour, mark in (("buy", GAIN, "triangle-up"), ("sell", LOSS, "triangle-down")):
        mine = fills.filter(pl.col("side") == side)
        every = -(-mine.height // MOST_MARKS)
        shown = mine.gather_every(max(1, every))
        figure.add_trace(go.Scatter(
            x=local(shown, zone), y=shown["price"].to_numpy(), mode="markers",
            name=f"{side}s ({mine.height:,})" if every <= 1 else f"{side}s (1 of {every} of {mine.height:,} shown)",
            customdata=shown["quantity"].to_list(), hovertemplate=f"{side} %{{customdata}} at %{{y}}<extra></extra>",
            marker={"color": colour, "symbol": mark, "size": 8, "line": {"width": 0.6, "color": "rgba(255,255,255,.7)"}},
        ))  # fmt: skip
    return figure


def positions_figure(quantities: pl.DataFrame, end_ts: Any = None, zone: str = "UTC", most: int = 6) -> go.Figure:
    """Held quantity over time of the instruments that changed most often (`series.quantities`); steps, drawn to `end_ts`.

    All but the first ones wait in the legend to be clicked: many lines in one place cannot be read.
    """
    figure = blank("Held quantity", "quantity", zone)
    if quantities.height == 0:
        return _said(figure, "no position was ever held")
    often = quantities.group_by("instrument_token").len().sort("len", "instrument_token", descending=[True, False]).head(most)
    for i, token in enumerate(often["instrument_token"]):
        mine = quantities.filter(pl.col("instrument_token") == token).select("ts", "symbol", "quantity")
        if end_ts is not None:
            mine = pl.concat([mine, mine.tail(1).with_columns(pl.lit(end_ts).cast(mine.schema["ts"]).alias("ts"))])
        shown, more = thinned(mine, "quantity", MOST_POINTS // 2), {"line": {"shape": "hv"}}
        if i >= SHOWN_POSITIONS:
            more["visible"] = "legendonly"  # type: ignore[assignment]
        figure.add_trace(_line(shown, "quantity", mine["symbol"][0], COLOURS[i % len(COLOURS)], zone, **more))
    return figure


def slippage_figure(execution: pl.DataFrame, currency: str, zone: str = "UTC") -> go.Figure:
    """Slippage added up over time (`series.execution`); a cost is positive."""
    figure = blank("Slippage so far", currency, zone)
    if execution.height == 0:
        return _said(figure, "no fills")
    frame = thinned(execution.select("ts", pl.col("slippage").cum_sum().alias("so_far")), "so_far")
    figure.add_trace(_line(frame, "so_far", "slippage", LOSS, zone))
    return figure


def rejections_figure(rejected: Mapping[str, int]) -> go.Figure:
    """Rejected signals by reason."""
    figure = blank("Rejections", "signals")
    figure.add_trace(go.Bar(x=list(rejected), y=list(rejected.values()), marker={"color": LOSS}, name="signals"))
    return figure


def parts_figure(names: Sequence[str], values: Sequence[float], currency: str, total: str = "B - A") -> go.Figure:
    """What a difference is made of, part by part, and the sum."""
    figure = blank(f"{total}, part by part", currency)
    figure.add_trace(go.Waterfall(
        x=[*names, total], y=[*values, sum(values)], measure=["relative"] * len(names) + ["total"],
        text=[f"{one:+,.2f}" for one in (*values, sum(values))], connector={"line": {"color": GREY, "width": 1}},
        increasing={"marker": {"color": GAIN}}, decreasing={"marker": {"color": LOSS}}, totals={"marker": {"color": LINE}},
    ))  # fmt: skip
    figure.update_layout(hovermode="closest", xaxis={"type": "category"})
    return figure
