"""The broker's table, and what it charges for a fill given in words, for tests of charges."""

from datetime import date
from decimal import Decimal

from alphapanda.contracts.events import Charges
from alphapanda.reference.charges import load_charges

E8 = 100_000_000
ZERODHA = load_charges("zerodha")


def charged(day: str, segment: str, product: str, quantity: int, value: str) -> Charges:
    return ZERODHA.charge(
        day=date.fromisoformat(day), segment=segment, product=product, quantity=quantity,
        notional_e8=int(Decimal(value) * E8),
    )  # fmt: skip
