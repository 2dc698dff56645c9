"""Trading rules through a whole replay: opening positions, corporate actions, expiry, square-off, sliced orders."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.errors import ConfigurationError, ReferenceDataError
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import E8
from alphapanda.reference.profiles import load_profile

DAYS_NS = (1_709_264_700_000_000_000, 1_709_523_900_000_000_000)  # 09:15 IST on 2024-03-01 and 2024-03-04
MINUTE_NS = 60_000_000_000
TABLE = [
    Instrument(1, "AAA", freeze_quantity=40),
    Instrument(2, "AAAFUT", "NFO-FUT", lot_size=10, expiry="2024-03-04", underlying="AAA"),
    Instrument(3, "AAA100CE", "NFO-OPT", lot_size=10, expiry="2024-03-04", underlying="AAA", strike=100.0, option_type="CE"),
]


def two_days(path: Path, second_price: float = 50.5) -> Path:
    """A tick of each instrument every minute; AAA is split two for one on the second day."""
    rows = [
        (day_ns + i * MINUTE_NS + token, token, price + 0.05 * (i % 5))
        for day_ns, prices in zip(DAYS_NS, ((100.0, 101.0, 3.0), (second_price, 104.0, 5.0)), strict=True)
        for i in range(374)
        for token, price in zip((1, 2, 3), prices, strict=True)
    ]
    frame = pl.DataFrame(rows, schema={"ts_ns": pl.Int64, "instrument_token": pl.Int64, "last_price": pl.Float64}, orient="row")
    with TapeWriter(
        path, profile=load_profile("nse"), instruments=TABLE, columns=frame.columns, source="test", beat_interval_s=60
    ) as writer:
        writer.rows(frame.sort("ts_ns"))
        writer.close()
    return path


class Once(ap.Strategy):
    """Buys each instrument at its first tick, by terms of its own."""

    quantity: int = 10
    product: str = ""

    def on_start(self) -> None:
        self.bought: set[int] = set()

    def on_market_data(self, tick: Any) -> Any:
        token = tick.instrument_token
        if token not in self.bought:
            self.bought.add(token)
            yield self.buy(token, self.quantity, **({"product": self.product} if self.product else {}))


SPLIT = {"symbol": "AAA", "ex_date": "2024-03-04", "kind": "split", "new": 2, "old": 1}
SETTINGS: dict[str, Any] = {"charges.profile": "none", "portfolio.settlements": {"AAA": 104.0}}


def test_equity_is_the_sum_of_its_parts_whatever_befalls_the_book(tmp_path: Path) -> None:
    """Start + realised + unrealised - charges, exactly, at every snapshot: opening position, split, dividend, settlement."""
    dividend = {"symbol": "AAA", "ex_date": "2024-03-04", "kind": "dividend", "amount": 1.25}
    settings = {
        **SETTINGS, "charges.profile": "zerodha", "portfolio.corporate_actions": [SPLIT, dividend],
        "portfolio.positions": [{"symbol": "AAA", "quantity": 15, "average_price": 90.0}],
    }  # fmt: skip
    run = ap.replay(two_days(tmp_path / "tape"), [Once()], settings=settings, out=tmp_path)
    start_e8 = round((1_000_000 + 15 * 90) * E8)
    parts = pl.col("realised_e8") + pl.col("unrealised_e8") - pl.col("charges_e8") + start_e8
    assert run.snapshots.height > 700
    assert run.snapshots.filter(pl.col("equity_e8") != parts).height == 0
    assert run.start_equity == 1_001_350.0


def test_what_is_held_over_expiry_is_settled_from_the_underlying(tmp_path: Path) -> None:
    """At AAA 104.00 the future is worth 104, the call 4; both books end flat in them, and the trips end there."""
    run = ap.replay(two_days(tmp_path / "tape"), [Once()], settings=SETTINGS, out=tmp_path)
    settled = run.fills.filter(pl.col("order_id").str.ends_with(":settlement"))
    assert settled.select("symbol", "quantity", "price").rows() == [("AAAFUT", -10, 104.0), ("AAA100CE", -10, 4.0)]
    held = run.positions.group_by("symbol", maintain_order=True).last().select("symbol", "quantity").rows()
    assert sorted(held) == [("AAA", 10), ("AAA100CE", 0), ("AAAFUT", 0)]
    assert run.round_trips.height == 2
    last = run.equity.row(-1, named=True)
    assert (last["reason"], last["unrealised"] + 0.0) == ("end", 10 * (50.5 + 0.05 * 3) - 10 * 100.05)


def test_trades_and_lots_of_a_run_agree_with_its_books(tmp_path: Path) -> None:
    """Whatever the method: what was realised, and what is left."""
    run = ap.replay(two_days(tmp_path / "tape"), [Once()], settings=SETTINGS, out=tmp_path)
    closed = {method: sorted(run.trades(method).select("symbol", "gross_e8").rows()) for method in ("fifo", "lifo", "average")}
    assert closed["fifo"] == closed["lifo"] == closed["average"]
    assert sum(gross for _, gross in closed["fifo"]) == run.equity["realised_e8"][-1]
    assert run.lots().select("symbol", "quantity").rows() == [("AAA", 10)]


def test_a_tape_past_expiry_without_a_price_is_an_error(tmp_path: Path) -> None:
    """It names the instrument and the setting; nothing is left of the run."""
    with pytest.raises(ReferenceDataError, match=r"AAAFUT expired on 2024-03-04 with 10 held by once.*portfolio\.settlements"):
        ap.replay(two_days(tmp_path / "tape"), [Once()], settings={"charges.profile": "none"}, out=tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_split_changes_quantity_and_price_and_not_what_is_earned(tmp_path: Path) -> None:
    """Ten at 100.05, then 20 at half: the profit is that of the price after it."""
    settings = {**SETTINGS, "portfolio.corporate_actions": [SPLIT]}
    run = ap.replay(two_days(tmp_path / "tape"), [Once(symbols=("AAA",))], settings=settings, out=tmp_path)
    last = run.positions.row(-1, named=True)
    assert (last["quantity"], last["average_price"]) == (20, 100.05 / 2)
    assert run.stats["net_pnl"] == pytest.approx(20 * (50.5 + 0.05 * 3 - 100.05 / 2), abs=1e-9)


def test_intraday_positions_are_flat_after_square_off(tmp_path: Path) -> None:
    """MIS: bought at 09:16, sold at 15:20 or the next tick, on both days nothing is held over night."""
    run = ap.replay(two_days(tmp_path / "tape"), [Once(symbols=("AAA",), product="MIS")], settings=SETTINGS, out=tmp_path)
    assert run.fills.select("quantity", "ts").rows()[1][0] == -10
    assert run.orders["product"].to_list() == ["MIS", "MIS"]
    assert run.equity.filter(pl.col("reason") == "end")["gross_exposure"].to_list() == [0.0, 0.0]


def test_what_is_above_the_freeze_quantity_is_sliced(tmp_path: Path) -> None:
    """100 of at most 40: three orders of one signal."""
    settings = {**SETTINGS, "risk.freeze_quantity": "slice"}
    run = ap.replay(two_days(tmp_path / "tape"), [Once(symbols=("AAA",), quantity=100)], settings=settings, out=tmp_path)
    assert run.orders.select("quantity", "state").rows() == [(40, "filled"), (40, "filled"), (20, "filled")]
    assert run.orders["signal_id"].n_unique() == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"portfolio.positions": [{"symbol": "ZZZ", "quantity": 1, "average_price": 1}]}, "the tape has no ZZZ; it has AAA"),
        ({"portfolio.positions": [{"symbol": "AAA", "quantity": 0, "average_price": 1}]}, "AAA has quantity 0"),
        ({"portfolio.positions": [{"symbol": "AAA", "quantity": 1, "average_price": 1, "strategy_id": "x"}]}, "strategy_id 'x'"),
        ({"portfolio.positions": [{"symbol": "AAA", "quantity": 1, "average_price": 1}] * 2}, "AAA is given twice for once"),
        ({"portfolio.settlements": {"ZZZ": 1.0}}, "ZZZ is no symbol of the tape, and no underlying"),
        ({"portfolio.corporate_actions": [{**SPLIT, "symbol": "ZZZ"}]}, "portfolio.corporate_actions: the tape has no ZZZ"),
    ],
)  # fmt: skip
def test_what_is_not_on_the_tape_is_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigurationError, match=message):
        ap.replay(two_days(tmp_path / "tape"), [Once()], settings=settings, out=tmp_path)


class Unready(ap.Strategy):
    """Cannot be set up."""

    def on_start(self) -> None:
        self.first = next(iter({}))


def test_a_strategy_that_cannot_be_set_up_is_named_with_its_line(tmp_path: Path) -> None:
    """The author's file and line, and what was raised."""
    line = Path(__file__).read_text().splitlines().index("        self.first = next(iter({}))") + 1
    with pytest.raises(ConfigurationError, match=rf"unready cannot be set up: StopIteration.*test_trading_rules\.py:{line}"):
        ap.replay(two_days(tmp_path / "tape"), [Unready()], out=tmp_path)
