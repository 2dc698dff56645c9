"""A tape: what passed the door, in seq order, as a folder of Parquet segments with a manifest.

`market.ticks/date=2024-03-01/part-00000.parquet` and so on, one folder a topic and local date. Ticks lie in columns;
the other door events have their payload as JSON. Columns that a tape has nowhere are left out. Readers merge by seq, in
bounded memory: a segment of ticks, or two where they read ahead, and one date of the other events at a time.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, pairwise, repeat
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from alphapanda.contracts.errors import TapeError
from alphapanda.contracts.events import DOOR_EVENTS, Beat, Event, MarketTick, Payload, SessionOpen
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.stretches import Beats, Controls, Stretch, Ticks
from alphapanda.pipeline import BROKER, CLOCK, COMMANDS, TICKS
from alphapanda.reference.profiles import MarketProfile

FORMAT = 1
Seq = tuple[int, int]
TICK_FIELDS = MarketTick.__struct_fields__
OTHERS = (CLOCK, BROKER, COMMANDS)
_TYPES: dict[str, type[Payload]] = {cls.__name__: cls for cls in DOOR_EVENTS}
BeatChoice = Callable[[NDArray[np.int64]], Sequence[int]]
"""From the times of coming beats to the places of those that are wanted."""
_SHIFT = 1 << 48
"""A seq as one integer: epoch * _SHIFT + number."""


def earlier(seq: Sequence[int]) -> pl.Expr:
    """Whether a row, by its columns epoch and number, lies before a seq."""
    epoch, number = seq
    return (pl.col("epoch") < epoch) | ((pl.col("epoch") == epoch) & (pl.col("number") < number))


class _Others(NamedTuple):
    """One date's door events but ticks, in seq order."""

    keys: np.ndarray[Any, np.dtype[np.int64]]
    ts_ns: list[int]
    types: list[str]
    data: list[str]

    def event(self, i: int) -> Event:
        epoch, number = divmod(int(self.keys[i]), _SHIFT)
        pos = (epoch, number, 0, 0, 0)
        return Event(pos, self.ts_ns[i], None, msgspec.json.decode(self.data[i], type=_TYPES[self.types[i]]))

    def runs(self, start: int, end: int) -> Iterator[Stretch]:
        while start < end:
            beat, stop = self.types[start] == "Beat", start + 1
            while stop < end and (self.types[stop] == "Beat") == beat:
                stop += 1
            if beat:
                numbers = (self.keys[start:stop] % _SHIFT).tolist()
                yield Beats(int(self.keys[start]) // _SHIFT, numbers, self.ts_ns[start:stop])
            else:
                yield Controls([self.event(i) for i in range(start, stop)])
            start = stop


class Tape:
    """An opened tape. Nothing is read before it is asked for."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = path, manifest
        self.digest: str = manifest["digest"]
        self.columns: list[str] = manifest["columns"]
        self.beat_interval_s: int = manifest["beat_interval_s"]
        self.profile = MarketProfile.from_dict(manifest["profile"])
        rows = _read(path / "instruments.parquet").to_dicts()
        self.instruments = {row["instrument_token"]: Instrument(**row) for row in rows}

    @classmethod
    def open(cls, path: Path | str) -> "Tape":
        """Open a tape's folder. Raises TapeError that says what is wrong with it."""
        folder = Path(path)
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise TapeError(
                f"{folder} is not a tape: it has no manifest.json; make one with `alphapanda tape make` or import"
            ) from error
        except json.JSONDecodeError as error:
            raise TapeError(f"{folder / 'manifest.json'} is damaged: {error}") from error
        if manifest.get("format") != FORMAT:
            raise TapeError(f"{folder} has tape format {manifest.get('format')}, this reads {FORMAT}: make it anew")
        return cls(folder, manifest)

    def verify(self) -> None:
        """Compare every file with its digest in the manifest. Raises TapeError naming the file."""
        paths = [self.path / file["path"] for file in self.manifest["files"]]
        for path in paths:
            if not path.exists():
                raise TapeError(f"{path} is missing: the tape is not whole")
        with ThreadPoolExecutor() as pool:
            digests = list(pool.map(file_digest, paths))
        for path, digest, file in zip(paths, digests, self.manifest["files"], strict=True):
            if digest != file["sha256"]:
                raise TapeError(f"{path} was changed after the tape was written: its SHA-256 differs from the manifest's")

    @property
    def bar_interval_s(self) -> int | None:
        """The length of the bars that this tape was imported from; None of ticks."""
        plan = self.manifest.get("map") or {}
        return plan["bar"]["interval_s"] if plan.get("kind") == "bars" else None

    @property
    def seqs(self) -> tuple[Seq, Seq]:
        """First seq, and the one after the last."""
        (first, last) = self.manifest["seq"]
        return (first[0], first[1]), (last[0], last[1] + 1)

    def runs(
        self, start: Seq | None = None, end: Seq | None = None, batch_rows: int = 4_096,
        heard_beats: BeatChoice | None = None, *, read_ahead: bool = False,
    ) -> Iterator[Stretch]:  # fmt: skip
        """Everything in [start, end) in seq order; each run is of one kind, and of at most `batch_rows` ticks.

        `heard_beats` chooses by their times, date by date, which beats are wanted at all. With `read_ahead` a thread reads
        the next segment of ticks while this one is used.
        """
        first, last = self.seqs
        low, high = _key(start or first), _key(end or last)
        files = {date: self._files(TICKS, date, low, high) for date in self.manifest["dates"]}
        paths = [self.path / file["path"] for some in files.values() for file in some]
        frames = _read_ahead(paths) if read_ahead else map(_read, paths)
        for date, some in files.items():
            others = self._others(date, low, high, heard_beats)
            done = 0
            for frame in islice(frames, len(some)):
                keys, columns = _keys(frame), _columns(frame)
                a, b = np.searchsorted(keys, [low, high])
                for at in range(a, b, batch_rows):
                    stop = min(at + batch_rows, b)
                    until = int(np.searchsorted(others.keys, keys[stop - 1]))
                    yield from self._merged(_ticks(columns, at, stop), keys[at:stop], others, done, until)
                    done = until
            yield from others.runs(done, len(others.ts_ns))

    def _merged(
        self, rows: tuple[list[int], list[MarketTick]], keys: Any, others: _Others, done: int, until: int
    ) -> Iterator[Stretch]:  # fmt: skip
        (tokens, ticks), numbers = rows, (keys % _SHIFT).tolist()
        at = 0
        if done < until:
            cuts = np.searchsorted(keys, others.keys[done:until])
            starts = np.flatnonzero(np.diff(cuts, prepend=-1))
            bounds = [*starts.tolist(), until - done]
            for first, stop in pairwise(bounds):
                cut = int(cuts[first])
                if cut > at:
                    yield Ticks(int(keys[at]) // _SHIFT, numbers[at:cut], tokens[at:cut], ticks[at:cut])
                    at = cut
                yield from others.runs(done + first, done + stop)
        if at < len(ticks):
            yield Ticks(int(keys[at]) // _SHIFT, numbers[at:], tokens[at:], ticks[at:])

    def events(self, start: Seq | None = None, end: Seq | None = None) -> Iterator[Event]:
        """The same, one event at a time: the plain form."""
        for run in self.runs(start, end):
            if isinstance(run, Controls):
                yield from run.events
                continue
            ticks = isinstance(run, Ticks)
            for number, item in zip(run.numbers, run.ticks if isinstance(run, Ticks) else run.ts_ns, strict=True):
                pos = (run.epoch, number, 0, 0, 0)
                data: Any = item if ticks else Beat()
                yield Event(pos, data.ts_ns if ticks else item, None, data)  # type: ignore[arg-type]

    def seq_at(self, ts_ns: int) -> Seq:
        """The first seq at or past this door time; the end of the tape if there is none."""
        found = []
        for topic in (TICKS, *OTHERS):
            file = next((one for one in self.manifest["files"] if one["topic"] == topic and one["last_ts_ns"] >= ts_ns), None)
            if file is not None:
                frame = _read(self.path / file["path"]).filter(pl.col("ts_ns") >= ts_ns)
                found.append((int(frame["epoch"][0]), int(frame["number"][0])))
        return min(found, default=self.seqs[1])

    def earlier_in_session(self, start: Seq) -> list[Event]:
        """Session events and commands of the trading session that `start` lies in, from its open on, before `start`."""
        earlier: list[Event] = []
        for date in self.manifest["dates"]:
            others = self._others(date, 0, _key(start))
            for i, kind in enumerate(others.types):
                if kind == SessionOpen.__name__:
                    earlier = []
                if kind not in ("Beat", "Epoch", "FeedGap", "BrokerUpdate"):
                    earlier.append(others.event(i))
        return earlier

    def _files(self, topic: str, date: str, low: int, high: int) -> list[dict[str, Any]]:
        mine = (one for one in self.manifest["files"] if one["topic"] == topic and one["date"] == date)
        return [one for one in mine if _key(one["last"]) >= low and _key(one["first"]) < high]

    def _others(self, date: str, low: int, high: int, heard_beats: BeatChoice | None = None) -> _Others:
        files = [file for topic in OTHERS for file in self._files(topic, date, low, high)]
        if not files:
            return _Others(np.empty(0, np.int64), [], [], [])
        frame = pl.concat([_read(self.path / file["path"]) for file in files]).sort("epoch", "number")
        keys = _keys(frame)
        a, b = np.searchsorted(keys, [low, high])
        frame, keys = frame[a:b], keys[a:b]
        if heard_beats is not None:
            beats = (frame["type"] == "Beat").to_numpy()
            places = np.flatnonzero(beats)
            kept = ~beats
            kept[places[heard_beats(frame["ts_ns"].to_numpy()[places])]] = True
            frame, keys = frame.filter(pl.Series(kept)), keys[kept]
        return _Others(keys, frame["ts_ns"].to_list(), frame["type"].to_list(), frame["data"].to_list())


def _columns(frame: pl.DataFrame) -> dict[str, Any]:
    """A segment's tick fields, as arrays where they have no nulls: these are lists three times as fast."""
    there = {name: frame[name] for name in TICK_FIELDS if name in frame.columns}
    return {name: series if series.null_count() else series.to_numpy() for name, series in there.items()}


def _ticks(columns: dict[str, Any], start: int, stop: int) -> tuple[list[int], list[MarketTick]]:
    """Rows [start, stop) as tokens and tick objects: the hot path of a replay's reading."""
    rows = {name: column[start:stop].to_list() if isinstance(column, pl.Series) else column[start:stop].tolist()
            for name, column in columns.items()}  # fmt: skip
    values = [rows.get(name) or repeat(None, stop - start) for name in TICK_FIELDS]
    return rows["instrument_token"], list(map(MarketTick, *values))


def _key(seq: Any) -> int:
    return int(seq[0]) * _SHIFT + int(seq[1])


def _keys(frame: pl.DataFrame) -> Any:
    return (frame["epoch"].cast(pl.Int64) * _SHIFT + frame["number"]).to_numpy()


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except FileNotFoundError as error:
        raise TapeError(f"{path} is missing: the tape is not whole") from error
    except pl.exceptions.PolarsError as error:
        raise TapeError(f"{path} cannot be read as Parquet: {error}") from error


def _read_ahead(paths: Sequence[Path]) -> Iterator[pl.DataFrame]:
    with ThreadPoolExecutor(1) as pool:
        coming: Future[pl.DataFrame] | None = None
        for path in paths:
            ready, coming = coming, pool.submit(_read, path)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
