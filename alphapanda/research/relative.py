"""Returns against those of a benchmark: each figure one function, with its formula, its convention and its source.

Both series have one return a session, of the same sessions. Conventions are those of `ratios`. Raises AlphaPandaError where
the two are not of one length.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.research.ratios import annual_return
from alphapanda.research.statistic import FEWEST_SESSIONS, SESSIONS_A_YEAR, Floats, compounded, deviation, ratio, sample


def beta(daily: ArrayLike, benchmark: ArrayLike, fewest: int = FEWEST_SESSIONS) -> float | None:
    """Covariance with the benchmark over its variance. None where the benchmark does not vary. Equals empyrical's `beta`.

    Source: Sharpe, Capital Asset Prices, Journal of Finance 1964.
    """
    pair = _pair(daily, benchmark, fewest)
    if pair is None:
        return None
    own, other = pair
    return ratio(float(np.mean((own - own.mean()) * (other - other.mean()))), deviation(other, ddof=0) ** 2)


def alpha(
    daily: ArrayLike, benchmark: ArrayLike, periods: int = SESSIONS_A_YEAR, fewest: int = FEWEST_SESSIONS
) -> float | None:  # fmt: skip
    """What beta leaves unexplained, a year: (1 + mean(r - beta * b))^periods - 1. Equals empyrical's `alpha`.

    Source: Jensen, The Performance of Mutual Funds, Journal of Finance 1968, with a rate of zero.
    """
    pair, slope = _pair(daily, benchmark, fewest), beta(daily, benchmark, fewest)
    return None if pair is None or slope is None else compounded(1 + float(np.mean(pair[0] - slope * pair[1])), periods)


def correlation(daily: ArrayLike, benchmark: ArrayLike, fewest: int = FEWEST_SESSIONS) -> float | None:
    """Pearson's correlation of the two. None where one does not vary."""
    pair = _pair(daily, benchmark, fewest)
    if pair is None or not all(deviation(one) > 0 for one in pair):
        return None
    return float(np.corrcoef(*pair)[0, 1])


def tracking_error(
    daily: ArrayLike, benchmark: ArrayLike, periods: int = SESSIONS_A_YEAR, fewest: int = FEWEST_SESSIONS
) -> float | None:  # fmt: skip
    """Standard deviation (ddof 1) of r - b, times sqrt(periods). Source: Grinold and Kahn, Active Portfolio Management, 1999."""
    pair = _pair(daily, benchmark, fewest)
    return None if pair is None else deviation(pair[0] - pair[1]) * math.sqrt(periods)


def information_ratio(
    daily: ArrayLike, benchmark: ArrayLike, periods: int = SESSIONS_A_YEAR, fewest: int = FEWEST_SESSIONS
) -> float | None:  # fmt: skip
    """Mean of r - b over its deviation (ddof 1), times sqrt(periods). None where the two run in parallel.

    Source: Goodwin, The Information Ratio, Financial Analysts Journal 1998. Equals empyrical's `excess_sharpe` times
    sqrt(periods), which empyrical leaves out.
    """
    pair = _pair(daily, benchmark, fewest)
    if pair is None:
        return None
    active = pair[0] - pair[1]
    return ratio(float(np.mean(active)) * math.sqrt(periods), deviation(active))


def up_capture(
    daily: ArrayLike, benchmark: ArrayLike, periods: int = SESSIONS_A_YEAR, fewest: int = FEWEST_SESSIONS
) -> float | None:  # fmt: skip
    """Annual return over the benchmark's, both of the sessions in which it rose. Equals empyrical's `up_capture`."""
    return _capture(daily, benchmark, 1, periods, fewest)


def down_capture(
    daily: ArrayLike, benchmark: ArrayLike, periods: int = SESSIONS_A_YEAR, fewest: int = FEWEST_SESSIONS
) -> float | None:  # fmt: skip
    """Annual return over the benchmark's, both of the sessions in which it fell. Equals empyrical's `down_capture`."""
    return _capture(daily, benchmark, -1, periods, fewest)


def _capture(daily: ArrayLike, benchmark: ArrayLike, sign: int, periods: int, fewest: int) -> float | None:
    pair = _pair(daily, benchmark, fewest)
    if pair is None:
        return None
    moved = np.sign(pair[1]) == sign
    own, other = (annual_return(one[moved], periods, 1) for one in pair)
    return own / other if own is not None and other else None


def _pair(daily: ArrayLike, benchmark: ArrayLike, fewest: int) -> tuple[Floats, Floats] | None:
    own, other = np.asarray(daily, np.float64), np.asarray(benchmark, np.float64)
    if own.shape != other.shape:
        raise AlphaPandaError(f"{len(own)} returns cannot be held against {len(other)} of a benchmark")
    if sample(own, max(2, fewest)) is None or sample(other) is None:
        return None
    return own, other
