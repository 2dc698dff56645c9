"""The replay host: same bytes, whatever the process, batch or short cut."""

import json
import os
import shutil
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.adapters.tape import Tape
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.codec import encode
from alphapanda.contracts.errors import ConfigurationError, TapeError
from alphapanda.contracts.events import Event, FeedGap, KillSwitch, OrderFill
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.profiles import load_profile
from alphapanda.research.diff import diff
from alphapanda.runtime.container import AppContainer, named
from alphapanda.runtime.replay import Replay
from alphapanda.runtime.replay_run import drive
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.tape_make import make_tape
from alphapanda.runtime.tape_slice import slice_tape, tape_info
from strategies.buy_and_hold import BuyAndHold
from strategies.ema_cross import EmaCross
from strategies.mean_reversion import MeanReversion
from strategies.pairs import Pairs

pytestmark = pytest.mark.untraced

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests/data/golden"
TERMINAL = {"filled", "cancelled", "expired", "rejected", "open"}


class Chatty(ap.Strategy):
    """Trades on its own fills, so feedback decides what it says; raises in the end."""

    most: int = 60

    def on_start(self) -> None:
        self.fills = 0

    def on_market_data(self, tick: Any) -> Any:
        if self.fills == 0 and tick.last_price > 0:
            yield self.buy(tick.instrument_token, 10)

    def on_fill(self, fill: OrderFill) -> Any:
        self.fills += 1
        if self.fills == self.most:
            raise RuntimeError("enough")
        yield self.sell(fill.instrument_token, fill.quantity) if fill.quantity > 0 else self.buy(fill.instrument_token, 20)


class Modest(ap.Strategy):
    """Asks for too much once, and then for what it was told that it may have."""

    def on_start(self) -> None:
        self.asked = False

    def on_market_data(self, tick: Any) -> Any:
        if not self.asked:
            self.asked = True
            yield self.buy(tick.instrument_token, 80, client_order_id="much")

    def on_rejection(self, rejected: Any) -> Any:
        yield self.buy(rejected.instrument_token, int(rejected.limit), note=f"{rejected.client_order_id}: {rejected.reason}")


