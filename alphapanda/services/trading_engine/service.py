"""trading_engine: places an order for every validated signal and fills it on paper.

Reads trading.signals.validated, market.ticks, market.clock and control.commands. Writes orders.placed (also what changes
an order), orders.failed, orders.cancelled and orders.filled. Keeps the working orders, the last quote of each instrument,
and what each strategy holds in each product. Refuses an order whose instrument it does not know, and a change of an order
that is not there. Every order ends filled, cancelled, expired or rejected, or is still working at the tape's end.

It also does what a broker and an exchange do of themselves: it squares off MIS positions, lets DAY orders expire, and
settles what expires at the price it was given.
"""

from collections.abc import Callable, Mapping
from typing import Any

from alphapanda.contracts.errors import ReferenceDataError
from alphapanda.contracts.events import (
    Charges,
    Epoch,
    Event,
    FeedGap,
    HaltStrategy,
    KillSwitch,
    MarketTick,
    OrderPlaced,
    OrderType,
    Product,
    SessionClose,
    SessionOpen,
    SquareOff,
    ValidatedSignal,
    pos_text,
)  # fmt: skip
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.corporate_actions import Actions, adjust, due, quantity_after
from alphapanda.core.handler import Lane, Outputs
from alphapanda.core.ledger import E8, to_e8, value_e8
from alphapanda.core.lifecycle import TERMINAL
from alphapanda.services.trading_engine import orders as o
from alphapanda.services.trading_engine.fills import ALL_THEY_WANT, TRIGGER_PENDING, Offer, note_wait, passed_price, pays
from alphapanda.services.trading_engine.holdings import closes, delivers, hold, opened_by
from alphapanda.services.trading_engine.linked import Said, bracket, clear, reduce_others
from alphapanda.services.trading_engine.models import PaperExecution
from alphapanda.services.trading_engine.rules import fillable, latency_ns, next_bar_ns, triggered
from alphapanda.services.trading_engine.state import EngineState, NetKey, PendingChange, WorkingOrder

ChargeRule = Callable[[int, Instrument, str, int, int, int, int, bool], Charges]
"""What a fill costs: (ts_ns, instrument, product, signed quantity, absolute notional in 1e-8, the order's quantity and
notional before it, whether it is the day's first delivery of the scrip)."""
SETTLEMENT = "SETTLEMENT"
CNC, MIS = Product.CNC, Product.MIS


