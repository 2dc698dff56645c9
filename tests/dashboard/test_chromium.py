"""Where no browser can be had, it is said why."""

import os
import shutil

import pytest

from tests.dashboard.chromium import NoBrowserError, chromium


def test_without_a_browser_and_without_root_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests then skip, or fail where everything must be tested."""
    monkeypatch.setattr(shutil, "which", lambda name: None if "chrom" in name else f"/usr/bin/{name}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoBrowserError, match="apt-get install chromium"):
        chromium()
