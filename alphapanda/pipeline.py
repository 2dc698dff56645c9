"""The flow, in one table: which room reads what, writes what, and in which order.

Hosts, the topic list, `alphapanda topology` and the README's diagram are derived from it. Rooms further down never
speak to rooms further up except by feedback (`hears`), which is late by rule.
"""

from typing import NamedTuple

from alphapanda.contracts import events as e
from alphapanda.contracts.events import Payload

TICKS, CLOCK, BROKER, COMMANDS = "market.ticks", "market.clock", "broker.updates", "control.commands"
DOOR = (TICKS, CLOCK, BROKER, COMMANDS)
FEATURES = "market.features"
GENERATED, VALIDATED, REJECTED = "trading.signals.generated", "trading.signals.validated", "trading.signals.rejected"
PLACED, FAILED, CANCELLED, FILLED = "orders.placed", "orders.failed", "orders.cancelled", "orders.filled"
FILLED_PAPER, FILLED_LIVE = "orders.filled.paper", "orders.filled.live"
POSITIONS, SNAPSHOTS = "portfolio.positions", "portfolio.snapshots"
OF_ORDERS = (FILLED, CANCELLED, FAILED)
FEEDBACK = (REJECTED, *OF_ORDERS)


class Stage(NamedTuple):
    """One room's place in the flow."""

    rank: int
    room: str
    reads: tuple[str, ...]  # beside the whole door, which every stage reads
    hears: tuple[str, ...]  # feedback: late by rule
    writes: dict[type[Payload], str]  # what it makes, and the topic it goes to
    key: str  # what a record's key is made of


_CLOCK_EVENTS = (e.Beat, e.SessionOpen, e.SquareOff, e.SessionClose, e.Epoch, e.FeedGap)
PIPELINE = (
    Stage(0, "market_feed", (), (),
          {e.MarketTick: TICKS, **dict.fromkeys(_CLOCK_EVENTS, CLOCK), e.BrokerUpdate: BROKER,
           e.KillSwitch: COMMANDS, e.HaltStrategy: COMMANDS}, "instrument_token"),
    Stage(1, "feature_engine", (), (),
          {e.Bar: FEATURES, e.FeatureSet: FEATURES}, "instrument_token"),
    Stage(2, "strategy_runner", (FEATURES,), FEEDBACK,
          {e.TradingSignal: GENERATED, e.StrategyHalted: GENERATED}, "strategy_id:instrument_token"),
    Stage(3, "risk_manager", (GENERATED,), OF_ORDERS,
          {e.ValidatedSignal: VALIDATED, e.RejectedSignal: REJECTED}, "strategy_id:instrument_token"),
    Stage(4, "trading_engine", (VALIDATED,), (),
          {**dict.fromkeys((e.OrderPlaced, e.OrderModified, e.OrderTriggered), PLACED),
           e.OrderFailed: FAILED, e.OrderCancelled: CANCELLED, e.OrderFill: FILLED},
          "strategy_id:instrument_token"),
    Stage(5, "portfolio_manager", (FILLED,), (),
          {e.PositionUpdate: POSITIONS, e.PortfolioSnapshot: SNAPSHOTS}, "strategy_id"),
)  # fmt: skip
STAGES = PIPELINE[1:]
TOPIC_OF = {cls: topic for stage in PIPELINE for cls, topic in stage.writes.items()}
SOURCES = {cls: stage.room for stage in PIPELINE for cls in stage.writes}
COPIES = {e.ExecMode.PAPER: FILLED_PAPER, e.ExecMode.LIVE: FILLED_LIVE}
"""A fill also stands, with the same `pos`, in the topic of its exec mode."""
OUTPUT_TOPICS = tuple(
    topic
    for stage in STAGES
    for made in dict.fromkeys(stage.writes.values())
    for topic in ((FILLED_PAPER, FILLED_LIVE, FILLED) if made == FILLED else (made,))
)
