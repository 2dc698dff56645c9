"""Caches. A finished run never changes, so path and digest are the key; a session's key holds how far its segments are."""

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import polars as pl
import streamlit as st

from alphapanda.research import figures, series
from alphapanda.research.comparison import Comparison, compare
from alphapanda.research.prices import NoPricesError, last_prices, price_points
from alphapanda.research.runs import Run
from alphapanda.research.session_run import open_session
from alphapanda.research.tearsheet import benchmark_of, page
from alphapanda.research.why import Why
from dashboards.catalogue import Entry, SessionEntry
from dashboards.session_view import Commands, commands, last_event_ns

SPARK_POINTS = 60
Window = tuple[int, int] | None


@st.cache_resource(max_entries=12, show_spinner="Opening the run …")
def _run(path: str, digest: str) -> Run:
    del digest  # of the key
    return Run.open(path)


def run_of(entry: Entry) -> Run:
    """The run behind an entry; what was read of it stays read."""
    return _run(entry.path, entry.digest)


@st.cache_resource(max_entries=4, show_spinner=False)
def _session(version: tuple[Any, ...]) -> Run:
    return open_session(Path(version[0]))


def session_of(entry: SessionEntry) -> Run:
    """The session as far as its segments are."""
    return _session(entry.version)


@st.cache_data(max_entries=8, show_spinner=False)
def session_marks(version: tuple[Any, ...], tokens: tuple[int, ...]) -> tuple[dict[int, float], str]:
    """Newest prices of these instruments, and why there are none."""
    try:
        return last_prices(_session(version), tokens), ""
    except NoPricesError as error:
        return {}, str(error)


@st.cache_data(max_entries=8, show_spinner=False)
def session_said(version: tuple[Any, ...]) -> tuple[Commands, int | None]:
    """An operator's commands, and the time of the newest event."""
    return commands(Path(version[0])), last_event_ns(Path(version[0]))


