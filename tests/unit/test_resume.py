"""Where a service goes on, and where it refuses to: with the way out in the message."""

import shutil
from pathlib import Path

import pytest

from alphapanda.adapters.file_log import FileLog
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.pipeline import OUTPUT_TOPICS
from alphapanda.runtime.container import AppContainer, StrategySpec, named
from alphapanda.runtime.log.feed import Feed, TapeSource
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import LogError
from alphapanda.runtime.log.services import ALL, make_worker
from alphapanda.runtime.log.session import begin_session
from alphapanda.runtime.log.worker import Worker
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.tape_make import make_tape
from strategies.buy_and_hold import BuyAndHold
from strategies.ema_cross import EmaCross


@pytest.fixture
def tape(tmp_path: Path) -> Tape:
    make_tape(tmp_path / "tape", seed=2, ticks=1_500, instruments=2)
    return Tape.open(tmp_path / "tape")


def container(folder: Path) -> AppContainer:
    return AppContainer(load_settings({"storage.snapshots": str(folder / "snapshots")}))


def played(folder: Path, tape: Tape) -> FileLog:
    """A log whose door topics hold the tape."""
    log = FileLog(folder / "log", Partitioning.of_table(2).counts)
    feed = Feed(log, Partitioning.of_log(log), TapeSource(tape))
    feed.boot()
    while not feed.ended:
        feed.step(0.0)
    feed.close()
    return log


def worker(folder: Path, log: FileLog, tape: Tape, specs: list[StrategySpec]) -> Worker:
    return make_worker(container(folder), log, "p.", tape, specs, ALL)


def finished(folder: Path, log: FileLog, tape: Tape) -> int:
    """Run all services to the end and stop cleanly; how many output records there are."""
    one = worker(folder, log, tape, named([EmaCross()]))
    one.boot()
    while one.frontier < tape.seqs[1]:
        one.step(0.1)
    one.close()
    return sum(end for _, end in log.bounds(log.partitions(OUTPUT_TOPICS)).values())


def test_a_snapshot_over_a_log_that_was_made_anew_is_refused(tmp_path: Path, tape: Tape) -> None:
    """The outputs that it stands on are not there: going on would lose them."""
    log = played(tmp_path, tape)
    assert finished(tmp_path, log, tape) > 100
    log.close()
    shutil.rmtree(tmp_path / "log")
    again = played(tmp_path, tape)
    with pytest.raises(LogError, match=r"made anew under this prefix.*remove .*snapshots"):
        worker(tmp_path, again, tape, named([EmaCross()])).boot()


def test_a_snapshot_of_other_strategies_is_refused_with_the_way_out(tmp_path: Path, tape: Tape) -> None:
    """One more strategy: the state does not fit, and nobody sees a traceback of ours."""
    log = played(tmp_path, tape)
    finished(tmp_path, log, tape)
    with pytest.raises(LogError, match=r"other code, settings or strategies.*remove .*snapshots"):
        worker(tmp_path, log, tape, named([EmaCross(), BuyAndHold()])).boot()


def test_without_its_snapshots_a_service_works_everything_out_again(tmp_path: Path, tape: Tape) -> None:
    """And compares it with what the log holds: nothing is written twice."""
    log = played(tmp_path, tape)
    count = finished(tmp_path, log, tape)
    shutil.rmtree(tmp_path / "snapshots")
    one = worker(tmp_path, log, tape, named([EmaCross()]))
    one.boot()
    while one.frontier < tape.seqs[1]:
        one.step(0.1)
    assert (one.publisher.compared > 100, one.publisher.sent.total(), count > 0) == (True, 0, True)


def test_another_tape_under_a_sessions_prefix_is_refused(tmp_path: Path, tape: Tape) -> None:
    """A session keeps what it began with."""
    partitioning, box, specs = Partitioning.of_table(2), container(tmp_path), named([EmaCross()])
    begin_session(tmp_path / "s", "p.", box, tape, specs, partitioning, played=tape.digest)
    with pytest.raises(ConfigurationError, match="begun with other played"):
        begin_session(tmp_path / "s", "p.", box, tape, specs, partitioning, played="another")
