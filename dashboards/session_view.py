"""What the P&L page says about a session: books, positions at the last prices, working orders, commands, ages.

Pure functions of a run and, where noted, of the session's segments.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from alphapanda.adapters.segments import Segments
from alphapanda.contracts.codec import decode
from alphapanda.contracts.events import HaltStrategy, KillSwitch
from alphapanda.pipeline import COMMANDS, DOOR
from alphapanda.research.order_history import WORKING_STATES
from alphapanda.research.runs import Run

SILENT_S = 20.0
"""A recorder stores what it heard every five seconds, and beats come each second: after so long something stands still."""


class Commands(NamedTuple):
    """What operators told the session."""

    killed: str | None  # the reason, while the kill switch is engaged
    halted: dict[str, str]  # strategy -> reason


def commands(folder: Path) -> Commands:
    """From the session's segments."""
    killed, halted = None, dict[str, str]()
    for frame in Segments(folder).frames(COMMANDS):
        for line in frame["line"].to_list():
            data = decode(line).data
            if isinstance(data, KillSwitch):
                killed = data.reason if data.engaged else None
            elif isinstance(data, HaltStrategy):
                halted[data.strategy_id] = data.reason
    return Commands(killed, halted)


def last_event_ns(folder: Path) -> int | None:
    """Door time of the newest event that was stored; None before the first."""
    lasts = [
        pl.scan_parquet(part[-1].path).select(pl.col("ts_ns").max()).collect().item()
        for part in Segments(folder).of(DOOR).values()
    ]
    return max((one for one in lasts if one is not None), default=None)


def books(run: Run) -> pl.DataFrame:
    """The last snapshot of each strategy's book."""
    columns = (
        "strategy_id",
        "exec_mode",
        "equity",
        "cash",
        "realised",
        "unrealised",
        "charges",
        "gross_exposure",
        "net_exposure",
        "ts",
    )
    last = run.snapshots.group_by("exec_mode", "strategy_id", maintain_order=True).last()
    return last.filter(pl.col("strategy_id") != "*").select(columns).sort("exec_mode", "strategy_id")


def held(run: Run) -> pl.DataFrame:
    """The last change of each position; flat ones too, as they have realised profit."""
    last = run.positions.group_by("exec_mode", "strategy_id", "instrument_token", maintain_order=True).last()
    return last.join(
        run.instruments.select("instrument_token", "multiplier"), on="instrument_token", how="left", maintain_order="left"
    )


def positions(run: Run, prices: Mapping[int, float]) -> pl.DataFrame:
    """Positions at `prices`: quantity, average price, last price, value, unrealised, realised, charges.

    unrealised = quantity * last price * multiplier - cost; None where no price is known.
    """
    mark = pl.col("instrument_token").replace_strict(dict(prices), default=None, return_dtype=pl.Float64)
    value = pl.col("quantity") * pl.col("last_price") * pl.col("multiplier")
    frame = held(run).with_columns(mark.alias("last_price")).with_columns(value.alias("value"))
    frame = frame.with_columns(
        pl.when(pl.col("quantity") != 0).then(pl.col("value") - pl.col("cost")).otherwise(0.0).alias("unrealised")
    )
    columns = (
        "strategy_id", "symbol", "quantity", "average_price", "last_price", "value", "unrealised", "realised", "charges",
        "exec_mode",
    )  # fmt: skip
    return frame.select(columns).sort(pl.col("quantity") == 0, "strategy_id", "symbol")


def working(run: Run) -> pl.DataFrame:
    """Orders that may still be filled, newest first."""
    wanted = (
        "ts", "state", "strategy_id", "symbol", "order_type", "quantity", "remaining", "limit_price", "trigger_price",
        "reference_price", "validity", "product", "client_order_id", "exec_mode", "order_id",
    )  # fmt: skip
    return run.orders.filter(pl.col("state").is_in(WORKING_STATES)).select(wanted).reverse()


def totals(run: Run) -> dict[str, Any]:
    """The last snapshot of all books together; a session without one stands where it began."""
    names = ("equity", "realised", "unrealised", "charges", "gross_exposure", "net_exposure")
    if run.equity.height == 0:
        return dict.fromkeys(names, 0.0) | {"equity": run.start_equity, "ts": None}
    return run.equity.select(*names, "ts").row(-1, named=True)


def age(seconds: float) -> str:
    """For reading: 4 s, 3 min, 5 h, 2 d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def local_text(ts_ns: int | None, zone: str) -> str:
    """A time for reading, to the second, in `zone`."""
    if ts_ns is None:
        return "none"
    return datetime.fromtimestamp(ts_ns // 1_000_000_000, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")
