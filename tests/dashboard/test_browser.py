"""The dashboard as people see it: a real server, a real browser, a run over a million ticks.

Times are printed (`-s`), not asserted: as a ratio to an empty Streamlit page, since machines differ.
"""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from playwright.sync_api import Browser, expect

from alphapanda.research.runs import Run
from alphapanda.research.tearsheet import by_group, shown
from dashboards.catalogue import Folders
from tests.dashboard.conftest import Served, Store, answers, free_port
from tests.dashboard.watching import PATIENCE_MS, SIZE, Picture, Watched, drawn, metrics

EXACT = """() => [...document.querySelectorAll('[data-testid=stTable] tbody tr')].map(row =>
 row.querySelectorAll('td')[2].innerText)"""


def test_the_first_screen_is_the_newest_run(served: Served, store: Store, watched: Watched, picture: Picture) -> None:
    """Its figures are those of `run.statistics`, its charts are thinned, nothing comes from elsewhere."""
    newest = max((store.big, store.session, store.days, store.other), key=lambda one: one.manifest["created"])
    page = watched.go(served.url)
    expect(page.get_by_text(newest.digest[:16])).to_be_visible()
    page = watched.go(f"{served.url}/?run={store.big.id}")
    names = ("net_pnl", "total_return", "sharpe", "max_drawdown", "fills", "win_rate", "charges", "slippage")
    assert metrics(page) == {name.replace("_", " "): shown(store.big.statistics[name]) for name in names}
    picture(page, "dashboard-run")
    exact = page.evaluate(EXACT)
    assert exact == [
        "none" if one.value is None else repr(one.value) for _, of_it in by_group(store.big.statistics) for one in of_it
    ]
    assert len(drawn(page)) > 5
    watched.clean()


@pytest.mark.parametrize("name", ["Trades", "Exposure", "Execution", "Config"])
def test_every_tab_can_be_clicked(name: str, served: Served, store: Store, watched: Watched, picture: Picture) -> None:
    """With its charts drawn."""
    page = watched.go(f"{served.url}/?run={store.big.id}")
    watched.tab(name)
    assert bool(drawn(page)) == (name != "Config")
    watched.clean()
    picture(page, f"dashboard-{name.lower()}")


def test_dragging_over_the_price_zooms_on_the_server(
    served: Served, store: Store, watched: Watched, picture: Picture, bare: list[float]
) -> None:  # fmt: skip
    """What lies in the stretch is read anew: fewer fills, and as many as the run has there."""
    page = watched.go(f"{served.url}/?run={store.big.id}")
    watched.tab("Trades")
    caption = page.get_by_text(re.compile(r"[\d,]+ fills from"))
    before = said_fills(caption.inner_text())
    token = store.big.fills.group_by("instrument_token").len().sort("len", "instrument_token", descending=[True, False])[0, 0]
    mine = store.big.fills.filter(pl.col("instrument_token") == token)
    assert before == mine.height
    seen = page.locator(".js-plotly-plot .nsewdrag").first
    seen.scroll_into_view_if_needed()
    box = seen.bounding_box()
    assert box is not None
    began = time.monotonic()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 90, steps=6)
    page.mouse.up()
    expect(caption).not_to_have_text(re.compile(f"^{before:,} fills"), timeout=PATIENCE_MS)
    watched.settle()
    times = (time.monotonic() - began) / min(bare)
    print(f"\nzoom: {times:.2f} times an empty page, from the drag to the stretch drawn")  # noqa: T201
    low, high = page.evaluate(
        "() => document.querySelector('.js-plotly-plot').layout.xaxis.range.map(one => new Date(one + 'Z').getTime())"
    )
    zone = store.big.manifest["tape"]["zone"]
    local_ms = mine["ts"].dt.convert_time_zone(zone).dt.replace_time_zone(None).cast(pl.Int64) / 1_000_000
    inside = local_ms.is_between(low, high).sum()
    assert 0 < said_fills(caption.inner_text()) <= inside < before
    drawn(page)
    picture(page, "dashboard-zoomed")
    page.get_by_role("button", name="Whole run").click()
    expect(caption).to_have_text(re.compile(f"^{before:,} fills"), timeout=PATIENCE_MS)
    watched.clean()


