"""What the command line prints of a tape: a screenful, however long the tape is."""

from datetime import date, timedelta
from io import StringIO
from typing import Any

from rich.console import Console

from alphapanda.research.report import in_short, show_tape


def facts(days: int) -> dict[str, Any]:
    """As `tape_info` gives them of a tape with this many sessions."""
    dates = [(date(2015, 1, 1) + timedelta(one)).isoformat() for one in range(days)]
    gaps = [[one, one + 1] for one in range(days)]
    return {"path": "data/tapes/t", "dates": dates, "counters": {"gaps": days, "gap_list": gaps}, "instruments": ["A"]}


def printed(found: dict[str, Any]) -> str:
    console = Console(width=140, record=True, file=StringIO())
    show_tape(found, console)
    return console.export_text()


def test_a_tape_of_nine_years_is_shown_on_one_screen() -> None:
    """The first and last three dates and gaps, and how many there are."""
    shown = printed(facts(3_287))
    assert shown.count("\n") < 20
    assert "2015-01-01, 2015-01-02, 2015-01-03, ..., 2023-12-29, 2023-12-30, 2023-12-31 (3,287 in all: --json)" in shown
    assert "gap_list: [0, 1], [1, 2], [2, 3], ..., [3284, 3285], [3285, 3286], [3286, 3287] (3,287 in all: --json)" in shown


def test_a_short_list_is_shown_whole() -> None:
    """As are facts that are none."""
    assert [in_short(one) for one in (list(range(12)), 5, {"gaps": 0, "gap_list": []})] == [
        "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]", "5", "gaps: 0\ngap_list: []",
    ]  # fmt: skip
