"""A replay that leaves no folder: the digests of a run, and the frames that its statistics are made of.

Rooms, loop and wire lines are those of `run_replay`; a test holds the digests of both together. What statistics do not
need is hashed and let go.
"""

import gc
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from alphapanda.adapters.event_batch import EVENTS_A_BATCH, by_type
from alphapanda.adapters.instrument_table import instruments_frame
from alphapanda.adapters.run_folder import run_digest
from alphapanda.adapters.tape import Seq, Tape
from alphapanda.adapters.topic_files import Tally, TopicColumns, TopicFiles, TopicLines
from alphapanda.contracts.errors import TapeError
from alphapanda.contracts.events import Event, OrderFill, Payload, PortfolioSnapshot, StrategyHalted
from alphapanda.pipeline import FILLED, OUTPUT_TOPICS, SNAPSHOTS
from alphapanda.research.runs import Run
from alphapanda.runtime.container import AppContainer, StrategySpec
from alphapanda.runtime.replay import Replay
from alphapanda.runtime.replay_run import Progress, counted, described, drive, start_cold
from alphapanda.runtime.settings import recorded

KEPT: dict[str, type[Payload]] = {FILLED: OrderFill, SNAPSHOTS: PortfolioSnapshot}
"""The topics of which more than the digest is kept."""


class HashedTopics(TopicFiles):
    """All output topics, taken as `TopicFiles` takes them, in memory."""

    def __init__(self) -> None:
        kept = {topic: TopicColumns([cls], ()) for topic, cls in KEPT.items()}
        self.topics = {topic: TopicLines(kept.get(topic)) for topic in OUTPUT_TOPICS}
        self.tally = Tally()
        self._waiting: list[Event] = []
        self.halted: list[StrategyHalted] = []

    def write(self, events: list[Event]) -> None:
        """Take events in `pos` order."""
        self._waiting += events
        if len(self._waiting) >= EVENTS_A_BATCH:
            self._pass_on()

    def _pass_on(self) -> None:
        batch, self._waiting = by_type(self._waiting), []
        self.halted += [event.data for event in batch.get(StrategyHalted, ())]  # type: ignore[misc]
        self.take(batch)

    def close(self) -> dict[str, str]:
        """The digest of each topic."""
        self._pass_on()
        return self.digests()

    def frame(self, topic: str) -> pl.DataFrame:
        """All events of a topic, as `Run.topic` reads them. Raises KeyError for one that is only hashed."""
        lines = self.topics[topic]
        lines.finish()
        return pl.concat(lines.frames)


class LightRun(Run):
    """What a replay left in memory, with the statistics of a run."""

    def __init__(self, manifest: dict[str, Any], topics: HashedTopics, instruments: pl.DataFrame) -> None:
        super().__init__(Path(), manifest)
        self._topics, self._instruments = topics, instruments

    def topic(self, name: str) -> pl.DataFrame:
        """Fills and snapshots; KeyError for others, of which only the digest is kept."""
        return self._topics.frame(name)

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
        "settings": recorded(container.settings), "counts": counted(topics.tally, ticks),
        "halted": [msgspec.structs.asdict(one) for one in topics.halted], "cold_start": is_cold,
        "tape": {"path": str(tape.path.absolute()), "digest": tape.digest, "zone": tape.profile.zone,
                 "start": list(span.start), "end": list(span.end)},
    }  # fmt: skip
    return LightRun(manifest, topics, instruments_frame(tape.instruments.values()))
