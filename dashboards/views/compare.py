"""Two runs beside each other: statistics, curves, what they were made with, and the first event in which they differ."""

from typing import Any

import polars as pl
import streamlit as st

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
    zone = run_a.manifest["tape"]["zone"]
    parts.charts(cached.curves(a, b), "curves")
    st.subheader("Statistics")
    st.table(statistics_of_both(run_a, run_b), hide_index=True, alt="Statistics of both runs")
    st.subheader("Made with")
    made = made_with(run_a, run_b)
    parts.rows(made, zone, "The same tape, strategies, parameters and settings.", "made-with")
    if a.digest != b.digest:
        st.subheader("First difference")
        with parts.told("The difference"):
            _difference(cached.difference(a, b))


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


def made_with(a: Run, b: Run) -> pl.DataFrame:
    """What the manifests say differently: name, A, B."""
    said_a, said_b = _made(a.manifest), _made(b.manifest)
    names = [name for name in dict.fromkeys([*said_a, *said_b]) if said_a.get(name) != said_b.get(name)]
    return pl.DataFrame(
        [(name, said_a.get(name, ""), said_b.get(name, "")) for name in names], schema=["name", "A", "B"], orient="row"
    )  # fmt: skip


def _made(manifest: dict[str, Any]) -> dict[str, str]:
    tape = {f"tape.{name}": manifest["tape"][name] for name in ("path", "digest", "start", "end")}
    settings = {f"{section}.{name}": value for section, values in manifest["settings"].items() for name, value in values.items()}
    strategies = {
        f"{one['strategy_id']}.{name}": value
        for one in manifest["strategies"]
        for name, value in {**one["params"], "class": one["class"], "code": one["code_digest"][:12], "lane": one["lane"]}.items()
    }
    more = {name: manifest.get(name) for name in ("version", "git_revision", "charges_version")}
    return {name: str(value) for name, value in {**strategies, **settings, **tape, **more}.items()}


def _difference(found: Difference | None) -> None:
    if found is None:
        st.success("Every topic says the same.", icon=":material/check_circle:")
        return
    st.markdown(f"`{found.id}` in `{found.topic}`, caused by {' ← '.join(f'`{one}`' for one in found.causes) or 'nothing'}")
    names = found.fields or list(found.a or found.b or {})
    a, b = ([str((side or {}).get(name, "missing")) for name in names] for side in (found.a, found.b))
    st.table(pl.DataFrame({"field": names, "A": a, "B": b}), hide_index=True, alt="First difference")
    st.markdown("##### Events by topic")
    st.table(pl.DataFrame([vars(one) for one in found.topics]), hide_index=True, alt="Events by topic")
