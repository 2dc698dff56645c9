"""What the command line's parts share: name=value words, JSON on stdout, a progress bar on the terminal's error stream."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from alphapanda.contracts.errors import ConfigurationError

out, err = Console(), Console(stderr=True)


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    sys.stdout.write(json.dumps(value, default=str) + "\n")


def pairs(given: Sequence[str], option: str) -> dict[str, str]:
    """`name=value` words as a table. Raises ConfigurationError naming the option."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigurationError(f"{option} {text!r} is not understood: write name=value")
        found[name] = value
    return found


class Bar:
    """A progress bar: how much of how much, a rate, the time left."""

    def __init__(self, title: str) -> None:
        columns = (TextColumn(title), BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
                   TextColumn("{task.fields[rate]}"), TimeRemainingColumn())  # fmt: skip
        self.progress, self.began = Progress(*columns, console=err, transient=True), time.monotonic()

    def __enter__(self) -> "Bar":
        self.progress.start()
        self.task = self.progress.add_task("", total=1, rate="")
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def __call__(self, done: int, total: int) -> None:
        """So much of so much is done."""
        rate = done / max(time.monotonic() - self.began, 1e-9)
        self.progress.update(self.task, completed=done, total=total, rate=f"{rate:,.0f}/s")
