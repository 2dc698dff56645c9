"""Records that nobody should write, one of each kind, and a good event for every topic."""

import re
import typing
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

from alphapanda.contracts.codec import encode
from alphapanda.contracts.events import Event, MarketTick, Payload
from alphapanda.pipeline import COPIES, DOOR, FILLED, OUTPUT_TOPICS, PIPELINE
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Partition
from alphapanda.runtime.log.reader import RANKS

TS_NS = 1_709_264_700_000_000_000
TOKEN = 101
TOPICS = (*DOOR, *OUTPUT_TOPICS)
PAYLOADS = {topic: cls for stage in reversed(PIPELINE) for cls, topic in reversed(stage.writes.items())}
PAYLOADS |= dict.fromkeys(COPIES.values(), PAYLOADS[FILLED])
MODES = {copy: mode for mode, copy in COPIES.items()}


def payload(cls: type[Payload], **fields: Any) -> Any:
    """A payload with some value in every field."""
    return cls(**{name: _value(name, hint) for name, hint in typing.get_type_hints(cls).items()} | fields)


def _value(name: str, hint: Any) -> Any:
    plain = {int: 7, float: 1.5, str: "text", bool: True, dict[str, float]: {"a": 1.5}}
    if hint not in plain and not isinstance(hint, type):
        hint = next(part for part in typing.get_args(hint) if part in plain or issubclass(part, msgspec.Struct))
    if name == "instrument_token":
        return TOKEN
    if name.endswith("ts_ns"):
        return TS_NS
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return next(iter(hint))
    return plain[hint] if hint in plain else hint()


def good(topic: str, number: int, **fields: Any) -> Event:
    """An event that may stand in this topic."""
    rank = RANKS[topic]
    if topic in MODES:
        fields["exec_mode"] = MODES[topic]
    pos = (1, number, rank, 0 if not rank else TOKEN if rank == 1 else 1, 0)
    return Event(pos, TS_NS + number, None if not rank else (1, number, 0, 0, 0), payload(PAYLOADS[topic], **fields))


def place(partitioning: Partitioning, topic: str) -> Partition:
    """The partition that `good` stands in."""
    return next(one for one in partitioning.with_copies(good(topic, 1)) if one[0] == topic)


def _in_data(line: bytes, more: bytes) -> bytes:
    return line.replace(b'"data":{', b'"data":{' + more + (b"," if b'"data":{}' not in line else b""), 1)


def from_the_future(topic: str, number: int) -> bytes:
    """A tick whose exchange time is a year ahead; elsewhere, where there is none, the event's own time is."""
    ahead_ns = 365 * 86_400 * 1_000_000_000
    event = good(topic, number)
    if type(event.data) is MarketTick:
        return encode(Event(event.pos, event.ts_ns, None, msgspec.structs.replace(event.data, exchange_ts_ns=TS_NS + ahead_ns)))
    return encode(Event(event.pos, event.ts_ns + ahead_ns, event.cause, event.data))


Poison = Callable[[str, int], bytes]


def _edited(edit: Callable[[bytes], bytes]) -> Poison:
    return lambda topic, number: edit(encode(good(topic, number)))


POISONS: dict[str, Poison] = {
    "truncated": _edited(lambda line: line[: len(line) // 2]),
    "empty": _edited(lambda line: b""),
    "wrong type": _edited(lambda line: re.sub(rb'"type":"\w+"', b'"type":"Rumour"', line)),
    "wrong field type": _edited(lambda line: _in_data(line, b'"reason":[{}],"instrument_token":"dear"')),
    "unknown version": _edited(lambda line: line.replace(b'"version":1', b'"version":2')),
    "1 MB field": _edited(lambda line: _in_data(line, b'"padding":"%s"' % (b"x" * (1 << 20)))),
    "not UTF-8": _edited(lambda line: re.sub(rb'"key":"[^"]*"', b'"key":"\xff\xfe"', line)),
    "wrong stage": _edited(lambda line: re.sub(rb'"id":"(\d+-\d+)-\d+-', rb'"id":"\1-6-', line)),
    "unclaimed epoch": _edited(lambda line: re.sub(rb'"id":"\d+-', b'"id":"9-', line)),
    "from the future": from_the_future,
}
HAS_NO_POS, CANNOT_STAND = ("truncated", "empty"), ("wrong stage", "unclaimed epoch")


def outcome(poison: str, topic: str) -> str:
    """The one thing that happens: `heard`, `stops`, `dead letter`, or `number heard` (a dead letter whose number counts)."""
    if poison == "from the future":
        return "heard"
    if poison in CANNOT_STAND or (poison in HAS_NO_POS and topic in DOOR):
        return "stops"
    return "number heard" if topic in DOOR else "dead letter"
