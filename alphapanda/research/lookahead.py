"""The look-ahead check: does a strategy decide the same when the future is cut off, or is another one?

Every replay is a process of its own over a tape of its own, which stands wherever the strategy could look for the original
(`lookahead_world`). Decisions before the cut must be the same bytes. Cuts are made right after decisions, drawn with a seed
from all of them: there the future that a decision may have used begins at once. What was read from other files, made
before, cannot be judged in this way, and is named.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from alphapanda.adapters.tape import Seq, Tape, earlier
from alphapanda.adapters.topic_events import events_in
from alphapanda.contracts.codec import encode, rfc3339
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.events import Event, Pos, StrategyHalted
from alphapanda.pipeline import FEATURES, GENERATED
from alphapanda.research.lookahead_world import FUTURES, Place, rewritten
from alphapanda.runtime.replay_run import described, place
from alphapanda.runtime.spec import ReplaySpec
from alphapanda.runtime.strategies import find_class

CUTS = 4
CHILD = "alphapanda.research.lookahead_replay"


@dataclass(frozen=True)
class Finding:
    """A decision, or feature, before the cut that another future changed."""

    future: str
    cut: str
    id: str  # the event's, or empty where the replay failed
    ts: str
    topic: str
    strategy_id: str
    instrument_token: int | None
    symbol: str
    with_the_tape: dict[str, Any] | None
    with_this_future: dict[str, Any] | None
    error: str = ""

    @property
    def place(self) -> tuple[Any, ...]:
        """Order of findings: the earliest event first; a replay that failed after all of them."""
        return (self.id == "", [int(part) for part in self.id.split("-") if part], self.cut, self.future)


@dataclass
class Verdict:
    """What the check found. `clean`: no decision changed, and none was beyond judging."""

    tape: str
    strategies: list[str]
    decisions: int
    cuts: list[str]
    futures: list[str]
    replays: int = 0
    findings: list[Finding] = field(default_factory=list)
    repeatable: bool = True
    read_the_tape: list[str] = field(default_factory=list)
    read_besides: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """No look-ahead was seen, and everything could be looked at."""
        return not self.findings and self.repeatable and not self.read_the_tape

    @property
    def first(self) -> Finding | None:
        """The first changed decision."""
        return min(self.findings, key=lambda one: one.place, default=None)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        first = self.first
        return {"clean": self.clean, "first": None if first is None else asdict(first), **asdict(self)}

    def _repr_html_(self) -> str:
        import html

        said = "clean" if self.clean else "not clean"
        rows = "".join(f"<li>{html.escape(line)}</li>" for line in lines(self))
        return f"<b>look-ahead check: {said}</b><ul>{rows}</ul>"


def lines(verdict: Verdict) -> list[str]:
    """The verdict in sentences."""
    said = [
        f"{verdict.decisions:,} decisions; {len(verdict.cuts)} cuts ({', '.join(verdict.cuts) or 'none'}), each with the futures"
        f" {', '.join(verdict.futures)}: {verdict.replays} replays in {verdict.seconds:.1f} s"
    ]
    if verdict.decisions == 0:
        said.append("the strategies decided nothing, so there was nothing to judge")
    if not verdict.repeatable:
        said.append("two replays of the same tape decided differently: the strategy is not repeatable, whatever it looks at")
    first = verdict.first
    if first is not None:
        said.append(f"{len(verdict.findings)} of the replays changed the past; the first changed decision:")
        said += _told(first)
    said += [f"opened the tape itself at {path}: what it decides cannot be judged" for path in verdict.read_the_tape]
    said += [f"read {path}: whether that holds the future cannot be judged" for path in verdict.read_besides]
    return said + verdict.warnings


def _told(one: Finding) -> list[str]:
    if one.error:
        return [f"the replay with the future {one.future!r} from {one.cut} on failed: {one.error}"]
    who = f" of {one.strategy_id}" if one.strategy_id else ""
    return [
        f"{one.id} at {one.ts}{who} in {one.symbol or one.instrument_token}, with the future {one.future!r} from {one.cut} on",
        f"with the tape as it is: {json.dumps(one.with_the_tape)}",
        f"with this future: {json.dumps(one.with_this_future)}",
    ]


def check(spec: ReplaySpec, *, cuts: int = CUTS, seed: int = 7, workers: int | None = None) -> Verdict:
    """Replay the spec with other futures, `cuts` times five; two replays more are of the tape as it is.

    Raises AlphaPandaError where the spec cannot be replayed at all.
    """
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="alphapanda-lookahead-") as folder:
        verdict = _Check(spec, Path(folder), seed, workers or os.cpu_count() or 1).run(cuts)
    verdict.seconds = round(time.perf_counter() - began, 3)
    return verdict


class _Check:
    """One check: its folder of tapes, runs and places."""

    def __init__(self, spec: ReplaySpec, folder: Path, seed: int, workers: int) -> None:
        self.spec, self.folder, self.seed, self.workers = spec, folder.resolve(), seed, workers
        self.tape = Tape.open(spec.tape)
        self.specs = spec.specs()
        self.classes = [described(one) for one in self.specs]
        self.verdict = Verdict(str(spec.tape), [one["strategy_id"] for one in self.classes], 0, [], list(FUTURES))
        if any(one["class"].startswith("__main__:") for one in self.classes):
            raise AlphaPandaError("a strategy of a notebook cell cannot be replayed in a fresh process: put it into a file")

    def run(self, cuts: int) -> Verdict:
        verdict = self.verdict
        verdict.warnings += self._warnings()
        base = self._replay("as-it-is", None, None)
        if base["error"]:
            raise AlphaPandaError(f"the spec cannot be replayed: {base['error']}")
        signals = list(events_in(Path(base["run"]) / f"{GENERATED}.parquet"))
        verdict.decisions = len(signals)
        if base["halted"]:
            verdict.warnings.append("a strategy raised and was halted: what it would have decided later was not judged")
        chosen = self._cuts([event.pos for event in signals], cuts)
        verdict.cuts = [f"{epoch}-{number}" for epoch, number in chosen]
        jobs = [(None, "repeated"), *((cut, name) for cut in chosen for name in FUTURES)]
        with ThreadPoolExecutor(self.workers) as pool:
            answers = list(pool.map(lambda job: self._replay(job[1], job[0], None if job[0] is None else job[1]), jobs))
        verdict.repeatable = answers[0]["error"] is None and answers[0]["signals"] == base["signals"]
        for (cut, name), answer in zip(jobs[1:], answers[1:], strict=True):
            if cut is not None and (found := self._compared(name, cut, Path(base["run"]), signals, answer)) is not None:
                verdict.findings.append(found)
        verdict.replays = len(jobs) + 1
        for answer in (base, *answers):
            verdict.read_the_tape = sorted({*verdict.read_the_tape, *answer["direct"]})
            verdict.read_besides = sorted({*verdict.read_besides, *answer["besides"]})
        return verdict

    def _warnings(self) -> Iterator[str]:
        """Parameters that name files which the check does not make anew."""
        tape = self.tape.path.resolve()
        for one in self.classes:
            for name, value in one["params"].items():
                if isinstance(value, str) and value and Path(value).exists() and not Path(value).resolve().is_relative_to(tape):
                    yield f"{one['strategy_id']}: parameter {name} names {value}, which is the same in each future"

    def _cuts(self, decisions: list[Pos], count: int) -> list[Seq]:
        """Seqs right after decisions: one out of each of `count` equal parts of them; without decisions, anywhere."""
        rng = np.random.Generator(np.random.PCG64(self.seed))
        first, end = place(self.tape, self.spec.start) or self.tape.seqs[0], place(self.tape, self.spec.end) or self.tape.seqs[1]
        seqs = sorted({(epoch, number + 1) for epoch, number, *_ in decisions if (epoch, number + 1) < end})
        if not seqs:
            last = end[1] if first[0] == end[0] else first[1] + 2
            return sorted({(first[0], int(number)) for number in rng.integers(first[1] + 2, max(first[1] + 3, last), count)})
        parts = np.array_split(np.arange(len(seqs)), min(count, len(seqs)))
        return [seqs[int(rng.choice(part))] for part in parts]

    def _replay(self, name: str, cut: Seq | None, future: str | None) -> dict[str, Any]:
        """One replay of the tape, up to the cut, with this future behind it."""
        root = self.folder / (name if cut is None else f"{cut[0]}-{cut[1]}-{name}")
        other = root / "tape" / self.tape.path.name
        if future is None or cut is None:
            rewritten(self.tape, other)
        else:
            FUTURES[future](self.tape, other, cut, self.seed)
        files = {one.class_: Path(one.class_.rpartition(":")[0]) for one in self.spec.strategies if _is_file(one.class_)}
        here = Place(root, self.spec.tape, other, files)
        job = root / "job.json"
        job.write_text(json.dumps({
            "spec": self._table(here, files, cut), "original": str(self.spec.tape.absolute()), "other": str(other),
            "place": str(root), "out": str(root / "runs"),
        }), encoding="utf-8")  # fmt: skip
        environment = here.environment() | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": os.pathsep.join(_paths(here))}
        done = subprocess.run(  # noqa: S603  # our own module
            [sys.executable, "-m", CHILD, str(job)], cwd=here.folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return {"error": f"its process ended with status {done.returncode}: {last}", "direct": [], "besides": []}
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    def _table(self, here: Place, files: dict[str, Path], cut: Seq | None) -> dict[str, Any]:
        """The spec as it is replayed there."""
        entries = []
        for entry, spec, one in zip(self.spec.strategies, self.specs, self.classes, strict=True):
            name = entry.class_
            if name in files:
                name = f"{here.file(files[name])}:{name.rpartition(':')[2]}"
            params = {key: here.substituted(value) for key, value in one["params"].items()}
            entries.append({"class": name, "id": spec.strategy_id, "lane": spec.lane, "params": params})
        tape = self.spec.tape
        end = self.spec.end if cut is None else f"{cut[0]}-{cut[1]}"
        table = {
            "tape": str(here.other if tape.is_absolute() else tape), "strategies": entries, "settings": self.spec.settings,
            "start": self.spec.start, "end": end,
        }  # fmt: skip
        return {key: value for key, value in table.items() if value is not None}

    def _compared(self, name: str, cut: Seq, base: Path, signals: list[Event], answer: dict[str, Any]) -> Finding | None:
        """The first event before the cut that this future changed."""
        if answer["error"]:
            return Finding(name, f"{cut[0]}-{cut[1]}", "", "", "", "", None, "", None, None, answer["error"])
        mine = [event for event in signals if event.pos[:2] < cut]
        sha = hashlib.sha256("".join(f"{encode(event).decode()}\n" for event in mine).encode()).hexdigest()
        if sha != answer["signals"]:
            theirs = list(events_in(Path(answer["run"]) / f"{GENERATED}.parquet"))
            return self._found(name, cut, GENERATED, mine, theirs)
        frame, other = (pl.read_parquet(folder / f"{FEATURES}.parquet") for folder in (base, Path(answer["run"])))
        frame = frame.filter(earlier(cut))
        if frame.equals(other):
            return None
        features = [event for event in events_in(base / f"{FEATURES}.parquet") if event.pos[:2] < cut]
        return self._found(name, cut, FEATURES, features, list(events_in(Path(answer["run"]) / f"{FEATURES}.parquet")))

    def _found(self, name: str, cut: Seq, topic: str, mine: list[Event], theirs: list[Event]) -> Finding:
        a, b = ({event.pos: event for event in events} for events in (mine, theirs))
        pos = min(pos for pos in {*a, *b} if pos not in a or pos not in b or encode(a[pos]) != encode(b[pos]))
        event = a[pos] if pos in a else b[pos]
        token = getattr(event.data, "instrument_token", None)
        instrument = self.tape.instruments.get(token) if token is not None else None
        return Finding(
            name, f"{cut[0]}-{cut[1]}", event.id, rfc3339(event.ts_ns), topic, getattr(event.data, "strategy_id", ""), token,
            "" if instrument is None else instrument.symbol, _data(a.get(pos)), _data(b.get(pos)),
        )  # fmt: skip


def _is_file(name: str) -> bool:
    """Whether a spec names its class by file."""
    find_class(name)
    return name.rpartition(":")[0].endswith(".py")


def _data(event: Event | None) -> dict[str, Any] | None:
    if event is None:
        return None
    said: dict[str, Any] = json.loads(encode(event))["data"]
    return {"halted": said} if isinstance(event.data, StrategyHalted) else said


def _paths(here: Place) -> list[str]:
    """The import path of this process, with places that stand elsewhere there."""
    return [str(here.file(Path(one))) if one else str(here.folder) for one in sys.path]
