"""MAE and MFE: held against profit at every tick and fill, whatever way prices come."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.core.ledger import E8, Position
from alphapanda.core.lots import Method
from alphapanda.research.matching import Grouping, match
from alphapanda.research.round_trips import round_trips
from tests.trade_support import METHODS, at, rows, unhurried
from tests.trade_support import ticks as _ticks
from tests.trade_support import timed as _timed

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
