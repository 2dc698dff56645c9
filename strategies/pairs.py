"""Trades the ratio of two instruments against its own average."""

import alphapanda as ap
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import MarketTick
from alphapanda.services.strategy_runner.strategy import Signals


class Pairs(ap.Strategy):
    """Sells the first of two `symbols` against the second when their price ratio is high, buys it when low.

    Each leg is `value` in currency, in whole lots. The ratio's mean is exponential over `window` pairs of ticks.
    """

    window: int = 500
    entry_bps: float = 15.0
    leave_bps: float = 3.0
    value: float = 50_000.0

    def on_start(self) -> None:
        """Needs exactly two instruments."""
        if len(self.instruments) != 2:
            raise ConfigurationError(f"Pairs trades two instruments and was handed {len(self.instruments)}: set symbols=A,B")
        by_symbol = {instrument.symbol: token for token, instrument in self.instruments.items()}
        self.first, self.second = (by_symbol[name] for name in self.symbols) if self.symbols else sorted(self.instruments)
        self.prices: dict[int, float] = {}
        self.mean, self.seen, self.side = 0.0, 0, 0

    def on_market_data(self, tick: MarketTick) -> Signals:
        """Both legs turn together."""
        self.prices[tick.instrument_token] = tick.last_price
        if len(self.prices) < 2:
            return
        ratio = self.prices[self.first] / self.prices[self.second]
        self.seen += 1
        self.mean = ratio if self.seen == 1 else self.mean + 2 / (self.window + 1) * (ratio - self.mean)
        away_bps = (ratio / self.mean - 1) * 10_000
        far, near = abs(away_bps) > self.entry_bps, abs(away_bps) < self.leave_bps
        side = (-1 if away_bps > 0 else 1) if far else 0 if near else self.side
        if self.seen > self.window and side != self.side:
            self.side = side
            for token, sign in ((self.first, 1), (self.second, -1)):
                lot = self.instruments[token].lot_size
                lots = int(self.value / self.prices[token] / lot)
                yield self.target(token, side * sign * lots * lot)
