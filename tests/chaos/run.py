"""`python -m tests.chaos.run`: a session under chaos, and a report. Exit status 1 where anything is wrong."""

import argparse
import json
import logging
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import confluent_kafka

from alphapanda.runtime.tape_make import make_tape
from tests import kafka_broker
from tests.chaos.check import Verdict, check
from tests.chaos.plan import FULL, SHORT, Fault, Size, make_plan
from tests.chaos.points import RECORDER, SERVICES
from tests.chaos.world import STUCK_S, StuckError, World, finish
from tests.e2e.session import ROOMS, ROOT, Session, write_spec
from tests.kafka_broker import Broker

SETTINGS = {"host.snapshot_interval_s": 1.5}
"""Snapshots so often that many are killed while they are taken."""


@dataclass(frozen=True)
class Setting:
    """What runs, and what goes wrong meanwhile."""

    seed: int
    plan: Sequence[Fault]
    ticks: int  # of the tape
    speed: float  # market seconds a second, until the plan is through
    services: Sequence[str] = SERVICES
    options: Sequence[str] = ()  # of every process (`tests.chaos.service`)
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # service -> more of it
    stuck_s: float = STUCK_S


SIZES: dict[str, tuple[Size, int, float]] = {"full": (FULL, 40_000, 40.0), "short": (SHORT, 8_000, 100.0)}
"""How much goes wrong, ticks, speed."""


def setting(size: str, seed: int) -> Setting:
    """All services, and a plan of this size."""
    what, ticks, speed = SIZES[size]
    return Setting(seed, make_plan(what, random.Random(seed)), ticks, speed)  # noqa: S311  # a seed, not a secret


