"""One partition as EVERY reader in the project sees it: stages, recorder, verifier, dead letters, the door itself.

The one rule: *skip an event at or below the last `pos` heard in that partition, or below a promise read there.* A writer
sends an unbroken run of its outputs, from a point that was in the log when it started; so however many writers there are,
and wherever they died, what is heard is always a beginning of the one sequence, each event once.

Refused, so that the service stops before it counts as heard: a `pos` that cannot stand there (of another stage, of a lane
of another partition, of an epoch that nobody claimed), and a door record without a readable `pos`.
"""

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from alphapanda.contracts.codec import decode
from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import Event, MarketTick, Payload, Pos, parse_pos
from alphapanda.pipeline import COPIES, DOOR, FILLED, PIPELINE, TICKS
from alphapanda.runtime.log.control import FIRST, NOTHING, Control, Progress, Seq, decode_control
from alphapanda.runtime.log.partitions import Partitioning, spread
from alphapanda.runtime.log.protocol import Partition, Record

_RANKS = {topic: stage.rank for stage in PIPELINE for topic in stage.writes.values()}
RANKS = _RANKS | dict.fromkeys(COPIES.values(), _RANKS[FILLED])
"""Topic -> rank of the stage that writes it."""
_POS_AT_END = re.compile(rb'"id":"(\d+(?:-\d+){4})"\}\s*$')


class Unreadable(Payload, frozen=True, gc=False):
    """Stands in for a record with a readable `pos` and nothing else to read: nobody takes it, its number is not missing."""

    reason: str


class Heard(NamedTuple):
    """What one record said: an event, or a reason why it is a dead letter, or both (a door record whose number counts)."""

    event: Event | None
    reason: str | None


NOTHING_HEARD = Heard(None, None)


class PartitionReader:
    """The rule, applied to one partition. Its state is a snapshot's: `position`, `last`, `up_to`, `up_ts_ns`."""

    def __init__(
        self, partition: Partition, partitioning: Partitioning, claimed: Callable[[], int], position: int = 0,
        ends: Collection[tuple[int, Pos]] = (),
    ) -> None:  # fmt: skip
        """`claimed` asks the log for the highest epoch claimed; `ends` are (epoch, last pos heard before it) (`clock_index`)."""
        self.partition, self._partitioning, self._claimed = partition, partitioning, claimed
        self.position, self.ends = position, ends
        self.last = NOTHING
        self.up_to, self.up_ts_ns = FIRST, -1  # nothing comes before the first seq: else its decision would wait for ever
        self.skipped = 0  # repeats, and what an older writer wrote below a promise
        self.control: Control | None = None  # the last control record that is no promise
        self._epoch = 0  # the highest known to be claimed
        self._rank, self._is_door, self._is_ticks = RANKS[partition[0]], partition[0] in DOOR, partition[0] == TICKS
        self._count = partitioning.counts[partition[0]]

    def take(self, record: Record) -> Heard:
        """Hear one record. Raises ContractError for what cannot stand there; the record does not count as read then."""
        heard = self._take_event(record) if record.key is not None else self._take_control(record)
        self.position = record.offset + 1
        return heard

    def _take_control(self, record: Record) -> Heard:
        try:
            said = decode_control(record.value)
        except ContractError as error:
            if self._is_door:
                raise ContractError(f"{self._where(record)}: a door record without a readable pos: {error}") from error
            return Heard(None, str(error))
        if isinstance(said, Progress):
            self.up_to, self.up_ts_ns = max(self.up_to, said.up_to), max(self.up_ts_ns, said.ts_ns)
        else:
            self.control = said
        return NOTHING_HEARD

    def _take_event(self, record: Record) -> Heard:
        event, reason = self._read(record)
        if event is None:
            if self._is_door:
                raise ContractError(f"{self._where(record)}: a door record without a readable pos: {reason}")
            return Heard(None, reason)
        if not self._stands(event, record):
            return NOTHING_HEARD
        if reason is not None and not self._is_door:
            return Heard(None, reason)
        self.last = event.pos
        return tuple.__new__(Heard, (event, reason))  # as Heard(...), for a third of its price

    def _read(self, record: Record) -> tuple[Event | None, str | None]:
        """The event, and what was wrong with the record: then only its `pos` is read, where it has one."""
        try:
            return decode(record.value), None
        except ContractError as error:
            return pos_alone(record, str(error)), str(error)

    def _stands(self, event: Event, record: Record) -> bool:
        """Whether the event is heard. Raises ContractError for a `pos` that cannot stand here."""
        pos, data = event.pos, event.data
        if type(data) is MarketTick and self._is_ticks:  # the hot path
            elsewhere = spread(data.instrument_token, self._count) != self.partition[1]
        else:
            elsewhere = type(data) is not Unreadable and self._place(event) != self.partition[1]
        if elsewhere or pos[2] != self._rank:
            raise ContractError(
                f"{self._where(record)}: {event.id} cannot stand here: it is of another stage, topic or partition; who wrote it?"
            )
        if pos[0] > self._epoch and pos[0] > (known := self._ask_epoch()):
            raise ContractError(f"{self._where(record)}: {event.id} is of an epoch that nobody claimed: the last is {known}")
        ended = self.ends and any(pos[0] < epoch and pos > end for epoch, end in self.ends)
        if pos <= self.last or pos[:2] < self.up_to or ended:
            self.skipped += 1
            return False
        return True

    def _place(self, event: Event) -> int:
        topic, number = self._partitioning.of(event)
        if topic == self.partition[0]:
            return number
        is_copy = self.partition in self._partitioning.with_copies(event)
        return self.partition[1] if is_copy else -1

    def _ask_epoch(self) -> int:
        self._epoch = self._claimed()
        return self._epoch

    def _where(self, record: Record) -> str:
        return f"{record.partition[0]}[{record.partition[1]}] offset {record.offset}"

    def state(self) -> tuple[int, Pos, Seq, int, Collection[tuple[int, Pos]]]:
        """What a snapshot keeps."""
        return self.position, self.last, self.up_to, self.up_ts_ns, self.ends

    def restore(self, state: tuple[int, Pos, Seq, int, Collection[tuple[int, Pos]]]) -> None:
        """Go on from there."""
        self.position, self.last, self.up_to, self.up_ts_ns, self.ends = state


class PosReader(PartitionReader):
    """The same rule for who needs no more than each event's `pos` (the door): several times as fast.

    Its events carry no data, and the record's time in milliseconds.
    """

    _last: Record | None = None

    def _read(self, record: Record) -> tuple[Event | None, str | None]:
        return pos_alone(record, ""), None

    def _take_event(self, record: Record) -> Heard:
        heard = super()._take_event(record)
        if heard.event is not None:
            self._last = record
        return heard

    def last_ns(self) -> int:
        """Door time of the last event heard, 0 where there is none; of one that cannot be read, the end of its millisecond."""
        if self._last is None:
            return 0
        try:
            return decode(self._last.value).ts_ns
        except ContractError:
            return (self._last.ts_ms + 1) * 1_000_000 - 1


def pos_alone(record: Record, reason: str) -> Event | None:
    """An event with the `pos` that stands at the record's end, and nothing else; None where there is none."""
    found = _POS_AT_END.search(record.value, max(0, len(record.value) - 200))
    return None if found is None else Event(parse_pos(found[1].decode()), record.ts_ms * 1_000_000, None, Unreadable(reason))
