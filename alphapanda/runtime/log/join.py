"""The frontier join: outside events in their one order, each with the inside events that belong to its seq.

A seq is handed out once nothing that belongs before it or to it can still come: every inside partition it joins was
promised past it (for a tick: of the features, only its own partition), and, where a lane has something to decide, the
feedback that is due was promised complete. Door numbers are contiguous; a missing one is believed only when every door
partition was promised past it.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import Event, MarketTick
from alphapanda.core.handler import LaneProtocol, still_unheard
from alphapanda.pipeline import DOOR, FEATURES, Stage
from alphapanda.runtime.log.control import FIRST, Seq, after
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Partition
from alphapanda.runtime.log.reader import PartitionReader


class Joined(NamedTuple):
    """One seq that is ready: the outside event, and what this stage joins to it, all in `pos` order."""

    root: Event
    inputs: list[Event]


class Join:
    """The join of one stage, or of one shard of it."""

    def __init__(
        self, stage: Stage | None, readers: Mapping[Partition, PartitionReader], partitioning: Partitioning,
        listeners: Sequence[LaneProtocol], delay_ns: int,
    ) -> None:  # fmt: skip
        """`stage` None: the whole pipeline, which joins nothing. `listeners` are the lanes that hear feedback."""
        reads, hears = (stage.reads, stage.hears) if stage is not None else ((), ())
        self._partitioning, self._listeners, self._delay_ns = partitioning, listeners, delay_ns
        self._door = [reader for (topic, _), reader in readers.items() if topic in DOOR]
        self._inside = [reader for (topic, _), reader in readers.items() if topic in reads]
        self._for_tick = [
            [reader for reader in self._inside if reader.partition[0] != FEATURES or reader.partition[1] == number]
            for number in range(partitioning.counts[FEATURES])
        ]
        self._late = [reader for (topic, _), reader in readers.items() if topic in hears]
        self._late_topics = hears
        self.roots: dict[Seq, Event] = {}
        self.buffer: dict[Seq, list[Event]] = {}
        self.feedback: deque[Event] = deque()
        self._unsorted = False
        self.frontier: Seq = FIRST

    def receive(self, partition: Partition, event: Event) -> None:
        """Take an event that was heard. Raises ContractError for one whose seq was done."""
        seq = event.pos[:2]
        if partition[0] in self._late_topics:
            self.feedback.append(event)
            self._unsorted = True
        elif seq < self.frontier:
            raise ContractError(
                f"{partition[0]}[{partition[1]}]: {event.id} came after its seq was done; the frontier is {self.frontier}"
            )
        elif partition[0] in DOOR:
            self.roots[seq] = event
        else:
            self.buffer.setdefault(seq, []).append(event)

    def next(self) -> Joined | None:
        """The next seq that is ready, taken out; None where something may still come, or nothing is there."""
        root = self.roots.get(self.frontier)
        if root is None:
            root = self._across_a_hole()
            if root is None:
                return None
        head = self.frontier
        tick = type(root.data) is MarketTick
        awaited = self._for_tick[self._partitioning.of(root)[1]] if tick else self._inside
        for reader in awaited:
            if reader.up_to <= head:
                return None
        inputs = [root, *sorted(self.buffer.get(head, ()), key=_by_pos)]
        if self._must_wait_for_feedback(root, inputs):
            return None
        del self.roots[head]
        self.buffer.pop(head, None)
        self.frontier = after(head)
        return Joined(root, inputs)

    def roots_alone(self, limit: int) -> list[Event]:
        """Up to `limit` next outside events, taken out, for who joins nothing to them: `next` for the whole pipeline."""
        taken: list[Event] = []
        roots = self.roots
        epoch, number = self.frontier
        while len(taken) < limit:
            root = roots.pop((epoch, number), None)
            if root is None:
                self.frontier = epoch, number
                if self._across_a_hole() is None:
                    break
                epoch, number = self.frontier
                continue
            taken.append(root)
            number += 1
        self.frontier = epoch, number
        return taken

    def _across_a_hole(self) -> Event | None:
        """The smallest root behind numbers that will never come."""
        promised = min(reader.up_to for reader in self._door)
        if not self.roots or promised <= self.frontier:
            return None  # as nearly always: it has only not been fetched yet
        head = min(self.roots)
        if promised < head:
            return None
        self.frontier = head  # and passed on: a stage before us may wait for "all below head"
        return self.roots[head]

    def _must_wait_for_feedback(self, root: Event, inputs: list[Event]) -> bool:
        """Whether a lane has something to decide, and feedback that is due may be missing.

        `up_to` alone would serve but wait for the whole pipeline each time; `up_ts_ns` alone waits for ever after a pause
        longer than the delay, when the one who could move it waits for us.
        """
        if not self._late:
            return False
        due_ns, head = root.ts_ns - self._delay_ns, root.pos[:2]
        if all(reader.up_ts_ns > due_ns or reader.up_to >= head for reader in self._late):
            return False
        return any(lane.decides_on(event) and lane.taker(event) is not None for event in inputs for lane in self._listeners)

    def due(self) -> Sequence[Event]:
        """Feedback that some lane is still to hear, in `pos` order."""
        if self._unsorted:
            self.feedback = deque(sorted(self.feedback, key=_by_pos))
            self._unsorted = False
        return self.feedback

    def forget_heard(self) -> None:
        """Let go of feedback that every lane has heard."""
        while self.feedback and not still_unheard(self.feedback[0], self._listeners):
            self.feedback.popleft()

    def state(self) -> dict[str, Any]:
        """What a snapshot keeps."""
        return {"roots": self.roots, "buffer": self.buffer, "feedback": list(self.due()), "frontier": self.frontier}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.roots, self.buffer, self.frontier = dict(state["roots"]), dict(state["buffer"]), state["frontier"]
        self.feedback, self._unsorted = deque(state["feedback"]), False


def _by_pos(event: Event) -> Any:
    return event.pos
