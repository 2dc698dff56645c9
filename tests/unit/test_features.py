"""Bars and indicators."""

from typing import Any

import pytest

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import Bar, Beat, Event, FeedGap, SessionClose
from alphapanda.services.feature_engine.models import Bars, Ema, FeatureRequest, Sma, ZScore, interval_s
from alphapanda.services.feature_engine.rules import EmaState, SmaState, ZScoreState
from alphapanda.services.feature_engine.service import InstrumentLane
from tests.builders import OPEN_NS, S, root, session_open, tick


def said(requests: list[FeatureRequest], *events: Event) -> list[Any]:
    lane = InstrumentLane(101, requests, 1)
    return [data for event in (session_open(), *events) if lane.taker(event) for _, data in lane.handle(event)]


def bars(requests: list[FeatureRequest], *events: Event) -> list[tuple[int, int, float, float, float, float, int, int]]:
    found = [one for one in said(requests, *events) if type(one) is Bar]
    return [
        (
            (one.start_ts_ns - OPEN_NS) // S,
            (one.end_ts_ns - OPEN_NS) // S,
            one.open,
            one.high,
            one.low,
            one.close,
            one.volume,
            one.ticks,
        )
        for one in found
    ]


def beat(number: int, at_s: float) -> Event:
    return root(number, Beat(), at_s)


def test_a_bar_holds_the_ticks_of_start_to_end_and_leaves_at_a_beat() -> None:
    """0.0 | 0.9 | beat 1 | 1.0 belongs to the next bar | beat 2."""
    events = (
        tick(3, 100.0, 0.0, last_quantity=3), tick(4, 101.0, 0.4, last_quantity=2), tick(5, 99.0, 0.9), beat(6, 1),
        tick(7, 98.0, 1.0, last_quantity=1), beat(8, 2), beat(9, 3),
    )  # fmt: skip
    expected = [(0, 1, 100.0, 101.0, 99.0, 99.0, 5, 3), (1, 2, 98.0, 98.0, 98.0, 98.0, 1, 1)]
    assert bars([Bars("1s")], *events) == expected


def test_ticks_alone_close_no_bar() -> None:
    """Without a beat or session event there is none."""
    assert bars([Bars("1s")], tick(3, 100.0, 0.0), tick(4, 100.0, 5.0)) == []


def test_the_last_bar_of_a_session_ends_with_it() -> None:
    """6 h 15 min in bars of an hour: the last has 15 minutes."""
    events = (tick(3, 100.0, 6.1 * 3600), root(4, SessionClose("2024-03-01"), 6.25 * 3600))
    assert bars([Bars("1h")], *events) == [(21_600, 22_500, 100.0, 100.0, 100.0, 100.0, 0, 1)]


def test_a_feed_gap_drops_the_bar_it_falls_into_to_its_end() -> None:
    """Minute 0 has a gap: its ticks before and after are in no bar; minute 1 is whole."""
    events = (
        tick(3, 100.0, 1), root(4, FeedGap("test"), 20), tick(5, 101.0, 30), beat(6, 60), tick(7, 102.0, 61), beat(8, 120),
    )  # fmt: skip
    assert [one[:2] for one in bars([Bars("1m")], *events)] == [(60, 120)]


def test_volume_is_the_rise_of_the_days_cumulative_figure_where_there_is_one() -> None:
    """1,000 | 1,400 | gap, so 1,900 counts nothing | 2,000."""
    events = (
        tick(3, 1.0, 0, volume=1000), tick(4, 1.0, 0.5, volume=1400), beat(5, 1), root(6, FeedGap("test"), 2),
        tick(7, 1.0, 2.5, volume=1900), tick(8, 1.0, 2.6, volume=2000), beat(9, 3),
    )  # fmt: skip
    assert [one[6] for one in bars([Bars("1s")], *events)] == [1400, 100]


def test_several_intervals_leave_shortest_first() -> None:
    """At 60 s the bar of 30 s comes before that of a minute."""
    events = (tick(3, 100.0, 31), beat(4, 60))
    assert [one[:2] for one in bars([Bars("1m"), Bars("30s")], *events)] == [(30, 60), (0, 60)]


def test_values_come_once_they_are_warm() -> None:
    """An average of two ticks, from the second on."""
    found = said([Sma(2)], tick(3, 100.0), tick(4, 102.0, 1), tick(5, 104.0, 2))
    assert [one.values for one in found] == [{"sma_2": 101.0}, {"sma_2": 103.0}]


def test_indicators_on_bars_take_closes() -> None:
    """Closes 100, 104, 102; no bars are sent where only a value was asked for."""
    events = [
        event for i, price in enumerate((100.0, 104.0, 102.0)) for event in (tick(3 + 2 * i, price, i), beat(4 + 2 * i, i + 1))
    ]
    assert [one.values for one in said([Sma(3, "1s")], *events)] == [{"sma_3": 102.0}]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (SmaState(3), [None, None, 2.0, 4.0]),
        (EmaState(3), [None, None, 2.25, 4.625]),
        (ZScoreState(3), [None, None, 1.224744871391589, 1.3887301496588271]),
    ],
)
def test_indicators_by_hand(state: Any, expected: list[float | None]) -> None:
    """Prices 1, 2, 3, 7; the EMA starts at the first price, the z-score has ddof 0."""
    assert [state.add(price) for price in (1.0, 2.0, 3.0, 7.0)] == pytest.approx(expected)


def test_a_z_score_of_equal_prices_is_zero() -> None:
    """Without deviation there is no distance."""
    state = ZScoreState(2)
    assert [state.add(5.0), state.add(5.0)] == [None, 0.0]


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("5m", 300), ("2h", 7200), ("1d", 86_400), ("", 0)])
def test_intervals(text: str, seconds: int) -> None:
    """A whole number and a unit; nothing for ticks."""
    assert interval_s(text) == seconds


def test_what_cannot_be_computed_is_refused() -> None:
    """Unknown units, windows of one, bars without interval, bars that no beat closes."""
    for make in (lambda: interval_s("5x"), lambda: Ema(1), lambda: Bars("").interval_s):
        with pytest.raises(ConfigurationError):
            make()
    with pytest.raises(ConfigurationError, match="multiple of 60"):
        InstrumentLane(101, [ZScore(5, "90s")], 60)
