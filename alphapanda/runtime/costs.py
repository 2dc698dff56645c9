"""Charges, margins and broker figures as rooms take them: rules of one fill or position, from the reference tables."""

from collections.abc import Callable, Mapping
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
    local_day = _local_days(profile)

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
    local_day = _local_days(profile)

    @lru_cache(maxsize=4096)
    def terms(token: int, product: str, is_short: bool, quarter: int) -> tuple[int | None, int, int, int]:
        # (strike in its place, multiplier, numerator and denominator of the rate)
        instrument = instruments[token]
        if is_short and product == Product.CNC:
            return None, instrument.multiplier_e8, 1, 1
        rate = margin_rate(local_day(quarter), instrument.segment, product, is_short=is_short)
        strike_e8 = to_e8(instrument.strike) if is_short and instrument.strike is not None else None
        return strike_e8, instrument.multiplier_e8, rate.numerator, rate.denominator

    def margin(ts_ns: int, token: int, product: str, quantity: int, price_e8: int) -> int:
        strike_e8, multiplier_e8, numerator, denominator = terms(token, product, quantity < 0, ts_ns // QUARTER_NS)
        worth_e8 = abs(value_e8(price_e8 if strike_e8 is None else strike_e8, quantity, multiplier_e8))
        return worth_e8 * numerator // denominator

    return margin


def _local_days(profile: MarketProfile) -> Callable[[int], date]:
    """The local date of each quarter of an hour: dates begin at a multiple of that in every zone."""

    @lru_cache(maxsize=64)
    def local_day(quarter: int) -> date:
        return profile.local_date(quarter * QUARTER_NS)

    return local_day


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
