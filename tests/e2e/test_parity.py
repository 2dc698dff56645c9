"""The claim: a paper session of six processes over a broker, and replays of what it recorded, give the same bytes."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from alphapanda.adapters.tape import Tape
from alphapanda.runtime.replay_run import run_replay
from alphapanda.runtime.tape_make import make_tape
from tests.e2e.session import FEED, ROOMS, Session, printed, write_spec

pytestmark = pytest.mark.untraced

TICKS = int(os.environ.get("ALPHAPANDA_E2E_TICKS", "10000"))
TIMEOUT_S = 120 + TICKS / 200
PARTITIONS = (1, 4, 8)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tape")
    make_tape(folder / "tape", seed=5, ticks=TICKS, instruments=50)
    return write_spec(folder, folder / "tape")


def prefix(name: str) -> str:
    """Topics of this test run alone: a broker that the environment names may have those of the last."""
    return f"e2e.{os.getpid()}.{time.time_ns()}.{name}."


@pytest.fixture(scope="module")
def six(kafka: str, spec: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session that was run as six processes at full speed, and recorded by a seventh."""
    with Session(kafka, tmp_path_factory.mktemp("six"), spec, prefix("six")) as session:
        for room in ROOMS:
            session.run(room)
        session.start("recorder", [*session.record_words(), "--json"])
        session.run(FEED)
        seconds = session.wait_until_done(session.tape.seqs[1], TIMEOUT_S)
        assert session.end() == [0] * 7, session._all_said()
        print(f"six processes: {TICKS:,} ticks in {seconds:.1f} s, {TICKS / seconds:,.0f} ticks/s with their start")  # noqa: T201
        yield session


class Recorded(NamedTuple):
    """What the recorder made of a session at its end."""

    tape: Path
    manifest: dict[str, Any]  # the run's


def made_of(text: str) -> Recorded:
    """From what `alphapanda record --json` printed."""
    said = printed(text)
    return Recorded(Path(said["tape"]), json.loads((Path(said["run"]) / "manifest.json").read_text()))


@pytest.fixture(scope="module")
def recorded(six: Session) -> Recorded:
    """What the recorder left out when it was ended with the others, on a slow machine the last seqs, is recorded first."""
    return made_of(six.once(*six.record_words(), "--until-end", "--json"))


def test_what_passed_the_door_is_the_tape(six: Session, recorded: Recorded) -> None:
    """Without another door or a command in between it keeps its seqs, so its digest too."""
    assert Tape.open(recorded.tape).digest == six.tape.digest


def test_something_happened(recorded: Recorded) -> None:
    """Enough of everything for the comparisons to say something, and not a signal a tick."""
    counts = recorded.manifest["counts"]
    at_least = {"bars": 100, "signals": 200, "validated": 100, "orders": 100, "fills": 100, "snapshots": 100}
    assert {name: counts[name] for name in at_least if counts[name] < at_least[name]} == {}
    assert sum(counts["rejected"].values()) > 0
    assert counts["signals"] < TICKS / 5


@pytest.mark.parametrize("kept", ["log", "recorded"])
@pytest.mark.usefixtures("recorded")
def test_every_service_says_again_what_it_said(six: Session, kept: str) -> None:
    """`alphapanda verify`, over all topics: nothing missing, extra or different, nothing left out."""
    report = printed(six.once("verify", str(six.recorded), "--json", *(["--log", "kafka"] if kept == "log" else [])))
    wrong = {
        one["service"]: one for one in report["services"] if one["equal"] != one["events"] or one["failed"] or one["pending"]
    }
    assert (wrong, report["equal"], report["roots"]) == ({}, True, six.tape.seqs[1][1])
    assert min(one["equal"] for one in report["services"]) > 100


def test_a_replay_of_what_was_recorded_gives_the_same_digests(six: Session, recorded: Recorded) -> None:
    """In one process, from the recorder's tape."""
    run = run_replay(six.container, Tape.open(recorded.tape), six.read.specs(), out=six.folder / "runs")
    assert run.manifest["digests"] == recorded.manifest["digests"]


@pytest.mark.parametrize("partitions", PARTITIONS)
def test_as_one_process_over_the_broker_it_gives_the_same_digests(
    kafka: str, recorded: Recorded, tmp_path: Path, partitions: int
) -> None:
    """The recorded tape played under a new prefix, with as many partitions of ticks and features."""
    spec = write_spec(tmp_path, recorded.tape)
    with Session(kafka, tmp_path / "all", spec, prefix(f"all{partitions}"), partitions=partitions) as session:
        session.run("all")
        session.run(FEED)
        seconds = session.wait_until_done(session.tape.seqs[1], TIMEOUT_S)
        assert session.end() == [0, 0], session._all_said()
        print(f"run all, {partitions} partitions: {TICKS / seconds:,.0f} ticks/s with its start")  # noqa: T201
        now = made_of(session.once(*session.record_words(), "--until-end", "--json"))
        assert now.manifest["digests"] == recorded.manifest["digests"]


@pytest.mark.parametrize("partitions", PARTITIONS)
def test_without_a_broker_it_gives_the_same_digests(six: Session, recorded: Recorded, tmp_path: Path, partitions: int) -> None:
    """`alphapanda paper` over a folder."""
    spec = write_spec(tmp_path, recorded.tape)
    session = Session(
        "", tmp_path / "embedded", spec, "paper.", partitions=partitions, settings={"kafka.bootstrap_servers": "none"}
    )
    began = time.monotonic()
    words = (
        "paper",
        str(spec),
        "--log",
        "embedded",
        "--prefix",
        "paper.",
        "--speed",
        "0",
        "--partitions",
        str(partitions),
        "--json",
    )
    said = printed(session.once(*words))
    print(f"paper, {partitions} partitions: {TICKS / (time.monotonic() - began):,.0f} ticks/s with its start")  # noqa: T201
    assert said["digests"] == recorded.manifest["digests"]
    assert Tape.open(Path(said["tape"])).digest == six.tape.digest
