"""Orders as they ended: one row an order, from what was placed, changed, filled, cancelled and refused.

States are those of `core.lifecycle`; an order still working at the end of the tape is `open`, `partially_filled` or
`trigger_pending`.
"""

import polars as pl

from alphapanda.core.lifecycle import EXPIRY_REASONS, OrderState

S = OrderState
WORKING_STATES = (S.OPEN.value, S.PARTIALLY_FILLED.value, S.TRIGGER_PENDING.value)
"""States in which an order may still be filled."""
_KEY = "order_id"


def order_history(placed: pl.DataFrame, fills: pl.DataFrame, cancelled: pl.DataFrame, failed: pl.DataFrame) -> pl.DataFrame:
    """Topics orders.placed (with modifications and triggers), .filled, .cancelled and .failed, in `pos` order, as orders.

    The columns of `OrderPlaced`, with quantity, limit and trigger as last modified, and placed_quantity, filled_quantity
    (signed), remaining (signed; 0 once the order ended), average_price (None without a fill), fills, charges_e8,
    modifications, triggered_ts, state, reason (of its cancellation or refusal), end_ts (None while it works).
    """
    frame = placed.filter(pl.col("type") == "OrderPlaced")
    for more in (_modified(placed), _triggered(placed), _filled(fills), _ended(cancelled, failed)):
        frame = frame.join(more, on=_KEY, how="left", maintain_order="left")
    filled = pl.col("filled_quantity").fill_null(0)
    complete = pl.col("_remaining") == 0
    changed = pl.col("modifications").is_not_null()
    pending = pl.col("trigger_price").is_not_null() & pl.col("triggered_ts").is_null()
    state = (
        pl.when(complete).then(pl.lit(S.FILLED.value)).when(pl.col("_state").is_not_null()).then(pl.col("_state"))
        .when(filled != 0).then(pl.lit(S.PARTIALLY_FILLED.value))
        .when(pending).then(pl.lit(S.TRIGGER_PENDING.value)).otherwise(pl.lit(S.OPEN.value))
    )  # fmt: skip
    quantity = pl.coalesce("_quantity", "quantity")
    frame = frame.with_columns(
        state.alias("state"), pl.col("quantity").alias("placed_quantity"), quantity.alias("quantity"),
        *(pl.when(changed).then(f"_{name}").otherwise(name).alias(name) for name in ("limit_price", "trigger_price")),
        filled.alias("filled_quantity"), *(pl.col(name).fill_null(0) for name in ("fills", "charges_e8", "modifications")),
    )  # fmt: skip
    works = pl.col("state").is_in(WORKING_STATES)
    left = pl.when(works).then(pl.col("quantity") - pl.col("filled_quantity")).otherwise(0)
    end = pl.when(pl.col("state") == S.FILLED.value).then(pl.col("_last_ts")).otherwise(pl.col("_end_ts"))
    return frame.with_columns(left.alias("remaining"), end.alias("end_ts")).drop(pl.selectors.starts_with("_"))


def _modified(placed: pl.DataFrame) -> pl.DataFrame:
    """What each order was changed to last, and how often it was."""
    last = [pl.col(name).last().alias(f"_{name}") for name in ("quantity", "limit_price", "trigger_price")]
    changes = placed.filter(pl.col("type") == "OrderModified")
    return changes.group_by(_KEY, maintain_order=True).agg(*last, pl.len().cast(pl.Int64).alias("modifications"))


def _triggered(placed: pl.DataFrame) -> pl.DataFrame:
    return placed.filter(pl.col("type") == "OrderTriggered").select(_KEY, pl.col("ts").alias("triggered_ts")).unique(_KEY)


def _filled(fills: pl.DataFrame) -> pl.DataFrame:
    quantity, value = pl.col("quantity"), pl.col("price") * pl.col("quantity")
    charges = pl.sum_horizontal(pl.col("charges").struct.unnest())
    return fills.with_columns(charges.alias("_charges")).group_by(_KEY, maintain_order=True).agg(
        quantity.sum().alias("filled_quantity"), (value.sum() / quantity.sum()).alias("average_price"),
        pl.len().cast(pl.Int64).alias("fills"), pl.col("_charges").sum().alias("charges_e8"),
        pl.col("remaining").last().alias("_remaining"), pl.col("ts").last().alias("_last_ts"),
    )  # fmt: skip


def _ended(cancelled: pl.DataFrame, failed: pl.DataFrame) -> pl.DataFrame:
    """How what was not filled ended. A change that failed has an id of its own, and ends no order."""
    expired = pl.col("reason").is_in(sorted(EXPIRY_REASONS))
    how = pl.when(expired).then(pl.lit(S.EXPIRED.value)).otherwise(pl.lit(S.CANCELLED.value))
    parts = [
        frame.select(_KEY, state.alias("_state"), "reason", pl.col("ts").alias("_end_ts"))
        for frame, state in ((cancelled, how), (failed, pl.lit(S.REJECTED.value)))
    ]
    return pl.concat(parts).unique(_KEY, keep="first", maintain_order=True)
