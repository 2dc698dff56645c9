"""The log over a real broker: order, places, times, durability, and refusals that say what is wrong."""

import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from alphapanda.adapters import kafka_topics
from alphapanda.adapters.kafka_log import KafkaLog, KafkaReader
from alphapanda.pipeline import CLOCK, FEATURES, TICKS
from alphapanda.runtime.log.protocol import Headers, Log, LogError, LogReader, LogWriter, Partition, Record
from alphapanda.runtime.log.settings import KafkaSettings
from tests.kafka_broker import Broker

CLOCK0: Partition = (CLOCK, 0)
EPOCHS0: Partition = ("control.epochs", 0)
T0_MS = 1_709_264_700_000


def quick(bootstrap: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=bootstrap, request_timeout_s=10, delivery_timeout_s=20)


@pytest.fixture(scope="module")
def settings(kafka: str) -> KafkaSettings:
    return quick(kafka)


@pytest.fixture(scope="module")
def shared_log(settings: KafkaSettings) -> Iterator[KafkaLog]:
    """One set of topics for tests that only need places of their own; partitions are made apart by offsets."""
    prefix = f"test.{uuid.uuid4().hex[:8]}."
    kafka_topics.create(settings, prefix, old_times=True)
    log = KafkaLog(settings, prefix)
    yield log
    log.close()


@pytest.fixture
def log(shared_log: KafkaLog) -> KafkaLog:
    return shared_log


def end(log: Log, partition: Partition) -> int:
    return log.bounds([partition])[partition][1]


def write(log: Log, partition: Partition, values: list[bytes], headers: Headers = (), first_ms: int = T0_MS) -> None:
    writer = log.writer()
    for number, value in enumerate(values):
        writer.send(partition, b"k", value, first_ms + number, headers)
    writer.close()


def read(reader: LogReader, count: int, within_s: float = 15) -> list[Record]:
    """At least `count` records, or what came in time."""
    deadline, got = time.monotonic() + within_s, list[Record]()
    while len(got) < count and time.monotonic() < deadline:
        got += reader.poll(0.2)
    return got


