"""What there is to trade."""

import msgspec


class Instrument(msgspec.Struct, frozen=True):
    """One row of a tape's instruments table."""

    instrument_token: int  # the broker's integer id
    symbol: str
    segment: str = "NSE"
    tick_size: float = 0.05
    lot_size: int = 1
    multiplier: float = 1.0  # currency units for a price of 1 and a quantity of 1
    currency: str = "INR"
    expiry: str | None = None  # local date
    tradable: bool = True

    @property
    def multiplier_e8(self) -> int:
        """The multiplier as an integer of 1e-8."""
        return round(self.multiplier * 100_000_000)
