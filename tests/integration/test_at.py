"""`run.at`: what a replay stopped at any moment would have."""

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.adapters.tape import Tape
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.profiles import load_profile
from alphapanda.research.runs import Run
from alphapanda.runtime.container import AppContainer, StrategySpec, named
from alphapanda.runtime.replay import Replay
from alphapanda.runtime.settings import load_settings
from tests.strategies_for_tests import Inventory, Turner

DAYS = ((2024, 3, 4), (2024, 3, 5), (2024, 3, 6))
SETTINGS: dict[str, Any] = {
    "execution.latency_ms": 40, "portfolio.start_cash": 5_000_000.0,
    "portfolio.positions": [{"strategy_id": "turner", "symbol": "HELD", "quantity": 30, "average_price": 99.5}],
    "portfolio.corporate_actions": [
        {"symbol": "HELD", "ex_date": "2024-03-05", "kind": "split", "new": 5, "old": 2},
        {"symbol": "HELD", "ex_date": "2024-03-06", "kind": "dividend", "amount": 1.25},
    ],
    "portfolio.settlements": {"FUT": 131.4}, "risk.require_cash": False,
}  # fmt: skip


def strategies() -> list[StrategySpec]:
    """Two books: one that turns, one that lives on its own fills."""
    return named([Turner(), Inventory(symbols=("FUT",))])


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of a share, a share that is split and pays, and a future that expires on the second day."""
    path = tmp_path_factory.mktemp("tapes") / "three_days"
    rng = random.Random(11)  # noqa: S311  # prices, not secrets
    table = [
        Instrument(1, "HELD"), Instrument(2, "SHARE"),
        Instrument(3, "FUT", segment="NFO-FUT", lot_size=1, multiplier=1.0, expiry="2024-03-05", underlying="IDX"),
    ]  # fmt: skip
    rows: list[dict[str, Any]] = []
    prices = {1: 100.0, 2: 250.0, 3: 130.0}
    for day, (year, month, date) in enumerate(DAYS):
        start_ns = int(datetime(year, month, date, 3, 45, tzinfo=UTC).timestamp()) * 10**9
        for i in range(1_500):
            token = rng.choice([1, 2, 3] if day < 2 else [1, 2])
            prices[token] = max(1.0, round(prices[token] + rng.choice([-0.05, 0.0, 0.05]), 2))
            rows.append({
                "ts_ns": start_ns + i * 400_000_000 + rng.randrange(10**8), "instrument_token": token,
                "last_price": prices[token], "bid": prices[token] - 0.05, "ask": prices[token] + 0.05,
            })  # fmt: skip
    frame = pl.DataFrame(rows)
    with TapeWriter(path, profile=load_profile("nse"), instruments=table, columns=frame.columns, source="test",
                    segment_rows=700) as writer:  # fmt: skip
        writer.rows(frame)
        writer.close()
    return path


@pytest.fixture(scope="module")
def run(tape: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The whole tape."""
    specs = strategies()
    return ap.replay(tape, [one.strategy for one in specs], settings=SETTINGS, out=tmp_path_factory.mktemp("runs"))


def stopped(replay: Replay) -> list[tuple[object, ...]]:
    """The books of a replay as it stands: each, and their sum."""
    portfolio = replay.rooms.portfolio
    snapshots = [data for _, data in portfolio.snapshots("test")]
    return [
        (one.strategy_id, one.cash_e8, one.realised_e8, one.unrealised_e8, one.charges_e8, one.equity_e8, one.gross_exposure_e8,
         one.net_exposure_e8)
        for one in snapshots
    ]  # fmt: skip


def test_at_200_random_moments_the_books_are_those_of_a_replay_stopped_there(tape: Path, run: Run) -> None:
    """Cash, realised, unrealised, charges, equity, exposures and quantities, as integers of 1e-8."""
    opened, settings = Tape.open(tape), load_settings(SETTINGS)
    first, last = opened.seqs
    numbers = random.Random(5).sample(range(first[1], last[1]), 200)  # noqa: S311  # places, not secrets
    seqs = sorted((1, number) for number in numbers)
    emitted: list[Any] = []
    replay = Replay(AppContainer(settings).rooms(opened, strategies()), settings.pipeline.feedback_delay_ms, emitted.extend)
    at = first
    for seq in seqs:
        for stretch in opened.runs(at, seq):
            replay.take(stretch)
        at = seq
        found = run.at(seq)
        books = [tuple(row) for row in found.books.select(
            "strategy_id", "cash_e8", "realised_e8", "unrealised_e8", "charges_e8", "equity_e8", "gross_exposure_e8",
            "net_exposure_e8",
        ).rows()]  # fmt: skip
        held = {
            (name, token): quantity
            for (_, name), book in replay.rooms.portfolio.state.books.items() for token, quantity in book.held.items()
        }  # fmt: skip
        assert books == stopped(replay), seq
        shown = found.positions.filter(pl.col("quantity") != 0).select("strategy_id", "instrument_token", "quantity").rows()
        assert {(name, token): quantity for name, token, quantity in shown} == held, seq
    assert run.manifest["counts"]["fills"] > 300


