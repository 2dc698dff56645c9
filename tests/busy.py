"""A strategy with every kind of order, and a small tape for it: what results are told from."""

import random
from pathlib import Path
from typing import Any

import polars as pl

import alphapanda as ap
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.profiles import load_profile
from tests.builders import OPEN_NS

SETTINGS: dict[str, Any] = {
    "execution.fill_model": "depth", "execution.price": "opposite", "execution.latency_ms": 150, "risk.max_position": 60,
    "risk.max_order_notional": 4_500.0, "risk.require_cash": False, "risk.orders_per_minute": 40, "risk.max_drawdown": 0.4,
    "portfolio.start_cash": 100_000.0,
}  # fmt: skip


class Busy(ap.Strategy):
    """Sends limits, stops, IOC, brackets and MIS orders, changes and cancels them, in turn."""

    seed: int = 1
    every: int = 9
    planted: int = 0  # the signal that is twice as large

    def on_start(self) -> None:
        self.rng, self.count, self.names, self.said = random.Random(self.seed), 0, list[str](), 0  # noqa: S311  # seeded

    def on_market_data(self, tick: Any) -> Any:
        self.count += 1
        if self.count % self.every:
            return
        self.said += 1
        yield self.one(tick, self.count // self.every % 9, 2 if self.said == self.planted else 1)

    def one(self, tick: Any, kind: int, times: int) -> Any:
        token, price, side = tick.instrument_token, tick.last_price, self.rng.choice([-1, 1])
        quantity, name = side * self.rng.randint(1, 30) * times, f"o{self.count}"
        near = round(price - side * self.rng.choice([0.0, 0.05, 0.5]), 2)
        if kind == 0:
            return self.buy(token, quantity, note="market")
        if kind == 1:
            self.names.append(f"{token}:{name}")
            return self.buy(token, quantity, limit=near, client_order_id=name)
        if kind == 2:
            return self.buy(token, quantity, limit=near, validity="IOC")
        if kind == 3:
            return self.buy(token, quantity, trigger=round(price + side * 0.1, 2))
        if kind == 4:
            return self.buy(token, quantity, stop_loss=round(price - side * 0.2, 2), take_profit=round(price + side * 0.2, 2))
        if kind in (5, 6) and self.names:
            token_text, name = self.names[-1].split(":")
            if kind == 5:
                return self.modify(int(token_text), name, limit=round(near + 0.05, 2))
            return self.cancel(int(token_text), self.names.pop().split(":")[1])
        if kind == 7:
            return self.buy(token, quantity, product="MIS")
        return self.target(token, self.rng.choice([-20, 0, 20]))


class OnBars(ap.Strategy):
    """Decides on bars and features, and on its own fills."""

    def features(self) -> Any:
        return [ap.Bars("1m"), ap.Sma(3, "1m")]

    def on_start(self) -> None:
        self.mean: dict[int, float] = {}

    def on_features(self, features: Any) -> Any:
        self.mean[features.instrument_token] = features.values["sma_3"]

    def on_bar(self, bar: Any) -> Any:
        mean = self.mean.get(bar.instrument_token)
        if mean is not None:
            yield self.target(bar.instrument_token, 2 if bar.close > mean else -2, note=f"mean {mean:.3f}")

    def on_fill(self, fill: Any) -> Any:
        if fill.quantity == 4:
            yield self.sell(fill.instrument_token, 1, note="took profit")


def busy_tape(path: Path, ticks: int = 4_000, seed: int = 2, segment_rows: int = 1_500) -> Path:
    """Two shares over a whole session, with a spread of one tick and small depth; MIS is squared off on it."""
    rng = random.Random(seed)  # noqa: S311  # prices, not secrets
    prices, rows = {1: 100.0, 2: 60.0}, []
    for i in range(ticks):
        token = rng.choice([1, 1, 2])
        prices[token] = round(max(5.0, prices[token] + rng.choice([-0.05, 0.0, 0.05])), 2)
        rows.append({
            "ts_ns": OPEN_NS + i * (22_400_000_000_000 // ticks) + rng.randrange(10**8), "instrument_token": token,
            "last_price": prices[token], "last_quantity": rng.randint(1, 40), "bid": round(prices[token] - 0.05, 2),
            "ask": prices[token], "bid_quantity": rng.randint(1, 25), "ask_quantity": rng.randint(1, 25),
        })  # fmt: skip
    frame = pl.DataFrame(rows)
    table = [Instrument(1, "ONE"), Instrument(2, "TWO")]
    with TapeWriter(path, profile=load_profile("nse"), instruments=table, columns=frame.columns, source="busy",
                    segment_rows=segment_rows) as writer:  # fmt: skip
        writer.rows(frame)
        writer.close()
    return path
