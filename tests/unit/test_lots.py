"""Fills matched into closed trades: exact money, three methods, three groupings, excursions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapanda.contracts.errors import ContractError
from alphapanda.core.corporate_actions import ActionKind, CorporateAction, act
from alphapanda.core.ledger import E8, Position, opened, value_e8
from alphapanda.core.lots import ChargeRule, Lots, Method
from alphapanda.research.matching import Grouping, MatchError, match, open_lots
from alphapanda.research.round_trips import round_trips

unhurried = settings(deadline=None)  # a shared machine may be busy

FILLS = st.lists(
    st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 10**12), st.integers(0, 10**9)), min_size=1, max_size=40
)
MULTIPLIERS = st.sampled_from([E8, 50 * E8, E8 // 1000, 3 * E8 // 7])
METHODS = st.sampled_from(list(Method))
START = datetime(2015, 8, 6, 15, 30, tzinfo=UTC)


# What lots do with money


@unhurried
@given(FILLS, MULTIPLIERS)
def test_every_method_has_realised_the_same_whenever_flat(fills: list[tuple[int, int, int]], multiplier_e8: int) -> None:
    """To the last unit, also with multipliers that round, and with charges."""
    lots, sums = {method: Lots(method) for method in Method}, {method: [0, 0] for method in Method}
    position, cash_e8, charged_e8 = Position(), 0, 0
    closing = (-sum(quantity for quantity, _, _ in fills), 77_777_777, 13)
    for quantity, price_e8, charges_e8 in [*fills, closing] if closing[0] else fills:
        notional_e8 = value_e8(price_e8, quantity, multiplier_e8)
        position.fill(quantity, notional_e8)
        cash_e8, charged_e8 = cash_e8 - notional_e8, charged_e8 + charges_e8
        for method, one in lots.items():
            for part in one.fill(quantity, notional_e8, charges_e8):
                sums[method][0] += part.realised_e8
                sums[method][1] += part.charges_e8
        if position.quantity == 0:
            assert list(sums.values()) == [[position.realised_e8, charged_e8]] * 3
            assert position.realised_e8 == cash_e8


@unhurried
@given(FILLS, MULTIPLIERS)
def test_at_average_cost_lots_realise_what_a_position_does(fills: list[tuple[int, int, int]], multiplier_e8: int) -> None:
    """After each fill, not only when flat, and rounded alike."""
    lots, position = Lots(Method.AVERAGE), Position()
    for quantity, price_e8, _ in fills:
        notional_e8 = value_e8(price_e8, quantity, multiplier_e8)
        realised_e8 = position.fill(quantity, notional_e8)
        assert sum(part.realised_e8 for part in lots.fill(quantity, notional_e8)) == realised_e8
        assert (lots.quantity, lots.cost_e8) == (position.quantity, position.cost_e8)


@unhurried
@given(FILLS, METHODS, st.sampled_from(list(ChargeRule)))
def test_charges_are_borne_once(fills: list[tuple[int, int, int]], method: Method, rule: ChargeRule) -> None:
    """What closed parts bore, open lots carry and the pool holds is what was charged."""
    lots = Lots(method, rule)
    borne_e8 = sum(part.charges_e8 for fill in fills for part in lots.fill(fill[0], fill[0] * fill[1], fill[2]))
    assert borne_e8 + sum(lot.charges_e8 for lot in lots.open) + lots.pool_e8 == sum(charges_e8 for _, _, charges_e8 in fills)


def test_the_oldest_the_newest_or_all_alike() -> None:
    """1 at 10, 1 at 20, then one sold at 25."""
    realised = []
    for method in Method:
        lots = Lots(method)
        lots.fill(1, 10)
        lots.fill(1, 20)
        realised.append([part.realised_e8 for part in lots.fill(-1, -25)])
    assert realised == [[15], [5], [10]]


def test_a_lot_of_nothing_is_refused() -> None:
    """As by a position."""
    with pytest.raises(ContractError, match="quantity 0"):
        Lots().fill(0, 0)


@unhurried
@given(st.integers(-1000, 1000).filter(bool), st.integers(1, 10**9), st.integers(1, 5), st.integers(1, 5))
def test_a_split_does_to_a_lot_what_it_does_to_a_book(quantity: int, cost_e8: int, new: int, old: int) -> None:
    """Quantity and cost, the dropped fraction included."""
    book, lots = opened(0), Lots()
    book.fill(1, quantity, quantity * cost_e8, 0)
    lots.fill(quantity, quantity * cost_e8)
    act(book, CorporateAction(1, "2024-03-01", ActionKind.SPLIT, new, old))
    lots.split(new, old)
    assert (lots.quantity, lots.cost_e8) == (book.positions[1].quantity, book.positions[1].cost_e8)


@unhurried
@given(FILLS, METHODS, st.sampled_from(list(Grouping)), MULTIPLIERS)
def test_trades_and_open_lots_account_for_all_cash_and_charges(
    fills: list[tuple[int, int, int]], method: Method, grouping: Grouping, multiplier_e8: int
) -> None:
    """Profit of the closed trades = cash + cost of the open lots, in each grouping that closes with every fill."""
    frame = pl.DataFrame(fills, schema=["quantity", "price", "charges_e8"], orient="row").with_columns(
        pl.col("price") // 10**6 / 100
    )
    trades = match(frame, method=method, grouping=grouping, multipliers_e8={0: multiplier_e8})
    left = open_lots(frame, method=method, multipliers_e8={0: multiplier_e8})
    notionals_e8 = [value_e8(round(price * E8), quantity, multiplier_e8) for quantity, price, _ in frame.rows()]
    if grouping is not Grouping.FLAT_TO_FLAT or left.height == 0:
        assert trades["gross_e8"].sum() == left["cost_e8"].sum() - sum(notionals_e8)
        assert trades["charges_e8"].sum() + left["charges_e8"].sum() == frame["charges_e8"].sum()
    assert (trades["net_e8"] == trades["gross_e8"] - trades["charges_e8"]).all()


# Known answers: LEAN, Tests/Common/Statistics/TradeBuilderTests.cs (Apache-2.0). Minutes after the start, thousands of units.

SEQUENCES = {
    "scale in, all out": ([(0, 1, 1.08), (10, 1, 1.07), (20, -2, 1.09)], [(5, 1.075), (15, 1.065), (16, 1.10)]),
    "all in, scale out": ([(0, 2, 1.07), (10, -1, 1.08), (20, -1, 1.09)], [(5, 1.075), (15, 1.065), (16, 1.10)]),
    "reversal": ([(0, 1, 1.07), (10, -2, 1.08), (20, 1, 1.09)], [(5, 1.075), (15, 1.065), (16, 1.10)]),
    "in and out 1": (
        [(0, 1, 1.07), (10, 1, 1.08), (20, -1, 1.09), (30, 1, 1.08), (40, -2, 1.09)], [(5, 1.075), (15, 1.065), (16, 1.10)],
    ),
    "in and out 2": (
        [(0, 1, 1.07), (10, 2, 1.08), (20, -1, 1.09), (30, 1, 1.08), (40, -3, 1.09)], [(5, 1.075), (15, 1.065), (16, 1.10)],
    ),
    "in and out 3": (
        [(0, 1, 1.07), (10, 1, 1.08), (20, 1, 1.09), (30, -2, 1.10), (40, 1, 1.08), (50, -2, 1.09)],
        [(5, 1.075), (15, 1.065), (16, 1.10)],
    ),
    "in and out 4": (
        [(0, 1, 1.07), (10, 1, 1.08), (20, -1.5, 1.09), (30, -0.5, 1.10)], [(5, 1.075), (15, 1.065), (16, 1.10)]
    ),
}  # fmt: skip
LONG = {  # entry, entry price, thousands, exit, exit price, profit, MAE, MFE of what was bought first
    ("scale in, all out", "fill_to_fill", "fifo"): [(0, 1.08, 1, 20, 1.09, 10, -15, 20), (10, 1.07, 1, 20, 1.09, 20, -5, 30)],
    ("scale in, all out", "fill_to_fill", "lifo"): [(10, 1.07, 1, 20, 1.09, 20, -5, 30), (0, 1.08, 1, 20, 1.09, 10, -15, 20)],
    ("scale in, all out", "flat_to_flat", "fifo"): [(0, 1.075, 2, 20, 1.09, 30, -20, 50)],
    ("scale in, all out", "flat_to_reduced", "lifo"): [(0, 1.075, 2, 20, 1.09, 30, -20, 50)],
    ("all in, scale out", "flat_to_flat", "lifo"): [(0, 1.07, 2, 20, 1.085, 30, -10, 60)],
    ("all in, scale out", "fill_to_fill", "fifo"): [(0, 1.07, 1, 10, 1.08, 10, 0, 10), (0, 1.07, 1, 20, 1.09, 20, -5, 30)],
    ("all in, scale out", "flat_to_reduced", "lifo"): [(0, 1.07, 1, 10, 1.08, 10, 0, 10), (0, 1.07, 1, 20, 1.09, 20, -5, 30)],
    ("in and out 1", "fill_to_fill", "fifo"): [
        (0, 1.07, 1, 20, 1.09, 20, -5, 30), (10, 1.08, 1, 40, 1.09, 10, -15, 20), (30, 1.08, 1, 40, 1.09, 10, -15, 20),
    ],
    ("in and out 1", "fill_to_fill", "lifo"): [
        (10, 1.08, 1, 20, 1.09, 10, -15, 20), (30, 1.08, 1, 40, 1.09, 10, -15, 20), (0, 1.07, 1, 40, 1.09, 20, -5, 30),
    ],
    ("in and out 1", "flat_to_flat", "fifo"): [(0, 3.23 / 3, 3, 40, 1.09, 40, -35, 70)],
    ("in and out 1", "flat_to_reduced", "fifo"): [(0, 1.07, 1, 20, 1.09, 20, -5, 30), (10, 1.08, 2, 40, 1.09, 20, -30, 40)],
    ("in and out 1", "flat_to_reduced", "lifo"): [(10, 1.08, 1, 20, 1.09, 10, -15, 20), (0, 1.075, 2, 40, 1.09, 30, -20, 50)],
    ("in and out 2", "fill_to_fill", "fifo"): [
        (0, 1.07, 1, 20, 1.09, 20, -5, 30), (10, 1.08, 2, 40, 1.09, 20, -30, 40), (30, 1.08, 1, 40, 1.09, 10, -15, 20),
    ],
    ("in and out 2", "fill_to_fill", "lifo"): [
        (10, 1.08, 1, 20, 1.09, 10, -15, 20), (30, 1.08, 1, 40, 1.09, 10, -15, 20), (10, 1.08, 1, 40, 1.09, 10, -15, 20),
        (0, 1.07, 1, 40, 1.09, 20, -5, 30),
    ],
    ("in and out 2", "flat_to_flat", "lifo"): [(0, 1.0775, 4, 40, 1.09, 50, -50, 90)],
    ("in and out 2", "flat_to_reduced", "fifo"): [(0, 1.07, 1, 20, 1.09, 20, -5, 30), (10, 1.08, 3, 40, 1.09, 30, -45, 60)],
    ("in and out 2", "flat_to_reduced", "lifo"): [(10, 1.08, 1, 20, 1.09, 10, -15, 20), (0, 3.23 / 3, 3, 40, 1.09, 40, -35, 70)],
    ("in and out 3", "fill_to_fill", "fifo"): [
        (0, 1.07, 1, 30, 1.10, 30, -5, 30), (10, 1.08, 1, 30, 1.10, 20, -15, 20), (20, 1.09, 1, 50, 1.09, 0, -25, 10),
        (40, 1.08, 1, 50, 1.09, 10, -15, 20),
    ],
    ("in and out 3", "fill_to_fill", "lifo"): [
        (20, 1.09, 1, 30, 1.10, 10, -25, 10), (10, 1.08, 1, 30, 1.10, 20, -15, 20), (40, 1.08, 1, 50, 1.09, 10, -15, 20),
        (0, 1.07, 1, 50, 1.09, 20, -5, 30),
    ],
    ("in and out 3", "flat_to_flat", "fifo"): [(0, 1.08, 4, 50, 1.095, 60, -60, 80)],
    ("in and out 3", "flat_to_reduced", "fifo"): [(0, 1.075, 2, 30, 1.10, 50, -20, 50), (20, 1.085, 2, 50, 1.09, 10, -40, 30)],
    ("in and out 3", "flat_to_reduced", "lifo"): [(10, 1.085, 2, 30, 1.10, 30, -40, 30), (0, 1.075, 2, 50, 1.09, 30, -20, 50)],
    ("in and out 4", "flat_to_flat", "fifo"): [(0, 1.075, 2, 30, 1.0925, 35, -20, 50)],
    ("in and out 4", "flat_to_reduced", "fifo"): [
        (0, 1.61 / 1.5, 1.5, 20, 1.09, 25, -12.5, 40), (10, 1.08, 0.5, 30, 1.10, 10, -7.5, 10),
    ],
}  # fmt: skip


class Case(NamedTuple):
    fills: pl.DataFrame
    prices: pl.DataFrame


def case(name: str, sign: int = 1) -> Case:
    """LEAN's fills and market prices, each fill with a fee of 1."""
    fills, prices = SEQUENCES[name]
    return Case(
        pl.DataFrame(
            [
                {"ts": at(minute), "quantity": round(sign * size * 1000), "price": price, "charges": 1.0}
                for minute, size, price in fills
            ]
        ),
        pl.DataFrame([{"ts": at(minute), "instrument_token": 0, "last_price": price} for minute, price in prices]),
    )


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def as_lean(name: str, grouping: str, method: str, sign: int = 1) -> pl.DataFrame:
    made = case(name, sign)
    return match(made.fills, method=method, grouping=grouping, prices=made.prices, charges="first", excursions="range")


