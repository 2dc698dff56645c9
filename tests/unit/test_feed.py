"""The door's service over a tape: a successor goes on where the one before it stood, in every partition."""

from collections import Counter
from pathlib import Path
from typing import Any

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.codec import decode
from alphapanda.contracts.events import MarketTick
from alphapanda.pipeline import TICKS
from alphapanda.runtime.log.feed import Feed, TapeSource
from alphapanda.runtime.log.protocol import LogWriter, Partition
from alphapanda.runtime.tape_make import make_tape
from tests.played import file_log, heard_in


class Partly:
    """The writer of a process that dies: the higher the partition's number, the less of it got out."""

    def __init__(self, inner: LogWriter) -> None:
        self.inner, self.sent = inner, Counter[Partition]()

    def send(self, partition: Partition, *record: Any) -> None:
        self.sent[partition] += 1
        if self.sent[partition] <= 40 // (1 + partition[1]):
            self.inner.send(partition, *record)

    def serve(self) -> None:
        self.inner.serve()

    def flush(self) -> None:
        self.inner.flush()

    def close(self) -> None:
        self.inner.close()


def played(feed: Feed) -> None:
    while not feed.ended:
        feed.step(0.0)
    feed.close()


def test_a_killed_door_that_got_further_in_one_partition_than_in_another_loses_no_row(tmp_path: Path) -> None:
    """Writers send partitions one by one, so the last row of a topic does not say that all before it are there."""
    make_tape(tmp_path / "tape", ticks=300, instruments=8)
    tape, (log, partitioning) = Tape.open(tmp_path / "tape"), file_log(tmp_path / "log")
    first = Feed(log, partitioning, TapeSource(tape))
    first.boot()
    first.door._writer = Partly(first.door._writer)
    played(first)
    successor = Feed(log, partitioning, TapeSource(tape))
    successor.boot()
    played(successor)
    found = [decode(line).data for at in partitioning.all([TICKS]) for _, line in heard_in(log, partitioning, at)]
    wanted = [event.data for event in tape.events() if type(event.data) is MarketTick]
    log.close()
    assert Counter(map(row, found)) == Counter(map(row, wanted))


def row(tick: Any) -> tuple[int, int, float]:
    """What tells ticks apart, whenever they passed the door."""
    return tick.instrument_token, tick.volume, tick.last_price
