"""`run.why(id)`: from a fill, a rejection or any other event back to the tick that it came of.

Order, risk decision, signal, features and tick are read from the run and its tape. What each risk check found is not
recorded: the tape is replayed up to the decision, with the run's settings and its recorded signals, and risk is asked there.
"""

import html
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from alphapanda.adapters.tape import earlier
from alphapanda.contracts.codec import encode
from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError
from alphapanda.contracts.events import Event, Pos, SignalKind, parse_pos
from alphapanda.pipeline import CANCELLED, FAILED, FEATURES, FILLED, GENERATED, OUTPUT_TOPICS, PLACED, REJECTED, VALIDATED
from alphapanda.research.recorded_rooms import container_of
from alphapanda.research.risk_checks import OBJECTS, CheckRow, check_rows
from alphapanda.research.runs import Run
from alphapanda.research.tape_view import NoTapeError, TapeView
from alphapanda.runtime.replay_run import start_cold
from alphapanda.runtime.signals_from import RecordedSignals
from alphapanda.services.risk_manager.models import Proposal, RiskLimits
from alphapanda.services.risk_manager.rules import CANCEL_CHECKS, CHECKS, Check

_ENVELOPE = ("epoch", "number", "stage", "lane", "n")
_TOPICS_OF_STAGE = {
    stage: [topic for topic in topics if topic in OUTPUT_TOPICS]
    for stage, topics in {
        1: [FEATURES], 2: [GENERATED], 3: [VALIDATED, REJECTED], 4: [FILLED, PLACED, CANCELLED, FAILED],
        5: ["portfolio.positions", "portfolio.snapshots"],
    }.items()
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One event on the way back; `what` says its part."""

    what: str
    id: str
    ts: str
    topic: str
    data: dict[str, Any]


@dataclass
class Why:
    """The way from an event back to its tick, the event first; `checks` are those of the risk decision on the way."""

    run_id: str
    id: str
    steps: list[Step] = field(default_factory=list)
    checks: list[CheckRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def step(self, what: str) -> Step:
        """The first step of that name. Raises ConfigurationError where there is none."""
        for one in self.steps:
            if one.what == what:
                return one
        raise ConfigurationError(f"there is no {what} on the way of {self.id}: there are {', '.join(s.what for s in self.steps)}")

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)

    def __repr__(self) -> str:
        return "\n".join([*(f"{one.what}: {one.id} {_short(one.data)}" for one in self.steps), *self.notes])

    def _repr_html_(self) -> str:
        steps = "".join(
            f"<tr><td>{html.escape(one.what)}</td><td><code>{html.escape(one.id)}</code></td>"
            f"<td>{html.escape(_short(one.data))}</td></tr>"
            for one in self.steps
        )
        checks = "".join(
            f"<tr><td>{one.name}</td><td>{one.result}</td><td>{_figure(one.value)}</td><td>{_figure(one.limit)}</td>"
            f"<td>{html.escape(one.unit)}</td></tr>"
            for one in self.checks if one.result != "not limited"
        )  # fmt: skip
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        head = "<tr><th>check</th><th></th><th>value</th><th>limit</th><th></th></tr>" if checks else ""
        return f"<table>{steps}</table><table>{head}{checks}</table>{notes}"


def explain(run: Run, event_id: str, *, checks: bool = True) -> Why:
    """The way back from an event, an order or a signal. Raises ConfigurationError where the run has none of this id."""
    return _Search(run, event_id).found(checks=checks)


class _Search:
    """One question to one run."""

    def __init__(self, run: Run, event_id: str) -> None:
        self.run, self.why = run, Why(run.id, event_id)
        try:
            self.view: TapeView | None = TapeView.of(run)
        except NoTapeError as error:
            self.view = None
            self.why.notes.append(f"{error}. Without it there are no ticks, and the risk checks cannot be worked out again.")

    def found(self, *, checks: bool) -> Why:
        order_id, row = self._asked(self.why.id)
        if row is not None:
            self._add(_part(row), row)
        if order_id:
            self._order(order_id, None if row is None else parse_pos(row["id"]))
        signal_id = self._signal_id(row, order_id)
        risk = self._risk(signal_id, order_id)
        if signal_id and (signal := self._row(signal_id)) is not None:
            self._signal(signal)
            if checks and risk is not None:
                self._checks(signal, risk)
        elif row is not None and not order_id:
            self._back(row)
        return self.why

    # ---- the way

    def _asked(self, event_id: str) -> tuple[str, dict[str, Any] | None]:
        """The order that an id is of or about, and the event's own row; an order's id says the order alone."""
        if ":" in event_id:
            if self._placed(event_id) is None:
                raise ConfigurationError(f"run {self.run.id} has no order {event_id}")
            return event_id, None
        try:
            pos = parse_pos(event_id)
        except ValueError as error:
            raise ConfigurationError(f"{event_id!r} is no event's id: {error}") from error
        if pos[2] == 0:
            raise ConfigurationError(f"{event_id} came from outside: nothing stands behind it")
        row = self._row(event_id)
        if row is None:
            raise ConfigurationError(f"run {self.run.id} has no event {event_id}; ids stand in the column `id` of run.fills, ...")
        return row.get("order_id") or "", row

    def _order(self, order_id: str, upto: Pos | None) -> None:
        """What became of the order up to an event, newest first; of a bracket's leg, then of the order it belongs to."""
        rows = [
            row for topic in (FILLED, PLACED, CANCELLED, FAILED)
            for row in _rows(self.run.topic(topic).filter(pl.col("order_id") == order_id))
            if upto is None or parse_pos(row["id"]) < upto
        ]  # fmt: skip
        for row in sorted(rows, key=lambda row: parse_pos(row["id"]), reverse=True):
            self._add(_part(row), row)
        placed = self._placed(order_id)
        if placed is None:
            return
        if upto is not None and upto[:2] > parse_pos(placed["id"])[:2]:
            self._quote("filled or ended at", upto, placed["instrument_token"])
        if placed["parent_id"]:
            self._order(placed["parent_id"], parse_pos(placed["id"]))
        elif ":" in order_id:
            self._door("cause", placed["cause"])

    def _risk(self, signal_id: str, order_id: str) -> dict[str, Any] | None:
        """The decision on a signal: rejected, or validated (the order's own one, where it was sliced)."""
        base = order_id.partition(":")[0]
        for topic, what in ((VALIDATED, "validated"), (REJECTED, "rejected")):
            rows = _rows(self.run.topic(topic).filter(pl.col("signal_id") == signal_id))
            chosen = [row for row in rows if row["id"] == base] or rows
            for row in chosen[:1]:
                if row["id"] != self.why.id:
                    self._add(what, row)
                return row
        return None

    def _signal_id(self, row: dict[str, Any] | None, order_id: str) -> str:
        placed = self._placed(order_id) if order_id else None
        for one in (placed, row):
            if one is not None and one.get("signal_id"):
                return "" if ":" in one["signal_id"] else str(one["signal_id"])  # what the engine does of itself has none
        return row["id"] if row is not None and row.get("type") == "TradingSignal" else ""

    def _signal(self, signal: dict[str, Any]) -> None:
        """The signal, what it was decided on, the features known by then, and the tick."""
        if signal["id"] != self.why.id:
            self._add("signal", signal)
        pos, token = parse_pos(signal["id"]), signal["instrument_token"]
        cause = parse_pos(signal["cause"])
        if cause[2] in (3, 4):
            self._add("heard", self._row(signal["cause"]))
        if cause[2] == 0:
            self._door("decided on", signal["cause"])
        features = self._features_run().topic(FEATURES)
        known = features.filter((pl.col("instrument_token") == token) & _known(cause))
        for kind, what in (("FeatureSet", "features"), ("Bar", "bar")):
            newest = known.filter(pl.col("type") == kind).unique("interval_s", keep="last", maintain_order=True)
            for row in _rows(newest):
                self._add(what, row)
        self._quote("tick", pos, token)

    def _back(self, row: dict[str, Any]) -> None:
        """Of any other event: cause after cause."""
        while row["cause"] is not None:
            if row["cause"].split("-")[2] == "0":
                self._door("cause", row["cause"])
                return
            cause = self._row(row["cause"])
            if cause is None:
                return
            row = cause
            self._add(_part(row), row)

    # ---- what stands where

    def _add(self, what: str, row: dict[str, Any] | None) -> None:
        if row is not None and row["id"] not in {one.id for one in self.why.steps}:
            topic = next(topic for topic in _TOPICS_OF_STAGE[int(row["id"].split("-")[2])] if self._has(topic, row["id"]))
            data = {name: _plain(value) for name, value in row.items() if name not in ("id", "ts", "type", *_ENVELOPE)}
            self.why.steps.append(Step(what, row["id"], _plain(row["ts"]), topic, _set(data)))

    def _has(self, topic: str, event_id: str) -> bool:
        run = self._features_run() if topic == FEATURES else self.run
        return run.topic(topic).filter(pl.col("id") == event_id).height > 0

    def _row(self, event_id: str) -> dict[str, Any] | None:
        for topic in _TOPICS_OF_STAGE[int(event_id.split("-")[2])]:
            run = self._features_run() if topic == FEATURES else self.run
            for row in _rows(run.topic(topic).filter(pl.col("id") == event_id)):
                return row
        return None

    def _placed(self, order_id: str) -> dict[str, Any] | None:
        rows = self.run.topic(PLACED).filter((pl.col("order_id") == order_id) & (pl.col("type") == "OrderPlaced"))
        return next(iter(_rows(rows)), None)

    def _features_run(self) -> Run:
        """Where the features lie: with signals played back, in the run that they are of, if it is still beside this one."""
        said = self.run.manifest.get("signals_from")
        folder = self.run.path.parent / f"run_id={said['run_id']}" if said else None
        return Run.open(folder) if folder is not None and folder.is_dir() else self.run

    def _door(self, what: str, event_id: str) -> None:
        if self.view is not None:
            self._event(what, self.view.event(parse_pos(event_id)[:2]))

    def _quote(self, what: str, pos: Pos, token: int) -> None:
        """The instrument's last tick at or before a seq."""
        if self.view is not None:
            self._event(what, self.view.last_tick(pos[:2], token))

    def _event(self, what: str, event: Event | None) -> None:
        if event is not None and event.id not in {one.id for one in self.why.steps}:
            said = json.loads(encode(event))
            self.why.steps.append(Step(what, event.id, said["ts"], said["source"], _set(said["data"]) or {"type": said["type"]}))

    # ---- the checks

    def _checks(self, signal: dict[str, Any], risk: dict[str, Any]) -> None:
        if self.view is None:
            return
        rows = checks_of(self.run, self.view, parse_pos(signal["id"]))
        self.why.checks = rows
        objecting = next((one for one in rows if one.result == OBJECTS), None)
        reason = risk.get("reason")
        if reason is not None and objecting is None:
            self.why.notes.append(f"no check objects: {reason} (value {risk['value']}, limit {risk['limit']})")
        if (reason if reason != "nothing_to_do" else None) != (objecting.name if objecting else None):
            self.why.notes.append("worked out again, risk decides otherwise than was recorded: its code has changed since")


def checks_of(run: Run, view: TapeView, pos: Pos) -> list[CheckRow]:
    """What every check of risk said of the signal at `pos`: the tape is replayed to it, with the run's signals and settings."""
    signals = RecordedSignals.of_run(run.path, run.manifest, view.tape)
    container = container_of(run.manifest["settings"])
    rooms = container.rooms(view.tape, signals.specs(view.tape))
    rows: list[CheckRow] = []

    def look(event: Event, proposal: Proposal, limits: RiskLimits, asked: list[Check]) -> None:
        if event.pos == pos:
            rows.extend(check_rows(proposal, limits, asked, CANCEL_CHECKS if proposal.kind == SignalKind.CANCEL else CHECKS))

    rooms.risk.watcher = look
    replay = signals.host(rooms, container.settings.pipeline.feedback_delay_ms, lambda events: None)
    if view.start > view.tape.seqs[0]:
        start_cold(replay, view.tape, view.start)
    for stretch in view.tape.runs(view.start, (pos[0], pos[1] + 1), heard_beats=replay.heard_beats):
        replay.take(stretch)
    if not rows:
        raise AlphaPandaError(f"the signal of {pos} was not met on the way: the run's files and its tape do not go together")
    return rows


def show(found: Why, console: Console) -> None:
    """The way back as a table, then the checks."""
    grid = Table("", "id", "time", "says", title=f"why {found.id}", title_justify="left")
    for one in found.steps:
        grid.add_row(one.what, one.id, one.ts[11:], _short(one.data))
    console.print(grid)
    limited = [one for one in found.checks if one.result != "not limited"]
    if limited:
        checks = Table("check", "", "value", "limit", "unit", title="risk checks, in the order in which they are asked",
                       title_justify="left")  # fmt: skip
        for row in limited:
            style = "red" if row.result == OBJECTS else None
            checks.add_row(row.name, row.result, _figure(row.value), _figure(row.limit), row.unit, style=style)
        console.print(checks)
        others = [one.name for one in found.checks if one.result == "not limited"]
        console.print(f"not limited by this run's settings, or not about such orders: {', '.join(others)}", highlight=False)
    for note in found.notes:
        console.print(f"[yellow]{note}[/yellow]", highlight=False, soft_wrap=True)


def _part(row: dict[str, Any]) -> str:
    names = {
        "OrderFill": "fill", "OrderPlaced": "order", "OrderModified": "modified", "OrderTriggered": "triggered",
        "OrderCancelled": "cancelled", "OrderFailed": "failed", "RejectedSignal": "rejected", "ValidatedSignal": "validated",
        "TradingSignal": "signal", "StrategyHalted": "halted", "Bar": "bar", "FeatureSet": "features",
        "PositionUpdate": "position", "PortfolioSnapshot": "snapshot",
    }  # fmt: skip
    return names[row["type"]]


def _known(cause: Pos) -> pl.Expr:
    """Features that a strategy had been handed when it decided on `cause`: it is handed them in `pos` order."""
    epoch, number, stage, lane, n = cause
    same = (pl.col("epoch") == epoch) & (pl.col("number") == number)
    upto = (pl.col("lane") < lane) | ((pl.col("lane") == lane) & (pl.col("n") <= n)) if stage == 1 else pl.lit(value=False)
    return earlier((epoch, number)) | (same & upto)


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows with times as on the wire."""
    return frame.with_columns(pl.selectors.datetime().dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ")).to_dicts()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if one is not None}
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def _set(data: dict[str, Any]) -> dict[str, Any]:
    """Without what is not said; other types' columns of the same topic are among it."""
    return {name: value for name, value in data.items() if value is not None and value != {}}


def _short(data: dict[str, Any]) -> str:
    left_out = ("cause", "exec_mode", "strategy_id", "signal_id", "order_id", "instrument_token")
    return ", ".join(_texts({name: value for name, value in data.items() if name not in left_out}))


def _texts(data: dict[str, Any]) -> Iterator[str]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield f"{name} ({', '.join(_texts(value))})"
        elif value != "":
            yield f"{name} {_figure(value) if isinstance(value, float) else value}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"
