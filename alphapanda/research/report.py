"""What the command line prints about runs, differences, tapes and the pipeline."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from alphapanda.research.diff import Difference
from alphapanda.research.runs import Run
from alphapanda.research.tearsheet import explain, shown

_BLOCKS = "▁▂▃▄▅▆▇█"


def as_dict(run: Run) -> dict[str, Any]:
    """The run as one flat object for scripts."""
    manifest, counts = run.manifest, run.manifest["counts"]
    return {
        "run_id": run.id, "run_dir": str(run.path), "tape_digest": manifest["tape"]["digest"], "digests": manifest["digests"],
        "digest": run.digest,
        **{name: counts[name] for name in ("ticks", "bars", "signals", "validated", "rejected", "orders", "fills")},
        **{name: manifest[name] for name in ("seconds", "ticks_per_s", "peak_rss_mb", "warm_up", "open_orders")},
        "stats": run.stats,
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
    grid = Table(title=f"run {run.id}", title_justify="left")
    grid.add_column("statistic")
    grid.add_column("value", justify="right")
    for one in run.statistics.values():
        grid.add_row(one.name.replace("_", " "), shown(one))
    console.print(grid)
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


def show_tape(found: dict[str, Any], console: Console) -> None:
    """A tape's facts."""
    grid = Table("fact", "value", title=found["path"], title_justify="left")
    for name, value in found.items():
        if name != "path":
            grid.add_row(name, str(value))
    console.print(grid)


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
