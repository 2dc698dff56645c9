"""Each risk check with what it found and what it allows, also where it did not object.

The checks say a value and a limit only when they object. Here is the same for every check; a test holds the two together.
"""

from collections.abc import Callable
from dataclasses import dataclass

from alphapanda.contracts.events import OrderType
from alphapanda.core.ledger import E8, to_e8, value_e8
from alphapanda.services.risk_manager import rules
from alphapanda.services.risk_manager.models import NS, BookLimits, Figures, Proposal, RiskLimits
from alphapanda.services.risk_manager.rules import Breach, Check

Measure = Callable[[Proposal, RiskLimits], Breach]
OBJECTS, PASSES, NOT_REACHED, NOT_LIMITED = "objects", "passes", "not reached", "not limited"


@dataclass(frozen=True)
class CheckRow:
    """One check of one decision."""

    name: str
    result: str  # objects, passes, not reached (an earlier one objected), not limited
    value: float | None
    limit: float | None
    unit: str
    meaning: str


def _flag(unit: str) -> Measure:
    return lambda p, limits: Breach(None, None, unit)


def _stale(p: Proposal, limits: RiskLimits) -> Breach:
    age_s = None if p.mark is None else (p.ts_ns - p.mark.ts_ns) / NS
    return Breach(age_s, limits.max_quote_age_s, "s")


def _terms(p: Proposal, limits: RiskLimits) -> Breach:
    if (found := rules.order_terms(p, limits)) is not None:
        return found
    return Breach(None, None, OrderType.MARKET if p.terms is None else p.terms.order_type)


def _tick_size(p: Proposal, limits: RiskLimits) -> Breach:
    """The first price off the grid, else the first that is stated."""
    if p.instrument is None:
        return Breach(None, None, "price")
    stated = [price for price in (p.reference_price, *rules.stated_prices(p)) if price is not None]
    step_e8 = to_e8(p.instrument.tick_size)
    off = [price for price in stated if step_e8 > 0 and to_e8(price) % step_e8 != 0]
    return Breach(next(iter(off or stated), None), p.instrument.tick_size, "price")


def _price_band(p: Proposal, limits: RiskLimits) -> Breach:
    """What the check says where it objects, else how far the farthest price is from the last."""
    if (found := rules.price_band(p, limits)) is not None:
        return found
    stated = [price for price in rules.stated_prices(p) if price is not None]
    if p.mark is None or not stated:
        return Breach(None, limits.price_band_pct, "percent")
    last_e8 = max(1, to_e8(p.mark.last_price))
    return Breach(max(abs(to_e8(price) - last_e8) * 100 / last_e8 for price in stated), limits.price_band_pct, "percent")


def _lot_size(p: Proposal, limits: RiskLimits) -> Breach:
    return Breach(p.quantity, None if p.instrument is None else p.instrument.lot_size, "quantity")


def _freeze(p: Proposal, limits: RiskLimits) -> Breach:
    most = None if p.instrument is None else p.instrument.freeze_quantity
    slices = limits.max_slices if limits.freeze_quantity == "slice" and p.kind not in rules.CHANGES else 1
    return Breach(abs(p.size), None if most is None else most * slices, "quantity")


def _notional(p: Proposal, limits: RiskLimits) -> Breach:
    worth = None if p.instrument is None else abs(value_e8(p.price_e8, p.size, p.instrument.multiplier_e8)) / E8
    return Breach(worth, limits.max_order_notional, "currency")


def _position(limits: BookLimits, of: Figures, p: Proposal) -> Breach:
    return Breach(abs(of.position + p.quantity), limits.max_position, "quantity")


def _gross(limits: BookLimits, of: Figures, p: Proposal) -> Breach:
    return Breach(of.gross_after_e8 / E8, limits.max_gross_exposure, "currency")


def _net(limits: BookLimits, of: Figures, p: Proposal) -> Breach:
    return Breach(abs(of.net_after_e8) / E8, limits.max_net_exposure, "currency")


