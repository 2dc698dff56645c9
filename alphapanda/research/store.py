# ruff: noqa: S608  # names are ours, and paths are quoted; the query itself is the user's own
"""SQL over one run, or over every run and tape: DuckDB views over the folders, in memory; nothing is loaded before it is asked.

Times are UTC without a zone, so that no extension is needed. Beside each exact `_e8` column stands the amount as a float.
`VIEWS` says what there is over all runs and tapes; each has `run_id`, or `tape` for those of tapes.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import polars as pl

from alphapanda.adapters.topic_files import TopicColumns
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.events import MarketTick, OrderFill, Payload
from alphapanda.core.lifecycle import EXPIRY_REASONS
from alphapanda.pipeline import (
    CANCELLED,
    COPIES,
    FAILED,
    FEATURES,
    FILLED,
    GENERATED,
    PLACED,
    POSITIONS,
    REJECTED,
    SNAPSHOTS,
    STAGES,
    TICKS,
    VALIDATED,
)  # fmt: skip

_NO_EXTENSIONS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
}  # fmt: skip
_INSTRUMENTS = "instruments"
_ENDS = ", ".join(f"'{reason}'" for reason in sorted(EXPIRY_REASONS))
_LAST = "(epoch, number, stage, lane, n)"
_ORDERS = f"""
with m as (select run_id, order_id, count(*) as modifications, arg_max(quantity, {_LAST}) as q,
                  max_by(struct_pack(l := limit_price, t := trigger_price), {_LAST}) as prices
           from placed_events where type = 'OrderModified' group by all),
t as (select run_id, order_id, min(ts) as triggered_ts from placed_events where type = 'OrderTriggered' group by all),
f as (select run_id, order_id, sum(quantity)::bigint as filled, sum(price * quantity) / sum(quantity) as average_price,
             count(*) as fills, sum(charges_e8)::bigint as charges_e8, arg_max(remaining, {_LAST}) as remaining,
             max(ts) as last_ts
      from fills group by all),
e as (select run_id, order_id, case when reason in ({_ENDS}) then 'expired' else 'cancelled' end as state, reason, ts
      from cancelled union all select run_id, order_id, 'rejected', reason, ts from failed)
select p.* exclude (quantity, limit_price, trigger_price), p.quantity as placed_quantity, coalesce(m.q, p.quantity) as quantity,
  case when m.q is null then p.limit_price else m.prices.l end as limit_price,
  case when m.q is null then p.trigger_price else m.prices.t end as trigger_price,
  coalesce(f.filled, 0) as filled_quantity, f.average_price, coalesce(f.fills, 0) as fills,
  coalesce(f.charges_e8, 0) as charges_e8, coalesce(f.charges_e8, 0) / 1e8 as charges,
  coalesce(m.modifications, 0) as modifications, t.triggered_ts,
  case when f.remaining = 0 then 'filled' when e.state is not null then e.state when f.filled <> 0 then 'partially_filled'
       when p.trigger_price is not null and t.triggered_ts is null then 'trigger_pending' else 'open' end as state,
  e.reason, case when f.remaining = 0 then f.last_ts else e.ts end as end_ts
from placed_events p left join m using (run_id, order_id) left join t using (run_id, order_id)
  left join f using (run_id, order_id) left join e using (run_id, order_id)
where p.type = 'OrderPlaced'
"""
_OUTCOMES = """
select s.*, coalesce(r.reason, case when v.signal_id is not null then 'validated' end) as outcome
from signal_events s left join rejections r on r.run_id = s.run_id and r.signal_id = s.id
  left join (select distinct run_id, signal_id from validated) v on v.run_id = s.run_id and v.signal_id = s.id
