"""A store of runs and sessions, made once: a million ticks, two days, two sessions; and a browser."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, sync_playwright

from alphapanda.research.runs import Run
from alphapanda.runtime.tape_make import make_tape
from dashboards.catalogue import Folders
from tests.dashboard.chromium import NoBrowserError, chromium
from tests.dashboard.watching import SIZE, Watched
from tests.data_folder import ROOT

DOCUMENTED = ("dashboard-run", "dashboard-zoomed", "dashboard-pnl", "dashboard-compare", "dashboard-sweep", "tearsheet")
TICKS = int(os.environ.get("ALPHAPANDA_UI_TICKS", "1000000"))
SPEC = """tape = "{tape}"
[[strategies]]
class = "strategies.ema_cross:EmaCross"
[[strategies]]
class = "strategies.mean_reversion:MeanReversion"
params = {{ window = 5, interval = "1m", quantity = 3 }}
[[strategies]]
class = "strategies.ema_cross:EmaCross"
id = "greedy"
params = {{ quantity = 7 }}
[settings]
"risk.max_position" = 6
"""


class Store(NamedTuple):
    """What the pages show."""

    folders: Folders
    big: Run  # the newest
    other: Run  # the same with another latency
    days: Run
    session: Run
    tape: Path  # of the session
    spec: Path


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    home = tmp_path_factory.mktemp("dashboard")
    folders = Folders(home / "runs", home / "sessions", home / "sweeps")
    make_tape(home / "tapes" / "big", seed=7, ticks=TICKS)
    make_tape(home / "tapes" / "days", seed=3, days=[date(2024, 3, 4), date(2024, 3, 5)], ticks=2_000, instruments=3)
    make_tape(home / "tapes" / "small", seed=5, ticks=20_000, instruments=4)
    days = replayed(home / "tapes" / "days", folders, {"fast": 10, "slow": 50}, latency_ms=0)
    late, soon = (
        replayed(home / "tapes" / "big", folders, {"fast": 200, "slow": 1000, "quantity": 10}, latency_ms=ms) for ms in (400, 0)
    )
    spec = home / "spec.toml"
    spec.write_text(SPEC.format(tape=home / "tapes" / "small"))
    words = ["paper", str(spec), "--speed", "0", "--prefix", "done.", "--json", "--set", f"storage.sessions={folders.sessions}"]
    subprocess.run([sys.executable, "-m", "alphapanda", *words], cwd=home, check=True, capture_output=True)
    session = Run.open(next((folders.sessions / "done").glob("run_id=*")))
    return Store(folders, soon, late, days, session, home / "tapes" / "small", spec)


def replayed(tape: Path, folders: Folders, params: dict[str, int], *, latency_ms: int) -> Run:
    """A replay in a process of its own, where it is not traced."""
    words = ["replay", "--tape", str(tape), "--strategy", "strategies.ema_cross:EmaCross", "--out", str(folders.runs), "--json"]
    words += [word for name, value in params.items() for word in ("--param", f"{name}={value}")]
    words += ["--set", f"execution.latency_ms={latency_ms}"]
    done = subprocess.run([sys.executable, "-m", "alphapanda", *words], check=True, capture_output=True, text=True)
    return Run.open(Path(json.loads(done.stdout)["run_dir"]))


@pytest.fixture
def empty(tmp_path: Path) -> Folders:
    """Folders that are not there."""
    return Folders(tmp_path / "runs", tmp_path / "sessions", tmp_path / "sweeps")


@pytest.fixture
def growing(store: Store, empty: Folders) -> Folders:
    """A session that was not compacted yet."""
    shutil.copytree(
        store.folders.sessions / "done",
        empty.sessions / "done",
        ignore=shutil.ignore_patterns("run_id=*", "tape"),
        copy_function=shutil.copy,
    )
    return empty


class Served(NamedTuple):
    """A running dashboard."""

    url: str
    pid: int


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Folders], Served]]:
    """Start dashboards over folders; they end with the tests."""
    started: list[subprocess.Popen[str]] = []

    def start(folders: Folders) -> Served:
        words = [word for name, place in folders._asdict().items() for word in (f"--{name}", str(place))]
        log = (tmp_path_factory.mktemp("ui") / "log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", "alphapanda", "ui", "--port", "0", "--no-browser", "--json", *words],
            cwd=tmp_path_factory.mktemp("elsewhere"), stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        log.close()
        started.append(process)
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        answers(said["url"])
        return Served(said["url"], process.pid)

    yield start
    for process in started:
        process.terminate()
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(url: str, patience_s: float = 60.0) -> None:
    """Wait until a Streamlit server answers."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            with urlopen(f"{url}/_stcore/health", timeout=2) as answer:  # noqa: S310  # our own server
                assert answer.read() == b"ok"
                return
        except OSError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.1)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Where everything must be tested, to be without one is a failure."""
    try:
        path = chromium()
    except NoBrowserError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"tests in a browser could not run: {error}")
        pytest.skip(f"no browser: {error}")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield made
        made.close()


@pytest.fixture(scope="session")
def served(store: Store, serve: Callable[[Folders], Served]) -> Served:
    return serve(store.folders)


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(viewport=SIZE)
    yield Watched(context.new_page())
    context.close()


@pytest.fixture(scope="session")
def picture() -> Callable[..., None]:
    """Save what a page looks like: to `build/dashboard`, and what the documentation shows to `docs` if ALPHAPANDA_PICTURES=1."""
    wanted = os.environ.get("ALPHAPANDA_PICTURES") == "1"

    def save(page: Any, name: str) -> None:
        page.mouse.move(0, 0)
        for folder, may in ((ROOT / "build" / "dashboard", True), (ROOT / "docs", wanted and name in DOCUMENTED)):
            if may:
                folder.mkdir(parents=True, exist_ok=True)
                page.screenshot(path=folder / f"{name}.png")

    return save
