"""The system's Chromium for tests: found, or installed from Debian's packages where that may be done."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


class NoBrowserError(Exception):
    """No browser can run here; the message says what is missing."""


def chromium() -> str:
    """The browser's path. Raises NoBrowserError."""
    if found := _found():
        return found
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise NoBrowserError("there is no chromium, and only root can install it (apt-get install chromium)")
    with Path(tempfile.gettempdir(), "alphapanda-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs may start at once
        if found := _found():
            return found
        said = ""
        for words in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            done = subprocess.run([apt, "-q", *words], capture_output=True, text=True, check=False, env=environment)
            said += done.stdout[-300:] + done.stderr[-300:]
    if found := _found():
        return found
    raise NoBrowserError(f"apt-get could not install chromium: {said}")


def _found() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)
