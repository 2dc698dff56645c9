"""Orders as they ended, and SQL over one run and over all runs and tapes."""

from pathlib import Path

import polars as pl
import pytest

import alphapanda as ap
from alphapanda.adapters.topic_events import events_in
from alphapanda.contracts import events as e
from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError
from alphapanda.core.lifecycle import Happening, OrderState, after, ending
from alphapanda.pipeline import CANCELLED, FAILED, FILLED, PLACED, REJECTED
from alphapanda.research import store
from alphapanda.research.order_history import WORKING_STATES
from alphapanda.research.runs import Run, runs
from tests.busy import SETTINGS, Busy, OnBars, busy_tape


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two tapes and three runs."""
    folder = tmp_path_factory.mktemp("home")
    busy_tape(folder / "tapes" / "busy")
    busy_tape(folder / "tapes" / "it's short", ticks=800, seed=9)
    for end in (None, "2024-03-01T06:00:00Z"):
        ap.replay(folder / "tapes" / "busy", [Busy(), OnBars()], settings=SETTINGS, end=end, out=folder / "runs")
    ap.replay(folder / "tapes" / "it's short", [Busy(seed=4)], settings=SETTINGS, out=folder / "runs")
    return folder


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    """The long one that ends in the middle of the day, so that some orders still work."""
    return next(one for path in runs(home / "runs")["path"] if (one := Run.open(path)).manifest["tape"]["end"][1] < 25_000
                and len(one.manifest["strategies"]) == 2)  # fmt: skip


def test_what_an_older_file_does_not_have_is_as_if_nothing_was_said(run: Run, tmp_path: Path) -> None:
    """Rejections of before they named what was refused."""
    named, file = ["action", "client_order_id"], f"{REJECTED}.parquet"
    pl.read_parquet(run.path / file).drop(named).write_parquet(tmp_path / file)
    found = [event.data for event in events_in(tmp_path / file)]
    assert {(one.action, one.client_order_id) for one in found} == {("place", "")}  # type: ignore[attr-defined]
    assert len(found) == run.rejections.height > 10


def told(run: Run) -> dict[str, dict[str, object]]:
    """Orders by the lifecycle's table, event after event."""
    happened = [event for topic in (PLACED, FILLED, CANCELLED, FAILED) for event in events_in(run.path / f"{topic}.parquet")]
    orders: dict[str, dict[str, object]] = {}
    for event in sorted(happened, key=lambda event: event.pos):
        data = event.data
        order_id = data.order_id  # type: ignore[attr-defined]
        if isinstance(data, e.OrderPlaced):
            stop = data.trigger_price is not None
            orders[order_id] = {
                "state": OrderState.NEW, "stop": stop, "quantity": data.quantity, "filled": 0, "paid": 0.0, "changes": 0,
                "limit": data.limit_price, "reason": None, "end": None,
            }  # fmt: skip
            continue
        if order_id not in orders:  # a change that failed
            continue
        one = orders[order_id]
        match data:
            case e.OrderFill():
                what = Happening.PART_FILLED if data.remaining else Happening.FILLED
                one["filled"] += data.quantity  # type: ignore[operator]
                one["paid"] += data.quantity * data.price  # type: ignore[operator]
            case e.OrderModified():
                what = Happening.MODIFIED
                one |= {"quantity": data.quantity, "limit": data.limit_price, "changes": one["changes"] + 1}  # type: ignore[operator]
            case e.OrderTriggered():
                what = Happening.TRIGGERED
            case e.OrderCancelled():
                what = ending(data.reason)
                one["reason"] = data.reason
            case e.OrderFailed():
                what = Happening.REFUSED
                one["reason"] = data.reason
        if one["state"] is OrderState.NEW and what is not Happening.REFUSED:
            one["state"] = after(OrderState.NEW, Happening.ACCEPTED_STOP if one["stop"] else Happening.ACCEPTED)
        one["state"] = after(one["state"], what)  # type: ignore[arg-type]
        one["end"] = event.ts_ns if one["state"] in ("filled", "cancelled", "expired", "rejected") else None
    for one in orders.values():
        if one["state"] is OrderState.NEW:
            one["state"] = OrderState.TRIGGER_PENDING if one["stop"] else OrderState.OPEN
    return orders


def test_every_order_ends_as_the_lifecycle_says(run: Run) -> None:
    """State, filled quantity, average price, changes, limit, reason and end; of market, limit, stop, IOC, bracket and MIS."""
    wanted = told(run)
    found = {
        row["order_id"]: {
            "state": row["state"], "stop": wanted[row["order_id"]]["stop"], "quantity": row["quantity"],
            "filled": row["filled_quantity"], "paid": (row["average_price"] or 0.0) * row["filled_quantity"],
            "changes": row["modifications"], "limit": row["limit_price"], "reason": row["reason"], "end": row["end"],
        }
        for row in run.orders.with_columns(pl.col("end_ts").dt.epoch("ns").alias("end")).iter_rows(named=True)
    }  # fmt: skip
    for order_id, one in wanted.items():
        one["state"], one["paid"] = str(one["state"]), pytest.approx(one["paid"])
        assert found[order_id] == one, order_id
    assert len(found) == len(wanted)
    assert {"filled", "cancelled", "expired"} <= set(run.orders["state"])
    assert set(run.orders["state"]) & set(WORKING_STATES)
    assert run.orders["modifications"].sum() > 3
    left = run.orders.filter(pl.col("state").is_in(WORKING_STATES))
    assert (left["remaining"] == left["quantity"] - left["filled_quantity"]).all()
    assert run.orders["charges_e8"].sum() == run.fills["charges_e8"].sum()


