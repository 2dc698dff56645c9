"""The door over a log: numbers what comes from outside. The one writer whose outputs nothing can compute again.

Opening it is a fence: it claims an epoch, promises it to every door partition, and only then reads them to the end. From
there on nobody hears an older door, so what came through is settled; where each partition ended, and an epoch event, go
into `market.clock`. A command is acknowledged when it was read back: a silenced door's records are durable too. A door
that reads a higher promise than its own stops (`ReplacedError`).
"""

from collections.abc import Callable

from alphapanda.contracts.codec import encode, key_of
from alphapanda.contracts.events import Beat, Epoch, Event, MarketTick, Payload, Pos
from alphapanda.pipeline import CLOCK, DOOR
from alphapanda.runtime.log.control import Claim, Progress, Seq, Settled, encode_control, name_of
from alphapanda.runtime.log.partitions import Partitioning, fan_out_topic
from alphapanda.runtime.log.protocol import Log, LogError, LogWriter, Partition, Record
from alphapanda.runtime.log.reader import PosReader
from alphapanda.runtime.log.start import claimed_in

EPOCHS = ("control.epochs", 0)
NS_PER_MS = 1_000_000


class ReplacedError(LogError):
    """Another door has opened: nobody hears this one any more."""


class LogDoor:
    """One opened door. Not for two threads."""

    def __init__(
        self, log: Log, partitioning: Partitioning, *, by: str = "market_feed", fan_out: bool = False
    ) -> None:  # fmt: skip
        """`fan_out`: each tick also goes to a topic of its instrument, which must be there."""
        self._log, self._partitioning, self._by, self._fan_out = log, partitioning, by, fan_out
        self._clock_at: Partition = (CLOCK, 0)
        self.epoch, self._number, self.ts_ns = 0, 0, 0
        self._ends: dict[str, Pos] = {}
        self.rows_heard: dict[Partition, Seq] = {}  # the last place in the source that came through, for each partition
        self._unheard: dict[Pos, Callable[[], None]] = {}  # what is to be called once an event was read back

    def open(self, ts_ns: int, reason: str) -> Event:
        """Open: claim, promise, read back, settle; returns the epoch event, whose time is `ts_ns` or later.

        Raises ReplacedError when yet another door opened meanwhile.
        """
        door = self._partitioning.all(DOOR)
        self.epoch = self._log.append(EPOCHS, None, encode_control(Claim(self._by)), max(1, ts_ns // NS_PER_MS)) + 1
        self._writer: LogWriter = self._log.writer()
        promise = encode_control(Progress((self.epoch, 0), -1))
        for partition in door:
            self._writer.send(partition, None, promise, max(1, ts_ns // NS_PER_MS))
        self._writer.flush()
        bounds = self._log.bounds(door)
        claimed = claimed_in(self._log)
        self._readers = {partition: PosReader(partition, self._partitioning, claimed, bounds[partition][0]) for partition in door}
        self._source = self._log.reader({partition: first for partition, (first, _) in bounds.items()}, headers=True)
        while any(reader.position < bounds[partition][1] for partition, reader in self._readers.items()):
            self._read(1.0)
        self.ts_ns = max(reader.last_ns() for reader in self._readers.values())
        self._ends = {name_of(partition): reader.last for partition, reader in self._readers.items()}
        self._source.close()
        self._source = self._log.reader({partition: reader.position for partition, reader in self._readers.items()})
        self._settle(ts_ns)
        return self.enter(ts_ns, Epoch(reason))

    def enter(
        self, ts_ns: int, data: Payload, acknowledge: Callable[[], None] | None = None, *, row: Seq | None = None
    ) -> Event:  # fmt: skip
        """Number one outside event and send it. `acknowledge` is called once it was read back.

        Time never runs back: the event's is `ts_ns`, or the last event's if that is later. `row` is the event's place in its
        source, where that has places: a door that opens later finds in `rows_heard` how far the source had come.
        """
        self.ts_ns = max(self.ts_ns, ts_ns)
        if type(data) is MarketTick and data.ts_ns != self.ts_ns:
            raise LogError(f"a tick of {data.ts_ns} ns cannot pass the door at {self.ts_ns} ns: give it the door's time first")
        event = Event((self.epoch, self._number, 0, 0, 0), self.ts_ns, None, data)
        self._number += 1
        if acknowledge is not None:
            self._unheard[event.pos] = acknowledge
        headers = [("pos", event.id.encode())]
        if row is not None:
            headers.append(("row", b"%d-%d" % row))
        key, line, ts_ms = key_of(data).encode(), encode(event), max(1, self.ts_ns // NS_PER_MS)
        self._writer.send(self._partitioning.of(event), key, line, ts_ms, headers)
        if self._fan_out and type(data) is MarketTick:
            self._writer.send((fan_out_topic(data.instrument_token), 0), key, line, ts_ms, headers)
        if type(data) is Beat:
            self._settle(self.ts_ns)
        return event

    @property
    def next_seq(self) -> Seq:
        """The seq that the next event will get."""
        return self.epoch, self._number

    def _settle(self, ts_ns: int) -> None:
        read_to = {name_of(partition): reader.position for partition, reader in self._readers.items()}
        record = Settled(self.epoch, self._ends, read_to)
        self._writer.send(self._clock_at, None, encode_control(record), max(1, ts_ns // NS_PER_MS))

    def serve(self) -> None:
        """Read back what is there: acknowledge it, and notice a newer door. Raises ReplacedError, LogError."""
        if self._unheard and not self._log.durable_when_read:
            self._writer.flush()  # so that what is acknowledged is durable
        self._writer.serve()
        while self._read(0.0):
            pass

    def _read(self, timeout_s: float) -> bool:
        records = self._source.poll(timeout_s)
        for record in records:
            reader = self._readers[record.partition]
            event, _ = reader.take(record)
            if reader.up_to[0] > self.epoch:
                raise ReplacedError(
                    f"a newer door has opened: epoch {reader.up_to[0]} is promised in {record.partition[0]}, this one is"
                    f" {self.epoch}; where no other door runs, control.epochs was made anew under topics that were not"
                )
            if event is not None and record.headers:
                self._note_row(record)
            if event is not None and (acknowledge := self._unheard.pop(event.pos, None)) is not None:
                acknowledge()
        return bool(records)

    def _note_row(self, record: Record) -> None:
        row = dict(record.headers).get("row")
        if row is not None:
            epoch, number = map(int, row.split(b"-"))
            self.rows_heard[record.partition] = max(self.rows_heard.get(record.partition, (0, 0)), (epoch, number))

    def flush(self) -> None:
        """Wait until all that was sent is durable."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and let go of the log."""
        self._writer.close()
        self._source.close()
