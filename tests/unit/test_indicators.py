"""Streaming indicators: equal to TA-Lib, exact where TA-Lib rounds, by hand, and the same after a restart."""

import math
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

import alphapanda as ap
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import Beat, Event, FeatureSet, SessionClose, SessionOpen
from alphapanda.services.feature_engine.indicators import INDICATORS, state_of
from alphapanda.services.feature_engine.models import Indicator
from alphapanda.services.feature_engine.ranges import VwapState
from alphapanda.services.feature_engine.rules import TickBar
from alphapanda.services.feature_engine.service import InstrumentLane
from tests.builders import OPEN_NS, S, root, session_open, tick
from tests.data_folder import ROOT

Columns = dict[str, np.ndarray[Any, np.dtype[np.float64]]]
SIMPLE = talib.MA_Type.SMA
STEP = 0.25
"""Prices are multiples of it: their sums and squares are exact, and so TA-Lib's running sums are too."""


def walk(seed: int, bars: int = 1500, *, flat: bool = True) -> list[TickBar]:
    """A random walk of bars with jumps, stretches without any movement, and bars without volume."""
    rng = np.random.Generator(np.random.PCG64(seed))
    level, made = 2000, []
    for i in range(bars):
        still = flat and (i // 60) % 5 == 3
        level += 0 if still else int(rng.integers(-9, 10)) + (int(rng.integers(-300, 301)) if rng.random() < 0.02 else 0)
        level = max(level, 200)
        up, down = (0, 0) if still else (int(rng.integers(0, 8)), int(rng.integers(0, 8)))
        close = level + (0 if still else int(rng.integers(-down, up + 1)))
        volume = 0 if rng.random() < 0.1 else int(rng.integers(1, 5000))
        made.append(TickBar((level + up) * STEP, (level - down) * STEP, close * STEP, volume))
    return made


def ours(request: Indicator, bars: Sequence[TickBar]) -> list[list[float]]:
    """A column for each name, nan while warming up."""
    state = state_of(request)
    rows = [state.update(bar) for bar in bars]
    assert {type(value) for row in rows for value in row} <= {float, type(None)}
    return [[math.nan if value is None else value for value in column] for column in zip(*rows, strict=True)]


def columns(bars: Sequence[TickBar]) -> Columns:
    return {name: np.array([getattr(bar, name) for bar in bars], np.float64) for name in TickBar.__struct_fields__}


def first_price_ema(c: Columns, window: int) -> Any:
    """What starts at a price is what starts at the mean of a window full of it."""
    before = window - 1
    found = talib.EMA(np.concatenate([np.full(before, c["close"][0]), c["close"]]), window)[before:]
    found[:before] = math.nan
    return found


def adx(c: Columns, window: int) -> Any:
    hlc = c["high"], c["low"], c["close"]
    return talib.ADX(*hlc, window), talib.PLUS_DI(*hlc, window), talib.MINUS_DI(*hlc, window)


PAIRS: list[tuple[Indicator, Callable[[Columns], Any]]] = [
    (ap.Sma(20), lambda c: talib.SMA(c["close"], 20)),
    (ap.Ema(20, start="sma"), lambda c: talib.EMA(c["close"], 20)),
    (ap.Ema(20), lambda c: first_price_ema(c, 20)),
    (ap.Rsi(14), lambda c: talib.RSI(c["close"], 14)),
    (ap.Rsi(2), lambda c: talib.RSI(c["close"], 2)),
    (ap.Macd(), lambda c: talib.MACD(c["close"], 12, 26, 9)),
    (ap.Macd(3, 5, 2), lambda c: talib.MACD(c["close"], 3, 5, 2)),
    (ap.Atr(14), lambda c: talib.ATR(c["high"], c["low"], c["close"], 14)),
    (ap.Bollinger(16, 2.0), lambda c: talib.BBANDS(c["close"], 16, 2.0, 2.0)),
    (ap.Bollinger(4, 1.5), lambda c: talib.BBANDS(c["close"], 4, 1.5, 1.5)),
    (ap.Adx(14), lambda c: adx(c, 14)),
    (ap.Adx(3), lambda c: adx(c, 3)),
    (ap.Stochastic(14, 3, 3), lambda c: talib.STOCH(c["high"], c["low"], c["close"], 14, 3, SIMPLE, 3, SIMPLE)),
    (ap.Stochastic(5, 1, 4), lambda c: talib.STOCH(c["high"], c["low"], c["close"], 5, 1, SIMPLE, 4, SIMPLE)),
    (ap.Obv(), lambda c: talib.OBV(c["close"], c["volume"])),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("request_", "theirs"), PAIRS, ids=[one.names[0] for one, _ in PAIRS])
def test_every_value_is_ta_libs(request_: Indicator, theirs: Callable[[Columns], Any], seed: int) -> None:
    """Warm from the same bar on, and equal to 1e-9, through jumps and flat stretches."""
    bars = walk(seed)
    expected = theirs(columns(bars))
    expected = [expected] if isinstance(expected, np.ndarray) else list(expected)
    assert len(expected) == len(request_.names)
    for column, other in zip(ours(request_, bars), expected, strict=True):
        np.testing.assert_allclose(column, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("request_", "theirs"), PAIRS, ids=[one.names[0] for one, _ in PAIRS])
def test_so_is_every_value_on_ticks(request_: Indicator, theirs: Callable[[Columns], Any]) -> None:
    """A tick is a bar whose high, low and close are its price."""
    bars = [TickBar(bar.close, bar.close, bar.close, bar.volume) for bar in walk(7)]
    expected = theirs(columns(bars))
    expected = [expected] if isinstance(expected, np.ndarray) else list(expected)
    for column, other in zip(ours(request_, bars), expected, strict=True):
        np.testing.assert_allclose(column, other, rtol=1e-9, atol=1e-9)


def test_prices_that_never_moved_have_ta_libs_values() -> None:
    """RSI, stochastic and ADX of a flat line are 0, its bands are one line."""
    bars = [TickBar(100.0, 100.0, 100.0, 10)] * 60
    last = {name: column[-1] for one in (ap.Rsi(), ap.Stochastic(), ap.Adx(), ap.Atr(), ap.Bollinger(16), ap.Obv())
            for name, column in zip(one.names, ours(one, bars), strict=True)}  # fmt: skip
    assert last == {
        "rsi_14": 0.0, "stoch_k_14_3_3": 0.0, "stoch_d_14_3_3": 0.0, "adx_14": 0.0, "plus_di_14": 0.0, "minus_di_14": 0.0,
        "atr_14": 0.0, "bb_upper_16_2": 100.0, "bb_middle_16_2": 100.0, "bb_lower_16_2": 100.0, "obv": 10.0,
    }  # fmt: skip


def test_a_long_still_stretch_leaves_the_index_where_it_was() -> None:
    """Averages of moves decay together, so their ratio stays: 2.5 up and 1.5 down at its beginning."""
    bars = [TickBar(p, p, p, 1) for p in (100.0, 101.0, 100.5, 102.0, 101.0, *[101.0] * 500)]
    (mine,), theirs = ours(ap.Rsi(4), bars), talib.RSI(columns(bars)["close"], 4)
    np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)
    assert (mine[4], mine[-1]) == (62.5, pytest.approx(62.5))


