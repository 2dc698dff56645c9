"""The wire form: fixed order, exact round trips, schemas that are current, one table for topics and flow."""

import json
import typing
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alphapanda.contracts import schema
from alphapanda.contracts.codec import ENVELOPE, decode, encode, parse_rfc3339, rfc3339
from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import DOOR_EVENTS, EVENTS, Event, Payload, parse_pos
from alphapanda.contracts.topics import TOPICS
from alphapanda.pipeline import COPIES, OUTPUT_TOPICS, PIPELINE, STAGES
from alphapanda.runtime.topology import mermaid
from tests.builders import root, tick

README = Path(__file__).parents[2] / "README.md"
INTEGERS = st.integers(-(2**62), 2**62)
TIMES = st.integers(0, 4_000_000_000 * 10**9)


def events() -> st.SearchStrategy[Event]:
    """Any event of any type."""

    def whole(cls: type[Payload], ts_ns: int) -> st.SearchStrategy[Event]:
        fields = {}
        for name, hint in typing.get_type_hints(cls).items():
            base = INTEGERS if hint is int else st.from_type(hint)
            if name == "ts_ns":
                base = st.just(ts_ns)
            elif name.endswith("_ns"):
                base = TIMES if hint is int else st.none() | TIMES
            fields[name] = base
        outside = cls in DOOR_EVENTS
        pos = (1, 5, 0, 0, 0) if outside else (1, 5, 3, 2, 1)
        return st.builds(cls, **fields).map(lambda data: Event(pos, ts_ns, None if outside else (1, 5, 2, 2, 0), data))

    return st.tuples(st.sampled_from(EVENTS), TIMES).flatmap(lambda drawn: whole(*drawn))


def finite(value: object) -> bool:
    return "nan" not in repr(value) and "inf" not in repr(value)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(events().filter(finite))
def test_decode_gives_back_what_encode_wrote(event: Event) -> None:
    """Every event of every type survives the wire, and fits its schema."""
    line = encode(event)
    jsonschema.validate(json.loads(line), schema.schema_of(type(event.data)))
    assert decode(line) == event


def test_the_wire_line_of_a_tick() -> None:
    """These bytes are what digests are taken over: they may only change with the version."""
    expected = (
        b'{"type":"MarketTick","ts":"2024-03-01T03:45:01.500000000Z","key":"101","source":"market_feed","version":1,'
        b'"data":{"instrument_token":101,"last_price":99.95,"last_quantity":null,"volume":null,"bid":null,"ask":null,'
        b'"bid_quantity":null,"ask_quantity":null,"exchange_ts":null},"id":"1-7-0-0-0"}'
    )
    assert encode(tick(7, 99.95, 1.5)) == expected


def test_fields_stand_in_one_order() -> None:
    """type, ts, key, source, version, data, id."""
    assert tuple(json.loads(encode(tick(7, 1.0)))) == ENVELOPE


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "not an event"),
        (b'{"type":"Beat"}', "envelope has fields"),
        (encode(tick(7, 1.0)).replace(b'"version":1', b'"version":9'), "version 9"),
        (encode(tick(7, 1.0)).replace(b"MarketTick", b"Rumour"), "Rumour"),
        (encode(tick(7, 1.0)).replace(b"1.0", b'"dear"'), "last_price"),
    ],
)
def test_what_encode_could_not_have_written_is_refused(line: bytes, message: str) -> None:
    """Each refusal names what was wrong."""
    with pytest.raises(ContractError, match=message):
        decode(line)


@given(TIMES)
def test_times_survive_their_text(ts_ns: int) -> None:
    """Nanoseconds are exact."""
    assert parse_rfc3339(rfc3339(ts_ns)) == ts_ns


def test_a_time_with_an_offset_is_understood_and_one_without_is_refused() -> None:
    """09:15 in India is 03:45 UTC."""
    with pytest.raises(ValueError, match="no time zone"):
        parse_rfc3339("2024-03-01T09:15:00")
    assert rfc3339(parse_rfc3339("2024-03-01T09:15:00+05:30")) == "2024-03-01T03:45:00.000000000Z"


def test_a_pos_that_is_none_is_refused() -> None:
    """Four numbers are no pos."""
    with pytest.raises(ValueError, match="is not a pos"):
        parse_pos("1-2-3-4")


def test_events_are_frozen() -> None:
    """A handler cannot change what it was handed."""
    with pytest.raises(AttributeError):
        tick(1, 1.0).data.last_price = 2.0  # type: ignore[attr-defined]


def test_committed_schemas_are_current() -> None:
    """`python -m alphapanda.contracts.schema` would change no file."""
    actual = {path.name: path.read_text() for path in schema.FOLDER.iterdir()}
    assert actual == schema.texts()


def test_the_topic_table_lists_the_topics_of_the_flow_and_their_readers() -> None:
    """topics.yaml, pipeline.py and nothing else, beside the claims of epochs and each service's dead letters."""
    flow = {topic for stage in PIPELINE for topic in stage.writes.values()} | set(COPIES.values())
    beside = {"control.epochs", "recorder.dlq", *(f"{stage.room}.dlq" for stage in PIPELINE)}
    readers = {topic: {stage.room for stage in STAGES if topic in (*stage.reads, *stage.hears)} for topic in OUTPUT_TOPICS}
    stated = {topic: set(TOPICS[topic].consumer_groups) for topic in OUTPUT_TOPICS}
    assert (set(TOPICS), stated) == (flow | beside, readers)


def test_ticks_and_features_have_the_same_partitions() -> None:
    """A feature's partition is found from its tick's."""
    assert TOPICS["market.ticks"].partitions == TOPICS["market.features"].partitions


def test_the_readme_shows_the_flow_as_it_is() -> None:
    """The diagram is `alphapanda topology --mermaid`."""
    assert mermaid() in README.read_text()


def test_every_event_has_one_home() -> None:
    """No type is written by two stages."""
    written = [cls for stage in PIPELINE for cls in stage.writes]
    assert sorted(cls.__name__ for cls in written) == sorted({cls.__name__ for cls in EVENTS})


def test_an_unknown_payload_cannot_be_encoded() -> None:
    """There is no fallback."""
    with pytest.raises(KeyError):
        encode(root(1, Payload()))
