"""The table of monthly returns: a row for each year, a column for each month."""

import polars as pl

from alphapanda.research.series import monthly

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def monthly_table(equity: pl.DataFrame, start: float, zone: str = "UTC") -> pl.DataFrame:
    """Returns by year and local month in `zone`, as fractions: year, Jan to Dec, total; null where there was no session.

    From equity at session closes (`equity`: ts, equity, reason; the first return is from `start`): session returns compounded
    by month, `total` over the year. Compounding all of it gives the run's return at its last close.
    """
    found = monthly(equity, start, zone)
    columns = [
        pl.col("return").filter(pl.col("month") == number).first().cast(pl.Float64).alias(name)
        for number, name in enumerate(MONTHS, 1)
    ]
    total = ((pl.col("return") + 1).product() - 1).alias("total")
    return found.group_by("year", maintain_order=True).agg(*columns, total)
