"""A tape on disk: other segments and batches leave no trace, the plain form equals the runs, damage is named."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from alphapanda.adapters.tape import Beats, Controls, Tape, Ticks
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.codec import encode
from alphapanda.contracts.errors import TapeError
from alphapanda.contracts.events import Beat, Event, FeedGap, MarketTick
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.profiles import load_profile

pytestmark = pytest.mark.untraced

S = 1_000_000_000
OPEN_NS = 1_709_264_700 * S  # 2024-03-01 09:15 IST


def rows(seed: int = 1, count: int = 500) -> pl.DataFrame:
    """Ticks over a minute from the open, some without a quantity."""
    rng = np.random.default_rng(seed)
    quantity = [None if n % 7 == 0 else n for n in range(count)]
    return pl.DataFrame({
        "ts_ns": OPEN_NS + np.sort(rng.integers(0, 60 * S, count)), "instrument_token": rng.integers(1, 3, count),
        "last_price": np.round(rng.random(count) * 100, 2), "last_quantity": pl.Series(quantity, dtype=pl.Int64),
    })  # fmt: skip


def written(dst: Path, frame: pl.DataFrame, segment_rows: int = 131_072, cut: int = 250) -> Tape:
    """A tape of these rows, with an interruption in the middle."""
    with TapeWriter(
        dst, profile=load_profile("nse"), instruments=[Instrument(1, "A"), Instrument(2, "B")], columns=["last_quantity"],
        source="test", segment_rows=segment_rows,
    ) as writer:  # fmt: skip
        writer.rows(frame[:cut])
        writer.take(int(frame["ts_ns"][cut - 1]), FeedGap("reconnect"))
        writer.rows(frame[cut:])
        writer.close()
    return Tape.open(dst)


def flat(tape: Tape, batch_rows: int) -> list[tuple[int, int, int, object]]:
    """What `runs` gives, event by event."""
    found: list[tuple[int, int, int, object]] = []
    for run in tape.runs(batch_rows=batch_rows):
        if isinstance(run, Controls):
            found += [(*one.pos[:2], one.ts_ns, one.data) for one in run.events]
        elif isinstance(run, Ticks):
            found += [(run.epoch, n, one.ts_ns, one) for n, one in zip(run.numbers, run.ticks, strict=True)]
        else:
            assert isinstance(run, Beats)
            found += [(run.epoch, n, ts_ns, Beat()) for n, ts_ns in zip(run.numbers, run.ts_ns, strict=True)]
    return found


def told(event: Event) -> tuple[int, int, int, object]:
    return (event.pos[0], event.pos[1], event.ts_ns, event.data)


@pytest.mark.parametrize(("segment_rows", "batch_rows"), [(131_072, 16_384), (7, 16_384), (131_072, 1), (64, 10)])
def test_segments_and_batches_leave_no_trace(tmp_path: Path, segment_rows: int, batch_rows: int) -> None:
    """Whatever the sizes: the digest of one whole segment, and the same events in order."""
    plain = written(tmp_path / "plain", rows())
    tape = written(tmp_path / "tape", rows(), segment_rows)
    assert (tape.digest, flat(tape, batch_rows)) == (plain.digest, [told(one) for one in plain.events()])


def test_every_seq_is_there_once(tmp_path: Path) -> None:
    """A session of 22,500 s has 22,499 beats between open and close; with 500 ticks numbers run without a gap."""
    tape = written(tmp_path / "tape", rows())
    assert [one[:2] for one in flat(tape, 100)] == [(1, n) for n in range(500 + 22_499 + 5)]


def test_the_ticks_come_back_as_they_went_in(tmp_path: Path) -> None:
    """Prices, times and missing quantities, row for row."""
    frame = rows()
    expected = [MarketTick(*row) for row in frame.iter_rows()]
    assert [one.data for one in written(tmp_path / "tape", frame).events() if isinstance(one.data, MarketTick)] == expected


def test_the_digest_is_that_of_the_wire_lines(tmp_path: Path) -> None:
    """SHA-256 over `encode(event)` and a newline, in order."""
    tape = written(tmp_path / "tape", rows())
    expected = hashlib.sha256(b"".join(encode(one) + b"\n" for one in tape.events())).hexdigest()
    assert tape.digest == expected


@pytest.mark.parametrize(("low", "high"), [(0, 10), (5, 300), (299, 300), (520, 40_000), (10, 10)])
def test_a_range_is_closed_below_and_open_above(tmp_path: Path, low: int, high: int) -> None:
    """`runs` and `events` over [start, end) give the numbers in between."""
    tape = written(tmp_path / "tape", rows(), 64)
    expected = list(range(low, min(high, 500 + 22_504)))
    assert [one.pos[1] for one in tape.events((1, low), (1, high))] == expected


def test_a_time_finds_the_first_seq_at_or_past_it(tmp_path: Path) -> None:
    """For moments inside and past the tape."""
    tape = written(tmp_path / "tape", rows(), 64)
    events = list(tape.events())
    moments = [OPEN_NS, OPEN_NS + 30 * S, OPEN_NS + 30 * S + 1, events[-1].ts_ns + 1]
    expected = [next((one.pos[:2] for one in events if one.ts_ns >= at), tape.seqs[1]) for at in moments]
    assert [tape.seq_at(at) for at in moments] == expected


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    """`verify` says which file is not what the manifest states."""
    tape = written(tmp_path / "tape", rows())
    tape.verify()
    path = next((tmp_path / "tape" / "market.ticks").rglob("*.parquet"))
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(TapeError, match=r"market\.ticks.*part-00000\.parquet"):
        tape.verify()


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    """Reading a damaged segment says which it is."""
    tape = written(tmp_path / "tape", rows())
    path = next((tmp_path / "tape" / "market.ticks").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TapeError, match=r"part-00000\.parquet"):
        list(tape.runs())


def test_a_tape_is_never_overwritten(tmp_path: Path) -> None:
    """A folder that is there stays as it is."""
    tape = written(tmp_path / "tape", rows())
    with pytest.raises(TapeError, match="is there already"):
        written(tmp_path / "tape", rows(2))
    assert Tape.open(tmp_path / "tape").digest == tape.digest


def test_an_error_leaves_no_half_written_tape(tmp_path: Path) -> None:
    """The folder beside it is gone too."""
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        written(tmp_path / "tape", rows().drop("last_price"))
    assert list(tmp_path.iterdir()) == []