def chaos(
    bootstrap: str, broker: Broker | None, folder: Path, what: Setting, told: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:  # fmt: skip
    """One session; returns the report."""
    began = time.monotonic()
    make_tape(folder / "tape", seed=what.seed, ticks=what.ticks, instruments=50)
    spec = write_spec(folder, folder / "tape")
    with Session(bootstrap, folder, spec, f"chaos.{time.time_ns()}.", settings=SETTINGS) as session:
        world = World(
            session, broker, what.seed, speed=what.speed, services=what.services, options=what.options,
            environment=what.environment, stuck_s=what.stuck_s,
        )  # fmt: skip
        stuck: str | None = None
        try:
            world.hurt(what.plan, told)
            told("the rest of the tape, and the end")
            finish(world)
        except StuckError as error:
            stuck = str(error)
            world.give_up()
        told("comparing")
        rooms = [room for room in ROOMS if room in what.services]
        verdict = check(session, world.desk.acknowledged, rooms, recorded=stuck is None and RECORDER in what.services)
        seconds = round(time.monotonic() - began, 1)
        return report(
            world, verdict, stuck, {"seed": what.seed, "ticks": what.ticks, "faults": len(what.plan), "seconds": seconds}
        )


def report(world: World, verdict: Verdict, stuck: str | None, said: dict[str, Any]) -> dict[str, Any]:
    """Everything that is worth knowing, JSON-able."""
    tally, desk = world.tally, world.desk
    all_s = [seconds for found in tally.recovered_s.values() for seconds in found]
    parts = {"rows": verdict.rows, "outputs": verdict.outputs, "recorded": verdict.recorded}
    return {
        **said, "versions": versions(), "good": verdict.is_good and not tally.stopped and stuck is None,
        "kills": {"all": tally.killed, "by_service": {name: dict(points) for name, points in sorted(tally.kills.items())},
                  "by_point": dict(sum(tally.kills.values(), Counter[str]())), "points_not_reached_in_time": dict(tally.missed)},
        "happened": dict(tally.happened), "stopped_by_themselves": tally.stopped, "stuck": stuck,
        "events": {"in": verdict.tape_events, "out": verdict.outputs.events, "epochs": verdict.epochs},
        "lost": sum(part.lost for part in parts.values()), "duplicate": sum(part.duplicate for part in parts.values()),
        "different": sum(part.different + part.extra for part in parts.values()),
        "compared": {name: asdict(part) for name, part in parts.items()}, "other": verdict.other,
        "commands": {"posted": desk.posted, "acknowledged": len(desk.acknowledged), "unanswered": desk.unanswered,
                     "on_the_tape": verdict.commands, "acknowledged_and_lost": verdict.acknowledged_and_lost},
        "recovery_s": {"all": spread(all_s), "broker": spread(tally.broker_s),
                       **{name: spread(found) for name, found in sorted(tally.recovered_s.items())},
                       "measured": MEASURED},
    }  # fmt: skip


MEASURED = (
    "seconds from when a kill was seen to when the service's frontier passed where it stood, seen from outside every 50 ms:"
    " of a stage by its promises, of the door by its events, of the recorder by its segments (stored every 5 s); with the start"
    " of Python, and whatever stood still before the service; of the broker from its kill until the last stage moved"
)


def spread(found: Sequence[float]) -> dict[str, float]:
    """Count, p50 and p99."""
    if len(found) < 2:
        return {"count": len(found), **({"p50": round(found[0], 2), "p99": round(found[0], 2)} if found else {})}
    cuts = statistics.quantiles(found, n=100, method="inclusive")
    return {"count": len(found), "p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}


def versions() -> dict[str, str]:
    """What it ran on."""
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    return {
        "alphapanda": version("alphapanda"), "git": git.stdout.strip() or "unknown", "python": platform.python_version(),
        "kafka": kafka_broker.VERSION,
        "confluent_kafka": version("confluent-kafka"), "librdkafka": confluent_kafka.libversion()[0],
    }  # fmt: skip


def show(said: dict[str, Any]) -> str:
    """The report for people."""
    kills, commands, events = said["kills"], said["commands"], said["events"]
    lines = [
        f"{'GOOD' if said['good'] else 'NOT GOOD'}: seed {said['seed']}, {said['ticks']:,} ticks, {said['seconds']:g} s",
        "versions: " + ", ".join(f"{name} {value}" for name, value in said["versions"].items()),
        f"kill -9: {kills['all']}",
        *(f"  {name}: {sum(points.values())}: " + ", ".join(f"{point} {count}" for point, count in sorted(points.items()))
          for name, points in kills["by_service"].items()),
        *([f"  not reached in time, killed from outside: {kills['points_not_reached_in_time']}"]
          if kills["points_not_reached_in_time"] else []),
        "also: " + ", ".join(f"{name} {count}" for name, count in sorted(said["happened"].items())),
        f"events in {events['in']:,} over {events['epochs']} epochs, out {events['out']:,}",
        f"lost {said['lost']}, duplicate {said['duplicate']}, different {said['different']}",
        f"commands: posted {commands['posted']}, acknowledged {commands['acknowledged']}, of which lost"
        f" {len(commands['acknowledged_and_lost'])}; unanswered {commands['unanswered']}; on the tape {commands['on_the_tape']}",
        *(f"recovery {name}: " + ", ".join(f"{key} {value:g}" for key, value in found.items())
          for name, found in said["recovery_s"].items() if name != "measured"),
        f"  ({said['recovery_s']['measured']})",
        *(f"stopped by itself: {line}" for line in said["stopped_by_themselves"]),
        *([f"stuck: {said['stuck']}"] if said["stuck"] else []),
        *(f"{name}: {part['first']}" for name, part in said["compared"].items() if part["first"]),
        *said["other"], *commands["acknowledged_and_lost"],
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Run it over a broker of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--keep", type=Path, help="a folder for everything, which is kept; else a temporary one")
    words = parser.parse_args()
    logging.getLogger("alphapanda.kafka").setLevel(logging.CRITICAL)  # that the broker is away is no news here
    with tempfile.TemporaryDirectory(prefix="alphapanda-chaos-") as temporary, Broker() as broker:
        folder = words.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        said = chaos(
            broker.bootstrap, broker, folder, setting(words.size, words.seed),
            lambda text: print(text, file=sys.stderr, flush=True),  # noqa: T201
        )  # fmt: skip
    sys.stdout.write((json.dumps(said) if words.json else show(said)) + "\n")
    sys.exit(0 if said["good"] else 1)


if __name__ == "__main__":
    main()
