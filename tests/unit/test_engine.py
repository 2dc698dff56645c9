"""Orders and their paper fills, as timelines of ticks."""

from typing import Any

import pytest

from alphapanda.contracts.events import (
    Charges,
    Event,
    ExecMode,
    HaltStrategy,
    KillSwitch,
    OrderCancelled,
    OrderFill,
    OrderPlaced,
    SessionClose,
    ValidatedSignal,
)  # fmt: skip
from alphapanda.contracts.instruments import Instrument
from alphapanda.services.trading_engine.models import PaperExecution
from alphapanda.services.trading_engine.service import TradingEngine
from tests.builders import INSTRUMENTS, made, root, session_open, tick


def engine(**rules: Any) -> TradingEngine:
    """The room in an open session; each fill costs 1e-8 for each unit."""
    room = TradingEngine(PaperExecution(**rules), INSTRUMENTS, charge, {})
    room.handle(session_open())
    return room


def charge(
    ts_ns: int, instrument: Instrument, product: str, quantity: int, notional_e8: int, before: int, before_e8: int, delivers: bool
) -> Charges:  # fmt: skip
    return Charges(brokerage_e8=abs(quantity), dp_e8=1_000 if delivers else 0)


def order(quantity: int, number: int = 3, at_s: float = 0.0, token: int = 101) -> Event:
    return made(number, 3, 1, ValidatedSignal(ExecMode.PAPER, "s", token, f"1-{number}-2-1-0", quantity, 100.0), at_s)


def said(room: TradingEngine, *events: Event) -> list[Any]:
    return [data for event in events for _, data in room.handle(event)]


def fills(room: TradingEngine, *events: Event) -> list[tuple[int, float]]:
    return [(data.quantity, data.price) for data in said(room, *events) if type(data) is OrderFill]


def test_next_tick_fills_at_the_first_later_tick_of_the_instrument() -> None:
    """100.00 (order) | BBB 50 | 100.10 fills | 100.20 does not again."""
    events = (tick(3, 100.0), order(5), tick(4, 50.0, 1, token=102), tick(5, 100.1, 2), tick(6, 100.2, 3))
    assert fills(engine(), *events) == [(5, 100.1)]


def test_immediate_fills_at_the_quote_that_the_signal_saw() -> None:
    """100.00 (order, fill) | 100.10."""
    assert fills(engine(fill_model="immediate"), tick(3, 100.0), order(5), tick(4, 100.1, 1)) == [(5, 100.0)]


def test_no_fill_comes_before_its_latency() -> None:
    """Order at 0 s with 1,500 ms: ticks at 1 s and 1.4 s pass, that at 1.5 s fills."""
    events = (tick(3, 100.0), order(5), tick(4, 101.0, 1), tick(5, 102.0, 1.4), tick(6, 103.0, 1.5))
    assert fills(engine(latency_ms=1500), *events) == [(5, 103.0)]


@pytest.mark.parametrize(
    ("rules", "quantity", "expected"),
    [
        ({"price": "opposite"}, 5, 100.1), ({"price": "opposite"}, -5, 100.0), ({"price": "mid"}, 5, 100.05),
        ({"slippage_ticks": 2}, 5, 100.15), ({"slippage_ticks": 2}, -5, 99.95), ({"slippage_bps": 10}, 5, 100.15005),
    ],
)  # fmt: skip
def test_the_price_and_what_is_added_against_the_order(rules: dict[str, Any], quantity: int, expected: float) -> None:
    """The filling tick: last 100.05, bid 100.00, ask 100.10, tick size 0.05."""
    quote = tick(4, 100.05, 1, bid=100.0, ask=100.1)
    assert fills(engine(**rules), tick(3, 99.0), order(quantity), quote) == [(quantity, expected)]


def test_a_crossed_or_one_sided_quote_fills_nothing() -> None:
    """Crossed | no ask | fills at 100.10."""
    quotes = (tick(4, 100.0, 1, bid=100.2, ask=100.1), tick(5, 100.0, 2, bid=100.0), tick(6, 100.0, 3, bid=100.0, ask=100.1))
    assert fills(engine(price="opposite"), tick(3, 100.0), order(5), *quotes) == [(5, 100.1)]


def test_working_orders_are_cancelled_at_session_close() -> None:
    """Placed, then cancelled with its whole quantity; nothing fills later."""
    found = said(engine(), tick(3, 100.0), order(5), root(4, SessionClose("2024-03-01"), 1), tick(5, 100.0, 2))
    assert [(type(one), getattr(one, "reason", "")) for one in found] == [(OrderPlaced, ""), (OrderCancelled, "session_close")]


def test_the_kill_switch_cancels_everything_and_its_release_nothing() -> None:
    """Two orders in two instruments."""
    room = engine()
    said(room, tick(3, 100.0), order(5), order(7, 4, token=102))
    found = said(room, root(5, KillSwitch(False, "test")), root(6, KillSwitch(True, "test")))
    assert [(one.quantity, one.reason) for one in found] == [(5, "kill_switch"), (7, "kill_switch")]


def test_halting_a_strategy_cancels_its_orders_alone() -> None:
    """Of strategies s and t only s is halted."""
    room = engine()
    other = made(4, 3, 2, ValidatedSignal(ExecMode.PAPER, "t", 101, "1-4-2-2-0", 7, 100.0))
    said(room, tick(3, 100.0), order(5), other)
    found = said(room, root(5, HaltStrategy("s", "test")), tick(6, 101.0, 1))
    assert [(type(one), one.strategy_id) for one in found] == [(OrderCancelled, "s"), (OrderFill, "t")]


def test_a_fill_names_order_signal_reference_and_charges() -> None:
    """All that later rooms need of it."""
    (_, filled) = said(engine(), tick(3, 100.0), order(5), tick(4, 101.0, 1))
    charges = Charges(brokerage_e8=5)
    assert filled == OrderFill(ExecMode.PAPER, "s", 101, "1-3-2-1-0", "1-3-3-1-0", 5, 101.0, 100.0, charges, product="CNC")


def test_an_order_in_an_unknown_instrument_fails() -> None:
    """It is placed, and fails with a reason: a terminal state."""
    assert said(engine(), order(5, token=999))[1].reason == "unknown_instrument"
