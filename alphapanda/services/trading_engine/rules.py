"""The price of a paper fill."""

from alphapanda.contracts.events import MarketTick
from alphapanda.contracts.instruments import Instrument
from alphapanda.services.trading_engine.models import PaperExecution


def quoted(tick: MarketTick, quantity: int, price: str) -> float | None:
    """The price this tick offers for a signed quantity, or None where it offers none."""
    if price == "last":
        return tick.last_price
    if tick.bid is None or tick.ask is None or tick.bid > tick.ask:
        return None
    if price == "mid":
        return (tick.bid + tick.ask) / 2
    return tick.ask if quantity > 0 else tick.bid


def fill_price(tick: MarketTick, quantity: int, instrument: Instrument, rules: PaperExecution) -> float | None:
    """The quoted price with slippage against the order, to 1e-8; None where there is no quote to fill at."""
    price = quoted(tick, quantity, rules.price)
    if price is None or not (rules.slippage_ticks or rules.slippage_bps):
        return price
    worse = rules.slippage_ticks * instrument.tick_size + price * rules.slippage_bps / 10_000
    return round(price + worse if quantity > 0 else price - worse, 8)
