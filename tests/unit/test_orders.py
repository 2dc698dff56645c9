"""Every order type and fill model, as timelines of ticks and what happens at them."""

from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from alphapanda.contracts.errors import ReferenceDataError
from alphapanda.contracts.events import ExecMode, OrderTerms, OrderType, ValidatedSignal
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.corporate_actions import ActionKind, CorporateAction
from alphapanda.services.trading_engine.models import PaperExecution
from tests.builders import made, root
from tests.order_desk import Desk, quote

QUOTES: dict[str, Any] = {"price": "opposite"}


@pytest.mark.parametrize(
    ("rules", "timeline", "expected"),
    [
        # MARKET
        ({}, "0: 100 | 0: buy 5 | 1: 100.1 | 2: 100.2", [(5, 100.1)]),
        ({"fill_model": "immediate"}, "0: 100 | 0: buy 5 | 1: 100.1", [(5, 100.0)]),
        ({"latency_ms": 1500}, "0: 100 | 0: sell 5 | 1: 101 | 1.4: 102 | 1.5: 103", [(-5, 103.0)]),
        ({"fill_model": "bar_open"}, "10: 100 | 20: buy 5 | 30: 101 | 59.9: 102 | 60.5: 103 | 61: 104", [(5, 103.0)]),
        ({"fill_model": "bar_open"}, "10: 100 | 60: buy 5 | 60.2: 101", [(5, 101.0)]),
        # LIMIT by touch and through; an arriving one takes what is quoted
        ({}, "0: 100 | 0: buy 5 limit=99.9 | 1: 100 | 2: 99.9 | 3: 99.8", [(5, 99.9)]),
        ({"limit_rule": "through"}, "0: 100 | 0: buy 5 limit=99.9 | 1: 100 | 2: 99.9 | 3: 99.8", [(5, 99.8)]),
        ({"limit_rule": "through"}, "0: 100 | 0: sell 5 limit=100.1 | 1: 100 | 2: 100.1 | 3: 100.2", [(-5, 100.2)]),
        ({}, "0: 100 | 0: buy 5 limit=101 | 1: 100.4", [(5, 100.4)]),
        ({"limit_price": "limit"}, "0: 100 | 0: buy 5 limit=99.9 | 1: 100 | 2: 99.5", [(5, 99.9)]),
        ({"limit_price": "limit"}, "0: 100 | 0: buy 5 limit=101 | 1: 100.4", [(5, 100.4)]),
        ({"slippage_ticks": 4}, "0: 100 | 0: buy 5 limit=100.1 | 1: 100", [(5, 100.1)]),
        (QUOTES, "0: 99.9/100 | 0: buy 5 limit=99.9 | 1: 99.9/100 | 2: 99.8/99.9 | 3: 99/99.1", [(5, 99.9)]),
        # SL-M and SL
        ({}, "0: 100 | 0: sell 5 trigger=99 | 1: 99.5 | 2: 98.8 | 3: 98", [(-5, 98.8)]),
        ({}, "0: 100 | 0: buy 5 trigger=101 | 1: 100.5 | 2: 101 | 3: 102", [(5, 101.0)]),
        ({}, "0: 100 | 0: sell 5 trigger=99 limit=98.9 | 1: 98.5 | 2: 98.7 | 3: 98.9", [(-5, 98.9)]),
        # IOC: its first chance, then never
        ({}, "0: 100 | 0: buy 5 limit=99 validity=IOC | 1: 99.5 | 2: 98", []),
        ({}, "0: 100 | 0: buy 5 limit=99 validity=IOC | 1: 98.5", [(5, 98.5)]),
        # depth: what the other side shows, then what it shows next
        ({"fill_model": "depth"}, "0: 100 | 0: buy 9 | 1: 99.9/100.1 x50/4 | 2: 99.9/100.2 x50/50", [(4, 100.1), (5, 100.2)]),
        ({"fill_model": "depth"}, "0: 100 | 0: sell 9 | 1: 99.9/100.1 x4/50 | 2: 99.8/100.2 x3/50", [(-4, 99.9), (-3, 99.8)]),
        ({"fill_model": "depth"}, "0: 100 | 0: buy 9 validity=IOC | 1: 99.9/100.1 x5/4 | 2: 99.9/100 x9/9", [(4, 100.1)]),
        # participation
        ({"participation": 0.1}, "0: 100 | 0: buy 9 | 1: 100 v50 | 2: 101 v30 | 3: 102 v99", [(5, 100), (3, 101), (1, 102)]),
        ({"participation": 0.1}, "0: 100 | 0: buy 9 | 1: 100 | 2: 101 v9", []),
        # market protection: 1 % of the last price
        ({"market_protection_pct": 1}, "0: 100 | 0: buy 5 | 1: 101.5 | 2: 100.9", [(5, 100.9)]),
        ({"market_protection_pct": 1}, "0: 100 | 0: sell 5 trigger=99 | 1: 98 | 2: 97", [(-5, 98.0)]),
        # nothing at crossed quotes, or outside the session
        ({}, "0: 100 | 0: buy 5 | 1: 100.2/100.1 | 2: 100/100.1", [(5, 100.05)]),
        ({}, "0: 100 | 0: buy 5 limit=99 | 1: close | 2: 98", []),
        # an order placed after the close waits for the next session
        ({}, "0: 100 | 1: close | 1: buy 5 | 2: 98 | 3: open | 4: 97", [(5, 97.0)]),
    ],
)  # fmt: skip
def test_when_and_at_what_price(rules: dict[str, Any], timeline: str, expected: list[tuple[int, float]]) -> None:
    """AAA has ticks of 0.05; times are seconds after the open."""
    assert Desk(rules).play(timeline).fills == expected


