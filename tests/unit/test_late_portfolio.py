"""The portfolio apart from the loop: it travels whole to the process that writes a run, and refuses notes that do not fit."""

import pickle
from typing import Any

import pytest

from alphapanda.adapters.event_batch import by_type
from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import Charges, Event, ExecMode, OrderFill, PortfolioSnapshot
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import E8, Book, opened
from alphapanda.runtime.late_portfolio import PortfolioNotes, apart
from alphapanda.services.portfolio_manager.service import PortfolioManager
from tests.builders import made, tick

TABLE = {101: Instrument(101, "A"), 102: Instrument(102, "B", multiplier=2.5)}


def fill(number: int, token: int, quantity: int, price: float, n: int = 0) -> Event:
    filled = OrderFill(ExecMode.PAPER, "a", token, "s", f"o{number}", quantity, price, price, Charges(brokerage_e8=E8))
    return made(number, 4, 1, filled, at_s=number, n=n)


def room(book: Book | None = None) -> PortfolioManager:
    return PortfolioManager(TABLE, {"a": book or opened(1_000 * E8)}, 60, {})


def noted(notes: PortfolioNotes, *events: Event) -> None:
    for event in events:
        assert notes.handle(event) == ()


def test_it_says_on_another_side_what_it_would_have_said_here() -> None:
    """With what it had done before, at the prices of then."""
    here, early = room(), fill(1, 101, 3, 50.0)
    before = here.handle(tick(1, 50.0)), here.handle(early)
    notes, there = apart(here)
    notes.handle(tick(2, 60.0))
    later = [fill(2, 101, 1, 60.0), fill(2, 102, 2, 10.0, n=1)]
    noted(notes, *later)
    notes.handle(tick(3, 70.0))  # too late to matter
    batch = pickle.loads(pickle.dumps(there))(by_type(later) | notes.taken())  # noqa: S301
    same = room()
    assert (same.handle(tick(1, 50.0)), same.handle(early)) == before
    same.handle(tick(2, 60.0))
    expected = [data for event in later for _, data in same.handle(event)]
    assert [event.data for event in batch[PortfolioSnapshot]] == expected[1::2]
    assert [event.pos for event in batch[PortfolioSnapshot]] == [(1, 2, 5, 0, 1), (1, 2, 5, 0, 3)]


def test_what_is_flat_again_and_what_has_no_price_cost_no_note() -> None:
    """Of these the portfolio asks no price, or counts their cost."""
    book = opened(1_000 * E8)
    book.adopt(102, 4, 40 * E8)
    notes, _ = apart(room(book))
    noted(notes, tick(1, 50.0), fill(1, 101, 3, 50.0))
    batch: Any = notes.taken()
    (first,) = (event for events in batch.values() for event in events)
    assert (first.data.tokens, first.data.prices) == ([102, 101], [[None, 50.0]])
    noted(notes, tick(2, 51.0), fill(2, 101, -3, 51.0))
    notes.taken()
    noted(notes, fill(3, 102, 1, 10.0))
    (last,) = (event for events in notes.taken().values() for event in events)
    assert last.data.tokens == [102]  # type: ignore[attr-defined]


def test_notes_of_other_seqs_are_refused() -> None:
    notes, late = apart(room())
    noted(notes, fill(1, 101, 3, 50.0))
    with pytest.raises(ContractError, match=r"go on with seq \[1, 1\], the fills and clock events beside them with \[1, 2\]"):
        late(by_type([fill(2, 101, 3, 50.0)]) | notes.taken())


def test_what_stands_in_the_loop_has_no_snapshot() -> None:
    """It would have no books."""
    notes, _ = apart(room())
    with pytest.raises(ContractError, match="no snapshot"):
        notes.snapshot()
    with pytest.raises(ContractError, match="no snapshot"):
        notes.restore(None)
