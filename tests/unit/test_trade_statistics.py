"""Statistics of closed trades: what other systems compute from the same lists, and what holds of any."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import alphapanda as ap
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import E8
from alphapanda.reference.profiles import load_profile
from alphapanda.research import relative
from alphapanda.research import trades as t
from alphapanda.research.performance import returns, statistics
from alphapanda.research.round_trips import round_trips
from alphapanda.research.run_figures import lots_of, trades_of
from tests.data_folder import ROOT, need

unhurried = settings(deadline=None)  # a shared machine may be busy

# Known answers of LEAN: TradeStatisticsTests.cs in its Tests/Common/Statistics, under Apache-2.0
WINNERS: dict[str, list[float]] = {
    "profits": [20, 20, 10], "durations_s": [1200, 1800, 600], "charges": [2, 2, 2], "mae": [-5, -30, -15], "mfe": [30, 40, 30],
}  # fmt: skip
LOSERS: dict[str, list[float]] = {
    "profits": [-20, -20, -10], "durations_s": [1200, 1800, 600], "charges": [2, 2, 2], "mae": [-30, -40, -30],
    "mfe": [5, 30, 15],
}  # fmt: skip
MIXED: dict[str, list[float]] = {
    "profits": [-20, -20, 10], "durations_s": [1200, 600, 600], "charges": [2, 2, 2], "mae": [-30, -40, -15], "mfe": [5, 30, 30],
    "exits_s": [1200, 1200, 2400],
}  # fmt: skip
OF_WINNERS = {
    "trades": 3, "winners": 3, "losers": 0, "total_profit": 50, "gross_profit": 50, "gross_loss": 0, "largest_win": 20,
    "largest_loss": None, "expectancy": 50 / 3, "average_win": 50 / 3, "average_loss": None, "average_duration_s": 1200,
    "average_winner_duration_s": 1200, "average_loser_duration_s": None, "median_duration_s": 1200, "longest_duration_s": 1800,
    "longest_winning_streak": 3, "longest_losing_streak": 0, "win_rate": 1, "loss_rate": 0, "average_mae": -50 / 3,
    "average_mfe": 100 / 3, "largest_mae": -30, "largest_mfe": 40, "closed_drawdown": 0, "intra_drawdown": -70,
    "trade_deviation": 5.77350269189626, "loss_deviation": None, "profit_factor": None, "payoff_ratio": None,
    "trade_sharpe": 2.8867513459481276, "trade_sortino": None, "profit_to_drawdown": None, "largest_end_drawdown": -20,
    "average_end_drawdown": -50 / 3, "trade_charges": 6,
}  # fmt: skip
OF_LOSERS = {
    "trades": 3, "winners": 0, "losers": 3, "total_profit": -50, "gross_profit": 0, "gross_loss": -50, "largest_win": None,
    "largest_loss": -20, "expectancy": -50 / 3, "average_win": None, "average_loss": -50 / 3, "average_duration_s": 1200,
    "average_winner_duration_s": None, "average_loser_duration_s": 1200, "longest_winning_streak": 0,
    "longest_losing_streak": 3, "win_rate": 0, "loss_rate": 1, "average_mae": -100 / 3, "average_mfe": 50 / 3,
    "largest_mae": -40, "largest_mfe": 30, "closed_drawdown": -50, "intra_drawdown": -80, "trade_deviation": 5.77350269189626,
    "loss_deviation": 5.77350269189626, "profit_factor": 0, "payoff_ratio": None, "trade_sharpe": -2.8867513459481276,
    "trade_sortino": -2.8867513459481276, "profit_to_drawdown": -1, "largest_end_drawdown": -50,
    "average_end_drawdown": -100 / 3, "trade_charges": 6,
}  # fmt: skip
OF_MIXED = {
    "winners": 1, "losers": 2, "total_profit": -30, "average_win": 10, "average_loss": -20, "average_duration_s": 800,
    "average_winner_duration_s": 600, "average_loser_duration_s": 900, "longest_winning_streak": 1, "longest_losing_streak": 2,
    "payoff_ratio": 0.5, "win_rate": 1 / 3, "loss_rate": 2 / 3, "average_mae": -85 / 3, "average_mfe": 65 / 3,
    "closed_drawdown": -40, "intra_drawdown": -70, "trade_deviation": 17.3205080756888, "loss_deviation": 0,
    "profit_factor": 0.25, "trade_sharpe": -0.5773502691896248, "trade_sortino": None, "profit_to_drawdown": -0.75,
    "largest_end_drawdown": -50, "average_end_drawdown": -95 / 3, "win_loss_ratio": 0.5, "closed_drawdown_s": 0,
}  # fmt: skip
WON_FIRST: dict[str, list[float]] = {
    "profits": [10, -20, -20], "durations_s": [600, 1200, 600], "charges": [2, 2, 2], "mae": [-15, -30, -40],
    "mfe": [30, 5, 30], "exits_s": [600, 2400, 2400],
}  # fmt: skip
OF_WON_FIRST = {"closed_drawdown": -40, "intra_drawdown": -80, "win_loss_ratio": 0.5, "closed_drawdown_s": 0}
LOST_FIRST: dict[str, list[float]] = {
    "profits": [-20, 20, 10], "durations_s": [1200, 600, 600], "charges": [2, 2, 2], "mae": [-30, -40, -15],
    "mfe": [5, 30, 30], "exits_s": [1200, 1200, 2400],
}  # fmt: skip
OF_LOST_FIRST = {
    "winners": 2, "losers": 1, "total_profit": 10, "expectancy": 10 / 3, "average_win": 15, "average_loss": -20,
    "average_duration_s": 800, "average_winner_duration_s": 600, "average_loser_duration_s": 1200, "longest_winning_streak": 2,
    "longest_losing_streak": 1, "payoff_ratio": 0.75, "win_loss_ratio": 2, "win_rate": 2 / 3, "closed_drawdown": -20,
    "intra_drawdown": -70, "trade_deviation": 20.8166599946613, "loss_deviation": None, "profit_factor": 1.5,
    "trade_sharpe": 0.16012815380508739, "profit_to_drawdown": 0.5, "largest_end_drawdown": -25,
    "average_end_drawdown": -55 / 3, "closed_drawdown_s": 2400,
}  # fmt: skip


@pytest.mark.parametrize(
    ("trades", "expected"),
    [(WINNERS, OF_WINNERS), (LOSERS, OF_LOSERS), (MIXED, OF_MIXED), (WON_FIRST, OF_WON_FIRST), (LOST_FIRST, OF_LOST_FIRST)],
)
def test_lists_of_trades_have_leans_figures(trades: dict[str, list[float]], expected: dict[str, float | None]) -> None:
    """None where LEAN says 0 or 10 for what cannot be had."""
    found = t.trade_statistics(**trades)
    assert {name: found[name].value for name in expected} == {
        name: None if value is None else pytest.approx(value, rel=1e-9) for name, value in expected.items()
    }


def test_the_same_numbers_stand_in_the_shared_known_answers() -> None:
    """What was transcribed above, held against its file where that is at hand."""
    known = json.loads(need("known-answers/08_lean_trade_statistics.json").read_text(encoding="utf-8"))
    ours = {
        "trades": "trades", "wins": "winners", "losses": "losers", "total_pnl": "total_profit", "largest_profit": "largest_win",
        "largest_loss": "largest_loss", "avg_pnl": "expectancy", "max_consecutive_wins": "longest_winning_streak",
        "max_consecutive_losses": "longest_losing_streak", "win_rate": "win_rate", "loss_rate": "loss_rate",
        "pnl_std_ddof1": "trade_deviation", "sharpe_per_trade": "trade_sharpe", "avg_mae": "average_mae",
        "avg_mfe": "average_mfe", "largest_mae": "largest_mae", "largest_mfe": "largest_mfe", "total_fees": "trade_charges",
        "max_closed_trade_drawdown": "closed_drawdown",
    }  # fmt: skip
    for name, given_ in known["inputs"].items():
        found = t.trade_statistics(
            given_["pnl"], durations_s=[60 * one for one in given_["minutes"]], charges=given_["fees"], mae=given_["mae"],
            mfe=given_["mfe"],
        )  # fmt: skip
        expected = known["expected"][name]
        assert {key: found[ours[key]].value for key in expected if key in ours} == {
            key: pytest.approx(value, abs=1e-9) for key, value in expected.items() if key in ours
        }
        assert found["average_duration_s"].value == 60 * expected["avg_minutes"]
        assert (found["profit_factor"].value or (10 if expected["losses"] == 0 else 0)) == expected["profit_factor_lean"]


def test_figures_of_backtesting_py() -> None:
    """By its formulas in _stats.py: SQN, Kelly, expectancy, best, worst and mean return."""
    pnl, returns = np.array([120.0, -40.0, 60.0, -80.0, 15.0]), np.array([0.12, -0.04, 0.06, -0.08, 0.015])
    found = t.trade_statistics(pnl, returns=returns)
    wins = (pnl > 0).mean()
    expected = {
        "sqn": math.sqrt(5) * pnl.mean() / pnl.std(ddof=1),
        "kelly": wins - (1 - wins) / (pnl[pnl > 0].mean() / -pnl[pnl < 0].mean()),
        "best_trade": 0.12, "worst_trade": -0.08, "expectancy_return": returns.mean(),
        "average_trade": math.exp(np.log(1 + returns).sum() / 5) - 1,
    }  # fmt: skip
    assert {name: found[name].value for name in expected} == pytest.approx(expected)


def test_streaks_end_at_a_trade_of_nothing() -> None:
    """Two winners, a zero, a winner; two losers, a zero, two losers."""
    profits = [1, 1, 0, 1, -1, -1, 0, -1, -1]
    assert (t.longest_winning_streak(profits), t.longest_losing_streak(profits)) == (2, 2)
    assert (t.win_rate(profits), t.loss_rate(profits)) == (3 / 9, 4 / 9)


def test_the_time_below_a_peak_ends_at_the_next_higher_one() -> None:
    """Back at the peak is not above it; a trade of nothing at a peak is no fall; the last fall is not made up for."""
    exits_s = [10, 20, 30, 40, 50, 60, 90]
    assert t.closed_drawdown_s([5, -2, 2, 0, 1, -1, 0], exits_s, 0) == 40  # from 10 to 50
    assert t.closed_drawdown_s([5, 0, 1], [10, 20, 30], 0) == 0
    assert t.closed_drawdown_s([-1, 2], [10, 30], 4) == 26


def test_expectancy_is_what_wins_and_losses_bring() -> None:
    """40 % of 300 less 60 % of 100; in units of the average loss 0.6 (Tharp)."""
    profits = [300, 300, -100, -100, -100]
    assert (t.expectancy(profits), t.expectancy_ratio(profits), t.payoff_ratio(profits)) == (60.0, 0.6, 3.0)


def test_a_trade_that_lost_everything_has_no_geometric_mean() -> None:
    """It would compound to nothing."""
    assert (t.average_return([0.5, -1.0]), t.average_return([])) == (None, None)


def test_what_is_not_given_is_none() -> None:
    """Profits alone have no excursions, durations or returns."""
    found = t.trade_statistics([1.0, -1.0])
    missing = {name for name, one in found.items() if one.value is None}
    assert missing == {
        "trade_charges", "average_duration_s", "median_duration_s", "longest_duration_s", "average_winner_duration_s",
        "average_loser_duration_s", "median_winner_duration_s", "median_loser_duration_s", "closed_drawdown_s", "best_trade",
        "worst_trade", "average_trade", "expectancy_return", "average_mae", "average_mfe", "median_mae", "median_mfe",
        "largest_mae", "largest_mfe", "edge_ratio", "largest_end_drawdown", "average_end_drawdown", "intra_drawdown",
        "loss_deviation", "trade_sortino",
    }  # fmt: skip


def test_no_trades_have_counts_of_zero_and_no_ratios() -> None:
    """As LEAN's NoTrades, with None for its zeros where there is nothing to divide."""
    found = t.trade_statistics([], charges=[], mae=[], mfe=[], durations_s=[], returns=[])
    given_ = {name: one.value for name, one in found.items() if one.value is not None}
    assert given_ == {
        "trades": 0, "winners": 0, "losers": 0, "longest_winning_streak": 0, "longest_losing_streak": 0, "total_profit": 0.0,
        "gross_profit": 0.0, "gross_loss": 0.0, "closed_drawdown": 0.0, "trade_charges": 0.0,
    }  # fmt: skip


