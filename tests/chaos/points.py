"""Where a service can be made to die: between any two effects of sending, acknowledging and saving."""

from alphapanda.pipeline import PIPELINE
from alphapanda.runtime.log.reader import RANKS
from tests.e2e.session import FEED, ROOMS

RECORDER = "recorder"
SERVICES = (FEED, *ROOMS, RECORDER)
ROOM_OF = {topic: PIPELINE[rank].room for topic, rank in RANKS.items()}
"""Topic -> the service that writes it."""
ANY_TIME = "any time"
"""A kill from outside, wherever the process stands."""
_SENDING = ("before send", "after send", "after serve", "after take")
_FLUSHING = ("before flush", "after flush")
_COMMITTING = ("before commit", "after commit")
_SAVING = ("snapshot written", "snapshot synced", "snapshot renamed", "snapshot in place")
_SEGMENTS = ("segment written", "segment synced", "segment in place", "folder synced", "offsets committed")
AT_OPENING = ("before claim", "after claim", "before flush", "after flush")
"""Of the door: it does these when it opens, so they are ordered at its start."""
POINTS: dict[str, tuple[str, ...]] = {
    FEED: (*_SENDING, *AT_OPENING),
    **dict.fromkeys(ROOMS, (*_SENDING, *_FLUSHING, *_SAVING, *_COMMITTING)),
    RECORDER: ("after take", *_SEGMENTS, *_COMMITTING),
}
"""Service -> its crash points. A point's name is what was done before it, or what would be done next."""
MOST = {"before send": 60, "after send": 60, "after serve": 20, "after take": 200}
"""At which time of passing a point the process dies, at most; else the second."""
