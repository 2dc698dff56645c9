"""Latency and rates of services over one broker: `python -m tests.bench.latency`.

At 1,000 ticks/s with a signal on every tenth: from the door's send of a tick to the engine's send of its order, for the
process of all services and for six processes, beside the bare hop (door to an idle consumer) of the same run. Then six
processes at full speed over a tape with one signal in a thousand ticks.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from alphapanda.adapters import kafka_topics
from alphapanda.adapters.kafka_log import KafkaLog
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.instruments import Instrument
from alphapanda.pipeline import STAGES
from alphapanda.reference.profiles import load_profile
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.reader import PartitionReader
from alphapanda.runtime.log.start import claimed_in
from alphapanda.runtime.settings import Settings
from tests.bench.log import broker_settings

ROOT = Path(__file__).parents[2]
START_NS = 1_700_006_400_000_000_000  # midnight UTC, where the session opens
WARM_UP = 3_000  # ticks that are not looked at
PATIENCE_S = 240


def make(path: Path, ticks: int) -> Path:
    """A tape with a tick each millisecond, ten instruments in turn."""
    profile = load_profile("always")
    table = [Instrument(1001 + i * 256, f"S{i}", currency=profile.currency) for i in range(10)]
    tokens = [table[i % 10].instrument_token for i in range(ticks)]
    rng = np.random.default_rng(3)
    prices = np.round(100 + np.cumsum(rng.choice([-0.05, 0, 0.05], ticks)), 2)
    times = START_NS + np.arange(ticks) * 1_000_000
    with TapeWriter(path, profile=profile, instruments=table, columns=[], source="benchmark") as writer:
        writer.rows(pl.DataFrame({"ts_ns": times, "instrument_token": tokens, "last_price": prices}))
        writer.publish({})  # without the rest of the day
    return path


def spec(path: Path, tape: Path, every: int) -> Path:
    """What to run: a signal on every so many ticks."""
    path.write_text(
        f'tape = "{tape}"\n[settings]\n"charges.profile" = "none"\n[[strategies]]\n'
        f'class = "tests.bench.strategies:EveryNth"\nparams = {{ every = {every} }}\n', encoding="utf-8",
    )  # fmt: skip
    return path


class Run:
    """Service processes over one prefix."""

    def __init__(self, settings: Settings, folder: Path, prefix: str, spec_path: Path) -> None:
        self.settings, self.folder, self.prefix, self.spec = settings, folder, prefix, spec_path
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        kafka_topics.create(settings.kafka, prefix, {}, old_times=True)

    def start(self, name: str, *command: str) -> None:
        """Start one."""
        environment = {
            **os.environ, "ALPHAPANDA_KAFKA__BOOTSTRAP_SERVERS": self.settings.kafka.bootstrap_servers,
            "ALPHAPANDA_STORAGE__SNAPSHOTS": str(self.folder / "snapshots"),
        }  # fmt: skip
        line = [sys.executable, "-m", "tests.bench.timed_service", str(self.folder / f"{self.prefix}{name}"), *command]
        errors = (self.folder / f"{self.prefix}{name}.log").open("wb")
        self.processes[name] = subprocess.Popen(line, env=environment, cwd=ROOT, stderr=errors, stdout=errors)

    def service(self, name: str, *more: str) -> None:
        """Start a service."""
        self.start(name, "run", name, str(self.spec), "--prefix", self.prefix, *more)

    def wait_for(self, number: int) -> float:
        """Until the portfolio promised past this number; returns seconds since the first tick was sent."""
        log = KafkaLog(self.settings.kafka, self.prefix)
        partition = ("portfolio.snapshots", 0)
        reader = PartitionReader(partition, Partitioning.of_log(log), claimed_in(log))
        source, began = log.reader({partition: 0}), time.monotonic()
        while reader.up_to < (1, number):
            for record in source.poll(0.5):
                reader.take(record)
            gone = [name for name, process in self.processes.items() if process.poll() is not None]
            if gone or time.monotonic() - began > PATIENCE_S:
                raise RuntimeError(f"{gone or 'nothing'} ended, the portfolio stands at {reader.up_to}; see {self.folder}")
        source.close()
        log.close()
        return time.monotonic()

    def stop(self) -> None:
        """End all of them."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.wait(30)

    def notes(self, name: str, topic: str) -> dict[int, int]:
        """What a process noted: number -> monotonic ns."""
        rows = [line.split() for line in (self.folder / f"{self.prefix}{name}").read_text(encoding="utf-8").splitlines()]
        return {int(number): int(at) for kind, number, at in rows if kind == topic}


def latency(settings: Settings, folder: Path, names: list[str], ticks: int) -> dict[str, Any]:
    """Milliseconds from the door's send to the engine's send, and to an idle consumer."""
    run = Run(settings, folder, f"latency.{len(names)}.", spec(folder / "tenth.toml", make(folder / f"t{len(names)}", ticks), 10))
    try:
        for name in names:
            run.service(name)
        run.start("listener", "listen", run.prefix)
        time.sleep(6)  # all of them wait for the door
        run.service("market_feed", "--speed", "1")
        run.wait_for(ticks)
    finally:
        run.stop()
    sent, arrived = run.notes("market_feed", "market.ticks"), run.notes("listener", "arrived")
    engine = "all" if names == ["all"] else "trading_engine"
    orders = run.notes(engine, "orders.placed")
    hop = [arrived[n] - at for n, at in sent.items() if n > WARM_UP and n in arrived]
    whole = [at - sent[n] for n, at in orders.items() if n > WARM_UP]
    return {
        "orders": len(whole), "hop_ms": _ms(hop, 50), "hop_p99_ms": _ms(hop, 99), "ms": _ms(whole, 50), "p99_ms": _ms(whole, 99),
        "hops": round(float(np.median(whole) / np.median(hop)), 2),
    }  # fmt: skip


def _ms(values: list[int], percentile: float) -> float:
    return round(float(np.percentile(values, percentile)) / 1e6, 3)


def full_speed(settings: Settings, folder: Path, ticks: int) -> dict[str, float]:
    """Six processes as fast as they go, one signal in a thousand ticks."""
    run = Run(settings, folder, "full.", spec(folder / "thousandth.toml", make(folder / "full", ticks), 1_000))
    try:
        for stage in STAGES:
            run.service(stage.room)
        time.sleep(6)
        run.service("market_feed", "--speed", "0")
        ended = run.wait_for(ticks)
    finally:
        run.stop()
    seconds = ended - min(run.notes("market_feed", "market.ticks").values()) / 1e9
    signals = len(run.notes("trading_engine", "orders.placed"))
    return {"ticks_per_s": round(ticks / seconds), "signals_per_s": round(signals / seconds, 1), "signals": signals}


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=20_000)
    parser.add_argument("--only", choices=("all", "six", "full"))
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, broker_settings(Path(name)) as settings:
        if args.only in (None, "all"):
            found["all"] = latency(settings, Path(name), ["all"], args.ticks)
        if args.only in (None, "six"):
            found["six"] = latency(settings, Path(name), [stage.room for stage in STAGES], args.ticks)
        if args.only in (None, "full"):
            found["full_speed"] = full_speed(settings, Path(name), args.ticks * 10)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
