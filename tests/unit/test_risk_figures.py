"""The figures that risk checks look at, held to what the same events come to when each figure is worked out by itself."""

import random
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from math import floor
from typing import Any, NamedTuple

import pytest

from alphapanda.contracts.events import Charges, ExecMode, OrderFill, SignalKind, TradingSignal, ValidatedSignal
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import E8, opened
from alphapanda.services.risk_manager.models import Figures, Proposal, RiskLimits
from alphapanda.services.risk_manager.service import RiskManager
from alphapanda.services.strategy_runner.strategy import order_terms
from tests.builders import S, made, session_open, tick

pytestmark = pytest.mark.untraced

START_E8, OPENED, COST_E8 = 1_000_000 * E8, 4, 700 * E8
"""Each book's cash; and of the first, a short position from before in what never trades, with what it was sold for."""
TOKENS, UNSEEN = (1, 2, 3), 9
MUCH = 10**9
RATES = {"require_margin": True, "orders_per_second": MUCH}
EACH_LIMITS: dict[str, dict[str, Any]] = {
    "all": {**RATES, "max_gross_exposure": MUCH, "max_drawdown": 0.99, "account": {"max_net_exposure": MUCH}},
    "without drawdown": {**RATES, "max_net_exposure": MUCH, "account": {"max_gross_exposure": MUCH}},
    "position and account": {**RATES, "max_position": MUCH, "account": {"max_daily_loss": MUCH}},
    "account": {"account": {"max_drawdown": 0.99}},
    "drawdown of one": {"strategies": {"t": {"max_drawdown": 0.99}}},
}
EACH_MULTIPLIERS = ((1.0, 1.0, 1.0), (1.0, 50.0, 0.3))


class Trade(NamedTuple):
    """A fill, or what is left of a signal on its way."""

    strategy: str
    token: int
    quantity: int
    price_e8: int
    group: str = ""
    name: str = ""
    total: int = 0  # of the order


class Desk:
    """What happened so far, kept as it came; every figure is worked out anew."""

    def __init__(self, names: str, multipliers: tuple[float, ...]) -> None:
        self.names, self.multipliers = names, dict(zip(TOKENS, multipliers, strict=True))
        self.fills: list[Trade] = []
        self.coming: dict[str, Trade] = {}
        self.prices_e8: dict[int, int] = {}
        self.sent_ns: list[int] = []
        self.highest_e8 = dict.fromkeys([names, *names], 0)

    def value_e8(self, token: int, quantity: int, price_e8: int) -> int:
        """Rounded half up."""
        return floor(price_e8 * quantity * Fraction(str(self.multipliers[token])) + Fraction(1, 2))

    def at_last_e8(self, held: Counter[int]) -> list[int]:
        """What never traded has no last price, and is in no fill."""
        return [self.value_e8(token, count, self.prices_e8[token]) for token, count in held.items()]

    def held(self, of: str) -> Counter[int]:
        found: Counter[int] = Counter()
        for fill in self.fills:
            if fill.strategy in of:
                found[fill.token] += fill.quantity
        return found

    def spent_e8(self, trades: list[Trade]) -> int:
        return sum(self.value_e8(one.token, one.quantity, one.price_e8) for one in trades)

    def cash_e8(self, of: str) -> int:
        return START_E8 * len(of) - self.spent_e8([fill for fill in self.fills if fill.strategy in of])

    def start_e8(self, of: str) -> int:
        return START_E8 * len(of) - (COST_E8 if "s" in of else 0)  # what has no price counts at its cost

    def equity_e8(self, of: str) -> int:
        """Book by book: each is rounded by itself."""
        gained_e8 = sum(self.cash_e8(one) - START_E8 + sum(self.at_last_e8(self.held(one))) for one in of)
        return self.start_e8(of) + gained_e8

    def note_highest(self) -> None:
        for of in self.highest_e8:
            self.highest_e8[of] = max(self.highest_e8[of], self.equity_e8(of))

    def expected(self, of: str, order: Trade) -> list[Trade]:
        """What is on its way beside an order, and may be filled with it.

        Of those that cancel each other, the largest of each strategy, instrument and side; none that the order cancels.
        """
        largest: dict[Any, Trade] = {}
        for signal_id, one in self.coming.items():
            if one[:2] == order[:2] and ((order.name and one.name == order.name) or (order.group and one.group == order.group)):
                continue
            key = (one.strategy, one.group, one.token, one.quantity > 0) if one.group else signal_id
            if one.strategy in of and (key not in largest or abs(one.quantity) > abs(largest[key].quantity)):
                largest[key] = one
        return list(largest.values())

    def without(self, of: str, order: Trade) -> Counter[int]:
        found = self.held(of)
        for one in self.expected(of, order):
            found[one.token] += one.quantity
        return found

    def after(self, of: str, order: Trade) -> Counter[int]:
        found = self.without(of, order)
        found[order.token] += order.quantity
        return found

    def figures(self, of: str, order: Trade) -> Figures:
        before, after = self.without(of, order), self.at_last_e8(self.after(of, order))
        equity_e8 = self.equity_e8(of)
        return Figures(
            before[order.token], sum(map(abs, after)), sum(self.at_last_e8(before)), sum(after),
            equity_e8 - self.start_e8(of), equity_e8, self.highest_e8[of],
        )  # fmt: skip

    def cash_after_e8(self, order: Trade) -> int:
        of = order.strategy
        shorts = [worth for worth in self.at_last_e8(self.after(of, order)) if worth < 0]
        return self.cash_e8(of) - self.spent_e8([*self.expected(of, order), order]) + sum(shorts)

    def margin_e8(self, order: Trade) -> int:
        """The room is given no table: all of it, for a multiplier of one."""
        return sum(abs(count) * self.prices_e8[token] for token, count in self.after(order.strategy, order).items())


