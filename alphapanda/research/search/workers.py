"""Processes that replay a search's jobs on this machine; or, with none, this process itself."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import msgspec

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.research.search import worker as other_end
from alphapanda.research.search.evaluate import Evaluator, Job, Result
from alphapanda.research.search.plan import Classes
from alphapanda.research.search.worker import Done, Failed, Hello, Line, Progressed, Task
from alphapanda.runtime.settings import inherited

Told = Callable[[Job, int], None]
"""Called now and then with a job under way and its ticks so far."""


class SearchWorkerError(AlphaPandaError):
    """A process that replays sets failed; what is finished is kept."""


class Workers(Protocol):
    """Whoever replays jobs."""

    def run(self, jobs: Iterable[Job], told: Told) -> Iterator[Result]:
        """Replay all jobs; results come as they are finished."""

    def close(self) -> None:
        """Let go of everything."""


class InProcess:
    """Jobs one after the other in this process."""

    def __init__(self, classes: Classes) -> None:
        self._evaluator = Evaluator(classes)

    def run(self, jobs: Iterable[Job], told: Told) -> Iterator[Result]:
        """Replay all jobs."""
        for job in jobs:
            yield self._evaluator(job, _about(job, told))

    def close(self) -> None:
        """Nothing is held."""


def _about(job: Job, told: Told) -> Callable[[int, int], None]:
    return lambda ticks, total: told(job, ticks)


class Processes:
    """So many processes, started at the first job, warm until closed."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._started: list[subprocess.Popen[bytes]] = []

    def _start(self) -> None:
        threads = max(1, (os.cpu_count() or 1) // self.count)
        environment = {"POLARS_MAX_THREADS": str(threads)} | inherited()  # they share the machine
        hello = msgspec.json.encode(Hello([os.getcwd(), *(path for path in sys.path if path)])) + b"\n"  # noqa: PTH109
        for _ in range(self.count):
            process = subprocess.Popen(  # noqa: S603  # our own module
                [sys.executable, "-m", other_end.__name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
            self._started.append(process)
            assert process.stdin is not None  # noqa: S101  # it was asked for
            process.stdin.write(hello)
            process.stdin.flush()

    def run(self, jobs: Iterable[Job], told: Told) -> Iterator[Result]:
        """Replay all jobs. Raises SearchWorkerError where a process says that it cannot go on, or ends."""
        waiting, answers = queue.SimpleQueue[Job](), queue.SimpleQueue[tuple[Job, Line]]()
        left = 0
        for job in jobs:
            waiting.put(job)
            left += 1
        if not left:
            return
        if not self._started:
            self._start()
        for process in self._started:
            threading.Thread(target=_serve, args=(process, waiting, answers), daemon=True).start()
        while left:
            job, line = answers.get()
            if isinstance(line, Progressed):
                told(job, line.ticks)
            elif isinstance(line, Failed):
                raise SearchWorkerError(line.why)
            else:
                left -= 1
                yield line.result

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for process in self._started:
            process.kill()
            process.communicate()
        self._started = []


def _serve(
    process: subprocess.Popen[bytes], waiting: "queue.SimpleQueue[Job]", answers: "queue.SimpleQueue[tuple[Job, Line]]"
) -> None:  # fmt: skip
    """Hand one process jobs until there are none, and pass on what it says."""
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018  # both were asked for
    decoder = msgspec.json.Decoder(Line)
    while True:
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            process.stdin.write(msgspec.json.encode(Task(job)) + b"\n")
            process.stdin.flush()
            line: Line | None = None
            while not isinstance(line, Done | Failed):
                line = decoder.decode(process.stdout.readline())
                answers.put((job, line))
        except (OSError, ValueError, msgspec.DecodeError):
            status = process.wait()
            answers.put((job, Failed(f"a process that replayed {job.point} ended with status {status}; run the same again to"
                                     " go on from what is finished")))  # fmt: skip
            return
