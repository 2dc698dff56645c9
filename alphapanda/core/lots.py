"""Lots: which part of a position a fill closes, first in first out, last in first out, or at average cost.

A position under `AVERAGE` is one lot that later fills join; `Position` in `core.ledger` realises the same to the last unit.
Under `FIFO` and `LIFO` each opening fill is a lot of its own. Whatever the method, what was realised is the same whenever the
position is flat: money went out and came in by the same fills. All amounts are integers of 1e-8; of any amount that is shared
a part is rounded down and the last part takes the remainder, so that nothing is lost.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from alphapanda.contracts.errors import ContractError


class Method(StrEnum):
    """Which lot is closed first."""

    FIFO = "fifo"
    LIFO = "lifo"
    AVERAGE = "average"


class ChargeRule(StrEnum):
    """Which closed part bears the charges of the fills that opened and closed it."""

    SHARED = "shared"  # every part its share by quantity
    FIRST = "first"  # a fill's charges go whole to the first part that it closes, a lot's to the first part closed of it
    POOLED = "pooled"  # what was charged since the last closing fill goes whole to the first part that the next one closes


class Closed(NamedTuple):
    """A part of a position that one fill closed."""

    entry: int  # number of the fill that opened it, counted from 0; of the first that did, at average cost
    exit: int  # number of the fill that closed it
    quantity: int  # signed as it was held
    cost_e8: int  # what it was opened for, signed as `quantity`
    proceeds_e8: int  # what it was closed for, signed as `quantity`
    charges_e8: int

    @property
    def realised_e8(self) -> int:
        """Profit before charges."""
        return self.proceeds_e8 - self.cost_e8


@dataclass(slots=True)
class Lot:
    """What is left of an opening fill."""

    entry: int
    quantity: int
    cost_e8: int
    charges_e8: int


@dataclass(slots=True)
class Lots:
    """One position as its open lots, oldest first."""

    method: Method = Method.FIFO
    charge_rule: ChargeRule = ChargeRule.SHARED
    open: deque[Lot] = field(default_factory=deque)
    fills: int = 0
    pool_e8: int = 0  # charges that no part bears yet, where they are pooled

    @property
    def quantity(self) -> int:
        """Signed quantity held."""
        return sum(lot.quantity for lot in self.open)

    @property
    def cost_e8(self) -> int:
        """Signed cost of what is held."""
        return sum(lot.cost_e8 for lot in self.open)

    def fill(self, quantity: int, notional_e8: int, charges_e8: int = 0) -> list[Closed]:
        """Take a fill whose signed notional is `notional_e8`; returns what it closed, in the order of closing.

        A fill through zero closes every lot and opens one with the rest at its own price.
        """
        if quantity == 0:
            raise ContractError("a fill of quantity 0 cannot be booked")
        number, self.fills = self.fills, self.fills + 1
        left, parts = quantity, []
        while left and self.open and (self.open[0].quantity > 0) != (quantity > 0):
            lot = self.open[-1 if self.method is Method.LIFO else 0]
            size = min(abs(left), abs(lot.quantity))
            proceeds_e8, paid_e8 = -(notional_e8 * size // abs(left)), self._share(charges_e8, size, abs(left))
            parts.append(self._close(lot, number, size, proceeds_e8, paid_e8))
            notional_e8, charges_e8 = notional_e8 + proceeds_e8, charges_e8 - paid_e8
            left += size if left < 0 else -size
        if left:
            self._add(number, left, notional_e8, charges_e8)
        return parts

    def split(self, new: int, old: int) -> None:
        """`new` units for every `old`: quantities change, costs stay.

        A fraction of the whole position is dropped, toward zero, and its cost with it: it is paid back (`corporate_actions`).
        What a dropped lot was charged is borne by what is closed next.
        """
        before = after = 0
        for lot in list(self.open):
            before += abs(lot.quantity)
            size = before * new // old - after
            after += size
            exact = abs(lot.quantity) * new
            lot.cost_e8 = lot.cost_e8 * min(size * old, exact) // exact
            lot.quantity = size if lot.quantity > 0 else -size
            if size == 0:
                self.pool_e8 += lot.charges_e8
        self.open = deque(lot for lot in self.open if lot.quantity)

    def _close(self, lot: Lot, number: int, size: int, proceeds_e8: int, paid_e8: int) -> Closed:
        held = abs(lot.quantity)
        cost_e8, charged_e8 = lot.cost_e8 * size // held, self._share(lot.charges_e8, size, held)
        signed = size if lot.quantity > 0 else -size
        lot.quantity, lot.cost_e8, lot.charges_e8 = lot.quantity - signed, lot.cost_e8 - cost_e8, lot.charges_e8 - charged_e8
        pooled_e8, self.pool_e8 = self.pool_e8, 0
        if lot.quantity == 0:
            self.open.pop() if self.method is Method.LIFO else self.open.popleft()
        return Closed(lot.entry, number, signed, cost_e8, proceeds_e8, charged_e8 + paid_e8 + pooled_e8)

    def _add(self, number: int, quantity: int, notional_e8: int, charges_e8: int) -> None:
        if self.charge_rule is ChargeRule.POOLED:
            self.pool_e8, charges_e8 = self.pool_e8 + charges_e8, 0
        if self.method is Method.AVERAGE and self.open:
            lot = self.open[0]
            lot.quantity, lot.cost_e8, lot.charges_e8 = (
                lot.quantity + quantity, lot.cost_e8 + notional_e8, lot.charges_e8 + charges_e8
            )  # fmt: skip
        else:
            self.open.append(Lot(number, quantity, notional_e8, charges_e8))

    def _share(self, amount_e8: int, part: int, whole: int) -> int:
        return amount_e8 * part // whole if self.charge_rule is ChargeRule.SHARED else amount_e8