TRADES = st.lists(st.tuples(st.integers(-100, 100), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=40)


@unhurried
@given(TRADES)
def test_figures_of_any_trades_hang_together(trades: list[tuple[int, int, int]]) -> None:
    """Sums, rates and drawdowns; nothing is NaN or infinite."""
    profits = [profit for profit, _, _ in trades]
    mae = [min(0, profit) - deeper for profit, deeper, _ in trades]
    mfe = [max(0, profit) + higher for profit, _, higher in trades]
    found = {
        name: one.value
        for name, one in t.trade_statistics(profits, mae=mae, mfe=mfe, returns=[p / 1000 for p in profits]).items()
    }
    assert all(value is None or math.isfinite(value) for value in found.values())
    assert found["gross_profit"] + found["gross_loss"] == found["total_profit"] == sum(profits)  # type: ignore[operator]
    assert found["winners"] + found["losers"] + profits.count(0) == len(profits)  # type: ignore[operator]
    assert found["intra_drawdown"] <= found["closed_drawdown"] <= 0  # type: ignore[operator]
    assert found["largest_end_drawdown"] <= 0  # type: ignore[operator]
    assert found["closed_drawdown"] == min(
        0, *(sum(profits[:j]) - max(0, *(sum(profits[:i]) for i in range(j + 1))) for j in range(len(profits) + 1))
    )


@unhurried
@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=30))
def test_streaks_are_the_longest_runs(profits: list[int]) -> None:
    """As a text of them is split."""
    text = "".join("-0+"[profit + 1] for profit in profits)
    assert t.longest_winning_streak(profits) == max(map(len, text.replace("0", "-").split("-")))
    assert t.longest_losing_streak(profits) == max(map(len, text.replace("0", "+").split("+")))