def _loss(limits: BookLimits, of: Figures, p: Proposal) -> Breach:
    return Breach(-of.day_pnl_e8 / E8, limits.max_daily_loss, "currency")


def _drawdown(limits: BookLimits, of: Figures, p: Proposal) -> Breach:
    return Breach(1 - of.equity_e8 / of.highest_e8 if of.highest_e8 > 0 else None, limits.max_drawdown, "fraction")


OfBook = Callable[[BookLimits, Figures, Proposal], Breach]


def _book(measure: OfBook) -> Measure:
    return lambda p, limits: measure(limits, p.book, p)


def _account(measure: OfBook) -> Measure:
    return lambda p, limits: measure(limits.account, p.account, p)


def _cash(p: Proposal, limits: RiskLimits) -> Breach:
    """What is left; the room works it out only for orders that make a position larger."""
    return Breach(None if p.reduces else p.cash_after_e8 / E8, 0.0, "currency")


MEASURES: dict[Check, Measure] = {
    rules.kill_switch: _flag("engaged"),
    rules.strategy_halted: _flag("halted"),
    rules.instrument: _flag("tradable"),
    rules.session_open: _flag("session"),
    rules.square_off: _flag("squared_off"),
    rules.quote: _flag("quote"),
    rules.stale_quote: _stale,
    rules.order_terms: _terms,
    rules.known_order: _flag("client_order_id"),
    rules.duplicate_signal: lambda p, limits: Breach(p.duplicate_age_s, limits.duplicate_window_s, "s"),
    rules.tick_size: _tick_size,
    rules.price_band: _price_band,
    rules.lot_size: _lot_size,
    rules.freeze_quantity: _freeze,
    rules.market_protection: lambda p, limits: Breach(0.0, None, "percent"),
    rules.short_delivery: lambda p, limits: Breach(p.position + p.quantity, 0, "quantity"),
    rules.order_quantity: lambda p, limits: Breach(abs(p.size), limits.max_order_quantity, "quantity"),
    rules.position: _book(_position),
    rules.notional: _notional,
    rules.gross_exposure: _book(_gross),
    rules.net_exposure: _book(_net),
    rules.cash: _cash,
    rules.margin: lambda p, limits: Breach(p.margin_after_e8 / E8, p.margin_e8 / E8, "currency"),
    rules.daily_loss: _book(_loss),
    rules.drawdown: _book(_drawdown),
    rules.self_cross: lambda p, limits: Breach(p.crossing, 0, "quantity"),
    rules.account_position: _account(_position),
    rules.account_gross_exposure: _account(_gross),
    rules.account_net_exposure: _account(_net),
    rules.account_daily_loss: _account(_loss),
    rules.account_drawdown: _account(_drawdown),
    rules.modifications: lambda p, limits: Breach(p.modifications + 1, limits.max_modifications, "modifications"),
    rules.orders_per_second: lambda p, limits: Breach(p.second + p.orders, limits.orders_per_second, "orders/s"),
    rules.orders_per_minute: lambda p, limits: Breach(p.minute + p.orders, limits.orders_per_minute, "orders/min"),
    rules.orders_per_day: lambda p, limits: Breach(p.today + p.orders, limits.orders_per_day, "orders/day"),
}
"""What each check looks at."""


def check_rows(proposal: Proposal, limits: RiskLimits, asked: list[Check], all_checks: tuple[Check, ...]) -> list[CheckRow]:
    """Every check in order: what it says of this proposal, where it was asked at all."""
    rows, objected = [], False
    for check in all_checks:
        meaning = (check.__doc__ or "").strip()
        if check not in asked:
            rows.append(CheckRow(check.__name__, NOT_LIMITED, None, None, "", meaning))
            continue
        found = MEASURES[check](proposal, limits)
        bad = check(proposal, limits) is not None
        result = (OBJECTS if bad else PASSES) if not objected else NOT_REACHED
        objected |= bad
        rows.append(CheckRow(check.__name__, result, found.value, found.limit, str(found.unit), meaning))
    return rows
