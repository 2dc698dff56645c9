"""The null benchmark: buys at the first tick and holds."""

import alphapanda as ap
from alphapanda.contracts.events import MarketTick
from alphapanda.services.strategy_runner.strategy import Signals


class BuyAndHold(ap.Strategy):
    """Puts an equal part of the book into each instrument at its first tick; `invested` is the whole of it."""

    invested: float = 0.95

    def on_start(self) -> None:
        """Nothing bought."""
        self.bought: set[int] = set()

    def on_market_data(self, tick: MarketTick) -> Signals:
        """Buy once."""
        if tick.instrument_token not in self.bought:
            self.bought.add(tick.instrument_token)
            yield self.weight(tick.instrument_token, self.invested / len(self.instruments))
