"""A run in a notebook: what it was, its figures, its equity as a line; HTML without scripts or addresses."""

import html
from pathlib import Path
from typing import Any

import numpy as np

from alphapanda.research.runs import SHOWN, Run, short

WIDTH, HEIGHT = 360, 70
_BORDER = "border:1px solid rgba(138,147,163,.4);border-radius:8px;padding:12px 16px;max-width:760px"
_CELL = "text-align:left;padding:2px 14px 2px 0;border:0"


def card(run: Run) -> str:
    """The run as one HTML block."""
    from alphapanda.research.tearsheet import explain, shown

    manifest, tape = run.manifest, run.manifest["tape"]
    strategies = "; ".join(f"{one['strategy_id']} {_params(one['params'])}" for one in manifest["strategies"])
    figures = "".join(
        f"<tr><td style='{_CELL}' title='{html.escape(one.formula, quote=True)}'>{name.replace('_', ' ')}</td>"
        f"<td style='{_CELL};text-align:right'>{shown(one)}</td></tr>"
        for name in SHOWN if (one := run.statistics[name])
    )  # fmt: skip
    counts = ", ".join(f"{manifest['counts'][name]:,} {name}" for name in ("ticks", "signals", "orders", "fills"))
    why = "".join(f"<div>{html.escape(line)}</div>" for line in explain(run))
    return (
        f"<div style='{_BORDER}'><b>Run {html.escape(run.id)}</b> <code>{run.digest[:12]}</code>"
        f"<div>{html.escape(strategies)}</div><div>{html.escape(Path(tape['path']).name)}, {counts}</div>{_from(manifest)}"
        f"<div style='display:flex;gap:24px;align-items:center;flex-wrap:wrap'><table style='border:0'>{figures}</table>"
        f"{line(run.equity['equity'].to_list(), f'equity of {run.id}')}</div>{why}"
        f"<small>{html.escape(str(run.path))}</small></div>"
    )


def _from(manifest: dict[str, Any]) -> str:
    said = manifest.get("signals_from")
    return f"<div>signals played back from run {html.escape(said['run_id'])}</div>" if said else ""


def _params(params: dict[str, Any]) -> str:
    return "(" + ", ".join(f"{name}={short(value) if isinstance(value, float) else value}" for name, value in params.items()
                           if value not in ((), [])) + ")"  # fmt: skip


def line(values: list[float], title: str) -> str:
    """Values as a line over the whole width, in SVG; at most a point for each unit of width."""
    if len(values) < 2:
        return ""
    picked = np.asarray(values, np.float64)[np.unique(np.linspace(0, len(values) - 1, WIDTH).round().astype(np.int64))]
    low, high = float(picked.min()), float(picked.max())
    x = np.linspace(0, WIDTH, len(picked))
    y = HEIGHT - (picked - low) / (high - low) * HEIGHT if high > low else np.full(len(picked), HEIGHT / 2)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    return (
        f"<svg role='img' aria-label='{html.escape(title, quote=True)}' viewBox='-2 -2 {WIDTH + 4} {HEIGHT + 4}' width='{WIDTH}'>"
        f"<polyline points='{points}' fill='none' stroke='#2f6fed' stroke-width='1.5'/></svg>"
    )
