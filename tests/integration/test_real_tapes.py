"""Recorded data of other people: what is in it, and that it comes through. Skipped where it is not at hand."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.adapters.tape import Tape
from alphapanda.runtime.tape_import import import_tape
from strategies.ema_cross import EmaCross
from tests.data_folder import need

pytestmark = pytest.mark.untraced

MAPS = Path(__file__).parents[1] / "data" / "maps"


class Imported(NamedTuple):
    """A recording as a tape, and what its import says."""

    sources: list[Path]
    manifest: dict[str, Any]
    tape: Path


Recordings = Callable[[str], Imported]
SOURCES = {
    "fx_ticks": "fx_ticks/*.parquet", "us_equity_trades": "us_equity_ticks/trades_20131007.parquet",
    "us_equity_quotes": "us_equity_ticks/quotes_20131007.parquet", "nse_index_1s": "nse_nifty50_index_1s/*.parquet",
    "nse_minute": "nse_minute/*.parquet",
}  # fmt: skip
"""By the name of the map that they are imported with."""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """Imports a recording, once."""

    @cache
    def imported(name: str) -> Imported:
        folder, pattern = SOURCES[name].split("/")
        sources, tape = sorted(need(f"data-real/{folder}").glob(pattern)), tmp_path_factory.mktemp(name) / "tape"
        return Imported(sources, import_tape(sources, MAPS / f"{name}.toml", tape), tape)

    return imported


def dirty(manifest: dict[str, Any]) -> dict[str, int]:
    return {name: one["rows"] for name, one in manifest["dirty"].items() if one["rows"]}


def test_fx_quotes(recording: Recordings) -> None:
    """Five days of two pairs: every row is a tick, crossed ones are kept and counted as the files hold them."""
    files, manifest, _ = recording("fx_ticks")
    frame = pl.read_parquet(files)
    expected = (frame.height, {"crossed_quotes": frame.filter(pl.col("bid") > pl.col("ask")).height})
    assert (manifest["ticks"], dirty(manifest)) == expected


def test_index_values(recording: Recordings) -> None:
    """Thirty days; what lies before 09:15 or at and after 15:30 local time is dropped."""
    files, manifest, _ = recording("nse_index_1s")
    local = pl.read_parquet(files)["ts"].dt.convert_time_zone("Asia/Kolkata").dt.time()
    inside = int(((local >= time(9, 15)) & (local < time(15, 30))).sum())
    assert (manifest["ticks"], dirty(manifest)["outside_session"], len(manifest["dates"])) == (inside, len(local) - inside, 30)


def test_minute_bars(recording: Recordings) -> None:
    """Ticks of each minute give back the file's open, high, low, close and volume, for every bar inside the session."""
    files, _, tape = recording("nse_minute")
    price = pl.col("last_price")
    prices = (price.first().alias("open"), price.max().alias("high"), price.min().alias("low"), price.last().alias("close"))
    keys = ["symbol", "ts"]
    found = _ticks(Tape.open(tape)).group_by(keys).agg(*prices, pl.col("last_quantity").sum().cast(pl.Float64))
    local = pl.col("ts").dt.convert_time_zone("Asia/Kolkata").dt.time()
    expected = pl.read_parquet(files).filter(local.is_between(time(9, 15), time(15, 30), closed="left")).sort(keys)
    found = found.rename({"last_quantity": "volume"}).sort(keys)
    assert found.rows() == expected.select(found.columns).rows()


def test_one_sided_quotes(recording: Recordings) -> None:
    """Carried forward, the last quote of each regular minute is the close of the minute's independent quote bar."""
    bars = pl.read_parquet(need("data-real/us_equity_minute") / "quote_bars_20131007_20131011.parquet")
    last = _ticks(Tape.open(recording("us_equity_quotes").tape)).group_by("symbol", "ts").agg(pl.col("bid", "ask").last())
    opens, closes = datetime(2013, 10, 7, 13, 30, tzinfo=UTC), datetime(2013, 10, 7, 20, tzinfo=UTC)
    regular = bars.filter((pl.col("ts") >= opens) & (pl.col("ts") < closes) & (pl.col("symbol") != "SPY"))
    both = regular.join(last, on=["symbol", "ts"], how="left")
    same = both.filter((pl.col("bid") == pl.col("bid_close")) & (pl.col("ask") == pl.col("ask_close")))
    assert (same.height, regular.height) == (3 * 390, 3 * 390)


def test_trades(recording: Recordings) -> None:
    """Every print of the day is a tick; shares add up."""
    files, manifest, tape = recording("us_equity_trades")
    frame = pl.read_parquet(files)
    found = _ticks(Tape.open(tape))
    assert (manifest["ticks"], found["last_quantity"].sum(), found["ts"].dt.date().min()) == (
        frame.height, frame["size"].sum(), date(2013, 10, 7))  # fmt: skip


def _ticks(tape: Tape) -> pl.DataFrame:
    """The ticks in order, with symbol and minute."""
    names = {one.instrument_token: one.symbol for one in tape.instruments.values()}
    files = [tape.path / one["path"] for one in tape.manifest["files"] if one["topic"] == "market.ticks"]
    minute = pl.from_epoch("ts_ns", time_unit="ns").dt.replace_time_zone("UTC").dt.truncate("1m")
    symbol = pl.col("instrument_token").replace_strict(names, return_dtype=pl.String)
    return pl.concat([pl.read_parquet(path) for path in files]).with_columns(ts=minute, symbol=symbol)


@pytest.mark.parametrize("name", SOURCES)
def test_real_recordings_replay_with_fills(name: str, recording: Recordings, tmp_path: Path) -> None:
    """ema_cross without charges over each recording: fills, and every signal's end is known."""
    settings = {"charges.profile": "none", "risk.require_cash": False}
    run = ap.replay(recording(name).tape, [EmaCross()], settings=settings, out=tmp_path)
    assert run.fills.height > 5
    assert run.signals["outcome"].null_count() == 0
