"""The life of an order, as a table."""

from itertools import product
from pathlib import Path

import pytest

from alphapanda.core.lifecycle import TERMINAL, TRANSITIONS, Happening, IllegalTransitionError, OrderState, after, mermaid


@pytest.mark.parametrize(("state", "happening"), [one for one in product(OrderState, Happening) if one not in TRANSITIONS])
def test_what_is_not_in_the_table_raises(state: OrderState, happening: Happening) -> None:
    """The message names both, and what would be possible."""
    with pytest.raises(IllegalTransitionError, match=f"an order that is {state} cannot be {happening}; possible: "):
        after(state, happening)


def test_nothing_happens_to_an_order_that_has_ended() -> None:
    """And every state that is not an end leads to one."""
    left = {state for state, _ in TRANSITIONS}
    assert (left & TERMINAL, left | TERMINAL) == (set(), set(OrderState))


def test_the_diagram_of_the_docs_is_drawn_from_the_table() -> None:
    """docs/orders.md holds it as it is drawn."""
    assert mermaid() in Path("docs/orders.md").read_text(encoding="utf-8")
