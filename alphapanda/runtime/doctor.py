"""What this machine has of what AlphaPanda needs."""

import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from alphapanda.core import ledger
from alphapanda.runtime.settings import Settings

_PACKAGES = ("alphapanda", "polars", "duckdb", "msgspec", "pydantic", "plotly")
_LEAST_FREE_MB = 500


def examine(settings: Settings) -> list[dict[str, object]]:
    """One entry a check: check, ok, found, and what to do where it is not ok."""
    python = ".".join(map(str, sys.version_info[:3]))
    checks = [_entry("python", (3, 11) <= sys.version_info < (3, 15), python, "use Python 3.11 to 3.14")]
    for name in _PACKAGES:
        try:
            checks.append(_entry(name, True, version(name), ""))
        except PackageNotFoundError:
            checks.append(_entry(name, False, "missing", "run `make dev`"))
    checks.append(_entry("rooms", True, "compiled" if is_compiled() else "from source (`make compiled` builds faster ones)", ""))
    place = _nearest(settings.storage.runs)
    free_mb = shutil.disk_usage(place).free // 1_000_000
    checks.append(_entry("disk", free_mb >= _LEAST_FREE_MB, f"{free_mb:,} MB free", "free some space, or set storage.runs"))
    checks.append(
        _entry("runs folder", os.access(place, os.W_OK), str(settings.storage.runs), "set storage.runs to a writable folder")
    )
    return checks


def is_compiled() -> bool:
    """Whether the hot rooms of this install are compiled."""
    return not ledger.__file__.endswith(".py")


def _nearest(path: Path) -> Path:
    """The folder, or the first above it that is there."""
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def _entry(check: str, ok: bool, found: str, remedy: str) -> dict[str, object]:
    return {"check": check, "ok": ok, "found": found, "remedy": "" if ok else remedy}
