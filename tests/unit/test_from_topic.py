"""A log as a tape: between two times, seqs or offsets it holds what the same slice of the tape holds."""

import random
from pathlib import Path

import pytest

import alphapanda as ap
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError, TapeError
from alphapanda.contracts.events import Epoch, Event, HaltStrategy, KillSwitch, MarketTick
from alphapanda.pipeline import CLOCK, DOOR, TICKS
from alphapanda.runtime.log.control import FIRST
from alphapanda.runtime.log.door import LogDoor
from alphapanda.runtime.log.from_topic import TopicRange, place_in_topic, tape_from_topic
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, LogError, Partition
from alphapanda.runtime.replay_run import place, run_replay
from alphapanda.runtime.tape_make import make_tape
from alphapanda.runtime.tape_slice import slice_tape
from strategies.mean_reversion import MeanReversion
from tests.played import CONTAINER, Player, file_log, specs

pytestmark = pytest.mark.untraced


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    path = tmp_path_factory.mktemp("tapes") / "day"
    make_tape(path, seed=5, ticks=2_500, instruments=4)
    return Tape.open(path)


class Filled:
    """A log with the tape in it, and more commands than the tape has."""

    def __init__(self, folder: Path, tape: Tape, count: int) -> None:
        self.log, self.partitioning = file_log(folder / "log", count)
        player = Player(self.log, self.partitioning, tape)
        for _ in player.play():
            pass
        player.close()
        self.topic = TopicRange(self.log, self.partitioning, tape, "file:market.ticks")