def test_the_distribution_of_excursions() -> None:
    """Of all trades, of winners and of losers; those without prices are left out."""
    trades = pl.DataFrame({"net": [5.0, -5.0, 3.0, 1.0], "mae": [-1.0, -8.0, -3.0, None], "mfe": [6.0, 2.0, 4.0, None]})
    table = t.excursion_table(trades)
    assert table.select("what", "of", "trades", "mean", "p50", "least", "greatest").rows() == [
        ("mae", "all", 3, -4.0, -3.0, -8.0, -1.0), ("mae", "winners", 2, -2.0, -2.0, -3.0, -1.0),
        ("mae", "losers", 1, -8.0, -8.0, -8.0, -8.0), ("mfe", "all", 3, 4.0, 4.0, 2.0, 6.0),
        ("mfe", "winners", 2, 5.0, 5.0, 4.0, 6.0), ("mfe", "losers", 1, 2.0, 2.0, 2.0, 2.0),
    ]  # fmt: skip
    assert t.excursion_table(trades[3:]).height == 0


def test_a_run_has_the_figures_of_its_round_trips() -> None:
    """Two trips of 60 s, +100 and -50 before charges of 2 each way; the price fell to 95 and rose to 112 in the first."""
    fills = trip_fills((0, 10, 100.0), (60, -10, 110.0), (120, 10, 110.0), (180, -10, 105.0))
    ticks = pl.DataFrame({"ts": [10 * 10**9, 20 * 10**9], "instrument_token": [1, 1], "last_price": [95.0, 112.0]})
    trips = round_trips(fills, {1: E8}, ticks)
    equity = pl.DataFrame({"ts": [0], "equity": [1000.0], "reason": ["end"]}).with_columns(
        pl.col("ts").cast(pl.Datetime("ns", "UTC")), realised=50.0, unrealised=0.0, charges=8.0
    )
    found = statistics(equity, fills.with_columns(reference_price="price", multiplier=1.0), trips, 1000.0)
    expected = {
        "round_trips": 2, "win_rate": 0.5, "expectancy": 21.0, "profit_factor": 96 / 54, "average_mae": -50.0,
        "average_mfe": 60.0,
        "largest_end_drawdown": -50.0, "average_duration_s": 60.0, "best_trade": 0.096, "worst_trade": -54 / 1100,
        "longest_losing_streak": 1, "trade_charges": 8.0, "traded_value": 4250.0,
    }  # fmt: skip
    assert {name: found[name].value for name in expected} == pytest.approx(expected)


