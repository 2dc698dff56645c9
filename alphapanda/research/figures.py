"""Figures: pure functions from frames to plotly figures, shared by notebooks and tearsheets."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
import polars as pl

from alphapanda.research.performance import drawdowns

MOST_POINTS = 2_000
LINE, GAIN, LOSS, GREY = "#2f6fed", "#12946b", "#d1453b", "#8a93a3"


def thinned(frame: pl.DataFrame, y: str) -> pl.DataFrame:
    """At most about MOST_POINTS rows: of each stretch the first, the last, and those with the least and greatest `y`."""
    if frame.height <= MOST_POINTS:
        return frame
    bucket = (pl.int_range(pl.len()) * (MOST_POINTS // 4) // frame.height).alias("_bucket")
    rows = frame.with_row_index("_row").with_columns(bucket)
    kept = rows.group_by("_bucket").agg(
        pl.col("_row").first().alias("a"), pl.col("_row").last().alias("b"),
        pl.col("_row").get(pl.col(y).arg_min()).alias("c"), pl.col("_row").get(pl.col(y).arg_max()).alias("d"),
    )  # fmt: skip
    index: list[int] = np.unique(kept.select("a", "b", "c", "d").to_numpy()).tolist()
    return frame[index]


def _figure(title: str, unit: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        title=title, height=340, margin={"l": 60, "r": 20, "t": 46, "b": 36}, paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)", font={"color": GREY}, hovermode="x unified",
        yaxis={"title": unit, "gridcolor": "rgba(138,147,163,.25)"},
        xaxis={"gridcolor": "rgba(138,147,163,.15)"}, legend={"orientation": "h"},
    )  # fmt: skip
    return figure


def _line(frame: pl.DataFrame, y: str, name: str, color: str, **more: object) -> go.Scatter:
    return go.Scatter(
        x=frame["ts"].dt.replace_time_zone(None).to_list(),
        y=frame[y].to_list(),
        name=name,
        line={"color": color, "width": 1.4},
        **more,
    )


def equity_figure(equity: pl.DataFrame, currency: str) -> go.Figure:
    """Equity of all books over door time, UTC."""
    figure = _figure("Equity", currency)
    figure.add_trace(_line(thinned(equity, "equity"), "equity", "equity", LINE))
    return figure


def drawdown_figure(equity: pl.DataFrame) -> go.Figure:
    """Fall from the running peak, in percent."""
    frame = equity.with_columns(pl.Series("fall", drawdowns(equity["equity"].to_numpy()) * 100))
    figure = _figure("Drawdown", "%")
    figure.add_trace(_line(thinned(frame, "fall"), "fall", "drawdown", LOSS, fill="tozeroy"))
    return figure


def exposure_figure(equity: pl.DataFrame, currency: str) -> go.Figure:
    """Gross and net exposure."""
    figure = _figure("Exposure", currency)
    for column, color in (("gross_exposure", GREY), ("net_exposure", LINE)):
        figure.add_trace(_line(thinned(equity, column), column, column.replace("_", " "), color))
    return figure


def fills_figure(symbol: str, prices: pl.DataFrame | None, fills: pl.DataFrame) -> go.Figure:
    """Fills of one instrument on its price; `prices` (ts, last_price) is None where the tape is no longer at hand."""
    figure = _figure(f"Fills on price: {symbol}", "price")
    if prices is not None:
        figure.add_trace(_line(thinned(prices, "last_price"), "last_price", "last price", GREY))
    for side, color, mark in (("buy", GAIN, "triangle-up"), ("sell", LOSS, "triangle-down")):
        mine = fills.filter(pl.col("side") == side)
        shown = mine.gather_every(max(1, mine.height // (MOST_POINTS // 4)))
        name = side if shown.height == mine.height else f"{side} (every {mine.height // shown.height + 1}th shown)"
        figure.add_trace(go.Scatter(
            x=shown["ts"].dt.replace_time_zone(None).to_list(), y=shown["price"].to_list(), mode="markers", name=name,
            marker={"color": color, "symbol": mark, "size": 7},
        ))  # fmt: skip
    return figure


def rejections_figure(rejected: Mapping[str, int]) -> go.Figure:
    """Rejected signals by reason."""
    figure = _figure("Rejections", "signals")
    figure.add_trace(go.Bar(x=list(rejected), y=list(rejected.values()), marker={"color": LOSS}))
    return figure
