"""Daily bars: the same bars, strategies and costs in backtesting.py 0.6.6 and zipline-reloaded 3.2.1 gave these figures.

A daily bar closes with its session, so a strategy decides after it, and its order waits for the next session, whose first tick
is the next bar's open. A tape of closes stamped at midnight has quotes of a day ago by then: `risk.max_quote_age_s=none`.
"""

import math
from datetime import date, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import alphapanda as ap
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research import ratios as r
from alphapanda.research import trades as t
from alphapanda.research.runs import Run
from alphapanda.runtime.tape_import import import_tape
from alphapanda.runtime.tape_slice import slice_tape
from tests.draws import draws

pytestmark = pytest.mark.untraced

PLAN = """profile = "always"
symbol = "A"
beat_interval_s = 3600
[time]
format = "%Y-%m-%d"
zone = "UTC"
[[instruments]]
symbol = "A"
tick_size = 0.01
currency = "USD"
"""
PRICES = '[columns]\nopen = "open"\nhigh = "high"\nlow = "low"\nclose = "close"\nvolume = "volume"\n'
BARS = f'kind = "bars"\n{PLAN}{PRICES}[bar]\ninterval_s = 86400\n'
CLOSES = f'kind = "trades"\n{PLAN}[columns]\nprice = "close"\nsize = "volume"\n'
AFTER_THE_CLOSE = {
    "risk.require_cash": False, "charges.profile": "custom", "pipeline.snapshot_interval_s": 86_400,
}  # fmt: skip


def daily_bars() -> list[tuple[str, float, float, float, float, int]]:
    """250 weekdays from 2020-01-06 on, up and down by turns."""
    draw, day, close, rows = draws(7), date(2020, 1, 6), 100_00, []
    while len(rows) < 250:
        if day.weekday() < 5:
            drift = 30 if len(rows) // 40 % 2 == 0 else -26
            opened = close + next(draw) % 101 - 50
            close = opened + drift + next(draw) % 301 - 150
            high = max(opened, close) + next(draw) % 80
            low = min(opened, close) - next(draw) % 80
            rows.append((day.isoformat(), opened / 100, high / 100, low / 100, close / 100, 50_000 + next(draw)))
        day += timedelta(1)
    return rows


@pytest.fixture(scope="module")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tapes `bars` (four ticks a day) and `closes` (one)."""
    folder = tmp_path_factory.mktemp("daily")
    names = ["ts", "open", "high", "low", "close", "volume"]
    pl.DataFrame(daily_bars(), schema=names, orient="row").write_csv(folder / "daily.csv")
    for name, plan in (("bars", BARS), ("closes", CLOSES)):
        (folder / f"{name}.toml").write_text(plan, encoding="utf-8")
        import_tape([folder / "daily.csv"], folder / f"{name}.toml", folder / name)
    return folder


def replayed(tape: Path, strategy: ap.Strategy, out: Path, cash: float, **settings: Any) -> Run:
    wanted = {name.replace("__", "."): value for name, value in settings.items()}
    return ap.replay(
        tape, [strategy], settings={**AFTER_THE_CLOSE, "portfolio.start_cash": cash, **wanted}, out=out, progress=False
    )


def closes(run: Run) -> Any:
    """Equity at session closes."""
    return run.equity.filter(pl.col("reason") == "end").unique("ts", keep="last", maintain_order=True)["equity"].to_numpy()


class Cross(ap.Strategy):
    """Long 10 when the fast mean crosses above the slow one, short 10 when it crosses below."""

    def features(self) -> Any:
        return [ap.Sma(5, "1d"), ap.Sma(12, "1d")]

    def on_start(self) -> None:
        self.before: float | None = None

    def on_features(self, features: Any) -> Any:
        fast, slow = features.values.get("sma_5"), features.values.get("sma_12")
        if fast is None or slow is None:
            return
        if self.before is not None and self.before * (fast - slow) < 0:
            yield self.target(features.instrument_token, 10 if fast > slow else -10)
        self.before = fast - slow


@pytest.fixture(scope="module")
def crossed(tapes: Path) -> Run:
    """Fills at the next open, 0.2 % of each fill's value."""
    return replayed(tapes / "bars", Cross(), tapes, 10_000, charges__bps=20)


