"""When a paper order fills, how much of it, and at which price: functions of one tick and one order."""

from alphapanda.contracts.events import MarketTick
from alphapanda.contracts.instruments import Instrument
from alphapanda.services.trading_engine.models import PaperExecution

NS = 1_000_000_000
NS_PER_MS = 1_000_000


def fillable(tick: MarketTick, ts_ns: int, rules: PaperExecution) -> bool:
    """Whether anything may fill at this tick at `ts_ns`: not where its quote is crossed, or stale by then."""
    if tick.bid is not None and tick.ask is not None and tick.bid > tick.ask:
        return False
    if rules.stale_quote_s is None:
        return True
    since_ns = tick.ts_ns if tick.exchange_ts_ns is None else tick.exchange_ts_ns
    return ts_ns - since_ns <= rules.stale_quote_s * NS


def quoted(tick: MarketTick, quantity: int, price: str) -> float | None:
    """The price this tick offers for a signed quantity, or None where it offers none."""
    if price == "last":
        return tick.last_price
    if price == "opposite":
        return tick.ask if quantity > 0 else tick.bid
    return None if tick.bid is None or tick.ask is None else (tick.bid + tick.ask) / 2


def worsened(price: float, quantity: int, instrument: Instrument, rules: PaperExecution) -> float:
    """The price with slippage against a signed quantity, to 1e-8."""
    if not (rules.slippage_ticks or rules.slippage_bps):
        return price
    worse = rules.slippage_ticks * instrument.tick_size + price * rules.slippage_bps / 10_000
    return round(price + worse if quantity > 0 else price - worse, 8)


def limit_reached(price: float, limit: float, quantity: int, rule: str) -> bool:
    """Whether a price fills a limit: `touch` at the limit or better, `through` only better."""
    if price == limit:
        return rule == "touch"
    return price < limit if quantity > 0 else price > limit


def fill_price(
    tick: MarketTick, quantity: int, limit: float | None, resting: bool, passed: float | None, instrument: Instrument,
    rules: PaperExecution,
) -> float | None:  # fmt: skip
    """What a signed quantity pays at this tick, or None where it does not fill.

    `resting` limits were in the book before this tick; they alone obey `limit_rule` and `limit_price`: one that arrives
    with the tick takes what is quoted. A stop that the price `passed` on its way to this tick takes that price instead.
    """
    price = passed
    if price is None:
        price = quoted(tick, quantity, "opposite" if rules.fill_model == "depth" else rules.price)
    if price is None or price <= 0:
        return None
    if limit is None:
        paid = worsened(price, quantity, instrument, rules)
        return paid if paid > 0 else None
    if not limit_reached(price, limit, quantity, rules.limit_rule if resting else "touch"):
        return None
    if resting and rules.limit_price == "limit":
        return limit
    price = worsened(price, quantity, instrument, rules)
    return min(price, limit) if quantity > 0 else max(price, limit)


def triggered(tick: MarketTick, quantity: int, trigger: float) -> bool:
    """Whether the last price sets off a stop: at or above for buys, at or below for sells."""
    return tick.last_price >= trigger if quantity > 0 else tick.last_price <= trigger


def within_a_bar(since_ns: int, until_ns: int, open_ts_ns: int, interval_s: int) -> bool:
    """Whether two moments lie in one bar, on the grid from the session's open: no gap is between them."""
    step = interval_s * NS
    return since_ns >= open_ts_ns and (since_ns - open_ts_ns) // step == (until_ns - open_ts_ns) // step


def fill_quantity(wanted: int, available: int | None, lot_size: int) -> int:
    """How much of a signed quantity fills where `available` is on offer (None: enough), in whole lots."""
    if available is None or abs(wanted) <= available:
        return wanted
    size = available // lot_size * lot_size
    return size if wanted > 0 else -size


def latency_ns(rules: PaperExecution, pos: tuple[int, int, int, int, int]) -> int:
    """Time from order to exchange: fixed, plus a measured one drawn by the order's own place in the one order."""
    if rules.fill_model == "immediate":
        return 0
    latency_ms = rules.latency_ms
    if rules.latency_samples_ms:
        latency_ms += rules.latency_samples_ms[mixed(pos) % len(rules.latency_samples_ms)]
    return round(latency_ms * NS_PER_MS)


def mixed(pos: tuple[int, int, int, int, int]) -> int:
    """An even spread over 64 bits that depends on `pos` alone. Source: the finaliser of splitmix64 (Steele et al. 2014)."""
    mask, value = (1 << 64) - 1, 0
    for part in pos:
        value = (value + part + 0x9E3779B97F4A7C15) & mask
        value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & mask
        value = ((value ^ value >> 27) * 0x94D049BB133111EB) & mask
        value ^= value >> 31
    return value


def next_bar_ns(ts_ns: int, open_ts_ns: int, interval_s: int) -> int:
    """The first start of a bar at or past `ts_ns`, on the grid from the session's open."""
    step = interval_s * NS
    return open_ts_ns + -(-(ts_ns - open_ts_ns) // step) * step
