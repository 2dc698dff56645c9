"""A service's process that dies when it is told to: `python -m tests.chaos.service ORDERS [options] -- WORDS`.

WORDS are those of the command line. ORDERS is a file: at SIGUSR1 it says `point:count`, and the
process kills itself, as `kill -9` does, when it passes that point for the count-th time. Nothing of the services' own code
knows of this: what they call is wrapped here. `--without` takes one rule away, so that a test sees that it is needed.
"""

import argparse
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alphapanda import cli
from alphapanda.adapters.kafka_log import KafkaLog, KafkaReader, KafkaWriter
from alphapanda.runtime.log import snapshots
from alphapanda.runtime.log.control import FIRST, NOTHING
from alphapanda.runtime.log.reader import PartitionReader
from alphapanda.runtime.log.recorder import Recorder
from alphapanda.runtime.log.worker import Worker


class Crash:
    """The order to die, if there is one."""

    def __init__(self) -> None:
        self.point, self.left = "", 0

    def order(self, text: str) -> None:
        """`point:count`."""
        self.point, _, count = text.rpartition(":")
        self.left = int(count)

    def at(self, point: str) -> None:
        """Pass a point."""
        if point == self.point:
            self.left -= 1
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def around(owner: Any, name: str, crash: Crash, before: str, after: str) -> None:
    """Two points around a function."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def outer(*arguments: Any, **named: Any) -> Any:
        crash.at(before)
        value = inner(*arguments, **named)
        crash.at(after)
        return value

    setattr(owner, name, outer)


def with_points(crash: Crash) -> None:
    """Put all points in."""
    around(KafkaWriter, "send", crash, "before send", "after send")
    around(KafkaWriter, "serve", crash, "before serve", "after serve")
    around(KafkaWriter, "flush", crash, "before flush", "after flush")
    around(KafkaLog, "append", crash, "before claim", "after claim")
    around(KafkaLog, "commit", crash, "before commit", "after commit")
    around(PartitionReader, "take", crash, "before take", "after take")
    sync, begin = snapshots.sync, Recorder.__init__  # type: ignore[attr-defined]  # what `save` calls

    def synced(path: Path) -> None:
        """The file first, then its folder."""
        crash.at("snapshot renamed" if path.is_dir() else "snapshot written")
        sync(path)
        crash.at("snapshot in place" if path.is_dir() else "snapshot synced")

    def begun(self: Recorder, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named, at=crash.at)

    snapshots.sync = synced  # type: ignore[attr-defined]
    Recorder.__init__ = begun  # type: ignore[method-assign]


def late(seconds: float) -> None:
    """Everything is heard later: what this process sends always comes behind what its twin sent."""
    poll = KafkaReader.poll

    @functools.wraps(poll)
    def polled(self: KafkaReader, *arguments: Any, **named: Any) -> Any:
        time.sleep(seconds)
        return poll(self, *arguments, **named)

    KafkaReader.poll = polled  # type: ignore[method-assign]


@contextmanager
def replaced(one: Any, **values: Any) -> Iterator[None]:
    """Other attributes for a while."""
    kept = {name: getattr(one, name) for name in values}
    vars(one).update(values)
    try:
        yield
    finally:
        vars(one).update(kept)


def without_reader_rule() -> None:
    """Every record is heard, also what was heard before and what stands below a promise."""
    stands = PartitionReader._stands

    def always(self: PartitionReader, *arguments: Any) -> bool:
        with replaced(self, last=NOTHING, up_to=FIRST):
            return stands(self, *arguments)

    PartitionReader._stands = always  # type: ignore[method-assign,assignment]


def without_door_promise() -> None:
    """A door promises nothing when it opens; it is the only one whose promises are of the first number of an epoch."""
    send = KafkaWriter.send

    def sent(self: KafkaWriter, partition: Any, key: bytes | None, value: bytes, *more: Any) -> None:
        if key is not None or b'"type":"Progress"' not in value:
            send(self, partition, key, value, *more)

    KafkaWriter.send = sent  # type: ignore[method-assign,assignment]


def without_flush_before_snapshot() -> None:
    """A snapshot stands on what was sent, durable or not."""
    save = Worker.save

    def saved(self: Worker) -> None:
        with replaced(self.publisher.writer, flush=lambda: None):
            save(self)

    Worker.save = saved  # type: ignore[method-assign]


RULES: dict[str, Callable[[], None]] = {
    "reader rule": without_reader_rule,
    "door promise": without_door_promise,
    "flush before snapshot": without_flush_before_snapshot,
}


def main(words: list[str]) -> None:
    """Run it."""
    ours, theirs = words[: words.index("--")], words[words.index("--") + 1 :]
    parser = argparse.ArgumentParser()
    parser.add_argument("orders", type=Path)
    parser.add_argument("--at", default="")
    parser.add_argument("--late", type=float, default=0.0)
    parser.add_argument("--without", choices=RULES)
    said = parser.parse_args(ours)
    crash = Crash()
    signal.signal(signal.SIGUSR1, lambda number, frame: crash.order(said.orders.read_text()))
    if said.without:
        RULES[said.without]()
    with_points(crash)
    if said.at:
        crash.order(said.at)
    if said.orders.exists():  # it came before the signal could be taken
        crash.order(said.orders.read_text())
    if said.late:
        late(said.late)
    sys.argv = ["alphapanda", *theirs]
    cli.main()


if __name__ == "__main__":
    main(sys.argv[1:])
