"""From any event back to its tick, with each risk check as it was."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research.runs import Run
from alphapanda.research.why import Why
from tests.busy import SETTINGS, Busy, OnBars, busy_tape

SHARP = {**SETTINGS, "risk.max_position": 25, "risk.orders_per_minute": 2, "risk.max_gross_exposure": 2_500.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two strategies under limits that object often."""
    folder = tmp_path_factory.mktemp("home")
    return ap.replay(busy_tape(folder / "tape", ticks=3_000), [Busy(), OnBars()], settings=SHARP, out=folder / "runs")


def of(found: Why, what: str) -> dict[str, Any]:
    return found.step(what).data


def test_every_reason_is_found_again_with_its_value_and_limit(run: Run) -> None:
    """Two rejections of each reason: the check that objects is the recorded one, to the last digit; those before it pass."""
    reasons = run.rejections.group_by("reason", maintain_order=True).head(2)
    assert reasons["reason"].n_unique() >= 5
    for row in reasons.iter_rows(named=True):
        found = run.why(row["id"])
        objecting = [one for one in found.checks if one.result == "objects"]
        if row["reason"] == "nothing_to_do":
            assert (objecting, "nothing_to_do" in found.notes[0]) == ([], True)
            continue
        said = [(one.name, one.value, one.limit, one.unit) for one in objecting]
        assert said == [(row["reason"], row["value"], row["limit"], row["unit"])]
        before = found.checks[: found.checks.index(objecting[0])]
        assert {one.result for one in before} <= {"passes", "not limited"}
        assert found.notes == []
        assert [one.what for one in found.steps][:2] == ["rejected", "signal"]


def test_a_fill_is_followed_back_to_the_tick_it_was_decided_on(run: Run) -> None:
    """Fill, the tick that filled it, order, validated signal, signal, the tick; each names the next."""
    plain = run.orders.filter(pl.col("order_type") == "MARKET", pl.col("product") == "CNC").select("order_id")
    row = run.fills.filter(pl.col("strategy_id") == "busy").join(plain, on="order_id", how="semi").row(3, named=True)
    found = run.why(row["id"])
    fill, order, signal = of(found, "fill"), of(found, "order"), of(found, "signal")
    assert (fill["quantity"], fill["order_id"]) == (row["quantity"], row["order_id"])
    assert found.step("validated").id == order["order_id"] == fill["order_id"]
    assert (found.step("signal").id, signal["strategy_id"]) == (row["signal_id"], "busy")
    tick = found.step("decided on")
    assert (tick.id, tick.topic) == (signal["cause"], "market_feed")
    assert of(found, "validated")["reference_price"] == tick.data["last_price"]
    filled_at = found.step("filled or ended at")
    assert (filled_at.id, filled_at.data["ask" if row["quantity"] > 0 else "bid"]) == (row["cause"], row["price"])
    passed = {one.name: one for one in found.checks}
    assert passed["position"].result == "passes"
    assert passed["position"].limit == 25
    assert abs(passed["position"].value or 0) <= 25


def test_a_decision_on_a_bar_shows_bar_features_and_the_last_tick(run: Run) -> None:
    """All of one instrument, and all before the decision."""
    fill = run.fills.filter(pl.col("strategy_id") == "on_bars").row(5, named=True)
    found = run.why(run.fills.filter(pl.col("id") == fill["id"]))
    bar, features, tick, signal = (of(found, name) for name in ("bar", "features", "tick", "signal"))
    assert {one["instrument_token"] for one in (bar, features, tick, signal)} == {fill["instrument_token"]}
    assert signal["note"] == f"mean {features['values']['sma_3']:.3f}"
    assert bar["close"] == tick["last_price"]


def test_a_signal_on_a_fill_shows_the_fill_that_was_heard(run: Run) -> None:
    """Feedback is part of the way."""
    signal = run.signals.filter(pl.col("note") == "took profit").row(0, named=True)
    heard = run.why(signal["id"]).step("heard")
    assert (heard.id, heard.data["quantity"]) == (signal["cause"], 4)


class Modest(ap.Strategy):
    """Asks for less once it was refused."""

    def on_start(self) -> None:
        self.asked = 80

    def on_market_data(self, tick: Any) -> Any:
        if self.asked == 80:
            self.asked = 0
            yield self.buy(tick.instrument_token, 80)

    def on_rejection(self, rejected: Any) -> Any:
        yield self.buy(rejected.instrument_token, 5, note="less")


def test_a_signal_on_a_rejection_shows_what_was_refused(tmp_path: Path) -> None:
    """Feedback of risk is part of the way, too."""
    run = ap.replay(busy_tape(tmp_path / "tape", ticks=200), [Modest()], settings={"risk.max_position": 25}, out=tmp_path)
    signal = run.signals.filter(pl.col("note") == "less").row(0, named=True)
    heard = run.why(signal["id"]).step("heard")
    assert (heard.id, heard.data["quantity"], heard.data["reason"]) == (signal["cause"], 80, "position")


