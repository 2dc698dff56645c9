"""Statistics by hand."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.core.ledger import E8
from alphapanda.research import performance as p
from alphapanda.research.round_trips import round_trips

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
