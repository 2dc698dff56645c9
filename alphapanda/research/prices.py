"""Prices of a run's instruments, from the tape it was made of, or from the segments of a session that still grows.

A tape is read file by file and only its columns of times and prices, so memory is bounded whatever its length.
"""

import json
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alphapanda.adapters.segments import Segments
from alphapanda.adapters.tape import earlier
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.pipeline import TICKS
from alphapanda.research.runs import Run
from alphapanda.research.tape_view import places

MOST_POINTS = 2_000
"""About so many points can be told apart on a screen."""
_COLUMNS = ("epoch", "number", "ts_ns", "instrument_token", "last_price")
_PRICE = r'^\{"type":"MarketTick".*"instrument_token":(?<instrument_token>\d+),"last_price":(?<last_price>[^,]+),'


class NoPricesError(AlphaPandaError):
    """The ticks of a run are not at hand; the message says why."""


def thinned(frame: pl.DataFrame, y: str, most: int = MOST_POINTS, ts: str = "ts") -> pl.DataFrame:
    """At most about `most` rows: of each equal stretch of time the first, the last, and those with the least and greatest `y`.

    So every extreme stays that a chart of `most / 4` pixels could show. `frame` is in time order, and so is the answer.
    """
    if frame.height <= most:
        return frame
    times = frame[ts].cast(pl.Int64).to_numpy()
    width = max(1, -(-int(times[-1] - times[0] + 1) // max(1, most // 4)))
    rows = frame.select(pl.col(y), pl.Series("_bucket", (times - times[0]) // width)).with_row_index("_row")
    kept = rows.group_by("_bucket").agg(
        pl.col("_row").first().alias("a"), pl.col("_row").last().alias("b"),
        pl.col("_row").get(pl.col(y).arg_min()).alias("c"), pl.col("_row").get(pl.col(y).arg_max()).alias("d"),
    )  # fmt: skip
    index = np.unique(kept.select(pl.col("a", "b", "c", "d").fill_null(pl.col("a"))).to_numpy())
    thin: pl.DataFrame = frame[index.tolist()]
    return thin


def price_points(
    run: Run, token: int, window_ns: tuple[int, int] | None = None, most: int = MOST_POINTS
) -> pl.DataFrame:  # fmt: skip
    """Last prices of one instrument, thinned to about `most` rows: ts (UTC), last_price. `window_ns` is [from, to).

    Raises NoPricesError.
    """
    low, high = window_ns or (0, 2**63 - 1)
    wanted = (pl.col("instrument_token") == token) & (pl.col("ts_ns") >= low) & (pl.col("ts_ns") < high)
    parts = [thinned(part.filter(wanted), "last_price", most, "ts_ns") for part in tick_parts(run)]
    frame = thinned(pl.concat(parts), "last_price", most, "ts_ns")
    return frame.select(pl.from_epoch("ts_ns", time_unit="ns").dt.replace_time_zone("UTC").alias("ts"), "last_price")


def buy_and_hold(run: Run, times: pl.Series) -> pl.DataFrame:
    """What equal parts of the start equity, put into the traded instruments, are worth at `times` (in order): ts, benchmark.

    Each part is bought at the instrument's first price in the run, in any fraction and without charges, and held to the end;
    before that price it is cash. Empty where nothing was traded. Raises NoPricesError.
    """
    tokens = run.fills["instrument_token"].unique().sort().to_list()
    if not tokens or times.len() == 0:
        return pl.DataFrame(schema={"ts": times.dtype, "benchmark": pl.Float64})
    first, prices = _on_grid(run, tokens, times.cast(pl.Int64).to_numpy())
    growth = [prices[token] / first[token] if token in first else np.ones(times.len()) for token in tokens]
    return pl.DataFrame({"ts": times, "benchmark": run.start_equity * np.mean(growth, axis=0)})


def benchmark_closes(run: Run) -> list[float] | None:
    """What buying and holding was worth at the start and at each session close, as `performance.statistics` takes it.

    None where nothing was traded, or the prices are not at hand.
    """
    ends = run.equity.filter(pl.col("reason") == "end").unique("ts", keep="last", maintain_order=True)["ts"]
    try:
        worth = buy_and_hold(run, ends)["benchmark"].to_list()
    except NoPricesError:
        return None
    return [run.start_equity, *worth] if worth else None


def last_prices(run: Run, tokens: Collection[int]) -> dict[int, float]:
    """The newest price of each instrument; one without a tick is left out. Raises NoPricesError."""
    found: dict[int, float] = {}
    for read in reversed(_readers(run)):
        mine = read().filter(pl.col("instrument_token").is_in(list(set(tokens) - found.keys())))
        newest = mine.sort("ts_ns", maintain_order=True).group_by("instrument_token").agg(pl.col("last_price").last())
        found = dict(newest.iter_rows()) | found
        if found.keys() >= set(tokens):
            break
    return found


def _on_grid(
    run: Run, tokens: list[int], grid_ns: NDArray[np.int64]
) -> tuple[dict[int, float], dict[int, NDArray[np.float64]]]:  # fmt: skip
    """Each instrument's first price, and its last price at or before each time of the grid (its first before that)."""
    first: dict[int, float] = {}
    steps = {token: np.full(len(grid_ns), np.nan) for token in tokens}
    for part in tick_parts(run):
        mine = part.filter(pl.col("instrument_token").is_in(tokens) & (pl.col("ts_ns") <= int(grid_ns[-1])))
        first = dict(mine.group_by("instrument_token").agg(pl.col("last_price").first()).iter_rows()) | first
        places = mine.with_columns(pl.Series("place", np.searchsorted(grid_ns, mine["ts_ns"].to_numpy())))
        for token, place, price in places.group_by("instrument_token", "place").agg(pl.col("last_price").last()).iter_rows():
            steps[token][place] = price
    filled = {token: pl.Series(steps[token], nan_to_null=True).forward_fill().fill_null(first[token]) for token in first}
    return first, {token: series.to_numpy() for token, series in filled.items()}


def tick_parts(run: Run) -> Iterator[pl.DataFrame]:
    """All ticks of the run as `_COLUMNS`, part by part; those of one instrument are in time order."""
    return (read() for read in _readers(run))


def _readers(run: Run) -> list[Callable[[], pl.DataFrame]]:
    readers = _of_segments(run.path) if run.manifest["tape"]["digest"] is None else _of_tape(run)
    if not readers:
        raise NoPricesError("no tick was recorded yet")
    return readers


def _of_tape(run: Run) -> list[Callable[[], pl.DataFrame]]:
    tape = run.manifest["tape"]
    others = []
    for folder in places(run):
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            continue
        if manifest.get("digest") == tape["digest"]:
            return [_tape_reader(folder / file["path"], tape) for file in manifest["files"] if file["topic"] == TICKS]
        others.append(folder)
    if others:
        raise NoPricesError(f"{others[0]} is another tape than the run was made of: its prices are not shown")
    raise NoPricesError(f"the tape {tape['path']} is not at hand any more: there are no prices to show")


def _tape_reader(path: Path, tape: dict[str, Any]) -> Callable[[], pl.DataFrame]:
    def read() -> pl.DataFrame:
        try:
            frame = pl.read_parquet(path, columns=list(_COLUMNS))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise NoPricesError(f"{path} cannot be read: {error}") from error
        return frame.filter(~earlier(tape["start"]), earlier(tape["end"]))

    return read


def _of_segments(folder: Path) -> list[Callable[[], pl.DataFrame]]:
    """One after the other of each partition: an instrument's ticks lie in one of them."""
    return [partial(_segment, segment.path) for part in Segments(folder).of([TICKS]).values() for segment in part]


def _segment(path: Path) -> pl.DataFrame:
    frame = pl.read_parquet(path, columns=["epoch", "number", "ts_ns", "line", "reason"]).filter(pl.col("reason").is_null())
    found = frame.select("epoch", "number", "ts_ns", pl.col("line").cast(pl.String).str.extract_groups(_PRICE).alias("_price"))
    typed = {"instrument_token": pl.Int64, "last_price": pl.Float64}
    return found.unnest("_price").cast(typed)  # type: ignore[arg-type]
