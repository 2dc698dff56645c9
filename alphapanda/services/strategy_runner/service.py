"""strategy_runner: hands events to strategies and takes their signals.

Reads market.ticks and market.features, and hears the strategy's own rejections, fills, cancellations and failures, late. Writes
trading.signals.generated. Keeps each strategy's state. Refuses nothing: a strategy that raises is halted with an event
that points at the author's line, and the others go on. What it yielded in the call that raised is not sent.
"""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import length_hint
from pathlib import PurePath
from typing import Any

import msgspec

from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import (
    FEEDBACK_EVENTS,
    Bar,
    Event,
    FeatureSet,
    MarketTick,
    OrderCancelled,
    OrderFailed,
    OrderFill,
    Payload,
    RejectedSignal,
    StrategyHalted,
    TradingSignal,
)  # fmt: skip
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.handler import Lane, Outputs, Taker
from alphapanda.services.feature_engine.models import Bars, FeatureRequest
from alphapanda.services.strategy_runner.strategy import Strategy

HOOKS: dict[type[Payload], str] = {
    MarketTick: "on_market_data",
    Bar: "on_bar",
    FeatureSet: "on_features",
    RejectedSignal: "on_rejection",
    OrderFill: "on_fill",
    OrderCancelled: "on_cancel",
    OrderFailed: "on_failure",
}
PRICES = ("limit_price", "trigger_price", "stop_loss", "take_profit")
"""Of a signal's terms."""


@dataclass(slots=True)
class StrategyState:
    """What the lane keeps beside the strategy itself."""

    halted: bool = False


class StrategyLane(Lane):
    """One strategy, its instruments and the features it asked for."""

    def __init__(self, lane: int, strategy_id: str, strategy: Strategy, instruments: Mapping[int, Instrument]) -> None:
        self.strategy, self.strategy_id, self.instruments = strategy, strategy_id, dict(instruments)
        super().__init__(lane, StrategyState())
        vars(strategy).update(instruments=self.instruments, strategy_id=strategy_id)
        self.requests: tuple[FeatureRequest, ...] = tuple(strategy.features())
        self._intervals = {(not isinstance(request, Bars), request.interval_s) for request in self.requests}
        self._hooks = {
            cls: getattr(strategy, name)
            for cls, name in HOOKS.items()
            if getattr(type(strategy), name) is not getattr(Strategy, name)
        }
        strategy.on_start()

    def taker(self, event: Event) -> Taker | None:
        """Takes events with a hook, of its own instruments, intervals and orders."""
        return self.handle if self._wants(event.data) else None

    def _wants(self, data: Any) -> bool:
        cls = type(data)
        if cls not in self._hooks or data.instrument_token not in self.instruments:
            return False
        if cls in FEEDBACK_EVENTS:
            return bool(data.strategy_id == self.strategy_id)
        return cls is MarketTick or (cls is FeatureSet, data.interval_s) in self._intervals

    @property
    def hears(self) -> bool:
        """Whether it has a hook for feedback."""
        return any(cls in self._hooks for cls in FEEDBACK_EVENTS)

    @property
    def takes_ticks(self) -> bool:
        """Whether it is to be handed ticks at all."""
        return MarketTick in self._hooks and not self.state.halted

    def handle(self, event: Event) -> Outputs:
        """Call the strategy's hook; a halted strategy says nothing."""
        if self.state.halted:
            return ()
        try:
            return [self._sent(signal) for signal in list(self._hooks[type(event.data)](event.data) or ())]
        except Exception as error:  # noqa: BLE001  # whatever an author's code raises halts that strategy alone
            return self._halt(error)

    def on_ticks(self, ticks: Sequence[MarketTick]) -> list[tuple[int, Outputs]]:
        """The host's short cut for ticks of its own instruments: what `handle` gives for each that it says something at.

        Returns (place in `ticks`, outputs), in order.
        """
        hook, said = self._hooks[MarketTick], list[tuple[int, TradingSignal]]()
        waiting = iter(ticks)
        halted: Outputs | None = None
        try:
            for tick in waiting:
                for signal in hook(tick) or ():
                    said.append((length_hint(waiting), signal))  # a place counted from the end: free for silent ticks
        except Exception as error:  # noqa: BLE001  # as in `handle`
            halted = self._halt(error)
            while said and said[-1][0] == length_hint(waiting):
                said.pop()
        last, before = len(ticks) - 1, -1
        outputs: list[tuple[int, list[tuple[int, Payload]]]] = []
        for left, signal in said:
            try:
                sent = self._sent(signal)
            except ContractError as error:
                if left == before:
                    outputs.pop()  # nothing of this tick is said
                return [*outputs, (last - left, self._halt(error))]
            if left == before:
                outputs[-1][1].append(sent)
            else:
                outputs.append((last - left, [sent]))
                before = left
        if halted is not None:
            return [*outputs, (last - length_hint(waiting), halted)]
        return outputs  # type: ignore[return-value]  # lists are sequences

    def _sent(self, signal: TradingSignal) -> tuple[int, TradingSignal]:
        """A signal as an output. Raises ContractError for what is not a signal of this strategy's own."""
        if type(signal) is not TradingSignal or signal.strategy_id != self.strategy_id or type(signal.size) is not float:
            raise ContractError(f"{self.strategy_id} yielded {signal!r}: yield self.buy, sell, target or weight(...)")
        return self.lane, signal if signal.reference_price is None and signal.terms is None else _in_floats(signal)

    def _halt(self, error: BaseException) -> Outputs:
        """Stop handing events to this strategy, and say where it failed: the author's line, else the class."""
        self.state.halted = True
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        where = f"{PurePath(own[-1].filename).name}:{own[-1].lineno}" if own else type(self.strategy).__name__
        return [(self.lane, StrategyHalted(self.strategy_id, f"{type(error).__name__}: {error}", where))]

    def snapshot(self) -> Any:
        """The lane's state and the strategy's."""
        return super().snapshot(), self.strategy.state()

    def restore(self, snapshot: Any) -> None:
        """Both again."""
        lane, strategy = snapshot
        super().restore(lane)
        self.strategy.restore(strategy)


def _in_floats(signal: TradingSignal) -> TradingSignal:
    """The signal with every price as a float: authors write whole ones as ints, and the wire form would tell them apart."""
    terms = signal.terms
    if terms is not None:
        terms = msgspec.structs.replace(terms, **{name: _float(getattr(terms, name)) for name in PRICES})
    return msgspec.structs.replace(signal, reference_price=_float(signal.reference_price), terms=terms)


def _float(price: object) -> float | None:
    if price is not None and not isinstance(price, int | float):
        raise ContractError(f"a price is a number or None, and this is {price!r}")
    return None if price is None else float(price)
