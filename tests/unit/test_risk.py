"""Each check of risk, and the intents it counts."""

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
    SessionClose,
    SignalKind,
    TradingSignal,
)  # fmt: skip
from alphapanda.core.ledger import E8, opened
from alphapanda.services.risk_manager.models import RiskLimits
from alphapanda.services.risk_manager.service import RiskManager
from tests.builders import INSTRUMENTS, made, root, session_open, tick


def risk(**limits: Any) -> RiskManager:
    """Risk in an open session, with 10,000 in cash, AAA at 100 and BBB at 50."""
    room = RiskManager(RiskLimits(**limits), INSTRUMENTS, {"s": opened(10_000 * E8)}, {})
    for event in (session_open(), tick(3, 100.0), tick(4, 50.0, token=102), tick(5, 20_000.0, token=103)):
        list(room.handle(event))
    return room


def signal(
    size: float,
    token: int = 101,
    kind: SignalKind = SignalKind.QUANTITY,
    price: float | None = None,
    number: int = 9,
    at_s: float = 1,
) -> Event:
    return made(number, 2, 1, TradingSignal("s", token, kind, size, price, ""), at_s)


def verdict(room: RiskManager, event: Event) -> tuple[str, Any, Any]:
    ((_, data),) = room.handle(event)
    return (getattr(data, "reason", "validated"), getattr(data, "value", data.quantity), getattr(data, "limit", None))  # type: ignore[attr-defined]


def fill(quantity: int, price: float, cause: str = "1-9-2-1-0", token: int = 101) -> Event:
    return made(10, 4, 1, OrderFill(ExecMode.PAPER, "s", token, cause, "1-9-3-1-0", quantity, price, price, Charges()), 2)


@pytest.mark.parametrize(
    ("limits", "event", "expected"),
    [
        ({}, signal(5), ("validated", 5, None)),
        ({}, signal(5, token=999), ("instrument", None, None)),
        ({}, signal(1, token=103), ("instrument", None, None)),
        ({"max_quote_age_s": 60}, signal(5, at_s=61), ("stale_quote", 61.0, 60.0)),
        ({}, signal(5, price=100.02), ("tick_size", 100.02, 0.05)),
        ({}, signal(5, price=100.05), ("validated", 5, None)),
        ({}, signal(15, token=102), ("lot_size", 15, 10)),
        ({"max_order_quantity": 4}, signal(5), ("order_quantity", 5, 4)),
        ({"max_position": 4}, signal(-5), ("position", 5, 4)),
        ({"max_order_notional": 499}, signal(5), ("notional", 500.0, 499.0)),
        ({"max_gross_exposure": 499}, signal(-5), ("gross_exposure", 500.0, 499.0)),
        ({}, signal(101), ("cash", -100.0, 0.0)),
        ({"require_cash": False}, signal(101), ("validated", 101, None)),
        ({}, signal(7, kind=SignalKind.TARGET_QUANTITY), ("validated", 7, None)),
        ({}, signal(0, kind=SignalKind.TARGET_QUANTITY), ("nothing_to_do", 0, 0)),
        ({}, signal(0.5, kind=SignalKind.TARGET_WEIGHT), ("validated", 50, None)),
        ({}, signal(-0.123, token=102, kind=SignalKind.TARGET_WEIGHT), ("validated", -20, None)),
    ],
)  # fmt: skip
def test_a_check_names_what_it_found_and_what_it_allows(limits: dict[str, Any], event: Event, expected: tuple[Any, ...]) -> None:
    """One signal in an open session, with nothing held."""
    assert verdict(risk(**limits), event) == expected


def test_signals_outside_a_session_are_refused_unless_that_is_wanted() -> None:
    """After the close, with and without the check."""
    actual = []
    for required in (True, False):
        room = risk(require_session=required)
        list(room.handle(root(8, SessionClose("2024-03-01"))))
        actual.append(verdict(room, signal(1))[0])
    assert actual == ["session_open", "validated"]


def test_an_instrument_without_a_quote_is_refused() -> None:
    """Nothing was heard of AAA."""
    room = RiskManager(RiskLimits(), INSTRUMENTS, {"s": opened(E8)}, {})
    list(room.handle(session_open()))
    assert verdict(room, signal(1))[0] == "quote"


def test_the_kill_switch_refuses_until_it_is_released() -> None:
    """Engaged, then released."""
    room, actual = risk(), []
    for engaged in (True, False):
        list(room.handle(root(8, KillSwitch(engaged, "test"))))
        actual.append(verdict(room, signal(1))[0])
    assert actual == ["kill_switch", "validated"]


def test_a_halted_strategy_is_refused() -> None:
    """By the operator's command."""
    room = risk()
    list(room.handle(root(8, HaltStrategy("s", "test"))))
    assert verdict(room, signal(1))[0] == "strategy_halted"


def test_intents_count_until_their_end_is_heard() -> None:
    """Two orders of 60 at 100 exceed 10,000 in cash, until the first is cancelled."""
    room = risk()
    actual = [verdict(room, signal(60, number=9))[0], verdict(room, signal(60, number=10))[0]]
    list(room.handle(made(11, 4, 1, OrderCancelled(ExecMode.PAPER, "s", 101, "1-9-2-1-0", "1-9-3-1-0", 60, "test"))))
    actual.append(verdict(room, signal(60, number=12))[0])
    assert actual == ["validated", "cash", "validated"]


def test_a_target_counts_what_is_on_its_way() -> None:
    """Target 10 twice is 10 once; after the fill it is still held."""
    room = risk()
    actual = [verdict(room, signal(10, kind=SignalKind.TARGET_QUANTITY))]
    actual.append(verdict(room, signal(10, kind=SignalKind.TARGET_QUANTITY, number=10)))
    list(room.handle(fill(10, 100.0)))
    actual.append(verdict(room, signal(-10, kind=SignalKind.TARGET_QUANTITY, number=11)))
    assert actual == [("validated", 10, None), ("nothing_to_do", 10, 10), ("validated", -20, None)]


def test_a_daily_loss_stops_what_adds_and_lets_through_what_reduces() -> None:
    """Bought 50 at 100, now at 90: 500 lost, 400 allowed."""
    room = risk(max_daily_loss=400)
    verdict(room, signal(50))
    list(room.handle(fill(50, 100.0)))
    list(room.handle(tick(12, 90.0, at_s=3)))
    assert [verdict(room, signal(size, number=13))[:1] for size in (1, -50)] == [("daily_loss",), ("validated",)]


def test_a_new_session_forgets_the_loss_of_the_last() -> None:
    """Losses count from session open."""
    room = risk(max_daily_loss=400)
    verdict(room, signal(50))
    for event in (fill(50, 100.0), tick(12, 90.0, at_s=3), session_open(13)):
        list(room.handle(event))
    assert verdict(room, signal(1, number=14))[0] == "validated"
