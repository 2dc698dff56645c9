"""An operator who engages and releases the kill switch all the time, and keeps every acknowledgement."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.events import KillSwitch
from alphapanda.runtime.log import commands

EVERY_S = 0.6
TIMEOUT_S = 8.0
LEFT_S = 25.0


class Acknowledged(NamedTuple):
    """A command that a door said is on the tape."""

    id: str
    engaged: bool
    reason: str


class OperatorDesk:
    """Posts commands from a thread of its own. Reasons are all different."""

    def __init__(self, url: Callable[[], str | None]) -> None:
        self._url, self._closed, self._count, self._lock = url, threading.Event(), 0, threading.Lock()
        self.acknowledged: list[Acknowledged] = []
        self.unanswered = 0
        self._threads: list[threading.Thread] = []

    @property
    def posted(self) -> int:
        """Commands so far."""
        return self._count

    def open(self) -> None:
        """Begin."""
        self._begin(self._work)

    def _begin(self, work: Callable[[], object]) -> None:
        thread = threading.Thread(target=work, name="operator", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        engaged = True
        while not self._closed.wait(EVERY_S):
            if (url := self._url()) is not None and self.post(url, engaged=engaged):
                engaged = not engaged

    def post(self, url: str, *, engaged: bool, timeout_s: float = TIMEOUT_S) -> bool:
        """Post one; whether it was acknowledged."""
        with self._lock:
            self._count += 1
            reason = f"command {self._count}"
        try:
            answer = commands.post(url, KillSwitch(engaged, reason), timeout_s)
        except AlphaPandaError:
            self.unanswered += 1
            return False
        self.acknowledged.append(Acknowledged(answer["id"], engaged, reason))
        return True

    def leave_at(self, url: str) -> None:
        """Leave a command at a door that sleeps; it may answer when it wakes."""
        self._begin(partial(self.post, url, engaged=False, timeout_s=LEFT_S))

    def stop(self) -> None:
        """Post no more; whoever is still asked gets time to answer."""
        self._closed.set()
        for thread in self._threads:
            thread.join(LEFT_S + TIMEOUT_S)

    def close(self) -> None:
        """The last word is a release."""
        self.stop()
        deadline = time.monotonic() + 3 * TIMEOUT_S
        while time.monotonic() < deadline:
            if (url := self._url()) is not None and self.post(url, engaged=False):
                return
            time.sleep(0.2)
