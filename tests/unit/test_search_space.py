"""Searches before any replay: what is tried, where tapes are cut, how luck is counted."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research.search import honest
from alphapanda.research.search.ranges import Fold, Length, folds, local_text, session_starts, split, whole
from alphapanda.research.search.space import Span, dimension, drawn, grid

# ---- what is tried


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10,20,30", ("10", "20", "30")),
        ("10:30:10", Span(10, 30, 10)),
        ("1:3", Span(1, 3)),
        ("0.1:0.3:0.1", Span(0.1, 0.3, 0.1)),
        ("log:0.001:1", Span(0.001, 1, None, True)),
        ([1, 2], (1, 2)),
        (range(1, 4), (1, 2, 3)),
        ({"low": 1, "high": 9, "step": 4}, Span(1, 9, 4)),
        (7, (7,)),
        ("a:b", ("a:b",)),
    ],
)
def test_a_dimension_is_read_from_text_lists_and_tables(text: Any, expected: Any) -> None:
    """Both ends of a range belong to it."""
    assert dimension("x", text) == expected


@pytest.mark.parametrize("wrong", ["", "3:1", "1:3:0", "log:0:1", "log:a:b", [], {"from": 1}, "1:inf"])
def test_a_dimension_that_is_none_is_refused(wrong: Any) -> None:
    """With a sentence."""
    with pytest.raises(ConfigurationError):
        dimension("x", wrong)


def test_a_grid_has_every_combination_once_the_last_dimension_fastest() -> None:
    """And floats end where they are said to end."""
    found = grid({"a": Span(0.1, 0.3, 0.1), "b": ("x", "y")})
    expected = [{"a": a, "b": b} for a in (0.1, 0.2, 0.3) for b in ("x", "y")]
    assert found == expected


def test_a_grid_over_any_number_or_of_too_many_sets_is_refused() -> None:
    """The way out is in the message."""
    with pytest.raises(ConfigurationError, match="STEP"):
        grid({"a": Span(0.0, 1.0)})
    with pytest.raises(ConfigurationError, match="at most"):
        grid({"a": tuple(range(1000)), "b": tuple(range(1000))})


@given(st.integers(1, 40), st.integers(0, 5))
def test_sets_drawn_by_chance_differ_and_lie_in_their_ranges(count: int, seed: int) -> None:
    """The same seed draws the same."""
    space = {"a": Span(1, 6), "b": Span(0.5, 2.5), "c": Span(1e-3, 1.0, None, True), "d": ("x", "y")}
    found = drawn(space, count, seed)
    inside = all(1 <= one["a"] <= 6 and 0.5 <= one["b"] <= 2.5 and 1e-3 <= one["c"] <= 1 and one["d"] in "xy" for one in found)
    assert (len(found), len({repr(one) for one in found}), inside, drawn(space, count, seed)) == (count, count, True, found)


def test_a_small_space_is_drawn_whole() -> None:
    """Where more sets are asked for than there are."""
    assert len(drawn({"a": Span(1, 3), "b": ("x", "y")}, 50, 1)) == 6


# ---- where tapes are cut


def test_the_holdout_is_the_last_sessions(tape: Path) -> None:
    """Cut at the open of a session, nothing twice and nothing lost."""
    opened = Tape.open(tape)
    span = whole(opened, None, None)
    train, late = split(opened, span, 0.3)
    starts = session_starts(opened, span)
    assert late is not None
    assert (train.start, train.end, late.start, late.end) == (opened.seqs[0], starts[6], starts[6], opened.seqs[1])
    assert local_text(opened, late) == "2024-03-12 09:15 to 2024-03-13 15:28"


def test_a_tape_of_one_session_is_cut_by_its_market_time(day: Path) -> None:
    """Seven tenths of it come before the cut."""
    opened = Tape.open(day)
    train, late = split(opened, whole(opened, None, None), 0.3)
    assert late is not None
    hours = local_text(opened, late).split(" ")[1]
    assert (train.end, hours) == (late.start, "13:38")


def test_folds_follow_one_another_with_their_gap(tape: Path) -> None:
    """Rolling trainings have one length, anchored ones the same beginning; tests touch, and never overlap a training."""
    opened = Tape.open(tape)
    span = whole(opened, None, None)
    at = [*session_starts(opened, span), span.end]
    lengths = Length(3, True), Length(2, True), Length(1, True)
    rolling, anchored = (folds(opened, span, *lengths, anchored=one) for one in (False, True))
    assert rolling == [Fold((at[0], at[3]), (at[4], at[6])), Fold((at[2], at[5]), (at[6], at[8]))]  # type: ignore[arg-type]
    assert anchored == [Fold((at[0], at[3]), (at[4], at[6])), Fold((at[0], at[5]), (at[6], at[8]))]  # type: ignore[arg-type]


def test_folds_in_market_time_are_for_one_session(tape: Path, day: Path) -> None:
    """Nights are no market time."""
    lengths = Length.of("train", "2h"), Length.of("test", "1h"), Length.of("gap", "10m")
    opened = Tape.open(day)
    found = folds(opened, whole(opened, None, None), *lengths, anchored=False)
    assert [local_text(opened, one.test)[11:16] for one in found] == ["11:25", "12:25", "13:25", "14:25"][: len(found)]
    assert (len(found), found[0].train.end < found[0].test.start) == (4, True)
    with pytest.raises(ConfigurationError, match="one session"):
        folds(Tape.open(tape), whole(Tape.open(tape), None, None), *lengths, anchored=False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda tape: Length.of("train", "soon"), "not a length"),
        (lambda tape: split(tape, whole(tape, None, None), 1.0), "part of the tape"),
        (lambda tape: whole(tape, "1-500", "1-500"), "nothing of"),
        (
            lambda tape: folds(tape, whole(tape, None, None), Length(9, True), Length(1, True), Length(0, True), anchored=True),
            "less",
        ),
        (
            lambda tape: folds(tape, whole(tape, None, None), Length(0, True), Length(1, True), Length(0, True), anchored=True),
            "least",
        ),
        (
            lambda tape: folds(tape, whole(tape, None, None), Length(2, True), Length(9, False), Length(0, True), anchored=True),
            "all in",
        ),
    ],
)
def test_cuts_that_cannot_be_made_are_refused(tape: Path, call: Any, message: str) -> None:
    """With a sentence."""
    with pytest.raises(ConfigurationError, match=message):
        call(Tape.open(tape))


# ---- luck


def test_the_deflated_sharpe_ratio_is_that_of_its_paper() -> None:
    """Bailey and Lopez de Prado 2014, the numerical example: 0.9004 of 100 trials, 0.9505 of 46."""
    best = honest.Moments(2.5 / math.sqrt(250), 1250, -3, 10, "session")
    of_100, of_46 = (honest.deflated_sharpe(best, 0.5 / 250, count) or 0 for count in (100, 46))
    assert (round(honest.expected_max_sharpe(0.5 / 250, 100), 4), round(of_100, 4), round(of_46, 3)) == (0.1132, 0.9004, 0.951)


def test_the_expected_best_of_many_without_skill_is_what_chance_gives() -> None:
    """Against a simulation of normal Sharpe ratios."""
    rng = np.random.default_rng(7)
    for count in (5, 64, 500):
        simulated = rng.normal(0, 0.1, (4_000, count)).max(axis=1).mean()
        assert honest.expected_max_sharpe(0.01, count) == pytest.approx(simulated, rel=0.05)


def test_moments_are_those_of_the_population_and_need_twenty_returns() -> None:
    """Kurtosis 3 for a normal distribution."""
    values = np.random.default_rng(1).normal(0.1, 1, 200_000).tolist()
    found = honest.moments(values, "session")
    assert found is not None
    assert (found.sharpe, found.skew, found.kurtosis) == pytest.approx((0.1, 0, 3), abs=0.05)
    assert (honest.moments(values[:19], "session"), honest.moments([0.5] * 30, "session")) == (None, None)


def test_luck_is_told_where_the_best_is_no_better_than_chance() -> None:
    """And where it cannot be told; not for one set, nor for one beyond doubt."""
    rng = np.random.default_rng(3)
    lucky = [honest.moments(rng.normal(0, 1, 250).tolist(), "session") for _ in range(50)]
    best = max(lucky, key=lambda one: one.sharpe if one else 0)
    sure = honest.moments(rng.normal(1, 1, 250).tolist(), "session")
    told = [len(honest.luck(honest.deflate(one, lucky, 50), 50)) for one in (best, sure, None)]
    assert (told, honest.luck(None, 1)) == ([1, 0, 1], [])