@pytest.mark.parametrize(
    ("timeline", "expected"),
    [
        ("0: 100 | 0: buy 5 limit=99 id=a | 1: cancel a | 2: 98",
         ["0 placed LIMIT 5 [a]", "1 cancelled 5 asked [a]"]),
        ("0: 100 | 1: cancel a", ["1 failed no_such_order [a]"]),
        ("0: 100 | 0: buy 5 limit=99 id=a | 1: modify a limit=99.5 quantity=8 | 2: 99.5",
         ["0 placed LIMIT 5 [a]", "1 modified 8 limit=99.5 trigger=None", "2 filled 8 at 99.5 left 0 [a]"]),
        ("0: 100 | 0: buy 5 limit=99 id=a | 1: modify a quantity=-5", ["0 placed LIMIT 5 [a]", "1 failed quantity [a]"]),
        ("0: 100 | 0: buy 5 limit=99 id=a | 1: modify a trigger=98",
         ["0 placed LIMIT 5 [a]", "1 failed order_has_no_trigger [a]"]),
        ("0: 100 | 0: buy 5 limit=99 id=a | 0: buy 5 limit=98 id=a",
         ["0 placed LIMIT 5 [a]", "0 placed LIMIT 5 [a]", "0 failed client_order_id_in_use [a]"]),
        ("0: 100 | 0: sell 5 trigger=99 id=s | 1: modify s trigger=99.5 | 2: 99.4",
         ["0 placed SL-M -5 [s]", "1 modified -5 limit=None trigger=99.5", "2 triggered 99.5", "2 filled -5 at 99.4 left 0 [s]"]),
        ("0: 100 | 0: buy 5 limit=99 | 1: close", ["0 placed LIMIT 5", "1 cancelled 5 session_close"]),
        # one cancels the other, also across instruments
        ("0: 100 | 0: sell 5 limit=101 id=t oco_group=x | 0: sell 5 trigger=99 id=s oco_group=x | 1: 101",
         ["0 placed LIMIT -5 [t]", "0 placed SL-M -5 [s]", "1 filled -5 at 101.0 left 0 [t]", "1 cancelled -5 oco [s]"]),
        ("0: 100 | 0: buy 9 token=102 limit=49 id=b oco_group=x | 0: buy 5 limit=99 id=a oco_group=x | 1: 98 | 2: BBB 48",
         ["0 placed LIMIT 9 [b]", "0 placed LIMIT 5 [a]", "1 filled 5 at 98.0 left 0 [a]",
          "1 modified 4 limit=49.0 trigger=None", "2 filled 4 at 48.0 left 0 [b]"]),
        # a bracket: exits come with the entry, work from the next tick on, and the one that fills ends the other
        ("0: 100 | 0: buy 5 stop_loss=99 take_profit=102 id=e | 1: 100 | 2: 102.5 | 3: 98",
         ["0 placed MARKET 5 [e]", "1 filled 5 at 100.0 left 0 [e]", "1 placed SL-M -5 [stop]", "1 placed LIMIT -5 [target]",
          "2 filled -5 at 102.5 left 0 [target]", "2 cancelled -5 oco [stop]"]),
        # MIS is squared off: working orders go, the position is closed at the next tick
        ("0: 100 | 0: buy 5 product=MIS | 1: 101 | 2: buy 5 limit=90 product=MIS | 3: square_off | 4: 102",
         ["0 placed MARKET 5", "1 filled 5 at 101.0 left 0", "2 placed LIMIT 5", "3 cancelled 5 square_off",
          "3 placed MARKET -5 [s1:101:MIS:square_off]", "4 filled -5 at 102.0 left 0 [s1:101:MIS:square_off]"]),
        ("0: 100 | 0: buy 5 | 1: 101 | 3: square_off", ["0 placed MARKET 5", "1 filled 5 at 101.0 left 0"]),
        ("0: 100 | 0: buy 5 limit=99 | 0: sell 5 limit=101 | 1: kill",
         ["0 placed LIMIT 5", "0 placed LIMIT -5", "1 cancelled 5 kill_switch", "1 cancelled -5 kill_switch"]),
    ],
)  # fmt: skip
def test_what_happens_to_orders(timeline: str, expected: list[str]) -> None:
    """Each line: seconds, what, and in brackets the order's name."""
    assert Desk().play(timeline).story == expected


