"""What a fill costs: charge profiles as dated tables, computed exactly.

Every line is worked out as a fraction and rounded half to even to 1e-8. Brokerage with a cap or minimum is for an ORDER:
a later fill of the same order pays what the order's total rose by, so partial fills add up to the whole.
`note` rounds as a contract note does, at the end and once.
"""

import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from fractions import Fraction
from functools import cached_property
from importlib import resources
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from alphapanda.contracts.errors import ConfigurationError, ReferenceDataError
from alphapanda.contracts.events import Charges

E8 = 100_000_000
PROFILES = ("zerodha", "none", "custom")
Rate = Annotated[Fraction, BeforeValidator(lambda value: None if value is None else Fraction(str(value)))]
ZERO = Fraction(0)
NOTHING = Charges()


class Rates(BaseModel):
    """Rates from one date on; each is a fraction of the value unless its name says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    segments: tuple[str, ...] = ()  # empty: every segment
    product: str | None = None  # None: every product
    valid_from: date = date.min
    brokerage: Rate = ZERO
    brokerage_per_unit: Rate = ZERO  # currency for each unit
    brokerage_per_order: Rate = ZERO  # currency for each order
    brokerage_min: Rate | None = None  # currency for each order
    brokerage_max: Rate | None = None  # currency for each order
    stt_buy: Rate = ZERO
    stt_sell: Rate = ZERO
    exchange: Rate = ZERO
    sebi: Rate = ZERO
    stamp_buy: Rate = ZERO
    gst: Rate = ZERO  # of brokerage, SEBI fee and exchange charge

    @cached_property
    def free(self) -> bool:
        """Whether nothing is ever charged."""
        return self == Rates(segments=self.segments, product=self.product, valid_from=self.valid_from)

    def order_brokerage_e8(self, quantity: int, notional_e8: int) -> Fraction:
        """Brokerage of an order of which this much has been filled; nothing for nothing."""
        if quantity == 0:
            return ZERO
        total = notional_e8 * self.brokerage + (quantity * self.brokerage_per_unit + self.brokerage_per_order) * E8
        if self.brokerage_min is not None:
            total = max(total, self.brokerage_min * E8)
        return total if self.brokerage_max is None else min(total, self.brokerage_max * E8)


class ChargeSchedule(BaseModel):
    """A charge profile: its rates by segment, product and date."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    decimals: int = 8  # to which each line of a fill is rounded
    rates: tuple[Rates, ...]

    @cached_property
    def free(self) -> bool:
        """Whether nothing is ever charged, for anything on any day."""
        return all(one.free and not one.segments and one.product is None and one.valid_from == date.min for one in self.rates)

    @cached_property
    def _found(self) -> dict[tuple[date, str, str], Rates]:
        return {}

    def rates_on(self, day: date, segment: str, product: str) -> Rates:
        """The rates in force. Raises ReferenceDataError where the table has none."""
        key = day, segment, product
        if key not in self._found:
            mine = [
                one for one in self.rates
                if (not one.segments or segment in one.segments) and one.product in (None, product)
            ]  # fmt: skip
            valid = [one for one in mine if one.valid_from <= day]
            if not valid:
                since = f" before {min(one.valid_from for one in mine)}" if mine else ""
                raise ReferenceDataError(
                    f"charge profile {self.name!r} has no rates for segment {segment}, product {product}{since} (asked for"
                    f" {day}): use charges.profile=none or custom, or another charges.product"
                )
            self._found[key] = max(valid, key=lambda one: one.valid_from)
        return self._found[key]

    def charge(
        self, *, day: date, segment: str, product: str, quantity: int, notional_e8: int,
        order_quantity_before: int = 0, order_notional_before_e8: int = 0,
    ) -> Charges:  # fmt: skip
        """What a fill costs.

        `quantity` is signed, negative sells; `notional_e8` is the fill's absolute value in 1e-8. The `order_..._before`
        figures are what earlier fills of the same order came to, absolute.
        """
        rates, buys = self.rates_on(day, segment, product), quantity > 0
        if rates.free:
            return NOTHING
        before_e8 = rates.order_brokerage_e8(order_quantity_before, order_notional_before_e8)
        after = order_quantity_before + abs(quantity), order_notional_before_e8 + notional_e8
        # Rounded as cumulative totals, so that partial fills add up exactly.
        brokerage = self._rounded(rates.order_brokerage_e8(*after)) - self._rounded(before_e8)
        sebi, exchange = self._rounded(notional_e8 * rates.sebi), self._rounded(notional_e8 * rates.exchange)
        return Charges(
            brokerage_e8=brokerage,
            stt_e8=self._rounded(notional_e8 * (rates.stt_buy if buys else rates.stt_sell)),
            exchange_e8=exchange,
            sebi_e8=sebi,
            stamp_e8=self._rounded(notional_e8 * rates.stamp_buy) if buys else 0,
            gst_e8=self._rounded((brokerage + sebi + exchange) * rates.gst),
        )

    def _rounded(self, amount_e8: Fraction) -> int:
        step = 10 ** (8 - self.decimals)
        return round(amount_e8 / step) * step if amount_e8 else 0


class Note(NamedTuple):
    """A contract note: the unrounded lines, and their total rounded to the paisa, half to even."""

    lines: Charges
    total_paise: int


def note(charges: Iterable[Charges]) -> Note:
    """The note of these fills."""
    all_charges = list(charges)
    fields = Charges.__struct_fields__
    lines = Charges(**{name: sum(getattr(one, name) for one in all_charges) for name in fields})
    return Note(lines, round(Fraction(lines.total_e8, E8 // 100)))


class Custom(BaseModel):
    """Commission of the user's own; amounts are in the instrument's currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_share: float = 0
    per_order: float = 0
    bps: float = 0  # hundredths of a percent of the value
    min: float | None = None  # least for an order
    max: float | None = None  # most for an order
    decimals: int | None = None  # to which each fill's commission is rounded


def load_charges(spec: str | Mapping[str, Any]) -> ChargeSchedule:
    """A schedule by profile name (`zerodha`, `none`), or a custom one from its fields. Raises ConfigurationError."""
    if isinstance(spec, str):
        if spec == "none":
            return ChargeSchedule(name="none", version="1", rates=(Rates(),))
        if spec != "zerodha":
            raise ConfigurationError(f"charge profile {spec!r} is not known: there are {', '.join(PROFILES)}")
        return ChargeSchedule.model_validate(tomllib.loads(_table("zerodha")))
    try:
        custom = Custom.model_validate(spec)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigurationError(f"custom charges: {wrong}") from error
    rates = Rates(
        brokerage=Fraction(str(custom.bps)) / 10_000,
        brokerage_per_unit=custom.per_share,
        brokerage_per_order=custom.per_order,
        brokerage_min=custom.min,
        brokerage_max=custom.max,
    )
    return ChargeSchedule(
        name="custom",
        version=custom.model_dump_json(),
        decimals=8 if custom.decimals is None else custom.decimals,
        rates=(rates,),
    )


def _table(name: str) -> str:
    return resources.files("alphapanda.reference").joinpath(f"tables/{name}.toml").read_text("utf-8")
