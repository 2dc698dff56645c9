"""A strategy for measuring the way from tick to order."""

from typing import Any

import alphapanda as ap


class EveryNth(ap.Strategy):
    """Turns its position on every n-th tick."""

    every: int = 10

    def on_start(self) -> None:
        """No tick yet."""
        self.seen, self.side = 0, 1

    def on_market_data(self, tick: Any) -> Any:
        """Count, and now and then say something."""
        self.seen += 1
        if self.seen % self.every == 0:
            self.side = -self.side
            yield self.target(tick.instrument_token, self.side)
