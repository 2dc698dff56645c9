"""Ratios of a series of returns or equities: each one function, with its formula, its convention and its source.

Returns are simple, one a session; `periods` of them make a year. The risk-free rate is zero: take a rate off the returns
where another is wanted. Deviations are of the sample (ddof 1). What cannot be had is None, never NaN or infinity: too few
returns (`fewest`), a return that is not finite, a denominator of zero. Where empyrical-reloaded defines a figure, these equal
it (tests compare them); where a convention differs, the docstring says which.
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from alphapanda.research.statistic import FEWEST_SESSIONS, SESSIONS_A_YEAR, Floats, compounded, deviation, ratio, sample


def returns(equity: ArrayLike) -> Floats:
    """Simple returns of a series of equities: e[i] / e[i - 1] - 1. Shape (n,) gives (n - 1,).

    NaN where e[i - 1] is not positive.
    """
    values = np.asarray(equity, np.float64)
    return _quotients(values[1:], values[:-1]) - 1


def _quotients(over: Floats, under: Floats) -> Floats:
    """NaN where `under` is not positive; infinite where it is too small, which no figure takes for a number."""
    with np.errstate(over="ignore"):
        return np.asarray(np.divide(over, under, out=np.full(len(under), np.nan), where=under > 0), np.float64)


def cagr(start: float, end: float, sessions: int, periods: int = SESSIONS_A_YEAR) -> float | None:
    """Compound annual growth: (end / start)^(periods / sessions) - 1. None without sessions, or where equity is not positive."""
    return None if sessions < 1 or start <= 0 else compounded(end / start, periods / sessions)


def annual_return(daily: ArrayLike, periods: int = SESSIONS_A_YEAR, fewest: int = FEWEST_SESSIONS) -> float | None:
    """Compound annual growth of returns: product(1 + r)^(periods / n) - 1. Equals empyrical's `annual_return`."""
    values = sample(daily, max(1, fewest))
    return None if values is None else compounded(float(np.prod(1 + values)), periods / len(values))


def volatility(daily: ArrayLike, periods: int = SESSIONS_A_YEAR, fewest: int = FEWEST_SESSIONS) -> float | None:
    """Standard deviation (ddof 1) times sqrt(periods). Equals empyrical's `annual_volatility`."""
    values = sample(daily, max(2, fewest))
    return None if values is None else deviation(values) * math.sqrt(periods)


def sharpe(daily: ArrayLike, periods: int = SESSIONS_A_YEAR, fewest: int = FEWEST_SESSIONS) -> float | None:
    """Mean over standard deviation (ddof 1), times sqrt(periods). None under 20 returns or without deviation.

    Source: Sharpe, The Sharpe Ratio, Journal of Portfolio Management 1994, with a rate of zero. Equals empyrical's
    `sharpe_ratio`.
    """
    values = sample(daily, max(2, fewest))
    return None if values is None else ratio(float(np.mean(values)) * math.sqrt(periods), deviation(values))


def downside_deviation(
    daily: ArrayLike, periods: int = SESSIONS_A_YEAR, fewest: int = FEWEST_SESSIONS, ddof: int = 1
) -> float | None:  # fmt: skip
    """sqrt(sum(min(r, 0)^2) / (n - ddof)) times sqrt(periods): target zero, over all returns and not the losses alone.

    Source: Sortino and Price, Performance Measurement in a Downside Risk Framework, Journal of Investing 1994. Equals
    empyrical's `downside_risk` with ddof 0; ours has ddof 1, as the standard deviation that it stands beside.
    """
    values = sample(daily, max(ddof + 1, fewest))
    if values is None:
        return None
    return math.sqrt(float(np.sum(np.minimum(values, 0) ** 2)) / (len(values) - ddof)) * math.sqrt(periods)


