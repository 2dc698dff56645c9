"""A run's closed trades and statistics, made of all that the run knows.

To its fills come the positions that its books began with, splits and bonuses, the prices of the tape (for MAE and MFE) and
what buying and holding would have been worth (for figures against a benchmark). Without the tape, these two are None; of a
session that still grows the ticks are not read either, as it is looked at again and again.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from alphapanda.core.corporate_actions import ActionKind, CorporateAction, factor_of
from alphapanda.core.ledger import E8
from alphapanda.core.lots import ChargeRule, Method
from alphapanda.pipeline import FILLED
from alphapanda.research.matching import Excursions, Grouping, match, open_lots
from alphapanda.research.performance import Statistic, statistics
from alphapanda.research.prices import NoPricesError, benchmark_closes, tick_parts
from alphapanda.research.round_trips import round_trips, with_return
from alphapanda.research.runs import Run
from alphapanda.research.statistic import FEWEST_SESSIONS

_COLUMNS = ("ts", "epoch", "number", "exec_mode", "strategy_id", "instrument_token", "quantity", "price")


def round_trips_of(run: Run) -> pl.DataFrame:
    """The run's round trips (`round_trips`), with MAE and MFE where its tape is at hand."""
    fills = fills_of(run)
    return round_trips(fills, multipliers_of(run), ticks_of(run) if fills.height else None, splits_of(run))


def trades_of(
    run: Run, *, method: Method | str = Method.FIFO, grouping: Grouping | str = Grouping.FILL_TO_FILL,
    charges: ChargeRule | str = ChargeRule.SHARED, excursions: Excursions | str = Excursions.HELD,
) -> pl.DataFrame:  # fmt: skip
    """The run's closed trades by any method and grouping (see `match`), each with its `symbol` and its `return`.

    The return is net profit over entry value, a fraction, null without value. Raises MatchError for a choice that does not
    exist.
    """
    fills = fills_of(run)
    found = match(
        fills, method=method, grouping=grouping, multipliers_e8=multipliers_of(run), splits=splits_of(run), charges=charges,
        excursions=excursions, prices=ticks_of(run) if fills.height else None,
    )  # fmt: skip
    return run.with_symbol(with_return(found))


def lots_of(run: Run, method: Method | str = Method.FIFO) -> pl.DataFrame:
    """What the run left open, lot by lot, with symbols: see `open_lots`. Raises MatchError for a method that does not exist."""
    return run.with_symbol(open_lots(fills_of(run), method=method, multipliers_e8=multipliers_of(run), splits=splits_of(run)))


def statistics_of(run: Run) -> dict[str, Statistic]:
    """Every figure of the run, against buying and holding what it traded where it has twenty sessions and its tape."""
    few = run.equity.filter(pl.col("reason") == "end")["ts"].n_unique() < FEWEST_SESSIONS
    benchmark = None if few else benchmark_closes(run)  # with few sessions no figure comes of it: the tape is not read
    return statistics(run.equity, run.fills, run.round_trips, run.start_equity, benchmark)


def multipliers_of(run: Run) -> dict[int, int]:
    """By token, in 1e-8."""
    rows = run.instruments.select("instrument_token", "multiplier").iter_rows()
    return {token: round(multiplier * E8) for token, multiplier in rows}


def fills_of(run: Run) -> pl.DataFrame:
    """The run's fills with their charges, after what its books began with as fills at their cost before the run's first day."""
    frame = run.topic(FILLED)
    charges = pl.sum_horizontal(pl.col("charges").struct.unnest()).cast(pl.Int64).alias("charges_e8")
    fills = frame.select(*_COLUMNS, charges)
    opening = _opening(run, fills)
    return pl.concat([pl.DataFrame(opening, schema=fills.schema, orient="row"), fills]) if opening else fills


def _opening(run: Run, fills: pl.DataFrame) -> list[tuple[Any, ...]]:
    positions, first = run.manifest["settings"]["portfolio"].get("positions", ()), _first_day(run, fills)
    if not positions or first is None:
        return []
    tokens = dict(run.instruments.select("symbol", "instrument_token").iter_rows())
    only = run.manifest["strategies"][0]["strategy_id"]
    modes = fills.select("strategy_id", "exec_mode").unique(maintain_order=True).rows()
    made = []
    for one in positions:
        owner = one["strategy_id"] or only
        for mode in [mode for name, mode in modes if name == owner] or ["paper"]:
            row = (mode, owner, tokens[one["symbol"]], one["quantity"], one["average_price"])
            made.append((_midnight(run, first) - timedelta(microseconds=1), 0, 0, *row, 0))
    return made


def splits_of(run: Run) -> pl.DataFrame | None:
    """Splits and bonuses of the run's settings, each from local midnight of its ex-date; None without any."""
    actions = run.manifest["settings"]["portfolio"].get("corporate_actions", ())
    tokens = dict(run.instruments.select("symbol", "instrument_token").iter_rows())
    made = [
        CorporateAction(tokens[one["symbol"]], one["ex_date"], ActionKind(one["kind"]), one["new"], one["old"])
        for one in actions if one["kind"] != ActionKind.DIVIDEND
    ]  # fmt: skip
    rows = [(one.instrument_token, _midnight(run, date.fromisoformat(one.ex_date)), *factor_of(one)) for one in made]
    return pl.DataFrame(rows, schema=["instrument_token", "ts", "new", "old"], orient="row") if rows else None


def ticks_of(run: Run) -> Iterator[pl.DataFrame] | None:
    """The tape's ticks, part by part; None where they are not at hand."""
    if run.manifest["tape"]["digest"] is None:
        return None
    try:
        return tick_parts(run)
    except NoPricesError:
        return None


def _first_day(run: Run, fills: pl.DataFrame) -> date | None:
    firsts = [one for one in (run.equity["ts"].min(), fills["ts"].min()) if isinstance(one, datetime)]
    return min(firsts).astimezone(_zone(run)).date() if firsts else None


def _midnight(run: Run, day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=_zone(run)).astimezone(UTC)


def _zone(run: Run) -> ZoneInfo:
    return ZoneInfo(run.manifest["tape"]["zone"])
