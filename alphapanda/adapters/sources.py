"""Reads other people's CSV and Parquet files a chunk at a time.

A chunk has the columns that were asked for, under the file's names, and `_row`: the row's number from 1, without a header.
CSV columns are text; a quoted field with a line break in it is not supported.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import polars as pl
import polars.selectors as cs

from alphapanda.contracts.errors import TapeError

CHUNK_ROWS = 131_072
_BLOCK_BYTES = 8 << 20


class Source:
    """One file. `truncated` counts a last row that was cut short, once the file is read."""

    def __init__(self, path: Path, columns: Sequence[str], delimiter: str = ",", chunk_rows: int = CHUNK_ROWS) -> None:
        """Raises TapeError for a file that is not there, is of another kind, or lacks a column."""
        if not path.is_file():
            raise TapeError(f"{path} is not a file")
        self.path, self.columns, self.truncated, self.truncated_row = path, list(dict.fromkeys(columns)), 0, 0
        self._delimiter, self._chunk_rows = delimiter, chunk_rows
        self.is_csv = path.suffix.lower() in {".csv", ".txt"}
        if not self.is_csv and path.suffix.lower() != ".parquet":
            raise TapeError(f"{path}: {path.suffix or 'no suffix'} is neither .csv nor .parquet")
        self.header = self._header()
        missing = [name for name in self.columns if name not in self.header]
        if missing:
            has = ", ".join(self.header)
            raise TapeError(f"{path} has no column {', '.join(missing)}; it has {has}: change the map's [columns]")

    def chunks(self, rows: int | None = None) -> Iterator[pl.DataFrame]:
        """All rows in the file's order. Raises TapeError with the row of a CSV that has too many or too few fields."""
        return self._csv_chunks() if self.is_csv else self._parquet_chunks(rows or self._chunk_rows)

    def height(self) -> int:
        """How many rows it has; of a CSV, how many lines below its header."""
        if not self.is_csv:
            return int(pl.scan_parquet(self.path).select(pl.len()).collect().item())
        with self.path.open("rb") as file:
            return max(0, sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK_BYTES), b"")) - 1)

    def _header(self) -> list[str]:
        try:
            if not self.is_csv:
                return list(pl.read_parquet_schema(self.path))
            with self.path.open("rb") as file:
                return self._fields(file.readline().decode("utf-8-sig"))
        except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
            raise TapeError(f"{self.path} cannot be read as {'CSV' if self.is_csv else 'Parquet'}: {error}") from error

    def _fields(self, line: str) -> list[str]:
        return next(csv.reader([line.rstrip("\r\n")], delimiter=self._delimiter), [])

    def _parquet_chunks(self, rows: int) -> Iterator[pl.DataFrame]:
        # A slice that starts inside a row group decodes the group from its start, so a group is read whole while small.
        lazy = pl.scan_parquet(self.path).select(self.columns)
        try:
            height, at = self.height(), 0
            while at < height:
                block = lazy.slice(at, 8 * rows).collect().with_row_index("_row", at + 1)
                at += block.height
                block = block.with_columns(pl.col("_row").cast(pl.Int64), cs.categorical().cast(pl.String))
                yield from block.iter_slices(rows)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise TapeError(f"{self.path} is damaged: {error}") from error

    def _csv_chunks(self) -> Iterator[pl.DataFrame]:
        with self.path.open("rb") as file:
            file.readline()
            done = 0
            for block, last in _blocks(file):
                lines = self._whole_lines(block, done, last)
                if lines:
                    yield self._parse(lines, done)
                done += len(lines)

    def _whole_lines(self, block: bytes, done: int, last: bool) -> list[bytes]:
        lines = [line for line in block.replace(b"\r\n", b"\n").split(b"\n") if line]
        wanted, sep = len(self.header), self._delimiter.encode()
        plain = b'"' not in block
        counts = [line.count(sep) + 1 if plain else len(self._fields(line.decode("utf-8", "replace"))) for line in lines]
        if last and counts and counts[-1] < wanted:
            self.truncated, self.truncated_row = 1, done + len(counts)
            lines.pop(), counts.pop()
        wrong = next((i for i, count in enumerate(counts) if count != wanted), None)
        if wrong is not None:
            raise TapeError(
                f"{self.path}, row {done + wrong + 1}: {counts[wrong]} fields, the header has {wanted}; mend or remove the row"
            )
        return lines

    def _parse(self, lines: list[bytes], done: int) -> pl.DataFrame:
        try:
            frame = pl.read_csv(
                io.BytesIO(b"\n".join(lines)), has_header=False, new_columns=self.header, infer_schema=False,
                separator=self._delimiter, null_values=[""],
            )  # fmt: skip
        except pl.exceptions.PolarsError as error:
            raise TapeError(f"{self.path}, rows {done + 1} to {done + len(lines)}: not CSV: {error}") from error
        return frame.select(self.columns).with_row_index("_row", done + 1).with_columns(pl.col("_row").cast(pl.Int64))


def _blocks(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Blocks of whole lines, and whether each is the file's last."""
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        head, found, tail = block.rpartition(b"\n")
        if not found:
            rest += block
            continue
        yield from _held(rest + head, False)
        rest = tail
    yield rest, True


def _held(block: bytes, last: bool) -> Iterator[tuple[bytes, bool]]:
    if block:
        yield block, last