def rows(frame: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return frame.select(columns).rows()


@pytest.mark.parametrize("key", LONG, ids=" ".join)
def test_longs_are_matched_as_lean_matches_them(key: tuple[str, str, str]) -> None:
    """Entry, exit, quantity, profit, and the excursions of the whole quantity since the position left flat."""
    found = as_lean(*key)
    columns = ("entry_ts", "exit_ts", "side", "quantity", "gross", "mae", "mfe")
    expected = [(at(a), at(b), "long", 1000 * size, gain, low, high) for a, _, size, b, _, gain, low, high in LONG[key]]
    assert rows(found, *columns) == expected
    assert found["entry_price"].to_list() == pytest.approx([one[1] for one in LONG[key]], abs=1e-12)
    assert found["exit_price"].to_list() == pytest.approx([one[4] for one in LONG[key]], abs=1e-12)
    assert found["duration_s"].to_list() == [60.0 * (one[3] - one[0]) for one in LONG[key]]


@pytest.mark.parametrize("key", LONG, ids=" ".join)
def test_shorts_are_their_mirror(key: tuple[str, str, str]) -> None:
    """Profit with the other sign, MAE and MFE exchanged: LEAN's tests of shorts have exactly these figures."""
    found = rows(as_lean(*key, sign=-1), "entry_ts", "exit_ts", "side", "quantity", "gross", "mae", "mfe")
    expected = [(at(a), at(b), "short", 1000 * size, -gain, -high, -low) for a, _, size, b, _, gain, low, high in LONG[key]]
    assert found == expected


@pytest.mark.parametrize(("sign", "sides"), [(1, ["long", "short"]), (-1, ["short", "long"])])
@pytest.mark.parametrize("grouping", list(Grouping))
@pytest.mark.parametrize("method", list(Method))
def test_a_reversal_is_two_trades(sign: int, sides: list[str], grouping: str, method: str) -> None:
    """LEAN's ReversalLongToShort and ReversalShortToLong, whatever the grouping."""
    found = as_lean("reversal", grouping, method, sign)
    excursions = [(10, 0, 10), (-10, -20, 15)] if sign > 0 else [(-10, -10, 0), (10, -15, 20)]
    expected = [(side, 1000, *one) for side, one in zip(sides, excursions, strict=True)]
    assert rows(found, "side", "quantity", "gross", "mae", "mfe") == expected


@pytest.mark.parametrize(
    ("name", "grouping", "method", "fees"),
    [
        ("scale in, all out", "fill_to_fill", "fifo", [2, 1]), ("scale in, all out", "fill_to_fill", "lifo", [2, 1]),
        ("scale in, all out", "flat_to_flat", "fifo", [3]), ("scale in, all out", "flat_to_reduced", "lifo", [3]),
        ("in and out 4", "fill_to_fill", "fifo", [2, 1, 1]), ("in and out 4", "fill_to_fill", "lifo", [2, 1, 1]),
        ("in and out 4", "flat_to_flat", "lifo", [4]), ("in and out 4", "flat_to_reduced", "fifo", [3, 1]),
        ("in and out 4", "flat_to_reduced", "lifo", [3, 1]), ("in and out 1", "flat_to_reduced", "fifo", [3, 2]),
        ("in and out 1", "flat_to_reduced", "average", [3, 2]), ("in and out 1", "fill_to_fill", "fifo", [2, 2, 1]),
        ("reversal", "flat_to_flat", "fifo", [2, 1]),
    ],
)  # fmt: skip
def test_fees_go_to_the_first_trade_that_they_concern_as_in_lean(name: str, grouping: str, method: str, fees: list[int]) -> None:
    """A fee of 1 a fill, never shared."""
    assert as_lean(name, grouping, method)["charges"].to_list() == fees


def test_by_default_charges_are_shared_by_quantity() -> None:
    """2,000 sold with a fee of 1: half of it to each of the two lots it closes."""
    made = case("scale in, all out")
    assert match(made.fills)["charges"].to_list() == [1.5, 1.5]


@pytest.mark.parametrize("grouping", list(Grouping))
@pytest.mark.parametrize("method", ["fifo", "lifo"])
def test_a_split_on_the_way_changes_units_and_no_money(grouping: str, method: str) -> None:
    """LEAN's ScaleInScaleOut4 with a split factor of 0.5: twice the quantity at half the price, else the same."""
    plain, made = as_lean("in and out 4", grouping, method), case("in and out 4")
    later = pl.col("ts") > at(18)
    fills = made.fills.with_columns(
        quantity=pl.when(later).then(pl.col("quantity") * 2).otherwise("quantity"),
        price=pl.when(later).then(pl.col("price") / 2).otherwise("price"),
    )
    splits = pl.DataFrame({"instrument_token": [0], "ts": [at(18)], "new": [2], "old": [1]})
    found = match(fills, method=method, grouping=grouping, prices=made.prices, charges="first", excursions="range", splits=splits)
    same = ("entry_ts", "exit_ts", "gross", "charges", "mae", "mfe")
    assert rows(found, *same) == rows(plain, *same)
    assert found["quantity"].to_list() == (plain["quantity"] * 2).to_list()
    assert found["entry_price"].to_list() == pytest.approx((plain["entry_price"] / 2).to_list(), abs=1e-12)


@unhurried
@given(st.lists(st.tuples(st.integers(-20, 20).filter(bool), st.integers(2, 2000)), min_size=2, max_size=15), METHODS, st.data())
def test_no_split_moves_profit_or_excursions(steps: list[tuple[int, int]], method: Method, data: st.DataObject) -> None:
    """In every grouping: the same story told in units of which three are two of before, from any moment on."""
    when = data.draw(st.integers(0, len(steps)))
    ticks = [(i + 0.25, 3 * data.draw(st.integers(2, 2000))) for i in range(len(steps))]
    plain = _timed([2 * quantity for quantity, _ in steps], [3 * price for _, price in steps])
    split = _timed(
        [(2 if i < when else 3) * quantity for i, (quantity, _) in enumerate(steps)],
        [(3 if i < when else 2) * price for i, (_, price) in enumerate(steps)],
    )
    after = [(minute, price if minute < when - 0.5 else price * 2 / 3) for minute, price in ticks]
    splits = pl.DataFrame({"instrument_token": [0], "ts": [at(when - 0.5)], "new": [3], "old": [2]})
    for grouping in Grouping:
        a = match(plain, method=method, grouping=grouping, prices=_ticks(ticks))
        b = match(split, method=method, grouping=grouping, prices=_ticks(after), splits=splits)
        same = ("entry_ts", "exit_ts", "gross_e8", "mae_e8", "mfe_e8")
        found, expected = rows(b, *same), rows(a, *same)
        assert [one[:3] for one in found] == [one[:3] for one in expected]
        assert np.array([one[3:] for one in found]) == pytest.approx(np.array([one[3:] for one in expected]), abs=200)


# Excursions


def _timed(quantities: Sequence[int], prices: Sequence[float]) -> pl.DataFrame:
    return pl.DataFrame(
        {"ts": [at(i) for i in range(len(quantities))], "quantity": quantities, "price": [float(one) for one in prices]}
    )


def _ticks(rows: Sequence[tuple[float, float]], token: int = 0) -> pl.DataFrame:
    schema = {"ts": pl.Datetime("us", "UTC"), "instrument_token": pl.Int64, "last_price": pl.Float64}
    return pl.DataFrame([(at(minute), token, price) for minute, price in rows], schema=schema, orient="row")


TICKS = st.lists(st.tuples(st.integers(0, 80).map(lambda n: n / 4), st.integers(1, 100)), max_size=40).map(sorted)
STEPS = st.lists(st.tuples(st.integers(-9, 9).filter(bool), st.integers(1, 100)), min_size=2, max_size=12)


@unhurried
@given(STEPS, TICKS, st.integers(1, 30))
def test_excursions_of_a_round_trip_are_those_of_its_profit_tick_by_tick(
    steps: list[tuple[int, int]], ticks: list[tuple[float, int]], multiplier: int
) -> None:
    """Against a position that is marked at every tick and fill: what it realised and holds, since it left flat."""
    fills = _timed(*zip(*steps, strict=True))
    found = round_trips(fills, {0: multiplier * E8}, _ticks(ticks))
    position, since, seen, expected, now = Position(), 0, list[int](), [], 0

    def mark(price: float) -> None:
        seen.append(position.realised_e8 - since + round(price) * multiplier * position.quantity * E8 - position.cost_e8)

    for minute, (quantity, price) in enumerate(steps):
        for price_then in (one for when, one in ticks if now <= when <= minute):
            if position.quantity:
                mark(price_then)
        now, held = minute, position.quantity
        parts = [-held, quantity + held] if held * quantity < 0 and abs(quantity) > abs(held) else [quantity]
        for part in parts:
            mark(price)
            position.fill(part, part * price * multiplier * E8)
            mark(price)
            if position.quantity == 0:
                expected.append((min(0, *seen), max(0, *seen)))
                since, seen = position.realised_e8, []
    assert rows(found, "mae_e8", "mfe_e8") == expected


@unhurried
@given(STEPS, TICKS, st.sampled_from(["fifo", "lifo"]))
def test_excursions_of_a_lot_are_those_of_its_quantity_while_it_was_held(
    steps: list[tuple[int, int]], ticks: list[tuple[float, int]], method: str
) -> None:
    """At every tick and fill from entry to exit, both included."""
    found = match(_timed(*zip(*steps, strict=True)), method=method, prices=_ticks(ticks))
    marks = [*ticks, *((minute, price) for minute, (_, price) in enumerate(steps))]
    for row in found.iter_rows(named=True):
        size = row["quantity"] if row["side"] == "long" else -row["quantity"]
        profits = [
            size * (price - row["entry_price"]) for minute, price in marks if row["entry_ts"] <= at(minute) <= row["exit_ts"]
        ]
        assert (row["mae"], row["mfe"]) == (min(0, *profits), max(0, *profits))


@unhurried
@given(STEPS, TICKS, METHODS, st.sampled_from(list(Grouping)), st.sampled_from(["held", "range"]))
def test_an_excursion_holds_the_profit_between_its_ends(
    steps: list[tuple[int, int]], ticks: list[tuple[float, int]], method: Method, grouping: Grouping, excursions: str
) -> None:
    """MAE <= 0 <= MFE, and what was gained in the end lies between, up to units that were rounded when costs were shared."""
    fills = _timed(*zip(*steps, strict=True))
    found = match(fills, method=method, grouping=grouping, prices=_ticks(ticks), excursions=excursions)
    for mae_e8, gross_e8, mfe_e8 in rows(found, "mae_e8", "gross_e8", "mfe_e8"):
        assert mae_e8 <= min(0, gross_e8 + len(steps))
        assert mfe_e8 >= max(0, gross_e8 - len(steps))


@unhurried
@given(STEPS, TICKS, st.integers(0, 40))
def test_prices_may_come_part_by_part(steps: list[tuple[int, int]], ticks: list[tuple[float, int]], cut: int) -> None:
    """As a tape's files do."""
    fills, whole = _timed(*zip(*steps, strict=True)), _ticks(ticks)
    one = match(fills, prices=whole)
    two = match(fills, prices=iter([whole[:cut], whole[cut:]]))
    assert one.equals(two)


def test_prices_may_come_in_any_order() -> None:
    """They are put in that of their times."""
    fills, ticks = _timed([1, -1], [10, 12]), _ticks([(0.5, 3), (0.2, 20), (0.9, 9), (-1, 1), (7, 99)])
    assert rows(match(fills, prices=ticks), "mae", "mfe") == [(-7.0, 10.0)]


def test_a_reversal_forgets_the_prices_before_it() -> None:
    """Also where extremes are those since the position left flat: a short from 12 has not seen the 3 of the long before."""
    fills, ticks = _timed([1, -2, 1], [10, 12, 11]), _ticks([(0.5, 3), (1.5, 13)])
    found = match(fills, prices=ticks, excursions="range")
    assert rows(found, "side", "mae", "mfe") == [("long", -7.0, 2.0), ("short", -1.0, 1.0)]


def test_a_round_trip_says_what_was_held_and_what_was_entered() -> None:
    """Two bought, one sold, one bought, and one after the other sold: never more than two, three in all."""
    found = round_trips(_timed([2, -1, 1, -1, -1], [10, 12, 14, 12, 12]), {0: E8})
    columns = ("quantity", "entered", "entry_price", "exit_price", "gross", "duration_s")
    assert rows(found, *columns) == [(2, 3, 34 / 3, 12.0, 2.0, 240.0)]


def test_without_prices_there_are_no_excursions() -> None:
    """Null, never a number made of fills alone; an empty frame asks for just that."""
    fills = _timed([1, -1], [10, 12])
    assert rows(match(fills), "mae", "mfe") == [(None, None)]
    assert rows(match(fills, prices=_ticks([])), "mae", "mfe") == [(0.0, 2.0)]


def test_ticks_of_one_time_are_put_in_order_by_seq() -> None:
    """Two ticks share the second of the buy: the one before it does not count where the seq says so."""
    fills = _timed([1, -1], [10, 12]).with_columns(epoch=1, number=pl.Series([5, 9]))
    ticks = _ticks([(0, 3), (0, 11)]).with_columns(epoch=1, number=pl.Series([4, 5]))
    by_seq, by_time = match(fills, prices=ticks), match(fills, prices=ticks.drop("epoch", "number"))
    assert (by_seq["mae"].item(), by_time["mae"].item()) == (0.0, -7.0)


def test_books_do_not_see_each_others_fills_or_prices() -> None:
    """Two strategies and two instruments, interleaved: four books."""
    base = pl.DataFrame({"strategy_id": ["a", "b"] * 2, "instrument_token": [1, 1, 2, 2]}).with_columns(exec_mode=pl.lit("paper"))
    fills = pl.concat([
        base.with_columns(ts=at(0), quantity=1, price=pl.Series([10.0, 20.0, 30.0, 40.0])),
        base.with_columns(ts=at(2), quantity=-1, price=pl.Series([11.0, 21.0, 31.0, 41.0])),
    ])  # fmt: skip
    ticks = pl.concat([_ticks([(1, 15)], 1), _ticks([(1, 35)], 2), _ticks([(1, 1)], 3)])
    found = match(fills, prices=ticks).select("strategy_id", "instrument_token", "gross", "mae", "mfe").rows()
    assert found == [("a", 1, 1.0, 0.0, 5.0), ("b", 1, 1.0, -5.0, 1.0), ("a", 2, 1.0, 0.0, 5.0), ("b", 2, 1.0, -5.0, 1.0)]


def test_trades_stand_in_the_order_in_which_they_closed() -> None:
    """Across books."""
    fills = _timed([1, 1, -1, -1], [10, 20, 11, 21]).with_columns(instrument_token=pl.Series([1, 2, 2, 1]))
    assert match(fills)["instrument_token"].to_list() == [2, 1]


def test_open_lots_are_what_no_fill_has_closed() -> None:
    """1 at 10, 2 at 20, 1 sold: first in first out leaves 2 at 20, last in first out one of each."""
    fills = _timed([1, 2, -1], [10, 20, 30])
    fifo, lifo = open_lots(fills), open_lots(fills, method="lifo")
    assert (rows(fifo, "quantity", "price"), rows(lifo, "quantity", "price")) == ([(2, 20.0)], [(1, 10.0), (1, 20.0)])


def test_a_million_ticks_are_reduced_to_the_ranges_between_fills() -> None:
    """The extremes of each hold, as numpy finds them in the slice."""
    ticks, holds = 1_000_000, 500
    price = np.round(100 + np.cumsum(np.random.default_rng(7).normal(0, 0.01, ticks)), 2)
    where = np.linspace(0, ticks - 1, 2 * holds).astype(int)
    fills = pl.DataFrame({"ts": where, "quantity": [10, -10] * holds, "price": price[where]})
    found = match(fills, prices=pl.DataFrame({"ts": np.arange(ticks), "last_price": price}).with_columns(instrument_token=0))
    spans = [(price[a : b + 1], price[a]) for a, b in where.reshape(-1, 2)]
    assert found["mfe"].to_list() == pytest.approx([10 * (some.max() - entry) for some, entry in spans], abs=1e-6)
    assert found["mae"].to_list() == pytest.approx([10 * (some.min() - entry) for some, entry in spans], abs=1e-6)


def test_an_opening_position_is_a_fill_at_the_start() -> None:
    """100 held at 50 and sold at 60 is a long round trip, not a short that was never bought back."""
    held = _timed([100, -100], [50, 60])
    assert rows(round_trips(held, {0: E8}), "side", "gross", "return") == [("long", 1000.0, 0.2)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"method": "hifo"}, "'hifo' is none of fifo, lifo, average"),
        ({"grouping": "flat"}, "'flat' is none of fill_to_fill, flat_to_reduced, flat_to_flat"),
        ({"multipliers_e8": {7: E8}}, "no multiplier for 0"),
    ],
)
def test_what_does_not_exist_is_refused(arguments: dict[str, Any], said: str) -> None:
    """With the choices there are."""
    with pytest.raises(MatchError, match=said):
        match(_timed([1, -1], [10, 12]), **arguments)


def test_fills_say_what_is_missing() -> None:
    """A column, or the times between which ticks would stand."""
    with pytest.raises(MatchError, match="fills have no price"):
        match(pl.DataFrame({"quantity": [1]}))
    with pytest.raises(MatchError, match="fills have no ts"):
        match(_timed([1, -1], [10, 12]).drop("ts"), prices=_ticks([(0, 1)]))