def trip_fills(*rows: tuple[int, int, float]) -> pl.DataFrame:
    made: list[dict[str, Any]] = [
        {"exec_mode": "paper", "strategy_id": "s", "instrument_token": 1, "ts": second * 10**9, "quantity": quantity,
         "price": price, "charges_e8": 2 * E8}
        for second, quantity, price in rows
    ]  # fmt: skip
    return pl.DataFrame(made).with_columns(pl.col("ts").cast(pl.Datetime("ns", "UTC")))


# Of whole runs

HOUR_NS = 3_600_000_000_000
FIRST_NS = 1_709_251_800_000_000_000  # ten past midnight of 2024-03-01, UTC


class Plan(ap.Strategy):
    """Buys (or, below zero, sells) AAA at the ticks it is told: number, quantity, number, quantity and so on."""

    orders: tuple[int, ...] = ()

    def on_start(self) -> None:
        self.seen = 0
        self.plan = dict(zip(self.orders[::2], self.orders[1::2], strict=True))

    def on_market_data(self, tick: Any) -> Any:
        self.seen += 1
        quantity = self.plan.get(self.seen, 0)
        if quantity:
            yield self.buy(1, quantity) if quantity > 0 else self.sell(1, -quantity)


def hourly(path: Path, prices: list[float]) -> Path:
    """A tick of AAA each hour, around the clock."""
    frame = pl.DataFrame(
        {"ts_ns": [FIRST_NS + i * HOUR_NS for i in range(len(prices))], "instrument_token": 1, "last_price": prices}
    )
    with TapeWriter(
        path, profile=load_profile("always"), instruments=[Instrument(1, "AAA", currency="USD")], columns=frame.columns,
        source="test",
        beat_interval_s=600,
    ) as writer:  # fmt: skip
        writer.rows(frame)
        writer.close()
    return path


