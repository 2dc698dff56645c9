"""What strategies hold in each product, and what that decides: which orders only close, which fills deliver."""

from alphapanda.contracts.events import OrderPlaced, Product
from alphapanda.services.trading_engine.state import EngineState, NetKey


def hold(state: EngineState, key: NetKey, quantity: int) -> None:
    """Note that a signed quantity was traded."""
    held = state.net.get(key, 0) + quantity
    if held:
        state.net[key] = held
    else:
        del state.net[key]


def opened_by(state: EngineState, key: NetKey, quantity: int) -> int:
    """How much of a signed quantity that was just traded opened a position, or made it larger; the rest closed one."""
    held = state.net.get(key, 0)
    if (held > 0) != (quantity > 0):
        return 0
    return min(held, quantity) if quantity > 0 else max(held, quantity)


def delivers(state: EngineState, key: NetKey, quantity: int) -> bool:
    """Whether this is the day's first fill that sells what was held before the day began."""
    before = state.today.get(key, (0, 0, False))
    bought, sold, charged = before[0] + max(0, quantity), before[1] + max(0, -quantity), before[2]
    held_before_today = state.net.get(key, 0) - before[0] + before[1]
    does = quantity < 0 and not charged and held_before_today > 0 and sold > bought
    state.today[key] = (bought, sold, charged or does)
    return does


def closes(state: EngineState, lane: int, placed: OrderPlaced) -> bool:
    """Whether a MIS order only closes what is held and not being closed already."""
    token, quantity = placed.instrument_token, placed.quantity
    held: int = state.net.get((lane, placed.strategy_id, token, Product.MIS), 0)
    for one in state.working.get(token, ()):
        if one.lane == lane and one.placed.product == Product.MIS:
            held += one.remaining
    return (held > 0) != (quantity > 0) and abs(quantity) <= abs(held)
