"""Statistics by hand."""

import math
from collections.abc import Callable
from itertools import pairwise

import empyrical
import numpy as np
import polars as pl
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.core.ledger import E8
from alphapanda.research import activity as a
from alphapanda.research import performance as p
from alphapanda.research import ratios as r
from alphapanda.research import relative
from alphapanda.research.monthly import MONTHS, monthly_table
from alphapanda.research.round_trips import round_trips

unhurried = settings(deadline=None)  # a shared machine may be busy

DAILY = [0.01, -0.005, 0.002, 0.0, -0.01] * 5


def test_sharpe_and_sortino_by_hand() -> None:
    """Mean -0.0006 a session; deviations with ddof 1 over 25 returns."""
    mean = sum(DAILY) / 25
    deviation = math.sqrt(sum((r - mean) ** 2 for r in DAILY) / 24)
    downside = math.sqrt(sum(min(r, 0) ** 2 for r in DAILY) / 24)
    expected = (mean / deviation * math.sqrt(252), mean / downside * math.sqrt(252))
    assert (p.sharpe(DAILY), p.sortino(DAILY)) == pytest.approx(expected)


def test_ratios_need_twenty_sessions() -> None:
    """Nineteen give none."""
    assert (p.sharpe(DAILY[:19]), p.sortino(DAILY[:19]), p.calmar(100, [100.0] * 19)) == (None, None, None)


def test_what_has_no_deviation_has_no_ratio() -> None:
    """Never a division by zero."""
    flat = [0.0] * 30
    assert (p.sharpe(flat), p.sortino(flat), p.profit_factor([1.0]), p.win_rate([])) == (None, None, None, None)


def test_drawdown_and_its_length() -> None:
    """100, 120, 90, 110, 120, 130: a quarter, three observations, 30 s from peak to the same height."""
    equity = [100, 120, 90, 110, 120, 130]
    times = [i * 10 * 10**9 for i in range(6)]
    assert (p.max_drawdown(equity), p.longest_drawdown(equity), p.longest_drawdown_s(times, equity)) == (-0.25, 2, 30.0)


def test_calmar_by_hand() -> None:
    """21 sessions from 100 to 110 with a fall of a tenth on the way."""
    equity = [100.0] * 10 + [90.0] + [110.0] * 10
    expected = ((110 / 100) ** (252 / 21) - 1) / 0.1
    assert p.calmar(100, equity) == pytest.approx(expected)


def test_profit_factor_and_win_rate() -> None:
    """Gains 30 and 10, losses 20: 2.0, and two of three."""
    assert (p.profit_factor([30, -20, 10]), p.win_rate([30, -20, 10])) == (2.0, pytest.approx(2 / 3))


@pytest.mark.parametrize(
    ("buy_value", "sell_value", "quantity", "last", "multiplier", "pnl"),
    [
        (92_559, 93_360, 0, 23_355, 1, 801),
        (23_388, 93_360, -3, 23_355, 1, -93),
        (161_050, 0, 1, 161.05, 1000, 0),
        (311, 309, 0, 308.4, 1, -2),
    ],
)
def test_kite_positions(buy_value: float, sell_value: float, quantity: int, last: float, multiplier: float, pnl: float) -> None:
    """Four positions of Kite's samples (kiteconnect-mocks, positions): pnl = value + quantity * last * multiplier."""
    assert p.position_pnl(buy_value, sell_value, quantity, last, multiplier) == pytest.approx(pnl)


def fills(*rows: tuple[int, float]) -> pl.DataFrame:
    none = dict.fromkeys(("brokerage_e8", "stt_e8", "exchange_e8", "sebi_e8", "stamp_e8", "gst_e8"), 0)
    return pl.DataFrame(
        [
            {"exec_mode": "paper", "strategy_id": "s", "instrument_token": 1, "ts": i, "quantity": quantity, "price": price,
             "charges": none | {"brokerage_e8": 9}}
            for i, (quantity, price) in enumerate(rows)
        ]
    ).with_columns(pl.col("ts").cast(pl.Datetime("ns", "UTC")))  # fmt: skip


def test_a_reversal_ends_one_round_trip_and_begins_the_next() -> None:
    """Long 10 at 100, sell 15 at 110, buy 5 at 105: +100 and +25, the charges of the reversal shared 6 to 3."""
    trips = round_trips(fills((10, 100.0), (-15, 110.0), (5, 105.0)), {1: E8})
    found = trips.select("side", "quantity", "gross_e8", "charges_e8").rows()
    assert found == [("long", 10, 100 * E8, 15), ("short", 5, 25 * E8, 12)]