def test_a_directional_index_stays_where_it_is_when_nothing_moves_any_more() -> None:
    """As in TA-Lib while the smoothed moves are normal floats; once they are 0 the index is still what it was."""
    prices = [100.0, 104.0, 103.0, 107.0, 105.0, 109.0, *[109.0] * 3000]
    bars = [TickBar(p, p, p, 1) for p in prices]
    found = ours(ap.Adx(2), bars)
    for mine, theirs in zip(found, adx(columns(bars), 2), strict=True):
        np.testing.assert_allclose(mine[:1000], theirs[:1000], rtol=1e-9, atol=1e-9)
    assert (found[0][-1] > 10, found[1][-1], found[2][-1]) == (True, 0.0, 0.0)


def test_bands_are_ta_libs_for_any_window_where_prices_move() -> None:
    """Where a window is all but flat TA-Lib's difference of squares rounds; ours is the exact one."""
    bars = walk(11)
    upper, middle, lower = talib.BBANDS(columns(bars)["close"], 20, 2.0, 2.0)
    mine = np.array(ours(ap.Bollinger(20), bars))
    moves = mine[0] - mine[1] > 0.5
    assert moves.sum() > 1000
    np.testing.assert_allclose(mine[:, moves], np.array([upper, middle, lower])[:, moves], rtol=1e-9, atol=1e-9)
    flat = mine[0] == mine[1]
    assert (flat.sum() > 50, bool(np.abs(upper - middle)[flat].max() < 1e-4)) == (True, True)


