"""The base of every strategy: typed parameters, and generators that yield signals.

    class EmaCross(ap.Strategy):
        fast: int = 20
        slow: int = 100

        def on_start(self) -> None:
            self.side = {}

        def on_market_data(self, tick):
            ...
            yield self.target(tick.instrument_token, 1)

Annotated class attributes are parameters; anything else set on `self` is state. A strategy sees events and its
instruments, nothing else: no clock, no account, no future.
"""

import copy
import dataclasses
import typing
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypedDict, Unpack, dataclass_transform

import msgspec

from alphapanda.contracts.errors import ConfigurationError, ContractError
from alphapanda.contracts.events import (
    Bar,
    FeatureSet,
    MarketTick,
    OrderCancelled,
    OrderFailed,
    OrderFill,
    OrderTerms,
    OrderType,
    Product,
    RejectedSignal,
    SignalKind,
    TradingSignal,
    Validity,
)  # fmt: skip
from alphapanda.contracts.instruments import Instrument
from alphapanda.services.feature_engine.models import FeatureRequest

Signals = Iterable[TradingSignal]
_RUNTIME = ("instruments", "strategy_id")


class Terms(TypedDict, total=False):
    """How an order is to be carried out. A limit alone makes a LIMIT, a trigger alone an SL-M, both an SL."""

    limit: float | None
    trigger: float | None
    validity: str  # DAY or IOC
    product: str | None  # CNC, MIS or NRML; None: the setting execution.product
    client_order_id: str  # a name of the strategy's own, by which it cancels and modifies
    oco_group: str  # one cancels the other: what one order of a group fills, the others lose
    stop_loss: float | None  # bracket: trigger of the exit placed as the order fills
    take_profit: float | None  # bracket: limit of the other exit


def order_terms(given: Terms) -> OrderTerms:
    """Terms as a signal carries them. Raises ContractError for a validity or product that is none."""
    limit, trigger = given.get("limit"), given.get("trigger")
    kind = _TYPE_OF[limit is not None, trigger is not None]
    product = given.get("product")
    try:
        return OrderTerms(
            kind, limit, trigger, Validity(given.get("validity", "DAY")), None if product is None else Product(product),
            given.get("client_order_id", ""), given.get("oco_group", ""), given.get("stop_loss"), given.get("take_profit"),
        )  # fmt: skip
    except ValueError as error:
        raise ContractError(f"order terms: {error}; validity is DAY or IOC, product CNC, MIS or NRML") from error


_TYPE_OF = {
    (False, False): OrderType.MARKET, (True, False): OrderType.LIMIT, (False, True): OrderType.SL_M, (True, True): OrderType.SL,
}  # fmt: skip
"""By whether there is a limit, and a trigger."""


