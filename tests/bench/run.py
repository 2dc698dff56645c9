"""Speed and memory, as ratios of two things measured in one run: `make bench`, or `python -m tests.bench.run --help`.

speed: the replay of a million ticks, from opening the tape to the last closed file of the run, against a bare loop that
does the same reading, builds the same tick objects and calls the same strategy; medians of five, taken in turn. The replay
reads the tape ahead in a thread; the bare loop reads in line, and, as a second one, ahead too. Once with the limits that
are set by default, once with every limit set, none of which refuses anything.
memory: peak of a replay of 20 million ticks against one of 2 million with the same number of fills, each in a process of
its own. peer: the same million ticks in another engine, run by the script and interpreter that are named. What is imported is
measured: the sources, or the compiled package where that comes first on the path.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import alphapanda as ap
from alphapanda.adapters.tape import Tape
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.stretches import Ticks
from alphapanda.reference.profiles import load_profile
from alphapanda.runtime.doctor import is_compiled
from alphapanda.services.strategy_runner.service import StrategyLane
from strategies.ema_cross import EmaCross

MILLION = 1_000_000
SETTINGS = {"charges.profile": "none"}
MANY = 10**6
MUCH = 10**12
OF_A_BOOK: dict[str, float] = {
    "max_position": MANY, "max_gross_exposure": MUCH, "max_net_exposure": MUCH, "max_daily_loss": MUCH, "max_drawdown": 0.99,
}  # fmt: skip
EVERY_LIMIT = {
    **SETTINGS, **{f"risk.{name}": most for name, most in OF_A_BOOK.items()},
    **{f"risk.account.{name}": most for name, most in OF_A_BOOK.items()},
    "risk.max_order_quantity": MANY, "risk.max_order_notional": MUCH, "risk.duplicate_window_s": 1e-6,
    "risk.require_margin": True, "risk.price_band_pct": 50, "risk.forbid_self_cross": True, "risk.freeze_quantity": "refuse",
    "risk.orders_per_second": MANY, "risk.orders_per_minute": MANY, "risk.orders_per_day": MANY, "risk.max_modifications": MANY,
}  # fmt: skip
EXPECTED_FILLS, EXPECTED_PNL = 14_425, -72.80


class FewSignals(EmaCross):
    """Says no more after its first thousand signals."""

    def on_start(self) -> None:
        """Nothing said yet."""
        super().on_start()
        self.said = 0

    def on_market_data(self, tick: Any) -> Any:
        """As EmaCross, while there is something left to say."""
        if self.said < 1000:
            for signal in super().on_market_data(tick):
                self.said += 1
                yield signal


def ticks(count: int, seed: int = 7, instruments: int = 10) -> pl.DataFrame:
    """The peers' tape: a random walk of each instrument on a grid of 0.05, about a millisecond apart."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, instruments, count)
    start = np.round(np.linspace(100, 3000, instruments) / 0.05).astype(np.int64)
    step = rng.choice([-2, -1, 0, 0, 1, 2], count)
    grid = np.empty(count, np.int64)
    for i in range(instruments):
        grid[which == i] = start[i] + np.cumsum(step[which == i])
    bid = grid - rng.integers(0, 2, count)
    ts_ns = 1_700_000_000_000_000_000 + np.cumsum(rng.integers(1, 2_000_000, count))
    return pl.DataFrame({
        "ts_ns": ts_ns, "instrument_token": 1001 + which, "last_price": np.round(grid * 5 / 100, 2),
        "last_quantity": rng.integers(1, 100, count), "bid": np.round(bid * 5 / 100, 2), "ask": np.round((bid + 1) * 5 / 100, 2),
    })  # fmt: skip


def make(path: Path, millions: int) -> Path:
    """A tape of this many million ticks, a million at a time."""
    table = [Instrument(1001 + i, f"S{i}", currency="USD") for i in range(10)]
    profile = load_profile("always")
    columns = ("last_quantity", "bid", "ask")
    with TapeWriter(path, profile=profile, instruments=table, columns=columns, source="benchmark") as writer:
        for part in range(millions):
            frame = ticks(MILLION, seed=7 + part)
            shift_ns = part * (int(frame["ts_ns"][-1]) - int(frame["ts_ns"][0]) + 1)
            writer.rows(frame.with_columns(pl.col("ts_ns") + shift_ns))
        writer.close()
    return path


