"""A log in a folder, for one process: the laptop's log, with no broker at all.

Several threads of the one process may write and read; a second process is refused. A partition is a file of frames
(`file_frames`). Nothing is ever removed: a session that is no longer wanted is a folder to delete.

What durability means here. A record can be read once it is in the file, at the latest `LINGER_S` after it was sent: so what
any reader heard survives a `kill -9` of the process. What `flush` returned for (and with it everything written before, in
all partitions, those of the door first) survives the loss of power too. After a crash the last frame of a file may be torn:
it is cut off on opening.
"""

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from alphapanda.adapters.durable import sync
from alphapanda.adapters.file_frames import LOGGER, Cursor, PartitionFile, Row
from alphapanda.runtime.log.protocol import Headers, LogError, Partition, Record

FORMAT = 1
LINGER_S = 0.005
MAX_RECORD_BYTES = 8 << 20
"""As the broker's client has it: a longer record is refused."""
FRAME_RECORDS, FRAME_BYTES = 2_048, 1 << 18


class FileLog:
    """The topics in one folder. Implements `runtime.log.protocol.Log`. For all threads of this process."""

    durable_when_read = False

    def __init__(self, folder: Path, partition_counts: Mapping[str, int] | None = None) -> None:
        """`partition_counts` None: as the folder has them. Raises LogError where it is in use, or has other counts."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = _locked(folder)
        try:
            counts = _counts(folder, partition_counts)
            self._files: dict[Partition, PartitionFile] = {}
            for topic, count in counts.items():
                (folder / topic).mkdir(exist_ok=True)
                for number in range(count):
                    self._files[topic, number] = PartitionFile(folder / topic / f"{number}.log", (topic, number))
                sync(folder / topic)
            sync(folder)
        except BaseException:
            os.close(self._lock)
            raise
        self._topics = counts
        self.changed, self.closed = threading.Condition(), False
        self._writers: list[FileWriter] = []
        self._sent = threading.Event()
        self._linger = threading.Thread(target=self._write_late, name="file-log", daemon=True)
        self._linger.start()

    def partitions(self, topics: Iterable[str]) -> list[Partition]:
        """All partitions of these topics, in order. Raises LogError naming a topic that is not there."""
        wanted = list(topics)
        if missing := [topic for topic in wanted if topic not in self._topics]:
            raise LogError(f"{self.folder} has no topic {', '.join(missing)}: it was made by another version; use a new prefix")
        return [(topic, number) for topic in wanted for number in range(self._topics[topic])]

    def file(self, partition: Partition) -> PartitionFile:
        """Where a partition lies. Raises LogError naming one that is not there."""
        try:
            return self._files[partition]
        except KeyError:
            raise LogError(f"{self.folder} has no partition {partition[0]}[{partition[1]}]") from None

    def bounds(self, partitions: Iterable[Partition]) -> dict[Partition, tuple[int, int]]:
        """For each: 0, as nothing is ever removed, and the offset after the last."""
        return {partition: (0, self.file(partition).end) for partition in partitions}

    def offset_for_time(self, partition: Partition, ts_ms: int) -> int:
        """The first offset whose record has at least this timestamp; the end if there is none."""
        file = self.file(partition)
        cursor = Cursor(file, *file.place_of_time(ts_ms), headers=False)
        while cursor.offset < file.end:
            for record in cursor.frame():
                if record.ts_ms >= ts_ms:
                    return record.offset
        return cursor.offset

    def reader(self, positions: Mapping[Partition, int], *, headers: bool = False) -> "FileReader":
        """A reader that starts at these offsets. Raises LogError for one that is not within `bounds`."""
        for partition, (first, end) in self.bounds(positions).items():
            if not first <= positions[partition] <= end:
                raise LogError(
                    f"{partition[0]}[{partition[1]}] of {self.folder} has no offset {positions[partition]}: it holds {first} to"
                    f" {end} (exclusive). Was the folder replaced, or did the power fail before a flush? Begin a new prefix"
                )
        return FileReader(self, positions, headers=headers)

    def writer(self) -> "FileWriter":
        """A new writer."""
        writer = FileWriter(self, self._sent)
        self._writers.append(writer)
        return writer

    def append(self, partition: Partition, key: bytes | None, value: bytes, ts_ms: int) -> int:
        """Append one record, wait until it is durable, and return its offset."""
        file = self.file(partition)
        offset = file.write([(ts_ms, key, value, ())])
        self.wake()
        file.sync()
        return offset

    def sync(self) -> None:
        """Make everything that was written durable; the door's partitions first, as causes come before what they cause."""
        for file in self._files.values():
            file.sync()

    def commit(self, group: str, positions: Mapping[Partition, int]) -> None:
        """Write where a group stands to `groups/{group}.json`, for lag tools alone."""
        folder = self.folder / "groups"
        folder.mkdir(exist_ok=True)
        said = {f"{topic}/{number}": offset for (topic, number), offset in positions.items()}
        made = folder / f".{group}-{threading.get_ident()}.tmp"
        made.write_text(json.dumps(said), encoding="utf-8")
        made.replace(folder / f"{group}.json")

    def wake(self) -> None:
        """Tell readers that wait that there is more."""
        with self.changed:
            self.changed.notify_all()

    def forget(self, writer: "FileWriter") -> None:
        """Of a writer that is closed."""
        if writer in self._writers:
            self._writers.remove(writer)

    def _write_late(self) -> None:
        """What was sent by a thread that then did something else gets into the files all the same."""
        while not self.closed:
            self._sent.wait()
            time.sleep(LINGER_S)
            self._sent.clear()
            for writer in list(self._writers):
                writer.write_quietly()

    def close(self) -> None:
        """Flush, and let go of the folder. Raises LogError where that failed; whoever wrote before a failure was told."""
        if self.closed:
            return
        for writer in list(self._writers):
            writer.write_quietly()
        self.closed = True
        self._sent.set()
        self._linger.join()
        self.wake()
        try:
            for file in self._files.values():
                file.close()
        finally:
            os.close(self._lock)


