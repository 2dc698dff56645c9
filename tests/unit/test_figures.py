"""Figures: what they show of what they are given."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from alphapanda.research import figures

OPEN = datetime(2024, 3, 1, 3, 45, tzinfo=UTC)
ZONE = "Asia/Kolkata"


def curve(*values: float) -> pl.DataFrame:
    """An equity curve, a minute a step, with everything that stands beside it."""
    times = pl.Series("ts", [OPEN + timedelta(minutes=i) for i in range(len(values))], pl.Datetime("ns", "UTC"))
    frame = pl.DataFrame({"ts": times, "equity": pl.Series(values, dtype=pl.Float64)})
    more = ("gross_exposure", "net_exposure", "realised", "unrealised", "charges")
    return frame.with_columns(pl.col("equity").alias(name) for name in more)


def test_times_are_local() -> None:
    """A quarter to four in London's winter is a quarter past nine in Mumbai."""
    trace = figures.equity_figure(curve(1, 2), "INR", zone=ZONE).data[0]
    assert trace.x[0] == np.datetime64("2024-03-01T09:15:00", "us")


def test_the_benchmark_is_a_second_line() -> None:
    """With its own name."""
    benchmark = curve(1, 2).select("ts", pl.lit(3.0).alias("benchmark"))
    figure = figures.equity_figure(curve(1, 2), "INR", benchmark)
    assert [(trace.name, list(trace.y)) for trace in figure.data] == [("equity", [1, 2]), ("buy and hold", [3, 3])]


def test_drawdown_starts_at_the_start_equity() -> None:
    """The first snapshot may be below it already."""
    figure = figures.drawdown_figure(curve(90, 100, 80), start=100)
    assert list(figure.data[0].y) == pytest.approx([-10, 0, -20])


def test_curves_of_several_runs_begin_at_one() -> None:
    """Whatever cash they had."""
    figure = figures.compare_figure({"a": (curve(100, 110), 100.0), "b": (curve(5, 4), 5.0)})
    assert [(one.name, list(one.y)) for one in figure.data] == [("a", pytest.approx([1, 1.1])), ("b", pytest.approx([1, 0.8]))]


def test_a_heatmap_of_months_leaves_gaps_where_there_is_no_session() -> None:
    """February 2024 and January 2025."""
    frame = pl.DataFrame({"year": [2024, 2025], "month": [2, 1], "return": [0.015, -0.03]})
    trace = figures.monthly_figure(frame).data[0]
    cells = {(trace.y[i], trace.x[j]): z for i, row in enumerate(trace.z) for j, z in enumerate(row) if z is not None}
    assert cells == {("2024", "Feb"): 1.5, ("2025", "Jan"): -3.0}
    assert (trace.zmin, trace.zmax) == (-3.0, 3.0)


def test_a_cost_above_zero_is_red_and_a_gain_green() -> None:
    """A size that is neither has one colour."""
    made = [figures.histogram_figure("t", [-1.0, 1.0], "u", signed=one).data[0].marker.color for one in ("gain", "cost", None)]
    assert [(one[0], one[-1]) for one in made] == [
        (figures.LOSS, figures.GAIN), (figures.GAIN, figures.LOSS), (figures.LINE, figures.LINE),
    ]  # fmt: skip


def test_too_many_fills_are_thinned_and_it_says_so() -> None:
    """1,200 buys: every third; two sells: both."""
    times = curve(*range(1_202))["ts"]
    sides = ["buy"] * 1_200 + ["sell"] * 2
    fills = pl.DataFrame({"ts": times, "price": [1.0] * 1_202, "quantity": [1] * 1_202, "side": sides})
    buys, sells = figures.fills_figure("AAA", None, fills).data
    assert (buys.name, len(buys.x), sells.name, len(sells.x)) == ("buys (1 of 3 of 1,200 shown)", 400, "sells (2)", 2)


def test_a_position_is_drawn_to_the_end_in_steps() -> None:
    """The last holding lasts."""
    changes = curve(0, 0).select(
        "ts", pl.lit(7).alias("instrument_token"), pl.lit("AAA").alias("symbol"), pl.Series("quantity", [5, -5])
    )
    trace = figures.positions_figure(changes, OPEN + timedelta(hours=1)).data[0]
    assert (list(trace.y), trace.line.shape, trace.x[-1]) == ([5, -5, -5], "hv", np.datetime64("2024-03-01T04:45:00", "us"))


def test_figures_without_data_say_why() -> None:
    """Never an empty frame."""
    none = curve()
    empty = [
        figures.equity_figure(none, "INR"), figures.drawdown_figure(none), figures.exposure_figure(none, "INR"),
        figures.pnl_figure(none, "INR"), figures.monthly_figure(pl.DataFrame(schema={"year": pl.Int32})),
        figures.turnover_figure(pl.DataFrame()), figures.histogram_figure("t", [None], "u"),
        figures.rolling_sharpe_figure(pl.DataFrame({"sharpe": [None]}), 20), figures.positions_figure(pl.DataFrame()),
        figures.slippage_figure(pl.DataFrame(), "INR"), figures.gap_figure(pl.DataFrame(), "INR"),
    ]  # fmt: skip
    assert [len(one.layout.annotations) for one in empty] == [1] * len(empty)


def test_long_curves_are_thinned() -> None:
    """Every line of a long run stays below what a screen shows."""
    long = curve(*range(1, 30_001))
    made = [
        figures.equity_figure(long, "INR"), figures.drawdown_figure(long), figures.exposure_figure(long, "INR"),
        figures.pnl_figure(long, "INR"), figures.compare_figure({"a": (long, 1.0)}),
        figures.gap_figure(long.select("ts", pl.col("equity").alias("gap")), "INR"),
    ]  # fmt: skip
    assert max(len(trace.x) for figure in made for trace in figure.data) <= figures.MOST_POINTS


def test_parts_end_in_their_sum() -> None:
    """Each part beside the one before."""
    trace = figures.parts_figure(["signal", "charges"], [5.0, -2.0], "INR").data[0]
    assert (list(trace.x), list(trace.y), trace.measure[-1]) == (["signal", "charges", "B - A"], [5.0, -2.0, 3.0], "total")