def numbers(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


def test_the_adapter_is_a_log(log: KafkaLog) -> None:
    """The protocols hold, for the type checker too."""
    a_log: Log = log
    a_writer: LogWriter = a_log.writer()
    a_writer.close()
    assert a_log.partitions([TICKS, CLOCK]) == [(TICKS, 0), (TICKS, 1), (TICKS, 2), (TICKS, 3), CLOCK0]


def test_each_partition_is_read_in_the_order_it_was_written(log: KafkaLog) -> None:
    """Four partitions, written in turn, with key and timestamp."""
    ends, writer = log.bounds(log.partitions([TICKS])), log.writer()
    for number in range(8000):
        writer.send((TICKS, number % 4), b"key", str(number).encode(), T0_MS + number)
        writer.serve()
    writer.flush()
    writer.close()
    reader = log.reader({partition: bounds[1] for partition, bounds in ends.items()})
    got = read(reader, 8000)
    reader.close()
    for partition, (_, start) in ends.items():
        actual = [one for one in got if one.partition == partition]
        expected = [Record(partition, start + place, T0_MS + number, b"key", str(number).encode(), ())
                    for place, number in enumerate(range(partition[1], 8000, 4))]  # fmt: skip
        assert actual == expected


def test_headers_are_read_where_they_are_asked_for(log: KafkaLog) -> None:
    """They cost time, so a reader has to want them."""
    start, headers = end(log, CLOCK0), [("pos", b"1-2-0-0-0"), ("trace", b"")]
    write(log, CLOCK0, [b"with"], headers)
    write(log, CLOCK0, [b"without"])
    seen = []
    for wanted in (True, False):
        reader = log.reader({CLOCK0: start}, headers=wanted)
        seen.append([list(one.headers) for one in read(reader, 2)])
        reader.close()
    assert seen == [[headers, []], [[], []]]


def test_reading_starts_at_the_offset_that_is_asked_for(log: KafkaLog) -> None:
    """In the middle, and at the end, where it waits for the next."""
    start = end(log, CLOCK0)
    write(log, CLOCK0, numbers(10))
    middle, at_end = log.reader({CLOCK0: start + 7}), log.reader({CLOCK0: start + 10})
    nothing = at_end.poll(0.3)
    write(log, CLOCK0, [b"next"])
    got = [one.value for one in read(middle, 4)], nothing, [one.value for one in read(at_end, 1)]
    middle.close()
    at_end.close()
    assert got == ([b"7", b"8", b"9", b"next"], [], [b"next"])


def test_a_poll_gives_no_more_than_its_limit_and_does_not_wait_for_more(log: KafkaLog) -> None:
    """One record waiting is handed out at once, though the timeout is long."""
    start = end(log, CLOCK0)
    write(log, CLOCK0, numbers(5))
    reader = log.reader({CLOCK0: start})
    read_first = [len(reader.poll(5, limit=1)), len(reader.poll(5, limit=2))]
    read(reader, 2)
    threading.Timer(0.2, write, (log, CLOCK0, [b"late"])).start()
    began = time.monotonic()
    late = [one.value for one in reader.poll(30)]
    waited_s = time.monotonic() - began
    reader.close()
    assert (read_first[0], read_first[1] <= 2, late, waited_s < 5) == (1, True, [b"late"], True)


def test_a_place_outside_the_log_is_refused_with_its_bounds(log: KafkaLog) -> None:
    """Not mended by jumping to where there is something."""
    beyond = end(log, CLOCK0) + 1
    with pytest.raises(LogError, match=rf"{log.prefix}market.clock\[0\] has no offset {beyond}: it holds 0 to {beyond - 1}"):
        log.reader({CLOCK0: beyond})
    with pytest.raises(LogError, match=r"has no topic .*rumours: create them with"):
        log.partitions([TICKS, "rumours"])


def test_a_reader_that_the_broker_turns_away_from_a_place_that_is_not_there_says_so(log: KafkaLog) -> None:
    """As when retention removes it between the question and the reading."""
    beyond = end(log, CLOCK0) + 3
    reader = KafkaReader(log, {CLOCK0: beyond}, headers=False)
    with pytest.raises(LogError, match=f"has no offset {beyond}"):
        read(reader, 1)
    reader.close()


def test_out_of_range_is_not_believed_before_the_bounds_agree(log: KafkaLog) -> None:
    """A broker may say it of a place that is there, just after the topic was made: the reader goes on from that place."""
    place = end(log, CLOCK0) + 2
    reader = KafkaReader(log, {CLOCK0: place}, headers=False)
    time.sleep(1)  # by now the answer is out of range
    write(log, CLOCK0, numbers(5))
    actual = [one.value for one in read(reader, 3)]
    reader.close()
    assert actual == [b"2", b"3", b"4"]


def test_a_reader_opened_right_after_its_topic_was_made_hears_the_first_record(settings: KafkaSettings) -> None:
    """However new the topic is."""
    actual = []
    for _ in range(3):
        prefix = f"new.{uuid.uuid4().hex[:8]}."
        kafka_topics.create(settings, prefix)
        log = KafkaLog(settings, prefix)
        reader = log.reader(dict.fromkeys(log.partitions([TICKS]), 0))
        write(log, (TICKS, 3), [b"first"])
        actual += [(one.offset, one.value) for one in read(reader, 1)]
        reader.close()
        log.close()
    assert actual == [(0, b"first")] * 3


def test_a_time_is_found_between_records(log: KafkaLog) -> None:
    """The first record at or after it; the end where there is none; old times and future ones are kept as given."""
    start, partition = end(log, (FEATURES, 1)), (FEATURES, 1)
    write(log, partition, numbers(3), first_ms=1)
    write(log, partition, numbers(3), first_ms=T0_MS)
    write(log, partition, [b"future"], first_ms=4_000_000_000_000)
    times = (1, 3, 4, T0_MS - 1, T0_MS + 1, T0_MS + 3, 4_000_000_000_001)
    assert [log.offset_for_time(partition, ts_ms) - start for ts_ms in times] == [0, 2, 3, 3, 4, 6, 7]


def test_an_append_gives_the_offset_which_nobody_else_gets(log: KafkaLog) -> None:
    """Two claim at once: all numbers differ, and stand where the records are."""
    start, claimed = end(log, EPOCHS0), []

    def claim(name: bytes) -> None:
        claimed.extend((log.append(EPOCHS0, None, name, T0_MS), name) for _ in range(3))

    rivals = [threading.Thread(target=claim, args=(name,)) for name in (b"a", b"b")]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()
    reader = log.reader({EPOCHS0: start})
    actual = [(one.offset, one.value) for one in read(reader, 6)]
    reader.close()
    assert (actual, [offset for offset, _ in actual]) == (sorted(claimed), list(range(start, start + 6)))


def test_committed_places_are_seen_by_lag_tools(log: KafkaLog, settings: KafkaSettings) -> None:
    """Under the group prefix; the later commit stands."""
    closing = KafkaLog(settings, log.prefix)
    closing.commit("risk_manager.0", {CLOCK0: 1, (TICKS, 2): 0})
    closing.commit("risk_manager.0", {})
    closing.close()
    tool = Consumer({"bootstrap.servers": settings.bootstrap_servers, "group.id": "alphapanda.risk_manager.0"})
    places = [TopicPartition(f"{log.prefix}{CLOCK}", 0), TopicPartition(f"{log.prefix}{TICKS}", 2)]
    actual = [one.offset for one in tool.committed(places, timeout=10)]
    tool.close()
    assert actual == [1, 0]


def test_a_record_the_topic_refuses_stops_the_writer_for_good(log: KafkaLog) -> None:
    """Too long for the topic: what follows would leave a gap, so every later call raises, and nothing after it is written."""
    start, writer = end(log, CLOCK0), log.writer()
    writer.send(CLOCK0, None, b"good", T0_MS)
    writer.flush()
    writer.send(CLOCK0, None, b"x" * (kafka_topics.RECORD_BYTES + 1), T0_MS)
    with pytest.raises(LogError, match=r"market.clock \[0\] .*Message size too large"):
        writer.flush()
    for call in (lambda: writer.send(CLOCK0, None, b"after", T0_MS), writer.serve, writer.flush, writer.close):
        with pytest.raises(LogError, match="Message size too large"):
            call()
    assert end(log, CLOCK0) == start + 1


@pytest.mark.parametrize(
    ("partition", "value", "ts_ms", "message"),
    [
        ((CLOCK, 0), b"x" * (9 << 20), T0_MS, "MSG_SIZE_TOO_LARGE"),
        ((CLOCK, 7), b"", T0_MS, "UNKNOWN_PARTITION"),
        ((CLOCK, 0), b"", 0, "has timestamp 0"),
    ],
)
def test_what_cannot_be_sent_is_refused(log: KafkaLog, partition: Partition, value: bytes, ts_ms: int, message: str) -> None:
    """At once, or at the flush."""
    writer = log.writer()

    def both() -> None:
        writer.send(partition, None, value, ts_ms)
        writer.flush()

    with pytest.raises(LogError, match=message):
        both()


def test_a_broker_that_is_not_there_is_named() -> None:
    """Questions give up after `request_timeout_s`, a flush after `delivery_timeout_s`."""
    settings = KafkaSettings(bootstrap_servers="127.0.0.1:1", request_timeout_s=0.5, delivery_timeout_s=0.5)
    log = KafkaLog(settings, "nowhere.")
    with pytest.raises(LogError, match=r"list topics: the broker at 127.0.0.1:1 failed"):
        log.partitions([TICKS])
    writer = log.writer()
    writer.send(CLOCK0, None, b"", T0_MS)
    with pytest.raises(LogError, match=r"the broker at 127.0.0.1:1 took none of 1 waiting records for 0.5 s"):
        writer.close()
    log.close()


def test_a_writer_ahead_of_its_broker_waits_for_room(settings: KafkaSettings, log: KafkaLog) -> None:
    """Ten times what it may hold: nothing is lost, nothing overtakes."""
    start, small = end(log, CLOCK0), KafkaLog(settings.model_copy(update={"send_ahead_kb": 64}), log.prefix)
    values = [str(number).encode() * 200 for number in range(1000)]
    write(small, CLOCK0, values)
    reader = log.reader({CLOCK0: start})
    actual = [one.value for one in read(reader, 1000)]
    reader.close()
    small.close()
    assert actual == values


def test_a_writer_whose_broker_is_gone_gives_up_when_it_is_full() -> None:
    """After `delivery_timeout_s` without one delivery."""
    writer = KafkaLog(KafkaSettings(bootstrap_servers="127.0.0.1:1", delivery_timeout_s=0.5, send_ahead_kb=64)).writer()

    def fill() -> None:
        for _ in range(1000):
            writer.send(CLOCK0, None, b"x" * 1000, T0_MS)

    with pytest.raises(LogError, match=r"took none of \d+ waiting records for 0.5 s"):
        fill()
    with pytest.raises(LogError, match="took none"):
        writer.close()


def test_what_passes_is_left_to_the_client_and_what_does_not_stops_the_reader(log: KafkaLog) -> None:
    """A lost connection is no reason to stop; a topic that is gone, or anything else, is."""
    reader = KafkaReader(log, {CLOCK0: 0, ("gone", 0): 0}, headers=False)
    record = Message(f"{log.prefix}{CLOCK}", 0, 0, None, b"")

    def heard(topic: str, code: int) -> list[Message]:
        return reader._without_errors([Message(log.prefix + topic, 0, error=KafkaError(code)), record])

    assert heard(CLOCK, KafkaError._TRANSPORT) == heard(CLOCK, KafkaError.UNKNOWN_TOPIC_OR_PART) == [record]
    with pytest.raises(LogError, match=r"has no topic .*gone"):
        heard("gone", KafkaError.UNKNOWN_TOPIC_OR_PART)
    with pytest.raises(LogError, match=r"reading .*market.clock\[0\] failed: .*TOPIC_AUTHORIZATION_FAILED"):
        heard(CLOCK, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    reader.close()


def test_a_killed_broker_loses_nothing_that_was_acknowledged_and_its_clients_go_on(broker: Broker) -> None:
    """`kill -9` amid the sending, restart on the same data: every record once, in order, by the same writer and reader."""
    settings = quick(broker.bootstrap)
    kafka_topics.create(settings, "kill.")
    log = KafkaLog(settings, "kill.")
    reader, writer = log.reader({CLOCK0: 0}), log.writer()
    for value in numbers(2000):
        writer.send(CLOCK0, None, value, T0_MS)
        if value == b"1000":
            writer.flush()
            read(reader, 1001)
            broker.kill()
    broker.start()
    writer.flush()
    rest = [one.value for one in read(reader, 999)]
    again = log.reader({CLOCK0: 0})
    whole = [one.value for one in read(again, 2000)]
    for one in (reader, again, writer, log):
        one.close()  # type: ignore[attr-defined]
    assert (whole, rest) == (numbers(2000), numbers(2000)[1001:])