def _locked(folder: Path) -> int:
    """A handle that keeps other processes out. Raises LogError saying who has it."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise LogError(
            f"{folder} is in use by process {owner}: a log in a folder is for one process at a time; stop that one, use another"
            " prefix, or run on a broker"
        ) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def _counts(folder: Path, wanted: Mapping[str, int] | None) -> dict[str, int]:
    """Partitions of each topic, kept in the folder since it was made. Raises LogError where others are wanted."""
    path = folder / "topics.json"
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["format"] != FORMAT:
            raise LogError(f"{folder} has log format {kept['format']}, this reads {FORMAT}: begin a new prefix")
        counts: dict[str, int] = kept["partitions"]
        if wanted is not None and counts != dict(wanted):
            differ = sorted(topic for topic in {*counts, *wanted} if counts.get(topic) != wanted.get(topic))
            raise LogError(f"{folder} was made with other partitions of {', '.join(differ)}: keep to them, or begin a new prefix")
        return counts
    if wanted is None:
        raise LogError(f"{folder} holds no log: is the prefix right?")
    made = folder / ".topics.json.tmp"
    made.write_text(json.dumps({"format": FORMAT, "partitions": dict(wanted)}, indent=1), encoding="utf-8")
    sync(made)
    made.replace(path)
    return dict(wanted)


class FileReader:
    """Reads partitions from given offsets, a frame of each in turn. Implements `runtime.log.protocol.LogReader`."""

    def __init__(self, log: FileLog, positions: Mapping[Partition, int], *, headers: bool) -> None:
        self._log = log
        self._cursors: list[Cursor] = []
        self._left: dict[Partition, list[Record]] = {}  # records of a frame that were not handed out yet
        for partition, offset in positions.items():
            file = log.file(partition)
            cursor = Cursor(file, *file.place(offset), headers=headers)
            while cursor.offset < offset:
                if left := [record for record in cursor.frame() if record.offset >= offset]:
                    self._left[partition] = left
            self._cursors.append(cursor)

    def poll(self, timeout_s: float, limit: int = 10_000) -> list[Record]:
        """Up to `limit` records; waits up to `timeout_s` for the first, never for more. Raises LogError."""
        if self._log.closed:
            raise LogError(f"{self._log.folder} was closed")
        got = self._take(limit)
        if got or timeout_s <= 0:
            return got
        with self._log.changed:
            self._log.changed.wait_for(lambda: self._log.closed or any(map(_has_more, self._cursors)), timeout_s)
        return [] if self._log.closed else self._take(limit)

    def _take(self, limit: int) -> list[Record]:
        got: list[Record] = []
        while len(got) < limit:
            before = len(got)
            for partition in list(self._left):
                got += self._out_of(partition, limit - len(got))
            for cursor in self._cursors:
                if len(got) < limit and cursor.offset < cursor.file.end:
                    self._left[cursor.file.partition] = cursor.frame()
                    got += self._out_of(cursor.file.partition, limit - len(got))
            if len(got) == before:
                break
        if self._cursors:
            self._cursors.append(self._cursors.pop(0))  # another is the first next time
        return got

    def _out_of(self, partition: Partition, room: int) -> list[Record]:
        records = self._left.pop(partition)
        if len(records) > room:
            self._left[partition] = records[room:]
            return records[:room]
        return records

    def close(self) -> None:
        """Let go of what was read ahead."""
        self._cursors, self._left = [], {}


def _has_more(cursor: Cursor) -> bool:
    return cursor.offset < cursor.file.end


class FileWriter:
    """Gathers records into frames. Implements `runtime.log.protocol.LogWriter`."""

    def __init__(self, log: FileLog, sent: threading.Event) -> None:
        self._log, self._sent = log, sent
        self._lock = threading.RLock()  # the log's own thread writes too
        self._waiting: dict[Partition, list[Row]] = {}
        self._bytes = 0
        self._failed: str | None = None

    def send(self, partition: Partition, key: bytes | None, value: bytes, ts_ms: int, headers: Headers = ()) -> None:
        """Append later. Raises LogError once any earlier record could not be written."""
        with self._lock:
            if self._failed is not None:
                raise LogError(self._failed)
            rows = self._waiting.get(partition)
            if rows is None:
                self._log.file(partition)
                rows = self._waiting[partition] = []
                if not self._sent.is_set():
                    self._sent.set()
            rows.append((ts_ms, key, value, headers))
            self._bytes += len(value)
            if self._bytes > FRAME_BYTES or len(rows) >= FRAME_RECORDS:
                self._check(value, partition)
                self._write()

    def _check(self, value: bytes, partition: Partition) -> None:
        if len(value) > MAX_RECORD_BYTES:
            self._failed = f"a record of {partition[0]}[{partition[1]}] has {len(value)} bytes, more than {MAX_RECORD_BYTES}"
            raise LogError(self._failed)

    def _write(self) -> None:
        waiting, self._waiting, self._bytes = self._waiting, {}, 0
        try:
            for partition, rows in waiting.items():
                self._log.file(partition).write(rows)
        except LogError as error:
            self._failed = str(error)
            raise
        self._log.wake()

    def serve(self) -> None:
        """Write what was sent. Raises LogError once a record could not be written."""
        with self._lock:
            if self._failed is not None:
                raise LogError(self._failed)
            if self._waiting:
                self._write()

    def write_quietly(self) -> None:
        """The same from another thread: a failure is told to the owner, by its next call."""
        with self._lock:
            if self._failed is None and self._waiting:
                try:
                    self._write()
                except LogError:
                    LOGGER.exception("a record could not be written")

    def flush(self) -> None:
        """Wait until all that was sent is durable, and all that was written before. Raises LogError when it is not."""
        self.serve()
        self._log.sync()

    def close(self) -> None:
        """Flush and let go of the log."""
        self._log.forget(self)
        self.flush()
