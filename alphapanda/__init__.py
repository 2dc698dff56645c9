"""AlphaPanda: replay recorded ticks through the whole live pipeline, and look at the result.

import alphapanda as ap

run = ap.replay("data/tapes/demo", strategies=[MyStrategy(fast=20)])
run.fills
"""

from alphapanda.services.feature_engine.models import Bars, Ema, Sma, ZScore
from alphapanda.services.strategy_runner.strategy import Strategy

__all__ = ["Bars", "Ema", "Sma", "Strategy", "ZScore", "load", "replay", "runs"]


def __getattr__(name: str) -> object:
    """`load`, `replay` and `runs` bring DuckDB and plotly with them, so they are imported when first used."""
    if name in ("load", "replay", "runs"):
        from alphapanda import workbench

        return getattr(workbench, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