def test_a_million_prices_build_up_no_error() -> None:
    """Far from where it began a mean is still the mean of its window, to the last bit."""
    rng = np.random.Generator(np.random.PCG64(5))
    prices = [*(1e6 * rng.random(1_000_000)).tolist(), 0.1, 0.2, 0.3]
    sma, z, vwap = (state_of(one) for one in (ap.Sma(3), ap.ZScore(3), ap.Vwap()))
    for price in prices:
        found = sma.update(bar := TickBar(price, price, price, 7)), z.update(bar), vwap.update(bar)
    deviation = math.sqrt(math.fsum((p - 0.6 / 3) ** 2 for p in (0.1, 0.2, 0.3)) / 3)
    assert found[0] == (math.fsum((0.1, 0.2, 0.3)) / 3,)
    assert found[1][0] == pytest.approx((0.3 - 0.2) / deviation, rel=1e-12)
    assert found[2][0] == pytest.approx(math.fsum(prices) / len(prices), rel=1e-15)


def test_what_vwap_loses_in_rounding_it_keeps_beside_the_sum() -> None:
    """1e16, then a thousand times 1: a plain sum would not notice these."""
    state = VwapState()
    for price in (1e16, *[1.0] * 1000):
        (value,) = state.update(TickBar(price, price, price, 1))
    assert value == (10**16 + 1000) / 1001


BY_HAND: list[tuple[Indicator, list[TickBar], list[tuple[float | None, ...]]]] = [
    # closes 1, 2, 4, 3: the mean of the first three, then half the way to 3
    (ap.Ema(3, start="sma"), [TickBar(p, p, p, 1) for p in (1.0, 2.0, 4.0, 3.0)], [(None,), (None,), (7 / 3,), (8 / 3,)]),
    # gains 2, 0 and losses 0, 1: 2 of 3; then gains (1 + 3) / 2, losses (0.5 + 0) / 2: 2 of 2.25
    (ap.Rsi(2), [TickBar(p, p, p, 1) for p in (10.0, 12.0, 11.0, 14.0)], [(None,), (None,), (200 / 3,), (100 * 2 / 2.25,)]),
    # true ranges 2, then 4 for the gap from 9 to 13; then (3 * 1 + 1) / 2
    (ap.Atr(2),
     [TickBar(10.0, 8.0, 9.0, 1), TickBar(11.0, 9.0, 9.0, 1), TickBar(13.0, 12.0, 12.0, 1), TickBar(13.0, 12.0, 12.5, 1)],
     [(None,), (None,), (3.0,), (2.0,)]),
    # 2 and 4: mean 3, deviation 1
    (ap.Bollinger(2, 3), [TickBar(p, p, p, 1) for p in (2.0, 4.0)], [(None, None, None), (6.0, 3.0, 0.0)]),
    # 9 in the range 8 to 10: half; 11 in 9 to 11: all
    (ap.Stochastic(2, 1, 1), [TickBar(10.0, 9.0, 9.5, 1), TickBar(9.5, 8.0, 9.0, 1), TickBar(11.0, 9.0, 11.0, 1)],
     [(None, None), (50.0, 50.0), (100.0, 100.0)]),
    # up 5, down 3, unchanged 9
    (ap.Obv(), [TickBar(1.0, 1.0, 1.0, 2), TickBar(2.0, 2.0, 2.0, 5), TickBar(1.5, 1.5, 1.5, 3), TickBar(1.5, 1.5, 1.5, 9)],
     [(2.0,), (7.0,), (4.0,), (4.0,)]),
    # nothing traded; typical price 10 for 3; 14 for 1
    (ap.Vwap(), [TickBar(9.0, 9.0, 9.0, 0), TickBar(12.0, 8.0, 10.0, 3), TickBar(14.0, 14.0, 14.0, 1)],
     [(None,), (10.0,), (11.0,)]),
    # moves up 1 and 2: at the second the sums are 0.5 + 2 = 2.5 of ranges 1 * 0.5 + 2.5 (from the close at 10.5 to 13)
    (ap.Adx(2), [TickBar(10.0, 9.0, 10.0, 1), TickBar(11.0, 10.0, 10.5, 1), TickBar(13.0, 12.0, 12.5, 1)],
     [(None, None, None), (None, None, None), (None, 100 * 2.5 / 3, 0.0)]),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "bars", "expected"), BY_HAND, ids=[one.names[0] for one, _, _ in BY_HAND])
