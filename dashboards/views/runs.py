"""All runs: a table to sort, with a curve each; choose one to look at it, or several to compare them."""

from typing import Any

import polars as pl
import streamlit as st

from dashboards import cached, parts
from dashboards.catalogue import Entry, Folders, runs

FIRST = 50
_STATISTICS = ("net_pnl", "total_return", "sharpe", "max_drawdown", "win_rate", "round_trips", "charges", "slippage")


def page(folders: Folders) -> None:
    """The page."""
    entries, damaged = runs(folders)
    if not entries:
        parts.no_runs(folders.runs, damaged)
        return
    st.header(f"Runs ({len(entries):,})")
    words = st.text_input("Filter", placeholder="part of a strategy, tape, id or digest", key="runs-filter")
    found = [one for one in entries if words.lower() in " ".join(map(str, one)).lower()]
    if not found:
        st.info(f"No run has {words!r} in its names.")
        return
    shown = found
    if len(found) > FIRST and not st.toggle(f"All {len(found):,}, not only the newest {FIRST}", key="runs-all"):
        shown = found[:FIRST]
    picked = _table(shown)
    _actions([shown[i] for i in picked])
    parts.complaints(damaged)


def _table(entries: list[Entry]) -> list[int]:
    made = []
    with st.spinner("Reading statistics …"):
        for one in entries:
            row: dict[str, Any] = {"run": one.run_id, "created": one.created, "strategies": one.strategies, "tape": one.tape}
            try:
                figures = cached.summary(one)
            except (OSError, pl.exceptions.PolarsError, KeyError, ValueError) as error:
                row["note"] = f"cannot be read: {error}"[:200]
                figures = {}
            row |= {"equity": figures.get("equity", []), **{name: figures.get(name) for name in _STATISTICS}}
            made.append(row | {"fills": one.fills, "ticks": one.ticks, "kind": one.kind, "digest": one.digest[:12]})
    frame = pl.DataFrame(made, infer_schema_length=None).with_columns(pl.col("created").str.to_datetime(time_zone="UTC"))
    amount, percent = st.column_config.NumberColumn(format="%,.2f"), st.column_config.NumberColumn(format="percent")
    config = {
        "equity": st.column_config.LineChartColumn("equity", width="medium"),
        "created": st.column_config.DatetimeColumn("created", format="YYYY-MM-DD HH:mm:ss"),
        "net_pnl": amount, "charges": amount, "slippage": amount, "sharpe": amount,
        "total_return": percent, "max_drawdown": percent, "win_rate": percent,
    }  # fmt: skip
    state: Any = st.dataframe(
        frame, hide_index=True, key="runs-table", on_select="rerun", selection_mode="multi-row", column_config=config,
        placeholder="", height=min(560, 38 + 36 * frame.height),
    )  # fmt: skip
    return [i for i in state.selection.rows if i < len(entries)]


def _actions(picked: list[Entry]) -> None:
    if not picked:
        st.caption("Click a column's head to sort. Tick a row to open it, two to compare them.")
        return
    with st.container(horizontal=True):
        if st.button(f"Open {picked[0].run_id}", type="primary", icon=":material/open_in_full:"):
            _go("run", {"run": picked[0].run_id})
        if len(picked) > 1 and st.button("Compare the first two", icon=":material/compare_arrows:"):
            _go("compare", {"a": picked[0].run_id, "b": picked[1].run_id})


def _go(name: str, parameters: dict[str, str]) -> None:
    pages = st.session_state.get("pages", {})
    if name in pages:
        st.switch_page(pages[name], query_params=parameters)
    st.info(f"Open the page {name!r} with {parameters}.")
