"""Random streams of orders, changes, ticks and sessions: what must hold whatever comes."""

from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alphapanda.contracts.events import (
    Event,
    ExecMode,
    MarketTick,
    OrderCancelled,
    OrderFailed,
    OrderFill,
    OrderModified,
    OrderPlaced,
    SessionClose,
    SessionOpen,
    SquareOff,
    ValidatedSignal,
)  # fmt: skip
from alphapanda.services.strategy_runner.strategy import order_terms
from alphapanda.services.trading_engine.models import PaperExecution
from alphapanda.services.trading_engine.service import TradingEngine
from tests.builders import INSTRUMENTS, OPEN_NS, S, made, root
from tests.order_desk import charge

RULES = st.fixed_dictionaries({
    "fill_model": st.sampled_from(["next_tick", "immediate", "bar_open", "depth"]), "price": st.just("opposite"),
    "limit_rule": st.sampled_from(["touch", "through"]), "latency_ms": st.sampled_from([0, 700, 2_500]),
    "participation": st.sampled_from([None, 0.3]), "latency_samples_ms": st.sampled_from([(), (3.0, 900.0)]),
    "market_protection_pct": st.sampled_from([None, 1.0]),
})  # fmt: skip
PRICES = st.integers(1_960, 2_040).map(lambda steps: steps * 5 / 100)
NAMES = st.sampled_from(["", "a", "b", "c"])
OPTIONAL = st.one_of(st.none(), PRICES)


class Book:
    """One order as the events tell of it."""

    def __init__(self, placed: OrderPlaced) -> None:
        self.placed, self.total, self.limit = placed, placed.quantity, placed.limit_price
        self.filled, self.ends, self.left = 0, 0, 0


