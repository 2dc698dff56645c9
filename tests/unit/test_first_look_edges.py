"""Where a limit lies exactly where its check begins to object, a first look does not clear the order."""

import copy
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from alphapanda.contracts.events import Event, Product, RejectedSignal, SignalKind, TradingSignal
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import E8, opened, to_e8, value_e8
from alphapanda.reference.profiles import load_profile
from alphapanda.runtime.costs import MarginTable
from alphapanda.services.risk_manager.models import Figures, Proposal, RiskLimits
from alphapanda.services.risk_manager.service import RiskManager
from alphapanda.services.risk_manager.state import Intent, RiskState
from alphapanda.services.strategy_runner.strategy import order_terms
from tests.builders import made, session_open, tick

pytestmark = pytest.mark.untraced

SEEDS = range(80)
TOKENS = (1, 2, 3, 4)
SIZES = (1, 3, 7, 10, 100, 10**4, 10**6)
MULTIPLIERS = (1.0, 1.0, 10.0, 0.3, 0.0123, 1e-4, 1e-6)
CASH = (0, 0, 100, 10**4, 10**7)
PRODUCTS = Product.CNC, Product.MIS
SIGNS = {"shares": (1,), "spreads": (1, -1), "below nothing": (-1,)}
NONE: dict[str, Any] = {"max_quote_age_s": None, "require_cash": False}
FAR: dict[str, Any] = {
    "max_position": 1 << 60, "max_gross_exposure": 1e30, "max_net_exposure": 1e30, "max_daily_loss": 1e30,
    "max_drawdown": 1 - 1e-9,
}  # fmt: skip
EVERY: dict[str, Any] = {**FAR, "account": FAR, "require_cash": True, "require_margin": True, "orders_per_second": 10**9}


class Edge(NamedTuple):
    """Limits of one kind, a state beside them, and the check that just objects."""

    reason: str
    limits: dict[str, Any]
    change: Callable[[RiskState], object] = lambda state: None


class World:
    """A room in the midst of a session, and the signal that it is to decide."""

    def __init__(self, prices: str, seed: int) -> None:
        self.draw = draw = random.Random(seed)  # noqa: S311
        self.signs, odd = SIGNS[prices], draw.random() < 0.4
        self.names = draw.choice(("s", "s", "st", "stu"))
        self.table = {
            token: Instrument(
                token, f"S{token}", draw.choice(("NSE", "NFO-FUT")), tick_size=1e-8,
                multiplier=draw.choice(MULTIPLIERS) if odd else 1.0,
            )
            for token in TOKENS
        }  # fmt: skip
        self.marks = {token: self.price() for token in TOKENS}
        self.books, self.held = {name: opened(draw.choice(CASH) * E8) for name in self.names}, {}
        for name in self.names:
            for token in TOKENS:
                if draw.random() < 0.5:
                    self.hold(name, token, self.size())
        self.intents = [(name, self.intent()) for name in self.names for _ in range(draw.choice((0, 0, 1, 2, 5)))]
        self.signal = self.said()

    def hold(self, name: str, token: int, quantity: int) -> None:
        """A position, sometimes of two products that net."""
        of = str(self.table[token].product(Product.CNC))
        self.books[name].adopt(token, quantity, quantity * E8)
        self.held[name, token, of] = quantity
        if self.draw.random() < 0.1:
            self.held[name, token, of] = quantity + 5
            self.held[name, token, "MIS"] = -5

    def price(self) -> float:
        """On a grid, fine, of any size, or of few 1e-8 and between."""
        draw, sign = self.draw, self.draw.choice(self.signs)
        return sign * draw.choice((
            draw.randrange(1, 10**5) / 20,
            draw.randrange(1, 10**9) / 1e8 * draw.choice((1, 1e-3)),
            draw.random() * draw.choice((1, 1e3, 1e6)),
            draw.randrange(1, 2000) * 1e-8 + draw.choice((0, 2.5e-9, 5e-9, 7.5e-9)),
        ))  # fmt: skip

    def size(self) -> int:
        """Signed."""
        return self.draw.choice((1, -1)) * self.draw.choice(SIZES)

    def intent(self) -> Intent:
        """An order on its way, at a limit or not."""
        draw = self.draw
        token, quantity = draw.choice(TOKENS), self.size()
        price_e8 = to_e8(self.marks[token] if draw.random() < 0.3 else self.price())
        limit_e8 = price_e8 if draw.random() < 0.5 else None
        product = str(self.table[token].product(draw.choice(PRODUCTS)))
        return Intent(token, quantity, price_e8, 1, quantity, limit_e8, "", draw.choice(("", "", "g")), product)

    def said(self) -> Event:
        """An order, or a target."""
        draw = self.draw
        terms: dict[str, Any] = {}
        if draw.random() < 0.4:
            terms = {"limit": max(1e-8, round(abs(self.price()), 8)), "oco_group": draw.choice(("", "g"))}
        if draw.random() < 0.3:
            terms["product"] = draw.choice(("MIS", "CNC"))
        kind = draw.choice((SignalKind.QUANTITY, SignalKind.QUANTITY, SignalKind.TARGET_QUANTITY))
        named = order_terms(terms) if terms else None  # type: ignore[arg-type]
        return made(10, 2, 1, TradingSignal("s", draw.choice(TOKENS[:3]), kind, float(self.size()), None, "", named), 100.0)

    def room(self, limits: dict[str, Any]) -> RiskManager:
        """It, under these limits."""
        rules = RiskLimits.model_validate({**NONE, **limits})
        margin = MarginTable(self.table, load_profile("nse"))
        room = RiskManager(rules, self.table, copy.deepcopy(self.books), {}, margin=margin, held=self.held)
        for event in (session_open(), *[tick(3 + token, price, 0.0, token) for token, price in self.marks.items()]):
            room.handle(event)
        room._note_open()
        for number, (name, intent) in enumerate(self.intents):
            room.state.intents[name][f"{number}"] = copy.copy(intent)
        return room

    def figures(self) -> Proposal:
        """All figures of the signal."""
        found: list[Proposal] = []
        room = self.room(EVERY)
        room.watcher = lambda _event, proposal, *_: found.append(proposal)
        room.handle(self.signal)
        return found[0]

    def is_noted_exactly(self) -> None:
        """Equities that are higher than before by 1e-8 are noted as they are."""
        room = self.room({**FAR, "account": FAR})
        expected = room._equities_e8(["*"])
        room.state.highest_e8 = {name: highest_e8 - 1 for name, highest_e8 in expected.items()}
        room._look("s")
        assert room.state.highest_e8 == expected

    def verdict(self, edge: Edge, *, watched: bool) -> tuple[Any, ...]:
        """What a room decides."""
        room = self.room(edge.limits)
        edge.change(room.state)
        if watched:
            room.watcher = lambda *_: None
        ((_, data),) = room.handle(self.signal)
        return (data.reason, data.value, data.limit) if isinstance(data, RejectedSignal) else (type(data),)


