"""One run: overview, fills on price, exposure, execution, configuration."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from alphapanda.research.runs import Run
from alphapanda.research.tearsheet import explain
from dashboards import cached, parts, session_view
from dashboards.catalogue import Entry, Folders, runs, to_ns

MOST_ROWS = 5_000


def page(folders: Folders) -> None:
    """The page: the newest run, unless the address names another."""
    entries, damaged = runs(folders)
    if not entries:
        parts.no_runs(folders.runs, damaged)
        return
    entry = parts.choose("Run", entries, "run")
    with parts.told("The run"):
        run = cached.run_of(entry)
        _head(entry, run)
        tabs = st.tabs(list(TABS), key="run-tab", on_change="rerun")
        for tab, (name, show) in zip(tabs, TABS.items(), strict=True):
            if tab.open:
                with tab, parts.told(name):
                    show(entry, run)
    parts.complaints(damaged)


def _head(entry: Entry, run: Run) -> None:
    left, right = st.columns([5, 1], vertical_alignment="center")
    left.header(entry.strategies)
    right.download_button(
        "Tearsheet", partial(cached.tearsheet, entry), f"{run.id}.html", "text/html", icon=":material/download:",
        on_click="ignore", key="tearsheet",
    )  # fmt: skip
    tape = run.manifest["tape"]
    st.caption(
        f"{entry.kind} of {entry.tape} · {entry.ticks:,} ticks · {entry.created[:19].replace('T', ' ')} UTC · times in"
        f" {tape['zone']} · digest `{run.digest[:16]}`"
    )
    for line in explain(run):
        st.warning(line)


def overview(entry: Entry, run: Run) -> None:
    """Figures that matter, then all of them."""
    parts.cards(run.statistics)
    wide, narrow, note = cached.overview(entry)
    for number, figure in enumerate(wide):
        parts.chart(figure, f"wide-{number}")
    st.caption(note)
    parts.charts(narrow, "narrow")
    if len(run.manifest["strategies"]) > 1:
        st.subheader("By strategy, at the end")
        parts.rows(session_view.books(run), run.manifest["tape"]["zone"], "No snapshot.", "books")
    st.subheader("Statistics")
    parts.statistics_table(run.statistics)


@st.fragment
def trades(entry: Entry, run: Run) -> None:
    """Fills on the price chart; dragging over it zooms, and the server reads that stretch anew."""
    with parts.told("Trades"):
        _trades(entry, run)


def _trades(entry: Entry, run: Run) -> None:
    often = run.fills.group_by("instrument_token", "symbol").len().sort("len", "instrument_token", descending=[True, False])
    if often.height == 0:
        st.info("No fills: nothing was traded. What was signalled and rejected stands under Execution.")
        return
    names = {token: f"{symbol} ({count:,} fills)" for token, symbol, count in often.iter_rows()}
    token = st.selectbox("Instrument", list(names), format_func=lambda one: names[one], key=f"token-{run.id}")
    zone = run.manifest["tape"]["zone"]
    low, high = _span(run, zone)
    span_key = f"span-{run.id}"
    st.session_state.setdefault(span_key, (low, high))
    if low < high:
        step = max(timedelta(seconds=1), timedelta(seconds=round((high - low).total_seconds() / 1_000)))
        st.slider("Stretch of time", low, high, step=step, key=span_key, format="YYYY-MM-DD HH:mm:ss")
    start, end = st.session_state[span_key]
    whole = (start, end) == (low, high)
    window = None if whole else (to_ns(start, zone), to_ns(end, zone) + 1_000)
    figure, fills, note = cached.fills_on_price(entry, token, window)
    if note:
        st.warning(f"{note}. Fills are shown without it.")
    chart_key = f"price-{run.id}-{token}-{window}"
    st.plotly_chart(
        figure, key=chart_key, on_select=partial(_zoom, chart_key, span_key, low, high), selection_mode="box",
        config={"displaylogo": False, "displayModeBar": False, "doubleClick": False}, alt=f"Fills on price, {names[token]}",
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Whole run", on_click=lambda: st.session_state.update({span_key: (low, high)}), disabled=whole,
            icon=":material/zoom_out_map:",
        )  # fmt: skip
        st.caption(f"{fills.height:,} fills from {start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S}. Drag over the chart to zoom.")
    columns = ("ts", "side", "quantity", "price", "reference_price", "slippage", "charges", "strategy_id", "order_id", "id")
    _explained(entry, fills.select(columns).head(MOST_ROWS), zone, "No fills in this stretch.", f"fills-{token}-{window}")
    st.subheader("Round trips")
    trips = run.round_trips.filter(pl.col("instrument_token") == token)
    wanted = ("entry_ts", "exit_ts", "side", "quantity", "net", "strategy_id")
    parts.rows(trips.select(wanted).head(MOST_ROWS), zone, "No round trip was closed.", "trips")


def _explained(entry: Entry, frame: pl.DataFrame, zone: str, empty: str, key: str) -> None:
    """A table of events; of the row that is ticked, the way back to its tick."""
    if frame.height:
        st.caption("Tick a row to see why it came about.")
    row = parts.picked(frame, zone, empty, key)
    if row is not None:
        with parts.told("The reason"):
            parts.why(cached.why(entry, row["id"]))


def _span(run: Run, zone: str) -> tuple[datetime, datetime]:
    """The run's first and last local second with a margin, without zone: what the slider slides over."""
    times = pl.concat([run.equity["ts"], run.fills["ts"]]).dt.convert_time_zone(zone).dt.replace_time_zone(None)
    first, last = times.dt.truncate("1m").min(), times.dt.offset_by("1m").dt.truncate("1m").max()
    return first, last  # type: ignore[return-value]  # of a column of times


