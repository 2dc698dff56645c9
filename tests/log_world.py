"""A world of doors and workers over a log in memory: one scheduler, one seed, and everything that can go wrong.

The door, the workers, their readers, snapshots and promises are the real ones; the log keeps only order within a
partition. Who runs next, what of a writer's records got out before it died, who sleeps and wakes and writes on: the seed
decides. What comes of it is held against the replay loop over the same tape.
"""

import pickle
import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from alphapanda.contracts.codec import encode
from alphapanda.contracts.events import Beat, Event, KillSwitch, MarketTick, Payload, SessionClose, SessionOpen
from alphapanda.contracts.instruments import Instrument
from alphapanda.pipeline import DOOR, OUTPUT_TOPICS, STAGES
from alphapanda.reference.profiles import load_profile
from alphapanda.runtime.container import AppContainer, named
from alphapanda.runtime.log.clock_index import ClockIndex
from alphapanda.runtime.log.control import Seq
from alphapanda.runtime.log.door import LogDoor, ReplacedError
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Headers, LogError, Partition, Record
from alphapanda.runtime.log.reader import PartitionReader
from alphapanda.runtime.log.snapshots import Snapshot
from alphapanda.runtime.log.start import claimed_in
from alphapanda.runtime.log.worker import PipelineWorker, StageWorker, Worker
from alphapanda.runtime.replay import Loop, Rooms
from alphapanda.runtime.settings import load_settings
from strategies.pairs import Pairs
from tests.strategies_for_tests import Inventory, Turner

TOKENS = {101: "AAA", 102: "BBB", 103: "CCC", 358: "DDD"}
OPEN_NS = 1_709_264_700_000_000_000
MS = 1_000_000
DELAY_MS = 250


class Market:
    """What rooms need to know of a market."""

    path, columns, beat_interval_s, bar_interval_s = "memory", ["bid", "ask"], 1, None
    profile = load_profile("always")
    instruments = {token: Instrument(token, symbol, currency="USD") for token, symbol in TOKENS.items()}


def fresh_rooms() -> Rooms:
    """Rooms at their start: a strategy that uses its own fills, one over two instruments, one on each tick."""
    settings = load_settings({"risk.max_gross_exposure": 4_000, "portfolio.start_cash": 5_000, "charges.profile": "none"})
    specs = named([Turner(), Pairs(symbols=("AAA", "CCC"), window=5, entry_bps=20), Inventory(symbols=("BBB",))])
    return AppContainer(settings).rooms(Market(), specs)  # type: ignore[arg-type]  # as much of a tape as rooms look at


def script(rng: random.Random) -> Iterator[tuple[int, Payload]]:
    """What comes from outside: bursts on one time, pauses longer than the delay, sources that run back."""
    ts_ns, beat_ns, prices = OPEN_NS, OPEN_NS, dict.fromkeys(TOKENS, 100.0)
    for day in range(rng.randint(1, 2)):
        ts_ns += 3_600_000 * MS
        yield ts_ns, SessionOpen(f"day {day}", ts_ns, ts_ns + 10_000_000 * MS)
        for _ in range(rng.randint(20, 70)):
            ts_ns += rng.choice((0, 0, 5, 20, 50, 100, 400)) * MS
            if ts_ns - beat_ns >= 100 * MS and rng.random() < 0.7:
                beat_ns = ts_ns
                yield ts_ns, Beat()
            if rng.random() < 0.01:
                yield ts_ns, KillSwitch(engaged=rng.random() < 0.5, reason="test")
            token = rng.choice(list(TOKENS))
            prices[token] = round(prices[token] + rng.randint(-4, 4) * 0.05, 2)
            yield ts_ns - rng.choice((0, 0, 0, 30, 300)) * MS, MarketTick(0, token, prices[token])
        if rng.random() < 0.8:
            yield ts_ns, SessionClose(f"day {day}")