@dataclass_transform(kw_only_default=True)
@dataclasses.dataclass(kw_only=True, eq=False)
class Strategy:
    """Subclass this, annotate parameters, and write `on_market_data` or any of the other hooks.

    Hooks are `on_market_data(tick)`, `on_bar(bar)`, `on_features(features)`, and, for the strategy's own signals and
    orders, `on_rejection(rejected)`, `on_fill(fill)`, `on_cancel(cancelled)`, `on_failure(failed)`; each yields signals or
    returns nothing. A hook that is not written is never called, and costs nothing.
    """

    symbols: tuple[str, ...] = ()  # the instruments to be handed; empty: every tradable one on the tape

    instruments: ClassVar[Mapping[int, Instrument]]  # token -> instrument, set before on_start
    strategy_id: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(kw_only=True, eq=False)(cls)

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "Strategy":
        """An instance from named parameters, text converted by their annotations.

        Raises ConfigurationError that names the class, the parameter and what would be accepted.
        """
        known = {field.name: field.type for field in dataclasses.fields(cls)}
        hints = _hints(cls)
        values = {}
        for name, value in params.items():
            if name not in known:
                raise ConfigurationError(f"{cls.__name__} has no parameter {name!r}: it has {', '.join(known)}")
            if isinstance(value, str) and hints[name] == tuple[str, ...]:
                value = [part.strip() for part in value.split(",") if part.strip()]
            try:
                values[name] = msgspec.convert(value, hints[name], strict=False)
            except msgspec.ValidationError as error:
                raise ConfigurationError(f"{cls.__name__}.{name}={value!r}: {error}") from error
        return cls(**values)

    def params(self) -> dict[str, Any]:
        """Every parameter with its value, in declared order."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def features(self) -> Iterable[FeatureRequest]:
        """What the feature engine is to compute for this strategy's instruments."""
        return ()

    def on_start(self) -> None:
        """Called once, with `instruments` and `strategy_id` set, before the first event: set up state here."""

    def on_market_data(self, tick: MarketTick) -> Signals | None:
        """Each tick of this strategy's instruments."""

    def on_bar(self, bar: Bar) -> Signals | None:
        """Each bar this strategy asked for, at its close."""

    def on_features(self, features: FeatureSet) -> Signals | None:
        """Each set of values of an interval this strategy asked for."""

    def on_rejection(self, rejected: RejectedSignal) -> Signals | None:
        """Each signal in its instruments that risk refused, and why, late by the feedback delay."""

    def on_fill(self, fill: OrderFill) -> Signals | None:
        """Each fill of this strategy's orders, late by the feedback delay."""

    def on_cancel(self, cancelled: OrderCancelled) -> Signals | None:
        """Each cancellation of this strategy's orders, late by the feedback delay."""

    def on_failure(self, failed: OrderFailed) -> Signals | None:
        """Each order of this strategy that could not be placed, late by the feedback delay."""

    def buy(
        self, token: int, quantity: int = 1, *, price: float | None = None, note: str = "", **terms: Unpack[Terms]
    ) -> TradingSignal:  # fmt: skip
        """A signal to buy this many: at the market, or as the terms say (`Terms`)."""
        made = order_terms(terms) if terms else None
        return TradingSignal(self.strategy_id, token, SignalKind.QUANTITY, float(quantity), price, note, made)

    def sell(
        self, token: int, quantity: int = 1, *, price: float | None = None, note: str = "", **terms: Unpack[Terms]
    ) -> TradingSignal:  # fmt: skip
        """A signal to sell this many: at the market, or as the terms say (`Terms`)."""
        made = order_terms(terms) if terms else None
        return TradingSignal(self.strategy_id, token, SignalKind.QUANTITY, -float(quantity), price, note, made)

    def target(
        self, token: int, quantity: int, *, price: float | None = None, note: str = "", **terms: Unpack[Terms]
    ) -> TradingSignal:  # fmt: skip
        """A signal to hold this many, negative for short; what is held and on its way is taken into account."""
        made = order_terms(terms) if terms else None
        return TradingSignal(self.strategy_id, token, SignalKind.TARGET_QUANTITY, float(quantity), price, note, made)

    def weight(
        self, token: int, weight: float, *, price: float | None = None, note: str = "", **terms: Unpack[Terms]
    ) -> TradingSignal:  # fmt: skip
        """A signal to hold this part of the book's equity, negative for short; rounded toward zero to whole lots."""
        made = order_terms(terms) if terms else None
        return TradingSignal(self.strategy_id, token, SignalKind.TARGET_WEIGHT, weight, price, note, made)

    def cancel(self, token: int, client_order_id: str, *, note: str = "") -> TradingSignal:
        """A signal to cancel the working order that was given this name."""
        terms = order_terms({"client_order_id": client_order_id})
        return TradingSignal(self.strategy_id, token, SignalKind.CANCEL, 0.0, None, note, terms)

    def modify(
        self, token: int, client_order_id: str, *, quantity: int = 0, limit: float | None = None, trigger: float | None = None,
        note: str = "",
    ) -> TradingSignal:  # fmt: skip
        """A signal to change a working order; `quantity` is its new total, signed as its own (negative sells), 0: as it is."""
        given: Terms = {"client_order_id": client_order_id, "limit": limit, "trigger": trigger}
        return TradingSignal(self.strategy_id, token, SignalKind.MODIFY, float(quantity), None, note, order_terms(given))

    def state(self) -> dict[str, Any]:
        """Everything set on the instance that is neither parameter nor context, copied."""
        fixed = {*self.params(), *_RUNTIME}
        return copy.deepcopy({name: value for name, value in vars(self).items() if name not in fixed})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become what the strategy was when `state` was taken."""
        for name in set(vars(self)) - {*self.params(), *_RUNTIME}:
            delattr(self, name)
        vars(self).update(copy.deepcopy(dict(state)))


def _hints(cls: type) -> dict[str, Any]:
    """Evaluated annotations of the parameters, also where a module postpones them."""
    return typing.get_type_hints(cls)
