"""The tearsheet: one file that needs nothing else, whose figures are those of the run."""

import base64
import gzip
import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import alphapanda as ap
from alphapanda.adapters.tape import Tape
from alphapanda.reference.profiles import load_profile
from alphapanda.research.runs import Run
from alphapanda.research.tearsheet import page, shown
from alphapanda.runtime.tape_make import make_tape
from strategies.ema_cross import EmaCross

MOST_POINTS = 5_000


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    """Twenty-five sessions."""
    path, market = tmp_path_factory.mktemp("tapes") / "many", load_profile("nse")
    days = [day for day in (date(2024, 1, 1) + timedelta(days=i) for i in range(45)) if market.session_on(day)][:25]
    make_tape(path, seed=3, days=days, ticks=400, instruments=3)
    return Tape.open(path)


@pytest.fixture(scope="module")
def run(tape: Tape, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ap.replay(tape.path, strategies=[EmaCross(fast=5, slow=20, quantity=100)], out=tmp_path_factory.mktemp("runs"))


def unpacked(text: str, name: str) -> bytes:
    """What is packed into the page under this id."""
    (found,) = re.findall(rf'<script id="{name}" type="text/plain">([^<]+)</script>', text)
    return gzip.decompress(base64.b64decode(found))


def titles(text: str) -> list[str]:
    return [one["layout"]["title"]["text"].partition("<br>")[0] for one in json.loads(unpacked(text, "figures"))]


def points(trace: dict[str, Any]) -> int:
    """How many values a trace has along x; arrays are packed."""
    x = trace["x"]
    return len(x) if isinstance(x, list) else len(base64.b64decode(x["bdata"])) // int(x["dtype"][1:])


def test_it_needs_nothing_from_elsewhere(run: Run) -> None:
    """No address to load from, the library inside, below 3 MB, the same bytes each time."""
    text = page(run)
    assert re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=|@import|url\(", text) == []
    assert b"Plotly" in unpacked(text, "library")[:300_000]
    assert (len(text.encode()) < 3_000_000, page(run) == text) == (True, True)


def test_every_statistic_stands_there_with_its_formula(run: Run) -> None:
    """As `run.statistics` has them, those of a kind together."""
    text = page(run)
    rows = re.findall(
        r"<tr><td>([^<]+)</td><td class=n>([^<]+)</td><td class=soft>([^<]*)</td><td class=soft>([^<]*)</td></tr>", text
    )
    expected = [(one.name.replace("_", " "), shown(one), one.unit) for one in run.statistics.values()]
    assert sorted(row[:3] for row in rows) == sorted(expected)
    assert all(row[3] for row in rows)
    groups = re.findall(r"<tr><th colspan=4>([^<]+)</th></tr>", text)
    assert groups == list(dict.fromkeys(one.group for one in run.statistics.values()))


def test_it_has_every_figure_that_was_promised(run: Run) -> None:
    """And a place for each on the page."""
    text = page(run)
    found = titles(text)
    for title in (
        "Equity against", "Drawdown", "Return by month", "Returns by session", "Round trips", "Rolling Sharpe", "Exposure",
        "Turnover", "Fills on price: BANYAN", "Placed to filled", "Slippage",
    ):  # fmt: skip
        assert any(one.startswith(title) for one in found), title
    assert re.findall(r'data-figure="(\d+)"', text) == [str(i) for i in range(len(found))]


def test_its_figures_are_small_enough_to_draw(run: Run) -> None:
    """Each trace has under 5,000 points, and none is WebGL."""
    traces = [trace for one in json.loads(unpacked(page(run), "figures")) for trace in one["data"]]
    assert {trace["type"] for trace in traces} <= {"scatter", "bar", "heatmap"}
    assert max(points(trace) for trace in traces) < MOST_POINTS


def test_without_its_tape_it_says_so(run: Run, tmp_path: Path) -> None:
    """No benchmark and no prices, but fills, and a sentence why."""
    alone = Run.open(run.path)
    alone.manifest["tape"]["path"] = str(tmp_path / "gone")
    text = page(alone)
    assert "No benchmark: the tape" in text
    assert "Fills on price: BANYAN" in titles(text)


def test_a_run_that_did_nothing_has_one_too(tape: Tape, tmp_path: Path) -> None:
    """Each empty figure says why it is empty."""

    class Still(ap.Strategy):
        pass

    text = page(ap.replay(tape.path, strategies=[Still()], out=tmp_path))
    said = [
        one["layout"]["annotations"][0]["text"]
        for one in json.loads(unpacked(text, "figures"))
        if one["layout"].get("annotations")
    ]
    assert "no round trip was closed" in said
    assert "No benchmark: nothing was traded." in text
