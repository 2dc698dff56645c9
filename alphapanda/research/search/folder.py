"""A search's folder: the plan, and one file for each finished replay.

`manifest.json` is written once and never changed. `results/KEY.json` is written under another name, synced and renamed: it
is whole or not there, so a search that was killed goes on with what is missing; `finished` is there once nothing is. One
process at a time.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from alphapanda.adapters.durable import sync
from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError
from alphapanda.research.search.evaluate import Result
from alphapanda.research.search.plan import Plan, encoded, plain
from alphapanda.runtime.replay_run import git_revision

FORMAT = 1
MANIFEST, RESULTS, LOCK, FINISHED = "manifest.json", "results", "lock", "finished"
_FROM_WHERE = {
    "strategies": "the strategies, their code or their fixed parameters", "tapes": "the tape", "settings": "settings",
    "pipeline": "AlphaPanda's own code", "stages": "the ranges of training and holdout",
    "points": "the sets", "dimensions": "the values to be tried",
}  # fmt: skip


class SearchFolder:
    """One search on disk."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = path, manifest
        self.plan: Plan = msgspec.convert(manifest["plan"], Plan)
        self.tapes: list[str] = manifest["tapes"]

    @classmethod
    def open(cls, path: Path) -> "SearchFolder":
        """A search that was begun. Raises AlphaPandaError where there is none."""
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT:
                raise AlphaPandaError(f"{path} has search format {manifest['format']}, this reads {FORMAT}: begin it anew")
            return cls(path, manifest)
        except FileNotFoundError as error:
            raise AlphaPandaError(f"{path} is not a search: it has no {MANIFEST}; make one with `alphapanda sweep`") from error
        except (json.JSONDecodeError, KeyError, msgspec.ValidationError) as error:
            raise AlphaPandaError(f"{path / MANIFEST} is damaged: {error}") from error

    @classmethod
    def begin(cls, path: Path, plan: Plan, tapes: Mapping[str, str]) -> "SearchFolder":
        """Begin a search, or go on with an equal one. Raises ConfigurationError naming what differs."""
        if (path / MANIFEST).exists():
            kept = cls.open(path)
            differ = [_FROM_WHERE.get(name, name) for name in plan.__struct_fields__
                      if encoded(getattr(plan, name)) != encoded(getattr(kept.plan, name))]  # fmt: skip
            if differ:
                raise ConfigurationError(
                    f"{path} was begun otherwise: {'; '.join(differ)} changed since. Its results stay as they are: give this"
                    " search another name"
                )
            return cls(path, {**kept.manifest, "tapes": list(tapes.values())})
        (path / RESULTS).mkdir(parents=True, exist_ok=True)
        manifest = {
            "format": FORMAT, "kind": plan.kind, "name": path.name,
            "created": datetime.now(UTC).isoformat(timespec="microseconds"), "version": version("alphapanda"),
            "git_revision": git_revision(), "tapes": list(tapes.values()), "plan_digest": plan.digest,
            "plan": plain(plan),
        }  # fmt: skip
        _write(path / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        return cls(path, manifest)

    def result(self, key: str) -> Result | None:
        """A finished replay; None where it is still to be done. Raises AlphaPandaError where its file is damaged."""
        path = self.path / RESULTS / f"{key}.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Result)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise AlphaPandaError(f"{path} is damaged: remove it, and the set is replayed again ({error})") from error

    def keep(self, result: Result) -> None:
        """Write a finished replay; durable when this returns."""
        text = json.dumps(msgspec.to_builtins(result), indent=1, default=str) + "\n"
        _write(self.path / RESULTS / f"{result.key}.json", text)

    @property
    def finished(self) -> bool:
        """Whether all of the plan was carried out."""
        return (self.path / FINISHED).exists()

    def finish(self) -> None:
        """Say that nothing is missing."""
        if not self.finished:
            _write(self.path / FINISHED, datetime.now(UTC).isoformat(timespec="microseconds") + "\n")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out. Raises AlphaPandaError naming the one that is at it."""
        handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
                raise AlphaPandaError(f"{self.path} is being searched by process {owner}") from error
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(handle)


def _write(path: Path, text: str) -> None:
    made = path.with_name(f".{path.name}.tmp")
    made.write_text(text, encoding="utf-8")
    sync(made)
    made.replace(path)
    sync(path.parent)


def found_in(root: Path) -> list[SearchFolder]:
    """Every search under a folder, newest first."""
    found = [SearchFolder.open(path.parent) for path in root.glob(f"*/{MANIFEST}")]
    return sorted(found, key=lambda one: one.manifest["created"], reverse=True)