@pytest.fixture(scope="module", params=[1, 4])
def filled(tape: Tape, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Filled:
    return Filled(tmp_path_factory.mktemp("log"), tape, request.param)


def test_the_whole_log_is_the_whole_tape(filled: Filled, tape: Tape) -> None:
    """Every event, the same ends, and the tape's digest."""
    topic = filled.topic
    assert list(topic.events()) == list(tape.events())
    assert topic.seqs == tape.seqs
    assert [run for run in topic.runs(batch_rows=999) if not run] == []
    assert topic.digest == tape.digest
    assert sum(one["events"] for one in topic.manifest["ranges"].values()) == sum(1 for _ in tape.events())


def test_random_ranges_of_time_are_slices_of_the_tape(filled: Filled, tape: Tape) -> None:
    """50 of them, to the nanosecond, beyond both ends too."""
    rng = random.Random(11)  # noqa: S311  # a seed for a test
    events = list(tape.events())
    first_ns, last_ns = events[0].ts_ns, events[-1].ts_ns
    for number in range(50):
        at = [rng.choice(events).ts_ns + rng.choice([-1, 0, 1]), rng.randrange(first_ns - 10**9, last_ns + 10**9)]
        start_ns, end_ns = sorted(at)
        low, high = filled.topic.seq_at(start_ns), filled.topic.seq_at(end_ns)
        assert (low, high) == (tape.seq_at(start_ns), tape.seq_at(end_ns))
        if number % 5 == 0:  # the events between them are read each time: enough of these
            assert list(filled.topic.events(low, high)) == [one for one in events if start_ns <= one.ts_ns < end_ns]
            assert filled.topic.earlier_in_session(low) == tape.earlier_in_session(low)


def test_replays_of_a_range_are_those_of_the_tape(filled: Filled, tape: Tape, tmp_path: Path) -> None:
    """From the middle, cold, and from the start: every topic's digest; the manifest says which it was."""
    for start, end in (("2024-03-01T05:00:00Z", "2024-03-01T07:30:00.5Z"), (None, "2024-03-01T04:30:00Z"), ("1-9000", None)):
        a = run_replay(CONTAINER, tape, specs(), start=start, end=end, out=tmp_path)
        low, high = place_in_topic(filled.topic, start), place_in_topic(filled.topic, end)
        b = run_replay(CONTAINER, filled.topic, specs(), start=low, end=high, out=tmp_path)
        assert b.manifest["digests"] == a.manifest["digests"]
        assert b.manifest["counts"] == a.manifest["counts"]
        assert b.manifest["cold_start"] == a.manifest["cold_start"] == (start is not None)
        slice_tape(tape.path, tmp_path / f"slice-{end}", start, end)
        assert b.manifest["tape"]["digest"] == Tape.open(tmp_path / f"slice-{end}").digest


def test_a_tape_from_a_topic_is_the_slice_of_the_tape(filled: Filled, tape: Tape, tmp_path: Path) -> None:
    """The same digest, what was carried along, and where in the log it lay."""
    start, end = "2024-03-01T05:00:00Z", "2024-03-01T05:20:00Z"
    manifest = tape_from_topic(filled.topic, tmp_path / "a", start, end)
    sliced = slice_tape(tape.path, tmp_path / "b", start, end)
    for name in ("digest", "seq", "carried", "slice_start", "ticks"):
        assert manifest[name] == sliced[name]
    ranges = manifest["ranges"]
    assert sum(one["events"] for one in ranges.values()) == sum(1 for _ in tape.events(place(tape, start), place(tape, end)))
    clock = ranges[f"{CLOCK}/0"]
    first = filled.log.reader({(CLOCK, 0): clock["first"]}).poll(0)[0]
    assert b'"ts":"2024-03-01T05:00:00.000000000Z"' in first.value


def test_an_offset_is_a_place_too(filled: Filled, tape: Tape) -> None:
    """The first event at or behind it; behind the end it is the end; elsewhere it is refused."""
    topic, partition = filled.topic, (TICKS, 0)
    end = filled.log.bounds([partition])[partition][1]
    records = filled.log.reader({partition: 0}).poll(0, 500)
    for record in records[::50]:
        if record.key is not None:
            found = place_in_topic(topic, f"{TICKS}/0@{record.offset}")
            assert found is not None
            assert f'"id":"{found[0]}-{found[1]}-0-0-0"'.encode() in record.value
    assert place_in_topic(topic, f"{TICKS}/0@{end}") == topic.seqs[1]
    for wrong, match in ((f"{TICKS}/9@1", "is no partition of the door"), ("x@1", "write an offset as")):
        with pytest.raises(ConfigurationError, match=match):
            place_in_topic(topic, wrong)
    assert place_in_topic(topic, None) is None


def several_doors(log: Log, partitioning: Partitioning, tape: Tape) -> list[Event]:
    """Three doors, each of which loses a number but the last, with commands between; what a reader must find."""
    ticks = [one.data for one in tape.events() if isinstance(one.data, MarketTick)]
    found: list[Event] = []
    for epoch in (1, 2, 3):
        door = LogDoor(log, partitioning)
        found.append(door.open(ticks[(epoch - 1) * 100].ts_ns, f"door {epoch}"))
        if epoch == 1:
            opens = next(one for one in tape.events() if type(one.data).__name__ == "SessionOpen")
            found.append(door.enter(opens.ts_ns, opens.data))
        for number, tick in enumerate(ticks[(epoch - 1) * 100 : epoch * 100]):
            if number == 60 and epoch < 3:
                door._number += 1
            if number in (20, 70):
                found.append(door.enter(tick.ts_ns, HaltStrategy(f"s{epoch}{number}", "test")))
            found.append(door.enter(tick.ts_ns, tick))
        door.close()
    return found


def test_commands_and_doors_are_found_from_any_time(tape: Tape, tmp_path: Path) -> None:
    """Holes in epochs that ended are crossed, wherever reading begins; commands of the session are handed over."""
    log, partitioning = file_log(tmp_path / "log")
    expected = several_doors(log, partitioning, tape)
    topic = TopicRange(log, partitioning, tape)
    assert list(topic.events()) == expected
    for event in expected[::17]:
        low = topic.seq_at(event.ts_ns)
        later = [one for one in expected if one.ts_ns >= event.ts_ns]
        assert low == later[0].pos[:2]
        assert list(topic.events(low)) == later
        handed = [one for one in expected if one.pos[:2] < low and not isinstance(one.data, MarketTick | Epoch)]
        assert topic.earlier_in_session(low) == handed
    log.close()


def test_what_may_still_be_preceded_is_left_out(tape: Tape, tmp_path: Path) -> None:
    """A number of the running door that is not there yet: the log ends before it. What comes later is not seen either."""
    log, partitioning = file_log(tmp_path / "log")
    ticks = [one.data for one in tape.events() if isinstance(one.data, MarketTick)][:10]
    door = LogDoor(log, partitioning)
    expected = [door.open(ticks[0].ts_ns, "door")] + [door.enter(tick.ts_ns, tick) for tick in ticks[:5]]
    door._number += 1
    for tick in ticks[5:]:
        door.enter(tick.ts_ns, tick)
    door.flush()
    topic = TopicRange(log, partitioning, tape)
    door.enter(ticks[-1].ts_ns, KillSwitch(engaged=True, reason="later"))
    door.close()
    assert list(topic.events()) == expected
    assert topic.seqs == (FIRST, (1, 6))
    log.close()


class Trimmed:
    """A log of which retention removed the beginning of a partition."""

    def __init__(self, log: Log, partition: Partition, first: int) -> None:
        self._log, self._partition, self._first = log, partition, first

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)

    def bounds(self, partitions: list[Partition]) -> dict[Partition, tuple[int, int]]:
        found = self._log.bounds(partitions)
        return {one: (self._first if one == self._partition else first, end) for one, (first, end) in found.items()}


