"""A log over a broker with the Kafka API: explicit partitions, explicit offsets, no group membership, no transactions.

Topics get the session's prefix here and nowhere else. Reading starts where it is told and never elsewhere: an offset that
is not there is an error, not a reason to jump. Writing leaves no gap: the client retries in the order given, and the first
record that cannot be written makes every later `send`, `serve` and `flush` raise LogError. Transient faults are
retried in place; a broker that is away is waited for (readers hear nothing, a flush gives up after `delivery_timeout_s`).
"""

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from alphapanda.runtime.log.protocol import Headers, LogError, Partition, Record
from alphapanda.runtime.log.settings import KafkaSettings

MAX_MESSAGE_BYTES = 8 << 20
"""The client's own bound, above every topic's: what is too long is refused by the topic it is too long for."""
LOGGER = logging.getLogger("alphapanda.kafka")
LOGGER.addFilter(lambda record: "CONFWARN" not in record.getMessage())  # at each start: that gapless is experimental
T = TypeVar("T")
_PAUSE_S = 0.05
_PASSING = {
    KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._TIMED_OUT_QUEUE,
    KafkaError._DESTROY_BROKER, KafkaError._RESOLVE, KafkaError._WAIT_COORD, KafkaError._WAIT_CACHE,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.REQUEST_TIMED_OUT, KafkaError.NETWORK_EXCEPTION,
    KafkaError.BROKER_NOT_AVAILABLE, KafkaError.REPLICA_NOT_AVAILABLE, KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.KAFKA_STORAGE_ERROR,
    KafkaError.NOT_CONTROLLER, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}  # fmt: skip
"""Errors after which the same question may get an answer; the client's own `retriable` speaks of transactions only."""
_UNKNOWN = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
_PASSING_HERE = _PASSING | _UNKNOWN
"""For questions about partitions that were there: a broker that has just started may not know them for a moment."""
_NO_SUCH_OFFSET = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
_record: Callable[[Iterable[Any]], Record] = partial(tuple.__new__, Record)  # Record._make without a frame a record
_second = itemgetter(1)


def client_config(settings: KafkaSettings) -> dict[str, Any]:
    """What every client of ours has in common."""
    return {
        "bootstrap.servers": settings.bootstrap_servers,
        "client.id": settings.group_id_prefix,
        "socket.nagle.disable": True,
        "log.connection.close": False,
        "reconnect.backoff.ms": 20,  # a restarted broker is found again at once
        "reconnect.backoff.max.ms": 500,
        "allow.auto.create.topics": False,
        "logger": LOGGER,
    }


def retried(what: str, settings: KafkaSettings, call: Callable[[], T], passing: Collection[int] = _PASSING) -> T:
    """What `call` gives; retried until `request_timeout_s` has passed. Raises LogError saying what could not be done."""
    deadline = time.monotonic() + settings.request_timeout_s
    while True:
        try:
            return call()
        except KafkaException as error:
            cause: KafkaError = error.args[0]
            if cause.code() not in passing or time.monotonic() > deadline:
                raise LogError(f"{what}: the broker at {settings.bootstrap_servers} failed: {_text(cause)}") from error
        time.sleep(_PAUSE_S)


def _text(error: KafkaError) -> str:
    return f"{error.str()} ({error.name()})"


