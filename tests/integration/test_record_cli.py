"""`alphapanda record`, `compact` and `tape from-topic`, over a log in a folder, and over a real broker."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import alphapanda as ap
from alphapanda import cli_record
from alphapanda.adapters import kafka_topics
from alphapanda.adapters.kafka_log import KafkaLog
from alphapanda.adapters.segments import Segments
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.pipeline import DOOR
from alphapanda.runtime.log import opening
from alphapanda.runtime.log.compact import compact
from alphapanda.runtime.log.from_topic import open_topic, place_in_topic, replay_topic
from alphapanda.runtime.log.opening import folder_name, open_log
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.recorder import Recorder
from alphapanda.runtime.log.session import begin_session
from alphapanda.runtime.log.settings import KafkaSettings
from alphapanda.runtime.replay_run import run_replay
from alphapanda.runtime.settings import Settings, load_settings
from alphapanda.runtime.tape_make import make_tape
from tests.played import CONTAINER, Player, play, specs

ROOT = Path(__file__).parents[2]
SPEC = """
tape = "day"
[[strategies]]
class = "tests.strategies_for_tests:Turner"
[[strategies]]
class = "strategies.pairs:Pairs"
params = {symbols = ["BANYAN", "CEDAR"], window = 20, entry_bps = 5}
[[strategies]]
class = "tests.strategies_for_tests:Inventory"
params = {symbols = ["NEEM"]}
"""


def app() -> typer.Typer:
    made, tape_app = typer.Typer(), typer.Typer()
    made.add_typer(tape_app, name="tape")
    cli_record.mount(made, tape_app)
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tape and a spec."""
    folder = tmp_path_factory.mktemp("home")
    make_tape(folder / "day", seed=5, ticks=2_500, instruments=4)
    (folder / "spec.toml").write_text(SPEC)
    return folder


