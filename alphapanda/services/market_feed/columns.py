"""The door for whole columns of rows: the same numbers, times and clock events as `service.Door`, some 100 times faster.

Duplicates are counted where the columns are at hand (the importer), and handed in.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphapanda.contracts.events import Epoch, Payload
from alphapanda.services.market_feed.service import DEFAULT_GAP_S, Counters
from alphapanda.services.market_feed.sessions import NS, Calendar, Schedule, schedule, session_at

Times = NDArray[np.int64]
_EMPTY: Times = np.empty(0, dtype=np.int64)


class Placed(NamedTuple):
    """What came of a batch of rows: their numbers and times, and the other events between them, in order."""

    epoch: int
    numbers: Times  # of the rows
    ts_ns: Times  # of the rows
    other_numbers: list[int]
    other_ts_ns: list[int]
    others: list[Payload]


class ColumnDoor:
    """The door, a batch of rows at a time."""

    def __init__(
        self, calendar: Calendar, beat_interval_s: int = 1, *, gap_s: int = DEFAULT_GAP_S, epoch: int = 1,
        reason: str = "tape",
    ) -> None:  # fmt: skip
        self.counters = Counters()
        self._calendar, self._beat_interval_s, self._gap_ns = calendar, beat_interval_s, gap_s * NS
        self._epoch, self._reason, self._number, self._last_ns = epoch, reason, 0, 0
        self._schedule: Schedule | None = None
        self._next = 0
        self._heard_ns = 0

    def rows(self, source_ts_ns: Times, duplicates: int = 0) -> Placed:
        """Place rows whose source times are `source_ts_ns` (ns UTC, in the order in which they came)."""
        if len(source_ts_ns) == 0:
            return Placed(self._epoch, _EMPTY, _EMPTY, [], [], [])
        ts_ns = np.maximum.accumulate(np.maximum(source_ts_ns, self._last_ns))
        counters = self.counters
        counters.rows += len(ts_ns)
        counters.duplicates += duplicates
        counters.backward_time += int(np.count_nonzero(source_ts_ns < ts_ns))
        counters.types["MarketTick"] += len(ts_ns)
        return self._number_all(ts_ns, *self._walk(ts_ns, count=True))

    def take(self, source_ts_ns: int, data: Payload) -> Placed:
        """Place one event that is no tick: a source's interruption, a command."""
        ts_ns = np.array([max(source_ts_ns, self._last_ns)], dtype=np.int64)
        at, times, events = self._walk(ts_ns, count=False)
        self.counters.types[type(data).__name__] += 1
        at.append(0)
        times.append(int(ts_ns[0]))
        events.append(data)
        return self._number_all(ts_ns[:0], at, times, events)

    def finish(self) -> Placed:
        """The rest of the running session: its beats and its close."""
        at: list[int] = []
        times: list[int] = []
        events: list[Payload] = []
        if self._schedule is not None:
            self._put_clock(self._schedule, len(self._schedule.events), _EMPTY, (at, times, events))
            self._close(self._schedule)
        return self._number_all(_EMPTY, at, times, events)

    def _number_all(self, ts_ns: Times, at: list[int], times: list[int], events: list[Payload]) -> Placed:
        """Number rows and others; `at` says before which row each of the others stands."""
        places = np.array(at, dtype=np.int64)
        others = self._number + places + np.arange(len(at))
        index = np.arange(len(ts_ns))
        rows = self._number + index + np.searchsorted(places, index, side="right")
        self._number += len(ts_ns) + len(at)
        last = [int(ts_ns[-1])] if len(ts_ns) else []
        self._last_ns = max([self._last_ns, *times[-1:], *last])
        return Placed(self._epoch, rows, ts_ns, others.tolist(), times, events)

    def _walk(self, ts_ns: Times, *, count: bool) -> tuple[list[int], list[int], list[Payload]]:
        """The other events among rows at `ts_ns`: before which row, when, what."""
        put: tuple[list[int], list[int], list[Payload]] = ([], [], [])
        if self._number == 0:
            self._begin(int(ts_ns[0]), put)
        sessions = list(self._calendar.sessions_between(int(ts_ns[0]), int(ts_ns[-1]) + 1))
        row = 0
        while row < len(ts_ns):
            if self._schedule is None:
                sessions = [one for one in sessions if one.close_ts_ns > ts_ns[row]]
                first = int(np.searchsorted(ts_ns, sessions[0].open_ts_ns)) if sessions else len(ts_ns)
                self.counters.outside_session += (first - row) * count
                row = first
                if row == len(ts_ns):
                    break
                if ts_ns[row] >= sessions[0].close_ts_ns:
                    continue
                self._schedule, self._next = schedule(sessions[0], self._beat_interval_s), 0
                self._heard_ns = sessions[0].open_ts_ns
            row = self._through_session(self._schedule, ts_ns, row, put, count)
        return put

    def _begin(self, first_ns: int, put: tuple[list[int], list[int], list[Payload]]) -> None:
        running = session_at(self._calendar, first_ns)
        put[0].append(0)
        put[1].append(first_ns if running is None else running.open_ts_ns)
        put[2].append(Epoch(self._reason))
        self.counters.types["Epoch"] += 1

    def _through_session(
        self, running: Schedule, ts_ns: Times, row: int, put: tuple[list[int], list[int], list[Payload]], count: bool
    ) -> int:
        """Place what the running session has among rows from `row` on; returns the first row past the session."""
        end = int(np.searchsorted(ts_ns, running.session.close_ts_ns))
        if count and end > row:
            self._silences(np.concatenate(([self._heard_ns], ts_ns[row:end])))
            self._heard_ns = int(ts_ns[end - 1])
        due = int(np.searchsorted(running.ts_ns, ts_ns[-1], side="right"))
        self._put_clock(running, due, ts_ns, put)
        if end < len(ts_ns):
            self._close(running)
        return end

    def _put_clock(self, running: Schedule, due: int, ts_ns: Times, put: tuple[list[int], list[int], list[Payload]]) -> None:
        """Place the schedule's events up to `due`, each before the first row at or past its time."""
        times, events = running.ts_ns[self._next : due], running.events[self._next : due]
        put[0].extend(np.searchsorted(ts_ns, times, side="left").tolist())
        put[1].extend(times.tolist())
        put[2].extend(events)
        for event in events:
            self.counters.types[type(event).__name__] += 1
        self._next = due

    def _close(self, running: Schedule) -> None:
        self.counters.silence(self._heard_ns, running.session.close_ts_ns, self._gap_ns)
        self._schedule = None

    def _silences(self, heard_ns: Times) -> None:
        for index in np.flatnonzero(np.diff(heard_ns) > self._gap_ns).tolist():
            self.counters.silence(int(heard_ns[index]), int(heard_ns[index + 1]), self._gap_ns)