PNL = [
    67.0752, 1.1074, 7.3198, -25.714, -47.0566, 23.1028, -10.865, -17.1524, -14.1464, -18.5376, -35.772, -16.81, 206.5358,
    73.3028, -2.5486, -21.2112, 57.4458,
]  # fmt: skip
ENTRIES = [
    106.68, 99.56, 100.07, 98.94, 96.76, 101.07, 103.79, 104.46, 103.16, 104.16, 102.72, 105.88, 104.62, 83.59, 91.27, 91.16,
    89.4, 83.31,
]  # fmt: skip


def test_means_that_cross_on_daily_bars_fill_at_the_next_open(crossed: Run) -> None:
    """backtesting.py: every price, each trade's profit and commission, and the equity of each day."""
    trips = crossed.round_trips
    assert crossed.rejections.height == 0
    assert crossed.fills["price"].to_list() == ENTRIES
    assert trips["net"].to_list() == pytest.approx(PNL)
    assert trips.select("entry_ts", "exit_ts").cast(pl.Date).row(0) == (date(2020, 3, 12), date(2020, 4, 13))
    assert trips["charges"].sum() == pytest.approx(67.0242)
    assert closes(crossed)[-1] == pytest.approx(10_258.1096)
    assert closes(crossed).sum() == pytest.approx(2_517_749.1476)


def test_a_trades_figures_are_those_of_backtesting_py(crossed: Run) -> None:
    """Percentages as fractions."""
    expected = {
        "total_return": 0.02581096, "round_trips": 17, "win_rate": 0.4117647058823529, "best_trade": 0.19741521697572168,
        "worst_trade": -0.048632286068623225, "average_trade": 0.01217098480478973, "expectancy_return": 0.013749632973962962,
        "sqn": 0.9009540917098449, "kelly": 0.21356333184851828, "longest_duration_s": 61 * 86_400,
    }  # fmt: skip
    assert {name: crossed.stats[name] for name in expected} == pytest.approx(expected)


def test_what_backtesting_py_defines_otherwise_can_be_had(crossed: Run) -> None:
    """As the table of `docs/statistics.md` says: from returns between closes, without the first from the start."""
    equity = closes(crossed)
    daily, growth = r.returns(equity), equity[-1] / equity[0]
    mean, annual = growth ** (1 / len(r.returns(equity))), r.annual_return(r.returns(equity))
    downside, fall = r.downside_deviation(daily, ddof=0), r.max_drawdown(equity)
    assert annual is not None
    assert downside is not None
    assert fall is not None
    volatility = math.sqrt((daily.var(ddof=1) + mean**2) ** 252 - mean**504)
    found = {
        "Return (Ann.)": annual, "Volatility (Ann.)": volatility, "Sharpe": annual / volatility, "Sortino": annual / downside,
        "Calmar": annual / -fall, "CAGR": growth ** (365.25 / 347) - 1, "Max. Drawdown": fall,
        "Profit Factor": t.profit_factor(crossed.round_trips["return"]),
        "Max. Drawdown Duration": r.longest_drawdown_s(np.cumsum(_days()) * 86_400 * 10**9, equity) / 86_400,
    }  # fmt: skip
    assert found == pytest.approx(
        {
            "Return (Ann.)": 0.026125962973848615, "Volatility (Ann.)": 0.014884109700277057, "Sharpe": 1.755292288215418,
            "Sortino": 2.8626158152368704, "Calmar": 1.6142765792235274, "CAGR": 0.027186744892574666,
            "Max. Drawdown": -0.016184316436292034,
            "Profit Factor": 2.1142216659673556, "Max. Drawdown Duration": 125,
        },
        rel=1e-9,
    )  # fmt: skip


