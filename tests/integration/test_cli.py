"""The command line as a user meets it, and every command of the README."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KEYS = {
    "run_id", "run_dir", "tape_digest", "digests", "digest", "ticks", "bars", "signals", "validated", "rejected", "orders",
    "fills", "seconds", "ticks_per_s", "peak_rss_mb", "stats",
}  # fmt: skip


def alphapanda(*words: str, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "alphapanda", *words], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr + done.stdout
    return done


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a clone is, with the demo already run in it."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("strategies", "replays"):
        shutil.copytree(ROOT / name, folder / name)
    alphapanda("demo", cwd=folder)
    return folder


def commands() -> list[str]:
    """Every alphapanda line of the README's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    return [line for block in blocks for line in block.splitlines() if line.startswith("alphapanda ")]


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_runs(home: Path, command: str) -> None:
    """As it stands there."""
    done = alphapanda(*shlex.split(command, comments=True)[1:], cwd=home)
    assert done.stdout


def test_the_readmes_strategy_runs(home: Path) -> None:
    """The Python block, as it stands there."""
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (home / "breakout.py").write_text(block + "print(run.fills.height)\n")
    done = subprocess.run([sys.executable, "breakout.py"], cwd=home, capture_output=True, text=True, check=False)
    assert (done.stderr, int(done.stdout) > 10) == ("", True)


def test_the_demo_proves_itself(home: Path) -> None:
    """Two replays, one digest, and a tearsheet that is one file without addresses to load from."""
    found = json.loads(alphapanda("demo", "--json", cwd=home).stdout)
    page = (home / found["run_dir"] / "tearsheet.html").read_text()
    assert (found["repeated"], found["same"], len(page) < 3_000_000) == (2, True, True)
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)


def test_replay_prints_one_object_with_stated_keys(home: Path) -> None:
    """For scripts."""
    done = alphapanda("replay", "replays/demo.toml", "--json", cwd=home)
    assert set(json.loads(done.stdout)) >= KEYS


def test_diff_shows_the_first_difference_and_says_so_by_its_status(home: Path) -> None:
    """Two latencies: status 1; a run and itself: status 0."""
    ids = [
        json.loads(alphapanda("replay", "replays/demo.toml", "--set", f"execution.latency_ms={ms}", "--json", cwd=home).stdout)[
            "run_id"
        ]
        for ms in (0, 800)
    ]
    shown = alphapanda("diff", *ids, cwd=home, status=1).stdout
    found = json.loads(alphapanda("diff", *ids, "--json", cwd=home, status=1).stdout)
    assert (found["equal"], "first difference" in shown) == (False, True)
    assert json.loads(alphapanda("diff", ids[0], ids[0], "--json", cwd=home).stdout) == {"equal": True, "difference": None}


def test_tapes_are_made_looked_at_and_cut(home: Path) -> None:
    """make, info, slice."""
    made = json.loads(
        alphapanda(
            "tape", "make", "data/tapes/two", "--ticks", "500", "--day", "2024-03-01", "--day", "2024-03-04", "--json", cwd=home
        ).stdout
    )
    cut = json.loads(
        alphapanda(
            "tape", "slice", "data/tapes/two", "data/tapes/cut", "--end", "2024-03-02T00:00:00Z", "--json", cwd=home
        ).stdout
    )
    info = json.loads(alphapanda("tape", "info", "data/tapes/cut", "--json", cwd=home).stdout)
    assert (made["ticks"], cut["dates"], info["digest"]) == (1000, ["2024-03-01"], cut["digest"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("replay", "--tape", "nowhere", "--strategy", "strategies.ema_cross:EmaCross"), "nowhere is not a tape"),
        (("replay", "--tape", "data/tapes/demo"), "strategies"),
        (("replay", "none.toml"), "none.toml is not there"),
        (("replay", "replays/demo.toml", "--set", "execution.speed=1"), "execution.speed"),
        (("replay", "replays/demo.toml", "--param", "fast=1"), "--param needs --strategy"),
        (("replay", "replays/demo.toml", "--set", "latency"), "write name=value"),
        (("tape", "make", "data/tapes/x", "--day", "2023-03-01"), "covers the years"),
        (("tape", "make", "data/tapes/x", "--day", "2024-03-03"), "no trading session"),
        (("tape", "make", "data/tapes/x", "--day", "soon"), "is not a date"),
        (("tape", "make", "data/tapes/demo"), "is there already"),
        (("diff", "a", "b"), "is not a run"),
    ],
)
def test_a_mistake_is_explained_in_one_line(home: Path, words: tuple[str, ...], message: str) -> None:
    """Without a traceback, on the error stream, with status 2."""
    done = alphapanda(*words, cwd=home, status=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_every_command_has_help_with_an_example() -> None:
    """Also the tape's."""
    names = [
        ("replay",),
        ("demo",),
        ("runs",),
        ("tearsheet",),
        ("diff",),
        ("topology",),
        ("doctor",),
        ("tape", "make"),
        ("tape", "info"),
        ("tape", "import"),
        ("tape", "slice"),
    ]
    without = [name for name in names if "Example: alphapanda" not in alphapanda(*name, "--help", cwd=ROOT).stdout]
    assert without == []