def test_exits_of_a_bracket_grow_with_its_entry() -> None:
    """The entry fills 4 and then 3 of 7: the stop's total follows."""
    desk = Desk({"fill_model": "depth"})
    desk.play("0: 100 | 0: buy 7 stop_loss=95 id=e | 1: 99/100 x9/4 | 2: 99/100 x9/9")
    assert desk.story[1:] == [
        "1 filled 4 at 100.0 left 3 [e]", "1 placed SL-M -4 [stop]", "2 filled 3 at 100.0 left 0 [e]",
        "2 modified -7 limit=None trigger=95.0 [stop]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("timeline", "expected"),
    [
        # what turns a position round has exits for the new side
        ("0: 100 | 0: sell 10 | 1: 100 | 1: buy 15 stop_loss=95 id=e | 2: 100",
         ["2 filled 15 at 100.0 left 0 [e]", "2 placed SL-M -5 [stop]"]),
        # the first 4 and 3 close, then 3 and 5 open
        ("0: 100 | 0: sell 10 | 1: 99/100 x50/0 | 1: buy 18 stop_loss=95 id=e | 2: 99/100 x0/4 | 3: 99/100 x0/9 | 4: 99/100 x0/5",
         ["2 filled 4 at 100.0 left 14 [e]", "3 filled 9 at 100.0 left 5 [e]", "3 placed SL-M -3 [stop]",
          "4 filled 5 at 100.0 left 0 [e]", "4 modified -8 limit=None trigger=95.0 [stop]"]),
        # what only closes has none
        ("0: 100 | 0: sell 10 | 1: 100 | 1: buy 10 stop_loss=95 take_profit=105 id=e | 2: 100",
         ["2 filled 10 at 100.0 left 0 [e]"]),
        # another product is another position
        ("0: 100 | 0: sell 10 | 1: 100 | 1: buy 10 product=MIS stop_loss=95 id=e | 2: 100",
         ["2 filled 10 at 100.0 left 0 [e]", "2 placed SL-M -10 [stop]"]),
    ],
)  # fmt: skip
def test_exits_of_a_bracket_are_of_what_its_entry_opened(timeline: str, expected: list[str]) -> None:
    """With 10 sold before."""
    desk = Desk({"fill_model": "depth"} if "x50" in timeline else {}).play(timeline)
    assert desk.story[3:] == expected


