"""`run.plot(...)`: the shared figures of one run by name."""

from collections.abc import Callable

import plotly.graph_objects as go
import polars as pl

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research import figures, series
from alphapanda.research.prices import NoPricesError, price_points
from alphapanda.research.runs import Run
from alphapanda.research.tearsheet import benchmark_of


def plot(run: Run, what: str = "equity", symbol: str | None = None) -> go.Figure:
    """The figure of that name (`PLOTS`); `symbol` is for `fills`, by default the one with most. Raises ConfigurationError."""
    if what == "fills":
        return _fills(run, symbol)
    if symbol is not None:
        raise ConfigurationError(f"plot({what!r}) is of all instruments: symbol is for plot('fills')")
    if what not in PLOTS:
        raise ConfigurationError(f"there is no plot {what!r}: there are {', '.join((*PLOTS, 'fills'))}")
    return PLOTS[what](run)


def _zone(run: Run) -> str:
    zone: str = run.manifest["tape"]["zone"]
    return zone


def _currency(run: Run) -> str:
    currency: str = run.manifest["currency"]
    return currency


def _equity(run: Run) -> go.Figure:
    return figures.equity_figure(run.equity, _currency(run), benchmark_of(run)[0], _zone(run))


def _positions(run: Run) -> go.Figure:
    end_ts = run.equity["ts"][-1] if run.equity.height else None
    return figures.positions_figure(series.quantities(run.positions), end_ts, _zone(run))


def _rolling(run: Run) -> go.Figure:
    window = series.ROLLING_SESSIONS
    return figures.rolling_sharpe_figure(series.rolling_sharpe(run.equity, run.start_equity, window), window, _zone(run))


def _slippage(run: Run) -> go.Figure:
    return figures.slippage_figure(series.execution(run.fills, run.orders), _currency(run), _zone(run))


PLOTS: dict[str, Callable[[Run], go.Figure]] = {
    "equity": _equity,
    "drawdown": lambda run: figures.drawdown_figure(run.equity, _zone(run), run.start_equity),
    "pnl": lambda run: figures.pnl_figure(run.equity, _currency(run), _zone(run)),
    "exposure": lambda run: figures.exposure_figure(run.equity, _currency(run), _zone(run)),
    "positions": _positions,
    "returns": lambda run: figures.returns_figure(*series.distribution(run.equity, run.start_equity)),
    "monthly": lambda run: figures.monthly_figure(series.monthly(run.equity, run.start_equity, _zone(run))),
    "rolling_sharpe": _rolling,
    "turnover": lambda run: figures.turnover_figure(series.turnover(run.fills, run.equity, _zone(run)), _zone(run)),
    "round_trips": lambda run: figures.round_trips_figure(run.round_trips, _currency(run)),
    "slippage": _slippage,
    "rejections": lambda run: figures.rejections_figure(run.manifest["counts"]["rejected"]),
}
"""Figures by name, beside `fills`."""


def _fills(run: Run, symbol: str | None) -> go.Figure:
    """Fills of one instrument on its price, which is left out where the tape is not at hand."""
    if symbol is None:
        most = run.fills["symbol"].value_counts(sort=True)
        symbol = most["symbol"][0] if most.height else run.instruments["symbol"][0]
    found = run.instruments.filter(pl.col("symbol") == symbol)
    if found.height == 0:
        raise ConfigurationError(f"the run has no {symbol}: it has {', '.join(run.instruments['symbol'])}")
    try:
        prices = price_points(run, found["instrument_token"][0])
    except NoPricesError:
        prices = None
    return figures.fills_figure(str(symbol), prices, run.fills.filter(pl.col("symbol") == symbol), _zone(run))
