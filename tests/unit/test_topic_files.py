"""Columns made of events are what their wire lines say, and what is stored is what was digested."""

import hashlib
import typing
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alphapanda.adapters import topic_files
from alphapanda.adapters.topic_files import TopicColumns, TopicFiles
from alphapanda.contracts.codec import encode, encode_all, encoded
from alphapanda.contracts.events import (
    STAGE_EVENTS,
    Bar,
    Charges,
    Event,
    ExecMode,
    FeatureSet,
    OrderFill,
    OrderModified,
    OrderPlaced,
    OrderTerms,
    OrderTriggered,
    Payload,
    SignalKind,
    StrategyHalted,
    TradingSignal,
)
from alphapanda.pipeline import COPIES, FILLED, OUTPUT_TOPICS, PLACED, STAGES, TOPIC_OF
from tests.builders import made

NAMES = ("fast", "slow")
INTEGERS = st.integers(-(2**63), 2**63 - 1)
TIMES = st.integers(0, 4_000_000_000 * 10**9)
TOPICS = {topic: [cls for cls, of in stage.writes.items() if of == topic] for stage in STAGES for topic in stage.writes.values()}


def payloads(cls: type[Payload]) -> st.SearchStrategy[Payload]:
    """Any payload of a type."""
    fields: dict[str, st.SearchStrategy[typing.Any]] = {}
    for name, hint in typing.get_type_hints(cls).items():
        fields[name] = TIMES if name.endswith("_ns") else INTEGERS if hint is int else st.from_type(hint)
        if name == "values":
            fields[name] = st.dictionaries(st.sampled_from([*NAMES, "unnamed"]), st.floats())
        if hint is Charges:
            fields[name] = st.builds(Charges, *(7 * [INTEGERS]))
    return st.builds(cls, **fields)


@st.composite
def topic_events(draw: st.DrawFn) -> list[Event]:
    """Some events of one topic, in `pos` order."""
    classes = TOPICS[draw(st.sampled_from(sorted(TOPICS)))]
    data = draw(st.lists(st.sampled_from(classes).flatmap(payloads), max_size=6))
    return [made(number, 3, 7, one, draw(st.floats(0, 1e6))) for number, one in enumerate(data)]


def text(events: list[Event]) -> bytes:
    """The wire lines of events."""
    return b"".join(encode(event) + b"\n" for event in events)


def shown(frame: pl.DataFrame) -> str:
    """All that can differ between frames: names, kinds, nulls also inside structs, the sign of nought."""
    nulls = [(frame[name].null_count(), frame[name].is_null().to_list()) for name in frame.columns]
    return f"{frame.schema} {nulls} {frame.rows()!r}"


def signal(number: int, size: float, terms: OrderTerms | None) -> Event:
    return made(number, 2, 1, TradingSignal("a", 101, SignalKind.QUANTITY, size, None, '\x00\n"\\ é\U0001f600', terms))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
@given(topic_events())
@example([])
@example([signal(1, 5, None), signal(2, -0.0, OrderTerms()), signal(3, float("nan"), OrderTerms(stop_loss=float("inf")))])
@example([signal(1, 1.0, None), made(2, 2, 1, StrategyHalted("a", "ValueError", "a.py:1")), signal(3, 1e308, OrderTerms())])
@example(
    [made(1, 1, 101, Bar(101, 60, 0, 1, 5e-324, 1e308, -0.0, 0.1, 2**63 - 1, 0)), made(1, 1, 101, FeatureSet(101, 0, {}), n=1)]
)
@example(
    [made(1, 1, 101, FeatureSet(101, 60, {"slow": float("-inf"), "unnamed": 1.0})), made(2, 1, 101, FeatureSet(101, 60, {}))]
)
def test_columns_made_of_events_are_those_that_their_lines_say(events: list[Event]) -> None:
    """For every topic and type, with nothing, nested and unusual values."""
    columns = TopicColumns(TOPICS[TOPIC_OF[type(events[0].data)] if events else PLACED], NAMES)
    texts = encoded(events)
    assert shown(columns.frame_of(events, texts.ids, texts.causes)) == shown(columns.frame(text(events)))


@given(st.lists(st.sampled_from(STAGE_EVENTS).flatmap(payloads), max_size=4))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_many_events_are_encoded_as_each_is(data: list[Payload]) -> None:
    """Types may be mixed; the texts of `pos` are those in the lines."""
    events = [made(number, 3, 7, one) for number, one in enumerate(data)]
    expected = (
        [encode(event).decode() for event in events],
        [event.id for event in events],
        [f"1-{number}-0-0-0" for number in range(len(data))],
    )
    assert (encode_all(events), *encoded(events)[1:]) == expected


def fill(number: int, mode: ExecMode) -> Event:
    return made(number, 4, 7, OrderFill(mode, "a", 101, "s", "o", 1, 99.5, 99.0, Charges(1, 2, 3)))


def placed(number: int, n: int) -> Event:
    kinds: list[Payload] = [
        OrderPlaced(ExecMode.PAPER, "a", 101, "s", "o", "LIMIT", 5, 99.0, 1_709_264_700_000_000_001, "MIS", limit_price=98.5),
        OrderModified(ExecMode.PAPER, "a", 101, "s", "o", 4, None, 97.0),
        OrderTriggered(ExecMode.PAPER, "a", 101, "s", "o", 97.0),
    ]
    return made(number, 4, 7, kinds[(number + n) % 3], n=n)


@pytest.mark.parametrize("modes", [[ExecMode.PAPER], [ExecMode.LIVE], [ExecMode.PAPER, ExecMode.LIVE]])
@pytest.mark.parametrize("rows_a_part", [7, 250_000])
def test_what_is_stored_is_what_was_digested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modes: list[ExecMode], rows_a_part: int
) -> None:
    """Files, copies of fills by mode too, hold the events of the lines that the digests are taken over, in one part or many."""
    monkeypatch.setattr(topic_files, "ROWS_A_FRAME", 3)
    monkeypatch.setattr(topic_files, "ROWS_A_PART", rows_a_part)
    events = [one for i in range(20) for one in (placed(i, 0), placed(i, 1), fill(i, modes[i % len(modes)]))]
    files = TopicFiles(tmp_path, NAMES)
    for some in (events[:15], events[15:54], events[54:]):  # of the last fills no frame is made before the end
        batch: dict[type[Payload], list[Event]] = {}
        for event in some:
            batch.setdefault(type(event.data), []).append(event)
        files.take(batch)
    digests = files.close()

    lines = dict.fromkeys(OUTPUT_TOPICS, b"")
    for event in events:
        lines[TOPIC_OF[type(event.data)]] += text([event])
        if isinstance(event.data, OrderFill):
            lines[COPIES[event.data.exec_mode]] += text([event])
    expected = {
        topic: (hashlib.sha256(line).hexdigest(), shown(TopicColumns(TOPICS.get(topic, TOPICS[FILLED]), NAMES).frame(line)))
        for topic, line in lines.items()
    }
    actual = {topic: (digest, shown(pl.read_parquet(tmp_path / f"{topic}.parquet"))) for topic, digest in digests.items()}
    assert actual == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{topic}.parquet" for topic in OUTPUT_TOPICS)