class KafkaLog:
    """The topics under one prefix of one broker. Implements `runtime.log.protocol.Log`."""

    durable_when_read = True

    def __init__(self, settings: KafkaSettings, prefix: str = "") -> None:
        self.settings, self.prefix = settings, prefix
        self._config = client_config(settings)
        self._asker = Consumer({**self._config, "group.id": settings.group_id_prefix, "enable.auto.commit": False})
        self._admin: AdminClient | None = None
        self._commits: dict[str, Future[Any]] = {}

    def partitions(self, topics: Iterable[str]) -> list[Partition]:
        """All partitions of these topics, in order. Raises LogError naming the topics that are not there."""
        there = self._ask("list topics", lambda timeout: self._asker.list_topics(timeout=timeout)).topics
        wanted = list(topics)
        missing = [self.prefix + topic for topic in wanted if self.prefix + topic not in there]
        if missing:
            raise LogError(f"the broker has no topic {', '.join(missing)}: create them with `alphapanda topics create`")
        return [(topic, number) for topic in wanted for number in sorted(there[self.prefix + topic].partitions)]

    def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, tuple[int, int]]:
        """For each: the first offset still there, and the one after the last."""
        return {partition: self._bounds(partition) for partition in partitions}

    def _bounds(self, partition: Partition) -> tuple[int, int]:
        place = self._place(partition)
        return self._ask(f"bounds of {_name(place)}", partial(self._watermarks, place), _PASSING_HERE)

    def _watermarks(self, place: TopicPartition, timeout: float) -> tuple[int, int]:
        found = self._asker.get_watermark_offsets(place, timeout=timeout)
        if found is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return found

    def offset_for_time(self, partition: Partition, ts_ms: int) -> int:
        """The first offset whose record has at least this timestamp; the end if there is none."""
        place = self._place(partition, ts_ms)
        what = f"offset of time {ts_ms} in {_name(place)}"
        found = self._ask(what, partial(self._first_at, place), _PASSING_HERE)
        return found if found >= 0 else self._bounds(partition)[1]

    def _first_at(self, place: TopicPartition, timeout: float) -> int:
        (found,) = self._asker.offsets_for_times([place], timeout=timeout)
        if found.error is not None:
            raise KafkaException(found.error)
        return int(found.offset)

    def reader(self, positions: Mapping[Partition, int], *, headers: bool = False) -> "KafkaReader":
        """A reader that starts at these offsets. Raises LogError for one that is not within `bounds`."""
        for partition, (first, end) in self.bounds(positions).items():
            if not first <= positions[partition] <= end:
                raise LogError(_no_such_offset(self._place(partition, positions[partition]), first, end))
        return KafkaReader(self, positions, headers=headers)

    def writer(self) -> "KafkaWriter":
        """A new writer."""
        return KafkaWriter(self.settings, self.prefix)

    def append(self, partition: Partition, key: bytes | None, value: bytes, ts_ms: int) -> int:
        """Append one record, wait until it is durable, and return its offset."""
        answers: list[int] = []
        writer = KafkaWriter(self.settings, self.prefix, heard=answers.append)
        writer.send(partition, key, value, ts_ms)
        writer.close()
        return answers[0]

    def commit(self, group: str, positions: Mapping[Partition, int]) -> None:
        """Publish where `{group_id_prefix}.{group}` stands. Not waited for: lag tools must never hold up a service.

        What could not be published is logged at the next call, and put right by it.
        """
        if not positions:
            return
        self._admin = self._admin or AdminClient(self._config)
        before = self._commits.get(group)
        if before is not None and before.done() and (error := before.exception()) is not None:
            LOGGER.warning("offsets of group %s were not committed: %s", group, error)
        places = [self._place(partition, offset) for partition, offset in positions.items()]
        request = ConsumerGroupTopicPartitions(f"{self.settings.group_id_prefix}.{group}", places)
        (self._commits[group],) = self._admin.alter_consumer_group_offsets([request]).values()

    def close(self) -> None:
        """Let go of the broker; commits under way get a moment."""
        for group, commit in self._commits.items():
            try:
                commit.result(timeout=2)
            except (KafkaException, TimeoutError) as error:
                LOGGER.warning("offsets of group %s were not committed: %s", group, error)
        self._commits.clear()
        self._asker.close()

    def _ask(self, what: str, call: Callable[[float], T], passing: Collection[int] = _PASSING) -> T:
        return retried(what, self.settings, lambda: call(min(5.0, self.settings.request_timeout_s)), passing)

    def _place(self, partition: Partition, offset: int = 0) -> TopicPartition:
        return TopicPartition(self.prefix + partition[0], partition[1], offset)


def _name(place: TopicPartition) -> str:
    return f"{place.topic}[{place.partition}]"


def _no_such_offset(place: TopicPartition, first: int, end: int) -> str:
    return (
        f"{_name(place)} has no offset {place.offset}: it holds {first} to {end} (exclusive). Retention removed what was to be "
        "read, or the topic was made anew: start from a place that is there, or under a new prefix"
    )


