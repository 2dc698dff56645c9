"""Limits of accounts, brokers and single strategies; slices, changes, and what risk counts meanwhile."""

from pathlib import Path
from typing import Any

import pytest

from alphapanda.contracts.events import (
    Charges,
    Event,
    ExecMode,
    OrderCancelled,
    OrderFailed,
    OrderFill,
    RejectedSignal,
    SessionOpen,
    SignalKind,
    SquareOff,
    TradingSignal,
    ValidatedSignal,
)  # fmt: skip
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.corporate_actions import ActionKind, CorporateAction
from alphapanda.core.ledger import E8, opened
from alphapanda.reference.profiles import load_profile
from alphapanda.runtime.costs import MarginTable, with_broker_figures
from alphapanda.services.risk_manager.models import RiskLimits
from alphapanda.services.risk_manager.rules import CHECKS, NEEDS, SWITCHED
from alphapanda.services.risk_manager.service import RiskManager
from alphapanda.services.strategy_runner.strategy import order_terms
from tests.builders import INSTRUMENTS, OPEN_NS, S, made, root, session_open, tick

TABLE = {
    **INSTRUMENTS,
    104: Instrument(104, "FROZEN", freeze_quantity=20, lot_size=5, lower_band=90.0, upper_band=110.0),
    105: Instrument(105, "FUT", "NFO-FUT", expiry="2024-03-28", underlying="AAA"),
    107: Instrument(107, "TENFOLD", "NFO-FUT", expiry="2024-03-28", underlying="AAA", multiplier=10.0),
    106: Instrument(106, "PUT", "NFO-OPT", expiry="2024-03-28", underlying="AAA", strike=90.0, option_type="PE"),
}


def risk(**limits: Any) -> RiskManager:
    """An open session, s and t with 10,000 each; AAA, FROZEN, FUT and TENFOLD at 100, BBB at 50, PUT at 2."""
    room = RiskManager(
        RiskLimits.model_validate(limits), TABLE, {name: opened(10_000 * E8) for name in "st"}, {},
        margin=MarginTable(TABLE, load_profile("nse")),
    )  # fmt: skip
    quotes = {101: 100.0, 102: 50.0, 104: 100.0, 105: 100.0, 106: 2.0, 107: 100.0}
    for event in (session_open(), *(tick(3 + i, price, token=token) for i, (token, price) in enumerate(quotes.items()))):
        room.handle(event)
    return room


def signal(
    size: float, *, number: int = 20, token: int = 101, at_s: float = 1, strategy: str = "s",
    kind: SignalKind = SignalKind.QUANTITY, **terms: Any,
) -> Event:  # fmt: skip
    made_terms = order_terms(terms) if terms else None  # type: ignore[arg-type]
    return made(
        number, 2, 1 if strategy == "s" else 2, TradingSignal(strategy, token, kind, float(size), None, "", made_terms), at_s
    )


def verdict(room: RiskManager, event: Event) -> tuple[Any, ...]:
    ((_, data),) = room.handle(event)
    if isinstance(data, RejectedSignal):
        return data.reason, data.value, data.limit, data.unit
    assert isinstance(data, ValidatedSignal)
    return data.action, data.quantity


