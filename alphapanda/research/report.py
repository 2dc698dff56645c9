"""What the command line prints about runs, differences, tapes and the pipeline."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from alphapanda.core.ledger import E8
from alphapanda.research.comparison import Comparison
from alphapanda.research.diff import Difference
from alphapanda.research.performance import HEADLINES
from alphapanda.research.runs import Run
from alphapanda.research.tearsheet import explain, shown
from alphapanda.research.why import show as show_why

LONG_LIST, LIST_ENDS = 12, 3
"""Lists of more are shown by this many of their first and last."""
_BLOCKS = "▁▂▃▄▅▆▇█"


def as_dict(run: Run) -> dict[str, Any]:
    """The run as one flat object for scripts."""
    manifest, counts = run.manifest, run.manifest["counts"]
    return {
        "run_id": run.id, "run_dir": str(run.path), "tape_digest": manifest["tape"]["digest"], "digests": manifest["digests"],
        "digest": run.digest,
        **{name: counts[name] for name in ("ticks", "bars", "signals", "validated", "rejected", "orders", "fills")},
        **{name: manifest[name] for name in ("seconds", "ticks_per_s", "peak_rss_mb", "warm_up", "open_orders")},
        "signals_from": manifest.get("signals_from"), "stats": run.stats,
    }  # fmt: skip


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """A line of blocks, one for each of `width` equal stretches."""
    if not values:
        return ""
    picked = [values[i * (len(values) - 1) // max(1, width - 1)] for i in range(min(width, len(values)))]
    low, high = min(picked), max(picked)
    return "".join(_BLOCKS[int((value - low) / (high - low) * 7) if high > low else 3] for value in picked)


def show(run: Run, console: Console) -> None:
    """Statistics, why there were few fills, and where the run is."""
    counts = run.manifest["counts"]
    if source := run.manifest.get("signals_from"):
        console.print(f"signals played back from run {source['run_id']}", highlight=False)
    grid = Table(title=f"run {run.id}", title_justify="left")
    grid.add_column("statistic")
    grid.add_column("value", justify="right")
    for name in HEADLINES:
        grid.add_row(name.replace("_", " "), shown(run.statistics[name]))
    console.print(grid)
    console.print(f"{len(run.statistics)} statistics in all: --json, run.stats, the tearsheet", highlight=False)
    console.print(f"equity {sparkline(run.equity['equity'].to_list())}")
    for line in explain(run):
        console.print(f"[yellow]{line}[/yellow]", highlight=False)
    flow = ", ".join(f"{counts[name]:,} {name}" for name in ("ticks", "bars", "signals", "validated", "orders", "fills"))
    took = f" in {run.manifest['seconds']:.2f} s, {run.manifest['ticks_per_s']:,} ticks/s"
    if run.manifest["kind"] == "session":  # its time is the market's
        took = ""
    console.print(f"{flow}{took}, {run.manifest['peak_rss_mb']} MB")
    console.print(f"digest {run.digest}\nrun {run.path}", soft_wrap=True, highlight=False)


def table(console: Console, title: str, frame: pl.DataFrame) -> None:
    """A frame as a table."""
    grid = Table(*frame.columns, title=title, title_justify="left")
    for row in frame.iter_rows():
        grid.add_row(*(str(value)[:40] for value in row))
    console.print(grid)


def show_difference(found: Difference | None, console: Console) -> None:
    """Counts by topic, then the first difference and its causes."""
    if found is None:
        console.print("[green]equal[/green]: every topic has the same digest")
        return
    table(console, "events", pl.DataFrame([vars(one) for one in found.topics]))
    console.print(f"first difference: {found.id} in {found.topic}", highlight=False)
    for name in found.fields:
        console.print(
            f"  {name}: {(found.a or {}).get(name, 'missing')} | {(found.b or {}).get(name, 'missing')}", highlight=False
        )
    console.print(f"caused by {' <- '.join(found.causes)}", highlight=False)


def show_comparison(found: Comparison, console: Console, most: int = 20) -> None:
    """The first difference, what the runs were made with, changed decisions, and what they were worth."""
    if found.made_with:
        table(console, "made with", pl.DataFrame([(name, str(a), str(b)) for name, a, b in found.made_with],
                                                 schema=["", "A", "B"], orient="row"))  # fmt: skip
    show_difference(found.first, console)
    decision = found.decision
    if decision is not None:
        console.print(f"\nfirst decision that differs: {decision.id}, in {decision.changed}", highlight=False)
        for name, said, way in (("A", decision.a, decision.why_a), ("B", decision.b, decision.why_b)):
            console.print(f"  {name}: {said or 'not there'}", highlight=False, markup=False)
            if way is not None:
                show_why(way, console)
    if found.changed.height:
        shown_columns = ("id", "strategy_id", "symbol", "changed", "quantity_a", "quantity_b", "difference")
        table(console, f"changed decisions: {min(most, found.changed.height):,} of {found.changed.height:,}",
              found.changed.head(most).select(shown_columns))  # fmt: skip
    if found.attribution is not None and not found.equal:
        _show_attribution(found, console)
    for note in found.notes:
        console.print(f"[yellow]{note}[/yellow]", highlight=False, soft_wrap=True)


def _show_attribution(found: Comparison, console: Console) -> None:
    one = found.attribution
    assert one is not None  # noqa: S101  # asked before
    grid = Table("what changed", "decisions", f"B less A, {found.a.manifest['currency']}", title="what it was worth",
                 title_justify="left")  # fmt: skip
    for row in found.by_change().iter_rows(named=True):
        grid.add_row(row["changed"], f"{row['decisions']:,}", f"{row['difference_e8'] / E8:+,.8f}")
    others = {"another end": one.end_e8, "another start": one.start_e8, "rest: rounding, corporate actions": one.rest_e8}
    for name, value_e8 in others.items():
        if value_e8:
            grid.add_row(name, "", f"{value_e8 / E8:+,.8f}")
    grid.add_row("equity", "", f"{one.total_e8 / E8:+,.8f}", style="bold")
    console.print(grid)


def show_tape(found: dict[str, Any], console: Console) -> None:
    """A tape's facts; of long lists the first, the last and how many there are."""
    grid = Table("fact", "value", title=found["path"], title_justify="left")
    for name, value in found.items():
        if name != "path":
            grid.add_row(name, in_short(value))
    console.print(grid)


def in_short(value: Any) -> str:
    """A fact as text: a table line by line, a list in whole only where it is short."""
    if isinstance(value, dict):
        return "\n".join(f"{name}: {in_short(one) if isinstance(one, list) else one}" for name, one in value.items())
    if not isinstance(value, list) or len(value) <= LONG_LIST:
        return str(value)
    first, last = (", ".join(map(str, some)) for some in (value[:LIST_ENDS], value[-LIST_ENDS:]))
    return f"{first}, ..., {last} ({len(value):,} in all: --json)"


def show_topology(stages: list[dict[str, Any]], console: Console) -> None:
    """One row a room."""
    grid = Table("stage", "room", "reads", "hears, late", "writes", "key", show_lines=True)
    for stage in stages:
        cells = ("\n".join(stage[name]) for name in ("reads", "hears", "writes"))
        grid.add_row(str(stage["stage"]), stage["room"], *cells, stage["key"])
    console.print(grid)


def show_checks(found: list[dict[str, Any]], console: Console) -> None:
    """One row a check."""
    grid = Table("check", "", "found", "what to do")
    for one in found:
        grid.add_row(one["check"], "[green]ok[/green]" if one["ok"] else "[red]missing[/red]", one["found"], one["remedy"])
    console.print(grid)
