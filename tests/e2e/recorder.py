"""The recorder as a process: `python -m tests.e2e.recorder SPEC PREFIX`, until SIGTERM."""

import sys
import threading
from pathlib import Path

from alphapanda.adapters.tape import Tape
from alphapanda.runtime.container import AppContainer
from alphapanda.runtime.log.host import serve, stop_on_signals
from alphapanda.runtime.log.observe import ServiceMetrics, configure_logging
from alphapanda.runtime.log.opening import open_log, session_folder
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.session import begin_session
from alphapanda.runtime.log.whole import RecorderService
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.spec import read_spec


def main(spec: str, prefix: str) -> None:
    """Record the session under this prefix."""
    read, stop = read_spec(Path(spec)), threading.Event()
    settings = load_settings(read.settings)
    log, folder = open_log(settings, prefix, "kafka"), session_folder(settings, prefix)
    partitioning = Partitioning.of_log(log)
    begin_session(folder, prefix, AppContainer(settings), Tape.open(read.tape), read.specs(), partitioning)
    stop_on_signals(stop)
    lines = configure_logging("recorder", prefix)
    serve(
        RecorderService(log, partitioning, folder), stop, ServiceMetrics("recorder", prefix), lines,
        snapshot_interval_s=settings.host.snapshot_interval_s,
    )  # fmt: skip
    log.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