def _days() -> list[int]:
    """From one bar to the next; the first counts as none."""
    dates = [date.fromisoformat(one[0]) for one in daily_bars()]
    return [0, *((later - one).days for one, later in pairwise(dates))]


class Drawn(ap.Strategy):
    """Every fourth bar from the second on, a quantity drawn from -20 to 20."""

    def features(self) -> Any:
        return [ap.Bars("1d")]

    def on_start(self) -> None:
        self.bars, self.quantities = 0, [one % 41 - 20 for one in islice(draws(3), 100)]

    def on_bar(self, bar: Any) -> Any:
        turn, rest = divmod(self.bars, 4)
        self.bars += 1
        if rest or not turn:
            return
        quantity = self.quantities[turn - 1]
        if quantity:
            yield (self.buy if quantity > 0 else self.sell)(bar.instrument_token, abs(quantity))


def test_scaling_in_and_out_closes_the_oldest_first(tapes: Path, tmp_path: Path) -> None:
    """backtesting.py's trades are `fifo` and `fill_to_fill`, with a share of the commission each."""
    run = replayed(tapes / "bars", Drawn(), tmp_path, 1_000_000, charges__bps=10)
    found = run.trades("fifo", "fill_to_fill")
    by_entry = found.sort("entry_ts", "exit_ts").select("quantity", "entry_price", "exit_price", "net").rows()
    assert by_entry[:5] == [
        pytest.approx(one)
        for one in (
            (5, 99.7, 99.89, -1.94795), (6, 99.7, 102.07, -15.43062), (11, 102.07, 102.35, 0.83138),
            (2, 102.39, 102.35, -0.48948), (3, 102.39, 102.79, 0.58446),
        )
    ]  # fmt: skip
    figures = t.trade_statistics(found["net"], returns=found["return"], charges=found["charges"])
    expected = {
        "trades": 56, "total_profit": -487.48926, "trade_charges": 59.78926, "win_rate": 0.32142857142857146,
        "sqn": -1.5642153142440836, "expectancy_return": -0.021185793794007846, "average_trade": -0.023142506366504056,
        "best_trade": 0.09213907205371052, "worst_trade": -0.16113521836506155, "kelly": -0.2953826965177014,
    }  # fmt: skip
    assert {name: figures[name].value for name in expected} == pytest.approx(expected)
    assert t.profit_factor(found["return"]) == pytest.approx(0.4249263256130848)
    assert run.equity["equity"][-1] == pytest.approx(999_505.44412)


class DualMean(ap.Strategy):
    """Holds 100 while the mean of 8 closes is above that of 20."""

    def features(self) -> Any:
        return [ap.Sma(8, "1d"), ap.Sma(20, "1d")]

    def on_features(self, features: Any) -> Any:
        short, long = features.values.get("sma_8"), features.values.get("sma_20")
        if short is not None and long is not None:
            yield self.target(features.instrument_token, 100 if short > long else 0)


COSTS: dict[str, tuple[dict[str, Any], list[float], float, float, float, float]] = {
    "a fee for each share with a minimum": (
        {"charges__per_share": 0.0125, "charges__min": 1.5},
        [102.17, 104.7, 104.0, 102.61, 107.24, 100.47, 83.58, 88.03, 85.78],
        99_958.5, -0.03551487932458841, -0.051642122659301126, -0.014497280520395455,
    ),
    "a fee for each order, basis points of slippage": (
        {"charges__per_order": 5, "execution__slippage_bps": 5, "execution__participation": 0.1},
        [102.221085, 104.64765, 104.052, 102.558695, 107.29362, 100.419765, 83.62179, 87.985985, 85.82289],
        99_883.071, -0.10902245526396609, -0.1580093642037804, -0.015005569607730149,
    ),
    "a fee of the value, half a spread": (
        {"charges__bps": 15, "execution__slippage_ticks": 1},
        [102.18, 104.69, 104.01, 102.6, 107.25, 100.46, 83.59, 88.02, 85.79],
        99_831.2115, -0.15925523174383646, -0.23022167771884358, -0.015366104259720936,
    ),
}  # fmt: skip


