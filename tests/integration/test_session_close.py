"""What is decided when a session closes: on a market that never does its order waits, elsewhere the run says what to set."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.profiles import load_profile
from alphapanda.research.runs import Run
from alphapanda.research.tearsheet import explain
from alphapanda.runtime.container import AppContainer, named
from alphapanda.runtime.settings import load_settings
from tests.log_world import Market

HOUR_NS = 3_600_000_000_000
CLOSE_NS = {"always": 1_709_337_600_000_000_000, "nse": 1_709_546_400_000_000_000}  # of 2024-03-01 UTC, 2024-03-04 IST
NEXT_OPEN_NS = {"always": CLOSE_NS["always"], "nse": CLOSE_NS["nse"] + 17 * HOUR_NS + 45 * 60_000_000_000}


class BuyOnce(ap.Strategy):
    """Buys at its first daily bar."""

    def features(self) -> Any:
        return [ap.Bars("1d")]

    def on_start(self) -> None:
        self.done = False

    def on_bar(self, bar: Any) -> Any:
        if not self.done:
            self.done = True
            yield self.buy(bar.instrument_token, 1)


def two_days(path: Path, profile: str) -> Path:
    """Ticks a minute and a second before a session's close, and a second and a minute after the next one's open."""
    market, second, close, again = load_profile(profile), 1_000_000_000, CLOSE_NS[profile], NEXT_OPEN_NS[profile]
    rows = pl.DataFrame({
        "ts_ns": [close - 60 * second, close - second, again + second, again + 60 * second], "instrument_token": [1] * 4,
        "last_price": [100.0, 101.0, 102.0, 103.0],
    })  # fmt: skip
    instrument = Instrument(1, "A", currency=market.currency)
    with TapeWriter(
        path, profile=market, instruments=[instrument], columns=[], source="test", beat_interval_s=3600
    ) as writer:  # fmt: skip
        writer.rows(rows)
        writer.close()
    return path


def bought(tmp_path: Path, profile: str, **settings: Any) -> Run:
    chosen = {"charges.profile": "none", **settings}
    return ap.replay(two_days(tmp_path / "tape", profile), [BuyOnce()], settings=chosen, out=tmp_path, progress=False)


@pytest.mark.parametrize("model", ["next_tick", "immediate", "bar_open"])
def test_where_sessions_adjoin_the_days_last_bar_is_traded_at_the_next_days_first_tick(tmp_path: Path, model: str) -> None:
    """The signal comes in the seq of the session's close; the order is none of those that expire there."""
    run = bought(tmp_path, "always", **{"execution.fill_model": model})
    assert run.fills.select("price", "ts").rows() == [(102.0, datetime(2024, 3, 2, 0, 0, 1, tzinfo=UTC))]
    assert run.signals["outcome"].to_list() == ["validated"]


def test_where_the_market_closes_the_signal_is_rejected_and_the_run_says_what_to_set(tmp_path: Path) -> None:
    """In its words, its line, and its card in a notebook."""
    run = bought(tmp_path, "nse")
    said = explain(run)
    assert said[0] == "no fills: every signal was rejected: 1 session_open"
    assert "risk.require_session=false" in said[1]
    assert "(every signal was rejected: 1 session_open)" in repr(run)
    assert "every signal was rejected" in run._repr_html_()


def test_with_that_setting_the_order_waits_for_the_next_open(tmp_path: Path) -> None:
    run = bought(tmp_path, "nse", **{"risk.require_session": False})
    assert (run.fills["price"].to_list(), "rejected" in repr(run)) == ([102.0], False)


def test_an_explanation_of_some_rejections_does_not_say_all(tmp_path: Path) -> None:
    """Of two strategies one is let through."""
    settings = {"risk.require_session": False, "risk.strategies.buy_once_2.max_order_notional": 1, "charges.profile": "none"}
    tape = two_days(tmp_path / "tape", "nse")
    run = ap.replay(tape, [BuyOnce(), BuyOnce()], settings=settings, out=tmp_path, progress=False)
    assert (run.all_rejected, explain(run)) == (False, ["rejected signals: 1 notional"])


def test_broker_rules_hold_where_sessions_adjoin() -> None:
    """Only the session is not asked for."""
    rooms = AppContainer(load_settings({"risk.broker_rules": True})).rooms(Market(), named([BuyOnce()]))  # type: ignore[arg-type]
    limits = rooms.risk.limits
    assert (limits.require_session, limits.freeze_quantity, limits.orders_per_second) == (False, "slice", 10)
