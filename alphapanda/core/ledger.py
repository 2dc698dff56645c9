"""Exact money: positions at average cost, and the books that hold them.

All amounts are integers of 1e-8 of a currency. A position keeps its total cost, never an average price, so nothing is
lost to rounding: a partial close takes its share of the cost rounded down, and the closing fill takes the remainder.
Shared by risk (which keeps its own ledger) and the portfolio.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import MarketTick

E8 = 100_000_000
E8_FLOAT = float(E8)
"""The same for prices: a float is multiplied by a float faster."""
ONE = E8
"""A multiplier of one, in the units `value_e8` takes."""


def to_e8(amount: float) -> int:
    """The nearest integer of 1e-8; exact for any price with at most eight decimals below 9e7."""
    return round(amount * E8)


def value_e8(price_e8: int, quantity: int, multiplier_e8: int = ONE) -> int:
    """Price times quantity times multiplier. Exact for whole multipliers, else rounded half up to 1e-8."""
    if multiplier_e8 == ONE:
        return price_e8 * quantity
    return (price_e8 * quantity * multiplier_e8 + E8 // 2) // E8


@dataclass(slots=True)
class Position:
    """A signed quantity and its signed total cost."""

    quantity: int = 0
    cost_e8: int = 0
    realised_e8: int = 0
    charges_e8: int = 0

    def average_price(self, multiplier_e8: int = ONE) -> float:
        """Cost over quantity, in currency units for one unit of the instrument; 0 when flat."""
        return self.cost_e8 / self.quantity / multiplier_e8 if self.quantity else 0.0

    def fill(self, quantity: int, notional_e8: int) -> int:
        """Take a fill whose signed notional is `notional_e8`; returns what it realised.

        A fill through zero closes the old position and opens the rest at the fill's own price.
        """
        if quantity == 0:
            raise ContractError("a fill of quantity 0 cannot be booked")
        held, cost_e8 = self.quantity, self.cost_e8
        after = self.quantity = held + quantity
        if held == 0 or (held > 0) == (quantity > 0):
            self.cost_e8 = cost_e8 + notional_e8
            return 0
        if after == 0 or (after > 0) == (held > 0):  # closes it, or a part
            closed_e8 = cost_e8 if after == 0 else cost_e8 * abs(quantity) // abs(held)
            proceeds_e8 = notional_e8
        else:
            closed_e8 = cost_e8
            proceeds_e8 = notional_e8 * abs(held) // abs(quantity)
        realised_e8 = -proceeds_e8 - closed_e8
        self.cost_e8 = cost_e8 - closed_e8 + notional_e8 - proceeds_e8
        self.realised_e8 += realised_e8
        return realised_e8


@dataclass(slots=True)
class Book:
    """Cash and positions of one strategy in one exec mode."""

    start_e8: int
    cash_e8: int
    realised_e8: int = 0
    charges_e8: int = 0
    cost_e8: int = 0  # of all positions
    positions: dict[int, Position] = field(default_factory=dict)
    held: dict[int, int] = field(default_factory=dict)  # token -> quantity, of the positions that are not flat

    def fill(self, token: int, quantity: int, notional_e8: int, charges_e8: int) -> Position:
        """Book one fill; returns the position it changed."""
        position = self.positions.get(token)
        if position is None:
            position = self.positions[token] = Position()
        realised_e8 = position.fill(quantity, notional_e8)
        self.realised_e8 += realised_e8
        self.cost_e8 += notional_e8 + realised_e8
        if position.quantity:
            self.held[token] = position.quantity
        else:
            del self.held[token]
        if charges_e8:
            position.charges_e8 += charges_e8
            self.charges_e8 += charges_e8
        self.cash_e8 -= notional_e8 + charges_e8
        return position

    def adopt(self, token: int, quantity: int, cost_e8: int) -> None:
        """Begin with a position that was bought before; its cost (signed as the quantity) is part of the start."""
        self.positions[token] = Position(quantity, cost_e8)
        self.held[token] = quantity
        self.cost_e8 += cost_e8
        self.start_e8 += cost_e8

    def settle(self, token: int, value_e8: int) -> int:
        """Daily mark-to-market: realise what the position gained at this signed value, which is its cost from here on."""
        position = self.positions[token]
        gained_e8 = value_e8 - position.cost_e8
        position.cost_e8 = value_e8
        position.realised_e8 += gained_e8
        self.realised_e8 += gained_e8
        self.cost_e8 += gained_e8
        return gained_e8

    def worths_e8(self, marks: Mapping[int, MarketTick], multipliers_e8: Mapping[int, int] | None) -> list[int]:
        """The signed value of each open position at the last prices; what has no price yet counts at its cost.

        Multipliers are None where all are one.
        """
        if multipliers_e8 is None:
            try:  # to_e8 and value_e8 are written out: every fill comes by here
                return [round(marks[token].last_price * E8_FLOAT) * quantity for token, quantity in self.held.items()]
            except KeyError:
                return self._worths_e8(marks, {})
        return self._worths_e8(marks, multipliers_e8)

    def _worths_e8(self, marks: Mapping[int, MarketTick], multipliers_e8: Mapping[int, int]) -> list[int]:
        worths_e8 = []
        for token, quantity in self.held.items():
            mark, multiplier_e8 = marks.get(token), multipliers_e8.get(token, ONE)
            cost_e8 = self.positions[token].cost_e8
            worths_e8.append(cost_e8 if mark is None else value_e8(to_e8(mark.last_price), quantity, multiplier_e8))
        return worths_e8

    def quantity(self, token: int) -> int:
        """Signed quantity held, 0 when none."""
        return self.held.get(token, 0)


def unless_one(multipliers_e8: Mapping[int, int]) -> Mapping[int, int] | None:
    """The multipliers, None where all are one."""
    return multipliers_e8 if any(one != ONE for one in multipliers_e8.values()) else None


def opened(start_e8: int) -> Book:
    """A book with this much cash and nothing else."""
    return Book(start_e8=start_e8, cash_e8=start_e8)
