"""The instruments table of a tape, a run or a session: one Parquet file, one row an instrument."""

import types
import typing
from collections.abc import Iterable
from pathlib import Path

import msgspec
import polars as pl

from alphapanda.contracts.instruments import Instrument

NAME = "instruments.parquet"
_DTYPES = {int: pl.Int64, float: pl.Float64, str: pl.String, bool: pl.Boolean}


def _dtype(hint: object) -> type[pl.DataType]:
    kinds = [one for one in typing.get_args(hint) if one is not types.NoneType] or [hint]
    return _DTYPES[kinds[0]]


SCHEMA = {name: _dtype(hint) for name, hint in typing.get_type_hints(Instrument).items()}


def write_instruments(folder: Path, instruments: Iterable[Instrument]) -> Path:
    """Write the table into a folder; returns its file."""
    instruments_frame(instruments).write_parquet(folder / NAME)
    return folder / NAME


def instruments_frame(instruments: Iterable[Instrument]) -> pl.DataFrame:
    """The table as a frame."""
    return pl.DataFrame([msgspec.structs.asdict(one) for one in instruments], schema=SCHEMA)


def read_instruments(folder: Path) -> list[Instrument]:
    """The table in a folder."""
    return [Instrument(**row) for row in pl.read_parquet(folder / NAME).to_dicts()]
