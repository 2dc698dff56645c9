"""AlphaPanda: replay recorded ticks through the whole live pipeline, and look at the result.

import alphapanda as ap

run = ap.replay("data/tapes/demo", strategies=[MyStrategy(fast=20)])
run.fills
"""

from alphapanda.services.feature_engine.models import (
    Adx,
    Atr,
    Bars,
    Bollinger,
    Ema,
    Macd,
    Obv,
    Rsi,
    Sma,
    Stochastic,
    Vwap,
    ZScore,
)  # fmt: skip
from alphapanda.services.strategy_runner.strategy import Strategy

__all__ = [
    "Adx", "Atr", "Bars", "Bollinger", "Ema", "Macd", "Obv", "Rsi", "Sma", "Stochastic", "Strategy", "Vwap", "ZScore", "load",
    "lookahead", "replay", "runs", "sensitivity", "sql", "sweep", "walkforward",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """What works on tapes and runs brings DuckDB and plotly with them, so it is imported when first used."""
    if name in ("load", "lookahead", "replay", "runs", "sql"):
        from alphapanda import workbench

        return getattr(workbench, name)
    if name in ("sensitivity", "sweep", "walkforward"):
        from alphapanda.research.search import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
