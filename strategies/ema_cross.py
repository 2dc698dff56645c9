"""Two exponential averages of each tick's price: long while the fast one is above the slow one, short while below."""

import alphapanda as ap
from alphapanda.contracts.events import MarketTick
from alphapanda.services.strategy_runner.strategy import Signals


class EmaCross(ap.Strategy):
    """Trades every instrument on its own; both averages start at the first tick."""

    fast: int = 20
    slow: int = 100
    quantity: int = 1

    def on_start(self) -> None:
        """No averages and no side yet."""
        self.alpha_fast, self.alpha_slow = 2 / (self.fast + 1), 2 / (self.slow + 1)
        self.averages: dict[int, list[float]] = {}  # token -> fast, slow, side

    def on_market_data(self, tick: MarketTick) -> Signals:
        """Turn when the averages cross."""
        price, token = tick.last_price, tick.instrument_token
        kept = self.averages.get(token)
        if kept is None:
            self.averages[token] = [price, price, 0]
            return
        kept[0] += self.alpha_fast * (price - kept[0])
        kept[1] += self.alpha_slow * (price - kept[1])
        side = 1 if kept[0] > kept[1] else -1 if kept[0] < kept[1] else 0
        if side and side != kept[2]:
            kept[2] = side
            yield self.target(token, side * self.quantity)
