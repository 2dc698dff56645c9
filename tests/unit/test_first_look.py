"""A first look clears no order that the checks would refuse, and changes nothing that risk keeps."""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from alphapanda.contracts.errors import ReferenceDataError
from alphapanda.contracts.events import (
    Charges,
    Event,
    ExecMode,
    OrderCancelled,
    OrderFill,
    Product,
    RejectedSignal,
    SessionClose,
    SessionOpen,
    SignalKind,
    TradingSignal,
    ValidatedSignal,
)  # fmt: skip
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.corporate_actions import ActionKind, CorporateAction
from alphapanda.core.ledger import E8, opened
from alphapanda.reference.profiles import load_profile
from alphapanda.runtime.costs import MarginTable
from alphapanda.services.risk_manager.models import RiskLimits
from alphapanda.services.risk_manager.rules import SEEN
from alphapanda.services.risk_manager.service import RiskManager
from alphapanda.services.strategy_runner.strategy import order_terms
from tests.builders import made, root, session_open, tick

pytestmark = pytest.mark.untraced

SEEDS = range(80)
SELDOM = {"kill_switch", "strategy_halted", "self_cross", "gross_exposure"}
"""Reasons that need not come up in these worlds."""
KINDS = (*[SignalKind.QUANTITY] * 4, *[SignalKind.TARGET_QUANTITY] * 3, *SignalKind)
LOTS: Any = {"lot_size": 5, "freeze_quantity": 10}
UNTRADABLE = Instrument(3, "C", tradable=False)
PUT: Any = {"segment": "NFO-OPT", "expiry": "2024-03-28", "underlying": "A", "strike": 1000.0, "option_type": "PE"}
TABLES = {
    "shares": [Instrument(1, "A"), Instrument(2, "B", **LOTS), UNTRADABLE],
    "multipliers": [Instrument(1, "A", multiplier=10.0), Instrument(2, "B", multiplier=0.3, **LOTS), UNTRADABLE],
    "spreads": [Instrument(1, "A-B"), Instrument(2, "B-C", **LOTS), UNTRADABLE],
    "options": [Instrument(1, "A"), Instrument(2, "PUT", **PUT, **LOTS), UNTRADABLE],
}
GRID = {"spreads": (-300, 600)}
"""Between what prices are, in 0.05 for token 1; else from 20 to 30."""
OF_A_BOOK: dict[str, tuple[Any, ...]] = {
    "max_position": (None, 30), "max_gross_exposure": (None, 3_500.0), "max_net_exposure": (None, 3_000.0),
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
    """Some strategies have limits of their own, or hold something that need not have traded."""
    own = {name: drawn(draw, OF_A_BOOK) for name in names if draw.random() < 0.2}
    limits = RiskLimits.model_validate({**drawn(draw, LIMITS), "account": drawn(draw, OF_A_BOOK), "strategies": own})
    instruments = {one.instrument_token: one for one in TABLES[table]}
    books = {name: opened(draw.choice((1_500, 9_000, 9_000)) * E8) for name in names}
    held = {}
    if draw.random() < 0.2:
        books["s"].adopt(1, 5, 120 * E8)
        held = {("s", 1, "CNC"): 5}
    return RiskManager(limits, instruments, books, {}, margin=MarginTable(instruments, load_profile("nse")), held=held)


def events(
    names: str, table: Mapping[int, Instrument], grid: tuple[int, int], draw: random.Random, coming: list[ValidatedSignal]
) -> Iterator[Event]:  # fmt: skip
    """Ticks, signals, and the ends of what is `coming`, at random; sessions that close and open again."""
    at_s, tokens = 0.0, [1, 1, 1, 1, 2, 2, 2, 3]
    yield session_open()
    for number in range(10, 400):
        at_s += draw.choice((0.1, 0.1, 0.7, 6.0))
        what = draw.choice(("tick", "tick", "signal", "signal", "signal", "end"))
        if number % 100 in (0, 10):
            yield session_open(number) if number % 100 else root(number, SessionClose("2024-03-01"), at_s)
        elif what == "tick":
            token = draw.choice(tokens)
            yield tick(number, draw.randrange(*grid) / 20 * token, at_s, token)
        elif what == "signal":
            strategy = draw.choice(names)
            yield made(number, 2, names.index(strategy) + 1, said(strategy, draw.choice(tokens), draw), at_s)
        elif coming:
            yield made(number, 4, 1, end(coming.pop(draw.randrange(len(coming))), table, grid, draw), at_s)


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


def end(
    order: ValidatedSignal, table: Mapping[int, Instrument], grid: tuple[int, int], draw: random.Random
) -> OrderFill | OrderCancelled:  # fmt: skip
    ids = ExecMode.PAPER, order.strategy_id, order.instrument_token, order.signal_id, order.signal_id
    if draw.random() < 0.2:
        return OrderCancelled(*ids, order.quantity, "user")
    paid = draw.randrange(*grid) / 20 * order.instrument_token
    asked = Product.CNC if order.terms is None or order.terms.product is None else order.terms.product
    return OrderFill(*ids, order.quantity, paid, paid, Charges(), product=table[order.instrument_token].product(asked))


def is_clear(looking: RiskManager, event: Event) -> bool:
    """What the room would find; to look notes the highest equity, as it would too."""
    signal: Any = event.data
    looks = looking._look(signal.strategy_id)
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
        draw = random.Random(seed)  # noqa: S311
        for event in events(names, looking.instruments, GRID.get(table, (400, 600)), draw, coming):
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
            if draw.random() < 0.01:
                looking.restore(looking.snapshot())
    assert clear > decisions / 20
    assert {check.__name__ for check in SEEN} - set(reasons) <= SELDOM, reasons


def said_at(number: int, quantity: float, strategy: str = "s", **terms: Any) -> Event:
    named = order_terms(terms) if terms else None  # type: ignore[arg-type]
    return made(number, 2, 1, TradingSignal(strategy, 1, SignalKind.QUANTITY, quantity, None, "", named))


def verdict(deciding: RiskManager, event: Event) -> tuple[Any, ...]:
    ((_, data),) = deciding.handle(event)
    return (data.reason, data.value) if isinstance(data, RejectedSignal) else (type(data),)


def deciding(limits: dict[str, Any], price: float = 100.0, **kwargs: Any) -> RiskManager:
    """A room of s; instrument 1 traded once."""
    books, table = kwargs.pop("books", {"s": opened(9_000 * E8)}), kwargs.pop("table", {1: Instrument(1, "A")})
    found = RiskManager(RiskLimits.model_validate(limits), table, books, {}, **kwargs)
    for event in (session_open(), tick(3, price, 0.0, 1)):
        found.handle(event)
    return found


def test_an_order_on_its_way_is_taken_at_its_limit() -> None:
    """8,000 of 9,000 are spoken for, though at the last price it would be 2,000."""
    looking = deciding({"max_drawdown": 0.9})
    verdicts = [verdict(looking, said_at(10, 20.0, limit=400.0)), verdict(looking, said_at(11, 11.0))]
    assert verdicts == [(ValidatedSignal,), ("cash", -100.0)]


@pytest.mark.parametrize("price", [8.015e-6, 8.025e-6])
def test_prices_count_as_the_ledger_rounds_them(price: float) -> None:
    """A ninth decimal is rounded, to even at a half: of 20 million that is more than the limit leaves."""
    exact = round(price * E8) * 20_000_000 / E8
    for limit, expected in ((exact, (ValidatedSignal,)), (exact - 0.01, ("gross_exposure", exact))):
        looking = deciding({"max_gross_exposure": limit}, price, books={"s": opened(9_000 * E8)})
        assert verdict(looking, said_at(10, 20_000_000.0)) == expected
        holding = {"s": opened(9_000 * E8)}
        holding["s"].adopt(1, 19_999_999, 0)
        assert verdict(deciding({"max_gross_exposure": limit}, price, books=holding), said_at(10, 1.0)) == expected


def test_what_costs_less_than_nothing_is_worth_as_much_as_its_price_without_the_sign() -> None:
    """At -100 a limit of 5 buys what is held at -1,000."""
    looking = deciding({"max_gross_exposure": 1_500}, -100.0)
    verdicts = [verdict(looking, said_at(10 + n, 10.0, limit=5.0)) for n in range(2)]
    assert verdicts == [(ValidatedSignal,), ("gross_exposure", 2_000.0)]
    assert verdict(deciding({"max_gross_exposure": 900}, -100.0), said_at(10, 10.0, limit=5.0)) == ("gross_exposure", 1_000.0)


def test_what_was_sold_below_nothing_costs_that_and_what_buys_it_back() -> None:
    """40 sold at -100 cost 4,000, and 3,600 more at a price of 90; that leaves 1,400 of 9,000."""
    looking = deciding({"max_drawdown": 0.99}, -100.0, table={1: Instrument(1, "A"), 2: Instrument(2, "B")})
    assert verdict(looking, said_at(10, -40.0)) == (ValidatedSignal,)
    for event in (tick(11, 90.0, 0.0, 1), tick(12, 1.0, 0.0, 2)):
        looking.handle(event)
    buys: Any = TradingSignal("s", 2, SignalKind.QUANTITY, 5_000.0, None, "")
    assert verdict(looking, made(13, 2, 1, buys)) == ("cash", -3_600.0)


def test_what_one_products_position_nets_of_another_is_covered_too() -> None:
    """30 delivered and 20 sold intraday are 10 in the book, beside another instrument; margin is 3,100 and a fifth of 2,000."""
    books = {"s": opened(1_900 * E8)}
    books["s"].adopt(1, 10, 1_000 * E8)
    books["s"].adopt(2, 1, 100 * E8)
    table, held = {1: Instrument(1, "A"), 2: Instrument(2, "B")}, {("s", 1, "CNC"): 30, ("s", 1, "MIS"): -20}
    margin = MarginTable(table, load_profile("nse"))
    looking = deciding({"require_margin": True, "require_cash": False}, table=table, books=books, held=held, margin=margin)
    looking.handle(tick(4, 100.0, 0.0, 2))
    assert verdict(looking, said_at(10, 1.0)) == ("margin", 3_500.0)


def test_a_high_of_values_that_are_rounded_by_multipliers_is_noted_exactly() -> None:
    """Four values, each rounded up by half of 1e-8."""
    table = {token: Instrument(token, f"S{token}", multiplier=0.01) for token in (1, 2, 3, 4)}
    books = {"s": opened(0)}
    for token in table:
        books["s"].adopt(token, 1, 0)
    looking = deciding({"max_drawdown": 0.9, "require_cash": False}, 1.05e-5, table=table, books=books)
    for token in (2, 3, 4):
        looking.handle(tick(3 + token, 1.05e-5, 0.0, token))
    looking.handle(said_at(10, 1.0))
    assert looking.state.highest_e8["s"] == 4 * 11  # 10.5 of 1e-8 each


def test_what_is_held_of_no_product_is_forgotten() -> None:
    """Of five shares a reverse split of ten to one leaves none; of five, five sold leave none."""
    books = {"s": opened(9_000 * E8)}
    books["s"].adopt(1, 5, 500 * E8)
    actions = [CorporateAction(1, "2024-03-04", ActionKind.SPLIT, 1, 10)]
    split = deciding({}, books=books, held={("s", 1, "CNC"): 5}, actions=actions)
    split.handle(root(10, SessionOpen("2024-03-04", 0, 1)))
    sold = deciding({}, held={("s", 1, "CNC"): 5})
    sold.state.books["s"].adopt(1, 5, 500 * E8)
    fill = OrderFill(ExecMode.PAPER, "s", 1, "1-9-2-1-0", "1-9-3-0-0", -5, 100.0, 100.0, Charges(), product="CNC")
    sold.handle(made(10, 4, 1, fill))
    assert split.state.held == sold.state.held == {"s": {}}


def test_an_age_at_the_limit_of_nanoseconds_is_stale() -> None:
    """A limit that is no whole number of nanoseconds is not rounded."""
    looking = deciding({"max_quote_age_s": 0.0022877789999999998})
    signal: Any = said_at(10, 1.0).data
    assert verdict(looking, made(10, 2, 1, signal, 0.002287779))[0] == "stale_quote"


def test_books_of_strategies_that_are_no_longer_there_count_for_the_account() -> None:
    """Strategy t holds 9,000 of the 10,000 that the account may."""
    limits = {"account": {"max_gross_exposure": 10_000}}
    both = deciding(limits, books={name: opened(9_000 * E8) for name in "st"})
    both.state.books["t"].fill(1, 90, 9_000 * E8, 0)
    alone = deciding(limits)
    alone.restore(both.snapshot())
    assert verdict(alone, said_at(10, 20.0)) == ("account_gross_exposure", 11_000.0)


@pytest.mark.parametrize("quantity", [1.0, -1.0])
def test_a_position_without_a_rate_is_an_error_whatever_the_order(quantity: float) -> None:
    """The table has no margin of currency futures."""
    table = {1: Instrument(1, "A"), 2: Instrument(2, "USDINR", "CDS-FUT", expiry="2024-03-28")}
    books, held = {"s": opened(9_000 * E8)}, {("s", 1, "CNC"): 1, ("s", 2, "NRML"): 1}
    for token in table:
        books["s"].adopt(token, 1, 80 * E8)
    looking = deciding(
        {"require_margin": True}, table=table, books=books, held=held, margin=MarginTable(table, load_profile("nse"))
    )
    looking.handle(tick(4, 80.0, 0.0, 2))
    with pytest.raises(ReferenceDataError, match="CDS-FUT"):
        looking.handle(said_at(10, quantity))