def test_changes_take_as_long_as_orders() -> None:
    """With 2 s of latency a cancellation at 1 s does not stop the fill at 2.5 s; one at 3 s stops that at 5 s."""
    late = Desk({"latency_ms": 2000}).play("0: 100 | 0: buy 5 limit=99 id=a | 1: cancel a | 2.5: 98 | 4: 97")
    early = Desk({"latency_ms": 2000}).play("0: 100 | 0: buy 5 limit=99 id=a | 3: cancel a | 5: 98")
    assert (late.fills, early.story[-1]) == ([(5, 98.0)], "5 cancelled 5 asked [a]")


def test_a_change_that_comes_too_late_is_said_to() -> None:
    """The order fills at 2.5 s, the cancellation would have reached it at 3 s."""
    desk = Desk({"latency_ms": 2000}).play("0: 100 | 0: buy 5 limit=99 id=a | 1: cancel a | 2.5: 98")
    assert desk.story[1:] == ["2.5 filled 5 at 98.0 left 0 [a]", "2.5 failed order_ended [a]"]


def test_an_order_joins_the_exits_of_a_bracket_by_the_entrys_id() -> None:
    """A market exit in the group ends stop and target."""
    desk = Desk().play("0: 100 | 0: buy 5 stop_loss=95 take_profit=110 id=e | 1: 100 | 2: sell 5 oco_group=1-4-3-1-0 | 3: 101")
    assert desk.story[5:] == [
        "3 filled -5 at 101.0 left 0", "3 cancelled -5 oco [stop]", "3 cancelled -5 oco [target]",
    ]  # fmt: skip


def test_measured_latency_is_drawn_by_the_orders_place_alone() -> None:
    """The same orders draw the same; not all draw alike."""

    def active(_: int) -> list[int]:
        desk = Desk({"latency_samples_ms": (1.0, 5.0, 40.0)}).play("0: 100" + " | 0: buy 5 limit=99" * 20)
        return [data.active_ts_ns for _, data in desk.events]

    drawn = active(1)
    assert (drawn == active(2), len(set(drawn))) == (True, 3)


def test_stale_ticks_fill_nothing() -> None:
    """A tick 20 s older than its arrival, with a bound of 10 s."""
    desk = Desk({"stale_quote_s": 10}).play("0: 100 | 0: buy 5")
    for number, at_s, lag_s in ((8, 30.0, 20), (9, 31.0, 5)):
        tick = quote(at_s, f"{100 + number}")
        old = msgspec.structs.replace(tick, exchange_ts_ns=tick.ts_ns - lag_s * 1_000_000_000)
        desk.do(root(number, old, at_s))
    assert desk.fills == [(5, 109.0)]


def test_a_delivery_is_charged_once_a_scrip_and_day_and_not_for_what_was_bought_today() -> None:
    """Ten held from before: of 4 + 4 sold the first pays; bought and sold on one day does not."""
    desk = Desk(net={(1, "s1", 101, "CNC"): 10}).play(
        "0: 100 | 0: buy 2 | 1: 100 | 2: sell 2 | 3: 100 | 4: sell 4 | 5: 100 | 6: sell 4 | 7: 100"
    )
    assert [data.charges.dp_e8 for _, data in desk.events if hasattr(data, "charges")] == [0, 0, 1_000, 0]


