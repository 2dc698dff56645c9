"""Strategies that exercise the rules: they trade much, on their own fills too."""

from typing import Any

import alphapanda as ap


class Turner(ap.Strategy):
    """Turns with each move of a price."""

    def on_start(self) -> None:
        self.last: dict[int, float] = {}
        self.side: dict[int, int] = {}

    def features(self) -> Any:
        return [ap.Bars("1s"), ap.Sma(2)]

    def on_features(self, features: Any) -> Any:
        token, mean = features.instrument_token, features.values["sma_2"]
        side = (self.last[token] > mean) - (self.last[token] < mean)
        if side and side != self.side.get(token):
            self.side[token] = side
            yield self.target(token, side)

    def on_market_data(self, tick: Any) -> Any:
        self.last[tick.instrument_token] = tick.last_price

    def on_bar(self, bar: Any) -> Any:
        if bar.ticks > 3:
            yield self.buy(bar.instrument_token, 1, note=f"{bar.volume} {bar.close}")


class Inventory(ap.Strategy):
    """Uses its own fills: offers what it got, and a little later where it was refused."""

    def on_start(self) -> None:
        self.held, self.patience = 0, 0

    def on_market_data(self, tick: Any) -> Any:
        self.patience -= 1
        if self.patience < 0:
            self.patience = 4
            yield self.buy(tick.instrument_token) if self.held <= 0 else self.sell(tick.instrument_token)

    def on_fill(self, fill: Any) -> Any:
        self.held, self.patience = self.held + fill.quantity, 6
        yield self.target(fill.instrument_token, -self.held)

    def on_cancel(self, cancelled: Any) -> Any:
        self.patience = 0

    def on_rejection(self, rejected: Any) -> Any:
        self.patience = 2