@pytest.mark.parametrize("costs", COSTS)
def test_two_means_fill_at_the_next_close(tapes: Path, tmp_path: Path, costs: str) -> None:
    """zipline: prices, value, Sharpe ratio, Sortino ratio (ddof 0) and drawdown."""
    settings, prices, worth, sharpe, sortino, fall = COSTS[costs]
    run = replayed(tapes / "closes", DualMean(), tmp_path, 100_000, risk__max_quote_age_s=None, **settings)
    assert run.fills["price"].to_list() == pytest.approx(prices)
    equity = closes(run)
    assert (len(equity), equity[-1]) == (250, pytest.approx(worth))
    assert (run.stats["sharpe"], run.stats["max_drawdown"]) == pytest.approx((sharpe, fall))
    assert r.sortino(r.returns([100_000, *equity]), ddof=0) == pytest.approx(sortino)


class Stopped(ap.Strategy):
    """Long or short 10 where two means cross, with a stop 1.5 % away: of the entry's day a bracket's, then one for each day."""

    def features(self) -> Any:
        return [ap.Bars("1d"), ap.Sma(5, "1d"), ap.Sma(12, "1d")]

    def on_start(self) -> None:
        self.before, self.close, self.stop, self.held = 0.0, 0.0, 0.0, 0

    def on_bar(self, bar: Any) -> None:
        self.close = bar.close

    def on_fill(self, fill: Any) -> None:
        self.held += fill.quantity

    def on_features(self, features: Any) -> Any:
        fast, slow, token = features.values.get("sma_5"), features.values.get("sma_12"), features.instrument_token
        if fast is None or slow is None:
            return
        apart, before, self.before = fast - slow, self.before, fast - slow
        if before * apart < 0:
            side = 1 if apart > 0 else -1
            self.stop = round(self.close * (1 - 0.015 * side), 2)
            yield self.target(token, 10 * side, stop_loss=self.stop, oco_group="day")  # counts without the stop of this day
        elif self.held:
            yield (self.sell if self.held > 0 else self.buy)(token, 10, trigger=self.stop, oco_group="day")


STOPPED = [
    (106.68, 108.62), (99.56, 97.51), (100.07, 101.4), (98.94, 97.94), (96.76, 98.71), (101.07, 103.79), (103.79, 104.91),
    (104.46, 103.23), (103.16, 104.67), (104.16, 102.69), (102.72, 104.15), (105.88, 104.44), (104.62, 83.59), (83.59, 81.99),
    (91.27, 91.16), (91.16, 89.99), (89.4, 90.23),
]  # fmt: skip
"""Entry and exit; the second one's stop at 97.93 was jumped over by the next day's open."""


def test_stops_inside_daily_bars_fill_at_their_triggers(tapes: Path, tmp_path: Path) -> None:
    """backtesting.py: each trade's prices, and the equity at the end."""
    slice_tape(tapes / "bars", tmp_path / "part", "2020-03-02T00:00:00Z")
    for tape in (tapes / "bars", tmp_path / "part"):
        with pytest.raises(ConfigurationError, match=r"set execution\.bar_interval_s=86400"):
            replayed(tape, Stopped(), tmp_path, 10_000, execution__stop_price="trigger")
    inside = {"execution__stop_price": "trigger", "execution__bar_interval_s": 86_400}
    run = replayed(tapes / "bars", Stopped(), tmp_path, 10_000, charges__profile="none", **inside)
    assert run.round_trips.select("entry_price", "exit_price").rows() == STOPPED
    assert closes(run)[-1] == pytest.approx(10_071.6)
