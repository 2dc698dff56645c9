"""The page of searches: a sweep, a walk-forward and a table over assumptions, finished and half done."""

import shutil
from typing import Any

import pytest

from alphapanda.research.search import api
from alphapanda.research.search.show import number
from dashboards.catalogue import Folders
from strategies.ema_cross import EmaCross
from tests.dashboard import watching
from tests.dashboard.conftest import Served, Store
from tests.dashboard.opening import metrics, opened, texts
from tests.dashboard.watching import Picture, Watched


@pytest.fixture(scope="session")
def sweeps(store: Store) -> dict[str, Any]:
    """A search of each kind over the days: a sweep with a holdout, a walk-forward, and a table over assumptions."""
    tape, more = store.folders.runs.parent / "tapes" / "days", {"workers": 0, "out": store.folders.sweeps}
    params = {"fast": [5, 10, 20], "slow": [40, 80]}
    return {
        "walk": api.walkforward(tape, EmaCross, params, train=1, test=1, name="walk", **more),
        "table": api.sensitivity(tape, EmaCross, vary={"execution.latency_ms": [0, 500]}, name="table", **more),
        "sweep": api.sweep(tape, EmaCross, params, holdout=0.4, name="sweep", **more),
    }


def test_no_search_says_what_to_do(empty: Folders) -> None:
    """And one that is damaged is told."""
    (empty.sweeps / "x").mkdir(parents=True)
    (empty.sweeps / "x" / "manifest.json").write_text("{")
    page = opened("sweep", empty)
    assert "alphapanda sweep" in texts(page)
    assert "is damaged" in page.warning[0].value


def test_a_sweep_shows_its_chosen_set_beside_the_holdout(store: Store, sweeps: dict[str, Any]) -> None:
    """As the sweep says, with what must be said beside it; the newest search comes first."""
    page, sweep = opened("sweep", store.folders), sweeps["sweep"]
    assert [one.split(" · ")[0] for one in page.selectbox[0].options] == ["sweep", "table", "walk"]
    found = metrics(page)
    assert (found["net pnl, training"], found["net pnl, holdout"], found["sets tried"]) == (
        number(sweep.best.score), number(sweep.best.holdout), "6",
    )  # fmt: skip
    assert [one.value.lower() for one in page.warning] == [f"{line}.".lower() for line in sweep.warnings]
    table = page.dataframe[0].value
    assert list(table["score"]) == sweep.results["score"].to_list()
    assert not page.exception


@pytest.mark.parametrize("name", ["walk", "table"])
def test_the_other_kinds_of_searches(name: str, store: Store, sweeps: dict[str, Any]) -> None:
    """A walk-forward fold by fold, a table over assumptions."""
    page, found = opened("sweep", store.folders, sweep=name), sweeps[name]
    rows = page.dataframe[0].value
    expected = found.folds["test_net_pnl"] if name == "walk" else found.table["net_pnl"]
    assert list(rows["test_net_pnl" if name == "walk" else "net_pnl"]) == expected.to_list()
    assert not page.exception
    assert not page.error


def test_a_search_that_has_begun_says_how_far_it_is(empty: Folders, store: Store, sweeps: dict[str, Any]) -> None:
    """Without a result; with some of them."""
    shutil.copytree(sweeps["sweep"].path, empty.sweeps / "half")
    results = sorted((empty.sweeps / "half" / "results").glob("*.json"))
    for path in results[2:]:
        path.unlink()
    page = opened("sweep", empty)
    assert "2 of 7 replays" in str(page.get("progress")[0].proto)
    for path in results[:2]:
        path.unlink()
    assert "No replay is finished yet" in texts(opened("sweep", empty))


def test_a_sweep_with_its_holdout(
    served: Served, store: Store, sweeps: dict[str, Any], watched: Watched, picture: Picture
) -> None:
    """A heatmap over both parameters, and the chosen set on what was kept back."""
    page, best = watched.go(f"{served.url}/sweep?sweep=sweep"), sweeps["sweep"].best
    found = watching.metrics(page)
    assert (found["net pnl, training"], found["net pnl, holdout"]) == (number(best.score), number(best.holdout))
    cells = page.evaluate(
        "() => [...document.querySelectorAll('.js-plotly-plot')].flatMap(one => one.data).find(one => one.type === 'heatmap').z"
    )
    scores = sweeps["sweep"].results.sort("slow", "fast")["score"].to_list()
    assert [one for row in cells for one in row] == pytest.approx(scores)
    watching.drawn(page)
    watched.clean()
    page.get_by_text("Chosen set").evaluate("one => one.scrollIntoView({block: 'start'})")
    picture(page, "dashboard-sweep")
