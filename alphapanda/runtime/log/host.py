"""One service in one process or thread: step, snapshot, figures, a clean end.

SIGTERM and SIGINT finish the batch, flush, snapshot and close. A broken rule or a log that fails stops the service as it
stands: it resumes from its last snapshot. Nothing here runs on an event loop.
"""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.pipeline import FILLED, PLACED
from alphapanda.runtime.log.control import Seq
from alphapanda.runtime.log.observe import ServiceMetrics
from alphapanda.runtime.log.protocol import LogError
from alphapanda.runtime.log.worker import Worker

FIGURES_EVERY_S = 1.0
IDLE_S = 0.1


class Service(Protocol):
    """What the host runs: a worker, the door, the recorder."""

    name: str
    handled: int

    @property
    def frontier(self) -> Seq:
        """Everything below is done."""

    @property
    def waits(self) -> bool:
        """Whether something lies there to be done."""

    @property
    def clock_ns(self) -> int:
        """Door time of what was done last."""

    def boot(self) -> None:
        """Go on from where it stood."""

    def step(self, timeout_s: float) -> int:
        """Do what there is to do; returns how many seqs."""

    def save(self) -> None:
        """Take a snapshot."""

    def close(self) -> None:
        """End cleanly."""


def stop_on_signals(stop: threading.Event) -> None:
    """Let SIGTERM and SIGINT set `stop`; a second SIGINT raises KeyboardInterrupt."""

    def asked(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGTERM, asked)
    signal.signal(signal.SIGINT, asked)


def serve(
    service: Service, stop: threading.Event, metrics: ServiceMetrics, log: Any, *, snapshot_interval_s: float,
    until: Callable[[], bool] | None = None,
) -> None:  # fmt: skip
    """Run a service until `stop` is set, or `until` says so after a step in which nothing was left to do.

    Raises what stopped it: AlphaPandaError for a broken rule or a failing log.
    """
    figures = _Figures(service, metrics, log)
    try:
        service.boot()
        log.info("started", frontier=list(service.frontier))
        saved, told = time.monotonic(), 0.0
        while not stop.is_set():
            handled = service.step(IDLE_S)
            now = time.monotonic()
            if now - told >= FIGURES_EVERY_S:
                told = now
                figures.tell()
            if now - saved >= snapshot_interval_s:
                service.save()
                metrics.snapshot_taken()
                saved = time.monotonic()
            if until is not None and not handled and until():
                break
        service.close()
        figures.tell()
        log.info("stopped", frontier=list(service.frontier), handled=service.handled)
    except AlphaPandaError as error:
        metrics.exception()
        metrics.failed(str(error))
        log.error("stopped by an error", error=str(error))  # noqa: TRY400  # the message says it all; a trace would bury it
        raise


class _Figures:
    """Turns a service's running totals into figures."""

    def __init__(self, service: Service, metrics: ServiceMetrics, log: Any) -> None:
        self._service, self._metrics, self._log = service, metrics, log
        self._told = Counter[str]()

    def tell(self) -> None:
        service, metrics = self._service, self._metrics
        metrics.frontier(service.frontier, service.clock_ns, waits=service.waits)
        metrics.handled(self._more("handled", service.handled))
        if isinstance(service, Worker):
            metrics.skipped(self._more("skipped", sum(reader.skipped for reader in service.readers.values())))
            metrics.compared(self._more("compared", service.publisher.compared))
            for topic, count in service.publisher.sent.items():
                metrics.produced(topic, self._more(topic, count))
            for topic, observe in ((PLACED, metrics.latency_order), (FILLED, metrics.latency_fill)):
                seen, service.publisher.latencies[topic] = service.publisher.latencies[topic], []
                for seconds in seen:
                    observe(seconds)
            while service.dead_reasons:
                reason = service.dead_reasons.pop(0)
                metrics.dead_letter(reason)
                self._log.warning("dead letter", reason=reason)
            self._tell_lag(service)

    def _tell_lag(self, service: Worker) -> None:
        try:
            bounds = service.log.bounds(service.readers)
        except LogError as error:  # a figure is no reason to stop; reading and writing notice by themselves what is
            self._log.warning("lag is not known", error=str(error))
            return
        for partition, (_, end) in bounds.items():
            self._metrics.lag(partition, end - service.readers[partition].position)

    def _more(self, name: str, total: int) -> int:
        more = total - self._told[name]
        self._told[name] = total
        return more
