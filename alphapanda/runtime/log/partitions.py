"""Which partition an event lies in: computed by us, never by the client's partitioner.

Ticks and features go by instrument, everything from the signals on by the strategy's lane. So each partition has one
owner and lies in `pos` order, and no reader asks how the stage before it is sharded.
"""

from collections.abc import Iterable, Mapping

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import Event, MarketTick, OrderFill, Pos
from alphapanda.contracts.topics import TOPICS
from alphapanda.pipeline import COPIES, DOOR, FEATURES, TICKS, TOPIC_OF
from alphapanda.runtime.log.protocol import Log, Partition

BY_INSTRUMENT = (TICKS, FEATURES)
SINGLE = tuple(topic for topic in DOOR if topic != TICKS)
"""Door topics of one partition: the clock must be read whole, and the others are small."""


def spread(token: int, count: int) -> int:
    """The partition of an instrument. Kite's low byte is the segment, so the token alone would use one partition."""
    return (token ^ token >> 8) % count


def fan_out_topic(token: int) -> str:
    """The topic of one instrument's ticks alone: a copy, off by default, outside digests."""
    return f"{TICKS}.{token}"


class Partitioning:
    """How many partitions each topic has, and where events lie."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        if counts[TICKS] != counts[FEATURES]:
            raise ConfigurationError(
                f"{TICKS} has {counts[TICKS]} partitions and {FEATURES} {counts[FEATURES]}: a tick and its features need the same"
            )
        if several := [topic for topic in SINGLE if counts[topic] != 1]:
            raise ConfigurationError(f"{', '.join(several)} must have one partition")
        self.counts = dict(counts)

    @classmethod
    def of_table(cls, tick_partitions: int | None = None) -> "Partitioning":
        """The topic table's counts, with another number for ticks and features if given."""
        counts = {name: topic.partitions for name, topic in TOPICS.items()}
        return cls(counts if tick_partitions is None else counts | dict.fromkeys(BY_INSTRUMENT, tick_partitions))

    @classmethod
    def of_log(cls, log: Log) -> "Partitioning":
        """What a log has."""
        counts = dict.fromkeys(TOPICS, 0)
        for topic, _ in log.partitions(TOPICS):
            counts[topic] += 1
        return cls(counts)

    def of(self, event: Event) -> Partition:
        """Where the event lies."""
        topic = TOPIC_OF[type(event.data)]
        if topic == TICKS:
            return topic, spread(event.data.instrument_token, self.counts[topic])  # type: ignore[attr-defined]  # a tick
        return topic, self.place(topic, event.pos)

    def place(self, topic: str, pos: Pos) -> int:
        """The partition, within an inside topic, of what stands at `pos`."""
        if topic in SINGLE:
            return 0
        return spread(pos[3], self.counts[topic]) if topic in BY_INSTRUMENT else pos[3] % self.counts[topic]

    def with_copies(self, event: Event) -> list[Partition]:
        """Where the event lies, and for a fill also the topic of its exec mode."""
        data = event.data
        if type(data) is not OrderFill:
            return [self.of(event)]
        copy = COPIES[data.exec_mode]
        return [self.of(event), (copy, self.place(copy, event.pos))]

    def all(self, topics: Iterable[str]) -> list[Partition]:
        """Every partition of these topics, in order."""
        return [(topic, number) for topic in topics for number in range(self.counts[topic])]


def is_tick(event: Event) -> bool:
    """Whether an outside event is a tick: the only ones that concern one instrument alone."""
    return type(event.data) is MarketTick