def test_a_beginning_that_retention_removed_is_refused(filled: Filled, tape: Tape) -> None:
    """Reading from before it is refused, from well behind it goes on."""
    log: Log = Trimmed(filled.log, (TICKS, 0), 100)  # type: ignore[assignment]  # a log for the test
    topic = TopicRange(log, filled.partitioning, tape)
    with pytest.raises(LogError, match="retention removed what lay before"):
        list(topic.events())
    late = tape.seq_at(next(tape.events()).ts_ns + 5 * 3600 * 10**9)
    assert list(topic.events(late)) == list(tape.events(late))


def test_empty_and_foreign_ranges_are_refused(filled: Filled, tape: Tape, tmp_path: Path) -> None:
    """No door yet, nothing between two times, and a feed with columns that the market's tape lacks."""
    log, partitioning = file_log(tmp_path / "log")
    with pytest.raises(TapeError, match="no door has written here yet"):
        TopicRange(log, partitioning, tape)
    with pytest.raises(TapeError, match="there is nothing in"):
        tape_from_topic(filled.topic, tmp_path / "t", "2024-03-02T05:00:00Z", None)
    door = LogDoor(log, partitioning)
    first = door.open(next(tape.events()).ts_ns, "door")
    token = next(iter(tape.instruments))
    door.enter(first.ts_ns, MarketTick(first.ts_ns, token, 1.0, exchange_ts_ns=5))
    door.close()
    with pytest.raises(TapeError, match="1-1-0-0-0 has exchange_ts_ns, and the market's tape has no such column"):
        tape_from_topic(TopicRange(log, partitioning, tape), tmp_path / "t")
    assert {topic for topic, _ in partitioning.all(DOOR)} == set(DOOR)
    log.close()


def test_a_strategy_on_bars_starts_cold_as_on_the_tape(filled: Filled, tape: Tape, tmp_path: Path) -> None:
    """The workbench's replay of the slice says the same."""
    start, end = "2024-03-01T05:00:00Z", "2024-03-01T06:00:00Z"
    tape_from_topic(filled.topic, tmp_path / "a", start, end)
    a = ap.replay(tmp_path / "a", [MeanReversion(interval="5s")], start=start, out=tmp_path)
    b = ap.replay(tape.path, [MeanReversion(interval="5s")], start=start, end=end, out=tmp_path)
    assert a.digest == b.digest
