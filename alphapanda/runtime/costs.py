"""Charges, margins and broker figures as rooms take them: rules of one fill or position, from the reference tables."""

from collections.abc import Mapping
from datetime import date
from functools import lru_cache

import msgspec

from alphapanda.contracts.events import Charges, Product
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import to_e8, value_e8
from alphapanda.reference.charges import NOTHING, ChargeSchedule
from alphapanda.reference.profiles import MarketProfile
from alphapanda.reference.rules import margin_rate, order_limits
from alphapanda.services.risk_manager.books import MarginRule
from alphapanda.services.risk_manager.models import RiskLimits
from alphapanda.services.trading_engine.service import ChargeRule

QUARTER_NS = 900_000_000_000


def charge_rule(schedule: ChargeSchedule, profile: MarketProfile) -> ChargeRule:
    """What fills cost by this schedule, on the local date of their time."""
    if schedule.free:
        return lambda *_: NOTHING

    @lru_cache(maxsize=64)
    def local_day(quarter: int) -> date:
        # Local dates begin at a multiple of a quarter of an hour in every zone.
        return profile.local_date(quarter * QUARTER_NS)

    def charge(
        ts_ns: int, instrument: Instrument, product: str, quantity: int, notional_e8: int, before: int, before_e8: int,
        delivers: bool,
    ) -> Charges:  # fmt: skip
        day, segment = local_day(ts_ns // QUARTER_NS), instrument.segment
        charges = schedule.charge(
            day=day, segment=segment, product=product, quantity=quantity, notional_e8=notional_e8,
            order_quantity_before=before, order_notional_before_e8=before_e8,
        )  # fmt: skip
        if delivers and (dp_e8 := schedule.dp_e8(day=day, segment=segment, product=product)):
            return msgspec.structs.replace(charges, dp_e8=dp_e8)
        return charges

    return charge


def margin_rule(instruments: Mapping[int, Instrument], profile: MarketProfile) -> MarginRule:
    """Margin of a position by the dated table of its segment and product (an approximation, not SPAN).

    A written option's is of the value of what it is on, taken at its strike; a delivery sold short is taken whole.
    """

    def margin(ts_ns: int, token: int, product: str, quantity: int, price_e8: int) -> int:
        instrument, is_short = instruments[token], quantity < 0
        worth_e8 = abs(value_e8(price_e8, quantity, instrument.multiplier_e8))
        if is_short and product == Product.CNC:
            return worth_e8
        rate = margin_rate(profile.local_date(ts_ns), instrument.segment, product, is_short=is_short)
        if is_short and instrument.strike is not None:
            worth_e8 = abs(value_e8(to_e8(instrument.strike), quantity, instrument.multiplier_e8))
        return worth_e8 * rate.numerator // rate.denominator

    return margin


def with_broker_figures(limits: RiskLimits) -> RiskLimits:
    """The limits, and where they set none the broker's own order rates, modifications and slices."""
    kite = order_limits(date.fromisoformat(limits.broker_rules_of))
    figures = {
        "orders_per_second": kite.per_second, "orders_per_minute": kite.per_minute, "orders_per_day": kite.per_day,
        "max_modifications": kite.modifications_per_order,
    }  # fmt: skip
    unset: dict[str, object] = {name: value for name, value in figures.items() if getattr(limits, name) is None}
    if limits.freeze_quantity == "off":
        unset["freeze_quantity"] = "slice"
    return limits.model_copy(update=unset)
