"""The series behind the figures, by hand."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.research import series
from alphapanda.research.performance import sharpe
from alphapanda.research.prices import thinned

ZONE = "Asia/Kolkata"
OPEN = datetime(2024, 1, 30, 3, 45, tzinfo=UTC)


def closes(*equity: float, days: int = 1) -> pl.DataFrame:
    """Session closes a day apart, each after a snapshot on the clock."""
    rows = []
    for i, value in enumerate(equity):
        at = OPEN + timedelta(days=i * days)
        rows += [(at, value - 5, "clock"), (at + timedelta(hours=6), value, "end")]
    schema = {"ts": pl.Datetime("ns", "UTC"), "equity": pl.Float64, "reason": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def fills(*rows: tuple[datetime, float, int]) -> pl.DataFrame:
    """Fills (ts, price, quantity) with multiplier 2."""
    schema = {"ts": pl.Datetime("ns", "UTC"), "price": pl.Float64, "quantity": pl.Int64}
    return pl.DataFrame(list(rows), schema=schema, orient="row").with_columns(multiplier=2.0)


def test_session_returns_run_from_close_to_close() -> None:
    """The first from the start equity."""
    assert series.sessions(closes(110, 99), 100)["return"].to_list() == pytest.approx([0.1, -0.1])


def test_a_months_return_is_compounded_in_local_time() -> None:
    """30 and 31 January, 1 February: +10 %, -10 %, +10 %."""
    found = series.monthly(closes(110, 99, 108.9), 100, ZONE)
    assert [(year, month, round(value, 12)) for year, month, value in found.iter_rows()] == [(2024, 1, -0.01), (2024, 2, 0.1)]


def test_a_run_of_one_session_shows_returns_between_snapshots() -> None:
    """Three sessions and more: their closes."""
    one, three = series.distribution(closes(110), 100), series.distribution(closes(110, 99, 99), 100)
    assert (one.over, one.values) == ("clock snapshot", pytest.approx([0.05]))
    assert (three.over, three.values) == ("session", pytest.approx([0.1, -0.1, 0.0]))


def test_rolling_sharpe_is_the_ratio_of_the_last_sessions() -> None:
    """The same function as in the statistics, over each window."""
    values = [100 + (i * 7 % 5) - i * 0.1 for i in range(24)]
    found = series.rolling_sharpe(closes(*values), 100)
    changes = series.sessions(closes(*values), 100)["return"].to_numpy()
    assert found["sharpe"].to_list() == [sharpe(changes[i - 20 : i]) for i in range(20, 25)]
    assert found["ts"].to_list() == series.sessions(closes(*values), 100)["ts"].to_list()[19:]


def test_rolling_sharpe_of_a_short_run_is_empty() -> None:
    """Nineteen sessions."""
    assert series.rolling_sharpe(closes(*range(100, 119)), 100).height == 0


def test_turnover_adds_up_both_sides_over_mean_equity() -> None:
    """Buys 10 at 5 and sells 10 at 6 within a quarter of an hour, multiplier 2: 220 over a mean of 100."""
    made = fills((OPEN, 5.0, 10), (OPEN + timedelta(minutes=3), 6.0, -10), (OPEN + timedelta(minutes=16), 6.0, 1))
    found = series.turnover(made, pl.DataFrame({"equity": [90.0, 110.0]}), ZONE)
    assert found.select("value", "turnover", "every").rows() == [(220.0, 2.2, "15m"), (12.0, 0.12, "15m")]
    assert found["ts"][0] == datetime(2024, 1, 30, 9, 15)  # noqa: DTZ001  # local times of an axis have no zone


def test_turnover_of_many_dates_is_by_date() -> None:
    """Three dates, one fill each."""
    made = fills(*((OPEN + timedelta(days=i), 10.0, 1) for i in range(3)))
    assert series.turnover(made, pl.DataFrame({"equity": [100.0]}), ZONE)["every"].to_list() == ["1d"] * 3


def test_execution_measures_wait_and_cost() -> None:
    """Placed, active 5 ms later, filled 12 ms after that; bought 3 at 100.1 for 100: 10 bps of the value."""
    placed = pl.Series([OPEN]).dt.cast_time_unit("ns")
    made = pl.DataFrame({
        "ts": placed + timedelta(milliseconds=17), "price": [100.1], "reference_price": [100.0], "quantity": [3],
        "multiplier": [2.0], "slippage": [(100.1 - 100) * 3 * 2], "order_id": ["o"], "id": ["f"], "strategy_id": ["s"],
        "symbol": ["AAA"], "instrument_token": [1], "side": ["buy"], "charges": [0.5],
    })  # fmt: skip
    active = placed + timedelta(milliseconds=5)
    orders = pl.DataFrame({"order_id": ["o"], "ts": placed, "active_ts": active, "order_type": ["MARKET"]})
    found = series.execution(made, orders)
    assert found.select("latency_ms", "waited_ms", "slippage_bps").row(0) == pytest.approx((17.0, 12.0, 10.0))
    assert series.market_latencies(found) == [17.0]
    assert series.market_latencies(found.with_columns(order_type=pl.lit("LIMIT"))) == []


def test_quantities_add_up_over_books() -> None:
    """Two strategies hold the same instrument."""
    rows = [("a", 5), ("b", -2), ("a", 0), ("b", 4)]
    made = pl.DataFrame({
        "ts": range(4), "exec_mode": "paper", "strategy_id": [one for one, _ in rows], "instrument_token": 1, "symbol": "AAA",
        "quantity": [quantity for _, quantity in rows],
    })  # fmt: skip
    assert series.quantities(made)["quantity"].to_list() == [5, 3, -2, 4]


def test_the_gap_between_two_runs_is_known_at_every_snapshot_of_either() -> None:
    """The last known gain of each; nothing before its first."""
    a = pl.DataFrame({"ts": [1, 3, 3], "gain": [5.0, 6.0, 7.0]})
    b = pl.DataFrame({"ts": [2, 4], "gain": [1.0, 20.0]})
    assert series.gap(a, b).rows() == [(1, -5.0), (2, -4.0), (3, -6.0), (4, 13.0)]


@given(st.lists(st.floats(-1e6, 1e6), max_size=300))
def test_every_value_is_in_one_bin(values: list[float]) -> None:
    """At most 60 of them."""
    middles, widths, counts = series.bins(values)
    assert (sum(counts), len(middles)) == (len(values), len(widths))
    assert len(counts) <= 60


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.floats(-1e9, 1e9)), min_size=1, max_size=400), st.integers(8, 100)
)  # fmt: skip
def test_thinning_keeps_order_ends_and_extremes(rows: list[tuple[int, float]], most: int) -> None:
    """Of any series in time order."""
    frame = pl.DataFrame(sorted(rows), schema={"ts": pl.Int64, "y": pl.Float64}, orient="row")
    thin = thinned(frame, "y", most)
    assert thin.height <= most or thin.height == frame.height <= most
    assert thin["ts"].is_sorted()
    assert (thin["y"].min(), thin["y"].max()) == (frame["y"].min(), frame["y"].max())
    assert (thin.row(0), thin.row(-1)) == (frame.row(0), frame.row(-1))


def test_thinning_keeps_the_extremes_of_every_stretch() -> None:
    """A saw of 100,000 points in 500 stretches of time: each stretch keeps its top and bottom."""
    frame = pl.DataFrame({"ts": range(100_000), "y": [float(i * 7919 % 1009) for i in range(100_000)]})
    thin = thinned(frame, "y", 2_000)
    by_stretch = [one.with_columns(stretch=pl.col("ts") // 200) for one in (frame, thin)]
    seen = [
        one.group_by("stretch").agg(pl.col("y").min().alias("l"), pl.col("y").max().alias("h")).sort("stretch")
        for one in by_stretch
    ]
    assert seen[0].equals(seen[1])
