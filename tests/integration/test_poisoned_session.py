"""Bad records in the middle of a running session: what each service makes of them, and that nothing after them is lost."""

import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alphapanda.adapters import kafka_topics
from alphapanda.adapters.kafka_log import KafkaLog
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.codec import encode
from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import Event, MarketTick
from alphapanda.pipeline import DOOR, STAGES
from alphapanda.research import recordings
from alphapanda.research.verdict import Report
from alphapanda.research.verify import verify
from alphapanda.runtime.container import AppContainer, named
from alphapanda.runtime.log.dead_letters import read_dead_letters
from alphapanda.runtime.log.protocol import Partition
from alphapanda.runtime.log.reader import RANKS
from alphapanda.runtime.log.settings import KafkaSettings
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.tape_make import make_tape
from strategies.pairs import Pairs
from tests import poison
from tests.log_session import ROOMS, LogSession
from tests.strategies_for_tests import Inventory, Turner

pytestmark = pytest.mark.untraced

READERS = {topic: [stage.room for stage in STAGES if topic in (*DOOR, *stage.reads, *stage.hears)] for topic in poison.TOPICS}
HARMLESS = [kind for kind in poison.POISONS if kind not in (*poison.HAS_NO_POS, *poison.CANNOT_STAND)]


def specs() -> Any:
    return named([Turner(), Pairs(symbols=("BANYAN", "CEDAR"), window=20, entry_bps=5), Inventory(symbols=("NEEM",))])


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    folder = tmp_path_factory.mktemp("tape") / "tape"
    make_tape(folder, ticks=600, instruments=4)
    return Tape.open(folder)


@pytest.fixture(scope="module")
def events(tape: Tape) -> list[Event]:
    """The first ticks of the day, and what comes between them."""
    found, ticks = [], 0
    for event in tape.events():
        ticks += type(event.data) is MarketTick
        if type(event.data).__name__ != "Beat" or event.pos[1] % 20 == 0:
            found.append(event)
        if ticks == 300:
            break
    return found


@pytest.fixture
def container(tmp_path: Path) -> AppContainer:
    return AppContainer(load_settings({"risk.max_gross_exposure": 2_000, "storage.snapshots": tmp_path / "snapshots"}))


Begin = Callable[..., LogSession]


@pytest.fixture
def begin(tmp_path: Path, container: AppContainer, tape: Tape) -> Iterator[Begin]:
    """Begins a session; what it leaves open is let go of."""
    begun: list[LogSession] = []

    def begin(*services: str) -> LogSession:
        begun.append(LogSession(tmp_path / "log", container, tape, specs, services or ROOMS))
        return begun[-1]

    yield begin
    for session in begun:
        session.log.close()


def verified(session: LogSession, *, one_process: bool = False) -> Report:
    rooms = recordings.isolated(lambda: session.container.rooms(session.tape, specs()))
    recording = recordings.LogRecording(session.log, one_process=one_process).recording()
    return verify(rooms, session.container.settings.pipeline.feedback_delay_ms, recording)


def letters(session: LogSession) -> dict[str, list[tuple[str, int, int, bytes]]]:
    """What each service kept."""
    found = {}
    for room in ROOMS:
        if kept := [(*one.place, one.value) for one in read_dead_letters(session.log, room)]:
            found[room] = kept
    return found


def bad(session: LogSession, topic: str, kind: str) -> tuple[Partition, bytes]:
    """A bad record that could be the next of this topic."""
    epoch, number = session.door.next_seq
    if topic in DOOR:  # as if the door itself had written it: the number is spent
        session.door._number += 1
    value = poison.POISONS[kind](topic, number).replace(b'"id":"1-', b'"id":"%d-' % epoch)
    return poison.place(session.partitioning, topic), value


def test_a_session_is_verified_from_its_log(begin: Begin, events: list[Event]) -> None:
    """Five services, each from the topics it read; all of it is promised when they have stopped."""
    session = begin()
    session.play(events)
    session.settle()
    report = verified(session)
    assert (report.equal, report.idle, report.roots) == (True, [], len(events))
    assert [one.pending for one in report.services] == [0] * 5
    assert min(one.total.equal for one in report.services) > 20


def test_a_session_is_verified_from_a_broker(kafka: str, events: list[Event], tape: Tape, container: AppContainer) -> None:
    """With a bad record in it, and everything read twice: once by the services, once by `verify`."""
    settings, prefix = KafkaSettings(bootstrap_servers=kafka, fetch_wait_ms=5), f"verify.{uuid.uuid4().hex[:8]}."
    kafka_topics.create(settings, prefix, old_times=True)
    session = LogSession(KafkaLog(settings, prefix), container, tape, specs)
    session.play(events[:100])
    session.settle(0.05)
    partition, value = bad(session, "trading.signals.validated", "unknown version")
    session.inject(partition, value)
    session.play(events[100:])
    session.settle(0.05)
    for worker in session.workers.values():
        worker.close()
    report, kept = verified(session), letters(session)
    session.door.close()
    session.log.close()
    assert (report.equal, report.idle, report.roots, list(kept)) == (True, [], len(events), ["trading_engine"])
    assert [one.pending for one in report.services] == [0] * 5


def test_one_process_writes_what_five_would_say(begin: Begin, events: list[Event]) -> None:
    """`run all`, verified service by service."""
    session = begin("all")
    session.play(events)
    session.settle()
    report = verified(session, one_process=True)
    assert (report.equal, report.idle, sum(one.pending for one in report.services)) == (True, [], 0)


