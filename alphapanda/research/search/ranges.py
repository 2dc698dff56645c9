"""Where a tape is cut: training and holdout, and the folds of a walk-forward.

Cuts lie at the opens of sessions; a tape of one session is cut by market time. Ranges are [start, end) in seq order. What
lies behind a cut is replayed from empty books, and its indicators warm up anew.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from alphapanda.adapters.tape import Seq, Tape
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.core.stretches import Ticks
from alphapanda.pipeline import TICKS
from alphapanda.research.search.light import Range
from alphapanda.runtime.replay_run import place

_UNITS_NS = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LENGTH = re.compile(r"(\d+)(s|m|h)?")


class Length(NamedTuple):
    """So many sessions, or so much market time."""

    size: int
    in_sessions: bool  # else nanoseconds

    @classmethod
    def of(cls, name: str, given: int | str) -> "Length":
        """From 20 or "20" (sessions), "90m", "2h", "30s" (market time). Raises ConfigurationError."""
        found = _LENGTH.fullmatch(str(given).strip())
        if found is None:
            raise ConfigurationError(f"{name} {given!r} is not a length: write sessions (20) or market time (90m, 2h, 30s)")
        unit = found[2]
        return cls(int(found[1]) * (_UNITS_NS[unit] if unit else 1), unit is None)


class Fold(NamedTuple):
    """One step of a walk-forward: chosen on `train`, looked at on `test`, with a gap between them."""

    train: Range
    test: Range


def whole(tape: Tape, start: str | Seq | None, end: str | Seq | None) -> Range:
    """The part of a tape that is searched. Raises ConfigurationError where it is empty."""
    low, high = place(tape, start) or tape.seqs[0], place(tape, end) or tape.seqs[1]
    if low >= high:
        raise ConfigurationError(f"nothing of {tape.path} lies from {start} to before {end}")
    return Range(low, high)


def session_starts(tape: Tape, span: Range) -> list[Seq]:
    """The first seq of each local date that has ticks in the range; the first is the range's own start."""
    firsts: dict[str, Seq] = {}
    traded = {file["date"] for file in tape.manifest["files"] if file["topic"] == TICKS}
    for file in tape.manifest["files"]:
        if file["date"] in traded:
            at = (file["first"][0], file["first"][1])
            firsts[file["date"]] = min(at, firsts.get(file["date"], at))
    inside = sorted(at for at in firsts.values() if at < span.end)
    before = [at for at in inside if at <= span.start]
    return [span.start, *inside[len(before) :]] if before else inside


def split(tape: Tape, span: Range, holdout: float) -> tuple[Range, Range | None]:
    """Training and holdout: the last `holdout` of the sessions, at least one; of one session, of its market time."""
    if not 0 <= holdout < 1:
        raise ConfigurationError(f"holdout is a part of the tape, such as 0.3, not {holdout}")
    if holdout == 0:
        return span, None
    starts = session_starts(tape, span)
    if len(starts) > 1:
        kept = min(len(starts) - 1, max(1, round(len(starts) * holdout)))
        cut = starts[-kept]
    else:
        first_ns, last_ns = times(tape, span)
        cut = tape.seq_at(round(first_ns + (last_ns - first_ns) * (1 - holdout)))
    if not span.start < cut < span.end:
        raise ConfigurationError(f"{tape.path} is too short to keep {holdout:.0%} of it back")
    return Range(span.start, cut), Range(cut, span.end)


def times(tape: Tape, span: Range) -> tuple[int, int]:
    """Door times in nanoseconds of the first tick at or past the range's start, and at or past its end."""
    return _ts_at(tape, span.start), _ts_at(tape, span.end)


def _ts_at(tape: Tape, at: Seq) -> int:
    """The time of the first tick at or past a seq, else of the tape's last."""
    for stretch in tape.runs(at):
        if isinstance(stretch, Ticks):
            return stretch.ticks[0].ts_ns
    return int(max(file["last_ts_ns"] for file in tape.manifest["files"] if file["topic"] == TICKS))


def local_text(tape: Tape, span: Range) -> str:
    """A range in the market's own time, by its first tick and the first behind it (or the tape's last)."""
    zone = ZoneInfo(tape.profile.zone)
    begins, ends = (datetime.fromtimestamp(ts_ns // 10**9, zone) for ts_ns in times(tape, span))
    later = f"{ends:%H:%M}" if begins.date() == ends.date() else f"{ends:%Y-%m-%d %H:%M}"
    return f"{begins:%Y-%m-%d %H:%M} to {later}"


def folds(tape: Tape, span: Range, train: Length, test: Length, gap: Length, *, anchored: bool) -> list[Fold]:
    """Folds one after the other, each test beginning where the one before ended; a last, shorter one is left out.

    Rolling: each training is `train` long. Anchored: it begins with the range. `gap` (purged) lies between training and
    test, so that what is still under way at the end of the training, or remembered from it, does not reach into the test.
    Raises ConfigurationError where not even one fits.
    """
    if test.size < 1 or train.size < 1:
        raise ConfigurationError("train and test are at least one session, or some market time")
    if len({one.in_sessions for one in (train, test, gap) if one.size}) > 1:
        raise ConfigurationError("train, test and gap are all in sessions, or all in market time")
    length, seq_of = _axis(tape, span, in_sessions=train.in_sessions)
    found: list[Fold] = []
    at = train.size + gap.size
    while at + test.size <= length:
        ends = at - gap.size
        begins = 0 if anchored else ends - train.size
        found.append(Fold(Range(seq_of(begins), seq_of(ends)), Range(seq_of(at), seq_of(at + test.size))))
        at += test.size
    if not found:
        unit = "sessions" if train.in_sessions else "ns of market time"
        raise ConfigurationError(
            f"{tape.path} has {length:,} {unit}, and one fold needs {train.size + gap.size + test.size:,}: take less"
        )
    return found


def _axis(tape: Tape, span: Range, *, in_sessions: bool) -> tuple[int, Callable[[int], Seq]]:
    """How long the range is, and the seq at each place along it."""
    if in_sessions:
        starts = [*session_starts(tape, span), span.end]
        return len(starts) - 1, starts.__getitem__
    if len(session_starts(tape, span)) > 1:
        raise ConfigurationError("market time is for a tape of one session: say train, test and gap in sessions")
    first_ns, last_ns = times(tape, span)

    def seq_of(offset_ns: int) -> Seq:
        return span.start if offset_ns == 0 else min(span.end, tape.seq_at(first_ns + offset_ns))

    return last_ns - first_ns + 1, seq_of
