"""Recorded signals under other rules: the same as a replay of strategies that do not listen to their fills."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import alphapanda as ap
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.pipeline import FEATURES, FILLED, GENERATED, OUTPUT_TOPICS
from alphapanda.research.runs import Run
from alphapanda.runtime.tape_make import make_tape
from strategies.ema_cross import EmaCross
from strategies.mean_reversion import MeanReversion
from tests.busy import SETTINGS, Busy, OnBars, busy_tape
from tests.strategies_for_tests import Inventory

pytestmark = pytest.mark.untraced

OTHER: list[dict[str, Any]] = [
    {"execution.latency_ms": 700}, {"risk.max_position": 5, "risk.max_order_notional": 2_000.0}, {"charges.profile": "none"},
    {"execution.fill_model": "immediate", "execution.price": "last"}, {"execution.slippage_bps": 3, "portfolio.start_cash": 9.0},
    {"pipeline.feedback_delay_ms": 90_000}, {"pipeline.snapshot_interval_s": 7},
]  # fmt: skip


def deaf() -> list[ap.Strategy]:
    """None of them has a hook for its fills: two on ticks, one on features of bars."""
    return [EmaCross(fast=4, slow=15), Busy(), MeanReversion(window=4)]


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busy_tape(tmp_path_factory.mktemp("tapes") / "busy")


@pytest.fixture(scope="module")
def source(tape: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Recorded with settings of its own."""
    return ap.replay(tape, deaf(), settings=SETTINGS, out=tmp_path_factory.mktemp("runs"))


def digests(run: Run) -> dict[str, str]:
    """Of all topics but features, which nobody asks for when signals are played back."""
    return {topic: run.manifest["digests"][topic] for topic in OUTPUT_TOPICS if topic != FEATURES}


@pytest.mark.parametrize("settings", [{}, *OTHER], ids=lambda one: ",".join(one) or "the same")
def test_signals_played_back_give_what_a_replay_of_the_strategies_gives(
    tape: Path, source: Run, settings: dict[str, Any], tmp_path: Path
) -> None:
    """Every topic the same bytes, under the recorded settings and under others; signals keep what caused them."""
    played = ap.replay(signals_from=source, settings=settings, out=tmp_path)
    replayed = ap.replay(tape, deaf(), settings={**SETTINGS, **settings}, out=tmp_path)
    assert digests(played) == digests(replayed)
    assert played.manifest["digests"][GENERATED] == source.manifest["digests"][GENERATED]
    assert (digests(played) == digests(source)) == (not settings)


def test_the_manifest_says_whose_signals_they_are(source: Run, tmp_path: Path) -> None:
    """And with which settings they were played back; the strategies are those that said them."""
    played = ap.replay(signals_from=source, settings={"execution.latency_ms": 5}, out=tmp_path)
    said = played.manifest["signals_from"]
    assert said == {"run_id": source.id, "digest": source.digest, "signals": source.manifest["digests"][GENERATED]}
    assert source.manifest["signals_from"] is None
    assert played.manifest["strategies"] == source.manifest["strategies"]
    assert played.manifest["settings"]["execution"]["latency_ms"] == 5.0
    assert played.manifest["settings"]["risk"] == source.manifest["settings"]["risk"]
    assert f"played back from run {source.id}" in played._repr_html_()


def test_strategies_on_their_own_fills_are_played_back_as_they_were(tape: Path, tmp_path: Path) -> None:
    """Signals on fills, bars, beats and ticks; the same bytes under the same settings, and the same signals under others."""
    source = ap.replay(tape, [OnBars(), Inventory(symbols=("TWO",)), Busy(seed=3)], settings=SETTINGS, out=tmp_path)
    assert {cause.split("-")[2] for cause in source.topic(GENERATED)["cause"]} == {"0", "1", "4"}
    same = ap.replay(signals_from=source, out=tmp_path)
    slow = ap.replay(signals_from=source.path, settings={"execution.latency_ms": 900}, out=tmp_path)
    assert digests(same) == digests(source)
    assert slow.manifest["digests"][GENERATED] == source.manifest["digests"][GENERATED]
    assert slow.manifest["digests"][FILLED] != source.manifest["digests"][FILLED]


def test_a_run_from_the_middle_is_played_back_from_there(tape: Path, tmp_path: Path) -> None:
    """A cold start, and an end before the tape's."""
    source = ap.replay(tape, deaf(), settings=SETTINGS, start="1-6000", end="1-20000", out=tmp_path)
    played = ap.replay(signals_from=source, out=tmp_path)
    assert (played.manifest["cold_start"], digests(played)) == (True, digests(source))
    part = ap.replay(signals_from=source, start="1-9000", out=tmp_path)
    assert 0 < part.signals.height < source.signals.height


def test_another_tape_is_refused(source: Run, tmp_path: Path) -> None:
    """Its seqs mean other moments."""
    other = tmp_path / "other"
    make_tape(other, seed=1, ticks=500, instruments=2)
    with pytest.raises(ConfigurationError, match="seqs of one mean nothing on another"):
        ap.replay(other, signals_from=source, out=tmp_path)
    with pytest.raises(ConfigurationError, match="takes the place of strategies"):
        ap.replay(strategies=deaf(), signals_from=source, out=tmp_path)


def test_a_halted_strategy_is_played_back_halted(tape: Path, tmp_path: Path) -> None:
    """What it said up to there, and that it was halted."""
    source = ap.replay(tape, [Raises()], out=tmp_path)
    played = ap.replay(signals_from=source, out=tmp_path)
    assert (digests(played), played.halted["error"].to_list()) == (digests(source), ["ValueError: enough"])


class Raises(ap.Strategy):
    """Buys four times, then raises."""

    def on_start(self) -> None:
        self.count = 0

    def on_market_data(self, tick: Any) -> Any:
        self.count += 1
        if self.count == 5:
            raise ValueError("enough")
        yield self.buy(tick.instrument_token)


def test_from_the_command_line(tape: Path, source: Run, tmp_path: Path) -> None:
    """With settings on top; beside a strategy it is refused."""
    words = ["replay", "--signals-from", str(source.path), "--set", "execution.latency_ms=5", "--out", str(tmp_path), "--json"]
    done = subprocess.run([sys.executable, "-m", "alphapanda", *words], capture_output=True, text=True, check=False)
    said = json.loads(done.stdout)
    assert (said["signals"], said["signals_from"]["run_id"], said["same"]) == (source.signals.height, source.id, True)
    wrong = [sys.executable, "-m", "alphapanda", *words, "--strategy", "strategies.ema_cross:EmaCross"]
    refused = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert (refused.returncode, "takes the place of strategies" in refused.stderr) == (2, True)
