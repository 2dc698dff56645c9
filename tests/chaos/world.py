"""A session under chaos: one process a service, faults by plan, and the way to a clean end.

One thread does everything but posting commands. A process that died is followed at once by another; a service is hurt again
when its frontier has moved, so that recovery is something to measure (one kill in eight does not wait for it).
"""

import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from alphapanda.pipeline import DOOR
from alphapanda.runtime.log.control import Seq, after
from alphapanda.runtime.log.opening import folder_name
from tests.chaos.operator_desk import OperatorDesk
from tests.chaos.plan import BROKER, DOUBLE, LOSE, STOP, Fault
from tests.chaos.points import ANY_TIME, RECORDER, ROOM_OF, SERVICES
from tests.chaos.processes import Frontiers, Proc, Slot, Tally
from tests.e2e.session import FEED, ROOMS, Session
from tests.kafka_broker import Broker

PATIENCE_S = 8.0
"""How long a process may take to come to the point where it is to die."""
LIFE_S = 6.0
"""How long a second process goes on beside the first."""
LATE_S = 0.25
STUCK_S = 90.0
SEEN_S = 0.4
"""By then everything that a process did before it died was seen; no process starts as fast as that."""
MOST_STOPS = 12
NOTHING_MORE: Mapping[str, Mapping[str, str]] = {}
AT_ONCE = 2
"""Services that may be down at once."""


class StuckError(Exception):
    """It does not go on."""


