"""Rules of trading by date: tick and lot sizes, freeze quantities, margins, order limits, price bands, closing auction.

Each look-up reads `tables/rules.toml`, where every entry has the day from which it is in force and its source. A day, a
segment or an underlying that the table does not know raises ReferenceDataError: nothing is guessed. Where an instrument
states a figure itself, that one goes first.
"""

import tomllib
from collections.abc import Callable, Sequence
from datetime import date, time
from fractions import Fraction
from functools import cache, lru_cache
from importlib import resources
from typing import Annotated, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from alphapanda.contracts.errors import ReferenceDataError

Figure = Annotated[Fraction, BeforeValidator(lambda value: None if value is None else Fraction(str(value)))]
INDEX_FUTURES = "NFO-FUT index"


class Entry(BaseModel):
    """What every entry has."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    since: date
    until: date | None = None  # the last day for which it is known; None: until the next entry
    source: str


class TickBand(BaseModel):
    """A tick size and the prices it is for; the last band of an entry has no bound."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    tick: Figure
    below: Figure | None = None  # not itself
    up_to: Figure | None = None  # itself too

    def holds(self, price: float) -> bool:
        """Whether a price lies under this band's bound."""
        return (self.below is None or price < self.below) and (self.up_to is None or price <= self.up_to)


class TickSizes(Entry):
    """Tick sizes of segments, by price."""

    segments: tuple[str, ...]
    bands: tuple[TickBand, ...]


class Units(Entry):
    """A number of units for each underlying."""

    units: dict[str, int]


class Margins(Entry):
    """Margins of segments and products."""

    segments: tuple[str, ...]
    products: tuple[str, ...]
    long: Figure
    short: Figure | None = None


class OrderLimits(Entry):
    """How many orders the broker takes in a second, a minute and a day, and how many changes and slices of one order."""

    per_second: int
    per_minute: int
    per_day: int
    modifications_per_order: int
    slices_per_order: int | None = None


class PriceBands(Entry):
    """The daily limits that shares can have, as fractions of the last close, and that of shares with derivatives."""

    fixed: tuple[Figure, ...]
    dynamic: Figure


class ClosingAuctions(Entry):
    """Local hours of the closing auction."""

    open: time
    close: time


class ClosingAuction(NamedTuple):
    """Local hours of a day's closing auction."""

    open: time
    close: time


class _Rules(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tick_sizes: tuple[TickSizes, ...]
    lot_sizes: tuple[Units, ...]
    freeze_quantities: tuple[Units, ...]
    margins: tuple[Margins, ...]
    order_limits: tuple[OrderLimits, ...]
    price_bands: tuple[PriceBands, ...]
    closing_auctions: tuple[ClosingAuctions, ...]


AnyEntry = TypeVar("AnyEntry", bound=Entry)


@cache
def _rules() -> _Rules:
    text = resources.files("alphapanda.reference").joinpath("tables/rules.toml").read_text("utf-8")
    return _Rules.model_validate(tomllib.loads(text))


def _in_force(
    what: str, entries: Sequence[AnyEntry], day: date, instead: str, which: Callable[[AnyEntry], bool] = lambda one: True
) -> AnyEntry:  # fmt: skip
    """The newest entry that has begun; refuses a day before the first, or past what the last is known to hold for."""
    mine = [one for one in entries if which(one)]
    if not mine:
        raise ReferenceDataError(f"{what}: the table has none: {instead}")
    begun = [one for one in mine if one.since <= day]
    if not begun:
        raise ReferenceDataError(f"{what}: none known before {min(one.since for one in mine)} (asked for {day}): {instead}")
    found = max(begun, key=lambda one: one.since)
    if found.until is not None and day > found.until:
        raise ReferenceDataError(f"{what}: none known after {found.until} (asked for {day}): {instead}")
    return found


@lru_cache(maxsize=4096)
def tick_size(day: date, segment: str, price: float, *, is_index: bool = False) -> float:
    """The tick size of an instrument, in its currency.

    `price` is the one the exchange goes by: the share's last close of the month before (for futures, the underlying's);
    `is_index` tells futures on indices from those on shares.
    """
    if not price > 0:
        raise ReferenceDataError(f"tick size: {price} is no price: it must be above 0")
    name = INDEX_FUTURES if segment == "NFO-FUT" and is_index else segment
    what, instead = f"tick size of segment {name}", "state the instrument's tick_size"
    entry = _in_force(what, _rules().tick_sizes, day, instead, lambda one: name in one.segments)
    return float(next(band for band in entry.bands if band.holds(price)).tick)


def lot_size(day: date, underlying: str) -> int:
    """The units of one lot of an index's derivatives, such as 65 for NIFTY in 2026."""
    what, instead = f"lot size of {underlying}", "state the instrument's lot_size"
    return _in_force(what, _rules().lot_sizes, day, instead, lambda one: underlying in one.units).units[underlying]


def freeze_quantity(day: date, underlying: str) -> int | None:
    """The most units of one order, such as 1,800 for NIFTY in February 2026; None for an underlying that is not listed.

    A day for which no list is known raises ReferenceDataError.
    """
    instead = "state the instrument's freeze_quantity"
    return _in_force("freeze quantities", _rules().freeze_quantities, day, instead).units.get(underlying)


@lru_cache(maxsize=4096)
def margin_rate(day: date, segment: str, product: str, *, is_short: bool = False) -> Fraction:
    """The margin of a position as a fraction of its value: an approximation, not SPAN.

    Of options, the buyer's is of the premium and the writer's (`is_short`) of the value of what the option is on.
    """
    what, instead = f"margin of segment {segment}, product {product}", "use another product, or a margin of your own"
    entry = _in_force(what, _rules().margins, day, instead, lambda one: segment in one.segments and product in one.products)
    if not is_short:
        return entry.long
    if entry.short is None:
        raise ReferenceDataError(f"{what}: it cannot be sold short: use product MIS")
    return entry.short


def order_limits(day: date) -> OrderLimits:
    """How many orders Kite takes."""
    return _in_force("order limits", _rules().order_limits, day, "state them as settings")


def price_bands(day: date) -> PriceBands:
    """How far prices of shares may move in a day."""
    return _in_force("price bands", _rules().price_bands, day, "check prices against limits of your own")


def closing_auction(day: date) -> ClosingAuction | None:
    """Hours of the closing auction in shares that have derivatives, whose continuous trading ends as it opens.

    None before there was one. Whether the market opens that day is the market profile's to say.
    """
    entries = _rules().closing_auctions
    if day < min(one.since for one in entries):
        return None
    found = _in_force("closing auction", entries, day, "")
    return ClosingAuction(found.open, found.close)
