"""Afterwards, read by the one rule: is anything lost, there twice, or different from the replay of what is on the tape?"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec

from alphapanda.adapters.segments import Segments
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.codec import encode
from alphapanda.contracts.events import Event, KillSwitch, Pos, pos_text
from alphapanda.pipeline import DOOR, OUTPUT_TOPICS
from alphapanda.research import recordings
from alphapanda.research.recorded_rooms import making_of, read_json
from alphapanda.research.verify import verify
from alphapanda.runtime.log.compact import compact
from alphapanda.runtime.log.feed import TapeSource
from alphapanda.runtime.log.protocol import Partition
from alphapanda.runtime.log.reader import PartitionReader
from alphapanda.runtime.log.recorder import Recorder
from alphapanda.runtime.log.start import claimed_in
from alphapanda.runtime.replay import Loop
from alphapanda.runtime.replay_run import run_replay
from tests.chaos.operator_desk import Acknowledged
from tests.chaos.points import ROOM_OF
from tests.e2e.session import PATIENCE_S, Session

Lines = list[tuple[Pos, bytes]]
NS_PER_MS = 1_000_000


@dataclass
class Compared:
    """Outputs, or what was recorded, against what should be there."""

    events: int = 0
    lost: int = 0
    duplicate: int = 0
    different: int = 0
    extra: int = 0
    first: str | None = None

    @property
    def wrong(self) -> int:
        """All that is not as it should be."""
        return self.lost + self.duplicate + self.different + self.extra

    def add(self, topic: str, wanted: dict[Pos, bytes], found: Lines) -> None:
        """Compare one topic."""
        self.events += len(wanted)
        twice = [pos for pos, count in Counter(pos for pos, _ in found).items() if count > 1]
        there = dict(found)
        lost = [pos for pos in wanted if pos not in there]
        extra = [pos for pos in there if pos not in wanted]
        different = [pos for pos, line in wanted.items() if there.get(pos, line) != line]
        self.lost, self.duplicate = self.lost + len(lost), self.duplicate + len(twice)
        self.different, self.extra = self.different + len(different), self.extra + len(extra)
        wrong = min([*lost, *twice, *different, *extra], default=None)
        if wrong is not None and self.first is None:
            self.first = f"{topic} {pos_text(wrong)}: wanted {wanted.get(wrong)!r}, found {there.get(wrong)!r}"


@dataclass
class Verdict:
    """What came of it."""

    tape_events: int = 0
    epochs: int = 0
    commands: int = 0  # on the tape
    rows: Compared = field(default_factory=Compared)  # of the door's source, by their place there
    outputs: Compared = field(default_factory=Compared)
    recorded: Compared = field(default_factory=Compared)
    acknowledged_and_lost: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        parts = (self.rows, self.outputs, self.recorded)
        return not (any(part.wrong for part in parts) or self.acknowledged_and_lost or self.other)


def check(session: Session, acknowledged: Sequence[Acknowledged], rooms: Sequence[str], *, recorded: bool) -> Verdict:
    """Compare everything: the outputs of these rooms, and what was recorded where all of it was."""
    verdict = Verdict()
    tape = read_tape(session)
    verdict.tape_events, verdict.epochs = len(tape), len({event.pos[0] for event, _ in tape})
    _check_door(session, verdict, tape, acknowledged)
    wanted = expected(session, [event for event, _ in tape])
    found = {}
    for topic, lines in wanted.items():
        if ROOM_OF[topic] in rooms:
            found[topic] = session.heard(topic)
            verdict.outputs.add(topic, lines, found[topic])
    if recorded:
        _check_recorded(session, verdict, tape, found)
    return verdict


def read_tape(session: Session) -> list[tuple[Event, tuple[int, int] | None]]:
    """Every door event by the one rule, in the one order, with its place in the door's source."""
    found = [one for at in session.partitioning.all(DOOR) for one in _door_events(session, at)]
    return sorted(found, key=lambda one: one[0].pos)


