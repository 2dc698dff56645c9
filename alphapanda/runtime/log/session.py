"""What a session is: everything under one topic prefix, with the market it trades and the strategies that trade it.

`session.json` and `instruments.parquet` in the session's folder say so from its first moment, so that what is recorded can
be read while it grows. Market and strategies come from a replay spec, whose tape names the market.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alphapanda.adapters.durable import sync
from alphapanda.adapters.instrument_table import write_instruments
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.runtime.container import AppContainer, StrategySpec, feature_names
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.replay_run import described, git_revision
from alphapanda.runtime.settings import recorded

FILE = "session.json"
FIXED = ("market", "currency", "strategies", "settings", "charges_version", "partitions", "prefix", "played")
"""What may not change while a session goes on: a replay of it could not have the same bytes."""


def begin_session(
    folder: Path, prefix: str, container: AppContainer, market: Tape, specs: Sequence[StrategySpec], partitioning: Partitioning,
    *, played: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Say what the session in `folder` is, or make sure that it is what was said. Returns what stands in `session.json`.

    `played`: digest and range of the tape that the same process plays, where it does.
    Raises ConfigurationError naming what differs.
    """
    said = json.loads(json.dumps({
        "name": folder.name, "prefix": prefix, "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        "version": version("alphapanda"), "git_revision": git_revision(),
        "market": {"tape": str(market.path), "profile": market.profile.to_dict(), "zone": market.profile.zone,
                   "beat_interval_s": market.beat_interval_s, "columns": market.columns},
        "currency": market.profile.currency, "strategies": list(map(described, specs)), "features": feature_names(specs),
        "settings": recorded(container.settings), "charges_version": container.charges(market.profile.charges).version,
        "partitions": partitioning.counts, "played": played,
    }, default=str))  # fmt: skip
    if (folder / FILE).exists():
        kept = read_session(folder)
        if differ := [name for name in FIXED if kept[name] != said[name]]:
            raise ConfigurationError(
                f"{folder} was begun with other {', '.join(differ)}: a session keeps what it began with; begin a new topic"
                " prefix, or record into another folder"
            )
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    table = write_instruments(folder, market.instruments.values())
    made = folder / f".{FILE}.tmp"
    made.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    sync(made)
    sync(table)
    made.replace(folder / FILE)
    sync(folder)
    return dict(said)


def read_session(folder: Path) -> dict[str, Any]:
    """What stands in a session's `session.json`. Raises ConfigurationError where it is none."""
    try:
        said: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"{folder} is not a session: it has no {FILE}; record one with `alphapanda record`") from error
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{folder / FILE} is damaged: {error}") from error
    return said
