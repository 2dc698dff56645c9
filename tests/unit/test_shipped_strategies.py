"""Strategies that come with AlphaPanda, replayed over small made tapes whose fills are worked out by hand."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.profiles import load_profile
from alphapanda.runtime.tape_make import make_tape
from strategies.opening_range_breakout import OpeningRangeBreakout
from strategies.short_straddle import ShortStraddle

MIDNIGHT_NS = 1_709_231_400_000_000_000  # 2024-03-01 00:00 IST, a Friday; the next session is on the 4th
SETTINGS = {"charges.profile": "none", "risk.max_quote_age_s": "none"}
Row = tuple[str, int, float]
"""Local time, instrument token, last price."""


def at_ns(text: str) -> int:
    """`09:15:30`, or a day before it: `3+09:15:30`."""
    day, _, clock = text.rpartition("+")
    hours, minutes, seconds = map(float, clock.split(":"))
    return MIDNIGHT_NS + round(((int(day or 0) * 24 + hours) * 3600 + minutes * 60 + seconds) * 1000) * 1_000_000


def tape(path: Path, instruments: list[Instrument], rows: Iterable[Row]) -> Path:
    frame = pl.DataFrame(
        [(at_ns(when), token, price, 100) for when, token, price in rows],
        schema=["ts_ns", "instrument_token", "last_price", "last_quantity"], orient="row",
    )  # fmt: skip
    with TapeWriter(
        path, profile=load_profile("nse"), instruments=instruments, columns=frame.columns, source="test", beat_interval_s=60
    ) as writer:
        writer.rows(frame)
        writer.close()
    return path


def fills(run: Any) -> list[tuple[str, int, float]]:
    """(symbol, signed quantity, price) of each fill, in order."""
    return run.fills.select("symbol", "quantity", "price").rows()


def ends(run: Any) -> list[tuple[str, int]]:
    """(reason, what was left) of each order that ended unfilled, in order."""
    return run.topic("orders.cancelled").select("reason", "quantity").rows()


# ---- opening range

AAA = [Instrument(1, "AAA")]
RANGE: list[Row] = [("09:15:10", 1, 100.0), ("09:20:00", 1, 105.0), ("09:25:00", 1, 95.0), ("09:29:50", 1, 101.0)]


def breakout(folder: Path, rows: list[Row], **params: Any) -> Any:
    return ap.replay(tape(folder / "t", AAA, rows), [OpeningRangeBreakout(quantity=10, **params)], settings=SETTINGS, out=folder)


def test_a_breakout_upwards_is_bought_and_closed_before_the_close(tmp_path: Path) -> None:
    """Range 95 to 105; 105 is no breakout, 105.20 is; out at the first tick after 15:10. The short entry goes, then the stop."""
    rows = [*RANGE, ("10:00:00", 1, 105.0), ("10:01:00", 1, 105.2), ("15:09:30", 1, 110.0), ("15:10:30", 1, 111.0)]
    run = breakout(tmp_path, rows)
    assert fills(run) == [("AAA", 10, 105.2), ("AAA", -10, 111.0)]
    assert ends(run) == [("oco", -10), ("oco", -10)]


def test_a_breakout_downwards_is_stopped_at_the_other_side(tmp_path: Path) -> None:
    """Sold at 94.90, below 94.95; bought back at 105.50, at or above 105; nothing is left to do at 15:10."""
    rows = [
        *RANGE,
        ("10:00:00", 1, 94.9),
        ("11:00:00", 1, 104.95),
        ("11:01:00", 1, 105.5),
        ("15:09:30", 1, 90.0),
        ("15:11:00", 1, 90.0),
    ]
    run = breakout(tmp_path, rows)
    assert fills(run) == [("AAA", -10, 94.9), ("AAA", 10, 105.5)]
    assert ends(run) == [("oco", 10)]


def test_without_a_breakout_both_entries_are_cancelled(tmp_path: Path) -> None:
    """At 15:10; a price outside the range after that does nothing."""
    run = breakout(tmp_path, [*RANGE, ("12:00:00", 1, 105.0), ("15:09:30", 1, 95.0), ("15:11:00", 1, 120.0)])
    assert fills(run) == []
    assert ends(run) == [("asked", 10), ("asked", -10)]


def test_a_day_without_its_first_bar_is_not_traded(tmp_path: Path) -> None:
    """The first bar of 15 minutes starts at 09:30: that is no opening range."""
    run = breakout(tmp_path, [("09:31:00", 1, 100.0), ("10:00:00", 1, 120.0), ("15:20:00", 1, 90.0)])
    assert run.signals.height == 0


def test_every_day_has_its_own_range(tmp_path: Path) -> None:
    """The second day's is 200 to 201: bought at 202, closed at 203."""
    second: list[Row] = [
        ("3+09:15:10", 1, 200.0), ("3+09:16:00", 1, 201.0), ("3+09:40:00", 1, 202.0), ("3+15:09:30", 1, 204.0),
        ("3+15:12:00", 1, 203.0),
    ]  # fmt: skip
    rows = [*RANGE, ("10:01:00", 1, 105.2), ("15:09:30", 1, 110.0), ("15:10:30", 1, 111.0), *second]
    run = breakout(tmp_path, rows)
    assert fills(run) == [("AAA", 10, 105.2), ("AAA", -10, 111.0), ("AAA", 10, 202.0), ("AAA", -10, 203.0)]


