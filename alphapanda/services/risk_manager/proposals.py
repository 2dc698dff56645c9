"""From a signal to a proposal: its quantity, and every figure that the checks look at."""

from typing import Any

from alphapanda.contracts.events import OrderTerms, Product, SignalKind, TradingSignal
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import to_e8, value_e8
from alphapanda.services.risk_manager import books
from alphapanda.services.risk_manager.books import MarginRule
from alphapanda.services.risk_manager.models import BookLimits, Figures, Intent, Proposal, RiskLimits, RiskState
from alphapanda.services.risk_manager.rules import CHANGES

NS = 1_000_000_000
NO_FIGURES = Figures()
NO_INTENT = "", None


class Proposals:
    """Makes proposals of what a risk room knows; changes nothing. Figures that no limit needs are left at zero."""

    def __init__(self, room: Any, product: Product, protected: bool, margin: MarginRule) -> None:
        self._room, self._product, self._protected, self._margin = room, product, protected, margin
        self._multipliers_e8 = {token: one.multiplier_e8 for token, one in room.instruments.items()}
        account = room.limits.account
        self._account = any(value is not None for value in account.model_dump().values())

    def of(self, ts_ns: int, signal: TradingSignal, limits: RiskLimits) -> Proposal:
        """The proposal of a signal under its strategy's limits."""
        state: RiskState = self._room.state
        strategy_id, token, terms = signal.strategy_id, signal.instrument_token, signal.terms
        instrument: Instrument | None = self._room.instruments.get(token)
        mark = state.marks.get(token)
        book, intents = state.books[strategy_id], state.intents[strategy_id]
        held = book.held.get(token, 0)
        position = held
        for intent in intents.values():
            if intent.token == token:
                position += intent.quantity
        price_e8 = 0 if mark is None else to_e8(mark.last_price)
        known, changed = True, 0
        if signal.kind in CHANGES:
            _, intent_or_none = self.working(strategy_id, token, terms)
            known, quantity = intent_or_none is not None, 0
            if intent_or_none is not None:
                changed = intent_or_none.modifications
                quantity = int(signal.size) - intent_or_none.total if signal.size else 0
        else:
            quantity = self._quantity(signal, instrument, price_e8, position, state)
        if terms is not None and terms.limit_price is not None:
            price_e8 = to_e8(terms.limit_price)
        cash_e8 = 0
        if limits.require_cash and abs(position + quantity) > abs(position):  # nothing else is refused for it
            cash_e8 = books.cash_after_e8(
                book, intents.values(), token, quantity, price_e8, state.marks, self._multipliers_e8
            )  # fmt: skip
        figures = account = NO_FIGURES
        if _wants_figures(limits):
            figures = self._figures([strategy_id], strategy_id, token, quantity)
        elif limits.max_position is not None:
            figures = Figures(position)
        if self._account:
            account = self._figures(list(state.books), "*", token, quantity)
        more: dict[str, Any] = self._more(ts_ns, signal, limits, quantity) if self._needs_more(signal, limits) else {}
        return Proposal(
            ts_ns, instrument, mark, quantity, price_e8, signal.reference_price, position, held, state.killed,
            strategy_id in state.halted, state.session_open, cash_e8, figures, account, terms,
            self._product_of(instrument, terms), signal.kind, known, changed, state.squared_off, self._protected, **more,
        )  # fmt: skip

    def _product_of(self, instrument: Instrument | None, terms: OrderTerms | None) -> str:
        asked = self._product if terms is None or terms.product is None else terms.product
        return asked if instrument is None else instrument.product(asked)

    def working(self, strategy_id: str, token: int, terms: OrderTerms | None) -> tuple[str, Intent | None]:
        """The intent that a change names, and its signal's id."""
        name = "" if terms is None else terms.client_order_id
        if name:
            for signal_id, intent in self._room.state.intents[strategy_id].items():
                if intent.token == token and intent.client_order_id == name:
                    return signal_id, intent
        return NO_INTENT

    def _quantity(
        self, signal: TradingSignal, instrument: Instrument | None, price_e8: int, position: int, state: RiskState
    ) -> int:  # fmt: skip
        """The signed quantity to trade: what was asked, or what is missing to the target."""
        if signal.kind is SignalKind.QUANTITY:
            return int(signal.size)
        if signal.kind is SignalKind.TARGET_QUANTITY:
            return int(signal.size) - position
        if instrument is None or price_e8 == 0:
            return 0
        equity_e8 = books.equity_e8(state.books[signal.strategy_id], state.marks, self._multipliers_e8)
        lot_e8 = value_e8(price_e8, instrument.lot_size, instrument.multiplier_e8)
        wanted_e8 = to_e8(signal.size) * equity_e8 // 100_000_000
        lots = abs(wanted_e8) // lot_e8 if lot_e8 > 0 else 0
        return (lots if wanted_e8 >= 0 else -lots) * instrument.lot_size - position

    def _figures(self, strategies: list[str], name: str, token: int, quantity: int) -> Figures:
        """Figures of these strategies' books together, netted as a broker's account is."""
        state: RiskState = self._room.state
        held: dict[int, int] = {}
        equity_e8 = 0
        for one in strategies:
            book = state.books[one]
            for held_token, count in book.held.items():
                held[held_token] = held.get(held_token, 0) + count
            books.on_its_way(held, state.intents[one].values())
            equity_e8 += books.equity_e8(book, state.marks, self._multipliers_e8)
        position = held.get(token, 0)
        before = books.values_e8(held, state.marks, self._multipliers_e8)
        if token in self._multipliers_e8:
            held[token] = position + quantity
        after = books.values_e8(held, state.marks, self._multipliers_e8)
        return Figures(
            position, sum(map(abs, after.values())), sum(before.values()), sum(after.values()),
            equity_e8 - state.equity_at_open_e8[name], equity_e8, state.highest_e8[name],
        )  # fmt: skip

    def _needs_more(self, signal: TradingSignal, limits: RiskLimits) -> bool:
        return bool(
            limits.duplicate_window_s is not None or limits.orders_per_second or limits.orders_per_minute
            or limits.orders_per_day or limits.require_margin or limits.forbid_self_cross
        )  # fmt: skip

    def _more(self, ts_ns: int, signal: TradingSignal, limits: RiskLimits, quantity: int) -> dict[str, Any]:
        """Figures that few limits need."""
        state: RiskState = self._room.state
        strategy_id, token, terms = signal.strategy_id, signal.instrument_token, signal.terms
        last = state.last_signal.get((strategy_id, token))
        same = last is not None and last[1] == (signal.kind, signal.size, terms)
        limit_e8 = None if terms is None or terms.limit_price is None else to_e8(terms.limit_price)
        crossing = books.crossing(strategy_id, token, quantity, limit_e8, state.intents) if limits.forbid_self_cross else 0
        needed_e8 = equity_e8 = 0
        if limits.require_margin:
            needed_e8, equity_e8 = self._margins(ts_ns, strategy_id, token, quantity, terms)
        return {
            "duplicate_age_s": (ts_ns - last[0]) / NS if same and last is not None else None,
            "second": sum(1 for at_ns in state.sent_ns if at_ns > ts_ns - NS),
            "minute": sum(1 for at_ns in state.sent_ns if at_ns > ts_ns - 60 * NS),
            "today": state.sent_today, "crossing": crossing, "margin_after_e8": needed_e8, "margin_e8": equity_e8,
        }  # fmt: skip

    def _margins(self, ts_ns: int, strategy_id: str, token: int, quantity: int, terms: OrderTerms | None) -> tuple[int, int]:
        """Margin of all that is held, on its way and asked for; and the equity that is to cover it."""
        state: RiskState = self._room.state
        book = state.books[strategy_id]
        held = dict(book.held)
        books.on_its_way(held, state.intents[strategy_id].values())
        held[token] = held.get(token, 0) + quantity
        needed_e8 = 0
        for one, count in held.items():
            instrument, mark = self._room.instruments.get(one), state.marks.get(one)
            if not count or instrument is None or mark is None:
                continue
            asked = self._product_of(instrument, terms) if one == token else state.products.get(
                (strategy_id, one), self._product_of(instrument, None)
            )  # fmt: skip
            needed_e8 += self._margin(ts_ns, one, asked, count, to_e8(mark.last_price))
        return needed_e8, books.equity_e8(book, state.marks, self._multipliers_e8)


def _wants_figures(limits: BookLimits) -> bool:
    return (
        limits.max_gross_exposure is not None or limits.max_net_exposure is not None or limits.max_daily_loss is not None
        or limits.max_drawdown is not None
    )  # fmt: skip
