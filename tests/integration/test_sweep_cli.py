"""Searches from the command line: on one process and two, killed, resumed, refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import alphapanda as ap
from alphapanda.research.search.sweep import Sweep
from alphapanda.research.search.workers import SearchWorkerError
from alphapanda.runtime.tape_make import make_tape

ROOT = Path(__file__).parents[2]
LIMIT_S = 60

SLOW = '''"""A strategy that says when it begins, and takes its time."""

import os
import time
from pathlib import Path

import alphapanda as ap


class Slow(ap.Strategy):
    """Buys once."""

    size: int = 1
    pause_s: float = 0.0

    def on_start(self):
        with Path("begun.txt").open("a") as file:
            file.write(f"{self.size} {os.getpid()}\\n")
        print("what a strategy prints is nobody's answer")
        time.sleep(self.pause_s)
        self.bought = set()

    def on_market_data(self, tick):
        if tick.instrument_token not in self.bought:
            self.bought.add(tick.instrument_token)
            yield self.buy(tick.instrument_token, self.size)
'''


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tapes") / "day"
    make_tape(path, seed=5, ticks=1_500, instruments=2)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a strategy in a file."""
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    return tmp_path


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "alphapanda", *words]


def alphapanda(*words: str, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command(*words), cwd=cwd, capture_output=True, text=True, check=False, env=wide)
    assert done.returncode == status, done.stderr + done.stdout
    return done


def words(tape: Path, *more: str, pause_s: float = 0.0) -> list[str]:
    """A sweep of eight sets."""
    given = ["sweep", "--tape", str(tape), "--strategy", "slow.py:Slow", "--param", "size=1:8", "--out", "sweeps", "--name", "x"]
    return [*given, *(("--param", f"pause_s={pause_s}") if pause_s else ()), *more]


def until(found: Callable[[], Any]) -> Any:
    """What `found` gives once it is true."""
    ends_s = time.monotonic() + LIMIT_S
    while not (value := found()):
        assert time.monotonic() < ends_s, "it did not come"
        time.sleep(0.02)
    return value


