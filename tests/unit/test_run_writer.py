"""The process that writes a run's files: it stores what it was given, says why it failed, and ends when told to."""

import io
import signal
from pathlib import Path

import polars as pl
import pytest

from alphapanda.adapters import run_writer
from alphapanda.adapters.event_batch import Batch
from alphapanda.adapters.run_writer import RunWriterError, WriterProcess, batches
from alphapanda.adapters.topic_files import TopicFiles
from alphapanda.contracts.events import STAGE_EVENTS, Event, Payload, SignalKind, TradingSignal
from alphapanda.pipeline import GENERATED
from tests.builders import made

SIGNALS_A_BATCH = 400


def signals(batch: int, size: object = 1.0) -> dict[type[Payload], list[Event]]:
    """One batch of events."""
    data = TradingSignal("a", 101, SignalKind.QUANTITY, size, 99.5, "as said")  # type: ignore[arg-type]
    return {TradingSignal: [made(batch * SIGNALS_A_BATCH + i, 2, 1, data) for i in range(SIGNALS_A_BATCH)]}


def hand_over(writer: WriterProcess, batches: int, size: object = 1.0) -> None:
    """Some batches, one after the other."""
    for number in range(batches):
        writer.take(signals(number, size))


@pytest.mark.parametrize(("pipe_bytes", "may_wait"), [(1 << 20, 64), (4096, 2), (4096, 64)])
def test_the_process_stores_what_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipe_bytes: int, may_wait: int
) -> None:
    """All of it and in order, also through a narrow pipe that makes the loop wait, or leaves the most for the end."""
    monkeypatch.setattr(run_writer, "PIPE_BYTES", pipe_bytes)
    monkeypatch.setattr(run_writer, "BATCHES_WAITING", may_wait)
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    files, writer = TopicFiles(here, ()), WriterProcess(there, ())
    for number in range(20):
        files.take(signals(number))
        writer.take(signals(number))
    written = writer.close()
    writer.stop()
    name = f"{GENERATED}.parquet"
    expected = files.close()
    assert pl.read_parquet(there / name).equals(pl.read_parquet(here / name))
    assert sorted(path.name for path in there.iterdir()) == sorted(path.name for path in here.iterdir())
    assert (written.digests, written.tally) == (expected, files.tally)


def test_a_process_that_fails_while_the_loop_goes_on_says_why(tmp_path: Path) -> None:
    """The loop hears of it when it hands over the next batches, and the last line of the process's errors is the reason."""
    writer = WriterProcess(tmp_path, ())
    with pytest.raises(RunWriterError, match=r"the process that writes the run failed: .*Expected `float`, got `str`"):
        hand_over(writer, batches=100_000, size="dear")
    writer.stop()


def test_a_process_that_fails_at_the_end_says_why(tmp_path: Path) -> None:
    """A folder stands where a file is to be written."""
    (tmp_path / f"{GENERATED}.parquet").mkdir()
    writer = WriterProcess(tmp_path, ())
    hand_over(writer, batches=1)
    with pytest.raises(RunWriterError, match=r"the process that writes the run failed: .*directory"):
        writer.close()
    writer.stop()


@pytest.mark.parametrize("given", [0, 1, 30])
def test_the_process_ends_when_told_to(tmp_path: Path, given: int) -> None:
    """At once, whatever it has been given, also twice."""
    writer = WriterProcess(tmp_path, ())
    hand_over(writer, given)
    writer.stop()
    writer.stop()
    assert writer.process.returncode == -signal.SIGKILL


class Unwilling:
    """Work that raises."""

    takes: tuple[type[Payload], ...] = ()

    def __call__(self, batch: Batch) -> Batch:
        raise KeyError(f"no room for {sorted(one.__name__ for one in batch)}")


def test_what_fails_in_the_process_is_shown_where_it_failed(tmp_path: Path) -> None:
    """The error has the other process's traceback as a note."""
    writer = WriterProcess(tmp_path, (), Unwilling())
    hand_over(writer, batches=1)
    with pytest.raises(RunWriterError, match=r"KeyError: .*no room for") as caught:
        writer.close()
    assert "in __call__" in caught.value.__notes__[0]
    writer.stop()


def test_a_start_that_fails_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[WriterProcess] = []

    def interrupted(writer: WriterProcess, *_: object) -> None:
        started.append(writer)
        raise KeyboardInterrupt

    monkeypatch.setattr(WriterProcess, "_send", interrupted)
    with pytest.raises(KeyboardInterrupt):
        WriterProcess(tmp_path, ())
    assert started[0].process.returncode == -signal.SIGKILL


def test_a_pipe_that_ends_early_is_an_error() -> None:
    """A run whose loop ended before it was whole is not finished."""
    with pytest.raises(EOFError, match="the loop ended before the run did"):
        list(batches(io.BytesIO(b""), STAGE_EVENTS))