def sortino(
    daily: ArrayLike, periods: int = SESSIONS_A_YEAR, fewest: int = FEWEST_SESSIONS, ddof: int = 1
) -> float | None:  # fmt: skip
    """Mean times periods over `downside_deviation`. None under 20 returns or without a loss.

    Source: Sortino and Price 1994, target zero; ddof 1 as for Sharpe. Equals empyrical's `sortino_ratio` with ddof 0.
    """
    values, downside = sample(daily, max(ddof + 1, fewest)), downside_deviation(daily, periods, fewest, ddof)
    return None if values is None or downside is None else ratio(float(np.mean(values)) * periods, downside)


def calmar(
    start: float, daily_equity: ArrayLike, fewest: int = FEWEST_SESSIONS, periods: int = SESSIONS_A_YEAR
) -> float | None:  # fmt: skip
    """CAGR over the absolute maximum drawdown of session-close equity. None under 20 sessions or without a drawdown.

    Source: Young, Calmar Ratio: A Smoother Tool, Futures 1991, over the whole series. Equals empyrical's `calmar_ratio`.
    """
    values = sample(daily_equity, max(1, fewest))
    if values is None:
        return None
    growth, fall = cagr(start, float(values[-1]), len(values), periods), max_drawdown([start, *values])
    return None if growth is None or fall is None else ratio(growth, -fall)


def omega(daily: ArrayLike, target: float = 0.0, fewest: int = FEWEST_SESSIONS) -> float | None:
    """Sum of what returns are above the target over the sum of what they are below it. None without any below.

    `target` is a return a session. Source: Keating and Shadwick, A Universal Performance Measure, 2002. Equals empyrical's
    `omega_ratio` (whose target is annual).
    """
    values = sample(daily, max(2, fewest))
    if values is None:
        return None
    over = values - target
    return ratio(float(over[over > 0].sum()), -float(over[over < 0].sum()))


def tail_ratio(daily: ArrayLike, fewest: int = FEWEST_SESSIONS) -> float | None:
    """|95th percentile| over |5th percentile|, interpolated. None where the latter is zero. Equals empyrical's `tail_ratio`."""
    values = sample(daily, max(1, fewest))
    if values is None:
        return None
    return ratio(abs(float(np.percentile(values, 95))), abs(float(np.percentile(values, 5))))


def value_at_risk(daily: ArrayLike, cutoff: float = 0.05, fewest: int = FEWEST_SESSIONS) -> float | None:
    """The `cutoff` quantile of returns, interpolated: a loss is negative. Historical. Equals empyrical's `value_at_risk`."""
    values = sample(daily, max(1, fewest))
    return None if values is None else float(np.percentile(values, 100 * cutoff))


def conditional_value_at_risk(daily: ArrayLike, cutoff: float = 0.05, fewest: int = FEWEST_SESSIONS) -> float | None:
    """Mean of the int((n - 1) * cutoff) + 1 worst returns. Equals empyrical's `conditional_value_at_risk`.

    Source: Rockafellar and Uryasev, Optimization of Conditional Value-at-Risk, Journal of Risk 2000; historical.
    """
    values = sample(daily, max(1, fewest))
    if values is None:
        return None
    worst = int((len(values) - 1) * cutoff)
    return float(np.mean(np.partition(values, worst)[: worst + 1]))


def stability(daily: ArrayLike, fewest: int = FEWEST_SESSIONS) -> float | None:
    """R squared of a straight line through cumulated log returns. None where they do not change, or a return is -1 or less.

    Equals empyrical's `stability_of_timeseries`.
    """
    values = sample(daily, max(2, fewest))
    if values is None or values.min() <= -1:
        return None
    grown = np.cumsum(np.log1p(values))
    if grown.max() == grown.min():
        return None
    return float(np.corrcoef(np.arange(len(grown)), grown)[0, 1] ** 2)


def skewness(daily: ArrayLike, fewest: int = FEWEST_SESSIONS) -> float | None:
    """Third central moment over the cubed deviation, both of the population (ddof 0). Equals scipy's `skew`."""
    return _moment(daily, 3, fewest)