class Streams(RuleBasedStateMachine):
    """The engine under random orders; the invariants are the bars."""

    @initialize(rules=RULES)
    def begin(self, rules: dict[str, Any]) -> None:
        self.rules = PaperExecution(**rules)
        self.engine = TradingEngine(self.rules, INSTRUMENTS, charge, {})
        self.number, self.at_s, self.is_open = 1, 0.0, False
        self.orders: dict[str, Book] = {}
        self.net: dict[tuple[int, int, str], int] = defaultdict(int)
        self.quotes: dict[int, MarketTick] = {}
        self.do(root(self.number, SessionOpen("2024-03-01", OPEN_NS, OPEN_NS + 22_500 * S)))
        self.is_open = True
        for token in (101, 102):
            self.tick(token, 100.0, 0.05, 50, 50, 0.0)

    def do(self, event: Event) -> None:
        if isinstance(event.data, MarketTick):
            self.quotes[event.data.instrument_token] = event.data
        for _, data in self.engine.handle(event):
            self.heard(event, data)

    def heard(self, event: Event, data: Any) -> None:
        match data:
            case OrderPlaced():
                self.orders[data.order_id] = Book(data)
            case OrderModified():
                self.orders[data.order_id].total, self.orders[data.order_id].limit = data.quantity, data.limit_price
            case OrderCancelled():
                self.orders[data.order_id].ends += 1
                self.orders[data.order_id].left = data.quantity
            case OrderFailed() if data.order_id in self.orders:
                self.orders[data.order_id].ends += 1
                self.orders[data.order_id].left = data.quantity
            case OrderFill():
                self.fill(event, data)

    def fill(self, event: Event, data: OrderFill) -> None:
        """No fill outside the quote or the limit, before its latency, or outside the session."""
        order, quote = self.orders[data.order_id], self.quotes[data.instrument_token]
        order.filled += data.quantity
        order.ends += data.remaining == 0
        self.net[order.placed.instrument_token, event.pos[3], order.placed.product] += data.quantity
        assert quote.bid is not None
        assert quote.ask is not None
        assert quote.bid <= data.price <= quote.ask
        assert order.limit is None or (data.price <= order.limit if data.quantity > 0 else data.price >= order.limit)
        assert event.ts_ns >= order.placed.active_ts_ns
        assert self.is_open
        assert data.quantity * order.total > 0
        assert data.remaining == order.total - order.filled

    @rule(
        token=st.sampled_from([101, 102]),
        price=PRICES,
        spread=st.sampled_from([0.0, 0.05, 0.1, -0.05]),
        bids=st.integers(0, 30),
        asks=st.integers(0, 30),
        wait_s=st.sampled_from([0.0, 0.4, 1.0, 30.0]),
    )
    def tick(self, token: int, price: float, spread: float, bids: int, asks: int, wait_s: float) -> None:
        self.at_s += wait_s
        self.number += 1
        ts_ns = OPEN_NS + round(self.at_s * S)
        self.do(
            root(
                self.number,
                MarketTick(ts_ns, token, price, 20, None, price, round(price + spread, 2), bids * 10, asks * 10),
                self.at_s,
            )
        )

    @rule(
        token=st.sampled_from([101, 102]),
        lots=st.integers(-3, 3).filter(bool),
        limit=OPTIONAL,
        trigger=OPTIONAL,
        name=NAMES,
        validity=st.sampled_from(["DAY", "DAY", "IOC"]),
        group=st.sampled_from(["", "", "x"]),
        stop=OPTIONAL,
        take=OPTIONAL,
        product=st.sampled_from([None, "MIS"]),
        lane=st.integers(1, 2),
    )
    def order(
        self, token: int, lots: int, lane: int, name: str, group: str, stop: float | None, take: float | None, **terms: Any
    ) -> None:
        made_terms = order_terms({**terms, "client_order_id": name, "oco_group": group, "stop_loss": stop, "take_profit": take})  # type: ignore[typeddict-item]
        self.signal(lane, token, lots * 10, "place", made_terms)

    @rule(
        token=st.sampled_from([101, 102]),
        lots=st.integers(-3, 3),
        limit=OPTIONAL,
        trigger=OPTIONAL,
        name=NAMES,
        action=st.sampled_from(["cancel", "modify", "modify"]),
        lane=st.integers(1, 2),
    )
    def change(
        self, token: int, lots: int, limit: float | None, trigger: float | None, name: str, action: str, lane: int
    ) -> None:
        self.signal(lane, token, lots * 10, action, order_terms({"client_order_id": name, "limit": limit, "trigger": trigger}))

    def signal(self, lane: int, token: int, quantity: int, action: str, terms: Any) -> None:
        self.number += 1
        signal = ValidatedSignal(ExecMode.PAPER, f"s{lane}", token, f"1-{self.number}-2-{lane}-0", quantity, 100.0, action, terms)
        self.do(made(self.number, 3, lane, signal, self.at_s))

    @rule(what=st.sampled_from(["square_off", "close", "open"]))
    def clock(self, what: str) -> None:
        self.number += 1
        data = {
            "square_off": SquareOff("d"),
            "close": SessionClose("2024-03-01"),
            "open": SessionOpen("2024-03-01", OPEN_NS, OPEN_NS + 22_500 * S),
        }[what]
        if what == "close":
            self.is_open = False
        self.do(root(self.number, data, self.at_s))
        if what == "open":
            self.is_open = True
        if what == "close":
            assert not self.engine.state.working

    @rule()
    def crash(self) -> None:
        """Another engine goes on from the snapshot."""
        kept = self.engine.snapshot()
        self.engine = TradingEngine(self.rules, INSTRUMENTS, charge, {})
        self.engine.restore(kept)

    @invariant()
    def every_quantity_is_accounted_for(self) -> None:
        """Filled + cancelled + rejected + expired + open = placed, and each order ends at most once."""
        if not hasattr(self, "orders"):
            return
        working = {one.placed.order_id: one for orders in self.engine.state.working.values() for one in orders}
        assert sum(self.engine.state.net.values()) == sum(self.net.values())
        for order_id, order in self.orders.items():
            left = working[order_id].remaining if order_id in working else order.left
            assert order.filled + left == order.total
            assert order.ends == (order_id not in working)


Streams.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestStreams = Streams.TestCase


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 400)), min_size=1, max_size=12))
@settings(deadline=None)
def test_partial_fills_cost_what_one_fill_costs(parts: list[tuple[int, int]]) -> None:
    """Depth of so many units, whatever its pieces: the charge rule is told what the order came to before."""
    total = sum(size for size, _ in parts)
    told: list[tuple[int, int]] = []

    def noting(
        ts_ns: int, instrument: Any, product: str, quantity: int, notional_e8: int, before: int, before_e8: int, delivers: bool
    ) -> Any:
        told.append((before, quantity))
        return charge(ts_ns, instrument, product, quantity, notional_e8, before, before_e8, delivers)

    engine = TradingEngine(PaperExecution(fill_model="depth"), INSTRUMENTS, noting, {})
    engine.handle(root(1, SessionOpen("2024-03-01", OPEN_NS, OPEN_NS + 22_500 * S)))
    engine.handle(made(2, 3, 1, ValidatedSignal(ExecMode.PAPER, "s", 101, "1-2-2-1-0", total, 100.0)))
    for at_s, (size, steps) in enumerate(parts, 1):
        price = 100 + steps / 20
        engine.handle(root(2 + at_s, MarketTick(OPEN_NS + at_s * S, 101, price, None, None, price, price, size, size), at_s))
    sizes = [size for size, _ in parts]
    assert told == [(sum(sizes[:i]), size) for i, size in enumerate(sizes)]
