"""Two runs beside each other: curves, statistics, what they were made with, and what each changed decision was worth."""

import polars as pl
import streamlit as st

from alphapanda.core.ledger import E8
from alphapanda.research import figures
from alphapanda.research.comparison import MOST_ROWS, Comparison
from alphapanda.research.diff import Difference
from alphapanda.research.runs import Run
from alphapanda.research.tearsheet import shown
from dashboards import cached, parts
from dashboards.catalogue import Entry, Folders, runs


def page(folders: Folders) -> None:
    """The page: the newest two runs, unless the address names others."""
    entries, damaged = runs(folders)
    if not entries:
        parts.no_runs(folders.runs, damaged)
        return
    st.header("Compare")
    if len(entries) == 1:
        st.info("There is one run only. Make another, for instance with another setting:")
        st.code("alphapanda replay replays/demo.toml --set execution.latency_ms=5", language="sh")
        return
    left, right = st.columns(2)
    with left:
        a = parts.choose("A", entries, "a", default=1)
    with right:
        b = parts.choose("B", entries, "b", default=0)
    with parts.told("The comparison"):
        _compare(a, b)
    parts.complaints(damaged)


def _compare(a: Entry, b: Entry) -> None:
    run_a, run_b = cached.run_of(a), cached.run_of(b)
    if a.run_id == b.run_id:
        st.info("A and B are the same run.")
    elif a.digest == b.digest:
        st.success("The same bytes: every topic of both runs has the same digest.", icon=":material/check_circle:")
    parts.charts(cached.curves(a, b), "curves")
    st.subheader("Statistics")
    st.table(statistics_of_both(run_a, run_b), hide_index=True, alt="Statistics of both runs")
    if a.run_id != b.run_id:
        with parts.told("The difference"):
            _difference(cached.comparison(a, b), run_a)


def statistics_of_both(a: Run, b: Run) -> pl.DataFrame:
    """Each figure of A and of B, and B less A."""
    rows = []
    for name, one in a.statistics.items():
        other = b.statistics.get(name)
        change = ""
        if other is not None and other.value is not None and one.value is not None:
            change = shown(one._replace(value=other.value - one.value))
        rows.append(
            {"statistic": name, "A": shown(one), "B": shown(other) if other else "none", "B - A": change, "unit": one.unit}
        )
    return pl.DataFrame(rows)


def _difference(found: Comparison, run: Run) -> None:
    for note in found.notes:
        st.warning(f"{note[0].upper()}{note[1:]}.")
    st.subheader("Made with")
    made = pl.DataFrame([(name, str(a), str(b)) for name, a, b in found.made_with], schema=["name", "A", "B"], orient="row")
    parts.rows(made, "UTC", "The same tape, strategies, parameters and settings.", "made-with")
    if found.equal:
        return
    zone = run.manifest["tape"]["zone"]
    if found.attribution is not None:
        st.subheader("What the difference is made of")
        worth = parts_of(found)
        parts.chart(
            figures.parts_figure([name for name, _ in worth], [one / E8 for _, one in worth], run.manifest["currency"]), "worth"
        )
    _first(found)
    st.subheader(f"Changed decisions ({found.changed.height:,})")
    frame = found.changed.with_columns((pl.col(f"{one}_e8") / E8).alias(one) for one in ("pnl_a", "pnl_b", "difference"))
    columns = ("ts", "strategy_id", "symbol", "changed", "a", "b", "pnl_a", "pnl_b", "difference", "id")
    parts.rows(frame.select(columns).head(MOST_ROWS), zone, "No decision differs.", "changed")
    if found.first is not None:
        with st.expander("The first event that differs, and events by topic"):
            _event(found.first)


def parts_of(found: Comparison) -> list[tuple[str, int]]:
    """What the difference of the equities at the end is made of, in 1e-8; the parts add up to it exactly."""
    one = found.attribution
    if one is None:
        return []
    changes = [
        (f"{row['changed']} ({row['decisions']:,})", row["difference_e8"]) for row in found.by_change().iter_rows(named=True)
    ]
    return [*changes, ("another end", one.end_e8), ("another start", one.start_e8), ("rest", one.rest_e8)]


def _first(found: Comparison) -> None:
    decision = found.decision
    if decision is None:
        return
    st.subheader("First decision that differs")
    st.markdown(f"`{decision.id}`, in its {decision.changed}")
    for name, said, way in (("A", decision.a, decision.why_a), ("B", decision.b, decision.why_b)):
        st.markdown(f"**{name}** {said or 'has none'}")
        if way is not None:
            with st.expander(f"How {name} came to it"):
                parts.why(way)


def _event(found: Difference) -> None:
    st.markdown(f"`{found.id}` in `{found.topic}`, caused by {' ← '.join(f'`{one}`' for one in found.causes) or 'nothing'}")
    names = found.fields or list(found.a or found.b or {})
    a, b = ([str((side or {}).get(name, "missing")) for name in names] for side in (found.a, found.b))
    st.table(pl.DataFrame({"field": names, "A": a, "B": b}), hide_index=True, alt="First difference")
    st.table(pl.DataFrame([vars(one) for one in found.topics]), hide_index=True, alt="Events by topic")
