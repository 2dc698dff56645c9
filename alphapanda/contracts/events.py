"""Every event of AlphaPanda, version 1.

An event is an envelope (`Event`) around one frozen payload struct. In memory a payload carries integers: times are
nanoseconds UTC and end in `_ns`, money is in units of 1e-8 of the instrument's currency and ends in `_e8`. On the wire
`_ns` fields lose the suffix and become RFC 3339 text (see `codec`). Field order here is field order on the wire.

`quantity` is signed wherever an event states one: positive buys or is long, negative sells or is short.
"""

from enum import StrEnum

import msgspec

Pos = tuple[int, int, int, int, int]
"""Place in the one order: (epoch, number, stage, lane, n)."""

ALL_BOOKS = "*"
"""The strategy id of a snapshot that totals all books of one exec mode; no strategy may be called this."""


class Payload(msgspec.Struct, frozen=True, gc=False):
    """Base of every payload."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: where it stands, when its root passed the door, what caused it, what it says."""

    pos: Pos
    ts_ns: int  # door time of the root
    cause: Pos | None  # `pos` of the event that was being handled; None for what came from outside
    data: Payload

    @property
    def id(self) -> str:
        """`pos` as text, `1-12-2-3-0`."""
        return pos_text(self.pos)


def pos_text(pos: Pos) -> str:
    """The id of the event at `pos`."""
    return f"{pos[0]}-{pos[1]}-{pos[2]}-{pos[3]}-{pos[4]}"


def parse_pos(text: str) -> Pos:
    """The `pos` that `text` names. Raises ValueError when it is not five integers joined by `-`."""
    parts = text.split("-")
    if len(parts) != 5:
        raise ValueError(f"{text!r} is not a pos: expected epoch-number-stage-lane-n")
    epoch, number, stage, lane, n = map(int, parts)
    return epoch, number, stage, lane, n


# ---- through the door (stage 0) --------------------------------------------------------------------------------------


class MarketTick(Payload, frozen=True, gc=False):
    """One market-data update as received.

    Prices are float64 in the instrument's currency, None where the source has none. `volume` is the cumulative volume
    of the day, None where the source states only `last_quantity` for each print.
    """

    ts_ns: int  # door time; on the wire it stands in the envelope alone
    instrument_token: int
    last_price: float
    last_quantity: int | None = None
    volume: int | None = None
    bid: float | None = None
    ask: float | None = None
    bid_quantity: int | None = None
    ask_quantity: int | None = None
    exchange_ts_ns: int | None = None


class Beat(Payload, frozen=True, gc=False):
    """The door's clock inside trading sessions; beats and session events alone close time bars."""


class SessionOpen(Payload, frozen=True, gc=False):
    """A trading session begins. The times are the calendar's; the event's own `ts` may be later, never earlier."""

    session: str  # the session's local date, 2024-03-01
    open_ts_ns: int
    close_ts_ns: int


class SquareOff(Payload, frozen=True, gc=False):
    """Intraday positions are to be closed from here on."""

    session: str


class SessionClose(Payload, frozen=True, gc=False):
    """A trading session ends: DAY orders expire, bars are flushed."""

    session: str


class Epoch(Payload, frozen=True, gc=False):
    """A door opened. To every stage this is a feed gap."""

    reason: str


class FeedGap(Payload, frozen=True, gc=False):
    """Market data was interrupted inside an epoch (a reconnect); a bar across it is dropped."""

    reason: str


class BrokerUpdate(Payload, frozen=True, gc=False):
    """A broker's reply as it came; `body` is the broker's own text, unchanged."""

    order_id: str
    status: str
    body: str


class KillSwitch(Payload, frozen=True, gc=False):
    """Operator command: engaged, every signal is refused and working orders are cancelled."""

    engaged: bool
    reason: str


class HaltStrategy(Payload, frozen=True, gc=False):
    """Operator command: from here on every signal of this strategy is refused."""

    strategy_id: str
    reason: str


# ---- feature_engine (stage 1) ----------------------------------------------------------------------------------------


class Bar(Payload, frozen=True, gc=False):
    """Open, high, low, close and volume over [start, end), emitted at its close."""

    instrument_token: int
    interval_s: int
    start_ts_ns: int
    end_ts_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: int
    ticks: int


