"""Round trips: from flat to flat in one instrument of one book. A reversal ends one and begins the next."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from alphapanda.core.ledger import E8, Position, to_e8, value_e8

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "exec_mode": pl.String, "strategy_id": pl.String, "instrument_token": pl.Int64, "entry_ts": pl.Datetime("ns", "UTC"),
    "exit_ts": pl.Datetime("ns", "UTC"), "side": pl.String, "quantity": pl.Int64, "gross_e8": pl.Int64,
    "charges_e8": pl.Int64, "net_e8": pl.Int64, "net": pl.Float64,
}  # fmt: skip


@dataclass
class _Open:
    position: Position
    entry_ts: Any
    largest: int
    charges_e8: int


def round_trips(fills: pl.DataFrame, multipliers_e8: dict[int, int]) -> pl.DataFrame:
    """Closed round trips of `fills` (in `pos` order), with exact profit in 1e-8.

    A fill that reverses shares its charges between the two trips by quantity; the later trip takes the remainder.
    `quantity` is the largest held. Schema: `SCHEMA`.
    """
    trips: list[dict[str, Any]] = []
    open_: dict[tuple[str, str, int], _Open] = {}
    for row in fills.iter_rows(named=True):
        key = row["exec_mode"], row["strategy_id"], row["instrument_token"]
        charges_e8 = sum(row["charges"].values())
        for quantity, paid_e8 in _parts(open_.get(key), row["quantity"], charges_e8):
            trip = open_.get(key)
            if trip is None:
                trip = open_[key] = _Open(Position(), row["ts"], 0, 0)
            notional_e8 = value_e8(to_e8(row["price"]), quantity, multipliers_e8[key[2]])
            trip.position.fill(quantity, notional_e8)
            trip.charges_e8 += paid_e8
            trip.largest = max(trip.largest, trip.position.quantity, -trip.position.quantity)
            if trip.position.quantity == 0:
                trips.append(_closed(key, open_.pop(key), row["ts"], quantity))
    return pl.DataFrame(trips, schema=SCHEMA)


def _parts(trip: _Open | None, quantity: int, charges_e8: int) -> list[tuple[int, int]]:
    """A fill, or, where it reverses, its closing and its opening part, each with its charges."""
    held = trip.position.quantity if trip is not None else 0
    if held * quantity >= 0 or abs(quantity) <= abs(held):
        return [(quantity, charges_e8)]
    closing_e8 = charges_e8 * abs(held) // abs(quantity)
    return [(-held, closing_e8), (quantity + held, charges_e8 - closing_e8)]


def _closed(key: tuple[str, str, int], trip: _Open, exit_ts: Any, last_quantity: int) -> dict[str, Any]:
    gross_e8 = trip.position.realised_e8
    net_e8 = gross_e8 - trip.charges_e8
    return {
        "exec_mode": key[0], "strategy_id": key[1], "instrument_token": key[2], "entry_ts": trip.entry_ts, "exit_ts": exit_ts,
        "side": "long" if last_quantity < 0 else "short", "quantity": trip.largest, "gross_e8": gross_e8,
        "charges_e8": trip.charges_e8, "net_e8": net_e8, "net": net_e8 / E8,
    }  # fmt: skip
