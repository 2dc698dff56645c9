"""From a signal to a proposal: its quantity, and every figure that the checks look at."""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from alphapanda.contracts.events import OrderTerms, Product, SignalKind, TradingSignal
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import ONE, to_e8, unless_one, value_e8
from alphapanda.services.risk_manager import books
from alphapanda.services.risk_manager.books import MarginRule
from alphapanda.services.risk_manager.models import Figures, Proposal, RiskLimits, reduces
from alphapanda.services.risk_manager.rules import CHANGES
from alphapanda.services.risk_manager.state import Intent, RiskState

NS = 1_000_000_000
QUANTITY, TARGET_QUANTITY, CANCEL, MODIFY = (
    SignalKind.QUANTITY, SignalKind.TARGET_QUANTITY, SignalKind.CANCEL, SignalKind.MODIFY
)  # fmt: skip
NO_INTENT = "", None
NO_FIGURES = Figures()
ACCOUNT = "*"
"""The name that all books together have among the books."""


class Wants(msgspec.Struct, frozen=True):
    """Which further figures a strategy's limits need; the others are not worked out."""

    book: bool
    position: bool
    account: bool
    rates: bool  # they are at hand, but a proposal without further figures has none
    duplicates: bool
    margin: bool
    crossing: bool

    @classmethod
    def of(cls, limits: RiskLimits) -> "Wants | None":
        """What these limits need; None where that is nothing."""
        wants = cls(
            _any(limits.max_gross_exposure, limits.max_net_exposure, limits.max_daily_loss, limits.max_drawdown),
            _any(limits.max_position),
            _any(*limits.account.model_dump().values()),
            _any(limits.orders_per_second, limits.orders_per_minute, limits.orders_per_day),
            limits.duplicate_window_s is not None, limits.require_margin, limits.forbid_self_cross,
        )  # fmt: skip
        return wants if any(msgspec.structs.astuple(wants)) else None


def _any(*limits: float | None) -> bool:
    return any(one is not None for one in limits)


