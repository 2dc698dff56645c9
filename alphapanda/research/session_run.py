"""A recorded session as a run, also while it grows: what its segments hold at the moment when it is opened.

`load` again to see what came since. Once the session was compacted, and holds nothing newer, its run is opened instead.
"""

import hashlib
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from alphapanda.adapters.run_folder import run_digest
from alphapanda.adapters.segments import Segment, Segments
from alphapanda.adapters.topic_files import TopicColumns
from alphapanda.contracts import events as e
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.events import OrderFill, Payload
from alphapanda.pipeline import COPIES, DOOR, OUTPUT_TOPICS, REJECTED, STAGES, TICKS
from alphapanda.research.order_history import WORKING_STATES
from alphapanda.research.runs import Run

RECORDED = (*DOOR, *OUTPUT_TOPICS)
_NS = 1_000_000_000
_COUNTED: dict[str, type[Payload]] = {
    "bars": e.Bar, "features": e.FeatureSet, "signals": e.TradingSignal, "validated": e.ValidatedSignal,
    "orders": e.OrderPlaced, "fills": e.OrderFill, "cancelled": e.OrderCancelled, "failed": e.OrderFailed,
    "halted": e.StrategyHalted, "snapshots": e.PortfolioSnapshot,
}  # fmt: skip


class SessionRun(Run):
    """A run whose topics are read from segments."""

    def __init__(self, folder: Path, session: dict[str, Any], segments: Segments) -> None:
        self._segments, self._features = segments, tuple(session["features"])
        self._frame = cache(self._read)
        super().__init__(folder, _manifest(folder, session, segments))
        self.manifest["open_orders"] = self._open_orders()

    def topic(self, name: str) -> pl.DataFrame:
        """The events of one output topic so far, in `pos` order."""
        if name not in OUTPUT_TOPICS:
            raise AlphaPandaError(f"{name!r} is not an output topic: there are {', '.join(OUTPUT_TOPICS)}")
        return self._frame(name)

    def _read(self, name: str) -> pl.DataFrame:
        columns = TopicColumns(_payloads(name), self._features)
        frames = [columns.frame(_text(frame)) for frame in self._segments.frames(name)]
        return pl.concat(frames) if frames else columns.frame(b"")

    def _open_orders(self) -> int:
        return self.orders.filter(pl.col("state").is_in(WORKING_STATES)).height


def open_session(folder: Path) -> Run:
    """The session's run if it was compacted since the last segment, else what its segments hold."""
    try:
        session = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise AlphaPandaError(f"{folder / 'session.json'} is damaged: {error}") from error
    segments = Segments(folder)
    ranges = segments.ranges(RECORDED)
    for path in sorted(folder.glob("run_id=*")):
        run = Run.open(path)
        if run.manifest["session"]["ranges"] == ranges:
            return run
    return SessionRun(folder, session, segments)


def _payloads(topic: str) -> list[type[Payload]]:
    if topic in COPIES.values():
        return [OrderFill]
    return [cls for stage in STAGES for cls, made in stage.writes.items() if made == topic]


def _text(frame: pl.DataFrame) -> bytes:
    return b"".join(line + b"\n" for line in frame["line"].to_list())


def _manifest(folder: Path, session: dict[str, Any], segments: Segments) -> dict[str, Any]:
    """What a run's manifest says, so far."""
    digests, types, refused = {}, Counter[str](), Counter[str]()
    for topic in OUTPUT_TOPICS:
        sha = hashlib.sha256()
        for frame in segments.frames(topic):
            sha.update(_text(frame))
            if topic not in COPIES.values():
                types.update(_found(frame, r'^\{"type":"(\w+)"'))
            if topic == REJECTED:
                refused.update(_found(frame, '"reason":"([^"]*)"'))
        digests[topic] = sha.hexdigest()
    market, ticks = session["market"], sum(one.events for part in segments.of([TICKS]).values() for one in part)
    first_ns, last_ns = _span(segments)
    seconds, digest = (last_ns - first_ns) / _NS, run_digest(digests)
    return {
        "run_id": session["name"], "created": session["created"], "kind": "session", "version": session["version"],
        "git_revision": session["git_revision"],
        "tape": {"path": str(folder), "digest": None, "profile": market["profile"], "zone": market["zone"], "start": None,
                 "end": None, "beat_interval_s": market["beat_interval_s"], "columns": market["columns"]},
        "currency": session["currency"], "cold_start": False, "strategies": session["strategies"],
        "settings": session["settings"], "charges_version": session["charges_version"], "seed": None, "digests": digests,
        "digest": digest,
        "counts": {"ticks": ticks, **{name: types[cls.__name__] for name, cls in _COUNTED.items()},
                   "rejected": dict(sorted(refused.items()))},
        "warm_up": [], "seconds": round(seconds, 6), "ticks_per_s": round(ticks / seconds) if seconds else 0, "peak_rss_mb": None,
        "session": {"name": session["name"], "prefix": session["prefix"], "ranges": segments.ranges(RECORDED), "complete": False},
    }  # fmt: skip


def _found(frame: pl.DataFrame, pattern: str) -> dict[str, int]:
    """How often each text was found in the lines by the pattern's group."""
    counts = frame["line"].cast(pl.String).str.extract(pattern).value_counts(name="count")
    return {text: count for text, count in counts.iter_rows() if text is not None}


def _span(segments: Segments) -> tuple[int, int]:
    """Door times of the first event and the last."""
    firsts, lasts = [], []
    for part in segments.of(DOOR).values():
        firsts += next(filter(None, map(_times, part)), [])[:1]
        lasts += next(filter(None, map(_times, reversed(part))), [])[-1:]
    return min(firsts, default=0), max(lasts, default=0)


def _times(segment: Segment) -> list[int]:
    return pl.read_parquet(segment.path, columns=["ts_ns"])["ts_ns"].drop_nulls().to_list()
