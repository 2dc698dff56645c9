"""Figures of a search: pure functions from frames."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import polars as pl

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research.figures import GAIN, GREY, LINE, LOSS, blank

MOST_CELLS = 60
"""More values than this along one side of a heatmap cannot be read."""

_SCALE = [[0, LOSS], [0.5, "#e9ecf2"], [1, GAIN]]


def axes(dimensions: Sequence[str], x: str | None, y: str | None) -> tuple[str, str | None]:
    """The dimensions of a heatmap: those that are named, else the first two. Raises ConfigurationError."""
    if unknown := [one for one in (x, y) if one is not None and one not in dimensions]:
        raise ConfigurationError(f"{', '.join(unknown)} was not searched over: there are {', '.join(dimensions)}")
    across = x or next(one for one in dimensions if one != y)
    return across, y or next((one for one in dimensions if one != across), None)


def heatmap(
    frame: pl.DataFrame, x: str, y: str | None, value: str = "score", title: str = "", best: dict[str, Any] | None = None
) -> go.Figure:  # fmt: skip
    """`value` over two dimensions, the mean over all others; over one dimension a line. `best` is marked.

    `frame` has a column for each dimension and one for `value`, a row a set. Raises ConfigurationError for a column that is
    not there.
    """
    if missing := [name for name in (x, y, value) if name is not None and name not in frame.columns]:
        raise ConfigurationError(f"the results have no {', '.join(missing)}: they have {', '.join(frame.columns)}")
    by = [x] if y is None else [x, y]
    cells = frame.group_by(by).agg(pl.col(value).mean(), pl.len().alias("sets")).sort(by)
    named = (
        title or f"{value.replace('_', ' ')}{' (mean over the other dimensions)' if cells['sets'].max() not in (None, 1) else ''}"
    )
    figure = blank(named, y or value.replace("_", " "), x)
    figure.update_layout(hovermode="closest")
    if cells.height == 0:
        figure.add_annotation(text="no set is finished yet", showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper")
    elif y is None:
        line = {"color": LINE, "width": 1.4}
        figure.add_trace(go.Scatter(x=cells[x].to_list(), y=cells[value].to_list(), mode="lines+markers", line=line, name=value))
        if best is not None:
            mark = {"color": GAIN, "size": 13, "symbol": "star"}
            at = cells.filter(pl.col(x) == best[x])
            figure.add_trace(go.Scatter(x=at[x].to_list(), y=at[value].to_list(), mode="markers", marker=mark, name="best"))
    else:
        _cells(figure, cells, x, y, value, best)
    return figure


def _cells(figure: go.Figure, cells: pl.DataFrame, x: str, y: str, value: str, best: dict[str, Any] | None) -> None:
    across, down = cells[x].unique().sort().to_list(), cells[y].unique().sort().to_list()
    table: list[list[float | None]] = [[None] * len(across) for _ in down]
    for a, b, one in cells.select(x, y, value).iter_rows():
        table[down.index(b)][across.index(a)] = one
    values = [one for line in table for one in line if one is not None]
    middle = 0.0 if values and min(values) < 0 < max(values) else None
    few = len(across) * len(down) <= MOST_CELLS * 4
    figure.add_trace(go.Heatmap(
        z=table, x=list(map(str, across)), y=list(map(str, down)), zmid=middle, colorscale=_SCALE,
        texttemplate="%{z:.4~g}" if few else None, hoverongaps=False, xgap=1, ygap=1,
        hovertemplate=f"{x} %{{x}}<br>{y} %{{y}}<br>{value.replace('_', ' ')} %{{z:.6~g}}<extra></extra>",
        colorbar={"tickfont": {"color": GREY}},
    ))  # fmt: skip
    figure.update_layout(
        xaxis={"type": "category"}, yaxis={"type": "category"}, height=max(340, 160 + 28 * min(MOST_CELLS, len(down)))
    )
    if best is not None:
        ring = {"size": 16, "color": "rgba(0,0,0,0)", "line": {"color": LINE, "width": 2.5}}
        figure.add_trace(go.Scatter(
            x=[str(best[x])], y=[str(best[y])], mode="markers", marker=ring, name="best", showlegend=False,
            hovertemplate="best<extra></extra>",
        ))  # fmt: skip


def scores_figure(frame: pl.DataFrame, objective: str) -> go.Figure:
    """The score of every set in the order of proposal, and the best so far where more is better."""
    figure = blank(f"{objective.replace('_', ' ')} of every set", objective.replace("_", " "), "set")
    scored = frame.filter(pl.col("score").is_not_null())
    dots = {"color": LINE, "size": 6}
    shown = scored if scored.height <= 2_000 else scored.sample(2_000, seed=7).sort("number")
    figure.add_trace(go.Scatter(x=shown["number"].to_list(), y=shown["score"].to_list(), mode="markers", marker=dots, name="set"))
    return figure
