"""What happens to one order: the payloads that say so, and the order as it is then.

Every change of state goes through the lifecycle's table. Nothing here decides when something happens: the room does.
"""

from alphapanda.contracts.events import (
    Charges,
    ExecMode,
    OrderCancelled,
    OrderFailed,
    OrderFill,
    OrderModified,
    OrderPlaced,
    OrderTerms,
    OrderTriggered,
    OrderType,
    ValidatedSignal,
    Validity,
)  # fmt: skip
from alphapanda.core.lifecycle import Happening, OrderState, after, ending
from alphapanda.services.trading_engine.state import PendingChange, WorkingOrder

PLAIN = OrderTerms()
PRICED = frozenset({OrderType.LIMIT, OrderType.SL})
OPENED, STOPPED = after(OrderState.NEW, Happening.ACCEPTED), after(OrderState.NEW, Happening.ACCEPTED_STOP)
FILLED, PART_FILLED, IOC = Happening.FILLED, Happening.PART_FILLED, Validity.IOC


def accepted(lane: int, placed: OrderPlaced, terms: OrderTerms | None, oco_group: str = "") -> WorkingOrder:
    """A working order of what was placed."""
    trigger = placed.trigger_price
    return WorkingOrder(
        lane, placed, OPENED if trigger is None else STOPPED, placed.quantity, placed.limit_price, trigger,
        placed.validity == IOC, terms, oco_group,
    )  # fmt: skip


def filled(order: WorkingOrder, quantity: int, price: float, notional_e8: int, charges: Charges) -> OrderFill:
    """Take a fill of this signed quantity."""
    remaining = order.quantity - order.filled - quantity
    order.state = after(order.state, PART_FILLED if remaining else FILLED)
    order.filled += quantity
    order.filled_e8 += notional_e8
    placed = order.placed
    return OrderFill(
        placed.exec_mode, placed.strategy_id, placed.instrument_token, placed.signal_id, placed.order_id, quantity, price,
        placed.reference_price, charges, remaining, placed.client_order_id, placed.product,
    )  # fmt: skip


def cancelled(order: WorkingOrder, reason: str) -> OrderCancelled:
    """End the order with what is left of it unfilled."""
    order.state = after(order.state, ending(reason))
    placed = order.placed
    return OrderCancelled(
        placed.exec_mode, placed.strategy_id, placed.instrument_token, placed.signal_id, placed.order_id, order.remaining,
        reason, placed.client_order_id,
    )  # fmt: skip


def refused(placed: OrderPlaced, reason: str) -> OrderFailed:
    """An order that was not accepted."""
    after(OrderState.NEW, Happening.REFUSED)
    return OrderFailed(
        placed.exec_mode, placed.strategy_id, placed.instrument_token, placed.signal_id, placed.order_id, placed.quantity,
        reason, placed.client_order_id,
    )  # fmt: skip


def not_changed(change: PendingChange, reason: str) -> OrderFailed:
    """A change that could not be made; the order, if there is one, stays as it is."""
    wanted = change.wanted
    name = wanted.terms.client_order_id if wanted.terms is not None else ""
    return OrderFailed(
        wanted.exec_mode, wanted.strategy_id, wanted.instrument_token, change.signal_id, change.order_id, wanted.quantity,
        reason, name,
    )  # fmt: skip


def triggered(order: WorkingOrder, limit_price: float | None) -> OrderTriggered:
    """The stop is an ordinary order from here on, with this limit."""
    order.state = after(order.state, Happening.TRIGGERED)
    order.limit_price = limit_price
    placed, trigger = order.placed, order.trigger_price
    return OrderTriggered(
        placed.exec_mode, placed.strategy_id, placed.instrument_token, placed.signal_id, placed.order_id, trigger or 0.0
    )


def resized(order: WorkingOrder, quantity: int) -> OrderModified:
    """The order's new total; the rest of it stays."""
    return _modified(order, order.placed.signal_id, quantity, order.limit_price, order.trigger_price)


def change_objection(order: WorkingOrder, wanted: ValidatedSignal) -> str | None:
    """Why an order cannot become what is wanted, None where it can."""
    terms, kind, total = wanted.terms or PLAIN, order.placed.order_type, wanted.quantity
    if total and ((total > 0) != (order.quantity > 0) or abs(total) <= abs(order.filled)):
        return "quantity"
    if terms.limit_price is not None and kind not in PRICED:
        return "order_has_no_limit"
    if terms.trigger_price is not None and order.state is not OrderState.TRIGGER_PENDING:
        return "order_has_no_trigger"
    return None


def modified(order: WorkingOrder, wanted: ValidatedSignal, signal_id: str) -> OrderModified:
    """The order as a signal wants it; what the signal leaves out stays."""
    terms = wanted.terms or PLAIN
    limit = order.limit_price if terms.limit_price is None else terms.limit_price
    trigger = order.trigger_price if terms.trigger_price is None else terms.trigger_price
    order.resting = order.resting and limit == order.limit_price  # a new price may be there already
    return _modified(order, signal_id, wanted.quantity or order.quantity, limit, trigger)


def _modified(
    order: WorkingOrder, signal_id: str, quantity: int, limit: float | None, trigger: float | None
) -> OrderModified:  # fmt: skip
    order.state = after(order.state, Happening.MODIFIED)
    order.quantity, order.limit_price, order.trigger_price = quantity, limit, trigger
    placed = order.placed
    return OrderModified(
        placed.exec_mode, placed.strategy_id, placed.instrument_token, signal_id, placed.order_id, quantity, limit, trigger
    )


def leg(
    parent: WorkingOrder, name: str, quantity: int, *, limit: float | None, trigger: float | None, active_ns: int
) -> WorkingOrder:  # fmt: skip
    """An exit of a bracket: `name` is stop or target, with a count where earlier exits ended before the entry did."""
    placed = parent.placed
    own_name = f"{placed.client_order_id}.{name.partition('-')[0]}" if placed.client_order_id else ""
    kind = OrderType.LIMIT if trigger is None else OrderType.SL_M
    return accepted(parent.lane, OrderPlaced(
        placed.exec_mode, placed.strategy_id, placed.instrument_token, placed.signal_id, f"{placed.order_id}:{name}", kind,
        quantity, limit or trigger or 0.0, active_ns, placed.product, Validity.DAY, limit, trigger, own_name,
        placed.order_id,
    ), None, placed.order_id)  # fmt: skip


def of_the_engine(
    cause: str, name: str, strategy_id: str, token: int, quantity: int, price: float, active_ns: int, product: str, kind: str
) -> OrderPlaced:
    """An order that no signal asked for: square-off or settlement, named after the event it follows from."""
    order_id = f"{cause}:{strategy_id}:{token}:{product}:{name}"
    return OrderPlaced(ExecMode.PAPER, strategy_id, token, order_id, order_id, kind, quantity, price, active_ns, product)