OPTION = Instrument(201, "AAA24MAR100CE", "NFO-OPT", expiry="2024-03-01", underlying="AAA", strike=100.0, option_type="CE")


def test_what_expires_is_settled_at_the_price_that_was_given() -> None:
    """Ten calls bought at 3, settled at 5 with the session's close; no charges."""
    desk = Desk(extra={201: OPTION}, net={(1, "s1", 201, "NRML"): 10}, settlements_e8={201: 500_000_000})
    assert desk.play("9: close").story == [
        "9 placed SETTLEMENT -10 [s1:201:NRML:settlement]", "9 filled -10 at 5.0 left 0 [s1:201:NRML:settlement]",
    ]  # fmt: skip


def test_expiry_without_a_price_is_an_error_that_says_what_to_do() -> None:
    """Held over its expiry, and no settlement price."""
    desk = Desk(extra={201: OPTION}, net={(1, "s1", 201, "NRML"): 10})
    with pytest.raises(ReferenceDataError, match=r"AAA24MAR100CE expired on 2024-03-01 with 10 held by s1"):
        desk.play("9: close")


def test_a_split_changes_what_is_squared_off() -> None:
    """Three MIS for one at the open: 15 are closed."""
    action = CorporateAction(101, "2024-03-01", ActionKind.SPLIT, 3, 1)
    desk = Desk(net={(1, "s1", 101, "MIS"): 5}, actions=[action]).play("0: 33 | 1: square_off | 2: 34")
    assert desk.fills == [(-15, 34.0)]


def test_a_strategys_own_exit_does_not_close_twice_what_is_squared_off() -> None:
    """Before and after the square-off's fill; a new intraday position is refused, too."""
    desk = Desk().play(
        "0: 100 | 0: buy 5 product=MIS | 1: 101 | 3: square_off | 3.5: sell 5 product=MIS | 4: 102 | 4: sell 5 product=MIS"
        " | 5: buy 5 product=MIS | 6: 103"
    )
    assert desk.fills == [(5, 101.0), (-5, 102.0)]
    assert [line for line in desk.story if "failed" in line] == [f"{at} failed squared_off" for at in ("3.5", "4", "5")]


def test_slices_of_one_order_do_not_cancel_each_other() -> None:
    """Two slices against a stop: what they fill together the stop loses, once."""
    desk = Desk({"fill_model": "depth"})
    desk.play("0: 100 | 0: sell 60 trigger=90 id=s oco_group=x | 1: sell 20 limit=101 id=a oco_group=x")
    first = desk.events[-1][1]
    twin = ValidatedSignal(
        ExecMode.PAPER, "s1", 101, first.signal_id, -20, 100.0, "place",
        OrderTerms(OrderType.LIMIT, 101.0, client_order_id="a", oco_group="x"),
    )  # fmt: skip
    desk.do(made(5, 3, 1, twin, 1, n=1))
    desk.play("2: 101/101.1 x30/9")
    assert desk.story[3:] == [
        "2 filled -20 at 101.0 left 0 [a]", "2 modified -40 limit=None trigger=90.0", "2 filled -10 at 101.0 left -10 [a]",
        "2 modified -30 limit=None trigger=90.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "timeline", "expected"),
    [
        # both sides share what participation allows
        ({"participation": 0.1}, "0: 100 | 0: buy 9 | 0: sell 9 | 1: 100 v100", [(9, 100.0), (-1, 100.0)]),
        # what a part left of an order that found its price is not resting
        ({"fill_model": "depth", "limit_price": "limit"}, "0: 100 | 0: buy 9 limit=102 | 1: 99/100 x9/4 | 2: 99/101 x9/9",
         [(4, 100.0), (5, 101.0)]),
        # a new quantity alone leaves the order where it stands
        ({"limit_rule": "through"}, "0: 100 | 0: buy 5 limit=99.9 id=a | 1: 100 | 1.5: modify a quantity=6 | 2: 99.9", []),
        # no price that is none
        ({"slippage_ticks": 2}, "0: 100 | 0: sell 5 | 1: 0.05 | 2: 50", [(-5, 49.9)]),
        ({}, "0: 100 | 0: buy 5 | 1: 0 | 2: 50", [(5, 50.0)]),
    ],
)  # fmt: skip
def test_what_a_tick_gives(rules: dict[str, Any], timeline: str, expected: list[tuple[int, float]]) -> None:
    """Ticks of AAA."""
    assert Desk(rules).play(timeline).fills == expected


