"""A run as frames: `load("latest").fills`, statistics, SQL.

Everything is read from the run's folder, and only when asked for. Money columns ending in `_e8` are exact integers; the
same name without the suffix is the amount as a float, for reading and plotting.
"""

import json
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.core.ledger import E8, to_e8, value_e8
from alphapanda.pipeline import (
    CANCELLED,
    FAILED,
    FEATURES,
    FILLED,
    GENERATED,
    OUTPUT_TOPICS,
    PLACED,
    POSITIONS,
    REJECTED,
    SNAPSHOTS,
    VALIDATED,
)  # fmt: skip
from alphapanda.research.order_history import order_history
from alphapanda.research.performance import Statistic

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from alphapanda.research.at import History, Moment, When
    from alphapanda.research.comparison import Comparison
    from alphapanda.research.why import Why

DEFAULT_ROOT = Path("data/runs")
TABLES = ("fills", "orders", "signals", "rejections", "positions", "snapshots", "equity", "bars", "round_trips")
"""What `Run.sql` can select from."""
SHOWN = ("net_pnl", "total_return", "sharpe", "max_drawdown", "fills", "round_trips", "win_rate", "charges")


class Run:
    """One run's results."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path, self.manifest = path, manifest
        self.id: str = manifest["run_id"]
        self.digest: str = manifest["digest"]

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """Open a run's folder. Raises AlphaPandaError when it is none."""
        folder = Path(path)
        try:
            return cls(folder, json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise AlphaPandaError(f"{folder} is not a run: it has no manifest.json") from error
        except json.JSONDecodeError as error:
            raise AlphaPandaError(f"{folder / 'manifest.json'} is damaged: {error}") from error

    def topic(self, name: str) -> pl.DataFrame:
        """The events of one output topic as stored, in `pos` order."""
        if name not in OUTPUT_TOPICS:
            raise AlphaPandaError(f"{name!r} is not an output topic: there are {', '.join(OUTPUT_TOPICS)}")
        return pl.read_parquet(self.path / f"{name}.parquet")

    @cached_property
    def instruments(self) -> pl.DataFrame:
        """The tape's instruments table."""
        return pl.read_parquet(self.path / "instruments.parquet")

    def with_symbol(self, frame: pl.DataFrame, *more: str) -> pl.DataFrame:
        """A frame that has `instrument_token`, with the symbol and other columns of the instruments table beside it."""
        return frame.join(
            self.instruments.select("instrument_token", "symbol", *more), on="instrument_token", how="left", maintain_order="left"
        )

    def _events(self, topic: str, kind: str) -> pl.DataFrame:
        return _amounts(self.with_symbol(self.topic(topic).filter(pl.col("type") == kind)))

    @cached_property
    def fills(self) -> pl.DataFrame:
        """One row a fill: id, ts, symbol, side, quantity, price, reference_price, slippage, charges, order and signal."""
        frame = self.with_symbol(self.topic(FILLED), "multiplier")
        cost = (pl.col("price") - pl.col("reference_price")) * pl.col("quantity") * pl.col("multiplier")
        total = pl.sum_horizontal(pl.col("charges").struct.unnest()).alias("charges_e8")
        side = pl.when(pl.col("quantity") > 0).then(pl.lit("buy")).otherwise(pl.lit("sell"))
        return _amounts(frame.with_columns(total, cost.alias("slippage"), side.alias("side")).rename({"charges": "charge_lines"}))

    @cached_property
    def orders(self) -> pl.DataFrame:
        """One row an order, as it ended or stood at the end of the tape: state, filled_quantity, average_price, and more.

        See `order_history` for the columns that it adds to the order as placed.
        """
        topics = (self.topic(name) for name in (PLACED, FILLED, CANCELLED, FAILED))
        return _amounts(self.with_symbol(order_history(*topics)))

    @cached_property
    def signals(self) -> pl.DataFrame:
        """One row a signal with what became of it: `outcome` is validated, or the reason of its rejection."""
        frame = self._events(GENERATED, "TradingSignal")
        refused = self.topic(REJECTED).select(pl.col("signal_id").alias("id"), pl.col("reason").alias("outcome"))
        validated = self.topic(VALIDATED).unique("signal_id")  # a sliced signal has several
        passed = validated.select(pl.col("signal_id").alias("id"), pl.lit("validated").alias("outcome"))
        return frame.join(pl.concat([refused, passed]), on="id", how="left", maintain_order="left")

    @cached_property
    def rejections(self) -> pl.DataFrame:
        """One row a rejected signal: reason, value, limit, unit."""
        return self.with_symbol(self.topic(REJECTED))

    @cached_property
    def halted(self) -> pl.DataFrame:
        """One row a strategy that raised: what, and where in its file."""
        return (
            self.topic(GENERATED).filter(pl.col("type") == "StrategyHalted").select("id", "ts", "strategy_id", "error", "where")
        )

    @cached_property
    def positions(self) -> pl.DataFrame:
        """One row a change of position."""
        return self._events(POSITIONS, "PositionUpdate")

    @cached_property
    def snapshots(self) -> pl.DataFrame:
        """Every snapshot of every book, and of their total (`*`)."""
        return _amounts(self.topic(SNAPSHOTS))

    @cached_property
    def equity(self) -> pl.DataFrame:
        """The equity curve of all books together: ts, equity, cash, realised, unrealised, charges, exposures, reason."""
        frame = self.snapshots
        return frame.filter(pl.col("strategy_id") == "*") if len(self.manifest["strategies"]) > 1 else frame

    @cached_property
    def bars(self) -> pl.DataFrame:
        """Bars that some strategy asked for, labelled by start."""
        columns = (
            "start_ts", "end_ts", "interval_s", "symbol", "instrument_token", "open", "high", "low", "close", "volume", "ticks",
            "id",
        )  # fmt: skip
        return self._events(FEATURES, "Bar").select(columns)

    @cached_property
    def features(self) -> pl.DataFrame:
        """Indicator values, one column each."""
        frame = self._events(FEATURES, "FeatureSet")
        values = ["values"] if "values" in frame.columns else []
        return frame.select("ts", "symbol", "instrument_token", "interval_s", *values, "id").unnest(*values)

    @cached_property
    def round_trips(self) -> pl.DataFrame:
        """Round trips from flat to flat, with MAE and MFE where the tape is at hand (`round_trips`)."""
        from alphapanda.research.run_figures import round_trips_of

        return self.with_symbol(round_trips_of(self))

    def trades(
        self, method: str = "fifo", grouping: str = "fill_to_fill", *, charges: str = "shared", excursions: str = "held"
    ) -> pl.DataFrame:  # fmt: skip
        """Closed trades with their `symbol` and `return`, by fifo, lifo or average cost and by grouping (`matching.match`).

        `grouping`: fill_to_fill, flat_to_reduced or flat_to_flat; `charges`: shared or first; `excursions`: held or range.
        """
        from alphapanda.research.run_figures import trades_of

        return trades_of(self, method=method, grouping=grouping, charges=charges, excursions=excursions)

    def lots(self, method: str = "fifo") -> pl.DataFrame:
        """What is left open, lot by lot (`matching.open_lots`)."""
        from alphapanda.research.run_figures import lots_of

        return lots_of(self, method)

    @cached_property
    def start_e8(self) -> int:
        """Equity of all books at the start in 1e-8: their cash, and what they already held at its cost."""
        return _start_e8(self.manifest["settings"]["portfolio"], len(self.manifest["strategies"]), self.instruments)

    @property
    def start_equity(self) -> float:
        """The same in currency."""
        return self.start_e8 / E8

    @property
    def all_rejected(self) -> bool:
        """Whether there were signals, and risk let none of them through."""
        counts = self.manifest["counts"]
        return bool(0 < counts["signals"] == sum(counts["rejected"].values()))

    @cached_property
    def statistics(self) -> dict[str, Statistic]:
        """Every figure with its unit and formula."""
        from alphapanda.research.run_figures import statistics_of

        return statistics_of(self)

    @property
    def stats(self) -> dict[str, float | int | None]:
        """Every figure by name."""
        return {name: one.value for name, one in self.statistics.items()}

    @cached_property
    def _connection(self) -> tuple[duckdb.DuckDBPyConnection, TemporaryDirectory[str]]:
        """An in-memory database with a view of each frame; the files behind the views go when this run is let go."""
        from alphapanda.research.store import views

        return views({name: getattr(self, name) for name in TABLES})

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """A DuckDB relation over the frames of the same names (`TABLES`); times are UTC without a zone."""
        return self._connection[0].sql(query)

    @cached_property
    def history(self) -> "History":
        """What moved the books, with the tape that prices them; what `at` asks. Raises AlphaPandaError without the tape."""
        from alphapanda.research.at import History

        return History(self)

    def at(self, when: "When") -> "Moment":
        """Positions, cash and P&L as a replay stopped there would have them: just before a seq or time, or after an event.

        `when` is a seq (`"1-500"`), a time (text with a zone, or a datetime), or an event's id (`"1-500-4-1-0"`). Needs the
        tape. Raises AlphaPandaError where it is not at hand.
        """
        return self.history.at(self.history.seq(when))

    def why(self, event: "str | pl.DataFrame", *, checks: bool = True) -> "Why":
        """From a fill, a rejection or any other event (its id, or a frame of one row) back to the tick that it came of."""
        from alphapanda.research.why import explain

        return explain(self, event if isinstance(event, str) else event["id"].item(), checks=checks)

    def diff(self, other: "Run | str") -> "Comparison":
        """What another run over the same tape decided otherwise, and what each such decision was worth."""
        from alphapanda.research.comparison import compare

        return compare(self, other if isinstance(other, Run) else load(other, self.path.parent))

    def plot(self, what: str = "equity", symbol: str | None = None) -> "go.Figure":
        """A plotly figure: equity, drawdown, pnl, exposure, positions, returns, round_trips, fills (of a symbol) and more."""
        from alphapanda.research.plot import plot

        return plot(self, what, symbol)

    def tearsheet(self, path: Path | str | None = None) -> Path:
        """Write one self-contained HTML file; returns where it is (default: in the run's folder)."""
        from alphapanda.research.tearsheet import write_tearsheet

        return write_tearsheet(self, Path(path) if path is not None else self.path / "tearsheet.html")

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={short(self.stats[name])}" for name in SHOWN)
        return f"<Run {self.id} digest={self.digest[:12]} {shown}{self._refusals()}>"

    def _refusals(self) -> str:
        """Why nothing was done, if every signal was rejected."""
        why = ", ".join(f"{count} {reason}" for reason, count in self.manifest["counts"]["rejected"].items())
        return f" (every signal was rejected: {why})" if self.all_rejected else ""

    def _repr_html_(self) -> str:
        from alphapanda.research.card import card

        return card(self)


def _start_e8(portfolio: dict[str, Any], books: int, instruments: pl.DataFrame) -> int:
    multipliers = dict(instruments.select("symbol", "multiplier").iter_rows())
    held_e8 = (
        value_e8(to_e8(one["average_price"]), one["quantity"], round(multipliers[one["symbol"]] * E8))
        for one in portfolio.get("positions", ())
    )
    return to_e8(float(portfolio["start_cash"])) * books + sum(held_e8)


def short(value: float | int | None) -> str:
    """A figure in few characters."""
    return "none" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"


def _amounts(frame: pl.DataFrame) -> pl.DataFrame:
    """Beside each exact `_e8` column, the amount as a float."""
    exact = [name for name in frame.columns if name.endswith("_e8")]
    # numpy divides; polars multiplies by the reciprocal, which makes 1.4000000000000001 of 1.4
    return frame.with_columns(pl.Series(name.removesuffix("_e8"), frame[name].to_numpy() / E8) for name in exact)


def runs(root: Path | str = DEFAULT_ROOT) -> pl.DataFrame:
    """All runs under `root`, newest first: run_id, created, tape, strategies, fills, ticks, digest, path."""
    rows = []
    for path in Path(root).glob("run_id=*"):
        manifest = Run.open(path).manifest
        rows.append({
            "run_id": manifest["run_id"], "created": manifest["created"], "tape": Path(manifest["tape"]["path"]).name,
            "strategies": ", ".join(one["strategy_id"] for one in manifest["strategies"]), "ticks": manifest["counts"]["ticks"],
            "fills": manifest["counts"]["fills"], "digest": manifest["digest"], "path": str(path),
        })  # fmt: skip
    schema = dict.fromkeys(("run_id", "created", "tape", "strategies"), pl.String) | dict.fromkeys(("ticks", "fills"), pl.Int64)
    return pl.DataFrame(rows, schema=schema | dict.fromkeys(("digest", "path"), pl.String)).sort(
        "created", "run_id", descending=True
    )


def load(name: str | Path = "latest", root: Path | str = DEFAULT_ROOT) -> Run:
    """A run by id, by folder (a session's too, also while it grows), or the newest.

    Raises AlphaPandaError that says where it looked.
    """
    if Path(name, "manifest.json").is_file():
        return Run.open(name)
    if Path(name, "session.json").is_file():
        from alphapanda.research.session_run import open_session

        return open_session(Path(name))
    if name != "latest":
        return Run.open(Path(root) / f"run_id={name}")
    found = runs(root)
    if found.height == 0:
        raise AlphaPandaError(f"there are no runs in {root}: make one with `alphapanda replay` or `alphapanda demo`")
    return Run.open(found["path"][0])
