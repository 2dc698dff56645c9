"""A small session over a log: a door, stage workers, and hands that reach in between."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from alphapanda.adapters.file_log import FileLog
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.events import Epoch, Event, MarketTick
from alphapanda.pipeline import STAGES
from alphapanda.runtime.container import AppContainer
from alphapanda.runtime.log.door import LogDoor
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, Partition
from alphapanda.runtime.log.services import make_worker
from alphapanda.runtime.log.worker import Worker

ROOMS = tuple(stage.room for stage in STAGES)


class LogSession:
    """Everything in one thread. `play` sends tape events through the door; `settle` lets all catch up."""

    def __init__(
        self, log: Log | Path, container: AppContainer, tape: Tape, make_specs: Any, services: Sequence[str] = ROOMS
    ) -> None:  # fmt: skip
        """`log`: or the folder of one that is to be made."""
        self.container, self.tape, self.make_specs, self.services = container, tape, make_specs, services
        self.log = FileLog(log, Partitioning.of_table(2).counts) if isinstance(log, Path) else log
        self.partitioning = Partitioning.of_log(self.log)
        self.workers: dict[str, Worker] = {}
        self.door = self.opened()
        for service in services:
            self.start(service)

    def opened(self) -> LogDoor:
        """A door of the next epoch."""
        door = LogDoor(self.log, self.partitioning)
        door.open(next(iter(self.tape.events())).ts_ns, "test")
        return door

    def start(self, service: str) -> None:
        """(Re)start a service."""
        self.workers[service] = make_worker(self.container, self.log, "", self.tape, self.make_specs(), service)
        self.workers[service].boot()

    def play(self, events: Iterable[Event]) -> None:
        """Through the door, as the feed does it."""
        for event in events:
            if type(event.data) is Epoch:
                continue
            ts_ns = max(event.ts_ns, self.door.ts_ns)
            data = msgspec.structs.replace(event.data, ts_ns=ts_ns) if type(event.data) is MarketTick else event.data
            self.door.enter(ts_ns, data)
        self.door.serve()

    def inject(self, partition: Partition, value: bytes, key: bytes | None = b"key") -> None:
        """A record that nobody of ours wrote, durable at once."""
        self.log.append(partition, key, value, self.door.ts_ns // 1_000_000)

    def settle(self, wait_s: float = 0.0) -> None:
        """Until nothing moves; `wait_s` for a log that is not of this process. Raises what stops a service."""
        self.door.flush()
        idle = 0
        while idle < 3:
            moved = sum(worker.step(wait_s) for worker in self.workers.values())
            idle = 0 if moved or (wait_s and not self.at_end()) else idle + 1

    def at_end(self) -> bool:
        """Whether every service has handled all that came."""
        return all(worker.frontier == self.door.next_seq for worker in self.workers.values())

    def close(self) -> None:
        """Stop everything cleanly."""
        for worker in self.workers.values():
            worker.close()
        self.door.close()
        self.log.close()
