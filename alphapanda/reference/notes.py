"""Contract notes: the sum of what fills cost, rounded once and at the end, in a way that has a name.

Nothing in a book is rounded by this; it says what a broker's paper would show.
"""

from collections.abc import Hashable, Iterable, Mapping
from fractions import Fraction
from typing import Literal, NamedTuple

import msgspec

from alphapanda.contracts.events import Charges

E8 = 100_000_000
PAISA_E8 = E8 // 100


class NoteRounding(NamedTuple):
    """How a note's lines are rounded before its total is; a step of 0 leaves a line as it is."""

    name: str
    stt_step_e8: int = 0  # halves up
    stt_by: Literal["scrip", "note"] = "scrip"  # of what the STT is summed before it is rounded
    stamp_step_e8: int = 0  # of the note's stamp duty; halves up
    has_dp: bool = True  # whether the depository's charge stands on the note


PAISA = NoteRounding("paisa")
"""Nothing but the total is rounded; it holds all that the fills cost."""
CONTRACT_NOTE = NoteRounding("contract_note", stt_step_e8=E8, stamp_step_e8=E8, has_dp=False)
"""As the broker's note: STT to the rupee for each scrip, stamp duty to the rupee. DP charges go to the ledger instead."""
ROUNDINGS = {one.name: one for one in (PAISA, CONTRACT_NOTE)}


class Note(NamedTuple):
    """A contract note: the unrounded lines, the lines it shows, and its total in paise, half to even."""

    lines: Charges
    shown: Charges
    total_paise: int


def note(charges: Iterable[Charges], rounding: NoteRounding = PAISA) -> Note:
    """The note of one scrip's fills of one day."""
    return contract_note({"": charges}, rounding)


def contract_note(by_scrip: Mapping[Hashable, Iterable[Charges]], rounding: NoteRounding = CONTRACT_NOTE) -> Note:
    """The note of one day's fills, given by scrip: whatever tells securities and segments apart."""
    sums = [_sum(charges) for charges in by_scrip.values()]
    lines = _sum(sums)
    rounded_stt_e8 = (
        sum(_half_up(one.stt_e8, rounding.stt_step_e8) for one in sums)
        if rounding.stt_by == "scrip"
        else _half_up(lines.stt_e8, rounding.stt_step_e8)
    )
    shown = msgspec.structs.replace(
        lines, stt_e8=rounded_stt_e8, stamp_e8=_half_up(lines.stamp_e8, rounding.stamp_step_e8),
        dp_e8=lines.dp_e8 if rounding.has_dp else 0,
    )  # fmt: skip
    return Note(lines, shown, round(Fraction(shown.total_e8, PAISA_E8)))


def _sum(charges: Iterable[Charges]) -> Charges:
    found = list(charges)
    return Charges(**{name: sum(getattr(one, name) for one in found) for name in Charges.__struct_fields__})


def _half_up(amount_e8: int, step_e8: int) -> int:
    return (2 * amount_e8 + step_e8) // (2 * step_e8) * step_e8 if step_e8 else amount_e8