def filled(quantity: int, price: float, number: int = 20, token: int = 101, strategy: str = "s") -> Event:
    lane = 1 if strategy == "s" else 2
    return made(number + 1, 4, lane, OrderFill(
        ExecMode.PAPER, strategy, token, f"1-{number}-2-{lane}-0", f"1-{number}-3-{lane}-0", quantity, price, price, Charges(),
    ), 2)  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "event", "expected"),
    [
        ({"max_net_exposure": 499}, signal(5), ("net_exposure", 500.0, 499.0, "currency")),
        ({"max_net_exposure": 500}, signal(5), ("place", 5)),
        ({"price_band_pct": 5}, signal(5, limit=94.95), ("price_band", 5.05, 5.0, "percent")),
        ({"price_band_pct": 5}, signal(5, limit=95.0), ("place", 5)),
        ({"broker_rules": True}, signal(5, token=104, limit=111.0), ("price_band", 111.0, 110.0, "price")),
        ({}, signal(5, limit=94.97), ("tick_size", 94.97, 0.05, "price")),
        ({}, signal(5, stop_loss=94.97), ("tick_size", 94.97, 0.05, "price")),
        ({"freeze_quantity": "refuse"}, signal(25, token=104), ("freeze_quantity", 25, 20, "quantity")),
        ({"freeze_quantity": "slice", "max_slices": 2}, signal(45, token=104), ("freeze_quantity", 45, 40, "quantity")),
        ({"broker_rules": True}, signal(5), ("market_protection", 0.0, None, "percent")),
        ({"broker_rules": True}, signal(-5, trigger=99.0), ("market_protection", 0.0, None, "percent")),
        ({"broker_rules": True}, signal(-5, limit=101.0), ("short_delivery", -5, 0, "quantity")),
        ({"broker_rules": True}, signal(-5, limit=101.0, product="MIS"), ("place", -5)),
        ({"account": {"max_position": 4}}, signal(5), ("account_position", 5, 4, "quantity")),
        ({"account": {"max_gross_exposure": 400}}, signal(5), ("account_gross_exposure", 500.0, 400.0, "currency")),
        ({"account": {"max_net_exposure": 400}}, signal(-5), ("account_net_exposure", 500.0, 400.0, "currency")),
        ({"strategies": {"s": {"max_order_quantity": 4}}}, signal(5), ("order_quantity", 5, 4, "quantity")),
        ({"strategies": {"t": {"max_order_quantity": 4}}}, signal(5), ("place", 5)),
        ({"max_order_quantity": 4, "strategies": {"s": {"max_order_quantity": None}}}, signal(5), ("place", 5)),
        # margin of 10,000: MIS a fifth, a delivery sold short all of it,
        # futures 15 %, a written put 15 % of its strike, a bought one its premium
        ({"require_cash": False, "require_margin": True}, signal(101), ("margin", 10_100.0, 10_000.0, "currency")),
        ({"require_cash": False, "require_margin": True}, signal(500, product="MIS"), ("place", 500)),
        ({"require_cash": False, "require_margin": True}, signal(501, product="MIS"), ("margin", 10_020.0, 10_000.0, "currency")),
        ({"require_cash": False, "require_margin": True}, signal(667, token=105), ("margin", 10_005.0, 10_000.0, "currency")),
        ({"require_cash": False, "require_margin": True}, signal(67, token=107), ("margin", 10_050.0, 10_000.0, "currency")),
        ({"require_cash": False, "require_margin": True}, signal(-101), ("margin", 10_100.0, 10_000.0, "currency")),
        ({"require_cash": False, "require_margin": True}, signal(-741, token=106), ("margin", 10_003.5, 10_000.0, "currency")),
        ({"require_cash": False, "require_margin": True}, signal(5_000, token=106), ("place", 5_000)),
        ({}, signal(0, kind=SignalKind.CANCEL, client_order_id="a"), ("known_order", None, None, "client_order_id")),
    ],
)  # fmt: skip
def test_a_check_names_what_it_found_what_it_allows_and_the_unit(
    limits: dict[str, Any], event: Event, expected: tuple[Any, ...]
) -> None:
    """One signal, with nothing held and nothing on its way."""
    actual = verdict(risk(**limits), event)
    assert tuple(round(one, 6) if isinstance(one, float) else one for one in actual) == expected


def test_every_check_has_a_sentence_and_a_name_of_its_own() -> None:
    """The name is the reason code of a rejection."""
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)
    assert all(check.__doc__ for check in CHECKS)
    assert {*NEEDS, *SWITCHED} <= set(CHECKS)


def test_slices_are_not_above_the_freeze_quantity_and_end_one_by_one() -> None:
    """45 of at most 20: three orders; the intent is gone with the third."""
    room = risk(freeze_quantity="slice")
    sizes = [data.quantity for _, data in room.handle(signal(45, token=104))]  # type: ignore[attr-defined]
    left = []
    for size in sizes:
        room.handle(filled(size, 100.0, token=104))
        left.append([(intent.quantity, intent.orders) for intent in room.state.intents["s"].values()])
    assert (sizes, left) == ([20, 20, 5], [[(25, 2)], [(5, 1)], []])


def test_a_drawdown_stops_what_adds_until_equity_is_back() -> None:
    """50 at 100 of 10,000; at 79 equity is 8,950: 10.5 % below the highest."""
    room = risk(max_drawdown=0.1)
    verdict(room, signal(50))
    room.handle(filled(50, 100.0))
    room.handle(tick(30, 79.0, at_s=3))
    actual = [verdict(room, signal(size, number=31)) for size in (1, -1)]
    assert (actual[0][0], round(actual[0][1], 4), actual[0][2:], actual[1]) == (
        "drawdown",
        0.105,
        (0.1, "fraction"),
        ("place", -1),
    )


