"""Every page in every state: nothing there, one, many, damaged, growing."""

import json
import os
import shutil
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from alphapanda.adapters.segments import write_segment
from alphapanda.contracts.codec import encode
from alphapanda.contracts.events import HaltStrategy, KillSwitch
from alphapanda.research import report
from alphapanda.research.prices import last_prices
from alphapanda.research.runs import Run
from alphapanda.research.tearsheet import shown
from dashboards import session_view
from dashboards.catalogue import Folders, runs, to_ns
from dashboards.views import compare
from tests.builders import root
from tests.dashboard.conftest import Store
from tests.dashboard.opening import PATIENCE_S, metrics, only, opened, tab, texts


@pytest.mark.parametrize("view", ["run", "runs", "compare"])
def test_an_empty_store_says_what_to_do(view: str, empty: Folders) -> None:
    """On whichever page one lands."""
    page = opened(view, empty)
    assert "No runs yet" in texts(page)
    assert "alphapanda demo" in texts(page)
    assert not page.exception


@pytest.mark.parametrize("view", ["run", "runs", "compare"])
def test_a_damaged_run_is_told_and_the_others_are_shown(view: str, empty: Folders, store: Store) -> None:
    """Broken JSON, and a manifest of another version."""
    only(empty, store.days, store.big)
    for name, text in (("run_id=broken", "{"), ("run_id=old", '{"run_id": "old"}')):
        (empty.runs / name).mkdir()
        (empty.runs / name / "manifest.json").write_text(text)
    page = opened(view, empty)
    assert not page.exception
    assert [("is damaged" in one.value, "does not read" in one.value) for one in page.warning[-2:]] == [
        (True, False),
        (False, True),
    ]


def test_the_first_screen_is_the_newest_run(store: Store) -> None:
    """Its cards say what the statistics say."""
    page = opened("run", store.folders)
    names = ("net_pnl", "total_return", "sharpe", "max_drawdown", "fills", "win_rate", "charges", "slippage")
    newest = max((store.big, store.session, store.days, store.other), key=lambda one: one.manifest["created"])
    assert page.selectbox[0].value == newest.id
    assert metrics(page) == {name.replace("_", " "): shown(newest.statistics[name]) for name in names}


def test_statistics_agree_with_the_command_line_to_the_last_digit(store: Store) -> None:
    """Those of the table, as `--json` prints them."""
    page = opened("run", store.folders, run=store.big.id)
    table = pd.concat([one.value for one in page.table if "formula" in one.value.columns])
    said = json.loads(json.dumps(report.as_dict(Run.open(store.big.path))["stats"]))
    assert dict(zip(table["statistic"], table["exact"], strict=True)) == {
        name: "none" if value is None else repr(value) for name, value in said.items()
    }


def test_all_runs_can_be_chosen_newest_first(store: Store) -> None:
    """Sessions too."""
    page = opened("run", store.folders)
    all_runs = sorted((store.big, store.session, store.days, store.other), key=lambda one: one.manifest["created"], reverse=True)
    assert [one.rpartition(" · ")[2] for one in page.selectbox[0].options] == [one.digest[:8] for one in all_runs]
    page = page.selectbox[0].select(store.days.id).run()
    assert (page.query_params["run"], metrics(page)["fills"]) == (store.days.id, f"{store.days.fills.height:,}")


def test_a_run_of_several_strategies_says_what_each_gained(store: Store) -> None:
    """Their equities add up to the run's."""
    page = opened("run", store.folders, run=store.session.id)
    books = page.dataframe[0].value
    assert list(books["strategy_id"]) == ["ema_cross_1", "greedy", "mean_reversion"]
    assert books["equity"].sum() == pytest.approx(store.session.equity["equity"][-1])


def test_an_address_of_a_run_that_is_gone_says_so(store: Store) -> None:
    """And shows another."""
    page = opened("run", store.folders, run="never")
    assert "There is no run 'never' any more" in texts(page)
    assert metrics(page)


@pytest.mark.parametrize("name", ["Trades", "Exposure", "Execution", "Config"])
def test_every_tab_comes_up(name: str, store: Store) -> None:
    """Without an exception, with something in it."""
    page = tab(opened("run", store.folders, run=store.big.id), name)
    assert not page.exception
    assert not page.error
    assert len(page.get("plotly_chart")) + len(page.table) + len(page.dataframe) > 1


def test_trades_are_those_of_the_instrument_and_the_stretch(store: Store) -> None:
    """As the run has them."""
    page = tab(opened("run", store.folders, run=store.big.id), "Trades")
    token = page.selectbox[1].value
    mine = store.big.fills.filter(store.big.fills["instrument_token"] == token)
    assert f"{mine.height:,} fills from" in texts(page)
    low, high = page.slider[0].value
    middle = low + (high - low) / 2
    page = page.slider[0].set_value((low, middle)).run()
    zone = store.big.manifest["tape"]["zone"]
    end_ns = to_ns(middle, zone)
    inside = sum(ts <= end_ns for ts in mine["ts"].cast(int))
    assert 0 < inside < mine.height
    assert f"{inside:,} fills from" in texts(page)