def bare_s(tape_path: Path, *, read_ahead: bool = False) -> float:
    """Seconds of the bare loop."""
    began = time.perf_counter()
    tape = Tape.open(tape_path)
    on_tick = StrategyLane(1, "bare", EmaCross(), tape.instruments).strategy.on_market_data
    signals = []
    for run in tape.runs(read_ahead=read_ahead):
        if isinstance(run, Ticks):
            for tick in run.ticks:
                for signal in on_tick(tick) or ():
                    signals.append(signal)  # as a bare loop would
    seconds = time.perf_counter() - began
    assert len(signals) == EXPECTED_FILLS
    return seconds


def replay_s(tape_path: Path, out: Path, settings: Mapping[str, object] = SETTINGS) -> float:
    """Seconds of the whole replay; its result must be the peers'."""
    began = time.perf_counter()
    run = ap.replay(tape_path, [EmaCross()], settings=settings, out=out)
    seconds = time.perf_counter() - began
    assert (run.fills.height, round(run.stats["net_pnl"] or 0, 2)) == (EXPECTED_FILLS, EXPECTED_PNL)
    return seconds


def speed(tape: Path, out: Path, settings: Mapping[str, object]) -> dict[str, float]:
    """Medians of five, in turn, and the replay's rate as a part of the bare loops'."""
    turns = [(bare_s(tape), bare_s(tape, read_ahead=True), replay_s(tape, out, settings)) for _ in range(5)]
    bare, ahead, whole = (statistics.median(column) for column in zip(*turns, strict=True))
    return {
        "bare_s": bare, "bare_ahead_s": ahead, "replay_s": whole, "rate_of_bare": bare / whole,
        "rate_of_bare_ahead": ahead / whole,
    }  # fmt: skip


def memory(folder: Path) -> dict[str, float]:
    """Peaks in MB of 2 and 20 million ticks with the same number of fills."""
    peaks = {}
    for millions in (2, 20):
        tape = make(folder / f"t{millions}m", millions)
        command = [sys.executable, "-m", "alphapanda", "replay", "--tape", str(tape), "--strategy", "tests.bench.run:FewSignals",
                   "--set", "charges.profile=none", "--out", str(folder / "runs"), "--json"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        peaks[millions] = found["peak_rss_mb"]
        assert found["fills"] == 1000
    return {"peak_2m_mb": peaks[2], "peak_20m_mb": peaks[20], "ratio": peaks[20] / peaks[2]}


def peer(python: Path, script: Path, ticks_path: Path, whole_s: float) -> dict[str, float]:
    """The peer's loading and running against our whole replay."""
    done = subprocess.run([python, script, ticks_path], capture_output=True, text=True, check=True, cwd=script.parent)
    found = json.loads(done.stdout.splitlines()[-1])
    seconds = found["load_s"] + found["run_s"]
    return {"peer_s": seconds, "times_the_peers_rate": seconds / whole_s}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="also the memory of 2 and 20 million ticks (minutes)")
    parser.add_argument("--peer", nargs=2, type=Path, metavar=("PYTHON", "SCRIPT"), help="interpreter and script of a peer")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tape = make(folder / "t1m", 1)
        found: dict[str, Any] = {"compiled": is_compiled(), "speed": speed(tape, folder / "runs", SETTINGS)}
        found["speed_with_every_limit"] = speed(tape, folder / "runs", EVERY_LIMIT)
        if args.peer:
            frame = ticks(MILLION).with_columns(pl.col("instrument_token", "last_quantity").cast(pl.Int32))
            frame.write_parquet(folder / "peer.parquet")
            found["peer"] = peer(*args.peer, folder / "peer.parquet", found["speed"]["replay_s"])
        if args.memory:
            found["memory"] = memory(folder)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
