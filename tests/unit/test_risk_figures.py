"""The figures that risk checks look at, held to what the same events come to when each figure is worked out by itself."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from alphapanda.contracts.events import Charges, ExecMode, OrderFill, SignalKind, TradingSignal, ValidatedSignal
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import E8, opened
from alphapanda.services.risk_manager.models import Figures, Proposal, RiskLimits
from alphapanda.services.risk_manager.service import RiskManager
from alphapanda.services.strategy_runner.strategy import order_terms
from tests.builders import S, made, session_open, tick

START_E8 = 1_000_000 * E8
TOKENS = (1, 2, 3)
MUCH = 10**9
LIMITS = {
    "max_gross_exposure": MUCH, "max_drawdown": 0.99, "require_margin": True, "orders_per_second": MUCH,
    "account": {"max_net_exposure": MUCH},
}  # fmt: skip
EACH_MULTIPLIERS = ((1.0, 1.0, 1.0), (1.0, 50.0, 0.25))


class Trade(NamedTuple):
    """A fill, or what is left of a signal on its way."""

    strategy: str
    token: int
    quantity: int
    price_e8: int
    group: str = ""


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
        return int(price_e8 * quantity * self.multipliers[token])

    def at_last_e8(self, held: Counter[int]) -> list[int]:
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

    def equity_e8(self, of: str) -> int:
        return self.cash_e8(of) + sum(self.at_last_e8(self.held(of)))

    def note_highest(self) -> None:
        for of in self.highest_e8:
            self.highest_e8[of] = max(self.highest_e8[of], self.equity_e8(of))

    def expected(self, of: str) -> list[Trade]:
        """What is on its way; of those that cancel each other, the largest of each strategy, instrument and side."""
        largest: dict[Any, Trade] = {}
        for signal_id, one in self.coming.items():
            key = (one.strategy, one.group, one.token, one.quantity > 0) if one.group else signal_id
            if one.strategy in of and (key not in largest or abs(one.quantity) > abs(largest[key].quantity)):
                largest[key] = one
        return list(largest.values())

    def after(self, of: str, *more: Trade) -> Counter[int]:
        found = self.held(of)
        for one in [*self.expected(of), *more]:
            found[one.token] += one.quantity
        return found

    def figures(self, of: str, order: Trade) -> Figures:
        before, after = self.after(of), self.at_last_e8(self.after(of, order))
        equity_e8 = self.equity_e8(of)
        return Figures(
            before[order.token], sum(map(abs, after)), sum(self.at_last_e8(before)), sum(after),
            equity_e8 - START_E8 * len(of), equity_e8, self.highest_e8[of],
        )  # fmt: skip

    def cash_after_e8(self, order: Trade) -> int:
        of = order.strategy
        shorts = [worth for worth in self.at_last_e8(self.after(of, order)) if worth < 0]
        return self.cash_e8(of) - self.spent_e8([*self.expected(of), order]) + sum(shorts)

    def margin_e8(self, order: Trade) -> int:
        """The room is given no table: all of it, for a multiplier of one."""
        return sum(abs(count) * self.prices_e8[token] for token, count in self.after(order.strategy, order).items())


def decisions(desk: Desk, room: RiskManager, draw: random.Random) -> Iterator[tuple[Proposal, Trade]]:
    """Ticks, signals and fills at random, each taken by room and desk. Yields decisions before the desk takes them."""
    seen: list[Proposal] = []
    room.watcher = lambda event, proposal, limits, checks: seen.append(proposal)
    room.handle(session_open())
    desk.note_highest()
    at_s = 0.0
    for number in range(10, 210):
        at_s += draw.choice((0.1, 0.1, 0.3, 15.0))
        what = draw.choice(("tick", "signal", "signal", "fill"))
        if what == "tick" or not desk.prices_e8:
            token, price_e8 = draw.choice(TOKENS), draw.randrange(100, 200) * E8 // 4
            desk.prices_e8[token] = price_e8
            room.handle(tick(number, price_e8 / E8, at_s, token))
        elif what == "signal":
            limit, group = draw.choice(((None, ""), (30.0, ""), (30.0, "pair")))
            token = draw.choice(list(desk.prices_e8))
            price_e8 = desk.prices_e8[token] if limit is None else round(limit * E8)
            order = Trade(draw.choice(desk.names), token, draw.choice((-6, -2, 1, 4)), price_e8, group)
            terms = None if limit is None else order_terms({"limit": limit, "oco_group": group})
            said = TradingSignal(order.strategy, token, SignalKind.QUANTITY, float(order.quantity), None, "", terms)
            event = made(number, 2, 1, said, at_s)
            desk.note_highest()
            ((_, verdict),) = room.handle(event)
            assert isinstance(verdict, ValidatedSignal)
            yield seen.pop(), order
            desk.coming[event.id] = order
            desk.sent_ns.append(event.ts_ns)
        elif desk.coming:
            signal_id, one = draw.choice(list(desk.coming.items()))
            quantity = draw.choice((one.quantity, one.quantity // 2 or one.quantity))
            left, paid_e8 = one.quantity - quantity, draw.randrange(100, 200) * E8 // 4
            desk.fills.append(one._replace(quantity=quantity, price_e8=paid_e8))
            desk.coming[signal_id] = one._replace(quantity=left)
            if not left:
                del desk.coming[signal_id]
            room.handle(made(number, 4, 1, OrderFill(
                ExecMode.PAPER, one.strategy, one.token, signal_id, signal_id, quantity, paid_e8 / E8, 25.0, Charges(), left,
                product="CNC",
            ), at_s))  # fmt: skip
            desk.note_highest()


@pytest.mark.parametrize("names", ["s", "st"])
@pytest.mark.parametrize("multipliers", EACH_MULTIPLIERS)
@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_all_that_happened(names: str, multipliers: tuple[float, ...], seed: int) -> None:
    table = {token: Instrument(token, f"S{token}", multiplier=one) for token, one in zip(TOKENS, multipliers, strict=True)}
    room = RiskManager(RiskLimits.model_validate(LIMITS), table, {name: opened(START_E8) for name in names}, {})
    desk, cash_was_asked_for = Desk(names, multipliers), 0
    for found, order in decisions(desk, room, random.Random(seed)):  # noqa: S311
        assert found.book == desk.figures(order.strategy, order)
        assert found.account == desk.figures(names, order)
        assert (found.margin_after_e8, found.margin_e8) == (desk.margin_e8(order), desk.equity_e8(order.strategy))
        if not found.reduces:
            cash_was_asked_for += 1
            assert found.cash_after_e8 == desk.cash_after_e8(order)
        sent = [sum(found.ts_ns - at_ns < window_s * S for at_ns in desk.sent_ns) for window_s in (1, 60)]
        assert [found.second, found.minute, found.today] == [*sent, len(desk.sent_ns)]
    assert cash_was_asked_for > 10
