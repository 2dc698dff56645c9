"""The look-ahead check: it catches strategies that look at their tape's future, wherever they find it, and no others."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.adapters.tape import Tape
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.instruments import Instrument
from alphapanda.pipeline import TICKS
from alphapanda.reference.profiles import load_profile
from alphapanda.research.lookahead import Verdict, check, lines
from alphapanda.research.lookahead_world import FUTURES, rewritten
from alphapanda.runtime.spec import make_spec
from alphapanda.runtime.tape_make import make_tape
from tests.builders import OPEN_NS, S

pytestmark = pytest.mark.untraced

READS = """
from pathlib import Path
import numpy as np
import polars as pl
import alphapanda as ap

{before}

def ticks(where):
    files = sorted(Path(where).glob("market.ticks/*/*.parquet"))
    return pl.concat([pl.read_parquet(file) for file in files])
"""
FUTURE_BAR = '''
class FutureBar(ap.Strategy):
    """Buys where the minute that is still to come closes higher."""
    tape: str = ""

    def on_start(self):
        frame = ticks(self.tape or TAPE).with_columns((pl.col("ts_ns") // 60_000_000_000).alias("minute"))
        self.closes = {
            (token, minute): close
            for token, minute, close in frame.group_by("instrument_token", "minute").agg(pl.col("last_price").last()).iter_rows()
        }
        self.minute, self.side = {}, {}

    def on_market_data(self, tick):
        minute, token = tick.ts_ns // 60_000_000_000, tick.instrument_token
        if self.minute.get(token) != minute:
            self.minute[token] = minute
            coming = self.closes.get((token, minute), tick.last_price)
            side = (coming > tick.last_price) - (coming < tick.last_price)
            if side != self.side.get(token, 0):
                self.side[token] = side
                yield self.target(token, side)
'''
CENTRED = '''
FRAME = ticks(TAPE)  # a cache of the module, filled as it is imported

class Centred(ap.Strategy):
    """Trades around a mean over as many ticks after each as before it."""

    cache = {}

    def on_start(self):
        if not Centred.cache:
            for token, mine in FRAME.group_by("instrument_token"):
                mean = mine["last_price"].rolling_mean(41, center=True, min_samples=1)
                Centred.cache |= {(token[0], ts): value for ts, value in zip(mine["ts_ns"], mean)}
        self.side = {}

    def on_market_data(self, tick):
        mean = Centred.cache.get((tick.instrument_token, tick.ts_ns))
        if mean is None:
            return
        side = (tick.last_price < mean) - (tick.last_price > mean)
        if side != self.side.get(tick.instrument_token, 0):
            self.side[tick.instrument_token] = side
            yield self.target(tick.instrument_token, side)
'''
END_OF_DAY = '''
import duckdb

class EndOfDay(ap.Strategy):
    """Knows in the morning whether the day closes higher."""

    def on_start(self):
        files = f"'{TAPE}/market.ticks/*/*.parquet'"
        found = duckdb.sql(f"select instrument_token, max_by(last_price, number) from {files} group by 1")
        self.last, self.bought = dict(found.fetchall()), set()

    def on_market_data(self, tick):
        token = tick.instrument_token
        if token not in self.bought and self.last[token] > tick.last_price + 1:
            self.bought.add(token)
            yield self.buy(token)
'''


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One day of three instruments."""
    path = tmp_path_factory.mktemp("home") / "data" / "tapes" / "day"
    make_tape(path, seed=4, ticks=3_000, instruments=3)
    return path


def checked(where: Path | str, *names: str, cuts: int = 1, **params: Any) -> Verdict:
    strategies = [{"class": name, "params": params} for name in names]
    return check(make_spec("test", {"tape": where, "strategies": strategies}), cuts=cuts, workers=2)


def cheater(folder: Path, text: str, before: str) -> Path:
    (folder / "cheat.py").write_text(READS.format(before=before) + text)
    return folder / "cheat.py"


