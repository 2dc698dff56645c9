"""risk_manager: turns signals into quantities and refuses what the limits do not allow.

Reads trading.signals.generated, market.ticks (marks, only noted), market.clock and control.commands; hears fills,
cancellations and failures, late. Writes trading.signals.validated and trading.signals.rejected. Keeps its own books with
the portfolio's functions, and the intents: validated quantities whose end it has not heard of, which count as if filled.
Refuses a signal by the first check that objects (`rules.CHECKS`), with value, limit and unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alphapanda.contracts.events import (
    Event,
    ExecMode,
    HaltStrategy,
    KillSwitch,
    MarketTick,
    OrderCancelled,
    OrderFailed,
    OrderFill,
    RejectedSignal,
    SessionClose,
    SessionOpen,
    SignalKind,
    TradingSignal,
    ValidatedSignal,
)  # fmt: skip
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.handler import Lane, Outputs
from alphapanda.core.ledger import Book, opened, to_e8, value_e8
from alphapanda.services.risk_manager.models import Intent, Proposal, RiskLimits
from alphapanda.services.risk_manager.rules import CHECKS, NEEDS, NOTHING_TO_DO, Breach


@dataclass(slots=True)
class RiskState:
    """Books, intents and marks."""

    books: dict[str, Book]
    intents: dict[str, dict[str, Intent]]  # strategy -> signal id -> intent
    marks: dict[int, MarketTick]
    equity_at_open_e8: dict[str, int] = field(default_factory=dict)
    halted: set[str] = field(default_factory=set)
    killed: bool = False
    session_open: bool = False


class RiskManager(Lane):
    """One room over all strategies; each has a book of its own."""

    table = {
        MarketTick: "on_tick",
        TradingSignal: "on_signal",
        OrderFill: "on_fill",
        OrderCancelled: "on_end",
        OrderFailed: "on_end",
        SessionOpen: "on_session_open",
        SessionClose: "on_session_close",
        KillSwitch: "on_kill_switch",
        HaltStrategy: "on_halt",
    }
    notes = frozenset({MarketTick})

    def __init__(
        self, limits: RiskLimits, instruments: Mapping[int, Instrument], start_cash_e8: Mapping[str, int],
        marks: dict[int, MarketTick],
    ) -> None:  # fmt: skip
        books = {strategy_id: opened(cash_e8) for strategy_id, cash_e8 in start_cash_e8.items()}
        super().__init__(0, RiskState(books, {strategy_id: {} for strategy_id in books}, marks))
        self.limits, self.instruments = limits, instruments
        self._multipliers_e8 = {token: one.multiplier_e8 for token, one in instruments.items()}
        self._checks = [one for one in CHECKS if one not in NEEDS or getattr(limits, NEEDS[one]) is not None]
        self._limits_books = limits.max_gross_exposure is not None or limits.require_cash
        self.state.equity_at_open_e8 = {strategy_id: book.cash_e8 for strategy_id, book in books.items()}

    def on_tick(self, event: Event) -> Outputs:
        """Note the mark."""
        tick: Any = event.data
        self.state.marks[tick.instrument_token] = tick
        return ()

    def on_signal(self, event: Event) -> Outputs:
        """Size the signal, ask every check, and let it through or refuse it."""
        signal: Any = event.data
        proposal = self._proposal(event.ts_ns, signal)
        reason, breach = self._objection(proposal)
        lane, token = event.pos[3], signal.instrument_token
        if breach is not None:
            return [(lane, RejectedSignal(
                ExecMode.PAPER, signal.strategy_id, token, event.id, proposal.quantity, reason,
                breach.value, breach.limit, breach.unit,
            ))]  # fmt: skip
        reference = signal.reference_price
        if reference is None:
            reference = self.state.marks[token].last_price
        self.state.intents[signal.strategy_id][event.id] = Intent(token, proposal.quantity, proposal.price_e8)
        return [(lane, ValidatedSignal(
            ExecMode.PAPER, signal.strategy_id, token, event.id, proposal.quantity, reference,
        ))]  # fmt: skip

    def _objection(self, proposal: Proposal) -> tuple[str, Breach | None]:
        limits = self.limits
        for check in self._checks:
            breach = check(proposal, limits)
            if breach is not None:
                return check.__name__, breach
        return NOTHING_TO_DO, None if proposal.quantity else Breach(proposal.position, proposal.position, "quantity")

    def _proposal(self, ts_ns: int, signal: TradingSignal) -> Proposal:
        state, token = self.state, signal.instrument_token
        book, intents = state.books[signal.strategy_id], state.intents[signal.strategy_id]
        instrument, mark = self.instruments.get(token), state.marks.get(token)
        price_e8 = to_e8(mark.last_price) if mark is not None else 0
        position = book.quantity(token)
        for intent in intents.values():
            if intent.token == token:
                position += intent.quantity
        day_pnl_e8 = 0
        if self.limits.max_daily_loss is not None or signal.kind is SignalKind.TARGET_WEIGHT:
            equity_e8 = self._equity_e8(book)
            day_pnl_e8 = equity_e8 - state.equity_at_open_e8[signal.strategy_id]
        else:
            equity_e8 = 0
        quantity = _quantity(signal, instrument, price_e8, position, equity_e8)
        gross_e8, cash_e8 = 0, 0
        if self._limits_books and abs(position + quantity) > abs(position):  # nothing else is refused for these
            gross_e8, cash_e8 = self._after(book, intents, token, quantity, price_e8)
        return Proposal(
            ts_ns, instrument, mark, quantity, price_e8, signal.reference_price, position, state.killed,
            signal.strategy_id in state.halted, state.session_open, gross_e8, cash_e8, day_pnl_e8,
        )  # fmt: skip

    def _equity_e8(self, book: Book) -> int:
        marks = self.state.marks
        return book.cash_e8 + sum(
            value_e8(to_e8(marks[token].last_price), quantity, self._multipliers_e8[token])
            for token, quantity in book.held.items()
        )

    def _after(self, book: Book, intents: Mapping[str, Intent], token: int, quantity: int, price_e8: int) -> tuple[int, int]:
        """Gross exposure, and cash less what the shorts would cost, once all intents and this order are filled."""
        held = dict(book.held)
        cash_e8 = book.cash_e8
        for intent in intents.values():
            held[intent.token] = held.get(intent.token, 0) + intent.quantity
            cash_e8 -= value_e8(intent.price_e8, intent.quantity, self._multipliers_e8[intent.token])
        if token in self.instruments:
            held[token] = held.get(token, 0) + quantity
            cash_e8 -= value_e8(price_e8, quantity, self._multipliers_e8[token])
        gross_e8, marks, limited = 0, self.state.marks, self.limits.max_gross_exposure is not None
        for one, count in held.items():
            if count < 0 or (limited and count):
                mark = marks.get(one)
                if mark is None:
                    continue
                worth_e8 = value_e8(to_e8(mark.last_price), count, self._multipliers_e8[one])
                gross_e8 += abs(worth_e8)
                cash_e8 += min(0, worth_e8)
        return gross_e8, cash_e8

    def on_fill(self, event: Event) -> Outputs:
        """Book the fill and take its quantity off the intent."""
        fill: Any = event.data
        token = fill.instrument_token
        notional_e8 = value_e8(to_e8(fill.price), fill.quantity, self._multipliers_e8[token])
        self.state.books[fill.strategy_id].fill(token, fill.quantity, notional_e8, fill.charges.total_e8)
        self._settle(fill)
        return ()

    def on_end(self, event: Event) -> Outputs:
        """An order ended with this quantity unfilled."""
        self._settle(event.data)
        return ()

    def _settle(self, told: Any) -> None:
        intents = self.state.intents[told.strategy_id]
        intent = intents[told.signal_id]
        intent.quantity -= told.quantity
        if intent.quantity == 0:
            del intents[told.signal_id]

    def on_session_open(self, event: Event) -> Outputs:
        """A new day: losses count from here."""
        self.state.session_open = True
        self.state.equity_at_open_e8 = {name: self._equity_e8(book) for name, book in self.state.books.items()}
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


def _quantity(signal: TradingSignal, instrument: Instrument | None, price_e8: int, position: int, equity_e8: int) -> int:
    """The signed quantity to trade: what was asked, or what is missing to the target."""
    if signal.kind is SignalKind.QUANTITY:
        return int(signal.size)
    if signal.kind is SignalKind.TARGET_QUANTITY:
        return int(signal.size) - position
    if instrument is None or price_e8 == 0:
        return 0
    lot_e8 = value_e8(price_e8, instrument.lot_size, instrument.multiplier_e8)
    wanted_e8 = to_e8(signal.size) * equity_e8 // 100_000_000
    lots = abs(wanted_e8) // lot_e8 if lot_e8 > 0 else 0
    return (lots if wanted_e8 >= 0 else -lots) * instrument.lot_size - position
