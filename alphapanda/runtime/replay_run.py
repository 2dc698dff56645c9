"""One replay from tape to run folder: wiring, progress, manifest."""

import gc
import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from alphapanda.adapters.memory import peak_rss_mb
from alphapanda.adapters.run_folder import RunFolder, run_digest
from alphapanda.adapters.tape import Seq, Tape
from alphapanda.adapters.topic_files import Tally
from alphapanda.contracts import events as e
from alphapanda.contracts.codec import parse_rfc3339
from alphapanda.contracts.errors import ConfigurationError, TapeError
from alphapanda.contracts.events import Event, FeedGap, Payload
from alphapanda.core.stretches import Ticks
from alphapanda.runtime.container import AppContainer, StrategySpec, feature_names
from alphapanda.runtime.replay import Replay, Rooms
from alphapanda.runtime.settings import recorded
from alphapanda.runtime.signals_from import RecordedSignals
from alphapanda.runtime.strategies import code_digest, source_of

NEW_BEFORE_COLLECTING = 50_000
Progress = Callable[[int, int], None]
"""Called with (ticks done, ticks in all) now and then."""


class Finished(NamedTuple):
    """A run on disk."""

    run_id: str
    path: Path
    manifest: dict[str, Any]


def place(tape: Tape, where: str | Seq | None) -> Seq | None:
    """A seq from `epoch-number`, a bare number of the first epoch, or an RFC 3339 time on the tape."""
    if where is None or isinstance(where, tuple):
        return where
    epoch, dash, number = where.partition("-")
    if where.isdigit():
        return tape.seqs[0][0], int(where)
    if dash and epoch.isdigit() and number.isdigit() and len(epoch) < 4:
        return int(epoch), int(number)
    try:
        return tape.seq_at(parse_rfc3339(where))
    except ValueError as error:
        raise ConfigurationError(f"{where!r} is neither a seq (1-500) nor a time (2024-03-01T04:00:00Z): {error}") from error


def run_replay(
    container: AppContainer, tape: Tape, specs: Sequence[StrategySpec], *, start: str | Seq | None = None,
    end: str | Seq | None = None, out: Path | None = None, progress: Progress | None = None, verify: bool = True,
    signals: RecordedSignals | None = None,
) -> Finished:  # fmt: skip
    """Replay [start, end) of a tape through the whole pipeline; returns the run, which is whole on disk.

    With `signals`, these are played back in place of the strategies (`specs` are then its stand-ins).
    """
    began, wall = time.perf_counter(), datetime.now(UTC)
    low, high = place(tape, start), place(tape, end)
    parameters = [described(spec) for spec in specs] if signals is None else signals.strategies
    host = Replay if signals is None else signals.host
    rooms = container.rooms(tape, specs)
    with ThreadPoolExecutor(1) as beside, RunFolder(out or container.runs_root, feature_names(specs)) as folder:
        verified = beside.submit(tape.verify) if verify else None
        replay = host(rooms, container.settings.pipeline.feedback_delay_ms, folder.write)
        if low is not None and low > tape.seqs[0]:
            start_cold(replay, tape, low)
        notes, late = replay.set_portfolio_apart()
        folder.process_with(late, notes.taken)
        with _seldom_collected():
            ticks = drive(replay, tape, low, high, container.settings.replay.batch_rows, progress, verified)
        if not ticks:
            raise TapeError(f"{tape.path} has no tick in the range that was asked for")
        revision = beside.submit(git_revision)
        written = folder.close()
        seconds = time.perf_counter() - began
        digest = run_digest(written.digests)
        run_id = f"{wall:%Y%m%d-%H%M%S-%f}-{digest[:8]}"
        manifest: dict[str, Any] = {
            "run_id": run_id,
            "created": wall.isoformat(timespec="microseconds"), "kind": "replay", "version": version("alphapanda"),
            "git_revision": revision.result(),
            "tape": {"path": str(tape.path), "digest": tape.digest, "profile": tape.profile.to_dict(), "zone": tape.profile.zone,
                     "start": list(low or tape.seqs[0]), "end": list(high or tape.seqs[1]),
                     "beat_interval_s": tape.beat_interval_s, "columns": tape.columns},
            "currency": tape.profile.currency, "cold_start": low is not None and low > tape.seqs[0],
            "strategies": parameters, "signals_from": None if signals is None else signals.source,
            "settings": recorded(container.settings),
            "charges_version": container.charges(tape.profile.charges).version, "seed": None,
            "digests": written.digests, "digest": digest, "counts": counted(written.tally, ticks),
            "warm_up": _warm_up(rooms), "open_orders": sum(map(len, rooms.engine.state.working.values())),
            "seconds": round(seconds, 6), "ticks_per_s": round(ticks / seconds),
            "peak_rss_mb": round(peak_rss_mb() + written.peak_rss_mb, 1),
        }  # fmt: skip
        return Finished(run_id, folder.publish(run_id, manifest, list(tape.instruments.values())), manifest)


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Events are no cycles, and what is there by now stays: what strategies leave behind is collected now and then."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(NEW_BEFORE_COLLECTING, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def drive(
    replay: Replay, tape: Tape, start: Seq | None, end: Seq | None, batch_rows: int, progress: Progress | None = None,
    verified: Future[None] | None = None,
) -> int:  # fmt: skip
    """Hand the tape to the loop, run by run. Returns the number of ticks.

    The tape may be verified meanwhile: where that fails, this does too, as soon as it is known.
    """
    ticks, told, total = 0, 0, tape.manifest["ticks"]
    try:
        for run in tape.runs(start, end, batch_rows, replay.heard_beats, read_ahead=True):
            if verified is not None and verified.done():
                verified.result()
            replay.take(run)
            if isinstance(run, Ticks):
                ticks += len(run.numbers)
                if progress is not None and ticks - told >= batch_rows:
                    told = ticks
                    progress(ticks, total)
    except Exception:
        if verified is not None:
            verified.result()  # that the tape was changed would explain it
        raise
    if verified is not None:
        verified.result()
    if progress is not None:
        progress(ticks, ticks)
    return ticks


