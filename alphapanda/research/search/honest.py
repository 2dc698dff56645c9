"""What a search must say about its own result: how lucky the best of many sets is by chance alone, and on how little it rests."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from alphapanda.research.performance import FEWEST_SESSIONS

FEWEST_ROUND_TRIPS = 30
"""Fewer round trips say little, whatever they say: a mean of n has a standard error of std / sqrt(n)."""
EULER_MASCHERONI = 0.5772156649015329
_NORMAL = NormalDist()


class Moments(NamedTuple):
    """What the deflated Sharpe ratio needs to know of a series of returns. Nothing here is annualised."""

    sharpe: float  # mean / std (ddof 1), for one period
    periods: int
    skew: float
    kurtosis: float  # 3 for a normal distribution
    over: str  # what a period is


def moments(values: Sequence[float], over: str) -> Moments | None:
    """Sharpe ratio for one period, skewness and kurtosis (both of the population). None under 20 returns or all equal."""
    array = np.asarray(values, np.float64)
    if len(array) < FEWEST_SESSIONS or not np.all(np.isfinite(array)):
        return None
    mean, deviation = float(array.mean()), float(array.std(ddof=1))
    if deviation == 0:
        return None
    centred = (array - mean) / float(array.std(ddof=0))
    return Moments(mean / deviation, len(array), float(np.mean(centred**3)), float(np.mean(centred**4)), over)


def expected_max_sharpe(variance: float, tried: int) -> float:
    """The highest Sharpe ratio to be expected of `tried` independent sets of no skill.

    sqrt(variance) * ((1 - g) * Z(1 - 1 / n) + g * Z(1 - 1 / (n e))), g being the Euler-Mascheroni constant and Z the inverse
    of the normal distribution; `variance` is that of the sets' Sharpe ratios, for one period as the result is. 0 for one set.
    Source: Bailey and Lopez de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 2014, equation 1.
    """
    if tried < 2:
        return 0.0
    first, second = _NORMAL.inv_cdf(1 - 1 / tried), _NORMAL.inv_cdf(1 - 1 / (tried * math.e))
    return math.sqrt(variance) * ((1 - EULER_MASCHERONI) * first + EULER_MASCHERONI * second)


def deflated_sharpe(best: Moments, variance: float, tried: int) -> float | None:
    """The probability that the best set's true Sharpe ratio is above zero, given that it is the best of `tried`.

    Z((SR - SR0) * sqrt(T - 1) / sqrt(1 - skew * SR + (kurtosis - 1) / 4 * SR^2)), SR0 = `expected_max_sharpe`, all for one
    period. Sets that resemble each other count as independent here, which is strict. None where the root has no value.
    Source: as for `expected_max_sharpe`, equation 2.
    """
    threshold = expected_max_sharpe(variance, tried)
    spread = 1 - best.skew * best.sharpe + (best.kurtosis - 1) / 4 * best.sharpe**2
    if spread <= 0:
        return None
    return _NORMAL.cdf((best.sharpe - threshold) * math.sqrt(best.periods - 1) / math.sqrt(spread))


class Deflated(NamedTuple):
    """The best set's Sharpe ratio beside what luck alone would have brought."""

    tried: int
    sharpe: float  # for one period
    expected_by_luck: float  # the same of the best of as many sets without skill
    probability: float | None  # that there is skill at all
    over: str


def deflate(best: Moments | None, all_of_them: Sequence[Moments | None], tried: int) -> Deflated | None:
    """The deflated view of a search's best set. None where Sharpe ratios are missing."""
    known = [one.sharpe for one in all_of_them if one is not None]
    if best is None or len(known) < 2:
        return None
    variance = float(np.var(known, ddof=1))
    probability = deflated_sharpe(best, variance, tried)
    return Deflated(tried, best.sharpe, expected_max_sharpe(variance, tried), probability, best.over)


def few_round_trips(where: str, count: int | float | None) -> list[str]:
    """A warning where a result rests on fewer than 30 round trips."""
    if count is None or count >= FEWEST_ROUND_TRIPS:
        return []
    return [f"{where} rests on {count:g} round trips: under {FEWEST_ROUND_TRIPS} a handful of them decides it"]


def luck(found: Deflated | None, tried: int) -> list[str]:
    """A warning where the best set is no better than luck would be, or where that cannot be told."""
    if tried < 2:
        return []
    if found is None:
        return [f"the best of {tried} sets, and too few returns to say how much of it is luck"]
    if found.probability is None or found.probability < CONFIDENT:
        shown = "unknown" if found.probability is None else f"{found.probability:.0%}"
        return [
            f"the best of {tried} sets has a Sharpe ratio of {found.sharpe:.4f} a {found.over}; the best of {tried} without any"
            f" skill would have {found.expected_by_luck:.4f}: deflated, the probability of skill is {shown}"
        ]
    return []


CONFIDENT = 0.95