class Proposals:
    """Makes proposals of what a risk room knows; changes nothing. Figures that no limit needs are left at zero."""

    def __init__(
        self, room: Any, limits: Mapping[str, RiskLimits], multipliers_e8: books.Multipliers, product: Product,
        protected: bool, margin: MarginRule,
    ) -> None:  # fmt: skip
        """`limits` are each strategy's."""
        self._room, self._product, self._protected, self._margin = room, product, protected, margin
        self._instruments: Mapping[int, Instrument] = room.instruments
        self._multipliers_e8, self._odd_e8 = multipliers_e8, unless_one(multipliers_e8)
        self._products: dict[int, str] = {token: one.product(product) for token, one in self._instruments.items()}
        self._slices = room.limits.freeze_quantity == "slice"
        self._wants = {strategy_id: Wants.of(mine) for strategy_id, mine in limits.items()}

    def of(self, ts_ns: int, signal: TradingSignal, limits: RiskLimits, equities_e8: Mapping[str, int]) -> Proposal:
        """The proposal of a signal under its strategy's limits. A modification replaces what is left of its order.

        `equities_e8` are those of the books, by name, that are known already; and the room has let go of the times of
        orders that are too old to count.
        """
        state: RiskState = self._room.state
        strategy_id, token, terms, kind = signal.strategy_id, signal.instrument_token, signal.terms, signal.kind
        instrument, mark, book = self._instruments.get(token), state.marks.get(token), state.books[strategy_id]
        changes = kind in CHANGES
        changed = self.working(strategy_id, token, terms)[1] if changes else None
        intents: Collection[Intent] = state.intents[strategy_id].values()
        group = changed.oco_group if changed is not None else "" if terms is None else terms.oco_group
        if group or changed is not None:
            intents = [one for one in intents if one is not changed and not _loses(one, group, token)]
        intents = books.counted(intents)
        held = books.with_intents(book.held, intents)
        position = held.get(token, 0)
        price_e8 = 0 if mark is None else to_e8(mark.last_price)
        if changes:
            size, quantity = _of_change(signal, changed)
        elif kind is TARGET_QUANTITY:
            size = quantity = int(signal.size) - position
        elif kind is QUANTITY:
            size = quantity = int(signal.size)
        else:
            size = quantity = self._weighed(signal, instrument, price_e8, position, self._equity_e8(strategy_id, equities_e8))
        if terms is not None:
            price_e8 = _price_e8(price_e8, quantity, terms, changed)
        held[token] = position + quantity
        cash_e8 = 0
        if limits.require_cash and instrument is not None and not reduces(position, quantity):  # nothing else is refused for it
            cash_e8 = books.cash_after_e8(book.cash_e8, intents, token, quantity, price_e8, self._odd_e8)
            cash_e8 += books.shorts_e8(held, state.marks, self._odd_e8)
        plain = Proposal(
            ts_ns, instrument, mark, quantity, price_e8, signal.reference_price, position, size,
            self._orders(instrument, size, changed) if self._slices or changed is not None else 1, state.killed,
            strategy_id in state.halted, state.session_open, cash_e8, kind, self._products.get(token, self._product),
            state.squared_off, self._protected,
        )  # fmt: skip
        if terms is not None or changes:
            plain = self._with_terms(plain, terms, changed)
        wants = self._wants[strategy_id]
        return plain if wants is None else self._with_figures(plain, signal, wants, held, intents, equities_e8)

    def _with_terms(self, p: Proposal, terms: OrderTerms | None, changed: Intent | None) -> Proposal:
        """What the signal's terms add, and the order that it changes."""
        product = p.product
        if changed is not None:
            product = changed.product
        elif terms is not None and terms.product is not None:
            product = terms.product if p.instrument is None else p.instrument.product(terms.product)
        return msgspec.structs.replace(
            p, terms=terms, product=product, known_order=p.kind not in CHANGES or changed is not None or _is_leg(terms),
            turns=changed is not None and p.size * changed.total < 0,
            modifications=0 if changed is None else changed.modifications,
        )  # fmt: skip

    def _with_figures(
        self, p: Proposal, signal: TradingSignal, wants: Wants, held: dict[int, int], intents: Collection[Intent],
        equities_e8: Mapping[str, int],
    ) -> Proposal:  # fmt: skip
        """The further figures that are wanted. `held` is what the book comes to with the order and these intents."""
        state: RiskState = self._room.state
        strategy_id, token = signal.strategy_id, signal.instrument_token
        of_book = of_account = NO_FIGURES
        if wants.book:
            equity_e8 = self._equity_e8(strategy_id, equities_e8)
            of_book = self._figures(strategy_id, equity_e8, held, token, p.position, p.quantity)
        elif wants.position:
            of_book = Figures(p.position)
        if wants.account:
            alone = wants.book and len(state.books) == 1
            of_account = of_book if alone else self._of_account(strategy_id, held, token, p.quantity, equities_e8)
        margin_after_e8 = margin_e8 = 0
        if wants.margin:
            margin_after_e8 = self._margin_e8(p, strategy_id, token, intents)
            margin_e8 = self._equity_e8(strategy_id, equities_e8)
        return msgspec.structs.replace(
            p, book=of_book, account=of_account, margin_after_e8=margin_after_e8, margin_e8=margin_e8,
            duplicate_age_s=self._duplicate_age_s(p.ts_ns, signal) if wants.duplicates else None,
            second=len(state.second_ns), minute=len(state.minute_ns), today=state.sent_today,
            crossing=self._crossing(signal, p.quantity) if wants.crossing else 0,
        )  # fmt: skip

    def _orders(self, instrument: Instrument | None, size: int, changed: Intent | None) -> int:
        """How many orders, or changes of orders, a signal makes."""
        if changed is not None:
            return changed.orders
        return 1 if instrument is None else len(slices(instrument, size))

    def working(self, strategy_id: str, token: int, terms: OrderTerms | None) -> tuple[str, Intent | None]:
        """The intent that a change names, and its signal's id."""
        name = "" if terms is None else terms.client_order_id
        if name:
            for signal_id, intent in reversed(self._room.state.intents[strategy_id].items()):  # a name may be used again
                if intent.token == token and intent.client_order_id == name:
                    return signal_id, intent
        return NO_INTENT

    def _weighed(
        self, signal: TradingSignal, instrument: Instrument | None, price_e8: int, position: int, equity_e8: int
    ) -> int:  # fmt: skip
        """The signed quantity that is missing to a part of the book's equity."""
        if instrument is None or price_e8 == 0:
            return 0
        lot_e8 = value_e8(price_e8, instrument.lot_size, instrument.multiplier_e8)
        wanted_e8 = to_e8(signal.size) * equity_e8 // 100_000_000
        lots = abs(wanted_e8) // lot_e8 if lot_e8 > 0 else 0
        return (lots if wanted_e8 >= 0 else -lots) * instrument.lot_size - position

    def _equity_e8(self, name: str, equities_e8: Mapping[str, int]) -> int:
        """A book's equity, or of all books together."""
        found = equities_e8.get(name)
        if found is not None:
            return found
        state: RiskState = self._room.state
        these = list(state.books.values()) if name == ACCOUNT else [state.books[name]]
        return sum([books.equity_e8(book, state.marks, self._odd_e8) for book in these])

    def _figures(
        self, name: str, equity_e8: int, held: Mapping[int, int], token: int, position: int, quantity: int
    ) -> Figures:  # fmt: skip
        """Figures of what is held once all is filled, an order of this quantity among it; `position` is without that."""
        state: RiskState = self._room.state
        gross_e8, net_e8 = books.exposures_e8(held, state.marks, self._odd_e8)
        mark, before_e8 = state.marks.get(token), net_e8
        if mark is not None:
            price_e8, multiplier_e8 = to_e8(mark.last_price), self._multipliers_e8.get(token, ONE)
            before_e8 += value_e8(price_e8, position, multiplier_e8) - value_e8(price_e8, position + quantity, multiplier_e8)
        return Figures(
            position, gross_e8, before_e8, net_e8, equity_e8 - state.equity_at_open_e8[name], equity_e8, state.highest_e8[name]
        )

    def _of_account(
        self, strategy_id: str, held: dict[int, int], token: int, quantity: int, equities_e8: Mapping[str, int]
    ) -> Figures:  # fmt: skip
        """Figures of all books together; `held` is what this strategy's book comes to."""
        state: RiskState = self._room.state
        others = [
            books.with_intents(book.held, books.counted(state.intents[one].values()))
            for one, book in state.books.items() if one != strategy_id
        ]  # fmt: skip
        held = books.merged([held, *others])
        position = held.get(token, 0) - quantity
        return self._figures(ACCOUNT, self._equity_e8(ACCOUNT, equities_e8), held, token, position, quantity)

    def _duplicate_age_s(self, ts_ns: int, signal: TradingSignal) -> float | None:
        """How long ago the strategy said the same."""
        last = self._room.state.last_signal.get((signal.strategy_id, signal.instrument_token))
        return None if last is None or last[1] != gist(signal) else (ts_ns - last[0]) / NS

    def _crossing(self, signal: TradingSignal, quantity: int) -> int:
        terms = signal.terms
        limit_e8 = None if terms is None or terms.limit_price is None else to_e8(terms.limit_price)
        return books.crossing(signal.strategy_id, signal.instrument_token, quantity, limit_e8, self._room.state.intents)

    def _margin_e8(self, p: Proposal, strategy_id: str, token: int, intents: Collection[Intent]) -> int:
        """Margin of all that is held, on its way and asked for, by product."""
        state: RiskState = self._room.state
        held = {(one, of): count for (owner, one, of), count in state.held.items() if owner == strategy_id}
        for intent in intents:
            key = intent.token, intent.product
            held[key] = held.get(key, 0) + intent.quantity
        held[token, p.product] = held.get((token, p.product), 0) + p.quantity
        needed_e8 = 0
        for (one, of), count in held.items():
            mark = state.marks.get(one)
            if count and mark is not None and one in self._instruments:
                needed_e8 += self._margin(p.ts_ns, one, of, count, to_e8(mark.last_price))
        return needed_e8


def _loses(intent: Intent, group: str, token: int) -> bool:
    """Whether an intent loses what another of this group fills: the two are never held together."""
    return group != "" and intent.oco_group == group and intent.token == token


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
    if changed is None or signal.kind is CANCEL:
        return 0, 0
    size = int(signal.size) or changed.total
    return size, changed.quantity + size - changed.total


def _price_e8(last_e8: int, quantity: int, terms: OrderTerms, changed: Intent | None) -> int:
    """What the order is taken to cost: its limit, else the last price, or for a stop that buys its trigger above that."""
    if terms.limit_price is not None:
        return to_e8(terms.limit_price)
    if terms.trigger_price is not None and quantity > 0:
        return max(last_e8, to_e8(terms.trigger_price))
    return last_e8 if changed is None else changed.price_e8


def _is_leg(terms: OrderTerms | None) -> bool:
    """Whether a name is that of an exit of a bracket: the engine knows these, risk does not."""
    return terms is not None and terms.client_order_id.endswith((".stop", ".target"))
