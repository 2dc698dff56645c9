"""Which log: a broker's topics, or a folder of this machine."""

from pathlib import Path
from typing import Literal

from alphapanda.adapters.file_log import FileLog
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log
from alphapanda.runtime.settings import Settings

LogKind = Literal["kafka", "embedded"]
NO_PREFIX = "main"
"""What folders are called where the topics have no prefix."""


def log_kind(text: str) -> LogKind:
    """The kind of a log by its name on the command line. Raises ConfigurationError."""
    if text == "kafka":
        return "kafka"
    if text == "embedded":
        return "embedded"
    raise ConfigurationError(f"--log {text!r} is not understood: write kafka or embedded")


def folder_name(prefix: str) -> str:
    """A topic prefix as a folder's name: `paper.monday.` is `paper.monday`. Raises ConfigurationError where it would be none."""
    name = prefix.rstrip(".") or NO_PREFIX
    if name.startswith(".") or not all(c.isalnum() or c in "._-" for c in name):
        raise ConfigurationError(f"topic prefix {prefix!r} is not understood: use letters, digits, `.`, `_` and `-`")
    return name


def session_folder(settings: Settings, prefix: str) -> Path:
    """Where the session under this prefix is recorded."""
    return settings.storage.sessions / folder_name(prefix)


def open_log(settings: Settings, prefix: str, log: LogKind, *, make: bool = False, tick_partitions: int | None = None) -> Log:
    """The log under `prefix`; `Partitioning.of_log` tells its partitions.

    An embedded log is a folder, which is made where `make` says so (`tick_partitions`: its partitions of ticks and features,
    else as in topics.yaml); a broker's topics must be there. Raises LogError, ConfigurationError.
    """
    if log == "embedded":
        folder = settings.storage.logs / folder_name(prefix)
        there = (folder / "topics.json").exists()
        if not there and not make:
            raise ConfigurationError(f"there is no log in {folder}: is the prefix right, and storage.logs where it was made?")
        kept = there and tick_partitions is None
        return FileLog(folder, None if kept else Partitioning.of_table(tick_partitions).counts)
    try:
        from alphapanda.adapters.kafka_log import KafkaLog
    except ImportError as error:
        raise ConfigurationError(
            f"the broker's client is not installed ({error}): pip install 'alphapanda[kafka]', or use --log embedded"
        ) from error
    return KafkaLog(settings.kafka, prefix)
