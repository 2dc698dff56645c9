"""Linked orders: the exits of a bracket, orders that cancel each other, and letting go of those that have ended."""

from alphapanda.contracts.events import Event, Payload
from alphapanda.core.lifecycle import TERMINAL
from alphapanda.services.trading_engine import orders as o
from alphapanda.services.trading_engine.fills import note_wait
from alphapanda.services.trading_engine.models import PaperExecution
from alphapanda.services.trading_engine.rules import latency_ns
from alphapanda.services.trading_engine.state import EngineState, WorkingOrder

Said = list[tuple[int, Payload]]


def bracket(
    state: EngineState, rules: PaperExecution, order: WorkingOrder, quantity: int, event: Event, said: Said
) -> None:  # fmt: skip
    """Place the exits with a fill of the entry that opened this much; those that still work grow with every further one."""
    if not quantity:
        return
    terms, placed, orders = order.terms, order.placed, state.working[order.placed.instrument_token]
    working = [one for one in orders if one.placed.parent_id == placed.order_id and one.state not in TERMINAL]
    for one in working:
        said.append((order.lane, o.resized(one, one.quantity - quantity)))
    if working or terms is None:
        return
    order.legs += 1
    active_ns = event.ts_ns + latency_ns(rules, (*event.pos[:2], 4, order.lane, order.legs))
    for name, limit, trigger in (("stop", None, terms.stop_loss), ("target", terms.take_profit, None)):
        if limit is not None or trigger is not None:
            name = name if order.legs == 1 else f"{name}-{order.legs}"
            made = o.leg(order, name, -quantity, limit=limit, trigger=trigger, active_ns=active_ns)
            note_wait(made, state.marks[placed.instrument_token], event.ts_ns)
            orders.append(made)
            said.append((order.lane, made.placed))


def reduce_others(state: EngineState, order: WorkingOrder, quantity: int, said: Said) -> None:
    """What one order of a group fills, the others lose: each other signal as a whole, whose slices lose it in turn."""
    left: dict[tuple[str, str], int] = {}
    own = _member(order)
    for orders in list(state.working.values()):
        for one in orders:
            member = _member(one)
            if one.oco_group != order.oco_group or one.lane != order.lane or member == own or one.state in TERMINAL:
                continue
            lost = min(left.get(member, abs(quantity)), abs(one.remaining))
            left[member] = left.get(member, abs(quantity)) - lost
            if lost == abs(one.remaining):
                said.append((one.lane, o.cancelled(one, "oco")))
            elif lost:
                said.append((one.lane, o.resized(one, one.quantity - (lost if one.quantity > 0 else -lost))))
    for token in list(state.working):
        if token != order.placed.instrument_token:
            clear(state, token, said)


def clear(state: EngineState, token: int, said: Said) -> None:
    """Let go of the orders of this instrument that have ended; in place, because the host looks at this table."""
    left = []
    for order in state.working[token]:
        if order.state not in TERMINAL:
            left.append(order)
            continue
        said += [(order.lane, o.not_changed(change, "order_ended")) for change in order.changes]
    if left:
        state.working[token] = left
    else:
        del state.working[token]
        state.volumes.pop(token, None)


def _member(order: WorkingOrder) -> tuple[str, str]:
    """What counts as one in a group: the slices of one signal, and each kind of exit of one bracket."""
    return order.placed.signal_id, order.placed.order_type if order.placed.parent_id else ""
