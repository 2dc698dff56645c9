"""Charges, margins and broker figures as rooms take them: rules of one fill or position, from the reference tables."""

from collections.abc import Callable, Mapping, Set
from datetime import date
from functools import lru_cache
from typing import NamedTuple

import msgspec

from alphapanda.contracts.errors import ReferenceDataError
from alphapanda.contracts.events import Charges, MarketTick, Product
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import to_e8, value_e8
from alphapanda.reference.charges import NOTHING, ChargeSchedule
from alphapanda.reference.profiles import MarketProfile
from alphapanda.reference.rules import margin_rate, order_limits
from alphapanda.services.risk_manager.books import Holdings
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


class MarginTerms(NamedTuple):
    """What the margin of a position is worked out with."""

    strike_e8: int | None  # in the price's place
    multiplier_e8: int
    numerator: int
    denominator: int


class MarginTable:
    """Margin of each position by the dated table of its segment and product (an approximation, not SPAN).

    A written option's is of the value of what it is on, taken at its strike; a delivery sold short is taken whole.
    """

    def __init__(self, instruments: Mapping[int, Instrument], profile: MarketProfile) -> None:
        self._instruments, self._local_day = instruments, _local_days(profile)
        self._quarter = -1
        self._longs: dict[tuple[int, str], MarginTerms] = {}
        self._shorts: dict[tuple[int, str], MarginTerms] = {}
        self._bounded: set[tuple[int, str]] = set()
        self._unbounded: set[tuple[int, str]] = set()

    def margin_e8(self, ts_ns: int, held: Holdings, marks: Mapping[int, MarketTick]) -> int:
        """The sum over the positions."""
        needed_e8 = 0
        for (token, product), count in held.items():
            mark = marks.get(token)
            if mark is None or count == 0 or token not in self._instruments:
                continue
            strike_e8, multiplier_e8, numerator, denominator = self._terms(ts_ns, token, product, is_short=count < 0)
            price_e8 = to_e8(mark.last_price) if strike_e8 is None else strike_e8
            needed_e8 += abs(value_e8(price_e8, count, multiplier_e8)) * numerator // denominator
        return needed_e8

    def is_bounded(self, ts_ns: int, pairs: Set[tuple[int, str]]) -> bool:
        """Whether the table has rates for all of them, and none is above one, or of another value than the position's."""
        self._turn_to(ts_ns)
        if pairs <= self._bounded:
            return True
        if not pairs.isdisjoint(self._unbounded):
            return False
        for pair in pairs - self._bounded:
            (self._bounded if self._has_bound(ts_ns, *pair) else self._unbounded).add(pair)
        return pairs <= self._bounded

    def _has_bound(self, ts_ns: int, token: int, product: str) -> bool:
        if token not in self._instruments:
            return False
        try:
            sides = [self._terms(ts_ns, token, product, is_short=is_short) for is_short in (False, True)]
        except ReferenceDataError:
            return False
        return all(side.strike_e8 is None and side.numerator <= side.denominator for side in sides)

    def _turn_to(self, ts_ns: int) -> None:
        """What was looked up holds for a quarter of an hour."""
        if ts_ns // QUARTER_NS != self._quarter:
            self._quarter, self._longs, self._shorts = ts_ns // QUARTER_NS, {}, {}
            self._bounded, self._unbounded = set(), set()

    def _terms(self, ts_ns: int, token: int, product: str, *, is_short: bool) -> MarginTerms:
        self._turn_to(ts_ns)
        known, key = self._shorts if is_short else self._longs, (token, product)
        terms = known.get(key)
        if terms is None:
            terms = known[key] = self._look_up(self._quarter, self._instruments[token], product, is_short=is_short)
        return terms

    def _look_up(self, quarter: int, instrument: Instrument, product: str, *, is_short: bool) -> MarginTerms:
        if is_short and product == Product.CNC:
            return MarginTerms(None, instrument.multiplier_e8, 1, 1)
        rate = margin_rate(self._local_day(quarter), instrument.segment, product, is_short=is_short)
        strike_e8 = to_e8(instrument.strike) if is_short and instrument.strike is not None else None
        return MarginTerms(strike_e8, instrument.multiplier_e8, rate.numerator, rate.denominator)


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
