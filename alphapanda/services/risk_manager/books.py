"""Arithmetic over books and intents: what a book, or all of them, come to once everything on its way is filled."""

from collections.abc import Collection, Iterable, Mapping, Set
from typing import Protocol

from alphapanda.contracts.events import MarketTick
from alphapanda.core.ledger import E8_FLOAT, ONE, Book, to_e8, value_e8
from alphapanda.services.risk_manager.state import Intent

Multipliers = Mapping[int, int]
Marks = Mapping[int, MarketTick]
ALL_ONE: Multipliers = {}
Holdings = Mapping[tuple[int, str], int]
"""What is held by token and product."""


class MarginRule(Protocol):
    """What margin holdings need."""

    def margin_e8(self, ts_ns: int, held: Holdings, marks: Marks) -> int:
        """The margin of all of it in 1e-8; what has no price yet needs none."""
        ...

    def is_bounded(self, ts_ns: int, pairs: Set[tuple[int, str]]) -> bool:
        """Whether no position, long or short, in any of these tokens and products needs more than it is worth."""
        ...


class InFull:
    """The margin rule without a table: positions are to be covered whole, for a multiplier of one."""

    def margin_e8(self, ts_ns: int, held: Holdings, marks: Marks) -> int:
        """The value of all of it."""
        return sum([abs(count) * to_e8(marks[token].last_price) for (token, _), count in held.items() if token in marks])

    def is_bounded(self, ts_ns: int, pairs: Set[tuple[int, str]]) -> bool:
        """Not where multipliers are below one."""
        return False


def equity_e8(book: Book, marks: Marks, multipliers_e8: Multipliers | None) -> int:
    """Cash and what is held at the last prices; what has no price yet counts at its cost."""
    return book.cash_e8 + sum(book.worths_e8(marks, multipliers_e8))


def counted(intents: Collection[Intent]) -> Collection[Intent]:
    """The intents that can all be filled: of those that cancel each other, the largest of each instrument and side."""
    for intent in intents:
        if intent.oco_group:
            break
    else:
        return intents
    found: list[Intent] = []
    largest: dict[tuple[str, int, bool], Intent] = {}
    for intent in intents:
        if not intent.oco_group:
            found.append(intent)
            continue
        key = intent.oco_group, intent.token, intent.quantity > 0
        if key not in largest or abs(intent.quantity) > abs(largest[key].quantity):
            largest[key] = intent
    return [*found, *largest.values()]


def merged(each: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """What several books hold together, netted as a broker's account is."""
    together: dict[int, int] = {}
    for held in each:
        for token, count in held.items():
            together[token] = together.get(token, 0) + count
    return together


def with_intents(held: Mapping[int, int], intents: Iterable[Intent]) -> dict[int, int]:
    """What is held once these intents are filled."""
    after = dict(held)
    for intent in intents:
        after[intent.token] = after.get(intent.token, 0) + intent.quantity
    return after


def exposures_e8(held: Mapping[int, int], marks: Marks, multipliers_e8: Multipliers | None) -> tuple[int, int]:
    """Gross and net value at the last prices; what has no price yet counts as nothing. Multipliers: None where all are one."""
    values = _values_e8(held, marks, multipliers_e8)
    return sum(map(abs, values)), sum(values)


def _values_e8(held: Mapping[int, int], marks: Marks, multipliers_e8: Multipliers | None) -> list[int]:
    if multipliers_e8 is None:
        try:  # to_e8 and value_e8 are written out
            return [round(marks[one].last_price * E8_FLOAT) * count for one, count in held.items()]
        except KeyError:
            multipliers_e8 = ALL_ONE
    return [
        value_e8(to_e8(marks[one].last_price), count, multipliers_e8.get(one, ONE))
        for one, count in held.items() if one in marks
    ]  # fmt: skip


def shorts_e8(held: Mapping[int, int], marks: Marks, multipliers_e8: Multipliers | None) -> int:
    """The value of what is held short at the last prices, counted as `exposures_e8` does."""
    if multipliers_e8 is None:
        try:  # written out too: every order comes by here
            return sum([round(marks[one].last_price * E8_FLOAT) * count for one, count in held.items() if count < 0])
        except KeyError:
            multipliers_e8 = ALL_ONE
    return sum(_values_e8({one: count for one, count in held.items() if count < 0}, marks, multipliers_e8))


def cash_after_e8(
    cash_e8: int, intents: Iterable[Intent], token: int, quantity: int, price_e8: int, multipliers_e8: Multipliers | None
) -> int:  # fmt: skip
    """Cash once all intents and this order are filled."""
    if multipliers_e8 is None:
        for intent in intents:
            cash_e8 -= intent.price_e8 * intent.quantity
        return cash_e8 - price_e8 * quantity
    for intent in intents:
        cash_e8 -= value_e8(intent.price_e8, intent.quantity, multipliers_e8[intent.token])
    return cash_e8 - value_e8(price_e8, quantity, multipliers_e8[token])


def crossing(
    strategy_id: str, token: int, quantity: int, limit_e8: int | None, intents: Mapping[str, Mapping[str, Intent]]
) -> int:  # fmt: skip
    """Quantity of other strategies' working orders in this instrument that an order would trade with."""
    found = 0
    for other, mine in intents.items():
        if other == strategy_id:
            continue
        for intent in mine.values():
            if intent.token == token and intent.quantity * quantity < 0 and _cross(quantity, limit_e8, intent.limit_e8):
                found += abs(intent.quantity)
    return found


def _cross(quantity: int, limit_e8: int | None, other_e8: int | None) -> bool:
    if limit_e8 is None or other_e8 is None:
        return True
    return limit_e8 >= other_e8 if quantity > 0 else limit_e8 <= other_e8