def test_small_cases_by_hand(request_: Indicator, bars: list[TickBar], expected: list[tuple[float | None, ...]]) -> None:
    """Worked out on paper."""
    state = state_of(request_)
    found = [state.update(bar) for bar in bars]
    assert [[value is None for value in row] for row in found] == [[value is None for value in row] for row in expected]
    assert numbers(found) == pytest.approx(numbers(expected), rel=1e-14)


def numbers(rows: list[tuple[float | None, ...]]) -> list[float]:
    return [value for row in rows for value in row if value is not None]


def test_macd_starts_both_means_at_one_price() -> None:
    """2 and 3 bars: fast starts at the mean of bars 2 and 3, slow at that of bars 1 to 3, the signal at two lines."""
    state = state_of(ap.Macd(2, 3, 2))
    found = [state.update(TickBar(p, p, p, 1)) for p in (1.0, 2.0, 6.0, 9.0)]
    fast, slow = 4 + 2 / 3 * 5, 3 + 0.5 * 6
    signal = ((4 - 3) + (fast - slow)) / 2
    assert found[:3] == [(None, None, None)] * 3
    assert found[3] == pytest.approx((fast - slow, signal, fast - slow - signal))


PAGE: dict[Indicator, list[int]] = {
    ap.Sma(20): [20], ap.Ema(20): [20], ap.Ema(20, start="sma"): [20], ap.ZScore(20): [20], ap.Bollinger(): [20] * 3,
    ap.Macd(): [34] * 3, ap.Rsi(): [15], ap.Atr(): [15], ap.Adx(): [28, 15, 15], ap.Stochastic(): [18] * 2, ap.Obv(): [1],
    ap.Vwap(): [1],
}  # fmt: skip
ALL: list[Indicator] = [
    ap.Sma(3), ap.Ema(3), ap.Ema(3, start="sma"), ap.ZScore(3), ap.Rsi(3), ap.Macd(2, 4, 3), ap.Bollinger(3), ap.Atr(3),
    ap.Adx(3), ap.Stochastic(3, 2, 2), ap.Obv(), ap.Vwap(),
]  # fmt: skip


def test_no_indicator_is_left_out_here() -> None:
    """What is added to the table is to be restored in the test below."""
    assert {type(one) for one in ALL} == set(INDICATORS)


def test_the_page_lists_every_value_and_when_it_comes() -> None:
    """Names in order of the states' values, and the bar at which each is there, as docs/indicators.md says."""
    page = (ROOT / "docs/indicators.md").read_text(encoding="utf-8")
    bars = walk(1, 60, flat=False)
    for asked, warm in PAGE.items():
        assert ", ".join(f"`{name}`" for name in asked.names) in page
        first = [1 + next(i for i, value in enumerate(column) if not math.isnan(value)) for column in ours(asked, bars)]
        assert (asked.names, first) == (asked.names, warm)
    assert {type(one) for one in PAGE} == set(INDICATORS)


@settings(max_examples=60, deadline=None)
@given(
    prices=st.lists(st.tuples(st.integers(1, 2000), st.integers(0, 40), st.integers(0, 40), st.integers(0, 900)), max_size=40),
    data=st.data(),
)
def test_a_restart_anywhere_changes_no_later_value(prices: list[tuple[int, int, int, int]], data: st.DataObject) -> None:
    """Kept after any bar, as services keep it, and gone on with: the same values to the last bit."""
    bars = [TickBar((p + up) * 0.05, (p - down) * 0.05, p * 0.05, volume) for p, up, down, volume in prices]
    at = data.draw(st.integers(0, len(bars)))
    for request_ in ALL:
        whole = state_of(request_)
        expected = [whole.update(bar) for bar in bars]
        first = state_of(request_)
        found = [first.update(bar) for bar in bars[:at]]
        kept = pickle.dumps(first)
        for bar in bars[at:]:
            first.update(bar)  # what was kept hears nothing of this
        again = pickle.loads(kept)  # noqa: S301  # written above
        assert [*found, *(again.update(bar) for bar in bars[at:])] == expected


