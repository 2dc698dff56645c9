"""`verify`: every service from its recorded inputs; a changed handler shows in its own service, and nowhere else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.events import Event, Payload
from alphapanda.core.handler import Outputs
from alphapanda.pipeline import FILLED, FILLED_PAPER
from alphapanda.research import recordings
from alphapanda.research.verdict import Report
from alphapanda.research.verify import verify
from alphapanda.runtime.container import AppContainer, named
from alphapanda.runtime.replay import Rooms
from alphapanda.runtime.replay_run import Finished, run_replay
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.tape_make import make_tape
from strategies.pairs import Pairs
from tests.strategies_for_tests import Inventory, Turner

SETTINGS = {"risk.max_gross_exposure": 2_000}
CONTAINER = AppContainer(load_settings(SETTINGS))
SERVICES = ("feature_engine", "strategy_runner", "risk_manager", "trading_engine", "portfolio_manager")


def specs() -> Any:
    return named([Turner(), Pairs(symbols=("BANYAN", "CEDAR"), window=20, entry_bps=5), Inventory(symbols=("NEEM",))])


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    folder = tmp_path_factory.mktemp("tape") / "tape"
    make_tape(folder, ticks=4_000, instruments=4)
    return Tape.open(folder)


@pytest.fixture(scope="module")
def run(tape: Tape, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return run_replay(CONTAINER, tape, specs(), out=tmp_path_factory.mktemp("runs"))


def verified(run: Finished, tape: Tape, change: Callable[[Rooms], None] = lambda rooms: None) -> Report:
    def make() -> Rooms:
        rooms = CONTAINER.rooms(tape, specs())
        change(rooms)
        return rooms

    recording = recordings.of_run(run.path, run.manifest, tape)
    return verify(recordings.isolated(make), CONTAINER.settings.pipeline.feedback_delay_ms, recording)


def wrong(report: Report) -> dict[str, tuple[int, int, int]]:
    return {one.service: (one.total.missing, one.total.extra, one.total.different) for one in report.services if one.total.wrong}


def say_otherwise(lane: Any, kind: str, change: Callable[[Any], Payload | None], nth: int = 5) -> None:
    """The `nth` output of this kind is changed, or left out where `change` gives None."""
    handle, said = lane.taker, 0

    def taker(event: Event) -> Any:
        take = handle(event)

        def taken(event: Event) -> Outputs:
            nonlocal said
            outputs = []
            for one, data in take(event):
                said += type(data).__name__ == kind
                data = change(data) if type(data).__name__ == kind and said == nth else data
                outputs += [(one, data)] if data is not None else []
            return outputs

        return None if take is None else taken

    lane.taker = taker


def test_a_run_says_the_same_again(run: Finished, tape: Tape) -> None:
    """All services, all events, the copies of fills too."""
    report = verified(run, tape)
    counts = run.manifest["counts"]
    fills = {topic: report.services[3].topics[topic].equal for topic in (FILLED, FILLED_PAPER)}
    assert (report.equal, wrong(report), report.roots) == (True, {}, tape.seqs[1][1])
    assert [one.service for one in report.services] == list(SERVICES)
    assert min(one.total.equal for one in report.services) > 200
    assert fills == dict.fromkeys(fills, counts["fills"])
    assert report.services[2].topics["trading.signals.rejected"].equal == sum(counts["rejected"].values()) > 20


def off(name: str) -> Callable[[Any], Payload]:
    return lambda data: msgspec.structs.replace(data, **{name: getattr(data, name) + 1})


CHANGES: dict[str, tuple[Callable[[Rooms], Any], str, str]] = {
    "feature_engine": (lambda rooms: rooms.instruments[0], "Bar", "volume"),
    "strategy_runner": (lambda rooms: rooms.strategies[0], "TradingSignal", "size"),
    "risk_manager": (lambda rooms: rooms.risk, "ValidatedSignal", "quantity"),
    "trading_engine": (lambda rooms: rooms.engine, "OrderFill", "price"),
    "portfolio_manager": (lambda rooms: rooms.portfolio, "PositionUpdate", "quantity"),
}


@pytest.mark.parametrize("service", SERVICES)
def test_a_changed_handler_shows_in_its_own_service_alone(run: Finished, tape: Tape, service: str) -> None:
    """One output is one off: the others hear what was recorded. A fill shows in its copy too."""
    lane, kind, name = CHANGES[service]
    report = verified(run, tape, lambda rooms: say_otherwise(lane(rooms), kind, off(name)))
    assert wrong(report) == {service: (0, 0, 2 if kind == "OrderFill" else 1)}
    assert report.first is not None
    assert (report.first.service, report.first.kind, report.first.fields) == (service, "different", [name])


def test_the_first_difference_is_traced_back_to_its_tick(run: Finished, tape: Tape) -> None:
    """A position, the fill it is of, and the tick at which that happened."""
    report = verified(run, tape, lambda rooms: say_otherwise(rooms.portfolio, "PositionUpdate", off("quantity")))
    first = report.first
    assert first is not None
    number = first.id.split("-")[1]
    assert [(link.topic, link.id.split("-")[1]) for link in first.causes] == [(FILLED, number), ("market.ticks", number)]
    assert '"type":"MarketTick"' in str(first.causes[-1].line)


def test_causes_go_through_feedback_that_was_heard_later(run: Finished, tape: Tape) -> None:
    """A signal made on a fill that was told late: the fill, and its own tick, seqs before."""
    report = verified(run, tape, lambda rooms: say_otherwise(rooms.strategies[2], "TradingSignal", off("size"), nth=2))
    first = report.first
    assert first is not None
    assert [link.topic for link in first.causes] == [FILLED, "market.ticks"]
    assert int(first.causes[0].id.split("-")[1]) < int(first.id.split("-")[1])


def test_what_is_left_out_is_extra_and_what_is_added_is_missing(run: Finished, tape: Tape) -> None:
    """Both with the event that only one side has."""
    report = verified(run, tape, lambda rooms: say_otherwise(rooms.engine, "OrderFill", lambda data: None))
    first = report.first
    assert first is not None
    assert (wrong(report), first.kind, first.made, '"type":"OrderFill"' in str(first.recorded)) == (
        {"trading_engine": (0, 2, 0)}, "extra", None, True,
    )  # fmt: skip


def test_a_handler_that_fills_one_tick_late_is_caught(run: Finished, tape: Tape) -> None:
    """Every fill lies elsewhere; risk, strategies and portfolio hear those that were recorded."""

    def late(rooms: Rooms) -> None:
        rooms.engine.latency_ns += 1_000_000_000

    report = verified(run, tape, late)
    assert list(wrong(report)) == ["trading_engine"]


def test_a_handler_that_raises_is_said_and_the_others_are_compared(run: Finished, tape: Tape) -> None:
    """The rest of its own events is not."""

    def broken(data: Any) -> Payload:
        raise ZeroDivisionError("half of it")

    report = verified(run, tape, lambda rooms: say_otherwise(rooms.risk, "ValidatedSignal", broken))
    failed = {one.service: one.failed for one in report.services if one.failed}
    assert (report.equal, list(failed), wrong(report)) == (False, ["risk_manager"], {})
    assert failed["risk_manager"].startswith("ZeroDivisionError at 1-")


def test_a_run_is_only_held_against_its_own_tape(run: Finished, tape: Tape, tmp_path: Path) -> None:
    """And only from its beginning."""
    make_tape(tmp_path / "other", ticks=200, instruments=2)
    with pytest.raises(AlphaPandaError, match="is a run of the tape"):
        recordings.of_run(run.path, run.manifest, Tape.open(tmp_path / "other"))
    middle = {**run.manifest, "tape": {**run.manifest["tape"], "start": [1, 500]}}
    with pytest.raises(AlphaPandaError, match="began in the middle"):
        recordings.of_run(run.path, middle, tape)


def test_a_report_is_json(run: Finished, tape: Tape) -> None:
    """As printed by `--json`."""
    report = verified(run, tape, lambda rooms: say_otherwise(rooms.portfolio, "PositionUpdate", off("quantity")))
    said = msgspec.json.decode(msgspec.json.encode(report.as_dict()))
    assert (said["equal"], said["services"][4]["different"], said["first"]["service"]) == (False, 1, "portfolio_manager")