def test_the_exit_of_a_bracket_leads_to_its_entry(run: Run) -> None:
    """Leg, then the parent's fill and order, then the signal of both."""
    orders = run.orders.filter(pl.col("parent_id") != "", pl.col("filled_quantity") != 0).select(
        "order_id", "parent_id", "signal_id"
    )
    fill = run.fills.join(orders, on="order_id", how="inner").row(0, named=True)
    found = run.why(fill["id"], checks=False)
    placed = [one.data["order_id"] for one in found.steps if one.what == "order"]
    assert placed == [fill["order_id"], fill["parent_id"]]
    assert (found.step("signal").id, found.checks) == (fill["signal_id"], [])


def test_what_the_engine_does_of_itself_leads_to_the_event_that_made_it(run: Run) -> None:
    """Square-off of MIS: no signal stands behind it."""
    order = run.orders.filter(pl.col("order_id").str.ends_with(":square_off")).row(0, named=True)
    found = run.why(order["order_id"])
    assert of(found, "cause") in ({"session": "2024-03-01"}, {"type": "SquareOff", "session": "2024-03-01"})
    assert "signal" not in {one.what for one in found.steps}


def test_a_changed_order_shows_its_changes(run: Run) -> None:
    """Modification and cancellation stand before the order, newest first."""
    changed = run.orders.filter(pl.col("modifications") > 0, pl.col("state") == "cancelled").row(0, named=True)
    found = run.why(run.topic("orders.cancelled").filter(pl.col("order_id") == changed["order_id"])["id"][0], checks=False)
    assert [one.what for one in found.steps][:3] == ["cancelled", "modified", "order"]


def test_positions_and_snapshots_lead_to_their_fill(run: Run) -> None:
    """Cause after cause, up to the tick."""
    position = run.positions.row(0, named=True)
    whats = [one.what for one in run.why(position["id"]).steps]
    assert (whats[:2], whats[-1]) == (["position", "fill"], "cause")


def test_without_the_tape_the_rest_is_told_and_what_is_missing(run: Run, tmp_path: Path) -> None:
    """No ticks and no checks; the note says why."""
    moved = Run(run.path, {**run.manifest, "tape": {**run.manifest["tape"], "path": str(tmp_path / "gone")}})
    found = moved.why(run.fills["id"][0])
    whats = {one.what for one in found.steps}
    assert ({"fill", "order", "validated", "signal"} <= whats, "tick" in whats, found.checks) == (True, False, [])
    assert "gone any more" in found.notes[0]


def test_checks_of_a_run_from_the_middle_are_its_own(run: Run, tmp_path: Path) -> None:
    """Empty books at a cold start: another position than in the whole run."""
    tape = run.manifest["tape"]["path"]
    part = ap.replay(tape, [Busy(), OnBars()], settings=SHARP, start="1-9000", out=tmp_path)
    for row in part.rejections.filter(pl.col("reason") != "nothing_to_do").tail(3).iter_rows(named=True):
        objecting = [one for one in part.why(row["id"]).checks if one.result == "objects"]
        assert [(one.name, one.value, one.limit) for one in objecting] == [(row["reason"], row["value"], row["limit"])]


def test_signals_played_back_lead_to_the_features_of_the_run_they_are_of(run: Run) -> None:
    """It lies beside the new one."""
    played = ap.replay(signals_from=run, settings={"execution.latency_ms": 0}, out=run.path.parent)
    fill = played.fills.filter(pl.col("strategy_id") == "on_bars").row(5, named=True)
    found = played.why(fill["id"])
    assert "values" in of(found, "features")
    assert of(found, "signal")["note"].startswith("mean")


@pytest.mark.parametrize(
    ("event_id", "message"),
    [
        ("1-2-3", "no event's id"), ("1-9-0-0-0", "came from outside"), ("1-9-4-9-0", "no event 1-9-4-9-0"),
        ("1-9-0-0-0:x", "no order"),
    ],
)  # fmt: skip
def test_what_is_no_event_of_the_run_is_an_error(run: Run, event_id: str, message: str) -> None:
    """That says what is the matter."""
    with pytest.raises(ConfigurationError, match=message):
        run.why(event_id)


def test_it_can_be_shown_and_read(run: Run) -> None:
    """As text, HTML and JSON; times are those of the wire."""
    found = run.why(run.rejections["id"][0])
    said = json.loads(json.dumps(found.as_dict()))
    assert said["steps"][0]["ts"].endswith("Z")
    assert len(said["steps"][0]["ts"]) == 30
    assert found.steps[0].id in found._repr_html_()
    assert repr(found).startswith("rejected: ")
    with pytest.raises(ConfigurationError, match="no fill on the way"):
        found.step("fill")


def test_from_the_command_line(run: Run) -> None:
    """Table or JSON."""
    fill = run.fills["id"][2]
    words = [sys.executable, "-m", "alphapanda", "why", fill, "--run", str(run.path)]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    said = json.loads(subprocess.run([*words, "--json", "--no-checks"], capture_output=True, text=True, check=True).stdout)
    assert ("stale_quote" in shown, said["id"], said["checks"]) == (True, fill, [])
