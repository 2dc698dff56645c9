"""Events of a run on their way out: handed on many at a time, by type."""

from collections import defaultdict

from alphapanda.contracts.events import Event, Payload

EVENTS_A_BATCH = 1_000
"""Small batches stay in the cache."""
Batch = dict[type[Payload], list[Event]]
"""Events by type, each list in `pos` order."""


def by_type(events: list[Event]) -> Batch:
    """Events in `pos` order as a batch."""
    batch: defaultdict[type[Payload], list[Event]] = defaultdict(list)
    for event in events:
        batch[type(event.data)].append(event)
    return dict(batch)
