"""market_feed, the pure part of the door: rows become events with a number and a time that never runs back.

Reads rows in the order in which they came: (source time, payload). Writes the door's events: the rows themselves, the
epoch that stands first, and the clock events of each trading session that has at least one row. Keeps the last time and
number, the running session and the counters. Refuses nothing: what is dirty is counted and passes.

* `number` is contiguous from the epoch event on, `(1, 0)` at the start of a tape.
* `ts` is max(last, source): a row that runs back takes the last time.
* A session event or beat stands before the first row at or past its time; a row at the close is outside the session.
* The epoch stands at the open of the first row's trading session, or at the first row if that is outside sessions: so
  the first bars are whole.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from alphapanda.contracts.events import Epoch, Event, MarketTick, Payload
from alphapanda.services.market_feed.sessions import NS, Calendar, Schedule, schedule, session_at

DEFAULT_GAP_S = 60
GAPS_LISTED = 100
"""How many gaps are kept with their times; all are counted."""


@dataclass(slots=True)
class Counters:
    """What the door saw. A gap is a silence inside a trading session longer than the time set for it."""

    rows: int = 0
    duplicates: int = 0  # rows equal, time and all, to the row before of the same instrument
    backward_time: int = 0
    outside_session: int = 0
    gaps: int = 0
    longest_gap_ns: int = 0
    gap_list: list[tuple[int, int]] = field(default_factory=list)  # (start, end) in ns UTC, the first GAPS_LISTED
    types: Counter[str] = field(default_factory=Counter)  # events by type

    def silence(self, start_ns: int, end_ns: int, gap_ns: int) -> None:
        """Count [start, end) if it is longer than `gap_ns`."""
        if end_ns - start_ns <= gap_ns:
            return
        self.gaps += 1
        self.longest_gap_ns = max(self.longest_gap_ns, end_ns - start_ns)
        if len(self.gap_list) < GAPS_LISTED:
            self.gap_list.append((start_ns, end_ns))


class Door:
    """The door, one row at a time: the plain form, which `columns.ColumnDoor` equals."""

    def __init__(
        self, calendar: Calendar, beat_interval_s: int = 1, *, gap_s: int = DEFAULT_GAP_S, epoch: int = 1,
        reason: str = "tape",
    ) -> None:  # fmt: skip
        self.counters = Counters()
        self._calendar, self._beat_interval_s, self._gap_ns = calendar, beat_interval_s, gap_s * NS
        self._epoch, self._reason, self._number, self._last_ns = epoch, reason, 0, 0
        self._schedule: Schedule | None = None
        self._next = 0  # place in the schedule
        self._heard_ns = 0  # last row in this session, or its open
        self._rows: dict[int, tuple[int, Any]] = {}  # last row of each instrument

    def take(self, source_ts_ns: int, data: Payload) -> list[Event]:
        """The events that `data`, a row or a source's interruption (FeedGap), makes: itself last."""
        ts_ns = max(self._last_ns, source_ts_ns)
        events = self._begin(ts_ns) if self._number == 0 else []
        events += self._clock(ts_ns)
        if self._schedule is None:
            running = session_at(self._calendar, ts_ns)
            if running is not None:
                self._schedule, self._next = schedule(running, self._beat_interval_s), 0
                self._heard_ns = running.open_ts_ns
                events += self._clock(ts_ns)
        if isinstance(data, MarketTick):
            self._count(source_ts_ns, ts_ns, data)
            data = msgspec.structs.replace(data, ts_ns=ts_ns)
        events.append(self._event(ts_ns, data))
        return events

    def finish(self) -> list[Event]:
        """The rest of the running session: its beats and its close."""
        return self._clock(None)

    def _begin(self, ts_ns: int) -> list[Event]:
        running = session_at(self._calendar, ts_ns)
        return [self._event(ts_ns if running is None else running.open_ts_ns, Epoch(self._reason))]

    def _clock(self, until_ns: int | None) -> list[Event]:
        """The running session's events at or before `until_ns` (None: all)."""
        events: list[Event] = []
        if self._schedule is None:
            return events
        times, payloads = self._schedule.ts_ns, self._schedule.events
        while self._next < len(payloads) and (until_ns is None or times[self._next] <= until_ns):
            events.append(self._event(int(times[self._next]), payloads[self._next]))
            self._next += 1
        if self._next == len(payloads):
            self.counters.silence(self._heard_ns, self._schedule.session.close_ts_ns, self._gap_ns)
            self._schedule = None
        return events

    def _count(self, source_ts_ns: int, ts_ns: int, tick: MarketTick) -> None:
        counters, row = self.counters, (source_ts_ns, msgspec.structs.replace(tick, ts_ns=0))
        counters.rows += 1
        counters.backward_time += source_ts_ns < ts_ns
        counters.duplicates += self._rows.get(tick.instrument_token) == row
        self._rows[tick.instrument_token] = row
        if self._schedule is None:
            counters.outside_session += 1
        else:
            counters.silence(self._heard_ns, ts_ns, self._gap_ns)
            self._heard_ns = ts_ns

    def _event(self, ts_ns: int, data: Payload) -> Event:
        pos = (self._epoch, self._number, 0, 0, 0)
        self._number, self._last_ns = self._number + 1, max(self._last_ns, ts_ns)
        self.counters.types[type(data).__name__] += 1
        return Event(pos, self._last_ns, None, data)
