"""The wire form of an event: one line of JSON with a fixed field order.

`type, ts, key, source, version, data, id`; `data` holds the payload's fields in declared order and then, for events a
stage made, `cause`. Times are RFC 3339 with nine decimals and `Z`. The bytes are stable: digests are taken over them.
"""

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

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
    pos_text,
)  # fmt: skip
from alphapanda.pipeline import SOURCES

VERSION = 1
NS = 1_000_000_000
ENVELOPE = ("type", "ts", "key", "source", "version", "data", "id")
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_to_json = msgspec.json.Encoder().encode
_to_json_lines = msgspec.json.Encoder().encode_lines
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
    body, dot, tail = text.partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))] if dot else ""
    zone = tail[len(digits) :] if dot else ""
    moment = datetime.fromisoformat(body + zone)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: end it with Z or an offset such as +05:30")
    since = moment - _UNIX_EPOCH
    return (since.days * 86_400 + since.seconds) * NS + int(digits.ljust(9, "0") or 0)


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
_HEADS = {cls: f'{{"type":"{cls.__name__}","ts":"' for cls in EVENTS}
_MIDDLES = {cls: f',"source":"{SOURCES[cls]}","version":{VERSION},"data":' for cls in EVENTS}


def encode(event: Event) -> bytes:
    """The wire line of `event`, without a newline."""
    data = event.data
    return _line(event, data, _to_json(_WIRE[type(data)](data)).decode()).encode()


def encode_all(events: Sequence[Event]) -> list[str]:
    """The wire lines of many events as text: `encode` of each, for a third of its price."""
    payloads = [event.data for event in events]
    bodies = _to_json_lines([_WIRE[type(data)](data) for data in payloads]).decode().split("\n")
    return [_line(event, data, body) for event, data, body in zip(events, payloads, bodies, strict=False)]


def _line(event: Event, data: Payload, body: str) -> str:
    cls = type(data)
    head = f'{_HEADS[cls]}{rfc3339(event.ts_ns)}","key":{_quoted(_KEYS[cls](data))}{_MIDDLES[cls]}'
    if event.cause is None:
        return f'{head}{body},"id":"{event.id}"}}'
    return f'{head}{body[:-1]},"cause":"{pos_text(event.cause)}"}},"id":"{event.id}"}}'


@functools.lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return _to_json(text).decode()


def decode(line: bytes) -> Event:
    """The event that `line` states. Raises ContractError for anything `encode` could not have written."""
    try:
        envelope = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ContractError(f"not an event: {error}; line starts {line[:80]!r}") from error
    if tuple(envelope) != ENVELOPE:
        raise ContractError(f"envelope has fields {list(envelope)}, expected {list(ENVELOPE)}")
    if envelope["version"] != VERSION or envelope["type"] not in _TYPES:
        raise ContractError(f"unknown event {envelope['type']} version {envelope['version']}: this reads version {VERSION}")
    cls, values = _TYPES[envelope["type"]], dict(envelope["data"])
    cause, ts_ns = values.pop("cause", None), parse_rfc3339(envelope["ts"])
    for name in cls.__struct_fields__:
        wire = wire_name(name)
        if wire != name and wire in values:
            text = values.pop(wire)
            values[name] = None if text is None else parse_rfc3339(text)
    if cls is MarketTick:
        values["ts_ns"] = ts_ns
    try:
        data = msgspec.convert(values, cls)
    except msgspec.ValidationError as error:
        raise ContractError(f"{envelope['type']} {envelope['id']}: {error}") from error
    return Event(parse_pos(envelope["id"]), ts_ns, None if cause is None else parse_pos(cause), data)
