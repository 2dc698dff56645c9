"""The processes of a session under chaos: who runs, who has just died and how, and where each service's frontier stands."""

import json
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alphapanda.contracts.errors import ContractError
from alphapanda.pipeline import DOOR, OUTPUT_TOPICS
from alphapanda.runtime.log.control import FIRST, Progress, Seq, after, decode_control
from alphapanda.runtime.log.protocol import Partition, Record
from alphapanda.runtime.log.reader import pos_alone
from tests.chaos.plan import Fault
from tests.chaos.points import ANY_TIME, RECORDER, ROOM_OF
from tests.e2e.session import FEED, Session

REPLACED = ("a newer door has opened", "another recorder of this session")
"""What the loser says where only one may go on."""


class Proc:
    """One process of a service."""

    def __init__(
        self, session: Session, name: str, service: str, options: Sequence[str], words: Sequence[str], more: Mapping[str, str]
    ) -> None:  # fmt: skip
        self.session, self.name, self.service = session, name, service
        self.orders = session.folder / f"{name}.orders"
        self.process: subprocess.Popen[bytes] = session.start(
            name, words, module=["tests.chaos.service", str(self.orders), *options, "--"], more=more
        )
        self.point: str | None = None  # where it was told to die, and
        self.deadline = 0.0  # when it is killed from outside if it has not come there
        self.ends = 0.0  # of a second process: when it has been there for long enough

    @property
    def status(self) -> int | None:
        """Exit status, None while it runs."""
        return self.process.poll()

    def order(self, fault: Fault, patience_s: float) -> None:
        """Tell it where to die."""
        if fault.point == ANY_TIME:
            self.kill()
        elif not fault.at_start:
            self.orders.write_text(f"{fault.point}:{fault.times}")
            self.process.send_signal(signal.SIGUSR1)
        self.point, self.deadline = fault.point, time.monotonic() + patience_s

    def kill(self) -> None:
        """`kill -9`, also of a stopped one."""
        self.point = ANY_TIME
        self.process.kill()

    def said(self) -> list[str]:
        """Its lines, as far as they are whole."""
        return self.session.log_of(self.name).read_text(errors="replace").rpartition("\n")[0].splitlines()

    def url(self) -> str | None:
        """Where it answers, once it says so."""
        for line in self.said():
            if '"serving"' in line:
                return str(json.loads(line)["url"])
        return None

    def was_replaced(self) -> bool:
        """Whether it stopped because another one goes on."""
        return any(text in line for line in self.said()[-40:] for text in REPLACED)


@dataclass
class Slot:
    """A service's place: one process goes on in it."""

    service: str
    proc: Proc
    pending: Fault | None = None  # to be ordered from the next process at its start
    down_at: float | None = None  # when it went down; None: its frontier has moved since
    stood: Any = None  # its frontier at that moment
    why: str = "start"


@dataclass
class Tally:
    """What happened."""

    kills: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    missed: Counter[str] = field(default_factory=Counter)  # points that were not come to in time
    happened: Counter[str] = field(default_factory=Counter)
    stopped: list[str] = field(default_factory=list)  # what stopped by itself and should not have
    recovered_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # after kills, by service
    broker_s: list[float] = field(default_factory=list)

    @property
    def killed(self) -> int:
        """All kills."""
        return sum(points.total() for points in self.kills.values())


class Frontiers:
    """Where each service stands, as the log and the recorder's folder show it to who looks from outside."""

    def __init__(self, session: Session) -> None:
        self._session = session
        partitions = session.partitioning.all((*DOOR, *OUTPUT_TOPICS))
        self._source = session.log.reader(dict.fromkeys(partitions, 0))
        self.promised: dict[Partition, Seq] = dict.fromkeys(session.partitioning.all(OUTPUT_TOPICS), FIRST)
        self.of: dict[str, Any] = defaultdict(lambda: FIRST)
        self._counted = 0.0

    def look(self, timeout_s: float) -> None:
        """See what is new."""
        for record in self._source.poll(timeout_s):
            room = ROOM_OF[record.partition[0]]
            seq = self._seq_of(record, room)
            self.of[room] = max(self.of[room], seq)
            if record.partition in self.promised and record.key is None:
                self.promised[record.partition] = max(self.promised[record.partition], seq)
        if time.monotonic() - self._counted > 0.3:
            self._counted = time.monotonic()
            self.of[RECORDER] = (sum(1 for _ in (self._session.recorded / "segments").glob("*/*/[0-9]*.parquet")), 0)

    @staticmethod
    def _seq_of(record: Record, room: str) -> Seq:
        """What the record promises, or for the door, behind what it stands."""
        if room == FEED:
            event = pos_alone(record, "") if record.key is not None else None
            return FIRST if event is None else after(event.pos[:2])
        if record.key is not None:
            return FIRST
        try:
            control = decode_control(record.value)
        except ContractError:
            return FIRST
        return control.up_to if isinstance(control, Progress) else FIRST

    def close(self) -> None:
        """Look no more."""
        self._source.close()