def kurtosis(daily: ArrayLike, fewest: int = FEWEST_SESSIONS) -> float | None:
    """Fourth central moment over the fourth power of the deviation, less 3 (a normal has 0). Equals scipy's `kurtosis`."""
    found = _moment(daily, 4, fewest)
    return None if found is None else found - 3


def _moment(daily: ArrayLike, order: int, fewest: int) -> float | None:
    values = sample(daily, max(2, fewest))
    if values is None:
        return None
    return ratio(float(np.mean((values - values.mean()) ** order)), deviation(values, ddof=0) ** order)


def probabilistic_sharpe(daily: ArrayLike, target: float = 0.0, fewest: int = FEWEST_SESSIONS) -> float | None:
    """How probable it is that the true Sharpe ratio is above `target`, given length, skewness and kurtosis of the returns.

    N((s - target) sqrt(n - 1) / sqrt(1 - skew s + (kurtosis + 2) / 4 s^2)), where s and `target` are a session's, not annual,
    and kurtosis is without the 3. Source: Bailey and Lopez de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk 2012.
    """
    values, observed = sample(daily, max(2, fewest)), sharpe(daily, 1, fewest)
    skew, excess = skewness(daily, fewest), kurtosis(daily, fewest)
    if values is None or observed is None or skew is None or excess is None:
        return None
    spread = 1 - skew * observed + (excess + 2) / 4 * observed**2
    return NormalDist().cdf((observed - target) * math.sqrt(len(values) - 1) / math.sqrt(spread)) if spread > 0 else None


def drawdowns(equity: ArrayLike) -> Floats:
    """Fall from the running peak as a fraction, zero or negative: e / max(e so far) - 1. Shape as `equity`.

    NaN as long as there was no positive equity.
    """
    values = np.asarray(equity, np.float64)
    return _quotients(values, np.maximum.accumulate(values)) - 1


def max_drawdown(equity: ArrayLike) -> float | None:
    """The deepest fall from a running peak, as a fraction, zero or negative. Equals empyrical's `max_drawdown` of the returns.

    0 for no equity at all; None where equity has never been positive.
    """
    falls = drawdowns(equity)
    known = falls[np.isfinite(falls)]
    return float(known.min()) if len(known) else None if len(falls) else 0.0


def drawdown_depths(equity: ArrayLike) -> Floats:
    """The deepest fall of each drawdown, from below a peak until it is reached again or the end; in their order."""
    falls = np.nan_to_num(drawdowns(equity))
    starts = np.flatnonzero((falls < 0) & (np.concatenate(([0.0], falls[:-1])) == 0))
    return np.minimum.reduceat(falls, starts) if len(starts) else np.empty(0)


def average_drawdown(equity: ArrayLike) -> float | None:
    """Mean of `drawdown_depths`. None without a drawdown. Source: backtesting.py, Avg. Drawdown."""
    depths = drawdown_depths(equity)
    return float(depths.mean()) if len(depths) else None


def ulcer_index(equity: ArrayLike) -> float | None:
    """Root of the mean squared drawdown, as a fraction.

    Source: Martin and McCann, The Investor's Guide to Fidelity Funds, 1989.
    """
    falls = sample(drawdowns(equity))
    return None if falls is None else math.sqrt(float(np.mean(falls**2)))


def longest_drawdown(equity: ArrayLike) -> int:
    """The longest run of observations below an earlier peak."""
    longest = current = 0
    for fall in drawdowns(equity):
        current = current + 1 if fall < 0 else 0
        longest = max(longest, current)
    return longest


def longest_drawdown_s(ts_ns: ArrayLike, equity: ArrayLike) -> float:
    """The longest time in seconds from a peak to the moment equity is back at it, or to the end."""
    times, falls = np.asarray(ts_ns, np.int64), drawdowns(equity)
    if not (falls < 0).any():
        return 0.0
    peaks = np.where(falls < 0, times[0], times)
    before = np.concatenate((times[:1], np.maximum.accumulate(peaks)[:-1]))
    return float((times - before).max()) / 1e9