class MemoryLog:
    """Partitions to append to and to read in order."""

    durable_when_read = True

    def __init__(self, counts: Mapping[str, int], rng: random.Random) -> None:
        self.entries: dict[Partition, list[Record]] = {(t, n): [] for t, count in counts.items() for n in range(count)}
        self.rng, self.calm = rng, False

    def partitions(self, topics: Iterable[str]) -> list[Partition]:
        return [partition for topic in topics for partition in self.entries if partition[0] == topic]

    def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, tuple[int, int]]:
        return {partition: (0, len(self.entries[partition])) for partition in partitions}

    def offset_for_time(self, partition: Partition, ts_ms: int) -> int:
        entries = self.entries[partition]
        return next((record.offset for record in entries if record.ts_ms >= ts_ms), len(entries))

    def append(self, partition: Partition, key: bytes | None, value: bytes, ts_ms: int) -> int:
        offset = len(self.entries[partition])
        self.entries[partition].append(Record(partition, offset, ts_ms, key, value))
        return offset

    def reader(self, positions: Mapping[Partition, int], *, headers: bool = False) -> "MemoryReader":
        return MemoryReader(self, dict(positions))

    def writer(self) -> "MemoryWriter":
        return MemoryWriter(self)

    def commit(self, group: str, positions: Mapping[Partition, int]) -> None:
        """Nobody resumes from it."""

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryReader:
    """Reads some of what is there."""

    def __init__(self, log: MemoryLog, positions: dict[Partition, int]) -> None:
        self.log, self.positions = log, positions

    def poll(self, timeout_s: float, limit: int = 10_000) -> list[Record]:
        whole, rng = self.log.calm or timeout_s >= 1, self.log.rng
        found: list[Record] = []
        for partition, position in self.positions.items():
            if whole or rng.random() < 0.6:
                records = self.log.entries[partition][position:][: None if whole else rng.randint(1, 12)]
                self.positions[partition] += len(records)
                found += records
        return found

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryWriter:
    """An outbox for each partition: a crash loses what was not sent, a different part of it in each."""

    def __init__(self, log: MemoryLog) -> None:
        self.log, self.outbox = log, defaultdict[Partition, deque[Any]](deque)

    def send(self, partition: Partition, key: bytes | None, value: bytes, ts_ms: int, headers: Headers = ()) -> None:
        self.outbox[partition].append((key, value, ts_ms))

    def serve(self) -> None:
        for partition, waiting in self.outbox.items():
            for _ in range(len(waiting) if self.log.calm else self.log.rng.randint(0, len(waiting))):
                self.log.append(partition, *waiting.popleft())

    def flush(self) -> None:
        for partition, waiting in self.outbox.items():
            while waiting:
                self.log.append(partition, *waiting.popleft())

    def close(self) -> None:
        self.flush()


class Disk:
    """Snapshots of one process; a lost disk is an empty list."""

    digest, folder = "one code", "memory"

    def __init__(self, rng: random.Random) -> None:
        self.kept: list[bytes] = []
        self.rng = rng

    def save(self, frontier: Seq, state: dict[str, Any]) -> None:
        self.kept = [*self.kept[-2:], pickle.dumps(state)]

    def newest(self) -> Snapshot | None:
        """Any of those kept: the newer ones may be damaged."""
        return Snapshot(self.digest, self.rng.choice(self.kept)) if self.kept else None


