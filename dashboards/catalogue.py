"""What there is to show: runs, sessions, and folders that cannot be read. Nothing here is ever written."""

import argparse
import json
import os
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.research.runs import Run


class Folders(NamedTuple):
    """Where runs, sessions and sweeps lie."""

    runs: Path
    sessions: Path
    sweeps: Path

    @classmethod
    def of(cls, words: Sequence[str]) -> "Folders":
        """From `--runs R --sessions S --sweeps W`."""
        parser = argparse.ArgumentParser(prog="dashboards/app.py")
        for name in cls._fields:
            parser.add_argument(f"--{name}", type=Path, default=Path("data") / name)
        given = parser.parse_args(words)
        return cls(given.runs, given.sessions, given.sweeps)


class Entry(NamedTuple):
    """A finished run as lists show it. Path and digest name its content for ever: a cache needs nothing else."""

    run_id: str
    created: str
    kind: str  # replay or session
    tape: str
    strategies: str
    ticks: int
    fills: int
    digest: str
    path: str

    @property
    def label(self) -> str:
        """For choosing."""
        return f"{self.created[:16].replace('T', ' ')} · {self.strategies} · {self.tape} · {self.digest[:8]}"


class SessionEntry(NamedTuple):
    """A session's folder."""

    name: str
    path: str
    created: str
    stored_s: float  # when the newest segment was stored, seconds since 1970; 0: none yet
    segments: int
    runs: tuple[str, ...]  # what was compacted so far

    @property
    def version(self) -> tuple[str, float, int, tuple[str, ...]]:
        """Changes whenever the session's content does."""
        return self.path, self.stored_s, self.segments, self.runs


def runs(folders: Folders) -> tuple[list[Entry], list[str]]:
    """Finished runs, newest first, of replays and of sessions; and what is wrong with those that cannot be read."""
    found: list[Entry] = []
    damaged: list[str] = []
    for path in [*folders.runs.glob("run_id=*"), *folders.sessions.glob("*/run_id=*")]:
        try:
            found.append(_read(path, (path / "manifest.json").stat().st_mtime_ns))
        except OSError as error:
            damaged.append(f"{path} is not a run: its manifest.json cannot be read ({error.strerror})")
        except AlphaPandaError as error:
            damaged.append(str(error))
        except (KeyError, TypeError, AttributeError) as error:
            damaged.append(f"{path} has a manifest that this version does not read ({type(error).__name__}: {error})")
    return sorted(found, key=lambda one: (one.created, one.run_id), reverse=True), sorted(damaged)


@lru_cache(maxsize=10_000)
def _read(path: Path, changed_ns: int) -> Entry:
    """A manifest is read once, unless it changed."""
    del changed_ns  # of the key
    return _entry(path, Run.open(path).manifest)


def _entry(path: Path, manifest: dict[str, Any]) -> Entry:
    tape = Path(manifest["tape"]["path"])
    session = manifest["kind"] == "session"
    return Entry(
        manifest["run_id"], manifest["created"], manifest["kind"], manifest["session"]["name"] if session else tape.name,
        ", ".join(one["strategy_id"] for one in manifest["strategies"]), manifest["counts"]["ticks"],
        manifest["counts"]["fills"], manifest["digest"], str(path),
    )  # fmt: skip


def sessions(folders: Folders) -> tuple[list[SessionEntry], list[str]]:
    """Session folders, that which was written to last first; and what is wrong with those that cannot be read."""
    found: list[SessionEntry] = []
    damaged: list[str] = []
    for path in folders.sessions.glob("*/session.json"):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            found.append(session_entry(path.parent, said["name"], said["created"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            damaged.append(f"{path} cannot be read ({type(error).__name__}: {error})")
    return sorted(found, key=lambda one: (one.stored_s, one.created, one.name), reverse=True), sorted(damaged)


def session_entry(folder: Path, name: str, created: str) -> SessionEntry:
    """How far a session's folder is."""
    newest, count = 0.0, 0
    for place in (folder / "segments").glob("*/*"):
        for file in os.scandir(place):
            if file.name.endswith(".parquet"):
                newest, count = max(newest, file.stat().st_mtime), count + 1
    return SessionEntry(name, str(folder), created, newest, count, tuple(sorted(one.name for one in folder.glob("run_id=*"))))


def to_ns(local: datetime, zone: str) -> int:
    """A local time without zone, as ns since 1970; the earlier of two where clocks were put back."""
    aware = local.replace(tzinfo=ZoneInfo(zone))
    whole = int(aware.replace(microsecond=0).timestamp())
    return whole * 1_000_000_000 + aware.microsecond * 1_000