def test_a_replay_with_an_end_has_the_same_positions(tape: Path, run: Run, tmp_path: Path) -> None:
    """The public way: `end` is exclusive, and so is `at`."""
    part = ap.replay(tape, [one.strategy for one in strategies()], settings=SETTINGS, end="2024-03-05T03:50:00Z", out=tmp_path)
    there, then = part.at("2024-03-05T04:50:00Z"), run.at("2024-03-05T03:50:00Z")
    assert (there.seq, there.books.rows()) == (then.seq, then.books.rows())
    assert there.positions.equals(then.positions)


def test_the_end_is_the_last_snapshot_and_every_clock_snapshot_is_found_again(run: Run) -> None:
    """What the portfolio said by itself, after the seq it said it at."""
    clock = run.equity.filter(pl.col("reason") == "clock").sample(20, seed=3)
    for row in clock.iter_rows(named=True):
        found = run.at(row["id"]).books.row(-1, named=True)
        exact = [name for name in found if name.endswith("_e8")]
        assert [found[name] for name in exact] == [row[name] for name in exact]
    assert run.at((1, 10**9)).equity_e8 == run.equity["equity_e8"][-1]


def test_moments_are_seqs_times_datetimes_and_ids(run: Run) -> None:
    """All say the same place; what is none is refused."""
    fill = run.fills.row(40, named=True)
    by_id, by_seq = run.at(fill["id"]), run.at((1, fill["number"] + 1))
    before = run.at(f"1-{fill['number']}")
    assert by_id.books.rows() == by_seq.books.rows()
    quantity = pl.col("instrument_token") == fill["instrument_token"], pl.col("strategy_id") == fill["strategy_id"]
    held = [one.positions.filter(*quantity)["quantity"].sum() for one in (before, by_id)]
    assert held[1] - held[0] == fill["quantity"]
    noon = datetime(2024, 3, 5, 4, 0, tzinfo=UTC)
    assert run.at(noon).books.rows() == run.at("2024-03-05T04:00:00Z").books.rows()
    assert "equity" in by_id._repr_html_()
    assert by_id.as_dict()["seq"] == [1, fill["number"] + 1]
    with pytest.raises(ConfigurationError, match="no time zone"):
        run.at(datetime(2024, 3, 5))  # noqa: DTZ001
    with pytest.raises(ConfigurationError, match="neither a seq"):
        run.at("noon")


def test_before_the_first_event_there_is_the_start(run: Run) -> None:
    """Cash of both books, and what was held at its cost."""
    found = run.at("1-0")
    assert (found.equity, found.cash, found.realised, found.unrealised) == (run.start_equity, 10_000_000.0, 0.0, 0.0)
    assert run.start_equity == 10_000_000.0 + 30 * 99.5


def test_a_run_without_its_tape_says_so(run: Run, tmp_path: Path) -> None:
    """And names the place where it looked."""
    moved = Run(run.path, {**run.manifest, "tape": {**run.manifest["tape"], "path": str(tmp_path / "gone")}})
    with pytest.raises(AlphaPandaError, match="gone any more"):
        moved.at("1-5")


def test_a_cold_start_has_only_what_it_heard(tape: Path, tmp_path: Path) -> None:
    """Begun in the middle of the second day, after the split: its own open before that counts, earlier prices do not."""
    start = "2024-03-05T03:48:00Z"
    made = ap.replay(tape, [one.strategy for one in strategies()], settings=SETTINGS, start=start, out=tmp_path)
    assert made.manifest["cold_start"] is True
    last = made.equity.filter(pl.col("reason") == "end").row(-1, named=True)
    assert made.at((1, 10**9)).equity_e8 == last["equity_e8"]
