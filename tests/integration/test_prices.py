"""Prices of a run: from its tape, from a growing session, and not at hand."""

import shutil
from pathlib import Path

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.events import MarketTick
from alphapanda.research.performance import statistics
from alphapanda.research.prices import NoPricesError, benchmark_closes, buy_and_hold, last_prices, price_points
from alphapanda.research.runs import Run
from alphapanda.research.session_run import SessionRun
from alphapanda.runtime.log.compact import compact
from alphapanda.runtime.log.recorder import Recorder
from alphapanda.runtime.log.session import begin_session
from alphapanda.runtime.replay_run import run_replay
from alphapanda.runtime.tape_make import make_tape
from tests.played import CONTAINER, file_log, play, specs

pytestmark = pytest.mark.untraced


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    path = tmp_path_factory.mktemp("tapes") / "day"
    make_tape(path, seed=11, ticks=6_000, instruments=4)
    return Tape.open(path)


@pytest.fixture(scope="module")
def run(tape: Tape, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.open(run_replay(CONTAINER, tape, specs(), out=tmp_path_factory.mktemp("runs")).path)


def ticks(tape: Tape, start: str | None = None) -> list[MarketTick]:
    """Of the tape, one by one; `start` is a bare number of the first epoch."""
    found = tape.events((1, int(start)) if start else None)
    return [event.data for event in found if isinstance(event.data, MarketTick)]


def test_points_are_the_tapes_prices(run: Run, tape: Tape) -> None:
    """All of them where they are few; the extremes where they are many."""
    token = 1257
    mine = [(one.ts_ns, one.last_price) for one in ticks(tape) if one.instrument_token == token]
    every = price_points(run, token, most=10_000).with_columns(pl.col("ts").cast(pl.Int64)).rows()
    few = price_points(run, token, most=100)["last_price"]
    prices = [price for _, price in mine]
    assert every == mine
    assert (len(few) <= 100, few.min(), few.max()) == (True, min(prices), max(prices))


def test_points_of_a_window(run: Run, tape: Tape) -> None:
    """From its start up to, not including, its end."""
    mine = [one for one in ticks(tape) if one.instrument_token == 1257]
    low, high = mine[10].ts_ns, mine[20].ts_ns
    found = price_points(run, 1257, (low, high))
    assert found["last_price"].to_list() == [one.last_price for one in mine[10:20]]


def test_a_run_of_a_part_has_the_prices_of_that_part(tape: Tape, tmp_path: Path) -> None:
    """What was before its start is not its own."""
    part = Run.open(run_replay(CONTAINER, tape, specs(), start="1-3000", out=tmp_path).path)
    mine = [one.last_price for one in ticks(tape, "3000") if one.instrument_token == 1257]
    assert price_points(part, 1257, most=10_000)["last_price"].to_list() == mine


def test_the_benchmark_is_what_a_bare_loop_finds(run: Run, tape: Tape) -> None:
    """Equal parts, bought at each instrument's first price, valued at its last one by each time."""
    tokens = set(run.fills["instrument_token"])
    times = run.equity["ts"]
    first, last, values = {}, {}, []
    coming = iter(ticks(tape))
    tick = next(coming, None)
    for at_ns in times.cast(pl.Int64):
        while tick is not None and tick.ts_ns <= at_ns:
            first.setdefault(tick.instrument_token, tick.last_price)
            last[tick.instrument_token] = tick.last_price
            tick = next(coming, None)
        values.append(run.start_equity * sum(last[one] / first[one] if one in last else 1 for one in tokens) / len(tokens))
    found = buy_and_hold(run, times)
    assert len(tokens) > 1
    assert found["benchmark"].to_list() == pytest.approx(values, rel=1e-12)


def test_the_benchmark_at_closes_is_what_statistics_take(run: Run, tmp_path: Path) -> None:
    """The start, and the last close of the only session; none without the tape."""
    closes = benchmark_closes(run)
    end = buy_and_hold(run, run.equity["ts"])["benchmark"][-1]
    assert closes == [run.start_equity, end]
    found = statistics(run.equity, run.fills, run.round_trips, run.start_equity, closes)
    assert found["benchmark_return"].value == pytest.approx(end / run.start_equity - 1)
    gone = Run.open(run.path)
    gone.manifest["tape"]["path"] = str(tmp_path / "nowhere")
    assert benchmark_closes(gone) is None


def test_nothing_traded_has_no_benchmark(tape: Tape, tmp_path: Path) -> None:
    """Nothing can be bought that was never chosen."""

    class Still(ap.Strategy):
        pass

    run = ap.replay(tape.path, strategies=[Still()], out=tmp_path)
    assert buy_and_hold(run, run.equity["ts"]).height == 0


def test_prices_are_refused_where_the_tape_is_gone_or_another(run: Run, tape: Tape, tmp_path: Path) -> None:
    """The message says which."""
    gone, other = Run.open(run.path), Run.open(run.path)
    gone.manifest["tape"]["path"] = str(tmp_path / "nowhere")
    make_tape(tmp_path / "other", seed=12, ticks=500, instruments=4)
    other.manifest["tape"]["path"] = str(tmp_path / "other")
    with pytest.raises(NoPricesError, match="nowhere is not at hand"):
        price_points(gone, 1257)
    with pytest.raises(NoPricesError, match="another tape"):
        last_prices(other, [1257])


def test_a_relative_tape_is_found_from_the_run(tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from another working directory."""
    shutil.copytree(tape.path, tmp_path / "tapes" / "day")
    monkeypatch.chdir(tmp_path)
    made = run_replay(CONTAINER, Tape.open("tapes/day"), specs(), out=Path("data/runs"))
    monkeypatch.chdir("/")
    assert price_points(Run.open(tmp_path / made.path), 1257, most=10_000).height > 1_000


def test_a_growing_session_has_the_prices_of_its_segments(tape: Tape, tmp_path: Path) -> None:
    """The same as its tape has once it is compacted."""
    log, partitioning = file_log(tmp_path / "log")
    folder = tmp_path / "s"
    begin_session(folder, "", CONTAINER, tape, specs(), partitioning)
    empty = ap.load(folder)
    with pytest.raises(NoPricesError, match="no tick"):
        price_points(empty, 1257)
    play(log, partitioning, tape)
    recorder = Recorder(log, partitioning, folder, segment_rows=700)
    ends = recorder.ends()
    while recorder.behind(ends):
        recorder.step(1.0)
    recorder.close()
    log.close()
    growing = ap.load(folder)
    shutil.copytree(folder, tmp_path / "copy")
    made = Run.open(compact(tmp_path / "copy").run)
    tokens = [*tape.instruments, 999]
    assert isinstance(growing, SessionRun)
    assert (
        last_prices(growing, tokens) == last_prices(made, tokens) == {one.instrument_token: one.last_price for one in ticks(tape)}
    )
    assert all(price_points(growing, one).equals(price_points(made, one)) for one in tape.instruments)
    times = made.equity["ts"]
    assert buy_and_hold(growing, times).equals(buy_and_hold(made, times))