class DoorProcess:
    """A door and the world outside it."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.door = LogDoor(world.log, world.partitioning)
        self.door.open(OPEN_NS, "opened")

    def step(self) -> None:
        outside, rng = self.world.outside, self.world.rng
        self.door.serve()
        for _ in range(min(len(outside), rng.randint(1, 6))):
            source_ns, data = outside.popleft()
            ts_ns = max(source_ns, self.door.ts_ns)
            if isinstance(data, MarketTick):
                data = MarketTick(ts_ns, data.instrument_token, data.last_price)
            line: list[bytes] = []
            event = self.door.enter(ts_ns, data, lambda line=line: self.world.acknowledged.append(line))
            line.append(encode(event))


class World:
    """All processes. A seed decides."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)  # noqa: S311  # a seed, not a secret
        self.partitioning = Partitioning.of_table(self.rng.choice((1, 2, 3, 4)))
        self.log = MemoryLog(self.partitioning.counts, self.rng)
        self.outside, self.counts = deque(script(self.rng)), Counter[str]()
        self.acknowledged: list[list[bytes]] = []
        self.disks = defaultdict[str, Disk](lambda: Disk(self.rng))
        self.makers: dict[str, Any] = {"market_feed": lambda: DoorProcess(self)}
        hosts = self.rng.choice((("stages",), ("stages",), ("all",), ("stages", "all")))  # both write the same
        if "all" in hosts:
            self.makers["all.0"] = self.pipeline
        if "stages" in hosts:
            self.add_stages()
        self.actors: dict[str, Any] = {}
        self.sleepers: list[Any] = []
        for name in self.makers:
            self.actors[name] = self.makers[name]()

    def add_stages(self) -> None:
        count = self.partitioning.counts["market.features"]
        shards = [[number] for number in range(count)] if self.rng.random() < 0.5 else [list(range(count))]
        for stage in STAGES:
            for shard in shards if stage.rank == 1 else [[0]]:
                name = f"{stage.room}.{shard[0]}"
                self.makers[name] = lambda stage=stage, shard=shard, name=name: self.worker(stage, shard, name)

    def pipeline(self) -> PipelineWorker:
        worker = PipelineWorker(
            self.log, self.partitioning, fresh_rooms(), delay_ms=DELAY_MS, snapshots=self.disks["all.0"],
            dead_letters=lambda publisher, record, reason: None,
        )  # fmt: skip
        worker.boot()
        return worker

    def worker(self, stage: Any, shard: list[int], name: str) -> StageWorker:
        lanes = {one.rank: lanes for one, lanes in fresh_rooms().by_stage()}[stage.rank]
        worker = StageWorker(
            self.log, self.partitioning, stage, lanes, shard, delay_ms=DELAY_MS, snapshots=self.disks[name],
            dead_letters=lambda publisher, record, reason: None,
        )  # fmt: skip
        worker.boot()
        return worker

    def run(self, process: Any) -> None:
        if isinstance(process, DoorProcess):
            process.step()
            process.door._writer.serve()
        else:
            process.step(0.0)
            if self.rng.random() < 0.1:
                process.save()

    def advance(self, name: str) -> None:
        try:
            self.run(self.actors[name])
        except ReplacedError:
            self.counts["doors replaced"] += 1
            self.actors[name] = self.makers[name]()

    def storm(self) -> None:
        names, fault_rate = list(self.makers), self.rng.choice((0, 0.02, 0.05))
        speeds = [1] * len(names)
        for step in range(self.rng.choice((100, 300, 600))):
            if step % 50 == 0:  # some crawl, some stand still: a pause longer than any timeout
                speeds = [self.rng.choice((0, 1, 1, 4)) for _ in names]
                speeds[self.rng.randrange(len(names))] = 1
            self.advance(self.rng.choices(names, speeds)[0])
            if self.rng.random() < fault_rate:
                self.fault(self.rng.choice([*names, "market_feed", "market_feed"]))
            if self.sleepers and self.rng.random() < 0.15:
                self.wake(self.rng.choice(self.sleepers[-4:]))

    def fault(self, name: str) -> None:
        fault = self.rng.choice(("crashes", "crashes", "doubles", "doubles", "lost disks"))
        self.counts[fault] += 1
        if fault == "doubles":  # the old process only sleeps
            self.sleepers.append(self.actors[name])
        if fault == "lost disks":
            self.disks[name].kept = []
        self.actors[name] = self.makers[name]()

    def wake(self, process: Any) -> None:
        try:
            for _ in range(self.rng.choice((1, 3))):
                self.run(process)
        except ReplacedError:
            self.counts["doors replaced"] += 1
            self.sleepers.remove(process)

    def settle(self) -> None:
        """All up, no faults: whatever came through the door must get through the pipeline."""
        self.log.calm = True
        idle, before = 0, None
        while idle < 3:
            for name in self.makers:
                self.advance(name)
            sizes = sum(map(len, self.log.entries.values())), len(self.outside)
            idle = idle + 1 if sizes == before and not self.outside else 0
            before = sizes

    def heard(self, partition: Partition) -> list[tuple[Event, bytes]]:
        reader = PartitionReader(partition, self.partitioning, claimed_in(self.log))
        return [(event, record.value) for record in self.log.entries[partition] if (event := reader.take(record).event)]

    def tape(self) -> list[Event]:
        events = [event for partition in self.partitioning.all(DOOR) for event, _ in self.heard(partition)]
        return sorted(events, key=lambda event: event.pos)

    def check(self) -> str | None:
        """What went wrong, or None."""
        tape = self.tape()
        last = tape[-1].pos[:2]
        for name, worker in self.actors.items():
            if isinstance(worker, Worker) and worker.frontier != (last[0], last[1] + 1):
                return f"deadlock: {name} stands at {worker.frontier} of {last}"
        if any(b.ts_ns < a.ts_ns for a, b in pairwise(tape)):
            return "door time runs back"
        lines = {encode(event) for event in tape}
        if any(line[0] not in lines for line in self.acknowledged):
            return "acknowledged and lost"
        expected = self.expected(tape)
        for topic in OUTPUT_TOPICS:
            actual = Counter(line for partition in self.partitioning.all([topic]) for _, line in self.heard(partition))
            if actual != expected[topic]:
                lost, extra = expected[topic] - actual, actual - expected[topic]
                return f"{topic}: {lost.total()} missing, {extra.total()} extra or different, first {min([*lost, *extra])!r}"
        return None

    def expected(self, tape: list[Event]) -> dict[str, Counter[bytes]]:
        """The outputs of the replay loop over this tape, by topic."""
        loop = Loop(fresh_rooms().by_stage(), DELAY_MS * MS)
        made: dict[str, Counter[bytes]] = {topic: Counter() for topic in OUTPUT_TOPICS}
        for root in tape:
            for event in loop.step(root):
                self.counts[type(event.data).__name__] += 1
                for topic, _ in self.partitioning.with_copies(event):
                    made[topic][encode(event)] += 1
        return made

    def check_starts(self) -> str | None:
        """Replay from some time on finds what the whole tape holds from there."""
        tape = self.tape()
        for event in self.rng.sample(tape, min(4, len(tape))):
            ts_ns = event.ts_ns + self.rng.choice((0, 1))
            readers = ClockIndex(self.log, self.partitioning).start_at(ts_ns).readers
            found = [
                found
                for partition, reader in readers.items()
                for record in self.log.entries[partition][reader.position :]
                if (found := reader.take(record).event) is not None and found.ts_ns >= ts_ns
            ]
            if sorted(found, key=lambda one: one.pos) != [one for one in tape if one.ts_ns >= ts_ns]:
                return f"from time {ts_ns} on, other events are found than those of the tape"
        return None


def run(seed: int) -> tuple[str | None, Counter[str]]:
    """What went wrong with this seed, or None; and what happened in it."""
    world = World(seed)
    try:
        world.storm()
        found = world.check_starts()
        world.settle()
        return found or world.check(), world.counts
    except (LogError, LookupError, Exception) as error:
        if not isinstance(error, LookupError) and type(error).__module__.split(".")[0] != "alphapanda":
            raise
        return f"stopped: {error!r}", world.counts