def test_a_future_bar_is_caught_by_a_parameter_that_names_the_tape(tape: Path, tmp_path: Path) -> None:
    """The parameter names each other future in turn; the event at the edge of the cut is shown."""
    path = cheater(tmp_path, FUTURE_BAR, "TAPE = None")
    found = checked(tape, f"{path}:FutureBar", tape=str(tape))
    first = found.first
    assert (found.clean, found.repeatable, found.read_the_tape) == (False, True, [])
    assert first is not None
    assert first.topic == "trading.signals.generated"
    assert first.with_the_tape != first.with_this_future
    assert (first.symbol in {"BANYAN", "CEDAR", "MANGROVE"}, first.future in FUTURES) == (True, True)
    assert first.id in "\n".join(lines(found))


def test_a_centred_window_in_a_cache_of_the_module_is_caught(tape: Path, tmp_path: Path) -> None:
    """The tape's absolute path stands in the strategy's text alone, and is read as the module is imported."""
    found = checked(tape, f"{cheater(tmp_path, CENTRED, f'TAPE = {str(tape)!r}')}:Centred")
    assert (found.clean, found.first is not None, found.read_the_tape) == (False, True, [])


def test_a_statistic_of_the_whole_day_is_caught(tape: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads a path relative to the working directory, with another library."""
    home = tape.parents[2]
    monkeypatch.chdir(home)
    (home / "own").mkdir(exist_ok=True)
    cheater(home / "own", END_OF_DAY, "TAPE = 'data/tapes/day'")
    found = checked("data/tapes/day", "own/cheat.py:EndOfDay")
    assert (found.clean, found.first is not None, found.decisions > 0) == (False, True, True)


def test_a_tape_beside_the_strategys_file_is_another_one_too(tape: Path, tmp_path: Path) -> None:
    """`Path(__file__).parent / ...`, of a file outside the working directory."""
    own = tmp_path / "day"
    rewritten(Tape.open(tape), own)
    path = cheater(tmp_path, FUTURE_BAR, "TAPE = Path(__file__).parent / 'day'")
    assert checked(own, f"{path}:FutureBar").first is not None


SHIPPED: dict[str, dict[str, Any]] = {
    "strategies.ema_cross:EmaCross": {"fast": 5, "slow": 20}, "strategies.mean_reversion:MeanReversion": {"window": 5},
    "strategies.pairs:Pairs": {"symbols": "BANYAN,CEDAR", "window": 20, "entry_bps": 1},
    "strategies.buy_and_hold:BuyAndHold": {}, "strategies.opening_range_breakout:OpeningRangeBreakout": {},
    "tests.strategies_for_tests:Inventory": {},
}  # fmt: skip
STRADDLE = "strategies.short_straddle:ShortStraddle"


def test_every_shipped_strategy_is_checked() -> None:
    """A new one must stand here too."""
    there = {f"strategies.{path.stem}" for path in (Path(__file__).parents[2] / "strategies").glob("[a-z]*.py")}
    assert there <= {name.partition(":")[0] for name in (*SHIPPED, STRADDLE)}


def test_the_straddle_is_clean(tmp_path: Path) -> None:
    """Over a day of one call and one put."""
    rng, rows, prices = random.Random(8), [], {11: 160.0, 12: 150.0}  # noqa: S311  # prices, not secrets
    for i in range(740):
        token = 11 + i % 2
        prices[token] = round(max(5.0, prices[token] + rng.choice([-0.5, 0.0, 0.5])), 2)
        rows.append({"ts_ns": OPEN_NS + i * 30 * S, "instrument_token": token, "last_price": prices[token]})
    legs = [
        Instrument(token, f"NIFTY22100{kind}", segment="NFO-OPT", lot_size=50, expiry="2024-03-07", underlying="NIFTY",
                   strike=22100.0, option_type=kind) for token, kind in ((11, "CE"), (12, "PE"))
    ]  # fmt: skip
    frame = pl.DataFrame(rows)
    with TapeWriter(tmp_path / "options", profile=load_profile("nse"), instruments=legs, columns=frame.columns, source="test",
                    beat_interval_s=60) as writer:  # fmt: skip
        writer.rows(frame)
        writer.close()
    found = checked(tmp_path / "options", STRADDLE)
    assert (found.clean, found.decisions > 2) == (True, True)


def test_the_shipped_strategies_are_clean(tape: Path) -> None:
    """All at once, each with decisions to look at; one of ours decides on its own fills."""
    spec = make_spec("test", {"tape": tape, "strategies": [{"class": name, "params": one} for name, one in SHIPPED.items()]})
    run = ap.replay(tape, [one.strategy for one in spec.specs()], out=tape.parents[1] / "runs")
    assert set(run.signals["strategy_id"]) == {one.strategy_id for one in spec.specs()}
    found = check(spec, cuts=3, workers=2)
    assert (found.clean, found.findings, found.decisions, found.read_besides) == (True, [], run.signals.height, [])
    assert (found.as_dict()["first"], found.replays) == (None, 17)


def test_two_replays_that_differ_by_themselves_are_told_apart_from_looking_ahead(tape: Path, tmp_path: Path) -> None:
    """A random strategy sees no future; it cannot be judged."""
    path = tmp_path / "dice.py"
    path.write_text(
        "import random\nimport alphapanda as ap\n\nclass Dice(ap.Strategy):\n    def on_market_data(self, tick):\n"
        "        if random.random() < 0.1:\n            yield self.buy(tick.instrument_token)\n"
    )
    found = checked(tape, f"{path}:Dice")
    assert (found.repeatable, found.clean) == (False, False)
    assert "not repeatable" in "\n".join(lines(found))


def test_other_files_are_named(tape: Path, tmp_path: Path) -> None:
    """What lies in a file that was made before cannot be judged: the check says so."""
    (tmp_path / "levels.csv").write_text("token,level\n1,2\n")
    path = tmp_path / "reader.py"
    path.write_text(
        "import polars as pl\nimport alphapanda as ap\n\nclass Reader(ap.Strategy):\n    levels: str = ''\n"
        "    def on_start(self):\n        self.frame, self.n = pl.read_csv(self.levels), 0\n"
        "    def on_market_data(self, tick):\n        self.n += 1\n        if self.n % 50 == 0:\n"
        "            yield self.buy(tick.instrument_token)\n"
    )
    found = checked(tape, f"{path}:Reader", levels=str(tmp_path / "levels.csv"))
    said = "\n".join(lines(found))
    assert (found.clean, [Path(one).name for one in found.read_besides]) == (True, ["levels.csv"])
    assert "parameter levels" in said


def test_a_strategy_that_opens_the_original_in_spite_of_all_is_not_clean(tape: Path, tmp_path: Path) -> None:
    """Its path is put together so that no text names it."""
    half = [str(tape)[:9], str(tape)[9:]]
    path = cheater(tmp_path, FUTURE_BAR, f"TAPE = ''.join({half!r})")
    found = checked(tape, f"{path}:FutureBar")
    assert (found.clean, found.findings, [str(tape) in one for one in found.read_the_tape][:1]) == (False, [], [True])


def test_a_replay_that_fails_without_its_future_is_a_finding(tape: Path, tmp_path: Path) -> None:
    """It counted the day's ticks beforehand."""
    count = Tape.open(tape).manifest["ticks"]
    path = cheater(tmp_path, (
        f"class Counts(ap.Strategy):\n    def on_start(self):\n        assert ticks(TAPE).height == {count}, 'too few'\n"
        "    def on_market_data(self, tick):\n        yield self.target(tick.instrument_token, 1)\n"
    ), f"TAPE = {str(tape)!r}")  # fmt: skip
    found = checked(tape, f"{path}:Counts")
    assert {one.future for one in found.findings} == {"truncated"}
    assert "too few" in found.findings[0].error


def test_what_cannot_be_replayed_at_all_is_an_error(tape: Path, tmp_path: Path) -> None:
    """Not a verdict."""
    path = tmp_path / "broken.py"
    path.write_text(
        "import alphapanda as ap\n\nclass Broken(ap.Strategy):\n    def on_start(self):\n        raise ValueError('no')\n"
    )
    with pytest.raises(AlphaPandaError, match="cannot be replayed: broken cannot be set up: ValueError: no"):
        checked(tape, f"{path}:Broken")


def test_futures_keep_the_past_and_change_all_that_follows(tape: Path, tmp_path: Path) -> None:
    """Before the cut the same events; after it none, or other prices at the same times, on the grid of the tick size."""
    opened, cut = Tape.open(tape), (1, 9_000)
    past = list(opened.events(end=cut))
    for name, future in FUTURES.items():
        made = Tape.open(future(opened, tmp_path / name, cut, 3))
        made.verify()
        later = list(made.events(cut))
        if name == "truncated":
            assert later == []
        else:
            frames = [
                pl.concat(pl.read_parquet(one.path / file["path"]) for file in one.manifest["files"] if file["topic"] == TICKS)
                .filter(pl.col("number") >= cut[1]) for one in (opened, made)
            ]  # fmt: skip
            same = (frames[0]["last_price"] == frames[1]["last_price"]).mean()
            assert (name, frames[0]["ts_ns"].equals(frames[1]["ts_ns"]), float(same or 0) < 0.35) == (name, True, True)
            cents = (frames[1]["last_price"] * 100).round().cast(pl.Int64)
            assert (cents % 5 == 0).all()
        assert list(made.events(end=cut)) == past


def test_the_command_says_so_by_its_status(tape: Path, tmp_path: Path) -> None:
    """1 with the first changed decision, 0 without one; --json prints one object."""
    path = cheater(tmp_path, FUTURE_BAR, f"TAPE = {str(tape)!r}")
    spec = tmp_path / "spec.toml"
    statuses, said = [], []
    for name in (f"{path}:FutureBar", "strategies.ema_cross:EmaCross"):
        spec.write_text(f'tape = "{tape}"\n[[strategies]]\nclass = "{name}"\n')
        words = [sys.executable, "-m", "alphapanda", "lookahead", str(spec), "--cuts", "1", "--json"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2], env=os.environ)
        statuses.append(done.returncode)
        said.append(json.loads(done.stdout))
    assert (statuses, [one["clean"] for one in said]) == ([1, 0], [False, True])
    assert said[0]["first"]["with_the_tape"] != said[0]["first"]["with_this_future"]