def rounded(value: object) -> object:
    return round(value, 9) if isinstance(value, float) else value


def test_sql_over_all_runs_says_what_each_run_says(home: Path) -> None:
    """Orders, fills, signals, equity and the rest, run by run and column by column."""
    listed = runs(home / "runs")
    for name in ("fills", "orders", "signals", "rejections", "positions", "snapshots", "equity"):
        found = store.query(f"select * from {name} order by run_id, epoch, number, stage, lane, n", listed, home / "tapes")  # noqa: S608
        rows = found.fetchall()
        for run_id, path in listed.select("run_id", "path").iter_rows():
            frame: pl.DataFrame = getattr(Run.open(path), name)
            mine = [dict(zip(found.columns, row, strict=True)) for row in rows if row[found.columns.index("run_id")] == run_id]
            shared = [one for one in frame.columns if one in found.columns and one not in ("charge_lines", "terms")]
            times = pl.selectors.datetime().dt.replace_time_zone(None).dt.cast_time_unit("us")
            wanted = frame.select(shared).with_columns(times).to_dicts()
            assert len(shared) > 10
            found_rows = [{one: rounded(row[one]) for one in shared} for row in mine]
            assert found_rows == [{one: rounded(value) for one, value in row.items()} for row in wanted], (name, run_id)


def test_sql_over_tapes_finds_every_tick(home: Path) -> None:
    """With the symbol and the time; a quote in a folder's name does no harm."""
    found = store.query("select tape, count(*), min(symbol), max(last_price) from ticks group by 1 order by 1",
                        runs(home / "runs"), home / "tapes").fetchall()  # fmt: skip
    said = store.query("select tape, ticks from tapes order by 1", runs(home / "runs"), home / "tapes").fetchall()
    assert [(tape, count) for tape, count, _, _ in found] == said == [("busy", 4_000), ("it's short", 800)]
    assert {symbol for _, _, symbol, _ in found} == {"ONE"}


def test_ap_sql_joins_runs_with_their_fills(home: Path) -> None:
    """The relation lives on its own; times are UTC."""
    text = "select r.run_id, count(f.id) as n, min(f.ts) as first from runs r left join fills f using (run_id) group by 1"
    relation = ap.sql(text, root=home / "runs", tapes=home / "tapes")
    wanted = {one: (Run.open(path).fills.height, Run.open(path).fills["ts"].min())
              for one, path in runs(home / "runs").select("run_id", "path").iter_rows()}  # fmt: skip
    found = {run_id: (n, first) for run_id, n, first in relation.fetchall()}
    assert {one: n for one, (n, _) in found.items()} == {one: n for one, (n, _) in wanted.items()}
    assert all(first.tzinfo is None and first.hour == 3 for _, first in found.values())


@pytest.mark.parametrize("view", store.VIEWS)
def test_without_runs_and_tapes_every_view_is_empty(view: str, tmp_path: Path) -> None:
    """And can be asked."""
    assert ap.sql(f"select * from {view}", root=tmp_path, tapes=tmp_path).fetchall() == []  # noqa: S608


def test_a_query_that_is_none_names_the_views(home: Path) -> None:
    """As an error of ours."""
    with pytest.raises(AlphaPandaError, match="There are runs, tapes, instruments"):
        ap.sql("select * from nothing", root=home / "runs", tapes=home / "tapes")


def test_a_damaged_tape_is_named(home: Path, tmp_path: Path) -> None:
    """Only where tapes are asked for."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "manifest.json").write_text("{")
    assert ap.sql("select count(*) from fills", root=home / "runs", tapes=tmp_path).fetchall()
    with pytest.raises(AlphaPandaError, match=r"bad/manifest.json is damaged"):
        ap.sql("select * from ticks", root=home / "runs", tapes=tmp_path)


def test_a_run_in_a_notebook_shows_its_figures_and_curve(run: Run) -> None:
    """HTML with statistics, a line, and no address to load from."""
    shown = run._repr_html_()
    assert all(text in shown for text in (run.id, "net pnl", "<polyline", "busy (seed=1", "rejected signals"))
    assert "http" not in shown


def test_every_plot_is_drawn(run: Run) -> None:
    """By name; what is none is refused."""
    from alphapanda.research.plot import PLOTS

    for name in PLOTS:
        assert len(run.plot(name).to_dict()["data"]) + len(run.plot(name).layout.annotations) > 0, name
    assert len(run.plot("fills", "TWO").data) >= 2
    assert run.plot("fills").layout.title.text.endswith("ONE")
    for words in (("nothing",), ("equity", "ONE"), ("fills", "NONE")):
        with pytest.raises(ConfigurationError):
            run.plot(*words)


def test_progress_is_told_to_who_asks(home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A function, a bar, or, where nobody looks, nothing."""
    told: list[tuple[int, int]] = []
    tape = home / "tapes" / "it's short"
    ap.replay(tape, [Busy()], out=tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (800, 800)
    ap.replay(tape, [Busy()], out=tmp_path)
    assert capfd.readouterr().err == ""
    ap.replay(tape, [Busy()], out=tmp_path, progress=True)
    with pytest.raises(ConfigurationError, match="which tape"):
        ap.replay(strategies=[Busy()])