def said(*words: str) -> dict[str, object]:
    done = CliRunner().invoke(app(), [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)  # type: ignore[no-any-return]  # an object


def test_a_log_in_a_folder_is_recorded_and_sliced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To its end, compacted; the replay of the tape gives the session's digest; a range of it is a tape."""
    monkeypatch.chdir(home)
    tape, log = Tape.open("day"), open_log(load_settings(), "paper.x.", "embedded", make=True, tick_partitions=2)
    play(log, Partitioning.of_log(log), tape)
    log.close()
    found = said("record", "spec.toml", "--prefix", "paper.x.", "--log", "embedded", "--until-end")
    replayed = run_replay(CONTAINER, tape, specs())
    assert (found["session"], found["digest"]) == ("data/sessions/paper.x", replayed.manifest["digest"])
    assert (Tape.open(str(found["tape"])).digest, ap.load("data/sessions/paper.x").digest) == (tape.digest, found["digest"])
    assert said("compact", "data/sessions/paper.x")["complete"] is True
    made = said(
        "tape", "from-topic", "hour", "--market", "day", "--prefix", "paper.x.", "--log", "embedded",
        "--start", "2024-03-01T05:00:00Z", "--end", "2024-03-01T06:00:00Z",
    )  # fmt: skip
    assert Tape.open("hour").digest == made["digest"]
    text = CliRunner().invoke(app(), ["compact", "data/sessions/paper.x"], catch_exceptions=False).stdout
    assert "complete: True" in text


def test_what_cannot_be_opened_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefixes, kinds of log, settings."""
    monkeypatch.chdir(home)
    with pytest.raises(ConfigurationError, match=r"there is no log in data/logs/nowhere"):
        open_log(load_settings(), "nowhere.", "embedded")
    with pytest.raises(ConfigurationError, match="is not understood: write kafka or embedded"):
        opening.log_kind("redis")
    with pytest.raises(ConfigurationError, match=r"topic prefix '\.\./x' is not understood"):
        folder_name("../x")
    with pytest.raises(ConfigurationError, match="--set 'x' is not understood"):
        CliRunner().invoke(app(), ["tape", "from-topic", "t", "--market", "day", "--set", "x"], catch_exceptions=False)
    assert folder_name("") == "main"


def kafka_log(kafka: str) -> tuple[Settings, str]:
    settings = KafkaSettings(bootstrap_servers=kafka, request_timeout_s=10, delivery_timeout_s=20)
    prefix = f"test.{uuid.uuid4().hex[:8]}."
    kafka_topics.create(settings, prefix, old_times=True)
    return load_settings({"kafka.bootstrap_servers": kafka}), prefix


def test_a_range_of_a_brokers_topic_is_the_slice_of_the_tape(kafka: str, home: Path, tmp_path: Path) -> None:
    """Times, seqs and offsets are looked up by the broker; the replay's digests are the tape's."""
    settings, prefix = kafka_log(kafka)
    tape, log = Tape.open(home / "day"), KafkaLog(settings.kafka, prefix)
    play(log, Partitioning.of_log(log), tape)
    topic = open_topic(log, tape, prefix)
    assert topic.seqs == tape.seqs
    for start, end in (("2024-03-01T05:00:00Z", "2024-03-01T07:30:00.5Z"), (None, "1-9000"), ("1-20000", None)):
        a = run_replay(CONTAINER, tape, specs(), start=start, end=end, out=tmp_path)
        b = replay_topic(CONTAINER, topic, specs(), start=start, end=end, out=tmp_path)
        assert (b.manifest["digests"], b.manifest["cold_start"]) == (a.manifest["digests"], a.manifest["cold_start"])
        assert b.manifest["tape"]["end"] == a.manifest["tape"]["end"]
    place = place_in_topic(topic, "market.ticks/1@40")
    assert place is not None
    assert next(topic.events(place)) == next(tape.events(place))
    log.close()


def test_a_recorder_of_a_broker_is_killed_and_goes_on(kafka: str, home: Path, tmp_path: Path) -> None:
    """While the session is played: `kill -9` three times, SIGTERM at the end; the tape and the run of a replay."""
    settings, prefix = kafka_log(kafka)
    tape, log, folder = Tape.open(home / "day"), KafkaLog(settings.kafka, prefix), tmp_path / "session"
    command = [sys.executable, "-c", "from tests.integration.test_record_cli import app; app()()", "record", "spec.toml",
               "--prefix", prefix, "--folder", str(folder), "--json"]  # fmt: skip
    environment = os.environ | {"ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS": kafka, "PYTHONPATH": str(ROOT)}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.PIPE, text=True)

    def stored(least: int) -> None:
        deadline = time.monotonic() + 60
        while len(list(folder.glob("segments/*/*/[0-9]*.parquet"))) < least and time.monotonic() < deadline:
            time.sleep(0.05)

    player, recorder, kills = Player(log, Partitioning.of_log(log), tape), start(), 0
    for number, _ in enumerate(player.play()):
        if number in (10, 25, 40):
            stored(20 + kills)
            recorder.send_signal(signal.SIGKILL)
            recorder.communicate()
            recorder, kills = start(), kills + 1
    player.close()
    stored(23)
    wanted = sum(1 for _ in tape.events())
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and events_stored(folder) < wanted:
        time.sleep(0.2)
    recorder.send_signal(signal.SIGTERM)
    found = json.loads(recorder.communicate(timeout=60)[0])
    replayed = run_replay(CONTAINER, tape, specs(), out=tmp_path / "runs")
    assert (recorder.returncode, kills, found["digest"]) == (0, 3, replayed.manifest["digest"])
    assert Tape.open(folder / "tape").digest == tape.digest
    assert ap.load(folder).manifest["digests"] == replayed.manifest["digests"]
    log.close()


def events_stored(folder: Path) -> int:
    """Door events in the segments so far."""
    return sum(one["events"] for one in Segments(folder).ranges(DOOR).values())


def test_a_session_over_a_broker_compacts(kafka: str, home: Path, tmp_path: Path) -> None:
    """In one process, the recorder beside the door; its place is told to lag tools."""
    settings, prefix = kafka_log(kafka)
    tape, log = Tape.open(home / "day"), KafkaLog(settings.kafka, prefix)
    partitioning = Partitioning.of_log(log)
    begin_session(tmp_path / "s", prefix, CONTAINER, tape, specs(), partitioning)
    recorder, player = Recorder(log, partitioning, tmp_path / "s", segment_s=0.2), Player(log, partitioning, tape)
    for _ in player.play():
        recorder.step(0)
    ends = recorder.ends()
    while recorder.behind(ends):
        recorder.step(0.5)
    recorder.close()
    player.close()
    log.close()
    assert compact(tmp_path / "s").manifest["session"]["complete"] is True
    assert Tape.open(tmp_path / "s/tape").digest == tape.digest
