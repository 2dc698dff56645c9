"""`verify`: every service from its recorded inputs; a changed handler shows in its own service, and nowhere else."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from alphapanda import cli_dlq, cli_verify
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError
from alphapanda.contracts.events import Event, Payload
from alphapanda.core.handler import Outputs
from alphapanda.pipeline import FILLED, FILLED_PAPER
from alphapanda.research import recordings
from alphapanda.research.verdict import Report
from alphapanda.research.verify import verify
from alphapanda.runtime.container import AppContainer, named
from alphapanda.runtime.log.dead_letters import RequeueError
from alphapanda.runtime.log.recorder import Recorder
from alphapanda.runtime.log.session import begin_session
from alphapanda.runtime.replay import Rooms
from alphapanda.runtime.replay_run import Finished, run_replay
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.tape_make import make_tape
from alphapanda.services.trading_engine.service import TradingEngine
from strategies.pairs import Pairs
from tests.log_session import LogSession
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
        engine = rooms.engine
        rules = engine.rules.model_copy(update={"latency_ms": engine.rules.latency_ms + 1_000})
        rooms.engine = TradingEngine(rules, engine.instruments, engine.charge, rooms.marks)

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


app = typer.Typer()
app.command()(cli_verify.verify)
app.add_typer(cli_dlq.dlq, name="dlq")


def alphapanda(*words: str, status: int = 0) -> Any:
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == status, done.output + repr(done.exception)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def session(tape: Tape, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A session of five services, recorded, with one bad record that risk kept; its log lies beside it."""
    home = tmp_path_factory.mktemp("home")
    container = AppContainer(load_settings({**SETTINGS, "storage.snapshots": home / "data" / "snapshots"}))
    played = LogSession(home / "data" / "logs" / "paper", container, tape, specs)
    played.play(event for event in islice(tape.events(), 1_500))
    played.settle()
    played.inject(("trading.signals.generated", 0), b"no event")
    played.play(event for event in islice(tape.events(), 1_500, 2_000))
    played.settle()
    folder = home / "data" / "sessions" / "paper"
    begin_session(folder, "paper.", container, tape, specs(), played.partitioning)
    recorder = Recorder(played.log, played.partitioning, folder)
    for worker in played.workers.values():
        worker.close()
    while recorder.behind(recorder.ends()):
        recorder.step(0.1)
    recorder.close()
    played.workers = {}
    played.close()
    before = Path.cwd()
    os.chdir(home)
    sys.path.insert(0, str(before))
    yield folder
    sys.path.remove(str(before))
    os.chdir(before)


def test_a_session_is_verified_by_its_name(session: Path) -> None:
    """From its segments; of the bad record it has nothing that risk kept."""
    said = alphapanda("verify", session.name)
    assert (said["equal"], said["roots"], [one["pending"] for one in said["services"]]) == (True, 2_000, [0] * 5)
    assert min(one["equal"] for one in said["services"]) > 100
    assert alphapanda("verify", str(session)) == said


def test_a_session_is_verified_from_its_log_too(session: Path) -> None:
    """And there the dead letter is compared."""
    said = alphapanda("verify", session.name, "--log", "embedded")
    (letters,) = [topics for one in said["services"] for name, topics in one["topics"].items() if name == "risk_manager.dlq"]
    assert (said["equal"], said["roots"], letters["events"], letters["equal"]) == (True, 2_000, 1, 1)


def test_a_session_of_one_process_kept_none_of_them(session: Path) -> None:
    """`run all` does not read the inner topics back: a letter of one would be extra."""
    said = alphapanda("verify", session.name, "--log", "embedded", "--one-process", status=1)
    assert (said["first"]["topic"], said["first"]["kind"]) == ("risk_manager.dlq", "extra")


def test_a_session_under_other_settings_is_found_out(session: Path) -> None:
    """Risk with another limit says other things; the rest hears what was recorded."""
    said = json.loads((session / "session.json").read_text())
    said["settings"]["risk"]["max_gross_exposure"] = 1_000
    other = session.with_name("other")
    shutil.copytree(session, other)
    (other / "session.json").write_text(json.dumps(said))
    report = alphapanda("verify", str(other), status=1)
    wrong = [one["service"] for one in report["services"] if one["missing"] or one["extra"] or one["different"]]
    assert (wrong, report["first"]["service"]) == (["risk_manager"], "risk_manager")
    shown = CliRunner().invoke(app, ["verify", str(other)])
    assert (shown.exit_code, "first difference" in shown.stdout, "caused by" in shown.stdout) == (1, True, True)


def test_a_run_is_verified_by_its_folder(run: Finished) -> None:
    """A replay's."""
    assert alphapanda("verify", str(run.path))["equal"]
    shown = CliRunner().invoke(app, ["verify", str(run.path)])
    assert (shown.exit_code, shown.stdout.rstrip().endswith("equal")) == (0, True)


def test_a_session_that_nobody_ran_proves_nothing(session: Path, tape: Tape) -> None:
    """Exit status 1, though nothing differs."""
    data = session.parents[1]
    container = AppContainer(load_settings({**SETTINGS, "storage.snapshots": data / "snapshots" / "idle"}))
    played = LogSession(data / "logs" / "idle", container, tape, specs, services=("feature_engine",))
    played.play(islice(tape.events(), 10))
    played.settle()
    played.close()
    done = CliRunner().invoke(app, ["verify", session.name, "--log", "embedded", "--prefix", "idle."])
    assert (done.exit_code, "nothing of strategy_runner" in done.stdout) == (1, True)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ([], "name a session"), (["nothing"], "there is no session or run"),
        (["--log", "embedded"], "does not say which strategies"),
        (["--log", "embedded", "--prefix", "no.", "paper"], "no log in"),
    ],
)  # fmt: skip
def test_what_cannot_be_verified_is_said(session: Path, words: list[str], wrong: str) -> None:
    """With what to do."""
    done = CliRunner().invoke(app, ["verify", *words])
    assert isinstance(done.exception, ConfigurationError)
    assert wrong in str(done.exception)


def test_dead_letters_are_listed_and_shown(session: Path) -> None:
    """By service; each once."""
    log = ("--prefix", "paper.", "--log", "embedded")
    letter, recorders = alphapanda("dlq", "list", *log)["letters"]
    assert (letter["service"], letter["topic"], letter["value"]) == ("risk_manager", "trading.signals.generated", "no event")
    assert (recorders["service"], recorders["offset"]) == ("recorder", letter["offset"])
    assert alphapanda("dlq", "show", "risk_manager", str(letter["at"]), *log) == letter
    wide = CliRunner(env={"COLUMNS": "200"})
    shown = [wide.invoke(app, ["dlq", *words, *log]).stdout for words in (["list"], ["show", "risk_manager", "0"])]
    assert ["trading.signals" in one for one in shown] == [True, True]
    gone = CliRunner().invoke(app, ["dlq", "show", "risk_manager", "7", *log])
    assert "has no letter 7" in str(gone.exception)
    assert "has no dead letters" in str(CliRunner().invoke(app, ["dlq", "list", "nobody", *log]).exception)


def test_a_stages_record_is_not_requeued(session: Path) -> None:
    """The owner writes it; the message says so."""
    done = CliRunner().invoke(
        app, ["dlq", "requeue", "risk_manager", "0", "--door", "http://127.0.0.1:1", "--prefix", "paper.", "--log", "embedded"]
    )
    assert isinstance(done.exception, RequeueError)
    assert "written by its stage alone" in str(done.exception)