def edges(world: World, p: Proposal) -> Iterator[Edge]:
    """Where each check just objects to this proposal."""
    yield from of_a_book("", p.book, "s", p.quantity, world.draw)
    yield from of_a_book("account", p.account, "*" if len(world.names) > 1 else "s", p.quantity, world.draw)
    if not p.reduces:
        yield Edge("cash", {"require_cash": True}, lambda state: adds_cash(state, -p.cash_after_e8 - 1))
        yield Edge("cash", {**FAR, "require_cash": True}, lambda state: adds_cash(state, -p.cash_after_e8 - 1))
        yield Edge("margin", {"require_margin": True}, lambda state: adds_cash(state, p.margin_after_e8 - p.margin_e8 - 1))
    assert p.instrument is not None
    for below in below_e8(value_e8(p.price_e8, abs(p.size), p.instrument.multiplier_e8)):
        yield Edge("notional", {"max_order_notional": below})


def of_a_book(part: str, f: Figures, name: str, quantity: int, draw: random.Random) -> Iterator[Edge]:
    """By the limits of a strategy's book or the account's."""

    def edge(reason: str, limit: str, value: float, change: Callable[[RiskState], object] = lambda state: None) -> Edge:
        limits = {limit: value}
        return Edge(f"{part}_{reason}", {part: limits}, change) if part else Edge(reason, limits, change)

    if (position := abs(f.position + quantity)) > 1:
        yield edge("position", "max_position", position - 1)
    for below in below_e8(f.gross_after_e8):
        yield edge("gross_exposure", "max_gross_exposure", below)
    for below in below_e8(abs(f.net_after_e8)):
        yield edge("net_exposure", "max_net_exposure", below)
    lost_e8 = draw.choice((1, 100, E8, 1000 * E8))
    yield edge(
        "daily_loss", "max_daily_loss", lost_e8 / E8, lambda state: put(state.equity_at_open_e8, name, f.equity_e8 + lost_e8)
    )
    highest_e8 = round(f.equity_e8 * draw.choice((1.0000001, 1.01, 2, 1000))) + 1
    if f.equity_e8 > 0 and 0 < (fall := 1 - f.equity_e8 / highest_e8) < 1:
        yield edge("drawdown", "max_drawdown", fall, lambda state: put(state.highest_e8, name, highest_e8))


def below_e8(value: int) -> Iterator[float]:
    """Amounts just below a value in 1e-8: by 1e-8, and by as little as a float can be."""
    yield from [one for one in ((value - 1) / E8, math.nextafter(value / E8, 0)) if one > 0 and value > one * E8]


def adds_cash(state: RiskState, amount_e8: int) -> None:
    state.books["s"].cash_e8 += amount_e8


def put(amounts: dict[str, int], name: str, amount_e8: int) -> None:
    amounts[name] = amount_e8


@pytest.mark.parametrize("prices", SIGNS)
def test_where_a_check_just_objects_the_look_clears_nothing(prices: str) -> None:
    """The room that is watched asks every check; the other decides the same."""
    objected = Counter[str]()
    for seed in SEEDS:
        world = World(prices, seed)
        proposal = world.figures()
        if not proposal.quantity:
            continue
        for edge in edges(world, proposal):
            expected = world.verdict(edge, watched=True)
            assert world.verdict(edge, watched=False) == expected, (seed, edge)
            objected[str(expected[0])] += expected[0] == edge.reason
        world.is_noted_exactly()
    books = {"position", "gross_exposure", "net_exposure", "daily_loss", "drawdown"}
    wanted = books | {f"account_{one}" for one in books} | {"cash", "margin", "notional"}
    assert {one for one, count in objected.items() if count > len(SEEDS) / 20} >= wanted, objected