class FeatureSet(Payload, frozen=True, gc=False):
    """Values computed from past data only; `interval_s` is the bars' they rest on, 0 for ticks."""

    instrument_token: int
    interval_s: int
    values: dict[str, float]  # in the order in which they were declared


# ---- strategy_runner (stage 2) ---------------------------------------------------------------------------------------


class SignalKind(StrEnum):
    """What a signal wants, and how it states its size."""

    QUANTITY = "quantity"  # trade this many
    TARGET_QUANTITY = "target_quantity"  # hold this many
    TARGET_WEIGHT = "target_weight"  # hold this part of the book's equity
    MODIFY = "modify"  # change a working order; size is its new total quantity, 0: as it is
    CANCEL = "cancel"  # cancel a working order


class OrderType(StrEnum):
    """Kite's order types."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    SL = "SL"  # stop-loss limit: a LIMIT once the trigger trades
    SL_M = "SL-M"  # stop-loss market: a MARKET once the trigger trades


class Validity(StrEnum):
    """How long an order works."""

    DAY = "DAY"  # to session close
    IOC = "IOC"  # what does not fill at the first chance is cancelled


class Product(StrEnum):
    """Kite's products."""

    CNC = "CNC"  # delivery
    MIS = "MIS"  # intraday: squared off before the close
    NRML = "NRML"  # futures and options, carried


class OrderTerms(msgspec.Struct, frozen=True, gc=False):
    """How an order is to be carried out; a signal without terms is MARKET, DAY, of the default product."""

    order_type: OrderType = OrderType.MARKET
    limit_price: float | None = None
    trigger_price: float | None = None
    validity: Validity = Validity.DAY
    product: Product | None = None  # None: the setting execution.product
    client_order_id: str = ""  # the strategy's own name of the order, by which it cancels and modifies
    oco_group: str = ""  # one cancels the other: what one order of a group fills, the others lose
    stop_loss: float | None = None  # bracket: trigger of the SL-M leg that is placed as the order fills
    take_profit: float | None = None  # bracket: price of the LIMIT leg


class TradingSignal(Payload, frozen=True, gc=False):
    """A strategy's opinion; it knows no cash. `size` is a count, or a signed weight for `target_weight`."""

    strategy_id: str
    instrument_token: int
    kind: SignalKind
    size: float
    reference_price: float | None  # what the strategy decided at; None: the mark
    note: str
    terms: OrderTerms | None = None


class StrategyHalted(Payload, frozen=True, gc=False):
    """A strategy raised and is handed no more events. `where` is the author's file and line."""

    strategy_id: str
    error: str
    where: str


# ---- risk_manager (stage 3) ------------------------------------------------------------------------------------------


class ExecMode(StrEnum):
    """Whose book: simulated fills, or the broker's."""

    PAPER = "paper"
    LIVE = "live"


class OfSignal(Payload, frozen=True, gc=False):
    """Base of what follows from a signal: whose it is, and which signal."""

    exec_mode: ExecMode
    strategy_id: str
    instrument_token: int
    signal_id: str


class ValidatedSignal(OfSignal, frozen=True, gc=False):
    """A signal that passed every check, as a quantity; one signal makes several where it is sliced.

    `action` is place, modify or cancel. The quantity of a modification is the order's new total, 0: as it is.
    """

    quantity: int
    reference_price: float
    action: str = "place"
    terms: OrderTerms | None = None


class RejectedSignal(OfSignal, frozen=True, gc=False):
    """A signal refused by risk: which check, the value it found, the limit, and their unit."""

    quantity: int
    reason: str  # reason code: the check's name
    value: float | None
    limit: float | None
    unit: str
    action: str = "place"  # or modify, cancel: a change that is refused leaves its order as it is
    client_order_id: str = ""


# ---- trading_engine (stage 4) ----------------------------------------------------------------------------------------


class OfOrder(OfSignal, frozen=True, gc=False):
    """Base of what is said of an order."""

    order_id: str


