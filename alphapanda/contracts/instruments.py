"""What there is to trade."""

import msgspec

from alphapanda.contracts.events import Product


class Instrument(msgspec.Struct, frozen=True):
    """One row of a tape's instruments table."""

    instrument_token: int  # the broker's integer id
    symbol: str
    segment: str = "NSE"
    tick_size: float = 0.05
    lot_size: int = 1
    multiplier: float = 1.0  # currency units for a price of 1 and a quantity of 1
    currency: str = "INR"
    expiry: str | None = None  # local date of a derivative's last session
    tradable: bool = True
    underlying: str | None = None  # of a future or an option
    strike: float | None = None
    option_type: str | None = None  # CE or PE
    freeze_quantity: int | None = None  # the exchange takes no larger order; None: no limit known
    lower_band: float | None = None  # prices outside the bands are refused; None: none known
    upper_band: float | None = None

    @property
    def multiplier_e8(self) -> int:
        """The multiplier as an integer of 1e-8."""
        return round(self.multiplier * 100_000_000)

    @property
    def is_derivative(self) -> bool:
        """Whether it is a future or an option, by Kite's segment names (NFO-FUT, BFO-OPT)."""
        return self.segment.endswith(("-FUT", "-OPT"))

    def product(self, asked: Product) -> Product:
        """The product an order trades: delivery does not exist for derivatives, which are carried as NRML."""
        return Product.NRML if asked is Product.CNC and self.is_derivative else asked
