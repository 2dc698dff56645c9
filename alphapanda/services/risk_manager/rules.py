"""One named function for each check. It returns None, or what it found beside what is allowed.

The name of the function is the reason code of the rejection. `CHECKS` is the order in which they are asked; the first
that objects decides.
"""

from collections.abc import Callable
from typing import NamedTuple

from alphapanda.contracts.events import OrderType, Product, SignalKind
from alphapanda.core.ledger import E8, to_e8, value_e8
from alphapanda.services.risk_manager.models import NS, BookLimits, Figures, Proposal, RiskLimits

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


def order_terms(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The terms are whole: a LIMIT has its limit, a stop its trigger, an SL both, MARKET neither; a change keeps the side."""
    terms = p.terms
    if p.turns:
        return Breach(p.size, None, "side")
    for price in stated_prices(p):
        if price is not None and price <= 0:
            return Breach(price, 0.0, "price")
    if terms is None or p.kind in CHANGES:
        return None
    has = terms.limit_price is not None, terms.trigger_price is not None
    return None if has == _PRICES_OF[terms.order_type] else Breach(None, None, terms.order_type)


def known_order(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The order to cancel or modify is one that this strategy sent, and whose end was not heard of."""
    return None if p.known_order else Breach(None, None, "client_order_id")


def square_off(p: Proposal, limits: RiskLimits) -> Breach | None:
    """No new MIS orders once intraday positions were squared off; reducing ones pass."""
    late = limits.broker_rules and p.squared_off and p.product == Product.MIS and not p.reduces
    return Breach(None, None, "squared_off") if late else None


def tick_size(p: Proposal, limits: RiskLimits) -> Breach | None:
    """Every price the strategy states is a multiple of the tick size."""
    if p.instrument is None or (p.reference_price is None and p.terms is None):
        return None
    step_e8 = to_e8(p.instrument.tick_size)
    for price in (p.reference_price, *stated_prices(p)):
        if price is not None and step_e8 > 0 and to_e8(price) % step_e8 != 0:
            return Breach(price, p.instrument.tick_size, "price")
    return None


def price_band(p: Proposal, limits: RiskLimits) -> Breach | None:
    """Limit and trigger lie within `price_band_pct` of the last price and, by broker rules, within the instrument's bands."""
    if p.instrument is None or p.mark is None or p.terms is None:
        return None
    for price in stated_prices(p):
        if price is None:
            continue
        last_e8 = max(1, to_e8(p.mark.last_price))
        away_e8 = abs(to_e8(price) - last_e8)  # whole numbers, so that a price at the band is within it
        if limits.price_band_pct is not None and away_e8 * 100 > limits.price_band_pct * last_e8:
            return Breach(away_e8 * 100 / last_e8, limits.price_band_pct, "percent")
        low, high = p.instrument.lower_band, p.instrument.upper_band
        if limits.broker_rules and low is not None and price < low:
            return Breach(price, low, "price")
        if limits.broker_rules and high is not None and price > high:
            return Breach(price, high, "price")
    return None


def lot_size(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The quantity is a multiple of the lot size."""
    if p.instrument is None or p.quantity % p.instrument.lot_size == 0:
        return None
    return Breach(p.quantity, p.instrument.lot_size, "quantity")


def freeze_quantity(p: Proposal, limits: RiskLimits) -> Breach | None:
    """One order is not above the exchange's freeze quantity; sliced, at most `max_slices` orders are not."""
    if p.instrument is None or p.instrument.freeze_quantity is None or limits.freeze_quantity == "off":
        return None
    slices = limits.max_slices if limits.freeze_quantity == "slice" and p.kind not in CHANGES else 1
    most = p.instrument.freeze_quantity * slices
    return Breach(abs(p.size), most, "quantity") if abs(p.size) > most else None


def market_protection(p: Proposal, limits: RiskLimits) -> Breach | None:
    """By broker rules MARKET and SL-M orders need market protection (execution.market_protection_pct)."""
    bare = p.kind not in CHANGES and (p.terms is None or p.terms.order_type in (OrderType.MARKET, OrderType.SL_M))
    return Breach(0.0, None, "percent") if limits.broker_rules and bare and not p.protected else None


def short_delivery(p: Proposal, limits: RiskLimits) -> Breach | None:
    """By broker rules a CNC order cannot sell more than is held or on its way."""
    after = p.position + p.quantity
    bad = limits.broker_rules and p.product == Product.CNC and p.quantity < 0 and after < 0
    return Breach(after, 0, "quantity") if bad else None


def duplicate_signal(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The strategy did not just say the same of this instrument."""
    age_s, window_s = p.duplicate_age_s, limits.duplicate_window_s
    return Breach(age_s, window_s, "s") if age_s is not None and window_s is not None and age_s < window_s else None


def orders_per_second(p: Proposal, limits: RiskLimits) -> Breach | None:
    """Orders, modifications and cancellations of all strategies in the last second."""
    return _rate(p.second, p.orders, limits.orders_per_second, "orders/s")


def orders_per_minute(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The same in the last minute."""
    return _rate(p.minute, p.orders, limits.orders_per_minute, "orders/min")


def orders_per_day(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The same since session open."""
    return _rate(p.today, p.orders, limits.orders_per_day, "orders/day")


def _rate(sent: int, orders: int, most: int | None, unit: str) -> Breach | None:
    return Breach(sent + orders, most, unit) if most is not None and sent + orders > most else None


def modifications(p: Proposal, limits: RiskLimits) -> Breach | None:
    """One order is not modified more often than `max_modifications`."""
    most = limits.max_modifications
    over = p.kind == SignalKind.MODIFY and most is not None and p.modifications >= most
    return Breach(p.modifications + 1, most, "modifications") if over else None


def self_cross(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The order would not trade with another strategy's."""
    return Breach(p.crossing, 0, "quantity") if limits.forbid_self_cross and p.crossing else None


def order_quantity(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The order is not larger than `max_order_quantity`."""
    largest = limits.max_order_quantity
    return Breach(abs(p.size), largest, "quantity") if largest is not None and abs(p.size) > largest else None


def notional(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The order's value is within `max_order_notional`."""
    if limits.max_order_notional is None or p.instrument is None:
        return None
    value = abs(value_e8(p.price_e8, p.size, p.instrument.multiplier_e8)) / E8
    return Breach(value, limits.max_order_notional, "currency") if value > limits.max_order_notional else None


def position(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The position it may lead to is within `max_position`, unless the order makes it smaller."""
    return _position(p, limits, p.book)


def gross_exposure(p: Proposal, limits: RiskLimits) -> Breach | None:
    """Positions, intents and this order stay within `max_gross_exposure`, unless the order makes a position smaller."""
    return _gross(p, limits, p.book)


def net_exposure(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The same of the signed sum and `max_net_exposure`, unless the order brings it nearer to zero."""
    return _net(p, limits, p.book)


def cash(p: Proposal, limits: RiskLimits) -> Breach | None:
    """Cash less what buying shorts back would cost stays positive, unless the order makes a position smaller."""
    if not limits.require_cash or p.cash_after_e8 >= 0 or p.reduces:
        return None
    return Breach(p.cash_after_e8 / E8, 0.0, "currency")


def margin(p: Proposal, limits: RiskLimits) -> Breach | None:
    """Equity covers the margin of positions, intents and this order, unless the order makes a position smaller."""
    if not limits.require_margin or p.margin_after_e8 <= p.margin_e8 or p.reduces:
        return None
    return Breach(p.margin_after_e8 / E8, p.margin_e8 / E8, "currency")


def daily_loss(p: Proposal, limits: RiskLimits) -> Breach | None:
    """The book lost less than `max_daily_loss` since session open, unless the order makes a position smaller."""
    return _daily_loss(p, limits, p.book)


def drawdown(p: Proposal, limits: RiskLimits) -> Breach | None:
    """Equity is less than `max_drawdown` below its highest, unless the order makes a position smaller."""
    return _drawdown(p, limits, p.book)


def account_position(p: Proposal, limits: RiskLimits) -> Breach | None:
    """`position`, of all books together, by `account.max_position`."""
    return _position(p, limits.account, p.account)


def account_gross_exposure(p: Proposal, limits: RiskLimits) -> Breach | None:
    """`gross_exposure`, of all books together."""
    return _gross(p, limits.account, p.account)


def account_net_exposure(p: Proposal, limits: RiskLimits) -> Breach | None:
    """`net_exposure`, of all books together."""
    return _net(p, limits.account, p.account)


def account_daily_loss(p: Proposal, limits: RiskLimits) -> Breach | None:
    """`daily_loss`, of all books together."""
    return _daily_loss(p, limits.account, p.account)


def account_drawdown(p: Proposal, limits: RiskLimits) -> Breach | None:
    """`drawdown`, of all books together."""
    return _drawdown(p, limits.account, p.account)


def _position(p: Proposal, limits: BookLimits, of: Figures) -> Breach | None:
    after, largest = abs(of.position + p.quantity), limits.max_position
    return Breach(after, largest, "quantity") if largest is not None and after > largest and after > abs(of.position) else None


def _gross(p: Proposal, limits: BookLimits, of: Figures) -> Breach | None:
    largest = limits.max_gross_exposure
    over = largest is not None and of.gross_after_e8 > largest * E8 and not p.reduces
    return Breach(of.gross_after_e8 / E8, largest, "currency") if over else None


def _net(p: Proposal, limits: BookLimits, of: Figures) -> Breach | None:
    largest, after_e8 = limits.max_net_exposure, abs(of.net_after_e8)
    over = largest is not None and after_e8 > largest * E8 and after_e8 > abs(of.net_before_e8)
    return Breach(after_e8 / E8, largest, "currency") if over else None


def _daily_loss(p: Proposal, limits: BookLimits, of: Figures) -> Breach | None:
    largest = limits.max_daily_loss
    over = largest is not None and -of.day_pnl_e8 >= largest * E8 and not p.reduces
    return Breach(-of.day_pnl_e8 / E8, largest, "currency") if over else None


def _drawdown(p: Proposal, limits: BookLimits, of: Figures) -> Breach | None:
    largest = limits.max_drawdown
    if largest is None or p.reduces or of.highest_e8 <= 0:
        return None
    fallen = 1 - of.equity_e8 / of.highest_e8
    return Breach(fallen, largest, "fraction") if fallen >= largest else None


def stated_prices(p: Proposal) -> tuple[float | None, ...]:
    """The prices in a signal's terms, None for each that it does not state."""
    terms = p.terms
    return () if terms is None else (terms.limit_price, terms.trigger_price, terms.stop_loss, terms.take_profit)


CHANGES = frozenset({SignalKind.CANCEL, SignalKind.MODIFY})
_PRICES_OF = {
    OrderType.MARKET: (False, False), OrderType.LIMIT: (True, False), OrderType.SL_M: (False, True), OrderType.SL: (True, True),
}  # fmt: skip
"""Whether each type has a limit, and a trigger."""
NEEDS: dict[Check, str] = {
    stale_quote: "max_quote_age_s", order_quantity: "max_order_quantity", position: "max_position",
    notional: "max_order_notional", gross_exposure: "max_gross_exposure", net_exposure: "max_net_exposure",
    daily_loss: "max_daily_loss", drawdown: "max_drawdown", duplicate_signal: "duplicate_window_s",
    orders_per_second: "orders_per_second", orders_per_minute: "orders_per_minute", orders_per_day: "orders_per_day",
    modifications: "max_modifications", account_position: "account.max_position",
    account_gross_exposure: "account.max_gross_exposure", account_net_exposure: "account.max_net_exposure",
    account_daily_loss: "account.max_daily_loss", account_drawdown: "account.max_drawdown",
}  # fmt: skip
"""The limit without which a check never objects, and need not be asked."""
SWITCHED: dict[Check, str] = {
    square_off: "broker_rules", market_protection: "broker_rules", short_delivery: "broker_rules",
    self_cross: "forbid_self_cross", cash: "require_cash", margin: "require_margin",
}  # fmt: skip
"""The switch that turns a check on."""
CHECKS: tuple[Check, ...] = (
    kill_switch, strategy_halted, instrument, session_open, square_off, quote, stale_quote, order_terms, known_order,
    duplicate_signal, tick_size, price_band, lot_size, freeze_quantity, market_protection, short_delivery, order_quantity,
    position, notional, gross_exposure, net_exposure, cash, margin, daily_loss, drawdown, self_cross, account_position,
    account_gross_exposure, account_net_exposure, account_daily_loss, account_drawdown, modifications, orders_per_second,
    orders_per_minute, orders_per_day,
)  # fmt: skip
"""All checks, in the order in which they are asked of an order or a modification."""
CANCEL_CHECKS: tuple[Check, ...] = (known_order, orders_per_second, orders_per_minute, orders_per_day)
"""What a cancellation is asked: nothing else stands in the way of getting out."""


OF_TERMS = frozenset({order_terms, known_order, price_band, modifications})
"""Checks that never object to a signal without terms, which is a MARKET order."""
OF_PRICES = OF_TERMS | {tick_size}
"""Checks that never object to a signal that states no price at all."""
SEEN = frozenset(CHECKS) - OF_PRICES - {square_off, market_protection, short_delivery}
"""Checks that never object to a proposal that a first look found clear."""
NONE_OF: frozenset[Check] = frozenset()


def asked(limits: RiskLimits, checks: tuple[Check, ...] = CHECKS, but: frozenset[Check] = NONE_OF) -> list[Check]:
    """The checks that can object under these limits, but for some."""

    def limited(name: str) -> bool:
        section, dot, key = name.partition(".")
        return getattr(getattr(limits, section), key) is not None if dot else getattr(limits, name) is not None

    return [
        one for one in checks
        if (one not in NEEDS or limited(NEEDS[one])) and (one not in SWITCHED or getattr(limits, SWITCHED[one]))
        and one not in but and not (one is freeze_quantity and limits.freeze_quantity == "off")
    ]  # fmt: skip
