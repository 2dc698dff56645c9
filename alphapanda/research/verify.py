"""Verify: does every service, given the inputs that were recorded, say again what was recorded of it?

Each outside event in turn goes to each stage, with the recorded events of its seq that the stage reads, and the recorded
feedback by the late rule; what its fresh lanes make is held against what was recorded of that stage in that seq, event by
event. Stages hear what was RECORDED, never what another stage makes here: so a handler that changed shows in its own
service alone, and not in all that follow.

Dead letters are inputs too: a door record that could not be read counts as heard, nobody takes it, and each service that
reads its topic must have kept it. Compared are a letter's place, key and value; the reason is a text for people.

Recorded topics are merged by `pos`; in memory are one seq, the feedback that some lane is still to hear, and the counts.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from typing import NamedTuple

import msgspec

from alphapanda.contracts.codec import encode
from alphapanda.contracts.events import Event, MarketTick, OrderFill, Pos, pos_text
from alphapanda.core.handler import LaneProtocol, run_seq, still_unheard
from alphapanda.pipeline import COPIES, DOOR, FEEDBACK, FILLED, OUTPUT_TOPICS, TOPIC_OF, Stage
from alphapanda.research.verdict import Counts, Divergence, Link, Report, ServiceReport, place_of

NS_PER_MS = 1_000_000
LONGEST_CHAIN = 64
COPIED = frozenset(COPIES.values())
Seq = tuple[int, int]
LaneRooms = Sequence[tuple[Stage, Sequence[LaneProtocol]]]


class Recorded(NamedTuple):
    """One event as it was recorded. `line` None: its columns were kept and not its bytes, so values are compared."""

    event: Event
    line: bytes | None


class Letter(NamedTuple):
    """A record that could not be read: where it lay, and a digest of its key and value."""

    topic: str
    partition: int
    offset: int
    digest: bytes


@dataclass(frozen=True)
class Recording:
    """A session as it was recorded."""

    topics: Mapping[str, Iterable[Recorded]]  # door and output topics, each in `pos` order; one that is not there is empty
    done: Mapping[str, Seq] = field(default_factory=dict)  # room -> it promised all below; a room that is not there: all
    letters: Callable[[], Mapping[str, tuple[list[Letter], list[Letter]]]] = dict
    """Room -> (what it must have kept, what it kept), asked for when all topics were read to their ends."""
    grows: bool = False  # outputs may be there before their outside events, at the end


def verify(rooms: LaneRooms, feedback_delay_ms: int, recording: Recording) -> Report:
    """Re-execute every service from its recorded inputs. `rooms` are fresh, and share nothing that changes.

    Raises what the recording raises where it cannot be read.
    """
    check = _Check(rooms, feedback_delay_ms * NS_PER_MS, recording.done)
    inside = _Inside(recording.topics)
    roots = merge(*(recording.topics.get(topic, ()) for topic in DOOR), key=_pos)
    for root in roots:
        for orphans in inside.before(root.event.pos[:2]):
            check.orphans(orphans)
        check.seq(root, inside.of(root.event.pos[:2]))
    if not recording.grows:
        for orphans in inside.before(None):
            check.orphans(orphans)
    letters = recording.letters()
    for report in check.report.services:
        if report.service in letters:
            _compare_letters(report, *letters[report.service], finished=report.pending == 0)
    return check.report


def _pos(recorded: Recorded) -> Pos:
    return recorded.event.pos


Told = list[tuple[str, Recorded]]
"""Recorded events of one seq with their topics, in `pos` order."""


class _Inside:
    """All recorded outputs, a seq at a time."""

    def __init__(self, topics: Mapping[str, Iterable[Recorded]]) -> None:
        named = (self._named(topic, topics[topic]) for topic in OUTPUT_TOPICS if topic in topics)
        self._events = merge(*named, key=lambda one: one[1].event.pos)
        self._next = next(self._events, None)

    @staticmethod
    def _named(topic: str, events: Iterable[Recorded]) -> Iterator[tuple[str, Recorded]]:
        return ((topic, one) for one in events)

    def of(self, seq: Seq) -> Told:
        """What was recorded of this seq."""
        found: Told = []
        while self._next is not None and self._next[1].event.pos[:2] == seq:
            found.append(self._next)
            self._next = next(self._events, None)
        return found

    def before(self, seq: Seq | None) -> Iterator[Told]:
        """Seqs below this one, all for None: their outside event was not recorded."""
        while self._next is not None and (seq is None or self._next[1].event.pos[:2] < seq):
            yield self.of(self._next[1].event.pos[:2])


class _Service:
    """One stage: its lanes, what they are still to hear, and how it does."""

    def __init__(self, stage: Stage, lanes: Sequence[LaneProtocol], done: Seq | None) -> None:
        self.stage, self.lanes, self.done = stage, lanes, done
        self.reads = frozenset(stage.reads)
        self.unheard: deque[Event] = deque()
        self._by_token = {lane.lane: [lane] for lane in lanes} if stage.rank == 1 else None  # type: ignore[attr-defined]
        made = dict.fromkeys(stage.writes.values())
        topics = [*made, *COPIES.values()] if FILLED in made else list(made)
        self.report = ServiceReport(stage.room, {topic: Counts() for topic in topics})

    def make(self, root: Event, told: Told, due_ts_ns: int) -> list[Event]:
        """What it says in this seq, given what was recorded."""
        inputs = [root, *(one.event for topic, one in told if topic in self.reads)] if told else [root]
        lanes = self.lanes
        if self._by_token is not None and type(root.data) is MarketTick:  # an instrument's lane takes no other's ticks
            lanes = self._by_token.get(root.data.instrument_token, ())
        return run_seq(self.stage.rank, lanes, inputs, self.unheard, due_ts_ns)

    def is_done(self, seq: Seq) -> bool:
        """Whether all its outputs of this seq were recorded, and it can still say more here."""
        return self.report.failed is None and (self.done is None or seq < self.done)

    def forget(self) -> None:
        """Let go of what all lanes have heard."""
        while self.unheard and not still_unheard(self.unheard[0], self.lanes):
            self.unheard.popleft()


class _Check:
    """The walk over all seqs."""

    def __init__(self, rooms: LaneRooms, delay_ns: int, done: Mapping[str, Seq]) -> None:
        self._delay_ns = delay_ns
        self.services = [_Service(stage, lanes, done.get(stage.room)) for stage, lanes in rooms]
        self.report = Report(services=[one.report for one in self.services])
        self._chains: dict[Pos, list[Link]] = {}  # of the feedback that some lane is still to hear

    def seq(self, root: Recorded, told: Told) -> None:
        """One seq through all services, each by itself."""
        event, report = root.event, self.report
        report.roots += 1
        report.unreadable += type(event.data) not in TOPIC_OF
        due_ts_ns = event.ts_ns - self._delay_ns
        for service in self.services:
            if not service.is_done(event.pos[:2]):
                service.report.pending += service.report.failed is None
                continue
            try:
                made = service.make(event, told, due_ts_ns)
            except Exception as error:  # noqa: BLE001  # whatever a changed handler raises is a finding; the others go on
                service.report.failed = f"{type(error).__name__} at {event.id}: {error}"
                continue
            if made or told:
                self._compare(service, made, told, root)
            if service.unheard and service.unheard[0].ts_ns <= due_ts_ns:
                service.forget()
        if told:
            self._tell(root, told)

    def orphans(self, told: Told) -> None:
        """Outputs of a seq whose outside event is not there."""
        for service in self.services:
            if service.is_done(told[0][1].event.pos[:2]):
                self._compare(service, [], told, None)

    def _compare(self, service: _Service, made: Sequence[Event], told: Told, root: Recorded | None) -> None:
        topics = service.report.topics
        recorded = {(topic, one.event.pos): one for topic, one in told if topic in topics}
        for event in made:
            for topic in _topics_of(event):
                counts, one = topics[topic], recorded.pop((topic, event.pos), None)
                if one is None:
                    counts.missing += 1
                    self._note(service, topic, "missing", None, event, told, root)
                    continue
                counts.events += 1
                if (one.event == event) if one.line is None else (one.line == encode(event)):
                    counts.equal += 1
                else:
                    counts.different += 1
                    self._note(service, topic, "different", one, event, told, root)
        for (topic, _), one in recorded.items():
            topics[topic].events += 1
            topics[topic].extra += 1
            self._note(service, topic, "extra", one, None, told, root)

    def _note(
        self, service: _Service, topic: str, kind: str, one: Recorded | None, event: Event | None, told: Told,
        root: Recorded | None,
    ) -> None:  # fmt: skip
        """Keep the first difference of a service: seqs come in order, but within one, topics do not."""
        first, ours = service.report.first, event if event is not None else one.event  # type: ignore[union-attr]
        if first is not None and place_of(first)[1] <= ours.pos:
            return
        known = self._known(root, told)
        service.report.first = Divergence(
            service.report.service, topic, ours.id, kind, None if one is None else _text(one),
            None if event is None else encode(event).decode(),
            [] if one is None or event is None else _differing(one.event, event), self._chain(ours.cause, known),
        )  # fmt: skip

    def _known(self, root: Recorded | None, told: Told) -> dict[Pos, tuple[str, Recorded]]:
        known = {one.event.pos: (topic, one) for topic, one in told if topic not in COPIED}
        if root is not None:
            known[root.event.pos] = TOPIC_OF.get(type(root.event.data), "the door"), root
        return known

    def _chain(self, cause: Pos | None, known: Mapping[Pos, tuple[str, Recorded]]) -> list[Link]:
        """The causes from this one back to what came from outside; the nearest of a very long chain."""
        chain: list[Link] = []
        while cause is not None and len(chain) < LONGEST_CHAIN:
            if cause in self._chains:
                return [*chain, *self._chains[cause]][:LONGEST_CHAIN]
            if cause not in known:
                return [*chain, Link(pos_text(cause), None, None)]
            topic, one = known[cause]
            chain.append(Link(one.event.id, topic, _text(one)))
            cause = one.event.cause
        return chain

    def _tell(self, root: Recorded, told: Told) -> None:
        """Hand on the feedback of a seq that is over, by the late rule."""
        known: dict[Pos, tuple[str, Recorded]] | None = None
        for topic, one in told:
            if topic not in FEEDBACK:
                continue
            hearing = [service for service in self.services if service.stage.hears and still_unheard(one.event, service.lanes)]
            for service in hearing:
                service.unheard.append(one.event)
            if hearing:
                known = known or self._known(root, told)
                self._chains[one.event.pos] = self._chain(one.event.pos, known)
        waiting = [service.unheard[0].pos for service in self.services if service.unheard]
        if self._chains:
            floor = min(waiting, default=None)
            while self._chains and (floor is None or next(iter(self._chains)) < floor):
                del self._chains[next(iter(self._chains))]


def _topics_of(event: Event) -> tuple[str, ...]:
    topic = TOPIC_OF[type(event.data)]
    return (topic, COPIES[event.data.exec_mode]) if type(event.data) is OrderFill else (topic,)


def _text(one: Recorded) -> str:
    """The line, made anew where it was not kept, and said otherwise where the record could not be read."""
    if one.line is not None:
        return one.line.decode(errors="backslashreplace")
    return encode(one.event).decode() if type(one.event.data) in TOPIC_OF else repr(one.event.data)


def _differing(a: Event, b: Event) -> list[str]:
    """The names of the fields in which two events differ; `type` where they are of two kinds."""
    if type(a.data) is not type(b.data):
        return ["type"]
    heads = [name for name in ("ts_ns", "cause") if getattr(a, name) != getattr(b, name)]
    x, y = msgspec.structs.asdict(a.data), msgspec.structs.asdict(b.data)
    return [*heads, *(name for name in x if x[name] != y[name])] or ["the line's bytes alone"]


def _compare_letters(report: ServiceReport, wanted: list[Letter], kept: list[Letter], *, finished: bool) -> None:
    """A service that is not at the end may not have come to a record yet: what it has not kept is no difference then."""
    topic = f"{report.service}.dlq"
    counts = report.topics.setdefault(topic, Counts())
    counts.events = len(kept)
    left = {one[:3]: one for one in kept}
    for one in wanted:
        other = left.pop(one[:3], None)
        kind = "missing" if other is None else "equal" if other.digest == one.digest else "different"
        if kind == "missing" and not finished:
            continue
        setattr(counts, kind, getattr(counts, kind) + 1)
        _note_letter(report, topic, kind, one)
    for one in left.values():
        counts.extra += 1
        _note_letter(report, topic, "extra", one)


def _note_letter(report: ServiceReport, topic: str, kind: str, one: Letter) -> None:
    if kind != "equal" and report.first is None:
        report.first = Divergence(report.service, topic, f"{one.topic}/{one.partition}/{one.offset}", kind, None, None, [], [])
