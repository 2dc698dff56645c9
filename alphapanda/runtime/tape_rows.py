"""From chunks of a source file to tick rows, one class per kind of file.

What comes out has `_row` (in the file), `_key` (the time by which sources are merged: the highest so far in the file),
`ts_ns` (as stated), `instrument_token` and the tape's columns.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from alphapanda.adapters.sources import Source
from alphapanda.contracts.errors import TapeError
from alphapanda.runtime.tape_map import COUNTS, Map, Time

NS = 1_000_000_000
_UNITS = {"s": NS, "ms": 1_000_000, "us": 1000, "ns": 1}
_TICK_NAMES = {
    "price": "last_price", "size": "last_quantity", "volume": "volume", "bid": "bid", "ask": "ask",
    "bid_size": "bid_quantity", "ask_size": "ask_quantity",
}  # fmt: skip


class Dirt:
    """Counts dirty rows and does with them what the map says."""

    def __init__(self, plan: Map) -> None:
        self.counts: Counter[str] = Counter()
        self._treatments = plan.dirty.model_dump()

    def treat(self, name: str, frame: pl.DataFrame, dirty: pl.Series, path: Path, column: str) -> pl.DataFrame:
        """`frame` without the `dirty` rows where these are dropped. Raises TapeError where they are errors."""
        count = int(dirty.sum())
        if not count:
            return frame
        self.counts[name] += count
        if self._treatments[name] == "error":
            place = f"{path}, row {frame['_row'].filter(dirty)[0]}, column {column}"
            raise TapeError(f"{place}: {name.replace('_', ' ')}; mend the file, or set dirty.{name} in the map")
        return frame.filter(~dirty) if self._treatments[name] == "drop" else frame

    def truncated(self, source: Source) -> None:
        """Count the last row of a CSV that was cut short."""
        if source.truncated:
            self.counts["truncated_last_row"] += 1
            if self._treatments["truncated_last_row"] == "error":
                raise TapeError(f"{source.path}, row {source.truncated_row}: the last row is cut short; remove it")

    def summary(self) -> dict[str, dict[str, object]]:
        """For each kind of dirt: how many rows, and what was done."""
        # A one-sided quote before its other side was seen makes no tick, whatever the map says.
        treatments = {**self._treatments, "one_side_unknown": "drop"}
        return {name: {"rows": self.counts[name], "treatment": what} for name, what in treatments.items()}


class Rows:
    """The tick rows of one source file."""

    def __init__(self, plan: Map, source: Source, tokens: Mapping[str, int], dirt: Dirt) -> None:
        self._plan, self._source, self._tokens, self._dirt = plan, source, tokens, dirt
        self._named = plan.columns.named(plan.kind)
        self._key: int | None = None  # the highest time so far
        self._sides: pl.DataFrame | None = None  # of one-sided quotes: the last known of each instrument
        self._held: pl.DataFrame | None = None  # of bars: ticks that later bars may come before
        self._make = {"bars": self._bars, "one_sided_quotes": self._one_sided, "quotes": self._quotes}.get(plan.kind, self._plain)
        self.read = 0

    def first_ts_ns(self) -> int | None:
        """A bound: no tick of this file comes earlier. None for a file without rows."""
        for chunk in self._source.chunks(1):
            moment = int(times(chunk.head(1), self._plan.time, self._source.path)[0])
            return moment - (self._plan.bar.interval_s * NS if self._plan.kind == "bars" else 0)
        return None

    def frames(self) -> Iterator[pl.DataFrame]:
        """Tick rows, `_key` never falling."""
        for chunk in self._source.chunks():
            self.read += chunk.height
            if self._key is None:  # also a row that is dropped below bounds those after it
                self._key = int(times(chunk.head(1), self._plan.time, self._source.path)[0])
            frame = self._make(self._in_time(self._clean(self._typed(chunk))))
            if frame.height:
                yield frame
        self._dirt.truncated(self._source)
        if self._held is not None and self._held.height:
            yield self._held

    def _typed(self, chunk: pl.DataFrame) -> pl.DataFrame:
        """Our names and types, only the instruments that are wanted."""
        path, columns = self._source.path, self._plan.columns
        name = columns.symbol or columns.token
        symbol = chunk[name].cast(pl.String) if name else _same(self._plan.symbol, chunk.height)
        if self._plan.symbols:
            wanted = symbol.is_in(list(self._plan.symbols)).fill_null(value=False)
            chunk, symbol = chunk.filter(wanted), symbol.filter(wanted)
        token = symbol.replace_strict(self._tokens, default=None, return_dtype=pl.Int64)
        fail(path, chunk, token.is_null(), name or "", symbol, "is no instrument of the map: add it there, or set auto")
        made = [chunk["_row"], times(chunk, self._plan.time, path).alias("ts_ns"), token.alias("instrument_token")]
        for ours, theirs in self._named.items():
            made.append(self._number(chunk, ours, theirs).alias(ours))
        return pl.DataFrame(made)

    def _number(self, chunk: pl.DataFrame, ours: str, theirs: str) -> pl.Series:
        column, path = chunk[theirs], self._source.path
        values = column.cast(pl.Float64, strict=False)
        fail(path, chunk, values.is_null() & column.is_not_null(), theirs, column, "is not a number")
        if ours not in COUNTS:
            return values
        units = values / self._plan.quantity_unit
        whole = units.round(0)
        # Division by a unit such as 0.0001 leaves an error of the last binary digit; anything more is a fraction.
        broken = ((units - whole).abs() > 1e-6 * units.abs().clip(lower_bound=1.0)) | ~units.is_finite()
        why = "is not a whole number of quantity_unit: set it in the map"
        fail(path, chunk, broken.fill_null(value=False), theirs, column, why)
        return whole.cast(pl.Int64)

    def _clean(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Without rows whose price is bad; zero sizes and crossed quotes are judged on the file's own rows."""
        prices = [name for name in self._named if name not in COUNTS]
        if self._plan.kind == "trades":
            prices = ["price"]  # a print without a quote is a print
        path = self._source.path
        good = [frame[name].is_finite() for name in prices]  # null where there is none
        if self._plan.kind == "one_sided_quotes":
            bad = ~(good[0].fill_null(value=True) & good[1].fill_null(value=True)) | (good[0].is_null() & good[1].is_null())
        else:
            bad = _same(value=False, height=frame.height)
            for one in good:
                bad = bad | ~one.fill_null(value=False)
        frame = self._dirt.treat("bad_price", frame, bad, path, "/".join(self._named[name] for name in prices))
        frame = self._dirt.treat("zero_sizes", frame, self._zero(frame), path, "size")
        if self._plan.kind == "quotes":
            frame = self._crossed(frame)
        return frame

    def _zero(self, frame: pl.DataFrame) -> pl.Series:
        zero = _same(value=False, height=frame.height)
        for name in self._named:
            if name in COUNTS and not (name == "volume" and self._plan.kind == "trades"):
                mine = (frame[name] == 0).fill_null(value=False)
                side = name.removesuffix("_size")
                zero = zero | (mine & frame[side].is_not_null() if side in ("bid", "ask") else mine)
        return zero

    def _crossed(self, frame: pl.DataFrame) -> pl.DataFrame:
        crossed = (frame["bid"] > frame["ask"]).fill_null(value=False)
        return self._dirt.treat("crossed_quotes", frame, crossed, self._source.path, f"{self._named['bid']}/{self._named['ask']}")

    def _in_time(self, frame: pl.DataFrame) -> pl.DataFrame:
        """With `_key`; rows that run back are counted."""
        if not frame.height:
            return frame.with_columns(_key=pl.col("ts_ns"))
        frame = frame.with_columns(_key=pl.col("ts_ns").cum_max().clip(lower_bound=self._key))
        frame = self._dirt.treat(
            "backward_time", frame, frame["ts_ns"] < frame["_key"], self._source.path, self._plan.time.column
        )
        self._key = int(frame["_key"][-1]) if frame.height else self._key
        return frame

    def _plain(self, frame: pl.DataFrame) -> pl.DataFrame:
        return frame.rename({name: _TICK_NAMES[name] for name in self._named})

    def _quotes(self, frame: pl.DataFrame) -> pl.DataFrame:
        price = {"bid": pl.col("bid"), "ask": pl.col("ask"), "mid": (pl.col("bid") + pl.col("ask")) / 2}[self._plan.last_price]
        return self._plain(frame.with_columns(last_price=price))

    def _one_sided(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Carry each side forward; a row counts from when its instrument has both."""
        sizes = [name for name in ("bid_size", "ask_size") if name in self._named]
        frame = frame.with_columns(
            pl.when(pl.col(name.removesuffix("_size")).is_not_null()).then(pl.col(name)).alias(name) for name in sizes
        )
        known = 0 if self._sides is None else self._sides.height
        both = frame if self._sides is None else pl.concat([self._sides, frame])
        both = both.with_columns(pl.col("bid", "ask", *sizes).forward_fill().over("instrument_token"))
        self._sides = both.group_by("instrument_token", maintain_order=True).last().select(both.columns)
        frame = both[known:].filter(pl.col("bid").is_not_null() & pl.col("ask").is_not_null())
        self._dirt.counts["one_side_unknown"] += both.height - known - frame.height
        return self._quotes(self._crossed(frame))

    def _bars(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Four ticks a bar; those at or after the last bar's start wait for the next chunk."""
        path = self._plan.bar
        shift = path.interval_s * NS if path.label == "close" else 0
        ticks = []
        for n, name in enumerate(path.order.split("_")):
            at = pl.col("_key") - shift + round(path.offsets_s[n] * NS)
            price = pl.col(name).alias("last_price")
            made = [pl.col("_row"), at.alias("ts_ns"), pl.col("instrument_token"), price, at.alias("_key")]
            if "volume" in self._named:
                share = pl.col("volume") // 4
                made.append((share + (pl.col("volume") - 4 * share) * (n == 3)).alias("last_quantity"))
            ticks.append(frame.select(made).with_columns(_n=pl.lit(n)))
        # In one bar the order of the path, in one moment the order of the file.
        rows = pl.concat(ticks).sort("_key", "_row", "_n").drop("_n")
        if self._held is not None:
            rows = pl.concat([self._held, rows]).sort("_key", maintain_order=True)
        settled = rows["_key"] < (self._key or 0) - shift
        self._held = rows.filter(~settled)
        return rows.filter(settled)


def _same(value: object, height: int) -> pl.Series:
    return pl.Series([value]).new_from_index(0, height)


def times(chunk: pl.DataFrame, plan: Time, path: Path) -> pl.Series:
    """The rows' times in ns UTC. Raises TapeError with the row of one that cannot be read."""
    column = chunk[plan.column]
    if column.dtype == pl.Date:
        moments = _placed(column.cast(pl.Datetime("ns")), plan, path)
    elif isinstance(column.dtype, pl.Datetime):
        moments = _placed(column.cast(pl.Datetime("ns", column.dtype.time_zone)), plan, path)
    elif plan.unit is not None:
        moments = column.cast(pl.Int64, strict=False) * _UNITS[plan.unit]
    elif column.dtype == pl.String:
        moments = _parsed(column, plan, path)
    else:
        raise TapeError(f"{path}, column {plan.column}: {column.dtype} is no time by itself: set time.unit in the map")
    fail(path, chunk, moments.is_null(), plan.column, column, f"is not a time {_form(column, plan)}")
    return moments


def _form(column: pl.Series, plan: Time) -> str:
    """Which times are read, and what to set where the file has others."""
    if plan.unit is not None and not column.dtype.is_temporal():
        return f"in whole {plan.unit}: mend the row, or change time.unit in the map"
    where = f"of {plan.zone} " if plan.zone is not None else ""
    if column.dtype != pl.String:
        return f"{where}that there was: mend the row, or change time.zone in the map"
    if plan.format is not None:
        return f"{where}in the form {plan.format}: mend the row, or change time.format in the map"
    return f"{where}in ISO 8601 (2024-03-01T09:15:00, 2024-03-01): set time.format in the map to its form, such as %d/%m/%Y"


def _placed(moments: pl.Series, plan: Time, path: Path) -> pl.Series:
    if moments.dtype.time_zone is None:  # type: ignore[attr-defined]  # a Datetime
        if plan.zone is None:
            raise TapeError(f"{path}, column {plan.column}: times have no zone: set time.zone in the map")
        moments = moments.dt.replace_time_zone(plan.zone, ambiguous="earliest", non_existent="null")
    return moments.dt.convert_time_zone("UTC").to_physical()


def _parsed(text: pl.Series, plan: Time, path: Path) -> pl.Series:
    if plan.format is not None:
        return _placed(text.str.to_datetime(plan.format, time_unit="ns", strict=False), plan, path)
    text = text.str.replace(" ", "T", literal=True).str.replace("Z$", "+00:00")
    text = text.str.replace(r"^(\d{4}-\d\d-\d\d)$", "${1}T00:00:00").str.replace(r"(T\d\d:\d\d)([+-]\d\d:\d\d)?$", "${1}:00${2}")
    shape = "%Y-%m-%dT%H:%M:%S%.f"
    zoned = len(text) > 0 and text.drop_nulls().head(1).str.contains(r"[+-]\d\d:\d\d$").any()
    return _placed(text.str.to_datetime(shape + "%:z" * zoned, time_unit="ns", strict=False), plan, path)


def fail(path: Path, chunk: pl.DataFrame, wrong: pl.Series, column: str, values: pl.Series, why: str) -> None:
    """Raise TapeError for the first row that is wrong, if there is one."""
    if wrong.any():
        value = values.filter(wrong)[0]
        raise TapeError(f"{path}, row {chunk['_row'].filter(wrong)[0]}, column {column}: {value!r} {why}")
