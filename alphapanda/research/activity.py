"""How much was traded and held: turnover and exposure, of a run's equity and fills."""

import numpy as np
import polars as pl

from alphapanda.research.statistic import SESSIONS_A_YEAR, Floats, ratio


def exposure_time(equity: pl.DataFrame) -> float | None:
    """Share of session time with a position, from snapshots: seconds with gross exposure over all seconds.

    A snapshot's exposure holds until the next; what lies between a session's close (reason `end`) and the next snapshot does
    not count, so a night is no session time. There is a snapshot with each fill. `equity`: ts, gross_exposure, reason. None
    where there is no time or no such column.
    """
    spans, held, _ = _stretches(equity)
    return ratio(float(spans[held > 0].sum()), float(spans.sum()))


def average_exposure(equity: pl.DataFrame) -> float | None:
    """Gross exposure over equity, as a mean over session time as in `exposure_time`: 1 is fully invested."""
    spans, held, worth = _stretches(equity)
    if not (worth > 0).all():
        return None
    return ratio(float((spans * (held / worth)).sum()), float(spans.sum()))


def largest_exposure(equity: pl.DataFrame) -> float | None:
    """The greatest gross exposure over equity at any snapshot."""
    if "gross_exposure" not in equity.columns or equity.height == 0 or not (equity["equity"] > 0).all():
        return None
    return float((equity["gross_exposure"] / equity["equity"]).to_numpy().max())


def traded_value(fills: pl.DataFrame) -> float:
    """Sum of price * |quantity| * multiplier over all fills: buys and sells add up. In currency."""
    return float((fills["price"] * fills["quantity"].abs() * fills["multiplier"]).sum()) if fills.height else 0.0


def turnover(fills: pl.DataFrame, equity: pl.DataFrame) -> float | None:
    """Value traded over mean equity, the mean being over the run's snapshots. None where it is not positive."""
    return ratio(traded_value(fills), float(equity["equity"].to_numpy().mean())) if equity.height else None


def annual_turnover(fills: pl.DataFrame, equity: pl.DataFrame, sessions: int, periods: int = SESSIONS_A_YEAR) -> float | None:
    """`turnover` times periods over sessions. None without a session."""
    found = turnover(fills, equity)
    return None if found is None or sessions < 1 else found * periods / sessions


def _stretches(equity: pl.DataFrame) -> tuple[Floats, Floats, Floats]:
    """Of each stretch of session time between two snapshots: seconds, gross exposure and equity at its start."""
    if "gross_exposure" not in equity.columns:
        return np.empty(0), np.empty(0), np.empty(0)
    frame = equity.select(
        (pl.col("ts").cast(pl.Int64).diff().shift(-1) / 1e9).alias("span"), "gross_exposure", "equity", "reason"
    ).filter(pl.col("span").is_not_null() & (pl.col("reason") != "end"))
    return tuple(np.asarray(frame[name].to_numpy(), np.float64) for name in ("span", "gross_exposure", "equity"))  # type: ignore[return-value]  # three