def wave(days: int) -> list[float]:
    return [round(100 + 5 * math.sin(i / 9) + i / 100, 2) for i in range(24 * days)]


IMMEDIATE = {"execution.fill_model": "immediate", "charges.profile": "none"}


def test_a_runs_round_trips_have_the_excursions_of_its_ticks(tmp_path: Path) -> None:
    """10 bought at the 5th tick, sold at the 60th: the extremes of those 56 prices, and nothing of the others."""
    prices = wave(4)
    run = ap.replay(hourly(tmp_path / "t", prices), [Plan(orders=(5, 10, 60, -10))], settings=IMMEDIATE, out=tmp_path)
    held = prices[4:60]
    (trip,) = run.round_trips.select("symbol", "entry_price", "exit_price", "duration_s", "mae", "mfe").rows()
    expected = (held[0], held[-1], 55 * 3600.0, 10 * (min(held) - held[0]), 10 * (max(held) - held[0]))
    assert (trip[0], trip[1:]) == ("AAA", pytest.approx(expected))
    assert run.stats["largest_mfe"] == trip[-1]


def test_without_its_tape_a_run_has_no_excursions(tmp_path: Path) -> None:
    """Everything else is there."""
    run = ap.replay(hourly(tmp_path / "t", wave(4)), [Plan(orders=(5, 10, 60, -10))], settings=IMMEDIATE, out=tmp_path)
    shutil.rmtree(tmp_path / "t")
    again = ap.load(run.path)
    assert again.round_trips.select("mae", "mfe").rows() == [(None, None)]
    assert (again.stats["largest_mfe"], again.stats["round_trips"]) == (None, 1)


@pytest.mark.parametrize("action", [{"kind": "split", "new": 2}, {"kind": "bonus", "new": 1}], ids=["split", "bonus"])
def test_what_a_book_began_with_is_a_long_that_is_sold(tmp_path: Path, action: dict[str, Any]) -> None:
    """15 at 90 from before become 30 by a split or a bonus, 30 sold: one round trip, with what the portfolio realised."""
    settings = {
        **IMMEDIATE, "portfolio.positions": [{"symbol": "AAA", "quantity": 15, "average_price": 90.0}],
        "portfolio.corporate_actions": [{"symbol": "AAA", "ex_date": "2024-03-02", "old": 1, **action}],
    }  # fmt: skip
    prices = [100.0] * 12 + [80.0] * 12 + [52.0] * 12 + [51.0] * 12
    run = ap.replay(hourly(tmp_path / "t", prices), [Plan(orders=(40, -30))], settings=settings, out=tmp_path)
    columns = ("side", "quantity", "entry_price", "exit_price", "gross", "mae", "mfe")
    assert run.round_trips.select(columns).rows() == [("long", 30, 45.0, 51.0, 180.0, -150.0, 210.0)]
    assert run.equity["realised"][-1] == run.round_trips["gross"].sum()


def test_what_a_book_began_with_is_a_lot_until_it_is_sold(tmp_path: Path) -> None:
    """Also where nothing was traded."""
    settings = {**IMMEDIATE, "portfolio.positions": [{"symbol": "AAA", "quantity": 15, "average_price": 90.0}]}
    run = ap.replay(hourly(tmp_path / "t", wave(1)), [Plan()], settings=settings, out=tmp_path)
    assert (lots_of(run).select("strategy_id", "quantity", "price").rows(), run.round_trips.height) == ([("plan", 15, 90.0)], 0)


