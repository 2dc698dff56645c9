"""Corporate actions: what a split, a bonus or a dividend does to what is held at the open of its ex-date."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from alphapanda.contracts.events import MarketTick
from alphapanda.core.ledger import E8, Book


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


Actions = Sequence[CorporateAction]
"""In the order in which they take effect."""


class AdjustedTick(MarketTick, frozen=True, gc=False):
    """The last tick before an ex-date, at prices after it: what is held is worth the same until the first tick of the day."""

    session: str = ""


def due(actions: Actions, last_session: str, session: str) -> Actions:
    """What takes effect as a session opens: the actions since the last one; at the first, those of its own date."""
    if not actions:
        return ()
    after = last_session or session
    return [one for one in actions if after < one.ex_date <= session or (not last_session and one.ex_date == session)]


def factor_of(action: CorporateAction) -> tuple[int, int]:
    """Shares after it for shares before it."""
    return action.new + (action.old if action.kind is ActionKind.BONUS else 0), action.old


def adjust(marks: dict[int, MarketTick], actions: Actions, session: str) -> None:
    """Put last prices of before the ex-date at what they are after it. Doing it again changes nothing: rooms may share marks."""
    for token in dict.fromkeys(action.instrument_token for action in actions):
        mark = marks.get(token)
        if mark is None or (type(mark) is AdjustedTick and mark.session == session):
            continue
        fields = {name: getattr(mark, name) for name in MarketTick.__struct_fields__}
        for action in actions:
            if action.instrument_token == token:
                for name in ("last_price", "bid", "ask"):
                    fields[name] = None if fields[name] is None else price_after(fields[name], action)
        marks[token] = AdjustedTick(**fields, session=session)


def price_after(price: float, action: CorporateAction) -> float:
    """A price of before the ex-date as it is after it, to 1e-8."""
    if action.kind is ActionKind.DIVIDEND:
        return round(price - action.amount_e8 / E8, 8)
    after, before = factor_of(action)
    return round(price * before / after, 8)


def quantity_after(held: int, action: CorporateAction) -> int:
    """The signed quantity after it: a fraction of a share is dropped, toward zero."""
    if action.kind is ActionKind.DIVIDEND:
        return held
    after, before = factor_of(action)
    size = abs(held) * after // before
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
    exact = abs(held) * factor_of(action)[0]  # shares times `old`
    dropped_e8 = position.cost_e8 - position.cost_e8 * abs(after) * action.old // exact
    position.quantity, position.cost_e8 = after, position.cost_e8 - dropped_e8
    book.cash_e8 += dropped_e8
    book.cost_e8 -= dropped_e8
    if after:
        book.held[action.instrument_token] = after
    else:
        del book.held[action.instrument_token]
    return True
