"""How much a tick has on offer, what one order takes of it, and which price a stop passed on the way to it."""

from dataclasses import dataclass
from fractions import Fraction

from alphapanda.contracts.events import MarketTick
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.lifecycle import OrderState
from alphapanda.services.trading_engine.models import PaperExecution
from alphapanda.services.trading_engine.rules import fill_price, fill_quantity, triggered, within_a_bar
from alphapanda.services.trading_engine.state import WorkingOrder

TRIGGER_PENDING = OrderState.TRIGGER_PENDING


@dataclass(slots=True)
class Offer:
    """What orders may still take at one tick, for buys and for sells; None: all they want."""

    for_buys: int | None
    for_sells: int | None
    for_all: int | None = None  # for both together

    @classmethod
    def of(cls, tick: MarketTick, rules: PaperExecution, volumes: dict[int, int]) -> "Offer":
        """What the tick offers; notes its cumulative volume in `volumes` where participation needs it."""
        if rules.participation is None and rules.fill_model != "depth":
            return ALL_THEY_WANT
        buys = sells = None
        if rules.fill_model == "depth":
            buys, sells = tick.ask_quantity or 0, tick.bid_quantity or 0
        together = None
        if rules.participation is not None:
            together = int(_traded(tick, volumes) * Fraction(str(rules.participation)))
        return cls(buys, sells, together)

    def available(self, quantity: int) -> int | None:
        """What is left for a signed quantity."""
        side = self.for_buys if quantity > 0 else self.for_sells
        if side is None or self.for_all is None:
            return self.for_all if side is None else side
        return min(side, self.for_all)

    def take(self, quantity: int) -> None:
        """Note that a signed quantity was taken."""
        if self.for_all is not None:
            self.for_all -= abs(quantity)
        if quantity > 0 and self.for_buys is not None:
            self.for_buys -= quantity
        elif quantity < 0 and self.for_sells is not None:
            self.for_sells += quantity


ALL_THEY_WANT = Offer(None, None)
"""Without bounds nothing is noted of what was taken, so one serves every tick."""


def _traded(tick: MarketTick, volumes: dict[int, int]) -> int:
    """What this tick traded: the rise of the cumulative volume while orders worked, else its last quantity."""
    if tick.volume is None:
        return tick.last_quantity or 0
    before = volumes.get(tick.instrument_token)
    volumes[tick.instrument_token] = tick.volume
    return tick.last_quantity or 0 if before is None else max(0, tick.volume - before)


def pays(
    order: WorkingOrder, tick: MarketTick, offer: Offer, passed: float | None, instrument: Instrument, rules: PaperExecution
) -> tuple[int, float | None]:  # fmt: skip
    """The signed quantity an order fills at this tick, and its price; (0, None) where it does not.

    A stop that the price `passed` on its way to this tick is paid that price, not the tick's.
    """
    limit = order.limit_price
    price = fill_price(tick, order.quantity, limit, limit is not None and order.resting, passed, instrument, rules)
    if price is None or order.state is TRIGGER_PENDING:
        return 0, None
    wanted = order.quantity - order.filled
    if offer is ALL_THEY_WANT:
        return wanted, price
    quantity = fill_quantity(wanted, offer.available(wanted), instrument.lot_size)
    offer.take(quantity)
    return quantity, price


def note_wait(order: WorkingOrder, mark: MarketTick | None, ts_ns: int) -> None:
    """Note whether a stop waits at the mark: the price has not come to its trigger yet.

    A mark from before `ts_ns` says nothing, nor does any to an order that is not in force.
    """
    order.waited_ns, trigger = -1, order.trigger_price
    if trigger is None or mark is None or mark.ts_ns != ts_ns or ts_ns < order.placed.active_ts_ns:
        return
    if not triggered(mark, order.quantity, trigger):
        order.waited_ns = ts_ns


def passed_price(order: WorkingOrder, tick: MarketTick, open_ts_ns: int, rules: PaperExecution) -> float | None:
    """The trigger of a stop that this tick sets off, if `stop_price` says so and the price passed it since the stop waited.

    From one bar to the next the price may jump over the trigger: then, as for an order that came too late to wait, it is None.
    """
    if rules.stop_price == "quote" or not within_a_bar(order.waited_ns, tick.ts_ns, open_ts_ns, rules.bar_interval_s):
        return None
    return order.trigger_price