def test_without_its_tape_trades_are_shown_without_prices(empty: Folders, store: Store) -> None:
    """And a sentence says so."""
    only(empty, store.days)
    path = empty.runs / store.days.path.name / "manifest.json"
    path.write_text(path.read_text().replace("tapes/days", "tapes/gone"))
    page = tab(opened("run", empty), "Trades")
    assert "is not at hand any more" in texts(page)
    assert "fills from" in texts(page)


def test_a_topic_that_is_missing_is_an_error_in_words(empty: Folders, store: Store) -> None:
    """Not a traceback."""
    only(empty, store.days)
    (empty.runs / store.days.path.name / "orders.filled.parquet").unlink()
    page = opened("run", empty)
    assert not page.exception
    assert "cannot be read" in page.error[0].value


def test_all_runs_stand_in_one_table(store: Store) -> None:
    """With a curve and the statistics of each."""
    page = opened("runs", store.folders)
    table = page.dataframe[0].value.set_index("run")
    assert set(table.index) == {one.id for one in (store.big, store.session, store.days, store.other)}
    assert {one.id: table["net_pnl"][one.id] for one in (store.big, store.days)} == {
        one.id: one.stats["net_pnl"] for one in (store.big, store.days)
    }
    curve = list(table["equity"][store.big.id])
    assert (curve[0], curve[-1], len(curve) < 200) == (store.big.start_equity, store.big.equity["equity"][-1], True)


def test_runs_are_filtered_by_their_names(store: Store) -> None:
    """By part of a digest; by what no run has."""
    page = opened("runs", store.folders)
    one = page.text_input[0].set_value(store.days.digest[:10]).run()
    assert list(one.dataframe[0].value["run"]) == [store.days.id]
    assert "No run has 'nonsense'" in texts(page.text_input[0].set_value("nonsense").run())


def test_a_manifest_that_changes_is_read_again(empty: Folders, store: Store) -> None:
    """And a folder without one is told."""
    only(empty, store.days)
    path = empty.runs / store.days.path.name / "manifest.json"
    before, _ = runs(empty)
    path.write_text(path.read_text().replace('"replay"', '"session", "session": {"name": "monday"}'))
    os.utime(path, (1, 1))
    (empty.runs / "run_id=bare").mkdir()
    after, damaged = runs(empty)
    assert ([one.tape for one in before], [one.tape for one in after]) == (["days"], ["monday"])
    assert "run_id=bare is not a run" in damaged[0]


def test_a_run_whose_files_are_gone_keeps_its_row(empty: Folders, store: Store) -> None:
    """With a note, without statistics."""
    only(empty, store.days, store.big)
    (empty.runs / store.days.path.name / "portfolio.snapshots.parquet").unlink()
    table = opened("runs", empty).dataframe[0].value.set_index("run")
    assert "cannot be read" in table["note"][store.days.id]
    assert table["net_pnl"][store.big.id] == store.big.stats["net_pnl"]


def test_one_run_alone_cannot_be_compared(empty: Folders, store: Store) -> None:
    """It says how to make another."""
    page = opened("compare", only(empty, store.days))
    assert "There is one run only" in texts(page)


def test_two_runs_beside_each_other(store: Store) -> None:
    """What they were made with, their statistics, and where they part."""
    page = opened("compare", store.folders, a=store.other.id, b=store.big.id)
    (made,) = [one.value for one in page.dataframe if "name" in one.value.columns]
    assert [list(row) for row in made.values if row[0] == "execution.latency_ms"] == [["execution.latency_ms", "400.0", "0.0"]]
    table = next(one.value for one in page.table if "B - A" in one.value.columns).set_index("statistic")
    assert (table["A"]["charges"], table["B"]["charges"]) == tuple(
        shown(one.statistics["charges"]) for one in (store.other, store.big)
    )
    assert "First decision that differs" in texts(page)
    assert not page.exception


def test_the_parts_of_a_difference_add_up_to_it(store: Store) -> None:
    """To the last 1e-8: B's equity at the end less A's."""
    found = store.other.diff(store.big)
    total_e8 = store.big.equity["equity_e8"][-1] - store.other.equity["equity_e8"][-1]
    assert total_e8 != 0
    assert sum(one for _, one in compare.parts_of(found)) == total_e8


