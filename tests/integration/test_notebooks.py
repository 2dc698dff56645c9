"""The notebooks: each runs from the beginning, none keeps outputs, and each is the same as its twin in text."""

import shutil
from pathlib import Path
from typing import Any

import pytest

jupytext = pytest.importorskip("jupytext")
nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

ROOT = Path(__file__).parents[2]
BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHOWN = {
    "01_first_replay": ("net pnl", "application/vnd.plotly.v1+json", "decided on", "tearsheet.html"),
    "02_write_a_strategy": ("net pnl", "ZeroDivisionError", "validated", "SL-M"),
    "03_analyse": ("brokerage_e8", "win_rate", "minute_mean", "held_s"),
    "04_sweep_and_walk_forward": ("12 sets tried", "on the holdout", "5 folds", "⚠", "first row is what the settings say"),
    "05_compare_two_versions": ("changed decisions", "Attribution(", "latency.html"),
}
"""Texts that a reader finds among the outputs."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a clone is; the notebooks share their tapes, as a reader's do."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("notebooks", "strategies"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_its_beginning(home: Path, path: Path) -> None:
    """Without an error and without a word on stderr; what it promises is shown."""
    book = read(home / "notebooks" / path.name)
    resources = {"metadata": {"path": str(home / "notebooks")}}
    # not longer: a reply that its sockets overlook is found when the time is up
    nbclient.NotebookClient(book, timeout=60, kernel_name="python3", resources=resources).execute()
    outputs = [one for cell in book.cells if cell.cell_type == "code" for one in cell.outputs]
    said = "\n".join(str(one.get("data", one.get("text"))) for one in outputs)
    assert [one.text for one in outputs if one.output_type == "stream" and one.name == "stderr"] == []
    assert [text for text in SHOWN[path.stem] if text not in said] == []


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_no_outputs(path: Path) -> None:
    """They would go stale, and make every change unreadable."""
    kept = [(cell.outputs, cell.execution_count) for cell in read(path).cells if cell.cell_type == "code"]
    assert kept == [([], None)] * len(kept)


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_and_its_twin_in_text_say_the_same(path: Path) -> None:
    """Cell by cell; after a change to either, `jupytext --sync notebooks/*.ipynb` makes them equal again."""
    twin = jupytext.read(path.with_suffix(".py"))
    said = [[(cell.cell_type, cell.source) for cell in book.cells] for book in (read(path), twin)]
    assert said[0] == said[1]


def test_every_text_has_its_notebook() -> None:
    """And every notebook is in the table above."""
    texts = {path.stem for path in (ROOT / "notebooks").glob("*.py")}
    assert texts == {path.stem for path in BOOKS} == set(SHOWN)
