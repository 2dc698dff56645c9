"""The door's pure part: numbers, times, clock events."""

from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.contracts.events import Beat, Event, FeedGap, MarketTick, Payload, SquareOff
from alphapanda.reference.profiles import load_profile
from alphapanda.services.market_feed.columns import ColumnDoor
from alphapanda.services.market_feed.service import Door

NSE = load_profile("nse")
SESSION = NSE.session_on(date(2024, 3, 1))
assert SESSION is not None
OPEN, S = SESSION.open_ts_ns, 1_000_000_000


def through(*at_s: float, beat_interval_s: int = 3600) -> list[tuple[int, str, float]]:
    """(number, type, seconds since the open) of all events for rows at these times."""
    door = Door(NSE, beat_interval_s)
    events = [one for at in at_s for one in door.take(OPEN + round(at * S), MarketTick(0, 101, 1.0))] + door.finish()
    return [(event.pos[1], type(event.data).__name__, (event.ts_ns - OPEN) / S) for event in events]


def test_epoch_and_open_stand_first_and_the_session_is_completed() -> None:
    """One row 10 s into a session of six and a quarter hours, beats each hour."""
    expected = [
        (0, "Epoch", 0), (1, "SessionOpen", 0), (2, "MarketTick", 10),
        *[(2 + hour, "Beat", 3600 * hour) for hour in range(1, 7)], (9, "SquareOff", 21_900), (10, "SessionClose", 22_500),
    ]  # fmt: skip
    assert through(10) == expected


def test_a_beat_stands_before_the_first_row_at_its_time() -> None:
    """Rows at 3599.9 and 3600."""
    found = [(kind, at) for _, kind, at in through(3599.9, 3600) if at in (3599.9, 3600)]
    assert found == [("MarketTick", 3599.9), ("Beat", 3600), ("MarketTick", 3600)]


def test_time_never_runs_back() -> None:
    """A row at 5 s after one at 9 s stands at 9 s."""
    assert [at for _, kind, at in through(9, 5, 10) if kind == "MarketTick"] == [9, 9, 10]


def test_sessions_without_rows_give_no_events() -> None:
    """A row on Friday and one on the Tuesday after: Monday is not there."""
    found = through(10, 4 * 86_400 + 10)
    assert [at // 86_400 for _, kind, at in found if kind == "SessionOpen"] == [0, 4]


def test_rows_before_the_open_come_before_it() -> None:
    """A row in the pre-open, then one in the session."""
    kinds = [kind for _, kind, _ in through(-600, 1)]
    assert kinds[:4] == ["Epoch", "MarketTick", "SessionOpen", "MarketTick"]


def test_silences_duplicates_and_backward_time_are_counted() -> None:
    """Two equal rows, one back in time, and a silence of 70 s beside that until the close."""
    door = Door(NSE, 3600)
    for at in (1, 1, 71, 70):
        door.take(OPEN + at * S, MarketTick(0, 101, 1.0))
    door.finish()
    counters = door.counters
    assert (counters.rows, counters.duplicates, counters.backward_time, counters.gaps, counters.gap_list[0]) == (
        4, 1, 1, 2, (OPEN + S, OPEN + 71 * S),
    )  # fmt: skip


ROWS = st.lists(st.one_of(st.integers(-2_000, 30_000), st.integers(80_000, 95_000), st.just(-1)), min_size=1, max_size=60)


@given(ROWS, st.integers(1, 7), st.sampled_from([1, 60, 3600]))
def test_the_columns_door_is_the_row_door(at_s: list[int], batch: int, beat_interval_s: int) -> None:
    """Any rows (-1 is a source's interruption), in any batches: the same events and the same counts."""
    plain, columns = Door(NSE, beat_interval_s), ColumnDoor(NSE, beat_interval_s)
    expected: list[Event] = []
    actual: list[tuple[int, int, Payload | None]] = []
    pending: list[int] = []

    def flush() -> None:
        placed = columns.rows(np.array(pending, dtype=np.int64))
        rows = [(int(n), int(t), None) for n, t in zip(placed.numbers, placed.ts_ns, strict=True)]
        others = zip(placed.other_numbers, placed.other_ts_ns, placed.others, strict=True)
        actual.extend(sorted([*rows, *others], key=lambda one: one[0]))
        pending.clear()

    for at in at_s:
        if at == -1:
            flush()
            placed = columns.take(OPEN, FeedGap("test"))
            actual.extend(zip(placed.other_numbers, placed.other_ts_ns, placed.others, strict=True))
            expected += plain.take(OPEN, FeedGap("test"))
            continue
        expected += plain.take(OPEN + at * S, MarketTick(0, 101, 1.0))
        pending.append(OPEN + at * S)
        if len(pending) == batch:
            flush()
    flush()
    placed = columns.finish()
    actual.extend(zip(placed.other_numbers, placed.other_ts_ns, placed.others, strict=True))
    expected += plain.finish()
    simple = [(event.pos[1], event.ts_ns, None if isinstance(event.data, MarketTick) else event.data) for event in expected]
    assert actual == simple
    assert (columns.counters.types, columns.counters.gaps, columns.counters.backward_time) == (
        plain.counters.types, plain.counters.gaps, plain.counters.backward_time,
    )  # fmt: skip


def test_a_beat_and_the_square_off_at_one_time_keep_their_order() -> None:
    """Beats each 60 s: that of 15:20 comes first, so bars that end there are complete."""
    door = Door(NSE, 60)
    events = door.take(OPEN, MarketTick(0, 101, 1.0)) + door.finish()
    at = next(i for i, event in enumerate(events) if type(event.data) is SquareOff)
    assert (type(events[at - 1].data), events[at - 1].ts_ns) == (Beat, events[at].ts_ns)
