"""What risk is told: the limits, and the facts of one decision."""

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from alphapanda.contracts.events import MarketTick
from alphapanda.contracts.instruments import Instrument


class RiskLimits(BaseModel):
    """Limits of each book. None: not limited. Amounts are in the instruments' currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_order_quantity: int | None = Field(None, gt=0, description="largest quantity of one order")
    max_position: int | None = Field(None, gt=0, description="largest absolute position in one instrument")
    max_order_notional: float | None = Field(None, gt=0, description="largest value of one order")
    max_gross_exposure: float | None = Field(None, gt=0, description="largest sum of absolute position values")
    max_daily_loss: float | None = Field(None, gt=0, description="loss since session open that stops new orders")
    max_quote_age_s: float | None = Field(300.0, gt=0, description="age at which a quote is stale")
    require_cash: bool = Field(True, description="refuse what the book's cash does not pay for")
    require_session: bool = Field(True, description="refuse signals outside trading sessions")


class Intent(msgspec.Struct):
    """A validated signal whose order has not come to its end: risk counts it until it hears of that."""

    token: int
    quantity: int
    price_e8: int


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """All that a check may look at; amounts are in 1e-8 of the currency."""

    ts_ns: int
    instrument: Instrument | None
    mark: MarketTick | None
    quantity: int
    price_e8: int
    reference_price: float | None
    position: int  # held and on its way, without this order
    killed: bool
    halted: bool
    session_open: bool
    gross_after_e8: int
    cash_after_e8: int
    day_pnl_e8: int
