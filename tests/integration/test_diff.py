"""What two runs decided otherwise: found, attributed exactly, and shown."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.instruments import Instrument
from alphapanda.pipeline import GENERATED
from alphapanda.reference.profiles import load_profile
from alphapanda.research.comparison import compare
from alphapanda.research.runs import Run
from strategies.ema_cross import EmaCross
from tests.builders import OPEN_NS
from tests.busy import SETTINGS, Busy, OnBars, busy_tape
from tests.strategies_for_tests import Inventory


class Steady(ap.Strategy):
    """Buys and sells in turn at every tick; one of its signals can be another."""

    planted: int = 0
    size: int = 2

    def on_start(self) -> None:
        self.count = 0

    def on_market_data(self, tick: Any) -> Any:
        self.count += 1
        quantity = self.size if self.count == self.planted else 1
        yield self.buy(tick.instrument_token, quantity) if self.count % 2 else self.sell(tick.instrument_token, quantity)


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busy_tape(tmp_path_factory.mktemp("tapes") / "busy")


@pytest.fixture(scope="module")
def base(tape: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return ap.replay(tape, strategies(), settings=SETTINGS, out=tmp_path_factory.mktemp("runs"))


def strategies() -> list[ap.Strategy]:
    return [Busy(), OnBars(), Inventory(symbols=("TWO",))]


def test_one_planted_decision_in_10000_is_found_and_is_all_there_is(tmp_path: Path) -> None:
    """Its place, what it was, and what it was worth; the other 9,999 are the same."""
    path = busy_tape(tmp_path / "long", ticks=10_000, segment_rows=100_000)
    a = ap.replay(path, [Steady()], out=tmp_path)
    b = ap.replay(path, [Steady(planted=7_777)], out=tmp_path)
    found = a.diff(b)
    planted = a.topic(GENERATED).row(7_776, named=True)
    assert a.signals.height == 10_000
    assert (found.equal, found.changed["id"].to_list()) == (False, [planted["id"]])
    row = found.changed.row(0, named=True)
    assert (row["changed"], row["quantity_a"], row["quantity_b"]) == ("signal", 1, 2)
    assert found.decision is not None
    assert found.decision.why_a is not None
    assert found.decision.why_a.step("decided on").id == planted["cause"]
    assert found.attribution is not None
    assert found.attribution.total_e8 == row["difference_e8"] == b.equity["equity_e8"][-1] - a.equity["equity_e8"][-1] != 0
    assert found.made_with == [("strategy of lane 1: planted", 0, 7_777)]


def test_a_run_and_itself_or_its_repetition_have_no_difference(tape: Path, base: Run, tmp_path: Path) -> None:
    """Empty in every form."""
    again = ap.replay(tape, strategies(), settings=SETTINGS, out=tmp_path)
    for other in (base, again):
        found = base.diff(other)
        assert (found.equal, bool(found), found.changed.height, found.made_with) == (True, False, 0, [])
        assert found.attribution is not None
        assert found.attribution.as_dict()["total_e8"] == 0
        assert (found.as_dict()["decisions"], "equal" in repr(found), "equal" in found._repr_html_()) == ([], True, True)


OTHERS: dict[str, dict[str, Any]] = {
    "limits": {"risk.max_position": 12, "risk.max_order_notional": 1_500.0},
    "charges": {"charges.profile": "custom", "charges.bps": 7.3},
    "latency": {"execution.latency_ms": 20_000},
    "fills": {"execution.fill_model": "immediate", "execution.price": "mid", "execution.slippage_bps": 1.5},
    "start": {"portfolio.start_cash": 77_777.77},
    "held": {"portfolio.positions": [{"strategy_id": "busy", "symbol": "ONE", "quantity": 7, "average_price": 88.1}]},
    "everything": {
        "execution.latency_ms": 3_000,
        "charges.profile": "none",
        "risk.max_position": 30,
        "portfolio.start_cash": 5e4,
    },
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_changed_decisions_were_worth_adds_up_to_the_last_unit(tape: Path, base: Run, name: str, tmp_path: Path) -> None:
    """Decisions, another start, and nothing left over; the total is that of the last snapshots."""
    other = ap.replay(tape, strategies(), settings={**SETTINGS, **OTHERS[name]}, out=tmp_path)
    found = compare(base, other, ways=False)
    parts = found.attribution
    assert parts is not None
    assert parts.total_e8 == other.equity["equity_e8"][-1] - base.equity["equity_e8"][-1]
    assert parts.total_e8 == parts.decisions_e8 + parts.start_e8
    assert (parts.rest_e8, parts.end_e8) == (0, 0)
    assert parts.decisions_e8 == sum(found.changed["difference_e8"]) == sum(found.by_change()["difference_e8"])
    assert found.changed.height > 0 or name == "start"
    assert {setting for setting, _, _ in found.made_with} >= set(OTHERS[name]) - {"charges.profile", "portfolio.start_cash"}


def test_what_differs_first_decides_what_a_decision_is_changed_in(tape: Path, base: Run, tmp_path: Path) -> None:
    """Other limits change risk, other charges charges, another latency the execution; each first decision is the first."""
    firsts = {"limits": "risk", "charges": "charges", "latency": "execution"}
    for name, what in firsts.items():
        settings = {**SETTINGS, **OTHERS[name]}
        found = base.diff(ap.replay(signals_from=base, settings=settings, out=tmp_path))
        first = found.changed.row(0, named=True)
        assert (first["changed"], "signal" in found.changed["changed"]) == (what, False)
        assert found.decision is not None
        assert (
            found.decision.id
            == first["id"]
            == min(found.changed["id"], key=lambda one: [int(part) for part in one.partition(":")[0].split("-")])
        )


def test_a_changed_risk_decision_shows_the_checks_of_both(tape: Path, base: Run, tmp_path: Path) -> None:
    """Limit and value on each side."""
    other = ap.replay(signals_from=base, settings={"risk.max_position": 12}, out=tmp_path)
    decision = base.diff(other).decision
    assert decision is not None
    assert decision.why_a is not None
    assert decision.why_b is not None
    sides = [{one.name: one for one in way.checks}["position"] for way in (decision.why_a, decision.why_b)]
    assert [(one.result, one.limit) for one in sides] == [("passes", 60), ("objects", 12)]
    assert sides[0].value == sides[1].value


def test_other_parameters_are_attributed_too(tape: Path, tmp_path: Path) -> None:
    """Decisions of one run alone stand on one side."""
    a, b = (ap.replay(tape, [EmaCross(fast=fast, slow=30)], out=tmp_path) for fast in (5, 7))
    found = a.diff(b)
    alone = [found.changed.filter(pl.col(side).is_null()).height for side in ("a", "b")]
    assert min(alone) > 0
    assert found.attribution is not None
    assert found.attribution.decisions_e8 == b.equity["equity_e8"][-1] - a.equity["equity_e8"][-1]


def test_futures_options_dividends_and_fractions_leave_a_rest_that_is_said(tmp_path: Path) -> None:
    """Marked to market, settled, multipliers of 7.3 and 0.333: decisions and rest add up, and the rest is rounding alone."""
    path = derivatives(tmp_path / "tape")
    settings = {"risk.require_cash": False, "portfolio.settlements": {"FUT": 101.0}}
    a, b = (ap.replay(path, [Busy(every=5, seed=seed)], settings=settings, out=tmp_path) for seed in (1, 5))
    found = compare(a, b, ways=False)
    parts = found.attribution
    assert parts is not None
    assert parts.total_e8 == b.equity["equity_e8"][-1] - a.equity["equity_e8"][-1]
    assert parts.total_e8 == parts.decisions_e8 + parts.rest_e8
    assert 0 < abs(parts.rest_e8) < a.fills.height + b.fills.height
    assert a.orders["order_id"].str.ends_with(":settlement").sum() > 0


def derivatives(path: Path) -> Path:
    """Two sessions of a future that expires and of a share with an odd multiplier."""
    rows = []
    for i in range(1_200):
        day = i // 600 * 3 * 86_400 * 10**9  # Friday and Monday
        price = round(100 + (i * 7 % 40) * 0.05, 2)
        rows.append({"ts_ns": OPEN_NS + day + i % 600 * 30 * 10**9, "instrument_token": 1 + i % 2, "last_price": price})
    frame = pl.DataFrame(rows)
    table = [Instrument(1, "FUT", segment="NFO-FUT", multiplier=7.3, expiry="2024-03-04"), Instrument(2, "ODD", multiplier=1 / 3)]
    with TapeWriter(path, profile=load_profile("nse"), instruments=table, columns=frame.columns, source="test") as writer:
        writer.rows(frame)
        writer.close()
    return path


def test_runs_that_end_elsewhere_are_compared_up_to_there(tape: Path, base: Run, tmp_path: Path) -> None:
    """What was decided alike is valued at other prices: a part of its own."""
    short = ap.replay(tape, strategies(), settings=SETTINGS, end="1-20000", out=tmp_path)
    found = compare(base, short, ways=False)
    parts = found.attribution
    assert parts is not None
    assert parts.total_e8 == short.at((1, 20_000)).equity_e8 - base.equity["equity_e8"][-1]
    assert (parts.total_e8, parts.rest_e8) == (parts.decisions_e8 + parts.end_e8 + parts.start_e8, 0)
    assert parts.end_e8 != 0
    assert "different parts of the tape" in found.notes[0]


def test_without_the_tape_decisions_are_found_and_not_valued(base: Run, tape: Path, tmp_path: Path) -> None:
    """The note says so."""
    other = ap.replay(tape, strategies(), settings={**SETTINGS, "risk.max_position": 12}, out=tmp_path)
    moved = [
        Run(one.path, {**one.manifest, "tape": {**one.manifest["tape"], "path": str(tmp_path / "gone")}}) for one in (base, other)
    ]
    found = compare(*moved)
    assert (found.attribution, found.changed.height > 0, found.changed["pnl_a_e8"].null_count()) == (
        None,
        True,
        found.changed.height,
    )
    assert "nothing can be valued" in found.notes[0]
    assert "changed decisions" in repr(found)


def test_the_page_opens_offline_and_the_command_says_so_by_its_status(base: Run, tape: Path, tmp_path: Path) -> None:
    """Table, JSON, HTML; 1 where the runs differ, 0 where they do not."""
    other = ap.replay(tape, strategies(), settings={**SETTINGS, "risk.max_position": 12}, out=tmp_path)
    words = [sys.executable, "-m", "alphapanda", "diff", str(base.path), str(other.path)]
    done = subprocess.run([*words, "--html", str(tmp_path / "diff.html")], capture_output=True, text=True, check=False)
    said = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False)
    same = subprocess.run([*words[:-1], str(base.path), "--json"], capture_output=True, text=True, check=False)
    page, found = (tmp_path / "diff.html").read_text(), json.loads(said.stdout)
    assert (done.returncode, said.returncode, same.returncode) == (1, 1, 0)
    assert json.loads(same.stdout) == {"equal": True, "difference": None}
    assert found["attribution"]["total_e8"] == sum(row["difference_e8"] for row in found["decisions"])
    assert all(text in done.stdout for text in ("first difference", "first decision that differs", "what it was worth"))
    assert "http" not in page
    assert all(text in page for text in (base.id, other.id, "risk.max_position", found["first_decision"]["id"], "<polyline"))
    assert "changed decisions" in base.diff(other)._repr_html_()
