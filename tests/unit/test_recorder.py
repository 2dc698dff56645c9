"""The recorder: wherever it is killed, each event once; a session reads like a run, while it grows and afterwards."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.adapters.segments import SegmentError, Segments, TakenError
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError, ContractError, TapeError
from alphapanda.contracts.events import Epoch, Event, KillSwitch, MarketTick
from alphapanda.pipeline import COMMANDS, GENERATED, OUTPUT_TOPICS, TICKS
from alphapanda.research.diff import diff
from alphapanda.research.runs import Run
from alphapanda.runtime.log.compact import compact
from alphapanda.runtime.log.dead_letters import read_dead_letters
from alphapanda.runtime.log.door import LogDoor
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, LogError
from alphapanda.runtime.log.recorder import RECORDED, Recorder
from alphapanda.runtime.log.session import begin_session
from alphapanda.runtime.replay_run import run_replay
from alphapanda.runtime.tape_make import make_tape
from alphapanda.runtime.tape_slice import slice_tape
from tests.played import CONTAINER, Player, file_log, heard_in, play, specs

pytestmark = pytest.mark.untraced


class CrashError(Exception):
    """The recorder's process ends here."""


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    path = tmp_path_factory.mktemp("tapes") / "day"
    make_tape(path, seed=5, ticks=2_500, instruments=4)
    return Tape.open(path)


@pytest.fixture(scope="module")
def short(tape: Tape, tmp_path_factory: pytest.TempPathFactory) -> Tape:
    """Ten minutes, with many ticks for the time."""
    folder = tmp_path_factory.mktemp("short")
    make_tape(folder / "day", seed=5, ticks=40_000, instruments=4)
    slice_tape(folder / "day", folder / "short", end="1-1200")
    return Tape.open(folder / "short")


