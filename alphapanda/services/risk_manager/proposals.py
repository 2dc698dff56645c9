"""From a signal to a proposal: its quantity, and every figure that the checks look at."""

from collections.abc import Collection, Mapping
from itertools import takewhile
from typing import Any

import msgspec

from alphapanda.contracts.events import OrderTerms, Product, SignalKind, TradingSignal
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import E8_FLOAT, ONE, to_e8, unless_one, value_e8
from alphapanda.services.risk_manager import books
from alphapanda.services.risk_manager.books import MarginRule
from alphapanda.services.risk_manager.first_look import ACCOUNT, FirstLook, Looks
from alphapanda.services.risk_manager.models import NS, Figures, Proposal, RiskLimits
from alphapanda.services.risk_manager.rules import CHANGES
from alphapanda.services.risk_manager.state import Intent, RiskState

QUANTITY, TARGET_QUANTITY, CANCEL, MODIFY = (
    SignalKind.QUANTITY, SignalKind.TARGET_QUANTITY, SignalKind.CANCEL, SignalKind.MODIFY
)  # fmt: skip
NO_INTENT = "", None


class Wants(msgspec.Struct, frozen=True):
    """Of what a strategy's limits beside cash need figures; others are not worked out."""

    sizes: bool
    book: bool
    position: bool
    account: bool
    rates: bool
    duplicates: bool
    margin: bool
    crossing: bool

    @property
    def amounts(self) -> bool:
        """Whether what is held has to be valued."""
        return self.book or self.account or self.margin

    @classmethod
    def of(cls, limits: RiskLimits) -> "Wants | None":
        """None where there are no such limits."""
        wants = cls(
            _any(limits.max_order_quantity, limits.max_order_notional),
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
        """`limits` are each strategy's. `valued` names those for whose limits what they hold has to be valued."""
        self._room, self._product, self._protected, self._margin = room, product, protected, margin
        self._instruments: Mapping[int, Instrument] = room.instruments
        self._multipliers_e8, self._odd_e8 = multipliers_e8, unless_one(multipliers_e8)
        self._products: dict[int, str] = {token: one.product(product) for token, one in self._instruments.items()}
        self._slices = room.limits.freeze_quantity == "slice"
        self.factors = None if self._odd_e8 is None else {one: e8 / E8_FLOAT for one, e8 in self._odd_e8.items()}
        self._wants = {strategy_id: Wants.of(mine) for strategy_id, mine in limits.items()}
        self.valued = {name for name, wants in self._wants.items() if wants is not None and wants.amounts}
        self.limits_account = any(wants is not None and wants.account for wants in self._wants.values())
        self._first = FirstLook(room, limits, self.factors, margin)

    def of(self, ts_ns: int, signal: TradingSignal, limits: RiskLimits, looks: Looks) -> Proposal:
        """The proposal of a signal under its strategy's limits. A modification replaces what is left of its order.

        `looks` are how the books stand, by name, where limits need what is held to be valued.
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
        held = books.with_intents(book.held, intents) if intents else book.held
        position = held.get(token, 0)
        price_e8 = 0 if mark is None else to_e8(mark.last_price)
        if changes:
            size, quantity = _of_change(signal, changed)
        elif kind is TARGET_QUANTITY:
            size = quantity = int(signal.size) - position
        elif kind is QUANTITY:
            size = quantity = int(signal.size)
        else:
            size = quantity = self._weighed(signal, instrument, price_e8, position, self.equity_e8(strategy_id))
        if terms is not None:
            price_e8 = _price_e8(price_e8, quantity, terms, changed)
        proposal = Proposal(
            ts_ns, instrument, mark, quantity, price_e8, signal.reference_price, position, size,
            self._orders(instrument, size, changed) if self._slices or changed is not None else 1, state.killed,
            strategy_id in state.halted, state.session_open, 0, kind, self._products.get(token, self._product),
            state.squared_off, self._protected,
        )  # fmt: skip
        if terms is not None or changes:
            self._add_terms(proposal, terms, changed)
        wants, values, first = self._wants[strategy_id], strategy_id in self.valued, self._first
        sound = self._room.watcher is None and not changes and first.is_sound(proposal, strategy_id)
        if wants is not None:
            sound = sound and first.is_modest(proposal, signal)
            if sound and values and first.is_far(proposal, signal, intents, looks):
                proposal.clear = True
                return proposal
            if values or not sound:
                self._add_figures(proposal, signal, wants, {**held, token: position + quantity}, intents)
        if limits.require_cash and instrument is not None and not proposal.reduces:  # nothing else is refused for it
            cash_e8 = books.cash_after_e8(book.cash_e8, intents, token, quantity, price_e8, self._odd_e8)
            cash_e8 += books.shorts_e8({**held, token: position + quantity}, state.marks, self._odd_e8)
            proposal.cash_after_e8 = cash_e8
        proposal.clear = sound and not values and proposal.cash_after_e8 >= 0
        return proposal

    def _add_terms(self, p: Proposal, terms: OrderTerms | None, changed: Intent | None) -> None:
        """What the signal's terms add, and the order that it changes."""
        if changed is not None:
            p.product, p.modifications, p.turns = changed.product, changed.modifications, p.size * changed.total < 0
        elif terms is not None and terms.product is not None:
            p.product = terms.product if p.instrument is None else p.instrument.product(terms.product)
        p.terms, p.known_order = terms, p.kind not in CHANGES or changed is not None or _is_leg(terms)

    def _add_figures(
        self, p: Proposal, signal: TradingSignal, wants: Wants, after: dict[int, int], intents: Collection[Intent]
    ) -> None:  # fmt: skip
        """The further figures that are wanted. `after` is what the book comes to with the order and these intents."""
        state: RiskState = self._room.state
        strategy_id, token = signal.strategy_id, signal.instrument_token
        if wants.book:
            p.book = self._figures(strategy_id, after, token, p.position, p.quantity)
        elif wants.position:
            p.book = Figures(p.position)
        if wants.account:
            p.account = self._of_account(strategy_id, after, token, p.quantity)
        if wants.margin:
            p.margin_after_e8 = self._margin_e8(p, strategy_id, token, intents)
            p.margin_e8 = self.equity_e8(strategy_id)
        if wants.duplicates:
            p.duplicate_age_s = self._duplicate_age_s(p.ts_ns, signal)
        if wants.crossing:
            p.crossing = self._crossing(signal, p.quantity)
        if wants.rates:
            old = sum(1 for _ in takewhile((p.ts_ns - 60 * NS).__ge__, state.sent_ns))
            p.second = sum(1 for _ in takewhile((p.ts_ns - NS).__lt__, reversed(state.sent_ns)))
            p.minute, p.today = len(state.sent_ns) - old, state.sent_today

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

    def equity_e8(self, name: str) -> int:
        """A book's equity, or of all books together."""
        state: RiskState = self._room.state
        these = list(state.books.values()) if name == ACCOUNT else [state.books[name]]
        return sum([books.equity_e8(book, state.marks, self._odd_e8) for book in these])

    def _figures(self, name: str, held: Mapping[int, int], token: int, position: int, quantity: int) -> Figures:
        """Figures of what is held once all is filled, an order of this quantity among it; `position` is without that."""
        state: RiskState = self._room.state
        equity_e8 = self.equity_e8(name)
        gross_e8, net_e8 = books.exposures_e8(held, state.marks, self._odd_e8)
        mark, before_e8 = state.marks.get(token), net_e8
        if mark is not None:
            price_e8, multiplier_e8 = to_e8(mark.last_price), self._multipliers_e8.get(token, ONE)
            before_e8 += value_e8(price_e8, position, multiplier_e8) - value_e8(price_e8, position + quantity, multiplier_e8)
        return Figures(
            position, gross_e8, before_e8, net_e8, equity_e8 - state.equity_at_open_e8[name], equity_e8, state.highest_e8[name]
        )

    def _of_account(self, strategy_id: str, held: dict[int, int], token: int, quantity: int) -> Figures:
        """Figures of all books together; `held` is what this strategy's book comes to."""
        state: RiskState = self._room.state
        if len(state.books) == 1:
            return self._figures(strategy_id, held, token, held[token] - quantity, quantity)
        others = [
            books.with_intents(book.held, books.counted(state.intents[one].values()))
            for one, book in state.books.items() if one != strategy_id
        ]  # fmt: skip
        held = books.merged([held, *others])
        return self._figures(ACCOUNT, held, token, held.get(token, 0) - quantity, quantity)

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
        held = dict(state.held[strategy_id])
        for intent in intents:
            key = intent.token, intent.product
            held[key] = held.get(key, 0) + intent.quantity
        key = token, p.product
        held[key] = held.get(key, 0) + p.quantity
        return self._margin.margin_e8(p.ts_ns, held, state.marks)


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
