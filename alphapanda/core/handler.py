"""Lanes and `run_seq`: how one room handles one seq, in every host.

A room is a set of lanes: an instrument in stage 1, a strategy in 2, the whole room in 3 to 5. A lane is a small state
machine without I/O. The order of calls is fixed:

* inputs of a seq come in `pos` order, the root first, and each input goes to every lane that wants it, in lane order;
* just before an event a lane decides on, it hears, in `pos` order, all feedback it wants that was not heard yet and is
  due; events it only notes never wait for feedback;
* outputs are counted per lane from 0, and leave together, sorted by `pos`.
"""

import copy
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol

from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import Event, Payload, Pos

NOT_HEARD: Pos = (0, 0, 0, 0, 0)
Outputs = Iterable[tuple[int, Payload]]


class LaneProtocol(Protocol):
    """What `run_seq` needs of a lane."""

    heard: Pos  # the last feedback taken; state, so that a restart knows it

    def wants(self, event: Event, /) -> bool:
        """Whether `handle` would do anything; must not depend on state."""
        ...

    def decides_on(self, event: Event, /) -> bool:
        """Whether feedback must be heard first (False for what is only noted)."""
        ...

    def handle(self, event: Event, /) -> Outputs:
        """Take the event; give (lane, payload) for each output."""
        ...


class Lane:
    """Base of the rooms' lanes: dispatch by one table, state in one place.

    `table` maps an event's payload type to the name of the method that takes it; `notes` are the types only noted. All
    that changes lives in `self.state`, so a snapshot is a copy of it.
    """

    table: ClassVar[dict[type[Payload], str]] = {}
    notes: ClassVar[frozenset[type[Payload]]] = frozenset()

    def __init__(self, lane: int, state: Any) -> None:
        self.lane, self.state, self.heard = lane, state, NOT_HEARD
        self._methods = {cls: getattr(self, name) for cls, name in self.table.items()}
        self._takes_all = type(self).concerns is Lane.concerns

    def wants(self, event: Event) -> bool:
        """Whether this lane takes events of this type; narrower lanes override `concerns`."""
        return type(event.data) in self._methods and (self._takes_all or self.concerns(event.data))

    def concerns(self, data: Any) -> bool:
        """Whether an event of a type in the table is for this lane."""
        return True

    def decides_on(self, event: Event) -> bool:
        """False for the types in `notes`."""
        return type(event.data) not in self.notes

    def handle(self, event: Event) -> Outputs:
        """Dispatch by type. Raises ContractError for a type that is not in the table."""
        method = self._methods.get(type(event.data))
        if method is None:
            raise ContractError(f"{type(self).__name__} does not take {type(event.data).__name__} ({event.id})")
        return method(event) or ()

    def snapshot(self) -> Any:
        """All state, copied: later events do not change it."""
        return copy.deepcopy((self.heard, self.state))

    def restore(self, snapshot: Any) -> None:
        """Become what the lane was when `snapshot` was taken."""
        self.heard, self.state = copy.deepcopy(snapshot)


class Outbox:
    """Outputs of one seq in one stage: gives each its `pos`, `id`, `ts` and cause."""

    __slots__ = ("_counts", "_prefix", "_seq", "_ts_ns", "events")

    def __init__(self, root_pos: Pos, ts_ns: int, rank: int) -> None:
        epoch, number = root_pos[:2]
        self._seq, self._ts_ns, self._prefix = (epoch, number, rank), ts_ns, f"{epoch}-{number}-{rank}-"
        self._counts: dict[int, int] = {}
        self.events: list[Event] = []

    def put(self, cause: Event, outputs: Outputs) -> None:
        """Stamp what one call of a lane gave."""
        for lane, data in outputs:
            n = self._counts.get(lane, 0)
            self._counts[lane] = n + 1
            event_id = f"{self._prefix}{lane}-{n}"  # as pos_text would write it
            self.events.append(Event((*self._seq, lane, n), event_id, self._ts_ns, cause.id, data))

    def in_order(self) -> list[Event]:
        """The outputs, sorted by `pos`."""
        if len(self._counts) > 1:
            self.events.sort(key=_by_pos)
        return self.events


def _by_pos(event: Event) -> Pos:
    return event.pos


def run_seq(
    rank: int, lanes: Sequence[LaneProtocol], inputs: Sequence[Event], feedback: Sequence[Event], due_ts_ns: int
) -> list[Event]:
    """All that one room does for one seq.

    `inputs` are the seq's events this room reads, in `pos` order; `feedback` is in `pos` order too, so its times never
    fall, and holds at least what some lane has not heard. `due_ts_ns` is the root's time less the feedback delay.
    Returns the outputs in `pos` order.
    """
    root = inputs[0]
    outbox = Outbox(root.pos, root.ts_ns, rank)
    for event in inputs:
        for lane in lanes:
            if not lane.wants(event):
                continue
            if feedback and lane.decides_on(event):
                _hear(lane, feedback, due_ts_ns, outbox)
            outbox.put(event, lane.handle(event))
    return outbox.in_order()


def _hear(lane: LaneProtocol, feedback: Sequence[Event], due_ts_ns: int, outbox: Outbox) -> None:
    for told in feedback:
        if told.ts_ns > due_ts_ns:
            return
        if told.pos > lane.heard and lane.wants(told):
            lane.heard = told.pos
            outbox.put(told, lane.handle(told))


def still_unheard(event: Event, lanes: Sequence[LaneProtocol]) -> bool:
    """Whether some lane is still to hear this feedback."""
    return any(event.pos > lane.heard and lane.wants(event) for lane in lanes)