@unhurried
@given(st.lists(st.tuples(st.integers(-9, 9).filter(bool), st.integers(1, 10_000)), min_size=1, max_size=30))
def test_round_trips_realise_what_the_cash_says(rows: list[tuple[int, int]]) -> None:
    """Once flat, the trips' profits add up to the cash that came of all fills."""
    held = sum(quantity for quantity, _ in rows)
    closed = [*rows, (-held, 77)] if held else rows
    trips = round_trips(fills(*((quantity, price / 100) for quantity, price in closed)), {1: E8})
    cash = -sum(quantity * price * E8 // 100 for quantity, price in closed)
    assert (trips["gross_e8"].sum(), trips["charges_e8"].sum()) == (cash, 9 * len(closed))


def test_returns_are_simple() -> None:
    """110 after 100 is a tenth."""
    assert np.allclose(p.returns([100, 110, 99]), [0.1, -0.1])


# Against empyrical-reloaded

SERIES = st.integers(20, 300).flatmap(
    lambda n: st.tuples(st.just(n), st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 0.01, 0.1]), st.floats(-0.01, 0.01))
)


def random_returns(n: int, seed: int, spread: float, mean: float) -> np.ndarray:
    """With fat tails, and none at or under -1."""
    return np.maximum(mean + spread * np.random.default_rng(seed).standard_t(4, n), -0.9)


def same(ours: float | None, theirs: float) -> None:
    """Where they have a number, so have we; where they have none, None."""
    if math.isfinite(theirs):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    else:
        assert ours is None


@unhurried
@given(SERIES)
def test_ratios_equal_empyricals(given_: tuple[int, int, float, float]) -> None:
    """On any series of twenty returns or more."""
    daily = random_returns(*given_)
    equity = np.cumprod([1.0, *(1 + daily)])
    same(r.annual_return(daily), empyrical.annual_return(daily))
    same(p.cagr(1.0, equity[-1], len(daily)), empyrical.cagr(daily))
    same(r.volatility(daily), empyrical.annual_volatility(daily))
    same(p.sharpe(daily), empyrical.sharpe_ratio(daily))
    same(p.sortino(daily) if r.downside_deviation(daily) else None, sortino_of(daily))
    same(r.omega(daily), empyrical.omega_ratio(daily))
    same(r.tail_ratio(daily), empyrical.tail_ratio(daily))
    same(r.value_at_risk(daily), empyrical.value_at_risk(daily))
    same(r.conditional_value_at_risk(daily), empyrical.conditional_value_at_risk(daily))
    same(r.stability(daily), empyrical.stability_of_timeseries(daily))
    same(p.max_drawdown(equity), empyrical.max_drawdown(daily))
    same(p.calmar(1.0, equity[1:]), empyrical.calmar_ratio(daily))


def sortino_of(daily: np.ndarray) -> float:
    """As in empyrical, with our ddof: its downside risk divides by n."""
    found = empyrical.sortino_ratio(daily) * math.sqrt((len(daily) - 1) / len(daily))
    return float(found)


@unhurried
@given(SERIES)
def test_downside_deviation_differs_from_empyricals_by_its_ddof_alone(given_: tuple[int, int, float, float]) -> None:
    """Equal with ddof 0; with ours larger by sqrt(n / (n - 1))."""
    daily = random_returns(*given_)
    theirs = empyrical.downside_risk(daily)
    same(r.downside_deviation(daily, ddof=0), theirs)
    same(r.downside_deviation(daily), theirs * math.sqrt(len(daily) / (len(daily) - 1)))
    same(p.sortino(daily, ddof=0), empyrical.sortino_ratio(daily))


@unhurried
@given(SERIES, st.integers(0, 2**32 - 1))
def test_figures_against_a_benchmark_equal_empyricals(given_: tuple[int, int, float, float], seed: int) -> None:
    """Its information ratio is a session's; ours is annual."""
    daily = random_returns(*given_)
    other = random_returns(given_[0], seed, 0.01, 0.0005) + 0.3 * daily
    same(relative.beta(daily, other), empyrical.beta(daily, other))
    same(relative.alpha(daily, other), empyrical.alpha(daily, other))
    same(relative.information_ratio(daily, other), empyrical.excess_sharpe(daily, other) * math.sqrt(252))
    same(relative.tracking_error(daily, other), empyrical.annual_volatility(daily - other))
    same(relative.up_capture(daily, other), empyrical.up_capture(daily, other))
    same(relative.down_capture(daily, other), empyrical.down_capture(daily, other))
    same(relative.correlation(daily, other), np.corrcoef(daily, other)[0, 1])


