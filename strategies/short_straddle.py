"""Sells the at-the-money call and put of one underlying and expiry, each with a stop above its premium."""

import math
from collections.abc import Iterable
from datetime import date

import alphapanda as ap
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import MarketTick, OrderFill, TradingSignal
from alphapanda.contracts.instruments import Instrument
from alphapanda.services.strategy_runner.strategy import Signals
from strategies._times import DAY_NS, MINUTE_NS, of_day_ns

EPOCH_DAY = date(1970, 1, 1).toordinal()


class ShortStraddle(ap.Strategy):
    """One straddle a day, intraday (MIS).

    At the first tick at or past `enters` it sells the call and the put whose last premiums of the day are nearest to each
    other (the lower strike of two): by put-call parity that strike is the nearest to the forward, and the index itself
    need not be on the tape (so does Cboe's volatility index methodology). Each sale brings an SL-M with it, `stop_pct`
    above the premium it was decided at. At the first tick at or past `leaves` each leg that is still open is bought back by
    an order in the group of its stop, so that never both fill. Choose `leaves` before the broker's square-off.
    """

    underlying: str = "NIFTY"
    expiry: str = ""  # 2024-03-07; empty: the nearest that has not passed
    enters: str = "09:20"
    leaves: str = "15:10"
    stop_pct: float = 25.0
    lots: int = 1
    utc_offset_minutes: int = 330

    def on_start(self) -> None:
        """Needs calls and puts of the underlying; no day has begun."""
        self.enters_ns, self.leaves_ns = of_day_ns(self.enters), of_day_ns(self.leaves)
        self.chains = chains(self.instruments.values(), self.underlying)
        if not self.chains or (self.expiry and self.expiry not in self.chains):
            raise ConfigurationError(
                f"ShortStraddle was handed no calls and puts of {self.underlying} {self.expiry}: expiries are"
                f" {', '.join(sorted(self.chains)) or 'none'}"
            )
        self.day_ends_ns = self.enter_at_ns = self.leave_at_ns = 0
        self.chain: dict[float, tuple[int, int]] = {}  # today's: strike -> call, put
        self.premiums: dict[int, float] = {}  # token -> last price of the day
        self.entered = True
        self.open: dict[str, tuple[int, int]] = {}  # order id of a sale -> token, what is open of it (negative)

    def on_market_data(self, tick: MarketTick) -> Signals | None:
        """Look at the time; silent at nearly all ticks."""
        if tick.ts_ns >= self.day_ends_ns:
            self._begin_day(tick.ts_ns)
        if tick.ts_ns >= self.leave_at_ns:
            return self._leave() if self.open else None
        if self.entered:
            return None
        self.premiums[tick.instrument_token] = tick.last_price
        return self._sell() if tick.ts_ns >= self.enter_at_ns else None

    def _begin_day(self, ts_ns: int) -> None:
        offset_ns = self.utc_offset_minutes * MINUTE_NS
        day = (ts_ns + offset_ns) // DAY_NS
        starts_ns = day * DAY_NS - offset_ns
        self.day_ends_ns = starts_ns + DAY_NS
        self.enter_at_ns, self.leave_at_ns = starts_ns + self.enters_ns, starts_ns + self.leaves_ns
        today = date.fromordinal(EPOCH_DAY + day).isoformat()
        expiry = min((one for one in self.chains if one >= today and self.expiry in ("", one)), default=None)
        self.chain = {} if expiry is None else self.chains[expiry]
        self.entered = not self.chain
        self.premiums.clear()

    def _sell(self) -> Signals | None:
        known = self.premiums
        priced = [(strike, legs) for strike, legs in sorted(self.chain.items()) if legs[0] in known and legs[1] in known]
        if not priced:
            return None
        self.entered = True
        strike, legs = min(priced, key=lambda one: abs(known[one[1][0]] - known[one[1][1]]))
        return [self._sold(token, known[token], f"atm={strike:g}") for token in legs]

    def _sold(self, token: int, premium: float, note: str) -> TradingSignal:
        instrument = self.instruments[token]
        ticks = math.ceil(premium * (1 + self.stop_pct / 100) / instrument.tick_size - 1e-9)
        stop = round(ticks * instrument.tick_size, 8)
        return self.sell(token, self.lots * instrument.lot_size, product="MIS", stop_loss=stop, note=note)

    def _leave(self) -> Signals:
        legs, self.open = self.open, {}
        return [
            self.buy(token, -quantity, product="MIS", oco_group=order_id, note="leave")
            for order_id, (token, quantity) in legs.items()
        ]  # fmt: skip

    def on_fill(self, fill: OrderFill) -> None:
        """A sale opens its leg; its stop, else whatever else buys, closes the leg or part of it."""
        token, quantity = fill.instrument_token, fill.quantity
        sale = fill.order_id.partition(":")[0]
        if quantity > 0 and sale not in self.open:
            sale = next((one for one, leg in self.open.items() if leg[0] == token), "")
        left = self.open.get(sale, (token, 0))[1] + quantity
        if left < 0:
            self.open[sale] = token, left
        else:
            self.open.pop(sale, None)


def chains(instruments: Iterable[Instrument], underlying: str) -> dict[str, dict[float, tuple[int, int]]]:
    """Expiry -> strike -> (call, put) of an underlying's options; strikes that lack one of the two are left out."""
    tokens = {
        (one.expiry, one.strike, one.option_type): one.instrument_token
        for one in instruments if one.underlying == underlying
    }  # fmt: skip
    found: dict[str, dict[float, tuple[int, int]]] = {}
    for (expiry, strike, option_type), call in tokens.items():
        put = tokens.get((expiry, strike, "PE"))
        if option_type == "CE" and put is not None and expiry is not None and strike is not None:
            found.setdefault(expiry, {})[strike] = call, put
    return found
