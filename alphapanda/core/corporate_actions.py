"""Corporate actions: what a split, a bonus or a dividend does to what is held at the open of its ex-date."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from alphapanda.core.ledger import Book


class ActionKind(StrEnum):
    """What happens."""

    SPLIT = "split"  # `new` shares for every `old`
    BONUS = "bonus"  # `new` further shares for every `old`
    DIVIDEND = "dividend"  # `amount_e8` for each share


class CorporateAction(NamedTuple):
    """One action of one instrument."""

    instrument_token: int
    ex_date: str  # local date of the session before whose open it takes effect
    kind: ActionKind
    new: int = 1
    old: int = 1
    amount_e8: int = 0


NO_ACTIONS: Mapping[str, list[CorporateAction]] = MappingProxyType({})
"""By ex-date."""


def quantity_after(held: int, action: CorporateAction) -> int:
    """The signed quantity after it: a fraction of a share is dropped, toward zero."""
    if action.kind is ActionKind.DIVIDEND:
        return held
    factor = action.new + (action.old if action.kind is ActionKind.BONUS else 0)
    size = abs(held) * factor // action.old
    return size if held > 0 else -size


def act(book: Book, action: CorporateAction) -> bool:
    """Apply it to a book; whether anything was held.

    The cost stays with the position, so that neither a split nor a bonus makes a profit; the cost of a dropped fraction is
    handed back as cash. A dividend is realised; a short pays it.
    """
    position = book.positions.get(action.instrument_token)
    if position is None or position.quantity == 0:
        return False
    if action.kind is ActionKind.DIVIDEND:
        paid_e8 = position.quantity * action.amount_e8
        book.cash_e8 += paid_e8
        book.realised_e8 += paid_e8
        position.realised_e8 += paid_e8
        return True
    held, after = position.quantity, quantity_after(position.quantity, action)
    factor = action.new + (action.old if action.kind is ActionKind.BONUS else 0)
    exact = abs(held) * factor  # shares times `old`
    dropped_e8 = position.cost_e8 - position.cost_e8 * abs(after) * action.old // exact
    position.quantity, position.cost_e8 = after, position.cost_e8 - dropped_e8
    book.cash_e8 += dropped_e8
    book.cost_e8 -= dropped_e8
    if after:
        book.held[action.instrument_token] = after
    else:
        del book.held[action.instrument_token]
    return True
