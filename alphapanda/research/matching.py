"""Fills matched into closed trades: first in first out, last in first out or at average cost, in three groupings.

`match` is general; round trips are `match(fills, method="average", grouping="flat_to_flat")`. Profit is exact, in integers of
1e-8, and the same in total for every method and grouping whenever the books are flat.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.core.ledger import E8, to_e8, value_e8
from alphapanda.core.lots import ChargeRule, Closed, Lots, Method
from alphapanda.research.excursions import Factor, Prices, Ranges, Splits, Step, by_token, has_seq, order_keys, parts, times_ns

_TIME = pl.Datetime("ns", "UTC")
TRADES: dict[str, pl.DataType | type[pl.DataType]] = {
    "exec_mode": pl.String, "strategy_id": pl.String, "instrument_token": pl.Int64, "entry_ts": _TIME, "exit_ts": _TIME,
    "duration_s": pl.Float64, "side": pl.String, "quantity": pl.Int64, "largest": pl.Int64, "entry_price": pl.Float64,
    "exit_price": pl.Float64, "entry_value_e8": pl.Int64, "gross_e8": pl.Int64, "charges_e8": pl.Int64, "net_e8": pl.Int64,
    "mae_e8": pl.Int64, "mfe_e8": pl.Int64,
}  # fmt: skip
AMOUNTS = ("entry_value", "gross", "charges", "net", "mae", "mfe")
LOTS = {name: TRADES[name] for name in ("exec_mode", "strategy_id", "instrument_token", "entry_ts", "quantity")} | {
    "price": pl.Float64, "cost_e8": pl.Int64, "charges_e8": pl.Int64,
}  # fmt: skip
_Choice = TypeVar("_Choice", bound=StrEnum)
_KEY = {"exec_mode": "", "strategy_id": "", "instrument_token": 0}


class Grouping(StrEnum):
    """What one trade is."""

    FILL_TO_FILL = "fill_to_fill"  # one for each lot, or part of a lot, that a fill closes
    FLAT_TO_REDUCED = "flat_to_reduced"  # one for each fill that closes something
    FLAT_TO_FLAT = "flat_to_flat"  # one from flat to flat; a reversal ends one and begins the next


class Excursions(StrEnum):
    """What MAE and MFE look at."""

    HELD = "held"  # the profit of the trade's own quantity at each price while it was held
    RANGE = "range"  # the whole quantity at the extreme prices since the position left flat, against the average entry price


class MatchError(AlphaPandaError):
    """Fills that cannot be matched, or a choice that does not exist; the message names the column or the choices."""


@dataclass
class _Book:
    """The fills of one instrument in one book, as columns."""

    key: tuple[str, str, int]
    multiplier_e8: int
    splits: Splits
    rows: list[int] = field(default_factory=list)
    ts_ns: list[int] = field(default_factory=list)
    quantities: list[int] = field(default_factory=list)
    notionals_e8: list[int] = field(default_factory=list)
    charges_e8: list[int] = field(default_factory=list)
    prices: list[float] = field(default_factory=list)
    ranges: Ranges | None = None


class _Trade(NamedTuple):
    """What is known of a trade when it closes; fills are numbers in the book."""

    entry: int
    exit: int
    since: int  # the fill by which the position left flat
    quantity: int  # signed
    largest: int
    cost_e8: int
    proceeds_e8: int
    charges_e8: int
    steps: list[Step]
    factor: Factor


class _Fill(NamedTuple):
    """A fill with what it did to the lots."""

    number: int
    since: int  # the fill by which the position that it met, or opened, left flat
    held: int  # signed, after it
    opened: int  # signed quantity that it opened
    opened_e8: int
    closed: list[Closed]
    factor: Factor
    splits: list[tuple[int, int]]  # new and old of those since the fill before


def match(
    fills: pl.DataFrame, *, method: Method | str = Method.FIFO, grouping: Grouping | str = Grouping.FILL_TO_FILL,
    multipliers_e8: Mapping[int, int] | None = None, prices: Prices | None = None,
    charges: ChargeRule | str = ChargeRule.SHARED, excursions: Excursions | str = Excursions.HELD,
    splits: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Closed trades of `fills`, in the order in which they closed. Columns: `TRADES`, and each `_e8` amount as a float.

    `fills`, in the order in which they happened: quantity (signed) and price; where they have them, ts, epoch and number,
    exec_mode, strategy_id, instrument_token (together they say whose position a fill changes), charges (a struct of `_e8`
    lines, or an amount) or charges_e8, multiplier (else `multipliers_e8` by token, else 1).

    `method`: which lot is closed first (`fifo`, `lifo`), or all of them alike (`average`). `grouping`: one trade for each lot
    that a fill closes (`fill_to_fill`), for each fill that closes something (`flat_to_reduced`; the entry is the earliest of
    the lots), or from flat to flat (`flat_to_flat`; quantity is all that was entered). At average cost the first two are the
    same, and the entry is the fill by which the position left flat.

    `charges`: `shared` by quantity, or `first`: a fill's charges go to the first trade that they concern. In `fill_to_fill`
    that is the first trade a lot has part in, and the first that a closing fill makes; else all since the trade before.

    MAE and MFE are profits before charges, in currency, MAE <= 0 <= MFE; null without `prices`. Prices are those of ticks
    from the trade's entry to its exit, both included, and of the book's own fills; an empty frame leaves the fills' alone.
    `excursions`: `held` is the profit of what the trade held at each price (what it had closed by then included), `range` the
    whole quantity at the extreme prices since the position left flat, against the average entry price. At average cost
    without `flat_to_flat`, `held` prices the closed quantity against its average cost since the position left flat.

    `splits`: instrument_token, ts, new, old (`new` units for every `old` at the first fill or tick at or past ts). Prices and
    quantities of a trade are in units of its exit.

    Source: LEAN's TradeBuilder (github.com/QuantConnect/Lean), whose figures are those of `charges="first"` and
    `excursions="range"`, up to its rounding to cents. Raises MatchError.
    """
    how, group = _choice(Method, method), _choice(Grouping, grouping)
    rule, look = _choice(ChargeRule, charges), _choice(Excursions, excursions)
    if rule is ChargeRule.FIRST and group is not Grouping.FILL_TO_FILL:
        rule = ChargeRule.POOLED
    books = _books(fills, multipliers_e8 or {}, splits)
    if prices is not None:
        _see(books, fills, prices)
    found = []
    for book in books:
        for trade in _GROUPED[group](_replayed(book, Lots(how, rule))):
            found.append((book.rows[trade.exit], book, trade))
    found.sort(key=lambda one: one[0])
    return with_amounts(pl.DataFrame([_row(book, trade, look) for _, book, trade in found], schema=TRADES, orient="row"))


