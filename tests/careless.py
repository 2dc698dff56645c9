"""Strategies that try whatever an author may write, most of it refused somewhere.

What counts is that many rules meet in one run, not that anybody would trade so.
"""

import random
from typing import Any

import alphapanda as ap
from alphapanda.contracts.events import TradingSignal


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # a seed, not a secret


def on_grid(price: float) -> float:
    return round(round(price / 0.05) * 0.05, 2)


class Careless(ap.Strategy):
    """Says anything, at one tick in `one_in`; its code fails at its tick number `fails_at` or soon after."""

    seed: int = 1
    one_in: int = 4
    fails_at: int = 0
    prices: str = "grid"  # or whole prices, as `int` or as `float`

    def on_start(self) -> None:
        self.rng, self.seen = seeded(self.seed), 0

    def now(self, one_in: int) -> bool:
        return self.rng.randrange(one_in) == 0

    def price(self, price: float) -> float:
        if self.prices == "grid":
            return on_grid(price)
        return round(price) if self.prices == "int" else float(round(price))

    def name(self) -> str:
        return f"n{self.rng.randrange(4)}"

    def terms(self, near: float) -> dict[str, Any]:
        away, terms = self.rng.randint(-20, 20) * 0.05, dict[str, Any]()
        kind = self.rng.choice(("market", "market", "market", "limit", "limit", "trigger", "both"))
        if kind == "limit":
            terms["limit"] = self.price(near + away)
        elif kind == "trigger":
            terms["trigger"] = self.price(near + away)
        elif kind == "both":
            terms |= {"trigger": self.price(near + 0.5), "limit": self.price(near + 0.6)}
        may_be = {
            "client_order_id": self.name(), "oco_group": "g", "stop_loss": self.price(near - 1), "validity": "IOC",
            "take_profit": self.price(near + 1), "product": self.rng.choice(("CNC", "MIS", "MIS")),
        }  # fmt: skip
        return terms | {term: value for term, value in may_be.items() if self.now(5)}

    def modification(self, token: int, near: float, lot: int) -> TradingSignal:
        limit = self.price(near + self.rng.randint(-5, 4) * 0.05) if self.now(2) else None
        trigger = self.price(near + 0.3) if self.now(4) else None
        return self.modify(token, self.name(), quantity=self.rng.randint(-2, 2) * lot, limit=limit, trigger=trigger)

    def anything(self, token: int, near: float) -> TradingSignal:
        rng, lot, terms = self.rng, self.instruments[token].lot_size, self.terms(near)
        what = rng.randrange(12)
        if what == 0:
            return self.target(token, rng.randint(-3, 3) * lot, **terms)
        if what == 1:
            return self.weight(token, rng.randint(-4, 4) / 20, **terms)
        if what == 2:
            return self.cancel(token, self.name() + rng.choice(("", ".stop", ".target")))
        if what == 3:
            return self.modification(token, near, lot)
        if what == 4:
            return self.buy(token, rng.randint(1, 9) * lot, price=self.price(near))
        if what < 8:
            return self.buy(token, rng.randint(1, 9) * lot, **terms)
        return self.sell(token, rng.randint(1, 9) * lot, **terms)

    def on_market_data(self, tick: Any) -> Any:
        self.seen += 1
        if 0 < self.fails_at <= self.seen:
            yield self.buy(tick.instrument_token)
            raise RuntimeError("as authors' code does")
        if self.now(self.one_in):
            for _ in range(self.rng.randint(1, 3)):
                yield self.anything(tick.instrument_token, tick.last_price)


class Listener(Careless):
    """Also answers its own rejections, fills, cancellations and failures."""

    def on_rejection(self, rejected: Any) -> Any:
        if self.now(4):
            yield self.anything(rejected.instrument_token, 100.0)

    def on_fill(self, fill: Any) -> Any:
        if self.now(3):
            yield self.anything(fill.instrument_token, fill.price)

    def on_cancel(self, cancelled: Any) -> Any:
        if self.now(4):
            yield self.anything(cancelled.instrument_token, 100.0)

    def on_failure(self, failed: Any) -> None:
        self.seen += 100


class OnBars(Careless):
    """Also speaks at bars: with it nobody may skip a beat."""

    def features(self) -> Any:
        return [ap.Bars("5s"), ap.Sma(3, "5s")]

    def on_bar(self, bar: Any) -> Any:
        if self.now(4):
            yield self.anything(bar.instrument_token, bar.close)


def strategies(seed: int, prices: str = "grid") -> list[ap.Strategy]:
    found: list[ap.Strategy] = [Careless(seed=seed, symbols=("A", "B", "DFUT"), prices=prices)]
    if seed % 4 != 1:
        found.append(Listener(seed=seed + 100, one_in=5, fails_at=300 if seed % 5 == 0 else 0, prices=prices))
    if seed % 3 == 0:
        fails_at = 150 if seed % 2 else 0
        found.append(OnBars(seed=seed + 200, one_in=9, fails_at=fails_at, symbols=("A", "C"), prices=prices))
    return found
