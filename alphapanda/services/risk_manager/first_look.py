"""A first look: most orders are far from every limit, and are neither weighed to the last 1e-8 nor asked check by check.

Everything is taken at its worst, amounts in floats: all that is on its way is filled, and nothing is netted. What is clear
here passes the checks (`rules`) too, which tests hold it to; for what is not, and for who watches, figures are worked out
(`proposals`) and every check is asked. Floats err by far less than `SLACK` of what is valued: prices have at most eight
decimals, as the ledger takes them.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from alphapanda.contracts.events import MarketTick, TradingSignal
from alphapanda.core.ledger import E8_FLOAT, Book
from alphapanda.services.risk_manager.books import MarginRule
from alphapanda.services.risk_manager.models import Bounds, OrderBounds, Proposal, RiskLimits
from alphapanda.services.risk_manager.state import Intent, RiskState

SLACK = 1e-6
SECOND_NS = 1_000_000_000
ACCOUNT = "*"
"""The name that all books together have among the books."""
Marks = Mapping[int, MarketTick]
Multipliers = Mapping[int, float]
Look = tuple[float, float, float]
"""Equity, gross and net value of what is held, in currency units."""
Looks = Mapping[str, Look | None]
"""By the name of the book; None where a price is missing."""


def look_at(book: Book, marks: Marks, multipliers: Multipliers | None) -> Look | None:
    """How a book stands at the last prices. Multipliers: None where all are one."""
    try:
        if multipliers is None:
            values = [marks[token].last_price * count for token, count in book.held.items()]
        else:
            values = [marks[token].last_price * count * multipliers[token] for token, count in book.held.items()]
    except KeyError:
        return None
    net = sum(values)
    return book.cash_e8 / E8_FLOAT + net, sum(map(abs, values)), net


def look_at_all(looks: Iterable[Look | None]) -> Look | None:
    """How several books stand together, at the worst."""
    equity = gross = net = 0.0
    for look in looks:
        if look is None:
            return None
        equity, gross, net = equity + look[0], gross + look[1], net + abs(look[2])
    return equity, gross, net


def may_be_above(look: Look, highest_e8: int) -> bool:
    """Whether the exact equity may be above this."""
    equity, gross, _ = look
    return (equity + SLACK * (gross + abs(equity))) * E8_FLOAT > highest_e8


class FirstLook:
    """Tells what is clear by what a risk room knows; changes nothing."""

    def __init__(self, room: Any, limits: Mapping[str, RiskLimits], multipliers: Multipliers | None, margin: MarginRule) -> None:
        """`limits` are each strategy's."""
        self._room, self._limits, self._multipliers, self._margin = room, limits, multipliers, margin
        self._is_alone = len(limits) == 1
        account = room.limits.account
        self._orders = {name: OrderBounds.of(mine) for name, mine in limits.items()}
        self._books = {name: Bounds.of(mine, account) if self._is_alone else Bounds.of(mine) for name, mine in limits.items()}
        self._account = Bounds.of(account)
        self._limits_account = self._account != Bounds.of()

    def is_sound(self, p: Proposal, strategy_id: str) -> bool:
        """Whether nothing but amounts and counts can stand in the way, and terms."""
        most, instrument, mark = self._orders[strategy_id], p.instrument, p.mark
        return not (
            p.killed or p.halted or p.quantity == 0 or p.reference_price is not None
            or instrument is None or not instrument.tradable or p.quantity % instrument.lot_size
            or mark is None or p.ts_ns - mark.ts_ns > most.age_ns
            or (most.needs_session and not p.session_open)
            or (most.freeze and instrument.freeze_quantity is not None and abs(p.quantity) > instrument.freeze_quantity)
        )  # fmt: skip

    def is_far(self, p: Proposal, signal: TradingSignal, intents: Collection[Intent], looks: Looks) -> bool:
        """Whether a sound order is far from every limit of amounts and counts; `intents` may be filled beside it."""
        strategy_id, token, quantity = signal.strategy_id, signal.instrument_token, abs(p.quantity)
        most, look = self._orders[strategy_id], looks[strategy_id]
        if look is None or p.mark is None or p.instrument is None:
            return False
        added = quantity * max(p.mark.last_price, p.price_e8 / E8_FLOAT)
        if self._multipliers is not None:
            added *= self._multipliers[token]
        if quantity > most.quantity or added * (1 + SLACK) > most.notional or not self._is_seldom(p, signal, most):
            return False
        if intents:
            added += self._worth(intents)
        equity, gross, net = look
        slack = SLACK * (gross + added + abs(equity))
        limits = self._limits[strategy_id]
        if limits.forbid_self_cross and not self._is_alone and self._meets(strategy_id, token):
            return False
        if not p.reduces:
            cash, shorts = equity - net, (gross - net) / 2
            if limits.require_cash and cash - shorts - 2 * added <= slack:  # bought, or sold short and to be bought back
                return False
            if limits.require_margin and (equity - gross - added <= slack or not self._needs_no_more(p, strategy_id, token)):
                return False
        if not self._is_within(self._books[strategy_id], strategy_id, look, added, abs(p.position) + quantity):
            return False
        return self._is_alone or not self._limits_account or self._is_account_far(token, added, quantity, looks)

    def _is_seldom(self, p: Proposal, signal: TradingSignal, most: OrderBounds) -> bool:
        """Whether rates allow the order, and it is no duplicate."""
        state: RiskState = self._room.state
        sent_ns = state.sent_ns
        if len(sent_ns) + p.orders > most.per_minute or state.sent_today + p.orders > most.per_day:
            return False
        allowed = most.per_second - p.orders + 1  # the last but so many is not in this second
        if len(sent_ns) >= allowed and (allowed < 1 or sent_ns[-allowed] > p.ts_ns - SECOND_NS):
            return False
        if not most.window_ns:
            return True
        last = state.last_signal.get((signal.strategy_id, signal.instrument_token))
        return last is None or p.ts_ns - last[0] > most.window_ns

    def _meets(self, strategy_id: str, token: int) -> bool:
        """Whether another strategy has an order in this instrument on its way."""
        state: RiskState = self._room.state
        others = (mine.values() for name, mine in state.intents.items() if name != strategy_id)
        return any(intent.token == token for mine in others for intent in mine)

    def _is_within(self, most: Bounds, name: str, look: Look, added: float, position: int) -> bool:
        state: RiskState = self._room.state
        equity, gross, net = look
        slack = SLACK * (gross + added + abs(equity))
        return (
            position <= most.position
            and gross + added + slack < most.gross
            and abs(net) + added + slack < most.net
            and state.equity_at_open_e8[name] / E8_FLOAT - equity + slack < most.loss
            and (most.kept is None or equity - slack > state.highest_e8[name] / E8_FLOAT * most.kept)
        )

    def _is_account_far(self, token: int, added: float, quantity: int, looks: Looks) -> bool:
        """The same of all books together: gross values are summed book by book."""
        state: RiskState = self._room.state
        look = looks[ACCOUNT]
        if look is None:
            return False
        for mine in state.intents.values():
            added += self._worth(mine.values())
            quantity += sum([abs(intent.quantity) for intent in mine.values() if intent.token == token])
        position = sum([abs(book.quantity(token)) for book in state.books.values()])
        return self._is_within(self._account, ACCOUNT, look, added, position + quantity)

    def _worth(self, intents: Collection[Intent]) -> float:
        """What intents are worth, each at its price or the last, whichever is more. Each has a last price: it had a quote."""
        state: RiskState = self._room.state
        marks, multipliers, total = state.marks, self._multipliers, 0.0
        for intent in intents:
            token = intent.token
            last, price = marks[token].last_price, intent.price_e8 / E8_FLOAT
            worth = (last if last > price else price) * abs(intent.quantity)
            total += worth if multipliers is None else worth * multipliers[token]
        return total

    def _needs_no_more(self, p: Proposal, strategy_id: str, token: int) -> bool:
        """Whether margins are no more than what is held is worth; not of what one instrument's products net."""
        state: RiskState = self._room.state
        if not self._margin.is_bounded or len(state.held[strategy_id]) != len(state.books[strategy_id].held):
            return False
        self._margin.require(p.ts_ns, token, p.product, is_short=p.position + p.quantity < 0)
        return True
