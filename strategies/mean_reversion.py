"""Fades a bar's close that lies far from its rolling mean, and gets out when it comes back."""

from collections.abc import Iterable

import alphapanda as ap
from alphapanda.contracts.events import FeatureSet
from alphapanda.services.feature_engine.models import FeatureRequest
from alphapanda.services.strategy_runner.strategy import Signals


class MeanReversion(ap.Strategy):
    """Short above `entry` standard deviations, long below minus `entry`, flat within `leave`."""

    window: int = 20
    interval: str = "1m"
    entry: float = 2.0
    leave: float = 0.5
    quantity: int = 1

    def features(self) -> Iterable[FeatureRequest]:
        """The rolling z-score of the bars' closes."""
        return [ap.ZScore(self.window, self.interval)]

    def on_start(self) -> None:
        """Flat everywhere."""
        self.side: dict[int, int] = {}

    def on_features(self, features: FeatureSet) -> Signals:
        """Enter far from the mean, leave near it."""
        token, score = features.instrument_token, features.values[f"zscore_{self.window}"]
        held = self.side.get(token, 0)
        side = -1 if score > self.entry else 1 if score < -self.entry else 0 if abs(score) < self.leave else held
        if side != held:
            self.side[token] = side
            yield self.target(token, side * self.quantity, note=f"z={score:.2f}")
