"""One partition of a log as a file of frames.

A frame is a head (length, CRC-32, number of records, greatest timestamp, how much of the file was durable by then) and a
body of records; offsets are implied by the order. What a crash left torn at the end is cut off on opening; damage to what
was durable is refused.
"""

import logging
import mmap
import os
import threading
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from struct import Struct
from typing import Any

import msgspec

from alphapanda.runtime.log.protocol import Headers, LogError, Partition, Record

READ_BYTES = 1 << 18
INDEX_BYTES, INDEX_ENTRIES = 1 << 16, 8_192
LOGGER = logging.getLogger("alphapanda.log")
_HEAD = Struct("<IIIqQ")  # body's bytes, CRC-32 of the rest of the head and the body, records, greatest ts_ms, durable bytes
_REST = Struct("<IqQ")
_CRC_FROM = 8
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[int], list[bytes | None], list[bytes], bytes]).decode  # columns; headers packed
_decode_headers = msgspec.msgpack.Decoder(list[tuple[tuple[str, bytes], ...]]).decode
_record: Callable[[Iterable[Any]], Record] = partial(tuple.__new__, Record)
_sync_file: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
Row = tuple[int, bytes | None, bytes, Headers]
"""A record on its way: ts_ms, key, value, headers."""


class PartitionFile:
    """One partition's file. `end` and `size` are what readers may see; the index finds a place near an offset or a time."""

    def __init__(self, path: Path, partition: Partition) -> None:
        self.path, self.partition = path, partition
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self.lock = threading.Lock()
        self.end, self.size, self.top_ms = 0, 0, -1
        self._index: list[tuple[int, int]] = []  # (first offset, file position) of some frames
        self._tops: list[int] = []  # greatest timestamp before each of these
        self._stride = INDEX_BYTES
        self._recover()
        self.durable = self.size
        self._failed: str | None = None

    def _recover(self) -> None:
        """Find the end, and cut off a torn last frame. Raises LogError for damage to what was durable."""
        length = os.fstat(self.handle).st_size
        if length:
            with mmap.mmap(self.handle, length, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
                for position, count, top_ms, whole in _frames(view):
                    self._note(position, count, top_ms, whole)
                self._refuse_damage(view)
        if self.size < length:
            LOGGER.warning("%s: cut off %d bytes that a crash left behind", self.path, length - self.size)
            os.ftruncate(self.handle, self.size)
            os.fsync(self.handle)

    def _refuse_damage(self, view: memoryview) -> None:
        """A frame behind the first bad one that says that more than this was durable: the bad one is no torn end."""
        at = self.size
        while at + _HEAD.size <= len(view):
            length, crc, _, _, durable = _HEAD.unpack_from(view, at)
            whole = at + _HEAD.size + length
            if whole <= len(view) and zlib.crc32(view[at + _CRC_FROM : whole]) == crc and durable > self.size:
                raise LogError(
                    f"{self.path} is damaged at byte {self.size} (offset {self.end}), in what was safely stored: restore the"
                    " file from a copy, or begin a new topic prefix"
                )
            at = whole

    def _note(self, position: int, count: int, top_ms: int, whole: int) -> None:
        """Take a frame into account. `end` last: it is what readers look at."""
        if not self._index or position - self._index[-1][1] >= self._stride:
            self._index.append((self.end, position))
            self._tops.append(self.top_ms)
            if len(self._index) > INDEX_ENTRIES:  # half as many, twice as far apart
                self._index, self._tops, self._stride = self._index[::2], self._tops[::2], self._stride * 2
        self.top_ms = max(self.top_ms, top_ms)
        self.size = whole
        self.end += count

    def write(self, rows: Sequence[Row]) -> int:
        """Append a frame; returns the offset of its first record. Raises LogError; the file is then as it was."""
        times, keys, values, headers = zip(*rows, strict=True)
        packed = _encode([tuple(one) for one in headers]) if any(headers) else b""
        body, top_ms = _encode((times, keys, values, packed)), max(times)
        with self.lock:
            if self._failed is not None:
                raise LogError(self._failed)
            rest = _REST.pack(len(rows), top_ms, self.durable)
            crc = zlib.crc32(body, zlib.crc32(rest))
            self._put(b"".join((len(body).to_bytes(4, "little"), crc.to_bytes(4, "little"), rest, body)))
            first = self.end
            self._note(self.size, len(rows), top_ms, self.size + _HEAD.size + len(body))
        return first

    def _put(self, frame: bytes) -> None:
        done = 0
        try:
            while done < len(frame):
                done += os.pwrite(self.handle, frame[done:] if done else frame, self.size + done)
        except OSError as error:
            self._failed = f"{self.path} could not be written: {error}"
            os.ftruncate(self.handle, self.size)
            raise LogError(self._failed) from error

    def sync(self) -> None:
        """Make everything written so far durable."""
        size = self.size
        if self._failed is not None:
            raise LogError(self._failed)  # a second attempt may succeed without having stored what the first lost
        if size > self.durable:
            try:
                _sync_file(self.handle)
            except OSError as error:
                self._failed = f"{self.path} could not be made durable: {error}"
                raise LogError(self._failed) from error
            self.durable = max(self.durable, size)

    def close(self) -> None:
        """Make it durable, unless that failed before, and let go of it."""
        try:
            if self._failed is None:
                self.sync()
        finally:
            os.close(self.handle)

    def place(self, offset: int) -> tuple[int, int]:
        """(first offset, file position) of a frame at or before `offset`."""
        with self.lock:
            at = bisect_right(self._index, (offset, 1 << 63)) - 1
            return self._index[at] if at >= 0 else (0, 0)

    def place_of_time(self, ts_ms: int) -> tuple[int, int]:
        """The same for the first record with at least this timestamp."""
        with self.lock:
            at = bisect_left(self._tops, ts_ms) - 1
            return self._index[at] if at >= 0 else (0, 0)


def _frames(view: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """(position, records, greatest ts_ms, end) of every whole frame up to the first that is not."""
    at = 0
    while at + _HEAD.size <= len(view):
        length, crc, count, top_ms, _ = _HEAD.unpack_from(view, at)
        whole = at + _HEAD.size + length
        if whole > len(view) or not count or zlib.crc32(view[at + _CRC_FROM : whole]) != crc:
            return
        yield at, count, top_ms, whole
        at = whole


class Cursor:
    """A place in one file, frame by frame."""

    def __init__(self, file: PartitionFile, offset: int, position: int, *, headers: bool) -> None:
        self.file, self.offset, self._headers = file, offset, headers
        self._at, self._data, self._data_from = position, b"", position

    def frame(self) -> list[Record]:
        """The next frame's records; there must be one. Raises LogError where it is damaged."""
        at = self._at - self._data_from
        if at + _HEAD.size > len(self._data):
            at = self._read(READ_BYTES)
        length, crc, count, _, _ = _HEAD.unpack_from(self._data, at)
        whole = at + _HEAD.size + length
        if whole > len(self._data):
            at = self._read(max(READ_BYTES, _HEAD.size + length))
            whole = at + _HEAD.size + length
        if zlib.crc32(memoryview(self._data)[at + _CRC_FROM : whole]) != crc:
            raise LogError(f"{self.file.path} is damaged at byte {self._at} (offset {self.offset}): restore it from a copy")
        times, keys, values, packed = _decode(memoryview(self._data)[at + _HEAD.size : whole])
        headers: Iterable[Headers] = _decode_headers(packed) if packed and self._headers else repeat((), count)
        offsets = range(self.offset, self.offset + count)
        columns: tuple[Iterable[Any], ...] = (repeat(self.file.partition, count), offsets, times, keys, values, headers)
        records = list(map(_record, zip(*columns, strict=True)))
        self._at += _HEAD.size + length
        self.offset += count
        return records

    def _read(self, size: int) -> int:
        self._data_from = self._at
        self._data = os.pread(self.file.handle, min(size, self.file.size - self._at), self._at)
        return 0
