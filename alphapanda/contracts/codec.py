"""The wire form of an event: one line of JSON with a fixed field order.

`type, ts, key, source, version, data, id`; `data` holds the payload's fields in declared order and then, for events a
stage made, `cause`. Times are RFC 3339 with nine decimals and `Z`. The bytes are stable: digests are taken over them.
"""

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec

from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import (
    EVENTS,
    BrokerUpdate,
    Event,
    HaltStrategy,
    KillSwitch,
    MarketTick,
    Payload,
    parse_pos,
)  # fmt: skip
from alphapanda.pipeline import SOURCES

VERSION = 1
NS = 1_000_000_000
ENVELOPE = ("type", "ts", "key", "source", "version", "data", "id")
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_to_json = msgspec.json.Encoder().encode
_to_json_lines = msgspec.json.Encoder().encode_lines
_POS_TEXT = "%d-%d-%d-%d-%d"  # of `pos_text`, which is too slow a call for lines by the thousand
_TYPES = {cls.__name__: cls for cls in EVENTS}


@functools.lru_cache(maxsize=4096)
def _second_text(second: int) -> str:
    return (_UNIX_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")


@functools.lru_cache(maxsize=16_384)  # the events of one seq share one time, and lines are made in batches
def rfc3339(ts_ns: int) -> str:
    """`ts_ns` as `2024-03-01T03:45:00.000000000Z`."""
    second, fraction = divmod(ts_ns, NS)
    return f"{_second_text(second)}.{fraction:09d}Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds UTC of an RFC 3339 time with up to nine decimals. Raises ValueError when it has no zone."""
    if len(text) == 30 and text[19] == "." and text[29] == "Z":  # as `rfc3339` writes it
        return _second_ns(text[:19]) + int(text[20:29])
    body, dot, tail = text.partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))] if dot else ""
    zone = tail[len(digits) :] if dot else ""
    moment = datetime.fromisoformat(body + zone)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: end it with Z or an offset such as +05:30")
    since = moment - _UNIX_EPOCH
    return (since.days * 86_400 + since.seconds) * NS + int(digits.ljust(9, "0") or 0)


@functools.lru_cache(maxsize=4096)
def _second_ns(text: str) -> int:
    since = datetime.fromisoformat(text).replace(tzinfo=UTC) - _UNIX_EPOCH
    return (since.days * 86_400 + since.seconds) * NS


def wire_name(field: str) -> str:
    """The name of a payload field on the wire."""
    return field.removesuffix("_ns")


def key_of(data: Any) -> str:
    """The Kafka key: what the events of one partition have in common (ARCHITECTURE: the table in `pipeline`)."""
    return _KEYS[type(data)](data)


def _by_token(data: Any) -> str:
    return str(data.instrument_token)


def _by_order_flow(data: Any) -> str:
    return f"{data.strategy_id}:{data.instrument_token}"


def _by_strategy(data: Any) -> str:
    return str(data.strategy_id)


def _key_rule(cls: type[Payload]) -> Callable[[Any], str]:
    fields = cls.__struct_fields__
    if cls is BrokerUpdate:
        return lambda data: data.order_id
    if cls is KillSwitch:
        return lambda data: "*"
    if cls is HaltStrategy or SOURCES[cls] == "portfolio_manager":
        return _by_strategy
    if "strategy_id" in fields:
        return _by_order_flow if "instrument_token" in fields else _by_strategy
    return _by_token if "instrument_token" in fields else lambda data: "clock"


_KEYS = {cls: _key_rule(cls) for cls in EVENTS}


def _wire_data(cls: type[Payload]) -> Callable[[Any], Any]:
    """What makes a payload into what is encoded: itself, or with times a struct with the wire's names."""
    skipped = 1 if cls is MarketTick else 0  # a tick's `ts_ns` stands in the envelope alone
    fields = cls.__struct_fields__[skipped:]
    times = [i for i, name in enumerate(fields) if name.endswith("_ns")]
    if not times:
        return lambda data: data
    made = msgspec.defstruct(cls.__name__, [(wire_name(name), Any) for name in fields], gc=False)

    def renamed(data: Any) -> Any:
        values = list(msgspec.structs.astuple(data)[skipped:])
        for i in times:
            if values[i] is not None:
                values[i] = rfc3339(values[i])
        return made(*values)

    return renamed


_WIRE = {cls: _wire_data(cls) for cls in EVENTS}
_PARTS = {
    cls: (f'{{"type":"{cls.__name__}","ts":"', _KEYS[cls], f',"source":"{SOURCES[cls]}","version":{VERSION},"data":')
    for cls in EVENTS
}
"""Of each type: what stands before the time, what makes the key, what stands before the data."""


