"""risk_manager: turns signals into quantities and refuses what the limits do not allow.

Reads trading.signals.generated, market.ticks (marks, only noted), market.clock and control.commands; hears fills,
cancellations and failures, late. Writes trading.signals.validated and trading.signals.rejected. Keeps its own books with
the portfolio's functions, and the intents: validated quantities whose end it has not heard of, which count as if filled.
Refuses a signal by the first check that objects (`rules.CHECKS`), with value, limit and unit.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from alphapanda.contracts.events import (
    Event,
    ExecMode,
    HaltStrategy,
    KillSwitch,
    MarketTick,
    OrderCancelled,
    OrderFailed,
    OrderFill,
    Product,
    RejectedSignal,
    SessionClose,
    SessionOpen,
    SignalKind,
    SquareOff,
    TradingSignal,
    ValidatedSignal,
    pos_text,
)  # fmt: skip
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.corporate_actions import Actions, act, adjust, due, quantity_after
from alphapanda.core.handler import Lane, Outputs
from alphapanda.core.ledger import Book, to_e8, value_e8
from alphapanda.services.risk_manager.books import InFull, MarginRule
from alphapanda.services.risk_manager.first_look import ACCOUNT, Looks, look_at, look_at_all, may_be_above
from alphapanda.services.risk_manager.models import NS, Proposal, RiskLimits
from alphapanda.services.risk_manager.proposals import Proposals, gist, slices
from alphapanda.services.risk_manager.rules import (
    CANCEL_CHECKS,
    CHANGES,
    NONE_OF,
    NOTHING_TO_DO,
    OF_PRICES,
    OF_TERMS,
    SEEN,
    Breach,
    Check,
    asked,
)  # fmt: skip
from alphapanda.services.risk_manager.state import Change, Intent, RiskState

MINUTE_NS = 60 * NS
PAPER = ExecMode.PAPER
NOT_LOOKED: Looks = {}
IN_FULL = InFull()
Watcher = Callable[[Event, Proposal, RiskLimits, list[Check]], None]
"""(signal, its proposal, its strategy's limits, the checks that it is asked)."""


class Asked(NamedTuple):
    """What is asked of a strategy's signals; of plain ones, which have no terms, and of those that a first look cleared."""

    all: list[Check]
    plain: list[Check]
    unseen: list[Check]
    unseen_plain: list[Check]

    @classmethod
    def of(cls, limits: RiskLimits) -> "Asked":
        """By a strategy's limits."""
        return cls(*(asked(limits, but=but) for but in (NONE_OF, OF_TERMS, SEEN, SEEN | OF_PRICES)))


class RiskManager(Lane):
    """One room over all strategies; each has a book of its own."""

    table = {
        MarketTick: "on_tick",
        TradingSignal: "on_signal",
        OrderFill: "on_fill",
        OrderCancelled: "on_end",
        OrderFailed: "on_failed",
        SessionOpen: "on_session_open",
        SquareOff: "on_square_off",
        SessionClose: "on_session_close",
        KillSwitch: "on_kill_switch",
        HaltStrategy: "on_halt",
    }
    notes = frozenset({MarketTick})

    def __init__(
        self, limits: RiskLimits, instruments: Mapping[int, Instrument], books: Mapping[str, Book],
        marks: dict[int, MarketTick], *, product: Product = Product.CNC, protected: bool = False,
        margin: MarginRule = IN_FULL, actions: Actions = (), held: Mapping[tuple[str, int, str], int] | None = None,
    ) -> None:  # fmt: skip
        state = RiskState(dict(books), {name: {} for name in books}, marks, {name: {} for name in books})
        for (strategy_id, token, of), count in (held or {}).items():
            state.held[strategy_id][token, of] = count
        super().__init__(0, state)
        self.limits, self.instruments, self.actions = limits, instruments, actions
        self._of = {strategy_id: limits.of_strategy(strategy_id) for strategy_id in books}
        self._asked = {strategy_id: Asked.of(mine) for strategy_id, mine in self._of.items()}
        self._cancel_checks = asked(limits, CANCEL_CHECKS)
        self._multipliers_e8 = {token: one.multiplier_e8 for token, one in instruments.items()}
        self._counts_rates = any((limits.orders_per_second, limits.orders_per_minute, limits.orders_per_day))
        self._tracks_highest = any(one.max_drawdown is not None for one in (limits.account, *self._of.values()))
        self._proposals = Proposals(self, self._of, self._multipliers_e8, product, protected, margin)
        self._looks_at_all = self._tracks_highest or self._proposals.limits_account
        self.watcher: Watcher | None = None  # is told of each decision
        self._note_open()

    # ---- decisions

    def on_tick(self, event: Event) -> Outputs:
        """Note the mark."""
        tick: Any = event.data
        self.state.marks[tick.instrument_token] = tick
        return ()

    def on_signal(self, event: Event) -> Outputs:
        """Size the signal, ask every check, and let it through or refuse it."""
        signal: Any = event.data
        strategy_id, changes = signal.strategy_id, signal.kind in CHANGES
        limits, asked_of = self._of[strategy_id], self._asked[strategy_id]
        looks = self._look(strategy_id) if self._looks_at_all or strategy_id in self._proposals.valued else NOT_LOOKED
        proposal = self._proposals.of(event.ts_ns, signal, limits, looks)
        if changes or signal.terms is not None:
            checks = asked_of.unseen if proposal.clear else asked_of.all
            if signal.kind is SignalKind.CANCEL:
                checks = self._cancel_checks
        else:
            checks = asked_of.unseen_plain if proposal.clear else asked_of.plain
        if self.watcher is not None:
            self.watcher(event, proposal, limits, checks)
        if checks or not proposal.clear:
            reason, breach = _objection(proposal, limits, checks)
            if breach is not None:
                return [(event.pos[3], RejectedSignal(
                    PAPER, strategy_id, signal.instrument_token, event.id, proposal.quantity, reason, _float(breach.value),
                    _float(breach.limit), breach.unit, str(signal.kind) if changes else "place",
                    "" if signal.terms is None else signal.terms.client_order_id,
                ))]  # fmt: skip
        return self._change(event, signal, proposal) if changes else self._place(event, signal, proposal)

    def _place(self, event: Event, signal: TradingSignal, proposal: Proposal) -> Outputs:
        state, token, strategy_id, terms = self.state, signal.instrument_token, signal.strategy_id, signal.terms
        reference, signal_id = signal.reference_price, pos_text(event.pos)
        quantity, orders = proposal.quantity, proposal.orders
        if reference is None:
            reference = state.marks[token].last_price
        intent = Intent(token, quantity, proposal.price_e8, orders, quantity, product=proposal.product)
        if terms is not None:
            intent.oco_group = terms.oco_group
            intent.limit_e8 = None if terms.limit_price is None else to_e8(terms.limit_price)
            intent.client_order_id = terms.client_order_id
        state.intents[strategy_id][signal_id] = intent
        self._count(event.ts_ns, orders)
        if self._of[strategy_id].duplicate_window_s is not None:
            state.last_signal[strategy_id, token] = event.ts_ns, gist(signal)
        lane = event.pos[3]
        if orders == 1:
            return [(lane, ValidatedSignal(PAPER, strategy_id, token, signal_id, quantity, reference, "place", terms))]
        return [
            (lane, ValidatedSignal(PAPER, strategy_id, token, signal_id, size, reference, "place", terms))
            for size in slices(self.instruments[token], quantity)
        ]

    def _change(self, event: Event, signal: TradingSignal, proposal: Proposal) -> Outputs:
        """Send a modification or cancellation; what a modification adds counts as on its way."""
        terms, token, strategy_id = signal.terms, signal.instrument_token, signal.strategy_id
        intent_id, intent = self._proposals.working(strategy_id, token, terms)
        if signal.kind is SignalKind.MODIFY and intent is not None:
            intent.modifications += 1
            added = proposal.size - intent.total
            self.state.changes[event.id] = Change(intent_id, added, intent.limit_e8, intent.price_e8)
            intent.quantity += added
            intent.total, intent.price_e8 = proposal.size, proposal.price_e8
            if terms is not None and terms.limit_price is not None:
                intent.limit_e8 = to_e8(terms.limit_price)
        self._count(event.ts_ns, proposal.orders)
        reference = self.state.marks[token].last_price if token in self.state.marks else 0.0
        return [(event.pos[3], ValidatedSignal(
            PAPER, strategy_id, token, event.id, int(signal.size), reference, str(signal.kind), terms,
        ))]  # fmt: skip

    def _count(self, ts_ns: int, orders: int) -> None:
        if not self._counts_rates:
            return
        state = self.state
        state.sent_today += orders
        sent_ns = state.sent_ns
        if orders == 1:
            sent_ns.append(ts_ns)
        else:
            sent_ns.extend([ts_ns] * orders)
        while sent_ns and sent_ns[0] <= ts_ns - MINUTE_NS:
            sent_ns.popleft()

    # ---- feedback

    def on_fill(self, event: Event) -> Outputs:
        """Book the fill and take its quantity off the intent."""
        fill: Any = event.data
        state, strategy_id, token, quantity = self.state, fill.strategy_id, fill.instrument_token, fill.quantity
        notional_e8 = value_e8(to_e8(fill.price), quantity, self._multipliers_e8[token])
        state.books[strategy_id].fill(token, quantity, notional_e8, fill.charges.total_e8)
        held, key = state.held[strategy_id], (token, fill.product)
        after = held.get(key, 0) + quantity
        if after:
            held[key] = after
        else:
            del held[key]
        self._settle(fill, ended=not fill.remaining)
        if self._tracks_highest:
            self._look(strategy_id)
        return ()

    def on_end(self, event: Event) -> Outputs:
        """An order ended with this quantity unfilled."""
        self._settle(event.data, ended=True)
        return ()

    def on_failed(self, event: Event) -> Outputs:
        """An order was not accepted, or a change not made: then it is taken back."""
        failed: Any = event.data
        change = self.state.changes.pop(failed.signal_id, None)
        if change is None:
            self._settle(failed, ended=True)
        elif (intent := self.state.intents[failed.strategy_id].get(change.intent_id)) is not None:
            intent.quantity -= change.added
            intent.total -= change.added
            intent.limit_e8, intent.price_e8 = change.limit_e8, change.price_e8
        return ()

    def _settle(self, told: Any, *, ended: bool) -> None:
        intents = self.state.intents[told.strategy_id]
        intent = intents.get(told.signal_id)
        if intent is None or ":" in told.order_id:  # a leg, or what the engine did of itself: never an intent
            return
        intent.quantity -= told.quantity
        if ended:
            intent.orders -= 1
            if not intent.orders:
                del intents[told.signal_id]
                if intent.modifications:
                    self._forget_changes(told.signal_id)

    def _forget_changes(self, intent_id: str) -> None:
        changes = self.state.changes
        for signal_id in [one for one, change in changes.items() if change.intent_id == intent_id]:
            del changes[signal_id]

    # ---- sessions and commands

    def on_session_open(self, event: Event) -> Outputs:
        """A new day: losses and orders count from here, and corporate actions of its date take effect."""
        opened: Any = event.data
        state = self.state
        state.session_open, state.squared_off, state.sent_today = True, False, 0
        actions = due(self.actions, state.session, opened.session)
        state.session = opened.session
        adjust(state.marks, actions, opened.session)
        for action in actions:
            for book in state.books.values():
                act(book, action)
            for held in state.held.values():
                for key, count in [one for one in held.items() if one[0][0] == action.instrument_token]:
                    held[key] = quantity_after(count, action)
                    if not held[key]:
                        del held[key]
        self._note_open()
        return ()

    def _look(self, strategy_id: str) -> Looks:
        """Look at a book, or at each and all together where limits ask for it; note the highest equities, exactly."""
        state, factors = self.state, self._proposals.factors
        if not self._looks_at_all:
            return {strategy_id: look_at(state.books[strategy_id], state.marks, factors)}
        looks = {name: look_at(book, state.marks, factors) for name, book in state.books.items()}
        if len(looks) > 1:
            looks[ACCOUNT] = look_at_all(looks.values())
        if self._tracks_highest:
            highest_e8 = state.highest_e8
            higher = [name for name, look in looks.items() if look is None or may_be_above(look, highest_e8[name])]
            if higher:
                self._note_highest(self._equities_e8(higher))
        return looks

    def _note_highest(self, equities_e8: Mapping[str, int]) -> None:
        """Note those that are the highest so far."""
        highest_e8 = self.state.highest_e8
        for name, equity_e8 in equities_e8.items():
            highest_e8[name] = max(equity_e8, highest_e8.get(name, equity_e8))

    def _equities_e8(self, names: Collection[str]) -> dict[str, int]:
        """These books' equities; where the account's is asked for, or there is one book, all of them and their sum."""
        books = self.state.books
        whole = ACCOUNT in names or len(books) == 1
        found = {name: self._proposals.equity_e8(name) for name in (books if whole else names)}
        return {**found, ACCOUNT: sum(found.values())} if whole else found

    def _note_open(self) -> None:
        """Note equities as the day's first."""
        self.state.equity_at_open_e8 = self._equities_e8([ACCOUNT])
        self._note_highest(self.state.equity_at_open_e8)

    def on_square_off(self, event: Event) -> Outputs:
        """From here on no new intraday position is opened."""
        self.state.squared_off = True
        return ()

    def on_session_close(self, event: Event) -> Outputs:
        """No orders until the next session."""
        self.state.session_open = False
        return ()

    def on_kill_switch(self, event: Event) -> Outputs:
        """Refuse everything, or stop refusing."""
        command: Any = event.data
        self.state.killed = command.engaged
        return ()

    def on_halt(self, event: Event) -> Outputs:
        """Refuse this strategy's signals from here on."""
        command: Any = event.data
        self.state.halted.add(command.strategy_id)
        return ()


def _float(figure: float | None) -> float | None:
    """A count as a float: whoever reads the event from its wire form has one, and says `3.0` where this said `3`."""
    return None if figure is None else float(figure)


def _objection(proposal: Proposal, limits: RiskLimits, checks: list[Check]) -> tuple[str, Breach | None]:
    """The first check that objects, and what it found; else whether there is anything to do."""
    for check in checks:
        breach = check(proposal, limits)
        if breach is not None:
            return check.__name__, breach
    idle = not proposal.quantity and proposal.kind not in CHANGES
    return NOTHING_TO_DO, Breach(proposal.position, proposal.position, "quantity") if idle else None
