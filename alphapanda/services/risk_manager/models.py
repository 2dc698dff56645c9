"""What risk is told: the limits, and the facts of one decision."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from alphapanda.contracts.events import MarketTick, OrderTerms
from alphapanda.contracts.instruments import Instrument

NS = 1_000_000_000


UNCOUNTED = 1 << 62
"""More than there can be."""


class BookLimits(BaseModel):
    """Limits of one book, or of all books together. None: not limited. Amounts are in the instruments' currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_position: int | None = Field(None, gt=0, description="largest absolute position in one instrument")
    max_gross_exposure: float | None = Field(None, gt=0, description="largest sum of absolute position values")
    max_net_exposure: float | None = Field(None, gt=0, description="largest absolute sum of signed position values")
    max_daily_loss: float | None = Field(None, gt=0, description="loss since session open that stops new orders")
    max_drawdown: float | None = Field(
        None, gt=0, lt=1, description="fall from the highest equity, as a fraction, that stops new orders"
    )


class StrategyLimits(BookLimits):
    """Limits of one strategy's book and orders."""

    max_order_quantity: int | None = Field(None, gt=0, description="largest quantity of one order")
    max_order_notional: float | None = Field(None, gt=0, description="largest value of one order")
    duplicate_window_s: float | None = Field(None, gt=0, description="a signal equal to the last one within this time is refused")


class StrategyOverrides(StrategyLimits):
    """Limits that one strategy has instead of the others': those that are set, also to none."""

    @model_serializer(mode="wrap")
    def _only_what_is_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name in self.model_fields_set}


class RiskLimits(StrategyLimits):
    """Limits of every book; `strategies` overrides some for one strategy, `account` limits all books together."""

    max_quote_age_s: float | None = Field(300.0, gt=0, description="age at which a quote is stale")
    require_cash: bool = Field(True, description="refuse what the book's cash does not pay for")
    require_session: bool = Field(True, description="refuse signals outside trading sessions")
    require_margin: bool = Field(False, description="refuse what equity does not cover by the margin table of its product")
    price_band_pct: float | None = Field(None, gt=0, description="largest distance of a limit or trigger from the last price")
    broker_rules: bool = Field(
        False, description="refuse what Kite refuses: order rates, short delivery, price bands, no market protection, late MIS"
    )
    broker_rules_of: str = Field(
        "2026-04-01", pattern=r"^\d{4}-\d\d-\d\d$", description="the day whose order limits broker_rules stands for"
    )
    orders_per_second: int | None = Field(None, gt=0, description="orders and changes of all strategies in one second")
    orders_per_minute: int | None = Field(None, gt=0, description="in one minute")
    orders_per_day: int | None = Field(None, gt=0, description="since session open")
    max_modifications: int | None = Field(None, gt=0, description="modifications of one order")
    freeze_quantity: Literal["off", "refuse", "slice"] = Field("off", description="orders above the freeze quantity")
    max_slices: int = Field(10, gt=0, description="most orders that one signal is sliced into")
    forbid_self_cross: bool = Field(False, description="refuse an order that would trade with another strategy's")
    account: BookLimits = BookLimits()
    strategies: dict[str, StrategyOverrides] = Field(default_factory=dict, description="limits of single strategies")

    def of_strategy(self, strategy_id: str) -> "RiskLimits":
        """These limits with a strategy's own on top: what it does not set stays."""
        own = self.strategies.get(strategy_id)
        return self if own is None else self.model_copy(update=own.model_dump(exclude_unset=True))


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """The limits of a book for a first look: infinite where there are none."""

    position: float
    gross: float
    net: float
    loss: float
    kept: float | None  # the fraction of the highest equity that must be left, None where any may be

    @classmethod
    def of(cls, *each: BookLimits) -> "Bounds":
        """The closest of several books' limits."""
        drawdown = _closest([one.max_drawdown for one in each])
        return cls(
            _closest([one.max_position for one in each]), _closest([one.max_gross_exposure for one in each]),
            _closest([one.max_net_exposure for one in each]), _closest([one.max_daily_loss for one in each]),
            None if drawdown == math.inf else 1 - drawdown,
        )  # fmt: skip


class OrderBounds(msgspec.Struct, frozen=True, gc=False):
    """The other limits of a strategy for a first look: infinite, or more than there can be, where there are none."""

    needs_session: bool
    age_ns: float
    freeze: bool
    quantity: float
    notional: float
    per_second: int
    per_minute: int
    per_day: int
    window_ns: float  # 0: none
    forbids_crossing: bool

    @classmethod
    def of(cls, limits: RiskLimits) -> "OrderBounds":
        """Those of a strategy."""
        return cls(
            limits.require_session, _closest([limits.max_quote_age_s]) * NS, limits.freeze_quantity != "off",
            _closest([limits.max_order_quantity]), _closest([limits.max_order_notional]), limits.orders_per_second or UNCOUNTED,
            limits.orders_per_minute or UNCOUNTED, limits.orders_per_day or UNCOUNTED, (limits.duplicate_window_s or 0) * NS,
            limits.forbid_self_cross,
        )  # fmt: skip


def _closest(limits: Sequence[float | None]) -> float:
    return min([math.inf, *[one for one in limits if one is not None]])


class Figures(msgspec.Struct, frozen=True, gc=False):
    """A book's, or the account's, figures once the order and all intents are filled; amounts in 1e-8."""

    position: int = 0  # held and on its way, without this order
    gross_after_e8: int = 0
    net_before_e8: int = 0
    net_after_e8: int = 0
    day_pnl_e8: int = 0
    equity_e8: int = 0
    highest_e8: int = 0


class Proposal(msgspec.Struct, gc=False):
    """All that a check may look at; amounts are in 1e-8 of the currency. It is made in steps, and not changed after."""

    ts_ns: int
    instrument: Instrument | None
    mark: MarketTick | None
    quantity: int  # still to be filled; of a modification, of the order as it will be
    price_e8: int
    reference_price: float | None
    position: int  # held and on its way, without this order
    size: int  # the order's whole quantity
    orders: int  # it is sliced into
    killed: bool
    halted: bool
    session_open: bool
    cash_after_e8: int
    kind: str = ""
    product: str = ""
    squared_off: bool = False
    protected: bool = False
    book: Figures = Figures()
    account: Figures = Figures()
    terms: OrderTerms | None = None
    known_order: bool = True  # cancel and modify: the order they name is working
    turns: bool = False  # a modification from buying to selling, or back
    modifications: int = 0
    duplicate_age_s: float | None = None
    second: int = 0  # orders sent in the last second, minute, and today
    minute: int = 0
    today: int = 0
    margin_after_e8: int = 0
    margin_e8: int = 0  # what there is to cover it
    crossing: int = 0  # quantity of other strategies' orders that this one would trade with
    clear: bool = False  # of all limits at a first look: no check objects, and figures are not worked out

    @property
    def reduces(self) -> bool:
        """Whether the order only makes a position smaller, down to flat; a reversal opens another."""
        return reduces(self.position, self.quantity)


def reduces(position: int, quantity: int) -> bool:
    """Whether a quantity only makes a position smaller, down to flat."""
    return quantity == 0 or (position * quantity < 0 and abs(quantity) <= abs(position))
