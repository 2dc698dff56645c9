"""A search over parameters: how far it is, every set's score, the chosen set, and what became of it on what was kept back.

Sweeps, walk-forwards and sensitivity tables; what must be said beside a result stands above its figures.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import streamlit as st

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.research.search.folder import RESULTS, SearchFolder
from alphapanda.research.search.outcome import STATS
from alphapanda.research.search.sensitivity import Sensitivity
from alphapanda.research.search.show import number, point_text, shown_table, walk_facts
from alphapanda.research.search.sweep import Sweep
from alphapanda.research.search.walkforward import WalkForward
from dashboards import parts
from dashboards.catalogue import Folders

EVERY_S, ENDED_S = 3.0, 60.0


class Found(NamedTuple):
    """A search's folder, and how far it is."""

    folder: SearchFolder
    results: int
    newest_s: float  # when something was kept last

    @property
    def grows(self) -> bool:
        """Whether something may still come: optuna can end with fewer replays than planned, so time decides."""
        return self.results < self.folder.plan.replays and time.time() - self.newest_s < ENDED_S


def searches(folders: Folders) -> tuple[list[Found], list[str]]:
    """Every search, newest first; and what is wrong with those that cannot be read."""
    found, damaged = list[Found](), list[str]()
    for path in folders.sweeps.glob("*/manifest.json"):
        try:
            found.append(_found(SearchFolder.open(path.parent)))
        except (AlphaPandaError, OSError) as error:
            damaged.append(str(error))
    return sorted(found, key=lambda one: one.folder.manifest["created"], reverse=True), sorted(damaged)


def _found(folder: SearchFolder) -> Found:
    times = [path.stat().st_mtime for path in (folder.path / RESULTS).glob("[!.]*.json")]
    return Found(folder, len(times), max(times, default=(folder.path / "manifest.json").stat().st_mtime))


@st.cache_resource(max_entries=8, show_spinner="Reading results …")
def _search(path: str, kind: str, plan_digest: str, results: int) -> Sweep | WalkForward:
    del plan_digest, results  # of the key: results are only ever added
    made: Sweep | WalkForward = KINDS[kind].open(path)
    _ = made.outcome.by_part  # read now, so that it is of this moment
    return made


def page(folders: Folders) -> None:
    """The page: the newest search, unless the address names another."""
    found, damaged = searches(folders)
    st.header("Sweep")
    if not found:
        st.markdown(f"No search was made in `{folders.sweeps}` yet. Make one in a terminal, and look here again:")
        st.code("alphapanda sweep --help\nalphapanda ui --sweeps PATH  # searches that lie elsewhere", language="sh")
        st.button("Look again", icon=":material/refresh:")
        parts.complaints(damaged)
        return
    names = {one.folder.path.name: one for one in found}
    if st.session_state.get("pick-sweep") not in names:
        wanted = st.query_params.get("sweep")
        st.session_state["pick-sweep"] = wanted if wanted in names else found[0].folder.path.name
    label = {name: f"{name} · {one.folder.plan.kind} · {one.folder.manifest['created'][:16]}" for name, one in names.items()}
    chosen = names[st.selectbox("Search", list(names), key="pick-sweep", format_func=lambda name: label[name])]
    st.query_params["sweep"] = chosen.folder.path.name
    st.fragment(_now, run_every=EVERY_S if chosen.grows else None)(chosen.folder)
    parts.complaints(damaged)


def _now(folder: SearchFolder) -> None:
    with parts.told("The search"):
        results, plan = _found(folder).results, folder.plan
        st.caption(
            f"{plan.method} over {', '.join(plan.dimensions) or 'given sets'} · objective {plan.objective} · tapes"
            f" {', '.join(Path(one).name for one in folder.tapes)} · plan `{plan.digest[:12]}`"
        )
        st.progress(min(1.0, results / max(1, plan.replays)), f"{results:,} of {plan.replays:,} replays")
        if results == 0:
            st.info("No replay is finished yet.")
            return
        search = _search(str(folder.path), plan.kind, plan.digest, results)
        for line in search.warnings:
            st.warning(f"{line[0].upper()}{line[1:]}.", icon=":material/warning:")
        SHOWN[plan.kind](search)


def _sweep(sweep: Sweep) -> None:
    """The chosen set, its holdout, and every other set."""
    _chosen(sweep)
    st.subheader("All sets")
    _heatmap(sweep, ["score", *STATS])
    parts.chart(sweep.plot(), "scores")
    parts.rows(sweep.results, "UTC", "No set is finished on every tape yet.", "sets")


def _chosen(sweep: Sweep) -> None:
    best, objective = sweep.best, sweep.plan.objective
    if best is None:
        return
    st.subheader("Chosen set")
    st.markdown(f"`{point_text(best.point) or 'the only one'}`")
    holdout = "nothing kept back" if sweep.stage.test is None else _number(best.holdout) if best.holdout_stats else "not yet"
    skill = None if sweep.deflated is None else sweep.deflated.probability
    cells = {
        f"{objective}, training": _number(best.score), f"{objective}, holdout": holdout, "sets tried": f"{sweep.tried:,}",
        "probability of skill": "unknown" if skill is None else f"{skill:.1%}",
    }  # fmt: skip
    _cells(cells)
    if best.holdout_stats:
        both = {"statistic": list(STATS), "training": [_number(best.stats.get(one)) for one in STATS]}
        with st.expander("Its statistics in training and on the holdout"):
            st.table(pl.DataFrame(both | {"holdout": [_number(best.holdout_stats.get(one)) for one in STATS]}), hide_index=True)


def _walk_forward(walk: WalkForward) -> None:
    """What the tests say together, and every fold."""
    for line in walk_facts(walk):
        st.markdown(line)
    _cells({name: _number(walk.stats[name]) for name in ("net_pnl", "sharpe", "efficiency", "profitable")})
    parts.chart(walk.plot(), "folds")
    parts.rows(walk.folds, "UTC", "No fold is finished yet.", "folds-table")


def _sensitivity(table: Sensitivity) -> None:
    """The result under each assumption; the first row is what the settings say."""
    _heatmap(table, ["net_pnl", *(one for one in STATS if one != "net_pnl")])
    st.caption("The first row is what the settings say; `change` is against it.")
    parts.rows(shown_table(table), "UTC", "No combination is finished yet.", "combinations")


def _heatmap(sweep: Sweep, values: list[str]) -> None:
    """Two dimensions against each other; with one, a line."""
    dimensions, key = list(sweep.plan.dimensions), sweep.name
    if not dimensions:
        return
    first, second, third = st.columns(3)
    x = first.selectbox("Across", dimensions, key=f"x-{key}")
    others = [one for one in dimensions if one != x]
    y = second.selectbox("Down", others, key=f"y-{key}") if others else None
    parts.chart(sweep.heatmap(x, y, third.selectbox("Colour", values, key=f"value-{key}")), "heatmap")


def _cells(cells: dict[str, str]) -> None:
    for place, (name, text) in zip(st.columns(len(cells)), cells.items(), strict=True):
        place.metric(name.replace("_", " "), text, border=True)


def _number(value: float | None) -> str:
    return number(value) or "none"


KINDS: dict[str, Any] = {"sweep": Sweep, "walkforward": WalkForward, "sensitivity": Sensitivity}
SHOWN: dict[str, Callable[[Any], None]] = {"sweep": _sweep, "walkforward": _walk_forward, "sensitivity": _sensitivity}