def start_cold(replay: Replay, tape: Tape, start: Seq) -> None:
    """Empty books in the middle: hand over the session's earlier events, outputs dropped, and call it a feed gap."""
    earlier = tape.earlier_in_session(start)
    emit, replay.emit = replay.emit, lambda events: None
    for event in earlier:
        replay.event(event)
    first = next(iter(tape.events(start)), None)
    if first is not None:
        pos = (start[0], start[1] - 1, 0, 0, 0)
        replay.event(Event(pos, first.ts_ns, None, FeedGap("cold start")))
    replay.emit = emit


def described(spec: StrategySpec) -> dict[str, Any]:
    """A strategy as a manifest has it: id, lane, class, parameters, code digest and source."""
    cls = type(spec.strategy)
    params = spec.strategy.params()
    text = json.dumps(params, sort_keys=True, default=str)
    return {
        "strategy_id": spec.strategy_id, "lane": spec.lane, "class": f"{cls.__module__}:{cls.__qualname__}", "params": params,
        "params_digest": hashlib.sha256(text.encode()).hexdigest(), "code_digest": code_digest(cls), "source": source_of(cls),
    }  # fmt: skip


def counted(tally: Tally, ticks: int) -> dict[str, Any]:
    """A manifest's counts: ticks, events by kind, rejections by reason."""
    names: dict[str, type[Payload]] = {
        "bars": e.Bar, "features": e.FeatureSet, "signals": e.TradingSignal, "validated": e.ValidatedSignal,
        "orders": e.OrderPlaced, "fills": e.OrderFill, "cancelled": e.OrderCancelled, "failed": e.OrderFailed,
        "halted": e.StrategyHalted, "snapshots": e.PortfolioSnapshot,
    }  # fmt: skip
    made = {name: tally.events.get(cls.__name__, 0) for name, cls in names.items()}
    return {"ticks": ticks, **made, "rejected": dict(sorted(tally.refused.items()))}


def _warm_up(rooms: Rooms) -> list[dict[str, object]]:
    return [one for lane in rooms.instruments for one in lane.warm_up()]


def git_revision() -> str | None:
    """The revision of the working directory's checkout, None outside one."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