def test_from_a_notebook(tape: Path, tmp_path: Path) -> None:
    """`ap.lookahead` takes a spec's file, and shows its verdict."""
    spec = tmp_path / "spec.toml"
    spec.write_text(f'tape = "{tape}"\n[[strategies]]\nclass = "strategies.ema_cross:EmaCross"\n')
    found = ap.lookahead(spec, cuts=1)
    assert (found.clean, "clean" in found._repr_html_(), len(found.cuts)) == (True, True, 1)


def test_without_decisions_it_says_that_there_was_nothing_to_judge(tape: Path, tmp_path: Path) -> None:
    """Not silently clean."""
    path = tmp_path / "idle.py"
    path.write_text(
        "import alphapanda as ap\n\nclass Idle(ap.Strategy):\n    def on_market_data(self, tick):\n        return ()\n"
    )
    found = check(make_spec("test", {"tape": tape, "strategies": [{"class": f"{path}:Idle"}]}), cuts=1, workers=2)
    assert (found.decisions, "nothing to judge" in "\n".join(lines(found))) == (0, True)


def test_tapes_of_futures_are_written_by_files(tape: Path, tmp_path: Path) -> None:
    """A tape of several files: those before the cut are copied as they are."""
    opened, dst = Tape.open(tape), tmp_path / "parts"
    with TapeWriter(dst, profile=opened.profile, instruments=opened.instruments.values(), columns=opened.columns,
                    source="parts", segment_rows=1_000) as writer:  # fmt: skip
        writer.numbered(list(opened.events()))
        writer.publish({})
    parts = Tape.open(dst)
    made = Tape.open(FUTURES["up"](parts, tmp_path / "up", (1, 15_000), 1))
    before = [file["sha256"] for file in parts.manifest["files"] if file["topic"] == TICKS]
    after = [file["sha256"] for file in made.manifest["files"] if file["topic"] == TICKS]
    assert (len(before), before[0] == after[0], before[-1] == after[-1]) == (3, True, False)
