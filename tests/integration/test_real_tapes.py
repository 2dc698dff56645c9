"""Recorded data of other people: what is in it, and that it comes through. Skipped where it is not at hand."""

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.adapters.tape import Tape
from alphapanda.runtime.tape_import import import_tape
from strategies.ema_cross import EmaCross
from tests.data_folder import need

pytestmark = pytest.mark.untraced

MAPS = Path(__file__).parents[1] / "data" / "maps"


def dirty(manifest: dict[str, Any]) -> dict[str, int]:
    return {name: one["rows"] for name, one in manifest["dirty"].items() if one["rows"]}


def test_fx_quotes(tmp_path: Path) -> None:
    """Five days of two pairs: every row is a tick, crossed ones are kept and counted as the files hold them."""
    files = sorted(need("data-real/fx_ticks").glob("*.parquet"))
    manifest = import_tape(files, MAPS / "fx_ticks.toml", tmp_path / "tape")
    frame = pl.read_parquet(files)
    expected = (frame.height, {"crossed_quotes": frame.filter(pl.col("bid") > pl.col("ask")).height})
    assert (manifest["ticks"], dirty(manifest)) == expected


def test_index_values(tmp_path: Path) -> None:
    """Thirty days; what lies before 09:15 or at and after 15:30 local time is dropped."""
    path = need("data-real/nse_nifty50_index_1s") / "ticks_202208_202210.parquet"
    manifest = import_tape([path], MAPS / "nse_index_1s.toml", tmp_path / "tape")
    local = pl.read_parquet(path)["ts"].dt.convert_time_zone("Asia/Kolkata").dt.time()
    inside = int(((local >= time(9, 15)) & (local < time(15, 30))).sum())
    assert (manifest["ticks"], dirty(manifest)["outside_session"], len(manifest["dates"])) == (inside, len(local) - inside, 30)


def test_minute_bars(tmp_path: Path) -> None:
    """Ticks of each minute give back the file's open, high, low, close and volume, for every bar inside the session."""
    path = need("data-real/nse_minute") / "trade_bars.parquet"
    import_tape([path], MAPS / "nse_minute.toml", tmp_path / "tape")
    price = pl.col("last_price")
    prices = (price.first().alias("open"), price.max().alias("high"), price.min().alias("low"), price.last().alias("close"))
    keys = ["symbol", "ts"]
    found = _ticks(Tape.open(tmp_path / "tape")).group_by(keys).agg(*prices, pl.col("last_quantity").sum().cast(pl.Float64))
    local = pl.col("ts").dt.convert_time_zone("Asia/Kolkata").dt.time()
    expected = pl.read_parquet(path).filter(local.is_between(time(9, 15), time(15, 30), closed="left")).sort(keys)
    found = found.rename({"last_quantity": "volume"}).sort(keys)
    assert found.rows() == expected.select(found.columns).rows()


def test_one_sided_quotes(tmp_path: Path) -> None:
    """Carried forward, the last quote of each regular minute is the close of the minute's independent quote bar."""
    quotes = need("data-real/us_equity_ticks") / "quotes_20131007.parquet"
    bars = pl.read_parquet(need("data-real/us_equity_minute") / "quote_bars_20131007_20131011.parquet")
    import_tape([quotes], MAPS / "us_equity_quotes.toml", tmp_path / "tape")
    last = _ticks(Tape.open(tmp_path / "tape")).group_by("symbol", "ts").agg(pl.col("bid", "ask").last())
    opens, closes = datetime(2013, 10, 7, 13, 30, tzinfo=UTC), datetime(2013, 10, 7, 20, tzinfo=UTC)
    regular = bars.filter((pl.col("ts") >= opens) & (pl.col("ts") < closes) & (pl.col("symbol") != "SPY"))
    both = regular.join(last, on=["symbol", "ts"], how="left")
    same = both.filter((pl.col("bid") == pl.col("bid_close")) & (pl.col("ask") == pl.col("ask_close")))
    assert (same.height, regular.height) == (3 * 390, 3 * 390)


def test_trades(tmp_path: Path) -> None:
    """Every print of the day is a tick; shares add up."""
    path = need("data-real/us_equity_ticks") / "trades_20131007.parquet"
    manifest = import_tape([path], MAPS / "us_equity_trades.toml", tmp_path / "tape")
    frame = pl.read_parquet(path)
    found = _ticks(Tape.open(tmp_path / "tape"))
    assert (manifest["ticks"], found["last_quantity"].sum(), found["ts"].dt.date().min()) == (
        frame.height, frame["size"].sum(), date(2013, 10, 7))  # fmt: skip


def _ticks(tape: Tape) -> pl.DataFrame:
    """The ticks in order, with symbol and minute."""
    names = {one.instrument_token: one.symbol for one in tape.instruments.values()}
    files = [tape.path / one["path"] for one in tape.manifest["files"] if one["topic"] == "market.ticks"]
    minute = pl.from_epoch("ts_ns", time_unit="ns").dt.replace_time_zone("UTC").dt.truncate("1m")
    symbol = pl.col("instrument_token").replace_strict(names, return_dtype=pl.String)
    return pl.concat([pl.read_parquet(path) for path in files]).with_columns(ts=minute, symbol=symbol)


@pytest.mark.parametrize(
    ("folder", "files", "mapped"),
    [
        ("fx_ticks", "*.parquet", "fx_ticks"), ("us_equity_ticks", "trades_20131007.parquet", "us_equity_trades"),
        ("us_equity_ticks", "quotes_20131007.parquet", "us_equity_quotes"),
        ("nse_nifty50_index_1s", "*.parquet", "nse_index_1s"), ("nse_minute", "*.parquet", "nse_minute"),
    ],
)  # fmt: skip
def test_real_recordings_replay_with_fills(tmp_path: Path, folder: str, files: str, mapped: str) -> None:
    """ema_cross without charges over each recording: fills, and every signal's end is known."""
    sources = sorted(need(f"data-real/{folder}").glob(files))
    import_tape(sources, MAPS / f"{mapped}.toml", tmp_path / "tape")
    settings = {"charges.profile": "none", "risk.require_cash": False}
    run = ap.replay(tmp_path / "tape", [EmaCross()], settings=settings, out=tmp_path)
    assert run.fills.height > 5
    assert run.signals["outcome"].null_count() == 0
