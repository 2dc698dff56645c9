"""Lanes and `run_seq`: how one room handles one seq, in every host.

A room is a set of lanes: an instrument in stage 1, a strategy in 2, the whole room in 3 to 5. A lane is a small state
machine without I/O. The order of calls is fixed:

* inputs of a seq come in `pos` order, the root first, and each input goes to every lane that wants it, in lane order;
* just before an event a lane decides on, it hears, in `pos` order, all feedback it wants that was not heard yet and is
  due; events it only notes never wait for feedback;
* outputs are counted per lane from 0, and leave together, sorted by `pos`.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

from mypy_extensions import mypyc_attr

from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import FEEDBACK_EVENTS, Event, Payload, Pos

NOT_HEARD: Pos = (0, 0, 0, 0, 0)
Outputs = Sequence[tuple[int, Payload]]
"""(lane, payload) of each output."""
Taker = Callable[[Event], Outputs]


class LaneProtocol(Protocol):
    """What `run_seq` needs of a lane."""

    heard: Pos  # the last feedback taken; state, so that a restart knows it

    def taker(self, event: Event, /) -> "Taker | None":
        """What takes the event and gives its outputs; None where nothing would be done. Must not depend on state."""
        ...

    def decides_on(self, event: Event, /) -> bool:
        """Whether feedback must be heard first (False for what is only noted)."""
        ...


@mypyc_attr(allow_interpreted_subclasses=True)
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

    @property
    def hears(self) -> bool:
        """Whether it takes feedback of any kind."""
        return any(cls in self._methods for cls in FEEDBACK_EVENTS)

    def taker(self, event: Event) -> Taker | None:
        """The method for events of this type; narrower lanes override `concerns`."""
        method = self._methods.get(type(event.data))
        return method if method is None or self._takes_all or self.concerns(event.data) else None

    def concerns(self, data: Any) -> bool:
        """Whether an event of a type in the table is for this lane."""
        return True

    def decides_on(self, event: Event) -> bool:
        """False for the types in `notes`."""
        return type(event.data) not in self.notes

    def handle(self, event: Event) -> Outputs:
        """Dispatch by type. Raises ContractError for what this lane does not take."""
        method = self.taker(event)
        if method is None:
            raise ContractError(f"{type(self).__name__} does not take {type(event.data).__name__} ({event.id})")
        return method(event)

    def hear(self, told: Event) -> None:
        """Take feedback that this lane only notes. Raises ContractError where it has something to say to it, or takes none."""
        self.heard, take = told.pos, self.taker(told)
        if take is None or take(told):
            what = "does not take" if take is None else "speaks on"
            raise ContractError(f"{type(self).__name__} {what} feedback ({told.id}): hosts would lose what it says")

    def snapshot(self) -> Any:
        """All state, copied: later events do not change it."""
        return copy.deepcopy((self.heard, self.state))

    def restore(self, snapshot: Any) -> None:
        """Become what the lane was when `snapshot` was taken."""
        self.heard, self.state = copy.deepcopy(snapshot)


def run_seq(
    rank: int, lanes: Sequence[LaneProtocol], inputs: Sequence[Event], feedback: Sequence[Event], due_ts_ns: int
) -> list[Event]:
    """All that one room does for one seq.

    `inputs` are the seq's events this room reads, in `pos` order, less those that no lane takes; `feedback` is in `pos`
    order too, so its times never fall, and holds at least what some lane has not heard. `due_ts_ns` is the root's time
    less the feedback delay. Returns the outputs in `pos` order.
    """
    said: list[tuple[Event, Outputs]] = []
    due = bool(feedback) and feedback[0].ts_ns <= due_ts_ns
    for event in inputs:
        for lane in lanes:
            take = lane.taker(event)
            if take is None:
                continue
            if due and lane.decides_on(event):
                _hear(lane, feedback, due_ts_ns, said)
            if outputs := take(event):
                said.append((event, outputs))
    if len(said) == 1:
        ((cause, outputs),) = said
        return said_of(inputs[0], rank, cause, outputs)
    return stamped(inputs[0], rank, said) if said else []


def _hear(lane: LaneProtocol, feedback: Sequence[Event], due_ts_ns: int, said: list[tuple[Event, Outputs]]) -> None:
    for told in feedback:
        if told.ts_ns > due_ts_ns:
            return
        if told.pos > lane.heard and (take := lane.taker(told)) is not None:
            lane.heard = told.pos
            if outputs := take(told):
                said.append((told, outputs))


def stamped(root: Event, rank: int, said: Sequence[tuple[Event, Outputs]]) -> list[Event]:
    """What the lanes of a stage said in one seq, each with its cause, as events in `pos` order.

    `root` is the event that the seq is of, or any other of its events.
    """
    (epoch, number, _, _, _), ts_ns = root.pos, root.ts_ns
    counts: dict[int, int] = {}
    events: list[Event] = []
    for cause, outputs in said:
        for lane, data in outputs:
            n = counts.get(lane, 0)
            counts[lane] = n + 1
            events.append(Event((epoch, number, rank, lane, n), ts_ns, cause.pos, data))
    if len(counts) > 1:
        events.sort(key=_by_pos)
    return events


def said_of(root: Event, rank: int, cause: Event, outputs: Outputs) -> list[Event]:
    """The same of one cause."""
    if len(outputs) != 1:
        return stamped(root, rank, ((cause, outputs),)) if outputs else []
    ((lane, data),) = outputs  # as nearly always
    pos = root.pos
    return [Event((pos[0], pos[1], rank, lane, 0), root.ts_ns, cause.pos, data)]


def said_of_each(
    root: Event, rank: int, events: Sequence[Event], kind: type[Payload], take: Callable[[Event], Outputs]
) -> list[Event]:  # fmt: skip
    """The same of the events of one type: `run_seq` of a stage with one lane, taking only these, and having heard what is due."""
    if len(events) == 1:
        event = events[0]
        return said_of(root, rank, event, take(event)) if type(event.data) is kind else []
    return stamped(root, rank, [(event, take(event)) for event in events if type(event.data) is kind])


def _by_pos(event: Event) -> Pos:
    return event.pos


def still_unheard(event: Event, lanes: Sequence[LaneProtocol]) -> bool:
    """Whether some lane is still to hear this feedback."""
    for lane in lanes:  # noqa: SIM110  # `any` would cost more than the question
        if event.pos > lane.heard and lane.taker(event) is not None:
            return True
    return False
