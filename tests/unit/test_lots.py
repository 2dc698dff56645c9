"""What lots do with money: three methods, charges, splits, nothing lost between closed and open."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.contracts.errors import ContractError
from alphapanda.core.corporate_actions import ActionKind, CorporateAction, act
from alphapanda.core.ledger import E8, Position, opened, value_e8
from alphapanda.core.lots import ChargeRule, Lots, Method
from alphapanda.research.matching import Grouping, match, open_lots
from tests.trade_support import METHODS, unhurried

FILLS = st.lists(
    st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 10**12), st.integers(0, 10**9)), min_size=1, max_size=40
)
MULTIPLIERS = st.sampled_from([E8, 50 * E8, E8 // 1000, 3 * E8 // 7])


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
