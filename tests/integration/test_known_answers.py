"""Whole replays whose results another system computed."""

from pathlib import Path
from typing import Any

import polars as pl

import alphapanda as ap
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.profiles import load_profile

MINUTE_NS = 60_000_000_000
START_NS = 1_577_836_800_000_000_000  # 2020-01-01


class BuyThenSell(ap.Strategy):
    """Buys on the second quote and sells on the fourth."""

    def on_start(self) -> None:
        self.quotes = 0

    def on_market_data(self, tick: Any) -> Any:
        self.quotes += 1
        if self.quotes == 2:
            yield self.buy(tick.instrument_token, 100_000)
        if self.quotes == 4:
            yield self.sell(tick.instrument_token, 100_000)


def five_quotes(path: Path) -> Path:
    prices = [0.7, 0.7, 0.7001, 0.7002, 0.7002]
    rows = pl.DataFrame({
        "ts_ns": [START_NS + i * MINUTE_NS for i in range(5)], "instrument_token": [1] * 5, "last_price": prices, "bid": prices,
        "ask": prices, "bid_quantity": [1_000_000] * 5, "ask_quantity": [1_000_000] * 5,
    })  # fmt: skip
    instrument = Instrument(1, "AUD/USD", segment="FX", tick_size=0.00001, currency="USD")
    with TapeWriter(
        path, profile=load_profile("always"), instruments=[instrument], columns=rows.columns, source="test", beat_interval_s=60
    ) as writer:
        writer.rows(rows)
        writer.close()
    return path


def test_five_quotes_bought_on_the_second_and_sold_on_the_fourth(tmp_path: Path) -> None:
    """nautilus_trader, test_backtest_result_summary_parity_smoke: 1,000,017.20 after 1.40 of commission a side."""
    settings = {
        "execution.fill_model": "immediate", "execution.price": "opposite", "charges.profile": "custom", "charges.bps": 0.2,
        "charges.decimals": 2,
    }  # fmt: skip
    run = ap.replay(five_quotes(tmp_path / "t"), [BuyThenSell()], settings=settings, out=tmp_path)
    assert run.fills.select("price", "charges").rows() == [(0.7, 1.4), (0.7002, 1.4)]
    assert (run.equity["equity"][-1], round(run.stats["net_pnl"], 8), run.stats["round_trips"]) == (1_000_017.2, 17.2, 1)


def test_the_same_with_the_next_quote(tmp_path: Path) -> None:
    """Bought at 0.70010, sold at 0.70020: 10.00 less nothing."""
    settings = {"execution.price": "opposite", "charges.profile": "none"}
    run = ap.replay(five_quotes(tmp_path / "t"), [BuyThenSell()], settings=settings, out=tmp_path)
    assert run.fills["price"].to_list() == [0.7001, 0.7002]
    assert run.equity["equity_e8"][-1] == 100_001_000_000_000
