"""The life of an order: states, and what may happen in each, as one table.

`TRANSITIONS` is the whole rule. `after` looks it up; what it does not list raises, and nothing has changed then. The
diagram in the docs is drawn from the table (`mermaid`).
"""

from enum import StrEnum

from alphapanda.contracts.errors import ContractError


class OrderState(StrEnum):
    """Where an order stands."""

    NEW = "new"  # validated, not yet accepted
    TRIGGER_PENDING = "trigger_pending"  # a stop whose trigger has not traded
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"  # its validity ended: session close, or IOC
    REJECTED = "rejected"


class Happening(StrEnum):
    """What can happen to an order."""

    ACCEPTED = "accepted"
    ACCEPTED_STOP = "accepted_stop"
    REFUSED = "refused"
    TRIGGERED = "triggered"
    MODIFIED = "modified"
    PART_FILLED = "part_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


S, H = OrderState, Happening
TERMINAL = frozenset({S.FILLED, S.CANCELLED, S.EXPIRED, S.REJECTED})
TRANSITIONS: dict[tuple[OrderState, Happening], OrderState] = {
    (S.NEW, H.ACCEPTED): S.OPEN,
    (S.NEW, H.ACCEPTED_STOP): S.TRIGGER_PENDING,
    (S.NEW, H.REFUSED): S.REJECTED,
    (S.TRIGGER_PENDING, H.TRIGGERED): S.OPEN,
    (S.TRIGGER_PENDING, H.MODIFIED): S.TRIGGER_PENDING,
    (S.TRIGGER_PENDING, H.CANCELLED): S.CANCELLED,
    (S.TRIGGER_PENDING, H.EXPIRED): S.EXPIRED,
    (S.OPEN, H.MODIFIED): S.OPEN,
    (S.OPEN, H.PART_FILLED): S.PARTIALLY_FILLED,
    (S.OPEN, H.FILLED): S.FILLED,
    (S.OPEN, H.CANCELLED): S.CANCELLED,
    (S.OPEN, H.EXPIRED): S.EXPIRED,
    (S.PARTIALLY_FILLED, H.MODIFIED): S.PARTIALLY_FILLED,
    (S.PARTIALLY_FILLED, H.PART_FILLED): S.PARTIALLY_FILLED,
    (S.PARTIALLY_FILLED, H.FILLED): S.FILLED,
    (S.PARTIALLY_FILLED, H.CANCELLED): S.CANCELLED,
    (S.PARTIALLY_FILLED, H.EXPIRED): S.EXPIRED,
}
EXPIRY_REASONS = frozenset({"session_close", "ioc"})
"""Reasons of an OrderCancelled that mean its validity ended; any other is a cancellation."""


class IllegalTransitionError(ContractError):
    """Something happened to an order that cannot happen in its state."""


def after(state: OrderState, happening: Happening) -> OrderState:
    """The state that follows. Raises IllegalTransitionError naming both."""
    found = TRANSITIONS.get((state, happening))
    if found is None:
        allowed = ", ".join(str(one) for before, one in TRANSITIONS if before is state) or "nothing: it has ended"
        raise IllegalTransitionError(f"an order that is {state} cannot be {happening}; possible: {allowed}")
    return found


def ending(reason: str) -> Happening:
    """What an OrderCancelled with this reason was: an expiry or a cancellation."""
    return H.EXPIRED if reason in EXPIRY_REASONS else H.CANCELLED


def mermaid() -> str:
    """The table as a mermaid state diagram."""
    lines = ["stateDiagram-v2", f"  [*] --> {S.NEW}"]
    lines += [f"  {before} --> {then}: {happening}" for (before, happening), then in TRANSITIONS.items()]
    lines += [f"  {state} --> [*]" for state in OrderState if state in TERMINAL]
    return "\n".join(lines)