def test_equal_runs_are_called_so(empty: Folders, store: Store) -> None:
    """The same digest under two ids."""
    only(empty, store.days)
    copied = empty.runs / "run_id=again"
    shutil.copytree(store.days.path, copied)
    path = copied / "manifest.json"
    path.write_text(path.read_text().replace(store.days.id, "again"))
    assert "The same bytes" in texts(opened("compare", empty))


def test_no_session_says_what_to_do(empty: Folders) -> None:
    """A paper session is one command."""
    assert "alphapanda paper" in texts(opened("pnl", empty))


def test_a_session_that_has_begun_waits(growing: Folders) -> None:
    """Nothing is stored yet."""
    shutil.rmtree(growing.sessions / "done" / "segments")
    assert "nothing is stored yet" in texts(opened("pnl", growing))


def test_a_damaged_session_is_told(empty: Folders) -> None:
    """In a sentence."""
    (empty.sessions / "x").mkdir(parents=True)
    (empty.sessions / "x" / "session.json").write_text("{")
    assert "x/session.json cannot be read" in texts(opened("pnl", empty))


def test_a_finished_sessions_profit_and_loss(store: Store) -> None:
    """Equity is start + realised + unrealised - charges, as the run says."""
    page = opened("pnl", store.folders)
    found = {name.partition(",")[0]: text for name, text in metrics(page).items()}
    stats = store.session.stats
    expected = {"net P&L": "net_pnl", "realised": "realised", "unrealised": "unrealised", "charges": "charges"}
    assert {name: found[name] for name in expected} == {name: f"{stats[key]:,.2f}" for name, key in expected.items()}
    assert (found["fills"], found["rejected"]) == (f"{stats['fills']:,}", f"{store.session.rejections.height:,}")
    assert store.session.rejections.height > 0
    assert "finished" in str([one.value for one in page.markdown])


@pytest.mark.parametrize(("seconds", "said"), [(0, "recording"), (300, "silent for 5 min")])
def test_a_growing_session_says_how_old_it_is(seconds: int, said: str, growing: Folders, store: Store) -> None:
    """From the newest segment."""
    for path in growing.sessions.rglob("*.parquet"):
        os.utime(path, (time.time() - seconds,) * 2)
    page = opened("pnl", growing)
    assert said in str([one.value for one in page.markdown])
    found = {name.partition(",")[0]: text for name, text in metrics(page).items()}
    assert (found["net P&L"], found["fills"]) == (f"{store.session.stats['net_pnl']:,.2f}", f"{store.session.fills.height:,}")


def test_positions_at_the_last_prices_add_up_to_the_books(store: Store) -> None:
    """At the end of a session the last tick is the mark."""
    tokens = store.session.instruments["instrument_token"].to_list()
    found = session_view.positions(store.session, last_prices(store.session, tokens))
    total = session_view.totals(store.session)
    assert found["unrealised"].sum() == pytest.approx(total["unrealised"], abs=1e-6)
    assert found["realised"].sum() == pytest.approx(total["realised"], abs=1e-6)
    assert found["charges"].sum() == pytest.approx(total["charges"], abs=1e-6)
    assert session_view.books(store.session)["equity"].sum() == pytest.approx(total["equity"], abs=1e-6)


def test_commands_stand_until_they_are_taken_back(tmp_path: Path) -> None:
    """Engaged, released, engaged; one strategy halted."""
    said: list[Any] = [KillSwitch(True, "a"), KillSwitch(False, "b"), HaltStrategy("s", "c"), KillSwitch(True, "d")]
    events = [root(number, data) for number, data in enumerate(said, 1)]
    rows: list[Any] = [(i, one.pos, one.ts_ns, encode(one), None) for i, one in enumerate(events)]
    place = tmp_path / "segments" / "control.commands" / "0"
    place.mkdir(parents=True)
    write_segment(tmp_path, ("control.commands", 0), 0, rows, (4, events[-1].pos, (1, 5), 0, []))
    assert session_view.commands(tmp_path) == session_view.Commands("d", {"s": "c"})


def test_ages_are_read_at_a_glance() -> None:
    """In the largest unit of which there are two."""
    assert [session_view.age(one) for one in (3.2, 119, 120, 7_300, 200_000)] == ["3 s", "119 s", "2 min", "2 h", "2 d"]


def test_the_whole_app_comes_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Streamlit runs it, with its folders from the command line."""
    words = [word for name in Folders._fields for word in (f"--{name}", str(getattr(store.folders, name)))]
    monkeypatch.setattr("sys.argv", ["app.py", *words])
    found = find_spec("dashboards.app")
    assert found is not None
    assert found.origin is not None
    page = AppTest.from_file(found.origin, default_timeout=PATIENCE_S).run()
    assert not page.exception
    assert metrics(page)
    assert next(iter(page.main.children.values())).type == "selectbox"  # nothing before the page itself
