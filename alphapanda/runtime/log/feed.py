"""The market_feed service: a source of outside events, operator commands, and the door they pass.

A tape plays at the pace of its own times, faster, or as fast as it goes. Its rows, beats and session events are numbered
anew and none are added; the door's own epoch event stands for the tape's first, later ones pass. So a tape of one epoch
keeps its seqs, unless a command or another door comes between.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError, ContractError
from alphapanda.contracts.events import Epoch, Event, MarketTick, Payload
from alphapanda.runtime.log.commands import command_of
from alphapanda.runtime.log.control import Seq
from alphapanda.runtime.log.door import LogDoor
from alphapanda.runtime.log.http_server import Mailbox
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, Partition
from alphapanda.runtime.replay_run import place

NS = 1_000_000_000
ROWS_A_STEP = 2_000
AHEAD_NS = 1 * NS
"""How far an exchange's clock may be ahead of the door's before someone is told."""
_log = logging.getLogger("alphapanda.feed")


class Row(NamedTuple):
    """One event of a source, with its place there."""

    place: Seq
    ts_ns: int
    data: Payload


class Source(Protocol):
    """Where market data comes from."""

    opens_ns: int  # time of the epoch event of a door that opens on it
    reason: str  # and what it says

    def rows(self, heard: Mapping[Partition, Seq], partitioning: Partitioning) -> Iterator[Row]:
        """What is still to pass the door; `heard`: the last place in each partition that has."""


class TapeSource:
    """The events of a tape in [start, end) but its first epoch.

    From the middle on it is a cold start: the trading session's earlier session events and commands come first.
    """

    def __init__(self, tape: Tape, start: str | Seq | None = None, end: str | Seq | None = None) -> None:
        self._tape, self._start, self._end = tape, place(tape, start), place(tape, end)
        first: Any = next(self._events(), None)
        if first is None:
            raise ConfigurationError(f"{tape.path} has nothing between {start} and {end}")
        self.opens_ns: int = first.ts_ns
        self.reason: str = getattr(first.data, "reason", "cold start")

    def _events(self) -> Iterator[Event]:
        if self._start is not None and self._start > self._tape.seqs[0]:
            yield from self._tape.earlier_in_session(self._start)
        yield from self._tape.events(self._start, self._end)

    def rows(self, heard: Mapping[Partition, Seq], partitioning: Partitioning) -> Iterator[Row]:
        """Rows behind the last that came through, in each partition: a door that was killed left them at different places."""
        for i, event in enumerate(self._events()):
            at = event.pos[:2]
            if (i or type(event.data) is not Epoch) and at > heard.get(partitioning.of(event), (0, 0)):
                yield Row(at, event.ts_ns, event.data)


class Feed:
    """The door service: call `boot`, then `step` again and again, and `close`."""

    name = "market_feed.0"

    def __init__(
        self, log: Log, partitioning: Partitioning, source: Source, *, speed: float = 0.0, mailbox: Mailbox | None = None,
        fan_out: bool = False,
    ) -> None:  # fmt: skip
        """`speed` is market seconds a second; 0: as fast as it goes. `fan_out` as for the door."""
        self._source, self._speed, self._mailbox = source, speed, mailbox
        self.door, self._partitioning = LogDoor(log, partitioning, fan_out=fan_out), partitioning
        self.handled = 0
        self.ended = False
        self._next: Row | None = None
        self._warned: dict[int, int] = {}  # instrument -> door time of the last warning

    def boot(self) -> None:
        """Open the door and go to where the source had come. Raises LogError."""
        self.door.open(self._source.opens_ns, self._source.reason)
        self._rows = self._source.rows(dict(self.door.rows_heard), self._partitioning)
        self._next = next(self._rows, None)
        self._began, self._first_ns = time.monotonic(), self._next.ts_ns if self._next is not None else 0

    def step(self, timeout_s: float) -> int:
        """Let through what is due, and acknowledge what was read back; returns how many events passed.

        Raises ReplacedError where another door has opened, LogError.
        """
        count = 0
        for _ in range(ROWS_A_STEP):
            row = self._next
            if row is None or self._wait_s(row) > 0:
                break
            self._pass(row)
            count += 1
            self._next = next(self._rows, None)
        self.ended = self._next is None
        count += self._take_commands()
        self.handled += count
        self.door.serve()
        if not count and timeout_s > 0:
            wait_s = timeout_s if self._next is None else max(0.0, self._wait_s(self._next))
            time.sleep(min(timeout_s, wait_s, 0.05))
        return count

    def _wait_s(self, row: Row) -> float:
        if not self._speed:
            return 0.0
        return (row.ts_ns - self._first_ns) / NS / self._speed - (time.monotonic() - self._began)

    def _pass(self, row: Row) -> None:
        ts_ns, data = max(row.ts_ns, self.door.ts_ns), row.data
        if type(data) is MarketTick and data.ts_ns != ts_ns:
            fields: dict[str, Any] = {name: getattr(data, name) for name in data.__struct_fields__}
            data = MarketTick(**fields | {"ts_ns": ts_ns})
        if type(data) is MarketTick and data.exchange_ts_ns is not None and data.exchange_ts_ns > ts_ns + AHEAD_NS:
            self._warn_of_the_future(data)
        self.door.enter(ts_ns, data, row=row.place)

    def _warn_of_the_future(self, tick: MarketTick) -> None:
        """An exchange's clock that runs ahead is data; who operates this should know, once a minute for an instrument."""
        if tick.ts_ns >= self._warned.get(tick.instrument_token, 0) + 60 * NS:
            self._warned[tick.instrument_token] = tick.ts_ns
            ahead_s = (tick.exchange_ts_ns - tick.ts_ns) / NS  # type: ignore[operator]  # looked at before
            _log.warning("instrument %d: the exchange's time is %.3f s ahead of the door's", tick.instrument_token, ahead_s)

    def _take_commands(self) -> int:
        count = 0
        for body, answer in self._mailbox.take() if self._mailbox is not None else ():
            try:
                command = command_of(body)
            except ContractError as error:
                answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
                continue
            said: dict[str, str] = {}
            event = self.door.enter(
                self.door.ts_ns,
                command,
                lambda answer=answer, said=said: answer(HTTPStatus.OK, said),  # type: ignore[misc]
            )
            said["id"] = event.id
            count += 1
        return count

    @property
    def frontier(self) -> Seq:
        """The seq that the next event will get."""
        return self.door.next_seq

    waits = False

    @property
    def clock_ns(self) -> int:
        """Door time."""
        return self.door.ts_ns

    def save(self) -> None:
        """All that the door knows is in the log."""
        self.door.flush()

    def close(self) -> None:
        """Flush, and let go of the log."""
        self.door.close()
