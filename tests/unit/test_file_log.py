"""The log in a folder: order, places, times, what a crash leaves, and refusals that say what is wrong."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alphapanda.adapters import file_frames
from alphapanda.adapters.file_log import MAX_RECORD_BYTES, FileLog
from alphapanda.runtime.log.protocol import Log, LogError, LogReader, LogWriter, Partition, Record

T0_MS = 1_709_264_700_000
COUNTS = {"ticks": 2, "clock": 1}
ONE: Partition = ("clock", 0)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FileLog]:
    made = FileLog(tmp_path / "log", COUNTS)
    yield made
    made.close()


def write(log: Log, count: int, partition: Partition = ONE, first: int = 0) -> None:
    writer = log.writer()
    for number in range(first, first + count):
        writer.send(partition, b"k", str(number).encode(), T0_MS + number)
    writer.close()


def read(reader: LogReader, count: int) -> list[Record]:
    got: list[Record] = []
    while len(got) < count and (more := reader.poll(2)):
        got += more
    return got


def values(records: list[Record]) -> list[int]:
    return [int(record.value) for record in records]


def test_the_adapter_is_a_log(log: FileLog) -> None:
    """The protocols hold, for the type checker too."""
    a_log: Log = log
    a_writer: LogWriter = a_log.writer()
    a_reader: LogReader = a_log.reader({ONE: 0})
    a_writer.close()
    a_reader.close()
    assert a_log.partitions(["clock", "ticks"]) == [("clock", 0), ("ticks", 0), ("ticks", 1)]


def test_a_record_comes_back_as_it_was_sent(log: FileLog) -> None:
    """Key or none, empty value, timestamp, headers where they are asked for."""
    writer = log.writer()
    writer.send(ONE, b"key", b"one", T0_MS, (("pos", b"1-2"), ("mode", b"paper")))
    writer.send(ONE, None, b"", T0_MS + 1)
    writer.flush()
    with_headers, without = log.reader({ONE: 0}, headers=True), log.reader({ONE: 0})
    first = Record(ONE, 0, T0_MS, b"key", b"one", (("pos", b"1-2"), ("mode", b"paper")))
    second = Record(ONE, 1, T0_MS + 1, None, b"", ())
    assert with_headers.poll(0) == [first, second]
    assert without.poll(0) == [first._replace(headers=()), second]


def test_two_readers_read_all_in_order_from_where_each_began(log: FileLog) -> None:
    """Over many frames, in small portions, from the middle of a frame."""
    write(log, 10_000)
    early, late = log.reader({ONE: 0}), log.reader({ONE: 4_321})
    got: list[Record] = []
    while more := early.poll(0, 700):
        assert len(more) <= 700
        got += more
    assert [record.offset for record in got] == values(got) == list(range(10_000))
    assert values(read(late, 5_679)) == list(range(4_321, 10_000))


def test_no_partition_starves_another(log: FileLog) -> None:
    """A full partition and one with a single record: both are in the first portions."""
    write(log, 50_000, ("ticks", 0))
    write(log, 1)
    reader = log.reader({("ticks", 0): 0, ONE: 0})
    assert ONE in {record.partition for record in reader.poll(0, 5_000)}


def test_places_outlive_the_process_that_wrote(tmp_path: Path) -> None:
    """Closed and opened again: the same bounds, the same records, and offsets go on."""
    log = FileLog(tmp_path / "log", COUNTS)
    write(log, 5_000)
    log.close()
    again = FileLog(tmp_path / "log")
    assert again.bounds([ONE, ("ticks", 1)]) == {ONE: (0, 5_000), ("ticks", 1): (0, 0)}
    assert again.append(ONE, None, b"5000", T0_MS) == 5_000
    assert values(read(again.reader({ONE: 0}), 5_001)) == list(range(5_001))
    again.close()


def test_times_are_looked_up(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first record with at least the time, also where times run back; the end where there is none."""
    monkeypatch.setattr(file_frames, "INDEX_BYTES", 64)
    writer, times = log.writer(), [T0_MS + (i // 3) * 10 - (7 if i % 50 == 49 else 0) for i in range(4_000)]
    for i, ts_ms in enumerate(times):
        writer.send(ONE, b"k", b"v" * 20, ts_ms)
        if i % 7 == 0:
            writer.serve()
    writer.flush()
    for wanted in (0, T0_MS, T0_MS + 5, T0_MS + 163, T0_MS + 4_000, T0_MS + 9_999, T0_MS + 13_330, T0_MS + 20_000):
        expected = next((i for i, ts_ms in enumerate(times) if ts_ms >= wanted), len(times))
        assert log.offset_for_time(ONE, wanted) == expected


def test_the_index_is_bounded(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many frames there are, and every place is found all the same."""
    monkeypatch.setattr(file_frames, "INDEX_ENTRIES", 16)
    file = log.file(ONE)
    file._stride = 1
    for number in range(500):
        file.write([(T0_MS + number, b"k", str(number).encode(), ())])
    assert len(file._index) <= 17
    for start in (0, 1, 31, 250, 499):
        assert values(log.reader({ONE: start}).poll(0)) == list(range(start, 500))
        assert log.offset_for_time(ONE, T0_MS + start) == start


def test_a_reader_that_waits_is_woken(log: FileLog) -> None:
    """By the record itself, not by its timeout; and what was sent leaves without another call."""
    reader, writer, got = log.reader({ONE: 0}), log.writer(), list[Record]()
    waiting = threading.Thread(target=lambda: got.extend(reader.poll(30)))
    waiting.start()
    time.sleep(0.05)
    began = time.monotonic()
    writer.send(ONE, b"k", b"1", T0_MS)
    waiting.join(10)
    assert (values(got), time.monotonic() - began < 5) == ([1], True)


def test_a_reader_waits_no_longer_than_it_was_told(log: FileLog) -> None:
    """Nothing comes: nothing is returned."""
    began = time.monotonic()
    assert log.reader({ONE: 0}).poll(0.05) == []
    assert 0.04 < time.monotonic() - began < 5


def test_writers_in_several_threads_leave_no_gap(log: FileLog) -> None:
    """Four threads into one partition: each thread's records in its order."""

    def one(thread: int) -> None:
        writer = log.writer()
        for number in range(2_000):
            writer.send(ONE, str(thread).encode(), str(number).encode(), T0_MS)
            if number % 13 == 0:
                writer.serve()
        writer.close()

    threads = [threading.Thread(target=one, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    got = read(log.reader({ONE: 0}), 8_000)
    for thread in threads:
        thread.join()
    assert [record.offset for record in got] == list(range(8_000))
    for name in range(4):
        assert [int(record.value) for record in got if record.key == str(name).encode()] == list(range(2_000))


@pytest.mark.parametrize("cut", [1, 10, 27, 28, 40])
def test_a_torn_end_is_cut_off(tmp_path: Path, cut: int) -> None:
    """Wherever the last frame was torn, what stands before it stays, and writing goes on there."""
    log = FileLog(tmp_path / "log", COUNTS)
    write(log, 10)
    log.append(ONE, b"k", b"torn, torn, torn", T0_MS)
    log.close()
    path = tmp_path / "log/clock/0.log"
    os.truncate(path, path.stat().st_size - cut)
    again = FileLog(tmp_path / "log")
    assert again.append(ONE, b"k", b"10", T0_MS) == 10
    assert values(read(again.reader({ONE: 0}), 11)) == list(range(11))
    again.close()


def test_damage_to_what_was_durable_is_refused(tmp_path: Path) -> None:
    """A bit that fell over in the first frame: later frames say that it was stored."""
    log = FileLog(tmp_path / "log", COUNTS)
    write(log, 10)
    write(log, 10, first=10)
    log.close()
    path = tmp_path / "log/clock/0.log"
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogError, match=r"0\.log is damaged at byte 0 \(offset 0\)"):
        FileLog(tmp_path / "log")


CHILD = """
import sys, itertools
from pathlib import Path
from alphapanda.adapters.file_log import FileLog
log = FileLog(Path(sys.argv[1]), {"ticks": 2, "clock": 1})
writer = log.writer()
for number in itertools.count():
    writer.send(("clock", 0), b"k", str(number).encode(), 1 + number)
    if number % 97 == 0:
        writer.flush()
        print(number, flush=True)
"""


def test_what_was_flushed_outlives_kill_9(tmp_path: Path) -> None:
    """Killed in the middle of writing, three times over: a whole beginning, at least to the last flush."""
    for _ in range(3):
        folder = tmp_path / f"log{time.monotonic_ns()}"
        with subprocess.Popen([sys.executable, "-c", CHILD, folder], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(40)]
            child.send_signal(signal.SIGKILL)
            lines += child.stdout.readlines()
        log = FileLog(folder)
        flushed = max(int(line) for line in lines if line.endswith("\n"))
        end = log.bounds([ONE])[ONE][1]
        assert end > flushed
        assert values(read(log.reader({ONE: 0}), end)) == list(range(end))
        log.close()


def test_a_second_process_is_refused(log: FileLog) -> None:
    """And told who has the folder."""
    with pytest.raises(LogError, match=f"in use by process {os.getpid()}"):
        FileLog(log.folder)


def test_what_is_not_there_is_refused(log: FileLog, tmp_path: Path) -> None:
    """Topics, partitions, offsets, folders; and other partition counts than it was made with."""
    with pytest.raises(LogError, match="has no topic orders"):
        log.partitions(["clock", "orders"])
    with pytest.raises(LogError, match=r"has no partition clock\[1\]"):
        log.writer().send(("clock", 1), b"k", b"v", T0_MS)
    with pytest.raises(LogError, match=r"clock\[0\] of .* has no offset 1: it holds 0 to 0"):
        log.reader({ONE: 1})
    with pytest.raises(LogError, match="holds no log"):
        FileLog(tmp_path / "nowhere")
    log.close()
    with pytest.raises(LogError, match="made with other partitions of ticks"):
        FileLog(log.folder, {"ticks": 4, "clock": 1})


def test_a_record_that_is_too_long_ends_its_writer(log: FileLog) -> None:
    """Nothing of it is written, and nothing after it."""
    writer = log.writer()
    with pytest.raises(LogError, match=r"clock\[0\] has \d+ bytes, more than"):
        writer.send(ONE, b"k", b"x" * (MAX_RECORD_BYTES + 1), T0_MS)
    with pytest.raises(LogError, match="more than"):
        writer.flush()
    assert log.bounds([ONE]) == {ONE: (0, 0)}


def test_a_full_disk_ends_the_writer_and_leaves_no_rest(log: FileLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a frame that could be written is taken back; later calls say the same."""
    real = os.pwrite

    def full(handle: int, data: bytes, at: int) -> int:
        if at:
            raise OSError(28, "No space left on device")
        return real(handle, data[:10], at)

    writer = log.writer()
    writer.send(ONE, b"k", b"v", T0_MS)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(LogError, match=r"could not be written: .*No space left"):
        writer.serve()
    monkeypatch.undo()
    with pytest.raises(LogError, match="No space left"):
        writer.send(ONE, b"k", b"v", T0_MS)
    assert (log.folder / "clock/0.log").stat().st_size == 0


def test_a_group_says_where_it_stands(log: FileLog) -> None:
    """For lag tools, in a file of its own."""
    log.commit("recorder.0", {ONE: 7, ("ticks", 1): 9})
    assert (log.folder / "groups/recorder.0.json").read_text() == '{"clock/0": 7, "ticks/1": 9}'


def test_a_closed_log_lets_nobody_wait(log: FileLog) -> None:
    """A reader of a closed log is told so."""
    reader = log.reader({ONE: 0})
    log.close()
    with pytest.raises(LogError, match="was closed"):
        reader.poll(10)
