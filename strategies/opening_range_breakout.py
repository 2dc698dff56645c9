"""Buys above the first minutes' range and sells below it, with a stop at its other side; out before the close."""

from collections.abc import Iterable

import alphapanda as ap
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import Bar, OrderCancelled, OrderFailed, OrderFill, RejectedSignal
from alphapanda.services.feature_engine.models import FeatureRequest
from alphapanda.services.strategy_runner.strategy import Signals
from strategies._times import DAY_NS, MINUTE_NS, of_day_ns

ABOVE, BELOW = "above", "below"


class OpeningRangeBreakout(ap.Strategy):
    """One breakout an instrument and day, intraday (MIS).

    The bar of `range_minutes` that starts at `opens` is the range; a day without it (a gap, a late start) is not traded.
    Two stop orders wait a tick outside of it, of which one cancels the other; the entry brings its stop with it. At the
    first minute bar that ends at or past `leaves` what still waits is cancelled, and what is held is closed by an order in
    the group of the entry's exits, so that stop and exit never both fill. Times are local: 330 minutes from UTC in India.
    """

    range_minutes: int = 15
    opens: str = "09:15"
    leaves: str = "15:10"
    quantity: int = 1
    utc_offset_minutes: int = 330

    def features(self) -> Iterable[FeatureRequest]:
        """The range, and minutes to look at the time."""
        return [ap.Bars(f"{self.range_minutes}m"), ap.Bars("1m")]

    def on_start(self) -> None:
        """Nothing waits, and nothing is held."""
        self.opens_ns, self.leaves_ns = of_day_ns(self.opens), of_day_ns(self.leaves)
        if self.opens_ns + self.range_minutes * MINUTE_NS >= self.leaves_ns:
            raise ConfigurationError(f"the range from {self.opens} over {self.range_minutes} minutes ends after {self.leaves}")
        self.waiting: dict[int, set[str]] = {}  # token -> entries that have not come to their end
        self.entry: dict[int, str] = {}  # token -> order id of the entry; the group of its exits has that name
        self.held: dict[int, int] = {}
        self.left: set[int] = set()

    def on_bar(self, bar: Bar) -> Signals:
        """Wait for the breakout once the range is there; leave in time."""
        at_ns = (bar.start_ts_ns + self.utc_offset_minutes * MINUTE_NS) % DAY_NS
        if bar.interval_s == self.range_minutes * 60 and at_ns == self.opens_ns:
            yield from self._wait(bar)
        elif at_ns + bar.end_ts_ns - bar.start_ts_ns >= self.leaves_ns:
            yield from self._leave(bar.instrument_token)

    def _wait(self, bar: Bar) -> Signals:
        token = bar.instrument_token
        self.left.discard(token)
        if self.held.get(token):  # of the day before, when nobody traded it any more: it is closed today, and that is all
            return
        self.waiting[token] = {ABOVE, BELOW}
        tick, group = self.instruments[token].tick_size, f"range-{token}"
        high, low = round(bar.high + tick, 8), round(bar.low - tick, 8)
        yield self.buy(
            token, self.quantity, trigger=high, stop_loss=bar.low, product="MIS", client_order_id=ABOVE, oco_group=group
        )  # fmt: skip
        yield self.sell(
            token, self.quantity, trigger=low, stop_loss=bar.high, product="MIS", client_order_id=BELOW, oco_group=group
        )  # fmt: skip

    def _leave(self, token: int) -> Signals:
        for name in sorted(self.waiting.pop(token, ())):
            yield self.cancel(token, name)
        held = self.held.get(token, 0)
        if held and token not in self.left:
            self.left.add(token)
            close = self.sell if held > 0 else self.buy
            yield close(token, abs(held), product="MIS", oco_group=self.entry[token], note="leave")

    def on_fill(self, fill: OrderFill) -> None:
        """Count what is held: entries, their stops, exits, and a square-off by the broker."""
        token = fill.instrument_token
        self.held[token] = self.held.get(token, 0) + fill.quantity
        if fill.client_order_id in (ABOVE, BELOW):
            self.entry[token] = fill.order_id
            if not fill.remaining:
                self._ended(token, fill.client_order_id)

    def on_rejection(self, rejected: RejectedSignal) -> None:
        """An entry that risk refused; a refused exit is asked for again with the next minute."""
        if not rejected.client_order_id:
            self.left.discard(rejected.instrument_token)
        elif rejected.action == "place":
            self._ended(rejected.instrument_token, rejected.client_order_id)

    def on_cancel(self, cancelled: OrderCancelled) -> None:
        """The other entry, or the day's end."""
        self._ended(cancelled.instrument_token, cancelled.client_order_id)

    def on_failure(self, failed: OrderFailed) -> None:
        """An entry that was not taken."""
        self._ended(failed.instrument_token, failed.client_order_id)

    def _ended(self, token: int, name: str) -> None:
        self.waiting.get(token, set()).discard(name)
