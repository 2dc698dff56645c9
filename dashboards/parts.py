"""What pages share: charts, statistics, empty and error states."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import plotly.graph_objects as go
import polars as pl
import polars.selectors as cs
import streamlit as st

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.research.performance import Statistic
from alphapanda.research.tearsheet import CONVENTIONS, by_group, shown
from alphapanda.research.why import Why
from dashboards.catalogue import Entry

CARDS = ("net_pnl", "total_return", "sharpe", "max_drawdown", "fills", "win_rate", "charges", "slippage")
_CONFIG = {"displaylogo": False, "displayModeBar": False}


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """What goes wrong inside is shown as one sentence, and the rest of the page goes on."""
    try:
        yield
    except AlphaPandaError as error:
        st.error(f"{what} cannot be shown: {error}", icon=":material/error:")
    except (OSError, pl.exceptions.PolarsError, json.JSONDecodeError) as error:
        st.error(f"{what} cannot be read: {error}", icon=":material/error:")
    except KeyError as error:
        st.error(f"{what} was made by another version: its manifest has no {error}", icon=":material/error:")


def chart(figure: go.Figure, key: str) -> None:
    """A figure; its title is what screen readers say."""
    st.plotly_chart(figure, key=key, config=_CONFIG, alt=figure.layout.title.text.partition("<br>")[0])


def charts(figures: Iterable[go.Figure], key: str, columns: int = 2) -> None:
    """Figures beside each other."""
    made = list(figures)
    for at in range(0, len(made), columns):
        for number, (place, figure) in enumerate(zip(st.columns(columns), made[at : at + columns], strict=False), at):
            with place:
                chart(figure, f"{key}-{number}")


def cards(statistics: Mapping[str, Statistic], names: Iterable[str] = CARDS) -> None:
    """The figures that people look for first, each with its formula as help."""
    known = [statistics[name] for name in names if name in statistics]
    for at in range(0, len(known), 4):
        for place, one in zip(st.columns(4), known[at : at + 4], strict=False):
            place.metric(one.name.replace("_", " "), shown(one), help=one.formula, border=True)


def statistics_table(statistics: Mapping[str, Statistic]) -> None:
    """Every figure with its formula, for reading and to the last digit, a table for each kind."""
    st.caption(CONVENTIONS)
    for group, of_it in by_group(statistics):
        if group:
            st.markdown(f"##### {group.capitalize()}")
        rows = [
            {"statistic": one.name, "value": shown(one), "exact": "none" if one.value is None else repr(one.value),
             "unit": one.unit, "formula": one.formula}
            for one in of_it
        ]  # fmt: skip
        st.table(pl.DataFrame(rows), hide_index=True, alt=f"Statistics: {group}")


def facts(title: str, rows: Mapping[str, Any]) -> None:
    """Names and values."""
    if rows:
        st.markdown(f"##### {title}")
        frame = pl.DataFrame({"name": list(rows), "value": [str(value) for value in rows.values()]})
        st.table(frame, hide_index=True, alt=title)


def local(frame: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Times in `zone`, without zone: tables show them as they are."""
    return frame.with_columns(cs.datetime(time_zone="*").dt.convert_time_zone(zone).dt.replace_time_zone(None))


def rows(frame: pl.DataFrame, zone: str, empty: str, key: str, **more: Any) -> Any:
    """A table, or a sentence where there is nothing in it."""
    if frame.height == 0:
        st.caption(empty)
        return None
    return st.dataframe(local(frame, zone), hide_index=True, key=key, placeholder="", **more)


def no_runs(folder: Any, damaged: list[str]) -> None:
    """An empty store says what to do."""
    st.header("No runs yet")
    st.markdown(f"There is nothing in `{folder}`. Make a run in a terminal, then look here again:")
    st.code(
        "alphapanda demo                      # a made-up day, replayed twice, with its proof\n"
        "alphapanda replay replays/demo.toml  # or any tape and strategy of yours\n"
        "alphapanda ui --runs PATH            # runs that lie elsewhere",
        language="sh",
    )
    st.button("Look again", icon=":material/refresh:")
    complaints(damaged)


def complaints(damaged: list[str]) -> None:
    """Folders that cannot be read."""
    if damaged:
        with st.expander(f"{len(damaged)} that cannot be read", icon=":material/warning:", expanded=len(damaged) < 4):
            for line in damaged:
                st.warning(line)


def choose(label: str, entries: list[Entry], parameter: str, default: int = 0) -> Entry:
    """Choose a run; the choice stands in the address, and is kept when pages are switched."""
    ids = {one.run_id: one for one in entries}
    key, kept = f"pick-{parameter}", f"chosen-{parameter}"
    wanted = st.query_params.get(parameter) or st.session_state.get(kept)
    if wanted is not None and wanted not in ids:
        st.warning(f"There is no run {wanted!r} any more; another one is shown.")
    if st.session_state.get(key) not in ids:
        st.session_state[key] = wanted if wanted in ids else entries[min(default, len(entries) - 1)].run_id
    chosen = st.selectbox(label, list(ids), key=key, format_func=lambda run_id: ids[run_id].label)
    st.query_params[parameter] = st.session_state[kept] = chosen
    return ids[chosen]


def picked(frame: pl.DataFrame, zone: str, empty: str, key: str) -> dict[str, Any] | None:
    """A table whose rows can be ticked; the row that is."""
    state = rows(frame, zone, empty, key, on_select="rerun", selection_mode="single-row")
    chosen = state.selection.rows if state is not None else []
    return frame.row(chosen[0], named=True) if chosen and chosen[0] < frame.height else None


def why(found: Why) -> None:
    """The way from an event back to its tick, and what risk found on the way."""
    st.markdown(f"##### Why `{found.id}`")
    for note in found.notes:
        st.caption(note)
    steps = [{"what": one.what, "id": one.id, "time": one.ts, "says": _said(one.data)} for one in found.steps]
    st.table(pl.DataFrame(steps), hide_index=True, alt="The way back to the tick")
    checks = [one for one in found.checks if one.result != "not limited"]
    if checks:
        names = ("name", "result", "value", "limit", "unit")
        asked = [{name: "" if (value := getattr(one, name)) is None else str(value) for name in names} for one in checks]
        st.table(pl.DataFrame(asked), hide_index=True, alt="What risk asked")


def _said(data: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in data.items() if value not in (None, "", {}))
