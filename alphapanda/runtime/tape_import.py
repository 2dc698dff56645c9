"""Other people's recordings become a tape: read, put in one order, cleaned as the map says, and passed through the door.

Rows keep the order of their file; a time that runs back is taken as the highest before it. Files are merged by that time,
those named first going first where times are equal.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from alphapanda.adapters.sources import CHUNK_ROWS, Source
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.errors import ConfigurationError, TapeError
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.profiles import BUILT_IN, MarketProfile, load_profile
from alphapanda.runtime.tape_map import Map, MapInstrument, load_map
from alphapanda.runtime.tape_merge import Stream, merged
from alphapanda.runtime.tape_rows import Dirt, Rows

Progress = Callable[[int, int], None]
_OWN = ("_row", "_key", "_source")


def import_tape(
    sources: Sequence[Path], map_path: Path, dst: Path, progress: Progress | None = None, *, chunk_rows: int = CHUNK_ROWS
) -> dict[str, Any]:
    """Write the rows of `sources` (CSV or Parquet, described by the map) as a tape at `dst`; returns its manifest.

    `progress` is told rows done and rows in all; `chunk_rows` bounds what of a Parquet file is worked on at a time. The
    manifest's `dirty` says how many rows of each kind were dirty and what was done (of bars, rows outside the session are
    counted as ticks). Raises TapeError with file, row and column for what cannot be read; then `dst` does not appear.
    """
    plan = load_map(map_path)
    if not sources:
        raise ConfigurationError("there is no file to import: name at least one")
    columns = [plan.time.column, *plan.columns.named(plan.kind).values()]
    columns += [name for name in (plan.columns.symbol or plan.columns.token,) if name]
    files = [Source(path, columns, plan.delimiter, chunk_rows) for path in sources]
    market = load_profile(plan.profile if plan.profile in BUILT_IN else str(map_path.parent / plan.profile))
    instruments = _instruments(plan, files, map_path, market.currency)
    by_name = {one.symbol: one.instrument_token for one in instruments}
    dirt = Dirt(plan)
    cleaner = _Cleaner(plan, dirt, market, sources)
    rows = [Rows(plan, file, by_name, dirt) for file in files]
    total = sum(file.height() for file in files) if progress is not None else 0
    note = plan.note or ", ".join(path.name for path in sources)
    with TapeWriter(
        dst, profile=market, instruments=instruments, columns=_tape_columns(plan), source=note,
        beat_interval_s=plan.beat_interval_s,
    ) as writer:  # fmt: skip
        for frame in merged(_streams(rows)):
            clean, duplicates = cleaner.clean(frame)
            writer.rows(clean, duplicates)
            if progress is not None:
                progress(sum(one.read for one in rows), total)
        read = sum(one.read for one in rows)
        return writer.close({"dirty": dirt.summary(), "rows_read": read, "map": plan.model_dump(mode="json")})


def _streams(rows: Sequence[Rows]) -> list[Stream]:
    found = ((number, one, one.first_ts_ns()) for number, one in enumerate(rows))
    return [Stream(first, _numbered(one, number)) for number, one, first in found if first is not None]


def _numbered(rows: Rows, number: int) -> Callable[[], Iterator[pl.DataFrame]]:
    return lambda: (frame.with_columns(_source=pl.lit(number, pl.Int32)) for frame in rows.frames())


def _tape_columns(plan: Map) -> list[str]:
    names = set(plan.columns.named(plan.kind))
    found = {"price": "last_price", "size": "last_quantity", "bid": "bid", "ask": "ask", "bid_size": "bid_quantity",
             "ask_size": "ask_quantity", "volume": "last_quantity" if plan.kind == "bars" else "volume"}  # fmt: skip
    return [column for name, column in found.items() if name in names]


class _Cleaner:
    """What can only be judged in the one order: repeats, falling volume, rows outside sessions."""

    def __init__(self, plan: Map, dirt: Dirt, market: MarketProfile, sources: Sequence[Path]) -> None:
        self._dirt, self._market, self._sources = dirt, market, sources
        self._price = plan.columns.price or plan.columns.close or plan.columns.bid or ""
        self._duplicates_stay = plan.dirty.exact_duplicates != "drop"
        self._time = plan.time.column
        self._before: pl.DataFrame | None = None  # the last row of each instrument

    def clean(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """The rows that stay, and how many of them repeat the row before of their instrument."""
        frame = self._marked(frame)
        frame = self._treat("outside_session", frame, self._outside(frame), self._time)
        frame = self._treat("falling_volume", frame, frame["_fell"], "volume")
        frame = self._treat("exact_duplicates", frame, frame["_again"], self._price)
        return frame.drop("_fell", "_again"), int(frame["_again"].sum()) if self._duplicates_stay else 0

    def _treat(self, name: str, frame: pl.DataFrame, dirty: pl.Series, column: str) -> pl.DataFrame:
        if not dirty.any():
            return frame
        return self._dirt.treat(name, frame, dirty, self._sources[frame["_source"].filter(dirty)[0]], column)

    def _marked(self, frame: pl.DataFrame) -> pl.DataFrame:
        """With `_again` and `_fell`, each row held against the one before of its instrument."""
        known = 0 if self._before is None else self._before.height
        if "volume" in frame.columns:
            day = pl.from_epoch("_key", time_unit="ns").dt.replace_time_zone("UTC").dt.convert_time_zone(self._market.zone)
            frame = frame.with_columns(_day=day.dt.date(), _most=pl.col("volume"))
        both = frame if self._before is None else pl.concat([self._before, frame])
        values = [name for name in frame.columns if not name.startswith("_") and name != "instrument_token"]
        shifted = {name: pl.col(name).shift(1).over("instrument_token") for name in values}
        again = pl.all_horizontal(pl.col(name).eq_missing(before) for name, before in shifted.items())
        first = pl.int_range(pl.len()).over("instrument_token") == 0
        fell = pl.lit(value=False)
        if "volume" in frame.columns:
            both = both.with_columns(_most=pl.col("_most").fill_null(0).cum_max().over("instrument_token", "_day"))
            fell = (pl.col("volume") < pl.col("_most")).fill_null(value=False)
        marks = both.select((again & ~first).alias("_again"), fell.alias("_fell"))
        self._before = both.group_by("instrument_token", maintain_order=True).last().select(both.columns)
        kept = both[known:].select(name for name in both.columns if name not in ("_day", "_most"))
        return kept.with_columns(marks[known:])

    def _outside(self, frame: pl.DataFrame) -> pl.Series:
        ts_ns = frame["_key"].to_numpy()
        outside = np.ones(len(ts_ns), dtype=np.bool_)
        for one in self._market.sessions_between(int(ts_ns[0]), int(ts_ns[-1]) + 1):
            a, b = np.searchsorted(ts_ns, (one.open_ts_ns, one.close_ts_ns)).tolist()
            outside[a:b] = False
        return pl.Series(outside)


def _instruments(plan: Map, files: Sequence[Source], map_path: Path, currency: str) -> list[Instrument]:
    """The tape's table: the map's own, and with `auto` whatever else the files name."""
    listed = list(plan.instruments)
    names = {one.symbol for one in listed}
    if len(names) < len(listed):
        raise ConfigurationError(f"{map_path}: instruments: a symbol stands there twice")
    if plan.auto is not None:
        listed += [plan.auto.model_copy(update={"symbol": name}) for name in sorted(_symbols(plan, files) - names)]
    if not listed:
        raise ConfigurationError(f"{map_path}: it has no [[instruments]] and no [auto]: state what the files are of")
    used = [one.token for one in listed if one.token is not None]
    if len(set(used)) < len(used):
        raise ConfigurationError(f"{map_path}: instruments: a token stands there twice")
    free = (token for token in range(1, len(listed) + len(used) + 1) if token not in set(used))
    made = []
    for one in listed:
        own = one.token if one.token is not None else _own_token(plan, one, free)
        made.append(Instrument(own, **{**one.model_dump(exclude={"token"}), "currency": one.currency or currency}))
    return made


def _own_token(plan: Map, one: MapInstrument, free: Iterator[int]) -> int:
    if plan.columns.token is None:
        return next(free)
    if not one.symbol.isdecimal():
        raise TapeError(f"column {plan.columns.token}: {one.symbol!r} is no integer id: use columns.symbol for names")
    return int(one.symbol)


def _symbols(plan: Map, files: Sequence[Source]) -> set[str]:
    """Every symbol that the files hold and the map wants."""
    column = plan.columns.symbol or plan.columns.token
    if column is None:
        return {plan.symbol or ""}
    found: set[str] = set()
    for file in files:
        for chunk in Source(file.path, [column], plan.delimiter).chunks():
            found.update(chunk[column].cast(pl.String).drop_nulls().unique())
    return found & set(plan.symbols) if plan.symbols else found
