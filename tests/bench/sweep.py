"""A sweep on one process against the same sweep on two: `python -m tests.bench.sweep --help`.

Both replay the same sets over the same tape, in processes that are started for it; start-up counts. Taken in turn, and the
digests of every set are compared. The figure is only about a machine on which nothing else runs meanwhile; the processors'
time, stated too, hardly changes with that: were it the same for both, two free cores would be twice as fast.
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import alphapanda as ap
from tests.bench.run import MILLION, make

SETTINGS = {"charges.profile": "none"}


def points(sets: int) -> dict[str, list[int]]:
    """A grid of at least so many sets, of which few trade much."""
    fast = [100 + 20 * i for i in range(-(-sets // 8))]
    return {"fast": fast, "slow": [1_000 + 250 * i for i in range(8)]}


def processor_s() -> float:
    """Processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(tape: Path, sets: int, workers: int, out: Path) -> tuple[float, float, dict[int, str]]:
    """Seconds of a sweep, processor seconds of its processes, and the digest of every set."""
    began, used = time.perf_counter(), processor_s()
    found = ap.sweep(
        tape, "strategies.ema_cross:EmaCross", points(sets), settings=SETTINGS, workers=workers, out=out, name=f"w{workers}",
        progress=False,
    )  # fmt: skip
    seconds, used = time.perf_counter() - began, processor_s() - used
    return seconds, used, dict(found.replays.select("number", "digest").iter_rows())


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=64, help="parameter sets")
    parser.add_argument("--millions", type=int, default=1, help="ticks of the tape, in millions")
    parser.add_argument("--rounds", type=int, default=1, help="so often, in turn; medians are shown")
    args = parser.parse_args()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    processors: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as name:
        folder, digests = Path(name), list[dict[int, str]]()
        tape = make(folder / "tape", args.millions)
        for i in range(args.rounds):
            for workers in (1, 2):
                took, used, found = timed(tape, args.sets, workers, folder / f"round{i}")
                seconds[workers].append(took)
                processors[workers].append(used)
                digests.append(found)
    one, two = (statistics.median(seconds[workers]) for workers in (1, 2))
    sys.stdout.write(json.dumps({
        "sets": len(digests[0]), "ticks": args.millions * MILLION, "one_process_s": one, "two_processes_s": two,
        "times_faster": one / two, "one_process_cpu_s": statistics.median(processors[1]),
        "two_processes_cpu_s": statistics.median(processors[2]), "same_digests": all(one == digests[0] for one in digests),
    }, indent=1) + "\n")  # fmt: skip


if __name__ == "__main__":
    main()
