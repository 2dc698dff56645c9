"""The tape that a run was made of: its ticks and door events at single places, read file by file.

A run names its tape by folder and digest. Where that tape is not at hand, what needs it says so.
"""

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from alphapanda.adapters.tape import Seq, Tape, earlier
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.events import Event, MarketTick, SessionClose, SessionOpen
from alphapanda.core.stretches import Controls
from alphapanda.pipeline import CLOCK, TICKS
from alphapanda.research.runs import Run

ABOVE = 5
"""So many folders above a run a relative tape is looked for; its digest says whether it is the one."""
_PRICES = ("epoch", "number", "instrument_token", "last_price")


class NoTapeError(AlphaPandaError):
    """The tape of a run is not at hand; the message says where it was looked for."""


def places(run: Run) -> list[Path]:
    """Where the tape may be: as the manifest has it, from here or, where that is relative, from a folder above the run."""
    named, folder = Path(run.manifest["tape"]["path"]), run.path.absolute()
    return [named] if named.is_absolute() else [named, *(above / named for above in list(folder.parents)[:ABOVE])]


class TapeView:
    """A run's tape, and the part of it that the run is of: [start, end)."""

    def __init__(self, tape: Tape, start: Seq, end: Seq) -> None:
        self.tape, self.start, self.end = tape, start, end
        self._read = lru_cache(maxsize=4)(_read)
        self._files: list[dict[str, Any]] = [one for one in tape.manifest["files"] if one["topic"] == TICKS]

    @classmethod
    def of(cls, run: Run) -> "TapeView":
        """The tape that the run's manifest names. Raises NoTapeError."""
        said = run.manifest["tape"]
        if said["digest"] is None:
            raise NoTapeError(f"{run.id} is recorded just now, or was never compacted: `alphapanda compact {run.path}` makes"
                              " its tape")  # fmt: skip
        there = [folder for folder in places(run) if (folder / "manifest.json").is_file()]
        if not there:
            raise NoTapeError(
                f"the tape of run {run.id} is not at {Path(said['path']).absolute()} any more, and this needs its ticks"
            )
        tape = next((tape for folder in there if (tape := Tape.open(folder)).digest == said["digest"]), None)
        if tape is None:
            raise NoTapeError(f"{there[0]} is another tape than run {run.id} was made of: their digests differ")
        (a, b), (c, d) = said["start"], said["end"]
        return cls(tape, (a, b), (c, d))

    def last_prices(self, before: Seq, tokens: Collection[int]) -> dict[int, tuple[float, Seq]]:
        """Each instrument's last price before a seq, and its seq, in the run's part; one without a tick is left out."""
        found: dict[int, tuple[float, Seq]] = {}
        for file in reversed(self._files):
            if len(found) == len(tokens):
                break
            if _at(file["first"]) >= before or _at(file["last"]) < self.start:
                continue
            wanted = pl.col("instrument_token").is_in([token for token in tokens if token not in found])
            rows = self._read(self.tape.path / file["path"], _PRICES).filter(wanted & earlier(before) & ~earlier(self.start))
            last = rows.group_by("instrument_token").agg(pl.col("last_price", "epoch", "number").last())  # in order within
            found |= {token: (price, (epoch, number)) for token, price, epoch, number in last.iter_rows()}
        return found

    def last_tick(self, upto: Seq, token: int) -> Event | None:
        """The instrument's last tick at or before a seq, in the run's part."""
        after = (upto[0], upto[1] + 1)
        for file in reversed(self._files):
            if _at(file["first"]) >= after or _at(file["last"]) < self.start:
                continue
            columns = ("epoch", "number", *self.tape.columns)
            mine = self._read(self.tape.path / file["path"], columns).filter(
                (pl.col("instrument_token") == token) & earlier(after) & ~earlier(self.start)
            )
            if mine.height:
                row = mine.row(-1, named=True)
                pos = (row.pop("epoch"), row.pop("number"), 0, 0, 0)
                return Event(pos, row["ts_ns"], None, MarketTick(**row))
        return None

    def event(self, seq: Seq) -> Event | None:
        """What passed the door at a seq."""
        return next(iter(self.tape.events(seq, (seq[0], seq[1] + 1))), None)

    def sessions(self) -> list[Event]:
        """Session opens and closes that the run heard: of its part, and from a cold start on also the session's open before."""
        found: list[Event] = []
        if self.start > self.tape.seqs[0]:
            found += [one for one in self.tape.earlier_in_session(self.start) if isinstance(one.data, SessionOpen | SessionClose)]
        for file in self.tape.manifest["files"]:
            if file["topic"] != CLOCK or _at(file["last"]) < self.start or _at(file["first"]) >= self.end:
                continue
            rows = _read(self.tape.path / file["path"], ("epoch", "number", "type"))
            rows = rows.filter(pl.col("type").is_in(["SessionOpen", "SessionClose"]) & earlier(self.end) & ~earlier(self.start))
            found += [event for seq in rows.select("epoch", "number").rows() if (event := self._control(seq)) is not None]
        return sorted(found, key=lambda event: event.pos)

    def _control(self, seq: Seq) -> Event | None:
        for run in self.tape.runs(seq, (seq[0], seq[1] + 1)):
            if isinstance(run, Controls):
                return run.events[0]
        return None


def _at(seq: list[int]) -> Seq:
    return seq[0], seq[1]


def _read(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=list(columns))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise NoTapeError(f"{path} cannot be read: {error}") from error
