"""A comparison as one HTML file that opens offline: no scripts, no addresses."""

import html
from typing import Any

from alphapanda.core.ledger import E8
from alphapanda.research.card import line
from alphapanda.research.comparison import MOST_ROWS, Comparison
from alphapanda.research.runs import SHOWN, Run
from alphapanda.research.tearsheet import shown
from alphapanda.research.why import Why

_STYLE = """
:root{color-scheme:light dark}body{margin:0;font:14px/1.5 system-ui,sans-serif}main{max-width:1200px;margin:auto;padding:24px}
table{border-collapse:collapse;margin:8px 0 20px;width:100%}td,th{text-align:left;vertical-align:top;padding:4px 10px;
border-top:1px solid rgba(138,147,163,.35)}td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font-size:12px;overflow-wrap:anywhere}.soft{color:#6b7688}h2{margin:24px 0 4px;font-size:18px}
"""


def page(found: Comparison) -> str:
    """The whole page."""
    title = html.escape(f"{found.a.id} and {found.b.id}")
    inside = "<p>Every event is the same.</p>" if found.equal else body(found, most=MOST_ROWS)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>AlphaPanda diff {title}</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>Two runs</h1>{_runs(found)}{inside}</main></body></html>\n"
    )


def body(found: Comparison, most: int) -> str:
    """All but the runs themselves; at most so many changed decisions."""
    parts = [_attribution(found), _made_with(found), _first(found), _changed(found, most)]
    return "".join([*(f"<p>{html.escape(note)}</p>" for note in found.notes), *parts])


def _runs(found: Comparison) -> str:
    rows: list[tuple[Any, ...]] = [("run", found.a.id, found.b.id), ("digest", found.a.digest[:12], found.b.digest[:12])]
    rows += [(name.replace("_", " "), *(shown(run.statistics[name]) for run in (found.a, found.b))) for name in SHOWN]
    return _table(("", "A", "B"), rows) + "".join(_curve(run, name) for run, name in ((found.a, "A"), (found.b, "B")))


def _curve(run: Run, name: str) -> str:
    drawn = line(run.equity["equity"].to_list(), f"equity of {name}")
    return f"<figure style='display:inline-block'>{drawn}<figcaption>{name}</figcaption></figure>"


def _attribution(found: Comparison) -> str:
    if found.attribution is None:
        return ""
    one = found.attribution
    rows: list[tuple[Any, ...]] = [
        (f"{row['decisions']} decisions changed in {row['changed']}", _amount(row["difference_e8"]))
        for row in found.by_change().iter_rows(named=True)
    ]
    rows += [("another end", _amount(one.end_e8)), ("another start", _amount(one.start_e8)),
             ("rest: rounding, corporate actions", _amount(one.rest_e8)),
             ("equity of B less equity of A", _amount(one.total_e8))]  # fmt: skip
    return f"<h2>What it was worth ({html.escape(found.a.manifest['currency'])})</h2>" + _table(("", "B less A"), rows)


def _made_with(found: Comparison) -> str:
    if not found.made_with:
        return "<h2>Made with</h2><p>The same settings, parameters and code.</p>"
    return "<h2>Made with</h2>" + _table(("", "A", "B"), found.made_with)


def _first(found: Comparison) -> str:
    decision = found.decision
    if decision is None:
        return ""
    ways = "".join(_way(name, way) for name, way in (("A", decision.why_a), ("B", decision.why_b)) if way is not None)
    rows = [("A", decision.a or "not there"), ("B", decision.b or "not there")]
    title = f"The first decision that differs: {html.escape(decision.id)}, in {decision.changed}"
    return f"<h2>{title}</h2>{_table(('', ''), rows)}{ways}"


def _way(name: str, way: Why) -> str:
    return f"<h3>How {name} came to it</h3>{way._repr_html_()}"


def _changed(found: Comparison, most: int) -> str:
    frame = found.changed
    note = f"<p class=soft>The first {most:,} of them.</p>" if frame.height > most else ""
    rows = [
        (row["id"], str(row["ts"]), row["strategy_id"], row["symbol"], row["changed"], row["a"] or "not there",
         row["b"] or "not there", _amount(row["difference_e8"]))
        for row in frame.head(most).iter_rows(named=True)
    ]  # fmt: skip
    head = ("decision", "time", "strategy", "symbol", "changed in", "A", "B", "B less A")
    return f"<h2>{frame.height:,} changed decisions</h2>{note}{_table(head, rows)}"


def _amount(value_e8: int | None) -> str:
    return "" if value_e8 is None else f"{value_e8 / E8:+,.8f}".rstrip("0").rstrip(".")


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    cells = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{names}</tr>{cells}</table>"
