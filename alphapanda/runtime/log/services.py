"""Services by name: which stages and lanes each runs, with its snapshots and the digest of its code and settings."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.pipeline import STAGES, Stage
from alphapanda.runtime.container import AppContainer, StrategySpec
from alphapanda.runtime.doctor import is_compiled
from alphapanda.runtime.log.dead_letters import dead_letter
from alphapanda.runtime.log.opening import folder_name
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, Record
from alphapanda.runtime.log.publisher import Publisher
from alphapanda.runtime.log.snapshots import Snapshots
from alphapanda.runtime.log.worker import PipelineWorker, StageWorker, Worker
from alphapanda.runtime.settings import recorded
from alphapanda.runtime.strategies import code_digest

DOOR, ALL = "market_feed", "all"
BY_NAME = {stage.room: stage for stage in STAGES}
SERVICES = (DOOR, *BY_NAME, ALL)
SHARDED = 2
"""The last rank whose lanes are shared out; risk, engine and portfolio are one lane each."""
_CODE = ("contracts", "core", "services", "reference", "runtime", "pipeline.py")
_PACKAGE = Path(__file__).parents[2]


def make_worker(
    container: AppContainer, log: Log, prefix: str, tape: Tape, specs: Sequence[StrategySpec], service: str,
    shard: str = "0/1",
) -> Worker:  # fmt: skip
    """The worker of a service; `shard` is `i/n`. Raises ConfigurationError for a service or shard that cannot be."""
    partitioning = Partitioning.of_log(log)
    stage = BY_NAME.get(service)
    if stage is None and service != ALL:
        raise ConfigurationError(f"there is no service {service!r}: there are {', '.join(SERVICES)}")
    numbers = _shard(shard, stage, partitioning)
    folder = container.settings.storage.snapshots / folder_name(prefix) / f"{service}.{numbers[0]}"
    more: dict[str, Any] = {
        "delay_ms": container.settings.pipeline.feedback_delay_ms,
        "snapshots": Snapshots(folder, state_digest(container, tape, specs, partitioning)),
        "dead_letters": _DeadLetters([service] if stage is not None else list(BY_NAME)),
    }
    rooms = container.rooms(tape, specs)
    if stage is None:
        return PipelineWorker(log, partitioning, rooms, **more)
    lanes = {one.rank: lanes for one, lanes in rooms.by_stage()}[stage.rank]
    return StageWorker(log, partitioning, stage, lanes, numbers, **more)


class _DeadLetters:
    """Dead letters of the services that run here: each that reads the record keeps it."""

    def __init__(self, services: Sequence[str]) -> None:
        self.services = services

    def __call__(self, publisher: Publisher, record: Record, reason: str) -> None:
        for service in self.services:
            dead_letter(publisher.writer, service, record, reason)


def _shard(text: str, stage: Stage | None, partitioning: Partitioning) -> list[int]:
    """The partition numbers of shard `i/n`: every n-th of the stage's own topic, from i on."""
    first, slash, count = text.partition("/")
    if not (slash and first.isdigit() and count.isdigit() and int(first) < int(count)):
        raise ConfigurationError(f"shard {text!r} is not understood: write i/n with i below n, such as 0/2")
    sizes = (
        {partitioning.counts[topic] for topic in stage.writes.values()}
        if stage is not None
        else {max(partitioning.counts.values())}
    )
    if int(count) > 1 and (stage is None or stage.rank > SHARDED or int(count) > min(sizes)):
        name = stage.room if stage is not None else ALL
        raise ConfigurationError(f"{name} cannot be shared by {count}: a shard owns whole partitions, and there are {min(sizes)}")
    return list(range(int(first), max(sizes), int(count)))


def state_digest(container: AppContainer, tape: Tape, specs: Sequence[StrategySpec], partitioning: Partitioning) -> str:
    """SHA-256 over all that a snapshot's state depends on: code, settings, strategies, market, partitions."""
    sha = hashlib.sha256()
    for part in _CODE:
        for path in sorted((_PACKAGE / part).rglob("*.py")) or [_PACKAGE / part]:
            sha.update(path.read_bytes())
    said = {
        "settings": recorded(container.settings), "partitions": partitioning.counts, "profile": tape.profile.to_dict(),
        "strategies": [[one.strategy_id, one.lane, code_digest(type(one.strategy)), one.strategy.params()] for one in specs],
        "instruments": sorted(map(repr, tape.instruments.values())), "beat": tape.beat_interval_s,
        "compiled": is_compiled(),  # compiled classes read no others' snapshots
    }  # fmt: skip
    sha.update(json.dumps(said, sort_keys=True, default=str).encode())
    return sha.hexdigest()