def test_a_fill_says_why_it_came_about(served: Served, store: Store, watched: Watched, picture: Picture) -> None:
    """Tick it: the way back to its tick, as `run.why` has it."""
    page = watched.go(f"{served.url}/?run={store.days.id}")
    watched.tab("Trades")
    grid = page.locator("[data-testid=stDataFrame]").first
    grid.scroll_into_view_if_needed()
    box = grid.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 16, box["y"] + 36 + 17)
    expect(page.get_by_role("heading", name=re.compile("^Why"))).to_be_visible(timeout=PATIENCE_MS)
    token = store.days.fills.group_by("instrument_token").len().sort("len", "instrument_token", descending=[True, False])[0, 0]
    first = store.days.fills.filter(pl.col("instrument_token") == token)["id"][0]
    steps, table = store.days.why(first).steps, page.locator("[data-testid=stTable]").first
    expect(table.locator("tbody tr")).to_have_count(len(steps), timeout=PATIENCE_MS)
    ids = [row.locator("td").nth(1).inner_text() for row in table.locator("tbody tr").all()]
    assert ids == [one.id for one in steps]
    watched.clean()
    page.get_by_role("heading", name=re.compile("^Why")).scroll_into_view_if_needed()
    picture(page, "dashboard-why")


def said_fills(text: str) -> int:
    return int(text.partition(" ")[0].replace(",", ""))