def test_an_exit_that_was_not_filled_in_time_is_left_to_the_brokers_square_off(tmp_path: Path) -> None:
    """It leaves at 15:30 only, after MIS was squared off at 15:20: what it holds is none by then, and it says nothing."""
    rows = [
        *RANGE,
        ("10:01:00", 1, 105.2),
        ("15:19:30", 1, 110.0),
        ("15:21:00", 1, 112.0),
        ("15:29:00", 1, 113.0),
        ("15:29:59", 1, 114.0),
    ]
    run = breakout(tmp_path, rows, leaves="15:29")
    assert fills(run) == [("AAA", 10, 105.2), ("AAA", -10, 112.0)]


def test_what_nobody_traded_any_more_is_closed_the_next_day(tmp_path: Path) -> None:
    """No tick after 10:01: neither exit nor square-off filled. The next day has a breakout, and is not traded."""
    second: list[Row] = [
        ("3+09:15:10", 1, 200.0), ("3+09:40:00", 1, 202.0), ("3+15:09:30", 1, 204.0), ("3+15:12:00", 1, 203.0)
    ]  # fmt: skip
    run = breakout(tmp_path, [*RANGE, ("10:01:00", 1, 105.2), *second])
    assert fills(run) == [("AAA", 10, 105.2), ("AAA", -10, 203.0)]


def test_an_exit_is_sent_once(tmp_path: Path) -> None:
    """Its fill, a tenth of a second before the next minute bar, is heard later than that bar."""
    rows = [*RANGE, ("10:01:00", 1, 105.2), ("15:09:30", 1, 110.0), ("15:10:59.9", 1, 111.0), ("15:12:30", 1, 112.0)]
    run = breakout(tmp_path, rows)
    assert (fills(run), run.signals.height) == ([("AAA", 10, 105.2), ("AAA", -10, 111.0)], 3)


def test_an_exit_that_was_refused_is_asked_for_again(tmp_path: Path) -> None:
    """At 15:10 the last quote is 40 s old, at 15:11 5 s."""
    rows = [*RANGE, ("10:01:00", 1, 105.2), ("15:09:20", 1, 110.0), ("15:10:55", 1, 111.0), ("15:11:30", 1, 112.0)]
    settings = {**SETTINGS, "risk.max_quote_age_s": 30}
    run = ap.replay(tape(tmp_path / "t", AAA, rows), [OpeningRangeBreakout(quantity=10)], settings=settings, out=tmp_path)
    assert run.rejections.select("quantity", "reason").rows() == [(-10, "stale_quote")]
    assert fills(run) == [("AAA", 10, 105.2), ("AAA", -10, 112.0)]


def test_an_entry_that_was_refused_is_not_waited_for(tmp_path: Path) -> None:
    """With room for 5 neither entry is placed: nothing is cancelled at 15:10."""
    rows = [*RANGE, ("10:01:00", 1, 105.2), ("15:09:50", 1, 110.0), ("15:11:30", 1, 112.0)]
    settings = {**SETTINGS, "risk.max_position": 5}
    run = ap.replay(tape(tmp_path / "t", AAA, rows), [OpeningRangeBreakout(quantity=10)], settings=settings, out=tmp_path)
    assert (run.signals.height, run.rejections["reason"].to_list()) == (2, ["position", "position"])


