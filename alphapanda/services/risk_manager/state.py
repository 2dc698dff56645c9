"""What the risk room keeps."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import msgspec

from alphapanda.contracts.events import MarketTick
from alphapanda.core.ledger import Book


class Intent(msgspec.Struct, gc=False):
    """A validated signal whose orders have not come to their end: risk counts it until it hears of that."""

    token: int
    quantity: int  # not filled yet, signed
    price_e8: int
    orders: int = 1  # still to end: several where the signal was sliced
    total: int = 0
    limit_e8: int | None = None  # None: at the market
    client_order_id: str = ""
    oco_group: str = ""
    product: str = ""
    modifications: int = 0


class Change(msgspec.Struct, frozen=True):
    """A modification on its way: what is taken back should it fail."""

    intent_id: str
    added: int
    limit_e8: int | None
    price_e8: int


@dataclass(slots=True)
class RiskState:
    """Books, intents and marks."""

    books: dict[str, Book]
    intents: dict[str, dict[str, Intent]]  # strategy -> signal id -> intent
    marks: dict[int, MarketTick]
    held: dict[str, dict[tuple[int, str], int]] = field(default_factory=dict)  # strategy -> (token, product) -> quantity
    changes: dict[str, Change] = field(default_factory=dict)  # by the change's signal id
    equity_at_open_e8: dict[str, int] = field(default_factory=dict)
    highest_e8: dict[str, int] = field(default_factory=dict)  # equity, as seen at decisions, fills and session opens
    last_signal: dict[tuple[str, int], tuple[int, Any]] = field(default_factory=dict)
    sent_ns: deque[int] = field(default_factory=deque)  # when orders were sent, in the minute before the last of them
    sent_today: int = 0
    halted: set[str] = field(default_factory=set)
    killed: bool = False
    session_open: bool = False
    squared_off: bool = False
    session: str = ""  # the last that opened