def test_from_the_table_of_runs_to_a_run_and_a_comparison(
    served: Served, store: Store, watched: Watched, picture: Picture
) -> None:
    """Tick a row, open it; tick two, compare them."""
    page = watched.go(f"{served.url}/runs")
    expect(page.get_by_role("heading", name="Runs (4)")).to_be_visible()
    grid = page.locator("[data-testid=stDataFrame]")
    picture(page, "dashboard-runs")
    box = grid.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 16, box["y"] + 36 + 17)
    opened = page.get_by_role("button", name=re.compile("^open_in_full Open|^Open"))
    expect(opened).to_be_visible(timeout=PATIENCE_MS)
    name = opened.inner_text().split()[-1]
    page.mouse.click(box["x"] + 16, box["y"] + 36 + 35 + 17)
    expect(page.get_by_role("button", name="Compare the first two")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("button", name="Compare the first two").click()
    expect(page.get_by_role("heading", name="Compare")).to_be_visible(timeout=PATIENCE_MS)
    assert f"a={name}" in page.url
    watched.settle()
    watched.clean()


def test_two_runs_beside_each_other(served: Served, store: Store, watched: Watched, picture: Picture) -> None:
    """Both columns are what the runs say."""
    page = watched.go(f"{served.url}/compare?a={store.other.id}&b={store.big.id}")
    expect(page.get_by_role("heading", name="First decision that differs")).to_be_visible(timeout=PATIENCE_MS)
    table = page.locator("[data-testid=stTable]").first
    rows = {
        row.locator("td").first.inner_text(): [cell.inner_text() for cell in row.locator("td").all()[1:3]]
        for row in table.locator("tbody tr").all()
    }
    assert rows == {name: [shown(store.other.statistics[name]), shown(one)] for name, one in store.big.statistics.items()}
    drawn(page)
    watched.clean()
    picture(page, "dashboard-compare")


def test_the_page_follows_a_session_while_it_is_traded(
    store: Store, empty: Folders, serve: Callable[[Folders], Served], watched: Watched, picture: Picture
) -> None:  # fmt: skip
    """A paper session beside it: ticks grow, the kill switch is seen, and at the end the figures are the finished run's."""
    empty.sessions.mkdir(parents=True)
    url = serve(empty).url
    page = watched.go(f"{url}/pnl")
    expect(page.get_by_text("No session was recorded")).to_be_visible()
    with paper(store, empty) as door:
        page.get_by_role("button", name="Look again").click()
        ticks = page.get_by_text(re.compile(r"[\d,]+ ticks$"))
        expect(ticks).to_be_visible(timeout=PATIENCE_MS)
        seen = {counted(ticks)}
        deadline = time.monotonic() + 60
        while len(seen) < 3 and time.monotonic() < deadline:
            page.wait_for_timeout(500)
            seen.add(counted(ticks))
        assert len(seen) >= 3
        expect(page.get_by_text("recording")).to_be_visible()
        picture(page, "dashboard-pnl")
        subprocess.run(
            [sys.executable, "-m", "alphapanda", "command", door, "--kill", "--reason", "enough"], check=True, capture_output=True
        )
        expect(page.get_by_text("The kill switch is engaged: enough")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_text("finished")).to_be_visible(timeout=PATIENCE_MS)
    watched.settle()
    run = Run.open(next((empty.sessions / "live").glob("run_id=*")))
    assert run.stats["charges"] > 0  # it traded
    found = {name.partition(",")[0]: text for name, text in metrics(page).items()}
    assert (found["net P&L"], found["charges"]) == tuple(f"{run.stats[name]:,.2f}" for name in ("net_pnl", "charges"))
    assert found["rejected"] == f"{sum(run.manifest['counts']['rejected'].values()):,}"
    watched.clean()


@contextmanager
def paper(store: Store, folders: Folders) -> Iterator[str]:
    """A session of a day in two and a half minutes; yields the door's address. Leaving asks it to end, and waits until it has."""
    words = [
        "paper",
        str(store.spec),
        "--speed",
        "150",
        "--prefix",
        "live.",
        "--json",
        "--set",
        f"storage.sessions={folders.sessions}",
    ]
    home = folders.sessions.parent
    process = subprocess.Popen(
        [sys.executable, "-m", "alphapanda", *words], cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        yield next(found[0] for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        process.terminate()
        process.communicate(timeout=120)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def counted(ticks: Any) -> int:
    return int(re.findall(r"([\d,]+) ticks", ticks.inner_text())[0].replace(",", ""))


def test_an_empty_store_is_no_blank_page(
    empty: Folders, serve: Callable[[Folders], Served], watched: Watched, picture: Picture
) -> None:  # fmt: skip
    """It says what to do."""
    page = watched.go(serve(empty).url)
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    picture(page, "dashboard-empty")
    watched.clean()


def test_it_listens_on_the_loopback_alone(served: Served) -> None:
    """As the system has it."""
    port = int(served.url.rpartition(":")[2])
    sockets = [line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()[1:]]
    listening = {row[1] for row in sockets if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    assert listening == {f"0100007F:{port:04X}"}


def test_nothing_is_written(served: Served, store: Store, watched: Watched) -> None:
    """Whatever is looked at, the store's files stay as they are; the tearsheet is made for the browser alone."""
    before = files(store.folders.runs.parent)
    page = watched.go(f"{served.url}/?run={store.days.id}")
    with page.expect_download(timeout=PATIENCE_MS) as download:
        page.get_by_role("button", name="Tearsheet").click()
    assert f"AlphaPanda tearsheet {store.days.id}" in Path(download.value.path()).read_text()
    for name in ("Trades", "Execution"):
        watched.tab(name)
    assert files(store.folders.runs.parent) == before


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(one): (one.stat().st_size, one.stat().st_mtime_ns) for one in folder.rglob("*") if one.is_file()}


def test_the_tearsheet_opens_without_a_network(store: Store, browser: Browser, tmp_path: Path, picture: Picture) -> None:
    """One file under 3 MB for the big run; every figure is drawn, and its numbers are the run's."""
    path = store.big.tearsheet(tmp_path / "t.html")
    assert path.stat().st_size < 3_000_000
    print(f"\ntearsheet: {path.stat().st_size / 1e6:.2f} MB for {store.big.manifest['counts']['ticks']:,} ticks")  # noqa: T201
    context = browser.new_context(viewport=SIZE, offline=True)
    watched = Watched(context.new_page())
    watched.page.goto(path.as_uri())
    watched.page.wait_for_selector("body[data-drawn=yes]", timeout=PATIENCE_MS)
    plots = watched.page.locator(".plot")
    assert plots.count() == watched.page.locator(".plot .main-svg:first-child").count() > 10
    cards = dict(text.split("\n", 1) for text in watched.page.locator(".card").all_inner_texts())
    assert cards["net pnl"].strip() == shown(store.big.statistics["net_pnl"])
    drawn(watched.page)
    watched.clean()
    picture(watched.page, "tearsheet")
    context.close()


@pytest.fixture(scope="session")
def bare(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Seconds that a Streamlit page with one word takes, three times, each in a fresh browser context."""
    port, script = free_port(), tmp_path_factory.mktemp("bare") / "one_word.py"
    script.write_text("import streamlit as st\nst.markdown('word')\n")
    words = [
        "--server.address", "127.0.0.1", "--server.port", str(port), "--server.headless", "true",
        "--browser.gatherUsageStats", "false",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(script), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        answers(f"http://127.0.0.1:{port}")
        return [first(browser, f"http://127.0.0.1:{port}", "[data-testid=stMarkdown]") for _ in range(3)]
    finally:
        process.terminate()
        process.wait(20)


def test_first_paint_beside_an_empty_page(served: Served, store: Store, browser: Browser, bare: list[float]) -> None:
    """Printed: how much longer the big run takes than a page with one word, cold and warm."""
    target = f"{served.url}/?run={store.big.id}"
    cards = [first(browser, target, "[data-testid=stMetricValue]") for _ in range(3)]
    charts = [first(browser, target, ".js-plotly-plot .main-svg") for _ in range(3)]
    empty_s = min(bare)
    print(  # noqa: T201
        f"\nempty page {empty_s:.2f} s; run of {store.big.manifest['counts']['ticks']:,} ticks: figures"
        f" {min(cards) / empty_s:.2f}, charts {min(charts) / empty_s:.2f} times that"
    )
    assert all(one > 0 for one in (*bare, *cards, *charts))


def first(browser: Browser, url: str, selector: str) -> float:
    """Seconds from a fresh browser context to the first such element."""
    context = browser.new_context(viewport=SIZE)
    page = context.new_page()
    began = time.monotonic()
    page.goto(url)
    page.wait_for_selector(selector, timeout=PATIENCE_MS)
    took = time.monotonic() - began
    context.close()
    return took
