"""Events from a run's Parquet files: the way back from `topic_files`.

Columns keep every value and not the lines' bytes: which order a feature set's names had is not in them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from alphapanda.contracts.codec import wire_name
from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.contracts.events import STAGE_EVENTS, Event, Payload, parse_pos

ROWS_AT_ONCE = 20_000
_TYPES: dict[str, type[Payload]] = {cls.__name__: cls for cls in STAGE_EVENTS}
_FIELDS = {cls: [(name, wire_name(name)) for name in cls.__struct_fields__] for cls in STAGE_EVENTS}


def events_in(path: Path) -> Iterator[Event]:
    """The events of one topic's file, in its order. Raises AlphaPandaError for a file that is none."""
    try:
        scan = pl.scan_parquet(path).with_columns(pl.selectors.datetime().dt.epoch("ns"))
        count = scan.select(pl.len()).collect().item()
        for at in range(0, count, ROWS_AT_ONCE):
            for row in scan.slice(at, ROWS_AT_ONCE).collect().iter_rows(named=True):
                yield _event(row)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise AlphaPandaError(f"{path} cannot be read as a run's topic: {error}") from error


def _event(row: dict[str, Any]) -> Event:
    cls = _TYPES[row["type"]]
    given: dict[str, Any] = {name: row[wire] for name, wire in _FIELDS[cls] if wire in row}
    if "values" in given:
        given["values"] = {name: value for name, value in (given["values"] or {}).items() if value is not None}
    return Event(parse_pos(row["id"]), row["ts"], parse_pos(row["cause"]), msgspec.convert(given, cls))
