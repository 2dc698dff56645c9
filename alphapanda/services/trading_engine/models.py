"""How paper orders are filled."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FillPrice = Literal["last", "opposite", "mid"]


class PaperExecution(BaseModel):
    """Assumptions of the paper broker; they stand in the run's manifest.

    `next_tick` fills a MARKET order at the first tick of its instrument after the signal's own, at least `latency_ms`
    later; `immediate` fills it at the quote the signal saw. Whole quantity, no market impact. Where a tick lacks the
    side that is asked for, or is crossed, the order waits for the next.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fill_model: Literal["next_tick", "immediate"] = "next_tick"
    price: FillPrice = Field("last", description="last traded price, the opposite side of the quote, or its middle")
    latency_ms: float = Field(0.0, ge=0, description="time from order to exchange; next_tick only")
    slippage_ticks: float = Field(0.0, ge=0, description="ticks added against the order")
    slippage_bps: float = Field(0.0, ge=0, description="hundredths of a percent added against the order")