@pytest.fixture(scope="module")
def replayed(tape: Tape, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.open(run_replay(CONTAINER, tape, specs(), out=tmp_path_factory.mktemp("runs")).path)


def record_all(recorder: Recorder) -> None:
    ends = recorder.ends()
    while recorder.behind(ends):
        recorder.step(1.0)


def recorded(log: Log, partitioning: Partitioning, folder: Path, **more: object) -> None:
    recorder = Recorder(log, partitioning, folder, **more)  # type: ignore[arg-type]  # of the constructor
    record_all(recorder)
    recorder.close()


def stored(folder: Path, partitioning: Partitioning) -> dict[object, list[tuple[int, bytes]]]:
    """Offset and line of all that is stored, in the order of storing."""
    found: dict[object, list[tuple[int, bytes]]] = {partition: [] for partition in partitioning.all(RECORDED)}
    for partition, part in Segments(folder).by_partition.items():
        for segment in part:
            found[partition] += pl.read_parquet(segment.path).select("offset", "line").rows()
    return found


def expected(log: Log, partitioning: Partitioning) -> dict[object, list[tuple[int, bytes]]]:
    return {partition: heard_in(log, partitioning, partition) for partition in partitioning.all(RECORDED)}


def stormy(log: Log, partitioning: Partitioning, tape: Tape) -> None:
    """Two doors, the older of which writes on; every output twice, and a late copy of the first half."""
    player, events = Player(log, partitioning, tape), list(tape.events())
    half = events[: len(events) // 2]
    passed = [event for batch in player.play(half) for event in batch]
    old = player.door
    for _ in player.play([Event((2, 0, 0, 0, 0), half[-1].ts_ns, None, Epoch("again")), *events[len(half) :]]):
        pass
    for event in half[-300:]:
        if isinstance(event.data, MarketTick):
            old.enter(old.ts_ns, event.data) if event.ts_ns >= old.ts_ns else None
    again = Player(log, partitioning, tape)
    for root in passed:
        again.send(again.loop.step(root))
    again.writer.flush()
    player.close()


def test_what_is_heard_is_stored_once(short: Tape, tmp_path: Path) -> None:
    """Over many small segments, with repeats, an older door and promises in the log: what readers hear, and nothing else."""
    log, partitioning = file_log(tmp_path / "log")
    stormy(log, partitioning, short)
    recorded(log, partitioning, tmp_path / "s", segment_rows=80, segment_s=0.001)
    assert stored(tmp_path / "s", partitioning) == expected(log, partitioning)
    assert (log.folder / "groups/recorder.0.json").exists()
    log.close()


def test_a_crash_at_any_point_loses_and_doubles_nothing(short: Tape, tmp_path: Path) -> None:
    """Killed at every seventh named point, at the last, some of the time again: a beginning at once, in the end all."""
    log, partitioning = file_log(tmp_path / "log")
    stormy(log, partitioning, short)
    wanted, points = expected(log, partitioning), list[str]()
    recorded(log, partitioning, tmp_path / "whole", segment_rows=150, at=points.append)
    rng = random.Random(3)  # noqa: S311  # a seed for a test
    crashed: set[str] = set()
    for first in (*range(1, len(points), 7), len(points)):
        folder, left = tmp_path / f"s{first}", first
        while left:

            def at(point: str) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    crashed.add(point)
                    raise CrashError(point)

            try:
                recorded(log, partitioning, folder, segment_rows=150, at=at)
                left = 0
            except CrashError:
                for partition, rows in stored(folder, partitioning).items():
                    assert rows == wanted[partition][: len(rows)]
                left = rng.choice([2, 9, 1_000])
        assert stored(folder, partitioning) == wanted
    assert crashed == {"segment written", "segment synced", "segment in place", "folder synced", "offsets committed"}
    log.close()


CHILD = """
import sys
from pathlib import Path
from alphapanda.runtime.log.recorder import Recorder
from tests.played import file_log
log, partitioning = file_log(Path(sys.argv[1]))
recorder = Recorder(log, partitioning, Path(sys.argv[2]), segment_rows=100, segment_s=0.01)
print("on", flush=True)
ends = recorder.ends()
while recorder.behind(ends):
    recorder.step(0.1)
recorder.close()
"""


def test_kill_9_loses_and_doubles_nothing(short: Tape, tmp_path: Path) -> None:
    """A process of its own, killed at random moments until it gets to the end."""
    log, partitioning = file_log(tmp_path / "log")
    stormy(log, partitioning, short)
    wanted = expected(log, partitioning)
    log.close()
    rng, kills = random.Random(7), 0  # noqa: S311  # a seed for a test
    for round_ in itertools.count():
        command = [sys.executable, "-c", CHILD, tmp_path / "log", tmp_path / "s"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as child:
            assert child.stdout is not None
            child.stdout.readline()
            if round_ < 4:
                time.sleep(rng.uniform(0, 0.15))
                child.send_signal(signal.SIGKILL)
            status = child.wait()
        kills += status == -signal.SIGKILL
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert stored(tmp_path / "s", partitioning) == wanted
    assert kills >= 2


def test_a_second_recorder_stops_the_first_and_both_do_no_harm(short: Tape, tmp_path: Path) -> None:
    """One sleeps with a segment in hand, its successor goes on; the sleeper wakes, and stops instead of storing."""
    log, partitioning = file_log(tmp_path / "log")
    stormy(log, partitioning, short)
    sleeper = Recorder(log, partitioning, tmp_path / "s", segment_rows=10_000)
    sleeper.step(1.0)
    recorded(log, partitioning, tmp_path / "s", segment_rows=200)
    with pytest.raises(TakenError, match="another recorder of this session goes on; this one stops"):
        sleeper.close()
    sleeper.abandon()
    assert stored(tmp_path / "s", partitioning) == expected(log, partitioning)
    log.close()


def test_a_recorder_that_starts_while_another_writes_a_segment_stops_it_in_words(short: Tape, tmp_path: Path) -> None:
    """What is half written is taken for a killed one's, and removed."""
    log, partitioning = file_log(tmp_path / "log")
    play(log, partitioning, short)

    def another(point: str) -> None:
        if point == "segment written":
            Recorder(log, partitioning, tmp_path / "s").abandon()

    first = Recorder(log, partitioning, tmp_path / "s", at=another)
    first.step(1.0)
    with pytest.raises(TakenError, match="another recorder of this session goes on; this one stops"):
        first.close()
    first.abandon()
    recorded(log, partitioning, tmp_path / "s")
    assert stored(tmp_path / "s", partitioning) == expected(log, partitioning)
    log.close()


def test_a_session_becomes_the_tape_and_the_run_of_a_replay(tape: Tape, replayed: Run, tmp_path: Path) -> None:
    """Over 1, 4 and 8 partitions: the tape's digest, and every topic's; `load` opens it, and nothing differs."""
    for count in (1, 4, 8):
        log, partitioning = file_log(tmp_path / f"log{count}", count)
        folder = tmp_path / "sessions" / f"p{count}"
        begin_session(folder, "p.", CONTAINER, tape, specs(), partitioning)
        play(log, partitioning, tape)
        recorded(log, partitioning, folder, segment_rows=400)
        growing = ap.load(folder)
        made = compact(folder)
        run = ap.load(folder)
        assert Tape.open(made.tape).digest == tape.digest
        assert (run.path, run.manifest["kind"], run.manifest["session"]["complete"]) == (made.run, "session", True)
        assert run.manifest["digests"] == growing.manifest["digests"] == replayed.manifest["digests"]
        assert (diff(run, replayed), diff(growing, replayed)) == (None, None)
        for name in ("counts", "open_orders", "digest"):
            assert run.manifest[name] == growing.manifest[name] == replayed.manifest[name]
        assert set(replayed.manifest) - set(run.manifest) == set()
        assert growing.fills.equals(replayed.fills)
        assert run.stats == replayed.stats
        of_ticks = {name for name, value in growing.stats.items() if value != run.stats[name]}  # a growing session's are not read
        assert {growing.stats[name] for name in of_ticks} == {None}
        assert {"average_mae", "average_mfe"} <= of_ticks
        again = run_replay(CONTAINER, Tape.open(made.tape), specs(), out=tmp_path / "runs")
        assert again.manifest["digest"] == replayed.digest
        log.close()


def test_a_session_is_read_while_it_grows(tape: Tape, replayed: Run, tmp_path: Path) -> None:
    """At each look everything so far, by the same names; compacted and gone on, the newer segments are seen."""
    log, partitioning = file_log(tmp_path / "log")
    folder, player = tmp_path / "grows", Player(log, partitioning, tape)
    begin_session(folder, "", CONTAINER, tape, specs(), partitioning)
    assert (ap.load(folder).fills.height, ap.load(folder).manifest["counts"]["ticks"]) == (0, 0)
    assert ap.load(folder).stats["net_pnl"] == 0
    recorder, seen = Recorder(log, partitioning, folder), list[int]()
    for number, _ in enumerate(player.play()):
        recorder.step(0.2)
        if number % 8 == 7:
            record_all(recorder)
            recorder.flush()
            run = ap.load(folder)
            assert run.fills.equals(replayed.fills[: run.fills.height])
            seen.append(run.fills.height + run.snapshots.height)
            assert run.tearsheet(tmp_path / "t.html").stat().st_size > 100_000
        if number == 16:
            assert ap.load(folder).digest == compact(folder).manifest["digest"]
    record_all(recorder)
    recorder.close()
    player.close()
    assert seen == sorted(set(seen))
    assert len(seen) > 3
    assert ap.load(folder).digest == replayed.digest
    assert compact(folder).manifest["digest"] == replayed.digest
    assert [path.name for path in folder.glob("run_id=*")] == [f"run_id=grows-{replayed.digest[:8]}"]
    log.close()


def test_epochs_and_holes_become_the_tape_that_readers_heard(tape: Tape, tmp_path: Path) -> None:
    """Two doors that each lost a number: the hole in an epoch that ended is believed, one in the last ends it."""
    log, partitioning = file_log(tmp_path / "log")
    folder = tmp_path / "s"
    begin_session(folder, "", CONTAINER, tape, specs(), partitioning)
    open_ns, ticks = next(tape.events()).ts_ns, [one.data for one in tape.events() if isinstance(one.data, MarketTick)][:60]
    for epoch in (1, 2):
        door = LogDoor(log, partitioning)
        door.open(open_ns, f"door {epoch}")
        for number, tick in enumerate(ticks[30 * epoch - 30 : 30 * epoch], 1):
            if number == 20:
                door._number += 1  # a record that never got through
            door.enter(tick.ts_ns, tick)
        door.close()
    recorded(log, partitioning, folder)
    numbers = [event.pos[:2] for event in Tape.open(compact(folder).tape).events()]
    assert numbers == [(1, n) for n in range(32) if n != 20] + [(2, n) for n in range(20)]
    log.close()


def test_what_cannot_be_read_is_kept_with_its_reason(tape: Tape, tmp_path: Path) -> None:
    """An output that is no JSON and a command of an unknown version: in the segments, in the dead letters, not on the tape."""
    log, partitioning = file_log(tmp_path / "log")
    folder, player = tmp_path / "s", Player(log, partitioning, tape)
    begin_session(folder, "", CONTAINER, tape, specs(), partitioning)
    passed = next(player.play())
    event = player.door.enter(passed[-1].ts_ns, KillSwitch(engaged=False, reason="x"))
    player.door.flush()
    log.append((GENERATED, 0), b"k", b"\xff{torn", event.ts_ns // 1_000_000)
    command = b'{"type":"Nonsense","ts":"x","data":{},"id":"1-%d-0-0-0"}' % (event.pos[1] + 1)
    log.append((COMMANDS, 0), b"k", command, event.ts_ns // 1_000_000)
    recorded(log, partitioning, folder)
    recorded(log, partitioning, folder)
    letters = sorted((letter.topic, letter.value) for letter in read_dead_letters(log, "recorder"))
    assert letters == [(COMMANDS, command), (GENERATED, b"\xff{torn")]
    ranges = Segments(folder).ranges((GENERATED, COMMANDS))
    assert [ranges[name]["dead"] for name in (f"{GENERATED}/0", f"{COMMANDS}/0")] == [1, 1]
    events = list(Tape.open(compact(folder).tape).events())
    assert events[-1] == event
    player.close()
    log.close()


def test_what_no_reader_takes_stops_the_recorder(tape: Tape, tmp_path: Path) -> None:
    """An event of another stage: refused at each start, and nothing behind it is stored."""
    log, partitioning = file_log(tmp_path / "log")
    player = Player(log, partitioning, tape)
    passed = next(player.play())
    log.append((TICKS, 0), b"k", b'{"id":"1-9-3-0-0"}', passed[-1].ts_ns // 1_000_000)
    for _ in range(2):
        recorder = Recorder(log, partitioning, tmp_path / "s")
        with pytest.raises(ContractError, match="cannot stand here"):
            record_all(recorder)
        recorder.abandon()
    player.close()
    log.close()


def test_a_session_keeps_what_it_began_with(tape: Tape, tmp_path: Path) -> None:
    """Begun again with the same it goes on, with other strategies it is refused."""
    partitioning = Partitioning.of_table()
    begin_session(tmp_path / "s", "a.", CONTAINER, tape, specs(), partitioning)
    begin_session(tmp_path / "s", "a.", CONTAINER, tape, specs(), partitioning)
    with pytest.raises(ConfigurationError, match=r"was begun with other prefix, strategies|was begun with other strategies"):
        begin_session(tmp_path / "s", "a.", CONTAINER, tape, specs()[:1], partitioning)
    with pytest.raises(TapeError, match="nothing to write"):
        compact(tmp_path / "s")
    with pytest.raises(ConfigurationError, match="is not a session"):
        compact(tmp_path)


def test_missing_and_damaged_segments_are_noticed(tape: Tape, tmp_path: Path) -> None:
    """A removed one leaves offsets uncovered, a cut one cannot be read; and a log made anew does not fit."""
    log, partitioning = file_log(tmp_path / "log")
    play(log, partitioning, tape)
    recorded(log, partitioning, tmp_path / "s", segment_rows=200)
    paths = [segment.path for segment in Segments(tmp_path / "s").by_partition[TICKS, 0]]
    kept = paths[1].read_bytes()
    paths[1].unlink()
    with pytest.raises(SegmentError, match=r"offsets \d+ to \d+ are not covered"):
        Segments(tmp_path / "s")
    paths[1].write_bytes(kept[:-20])
    with pytest.raises(SegmentError, match="is not a segment"):
        Segments(tmp_path / "s")
    log.close()
    other, _ = file_log(tmp_path / "other")
    with pytest.raises(LogError, match="or the topic was made anew"):
        Recorder(other, partitioning, tmp_path / "s")
    other.close()


def test_an_unknown_topic_of_a_session_is_refused(tape: Tape, tmp_path: Path) -> None:
    """As of a run; and a damaged session.json is named."""
    begin_session(tmp_path / "s", "", CONTAINER, tape, specs(), Partitioning.of_table())
    run = ap.load(tmp_path / "s")
    with pytest.raises(AlphaPandaError, match="is not an output topic"):
        run.topic(TICKS)
    assert {run.topic(name).height for name in OUTPUT_TOPICS} == {0}
    os.truncate(tmp_path / "s/session.json", 10)
    with pytest.raises(AlphaPandaError, match="is damaged"):
        ap.load(tmp_path / "s")
