"""Dead letters: records that could not be read, kept unchanged in `{service}.dlq` with the reason and where they lay.

A service appends them before the progress that passes them, so none is lost; after a crash it may append one again, and
readers skip repeats of the same topic, partition and offset. One partition a topic; headers `reason`, `topic`,
`partition`, `offset`, `service`; key, value and timestamp are the record's own.

**No dead letter goes back to where it lay.** Readers skip what lies at or below the last `pos` heard, or below a promise:

* a record of the door's counted as heard under its number, so whatever is appended later under that number is a repeat.
  Only a command still has a meaning later: it may go through the door again, as a new event with a new number. A tick or a
  clock event would say that something happens now that happened then; a broker's reply is asked for again, by its tag.
* a record of a stage's topic is the owner's to write, which works all of its outputs out again after a restart. What
  another one appends there is either skipped, or, worse, heard instead of the owner's.

What stages would have made of the record shows where everything is worked out again: under a new topic prefix.
"""

from collections.abc import Iterator
from typing import NamedTuple

from alphapanda.contracts.codec import decode
from alphapanda.contracts.errors import AlphaPandaError, ContractError
from alphapanda.contracts.events import Payload
from alphapanda.pipeline import BROKER, CLOCK, COMMANDS, TICKS
from alphapanda.runtime.log.commands import COMMANDS as COMMAND_TYPES
from alphapanda.runtime.log.protocol import Headers, Log, LogError, LogWriter, Partition, Record

LONGEST_REASON = 1_000
PATIENCE_S = 30.0


class RequeueError(AlphaPandaError):
    """A dead letter that cannot go back; the message says why, and what can be done instead."""


class DeadLetter(NamedTuple):
    """One record that a service could not read."""

    service: str
    at: int  # its offset in the dead letters' topic: what `show` and `requeue` are told
    topic: str
    partition: int
    offset: int
    reason: str
    ts_ms: int
    key: bytes | None
    value: bytes

    @property
    def place(self) -> tuple[str, int, int]:
        """Where the record lay: with the same place it is the same letter."""
        return self.topic, self.partition, self.offset


def topic_of(service: str) -> str:
    """The topic of a service's dead letters."""
    return f"{service}.dlq"


def dead_letter(writer: LogWriter, service: str, record: Record, reason: str) -> None:
    """Keep a record that `service` could not read. Call it before the progress that passes the record."""
    topic, partition = record.partition
    headers: Headers = (
        ("reason", reason[:LONGEST_REASON].encode(errors="replace")),
        ("topic", topic.encode()),
        ("partition", b"%d" % partition),
        ("offset", b"%d" % record.offset),
        ("service", service.encode()),
    )
    writer.send((topic_of(service), 0), record.key, record.value, max(1, record.ts_ms), headers)


def read_dead_letters(log: Log, service: str) -> Iterator[DeadLetter]:
    """The service's dead letters so far, in order, each once.

    Raises LogError for a record that is no dead letter, or where the log stops answering.
    """
    partition: Partition = (topic_of(service), 0)
    first, end = log.bounds([partition])[partition]
    seen: set[tuple[str, int, int]] = set()
    if first >= end:
        return
    source = log.reader({partition: first}, headers=True)
    try:
        at = first
        while at < end:
            records = source.poll(PATIENCE_S)
            if not records:
                raise LogError(f"{partition[0]} says it ends at {end}, and nothing came after {at} for {PATIENCE_S:g} s")
            for record in records:
                at = record.offset + 1
                letter = _letter(service, record)
                if letter.place not in seen:
                    seen.add(letter.place)
                    yield letter
    finally:
        source.close()


def _letter(service: str, record: Record) -> DeadLetter:
    headers = dict(record.headers)
    try:
        place = headers["topic"].decode(), int(headers["partition"]), int(headers["offset"])
        reason = headers["reason"].decode()
    except (KeyError, ValueError) as error:
        raise LogError(
            f"{record.partition[0]} offset {record.offset} is no dead letter: header {error}; who wrote it?"
        ) from error
    return DeadLetter(service, record.offset, *place, reason, record.ts_ms, record.key, record.value)


def find_dead_letter(log: Log, service: str, at: int) -> DeadLetter:
    """The letter at this offset of the service's dead letters. Raises LogError where there is none."""
    for letter in read_dead_letters(log, service):
        if letter.at == at:
            return letter
    raise LogError(f"{topic_of(service)} has no letter {at}: `alphapanda dlq list {service}` shows what there is")


_INSTEAD = "To see what the services make of a mended record, work everything out again under a new prefix"
_REFUSED = {
    TICKS: f"a tick counted as heard under its number, and a new number would make it a price of now. {_INSTEAD}",
    CLOCK: f"a clock event counted as heard under its number, and its moment is past. {_INSTEAD}",
    BROKER: "a broker's reply counted as heard under its number. What became of the order is asked for again, by the order's tag",
}


def requeued(letter: DeadLetter, value: bytes | None = None) -> Payload:
    """The command to give to the door for a dead letter; `value` is the mended line, None where the code was mended.

    Raises RequeueError for all but commands, and for a command that still cannot be read.
    """
    if letter.topic != COMMANDS:
        owner = f"{letter.topic} is written by its stage alone, which works its outputs out again by itself. {_INSTEAD}"
        raise RequeueError(f"{letter.topic}[{letter.partition}] offset {letter.offset}: {_REFUSED.get(letter.topic, owner)}")
    try:
        command = decode(letter.value if value is None else value).data
    except ContractError as error:
        raise RequeueError(f"the command still cannot be read: {error}; mend its line and give it with --value FILE") from error
    if type(command) not in COMMAND_TYPES.values():
        raise RequeueError(f"{type(command).__name__} is no command: there are {', '.join(COMMAND_TYPES)}")
    return command