def _zoom(chart_key: str, span_key: str, low: datetime, high: datetime) -> None:
    """What was dragged over becomes the stretch of time."""
    boxes = st.session_state[chart_key].selection.box
    if boxes:
        ends = sorted(datetime.fromisoformat(str(one).replace(" ", "T")[:26]) for one in boxes[0]["x"])
        start, end = max(low, ends[0]), min(high, ends[1])
        if start < end:
            st.session_state[span_key] = (start, end)


def exposure(entry: Entry, run: Run) -> None:
    """Exposure and held quantities."""
    for number, figure in enumerate(cached.exposure(entry)):
        parts.chart(figure, f"exposure-{number}")


def execution(entry: Entry, run: Run) -> None:
    """How long fills took, what they cost, and what was refused."""
    made, frame = cached.execution(entry)
    zone = run.manifest["tape"]["zone"]
    parts.cards(run.statistics, ("fills", "slippage", "charges"))
    parts.charts(made, "execution")
    if frame.height:
        st.subheader("By instrument")
        value = (pl.col("price") * pl.col("quantity").abs()).sum()
        by = frame.group_by("symbol").agg(
            pl.len().alias("fills"), pl.col("latency_ms").median().alias("median_latency_ms"),
            pl.col("latency_ms").quantile(0.99, "nearest").alias("p99_latency_ms"), pl.col("slippage").sum(),
            pl.col("slippage_bps").mean().alias("mean_slippage_bps"), pl.col("charges").sum(), value.alias("value"),
        )  # fmt: skip
        parts.rows(by.sort("fills", "symbol", descending=[True, False]), zone, "", "by-instrument")
    st.subheader("Orders")
    states = run.orders.group_by("state").len("orders").sort("orders", "state", descending=[True, False])
    parts.rows(states, zone, "No orders.", "order-states")
    st.subheader("Rejected signals")
    columns = ("ts", "strategy_id", "symbol", "quantity", "reason", "value", "limit", "unit", "signal_id", "id")
    _explained(entry, run.rejections.select(columns).head(MOST_ROWS), zone, "Risk refused nothing.", "rejections")
    if run.halted.height:
        st.subheader("Halted strategies")
        parts.rows(run.halted, zone, "", "halted")


def config(entry: Entry, run: Run) -> None:
    """All that is needed to make the run again."""
    manifest = run.manifest
    for one in manifest["strategies"]:
        parts.facts(
            f"{one['strategy_id']}: {one['class']}", {**one["params"], "lane": one["lane"], "code digest": one["code_digest"]}
        )
        if one.get("source"):
            with st.expander("Its source, as it was"):
                st.code(one["source"], language="python")
    parts.facts(
        "Settings",
        {f"{section}.{name}": value for section, values in manifest["settings"].items() for name, value in values.items()},
    )
    tape = manifest["tape"]
    names = ("version", "git_revision", "charges_version", "currency", "cold_start", "seconds", "ticks_per_s", "peak_rss_mb")
    parts.facts("Run", {"folder": Path(entry.path).absolute(), **{name: manifest.get(name) for name in names}})
    parts.facts("Tape", {name: tape[name] for name in ("path", "digest", "zone", "start", "end", "beat_interval_s")})
    parts.facts("Digests", {**manifest["digests"], "run": run.digest})


TABS: dict[str, Callable[[Entry, Run], Any]] = {
    "Overview": overview, "Trades": trades, "Exposure": exposure, "Execution": execution, "Config": config,
}  # fmt: skip
