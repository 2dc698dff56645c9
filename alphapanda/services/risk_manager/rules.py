"""One named function for each check. It returns None, or what it found beside what is allowed.

The name of the function is the reason code of the rejection. `CHECKS` is the order in which they are asked; the first
that objects decides.
"""

from collections.abc import Callable
from typing import NamedTuple

from alphapanda.core.ledger import E8, to_e8, value_e8
from alphapanda.services.risk_manager.models import Proposal, RiskLimits

NS = 1_000_000_000
NOTHING_TO_DO = "nothing_to_do"
"""Reason code of a target that is already held: not a check, but the signal ends here."""


class Breach(NamedTuple):
    """What a check found, what it allows, and their unit; None where there is no figure."""

    value: float | None
    limit: float | None
    unit: str


Check = Callable[[Proposal, RiskLimits], Breach | None]


def kill_switch(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The operator's kill switch is engaged."""
    return Breach(None, None, "engaged") if p.killed else None


def strategy_halted(p: Proposal, limits: RiskLimits) -> Breach | None:
    """An operator halted this strategy."""
    return Breach(None, None, "halted") if p.halted else None


def instrument(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The instrument is on the tape's table and can be traded."""
    return None if p.instrument is not None and p.instrument.tradable else Breach(None, None, "tradable")


def session_open(p: Proposal, limits: RiskLimits) -> Breach | None:
    """A trading session is open."""
    return None if p.session_open or not limits.require_session else Breach(None, None, "session")


def quote(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The instrument has a quote at all."""
    return Breach(None, None, "quote") if p.mark is None else None


def stale_quote(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The quote is younger than `max_quote_age_s`."""
    if limits.max_quote_age_s is None or p.mark is None:
        return None
    age_s = (p.ts_ns - p.mark.ts_ns) / NS
    return Breach(age_s, limits.max_quote_age_s, "s") if age_s > limits.max_quote_age_s else None


def tick_size(p: Proposal, limits: RiskLimits) -> Breach | None:
    """A price the strategy states is a multiple of the tick size."""
    if p.reference_price is None or p.instrument is None:
        return None
    step_e8 = to_e8(p.instrument.tick_size)
    off = step_e8 > 0 and to_e8(p.reference_price) % step_e8 != 0
    return Breach(p.reference_price, p.instrument.tick_size, "price") if off else None


def lot_size(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The quantity is a multiple of the lot size."""
    if p.instrument is None or p.quantity % p.instrument.lot_size == 0:
        return None
    return Breach(p.quantity, p.instrument.lot_size, "quantity")


def order_quantity(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The order is not larger than `max_order_quantity`."""
    largest = limits.max_order_quantity
    return Breach(abs(p.quantity), largest, "quantity") if largest is not None and abs(p.quantity) > largest else None


def position(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The position it may lead to is within `max_position`, unless the order makes it smaller."""
    after, largest = abs(p.position + p.quantity), limits.max_position
    return Breach(after, largest, "quantity") if largest is not None and after > largest and after > abs(p.position) else None


def notional(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The order's value is within `max_order_notional`."""
    if limits.max_order_notional is None or p.instrument is None:
        return None
    value = abs(value_e8(p.price_e8, p.quantity, p.instrument.multiplier_e8)) / E8
    return Breach(value, limits.max_order_notional, "currency") if value > limits.max_order_notional else None


def gross_exposure(p: Proposal, limits: RiskLimits) -> Breach | None:
    """Positions, intents and this order stay within `max_gross_exposure`, unless the order makes a position smaller."""
    largest = limits.max_gross_exposure
    if largest is None or abs(p.position + p.quantity) <= abs(p.position):
        return None
    return Breach(p.gross_after_e8 / E8, largest, "currency") if p.gross_after_e8 > largest * E8 else None


def cash(p: Proposal, limits: RiskLimits) -> Breach | None:
    """Cash less what buying shorts back would cost stays positive, unless the order makes a position smaller."""
    if not limits.require_cash or p.cash_after_e8 >= 0 or abs(p.position + p.quantity) <= abs(p.position):
        return None
    return Breach(p.cash_after_e8 / E8, 0.0, "currency")


def daily_loss(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The book lost less than `max_daily_loss` since session open, unless the order makes a position smaller."""
    largest = limits.max_daily_loss
    if largest is None or abs(p.position + p.quantity) <= abs(p.position):
        return None
    return Breach(-p.day_pnl_e8 / E8, largest, "currency") if -p.day_pnl_e8 >= largest * E8 else None


NEEDS: dict[Check, str] = {
    stale_quote: "max_quote_age_s", order_quantity: "max_order_quantity", position: "max_position",
    notional: "max_order_notional", gross_exposure: "max_gross_exposure", daily_loss: "max_daily_loss",
}  # fmt: skip
"""The limit without which a check never objects, and need not be asked."""
CHECKS: tuple[Check, ...] = (
    kill_switch, strategy_halted, instrument, session_open, quote, stale_quote, tick_size, lot_size,
    order_quantity, position, notional, gross_exposure, cash, daily_loss,
)  # fmt: skip