@unhurried
@given(SERIES)
def test_moments_equal_scipys(given_: tuple[int, int, float, float]) -> None:
    """Skewness and excess kurtosis, of the population."""
    daily = random_returns(*given_)
    same(r.skewness(daily), float(scipy.stats.skew(daily)))
    same(r.kurtosis(daily), float(scipy.stats.kurtosis(daily)))


def test_a_probable_sharpe_by_its_formula() -> None:
    """Against the normal distribution of scipy; half where the observed ratio is the target."""
    daily = random_returns(250, 3, 0.01, 0.001)
    s, skew, kurtosis = daily.mean() / daily.std(ddof=1), scipy.stats.skew(daily), scipy.stats.kurtosis(daily, fisher=False)
    z = s * math.sqrt(249) / math.sqrt(1 - skew * s + (kurtosis - 1) / 4 * s**2)
    assert r.probabilistic_sharpe(daily) == pytest.approx(scipy.stats.norm.cdf(z), rel=1e-12)
    assert r.probabilistic_sharpe(daily, target=s) == pytest.approx(0.5)


def test_ratios_of_fewer_returns_can_be_asked_for() -> None:
    """The returns of empyrical's own tests, and what it expects; `fewest` lifts the rule."""
    daily = np.array([0.0, 1.0, 10.0, -4.0, 2.0, 3.0, 2.0, 1.0, -10.0]) / 100
    assert p.sharpe(daily) is None
    assert p.sharpe(daily[1:], fewest=2) == pytest.approx(1.7238613961706866)
    assert r.annual_return(daily, fewest=2) == pytest.approx(1.9135925373194231)
    assert r.annual_return(daily, periods=52, fewest=2) == pytest.approx(0.24690830513998208)
    for periods, expected in ((252, 19.135925373194233), (52, 2.4690830513998208), (12, 0.52242061386048144)):
        assert r.calmar(1.0, np.cumprod(1 + daily), fewest=2, periods=periods) == pytest.approx(expected)


@pytest.mark.parametrize(
    "figure",
    [
        r.annual_return, r.volatility, r.sharpe, r.downside_deviation, r.sortino, r.omega, r.tail_ratio, r.value_at_risk,
        r.conditional_value_at_risk, r.stability, r.skewness, r.kurtosis, r.probabilistic_sharpe,
    ],
)  # fmt: skip
@pytest.mark.parametrize("daily", [[], [0.01] * 19, [math.nan] * 30, [0.01] * 29 + [math.inf]])
def test_what_cannot_be_had_is_none(figure: Callable[[list[float]], float | None], daily: list[float]) -> None:
    """Too few returns, or one that is no number."""
    assert figure(daily) is None


@unhurried
@given(st.lists(st.floats(-2, 2), min_size=0, max_size=60), st.floats(-100, 1e6), st.booleans())
def test_no_figure_is_ever_nan_or_infinite(changes: list[float], start: float, ended: bool) -> None:
    """Also where equity reaches zero and falls below."""
    found = p.statistics(*frames(start, changes, "end" if ended else "clock"), start, [start, *(start * one for one in changes)]
                         if ended else None)  # fmt: skip
    assert all(one.value is None or math.isfinite(one.value) for one in found.values())
    assert all(name == one.name and one.formula and one.unit and one.group for name, one in found.items())


