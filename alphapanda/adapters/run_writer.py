"""A process that writes a run's files while the loop goes on.

Events go to it through a pipe, as msgpack, a batch at a time; it encodes, hashes and stores them (`topic_files`), and at
the end says the digests. It writes nothing but what it was given, in the order in which it was given.
"""

import fcntl
import gc
import json
import os
import re
import signal
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NoReturn

import msgspec

from alphapanda.adapters.memory import peak_rss_mb
from alphapanda.adapters.topic_files import TopicFiles
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.events import STAGE_EVENTS, Event, Payload

BATCHES_WAITING, PIPE_BYTES = 64, 1 << 20
_HEAD = struct.Struct("<II")  # place in STAGE_EVENTS, bytes that follow
_BATCH_ENDS, _ALL_ENDS = len(STAGE_EVENTS), len(STAGE_EVENTS) + 1
_RAISED = re.compile(r"^\w[\w.]*(Error|Exception)\b", re.MULTILINE)
"""Where a traceback names what was raised."""
_PLACES = {cls: place for place, cls in enumerate(STAGE_EVENTS)}


class RunWriterError(AlphaPandaError):
    """The process that writes a run's files failed."""


class WriterProcess:
    """The loop's end of the pipe.

    The loop never waits for the writer while the pipe or the batches in hand have room. It sends by itself: a thread of its
    own would get the interpreter only now and then beside a busy loop, and the writer would wait for it.
    """

    def __init__(self, folder: Path, feature_names: tuple[str, ...]) -> None:
        command = [sys.executable, "-m", __spec__.name, str(folder), json.dumps(feature_names)]
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

    def take(self, batch: dict[type[Payload], list[Event]]) -> None:
        """Hand over events by type, each list in `pos` order. Raises RunWriterError once the process has failed."""
        parts = []
        for cls, events in batch.items():
            body = self._encode(events)
            parts += [_HEAD.pack(_PLACES[cls], len(body)), body]
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

    def close(self) -> tuple[dict[str, str], float]:
        """Wait for the files; returns the digest of each topic, and the most memory the process held, in MB."""
        self._send(_HEAD.pack(_ALL_ENDS, 0), 0)
        answer = self._answer.read()
        if not answer:
            self._fail()
        self._errors.close()
        Path(self._errors.name).unlink()
        said = json.loads(answer)
        return said["digests"], said["peak_rss_mb"]

    def _fail(self) -> NoReturn:
        self.process.wait()
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace").strip()
        said = [*_RAISED.finditer(text)]  # its message may have several lines
        last = " ".join(text[said[-1].start() :].split()) if said else "".join(text.splitlines()[-1:])
        raise RunWriterError(f"writing the run failed: {last or f'exit status {self.process.returncode}'}")

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


def batches(pipe: BinaryIO) -> Iterator[dict[type[Payload], list[Event]]]:
    """The batches that a `WriterProcess` sends. Raises EOFError where the pipe ends before it should."""
    typed = [
        msgspec.defstruct(f"{cls.__name__}Event", [("data", cls)], bases=(Event,), frozen=True, gc=False) for cls in STAGE_EVENTS
    ]
    decoders = [msgspec.msgpack.Decoder(list[one]) for one in typed]  # type: ignore[valid-type]
    batch: dict[type[Payload], list[Event]] = {}
    while True:
        head = pipe.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise EOFError("the loop ended before the run did")
        place, length = _HEAD.unpack(head)
        if place == _ALL_ENDS:
            return
        if place == _BATCH_ENDS:
            yield batch
            batch = {}
        else:
            batch[STAGE_EVENTS[place]] = decoders[place].decode(pipe.read(length))


def main() -> None:
    """Write what comes in; print the digests."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both: the loop decides
    gc.disable()  # events and frames hold no cycles: looking for them takes an eighth of the time
    files = TopicFiles(Path(sys.argv[1]), tuple(json.loads(sys.argv[2])))
    for batch in batches(sys.stdin.buffer):
        files.take(batch)
    sys.stdout.write(json.dumps({"digests": files.close(), "peak_rss_mb": peak_rss_mb()}))
    sys.stdout.flush()
    os.close(sys.stdout.fileno())  # everything is written: the loop need not wait while memory is given back
    os._exit(0)


if __name__ == "__main__":
    main()
