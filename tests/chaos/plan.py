"""What goes wrong, in which order: a seed decides."""

import random
from dataclasses import dataclass
from typing import NamedTuple

from tests.chaos.points import ANY_TIME, AT_OPENING, MOST, POINTS, RECORDER, SERVICES
from tests.e2e.session import FEED, ROOMS

KILL, STOP, DOUBLE, LOSE, BROKER = "kill", "stop", "double", "lose snapshots", "broker"


class Fault(NamedTuple):
    """One thing that goes wrong. `at_start`: the point is ordered from the process that follows a kill, from its first moment."""

    kind: str
    service: str
    point: str = ANY_TIME
    times: int = 1  # it dies when it passes the point for this time
    at_start: bool = False


@dataclass(frozen=True)
class Size:
    """How much goes wrong."""

    kills: int  # at least; with every point of every service where there is room for them
    stops: int
    doubles: int
    losses: int
    brokers: int


FULL = Size(kills=100, stops=10, doubles=8, losses=10, brokers=3)
SHORT = Size(kills=8, stops=2, doubles=1, losses=1, brokers=0)


def make_plan(size: Size, rng: random.Random) -> list[Fault]:
    """All faults, in order."""
    kills = [_kill(service, point, rng) for service in SERVICES for point in POINTS[service]]
    rng.shuffle(kills)
    kills = kills[: size.kills]
    kills += [Fault(KILL, SERVICES[i % len(SERVICES)]) for i in range(size.kills - len(kills))]
    stops = [Fault(STOP, service) for service in _dealt((FEED, *ROOMS, FEED, RECORDER), size.stops)]
    doubles = [Fault(DOUBLE, service) for service in _dealt((*ROOMS, FEED, RECORDER), size.doubles)]
    losses = [Fault(LOSE, service) for service in _dealt(ROOMS, size.losses)]
    plan = [*kills, *stops, *doubles, *losses, *(Fault(BROKER, "") for _ in range(size.brokers))]
    rng.shuffle(plan)
    return plan


def _kill(service: str, point: str, rng: random.Random) -> Fault:
    opening = service == FEED and point in AT_OPENING
    count = 1 if opening or (service == RECORDER and point not in MOST) else rng.randint(1, MOST.get(point, 2))
    return Fault(KILL, service, point, count, at_start=opening or rng.random() < 0.25)


def _dealt(services: tuple[str, ...], count: int) -> list[str]:
    return [services[i % len(services)] for i in range(count)]
