"""The cost of one order, from signal to snapshot, where there are few and where there are many: `python -m tests.bench.orders`.

The rooms from risk on are handed signals and ticks by the loop, without tape and files, with every check of risk on. The
cost of one order should not depend on how many went before: 14,425 against 144, medians of five, taken in turn.
"""

import json
import statistics
import time

from alphapanda.contracts.events import Event, MarketTick, SessionOpen, SignalKind, TradingSignal
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.handler import Outputs
from alphapanda.core.ledger import E8, opened
from alphapanda.pipeline import STAGES
from alphapanda.reference.charges import load_charges
from alphapanda.reference.profiles import load_profile
from alphapanda.runtime.costs import MarginTable, charge_rule
from alphapanda.runtime.replay import Loop
from alphapanda.services.portfolio_manager.service import PortfolioManager
from alphapanda.services.risk_manager.models import BookLimits, RiskLimits
from alphapanda.services.risk_manager.service import RiskManager
from alphapanda.services.trading_engine.models import PaperExecution
from alphapanda.services.trading_engine.service import TradingEngine
from tests.builders import OPEN_NS, S

FEW, MANY = 144, 14_425
TABLE = {101 + i: Instrument(101 + i, f"S{i}") for i in range(10)}
LARGE = 1e12
LIMITS = RiskLimits(
    max_position=10**9, max_gross_exposure=LARGE, max_net_exposure=LARGE, max_daily_loss=LARGE, max_drawdown=0.99,
    max_order_quantity=10**9, max_order_notional=LARGE, duplicate_window_s=1e-9, require_margin=True, price_band_pct=50,
    orders_per_second=10**6, orders_per_minute=10**6, orders_per_day=10**6, max_modifications=10**6, freeze_quantity="slice",
    forbid_self_cross=True,
    account=BookLimits(
        max_position=10**9, max_gross_exposure=LARGE, max_net_exposure=LARGE, max_daily_loss=LARGE, max_drawdown=0.99
    ),
)  # fmt: skip


class Turner:
    """A strategy's lane that turns each instrument over at every tick it is told to."""

    heard = (0, 0, 0, 0, 0)

    def taker(self, event: Event) -> object:
        """Ticks alone."""
        return self.turn if type(event.data) is MarketTick and event.pos[1] % 2 else None

    def decides_on(self, event: Event) -> bool:
        """It decides on ticks."""
        return True

    def turn(self, event: Event) -> Outputs:
        """One long, next time one short."""
        side = 1.0 if event.pos[1] // 20 % 2 else -1.0
        return [(1, TradingSignal("s", event.data.instrument_token, SignalKind.TARGET_QUANTITY, side, None, ""))]  # type: ignore[attr-defined]


def cost_us(orders: int) -> float:
    """Microseconds for one order."""
    marks: dict[int, MarketTick] = {}
    profile = load_profile("nse")
    risk = RiskManager(LIMITS, TABLE, {"s": opened(10**7 * E8)}, marks, margin=MarginTable(TABLE, profile))
    engine = TradingEngine(PaperExecution(), TABLE, charge_rule(load_charges("zerodha"), profile), marks)
    portfolio = PortfolioManager(TABLE, {"s": opened(10**7 * E8)}, 60, marks)
    loop = Loop(list(zip(STAGES, ([], [Turner()], [risk], [engine], [portfolio]), strict=True)), 250_000_000)
    events = [Event((1, 0, 0, 0, 0), OPEN_NS, None, SessionOpen("2024-03-01", OPEN_NS, OPEN_NS + 22_500 * S))]
    for i in range(1, 2 * orders + 2):
        ts_ns = OPEN_NS + i * S // 4
        token = 101 + i // 2 % 10
        events.append(Event((1, i, 0, 0, 0), ts_ns, None, MarketTick(ts_ns, token, 100.0 + i % 7 * 0.05)))
    began = time.perf_counter()
    made = sum(len(loop.step(event)) for event in events)
    seconds = time.perf_counter() - began
    assert made >= 6 * orders - 60, made  # the last of each instrument waits for its tick
    return seconds / orders * 1e6


def main() -> None:
    """Print both costs and their ratio."""
    cost_us(FEW)
    few, many = zip(*((statistics.median(cost_us(FEW) for _ in range(20)), cost_us(MANY)) for _ in range(5)), strict=True)
    figures = {"few_us": statistics.median(few), "many_us": statistics.median(many)}
    print(json.dumps({**figures, "many_over_few": figures["many_us"] / figures["few_us"]}, indent=1))  # noqa: T201  # its result


if __name__ == "__main__":
    main()
