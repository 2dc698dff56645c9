"""From a signal to a proposal: its quantity, and every figure that the checks look at."""

from typing import Any

from alphapanda.contracts.events import OrderTerms, Product, SignalKind, TradingSignal
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import to_e8, value_e8
from alphapanda.services.risk_manager import books
from alphapanda.services.risk_manager.books import MarginRule
from alphapanda.services.risk_manager.models import BookLimits, Figures, Intent, Proposal, RiskLimits, RiskState, reduces
from alphapanda.services.risk_manager.rules import CHANGES

NS = 1_000_000_000
NO_FIGURES = Figures()
NO_INTENT = "", None


class Proposals:
    """Makes proposals of what a risk room knows; changes nothing. Figures that no limit needs are left at zero."""

    def __init__(
        self, room: Any, multipliers_e8: books.Multipliers, product: Product, protected: bool, margin: MarginRule
    ) -> None:  # fmt: skip
        self._room, self._product, self._protected, self._margin = room, product, protected, margin
        self._multipliers_e8 = multipliers_e8
        account = room.limits.account
        self._account = any(value is not None for value in account.model_dump().values())

    def of(self, ts_ns: int, signal: TradingSignal, limits: RiskLimits) -> Proposal:
        """The proposal of a signal under its strategy's limits. A modification replaces what is left of its order."""
        state: RiskState = self._room.state
        strategy_id, token, terms = signal.strategy_id, signal.instrument_token, signal.terms
        instrument: Instrument | None = self._room.instruments.get(token)
        mark = state.marks.get(token)
        book, kind = state.books[strategy_id], signal.kind
        changed = self.working(strategy_id, token, terms)[1] if kind in CHANGES else None
        intents = list(state.intents[strategy_id].values())
        if kind is SignalKind.MODIFY and changed is not None:
            intents.remove(changed)
        if terms is not None or len(intents) > 1:
            intents = books.counted(intents)
        position = book.held.get(token, 0)
        for intent in intents:
            if intent.token == token:
                position += intent.quantity
        price_e8 = 0 if mark is None else to_e8(mark.last_price)
        if kind in CHANGES:
            size, quantity = _of_change(signal, changed)
        else:
            size = quantity = self._quantity(signal, instrument, price_e8, position, state)
        price_e8 = _price_e8(price_e8, quantity, terms, changed)
        cash_e8 = 0
        if limits.require_cash and not reduces(position, quantity):  # nothing else is refused for it
            cash_e8 = books.cash_after_e8(book, intents, token, quantity, price_e8, state.marks, self._multipliers_e8)
        figures = account = NO_FIGURES
        if _wants_figures(limits):
            figures = self._figures([strategy_id], strategy_id, token, quantity, changed)
        elif limits.max_position is not None:
            figures = Figures(position)
        if self._account:
            account = self._figures(list(state.books), "*", token, quantity, changed)
        asked = changed.product if changed is not None else self._product_of(instrument, terms)
        more = self._more(ts_ns, signal, limits, quantity, asked, changed) if self._needs_more(limits) else {}
        return Proposal(
            ts_ns, instrument, mark, quantity, price_e8, signal.reference_price, position, size,
            self._orders(instrument, size, changed), state.killed, strategy_id in state.halted, state.session_open, cash_e8,
            figures, account, terms, asked, kind, kind not in CHANGES or changed is not None or _is_leg(terms),
            changed is not None and size * changed.total < 0, 0 if changed is None else changed.modifications,
            state.squared_off, self._protected, **more,
        )  # fmt: skip

    def _orders(self, instrument: Instrument | None, size: int, changed: Intent | None) -> int:
        """How many orders, or changes of orders, a signal makes."""
        if changed is not None:
            return changed.orders
        if instrument is None or self._room.limits.freeze_quantity != "slice":
            return 1
        return len(slices(instrument, size))

    def _product_of(self, instrument: Instrument | None, terms: OrderTerms | None) -> str:
        asked = self._product if terms is None or terms.product is None else terms.product
        return asked if instrument is None else instrument.product(asked)

    def working(self, strategy_id: str, token: int, terms: OrderTerms | None) -> tuple[str, Intent | None]:
        """The intent that a change names, and its signal's id."""
        name = "" if terms is None else terms.client_order_id
        if name:
            for signal_id, intent in reversed(self._room.state.intents[strategy_id].items()):  # a name may be used again
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

    def _figures(
        self, strategies: list[str], name: str, token: int, quantity: int, changed: Intent | None
    ) -> Figures:  # fmt: skip
        """Figures of these strategies' books together, netted as a broker's account is."""
        state: RiskState = self._room.state
        held: dict[int, int] = {}
        equity_e8 = 0
        for one in strategies:
            book = state.books[one]
            for held_token, count in book.held.items():
                held[held_token] = held.get(held_token, 0) + count
            books.on_its_way(held, books.counted(state.intents[one].values()))
            equity_e8 += books.equity_e8(book, state.marks, self._multipliers_e8)
        if changed is not None:
            held[token] = held.get(token, 0) - changed.quantity
        position = held.get(token, 0)
        before = books.values_e8(held, state.marks, self._multipliers_e8)
        if token in self._multipliers_e8:
            held[token] = position + quantity
        after = books.values_e8(held, state.marks, self._multipliers_e8)
        return Figures(
            position, sum(map(abs, after.values())), sum(before.values()), sum(after.values()),
            equity_e8 - state.equity_at_open_e8[name], equity_e8, state.highest_e8[name],
        )  # fmt: skip

    def _needs_more(self, limits: RiskLimits) -> bool:
        return bool(
            limits.duplicate_window_s is not None or limits.orders_per_second or limits.orders_per_minute
            or limits.orders_per_day or limits.require_margin or limits.forbid_self_cross
        )  # fmt: skip

    def _more(
        self, ts_ns: int, signal: TradingSignal, limits: RiskLimits, quantity: int, product: str, changed: Intent | None
    ) -> dict[str, Any]:  # fmt: skip
        """Figures that few limits need."""
        state: RiskState = self._room.state
        strategy_id, token, terms = signal.strategy_id, signal.instrument_token, signal.terms
        last = state.last_signal.get((strategy_id, token))
        same = last is not None and last[1] == gist(signal)
        limit_e8 = None if terms is None or terms.limit_price is None else to_e8(terms.limit_price)
        crossing = books.crossing(strategy_id, token, quantity, limit_e8, state.intents) if limits.forbid_self_cross else 0
        needed_e8 = equity_e8 = 0
        if limits.require_margin:
            needed_e8, equity_e8 = self._margins(ts_ns, strategy_id, token, quantity, product, changed)
        return {
            "duplicate_age_s": (ts_ns - last[0]) / NS if same and last is not None else None,
            "second": sum(1 for at_ns in state.sent_ns if at_ns > ts_ns - NS),
            "minute": sum(1 for at_ns in state.sent_ns if at_ns > ts_ns - 60 * NS),
            "today": state.sent_today, "crossing": crossing, "margin_after_e8": needed_e8, "margin_e8": equity_e8,
        }  # fmt: skip

    def _margins(
        self, ts_ns: int, strategy_id: str, token: int, quantity: int, product: str, changed: Intent | None
    ) -> tuple[int, int]:  # fmt: skip
        """Margin of all that is held, on its way and asked for, by product; and the equity that is to cover it."""
        state: RiskState = self._room.state
        held = {(one, of): count for (owner, one, of), count in state.held.items() if owner == strategy_id}
        for intent in books.counted(state.intents[strategy_id].values()):
            if intent is not changed:
                key = intent.token, intent.product
                held[key] = held.get(key, 0) + intent.quantity
        held[token, product] = held.get((token, product), 0) + quantity
        needed_e8 = 0
        for (one, of), count in held.items():
            mark = state.marks.get(one)
            if count and mark is not None and one in self._room.instruments:
                needed_e8 += self._margin(ts_ns, one, of, count, to_e8(mark.last_price))
        return needed_e8, books.equity_e8(state.books[strategy_id], state.marks, self._multipliers_e8)