class World:
    """Everything that runs."""

    def __init__(
        self, session: Session, broker: Broker | None, seed: int, *, speed: float, services: Sequence[str] = SERVICES,
        options: Sequence[str] = (), environment: Mapping[str, Mapping[str, str]] = NOTHING_MORE, stuck_s: float = STUCK_S,
    ) -> None:  # fmt: skip
        """`options` are given to every process (`tests.chaos.service`), `environment` to those of a service."""
        self.session, self.broker, self.speed, self.services = session, broker, speed, services
        self.options, self.environment, self.stuck_s = list(options), environment, stuck_s
        self.rng, self.tally = random.Random(seed), Tally()  # noqa: S311  # a seed, not a secret
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # inherited: an order that comes too early is found in its file
        self.frontiers = Frontiers(session)
        self.desk = OperatorDesk(lambda: self.slots[FEED].proc.url())
        self.seconds: list[Proc] = []  # second processes: late copies, sleepers that woke, doors that were replaced
        self.sleepers: list[tuple[Slot, Proc, float]] = []
        self._count = 0
        self.slots = {service: Slot(service, self.begin(service)) for service in services}
        for slot in self.slots.values():
            self._down(slot, "start")

    # ---- processes

    def begin(self, service: str, *options: str, speed: float | None = None, until_end: bool = False) -> Proc:
        """A new process of a service."""
        self._count += 1
        words = [*self.session.record_words(), "--no-compact"] if service == RECORDER else self.session.run_words(service)
        if service == FEED:
            words += ["--speed", str(self.speed if speed is None else speed), *(["--until-end"] if until_end else [])]
        return Proc(
            self.session,
            f"{self._count:03d}-{service}",
            service,
            [*self.options, *options],
            words,
            self.environment.get(service, {}),
        )

    def _down(self, slot: Slot, why: str) -> None:
        if slot.down_at is None:
            slot.down_at, slot.stood, slot.why = time.monotonic(), self.frontiers.of[slot.service], why

    def _again(self, slot: Slot) -> None:
        """The next process of a slot, with the order that waits for it."""
        fault, slot.pending = slot.pending, None
        slot.proc = self.begin(slot.service, *(["--at", f"{fault.point}:{fault.times}"] if fault else []))
        if fault:
            slot.proc.order(fault, PATIENCE_S)

    # ---- looking after them

    def turn(self, timeout_s: float = 0.05) -> None:
        """See how everything stands; start again what died. Raises StuckError when too much stopped by itself."""
        self.frontiers.look(timeout_s)
        now = time.monotonic()
        for slot in self.slots.values():
            if slot.proc.status is not None:
                self._ended(slot)
            elif slot.proc.point is not None and now > slot.proc.deadline:
                self.tally.missed[slot.proc.point] += 1
                slot.proc.kill()
            if slot.down_at is not None and now - slot.down_at < SEEN_S:
                slot.stood = self.frontiers.of[slot.service]
            elif slot.down_at is not None and self.frontiers.of[slot.service] > slot.stood:
                self._is_up(slot, now)
        for proc in list(self.seconds):
            self._look_after_second(proc, now)
        for sleeper in list(self.sleepers):
            self._maybe_wake(sleeper, now)
        if len(self.tally.stopped) > MOST_STOPS:
            raise StuckError(f"{MOST_STOPS} processes stopped by themselves")

    def _ended(self, slot: Slot) -> None:
        proc = slot.proc
        if proc.status == -signal.SIGKILL and proc.point is not None:
            self.tally.kills[slot.service][proc.point] += 1
            self._down(slot, "kill")
        elif proc.was_replaced():
            self.tally.happened[f"{slot.service} replaced"] += 1
            self._down(slot, "replaced")
        else:
            self.tally.stopped.append(f"{proc.name} ended with {proc.status}: {_cause(proc)}")
            self._down(slot, "stopped")
        self._again(slot)

    def _is_up(self, slot: Slot, now: float) -> None:
        assert slot.down_at is not None
        if slot.why == "kill":
            self.tally.recovered_s[slot.service].append(now - slot.down_at)
        slot.down_at = None

    def _look_after_second(self, proc: Proc, now: float) -> None:
        """Two of a kind do no harm; where only one may go on, one of them stops."""
        if proc.status is None and now < proc.ends:
            return
        if proc.status is None:
            self.tally.kills[proc.service]["beside another"] += 1
            if proc.service == FEED:
                self.tally.stopped.append(f"{proc.name} went on beside a newer door")
            proc.kill()
            proc.process.wait()
        elif proc.was_replaced():
            self.tally.happened[f"{proc.service} replaced"] += 1
        else:
            self.tally.stopped.append(f"{proc.name}, a second one, ended with {proc.status}: {_cause(proc)}")
        self.seconds.remove(proc)

    def _maybe_wake(self, sleeper: tuple[Slot, Proc, float], now: float) -> None:
        """Once its successor goes on."""
        slot, proc, since = sleeper
        if (slot.down_at is not None and now - since < 3 * PATIENCE_S) or now - since < 1.5:
            return
        self.sleepers.remove(sleeper)
        self.tally.happened["woken"] += 1
        proc.process.send_signal(signal.SIGCONT)
        proc.ends = now + LIFE_S + (PATIENCE_S if slot.service == FEED else 0)
        self.seconds.append(proc)

    # ---- faults

    def hurt(self, plan: Sequence[Fault], told: Callable[[str], None] = lambda text: None) -> None:
        """All faults of the plan, one after the other."""
        self.wait_until_up()
        self.desk.open()
        for number, fault in enumerate(plan):
            told(f"{number + 1}/{len(plan)} {fault.kind} {fault.service} {fault.point}")
            self._wait_for_turn(fault)
            self._do(fault)
            self._wait(self.rng.uniform(0.2, 0.8))

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.turn()

    def _wait_for_turn(self, fault: Fault) -> None:
        impatient, began = self.rng.random() < 0.125, time.monotonic()

        def is_ready() -> bool:
            down = [slot for slot in self.slots.values() if slot.down_at is not None or slot.proc.point is not None]
            if fault.kind == BROKER:
                return not down
            if fault.kind == LOSE and any(proc.service == fault.service for proc in self._others()):
                return False  # it is all copies that lose the folder
            slot = self.slots[fault.service]
            mine = slot in down and (not impatient or slot.proc.point is not None or slot.pending is not None)
            return not mine and len(down) <= AT_ONCE

        while not is_ready():
            self.turn()
            if time.monotonic() - began > self.stuck_s:
                raise StuckError(f"{self.standing()}: nothing moves")

    def _others(self) -> list[Proc]:
        """Second processes and sleepers."""
        return [*self.seconds, *(proc for _, proc, _ in self.sleepers)]

    def _do(self, fault: Fault) -> None:
        if fault.kind == BROKER:
            self._restart_broker()
            return
        slot = self.slots[fault.service]
        if fault.kind == STOP:
            self._stop(slot)
        elif fault.kind == DOUBLE:
            self._double(slot)
        elif fault.kind == LOSE:
            self._lose(slot)
        else:
            if fault.at_start:
                slot.pending = fault
                fault = Fault(fault.kind, fault.service)
            slot.proc.order(fault, PATIENCE_S)

    def _restart_broker(self) -> None:
        assert self.broker is not None
        last = ROOMS[-1]
        began, stood = time.monotonic(), dict(self.frontiers.of)
        self.broker.kill()
        time.sleep(self.rng.uniform(0, 1))
        self.broker.start()
        self.tally.happened["broker kills"] += 1
        while self.frontiers.of[last] <= stood[last]:
            self.turn()
            if time.monotonic() - began > self.stuck_s:
                raise StuckError(f"{self.standing()}: nothing moves after the broker's restart")
        self.tally.broker_s.append(time.monotonic() - began)

    def _stop(self, slot: Slot) -> None:
        """SIGSTOP; the successor starts at once, and a command is left before the sleeper's door."""
        old = slot.proc
        url = old.url() if slot.service == FEED else None
        old.process.send_signal(signal.SIGSTOP)
        self.tally.happened["stopped"] += 1
        if url is not None:
            self.desk.leave_at(url)
        self._down(slot, "stop")
        slot.proc = self.begin(slot.service)
        self.sleepers.append((slot, old, time.monotonic()))

    def _double(self, slot: Slot) -> None:
        """A second one at the same time. Of stages it is always late, and one of the two is killed in the end."""
        self.tally.happened["doubled"] += 1
        now = time.monotonic()
        if slot.service == FEED:
            slot.proc.ends = now + LIFE_S + PATIENCE_S
            self.seconds.append(slot.proc)
            self._down(slot, "doubled")
            slot.proc = self.begin(slot.service)
            return
        copy = self.begin(slot.service, *([] if slot.service == RECORDER else ["--late", str(LATE_S)]))
        copy.ends = now + LIFE_S + 3
        self.seconds.append(copy)
        if self.rng.random() < 0.5 and slot.service != RECORDER:
            self._wait(LIFE_S)  # long enough for the copy to be there
            if slot.proc.status is None and slot.proc.point is None:
                slot.proc.order(Fault(DOUBLE, slot.service), PATIENCE_S)
                copy.ends += LIFE_S

    def _lose(self, slot: Slot) -> None:
        slot.proc.kill()
        slot.proc.process.wait()
        self.tally.happened["snapshot folders lost"] += 1
        shutil.rmtree(self.snapshots_of(slot.service))

    def snapshots_of(self, service: str) -> Path:
        """Where a stage keeps its snapshots."""
        return self.session.settings.storage.snapshots / folder_name(self.session.prefix) / f"{service}.0"

    # ---- waiting

    def wait_until_up(self) -> None:
        """Until every service's frontier has moved, and nothing is to die. Raises StuckError."""
        began = time.monotonic()
        while self._others() or any(one.down_at is not None or one.proc.point for one in self.slots.values()):
            self.turn()
            if time.monotonic() - began > self.stuck_s:
                raise StuckError(f"{self.standing()}: not all came up")

    def promised(self) -> list[Seq]:
        """What is promised in each partition that a running service writes."""
        return [seq for at, seq in self.frontiers.promised.items() if ROOM_OF[at[0]] in self.services]

    def standing(self) -> str:
        """Where everyone stands."""
        return ", ".join(f"{name} {self.frontiers.of[name]}" for name in self.services)

    def give_up(self) -> None:
        """Kill everything: what is there stays as it is."""
        self.desk.stop()
        for process in self.session.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def _cause(proc: Proc) -> str:
    lines = [line for line in proc.said() if "stopped by an error" in line] or proc.said()[-2:]
    return " ".join(lines)[-600:]