@st.cache_data(max_entries=2_000, show_spinner=False)
def _summary(path: str, digest: str) -> dict[str, Any]:
    run = _run(path, digest)
    equity = run.equity["equity"]
    every = max(1, equity.len() // SPARK_POINTS)
    return {**run.stats, "equity": [run.start_equity, *equity.gather_every(every).to_list(), *equity.tail(1).to_list()]}


def summary(entry: Entry) -> dict[str, Any]:
    """Statistics by name, and `equity`, a short curve."""
    return _summary(entry.path, entry.digest)


@st.cache_data(max_entries=16, show_spinner="Drawing …")
def _overview(path: str, digest: str) -> tuple[list[go.Figure], list[go.Figure], str]:
    run = _run(path, digest)
    currency, zone, start = run.manifest["currency"], run.manifest["tape"]["zone"], run.start_equity
    benchmark, note = benchmark_of(run)
    wide = [figures.equity_figure(run.equity, currency, benchmark, zone), figures.drawdown_figure(run.equity, zone, start)]
    rolling = series.rolling_sharpe(run.equity, start)
    narrow = [
        figures.monthly_figure(series.monthly(run.equity, start, zone)),
        figures.rolling_sharpe_figure(rolling, series.ROLLING_SESSIONS, zone),
        figures.returns_figure(*series.distribution(run.equity, start)),
        figures.round_trips_figure(run.round_trips, currency),
    ]
    return wide, narrow, note


def overview(entry: Entry) -> tuple[list[go.Figure], list[go.Figure], str]:
    """Figures over the whole width, figures beside each other, and a note about the benchmark."""
    return _overview(entry.path, entry.digest)


@st.cache_data(max_entries=16, show_spinner="Drawing …")
def _exposure(path: str, digest: str) -> list[go.Figure]:
    run = _run(path, digest)
    zone, equity = run.manifest["tape"]["zone"], run.equity
    end_ts = equity["ts"][-1] if equity.height else None
    return [
        figures.exposure_figure(equity, run.manifest["currency"], zone),
        figures.positions_figure(series.quantities(run.positions), end_ts, zone),
        figures.turnover_figure(series.turnover(run.fills, equity, zone), zone),
    ]


def exposure(entry: Entry) -> list[go.Figure]:
    """Exposure, held quantity, turnover."""
    return _exposure(entry.path, entry.digest)


@st.cache_data(max_entries=16, show_spinner="Drawing …")
def _execution(path: str, digest: str) -> tuple[list[go.Figure], pl.DataFrame]:
    run = _run(path, digest)
    frame = series.execution(run.fills, run.orders)
    made = [
        figures.latency_figure(series.market_latencies(frame)),
        figures.costs_figure(frame),
        figures.slippage_figure(frame, run.manifest["currency"], run.manifest["tape"]["zone"]),
    ]
    if run.manifest["counts"]["rejected"]:
        made.append(figures.rejections_figure(run.manifest["counts"]["rejected"]))
    return made, frame


def execution(entry: Entry) -> tuple[list[go.Figure], pl.DataFrame]:
    """Figures, and one row a fill."""
    return _execution(entry.path, entry.digest)


@st.cache_data(max_entries=32, show_spinner="Reading prices …")
def _fills(path: str, digest: str, token: int, window: Window) -> tuple[go.Figure, pl.DataFrame, str]:
    run, note, prices = _run(path, digest), "", None
    zone = run.manifest["tape"]["zone"]
    mine = run.fills.filter(pl.col("instrument_token") == token)
    if window is not None:
        mine = mine.filter(pl.col("ts").cast(pl.Int64).is_between(*window, closed="left"))
    try:
        prices = price_points(run, token, window)
    except NoPricesError as error:
        note = str(error)
    (symbol,) = run.instruments.filter(pl.col("instrument_token") == token)["symbol"]
    figure = figures.fills_figure(symbol, prices, mine, zone)
    figure.update_layout(dragmode="select", selectdirection="h", height=460)
    return figure, mine, note


def fills_on_price(entry: Entry, token: int, window: Window) -> tuple[go.Figure, pl.DataFrame, str]:
    """The price chart with fills in [from, to) ns, these fills, and why there is no price."""
    return _fills(entry.path, entry.digest, token, window)


@st.cache_resource(max_entries=64, show_spinner="Going back to the tick …")
def _why(path: str, digest: str, event_id: str) -> Why:
    return _run(path, digest).why(event_id)


def why(entry: Entry, event_id: str) -> Why:
    """The way back from an event to the tick that it came of."""
    return _why(entry.path, entry.digest, event_id)


@st.cache_data(max_entries=4, show_spinner=False)
def _tearsheet(path: str, digest: str) -> str:
    return page(_run(path, digest))


def tearsheet(entry: Entry) -> str:
    """The run's tearsheet; nothing is written to the run's folder."""
    return _tearsheet(entry.path, entry.digest)


@st.cache_resource(max_entries=8, show_spinner="Comparing every decision …")
def _comparison(a: tuple[str, str], b: tuple[str, str]) -> Comparison:
    return compare(_run(*a), _run(*b))


def comparison(a: Entry, b: Entry) -> Comparison:
    """What B decided otherwise than A, and what that was worth."""
    return _comparison((a.path, a.digest), (b.path, b.digest))


@st.cache_data(max_entries=16, show_spinner="Drawing …")
def _curves(a: tuple[str, str], b: tuple[str, str], names: tuple[str, str]) -> list[go.Figure]:
    runs = _run(*a), _run(*b)
    zone, currency = runs[0].manifest["tape"]["zone"], runs[0].manifest["currency"]
    curves = {name: (run.equity, run.start_equity) for name, run in zip(names, runs, strict=True)}
    gains = [run.equity.select("ts", (pl.col("equity") - run.start_equity).alias("gain")) for run in runs]
    return [figures.compare_figure(curves, zone), figures.gap_figure(series.gap(*gains), currency, zone)]


def curves(a: Entry, b: Entry) -> list[go.Figure]:
    """Both runs' equity, and the one less the other."""
    names = tuple(f"{letter} {one.strategies} {one.digest[:8]}" for letter, one in (("A", a), ("B", b)))
    return _curves((a.path, a.digest), (b.path, b.digest), names)  # type: ignore[arg-type]