def strategies() -> list[ap.Strategy]:
    return [
        EmaCross(fast=5, slow=30, quantity=3), MeanReversion(window=5, interval="5s", entry=1.2),
        Pairs(symbols=("BANYAN", "CEDAR"), window=50, entry_bps=3), BuyAndHold(), Chatty(),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tapes") / "day"
    make_tape(path, seed=11, ticks=12_000, instruments=4)
    return path


def replay(tape: Path, out: Path, **more: Any) -> Any:
    return ap.replay(tape, strategies(), out=out, **more)


def lines_by(tape: Path, *, plain: bool, batch_rows: int = 1000) -> list[bytes]:
    """Wire lines of all outputs: by the specification alone, or by the host with its short cuts."""
    opened, lines = Tape.open(tape), list[bytes]()
    rooms = AppContainer(load_settings()).rooms(opened, named(strategies()))

    def emit(events: list[Event]) -> None:
        lines.extend(map(encode, events))

    host = Replay(rooms, 250, emit)
    if plain:
        for event in opened.events():
            emit(host.loop.step(event))
    else:
        drive(host, opened, None, None, batch_rows)
    return lines


def test_the_short_cuts_leave_no_trace(tape: Path) -> None:
    """Bars, features, feedback, an exception: the host's bytes are those of `Loop.step`."""
    expected = lines_by(tape, plain=True)
    assert len(expected) > 3_000
    assert lines_by(tape, plain=False) == expected


def test_a_strategy_hears_late_that_it_was_refused(tape: Path, tmp_path: Path) -> None:
    """By the feedback delay, with the limit, and the name of what it asked for."""
    run = ap.replay(tape, [Modest()], settings={"risk.max_position": 50}, out=tmp_path)
    signals, rejections = run.topic("trading.signals.generated"), run.rejections
    columns = ("quantity", "reason", "limit", "action", "client_order_id")
    assert rejections.select(columns).rows() == [(80, "position", 50.0, "place", "much")]
    assert signals["note"].to_list() == ["", "much: position"]
    assert signals["cause"][1] == rejections["id"][0]
    assert signals["ts"][1] - rejections["ts"][0] >= timedelta(milliseconds=250)
    assert run.fills["quantity"].to_list() == [50]


def test_batches_leave_no_trace(tape: Path) -> None:
    """Batches of 1, 7 and 5,000 ticks."""
    assert len({tuple(lines_by(tape, plain=False, batch_rows=rows)) for rows in (1, 7, 5_000)}) == 1


def test_segment_sizes_leave_no_trace(tape: Path, tmp_path: Path) -> None:
    """The same tape in segments of 500 rows has the same digest, and the same run."""
    opened = Tape.open(tape)
    with TapeWriter(
        tmp_path / "small", profile=opened.profile, instruments=opened.instruments.values(), columns=opened.columns,
        source="copy", segment_rows=500,
    ) as writer:  # fmt: skip
        writer.numbered(list(opened.events()))
        writer.publish({})
    small = Tape.open(tmp_path / "small")
    assert (small.digest, len(small.manifest["files"]) > 20) == (opened.digest, True)
    assert replay(tmp_path / "small", tmp_path / "a").digest == replay(tape, tmp_path / "b").digest


def test_processes_with_other_hash_seeds_zones_and_locales_agree(tape: Path, tmp_path: Path) -> None:
    """Two interpreters, each with an environment of its own."""
    command = [sys.executable, "-m", "alphapanda", "replay", "--tape", str(tape), "--strategy", "strategies.ema_cross:EmaCross",
               "--strategy", "strategies.mean_reversion:MeanReversion", "--out", str(tmp_path), "--json"]  # fmt: skip
    digests = []
    for seed, zone, locale in (("1", "Asia/Kolkata", "C"), ("77", "America/New_York", "tr_TR.UTF-8")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": locale, "LANG": locale}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT)
        digests.append(json.loads(done.stdout)["digests"])
    assert digests[0] == digests[1]


def test_the_golden_tape_gives_the_golden_digests(tmp_path: Path) -> None:
    """A tape that is kept with the code; these digests change only with a change of behaviour that is meant."""
    run = ap.replay(GOLDEN / "tape", strategies()[:4], out=tmp_path)
    expected = json.loads((GOLDEN / "digests.json").read_text())
    assert {"tape": run.manifest["tape"]["digest"], **run.manifest["digests"]} == expected


def test_what_must_differ_is_seen_to_differ(tape: Path, tmp_path: Path) -> None:
    """One parameter changed: another digest, and `diff` names the first decision that differs, with its tick."""
    a = ap.replay(tape, [EmaCross(fast=5)], out=tmp_path)
    b = ap.replay(tape, [EmaCross(fast=6)], out=tmp_path)
    found = diff(a, b)
    assert found is not None
    assert (a.digest == b.digest, found.topic, len(found.causes), diff(a, a)) == (False, "trading.signals.generated", 1, None)


def test_every_signal_ends_once(tape: Path, tmp_path: Path) -> None:
    """Signals are validated or rejected; each validated one is filled, cancelled, failed or open, and none is two of these."""
    run = replay(tape, tmp_path)
    signals, orders = run.signals, run.orders
    assert signals["outcome"].null_count() == 0
    assert signals.filter(signals["outcome"] == "validated").height == orders.height == orders["signal_id"].n_unique()
    assert set(orders["state"]) <= TERMINAL


def test_every_snapshot_balances(tape: Path, tmp_path: Path) -> None:
    """Equity = start + realised + unrealised - charges, to the last unit, in every book and the total."""
    frame = replay(tape, tmp_path).snapshots
    books = (frame["strategy_id"] == "*").cast(int) * 4 + 1
    off = frame["equity_e8"] - books * 100_000_000_000_000 - frame["realised_e8"] - frame["unrealised_e8"] + frame["charges_e8"]
    assert (frame.height > 100, off.abs().max()) == (True, 0)


def test_a_halted_strategy_leaves_the_others_alone(tape: Path, tmp_path: Path) -> None:
    """Chatty raises at its sixtieth fill; the others' signals are those of a replay without it."""
    whole, without = replay(tape, tmp_path), ap.replay(tape, strategies()[:4], out=tmp_path)
    assert whole.halted["error"].to_list() == ["RuntimeError: enough"]
    theirs = whole.signals.filter(whole.signals["strategy_id"] != "chatty")
    assert theirs.select("id", "size").equals(without.signals.select("id", "size"))


def test_a_kill_switch_and_a_gap_on_the_tape_are_obeyed(tmp_path: Path) -> None:
    """From the command on nothing is validated; the gap drops a bar."""
    market, token = load_profile("nse"), 101
    session = market.session_on(date(2024, 3, 1))
    assert session is not None
    times = [session.open_ts_ns + i * 500_000_000 for i in range(200)]
    rows = pl.DataFrame({"ts_ns": times, "instrument_token": [token] * 200, "last_price": [100.0 + (i % 7) for i in range(200)]})
    with TapeWriter(tmp_path / "t", profile=market, instruments=[Instrument(token, "A")], columns=[], source="test") as writer:
        writer.rows(rows[:100])
        writer.take(times[99] + 1, FeedGap("test"))
        writer.rows(rows[100:150])
        writer.take(times[149] + 1, KillSwitch(True, "test"))
        writer.rows(rows[150:])
        writer.close()
    run = ap.replay(tmp_path / "t", [EmaCross(fast=2, slow=4)], out=tmp_path)
    after = run.signals.filter(run.signals["number"] > 240)
    assert set(after["outcome"]) == {"kill_switch"}


def test_a_strategy_of_a_notebook_cell_is_kept_with_its_run(tape: Path, tmp_path: Path) -> None:
    """A class that was never in a file of a package: its source stands in the manifest."""
    run = ap.replay(tape, [Chatty(most=3)], out=tmp_path)
    assert "class Chatty" in run.manifest["strategies"][0]["source"]


def test_a_range_is_from_start_to_before_end(tape: Path, tmp_path: Path) -> None:
    """By seq and by time; a start in the middle is a cold start."""
    opened = Tape.open(tape)
    first, last = opened.seqs[0], (1, 5_000)
    head = ap.replay(tape, [EmaCross()], end="1-5000", out=tmp_path)
    expected = sum(type(event.data).__name__ == "MarketTick" for event in opened.events(first, last))
    late = ap.replay(tape, [EmaCross()], start="2024-03-01T06:00:00Z", out=tmp_path)
    assert (head.manifest["counts"]["ticks"], head.manifest["cold_start"]) == (expected, False)
    assert (late.manifest["cold_start"], late.signals["outcome"][0]) == (True, "validated")


def test_a_slice_replays_as_the_range_of_its_tape(tape: Path, tmp_path: Path) -> None:
    """Seqs stay, and the session's open comes along."""
    start, end = "2024-03-01T05:00:00Z", "2024-03-01T07:00:00Z"
    slice_tape(tape, tmp_path / "slice", start, end)
    info = tape_info(Tape.open(tmp_path / "slice"))
    whole = ap.replay(tape, [EmaCross(), MeanReversion(interval="5s")], start=start, end=end, out=tmp_path)
    cut = ap.replay(tmp_path / "slice", [EmaCross(), MeanReversion(interval="5s")], out=tmp_path)
    assert (len(info["carried"]), cut.digest) == (1, whole.digest)


def test_a_changed_file_is_noticed(tape: Path, tmp_path: Path) -> None:
    """One byte in a segment: the error names the file."""
    shutil.copytree(tape, tmp_path / "tape")
    part = next((tmp_path / "tape").rglob("part-00000.parquet"))
    data = bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(data)
    with pytest.raises(TapeError, match=r"part-00000\.parquet was changed"):
        ap.replay(tmp_path / "tape", [EmaCross()], out=tmp_path)


def test_what_the_tape_does_not_have_is_refused_before_the_start(tmp_path: Path) -> None:
    """Quotes that are not there, symbols that are not there, a folder that is no tape."""
    make_tape(tmp_path / "t", ticks=200, instruments=2)
    with pytest.raises(ConfigurationError, match="asks for ZZZ: the tape has BANYAN, CEDAR"):
        ap.replay(tmp_path / "t", [EmaCross(symbols=("ZZZ",))], out=tmp_path)
    with pytest.raises(TapeError, match="is not a tape"):
        ap.replay(tmp_path, [EmaCross()], out=tmp_path)
    with pytest.raises(ConfigurationError, match="neither a seq"):
        ap.replay(tmp_path / "t", [EmaCross()], start="noon", out=tmp_path)
    assert not list(tmp_path.glob(".run-*"))