class TradingEngine(Lane):
    """The paper broker."""

    table = {
        ValidatedSignal: "on_validated",
        MarketTick: "on_tick",
        Epoch: "on_gap",
        FeedGap: "on_gap",
        SessionOpen: "on_session_open",
        SquareOff: "on_square_off",
        SessionClose: "on_session_close",
        KillSwitch: "on_kill_switch",
        HaltStrategy: "on_halt",
    }

    def __init__(
        self, rules: PaperExecution, instruments: Mapping[int, Instrument], charge: ChargeRule,
        marks: dict[int, MarketTick], *, settlements_e8: Mapping[int, int] | None = None,
        actions: Actions = (), net: Mapping[NetKey, int] | None = None,
        tracks_deliveries: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(0, EngineState(marks, net=dict(net or {})))
        self.rules, self.instruments, self.charge = rules, instruments, charge
        self.settlements_e8, self.actions, self.tracks_deliveries = settlements_e8 or {}, actions, tracks_deliveries
        self._multipliers_e8 = {token: one.multiplier_e8 for token, one in instruments.items()}
        self._products: dict[int, str] = {token: one.product(rules.product) for token, one in instruments.items()}
        self._at_once, self._protection_pct = rules.fill_model == "immediate", rules.market_protection_pct
        self._bounded = rules.participation is not None or rules.fill_model == "depth"
        self._late = rules.latency_ms > 0 or bool(rules.latency_samples_ms) or rules.fill_model == "bar_open"

    # ---- signals

    def on_validated(self, event: Event) -> Outputs:
        """Place, modify or cancel as the signal says."""
        signal: Any = event.data
        if signal.action != "place":
            return self._change(event, signal)
        terms, token, lane, state = signal.terms or o.PLAIN, signal.instrument_token, event.pos[3], self.state
        instrument, product = self.instruments.get(token), self._products.get(token, self.rules.product)
        if terms.product is not None:
            product = terms.product if instrument is None else instrument.product(terms.product)
        limit, pct = terms.limit_price, self._protection_pct
        if pct is not None and terms.order_type == OrderType.MARKET and token in state.marks:
            limit = protected(state.marks[token].last_price, signal.quantity, pct)
        placed = OrderPlaced(
            signal.exec_mode, signal.strategy_id, token, signal.signal_id, pos_text(event.pos), terms.order_type, signal.quantity,
            signal.reference_price, self._active_ns(event) if self._late else event.ts_ns, product, terms.validity,
            limit, terms.trigger_price, terms.client_order_id,
        )  # fmt: skip
        if instrument is None:
            return [(lane, placed), (lane, o.refused(placed, "unknown_instrument"))]
        name = terms.client_order_id
        if name and any(one.placed.signal_id != signal.signal_id for one in self._named(lane, token, name)):
            # slices of one signal share their name
            return [(lane, placed), (lane, o.refused(placed, "client_order_id_in_use"))]
        if state.squared_off and product == MIS and not closes(state, lane, placed):
            return [(lane, placed), (lane, o.refused(placed, "squared_off"))]
        order = o.accepted(lane, placed, signal.terms, terms.oco_group)
        if order.trigger_price is not None:
            note_wait(order, state.marks.get(token), event.ts_ns)
        state.working.setdefault(token, []).append(order)
        said: Said = [(lane, placed)]
        if self._at_once and state.session_open and fillable(state.marks[token], event.ts_ns, self.rules):
            self._attempt(order, state.marks[token], event, Offer.of(state.marks[token], self.rules, {}), said)
            clear(self.state, token, said)
        return said

    def _active_ns(self, event: Event) -> int:
        active_ns = event.ts_ns + latency_ns(self.rules, event.pos)
        if self.rules.fill_model == "bar_open" and self.state.session_open:
            return next_bar_ns(active_ns, self.state.open_ts_ns, self.rules.bar_interval_s)
        return active_ns

    def _change(self, event: Event, wanted: ValidatedSignal) -> Outputs:
        lane, active_ns = event.pos[3], event.ts_ns + latency_ns(self.rules, event.pos)
        change = PendingChange(active_ns, wanted.signal_id, event.id, wanted)
        name = wanted.terms.client_order_id if wanted.terms is not None else ""
        orders = self._named(lane, wanted.instrument_token, name)
        if not orders:
            return [(lane, o.not_changed(change, "no_such_order"))]
        if len(orders) > 1 and wanted.quantity:
            return [(lane, o.not_changed(change, "order_is_sliced"))]
        said: Said = []
        for order in orders:
            if active_ns > event.ts_ns:
                order.changes.append(change)
            else:
                self._make(order, change, event, said)
        clear(self.state, wanted.instrument_token, said)
        return said

    def _make(self, order: WorkingOrder, change: PendingChange, event: Event, said: Said) -> None:
        wanted, trigger = change.wanted, order.trigger_price
        if wanted.action == "cancel":
            said.append((order.lane, o.cancelled(order, "asked")))
        elif (reason := o.change_objection(order, wanted)) is not None:
            said.append((order.lane, o.not_changed(change, reason)))
        else:
            said.append((order.lane, o.modified(order, wanted, change.signal_id)))
            if order.trigger_price != trigger:
                note_wait(order, self.state.marks.get(wanted.instrument_token), event.ts_ns)

    def _named(self, lane: int, token: int, name: str) -> list[WorkingOrder]:
        if not name:
            return []
        return [one for one in self.state.working.get(token, ()) if one.lane == lane and one.placed.client_order_id == name]

    # ---- ticks

    def on_tick(self, event: Event) -> Outputs:
        """Note the quote; trigger, change and fill what works in this instrument and is active by now."""
        tick: Any = event.data
        token, state = tick.instrument_token, self.state
        state.marks[token] = tick
        working = state.working.get(token)
        if not working:
            return ()
        offer = Offer.of(tick, self.rules, state.volumes) if self._bounded else ALL_THEY_WANT
        ts_ns = event.ts_ns
        if not state.session_open or not fillable(tick, ts_ns, self.rules):
            for order in working:
                note_wait(order, tick, ts_ns)
            return ()
        said: Said = []
        for order in tuple(working):
            while order.changes and order.changes[0].active_ts_ns <= ts_ns and order.state not in TERMINAL:
                self._make(order, order.changes.pop(0), event, said)
            if order.placed.active_ts_ns <= ts_ns and order.state not in TERMINAL:  # an end may have come by another of its group
                self._attempt(order, tick, event, offer, said)
        clear(self.state, token, said)
        return said

    def _attempt(self, order: WorkingOrder, tick: MarketTick, event: Event, offer: Offer, said: Said) -> None:
        """One order's chance at one tick."""
        passed: float | None = None
        if order.state is TRIGGER_PENDING:
            if order.trigger_price is None or not triggered(tick, order.quantity, order.trigger_price):
                note_wait(order, tick, event.ts_ns)
                return
            passed = passed_price(order, tick, self.state.open_ts_ns, self.rules)
            limit, pct = order.limit_price, self.rules.market_protection_pct
            if limit is None and pct is not None:
                limit = protected(tick.last_price if passed is None else passed, order.quantity, pct)
            said.append((order.lane, o.triggered(order, limit)))
        instrument = self.instruments[order.placed.instrument_token]
        quantity, price = pays(order, tick, offer, passed, instrument, self.rules)
        if price is None and order.placed.order_type in o.PRICED:
            order.resting = True
        if price is not None and quantity:
            self._fill(order, instrument, quantity, price, event, said)
        if order.is_ioc and order.state not in TERMINAL:
            said.append((order.lane, o.cancelled(order, "ioc")))

    def _fill(
        self, order: WorkingOrder, instrument: Instrument, quantity: int, price: float, event: Event, said: Said
    ) -> None:  # fmt: skip
        placed, token = order.placed, instrument.instrument_token
        notional_e8 = abs(value_e8(to_e8(price), quantity, self._multipliers_e8[token]))
        key = order.lane, placed.strategy_id, token, placed.product
        delivered = self.tracks_deliveries and placed.product == CNC and delivers(self.state, key, quantity)
        charges = self.charge(
            event.ts_ns, instrument, placed.product, quantity, notional_e8, abs(order.filled), order.filled_e8, delivered
        )
        hold(self.state, key, quantity)
        said.append((order.lane, o.filled(order, quantity, price, notional_e8, charges)))
        if order.terms is not None and (order.terms.stop_loss is not None or order.terms.take_profit is not None):
            bracket(self.state, self.rules, order, opened_by(self.state, key, quantity), event, said)
        if order.oco_group:
            reduce_others(self.state, order, quantity, said)

    # ---- sessions and commands

    def on_gap(self, event: Event) -> Outputs:
        """Nobody knows which way the price took: no stop counts as having waited."""
        for orders in self.state.working.values():
            for order in orders:
                order.waited_ns = -1
        return ()

    def on_session_open(self, event: Event) -> Outputs:
        """A new day: its grid of bars, its deliveries, and the corporate actions of its date."""
        opened: Any = event.data
        state = self.state
        state.session_open, state.squared_off, state.open_ts_ns = True, False, opened.open_ts_ns
        state.today.clear()
        actions = due(self.actions, state.session, opened.session)
        state.session = opened.session
        adjust(state.marks, actions, opened.session)
        for action in actions:
            for key, held in list(state.net.items()):
                if key[2] == action.instrument_token:
                    hold(self.state, key, quantity_after(held, action) - held)
        return ()

    def on_square_off(self, event: Event) -> Outputs:
        """Cancel working MIS orders, and close MIS positions at the market."""
        self.state.squared_off = True
        said = self._cancel("square_off", lambda order: order.placed.product == MIS)
        for (lane, strategy_id, token, product), held in sorted(self.state.net.items()):
            if product != MIS:
                continue
            price = self.state.marks[token].last_price
            placed = o.of_the_engine(
                event.id, "square_off", strategy_id, token, -held, price, event.ts_ns, product, OrderType.MARKET
            )
            self.state.working.setdefault(token, []).append(o.accepted(lane, placed, None))
            said.append((lane, placed))
        return said

    def on_session_close(self, event: Event) -> Outputs:
        """DAY orders expire; what expires with this session is settled."""
        closed: Any = event.data
        self.state.session_open = False
        said = self._cancel("session_close", lambda order: True)
        for (lane, strategy_id, token, product), held in sorted(self.state.net.items()):
            instrument = self.instruments[token]
            if instrument.expiry is None or instrument.expiry > closed.session:
                continue
            if token not in self.settlements_e8:
                raise ReferenceDataError(
                    f"{instrument.symbol} expired on {instrument.expiry} with {held} held by {strategy_id}, and no settlement"
                    " price was given: set portfolio.settlements to its price, or to its underlying's"
                )
            price_e8 = self.settlements_e8[token]
            placed = o.of_the_engine(
                event.id, "settlement", strategy_id, token, -held, price_e8 / E8, event.ts_ns, product, SETTLEMENT
            )
            order = o.accepted(lane, placed, None)
            hold(self.state, (lane, strategy_id, token, product), -held)
            notional_e8 = abs(value_e8(price_e8, held, instrument.multiplier_e8))
            said += [(lane, placed), (lane, o.filled(order, -held, price_e8 / E8, notional_e8, Charges()))]
        return said

    def on_kill_switch(self, event: Event) -> Outputs:
        """Cancel every working order when engaged."""
        command: Any = event.data
        return self._cancel("kill_switch", lambda order: True) if command.engaged else ()

    def on_halt(self, event: Event) -> Outputs:
        """Cancel the halted strategy's working orders."""
        command: Any = event.data
        return self._cancel("strategy_halted", lambda order: order.placed.strategy_id == command.strategy_id)

    def _cancel(self, reason: str, which: Callable[[WorkingOrder], bool]) -> Said:
        said: Said = []
        for token, orders in list(self.state.working.items()):
            said += [(order.lane, o.cancelled(order, reason)) for order in orders if which(order)]
            clear(self.state, token, said)
        return said


def protected(price: float, quantity: int, pct: float) -> float:
    """The worst price that market protection allows a signed quantity, to 1e-8."""
    return round(price * (1 + pct / 100 if quantity > 0 else 1 - pct / 100), 8)