class KafkaReader:
    """Reads partitions from given offsets. Implements `runtime.log.protocol.LogReader`.

    A topic that is deleted meanwhile is missed only when the client believes it, after half a minute.
    """

    def __init__(self, log: KafkaLog, positions: Mapping[Partition, int], *, headers: bool) -> None:
        self._log, self._headers = log, headers
        self._partitions = {(log.prefix + topic, number): (topic, number) for topic, number in positions}
        self._failed: str | None = None
        self._doubts: dict[tuple[str, int], tuple[int, float]] = {}
        settings = log.settings
        self._consumer = Consumer({
            **client_config(settings),
            "group.id": settings.group_id_prefix,  # required by the client; it is never joined
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_uncommitted",
            "fetch.wait.max.ms": settings.fetch_wait_ms,
            "fetch.queue.backoff.ms": 2,  # a full queue that was emptied is filled again at once, not after a second
            "fetch.error.backoff.ms": 50,
            "queued.min.messages": 20_000,
            "queued.max.messages.kbytes": settings.read_ahead_kb,
            "fetch.message.max.bytes": min(1 << 20, settings.read_ahead_kb << 10),
            "error_cb": self._hear,
        })  # fmt: skip
        self._start = {name: positions[partition] for name, partition in self._partitions.items()}
        self._consumer.assign([TopicPartition(*name, offset) for name, offset in self._start.items()])

    def poll(self, timeout_s: float, limit: int = 10_000) -> list[Record]:
        """Up to `limit` records; waits up to `timeout_s` for the first, never for more. Raises LogError."""
        try:
            first = self._consumer.poll(timeout_s)
            # `consume` would sit out its whole timeout for records that may never come: it only gets what is there
            more = self._consumer.consume(limit - 1, 0) if first is not None and limit > 1 else []
        except KafkaException as error:  # the client raises what is fatal
            self._failed = f"reading failed: {_text(error.args[0])}"
        if self._failed is not None:
            raise LogError(self._failed)
        if first is None:
            return []
        messages = [first, *more]
        if any(map(Message.error, messages)):
            messages = self._without_errors(messages)
        return self._records(messages)

    def _records(self, messages: list[Message]) -> list[Record]:
        """Column by column: no Python frame for each record."""
        names = zip(map(Message.topic, messages), map(Message.partition, messages), strict=True)
        columns: list[Iterable[Any]] = [
            map(self._partitions.__getitem__, names),  # type: ignore[arg-type]  # a message without error has both
            map(Message.offset, messages),
            map(_second, map(Message.timestamp, messages)),
            map(Message.key, messages),
            [value if value is not None else b"" for value in map(Message.value, messages)],
            [message.headers() or () for message in messages] if self._headers else [()] * len(messages),
        ]
        return list(map(_record, zip(*columns, strict=True)))

    def _without_errors(self, messages: list[Message]) -> list[Message]:
        """The records among the messages. An error that passes by itself is left to the client."""
        for message in messages:
            error = message.error()
            if error is not None:
                self._mend(message, error)
        return [message for message in messages if message.error() is None]

    def _mend(self, message: Message, error: KafkaError) -> None:
        topic, number = message.topic(), message.partition()
        if topic is not None and number is not None and error.code() in _NO_SUCH_OFFSET:
            self._doubt(topic, number)
        elif error.code() in _UNKNOWN and topic is not None:
            self._log.partitions([self._partitions[topic, number or 0][0]])
        elif error.code() not in _PASSING:
            raise LogError(f"reading {topic}[{number}] failed: {_text(error)}")

    def _doubt(self, topic: str, number: int) -> None:
        """The broker says the offset is not there; just after a topic's creation that may be untrue. Raises if it is true."""
        (place,) = self._consumer.position([TopicPartition(topic, number)])
        if place.offset < 0:  # nothing was read yet
            place.offset = self._start[topic, number]
        first, end = self._log.bounds([self._partitions[topic, number]])[self._partitions[topic, number]]
        offset, deadline = self._doubts.get((topic, number), (-1, 0.0))
        if offset != place.offset:
            deadline = time.monotonic() + self._log.settings.request_timeout_s
            self._doubts[topic, number] = (place.offset, deadline)
        if not first <= place.offset <= end or time.monotonic() > deadline:
            raise LogError(_no_such_offset(place, first, end))
        time.sleep(_PAUSE_S)
        self._start[topic, number] = place.offset  # a new assignment forgets what was read before it
        self._consumer.incremental_unassign([place])
        self._consumer.incremental_assign([place])

    def _hear(self, error: KafkaError) -> None:
        """The client's own troubles. It mends all but the fatal."""
        if error.fatal() or error.code() in {KafkaError._AUTHENTICATION, KafkaError._SSL}:
            self._failed = f"reading from {self._log.settings.bootstrap_servers} failed: {_text(error)}"

    def close(self) -> None:
        """Let go of the broker."""
        self._consumer.close()