def decisions(desk: Desk, room: RiskManager, draw: random.Random, *, notes_highest: bool) -> Iterator[tuple[Proposal, Trade]]:
    """Ticks, signals and fills at random, each taken by room and desk. Yields decisions before the desk takes them."""
    seen: list[Proposal] = []
    room.watcher = lambda event, proposal, limits, checks: seen.append(proposal)
    room.handle(session_open())
    desk.note_highest()
    at_s = 0.0
    for number in range(10, 260):
        at_s += draw.choice((0.1, 0.1, 0.3, 15.0))
        what = draw.choice(("tick", "signal", "signal", "change", "fill", "restore"))
        named = [signal_id for signal_id, one in desk.coming.items() if one.name]
        if what == "tick" or not desk.prices_e8:
            token, price_e8 = draw.choice(TOKENS), draw.randrange(10**9, 9 * 10**9)
            desk.prices_e8[token] = price_e8
            room.handle(tick(number, price_e8 / E8, at_s, token))
        elif what == "restore":
            room.restore(room.snapshot())
        elif what == "signal" or (what == "change" and named):
            changed = draw.choice(named) if what == "change" else None
            order = new_order(desk, draw, str(number)) if changed is None else larger(desk.coming[changed])
            event = made(number, 2, 1, said_of(order, changed is not None), at_s)
            if notes_highest:
                desk.note_highest()
            ((_, verdict),) = room.handle(event)
            assert isinstance(verdict, ValidatedSignal)
            yield seen.pop(), order
            desk.coming[changed or event.id] = order
            desk.sent_ns.append(event.ts_ns)
        elif what == "fill" and desk.coming:
            signal_id, one = draw.choice(list(desk.coming.items()))
            quantity = draw.choice((one.quantity, one.quantity // 2 or one.quantity))
            left, paid_e8 = one.quantity - quantity, draw.randrange(10**9, 9 * 10**9)
            desk.fills.append(one._replace(quantity=quantity, price_e8=paid_e8))
            desk.coming[signal_id] = one._replace(quantity=left)
            if not left:
                del desk.coming[signal_id]
            room.handle(made(number, 4, 1, OrderFill(
                ExecMode.PAPER, one.strategy, one.token, signal_id, signal_id, quantity, paid_e8 / E8, 25.0, Charges(), left,
                product="CNC",
            ), at_s))  # fmt: skip
            if notes_highest:
                desk.note_highest()


def new_order(desk: Desk, draw: random.Random, name: str) -> Trade:
    """At the market, or a limit; a limit has a name, and may be of a group."""
    token, group = draw.choice(list(desk.prices_e8)), draw.choice((None, "", "pair"))
    price_e8 = desk.prices_e8[token] if group is None else 30 * E8
    quantity = draw.choice((-6, -2, 1, 4))
    return Trade(draw.choice(desk.names), token, quantity, price_e8, group or "", "" if group is None else name, quantity)


def larger(order: Trade) -> Trade:
    """The same order by two more, at another limit."""
    more = 2 if order.quantity > 0 else -2
    return order._replace(quantity=order.quantity + more, total=order.total + more, price_e8=31 * E8)


def said_of(order: Trade, changes: bool) -> TradingSignal:
    """The signal of a new order, or of its change to what it is here."""
    kind, terms = SignalKind.MODIFY if changes else SignalKind.QUANTITY, None
    if order.name:
        terms = order_terms({"limit": order.price_e8 / E8, "oco_group": order.group, "client_order_id": order.name})
    return TradingSignal(order.strategy, order.token, kind, float(order.total), None, "", terms)


@pytest.mark.parametrize("names", ["s", "st"])
@pytest.mark.parametrize("multipliers", EACH_MULTIPLIERS)
@pytest.mark.parametrize("limits", EACH_LIMITS)
@pytest.mark.parametrize("seed", range(2))
def test_figures_are_those_of_all_that_happened(
    names: str, multipliers: tuple[float, ...], limits: str, seed: int
) -> None:  # fmt: skip
    """Whatever is limited, and so worked out."""
    table = {token: Instrument(token, f"S{token}", multiplier=one) for token, one in zip(TOKENS, multipliers, strict=True)}
    table[UNSEEN] = Instrument(UNSEEN, "UNSEEN")
    books, wants = {name: opened(START_E8) for name in names}, EACH_LIMITS[limits]
    books["s"].adopt(UNSEEN, -OPENED, -COST_E8)
    room = RiskManager(RiskLimits.model_validate(wants), table, books, {})
    desk, cash_was_asked_for = Desk(names, multipliers), 0
    drawdown = "max_drawdown" in str(wants) and ("strategies" not in wants or "t" in names)
    for found, order in decisions(desk, room, random.Random(seed), notes_highest=drawdown):  # noqa: S311
        mine = desk.figures(order.strategy, order)
        of_book = {"position and account": Figures(mine.position), "account": Figures()}.get(limits, mine)
        assert found.book == (Figures() if limits == "drawdown of one" and order.strategy == "s" else of_book)
        assert found.account == (desk.figures(names, order) if "account" in wants else Figures())
        assert found.position == mine.position
        if not found.reduces:
            cash_was_asked_for += 1
            assert found.cash_after_e8 == desk.cash_after_e8(order)
        if "require_margin" in wants:
            assert (found.margin_after_e8, found.margin_e8) == (desk.margin_e8(order), desk.equity_e8(order.strategy))
            sent = [sum(found.ts_ns - at_ns < window_s * S for at_ns in desk.sent_ns) for window_s in (1, 60)]
            assert [found.second, found.minute, found.today] == [*sent, len(desk.sent_ns)]
    assert cash_was_asked_for > 10
