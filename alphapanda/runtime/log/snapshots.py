"""Snapshots: all there is to know of a service at one frontier.

A file is a JSON line (format, digest of code and settings, frontier, SHA-256 of the rest) and a pickle; written under
another name, synced, renamed. Several are kept: a damaged one costs no more than the way from the one before it.
"""

import hashlib
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from alphapanda.adapters.durable import sync

FORMAT = 1
KEPT = 3


class Snapshot(NamedTuple):
    """A snapshot as read: `state` is taken out only once its digest was looked at."""

    digest: str  # of the code and settings it was taken with
    body: bytes

    def state(self) -> dict[str, Any]:
        """What was kept. Raises whatever unpickling raises where it is of other code."""
        state: dict[str, Any] = pickle.loads(self.body)  # noqa: S301  # our own file, checked by its hash
        return state


class Snapshots:
    """The snapshots of one service (or shard) under one topic prefix."""

    def __init__(self, folder: Path, digest: str) -> None:
        """`digest` is that of the running code and settings."""
        self.folder, self.digest = folder, digest
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, frontier: tuple[int, int], state: dict[str, Any]) -> None:
        """Keep `state`; the outputs before `frontier` must be durable already."""
        body = pickle.dumps(state, protocol=pickle.HIGHEST_PROTOCOL)
        head = {"format": FORMAT, "digest": self.digest, "frontier": frontier, "sha256": hashlib.sha256(body).hexdigest()}
        path = self.folder / f"{frontier[0]:010d}-{frontier[1]:015d}.snapshot"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        self.folder.mkdir(parents=True, exist_ok=True)  # it may be removed at any time: no more than a way is lost
        temporary.write_bytes(json.dumps(head).encode() + b"\n" + body)
        sync(temporary)
        temporary.rename(path)
        sync(self.folder)
        for old in sorted(self.folder.glob("*.snapshot"))[:-KEPT]:
            old.unlink(missing_ok=True)  # a second service of the same kind may have been faster

    def newest(self) -> Snapshot | None:
        """The newest that can be read, of whatever code and settings; None where there is none."""
        return next(self._readable(), None)

    def _readable(self) -> Iterator[Snapshot]:
        for path in sorted(self.folder.glob("*.snapshot"), reverse=True):
            head_line, _, body = path.read_bytes().partition(b"\n")
            try:
                head = json.loads(head_line)
            except ValueError:
                continue  # torn: the next one is whole
            if head.get("format") == FORMAT and head["sha256"] == hashlib.sha256(body).hexdigest():
                yield Snapshot(head["digest"], body)
