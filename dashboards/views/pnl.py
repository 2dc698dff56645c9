"""Profit and loss of a session, while it is recorded and afterwards."""

import time
from pathlib import Path

import polars as pl
import streamlit as st

from alphapanda.research import figures
from alphapanda.research.runs import Run
from dashboards import cached, parts, session_view
from dashboards.catalogue import Folders, SessionEntry, session_entry, sessions

EVERY_S = 2.0
MANY_SEGMENTS = 5_000
"""Of a session with more, each look takes about a second: there are fewer."""
ENDED_S = 120.0
MOST_ROWS = 200


def page(folders: Folders) -> None:
    """The page: the session that was written to last, unless the address names another."""
    entries, damaged = sessions(folders)
    st.header("Profit and loss")
    if not entries:
        st.markdown(
            f"No session was recorded in `{folders.sessions}` yet. Trade a tape on paper in a terminal, and look here again:"
        )
        st.code(
            "alphapanda paper replays/demo.toml --speed 60\nalphapanda ui --sessions PATH  # sessions that lie elsewhere",
            language="sh",
        )
        st.button("Look again", icon=":material/refresh:")
        parts.complaints(damaged)
        return
    entry = _choose(entries)
    # What is being recorded is looked at again and again; one that was compacted a while ago has ended.
    following = not entry.runs or time.time() - entry.stored_s < ENDED_S
    every_s = EVERY_S if entry.segments < MANY_SEGMENTS else EVERY_S * 5
    st.fragment(_now, run_every=every_s if following else None)(entry)
    parts.complaints(damaged)


def _choose(entries: list[SessionEntry]) -> SessionEntry:
    names = {one.name: one for one in entries}
    wanted = st.query_params.get("session")
    if st.session_state.get("pick-session") not in names:
        st.session_state["pick-session"] = wanted if wanted in names else entries[0].name
    chosen = st.selectbox(
        "Session", list(names), key="pick-session", format_func=lambda one: f"{one} · begun {names[one].created[:19]}"
    )
    st.query_params["session"] = chosen
    return names[chosen]


def _now(chosen: SessionEntry) -> None:
    with parts.told("The session"):
        folder = Path(chosen.path)
        entry = session_entry(folder, chosen.name, chosen.created)
        if entry.segments == 0:
            st.info("The session has begun, and nothing is stored yet: the recorder stores what it heard every five seconds.")
            return
        run = cached.session_of(entry)
        zone = run.manifest["tape"]["zone"]
        said, last_ns = cached.session_said(entry.version)
        _state(run, entry, said, last_ns, zone)
        _totals(run)
        held = session_view.held(run).filter(pl.col("quantity") != 0)["instrument_token"].unique().sort().to_list()
        marks, note = cached.session_marks(entry.version, tuple(held))
        _tables(run, marks, note, zone)


def _state(run: Run, entry: SessionEntry, said: session_view.Commands, last_ns: int | None, zone: str) -> None:
    """Whose money, whether it still grows, how old what is shown is, and what operators said."""
    stored_s = time.time() - entry.stored_s
    finished = run.path.name.startswith("run_id=")
    modes = sorted(set(run.snapshots["exec_mode"])) or ["paper"]
    with st.container(horizontal=True, vertical_alignment="center"):
        for mode in modes:
            st.badge(mode.upper(), color="red" if mode == "live" else "blue")
        if finished:
            st.badge("finished", icon=":material/check:", color="gray")
        elif stored_s > session_view.SILENT_S:
            st.badge(f"silent for {session_view.age(stored_s)}", icon=":material/warning:", color="orange")
        else:
            st.badge("recording", icon=":material/fiber_manual_record:", color="green")
        last = session_view.local_text(last_ns, zone)
        st.caption(
            f"newest event {last} ({zone}), stored {session_view.age(stored_s)} ago · {run.manifest['counts']['ticks']:,} ticks"
        )
    if said.killed is not None:
        st.error(f"The kill switch is engaged: {said.killed}. Every signal is refused.", icon=":material/front_hand:")
    for strategy, reason in said.halted.items():
        st.warning(f"{strategy} was halted by an operator: {reason}")
    for row in run.halted.iter_rows(named=True):
        st.warning(f"{row['strategy_id']} was halted at {row['where']}: {row['error']}")


def _totals(run: Run) -> None:
    now, currency = session_view.totals(run), run.manifest["currency"]
    shown = {
        "net P&L": now["equity"] - run.start_equity, "realised": now["realised"], "unrealised": now["unrealised"],
        "charges": now["charges"], "equity": now["equity"], "gross exposure": now["gross_exposure"],
    }  # fmt: skip
    counts = {"fills": run.manifest["counts"]["fills"], "rejected": sum(run.manifest["counts"]["rejected"].values())}
    cells = [(f"{name}, {currency}", f"{value:,.2f}") for name, value in shown.items()]
    cells += [(name, f"{value:,}") for name, value in counts.items()]
    for at in range(0, len(cells), 4):
        for place, (name, text) in zip(st.columns(4), cells[at : at + 4], strict=True):
            place.metric(name, text, border=True)
    zone = run.manifest["tape"]["zone"]
    parts.charts([figures.equity_figure(run.equity, currency, zone=zone), figures.pnl_figure(run.equity, currency, zone)], "pnl")


def _tables(run: Run, marks: dict[int, float], note: str, zone: str) -> None:
    st.subheader("Positions")
    if note:
        st.caption(f"Without prices: {note}")
    parts.rows(session_view.positions(run, marks), zone, "No position was ever held.", "positions")
    st.subheader("Books")
    parts.rows(session_view.books(run), zone, "No snapshot yet.", "books")
    working = session_view.working(run)
    st.subheader(f"Working orders ({working.height:,})")
    parts.rows(working.head(MOST_ROWS), zone, "No order is working.", "working")
    st.subheader("Newest fills")
    fills = run.fills.select("ts", "strategy_id", "symbol", "side", "quantity", "price", "slippage", "charges").tail(MOST_ROWS)
    parts.rows(fills.reverse(), zone, "No fill yet.", "session-fills")
    st.subheader("Newest rejections")
    refused = run.rejections.select("ts", "strategy_id", "symbol", "quantity", "reason", "value", "limit", "unit").tail(MOST_ROWS)
    if refused.height:
        st.caption(", ".join(f"{count:,} {reason}" for reason, count in run.manifest["counts"]["rejected"].items()))
    parts.rows(refused.reverse(), zone, "Risk refused nothing.", "session-rejections")