where s.type = 'TradingSignal'
"""
_DERIVED = {
    "orders": _ORDERS,
    "signals": _OUTCOMES,
    "equity": "select * from snapshots where strategy_id = '*' or run_id not in"
    " (select run_id from snapshots where strategy_id = '*')",
    "bars": "select * from feature_events where type = 'Bar'",
}
_TOPICS = {
    "fills": FILLED, "placed_events": PLACED, "signal_events": GENERATED, "validated": VALIDATED, "rejections": REJECTED,
    "cancelled": CANCELLED, "failed": FAILED, "positions": POSITIONS, "snapshots": SNAPSHOTS, "feature_events": FEATURES,
}  # fmt: skip
VIEWS = (
    "runs", "tapes", _INSTRUMENTS, "ticks", "fills", "orders", "signals", "rejections", "cancelled", "failed", "validated",
    "positions", "snapshots", "equity", "bars",
)  # fmt: skip
"""What a query over all runs and tapes can select from."""


def connect() -> duckdb.DuckDBPyConnection:
    """An in-memory database that loads no extension."""
    return duckdb.connect(config=_NO_EXTENSIONS)


def views(frames: Mapping[str, pl.DataFrame]) -> tuple[duckdb.DuckDBPyConnection, TemporaryDirectory[str]]:
    """An in-memory database with a view of each frame, and the folder of the files behind the views."""
    folder, connection = TemporaryDirectory(prefix="alphapanda-"), connect()
    for name, frame in frames.items():
        path = Path(folder.name, f"{name}.parquet")
        # DuckDB hands times with a zone to Python through another package, so views have UTC times without one.
        frame.with_columns(pl.selectors.datetime().dt.replace_time_zone(None)).write_parquet(path)
        connection.execute(f"create view {name} as select * from read_parquet({_list([str(path)])})")
    return connection, folder


def query(text: str, runs: pl.DataFrame, tapes: Path) -> duckdb.DuckDBPyRelation:
    """A relation over `VIEWS`: `runs` lists the runs (as `research.runs.runs` gives them), `tapes` is the folder of tapes.

    Raises AlphaPandaError where the query is not understood; the message is DuckDB's, and says which views there are.
    """
    store = _Store(connect(), runs, tapes)
    store.make(text)
    try:
        return store.connection.sql(text)
    except duckdb.Error as error:
        raise AlphaPandaError(f"{error}\nThere are {', '.join(VIEWS)}.") from error


class _Store:
    """Makes those views that a query names; each reads the files of the runs, or tapes, that there were at that moment."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, runs: pl.DataFrame, tapes: Path) -> None:
        self.connection, self.runs, self.tapes = connection, runs, tapes
        self._made: set[str] = set()
        self._makers: dict[str, Callable[[], None]] = {
            "runs": self._runs, "tapes": self._tapes, "ticks": self._ticks, _INSTRUMENTS: self._instruments,
        }  # fmt: skip

    def make(self, text: str) -> None:
        """Every view whose name stands in `text`, and those it rests on."""
        for name in (*self._makers, *_TOPICS, *_DERIVED):
            if name not in self._made and re.search(rf"\b{name}\b", text, re.IGNORECASE):
                self._made.add(name)
                if name in _DERIVED:
                    self.make(_DERIVED[name])
                    self.connection.execute(f"create view {name} as {_DERIVED[name]}")
                elif name in _TOPICS:
                    self._topic(name, _TOPICS[name])
                else:
                    self._makers[name]()

    def _files(self, name: str) -> list[str]:
        return [str(path) for folder in self.runs["path"] if (path := Path(folder, name)).is_file()]

    def _topic(self, name: str, topic: str) -> None:
        """Events of one topic in all runs, with their run and symbol."""
        files = self._files(f"{topic}.parquet")
        if files:
            source = f"read_parquet({_list(files)}, hive_partitioning = true, hive_types_autocast = false, union_by_name = true)"
        else:
            source = f"{name}_none"
            self._empty(source, {"run_id": pl.String(), **TopicColumns(_payloads(topic), ()).frame(b"").schema})
        shape = self.connection.sql(f"select * from {source} limit 0")
        kinds = dict(zip(shape.columns, map(str, shape.types), strict=True))
        more = [f"{column} / 1e8 as {column.removesuffix('_e8')}" for column in kinds if column.endswith("_e8")]
        left = [f"x.{column}{_utc(column, kind)}" for column, kind in kinds.items() if column != "charges"]
        if topic == FILLED:
            lines = self.connection.sql(f"select charges.* from {source} limit 0").columns
            total = " + ".join(f"coalesce(x.charges.{line}, 0)" for line in lines)
            more += [
                f"{total} as charges_e8", f"({total}) / 1e8 as charges", "x.charges as charge_lines", "i.multiplier",
                "case when x.quantity > 0 then 'buy' else 'sell' end as side",
                "(x.price - x.reference_price) * x.quantity * i.multiplier as slippage",
            ]  # fmt: skip
        join = ""
        if "instrument_token" in kinds:
            self.make(_INSTRUMENTS)
            join = f" left join {_INSTRUMENTS} i using (run_id, instrument_token)"
            more.append("i.symbol")
        self.connection.execute(f"create view {name} as select {', '.join([*left, *more])} from {source} x{join}")

    def _instruments(self) -> None:
        """The instruments table of every run."""
        files = self._files("instruments.parquet")
        if not files:
            self._empty(_INSTRUMENTS, {
                "run_id": pl.String(), "instrument_token": pl.Int64(), "symbol": pl.String(), "multiplier": pl.Float64(),
            })  # fmt: skip
            return
        self.connection.execute(
            f"create view {_INSTRUMENTS} as select * from read_parquet({_list(files)}, hive_partitioning = true,"
            " hive_types_autocast = false, union_by_name = true)"
        )

    def _runs(self) -> None:
        self._table("runs", self.runs)

    def _tapes(self) -> None:
        """One row a tape."""
        rows = [
            {
                "tape": name, "path": str(path), "digest": said["digest"], "source": said["source"], "ticks": said["ticks"],
                "start_ns": said["ts_ns"][0], "end_ns": said["ts_ns"][1],
            }
            for name, path, said in self._found()
        ]  # fmt: skip
        strings, numbers = ("tape", "path", "digest", "source"), ("ticks", "start_ns", "end_ns")
        self._table("tapes", pl.DataFrame(rows, schema=dict.fromkeys(strings, pl.String) | dict.fromkeys(numbers, pl.Int64)))

    def _ticks(self) -> None:
        """Every tick of every tape, with its symbol."""
        owners, tables = [], list[tuple[str, str]]()
        for name, path, said in self._found():
            owners += [(str(path / file["path"]), name) for file in said["files"] if file["topic"] == TICKS]
            tables.append((str(path / "instruments.parquet"), name))
        columns = {"epoch": pl.Int64(), "number": pl.Int64(), **dict.fromkeys(MarketTick.__struct_fields__, pl.Int64())}
        if not owners:
            prices = {name: pl.Float64() for name in ("last_price", "bid", "ask")}
            self._empty("ticks", {"tape": pl.String(), "symbol": pl.String(), **columns, **prices})
            return
        for table, rows in (("tape_files", owners), ("tape_tables", tables)):
            self._table(table, pl.DataFrame(rows, schema=["file", "tape"], orient="row"))
        options = "filename = true, hive_partitioning = false, union_by_name = true"
        files, instruments = [file for file, _ in owners], [file for file, _ in tables]
        self.connection.execute(
            "create view ticks as select f.tape, i.symbol, x.* exclude (filename), make_timestamp_ns(x.ts_ns) as ts"
            f" from read_parquet({_list(files)}, {options}) x join tape_files f on f.file = x.filename left join (select t.tape,"
            f" y.instrument_token, y.symbol from read_parquet({_list(instruments)}, {options}) y join tape_tables t"
            " on t.file = y.filename) i on i.tape = f.tape and i.instrument_token = x.instrument_token"
        )

    def _found(self) -> Iterable[tuple[str, Path, dict[str, Any]]]:
        """Every tape in the folder: name, path, manifest."""
        for manifest in sorted(self.tapes.glob("*/manifest.json")):
            if manifest.parent.name.startswith("."):
                continue
            try:
                said = json.loads(manifest.read_text(encoding="utf-8"))
            except json.JSONDecodeError as error:
                raise AlphaPandaError(f"{manifest} is damaged: {error}") from error
            yield manifest.parent.name, manifest.parent, said

    def _empty(self, name: str, schema: Any) -> None:
        columns = ", ".join(f'"{column}" {_sql_type(kind)}' for column, kind in schema.items())
        self.connection.execute(f"create table {name} ({columns})")

    def _table(self, name: str, frame: pl.DataFrame) -> None:
        """A few rows as a table."""
        self._empty(name, frame.schema)
        if frame.height:
            self.connection.executemany(f"insert into {name} values ({', '.join('?' * frame.width)})", frame.rows())


def _payloads(topic: str) -> list[type[Payload]]:
    if topic in COPIES.values():
        return [OrderFill]
    return [cls for stage in STAGES for cls, made in stage.writes.items() if made == topic]


def _list(files: Iterable[str]) -> str:
    """Files as a list in SQL."""
    quoted = (f"""'{file.replace("'", "''")}'""" for file in files)
    return f"[{', '.join(quoted)}]"


def _utc(column: str, kind: str) -> str:
    return f"::timestamp_ns as {column}" if kind.startswith("TIMESTAMP") else ""


def _sql_type(kind: Any) -> str:
    if isinstance(kind, pl.Struct):
        return f"struct({', '.join(f'{one.name} {_sql_type(one.dtype)}' for one in kind.fields)})"
    return {pl.Int64: "bigint", pl.Float64: "double", pl.Boolean: "boolean", pl.Datetime: "timestamp_ns"}.get(
        kind.base_type(), "varchar"
    )
