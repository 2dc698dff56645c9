"""What the trading engine keeps."""

from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from alphapanda.contracts.events import MarketTick, OrderPlaced, OrderTerms, ValidatedSignal
from alphapanda.core.lifecycle import OrderState


class PendingChange(NamedTuple):
    """A cancellation or modification on its way to the exchange."""

    active_ts_ns: int
    signal_id: str
    order_id: str  # the change's own
    wanted: ValidatedSignal


class WorkingOrder(msgspec.Struct):
    """An order that has not come to its end."""

    lane: int
    placed: OrderPlaced
    state: OrderState
    quantity: int  # total, signed
    limit_price: float | None
    trigger_price: float | None
    is_ioc: bool
    terms: OrderTerms | None
    oco_group: str
    filled: int = 0  # signed
    filled_e8: int = 0  # absolute value of the fills, for charges by order
    legs: int = 0  # how often exits were placed for its fills
    resting: bool = False  # an earlier tick did not reach its limit
    waited_ns: int = -1  # time of the last tick, if this stop was in force and waited then
    changes: list[PendingChange] = []

    @property
    def remaining(self) -> int:
        """What is still to be filled, signed."""
        return self.quantity - self.filled


NetKey = tuple[int, str, int, str]
"""(lane, strategy, token, product)."""


@dataclass(slots=True)
class EngineState:
    """Last quotes, working orders by instrument in the order of their placing, and what is held by product."""

    marks: dict[int, MarketTick]
    working: dict[int, list[WorkingOrder]] = field(default_factory=dict)
    net: dict[NetKey, int] = field(default_factory=dict)
    today: dict[NetKey, tuple[int, int, bool]] = field(default_factory=dict)  # CNC: bought, sold, delivery charged
    volumes: dict[int, int] = field(default_factory=dict)  # last cumulative volume, with participation
    session_open: bool = False
    squared_off: bool = False
    session: str = ""  # the last that opened
    open_ts_ns: int = 0