def open_lots(
    fills: pl.DataFrame, *, method: Method | str = Method.FIFO, multipliers_e8: Mapping[int, int] | None = None,
    splits: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """What `fills` leave open, oldest lot first in each book: `LOTS`; price is for one unit, charges are those not yet borne.

    Takes what `match` takes. Raises MatchError.
    """
    how, rows = _choice(Method, method), []
    for book in _books(fills, multipliers_e8 or {}, splits):
        lots = Lots(how)
        for _ in _replayed(book, lots):
            pass
        for lot in lots.open:
            price = lot.cost_e8 / (lot.quantity * book.multiplier_e8)
            rows.append((*book.key, book.ts_ns[lot.entry], lot.quantity, price, lot.cost_e8, lot.charges_e8))
    return pl.DataFrame(rows, schema=LOTS, orient="row")


def with_amounts(frame: pl.DataFrame) -> pl.DataFrame:
    """Beside each exact `_e8` amount of a trade, the same as a float."""
    made = [pl.Series(name, frame[f"{name}_e8"].to_numpy() / E8, nan_to_null=True) for name in AMOUNTS]
    return frame.with_columns(one.cast(pl.Float64) for one in made)


def _choice(kind: type[_Choice], value: str) -> _Choice:
    try:
        return kind(value)
    except ValueError as error:
        raise MatchError(f"{value!r} is none of {', '.join(kind)}") from error


def _books(fills: pl.DataFrame, multipliers_e8: Mapping[int, int], splits: pl.DataFrame | None) -> list[_Book]:
    """The fills of each book, in the order of each one's first."""
    if missing := {"quantity", "price"} - set(fills.columns):
        raise MatchError(f"fills have no {' and no '.join(sorted(missing))}")
    absent = {name: pl.lit(value) for name, value in _KEY.items() if name not in fills.columns}
    keys = fills.with_columns(**absent).select(*_KEY)
    columns = (keys.rows(), times_ns(fills).tolist(), fills["quantity"], fills["price"], _charges_e8(fills),
               _multipliers_e8(fills, keys["instrument_token"], multipliers_e8))  # fmt: skip
    made, divided = dict[tuple[str, str, int], _Book](), _splits(splits)
    for row, (key, ts_ns, quantity, price, paid_e8, multiplier_e8) in enumerate(zip(*columns, strict=True)):
        book = made.get(key)
        if book is None:
            book = made[key] = _Book(key, multiplier_e8, divided.get(key[2], Splits()))
        book.rows.append(row)
        book.ts_ns.append(ts_ns)
        book.quantities.append(quantity)
        book.notionals_e8.append(value_e8(to_e8(price), quantity, multiplier_e8))
        book.charges_e8.append(paid_e8)
        book.prices.append(price)
    return list(made.values())


def _charges_e8(fills: pl.DataFrame) -> pl.Series:
    if "charges_e8" in fills.columns:
        return fills["charges_e8"]
    if "charges" not in fills.columns:
        return pl.repeat(0, fills.height, dtype=pl.Int64, eager=True)
    if isinstance(fills.schema["charges"], pl.Struct):
        lines = fills["charges"].struct.unnest()
        return lines.select(pl.sum_horizontal(pl.all()).cast(pl.Int64)).to_series()
    return (fills["charges"] * E8).round().cast(pl.Int64)


def _multipliers_e8(fills: pl.DataFrame, tokens: pl.Series, given_e8: Mapping[int, int]) -> list[int]:
    if given_e8:
        if missing := set(tokens) - set(given_e8):
            raise MatchError(f"there is no multiplier for {', '.join(map(str, sorted(missing)))}")
        return [given_e8[token] for token in tokens]
    if "multiplier" in fills.columns:
        return [round(multiplier * E8) for multiplier in fills["multiplier"]]
    return [E8] * fills.height


def _splits(splits: pl.DataFrame | None) -> dict[int, Splits]:
    rows = dict[int, list[tuple[int, int, int]]]()
    if splits is not None:
        columns = (splits["instrument_token"], times_ns(splits).tolist(), splits["new"], splits["old"])
        for token, ts_ns, new, old in zip(*columns, strict=True):
            rows.setdefault(token, []).append((ts_ns, new, old))
    return {token: Splits(some) for token, some in rows.items()}


def _see(books: list[_Book], fills: pl.DataFrame, prices: Prices) -> None:
    """Give each book the range of prices between its fills."""
    splits = {book.key[2]: book.splits for book in books}
    by_seq = None
    for part in parts(prices):
        if by_seq is None:
            by_seq = has_seq(fills) and has_seq(part)
            if part.height and not by_seq and not {"ts", "ts_ns"} & set(fills.columns):
                raise MatchError("fills have no ts: ticks cannot be put between them")
            _ranges(books, fills, by_seq)
        for token, keys, price in by_token(part, splits, by_seq):
            for book in books:
                if book.key[2] == token and book.ranges is not None:
                    book.ranges.see(keys, price)
    if by_seq is None:
        _ranges(books, fills, by_seq=False)


def _ranges(books: list[_Book], fills: pl.DataFrame, by_seq: bool) -> None:
    keys = order_keys(fills, by_seq)
    for book in books:
        price = book.splits.adjusted(np.asarray(book.ts_ns, np.int64), np.asarray(book.prices, np.float64))
        book.ranges = Ranges(keys[book.rows], price)


def _replayed(book: _Book, lots: Lots) -> Iterator[_Fill]:
    """Each fill with what it closed and opened."""
    since, held, factor, pending = 0, 0, Factor(), list(reversed(book.splits.rows))
    columns = zip(book.ts_ns, book.quantities, book.notionals_e8, book.charges_e8, strict=True)
    for number, (ts_ns, quantity, notional_e8, charges_e8) in enumerate(columns):
        due = []
        while pending and pending[-1][0] <= ts_ns:
            due.append(pending.pop()[1:])
            lots.split(*due[-1])
            factor, held = factor.times(*due[-1]), lots.quantity
        closed = lots.fill(quantity, notional_e8, charges_e8)
        if held == 0:
            since = number
        opened = quantity + sum(part.quantity for part in closed)
        opened_e8 = notional_e8 + sum(part.proceeds_e8 for part in closed)
        held += quantity
        yield _Fill(number, since, held, opened, opened_e8, closed, factor, due)
        if closed and opened:
            since = number


def _fill_to_fill(fills: Iterator[_Fill]) -> Iterator[_Trade]:
    for fill in fills:
        for part in fill.closed:
            steps = [Step(part.entry, part.exit, part.quantity, part.cost_e8, fill.factor)]
            yield _Trade(part.entry, part.exit, fill.since, part.quantity, abs(part.quantity), part.cost_e8, part.proceeds_e8,
                         part.charges_e8, steps, fill.factor)  # fmt: skip


def _flat_to_reduced(fills: Iterator[_Fill]) -> Iterator[_Trade]:
    for fill in fills:
        if not fill.closed:
            continue
        closed, quantity, cost_e8, steps = sorted(fill.closed), 0, 0, []
        for part, stop in zip(closed, [*(one.entry for one in closed[1:]), fill.number], strict=True):
            quantity, cost_e8 = quantity + part.quantity, cost_e8 + part.cost_e8
            steps.append(Step(part.entry, stop, quantity, cost_e8, fill.factor))
        proceeds_e8, charges_e8 = sum(one.proceeds_e8 for one in closed), sum(one.charges_e8 for one in closed)
        yield _Trade(closed[0].entry, fill.number, fill.since, quantity, abs(quantity), cost_e8, proceeds_e8, charges_e8, steps,
                     fill.factor)  # fmt: skip


@dataclass
class _Trip:
    """From flat on."""

    since: int
    entered: int = 0
    largest: int = 0
    cost_e8: int = 0
    proceeds_e8: int = 0
    charges_e8: int = 0
    steps: list[Step] = field(default_factory=list)

    def split(self, new: int, old: int) -> None:
        self.entered, self.largest = self.entered * new // old, self.largest * new // old

    def closed(self, fill: _Fill, sign: int) -> _Trade:
        return _Trade(self.since, fill.number, self.since, sign * self.entered, self.largest, self.cost_e8, self.proceeds_e8,
                      self.charges_e8, self.steps, fill.factor)  # fmt: skip


def _flat_to_flat(fills: Iterator[_Fill]) -> Iterator[_Trade]:
    trip, held, factor = _Trip(0), 0, Factor()
    for fill in fills:
        if fill.since == fill.number:
            trip = _Trip(fill.number)
        elif held:
            trip.steps.append(Step(fill.number - 1, fill.number, held, trip.cost_e8 - trip.proceeds_e8, factor))
        for new, old in fill.splits:
            trip.split(new, old)
        trip.proceeds_e8 += sum(part.proceeds_e8 for part in fill.closed)
        trip.charges_e8 += sum(part.charges_e8 for part in fill.closed)
        if fill.closed and (fill.opened or fill.held == 0):
            yield trip.closed(fill, 1 if fill.closed[0].quantity > 0 else -1)
            trip = _Trip(fill.number)
        held, factor = fill.held, fill.factor
        trip.entered, trip.cost_e8 = trip.entered + abs(fill.opened), trip.cost_e8 + fill.opened_e8
        trip.largest = max(trip.largest, abs(held))


_GROUPED: dict[Grouping, Callable[[Iterator[_Fill]], Iterator[_Trade]]] = {
    Grouping.FILL_TO_FILL: _fill_to_fill, Grouping.FLAT_TO_REDUCED: _flat_to_reduced, Grouping.FLAT_TO_FLAT: _flat_to_flat,
}  # fmt: skip


def _row(book: _Book, trade: _Trade, look: Excursions) -> tuple[object, ...]:
    """A row of `TRADES`."""
    entry_ns, exit_ns = book.ts_ns[trade.entry], book.ts_ns[trade.exit]
    size, unit = trade.quantity, book.multiplier_e8
    gross_e8, steps = trade.proceeds_e8 - trade.cost_e8, trade.steps
    if look is Excursions.RANGE:
        steps = [Step(trade.since, trade.exit, size, trade.cost_e8, trade.factor)]
    mae_e8, mfe_e8 = (None, None) if book.ranges is None else book.ranges.excursion_e8(steps, unit)
    return (
        *book.key, entry_ns, exit_ns, (exit_ns - entry_ns) / 1e9, "long" if size > 0 else "short", abs(size), trade.largest,
        trade.cost_e8 / (size * unit), trade.proceeds_e8 / (size * unit), abs(trade.cost_e8), gross_e8, trade.charges_e8,
        gross_e8 - trade.charges_e8, mae_e8, mfe_e8,
    )  # fmt: skip
