"""Charges, margins and broker figures as rooms take them: rules of one fill or position, from the reference tables."""

from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from functools import lru_cache
from typing import Any

import msgspec

from alphapanda.contracts.events import Charges
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.charges import NOTHING, ChargeSchedule
from alphapanda.reference.profiles import MarketProfile
from alphapanda.services.risk_manager.books import MarginRule
from alphapanda.services.risk_manager.models import RiskLimits
from alphapanda.services.trading_engine.service import ChargeRule

ONE = Fraction(1)
MARGINS: dict[tuple[str, str], Fraction] = {}
BROKER_FIGURES: dict[str, Any] = {
    "orders_per_second": 10, "orders_per_minute": 400, "orders_per_day": 5_000, "max_modifications": 25,
}  # fmt: skip
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


def margin_rule(instruments: Mapping[int, Instrument]) -> MarginRule:
    """Margin of a position by the table of its segment and product; a bought option costs its premium."""

    def margin(token: int, product: str, value_e8: int) -> int:
        instrument = instruments[token]
        if value_e8 >= 0 and instrument.option_type is not None:
            return value_e8
        rate = MARGINS.get((instrument.segment, product), ONE)
        return abs(value_e8) * rate.numerator // rate.denominator

    return margin


def with_broker_figures(limits: RiskLimits) -> RiskLimits:
    """The limits, and where they set none the broker's own order rates, modifications and freeze quantities."""
    unset = {name: value for name, value in BROKER_FIGURES.items() if getattr(limits, name) is None}
    if limits.freeze_quantity == "off":
        unset["freeze_quantity"] = "slice"
    return limits.model_copy(update=unset)
