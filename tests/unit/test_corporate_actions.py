"""Splits, bonuses, dividends, opening positions and daily settlement: what they do to books."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.contracts.events import ExecMode, PositionUpdate, SessionClose
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.corporate_actions import ActionKind, CorporateAction, act, adjust, due
from alphapanda.core.ledger import E8, Book, opened
from alphapanda.services.portfolio_manager.service import PortfolioManager
from tests.builders import INSTRUMENTS, root, session_open, tick

DAY = "2024-03-01"
SPLIT = CorporateAction(101, DAY, ActionKind.SPLIT, 5, 1)
BONUS = CorporateAction(101, DAY, ActionKind.BONUS, 1, 2)
DIVIDEND = CorporateAction(101, DAY, ActionKind.DIVIDEND, amount_e8=250_000_000)


def held(quantity: int, price: int) -> Book:
    book = opened(1_000 * E8)
    book.adopt(101, quantity, quantity * price * E8)
    return book


@pytest.mark.parametrize(
    ("action", "quantity", "expected"),
    [  # quantity, cost, cash, realised
        (SPLIT, 7, (35, 700, 1_000, 0)), (SPLIT, -7, (-35, -700, 1_000, 0)), (BONUS, 8, (12, 800, 1_000, 0)),
        (BONUS, 1, (1, 66.66666667, 1_033.33333333, 0)), (DIVIDEND, 8, (8, 800, 1_020, 20)), (DIVIDEND, -8, (-8, -800, 980, -20)),
        (CorporateAction(101, DAY, ActionKind.SPLIT, 1, 10), 7, (0, 0, 1_700, 0)),
    ],
)  # fmt: skip
def test_what_an_action_does(action: CorporateAction, quantity: int, expected: tuple[float, ...]) -> None:
    """Held at 100 with 1,000 in cash. The cost of a fraction that is dropped comes back as cash."""
    book = held(quantity, 100)
    act(book, action)
    position = book.positions[101]
    actual = (position.quantity, position.cost_e8 / E8, book.cash_e8 / E8, book.realised_e8 / E8)
    assert actual == pytest.approx(expected, abs=2e-8)


@given(st.integers(-500, 500).filter(bool), st.integers(1, 10_000), st.integers(1, 9), st.integers(1, 9),
       st.sampled_from([ActionKind.SPLIT, ActionKind.BONUS]))  # fmt: skip
def test_no_action_makes_or_loses_money(quantity: int, price: int, new: int, old: int, kind: ActionKind) -> None:
    """Cash and cost together stay the same, exactly; so do the book's sums of its positions."""
    book = held(quantity, price)
    act(book, CorporateAction(101, DAY, kind, new, old))
    assert book.cash_e8 + book.cost_e8 == book.start_e8
    assert book.cost_e8 == book.positions[101].cost_e8
    assert book.held == ({101: book.positions[101].quantity} if book.positions[101].quantity else {})


def test_what_was_held_before_is_part_of_the_start() -> None:
    """Equity begins at cash and cost; nothing is realised."""
    book = held(10, 50)
    assert (book.start_e8, book.cash_e8, book.cost_e8, book.realised_e8) == (1_500 * E8, 1_000 * E8, 500 * E8, 0)


def test_the_portfolio_says_what_an_action_did() -> None:
    """A split at the session's open: five times as many at a fifth of the price."""
    room = PortfolioManager(INSTRUMENTS, {"s": held(10, 50)}, 60, {}, actions=[SPLIT])
    assert [data for _, data in room.handle(session_open())] == [
        PositionUpdate(ExecMode.PAPER, "s", 101, 50, 10.0, 500 * E8, 0, 0)
    ]


def test_futures_are_marked_to_market_at_the_close_and_equity_stays() -> None:
    """Two lots of 75 bought at 100, closing at 104: 600 are realised, and 104 is the cost from here on."""
    future = Instrument(301, "FUT", "NFO-FUT", lot_size=75)
    book = opened(100_000 * E8)
    book.fill(301, 150, 15_000 * E8, 0)
    room = PortfolioManager({301: future}, {"s": book}, 60, {})
    room.handle(tick(5, 104.0, token=301))
    update, snapshot = (data for _, data in room.handle(root(9, SessionClose(DAY), 10)))
    assert (update.average_price, update.realised_e8) == (104.0, 600 * E8)  # type: ignore[attr-defined]
    assert (snapshot.realised_e8, snapshot.unrealised_e8, snapshot.equity_e8) == (600 * E8, 0, 100_600 * E8)  # type: ignore[attr-defined]


def test_a_position_without_a_price_counts_at_its_cost() -> None:
    """Opening positions before their first tick."""
    room = PortfolioManager(INSTRUMENTS, {"s": held(-10, 50)}, 60, {})
    (snapshot,) = (data for _, data in room.handle(root(9, SessionClose(DAY), 10)))
    assert (snapshot.equity_e8, snapshot.unrealised_e8, snapshot.gross_exposure_e8) == (500 * E8, 0, 500 * E8)  # type: ignore[attr-defined]


def test_what_takes_effect_is_what_fell_due_since_the_last_session() -> None:
    """A date without a session counts at the next; at the first session only its own; never twice."""
    actions = [
        CorporateAction(101, day, ActionKind.SPLIT, 2, 1) for day in ("2024-02-29", "2024-03-01", "2024-03-02", "2024-03-04")
    ]
    sessions = [("", "2024-03-01"), ("2024-03-01", "2024-03-01"), ("2024-03-01", "2024-03-04"), ("2024-03-04", "2024-03-05")]
    found = [[one.ex_date for one in due(actions, last, now)] for last, now in sessions]
    assert found == [["2024-03-01"], [], ["2024-03-02", "2024-03-04"], []]


def test_last_prices_are_put_at_what_they_are_after_it_once() -> None:
    """A split and a dividend on one day: 100 becomes 20, then 17.50; doing it again changes nothing."""
    marks = {101: tick(3, 100.0, bid=99.0, ask=101.0).data, 102: tick(4, 50.0, token=102).data}
    for _ in range(2):
        adjust(marks, [SPLIT, DIVIDEND], DAY)  # type: ignore[arg-type]
    mark = marks[101]
    assert (mark.last_price, mark.bid, mark.ask, marks[102].last_price) == (17.5, 17.3, 17.7, 50.0)  # type: ignore[attr-defined]