@pytest.mark.parametrize(
    ("rules", "timeline", "expected"),
    [
        ({}, "0: 100 | 0: sell 5 trigger=99 | 20: 98.5", [(-5, 99.0)]),
        ({}, "0: 100 | 0: buy 5 trigger=101 | 20: 100.5 | 40: 103", [(5, 101.0)]),
        ({"slippage_ticks": 2}, "0: 100 | 0: buy 5 trigger=101 | 20: 103", [(5, 101.1)]),
        ({"latency_ms": 1500}, "0: 100 | 0: sell 5 trigger=99 | 10: 99.5 | 20: 98", [(-5, 99.0)]),
        # from one bar to the next the price jumps
        ({}, "0: 100 | 0: sell 5 trigger=99 | 59: 99.5 | 60: 98.5", [(-5, 98.5)]),
        ({}, "0: 100 | 0: sell 5 trigger=99 | 59: 99.5 | 60: 99.2 | 80: 98", [(-5, 99.0)]),
        ({"bar_interval_s": 86_400}, "0: 100 | 0: sell 5 trigger=99 | 9000: 98.5", [(-5, 99.0)]),
        # one that the price had passed before, or before the order was there
        ({}, "0: 100 | 0: sell 5 trigger=101 | 20: 99", [(-5, 99.0)]),
        ({"latency_ms": 1500}, "0: 100 | 0: sell 5 trigger=99 | 20: 97", [(-5, 97.0)]),
        ({}, "0: 100 | 10: sell 5 trigger=99 | 20: 98", [(-5, 98.0)]),
        ({}, "0: 100 | 0: sell 5 trigger=95 id=a | 10: 100 | 10: modify a trigger=99.5 | 20: 98", [(-5, 99.5)]),
        ({}, "0: 100 | 0: sell 5 trigger=95 id=a | 10: modify a trigger=99.5 | 20: 98", [(-5, 98.0)]),
        ({}, "0: 100 | 0: sell 5 trigger=95 id=a | 10: 100 | 10: modify a trigger=101 | 20: 98", [(-5, 98.0)]),
        ({}, "0: sell 5 trigger=95 id=a | 10: modify a trigger=99 | 20: 98", [(-5, 98.0)]),
        ({}, "0: 100 | 0: sell 5 trigger=99 id=a | 10: modify a quantity=-7 | 20: 98", [(-7, 99.0)]),
        ({"latency_ms": 500}, "0: 100 | 0: sell 5 trigger=99 id=a | 10: 100 | 15: modify a quantity=-7 | 20: 98", [(-7, 99.0)]),
        ({"latency_samples_ms": (0.0, 5000.0)},  # the order is drawn 5 s, its change 0
         "0: 100 | 0: 100 | 0: sell 5 trigger=95 id=a | 1: modify a trigger=99 | 1: 100 | 6: 97", [(-5, 97.0)]),
        ({}, "0: BBB 100 | 0: 100 | 20: 95 | 20: sell 5 trigger=99 token=102 | 20: BBB 90", [(-5, 90.0)]),
        ({"fill_model": "immediate"}, "0: BBB 100 | 20: 95 | 20: buy 5 stop_loss=99 token=102 | 20: BBB 90",
         [(5, 100.0), (-5, 90.0)]),
        ({"fill_model": "immediate"}, "0: BBB 100 | 20: 95 | 20: sell 5 trigger=99 token=102 | 20: BBB 90", [(-5, 90.0)]),
        # or where nothing may fill, or in a gap
        ({}, "0: 100 | 0: sell 5 trigger=99 | 10: 98.1/97.9 | 20: 97", [(-5, 97.0)]),
        ({}, "0: 100 | 0: sell 5 trigger=99 | 10: 99.6/99.4 | 20: 97", [(-5, 99.0)]),
        ({}, "0: 100 | 0: sell 5 trigger=99 | 10: gap | 20: 97", [(-5, 97.0)]),
        ({}, "0: 100 | 0: sell 5 trigger=99 | 10: gap | 11: 99.5 | 20: 97", [(-5, 99.0)]),
        # its limit, its protection, its exits
        ({}, "0: 100 | 0: sell 5 trigger=99 limit=98.9 | 20: 98", [(-5, 99.0)]),
        ({}, "0: 100 | 0: sell 5 trigger=99 limit=98.9 | 60: 98 | 80: 98.95", [(-5, 98.95)]),
        ({"market_protection_pct": 1}, "0: 100 | 0: sell 5 trigger=99 | 20: 95", [(-5, 99.0)]),
        ({}, "0: 100 | 0: buy 5 stop_loss=99 take_profit=103 | 1: 100 | 20: 97", [(5, 100.0), (-5, 99.0)]),
        ({"fill_model": "immediate"}, "0: 100 | 0: buy 5 stop_loss=99 | 20: 97", [(5, 100.0), (-5, 99.0)]),
        ({"latency_ms": 500}, "0: 100 | 0: buy 5 stop_loss=99 | 1: 100 | 20: 97", [(5, 100.0), (-5, 97.0)]),
        ({"participation": 0.1}, "0: 100 | 0: sell 9 trigger=99 | 20: 98 v50 | 40: 97 v90", [(-5, 99.0), (-4, 97.0)]),
    ],
)  # fmt: skip
def test_a_stop_fills_at_its_trigger_where_the_price_passed_it_within_a_bar(
    rules: dict[str, Any], timeline: str, expected: list[tuple[int, float]]
) -> None:  # fmt: skip
    """Bars of a minute, if nothing else is said."""
    assert Desk({"stop_price": "trigger", **rules}).play(timeline).fills == expected