class KafkaWriter:
    """Appends to partitions. Implements `runtime.log.protocol.LogWriter`."""

    def __init__(self, settings: KafkaSettings, prefix: str, heard: Callable[[int], None] | None = None) -> None:
        """`heard` is told the offset of each record that is durable; without it only failures are reported."""
        self._settings, self._prefix, self._heard = settings, prefix, heard
        self._failed: str | None = None
        self._producer = Producer({
            **client_config(settings),
            "enable.idempotence": True,
            "enable.gapless.guarantee": True,
            "acks": "all",
            "message.timeout.ms": 0,
            "linger.ms": settings.linger_ms,
            "retry.backoff.ms": 20,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.messages": 500_000,
            "queue.buffering.max.kbytes": settings.send_ahead_kb,
            "delivery.report.only.error": heard is None,
            "on_delivery": self._delivered,
            "error_cb": self._hear,
        })  # fmt: skip
        with contextlib.suppress(KafkaException):  # a broker that is away is waited for by the first flush
            self._producer.list_topics(timeout=1)  # with a connection up the first record leaves half a second earlier
        self._produce = self._producer.produce

    def send(self, partition: Partition, key: bytes | None, value: bytes, ts_ms: int, headers: Headers = ()) -> None:
        """Append later. Raises LogError once any earlier record could not be written."""
        if self._failed is not None:
            raise LogError(self._failed)
        if ts_ms <= 0:
            raise LogError(f"a record of {partition[0]} has timestamp {ts_ms}: the client would put its own clock's instead")
        topic, number = partition
        while True:
            try:
                self._produce(self._prefix + topic, value, key, number, None, None, ts_ms, list(headers) if headers else None)
                return
            except BufferError:  # more is under way than the client holds
                self._wait_for_room()
            except KafkaException as error:  # too long for any topic, no such partition, or the client is done for
                self._fail(f"a record of {self._prefix}{topic}[{number}] could not be written: {_text(error.args[0])}")
                raise LogError(str(self._failed)) from error

    def serve(self) -> None:
        """Let deliveries be noticed, without waiting. Raises LogError once a record could not be written."""
        self._turn(self._producer.poll, 0)
        if self._failed is not None:
            raise LogError(self._failed)

    def flush(self) -> None:
        """Wait until all that was sent is durable. Raises LogError when it is not, or nothing moves for too long."""
        left, deadline = len(self._producer), time.monotonic() + self._settings.delivery_timeout_s
        while self._failed is None and self._turn(self._producer.flush, 0.2):
            if len(self._producer) < left:
                left, deadline = len(self._producer), time.monotonic() + self._settings.delivery_timeout_s
            elif time.monotonic() > deadline:
                self._fail(self._stalled(left))
        if self._failed is not None:
            raise LogError(self._failed)

    def close(self) -> None:
        """Flush and let go of the broker. What cannot be written is dropped, and said so by LogError."""
        try:
            self.flush()
        finally:
            self._producer.purge()
            self._turn(self._producer.flush, 1)

    def _turn(self, call: Callable[[float], int], timeout_s: float) -> int:
        """Let the client speak; it raises what is fatal, whatever else it was asked to do with errors."""
        try:
            return call(timeout_s)
        except KafkaException as error:
            self._fail(f"writing failed: {_text(error.args[0])}")
            return 0

    def _wait_for_room(self) -> None:
        deadline, left = time.monotonic() + self._settings.delivery_timeout_s, len(self._producer)
        while self._failed is None and len(self._producer) >= left:
            self._turn(self._producer.poll, 0.05)
            if time.monotonic() > deadline:
                self._fail(self._stalled(left))
        if self._failed is not None:
            raise LogError(self._failed)

    def _stalled(self, left: int) -> str:
        where, seconds = self._settings.bootstrap_servers, self._settings.delivery_timeout_s
        return f"the broker at {where} took none of {left} waiting records for {seconds:g} s"

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._fail(f"a record of {message.topic()}[{message.partition()}] could not be written: {_text(error)}")
        elif self._heard is not None:
            self._heard(int(message.offset() or 0))

    def _hear(self, error: KafkaError) -> None:
        """The client's own troubles. It mends all but the fatal."""
        if error.fatal() or error.code() in {KafkaError._AUTHENTICATION, KafkaError._SSL}:
            self._fail(f"writing to {self._settings.bootstrap_servers} failed: {_text(error)}")

    def _fail(self, why: str) -> None:
        """The first failure is the cause; later ones follow from it."""
        self._failed = self._failed or why
