"""What a fill costs: charge profiles as dated tables, computed exactly.

A table has groups, one for some segments and products; a group has lines, and each line its figures with the dates from
which they are in force (see `tables/zerodha.toml`). A day before any line of a group begins is refused. Charges are for an
ORDER: every line is worked out over all the order's fills as a fraction, rounded half to even to 1e-8, and a later fill
pays what the order's line rose by, so partial fills add up exactly to the whole.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from functools import cached_property
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from alphapanda.contracts.errors import ConfigurationError, ReferenceDataError
from alphapanda.contracts.events import Charges
from alphapanda.reference.notes import CONTRACT_NOTE, PAISA, ROUNDINGS, Note, NoteRounding, contract_note, note
from alphapanda.reference.rates import LINES, Rates

__all__ = [
    "CONTRACT_NOTE", "NOTHING", "PAISA", "PROFILES", "ROUNDINGS", "ChargeGroup", "ChargeSchedule", "Note", "NoteRounding",
    "contract_note", "load_charges", "note",
]  # fmt: skip

PROFILES = ("zerodha", "none", "custom")
NOTHING = Charges()


def _figure(value: Any) -> Fraction:
    try:
        figure = Fraction(str(value))
    except ZeroDivisionError as error:
        raise ValueError(f"{value} is no number") from error
    if figure < 0:
        raise ValueError(f"{value} is negative")
    return figure


class Step(BaseModel):
    """A figure and the first day it is in force."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    value: Annotated[Fraction, BeforeValidator(_figure)]
    since: date = date.min
    source: str = ""


def _steps(value: Any) -> Any:
    """A bare figure is in force always."""
    return value if isinstance(value, list | tuple) else ({"value": value},)