def test_what_a_service_has_not_come_to_is_no_difference(begin: Begin, events: list[Event]) -> None:
    """Risk never ran: it, those behind it, and who hears of their orders are waited for, and prove nothing."""
    session = begin("feature_engine", "strategy_runner")
    session.play(events[:3])
    session.settle()
    report = verified(session)
    waiting = ["strategy_runner", "risk_manager", "trading_engine", "portfolio_manager"]
    assert (report.equal, report.idle) == (True, waiting)


@pytest.mark.parametrize("topic", poison.TOPICS)
def test_bad_records_in_a_running_session(begin: Begin, events: list[Event], topic: str) -> None:
    """Each kind that stops nobody: all who read the topic keep it, the session goes on, and is verified, letters and all."""
    session, expected = begin(), list[tuple[str, int, int, bytes]]()
    parts = iter(events)
    session.play(islice(parts, 30))
    session.settle()
    for kind in HARMLESS:
        if kind == "from the future":
            continue
        partition, value = bad(session, topic, kind)
        offset = session.log.bounds([partition])[partition][1]
        session.inject(partition, value)
        expected.append((*partition, offset, value))
        session.play(islice(parts, 30))
        session.settle()
    session.play(parts)
    session.settle()
    report = verified(session)
    assert letters(session) == dict.fromkeys(READERS[topic], expected)
    assert (session.at_end(), report.equal, report.first) == (True, True, None)
    assert report.unreadable == (len(expected) if topic in DOOR else 0)


def test_an_event_from_the_future_is_data(begin: Begin, events: list[Event], tape: Tape) -> None:
    """A tick with an exchange time a year ahead: it stands at its door time, and nobody keeps it as a dead letter."""
    session = begin()
    session.play(events[:30])
    ahead = poison.TS_NS + 365 * 86_400 * 1_000_000_000
    given = next(event for event in events[30:] if type(event.data) is MarketTick)
    session.play([Event(given.pos, given.ts_ns, None, msgspec.structs.replace(given.data, exchange_ts_ns=ahead))])
    session.play(events[31:])
    session.settle()
    assert (session.at_end(), verified(session).equal, letters(session)) == (True, True, {})


@pytest.mark.parametrize("kind", poison.CANNOT_STAND)
@pytest.mark.parametrize("topic", poison.TOPICS)
def test_what_cannot_stand_stops_those_who_read_it(begin: Begin, events: list[Event], topic: str, kind: str) -> None:
    """Before it counts as heard; nobody keeps it as a dead letter, and a restart stops at it again."""
    session = begin()
    session.play(events[:30])
    session.settle()
    session.inject(poison.place(session.partitioning, topic), poison.POISONS[kind](topic, 7))
    door_stops = raises(session.door.serve)
    stopped = [room for room in ROOMS if stops(session, room) and stops_again(session, room)]
    assert (door_stops, stopped, letters(session)) == (topic in DOOR, READERS[topic], {})


def raises(call: Callable[[], Any]) -> bool:
    try:
        call()
    except ContractError as error:
        return "cannot stand here" in str(error) or "nobody claimed" in str(error)
    return False


def stops(session: LogSession, room: str) -> bool:
    return any(raises(lambda: session.workers[room].step(0.0)) for _ in range(5))


def stops_again(session: LogSession, room: str) -> bool:
    session.start(room)
    return stops(session, room)


def test_a_door_record_without_a_place_stops_every_service(begin: Begin, events: list[Event]) -> None:
    """Truncated: its number cannot be read, and so not believed to be missing."""
    session = begin()
    session.play(events[:30])
    session.settle()
    session.inject(("market.ticks", 0), encode(events[20])[:80])
    with pytest.raises(ContractError, match="without a readable pos"):
        session.settle()


def test_a_record_is_kept_once_after_a_crash(begin: Begin, events: list[Event]) -> None:
    """A service that dies before its snapshot keeps it again; readers skip the repeat."""
    session = begin()
    session.play(events[:30])
    partition, value = bad(session, "trading.signals.generated", "unknown version")
    session.inject(partition, value)
    session.settle()
    session.workers["risk_manager"].publisher.writer.flush()
    session.start("risk_manager")  # no snapshot: from the first record
    session.settle()
    session.workers["risk_manager"].publisher.writer.flush()
    kept = session.log.bounds([("risk_manager.dlq", 0)])["risk_manager.dlq", 0][1]
    report = verified(session)
    assert (kept, len(letters(session)["risk_manager"]), report.equal) == (2, 1, True)


def test_a_letter_that_a_service_did_not_keep_is_missing(begin: Begin, events: list[Event]) -> None:
    """And one that it kept without a reason is extra."""
    session = begin()
    session.play(events[:30])
    session.settle()
    session.inject(*bad(session, "trading.signals.generated", "unknown version"))
    session.workers["risk_manager"]._dead_letters = lambda publisher, record, reason: None
    session.play(events[30:])
    session.settle()
    report = verified(session)
    first = report.first
    assert first is not None
    assert (first.service, first.topic, first.kind) == ("risk_manager", "risk_manager.dlq", "missing")
    assert first.id.startswith("trading.signals.generated/0/")
    assert {one.service for one in report.services if one.total.wrong} == {"risk_manager"}


def test_a_new_door_opens_behind_a_bad_record(begin: Begin, events: list[Event]) -> None:
    """The last record of a partition is one: its time is the record's."""
    session = begin()
    session.play(events[:30])
    session.inject(*bad(session, "market.ticks", "unknown version"))
    session.settle()
    session.door = session.opened()
    session.play(events[30:])
    session.settle()
    assert (session.door.epoch, session.at_end(), verified(session).equal) == (2, True, True)


def test_ranks_cover_every_topic() -> None:
    """So that the table above means all of them."""
    assert set(RANKS) == set(poison.TOPICS)
