"""A whole session in one process, without a broker: its bytes are a replay's, and it takes an operator's commands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.events import KillSwitch
from alphapanda.research.runs import Run
from alphapanda.runtime.tape_make import make_tape

SPEC = """tape = "tape"
[[strategies]]
class = "strategies.ema_cross:EmaCross"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a tape and a spec."""
    make_tape(tmp_path / "tape", seed=4, ticks=4_000, instruments=3)
    (tmp_path / "spec.toml").write_text(SPEC)
    return tmp_path


def started(home: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "alphapanda", *words]
    return subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_all_services_over_a_folder_make_what_a_replay_makes(home: Path) -> None:
    """Tape and run have the digests of the tape that was played and of its replay."""
    runs = [("run", "all", "spec.toml", "--log", "embedded", "--prefix", "p.", "--speed", "0"), ("replay", "spec.toml", "--json")]
    answers = [started(home, *words).communicate()[0] for words in runs]
    session, replay = Run.open(next(home.glob("data/sessions/p/run_id=*"))), json.loads(answers[1])
    assert (session.digest, session.manifest["tape"]["digest"]) == (replay["digest"], replay["tape_digest"])


def test_a_single_service_over_a_folder_is_refused(home: Path) -> None:
    """A log in a folder has one process."""
    process = started(home, "run", "risk_manager", "spec.toml", "--log", "embedded")
    _, errors = process.communicate()
    assert (process.returncode, "one process: run all" in errors) == (2, True)


def test_a_running_session_takes_a_command(home: Path) -> None:
    """The kill switch is on the tape once it is acknowledged, refuses what comes after, and the session verifies."""
    process = started(home, "paper", "spec.toml", "--prefix", "k.", "--speed", "4000", "--json")
    assert process.stderr is not None
    found = next(found for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
    answer, _ = started(home, "command", found[0], "--kill", "--json").communicate()
    said = json.loads(process.communicate()[0])
    events = Tape.open(home / "data/sessions/k/tape").events()
    kills = [event.id for event in events if type(event.data) is KillSwitch]
    verified = started(home, "verify", "data/sessions/k")
    verified.communicate()
    assert (kills, said["rejected"]["kill_switch"] > 0, verified.returncode) == ([json.loads(answer)["id"]], True, 0)
