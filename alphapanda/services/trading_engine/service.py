"""trading_engine: places an order for every validated signal and fills it on paper.

Reads trading.signals.validated, market.ticks, market.clock and control.commands. Writes orders.placed, orders.failed,
orders.cancelled and orders.filled. Keeps the working orders and the last quote of each instrument. Refuses an order
whose instrument it does not know. Every order ends filled, cancelled or failed, or is still working at the tape's end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alphapanda.contracts.events import (
    Charges,
    Event,
    HaltStrategy,
    KillSwitch,
    MarketTick,
    OrderCancelled,
    OrderFailed,
    OrderFill,
    OrderPlaced,
    Payload,
    SessionClose,
    ValidatedSignal,
)  # fmt: skip
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.handler import Lane, Outputs
from alphapanda.core.ledger import to_e8, value_e8
from alphapanda.services.trading_engine.models import PaperExecution
from alphapanda.services.trading_engine.rules import fill_price

NS_PER_MS = 1_000_000
ChargeRule = Callable[[int, str, int, int], Charges]
"""(ts_ns, segment, signed quantity, absolute notional in 1e-8) -> what the fill costs."""


@dataclass(slots=True)
class WorkingOrder:
    """An order that waits for its fill."""

    lane: int
    placed: OrderPlaced


@dataclass(slots=True)
class EngineState:
    """Last quotes, and working orders by instrument in the order of their placing."""

    marks: dict[int, MarketTick]
    working: dict[int, list[WorkingOrder]] = field(default_factory=dict)


class TradingEngine(Lane):
    """The paper broker."""

    table = {
        ValidatedSignal: "on_validated",
        MarketTick: "on_tick",
        SessionClose: "on_session_close",
        KillSwitch: "on_kill_switch",
        HaltStrategy: "on_halt",
    }

    def __init__(
        self, rules: PaperExecution, instruments: Mapping[int, Instrument], charge: ChargeRule,
        marks: dict[int, MarketTick],
    ) -> None:  # fmt: skip
        super().__init__(0, EngineState(marks))
        self.rules, self.instruments, self.charge = rules, instruments, charge
        self.latency_ns = round(rules.latency_ms * NS_PER_MS) if rules.fill_model == "next_tick" else 0

    def on_validated(self, event: Event) -> Outputs:
        """Place the order; `immediate` fills it at the quote the signal saw, if there is one to fill at."""
        signal: Any = event.data
        placed = OrderPlaced(
            signal.exec_mode, signal.strategy_id, signal.instrument_token, signal.signal_id, event.id, "MARKET",
            signal.quantity, signal.reference_price, event.ts_ns + self.latency_ns,
        )  # fmt: skip
        order = WorkingOrder(event.pos[3], placed)
        token = placed.instrument_token
        if token not in self.instruments:
            return [(order.lane, placed), (order.lane, _ended(order, OrderFailed, "unknown_instrument"))]
        if self.rules.fill_model == "immediate":
            fill = self._fill(order, self.state.marks[token], event.ts_ns)
            if fill is not None:
                return [(order.lane, placed), (order.lane, fill)]
        self.state.working.setdefault(token, []).append(order)
        return [(order.lane, placed)]

    def on_tick(self, event: Event) -> Outputs:
        """Note the quote, and fill what works in this instrument and is active by now."""
        tick: Any = event.data
        token = tick.instrument_token
        self.state.marks[token] = tick
        orders = self.state.working.get(token)
        if not orders:
            return ()
        outputs, waiting = [], []
        for order in orders:
            active = event.ts_ns >= order.placed.active_ts_ns
            fill = self._fill(order, tick, event.ts_ns) if active else None
            if fill is None:
                waiting.append(order)
            else:
                outputs.append((order.lane, fill))
        if waiting:
            self.state.working[token] = waiting
        else:
            del self.state.working[token]
        return outputs

    def _fill(self, order: WorkingOrder, tick: MarketTick, ts_ns: int) -> OrderFill | None:
        placed = order.placed
        instrument = self.instruments[placed.instrument_token]
        price = fill_price(tick, placed.quantity, instrument, self.rules)
        if price is None:
            return None
        notional_e8 = abs(value_e8(to_e8(price), placed.quantity, instrument.multiplier_e8))
        return OrderFill(
            placed.exec_mode, placed.strategy_id, placed.instrument_token, placed.signal_id, placed.order_id,
            placed.quantity, price, placed.reference_price,
            self.charge(ts_ns, instrument.segment, placed.quantity, notional_e8),
        )  # fmt: skip

    def on_session_close(self, event: Event) -> Outputs:
        """DAY orders expire."""
        return self._cancel("session_close", lambda order: True)

    def on_kill_switch(self, event: Event) -> Outputs:
        """Cancel every working order when engaged."""
        command: Any = event.data
        return self._cancel("kill_switch", lambda order: True) if command.engaged else ()

    def on_halt(self, event: Event) -> Outputs:
        """Cancel the halted strategy's working orders."""
        command: Any = event.data
        return self._cancel("strategy_halted", lambda order: order.placed.strategy_id == command.strategy_id)

    def _cancel(self, reason: str, which: Callable[[WorkingOrder], bool]) -> Outputs:
        working = self.state.working
        ended = [order for orders in working.values() for order in orders if which(order)]
        kept = {token: [order for order in orders if not which(order)] for token, orders in working.items()}
        working.clear()  # in place: the host looks at this table
        working.update((token, orders) for token, orders in kept.items() if orders)
        return [(order.lane, _ended(order, OrderCancelled, reason)) for order in ended]


def _ended(order: WorkingOrder, cls: type[OrderCancelled] | type[OrderFailed], reason: str) -> Payload:
    placed = order.placed
    return cls(
        placed.exec_mode, placed.strategy_id, placed.instrument_token, placed.signal_id, placed.order_id,
        placed.quantity, reason,
    )  # fmt: skip
