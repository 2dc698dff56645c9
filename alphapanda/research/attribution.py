"""Which decisions of two runs differ, and what each was worth: profit and loss attributed exactly.

A decision is a signal with all that came of it: what risk said, its orders, their fills; or what the engine did of itself
(square-off, settlement). Two runs' decisions are paired by the signal's `pos`. A fill is worth what it holds at the final
price, less what was paid for it and its charges:

    quantity * (final price - fill price) * multiplier - charges        in integers of 1e-8

Summed over all fills, with the start valued at the final prices, that is the equity at the end; so the differences of
changed decisions add up to the difference of the runs. What is left over is shown as `rest`: it is 0 but for multipliers
that are no whole numbers (each fill is rounded to 1e-8) and corporate actions, which change what was bought before them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from alphapanda.contracts.events import Pos, parse_pos
from alphapanda.core.ledger import E8, to_e8, value_e8
from alphapanda.pipeline import CANCELLED, FAILED, FILLED, GENERATED, PLACED, REJECTED, VALIDATED
from alphapanda.research.runs import Run

SIGNAL, RISK, EXECUTION, CHARGES = "signal", "risk", "execution", "charges"
_SIGNAL_FIELDS = ("instrument_token", "kind", "size", "reference_price", "note", "terms", "type", "error", "where")
CHANGED_SCHEMA: dict[str, Any] = {
    "id": pl.String, "ts": pl.Datetime("ns", "UTC"), "strategy_id": pl.String, "instrument_token": pl.Int64,
    "symbol": pl.String, "changed": pl.String, "a": pl.String, "b": pl.String, "quantity_a": pl.Int64, "quantity_b": pl.Int64,
    "pnl_a_e8": pl.Int64, "pnl_b_e8": pl.Int64, "difference_e8": pl.Int64,
}  # fmt: skip


@dataclass
class Decision:
    """One decision of one run."""

    key: str  # the signal's id; of what the engine did of itself, the order's
    ts: Any = None
    strategy_id: str = ""
    instrument_token: int | None = None
    signal: dict[str, Any] | None = None
    risk: list[tuple[Any, ...]] = field(default_factory=list)
    execution: list[tuple[Any, ...]] = field(default_factory=list)
    charges_e8: int = 0
    quantity: int = 0  # filled, signed
    value_e8: int = 0  # of its fills at the final price, less what was paid

    @property
    def pnl_e8(self) -> int:
        """What it was worth in the end."""
        return self.value_e8 - self.charges_e8

    @property
    def pos(self) -> Pos:
        """Its place in the order of decisions."""
        return parse_pos(self.key.partition(":")[0])

    def __str__(self) -> str:
        said = []
        if self.signal is not None:
            said.append(_said(self.signal))
        said += [" ".join(str(part) for part in one if part not in (None, "")) for one in self.risk]
        said += [" ".join(str(part) for part in one if part not in (None, "")) for one in self.execution]
        return "; ".join(said)


def decisions(run: Run, final: Mapping[int, float]) -> dict[str, Decision]:
    """Every decision of a run by its key; `final` is each traded instrument's last price."""
    found: dict[str, Decision] = {}
    for row in run.topic(GENERATED).iter_rows(named=True):
        one = found[row["id"]] = Decision(row["id"], row["ts"], row["strategy_id"], row["instrument_token"])
        one.signal = {name: row[name] for name in _SIGNAL_FIELDS if row.get(name) is not None}
    for row in run.topic(VALIDATED).iter_rows(named=True):
        _of(found, row).risk.append(("validated", row["action"], row["quantity"], _said(row["terms"])))
    for row in run.topic(REJECTED).iter_rows(named=True):
        _of(found, row).risk.append(("rejected", row["reason"], row["quantity"]))
    for row in run.topic(PLACED).iter_rows(named=True):
        if row["type"] == "OrderPlaced":
            _of(found, row)  # what the engine did of itself has no signal
        else:
            _of(found, row).execution.append((row["type"], row["id"], row["quantity"], row["limit_price"], row["trigger_price"]))
    multipliers = {token: round(one * E8) for token, one in run.instruments.select("instrument_token", "multiplier").iter_rows()}
    for row in run.topic(FILLED).iter_rows(named=True):
        _fill(_of(found, row), row, final, multipliers)
    for topic, what in ((CANCELLED, "cancelled"), (FAILED, "failed")):
        for row in run.topic(topic).iter_rows(named=True):
            _of(found, row).execution.append((what, row["id"], row["reason"], row["quantity"]))
    return found


