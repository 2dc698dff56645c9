"""Fills and ticks at minutes after one start, for tests of trades and their excursions."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from hypothesis import settings
from hypothesis import strategies as st

from alphapanda.core.lots import Method

unhurried = settings(deadline=None)  # a shared machine may be busy

METHODS = st.sampled_from(list(Method))
START = datetime(2015, 8, 6, 15, 30, tzinfo=UTC)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def rows(frame: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return frame.select(columns).rows()


def timed(quantities: Sequence[int], prices: Sequence[float]) -> pl.DataFrame:
    return pl.DataFrame(
        {"ts": [at(i) for i in range(len(quantities))], "quantity": quantities, "price": [float(one) for one in prices]}
    )


def ticks(rows: Sequence[tuple[float, float]], token: int = 0) -> pl.DataFrame:
    schema = {"ts": pl.Datetime("us", "UTC"), "instrument_token": pl.Int64, "last_price": pl.Float64}
    return pl.DataFrame([(at(minute), token, price) for minute, price in rows], schema=schema, orient="row")
