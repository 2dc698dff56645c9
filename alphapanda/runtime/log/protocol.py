"""What a log is to us: append to a partition, read it in order.

Topics are named as in `topics.yaml`; a log that keeps several sessions apart puts its own prefix before them. Adapters
implement these protocols (`adapters/kafka_log.py` over a broker, `adapters/file_log.py` in a folder). Nothing here
orders anything across partitions, and nothing is transactional.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from alphapanda.contracts.errors import AlphaPandaError

Partition = tuple[str, int]
"""(topic, partition)."""
Headers = Sequence[tuple[str, bytes]]


class LogError(AlphaPandaError):
    """The log failed or is not as it must be: the process stops."""


class Record(NamedTuple):
    """One record as read."""

    partition: Partition
    offset: int
    ts_ms: int  # record timestamp: door time for events
    key: bytes | None
    value: bytes
    headers: Headers = ()  # only from a reader opened with `headers=True`


class LogReader(Protocol):
    """Reads the partitions it was opened on, each in order. Not for two threads."""

    def poll(self, timeout_s: float, limit: int = 10_000) -> list[Record]:
        """Up to `limit` records; waits up to `timeout_s` for the first, never for more. Raises LogError."""

    def close(self) -> None:
        """Let go of the log."""


class LogWriter(Protocol):
    """Appends. Order holds within a partition. What was sent is durable only after `flush`. Not for two threads."""

    def send(self, partition: Partition, key: bytes | None, value: bytes, ts_ms: int, headers: Headers = ()) -> None:
        """Append later. Raises LogError once any earlier record could not be written."""

    def serve(self) -> None:
        """Let deliveries be noticed, without waiting. Raises LogError once a record could not be written."""

    def flush(self) -> None:
        """Wait until all that was sent is durable. Raises LogError when it is not."""

    def close(self) -> None:
        """Flush and let go of the log."""


class Log(Protocol):
    """A place with topics."""

    durable_when_read: bool
    """Whether what a reader gets survives a loss of power, or only what was flushed does."""

    def partitions(self, topics: Iterable[str]) -> list[Partition]:
        """All partitions of these topics, in order. Raises LogError naming a topic that is not there."""

    def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, tuple[int, int]]:
        """For each: the first offset still there, and the one after the last."""

    def offset_for_time(self, partition: Partition, ts_ms: int) -> int:
        """The first offset whose record has at least this timestamp; the end if there is none."""

    def reader(self, positions: Mapping[Partition, int], *, headers: bool = False) -> LogReader:
        """A reader that starts at these offsets, each of which must be within `bounds`."""

    def writer(self) -> LogWriter:
        """A new writer."""

    def append(self, partition: Partition, key: bytes | None, value: bytes, ts_ms: int) -> int:
        """Append one record and wait; returns its offset. Used to claim an epoch: a number that is given out once."""

    def commit(self, group: str, positions: Mapping[Partition, int]) -> None:
        """Publish where a group stands, for lag tools alone; nothing resumes from it."""

    def close(self) -> None:
        """Let go of the log."""
