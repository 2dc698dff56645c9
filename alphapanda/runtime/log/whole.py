"""A whole session in one process: the door, the pipeline and the recorder, each on a thread of its own over one log.

What comes of it is what six processes over a broker write: paper trading needs no broker account, and no broker either.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.runtime.container import AppContainer, StrategySpec
from alphapanda.runtime.log import commands
from alphapanda.runtime.log.compact import Compacted, compact
from alphapanda.runtime.log.control import FIRST, Seq
from alphapanda.runtime.log.feed import Feed, TapeSource
from alphapanda.runtime.log.host import Service, serve
from alphapanda.runtime.log.http_server import HttpServer, Mailbox
from alphapanda.runtime.log.observe import ServiceMetrics
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log
from alphapanda.runtime.log.recorder import Recorder
from alphapanda.runtime.log.services import ALL, make_worker
from alphapanda.runtime.log.session import begin_session
from alphapanda.runtime.log.worker import Worker


class RecorderService:
    """The recorder as a host runs it; it joins nothing, so its frontier says nothing."""

    name = "recorder.0"
    frontier: Seq = FIRST
    waits, clock_ns = False, 0

    def __init__(self, log: Log, partitioning: Partitioning, folder: Path) -> None:
        self._make: Callable[[], Recorder] = lambda: Recorder(log, partitioning, folder)
        self.handled = 0

    def boot(self) -> None:
        """Go on behind the last segments."""
        self.recorder = self._make()

    def step(self, timeout_s: float) -> int:
        """Hear and store; returns how many records came."""
        count = self.recorder.step(timeout_s)
        self.handled += count
        return count

    def save(self) -> None:
        """Store what was heard."""
        self.recorder.flush()

    def close(self) -> None:
        """Store what was heard, and let go of the log."""
        self.recorder.close()


class WholeSession:
    """Runs services on threads until the feed has ended and everyone has caught up, or `stop` is set."""

    def __init__(
        self, feed: Feed, worker: Worker, recorder: RecorderService, stop: threading.Event, log: Any, prefix: str
    ) -> None:  # fmt: skip
        self.feed, self.worker, self.recorder, self._stop, self._log = feed, worker, recorder, stop, log
        names = (feed.name, worker.name, recorder.name)
        self.metrics = {name: ServiceMetrics(name.partition(".")[0], prefix) for name in names}
        self._errors: list[AlphaPandaError] = []
        self._ends = [threading.Event(), threading.Event(), threading.Event()]

    def run(self, snapshot_interval_s: float, progress: Callable[[Seq], None] | None = None) -> None:
        """Run it. Raises what stopped a service, once all have ended."""
        feed_done, worker_done, _ = self._ends
        plan: Sequence[tuple[Service, Callable[[], bool]]] = (
            (self.feed, lambda: self.feed.ended and worker_done.is_set()),
            (self.worker, self._caught_up),
            (self.recorder, lambda: worker_done.is_set() and feed_done.is_set()
                and not self.recorder.recorder.behind(self.recorder.recorder.ends())),
        )  # fmt: skip
        threads = [
            threading.Thread(target=self._serve, args=(service, until, end, snapshot_interval_s), name=service.name)
            for (service, until), end in zip(plan, self._ends, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
                if progress is not None:
                    progress(self.worker.frontier)
        if self._errors:
            raise self._errors[0]

    def _caught_up(self) -> bool:
        return self.feed.ended and self.worker.frontier >= self.feed.frontier

    def _serve(
        self, service: Service, until: Callable[[], bool], end: threading.Event, snapshot_interval_s: float
    ) -> None:  # fmt: skip
        metrics, lines = self.metrics[service.name], self._log.bind(service=service.name)
        try:
            serve(service, self._stop, metrics, lines, snapshot_interval_s=snapshot_interval_s, until=until)
        except AlphaPandaError as error:
            self._errors.append(error)
            self._stop.set()
        except BaseException as error:  # noqa: BLE001  # it ends this thread: the session must not wait for it for ever
            self._errors.append(AlphaPandaError(f"{service.name} failed: {type(error).__name__}: {error}"))
            self._stop.set()
        finally:
            end.set()


def play(
    container: AppContainer, log: Log, prefix: str, tape: Tape, specs: Sequence[StrategySpec], folder: Path, *,
    start: str | None = None, end: str | None = None, speed: float, stop: threading.Event, lines: Any, port: int = 0,
    at: Callable[[str], None] | None = None, progress: Callable[[int, int], None] | None = None,
) -> Compacted:  # fmt: skip
    """Play [start, end) of a tape through door, pipeline and recorder until it has ended or `stop` is set; then compact.

    `at` is told where it answers /health, /metrics and, for the door, /commands. Started again over the same log and folder
    it goes on where it stood. Returns the session's tape and run. Raises what stopped a service, and ConfigurationError where
    the folder holds another session.
    """
    partitioning = Partitioning.of_log(log)
    source = TapeSource(tape, start, end)
    begin_session(folder, prefix, container, tape, specs, partitioning, played=f"{tape.digest} {start} {end}")
    mailbox = Mailbox()
    feed = Feed(log, partitioning, source, speed=speed, mailbox=mailbox)
    worker = make_worker(container, log, prefix, tape, specs, ALL)
    session = WholeSession(feed, worker, RecorderService(log, partitioning, folder), stop, lines, prefix)
    total = tape.seqs[1][1] - tape.seqs[0][1]

    def told(frontier: Seq) -> None:
        if progress is not None:
            progress(min(frontier[1], total), total)

    with HttpServer(session.metrics[worker.name], port) as server:
        server.post(commands.PATH, mailbox.ask)
        if at is not None:
            at(server.url)
        session.run(container.settings.host.snapshot_interval_s, told)
    return compact(folder)
