"""A figure with what it means, and how figures are kept from being NaN or infinite."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

SESSIONS_A_YEAR = 252
"""What figures of session returns are annualised with."""
WEEKS_A_YEAR = 52
MONTHS_A_YEAR = 12
FEWEST_SESSIONS = 20
"""Ratios of fewer returns are noise: they are None, unless fewer are asked for (`fewest`)."""
Floats = NDArray[np.float64]


class Statistic(NamedTuple):
    """A figure with what it means."""

    name: str
    value: float | int | None
    unit: str
    formula: str
    group: str = ""  # figures of a kind: result, return, risk, drawdown, activity, trade, excursion, benchmark


def sample(values: ArrayLike, fewest: int = 1) -> Floats | None:
    """The values as an array; None where there are fewer, or one of them is no finite number."""
    found = np.asarray(values, np.float64)
    return found if len(found) >= fewest and bool(np.isfinite(found).all()) else None


def deviation(values: Floats, ddof: int = 1) -> float:
    """Standard deviation, exactly 0 where all values are the same (a mean of equal numbers may be rounded)."""
    if len(values) <= ddof or values.max() == values.min():
        return 0.0
    return float(np.std(values, ddof=ddof))


def ratio(over: float, under: float) -> float | None:
    """`over / under`; None where `under` is not positive or the quotient is not finite."""
    if not under > 0:
        return None
    found = over / under
    return found if np.isfinite(found) else None


def compounded(growth: float, exponent: float) -> float | None:
    """`growth ** exponent - 1`; None where growth is not positive or the power is too large for a float."""
    if not growth > 0:
        return None
    power = exponent * float(np.log(growth))
    return float(np.expm1(power)) if power < 700 else None


def grouped(group: str, *rows: tuple[str, float | int | None, str, str]) -> list[Statistic]:
    """Statistics of one group, each from name, value, unit and formula; a value that is no finite number becomes None."""
    return [
        Statistic(name, value if value is None or np.isfinite(value) else None, unit, formula, group)
        for name, value, unit, formula in rows
    ]
