"""A first look: most orders are far from every limit, and are neither weighed to the last 1e-8 nor asked check by check.

Everything is taken at its worst, amounts in floats: all that is on its way is filled, and adds to what is held. What is clear
here passes the checks (`rules`) too, which tests hold it to; for what is not, and for who watches, figures are worked out
(`proposals`) and every check is asked.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from alphapanda.contracts.events import TradingSignal
from alphapanda.core.ledger import E8_FLOAT, Book
from alphapanda.services.risk_manager.books import MarginRule, Marks
from alphapanda.services.risk_manager.models import NS, Bounds, OrderBounds, Proposal, RiskLimits
from alphapanda.services.risk_manager.state import Intent, RiskState

SLACK, STEP = 1e-9, 1e-8
"""More than floats err by, as a part of what is valued; and what rounding may change a price by, as the ledger takes it."""
ACCOUNT = "*"
"""The name that all books together have among the books."""
Factors = Mapping[int, float]
"""Multipliers as floats, by token."""
Look = tuple[float, float, float, float]
"""Equity, gross and net value of what is held, in currency units; and by how much the exact figures may differ from these."""
Looks = Mapping[str, Look | None]
"""By the name of the book; None where a price is missing."""


def look_at(book: Book, marks: Marks, factors: Factors | None) -> Look | None:
    """How a book stands at the last prices. Factors: None where all are one."""
    held = book.held
    try:
        if factors is None:
            values = [marks[token].last_price * count for token, count in held.items()]
            units = float(sum(map(abs, held.values())))
        else:
            values = [marks[token].last_price * count * factors[token] for token, count in held.items()]
            units = sum([abs(count) * factors[token] + 1 for token, count in held.items()])  # and a rounding of each value
    except KeyError:
        return None
    cash, gross, net = book.cash_e8 / E8_FLOAT, sum(map(abs, values)), sum(values)
    return cash + net, gross, net, units * STEP + SLACK * (gross + abs(cash))


def look_at_all(looks: Iterable[Look | None]) -> Look | None:
    """How several books stand together; gross at the worst, as if none held against another."""
    equity = gross = net = doubt = 0.0
    for look in looks:
        if look is None:
            return None
        equity, gross, net, doubt = equity + look[0], gross + look[1], net + look[2], doubt + look[3]
    return equity, gross, net, doubt


def may_be_above(look: Look, highest_e8: int) -> bool:
    """Whether the exact equity may be above this."""
    return (look[0] + look[3]) * E8_FLOAT > highest_e8


class FirstLook:
    """Tells what is clear by what a risk room knows; changes nothing."""

    def __init__(self, room: Any, limits: Mapping[str, RiskLimits], factors: Factors | None, margin: MarginRule) -> None:
        """`limits` are each strategy's."""
        self._room, self._limits, self._factors, self._margin = room, limits, factors, margin
        account = room.limits.account
        self._orders = {name: OrderBounds.of(mine) for name, mine in limits.items()}
        self._books = {name: Bounds.of(mine) for name, mine in limits.items()}
        self._both = {name: Bounds.of(mine, account) for name, mine in limits.items()}
        self._account = Bounds.of(account)
        self._limits_account = self._account != Bounds.of()

    def is_sound(self, p: Proposal, strategy_id: str) -> bool:
        """Whether nothing stands in the way but sizes, counts and amounts, what the terms say, and broker rules."""
        most, instrument, mark = self._orders[strategy_id], p.instrument, p.mark
        return not (
            p.killed or p.halted or p.quantity == 0 or p.reference_price is not None
            or instrument is None or not instrument.tradable or p.quantity % instrument.lot_size
            or mark is None or p.ts_ns - mark.ts_ns >= most.age_ns
            or (most.needs_session and not p.session_open)
            or (most.freeze and instrument.freeze_quantity is not None and abs(p.quantity) > instrument.freeze_quantity)
        )  # fmt: skip

    def is_modest(self, p: Proposal, signal: TradingSignal) -> bool:
        """Whether sizes, rates and what was said before allow a sound order; it is not sliced, and so one order."""
        state: RiskState = self._room.state
        strategy_id, token = signal.strategy_id, signal.instrument_token
        most, sent_ns = self._orders[strategy_id], state.sent_ns
        if abs(p.position) + abs(p.quantity) > self._books[strategy_id].position:
            return False
        if abs(p.quantity) > most.quantity or self._value(p, token) * (1 + SLACK) > most.notional:
            return False
        if len(sent_ns) >= most.per_minute or state.sent_today >= most.per_day:
            return False
        if len(sent_ns) >= most.per_second and sent_ns[-most.per_second] > p.ts_ns - NS:
            return False
        if most.window_ns:
            last = state.last_signal.get((strategy_id, token))
            if last is not None and p.ts_ns - last[0] <= most.window_ns:
                return False
        return not most.forbids_crossing or len(state.intents) == 1 or not self._meets(strategy_id, token)

    def is_far(self, p: Proposal, signal: TradingSignal, intents: Collection[Intent], looks: Looks) -> bool:
        """Whether a sound order is far from every limit of amounts; `intents` may be filled beside it."""
        strategy_id, token = signal.strategy_id, signal.instrument_token
        look, limits, quantity, added = looks[strategy_id], self._limits[strategy_id], abs(p.quantity), self._value(p, token)
        if look is None:
            return False
        if intents:
            added += self._worth(intents)
        if not p.reduces:
            equity, gross, net, doubt = look
            slack = doubt + SLACK * added
            if limits.require_cash and equity - net - (gross - net) / 2 - added <= slack:  # cash, less shorts to be bought back
                return False
            if limits.require_margin and equity - gross - added <= slack:
                return False
        if limits.require_margin and not self._are_bounded(p, strategy_id, token, intents):
            return False
        alone = len(looks) == 1  # or nothing limits the account
        most = (self._both if alone else self._books)[strategy_id]
        if not self._is_within(most, strategy_id, look, added, abs(p.position) + quantity):
            return False
        return alone or not self._limits_account or self._is_account_far(token, added, quantity, looks)

    def _value(self, p: Proposal, token: int) -> float:
        """What the order is worth, at its price or the last, whichever is more."""
        last, price = abs(p.mark.last_price) if p.mark is not None else 0.0, abs(p.price_e8) / E8_FLOAT
        value = abs(p.quantity) * ((last if last > price else price) + STEP)
        return value if self._factors is None else value * self._factors[token] + STEP

    def _worth(self, intents: Collection[Intent]) -> float:
        """The same of intents. Each has a last price: it had a quote."""
        state: RiskState = self._room.state
        marks, factors, total = state.marks, self._factors, 0.0
        for intent in intents:
            token = intent.token
            last, price = abs(marks[token].last_price), intent.price_e8 / E8_FLOAT
            most = last - price if price < 0 else max(last, price)  # sold below nothing it costs, and is to be bought back
            worth = abs(intent.quantity) * (most + STEP)
            total += worth if factors is None else worth * factors[token] + STEP
        return total

    def _meets(self, strategy_id: str, token: int) -> bool:
        """Whether another strategy has an order in this instrument on its way."""
        state: RiskState = self._room.state
        others = (mine.values() for name, mine in state.intents.items() if name != strategy_id)
        return any(intent.token == token for mine in others for intent in mine)

    def _is_within(self, most: Bounds, name: str, look: Look, added: float, position: int) -> bool:
        state: RiskState = self._room.state
        equity, gross, net, doubt = look
        slack = doubt + SLACK * (added + abs(equity))
        return (
            position <= most.position
            and gross + added + slack < most.gross
            and abs(net) + added + slack < most.net
            and state.equity_at_open_e8[name] / E8_FLOAT - equity + slack < most.loss
            and (most.kept is None or equity - slack > state.highest_e8[name] / E8_FLOAT * most.kept)
        )

    def _is_account_far(self, token: int, added: float, quantity: int, looks: Looks) -> bool:
        """Whether all books together stay within the account's limits."""
        state: RiskState = self._room.state
        look = looks[ACCOUNT]
        if look is None:
            return False
        for mine in state.intents.values():
            added += self._worth(mine.values())
            quantity += sum([abs(intent.quantity) for intent in mine.values() if intent.token == token])
        position = sum([abs(book.quantity(token)) for book in state.books.values()])
        return self._is_within(self._account, ACCOUNT, look, added, position + quantity)

    def _are_bounded(self, p: Proposal, strategy_id: str, token: int, intents: Collection[Intent]) -> bool:
        """Whether margins are no more than what is held is worth; not of what one instrument's products net."""
        state: RiskState = self._room.state
        held, book = state.held[strategy_id], state.books[strategy_id]
        if len(held) != len(book.held) or {one: count for (one, _), count in held.items()} != book.held:
            return False
        pairs = {(token, p.product), *held}
        if intents:
            pairs.update([(intent.token, intent.product) for intent in intents])
        return self._margin.is_bounded(p.ts_ns, pairs)
