"""A search on a page and in a terminal: what was found, beside what must be said with it."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from alphapanda.research.search.sensitivity import Sensitivity
from alphapanda.research.search.sweep import Sweep
from alphapanda.research.search.walkforward import WalkForward

MOST_ROWS = 10
_BORDER = "border:1px solid rgba(138,147,163,.4);border-radius:8px;padding:12px 16px;max-width:960px"
_CELL = "text-align:right;padding:2px 14px 2px 0;border:0"


def number(value: Any) -> str:
    """A value in few characters."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def point_text(point: Mapping[str, Any]) -> str:
    """A set as `fast=20, slow=100`."""
    return ", ".join(f"{name}={number(value)}" for name, value in point.items())


def _head(one: Sweep | WalkForward, what: str, facts: Sequence[str]) -> str:
    lines = "".join(f"<div>{html.escape(line)}</div>" for line in facts)
    said = "".join(f"<div>⚠ {html.escape(line)}</div>" for line in one.warnings)
    return f"<b>{what} {html.escape(one.name)}</b>{lines}{said}"


def _rows(frame: pl.DataFrame) -> str:
    head = "".join(f"<th style='{_CELL}'>{html.escape(name.replace('_', ' '))}</th>" for name in frame.columns)
    body = "".join(
        "<tr>" + "".join(f"<td style='{_CELL}'>{html.escape(number(value))}</td>" for value in row) + "</tr>"
        for row in frame.iter_rows()
    )
    return f"<table style='border:0'><tr>{head}</tr>{body}</table>"


def _card(inside: str, path: object) -> str:
    return f"<div style='{_BORDER}'>{inside}<small>{html.escape(str(path))}</small></div>"


def facts_of(one: Sweep) -> list[str]:
    """What was tried, and the best set beside its holdout."""
    objective = one.plan.objective.replace("_", " ")
    said = [f"{one.tried} sets tried ({one.plan.method}), by {objective}"]
    best = one.best
    if best is not None:
        said.append(f"best: {point_text(best.point)}")
        later = "" if one.stage.test is None else f", on the holdout {number(best.holdout) or 'none'}"
        said.append(f"{objective} in training {number(best.score)}{later}")
    if one.deflated is not None:
        found = one.deflated
        chance = "unknown" if found.probability is None else f"{found.probability:.1%}"
        said.append(
            f"Sharpe ratio a {found.over}: {found.sharpe:.4f}; the best of {found.tried} without skill would have"
            f" {found.expected_by_luck:.4f}; probability of skill {chance}"
        )
    return said


def ranked(one: Sweep, most: int = MOST_ROWS) -> pl.DataFrame:
    """The best sets, as lists show them."""
    from alphapanda.research.search.wanted import OBJECTIVES

    columns = ["number", *one.plan.dimensions, "score", "net_pnl", "max_drawdown", "round_trips"]
    better = OBJECTIVES[one.plan.objective] > 0
    return one.results.select(columns).sort("score", "number", descending=[better, False], nulls_last=True).head(most)


def card(one: Sweep) -> str:
    """A sweep in a notebook."""
    return _card(_head(one, "Sweep", facts_of(one)) + _rows(ranked(one)), one.path)


def walk_facts(one: WalkForward) -> list[str]:
    """What the tests say together."""
    stats = one.stats
    return [
        f"{stats['folds']} folds, {one.tried} sets tried in each, by {one.plan.objective.replace('_', ' ')}",
        f"tests together: net P&L {number(stats['net_pnl'])}, {stats['round_trips']} round trips, Sharpe"
        f" {number(stats['sharpe']) or 'none'}, efficiency {number(stats['efficiency']) or 'none'}",
    ]


def walk_table(one: WalkForward) -> pl.DataFrame:
    """The folds' columns as a terminal has room for them."""
    scores = [name for name in ("train_score", "test_score", "test_round_trips") if name in one.folds.columns]
    return one.folds.select("fold", "test", *one.plan.dimensions, *scores)


def walk_card(one: WalkForward) -> str:
    """A walk-forward in a notebook."""
    return _card(_head(one, "Walk-forward", walk_facts(one)) + _rows(one.folds), one.path)


def sensitivity_card(one: Sensitivity) -> str:
    """A sensitivity table in a notebook."""
    return _card(_head(one, "Sensitivity", ["the first row is what the settings say"]) + _rows(shown_table(one)), one.path)


def shown_table(one: Sensitivity) -> pl.DataFrame:
    """The table's columns as lists show them."""
    dimensions = [name.partition(".")[2] for name in one.plan.dimensions]
    return one.table.select(*dimensions, "net_pnl", "change", "fills", "round_trips")


def print_frame(console: Console, title: str, frame: pl.DataFrame) -> None:
    """A frame as a table in a terminal."""
    grid = Table(title=title, title_justify="left")
    for name in frame.columns:
        grid.add_column(name.replace("_", "\n"), justify="right", no_wrap=True)  # the words of a name, not those of a number
    for row in frame.iter_rows():
        grid.add_row(*map(number, row))
    console.print(grid)


def print_found(console: Console, title: str, frame: pl.DataFrame, facts: Sequence[str], one: Sweep | WalkForward) -> None:
    """A search in a terminal."""
    print_frame(console, title, frame)
    for line in facts:
        console.print(line, highlight=False, soft_wrap=True)
    for line in one.warnings:
        console.print(f"[yellow]warning:[/yellow] {line}", highlight=False, soft_wrap=True)
    console.print(f"{one.path}", highlight=False, soft_wrap=True)
