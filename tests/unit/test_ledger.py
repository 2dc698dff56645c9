"""Exact money."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.contracts.errors import ContractError
from alphapanda.core.ledger import E8, Position, opened, to_e8, value_e8

FILLS = st.lists(
    st.tuples(
        st.sampled_from([1, 2]), st.integers(-50, 50).filter(bool), st.integers(1, 10**12), st.integers(0, 10**9),
    ), max_size=40,
)  # fmt: skip


@given(FILLS, st.integers(1, 10**12), st.sampled_from([E8, 50 * E8, E8 // 1000]))
def test_equity_is_start_and_realised_and_unrealised_less_charges(
    fills: list[tuple[int, int, int, int]], mark_e8: int, multiplier_e8: int
) -> None:
    """For any fills, to the last unit."""
    book = opened(10**14)
    for token, quantity, price_e8, charges_e8 in fills:
        book.fill(token, quantity, value_e8(price_e8, quantity, multiplier_e8), charges_e8)
    worth = sum(value_e8(mark_e8, one.quantity, multiplier_e8) for one in book.positions.values())
    unrealised = worth - sum(one.cost_e8 for one in book.positions.values())
    assert book.cash_e8 + worth == book.start_e8 + book.realised_e8 + unrealised - book.charges_e8


@given(FILLS)
def test_a_flat_position_has_no_cost(fills: list[tuple[int, int, int, int]]) -> None:
    """Nothing is left of a cost once the quantity is gone, whatever was rounded on the way."""
    position = Position()
    for _, quantity, price_e8, _ in fills:
        position.fill(quantity, price_e8 * quantity)
    if position.quantity:
        position.fill(-position.quantity, -position.quantity * 7)
    assert (position.quantity, position.cost_e8) == (0, 0)


def test_equity_through_long_flat_and_short() -> None:
    """Thirteen fills and the equity after each (LEAN, SecurityPortfolioManagerTests.TestCashFills)."""
    quantities = [100, -50, -100, -50, 50, 100, 50, -50, -100, -50, 50, 100, -50]
    prices = [*range(1, 13), 12]
    book, actual = opened(100_000 * E8), [100_000]
    for mark, (quantity, price) in enumerate(zip(quantities, prices, strict=True), 1):
        book.fill(1, quantity, quantity * price * E8, 0)
        actual.append((book.cash_e8 + book.quantity(1) * mark * E8) // E8)
    expected = [100000, 100000, 100100, 100150, 100100, 100000, 99950, 100000, 100100, 100150, 100100, 100000, 99950, 99950]
    assert actual == expected


def test_a_reversal_realises_the_old_position_and_opens_at_the_fill() -> None:
    """Long 10 at 100, then sell 15 at 110: 100 realised, short 5 at 110."""
    position = Position()
    position.fill(10, 1000 * E8)
    realised = position.fill(-15, -1650 * E8)
    assert (realised, position.quantity, position.average_price()) == (100 * E8, -5, 110.0)


def test_a_third_of_a_cost_leaves_its_remainder_to_the_closing_fill() -> None:
    """A cost of 100 over 3 units, closed one by one for nothing, realises exactly -100."""
    position = Position()
    position.fill(3, 100)
    realised = [position.fill(-1, 0) for _ in range(3)]
    assert (sum(realised), position.cost_e8) == (-100, 0)


def test_prices_become_integers_without_loss() -> None:
    """Floats that are nearest to a decimal give that decimal."""
    assert [to_e8(0.1 + 0.2), to_e8(2875.05), to_e8(1.09123)] == [30_000_000, 287_505_000_000, 109_123_000]


def test_a_fill_of_nothing_is_refused() -> None:
    """It could only be a mistake."""
    with pytest.raises(ContractError, match="quantity 0"):
        Position().fill(0, 0)


def test_an_average_price_is_for_one_unit_of_the_instrument() -> None:
    """Kite's LEADMINI sample: one lot of 1000 bought for 161,050 has the average price 161.05."""
    position = Position()
    position.fill(1, value_e8(to_e8(161.05), 1, 1000 * E8))
    assert position.average_price(1000 * E8) == 161.05