def finish(world: World) -> None:
    """The rest of the tape at full speed, everything heard, everyone ended cleanly. Raises StuckError."""
    world.wait_until_up()
    world.desk.close()
    door = world.slots.pop(FEED)
    door.proc.kill()
    door.proc.process.wait()
    world.tally.kills[FEED][ANY_TIME] += 1
    last = world.begin(FEED, speed=0, until_end=True)
    _until(world, lambda: last.status is not None, "the door does not come to the tape's end")
    if last.status:
        world.tally.stopped.append(f"{last.name} ended with {last.status}: {_cause(last)}")
    end = end_of_tape(world.session)
    _until(world, lambda: min(world.promised()) >= end, f"not everything below {end} is promised")
    for slot in world.slots.values():
        slot.proc.process.send_signal(signal.SIGTERM)
    for slot in world.slots.values():
        if slot.proc.process.wait(world.stuck_s):
            world.tally.stopped.append(f"{slot.proc.name} ended with {slot.proc.status}: {_cause(slot.proc)}")


def _until(world: World, is_so: Callable[[], bool], otherwise: str) -> None:
    began = time.monotonic()
    while not is_so():
        world.turn()
        if time.monotonic() - began > world.stuck_s:
            raise StuckError(f"{world.standing()}: {otherwise}")


def end_of_tape(session: Session) -> Seq:
    """Behind the last event of the door."""
    return after(max(pos for topic in DOOR for pos, _ in session.heard(topic)[-1:])[:2])
