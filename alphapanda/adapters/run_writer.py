"""A process that writes a run's files while the loop goes on.

Events go to it through a pipe, as msgpack, a batch at a time; it encodes, hashes and stores them (`topic_files`), and at
the end says the digests. It writes nothing but what it was given, in the order in which it was given.
"""

import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from alphapanda.adapters.memory import peak_rss_mb
from alphapanda.adapters.topic_files import TopicFiles
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.events import STAGE_EVENTS, Event, Payload

BATCHES_WAITING = 64
_HEAD = struct.Struct("<II")  # place in STAGE_EVENTS, bytes that follow
_BATCH_ENDS, _ALL_ENDS = len(STAGE_EVENTS), len(STAGE_EVENTS) + 1
_PLACES = {cls: place for place, cls in enumerate(STAGE_EVENTS)}


class RunWriterError(AlphaPandaError):
    """The process that writes a run's files failed."""


class WriterProcess:
    """The loop's end of the pipe."""

    def __init__(self, folder: Path, feature_names: tuple[str, ...]) -> None:
        command = [sys.executable, "-m", __spec__.name, str(folder), json.dumps(feature_names)]
        self._errors = (folder / "writer.log").open("w+b")
        self._process = subprocess.Popen(  # noqa: S603  # our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        self._encode = msgspec.msgpack.Encoder().encode
        self._queue: queue.Queue[bytes | None] = queue.Queue(BATCHES_WAITING)  # so a slow writer slows the loop
        self._broken = False
        self._sender = threading.Thread(target=self._send, name="run-writer-pipe", daemon=True)
        self._sender.start()

    def _send(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101  # it was asked for
        while (part := self._queue.get()) is not None:
            try:
                if not self._broken:
                    pipe.write(part)
                    pipe.flush()
            except OSError:  # the writer has ended: `close` says why
                self._broken = True

    def take(self, batch: dict[type[Payload], list[Event]]) -> None:
        """Hand over events by type, each list in `pos` order. Raises RunWriterError once the process has failed."""
        if self._broken:
            self._fail()
        parts = []
        for cls, events in batch.items():
            body = self._encode(events)
            parts += [_HEAD.pack(_PLACES[cls], len(body)), body]
        self._queue.put(b"".join([*parts, _HEAD.pack(_BATCH_ENDS, 0)]))

    def close(self) -> tuple[dict[str, str], float]:
        """Wait for the files; returns the digest of each topic, and the most memory the process held, in MB."""
        self._queue.put(_HEAD.pack(_ALL_ENDS, 0))
        self._queue.put(None)
        self._sender.join()
        answer, _ = self._process.communicate()
        if self._process.returncode != 0:
            self._fail()
        self._errors.close()
        Path(self._errors.name).unlink()
        said = json.loads(answer)
        return said["digests"], said["peak_rss_mb"]

    def _fail(self) -> None:
        self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        raise RunWriterError(f"writing the run failed: {''.join(last) or f'exit status {self._process.returncode}'}")

    def stop(self) -> None:
        """End the process, whatever it is doing; nothing happens where it has ended."""
        if self._sender.is_alive():
            self._process.kill()
            self._queue.put(None)
            self._sender.join()
        self._process.communicate()
        self._errors.close()


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
    files = TopicFiles(Path(sys.argv[1]), tuple(json.loads(sys.argv[2])))
    for batch in batches(sys.stdin.buffer):
        files.take(batch)
    sys.stdout.write(json.dumps({"digests": files.close(), "peak_rss_mb": peak_rss_mb()}))
    sys.stdout.flush()
    os._exit(0)  # everything is written: taking the interpreter apart would keep the loop waiting


if __name__ == "__main__":
    main()
