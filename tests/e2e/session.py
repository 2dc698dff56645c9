"""A session as processes over a real broker: started, waited for, ended, and what came of it.

One `Session` is one topic prefix with a folder for everything that it keeps. Processes are ended by their ids; whatever
happens in a test, none of them outlives the `with`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from alphapanda.adapters import kafka_topics
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.events import Pos
from alphapanda.pipeline import SNAPSHOTS, STAGES
from alphapanda.runtime.container import AppContainer
from alphapanda.runtime.log.control import Seq
from alphapanda.runtime.log.opening import open_log, session_folder
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Partition
from alphapanda.runtime.log.reader import PartitionReader
from alphapanda.runtime.log.start import claimed_in
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.spec import read_spec

ROOT = Path(__file__).parents[2]
FEED = "market_feed"
ROOMS = tuple(stage.room for stage in STAGES)
PATIENCE_S = 60.0
SPEC = """
tape = "{tape}"

[[strategies]]
class = "strategies.ema_cross:EmaCross"
params = {{ fast = 100, slow = 400 }}

[[strategies]]
class = "strategies.pairs:Pairs"
params = {{ symbols = ["BANYAN", "CEDAR"], window = 50, entry_bps = 3, value = 10000.0 }}

[[strategies]]
class = "tests.strategies_for_tests:Inventory"
params = {{ symbols = ["NEEM"] }}

[[strategies]]
class = "tests.strategies_for_tests:Turner"
params = {{ symbols = ["SAL", "TEAK"] }}

[settings]
"risk.max_gross_exposure" = 30000
"""
"""Averages that seldom cross, two instruments against each other, one that lives on its own fills, one on bars and features."""


def write_spec(folder: Path, tape: Path) -> Path:
    """The spec of all these sessions, over this tape."""
    path = folder / "spec.toml"
    path.write_text(SPEC.format(tape=tape), encoding="utf-8")
    return path


class Session:
    """One topic prefix. Use as a context manager: leaving it kills what still runs."""

    def __init__(
        self, bootstrap: str, folder: Path, spec: Path, prefix: str, *, partitions: int = 4,
        settings: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """`bootstrap` empty: without a broker. `settings` are for the processes too."""
        self.folder, self.spec, self.prefix, self.partitions = folder, spec, prefix, partitions
        self.words = {"kafka.bootstrap_servers": bootstrap or "none", **(settings or {})}
        self.words |= {f"storage.{name}": str(folder / name) for name in ("runs", "tapes", "logs", "snapshots", "sessions")}
        self.read = read_spec(spec)
        self.settings = load_settings({**self.read.settings, **self.words})
        self.container, self.tape = AppContainer(self.settings), Tape.open(self.read.tape)
        folder.mkdir(parents=True, exist_ok=True)
        self.processes: list[subprocess.Popen[bytes]] = []

    def make_topics(self) -> None:
        """Topics for a tape's old times, and our own end of the log."""
        kafka_topics.create(self.settings.kafka, self.prefix, kafka_topics.tick_partitions(self.partitions), old_times=True)
        self.log = open_log(self.settings, self.prefix, "kafka")
        self.partitioning = Partitioning.of_log(self.log)

    @property
    def recorded(self) -> Path:
        """Where the recorder keeps the session."""
        return session_folder(self.settings, self.prefix)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The settings as processes read them."""
        said = {f"ALPHAPANDA_{name.replace('.', '__').upper()}": str(value) for name, value in self.words.items()}
        return {**os.environ, **said, **(more or {})}

    def start(
        self, name: str, words: Sequence[str], *, module: Sequence[str] = ("alphapanda",), more: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """A process of the command line; what it says goes to `name.log`."""
        with self.log_of(name).open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", *module, *words], cwd=ROOT, env=self.environment(more), stdout=said, stderr=said,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def run(self, service: str, *words: str) -> subprocess.Popen[bytes]:
        """`alphapanda run SERVICE`, at full speed."""
        return self.start(service, [*self.run_words(service), "--speed", "0", *words])

    def run_words(self, service: str) -> list[str]:
        """The words of `alphapanda run SERVICE`."""
        return ["run", service, str(self.spec), "--prefix", self.prefix, "--partitions", str(self.partitions)]

    def record_words(self) -> list[str]:
        """The words of `alphapanda record`."""
        return ["record", str(self.spec), "--prefix", self.prefix]

    def once(self, *words: str, status: int = 0) -> str:
        """What a command of the command line prints."""
        done = subprocess.run(
            [sys.executable, "-m", "alphapanda", *words], cwd=ROOT, env=self.environment(), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr + done.stdout
        return done.stdout

    def log_of(self, name: str) -> Path:
        """Where a process's lines go."""
        return self.folder / f"{name}.log"

    def said(self, name: str) -> str:
        """The last that a process said."""
        return self.log_of(name).read_text(errors="replace")[-3_000:]

    def wait_until_done(self, end: Seq, timeout_s: float) -> float:
        """Wait until the last stage has promised all below `end`; returns for how many seconds.

        Fails where a process ends before, or the time is over.
        """
        began, at = time.monotonic(), (SNAPSHOTS, 0)
        reader, source = PartitionReader(at, self.partitioning, claimed_in(self.log)), self.log.reader({at: 0})
        while reader.up_to < end:
            for record in source.poll(0.5):
                reader.take(record)
            ended = [process for process in self.processes if process.poll() is not None]
            assert not ended, f"ended before its time: {[one.args for one in ended]}\n{self._all_said()}"
            assert time.monotonic() - began < timeout_s, f"stands at {reader.up_to} of {end}\n{self._all_said()}"
        source.close()
        return time.monotonic() - began

    def _all_said(self) -> str:
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1_500:]}" for path in self.folder.glob("*.log"))

    def end(self) -> list[int]:
        """SIGTERM to all that run, and their exit statuses."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        statuses = [process.wait(PATIENCE_S) for process in self.processes]
        self.processes.clear()
        return statuses

    def heard(self, topic: str) -> list[tuple[Pos, bytes]]:
        """Place and line of everything that readers hear in a topic, in `pos` order."""
        found = [one for at in self.partitioning.all([topic]) for one in heard_in(self.log, self.partitioning, at)]
        return sorted(found)

    def __enter__(self) -> "Session":
        self.make_topics()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.log.close()


def heard_in(log: Any, partitioning: Partitioning, at: Partition) -> list[tuple[Pos, bytes]]:
    """Place and line of everything that readers hear in one partition."""
    first, end = log.bounds([at])[at]
    reader, found = PartitionReader(at, partitioning, claimed_in(log), first), list[tuple[Pos, bytes]]()
    source = log.reader({at: first})
    while reader.position < end:
        for record in source.poll(PATIENCE_S):
            if (event := reader.take(record).event) is not None:
                found.append((event.pos, record.value))
    source.close()
    return found


def printed(text: str) -> Any:
    """The JSON object that a command printed last."""
    return json.loads(text.splitlines()[-1])
