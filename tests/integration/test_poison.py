"""Every kind of bad record in every topic: the one thing that comes of it, and that nothing after it is lost."""

import uuid
from collections.abc import Iterator

import pytest

from alphapanda.adapters import kafka_topics
from alphapanda.adapters.file_log import FileLog
from alphapanda.adapters.kafka_log import KafkaLog
from alphapanda.contracts.codec import encode
from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import Pos
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, Partition, Record
from alphapanda.runtime.log.reader import PartitionReader, Unreadable
from alphapanda.runtime.log.settings import KafkaSettings
from tests import poison
from tests.poison import POISONS, TOPICS

PARTITIONING = Partitioning.of_table()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileLog]:
    log = FileLog(tmp_path_factory.mktemp("log"), PARTITIONING.counts)
    yield log
    log.close()


def written(log: Log, partition: Partition, values: list[bytes]) -> list[Record]:
    """These values appended, and read back."""
    start = log.bounds([partition])[partition][1]
    writer = log.writer()
    for value in values:
        writer.send(partition, b"key", value, poison.TS_NS // 1_000_000)
    writer.close()
    source, records = log.reader({partition: start}), list[Record]()
    while len(records) < len(values):
        records += source.poll(10)
    source.close()
    return records


def heard(records: list[Record]) -> tuple[list[tuple[Pos, bool]], list[int], bool]:
    """(`pos`, whether it could be read) of each event heard, places of dead letters, and whether the reader stopped."""
    reader = PartitionReader(records[0].partition, PARTITIONING, lambda: 1, records[0].offset)
    events: list[tuple[Pos, bool]] = []
    dead: list[int] = []
    for place, record in enumerate(records):
        try:
            event, reason = reader.take(record)
        except ContractError:
            return events, dead, reader.position == record.offset  # it does not count as read
        if event is not None:
            events.append((event.pos, not isinstance(event.data, Unreadable)))
        if reason is not None:
            dead.append(place)
    return events, dead, False


EXPECTED = {
    "heard": (lambda a, b, c: ([(a, True), (b, True), (c, True)], [], False)),
    "number heard": (lambda a, b, c: ([(a, True), (b, False), (c, True)], [1], False)),
    "dead letter": (lambda a, b, c: ([(a, True), (c, True)], [1], False)),
    "stops": (lambda a, b, c: ([(a, True)], [], True)),
}


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("kind", POISONS)
def test_a_bad_record_has_one_outcome(log: FileLog, topic: str, kind: str) -> None:
    """Between two good ones: the second is heard, unless the service stops before it, and the record does not count as read."""
    events = [poison.good(topic, number) for number in (1, 2, 3)]
    values = [encode(events[0]), POISONS[kind](topic, 2), encode(events[2])]
    found = heard(written(log, poison.place(PARTITIONING, topic), values))
    assert found == EXPECTED[poison.outcome(kind, topic)](*(event.pos for event in events))


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if poison.RANKS[topic]])
def test_a_dead_letter_takes_nobodys_place(log: FileLog, topic: str) -> None:
    """In a stage's topic the owner's own event of the same `pos` is heard after it."""
    event = poison.good(topic, 2)
    values = [POISONS["unknown version"](topic, 2), encode(event)]
    assert heard(written(log, poison.place(PARTITIONING, topic), values)) == ([(event.pos, True)], [0], False)


@pytest.mark.parametrize("topic", ["market.ticks", "market.features"])
def test_an_event_of_another_partition_stops_the_reader(log: FileLog, topic: str) -> None:
    """Whoever wrote it there breaks the order of both."""
    _, number = poison.place(PARTITIONING, topic)
    other = (topic, (number + 1) % PARTITIONING.counts[topic])
    assert heard(written(log, other, [encode(poison.good(topic, 1))])) == ([], [], True)


@pytest.mark.parametrize(
    "value", [b'{"type":["X"],"ts":"","key":"","source":"","version":1,"data":{},"id":""}', b'{"a":' + b"[" * 50_000]
)
def test_whatever_json_can_be_is_a_dead_letter(log: FileLog, value: bytes) -> None:
    """A type that is a list, and a depth that no decoder goes to."""
    assert heard(written(log, ("orders.placed", 0), [value])) == ([], [0], False)


def test_garbage_among_the_claims_costs_a_number(log: FileLog) -> None:
    """Epochs are offsets: nobody reads what a claim says."""
    before = log.bounds([("control.epochs", 0)])["control.epochs", 0][1]
    written(log, ("control.epochs", 0), [b"\xff garbage"])
    assert log.bounds([("control.epochs", 0)])["control.epochs", 0][1] == before + 1


@pytest.mark.parametrize("topic", ["broker.updates", "trading.signals.generated"])
def test_a_long_text_is_data(log: FileLog, topic: str) -> None:
    """A megabyte where a text may stand."""
    event = poison.good(topic, 1, **{"broker.updates": {"body": "x" * (1 << 20)}}.get(topic, {"note": "x" * (1 << 20)}))
    assert heard(written(log, poison.place(PARTITIONING, topic), [encode(event)])) == ([(event.pos, True)], [], False)


def test_a_broker_changes_nothing_of_it(kafka: str) -> None:
    """All of them over a real broker."""
    settings, prefix = KafkaSettings(bootstrap_servers=kafka, fetch_wait_ms=5), f"poison.{uuid.uuid4().hex[:8]}."
    kafka_topics.create(settings, prefix, old_times=True)
    log = KafkaLog(settings, prefix)
    wrong = {}
    for topic in TOPICS:
        events = [poison.good(topic, number) for number in (1, 2, 3)]
        values = [value for made in POISONS.values() for value in (encode(events[0]), made(topic, 2), encode(events[2]))]
        records = written(log, poison.place(PARTITIONING, topic), values)
        for at, kind in enumerate(POISONS):
            found = heard(records[3 * at : 3 * at + 3])
            if found != EXPECTED[poison.outcome(kind, topic)](*(event.pos for event in events)):
                wrong[topic, kind] = found
    log.close()
    assert wrong == {}