def _of(found: dict[str, Decision], row: dict[str, Any]) -> Decision:
    key = row["signal_id"]
    one = found.get(key)
    if one is None:
        one = found[key] = Decision(key, row["ts"], row["strategy_id"], row["instrument_token"])
    return one


def _fill(one: Decision, row: dict[str, Any], final: Mapping[int, float], multipliers: Mapping[int, int]) -> None:
    token, quantity = row["instrument_token"], row["quantity"]
    one.execution.append(("filled", row["id"], quantity, row["price"]))
    paid_e8 = value_e8(to_e8(row["price"]), quantity, multipliers[token])
    one.value_e8 += value_e8(to_e8(final[token]), quantity, multipliers[token]) - paid_e8
    one.charges_e8 += sum(row["charges"].values())
    one.quantity += quantity


def changed(a: Mapping[str, Decision], b: Mapping[str, Decision]) -> Iterator[tuple[str, Decision | None, Decision | None]]:
    """Decisions that differ, in the order of their `pos`, with what differs first: signal, risk, execution or charges."""
    keys = sorted({*a, *b}, key=lambda key: (parse_pos(key.partition(":")[0]), key))
    for key in keys:
        one, other = a.get(key), b.get(key)
        what = _difference(one, other)
        if what is not None:
            yield what, one, other


def _difference(a: Decision | None, b: Decision | None) -> str | None:
    if a is None or b is None:
        there = a or b
        return SIGNAL if there is not None and there.signal is not None else EXECUTION
    for what, mine, theirs in ((SIGNAL, a.signal, b.signal), (RISK, a.risk, b.risk), (EXECUTION, a.execution, b.execution),
                               (CHARGES, a.charges_e8, b.charges_e8)):  # fmt: skip
        if mine != theirs:
            return what
    return None


def changed_frame(
    found: list[tuple[str, Decision | None, Decision | None]], symbols: Mapping[int, str], *, priced: bool
) -> pl.DataFrame:  # fmt: skip
    """Changed decisions as a frame (`CHANGED_SCHEMA`); without final prices their worth is None."""
    rows = []
    for what, a, b in found:
        one = a or b
        assert one is not None  # noqa: S101  # a changed decision is there in one of the two
        worth = [0 if side is None else side.pnl_e8 for side in (a, b)] if priced else [None, None]
        rows.append({
            "id": one.key, "ts": one.ts, "strategy_id": one.strategy_id, "instrument_token": one.instrument_token,
            "symbol": symbols.get(one.instrument_token or 0, ""), "changed": what, "a": None if a is None else str(a),
            "b": None if b is None else str(b), "quantity_a": 0 if a is None else a.quantity,
            "quantity_b": 0 if b is None else b.quantity, "pnl_a_e8": worth[0], "pnl_b_e8": worth[1],
            "difference_e8": None if worth[0] is None or worth[1] is None else worth[1] - worth[0],
        })  # fmt: skip
    frame = pl.DataFrame(rows, schema=CHANGED_SCHEMA)
    return frame.with_columns((pl.col("difference_e8") / E8).alias("difference"))


def _said(data: Any) -> str:
    """Fields that say something, for reading."""
    if not data:
        return ""
    left_out = ("instrument_token", "type")
    return ", ".join(f"{name} {value}" for name, value in data.items() if value not in (None, "") and name not in left_out)