def test_the_accounts_loss_and_drawdown_stop_every_strategy() -> None:
    """S lost 500; t lost nothing and is refused."""
    for limits, reason in (({"max_daily_loss": 400}, "account_daily_loss"), ({"max_drawdown": 0.02}, "account_drawdown")):
        room = risk(account=limits)
        verdict(room, signal(50))
        room.handle(filled(50, 100.0))
        room.handle(tick(30, 90.0, at_s=3))
        assert verdict(room, signal(1, number=31, strategy="t"))[0] == reason


def test_order_rates_count_all_strategies_and_cancellations() -> None:
    """Two a second, three a minute, four a day."""
    room = risk(orders_per_second=2, orders_per_minute=3, orders_per_day=4)
    at = [0.0, 0.1, 0.2, 1.2, 1.3, 61.0, 122.0]
    actual = [
        verdict(room, signal(1, number=20 + i, at_s=at_s, strategy="st"[i % 2], limit=99.0))[0] for i, at_s in enumerate(at)
    ]
    assert actual == ["place", "place", "orders_per_second", "place", "orders_per_minute", "place", "orders_per_day"]
    room.handle(session_open(40))
    assert verdict(room, signal(1, number=41, at_s=200))[0] == "place"


def test_a_duplicate_is_what_says_the_same_within_its_time() -> None:
    """The same, the same later, and another."""
    room = risk(duplicate_window_s=2)
    actual = [
        verdict(room, signal(size, number=20 + i, at_s=at_s))[0]
        for i, (size, at_s) in enumerate([(1, 0), (1, 1.5), (2, 1.5), (1, 4)])
    ]
    assert actual == ["place", "duplicate_signal", "place", "place"]


def test_strategies_do_not_trade_with_each_other() -> None:
    """T bids 99: a sale at the market or at 99 would meet it, one at 99.5 would not."""
    room = risk(forbid_self_cross=True, require_cash=False)
    verdict(room, signal(5, strategy="t", limit=99.0))
    sales = [signal(-3, number=21), signal(-3, number=22, limit=99.0), signal(-3, number=23, limit=99.5)]
    assert [verdict(room, one)[:2] for one in sales] == [("self_cross", 5), ("self_cross", 5), ("place", -3)]


def test_late_intraday_orders_are_refused_by_broker_rules() -> None:
    """After square-off a new MIS position is refused, a smaller one is not."""
    room = risk(broker_rules=True)
    verdict(room, signal(5, limit=99.0, product="MIS"))
    room.handle(filled(5, 99.0))
    room.handle(root(25, SquareOff("2024-03-01"), 3))
    late = [verdict(room, signal(size, number=26, limit=99.0, product="MIS"))[0] for size in (1, -1)]
    assert late == ["square_off", "place"]


def test_a_modification_counts_what_it_adds_and_takes_it_back_where_it_fails() -> None:
    """60 at 100 of 10,000 in cash: 100 fit, 101 do not; a change to 90 that fails leaves 60."""
    room = risk()
    verdict(room, signal(60, limit=100.0, client_order_id="a"))
    change = {"kind": SignalKind.MODIFY, "client_order_id": "a"}
    actual = [verdict(room, signal(size, number=21 + i, **change)) for i, size in enumerate((101, 90))]
    between = [intent.quantity for intent in room.state.intents["s"].values()]
    room.handle(made(23, 4, 1, OrderFailed(ExecMode.PAPER, "s", 101, "1-22-2-1-0", "1-22-3-1-0", 90, "quantity", "a"), 3))
    after = [intent.quantity for intent in room.state.intents["s"].values()]
    assert (actual, between, after) == ([("cash", -100.0, 0.0, "currency"), ("modify", 90)], [90], [60])


def test_exits_of_a_bracket_are_cancelled_by_name() -> None:
    """The engine knows these orders, risk does not; any other that it does not know is refused."""
    names = ("e.stop", "e.target", "e")
    said = [verdict(risk(), signal(0, kind=SignalKind.CANCEL, client_order_id=name))[0] for name in names]
    assert said == ["cancel", "cancel", "known_order"]


def test_a_refused_change_is_told_from_a_refused_order() -> None:
    """One order a second: the second order, its modification and its cancellation are refused, by what they asked for."""
    room = risk(orders_per_second=1)
    verdict(room, signal(5, limit=99.0, client_order_id="a"))
    asked = [signal(5, limit=99.0, client_order_id="b")] + [
        signal(0, number=21 + i, kind=kind, client_order_id="a") for i, kind in enumerate((SignalKind.MODIFY, SignalKind.CANCEL))
    ]
    said = [data for event in asked for _, data in room.handle(event)]
    assert [(one.reason, one.action, one.client_order_id) for one in said] == [
        ("orders_per_second", "place", "b"), ("orders_per_second", "modify", "a"), ("orders_per_second", "cancel", "a"),
    ]  # fmt: skip


