"""The log host's speed, as ratios of two things measured in one run over one broker: `python -m tests.bench.log`.

all: the process of all services over a tape that lies in the log, against a bare loop that consumes the same ticks, decodes
them, and encodes and produces as many messages of the same size. The broker is the environment's, else one of the tests'.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alphapanda.adapters import kafka_topics
from alphapanda.adapters.kafka_log import KafkaLog
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.codec import decode, encode, key_of
from alphapanda.contracts.events import Event
from alphapanda.pipeline import DOOR, OUTPUT_TOPICS
from alphapanda.runtime.container import AppContainer, named
from alphapanda.runtime.log.feed import Feed, TapeSource
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Partition, Record
from alphapanda.runtime.log.services import ALL, make_worker
from alphapanda.runtime.log.worker import Worker
from alphapanda.runtime.settings import Settings, load_settings
from alphapanda.runtime.tape_make import make_tape
from strategies.ema_cross import EmaCross
from strategies.pairs import Pairs
from tests.strategies_for_tests import Inventory

ROUNDS = 3


@contextlib.contextmanager
def broker_settings(folder: Path) -> Iterator[Settings]:
    """Settings of the environment's broker, else of one that lives as long as this."""
    overrides = {"storage.snapshots": str(folder / "snapshots"), "charges.profile": "none"}
    if os.environ.get("ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS"):
        yield load_settings(overrides)
        return
    from tests.kafka_broker import Broker

    with Broker() as broker:
        yield load_settings({**overrides, "kafka.bootstrap_servers": broker.bootstrap})


def strategies() -> list[Any]:
    """Three: on each tick, over two instruments, on its own fills."""
    pair = ("BANYAN", "CEDAR")
    return [EmaCross(fast=50, slow=2_000), Pairs(symbols=pair, window=500, entry_bps=20), Inventory(symbols=("TEAK",))]


def filled_log(settings: Settings, prefix: str, tape: Tape) -> KafkaLog:
    """A log whose door topics hold the tape."""
    kafka_topics.create(settings.kafka, prefix, {}, old_times=True)
    log = KafkaLog(settings.kafka, prefix)
    feed = Feed(log, Partitioning.of_log(log), TapeSource(tape))
    feed.boot()
    while not feed.ended:
        feed.step(0.0)
    feed.close()
    return log


def worker_s(settings: Settings, log: KafkaLog, prefix: str, tape: Tape) -> tuple[float, Worker]:
    """Seconds of all services in one process, from opening its readers to the last acknowledged output."""
    worker = make_worker(AppContainer(settings), log, prefix, tape, named(strategies()), ALL)
    end = tape.seqs[1]
    began = time.perf_counter()
    worker.boot()
    while worker.frontier < end:
        worker.step(0.1)
    worker.publisher.writer.flush()
    return time.perf_counter() - began, worker


def bare_s(log: KafkaLog, tape: Tape, outputs: list[tuple[Partition, Event]]) -> float:
    """Seconds of the bare loop: as many messages, of the same size, evenly among the ticks."""
    partitions = log.partitions(DOOR)
    bounds, count = log.bounds(partitions), tape.seqs[1][1]
    source, writer = log.reader({one: low for one, (low, _) in bounds.items()}), log.writer()
    every, seen, sent = max(1, count // max(1, len(outputs))), 0, 0
    began = time.perf_counter()
    left = sum(high - low for low, high in bounds.values())
    while left:
        records: list[Record] = source.poll(1.0, 1_000)
        left -= len(records)
        for record in records:
            if record.key is not None:
                decode(record.value)
            seen += 1
            while sent < len(outputs) and sent * every <= seen:
                partition, event = outputs[sent]
                writer.send(partition, key_of(event.data).encode(), encode(event), max(1, event.ts_ns // 1_000_000))
                sent += 1
        writer.serve()
    writer.flush()
    seconds = time.perf_counter() - began
    source.close()
    writer.close()
    return seconds


def made_outputs(log: KafkaLog) -> list[tuple[Partition, Event]]:
    """All events in the output topics, each with its partition."""
    partitions = log.partitions(OUTPUT_TOPICS)
    bounds = log.bounds(partitions)
    source = log.reader({one: low for one, (low, _) in bounds.items()})
    left, found = sum(high - low for low, high in bounds.values()), []
    while left:
        records = source.poll(1.0)
        left -= len(records)
        found += [(record.partition, decode(record.value)) for record in records if record.key is not None]
    source.close()
    return sorted(found, key=lambda one: one[1].pos)


def all_services(settings: Settings, folder: Path, ticks: int) -> dict[str, float]:
    """The process of all services against the bare loop; medians, in turn."""
    make_tape(folder / "tape", seed=5, ticks=ticks, instruments=50)
    tape, pairs, events = Tape.open(folder / "tape"), [], 0
    for i in range(ROUNDS):
        prefix = f"bench.{os.getpid()}.{i}."
        log = filled_log(settings, prefix, tape)
        seconds, worker = worker_s(settings, log, prefix, tape)
        outputs = made_outputs(log)
        events = len(outputs)
        assert events == worker.publisher.sent.total()
        pairs.append((seconds, bare_s(log, tape, outputs)))
        worker.close()
        log.close()
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    seqs = tape.seqs[1][1]
    return {"ticks": ticks, "seqs": seqs, "messages": events, "all_s": ours, "bare_s": bare, "seqs_per_s": round(seqs / ours),
            "rate_of_bare": bare / ours}  # fmt: skip


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=200_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, broker_settings(Path(name)) as settings:
        found = {"all": all_services(settings, Path(name), args.ticks)}
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
