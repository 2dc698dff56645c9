"""A process that replays jobs: one line of JSON each on stdin, one line or more on stdout; it ends with its parent.

It is no fork and no `multiprocessing` child: the script or notebook that asks is not imported again.
"""

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import IO

import msgspec

from alphapanda.research.search.evaluate import Evaluator, Job, Result, said

SAY_EVERY_S = 0.5


class Hello(msgspec.Struct, tag=True, frozen=True):
    """The first line: where the parent finds its modules."""

    paths: list[str]


class Task(msgspec.Struct, tag=True, frozen=True):
    """A job to be done."""

    job: Job


class Progressed(msgspec.Struct, tag=True, frozen=True):
    """How far the job in hand is: ticks done."""

    ticks: int


class Done(msgspec.Struct, tag=True, frozen=True):
    """The job in hand is finished."""

    result: Result


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The search cannot go on."""

    why: str


Line = Progressed | Done | Failed
_encode = msgspec.json.Encoder().encode


def _read(pipe: IO[bytes], jobs: "queue.Queue[Job]") -> None:
    """Take lines; when the parent is gone, whatever it is doing, so is this process."""
    hello = msgspec.json.decode(pipe.readline(), type=Hello)
    sys.path[:0] = [path for path in hello.paths if path not in sys.path]
    decoder = msgspec.json.Decoder(Task)
    while line := pipe.readline():
        jobs.put(decoder.decode(line).job)
    os._exit(0)


def _teller(say: Callable[[Line], None]) -> Callable[[int, int], None]:
    last_s = time.monotonic()

    def tell(ticks: int, total: int) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= SAY_EVERY_S:
            last_s = time.monotonic()
            say(Progressed(ticks))

    return tell


def main() -> None:
    """Do what is asked until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent decides
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a strategy prints is not taken for an answer

    def say(line: Line) -> None:
        pipe.write(_encode(line) + b"\n")
        pipe.flush()

    jobs: queue.Queue[Job] = queue.Queue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, jobs), daemon=True).start()
    evaluator = Evaluator({})
    while True:
        job = jobs.get()
        try:
            say(Done(evaluator(job, _teller(say))))
        except Exception as error:  # noqa: BLE001  # it is the parent that tells the user
            say(Failed(said(error)))


if __name__ == "__main__":
    main()