def test_an_order_is_not_modified_too_often() -> None:
    """Twice, where two are allowed."""
    room = risk(max_modifications=2)
    verdict(room, signal(5, limit=99.0, client_order_id="a"))
    changes = [
        verdict(room, signal(0, number=21 + i, kind=SignalKind.MODIFY, client_order_id="a", limit=98.0))[0] for i in range(3)
    ]
    assert changes == ["modify", "modify", "modifications"]


def test_partial_fills_and_cancellations_leave_nothing_on_its_way() -> None:
    """3 of 5 filled, 2 cancelled; a leg of its bracket, and what the engine did of itself, count for nothing."""
    room = risk()
    verdict(room, signal(5, limit=99.0))
    part = OrderFill(ExecMode.PAPER, "s", 101, "1-20-2-1-0", "1-20-3-1-0", 3, 99.0, 99.0, Charges(), 2)
    leg = OrderFill(ExecMode.PAPER, "s", 101, "1-20-2-1-0", "1-20-3-1-0:stop", -3, 98.0, 98.0, Charges(), 0)
    own = OrderFill(
        ExecMode.PAPER, "s", 101, "1-9-0-0-0:s:101:MIS:square_off", "1-9-0-0-0:s:101:MIS:square_off", 1, 9.0, 9.0, Charges()
    )
    end = OrderCancelled(ExecMode.PAPER, "s", 101, "1-20-2-1-0", "1-20-3-1-0", 2, "asked")
    seen = []
    for i, data in enumerate((part, leg, own, end)):
        room.handle(made(21 + i, 4, 1, data, 2))
        seen.append([intent.quantity for intent in room.state.intents["s"].values()])
    assert (seen, room.state.books["s"].quantity(101)) == ([[2], [2], [2], []], 1)


def test_broker_rules_bring_the_brokers_figures_where_none_is_set() -> None:
    """Kite's of 2026 and of before; a limit of one's own stays."""
    now = with_broker_figures(RiskLimits(broker_rules=True, orders_per_second=3))
    before = with_broker_figures(RiskLimits(broker_rules=True, broker_rules_of="2025-01-01"))
    figures = [(one.orders_per_second, one.orders_per_minute, one.orders_per_day, one.max_modifications) for one in (now, before)]
    assert figures == [(3, 400, 5_000, 25), (10, 200, 3_000, 25)]


def test_the_docs_list_every_check_in_its_order() -> None:
    """docs/conventions.md, the paragraph on risk."""
    paragraph = Path("docs/conventions.md").read_text(encoding="utf-8").partition("**Risk**")[2].partition("\n\n")[0]
    places = [paragraph.find(f"`{check.__name__}`") for check in CHECKS]
    assert -1 not in places
    assert places == sorted(places)


def test_a_changed_order_is_held_to_the_limits_of_a_new_one() -> None:
    """Its whole quantity, its value, what it costs at its new price, and the exchange's freeze quantity."""
    change = {"kind": SignalKind.MODIFY, "client_order_id": "a"}
    actual = []
    for limits, size, more in (
        ({"max_order_quantity": 10}, 15, {}), ({"max_order_notional": 1_000}, 10, {"limit": 100.05}),
        ({}, 0, {"limit": 100.05}), ({"freeze_quantity": "refuse"}, 25, {}), ({}, -10, {}),
    ):  # fmt: skip
        room = risk(**limits)
        verdict(room, signal(10, token=104, limit=90.0, client_order_id="a"))
        verdict(room, signal(90, number=21, limit=100.0) if not limits else signal(1, number=21))
        actual.append(verdict(room, signal(size, number=22, token=104, **change, **more))[0])
    assert actual == ["order_quantity", "notional", "cash", "freeze_quantity", "order_terms"]


def test_a_change_is_of_the_product_of_its_order() -> None:
    """An intraday short grows: no short delivery."""
    room = risk(broker_rules=True)
    verdict(room, signal(-5, limit=101.0, product="MIS", client_order_id="a"))
    assert verdict(room, signal(-8, number=21, kind=SignalKind.MODIFY, client_order_id="a")) == ("modify", -8)


def test_every_slice_counts_for_the_rates() -> None:
    """Five orders of one signal, where two a second are allowed; and where five are, none after them."""
    room = risk(orders_per_second=2, freeze_quantity="slice", require_cash=False)
    assert verdict(room, signal(100, token=104)) == ("orders_per_second", 5, 2, "orders/s")
    room = risk(orders_per_second=5, freeze_quantity="slice", require_cash=False)
    assert len(room.handle(signal(100, token=104))) == 5
    assert verdict(room, signal(1, number=21)) == ("orders_per_second", 6, 5, "orders/s")


