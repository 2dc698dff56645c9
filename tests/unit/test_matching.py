"""Fills matched into closed trades: as LEAN matches them, over reversals and splits, book by book; and what stays open."""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.core.ledger import E8
from alphapanda.core.lots import Method
from alphapanda.research.matching import Grouping, MatchError, match, open_lots
from alphapanda.research.round_trips import round_trips
from tests.trade_support import METHODS, at, rows, unhurried
from tests.trade_support import ticks as _ticks
from tests.trade_support import timed as _timed

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


def as_lean(name: str, grouping: str, method: str, sign: int = 1) -> pl.DataFrame:
    made = case(name, sign)
    return match(made.fills, method=method, grouping=grouping, prices=made.prices, charges="first", excursions="range")


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


def test_a_round_trip_says_what_was_held_and_what_was_entered() -> None:
    """Two bought, one sold, one bought, and one after the other sold: never more than two, three in all."""
    found = round_trips(_timed([2, -1, 1, -1, -1], [10, 12, 14, 12, 12]), {0: E8})
    columns = ("quantity", "entered", "entry_price", "exit_price", "gross", "duration_s")
    assert rows(found, *columns) == [(2, 3, 34 / 3, 12.0, 2.0, 240.0)]


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