def frames(start: float, changes: list[float], reason: str) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Equity that changes by fractions of the start, with no fills and no trips."""
    equity = pl.DataFrame({
        "ts": pl.Series([i * 10**9 for i in range(len(changes))], dtype=pl.Int64).cast(pl.Datetime("ns", "UTC")),
        "equity": pl.Series([start * (1 + one) for one in changes], dtype=pl.Float64), "reason": [reason] * len(changes),
    }).with_columns(realised=0.0, unrealised=0.0, charges=0.0, gross_exposure=0.0)  # fmt: skip
    none = pl.DataFrame(
        schema={"price": pl.Float64, "reference_price": pl.Float64, "quantity": pl.Int64, "multiplier": pl.Float64}
    )
    return equity, none, pl.DataFrame(schema={"net": pl.Float64})


def test_a_benchmark_needs_a_value_for_the_start_and_each_close() -> None:
    """Another number of them is refused, not cut."""
    with pytest.raises(AlphaPandaError, match="2 returns cannot be held against 1"):
        p.statistics(*frames(100, [0.1, 0.2], "end"), 100, [1.0, 2.0])


def test_a_run_that_is_its_benchmark_has_beta_one() -> None:
    """No alpha, no tracking error, full correlation and capture."""
    worth = [0.01 * (i % 7) - 0.02 for i in range(40)]
    equity, fills_, trips = frames(100, worth, "end")
    found = p.statistics(equity, fills_, trips, 100, [5.0, *(5 * (1 + one) for one in worth)])
    names = ("alpha", "beta", "correlation", "tracking_error", "up_capture", "down_capture")
    assert [found[name].value for name in names] == pytest.approx([0, 1, 1, 0, 1, 1], abs=1e-9)
    assert found["benchmark_return"].value == pytest.approx(found["total_return"].value)


# Drawdowns, exposure, turnover, months


def test_each_drawdown_counts_once_in_their_mean() -> None:
    """100, 90, 95, 100, 80: a tenth and a fifth."""
    equity = [100, 90, 95, 100, 80]
    assert r.drawdown_depths(equity).tolist() == pytest.approx([-0.1, -0.2])
    assert r.average_drawdown(equity) == pytest.approx(-0.15)
    assert r.ulcer_index(equity) == pytest.approx(math.sqrt((0.01 + 0.0025 + 0.04) / 5))


@unhurried
@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_the_longest_drawdown_is_the_longest_wait_for_a_peak(equity: list[int]) -> None:
    """By walking from each peak to the next."""
    times = [i * 10**9 for i in range(len(equity))]
    below = any(value < max(equity[: i + 1]) for i, value in enumerate(equity))
    walked = max((j - i for i, j in _peaks(equity)), default=0)
    assert p.longest_drawdown_s(times, equity) == (float(walked) if below else 0.0)


def _peaks(equity: list[int]) -> list[tuple[int, int]]:
    """From each observation at the running peak to the next one at it, or to the end."""
    at = [i for i, value in enumerate(equity) if value == max(equity[: i + 1])]
    return [*pairwise(at), (at[-1], len(equity) - 1)]


def snapshots(*rows: tuple[int, float, str]) -> pl.DataFrame:
    """Second, gross exposure, reason; equity 100."""
    return pl.DataFrame(rows, schema=["ts", "gross_exposure", "reason"], orient="row").with_columns(
        (pl.col("ts") * 10**9).cast(pl.Datetime("ns", "UTC")), equity=100.0
    )


def test_exposure_time_counts_sessions_and_not_nights() -> None:
    """10 s flat, 20 s held, a night held, 30 s held and 40 s flat: half of a hundred seconds."""
    equity = snapshots(
        (0, 0, "clock"), (10, 50, "fill"), (30, 50, "end"), (1000, 50, "clock"), (1030, 0, "fill"), (1070, 0, "end")
    )
    assert (a.exposure_time(equity), a.average_exposure(equity), a.largest_exposure(equity)) == (0.5, 0.25, 0.5)


def test_exposure_needs_time_and_a_column() -> None:
    """Else there is none."""
    one = snapshots((0, 5, "clock"))
    assert (a.exposure_time(one), a.average_exposure(one), a.exposure_time(one.drop("gross_exposure"))) == (None, None, None)


def test_turnover_is_traded_value_over_mean_equity() -> None:
    """10 bought at 100 and 10 sold at 110 with multiplier 2: 4,200 over 100, a year in 21 sessions twelve times that."""
    frame = pl.DataFrame({"price": [100.0, 110.0], "quantity": [10, -10], "multiplier": [2.0, 2.0]})
    equity = snapshots((0, 0, "clock"), (1, 0, "end"))
    assert (a.turnover(frame, equity), a.annual_turnover(frame, equity, 21)) == (42.0, 504.0)


def test_months_compound_to_the_year() -> None:
    """Sessions of November, January and February in local time; a month without a session is null."""
    ends = ["2023-11-30T10:00", "2024-01-31T10:00", "2024-02-29T20:00"]  # the last is March in India
    equity = pl.DataFrame({"ts": ends, "equity": [110.0, 99.0, 108.9], "reason": ["end"] * 3}).with_columns(
        pl.col("ts").str.to_datetime("%Y-%m-%dT%H:%M", time_unit="ns", time_zone="UTC")
    )
    table = monthly_table(equity, 100.0, "Asia/Kolkata")
    assert table.columns == ["year", *MONTHS, "total"]
    assert table.select("year", "Nov", "Jan", "Mar", "total").rows() == [
        (2023, pytest.approx(0.1), None, None, pytest.approx(0.1)),
        (2024, None, pytest.approx(-0.1), pytest.approx(0.1), pytest.approx(-0.01)),
    ]
    assert table["Feb"].to_list() == [None, None]