# ---- in the room


def values(requests: Sequence[Any], *events: Event) -> list[dict[str, float]]:
    lane = InstrumentLane(101, requests, 1)
    made = [data for event in (session_open(), *events) if lane.taker(event) for _, data in lane.handle(event)]
    return [one.values for one in made if type(one) is FeatureSet]


def test_values_stand_in_the_order_of_their_names() -> None:
    """Also where those of one indicator lie between those of another: the bytes do not depend on who asked first."""
    asked = [ap.Stochastic(2, 1, 1), ap.Adx(2), ap.Sma(2), ap.Rsi(2), ap.Macd(2, 3, 2)]
    events = [tick(3 + i, 100.0 + i * i % 7, i) for i in range(9)]
    found = values(asked, *events)
    assert all(list(one) == sorted(one) for one in found)
    assert found == values(asked[::-1], *events)
    assert sorted(found[-1]) == sorted(name for one in asked for name in one.names)


def test_an_indicator_gives_each_value_once_it_is_warm() -> None:
    """The directional indicators of two bars come before their index."""
    found = values([ap.Adx(2)], *(tick(3 + i, 100.0 + i, i) for i in range(4)))
    assert [list(one) for one in found] == [["minus_di_2", "plus_di_2"], ["adx_2", "minus_di_2", "plus_di_2"]]


def test_vwap_of_ticks_is_of_last_prices_and_starts_over_with_the_session() -> None:
    """100 for 10 and 103 for 20 of the cumulative volume; the next day begins at 90."""
    day_ns = 86_400 * S
    next_open = root(7, SessionOpen("2024-03-04", OPEN_NS + 3 * day_ns, OPEN_NS + 3 * day_ns + 3600 * S), 3 * 86_400)
    found = values(
        [ap.Vwap(), ap.Obv()], tick(3, 100.0, 1, volume=10), tick(4, 103.0, 2, volume=30), tick(5, 50.0, 3, volume=30),
        root(6, SessionClose("2024-03-01"), 3600), next_open, tick(8, 90.0, 3 * 86_400 + 1, volume=4),
    )  # fmt: skip
    assert [(one["vwap"], one["obv"]) for one in found] == [(100.0, 10.0), (102.0, 30.0), (102.0, 30.0), (90.0, 34.0)]


def test_indicators_on_bars_see_high_low_and_volume() -> None:
    """A bar 99 to 105 that closes at 102 with 30: typical price 102; then one at 110 with 10."""
    events = [
        tick(3, 99.0, 0.1, last_quantity=10), tick(4, 105.0, 0.2, last_quantity=10), tick(5, 102.0, 0.3, last_quantity=10),
        root(6, Beat(), 1), tick(7, 110.0, 1.5, last_quantity=10), root(8, Beat(), 2),
    ]  # fmt: skip
    found = values([ap.Vwap("1s"), ap.Atr(2, "1s"), ap.Stochastic(2, 1, 1, "1s")], *events)
    assert found == [{"vwap": 102.0}, {"stoch_d_2_1_1": 100.0, "stoch_k_2_1_1": 100.0, "vwap": 104.0}]


def test_names_are_whole_and_different() -> None:
    """A fraction is part of a name; near figures have different ones."""
    assert ap.Bollinger(20, 2.5).names == ("bb_upper_20_2p5", "bb_middle_20_2p5", "bb_lower_20_2p5")
    assert (ap.Ema(9).names, ap.Ema(9, start="sma").names) == (("ema_9",), ("ema_sma_9",))
    assert ap.Bollinger(20, 2).names == ap.Bollinger(20, 2.0).names != ap.Bollinger(20, 2.0000001).names


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ap.Macd(26, 12), "slow of at least 27, not 12"),
        (lambda: ap.Bollinger(20, 0), "deviations above 0"),
        (lambda: ap.Stochastic(0), "window of at least 1"),
        (lambda: ap.Rsi(1), "window of at least 2"),
        (lambda: ap.Ema(5, start="middle"), "not 'middle'"),  # type: ignore[arg-type]
        (lambda: state_of(type("Mine", (ap.Sma,), {})(3)), "Mine is not known: there are Sma"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], Any], message: str) -> None:
    """With what would."""
    with pytest.raises(ConfigurationError, match=message):
        make()