def encode(event: Event) -> bytes:
    """The wire line of `event`, without a newline."""
    data, cause = event.data, None if event.cause is None else _POS_TEXT % event.cause
    body = _to_json(_WIRE[type(data)](data)).decode()
    return _line(rfc3339(event.ts_ns), _PARTS[type(data)], data, body, cause, _POS_TEXT % event.pos).encode()


class Encoded(NamedTuple):
    """Many events as text, in one order."""

    lines: list[str]  # wire lines, without newlines
    ids: list[str]
    causes: list[str | None]


def encode_all(events: Sequence[Event]) -> list[str]:
    """The wire lines of many events as text: `encode` of each, for a third of its price."""
    return encoded(events).lines


def encoded(events: Sequence[Event]) -> Encoded:
    """What `encode_all` gives, and the texts of `pos` in the lines."""
    payloads = [event.data for event in events]
    bodies = _to_json_lines([_WIRE[type(data)](data) for data in payloads]).decode().split("\n")[: len(events)]
    times = [rfc3339(event.ts_ns) for event in events]
    parts = [_PARTS[type(data)] for data in payloads]
    causes = [None if event.cause is None else _POS_TEXT % event.cause for event in events]
    ids = [_POS_TEXT % event.pos for event in events]
    return Encoded(list(map(_line, times, parts, payloads, bodies, causes, ids)), ids, causes)


def _line(time: str, parts: tuple[str, Callable[[Any], str], str], data: Payload, body: str, cause: str | None, own: str) -> str:
    head, key_rule, middle = parts
    if cause is not None:
        body = f'{body[:-1]},"cause":"{cause}"}}'
    return f'{head}{time}","key":{_quoted(key_rule(data))}{middle}{body},"id":"{own}"}}'


@functools.lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return _to_json(text).decode()


class _Read(NamedTuple):
    """How lines of one type are read."""

    cls: type[Payload]
    decode: Callable[[bytes], Any]  # to an envelope struct with a data struct, both of the wire's names and types
    times: tuple[int, ...]  # places of times among the payload's fields
    made: bool  # by a stage, so that it has a cause
    is_tick: bool


def _read_plan(cls: type[Payload]) -> _Read:
    is_tick, made = cls is MarketTick, SOURCES[cls] != "market_feed"
    hints = get_type_hints(cls)
    names = cls.__struct_fields__[1 if is_tick else 0 :]
    times = tuple(i for i, name in enumerate(names) if name.endswith("_ns"))
    nullable = {name: type(None) in get_args(hints[name]) for name in names}
    fields = [
        (wire_name(name), (str | None if nullable[name] else str) if i in times else hints[name]) for i, name in enumerate(names)
    ]
    data = msgspec.defstruct(cls.__name__, [*fields, *([("cause", str)] if made else [])], forbid_unknown_fields=True, gc=False)
    envelope = msgspec.defstruct(
        "Envelope",
        [("type", str), ("ts", str), ("key", str), ("source", str), ("version", int), ("data", data), ("id", str)],
        forbid_unknown_fields=True, gc=False,
    )  # fmt: skip
    return _Read(cls, msgspec.json.Decoder(envelope).decode, times, made, is_tick)


_READS = {cls.__name__.encode(): _read_plan(cls) for cls in EVENTS}
_TYPE_AT = len(b'{"type":"')


def decode(line: bytes) -> Event:
    """The event that `line` states. Raises ContractError for a line that is no event of this version."""
    plan = _READS.get(line[_TYPE_AT : line.find(b'"', _TYPE_AT)])
    if plan is None:
        raise ContractError(_complaint(line))
    try:
        read = plan.decode(line)
        if read.version != VERSION:
            raise ContractError(_complaint(line))
        values, cause, ts_ns = msgspec.structs.astuple(read.data), None, parse_rfc3339(read.ts)
        if plan.made:
            values, cause = values[:-1], parse_pos(values[-1])
        if plan.is_tick:
            exchange_ts = values[-1]
            if exchange_ts is not None:
                values = (*values[:-1], parse_rfc3339(exchange_ts))
            return Event(parse_pos(read.id), ts_ns, None, MarketTick(ts_ns, *values))
        if plan.times:
            values = tuple(
                parse_rfc3339(value) if i in plan.times and value is not None else value for i, value in enumerate(values)
            )
        return Event(parse_pos(read.id), ts_ns, cause, plan.cls(*values))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ContractError(f"{_complaint(line)}: {error}") from error


def _complaint(line: bytes) -> str:
    """What is wrong with a line that could not be read."""
    try:
        envelope = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return f"not an event: {error}; line starts {line[:80]!r}"
    if tuple(envelope) != ENVELOPE:
        return f"envelope has fields {list(envelope)}, expected {list(ENVELOPE)}"
    if envelope["version"] != VERSION or not isinstance(envelope["type"], str) or envelope["type"] not in _TYPES:
        return f"unknown event {envelope['type']} version {envelope['version']}: this reads version {VERSION}"
    return f"{envelope['type']} {envelope['id']}"