def _door_events(session: Session, at: Partition) -> list[tuple[Event, tuple[int, int] | None]]:
    first, end = session.log.bounds([at])[at]
    reader, found = PartitionReader(at, session.partitioning, claimed_in(session.log), first), []
    source = session.log.reader({at: first}, headers=True)
    while reader.position < end:
        for record in source.poll(PATIENCE_S):
            if (event := reader.take(record).event) is not None:
                epoch, _, number = dict(record.headers).get("row", b"").partition(b"-")
                found.append((event, (int(epoch), int(number)) if number else None))
    source.close()
    return found


def expected(session: Session, tape: Sequence[Event]) -> dict[str, dict[Pos, bytes]]:
    """What the replay loop makes of the tape: topic -> place -> line."""
    rooms = session.container.rooms(session.tape, session.read.specs())
    loop = Loop(rooms.by_stage(), session.settings.pipeline.feedback_delay_ms * NS_PER_MS)
    made: dict[str, dict[Pos, bytes]] = {topic: {} for topic in OUTPUT_TOPICS}
    for root in tape:
        for event in loop.step(root):
            for topic, _ in session.partitioning.with_copies(event):
                made[topic][event.pos] = encode(event)
    return made


def _check_door(
    session: Session, verdict: Verdict, tape: Sequence[tuple[Event, Any]], acknowledged: Sequence[Acknowledged]
) -> None:  # fmt: skip
    """Every row once and as it was, time that does not run back, every acknowledged command."""
    wanted = {(*row.place, 0, 0, 0): _said(row.data) for row in TapeSource(session.tape).rows({}, session.partitioning)}
    verdict.rows.add("rows of the source", wanted, sorted(((*row, 0, 0, 0), _said(event.data)) for event, row in tape if row))
    if any(b.ts_ns < a.ts_ns for (a, _), (b, _) in pairwise(tape)):
        verdict.other.append("door time runs back")
    heard = {event.id: event.data for event, _ in tape}
    verdict.commands = sum(type(data) is KillSwitch for data in heard.values())
    for one in acknowledged:
        data: Any = heard.get(one.id)
        if data is None or (data.engaged, data.reason) != (one.engaged, one.reason):
            verdict.acknowledged_and_lost.append(f"{one}: {data}")


def _said(data: Any) -> bytes:
    """An outside event's data; a tick's time is the door's."""
    return repr({name: value for name, value in msgspec.structs.asdict(data).items() if name != "ts_ns"}).encode()


def _check_recorded(session: Session, verdict: Verdict, tape: Sequence[tuple[Event, Any]], found: dict[str, Lines]) -> None:
    """The recorder kept what was heard; its tape and run are those of a replay; every service says it again."""
    last = Recorder(session.log, session.partitioning, session.recorded)  # started once more, to come to the end
    while last.behind(last.ends()):
        last.step(1.0)
    last.close()
    segments = Segments(session.recorded)
    heard = {**found, **{topic: session.heard(topic) for topic in DOOR}}
    for topic, lines in heard.items():
        verdict.recorded.add(topic, dict(lines), [(pos, line) for pos, line, _ in segments.in_order([topic])])
    made = compact(session.recorded)
    run = run_replay(session.container, Tape.open(made.tape), session.read.specs(), out=session.folder / "runs")
    if run.manifest["digests"] != made.manifest["digests"]:
        verdict.other.append("a replay of the recorded tape has other digests than the recorded run")
    if [encode(event) for event in Tape.open(made.tape).events()] != [encode(event) for event, _ in tape]:
        verdict.other.append("the recorded tape is not what passed the door")
    said = read_json(session.recorded / "session.json")
    making = making_of(session.recorded, said)
    report = verify(
        recordings.isolated(making.rooms), making.feedback_delay_ms, recordings.of_session(session.recorded, said["partitions"])
    )
    if not report.equal or any(one.pending for one in report.services):
        verdict.other.append(f"verify finds differences: {report.as_dict()}")
