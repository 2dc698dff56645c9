"""Fixtures that several modules share: tapes to search over."""

from datetime import date
from pathlib import Path

import pytest

from alphapanda.runtime.tape_make import make_tape

DAYS = [date(2024, 3, day) for day in (1, 4, 5, 6, 7, 11, 12, 13)]


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight sessions."""
    path = tmp_path_factory.mktemp("tapes") / "eight"
    make_tape(path, seed=5, days=DAYS, ticks=300, instruments=2)
    return path


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One session."""
    path = tmp_path_factory.mktemp("tapes") / "one"
    make_tape(path, seed=5, ticks=1_500, instruments=2)
    return path
