"""Events of a run on their way out: collected by type, counted, and handed on many at a time."""

from collections import Counter

from alphapanda.contracts.events import Event, Payload, RejectedSignal
from alphapanda.pipeline import STAGES

EVENTS_A_BATCH = 1_000
"""Small batches stay in the cache."""


class EventBatch:
    """What waits, and what there was so far."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()  # signals that risk refused, by reason
        self.counts: dict[type[Payload], int] = dict.fromkeys((cls for stage in STAGES for cls in stage.writes), 0)
        self.waiting = 0
        self._batch: dict[type[Payload], list[Event]] = {cls: [] for cls in self.counts}

    def add(self, events: list[Event]) -> int:
        """Take events in `pos` order; returns how many wait."""
        for event in events:
            self._batch[type(event.data)].append(event)
        self.waiting += len(events)
        return self.waiting

    def taken(self) -> dict[type[Payload], list[Event]]:
        """The events that wait, by type, counted and let go."""
        batch = {cls: events for cls, events in self._batch.items() if events}
        self.refused.update(event.data.reason for event in batch.get(RejectedSignal, ()))  # type: ignore[attr-defined]
        for cls, events in batch.items():
            self.counts[cls] += len(events)
            self._batch[cls] = []
        self.waiting = 0
        return batch
