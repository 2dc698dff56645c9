"""How paper orders are filled."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from alphapanda.contracts.events import Product

FillPrice = Literal["last", "opposite", "mid"]
LatencyMs = Annotated[float, Field(ge=0, allow_inf_nan=False)]
FillModel = Literal["next_tick", "immediate", "bar_open", "depth"]


class PaperExecution(BaseModel):
    """Assumptions of the paper broker; they stand in the run's manifest, and in the docs (`orders.md`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fill_model: FillModel = Field("next_tick", description="when, and how much, an order fills")
    price: FillPrice = Field("last", description="last traded price, the opposite side of the quote, or its middle")
    limit_rule: Literal["touch", "through"] = Field("touch", description="a limit fills where it is reached, or only beyond")
    limit_price: Literal["quote", "limit"] = Field(
        "quote", description="a resting limit fills at the tick's price, never worse than its limit; or at its limit"
    )
    stop_price: Literal["quote", "trigger"] = Field(
        "quote",
        description="a stop fills at the price of the tick that sets it off; or, passed within a bar, at its trigger",
    )
    participation: float | None = Field(None, gt=0, le=1, description="most of a tick's traded quantity that orders may take")
    bar_interval_s: int = Field(
        60, ge=1, description="bars of bar_open and stop_price: from the session's open on, of this length"
    )
    latency_ms: float = Field(0.0, ge=0, description="time from order to exchange; not for immediate")
    latency_samples_ms: tuple[LatencyMs, ...] = Field((), description="measured latencies, one drawn for each order by its pos")
    slippage_ticks: float = Field(0.0, ge=0, description="ticks added against the order")
    slippage_bps: float = Field(0.0, ge=0, description="hundredths of a percent added against the order")
    market_protection_pct: float | None = Field(
        None, gt=0, le=100, description="MARKET and SL-M fill within this distance of the last price when they were placed"
    )
    stale_quote_s: float | None = Field(None, gt=0, description="a tick whose exchange time is older fills nothing")
    product: Product = Field(Product.CNC, description="product of orders that name none; for derivatives CNC reads NRML")

    @model_validator(mode="after")
    def _a_trigger_is_a_last_price(self) -> "PaperExecution":
        if self.stop_price == "trigger" and (self.price != "last" or self.fill_model == "depth"):
            raise ValueError(
                "stop_price = trigger is for tapes of last prices, as those made of bars: it goes with price = last, and not with"
                " fill_model = depth"
            )
        return self