class OrderPlaced(OfOrder, frozen=True, gc=False):
    """An order accepted by the trading engine.

    An order carries out one validated signal, and that event's id is the order's: every later event names it. Legs of a
    bracket, and what the engine does of itself (square-off, settlement at expiry), have ids made from the event that they
    follow from, with a word after a colon.
    """

    order_type: str  # of OrderType, or SETTLEMENT
    quantity: int
    reference_price: float
    active_ts_ns: int  # no fill before this: placed plus latency
    product: str
    validity: str = "DAY"
    limit_price: float | None = None
    trigger_price: float | None = None
    client_order_id: str = ""
    parent_id: str = ""  # the order whose fill placed this leg


class OrderModified(OfOrder, frozen=True, gc=False):
    """What a working order is from here on; `quantity` is its total, filled or not."""

    quantity: int
    limit_price: float | None
    trigger_price: float | None


class OrderTriggered(OfOrder, frozen=True, gc=False):
    """A stop's trigger traded: it is an ordinary LIMIT or MARKET order now."""

    trigger_price: float


class OrderFailed(OfOrder, frozen=True, gc=False):
    """An order the engine could not place, or a change it could not make (`order_id` is then the change's own)."""

    quantity: int
    reason: str
    client_order_id: str = ""


class OrderCancelled(OfOrder, frozen=True, gc=False):
    """The rest of an order will not be filled; a terminal state."""

    quantity: int  # what was left
    reason: str
    client_order_id: str = ""


class Charges(Payload, frozen=True, gc=False):
    """What one fill cost apart from slippage, line by line, in 1e-8 of the currency."""

    brokerage_e8: int = 0
    stt_e8: int = 0  # securities or commodities transaction tax
    exchange_e8: int = 0
    sebi_e8: int = 0
    stamp_e8: int = 0
    gst_e8: int = 0
    dp_e8: int = 0  # depository's charge with its GST, on the day's first delivery sale of a scrip

    @property
    def total_e8(self) -> int:
        """Sum of the lines."""
        return self.brokerage_e8 + self.stt_e8 + self.exchange_e8 + self.sebi_e8 + self.stamp_e8 + self.gst_e8 + self.dp_e8


class OrderFill(OfOrder, frozen=True, gc=False):
    """An executed quantity and price. Slippage is fill minus reference price, signed as a cost."""

    quantity: int
    price: float
    reference_price: float
    charges: Charges
    remaining: int = 0  # of the order, signed as the quantity is; 0: it is filled
    client_order_id: str = ""
    product: str = ""


# ---- portfolio_manager (stage 5) -------------------------------------------------------------------------------------


class PositionUpdate(Payload, frozen=True, gc=False):
    """A position after a fill. `cost_e8` is what the open quantity cost in total, signed as the quantity is."""

    exec_mode: ExecMode
    strategy_id: str
    instrument_token: int
    quantity: int
    average_price: float  # 0 when flat
    cost_e8: int
    realised_e8: int
    charges_e8: int


class PortfolioSnapshot(Payload, frozen=True, gc=False):
    """One book at one moment, valued at the last ticks: equity = start + realised + unrealised - charges, exactly."""

    exec_mode: ExecMode
    strategy_id: str  # `*` for the total of all books
    reason: str  # fill, clock, end
    cash_e8: int
    realised_e8: int
    unrealised_e8: int
    charges_e8: int
    equity_e8: int
    gross_exposure_e8: int
    net_exposure_e8: int


DOOR_EVENTS: tuple[type[Payload], ...] = (
    MarketTick, Beat, SessionOpen, SquareOff, SessionClose, Epoch, FeedGap, BrokerUpdate, KillSwitch, HaltStrategy,
)  # fmt: skip
STAGE_EVENTS: tuple[type[Payload], ...] = (
    Bar, FeatureSet, TradingSignal, StrategyHalted, ValidatedSignal, RejectedSignal, OrderPlaced, OrderModified,
    OrderTriggered, OrderFailed, OrderCancelled, OrderFill, PositionUpdate, PortfolioSnapshot,
)  # fmt: skip
FEEDBACK_EVENTS: tuple[type[Payload], ...] = (RejectedSignal, OrderFill, OrderCancelled, OrderFailed)  # what is heard late
EVENTS: tuple[type[Payload], ...] = DOOR_EVENTS + STAGE_EVENTS
