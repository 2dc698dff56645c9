"""Test data that is not part of the project: found by one setting, else beside the checkout, else skipped."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def shared(name: str) -> Path | None:
    """The file or folder of that name in the shared test data, or None."""
    folder = Path(os.environ.get("ALPHAPANDA_TEST_DATA", ROOT / "../shared"))
    path = folder / name
    return path if path.exists() else None


def need(name: str) -> Path:
    """The same; skips the test where it is not at hand."""
    path = shared(name)
    if path is None:
        pytest.skip(f"{name} is not at hand: set ALPHAPANDA_TEST_DATA to the folder that holds it")
    return path