def test_over_days_of_many_instruments_every_day_ends_flat(tmp_path: Path) -> None:
    """With latency and slippage: at most one entry and one exit for each instrument and day, and nothing held after them."""
    make_tape(tmp_path / "t", days=(date(2024, 3, 1), date(2024, 3, 4), date(2024, 3, 5)), ticks=6_000, instruments=6)
    settings = {"execution.latency_ms": 40, "execution.slippage_ticks": 1}
    run = ap.replay(tmp_path / "t", [OpeningRangeBreakout()], settings=settings, out=tmp_path)
    again = ap.replay(tmp_path / "t", [OpeningRangeBreakout()], settings=settings, out=tmp_path)
    days = run.fills.group_by("symbol", pl.col("ts").dt.date()).agg(pl.col("quantity").sum(), pl.len())
    assert (set(days["quantity"]), set(days["len"])) == ({0}, {2})
    assert days.height > 9
    assert run.manifest["digests"] == again.manifest["digests"]


@pytest.mark.parametrize(
    ("params", "message"), [({"opens": "9.15"}, "no time of day"), ({"leaves": "09:30"}, "ends after 09:30")]
)
def test_times_that_make_no_sense_are_refused(tmp_path: Path, params: dict[str, str], message: str) -> None:
    """Before the first event."""
    with pytest.raises(ConfigurationError, match=message):
        breakout(tmp_path, RANGE, **params)


# ---- straddle


def option(token: int, strike: float, kind: str, expiry: str = "2024-03-07", underlying: str = "NIFTY") -> Instrument:
    return Instrument(
        token, f"{underlying}{expiry}{strike:g}{kind}", segment="NFO-OPT", lot_size=50, expiry=expiry, underlying=underlying,
        strike=strike, option_type=kind,
    )  # fmt: skip


C100, P100, C101, P101 = (
    option(11, 22100.0, "CE"),
    option(12, 22100.0, "PE"),
    option(13, 22200.0, "CE"),
    option(14, 22200.0, "PE"),
)
LATER = [option(21, 22100.0, "CE", "2024-03-14"), option(22, 22100.0, "PE", "2024-03-14")]
OTHER = [option(31, 47000.0, "CE", underlying="BANKNIFTY"), option(32, 47000.0, "PE", underlying="BANKNIFTY")]
OPTIONS = [C100, P100, C101, P101, *LATER, *OTHER]
MORNING: list[Row] = [  # 160 and 130 are nearer than 110 and 190; the next expiry and BANKNIFTY are nearer still
    ("09:16:00", 11, 160.0), ("09:16:01", 12, 130.0), ("09:16:02", 13, 110.0), ("09:16:03", 14, 190.0),
    ("09:16:04", 21, 200.0), ("09:16:05", 22, 200.0), ("09:16:06", 31, 500.0), ("09:16:07", 32, 500.0),
]  # fmt: skip
ENTRY: list[Row] = [*MORNING, ("09:20:00", 31, 501.0), ("09:20:01", 11, 158.0), ("09:20:02", 12, 131.0)]


def straddle(folder: Path, rows: list[Row], instruments: list[Instrument] = OPTIONS, **params: Any) -> Any:
    return ap.replay(tape(folder / "t", instruments, rows), [ShortStraddle(**params)], settings=SETTINGS, out=folder)


def test_both_legs_at_the_money_are_sold_and_bought_back_before_the_close(tmp_path: Path) -> None:
    """Decided at 09:20:00 on 160 and 130, filled at each leg's next tick; closed at each leg's next tick after 15:10."""
    rows = [*ENTRY, ("15:09:59", 11, 120.0), ("15:10:00", 13, 90.0), ("15:10:05", 11, 119.0), ("15:10:06", 12, 99.0)]
    run = straddle(tmp_path, rows)
    expected = [(C100.symbol, -50, 158.0), (P100.symbol, -50, 131.0), (C100.symbol, 50, 119.0), (P100.symbol, 50, 99.0)]
    assert fills(run) == expected
    assert ends(run) == [("oco", 50), ("oco", 50)]


def test_each_leg_is_stopped_on_its_own(tmp_path: Path) -> None:
    """The call's stop is 25 % above 160: 200. 199.95 is none; 201 is. The put is bought back at 15:10, and only that."""
    rows = [
        *ENTRY,
        ("11:00:00", 11, 199.95),
        ("11:00:01", 11, 201.0),
        ("15:10:00", 11, 300.0),
        ("15:10:05", 11, 301.0),
        ("15:10:06", 12, 60.0),
    ]
    run = straddle(tmp_path, rows, lots=2)
    expected = [(C100.symbol, -100, 158.0), (P100.symbol, -100, 131.0), (C100.symbol, 100, 201.0), (P100.symbol, 100, 60.0)]
    assert fills(run) == expected


