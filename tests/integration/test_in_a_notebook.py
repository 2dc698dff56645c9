"""Results in a notebook's kernel: a strategy of a cell, its progress, and what each answer shows."""

from pathlib import Path

import pytest

from alphapanda.runtime.tape_make import make_tape

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")

STRATEGY = '''
import alphapanda as ap

class Turns(ap.Strategy):
    """Stands in a cell."""
    every: int = 50

    def on_start(self):
        self.count = 0

    def on_market_data(self, tick):
        self.count += 1
        if self.count % self.every == 0:
            yield self.target(tick.instrument_token, self.count // self.every % 2)

run = ap.replay({tape!r}, [Turns()], out={out!r})
run
'''
CELLS = (
    "run.at('2024-03-01T06:00:00Z')", "run.why(run.fills['id'][0])", "run.plot('pnl')",
    "run.diff(ap.replay(signals_from=run, settings={'execution.latency_ms': 900}, out=run.path.parent, progress=False))",
    "ap.sql('select count(*) from fills', root=run.path.parent)", "run.manifest['strategies'][0]['source']",
)  # fmt: skip


def test_each_answer_shows_itself(tmp_path: Path) -> None:
    """The run's card, a bar while it is made, and no word on stderr."""
    make_tape(tmp_path / "tape", seed=3, ticks=3_000, instruments=2)
    book = nbformat.v4.new_notebook()
    first = STRATEGY.format(tape=str(tmp_path / "tape"), out=str(tmp_path / "runs"))
    book.cells = [nbformat.v4.new_code_cell(text) for text in (first, *CELLS)]
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    assert [one for cell in book.cells for one in cell.outputs if one.output_type == "stream"] == []
    shown = [cell.outputs[-1]["data"] for cell in book.cells]
    texts = ("net pnl", "equity", "decided on", "", "changed decisions")
    assert all(text in one.get("text/html", "") for text, one in zip(texts, shown, strict=False))
    assert len(book.cells[0].outputs) > 1  # the bar
    assert "application/vnd.plotly.v1+json" in shown[3]
    assert shown[6]["text/plain"].lstrip("'\"").startswith("class Turns(ap.Strategy):")
