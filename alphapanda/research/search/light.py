"""A replay that leaves no folder: the digests of a run, and the frames that its statistics are made of.

Rooms, loop and wire lines are those of `run_replay`; a test holds the digests of both together. What statistics do not
need is hashed and let go.
"""

import gc
import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from alphapanda.adapters.instrument_table import SCHEMA
from alphapanda.adapters.run_folder import EVENTS_A_BATCH, run_digest
from alphapanda.adapters.tape import Seq, Tape
from alphapanda.adapters.topic_files import LINES_A_FRAME, TopicColumns, TopicFiles
from alphapanda.contracts.errors import TapeError
from alphapanda.contracts.events import Event, OrderFill, Payload, PortfolioSnapshot, RejectedSignal, StrategyHalted
from alphapanda.pipeline import FILLED, OUTPUT_TOPICS, SNAPSHOTS, STAGES
from alphapanda.research.runs import Run
from alphapanda.runtime.container import AppContainer, StrategySpec
from alphapanda.runtime.replay import Replay
from alphapanda.runtime.replay_run import Progress, counted, described, drive, start_cold
from alphapanda.runtime.settings import recorded

KEPT: dict[str, type[Payload]] = {FILLED: OrderFill, SNAPSHOTS: PortfolioSnapshot}
"""The topics of which more than the digest is kept."""


class HashedTopic:
    """One topic: its digest so far, and where `columns` are given its events as a frame."""

    def __init__(self, columns: TopicColumns | None) -> None:
        self.columns, self.sha = columns, hashlib.sha256()
        self._texts: list[bytes] = []
        self._lines = 0
        self._frames: list[pl.DataFrame] = []

    def add(self, lines: Sequence[str]) -> None:
        """Take wire lines, in `pos` order."""
        text = "".join(f"{line}\n" for line in lines).encode()
        self.sha.update(text)
        if self.columns is not None:
            self._texts.append(text)
            self._lines += len(lines)
            if self._lines >= LINES_A_FRAME:
                self._make_frame(self.columns)

    def _make_frame(self, columns: TopicColumns) -> None:
        self._frames.append(columns.frame(b"".join(self._texts)))
        self._texts, self._lines = [], 0

    @property
    def frame(self) -> pl.DataFrame:
        """All events, as `Run.topic` reads them. Asked for a topic that is only hashed, it raises KeyError."""
        if self.columns is None:
            raise KeyError("of this topic only the digest was kept")
        if self._lines or not self._frames:
            self._make_frame(self.columns)
        return pl.concat(self._frames)


class HashedTopics(TopicFiles):
    """All output topics, taken as `TopicFiles` takes them, in memory."""

    def __init__(self) -> None:
        kept = {topic: TopicColumns([cls], ()) for topic, cls in KEPT.items()}
        self.topics = {topic: HashedTopic(kept.get(topic)) for topic in OUTPUT_TOPICS}
        self.files = self.topics  # type: ignore[assignment]  # they take lines as files do
        self.counts: dict[type[Payload], int] = dict.fromkeys((cls for stage in STAGES for cls in stage.writes), 0)
        self.refused: Counter[str] = Counter()
        self.halted: list[StrategyHalted] = []
        self._batch: dict[type[Payload], list[Event]] = {cls: [] for cls in self.counts}
        self._waiting = 0

    def write(self, events: list[Event]) -> None:
        """Take events in `pos` order."""
        for event in events:
            self._batch[type(event.data)].append(event)
        self._waiting += len(events)
        if self._waiting >= EVENTS_A_BATCH:
            self._pass_on()

    def _pass_on(self) -> None:
        batch = {cls: events for cls, events in self._batch.items() if events}
        self.refused.update(event.data.reason for event in batch.get(RejectedSignal, ()))  # type: ignore[attr-defined]
        self.halted += [event.data for event in batch.get(StrategyHalted, ())]  # type: ignore[misc]
        for cls, events in batch.items():
            self.counts[cls] += len(events)
            self._batch[cls] = []
        self._waiting = 0
        self.take(batch)

    def close(self) -> dict[str, str]:
        """The digest of each topic."""
        self._pass_on()
        return {topic: one.sha.hexdigest() for topic, one in self.topics.items()}


class LightRun(Run):
    """What a replay left in memory, with the statistics of a run."""

    def __init__(self, manifest: dict[str, Any], topics: HashedTopics, instruments: pl.DataFrame) -> None:
        super().__init__(Path(), manifest)
        self._topics, self._instruments = topics, instruments

    def topic(self, name: str) -> pl.DataFrame:
        """Fills and snapshots; KeyError for others, of which only the digest is kept."""
        return self._topics.topics[name].frame

    @cached_property
    def instruments(self) -> pl.DataFrame:
        """The tape's instruments table."""
        return self._instruments


class Range(NamedTuple):
    """[start, end) on a tape."""

    start: Seq
    end: Seq


def light_replay(
    container: AppContainer, tape: Tape, specs: Sequence[StrategySpec], span: Range, progress: Progress | None = None
) -> LightRun:  # fmt: skip
    """Replay a range of a verified tape. Raises TapeError where it has no tick, and ConfigurationError."""
    strategies, topics = [described(spec) for spec in specs], HashedTopics()
    replay = Replay(container.rooms(tape, specs), container.settings.pipeline.feedback_delay_ms, topics.write)
    is_cold = span.start > tape.seqs[0]
    if is_cold:
        start_cold(replay, tape, span.start)
    gc.freeze()  # what is there by now stays: collecting need not look at it again and again
    try:
        ticks = drive(replay, tape, span.start, span.end, container.settings.replay.batch_rows, progress)
    finally:
        gc.unfreeze()
    if not ticks:
        raise TapeError(f"{tape.path} has no tick from {span.start} to before {span.end}")
    digests = topics.close()
    manifest = {
        "run_id": "", "digests": digests, "digest": run_digest(digests), "strategies": strategies,
        "settings": recorded(container.settings), "counts": counted(topics.counts, topics.refused, ticks),
        "halted": [msgspec.structs.asdict(one) for one in topics.halted], "cold_start": is_cold,
        "tape": {"path": str(tape.path.absolute()), "digest": tape.digest, "zone": tape.profile.zone,
                 "start": list(span.start), "end": list(span.end)},
    }  # fmt: skip
    return LightRun(manifest, topics, instruments_frame(tape))


def instruments_frame(tape: Tape) -> pl.DataFrame:
    """The tape's instruments table."""
    return pl.DataFrame([msgspec.structs.asdict(one) for one in tape.instruments.values()], schema=SCHEMA)