def gist(signal: TradingSignal) -> tuple[object, ...]:
    """What makes a signal the same as another of its strategy and instrument."""
    return signal.kind, signal.size, signal.terms


def slices(instrument: Instrument, quantity: int) -> list[int]:
    """A quantity in orders of whole lots that are not above the freeze quantity."""
    most = instrument.freeze_quantity
    if most is None or abs(quantity) <= most:
        return [quantity]
    most = max(most // instrument.lot_size * instrument.lot_size, instrument.lot_size)
    whole, rest = divmod(abs(quantity), most)
    sizes = [most] * whole + ([rest] if rest else [])
    return sizes if quantity > 0 else [-size for size in sizes]


def _of_change(signal: TradingSignal, changed: Intent | None) -> tuple[int, int]:
    """The order's whole quantity after a change, and what of it is still to be filled."""
    if changed is None or signal.kind is SignalKind.CANCEL:
        return 0, 0
    size = int(signal.size) or changed.total
    return size, changed.quantity + size - changed.total


def _price_e8(last_e8: int, quantity: int, terms: OrderTerms | None, changed: Intent | None) -> int:
    """What the order is taken to cost: its limit, else the last price, or for a stop that buys its trigger above that."""
    if terms is not None and terms.limit_price is not None:
        return to_e8(terms.limit_price)
    if terms is not None and terms.trigger_price is not None and quantity > 0:
        return max(last_e8, to_e8(terms.trigger_price))
    return last_e8 if changed is None else changed.price_e8


def _is_leg(terms: OrderTerms | None) -> bool:
    """Whether a name is that of an exit of a bracket: the engine knows these, risk does not."""
    return terms is not None and terms.client_order_id.endswith((".stop", ".target"))


def _wants_figures(limits: BookLimits) -> bool:
    return (
        limits.max_gross_exposure is not None or limits.max_net_exposure is not None or limits.max_daily_loss is not None
        or limits.max_drawdown is not None
    )  # fmt: skip