def children(pid: int) -> list[int]:
    """Processes that this one started."""
    return [int(one) for path in Path(f"/proc/{pid}/task").glob("*/children") for one in path.read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def finished(home: Path) -> dict[str, tuple[int, int]]:
    """Every result's file, with what changes when it is written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (home / "sweeps/x/results").glob("[!.]*.json")}


def test_one_process_and_two_and_none_give_the_same_digests(tape: Path, tmp_path: Path) -> None:
    """Set for set, and so does a replay of its own."""
    found = [
        ap.sweep(tape, "strategies.ema_cross:EmaCross", {"fast": [2, 5], "slow": [20, 40]}, workers=workers, holdout=0.3,
                 out=tmp_path / str(workers))
        for workers in (0, 1, 2)
    ]  # fmt: skip
    digests = [one.replays.select("part", "number", "digest").rows() for one in found]
    from strategies.ema_cross import EmaCross

    run = ap.replay(tape, [EmaCross(fast=5, slow=20)], end=found[0].stage.train.ranges[0].end,
                    out=tmp_path / "runs")  # fmt: skip
    assert (digests[0], digests[1]) == (digests[1], digests[2])
    assert ("train", 2, run.digest) in digests[0]
    assert len(set(digests[0])) == 5


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked at in /proc")
def test_a_killed_sweep_goes_on_without_repeating_a_finished_set(tape: Path, home: Path) -> None:
    """Kill -9 while sets are under way: its processes end with it, and no finished set begins again."""
    process = subprocess.Popen(command(*words(tape, "--workers", "2", pause_s=0.4)), cwd=home, stderr=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)  # fmt: skip
    until(lambda: len(finished(home)) >= 3)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not any(map(is_running, workers)))
    before = finished(home)
    done = {json.loads((home / "sweeps/x/results" / name).read_text())["point"]["size"] for name in before}
    shown = json.loads(alphapanda(*words(tape, "--workers", "2", "--json", pause_s=0.4), cwd=home).stdout)
    begun = Counter(int(line.split()[0]) for line in (home / "begun.txt").read_text().splitlines())
    after = finished(home)
    assert (len(workers), 3 <= len(before) < 8, shown["tried"], shown["done"]) == (2, True, 8, True)
    assert {name: after[name] for name in before} == before
    assert {size: begun[size] for size in done} == dict.fromkeys(done, 1)
    assert set(begun) == set(range(1, 9))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked at in /proc")
def test_a_worker_that_is_killed_is_told_and_what_is_finished_stays(tape: Path, home: Path) -> None:
    """The next run goes on."""
    process = subprocess.Popen(command(*words(tape, "--workers", "2", pause_s=0.4)), cwd=home, stderr=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, text=True)  # fmt: skip
    until(lambda: len(finished(home)) >= 2)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=LIMIT_S)
    before = finished(home)
    alphapanda(*words(tape, pause_s=0.4), cwd=home)
    assert (process.returncode, "status -9" in said, "Traceback" in said) == (2, True, False)
    assert {name: finished(home)[name] for name in before} == before
    assert Sweep.open(home / "sweeps/x").done


def test_a_sweep_is_refused_when_code_or_settings_or_tape_changed(tape: Path, home: Path) -> None:
    """In one line that says which."""
    alphapanda(*words(tape), cwd=home)
    other = home / "other"
    make_tape(other, seed=6, ticks=500, instruments=2)
    said = [
        alphapanda(*words(tape, "--set", "execution.latency_ms=5"), cwd=home, status=2).stderr,
        alphapanda(*words(other), cwd=home, status=2).stderr,
    ]
    (home / "slow.py").write_text(SLOW + "# changed\n", encoding="utf-8")
    said.append(alphapanda(*words(tape), cwd=home, status=2).stderr)
    assert ["settings changed" in said[0], "the tape" in said[1], "their code" in said[2]] == [True] * 3
    assert not any("Traceback" in one for one in said)


def test_code_that_changes_under_way_is_noticed(tape: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is started after the plan was made does not use other code than the plan names."""
    monkeypatch.chdir(home)
    from alphapanda.research.search import workers

    start = workers.Processes._start

    def edited(self: workers.Processes) -> None:
        (home / "slow.py").write_text(SLOW + "# changed\n", encoding="utf-8")
        start(self)

    monkeypatch.setattr(workers.Processes, "_start", edited)
    with pytest.raises(SearchWorkerError, match=r"slow\.py:Slow was changed"):
        ap.sweep(tape, "slow.py:Slow", {"size": [1, 2]}, workers=1, out=home)


def test_a_search_in_a_file_is_carried_out_and_options_stand_above_it(tape: Path, home: Path) -> None:
    """The table [search] of a replay spec."""
    (home / "search.toml").write_text(
        f"""
tape = "{tape}"

[[strategies]]
class = "strategies.ema_cross:EmaCross"
params = {{ quantity = 3 }}

[settings]
"charges.profile" = "none"

[search]
method = "grid"
holdout = 0.25
params = {{ fast = [2, 4], slow = "20:60:20" }}
settings = {{ "execution.slippage_ticks" = [0, 1] }}
walk = {{ train = "2h", test = "1h" }}
""",
        encoding="utf-8",
    )
    swept = json.loads(alphapanda("sweep", "search.toml", "--json", "--heatmap", "map.html", cwd=home).stdout)
    fewer = json.loads(alphapanda("sweep", "search.toml", "--method", "random", "--trials", "5", "--json", cwd=home).stdout)
    walked = json.loads(alphapanda("walkforward", "search.toml", "--test", "90m", "--json", cwd=home).stdout)
    varied = ("--vary", "execution.latency_ms=0,100", "--json")
    table = json.loads(alphapanda("sensitivity", "search.toml", *varied, cwd=home).stdout)
    assert (swept["tried"], swept["best"]["holdout"] is not None, fewer["tried"]) == (12, True, 5)
    assert [one["test"][11:16] for one in walked["folds"]] == ["11:15", "12:45"]
    assert {one["latency_ms"] for one in table["table"]} == {0.0, 100.0}
    assert "plotly" in (home / "map.html").read_text(encoding="utf-8").lower()


def test_tables_for_people_say_what_must_be_said(tape: Path, home: Path) -> None:
    """Best, holdout, count and warnings."""
    on = ("--tape", str(tape), "--strategy", "strategies.ema_cross:EmaCross", "--workers", "0")
    swept = alphapanda("sweep", *on, "--param", "fast=2,4,6", "--holdout", "0.3", cwd=home).stdout
    walked = alphapanda("walkforward", *on, "--param", "fast=2,4", "--train", "2h", "--test", "1h", cwd=home).stdout
    table = alphapanda("sensitivity", *on, "--param", "fast=3", "--vary", "execution.latency_ms=0", cwd=home).stdout
    assert all(part in swept for part in ("3 sets tried", "best: fast=", "on the holdout", "warning:"))
    assert all(part in walked for part in ("4 folds", "tests together"))
    assert all(part in table for part in ("slippage", "ticks", "next_tick"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("sweep", "none.toml"), "none.toml is not there"),
        (("sweep", "--tape", "none", "--strategy", "slow.py:Slow", "--param", "size=1,2"), "is not a tape"),
        (("sweep", "--strategy", "slow.py:Slow", "--param", "size=1,2"), "tapes"),
        (("sweep", "--param", "size"), "write name=value"),
        (("sensitivity", "--param", "size=1"), "--param needs --strategy"),
    ],
)
def test_a_mistake_is_one_line(home: Path, given: tuple[str, ...], message: str) -> None:
    """Without a traceback."""
    done = alphapanda(*given, cwd=home, status=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_every_command_has_help_with_an_example() -> None:
    """Also for scripts."""
    shown = [alphapanda(name, "--help", cwd=ROOT).stdout for name in ("sweep", "walkforward", "sensitivity")]
    assert [("Example: alphapanda" in one, "--json" in one) for one in shown] == [(True, True)] * 3
