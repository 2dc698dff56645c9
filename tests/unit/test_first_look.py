"""A first look clears no order that the checks would refuse, and changes nothing that risk keeps."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from alphapanda.contracts.events import (
    Charges,
    Event,
    ExecMode,
    OrderCancelled,
    OrderFill,
    Product,
    RejectedSignal,
    SessionClose,
    SignalKind,
    TradingSignal,
    ValidatedSignal,
)  # fmt: skip
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import E8, opened
from alphapanda.reference.profiles import load_profile
from alphapanda.runtime.costs import MarginTable
from alphapanda.services.risk_manager.models import RiskLimits
from alphapanda.services.risk_manager.rules import SEEN
from alphapanda.services.risk_manager.service import RiskManager
from alphapanda.services.strategy_runner.strategy import order_terms
from tests.builders import made, root, session_open, tick

SEEDS = range(80)
KINDS = (
    *[SignalKind.QUANTITY] * 5,
    *[SignalKind.TARGET_QUANTITY] * 3,
    SignalKind.TARGET_WEIGHT,
    SignalKind.MODIFY,
    SignalKind.CANCEL,
)
TABLES = {
    "shares": [Instrument(1, "A"), Instrument(2, "B", lot_size=5, freeze_quantity=10), Instrument(3, "C")],
    "multipliers": [Instrument(1, "A", multiplier=10.0), Instrument(2, "B", multiplier=0.3), Instrument(3, "C", tradable=False)],
    "options": [
        Instrument(1, "A"), Instrument(2, "PUT", "NFO-OPT", expiry="2024-03-28", underlying="A", strike=1000.0, option_type="PE"),
    ],
}  # fmt: skip
OF_A_BOOK: dict[str, tuple[Any, ...]] = {
    "max_position": (None, 30), "max_gross_exposure": (None, 6_000.0), "max_net_exposure": (None, 3_000.0),
    "max_daily_loss": (None, 150.0), "max_drawdown": (None, 0.01),
}  # fmt: skip
LIMITS: dict[str, tuple[Any, ...]] = {
    **OF_A_BOOK, "max_order_quantity": (None, 11), "max_order_notional": (None, 900.0), "duplicate_window_s": (None, 30.0),
    "max_quote_age_s": (300.0, 4.0), "require_cash": (True, *[False] * 4), "require_margin": (False, *[True] * 4),
    "orders_per_second": (None, 1, 2), "orders_per_minute": (None, 8), "orders_per_day": (None, 12),
    "freeze_quantity": ("off", "refuse", "slice"), "forbid_self_cross": (False, True),
}  # fmt: skip


def drawn(draw: random.Random, choices: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """One of each, most often the first."""
    return {name: draw.choice((values[0],) * 7 + values) for name, values in choices.items()}


def room(names: str, table: str, draw: random.Random) -> RiskManager:
    limits = RiskLimits.model_validate({**drawn(draw, LIMITS), "account": drawn(draw, OF_A_BOOK)})
    instruments = {one.instrument_token: one for one in TABLES[table]}
    books = {name: opened(draw.choice((1_500, 9_000, 9_000)) * E8) for name in names}
    return RiskManager(limits, instruments, books, {}, margin=MarginTable(instruments, load_profile("nse")))


def events(
    names: str, table: Mapping[int, Instrument], draw: random.Random, coming: list[ValidatedSignal]
) -> Iterator[Event]:  # fmt: skip
    """Ticks, signals, and the ends of what is `coming`, at random; sessions that close and open again."""
    at_s, tokens = 0.0, list(table)
    yield session_open()
    for number in range(10, 400):
        at_s += draw.choice((0.1, 0.1, 0.7, 6.0))
        what = draw.choice(("tick", "tick", "signal", "signal", "signal", "end"))
        if number % 100 in (0, 10):
            yield session_open(number) if number % 100 else root(number, SessionClose("2024-03-01"), at_s)
        elif what == "tick":
            token = draw.choice(tokens)
            yield tick(number, draw.randrange(400, 600) / 20 * token, at_s, token)
        elif what == "signal":
            strategy = draw.choice(names)
            yield made(number, 2, names.index(strategy) + 1, said(strategy, draw.choice(tokens), draw), at_s)
        elif coming:
            yield made(number, 4, 1, end(coming.pop(draw.randrange(len(coming))), table, draw), at_s)


def said(strategy: str, token: int, draw: random.Random) -> TradingSignal:
    terms: Any = {}
    if draw.random() < 0.4:
        terms = {"limit": draw.randrange(300, 900) / 20 * token, "client_order_id": draw.choice("xy")}
        terms["oco_group"] = draw.choice(("", "g"))
    if draw.random() < 0.4:
        terms["product"] = "MIS"
    kind = draw.choice(KINDS)
    size = draw.choice((-0.3, 0.2) if kind is SignalKind.TARGET_WEIGHT else (-10.0, -10.0, -5.0, -3.0, 0.0, 5.0, 10.0, 20.0))
    if kind in (SignalKind.CANCEL, SignalKind.MODIFY):
        terms["client_order_id"] = draw.choice("xy")
    return TradingSignal(
        strategy, token, kind, size, draw.choice((*[None] * 9, 20.01)), "", order_terms(terms) if terms else None
    )


def end(order: ValidatedSignal, table: Mapping[int, Instrument], draw: random.Random) -> OrderFill | OrderCancelled:
    ids = ExecMode.PAPER, order.strategy_id, order.instrument_token, order.signal_id, order.signal_id
    if draw.random() < 0.2:
        return OrderCancelled(*ids, order.quantity, "user")
    paid = draw.randrange(400, 600) / 20 * order.instrument_token
    asked = Product.CNC if order.terms is None or order.terms.product is None else order.terms.product
    return OrderFill(*ids, order.quantity, paid, paid, Charges(), product=table[order.instrument_token].product(asked))


def is_clear(looking: RiskManager, event: Event) -> bool:
    """What the room is about to find; proposals change nothing."""
    signal: Any = event.data
    looks = looking._look()
    return looking._proposals.of(event.ts_ns, signal, looking._of[signal.strategy_id], looks).clear


@pytest.mark.parametrize("names", ["s", "st"])
@pytest.mark.parametrize("table", TABLES)
def test_decisions_are_those_of_a_room_that_is_watched(names: str, table: str) -> None:
    """Who watches is shown all figures: then there is no first look, and every check is asked."""
    reasons, clear, decisions = Counter[str](), 0, 0
    for seed in SEEDS:
        looking, watched = room(names, table, random.Random(seed)), room(names, table, random.Random(seed))  # noqa: S311
        watched.watcher = lambda *_: None
        coming: list[ValidatedSignal] = []
        for event in events(names, looking.instruments, random.Random(seed), coming):  # noqa: S311
            if isinstance(event.data, TradingSignal):
                decisions += 1
                clear += is_clear(looking, event)
            outputs = looking.handle(event)
            assert outputs == watched.handle(event)
            assert looking.state == watched.state
            for _, data in outputs:
                if isinstance(data, RejectedSignal):
                    reasons[data.reason] += 1
                elif isinstance(data, ValidatedSignal) and data.action == "place":
                    coming.append(data)
    assert clear > decisions / 20
    seen = {check.__name__ for check in SEEN} - {"kill_switch", "strategy_halted"}
    assert len(seen & set(reasons)) > len(seen) / 2, reasons


def test_an_order_on_its_way_is_taken_at_its_limit() -> None:
    """8,000 of 9,000 are spoken for, though at the last price it would be 2,000."""
    instruments = {1: Instrument(1, "A")}
    looking = RiskManager(RiskLimits(max_drawdown=0.9), instruments, {"s": opened(9_000 * E8)}, {})
    for event in (session_open(), tick(3, 100.0, 0.0, 1)):
        looking.handle(event)
    first = TradingSignal("s", 1, SignalKind.QUANTITY, 20.0, None, "", order_terms({"limit": 400.0}))
    second = TradingSignal("s", 1, SignalKind.QUANTITY, 11.0, None, "")
    ((_, placed),), ((_, refused),) = (looking.handle(made(10 + n, 2, 1, data)) for n, data in enumerate((first, second)))
    assert isinstance(placed, ValidatedSignal)
    assert isinstance(refused, RejectedSignal)
    assert (refused.reason, refused.value) == ("cash", -100.0)
