"""A process that writes a run's files while the loop goes on.

Events go to it through a pipe, as msgpack, a batch at a time; it encodes, hashes and stores them (`topic_files`), and at
the end says the digests. What it is to do with a batch before that, it is given as `Work`.
"""

import fcntl
import gc
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol

import msgspec

from alphapanda.adapters.event_batch import Batch
from alphapanda.adapters.memory import peak_rss_mb
from alphapanda.adapters.topic_files import Tally, TopicFiles
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.events import STAGE_EVENTS, Event, Payload

BATCHES_WAITING, PIPE_BYTES = 64, 1 << 20
_HEAD = struct.Struct("<II")  # events of which type follow, or what else it is; how many bytes they are
_BEGIN, _BATCH_ENDS, _ALL_ENDS = 1_000, 1_001, 1_002  # more than there are types
_RAISED = re.compile(r"^\w[\w.]*(Error|Exception)\b", re.MULTILINE)
"""Where a traceback names what was raised."""


class RunWriterError(AlphaPandaError):
    """The process that writes a run's files failed."""


class Work(Protocol):
    """What is done with each batch before it is written; it is pickled on its way to the process."""

    takes: tuple[type[Payload], ...]  # what batches have for it alone

    def __call__(self, batch: Batch) -> Batch:
        """What is to be written."""
        ...


class Written(msgspec.Struct):
    """What the process says at the end."""

    digests: dict[str, str]  # by topic
    tally: Tally
    peak_rss_mb: float  # the most memory it held


class WriterProcess:
    """The loop's end of the pipe.

    The loop never waits for the writer while the pipe or the batches in hand have room. It sends by itself: a thread of its
    own would get the interpreter only now and then beside a busy loop, and the writer would wait for it.
    """

    def __init__(self, folder: Path, feature_names: tuple[str, ...], work: Work | None = None) -> None:
        begin = pickle.dumps((folder, feature_names, work))
        command = [sys.executable, "-m", __spec__.name]
        self._errors = (folder / "writer.log").open("w+b")
        self.process = subprocess.Popen(  # noqa: S603  # our own module
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._encode = msgspec.msgpack.Encoder().encode
        self._waiting: deque[memoryview] = deque()
        assert self.process.stdin is not None  # noqa: S101  # it was asked for
        assert self.process.stdout is not None  # noqa: S101  # so was this
        self._pipe, self._answer = self.process.stdin.fileno(), self.process.stdout
        _widen(self._pipe)
        types = types_of(work)
        self._places = {cls: place for place, cls in enumerate(types)}
        try:
            self._send(_HEAD.pack(_BEGIN, len(begin)) + begin, BATCHES_WAITING)
        except BaseException:
            self.stop()
            raise

    def take(self, batch: Batch) -> None:
        """Hand over events by type, each list in `pos` order. Raises RunWriterError once the process has failed."""
        parts = []
        for cls, events in batch.items():
            body = self._encode(events)
            parts += [_HEAD.pack(self._places[cls], len(body)), body]
        self._send(b"".join([*parts, _HEAD.pack(_BATCH_ENDS, 0)]), BATCHES_WAITING)

    def _send(self, batch: bytes, may_wait: int) -> None:
        """Write what the pipe takes at once; where more batches wait than may, wait until the process took some."""
        self._waiting.append(memoryview(batch))
        while self._waiting:
            os.set_blocking(self._pipe, len(self._waiting) > may_wait)
            try:
                written = os.write(self._pipe, self._waiting[0])
            except BlockingIOError:  # the pipe is full
                return
            except BrokenPipeError:
                self._fail()
            if written == len(self._waiting[0]):
                self._waiting.popleft()
            else:
                self._waiting[0] = self._waiting[0][written:]

    def close(self) -> Written:
        """Wait for the files."""
        self._send(_HEAD.pack(_ALL_ENDS, 0), 0)
        answer = self._answer.read()
        if not answer:
            self._fail()
        self._errors.close()
        Path(self._errors.name).unlink()
        return msgspec.json.decode(answer, type=Written)

    def _fail(self) -> NoReturn:
        self.process.wait()
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace").strip()
        said = [*_RAISED.finditer(text)]  # its message may have several lines
        last = " ".join(text[said[-1].start() :].split()) if said else "".join(text.splitlines()[-1:])
        error = RunWriterError(f"the process that writes the run failed: {last or f'exit status {self.process.returncode}'}")
        error.add_note(text)
        raise error

    def stop(self) -> None:
        """End the process, whatever it is doing; nothing happens where it has ended."""
        self.process.kill()
        self.process.communicate()
        self._errors.close()


def _widen(pipe: int) -> None:
    """Give a pipe room for some batches, where the system has a way to."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # the pipes of this user hold all that they may
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def types_of(work: Work | None) -> tuple[type[Payload], ...]:
    """The types that batches may have."""
    return (*STAGE_EVENTS, *(() if work is None else work.takes))


def _head(pipe: BinaryIO) -> tuple[int, int]:
    head = pipe.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError("the loop ended before the run did")
    return _HEAD.unpack(head)


def batches(pipe: BinaryIO, types: Sequence[type[Payload]]) -> Iterator[Batch]:
    """The batches that a `WriterProcess` sends. Raises EOFError where the pipe ends before it should."""
    typed = [msgspec.defstruct(f"{cls.__name__}Event", [("data", cls)], bases=(Event,), frozen=True, gc=False) for cls in types]
    decoders = [msgspec.msgpack.Decoder(list[one]) for one in typed]  # type: ignore[valid-type]
    batch: Batch = {}
    while True:
        place, length = _head(pipe)
        if place == _ALL_ENDS:
            return
        if place == _BATCH_ENDS:
            yield batch
            batch = {}
        else:
            batch[types[place]] = decoders[place].decode(pipe.read(length))


def main() -> None:
    """Write what comes in; say what was written."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both: the loop decides
    gc.disable()  # events and frames hold no cycles: looking for them takes an eighth of the time
    pipe = sys.stdin.buffer
    _, length = _head(pipe)
    folder, feature_names, work = pickle.loads(pipe.read(length))  # noqa: S301  # of the process that started this one
    files = TopicFiles(folder, feature_names)
    for batch in batches(pipe, types_of(work)):
        files.take(batch if work is None else work(batch))
    digests = files.close()
    sys.stdout.buffer.write(msgspec.json.encode(Written(digests, files.tally, peak_rss_mb())))
    sys.stdout.flush()
    os.close(sys.stdout.fileno())  # everything is written: the loop need not wait while memory is given back
    os._exit(0)


if __name__ == "__main__":
    main()