def _in_order(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    if any(one.since >= after.since for one, after in pairwise(steps)):
        raise ValueError("its dates must rise")
    return steps


Line = Annotated[tuple[Step, ...], BeforeValidator(_steps), AfterValidator(_in_order)]


class ChargeGroup(BaseModel):
    """The lines of some segments and products; each figure is a fraction of the value unless its line says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    segments: tuple[str, ...] = ()  # empty: every segment
    products: tuple[str, ...] = ()  # empty: every product
    brokerage: Line = ()
    brokerage_per_unit: Line = ()  # currency for each unit
    brokerage_per_order: Line = ()  # currency for each order
    brokerage_min: Line = ()  # currency for each order
    brokerage_max: Line = ()  # currency for each order
    brokerage_max_of_value: Line = ()  # of an order, also below its minimum
    stt_buy: Line = ()
    stt_sell: Line = ()
    exchange: Line = ()
    sebi: Line = ()
    stamp_buy: Line = ()
    gst: Line = ()  # of brokerage, SEBI fee and exchange charge; and of dp
    dp: Line = ()  # currency for each scrip and day of delivery sale, before GST

    @cached_property
    def _lines(self) -> dict[str, tuple[Step, ...]]:
        return {name: steps for name in LINES if (steps := getattr(self, name))}

    @cached_property
    def since(self) -> date:
        """The first day on which every line is known."""
        return max((steps[0].since for steps in self._lines.values()), default=date.min)

    @property
    def always_free(self) -> bool:
        """Whether nothing is ever charged, for anything on any day."""
        return not (self.segments or self.products or self._lines)

    def covers(self, segment: str, product: str) -> bool:
        """Whether this group is the one for a segment and product."""
        return (not self.segments or segment in self.segments) and (not self.products or product in self.products)

    def on(self, day: date, decimals: int) -> Rates:
        """The figures in force; `day` is not before `since`."""
        figures = {
            name: max((one for one in steps if one.since <= day), key=lambda one: one.since).value
            for name, steps in self._lines.items()
        }
        return Rates.of(figures, decimals)


class ChargeSchedule(BaseModel):
    """A charge profile: its groups, of which the first that covers a segment and product counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    decimals: int = Field(8, ge=0, le=8)  # to which each line of an order is rounded
    rates: tuple[ChargeGroup, ...]

    @cached_property
    def free(self) -> bool:
        """Whether nothing is ever charged, for anything on any day."""
        return self.rates[0].always_free if self.rates else False

    @cached_property
    def _found(self) -> dict[tuple[date, str, str], Rates]:
        return {}

    def rates_on(self, day: date, segment: str, product: str) -> Rates:
        """The rates in force. Raises ReferenceDataError where the table has none."""
        key = day, segment, product
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._group(day, segment, product).on(day, self.decimals)
        return found

    def _group(self, day: date, segment: str, product: str) -> ChargeGroup:
        group = next((one for one in self.rates if one.covers(segment, product)), None)
        if group is None:
            known = sorted({f"{s} {p}" for one in self.rates for s in one.segments or "*" for p in one.products or "*"})
            raise ReferenceDataError(
                f"charge profile {self.name!r} has no rates for segment {segment}, product {product}: it has"
                f" {', '.join(known)}. Use another product, charges.profile=none or custom, or a table of your own (TOML)"
            )
        if day < group.since:
            raise ReferenceDataError(
                f"charge profile {self.name!r} has no rates for segment {segment}, product {product} before {group.since}"
                f" (asked for {day}): use charges.profile=none or custom, or a table of your own (TOML)"
            )
        return group

    def charge(
        self, *, day: date, segment: str, product: str, quantity: int, notional_e8: int,
        order_quantity_before: int = 0, order_notional_before_e8: int = 0,
    ) -> Charges:  # fmt: skip
        """What a fill costs, without the depository's charge (`dp_e8`), which is for a day.

        `quantity` is signed, negative sells; `notional_e8` is the fill's absolute value in 1e-8. The `order_..._before`
        figures are what earlier fills of the same order came to, absolute. Raises ReferenceDataError as `rates_on` does.
        """
        rates = self.rates_on(day, segment, product)
        if rates.free:
            return NOTHING
        buys, count = quantity > 0, order_quantity_before + abs(quantity)
        after = rates.lines_e8(buys, count, order_notional_before_e8 + notional_e8)
        if not order_quantity_before:
            return Charges(*after)
        before = rates.lines_e8(buys, order_quantity_before, order_notional_before_e8)
        return Charges(*[now - then for now, then in zip(after, before, strict=True)])

    def dp_e8(self, *, day: date, segment: str, product: str) -> int:
        """The depository's charge with its GST, in 1e-8, for one scrip and day of delivery sale; 0 where none applies.

        Raises ReferenceDataError as `rates_on` does. Whether a day's sales take shares out of the depository is the
        caller's to say.
        """
        return self.rates_on(day, segment, product).dp_e8


class Custom(BaseModel):
    """Commission of the user's own; amounts are in the instrument's currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_share: float = 0
    per_order: float = 0
    bps: float = 0  # hundredths of a percent of the value
    min: float | None = None  # least for an order
    max: float | None = None  # most for an order
    max_bps: float | None = None  # most for an order, as hundredths of a percent of its value, even below min
    decimals: int | None = None  # to which each order's commission is rounded


def load_charges(spec: str | Mapping[str, Any]) -> ChargeSchedule:
    """A schedule by profile name (`zerodha`, `none`), from a TOML file by its path, or a custom one from its fields.

    A file is a table of the form of `tables/zerodha.toml`; with `base = "zerodha"` its groups stand before those of that
    table. Raises ConfigurationError naming file and field.
    """
    if not isinstance(spec, str):
        return _custom(spec)
    if spec == "none":
        return ChargeSchedule(name="none", version="1", rates=(ChargeGroup(),))
    if spec == "zerodha":
        return _table("zerodha.toml", resources.files("alphapanda.reference").joinpath("tables/zerodha.toml").read_text("utf-8"))
    if not spec.endswith(".toml"):
        raise ConfigurationError(
            f"charge profile {spec!r} is not known: there are {', '.join(PROFILES)},"
            " and tables of your own (a path that ends in .toml)"
        )
    try:
        text = Path(spec).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"charge table {spec}: cannot be read: {error}") from error
    schedule = _table(spec, text)
    # Two tables of one version are two tables: the run's manifest tells them apart.
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return schedule.model_copy(update={"version": f"{schedule.version}+{digest}"})


def _table(file: str, text: str) -> ChargeSchedule:
    try:
        table = tomllib.loads(text, parse_float=str)  # figures as they are written, without a detour through binary
        base = table.pop("base", None)
        if base not in (None, "zerodha"):
            raise ConfigurationError(f"charge table {file}: base: {base!r} is not known: it can be 'zerodha'")
        own = ChargeSchedule.model_validate({"name": Path(file).stem, "version": "1", **table})
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"charge table {file}: not TOML: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(f"charge table {file}: {_wrong(error)}") from error
    if base is None:
        return own
    under = load_charges(base)
    return own.model_copy(update={"version": f"{own.version}+{under.version}", "rates": own.rates + under.rates})


def _wrong(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']} (given {one['input']!r})" for one in error.errors())


def _custom(spec: Mapping[str, Any]) -> ChargeSchedule:
    try:
        custom = Custom.model_validate(spec)
        figures = {
            "brokerage": Fraction(str(custom.bps)) / 10_000,
            "brokerage_per_unit": custom.per_share,
            "brokerage_per_order": custom.per_order,
            "brokerage_min": custom.min,
            "brokerage_max": custom.max,
            "brokerage_max_of_value": None if custom.max_bps is None else Fraction(str(custom.max_bps)) / 10_000,
        }
        # A limit of 0 is a limit; a rate of 0 is none.
        limits = ("brokerage_min", "brokerage_max", "brokerage_max_of_value")
        group = ChargeGroup.model_validate(
            {name: value for name, value in figures.items() if value or (name in limits and value is not None)}
        )
        return ChargeSchedule(
            name="custom", version=custom.model_dump_json(), decimals=8 if custom.decimals is None else custom.decimals,
            rates=(group,),
        )  # fmt: skip
    except ValidationError as error:
        raise ConfigurationError(f"custom charges: {_wrong(error)}") from error