def test_the_stop_is_rounded_up_to_a_tick(tmp_path: Path) -> None:
    """7.77 % above 160 and 130: 172.432 and 140.101 become 172.45 and 140.15."""
    run = straddle(tmp_path, ENTRY, stop_pct=7.77)
    orders = run.topic("orders.placed").filter(pl.col("order_type") == "SL-M")
    assert orders["trigger_price"].to_list() == [172.45, 140.15]


def test_what_was_squared_off_is_not_bought_again(tmp_path: Path) -> None:
    """It would leave at 15:25; the broker closed both legs after 15:20."""
    rows = [
        *ENTRY,
        ("15:21:00", 11, 100.0),
        ("15:21:01", 12, 100.0),
        ("15:25:00", 11, 90.0),
        ("15:25:01", 12, 90.0),
        ("15:26:00", 11, 80.0),
    ]
    run = straddle(tmp_path, rows, leaves="15:25")
    assert [price for _, _, price in fills(run)] == [158.0, 131.0, 100.0, 100.0]


def test_a_chosen_expiry_is_kept_to(tmp_path: Path) -> None:
    """The straddle of the 14th is sold, though there is one of the 7th."""
    rows: list[Row] = [*MORNING, ("09:20:00", 21, 201.0), ("09:20:01", 21, 202.0), ("09:20:02", 22, 203.0)]
    assert [symbol for symbol, _, _ in fills(straddle(tmp_path, rows, expiry="2024-03-14"))] == [one.symbol for one in LATER]


def test_an_expiry_that_has_passed_is_not_sold(tmp_path: Path) -> None:
    """Options of yesterday, with ticks today."""
    old = [option(41, 22100.0, "CE", "2024-02-29"), option(42, 22100.0, "PE", "2024-02-29")]
    run = straddle(tmp_path, [("09:16:00", 41, 1.0), ("09:16:01", 42, 1.0), ("09:20:00", 41, 1.0)], old)
    assert run.signals.height == 0


def test_each_day_has_its_own_straddle_at_its_own_money(tmp_path: Path) -> None:
    """On the second day 22200 alone has premiums, 40 apart; the first day's, 30 apart, are forgotten."""
    second: list[Row] = [
        ("3+09:16:00", 13, 120.0), ("3+09:16:01", 14, 160.0), ("3+09:20:00", 13, 121.0), ("3+09:20:01", 13, 122.0),
        ("3+09:20:02", 14, 124.0), ("3+09:20:03", 11, 170.0),
    ]  # fmt: skip
    run = straddle(tmp_path, [*ENTRY, ("15:10:00", 11, 150.0), ("15:10:01", 11, 149.0), ("15:10:02", 12, 129.0), *second])
    assert fills(run)[2:] == [
        (C100.symbol, 50, 149.0), (P100.symbol, 50, 129.0), (C101.symbol, -50, 122.0), (P101.symbol, -50, 124.0),
    ]  # fmt: skip


def test_nothing_is_sold_after_the_time_to_leave(tmp_path: Path) -> None:
    """A day whose first ticks come at 15:10."""
    rows = [(f"15:1{when[4:]}", token, price) for when, token, price in MORNING]
    assert straddle(tmp_path, [*rows, ("15:20:00", 11, 1.0)]).signals.height == 0


def test_what_nobody_could_buy_back_is_bought_back_the_next_day(tmp_path: Path) -> None:
    """Without a tick after 15:10 neither the exit nor the square-off filled; a leg is a leg until its fill is heard."""
    second: list[Row] = [("3+15:10:00", 31, 500.0), ("3+15:10:01", 11, 150.0), ("3+15:10:02", 12, 140.0)]
    run = straddle(tmp_path, [*ENTRY, ("10:00:00", 11, 159.0), *second])
    assert fills(run)[2:] == [(C100.symbol, 50, 150.0), (P100.symbol, 50, 140.0)]


def test_a_straddle_without_options_says_what_there_is(tmp_path: Path) -> None:
    """Of another underlying, or of another expiry."""
    with pytest.raises(ConfigurationError, match="no calls and puts of FINNIFTY"):
        straddle(tmp_path, ENTRY, underlying="FINNIFTY")
    with pytest.raises(ConfigurationError, match="expiries are 2024-03-07, 2024-03-14"):
        straddle(tmp_path / "other", ENTRY, expiry="2024-03-21")
