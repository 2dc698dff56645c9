"""What the door needs of a market profile, and the clock events of one trading session."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from alphapanda.contracts.events import Beat, Payload, SessionClose, SessionOpen, SquareOff

NS = 1_000_000_000
BEAT = Beat()


class TradingSession(Protocol):
    """One trading session of the calendar, over [open, close); all times in nanoseconds UTC."""

    @property
    def session(self) -> str:
        """Local date, 2024-03-01."""

    @property
    def open_ts_ns(self) -> int:
        """When trading begins."""

    @property
    def close_ts_ns(self) -> int:
        """When it ends; a row at this time is outside."""

    @property
    def square_off_ts_ns(self) -> int | None:
        """When intraday positions are to be closed; None where the market has no such time."""


class Calendar(Protocol):
    """A market profile, as far as the door looks."""

    def sessions_between(self, start_ns: int, end_ns: int) -> Sequence[TradingSession]:
        """The trading sessions that share a moment with [start, end), in order."""


class Schedule(NamedTuple):
    """All clock events of one trading session in order; `ts_ns` never falls."""

    session: TradingSession
    ts_ns: NDArray[np.int64]
    events: list[Payload]


def schedule(session: TradingSession, beat_interval_s: int) -> Schedule:
    """SessionOpen, beats at open + k * interval, SquareOff, SessionClose.

    The beat that would fall on the close is left out: SessionClose closes the same bars. Where a beat and SquareOff
    share a time the beat comes first, so that bars which end there are complete before positions are closed.
    """
    beats = np.arange(session.open_ts_ns, session.close_ts_ns, beat_interval_s * NS, dtype=np.int64)[1:]
    opened = SessionOpen(session.session, session.open_ts_ns, session.close_ts_ns)
    times, events = [session.open_ts_ns, *beats.tolist()], [opened, *[BEAT] * len(beats)]
    if session.square_off_ts_ns is not None:
        at = 1 + int(np.searchsorted(beats, session.square_off_ts_ns, side="right"))
        times.insert(at, session.square_off_ts_ns)
        events.insert(at, SquareOff(session.session))
    times.append(session.close_ts_ns)
    events.append(SessionClose(session.session))
    return Schedule(session, np.array(times, dtype=np.int64), events)


def session_at(calendar: Calendar, ts_ns: int) -> TradingSession | None:
    """The trading session that is running at `ts_ns`."""
    running = [one for one in calendar.sessions_between(ts_ns, ts_ns + 1) if one.open_ts_ns <= ts_ns < one.close_ts_ns]
    return running[0] if running else None