def test_margin_is_by_the_product_in_which_each_part_is_held() -> None:
    """100 CNC are covered whole: nothing is left for 1 MIS."""
    room = risk(require_cash=False, require_margin=True)
    verdict(room, signal(100))
    room.handle(made(21, 4, 1, OrderFill(
        ExecMode.PAPER, "s", 101, "1-20-2-1-0", "1-20-3-1-0", 100, 100.0, 100.0, Charges(), product="CNC"), 2))  # fmt: skip
    assert verdict(room, signal(1, number=22, product="MIS"))[:2] == ("margin", 10_020.0)


def test_a_reversal_is_no_way_out_of_a_stop() -> None:
    """50 long with the day's loss spent: to flat it goes, and no further."""
    room = risk(max_daily_loss=400)
    verdict(room, signal(50))
    room.handle(filled(50, 100.0))
    room.handle(tick(30, 90.0, at_s=3))
    assert [verdict(room, signal(size, number=31 + i))[0] for i, size in enumerate((-100, -50))] == ["daily_loss", "place"]


def test_exits_that_cancel_each_other_count_once() -> None:
    """5 held, both exits working: the target of 0 is on its way already."""
    room = risk()
    verdict(room, signal(5))
    room.handle(filled(5, 100.0))
    for i, terms in enumerate(({"limit": 110.0}, {"trigger": 95.0})):
        verdict(room, signal(-5, number=25 + i, oco_group="x", **terms))
    assert verdict(room, signal(0, number=31, kind=SignalKind.TARGET_QUANTITY))[0] == "nothing_to_do"


def test_exits_that_cancel_each_other_are_no_short_sale() -> None:
    """5 held for delivery: both exits pass where Kite's rules hold and no net exposure is left, and one is trailed."""
    room = risk(broker_rules=True, max_net_exposure=499, require_cash=False)
    room.state.books["s"].fill(101, 5, 500 * E8, 0)
    exits = [
        {"limit": 110.0, "client_order_id": "target"}, {"limit": 94.95, "trigger": 95.0, "client_order_id": "stop"},
        {"limit": 96.95, "trigger": 97.0, "client_order_id": "stop", "kind": SignalKind.MODIFY},
    ]  # fmt: skip
    said = [verdict(room, signal(-5, number=25 + i, oco_group="x", **terms))[0] for i, terms in enumerate(exits)]
    more = verdict(room, signal(-1, number=31, limit=99.0))
    assert (said, more) == (["place", "place", "modify"], ("short_delivery", -1, 0, "quantity"))


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        ({"max_gross_exposure": 500}, ("account_gross_exposure", 1_000.0, 500.0, "currency")),
        ({"max_net_exposure": 500}, ("account_net_exposure", 1_000.0, 500.0, "currency")),
        ({"max_drawdown": 0.5}, ("place", 10)),
    ],
)
def test_an_account_of_one_book_has_limits_of_its_own(account: dict[str, float], expected: tuple[Any, ...]) -> None:
    """Beside a limit that needs no more of the book than its position."""
    limits = RiskLimits.model_validate({"max_position": 100, "account": account})
    room = RiskManager(limits, TABLE, {"s": opened(10_000 * E8)}, {})
    for event in (session_open(), tick(3, 100.0)):
        room.handle(event)
    assert verdict(room, signal(10)) == expected


def test_a_stop_that_buys_costs_its_trigger() -> None:
    """100 at 200 are not paid for by 10,000."""
    assert verdict(risk(), signal(100, trigger=200.0))[:2] == ("cash", -10_000.0)


def test_a_split_is_no_loss_before_its_first_tick() -> None:
    """50 at 100, then 100 at half: the day's loss is nothing, and an order passes."""
    action = CorporateAction(101, "2024-03-04", ActionKind.SPLIT, 2, 1)
    room = risk(max_daily_loss=400, max_drawdown=0.1)
    room.actions = [action]
    verdict(room, signal(50))
    room.handle(filled(50, 100.0))
    room.handle(root(40, SessionOpen("2024-03-04", OPEN_NS, OPEN_NS + S), 100))
    seen = [verdict(room, signal(1, number=41, at_s=101))]
    room.handle(tick(42, 50.0, at_s=102))
    seen.append(verdict(room, signal(1, number=43, at_s=103)))
    assert (seen, room.state.books["s"].quantity(101)) == ([("place", 1), ("place", 1)], 100)
