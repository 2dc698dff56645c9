"""Builders of events for tests."""

from alphapanda.contracts.events import Event, MarketTick, Payload, SessionOpen
from alphapanda.contracts.instruments import Instrument

S = 1_000_000_000
OPEN_NS = 1_709_264_700 * S  # 2024-03-01 09:15 IST
INSTRUMENTS = {
    101: Instrument(101, "AAA", tick_size=0.05),
    102: Instrument(102, "BBB", tick_size=0.05, lot_size=10),
    103: Instrument(103, "INDEX", tradable=False),
}


def root(number: int, data: Payload, at_s: float = 0.0) -> Event:
    """A door event, `at_s` seconds after the session's open."""
    pos = (1, number, 0, 0, 0)
    return Event(pos, OPEN_NS + round(at_s * S), None, data)


def tick(number: int, price: float, at_s: float = 0.0, token: int = 101, **fields: object) -> Event:
    """A tick as a door event."""
    ts_ns = OPEN_NS + round(at_s * S)
    return root(number, MarketTick(ts_ns, token, price, **fields), at_s)  # type: ignore[arg-type]


def session_open(number: int = 2, hours: float = 6.25) -> Event:
    """The session's open."""
    return root(number, SessionOpen("2024-03-01", OPEN_NS, OPEN_NS + round(hours * 3600 * S)))


def made(number: int, stage: int, lane: int, data: Payload, at_s: float = 0.0, n: int = 0) -> Event:
    """An event that a stage made."""
    pos = (1, number, stage, lane, n)
    return Event(pos, OPEN_NS + round(at_s * S), (1, number, 0, 0, 0), data)
