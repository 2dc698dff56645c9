"""Round trips: from flat to flat in one instrument of one book. A reversal ends one and begins the next."""

from collections.abc import Mapping

import polars as pl

from alphapanda.core.lots import Method
from alphapanda.research.excursions import Prices
from alphapanda.research.matching import AMOUNTS, TRADES, Grouping, match

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    **{name: TRADES[name] for name in ("exec_mode", "strategy_id", "instrument_token", "entry_ts", "exit_ts", "duration_s")},
    "side": pl.String, "quantity": pl.Int64, "entered": pl.Int64,
    **{name: TRADES[name] for name in ("entry_price", "exit_price", *(f"{name}_e8" for name in AMOUNTS))},
    **dict.fromkeys((*AMOUNTS, "return"), pl.Float64),
}  # fmt: skip
"""`quantity` is the largest held, `entered` all that was bought (of a short: sold) on the way, at `entry_price` on average;
`return` is net profit over the entry value; amounts in currency, the same with `_e8` in exact integers of 1e-8."""


def round_trips(
    fills: pl.DataFrame, multipliers_e8: Mapping[int, int], prices: Prices | None = None, splits: pl.DataFrame | None = None
) -> pl.DataFrame:  # fmt: skip
    """Closed round trips of `fills` (in `pos` order), in the order in which they closed, with exact profit. Schema: `SCHEMA`.

    A fill that reverses shares its charges between the two trips by quantity; the later trip takes the remainder. MAE and MFE
    are the least and the greatest profit of the trip before charges (closed quantity included) at each of `prices` while it was
    open and at its own fills, MAE <= 0 <= MFE; null without `prices`. A position that was held before the run is a fill at the
    start: put one, at its cost and without charges, before the others. See `match` for the frames that it takes. Raises
    MatchError.
    """
    found = match(
        fills, method=Method.AVERAGE, grouping=Grouping.FLAT_TO_FLAT, multipliers_e8=multipliers_e8, prices=prices, splits=splits
    )
    return with_return(found.rename({"quantity": "entered", "largest": "quantity"})).select(SCHEMA.keys())


def with_return(trades: pl.DataFrame) -> pl.DataFrame:
    """Beside each trade its return: net profit over entry value, null without value."""
    value = pl.col("entry_value")
    return trades.with_columns(pl.when(value > 0).then(pl.col("net") / value).alias("return"))