def test_a_run_of_twenty_sessions_is_held_against_what_it_traded(tmp_path: Path) -> None:
    """By the same functions, from its closes and the prices at them; no sooner."""
    prices = wave(25)
    orders = (5, 100, 200, -50, 300, 150, 500, -200)
    run = ap.replay(hourly(tmp_path / "t", prices), [Plan(orders=orders)], settings=IMMEDIATE, out=tmp_path)
    closes = run.equity.filter(pl.col("reason") == "end")["equity"]
    own = returns([run.start_equity, *closes])
    other = returns([prices[0], *prices[23::24]])
    assert closes.len() == 25
    found = {name: run.stats[name] for name in ("alpha", "beta", "correlation", "information_ratio", "tracking_error")}
    assert found == pytest.approx({name: getattr(relative, name)(own, other) for name in found})
    assert run.stats["benchmark_return"] == pytest.approx(prices[-1] / prices[0] - 1)
    few = ap.replay(hourly(tmp_path / "few", prices[: 19 * 24]), [Plan(orders=orders)], settings=IMMEDIATE, out=tmp_path)
    assert (few.stats["sessions"], few.stats["beta"], few.stats["benchmark_return"]) == (19, None, None)


def test_a_runs_trades_and_open_lots_by_method(tmp_path: Path) -> None:
    """100 and 150 bought, 120 sold: first in first out closes the first lot whole, last in first out a part of the second."""
    run = ap.replay(hourly(tmp_path / "t", wave(3)), [Plan(orders=(5, 100, 20, 150, 50, -120))], settings=IMMEDIATE, out=tmp_path)
    assert [trades_of(run, method=method)["quantity"].to_list() for method in ("fifo", "lifo")] == [[100, 20], [120]]
    assert [lots_of(run, method)["quantity"].to_list() for method in ("fifo", "lifo", "average")] == [[130], [100, 30], [130]]
    assert trades_of(run, method="average")["gross"].sum() == pytest.approx(run.equity["realised"][-1], abs=1e-6)


def test_a_runs_trades_have_their_symbol_and_their_return(tmp_path: Path) -> None:
    """Net over entry value, by every grouping and charge rule; from flat to flat it is that of the round trips."""
    settings = {**IMMEDIATE, "charges.profile": "custom", "charges.bps": 10}
    plan = Plan(orders=(5, 100, 20, 150, 50, -120, 60, -130))
    run = ap.replay(hourly(tmp_path / "t", wave(3)), [plan], settings=settings, out=tmp_path)
    for grouping in ("fill_to_fill", "flat_to_reduced", "flat_to_flat"):
        for charges in ("shared", "first"):
            found = run.trades("fifo", grouping, charges=charges)
            assert set(found["symbol"]) == {"AAA"}
            expected = found["net"] / (found["entry_price"] * found["quantity"])
            assert found["return"].to_list() == pytest.approx(expected.to_list())
    trips = run.trades("average", "flat_to_flat")
    assert trips["return"].to_list() == run.round_trips["return"].to_list()
    assert run.trades("fifo").equals(trades_of(run, method="fifo"))


def test_a_run_without_trades_has_a_frame_of_them(tmp_path: Path) -> None:
    """With the same columns."""
    run = ap.replay(hourly(tmp_path / "t", wave(1)), [Plan(orders=(5, 100))], settings=IMMEDIATE, out=tmp_path)
    assert (run.trades().height, {"symbol", "return"} <= set(run.trades().columns)) == (0, True)


def test_every_figure_stands_in_the_documentation() -> None:
    """With the unit and formula it is made by, and nothing stands there that is none."""
    equity = pl.DataFrame(schema={"ts": pl.Datetime("ns", "UTC"), "equity": pl.Float64, "reason": pl.String})
    fills = pl.DataFrame(schema=dict.fromkeys(("price", "reference_price", "quantity", "multiplier"), pl.Float64))
    found = statistics(equity, fills, pl.DataFrame(schema={"net": pl.Float64}), 100.0)
    page = (ROOT / "docs/statistics.md").read_text(encoding="utf-8").partition("## Every figure")[2]
    rows = {line for line in page.splitlines() if line.startswith("| `")}
    assert rows == {f"| `{one.name}` | {one.unit} | {one.formula.replace('|', '&#124;')} |" for one in found.values()}
