"""A recorded session as a tape and a run: what a replay reads, and what a replay would have written.

The tape is every door event up to the last whose number is known to have no gap before it; the run is every output of
these. Both have the digests that a tape of the same events, and a replay of it, would have. Segments stay: they hold what
the tape and the run do not, the dead letters and the offsets. Memory is bounded: one segment a partition.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from alphapanda.adapters.instrument_table import read_instruments
from alphapanda.adapters.memory import peak_rss_mb
from alphapanda.adapters.run_folder import RunFolder, run_digest
from alphapanda.adapters.segments import Segments
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.codec import decode
from alphapanda.contracts.errors import TapeError
from alphapanda.contracts.events import Event, MarketTick, OrderCancelled, OrderFailed, OrderFill, OrderPlaced
from alphapanda.contracts.instruments import Instrument
from alphapanda.pipeline import COPIES, DOOR, OUTPUT_TOPICS
from alphapanda.reference.profiles import MarketProfile
from alphapanda.runtime.log.control import FIRST, Seq, after
from alphapanda.runtime.log.door_order import unbroken
from alphapanda.runtime.log.session import read_session
from alphapanda.runtime.replay_run import counted

_MADE = tuple(topic for topic in OUTPUT_TOPICS if topic not in COPIES.values())
_BATCH = 20_000
NS = 1_000_000_000


class Compacted(NamedTuple):
    """What was made of a session."""

    tape: Path
    run: Path
    manifest: dict[str, Any]  # the run's


def compact(folder: Path) -> Compacted:
    """Make `tape/` and `run_id=.../` in a session's folder, in place of older ones. Raises TapeError without any tick."""
    began, session = time.perf_counter(), read_session(folder)
    segments = Segments(folder)
    instruments = read_instruments(folder)
    tape = _compact_tape(folder, session, segments, instruments)
    first, last = tape["seq"]
    with RunFolder(folder, tuple(session["features"])) as made:
        open_orders = _copy_outputs(made, segments, after((last[0], last[1])))
        written = made.close()
        digest, market = run_digest(written.digests), session["market"]
        seconds = (tape["ts_ns"][1] - tape["ts_ns"][0]) / NS
        run_id = f"{session['name']}-{digest[:8]}"
        manifest: dict[str, Any] = {
            "run_id": run_id, "created": session["created"], "kind": "session", "version": session["version"],
            "git_revision": session["git_revision"],
            "tape": {"path": str(folder / "tape"), "digest": tape["digest"], "profile": market["profile"], "zone": market["zone"],
                     "start": first, "end": list(after((last[0], last[1]))), "beat_interval_s": market["beat_interval_s"],
                     "columns": market["columns"]},
            "currency": session["currency"], "cold_start": False, "strategies": session["strategies"], "signals_from": None,
            "settings": session["settings"], "charges_version": session["charges_version"], "seed": None,
            "digests": written.digests, "digest": digest, "counts": counted(written.tally, tape["ticks"]),
            "warm_up": [], "open_orders": open_orders, "seconds": round(seconds, 6),
            "ticks_per_s": round(tape["ticks"] / max(seconds, 1e-9)),
            "peak_rss_mb": round(peak_rss_mb() + written.peak_rss_mb, 1),
            "session": {"name": session["name"], "prefix": session["prefix"], "ranges": segments.ranges((*DOOR, *OUTPUT_TOPICS)),
                        "complete": _complete(segments, after((last[0], last[1]))),
                        "compact_seconds": round(time.perf_counter() - began, 6)},
        }  # fmt: skip
        _let_go_of_runs(folder, keep=run_id)
        return Compacted(folder / "tape", made.publish(run_id, manifest, instruments), manifest)


def _compact_tape(folder: Path, session: dict[str, Any], segments: Segments, instruments: list[Instrument]) -> dict[str, Any]:
    market, new, final = session["market"], folder / "tape.new", folder / "tape"
    if new.exists():
        shutil.rmtree(new)  # of a compaction that was killed
    with TapeWriter(
        new, profile=MarketProfile.from_dict(market["profile"]), instruments=instruments, columns=market["columns"],
        source=f"session {session['name']}", beat_interval_s=market["beat_interval_s"],
    ) as writer:  # fmt: skip
        events: list[Event] = []
        for event in door_events(segments):
            events.append(event)
            if len(events) >= _BATCH:
                write_numbered(writer, events)
                events = []
        write_numbered(writer, events)
        manifest = writer.publish({"ranges": segments.ranges(DOOR), "session": session["name"]})
    if final.exists():
        shutil.rmtree(final)
    new.rename(final)
    return manifest


def door_events(segments: Segments) -> Iterator[Event]:
    """Every door event of a recording that is known to be next, in seq order; what could not be read is left out."""
    recorded = ((pos[:2], (line, reason)) for pos, line, reason in segments.in_order(DOOR, dead=True))
    for _, (line, reason) in unbroken(recorded, FIRST, segments.last_epoch(DOOR)):
        if reason is None:
            yield decode(line)


def write_numbered(writer: TapeWriter, events: list[Event]) -> None:
    """`TapeWriter.numbered`; raises TapeError for a tick with a field for which the tape has no column."""
    if not events:
        return
    others = [name for name in MarketTick.__struct_fields__ if name not in writer.columns]
    for name in others:
        bad = (one for one in events if type(one.data) is MarketTick and getattr(one.data, name) is not None)
        if (found := next(bad, None)) is not None:
            raise TapeError(
                f"tick {found.id} has {name}, and the market's tape has no such column: name a tape with the columns of this feed"
            )
    writer.numbered(events)


def _copy_outputs(made: RunFolder, segments: Segments, end: Seq) -> int:
    """Every output of the seqs before `end`; returns how many orders are open at the end."""
    open_orders: set[str] = set()
    events: list[Event] = []
    for pos, line, _ in segments.in_order(_MADE):
        if pos[:2] >= end:
            break
        event = decode(line)
        events.append(event)
        data = event.data
        if isinstance(data, OrderPlaced):
            open_orders.add(data.order_id)
        elif isinstance(data, OrderCancelled | OrderFailed) or (isinstance(data, OrderFill) and not data.remaining):
            open_orders.discard(data.order_id)
        if len(events) >= _BATCH:
            made.write(events)
            events = []
    made.write(events)
    return len(open_orders)


def _complete(segments: Segments, end: Seq) -> bool:
    """Whether every output partition that has outputs was promised all of the tape."""
    return all(found[-1].state[2] >= end for found in segments.of(_MADE).values())


def _let_go_of_runs(folder: Path, keep: str) -> None:
    for old in folder.glob("run_id=*"):
        if old.name != f"run_id={keep}":
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(old)
