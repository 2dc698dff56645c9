"""Averages that cross on quotes: the EMACross example of nautilus_trader 1.221.0 made these fills and this balance.

Every 50th mid is a bar of its own there (`50-TICK-MID`), counted here by the strategy; minute bars are ours, as nautilus makes
them with `time_bars_build_with_no_updates=False`: a minute without a quote has no bar.
"""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.runtime.tape_import import import_tape
from tests.draws import draws

PLAN = """kind = "quotes"
profile = "always"
symbol = "EUR/USD"
[time]
unit = "ms"
[columns]
bid = "bid"
ask = "ask"
[[instruments]]
symbol = "EUR/USD"
segment = "FX"
tick_size = 0.00001
currency = "USD"
"""
QUOTES = 6_000
SAME_QUOTE = {
    "execution.fill_model": "immediate", "execution.price": "opposite", "charges.profile": "custom", "charges.bps": 0.2,
    "charges.decimals": 2,
}  # fmt: skip


def quotes() -> list[tuple[int, float, float]]:
    """Milliseconds, bid and ask; every fiftieth comes late, so that some minutes have none."""
    draw, ms, mid, rows = draws(11), 1_577_840_400_000, 110_000, []  # 2020-01-01 01:00
    for n in range(QUOTES):
        ms += 200 + next(draw) * (3 if n % 50 else 150)
        trend = (1 if n // 700 % 2 == 0 else -1) if n % 3 == 0 else 0
        mid += next(draw) % 7 - 3 + trend
        half = 1 + next(draw) % 3
        rows.append((ms, (mid - half) / 100_000, (mid + half) / 100_000))
    return rows


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quotes")
    pl.DataFrame(quotes(), schema=["ts", "bid", "ask"], orient="row").write_csv(folder / "quotes.csv")
    (folder / "map.toml").write_text(PLAN, encoding="utf-8")
    import_tape([folder / "quotes.csv"], folder / "map.toml", folder / "tape")
    return folder / "tape"


class EmaCross(ap.Strategy):
    """Long while the average of 10 bars is at or above that of 20, else short; each turn closes, then opens; flat at the end."""

    every: int = 50  # mids a bar; 0: minute bars

    def features(self) -> Any:
        return [] if self.every else [ap.Bars("1m")]

    def on_start(self) -> None:
        self.quotes = self.bars = self.side = 0
        self.fast = self.slow = 0.0
        self.seen: list[float] = []

    def on_market_data(self, tick: Any) -> Any:
        self.quotes += 1
        self.seen.append(tick.last_price)
        if self.every and len(self.seen) == self.every:
            flat = min(self.seen) == max(self.seen)
            self.seen.clear()
            yield from self.closed(tick.instrument_token, tick.last_price, flat)
        if self.quotes == QUOTES and self.side:
            yield self.order(tick.instrument_token, -self.side)

    def on_bar(self, bar: Any) -> Any:
        yield from self.closed(bar.instrument_token, bar.close, bar.high == bar.low)

    def closed(self, token: int, close: float, flat: bool) -> Any:
        self.bars += 1
        if self.bars == 1:
            self.fast = self.slow = close
        self.fast += 2 / 11 * (close - self.fast)
        self.slow += 2 / 21 * (close - self.slow)
        side = 1 if self.fast >= self.slow else -1
        if self.bars < 20 or flat or side == self.side:
            return
        for _ in range(2 if self.side else 1):
            yield self.order(token, side)
        self.side = side

    def order(self, token: int, side: int) -> Any:
        return (self.buy if side > 0 else self.sell)(token, 100_000)


Turn = tuple[str, int, float]
BY_COUNT: list[Turn] = [
    ("01:52:52.520", 1, 1.10153), ("02:06:30.403", -1, 1.10042), ("02:28:31.540", 1, 1.10153), ("03:13:01.274", -1, 1.10079),
    ("03:56:17.345", 1, 1.10089), ("04:11:07.448", -1, 1.10027), ("05:04:50.595", 1, 1.10050), ("05:44:03.198", -1, 1.09967),
    ("06:19:24.831", 1, 1.10067),
]  # fmt: skip
BY_MINUTE: list[Turn] = [
    ("01:23:00.000", 1, 1.10087), ("01:56:00.000", -1, 1.10135), ("02:25:00.000", 1, 1.10099), ("03:00:00.000", -1, 1.10150),
    ("03:41:00.000", 1, 1.10059), ("04:09:00.000", -1, 1.10025), ("04:55:00.000", 1, 1.09940), ("05:37:00.000", -1, 1.10051),
    ("06:14:00.000", 1, 1.10006),
]  # fmt: skip


@pytest.mark.parametrize(
    ("every", "turns", "balance", "figures"),
    [
        (50, BY_COUNT, 999_384.40, (0.0, -68.4, None, -68.4, None, -115.4)),
        (0, BY_MINUTE, 1_000_452.40, (8 / 9, 50.26666666666667, 61.35, -38.4, 106.6, -38.4)),
    ],
    ids=["bars of fifty quotes", "minute bars"],
)
def test_fills_and_the_balance_are_those_of_nautilus(
    tape: Path, tmp_path: Path, every: int, turns: list[Turn], balance: float, figures: tuple[float | None, ...]
) -> None:
    """Times to the millisecond, prices exactly, fees of 0.2 basis points rounded to the cent for each of 18 orders."""
    run = ap.replay(tape, [EmaCross(every=every)], settings=SAME_QUOTE, out=tmp_path, progress=False)
    expected = [one for n, one in enumerate(turns) for _ in range(2 if n else 1)] + [("06:19:24.831", -1, 1.10065)]
    fills = run.fills.select(pl.col("ts").dt.strftime("%H:%M:%S%.3f"), pl.col("quantity") // 100_000, "price").rows()
    assert fills == expected
    assert (run.equity["equity"][-1], run.stats["charges"]) == (balance, pytest.approx(39.6))
    names = ("win_rate", "expectancy", "average_win", "average_loss", "largest_win", "largest_loss")
    assert [run.stats[name] for name in names] == [None if one is None else pytest.approx(one) for one in figures]