@pytest.mark.parametrize("rules", [{"price": "opposite"}, {"price": "mid"}, {"fill_model": "depth"}])
def test_triggers_are_no_quotes(rules: dict[str, Any]) -> None:
    """A trigger is compared with last prices: it says nothing about what was bid."""
    with pytest.raises(ValidationError, match="tapes of last prices"):
        PaperExecution(stop_price="trigger", **rules)


def test_exits_of_a_bracket_have_names_by_which_they_are_cancelled() -> None:
    """e.stop and e.target of e."""
    desk = Desk().play("0: 100 | 0: buy 5 stop_loss=95 take_profit=110 id=e | 1: 100")
    desk.play("2: cancel e.stop | 3: modify e.target limit=109")
    assert desk.story[4:] == ["2 cancelled -5 asked [stop]", "3 modified -5 limit=109.0 trigger=None [target]"]


def test_later_exits_of_an_entry_have_the_names_of_the_first() -> None:
    """The first stop fills before the entry does: the next is e.stop again, and is cancelled by that."""
    desk = Desk({"fill_model": "depth"})
    desk.play("0: 100 | 0: buy 7 stop_loss=95 id=e | 1: 99/100 x9/4 | 2: 94/94.5 x9/0 | 3: 99/100 x9/9 | 4: cancel e.stop")
    assert desk.story[-2:] == ["3 placed SL-M -3 [stop-2]", "4 cancelled -3 asked [stop-2]"]
