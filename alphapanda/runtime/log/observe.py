"""What a running service says of itself: JSON lines on stderr, figures for Prometheus, and whether it is well (`http_server`).

Each service has a registry of its own. Nothing here decides results; a service runs the same without. Secrets are never
logged: fields whose names say that they hold one are replaced, whoever logs them.
"""

import logging
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple, TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Seq = tuple[int, int]
NS = 1_000_000_000
LATENCIES_S = (
    0.0005, 0.001, 0.002, 0.004, 0.006, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
)  # fmt: skip
_SECRET = re.compile(r"(secret|password|passwd|authorization|cookie|api_?key|(access|request|refresh|enc|public)_?token)", re.I)
_USER_IN_URL = re.compile(r"(?<=://)[^/@\s:]+:[^/@\s]+@")


# ---- logging ---------------------------------------------------------------------------------------------------------


def configure_logging(
    service: str, session: str, *, pos: Callable[[], str | None] | None = None, level: int = logging.INFO,
    stream: TextIO | None = None,
) -> Any:  # fmt: skip
    """Send this process's log to stderr as JSON lines with service, session and pos; returns the logger to use.

    `pos` is asked at each line for where the service stands. Lines of the standard library's loggers (the broker's client)
    come out in the same form.
    """

    def bound(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line.setdefault("service", service)
        line.setdefault("session", session)
        if pos is not None and line.get("pos") is None:
            line["pos"] = pos()
        return line

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        bound,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        without_secrets,
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger("alphapanda")


def without_secrets(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The line with what its names call a secret replaced, at any depth, and users with passwords taken out of URLs."""
    for name, value in line.items():
        line[name] = "***" if _SECRET.search(str(name)) else _shown(value)
    return line


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return _USER_IN_URL.sub("***@", value)
    if isinstance(value, dict):
        return {name: "***" if _SECRET.search(str(name)) else _shown(one) for name, one in value.items()}
    return [_shown(one) for one in value] if isinstance(value, list | tuple) else value


# ---- figures ---------------------------------------------------------------------------------------------------------


class Health(NamedTuple):
    """What `/health` answers."""

    ok: bool
    why: str
    frontier: str | None
    frontier_age_s: float


class ServiceMetrics:
    """The figures of one service. Every method is cheap enough for each batch; none is meant for each tick."""

    def __init__(self, service: str, session: str, *, stale_after_s: float = 30.0) -> None:
        """`session` is the topic prefix. A frontier that stands while something waits is unhealthy after `stale_after_s`."""
        self.service, self.session, self.stale_after_s = service, session, stale_after_s
        self.registry = CollectorRegistry()
        self._seq: Seq | None = None
        self._moved_at, self._waits = time.monotonic(), False
        self._snapshot_at: float | None = None
        self._failed: str | None = None
        said = self._labelled
        self._handled = said(Counter, "handled", "outside events (seqs) handled")
        self._produced = said(Counter, "produced", "events written", "topic")
        self._skipped = said(Counter, "duplicates_skipped", "repeats, and what lay below a promise: not heard")
        self._compared = said(Counter, "outputs_compared", "outputs found in the log after a restart, and equal")
        self._dead = said(Counter, "dead_letters", "records that could not be read")
        self._exceptions = said(Counter, "exceptions", "exceptions that reached the host")
        self._lag = said(Gauge, "consumer_lag_records", "records in the log behind the reader", "topic", "partition")
        self._number = said(Gauge, "frontier_number", "number of the frontier in its epoch")
        self._epoch = said(Gauge, "frontier_epoch", "epoch of the frontier")
        self._time = said(Gauge, "frontier_seconds", "door time of the last event handled, as a Unix time")
        said(Gauge, "frontier_age_seconds", "how long something waits and the frontier stands").set_function(self.frontier_age_s)
        said(Gauge, "snapshot_age_seconds", "since the last snapshot; -1: none was taken").set_function(self.snapshot_age_s)
        self._order = said(Histogram, "tick_to_order_seconds", "from a tick to its order leaving", buckets=LATENCIES_S)
        self._fill = said(Histogram, "tick_to_fill_seconds", "from a tick to its fill leaving", buckets=LATENCIES_S)

    def _labelled(self, kind: Any, name: str, text: str, *more: str, **options: Any) -> Any:
        """A metric with this service's labels; with `more` labels, those are still to be given."""
        metric = kind(f"alphapanda_{name}", text, ("service", "session", *more), registry=self.registry, **options)
        if more:
            children: dict[tuple[str, ...], Any] = {}

            def child(*values: str) -> Any:
                if values not in children:
                    children[values] = metric.labels(self.service, self.session, *values)
                return children[values]

            return child
        return metric.labels(self.service, self.session)

    def handled(self, count: int) -> None:
        """Seqs that are done."""
        self._handled.inc(count)

    def produced(self, topic: str, count: int) -> None:
        """Events written to a topic."""
        self._produced(topic).inc(count)

    def skipped(self, count: int) -> None:
        """Records that the readers' rule did not hear."""
        self._skipped.inc(count)

    def compared(self, count: int) -> None:
        """Outputs worked out again after a restart, and found equal."""
        self._compared.inc(count)

    def dead_letter(self, reason: str) -> None:
        """A record went to the dead letters. The reason is for the log, not for a label: it holds the record's text."""
        self._dead.inc()

    def exception(self) -> None:
        """An exception reached the host."""
        self._exceptions.inc()

    def frontier(self, seq: Seq, ts_ns: int, *, waits: bool = True) -> None:
        """Everything below `seq` is done, the last at door time `ts_ns`; `waits`: something lies there to be done."""
        if seq != self._seq or not waits:
            self._seq, self._moved_at = seq, time.monotonic()
        self._waits = waits
        self._epoch.set(seq[0])
        self._number.set(seq[1])
        self._time.set(ts_ns / NS)

    def frontier_age_s(self) -> float:
        """How long something waits and nothing moved; 0 where nothing waits."""
        return time.monotonic() - self._moved_at if self._waits else 0.0

    def lag(self, partition: tuple[str, int], count: int) -> None:
        """Records of a partition that are still to be read."""
        self._lag(partition[0], str(partition[1])).set(count)

    def snapshot_taken(self) -> None:
        """A snapshot was taken just now."""
        self._snapshot_at = time.monotonic()

    def snapshot_age_s(self) -> float:
        """Seconds since the last snapshot, -1 before the first."""
        return -1.0 if self._snapshot_at is None else time.monotonic() - self._snapshot_at

    def latency_order(self, seconds: float) -> None:
        """From a tick's door time to its order leaving, live."""
        self._order.observe(seconds)

    def latency_fill(self, seconds: float) -> None:
        """From a tick's door time to its fill leaving, live."""
        self._fill.observe(seconds)

    def failed(self, why: str) -> None:
        """The service is about to stop: `/health` says why until it has."""
        self._failed = why

    def health(self) -> Health:
        """Whether all is well, and if not, why."""
        age_s = self.frontier_age_s()
        frontier = None if self._seq is None else f"{self._seq[0]}-{self._seq[1]}"
        why = self._failed or ""
        if not why and age_s > self.stale_after_s:
            why = f"something waits behind {frontier}, and nothing has moved for {age_s:.0f} s: look at the services before it"
        return Health(not why, why or "ok", frontier, round(age_s, 3))

    content_type = CONTENT_TYPE_LATEST

    def text(self) -> bytes:
        """All figures, in Prometheus's text form."""
        return generate_latest(self.registry)
