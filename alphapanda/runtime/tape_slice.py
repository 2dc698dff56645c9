"""Looking at tapes, and cutting them."""

from pathlib import Path
from typing import Any

from alphapanda.adapters.tape import Seq, Tape
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.codec import rfc3339
from alphapanda.contracts.errors import TapeError
from alphapanda.contracts.events import Event
from alphapanda.runtime.replay_run import place

_ROWS = 50_000


def tape_info(tape: Tape) -> dict[str, Any]:
    """What is on a tape, JSON-able: source, range, counts, gaps, dirty rows, instruments, digest."""
    manifest = tape.manifest
    first, last = manifest["ts_ns"]
    return {
        "path": str(tape.path), "source": manifest["source"], "digest": tape.digest, "profile": tape.profile.name,
        "start": rfc3339(first), "end": rfc3339(last), "seq": manifest["seq"], "ticks": manifest["ticks"],
        "beat_interval_s": tape.beat_interval_s, "columns": tape.columns, "dates": manifest["dates"],
        "counters": manifest.get("counters", {}), "dirty": manifest.get("dirty", {}), "carried": manifest.get("carried", []),
        "instruments": [one.symbol for one in tape.instruments.values()],
        "bytes": sum((tape.path / file["path"]).stat().st_size for file in manifest["files"]),
    }  # fmt: skip


def slice_tape(src: Path, dst: Path, start: str | Seq | None = None, end: str | Seq | None = None) -> dict[str, Any]:
    """Write [start, end) of a tape as a tape of its own; returns its manifest.

    Seqs stay. The trading session's earlier session events and commands come along, named in the manifest as `carried`:
    a replay hands them over first, outputs dropped. Raises TapeError for an empty range.
    """
    tape = Tape.open(src)
    low, high = place(tape, start) or tape.seqs[0], place(tape, end) or tape.seqs[1]
    carried = tape.earlier_in_session(low) if low > tape.seqs[0] else []
    with TapeWriter(
        dst, profile=tape.profile, instruments=tape.instruments.values(), columns=tape.columns,
        source=f"slice of {tape.digest}", beat_interval_s=tape.beat_interval_s,
    ) as writer:  # fmt: skip
        events: list[Event] = []
        count = 0
        for event in (*carried, *tape.events(low, high)):
            events.append(event)
            if len(events) == _ROWS:
                writer.numbered(events)
                count, events = count + len(events), []
        if count + len(events) == len(carried):
            raise TapeError(f"{src}: there is nothing in [{start}, {end})")
        writer.numbered(events)
        made = {"map": tape.manifest["map"]} if "map" in tape.manifest else {}
        return writer.publish(
            {**made, "carried": [event.id for event in carried], "sliced_from": tape.digest, "slice_start": list(low)}
        )
