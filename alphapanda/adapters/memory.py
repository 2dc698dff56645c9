"""How much memory a process has held."""

import resource
from pathlib import Path


def peak_rss_mb() -> float:
    """The most memory this process has held, in MB.

    Linux states it by itself; the figure of `getrusage` there begins at that of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return round(int(line.split()[1]) / 1024, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
