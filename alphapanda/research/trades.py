"""Statistics of a list of closed trades, wherever it comes from: each figure one function, with its formula and source.

A winner gained more than nothing, a loser less; a trade at exactly zero is neither, and ends a streak of both (LEAN and
backtesting.py differ: for LEAN it is a loser). What cannot be had is None, never NaN, infinity or a cap (LEAN says 10 where
there is no loss). Profits may be before or after charges, as they are given; MAE and MFE are before charges.
"""

import math

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from alphapanda.research.statistic import Floats, Statistic, compounded, deviation, grouped, ratio, sample

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def win_rate(profits: ArrayLike) -> float | None:
    """Share of profits above zero. None without any."""
    values = np.asarray(profits, np.float64)
    return float(np.mean(values > 0)) if len(values) else None


def loss_rate(profits: ArrayLike) -> float | None:
    """Share of profits below zero. None without any."""
    values = np.asarray(profits, np.float64)
    return float(np.mean(values < 0)) if len(values) else None


def profit_factor(profits: ArrayLike) -> float | None:
    """Sum of gains over the absolute sum of losses. None without a loss."""
    values = np.asarray(profits, np.float64)
    return ratio(float(values[values > 0].sum()), -float(values[values < 0].sum()))


def expectancy(profits: ArrayLike) -> float | None:
    """Mean profit of a trade: win rate * average win + loss rate * average loss. None without any.

    Source: Tharp, Trade Your Way to Financial Freedom, 1998.
    """
    values = np.asarray(profits, np.float64)
    return float(values.mean()) if len(values) else None


def average_win(profits: ArrayLike) -> float | None:
    """Mean of the winners. None without one."""
    return expectancy(_winners(profits))


def average_loss(profits: ArrayLike) -> float | None:
    """Mean of the losers, negative. None without one."""
    return expectancy(_losers(profits))


def win_loss_ratio(profits: ArrayLike) -> float | None:
    """Number of winners over number of losers. None without a loser. Source: LEAN, WinLossRatio."""
    return ratio(float(len(_winners(profits))), float(len(_losers(profits))))


def payoff_ratio(profits: ArrayLike) -> float | None:
    """Average win over the absolute average loss. None without a winner or without a loser."""
    gain, loss = average_win(profits), average_loss(profits)
    return None if gain is None or loss is None else ratio(gain, -loss)


def expectancy_ratio(profits: ArrayLike) -> float | None:
    """Mean profit over the absolute average loss: what one unit of risk brings. None without a loser. Source: Tharp 1998."""
    mean, loss = expectancy(profits), average_loss(profits)
    return None if mean is None or loss is None else ratio(mean, -loss)


def kelly(profits: ArrayLike) -> float | None:
    """W - (1 - W) / R with the win rate W and the payoff ratio R. None without a winner or without a loser.

    Source: Kelly, A New Interpretation of Information Rate, 1956; with average win and loss, as backtesting.py.
    """
    wins, payoff = win_rate(profits), payoff_ratio(profits)
    return None if wins is None or payoff is None else wins - (1 - wins) / payoff


def trade_deviation(profits: ArrayLike) -> float | None:
    """Standard deviation of profits (ddof 1). None under two."""
    values = np.asarray(profits, np.float64)
    return deviation(values) if len(values) > 1 else None


def loss_deviation(profits: ArrayLike) -> float | None:
    """Standard deviation of the losers (ddof 1). None under two. Source: LEAN, ProfitLossDownsideDeviation."""
    return trade_deviation(_losers(profits))


def trade_sharpe(profits: ArrayLike) -> float | None:
    """Mean profit over `trade_deviation`: of a trade, not annual. None without deviation. Source: LEAN, TradeStatistics."""
    return _over(expectancy(profits), trade_deviation(profits))


def trade_sortino(profits: ArrayLike) -> float | None:
    """Mean profit over `loss_deviation`: of a trade, not annual. None without. Source: LEAN, TradeStatistics."""
    return _over(expectancy(profits), loss_deviation(profits))


def sqn(profits: ArrayLike) -> float | None:
    """System Quality Number: sqrt(n) * mean / standard deviation (ddof 1) of profits. None without deviation.

    Source: Tharp 1998; as in backtesting.py.
    """
    found = trade_sharpe(profits)
    return None if found is None else found * math.sqrt(len(np.asarray(profits)))


def longest_winning_streak(profits: ArrayLike) -> int:
    """Most winners in a row."""
    return _longest(np.asarray(profits, np.float64) > 0)


def longest_losing_streak(profits: ArrayLike) -> int:
    """Most losers in a row."""
    return _longest(np.asarray(profits, np.float64) < 0)


def closed_drawdown(profits: ArrayLike) -> float:
    """Deepest fall of summed profits below their highest so far (at least 0), zero or negative.

    Source: LEAN, MaximumClosedTradeDrawdown.
    """
    summed = np.cumsum(np.asarray(profits, np.float64))
    return float(np.min(summed - np.maximum(np.maximum.accumulate(summed), 0), initial=0.0))


def closed_drawdown_s(profits: ArrayLike, exits_s: ArrayLike, start_s: float) -> float:
    """Longest time in seconds from a peak of summed profits to the next higher one; a fall not made up for does not count.

    `exits_s`: when each trade closed; the first peak is nothing, at `start_s`. Source: LEAN, MaximumDrawdownDuration, with the
    entry of the first trade as start.
    """
    highest, since, is_below, longest = 0.0, start_s, False, 0.0
    for at, total in zip(np.asarray(exits_s, np.float64), np.cumsum(np.asarray(profits, np.float64)), strict=True):
        if total > highest:
            longest = max(longest, at - since) if is_below else longest
            highest, since, is_below = total, at, False
        elif total < highest:
            is_below = True
    return float(longest)


def intra_drawdown(profits: ArrayLike, mae: ArrayLike, mfe: ArrayLike) -> float:
    """The same when each trade may have stood at its MFE first and at its MAE then, zero or negative.

    The least of (sum before + MAE) - highest (sum before + MFE) so far. Source: LEAN, MaximumIntraTradeDrawdown.
    """
    gained = np.asarray(profits, np.float64)
    before = np.cumsum(gained) - gained
    highest = np.maximum(np.maximum.accumulate(before + np.asarray(mfe, np.float64)), 0)
    return float(np.min(before + np.asarray(mae, np.float64) - highest, initial=0.0))


def profit_to_drawdown(profits: ArrayLike) -> float | None:
    """Sum of profits over the absolute `closed_drawdown`. None without one. Source: LEAN, ProfitToMaxDrawdownRatio."""
    return ratio(float(np.sum(np.asarray(profits, np.float64))), -closed_drawdown(profits))


def end_drawdowns(gross: ArrayLike, mfe: ArrayLike) -> Floats:
    """What each trade gave back of its best moment: profit before charges - MFE, zero or negative. Source: LEAN."""
    return np.asarray(gross, np.float64) - np.asarray(mfe, np.float64)


def edge_ratio(mae: ArrayLike, mfe: ArrayLike) -> float | None:
    """Mean MFE over the absolute mean MAE, in currency. None without adverse excursion.

    Source: Faith, Way of the Turtle, 2007, without his normalisation by volatility.
    """
    good, bad = expectancy(mfe), expectancy(mae)
    return None if good is None or bad is None else ratio(good, -bad)


def average_return(trade_returns: ArrayLike) -> float | None:
    """Geometric mean of trades' returns: product(1 + r)^(1 / n) - 1. None without any, or where one lost everything.

    Source: backtesting.py, Avg. Trade (which says 0 where we say None).
    """
    values = sample(trade_returns)
    if values is None or values.min() <= -1:
        return None
    return compounded(float(np.exp(np.log1p(values).sum())), 1 / len(values))


def trade_statistics(
    profits: ArrayLike, *, gross: ArrayLike | None = None, charges: ArrayLike | None = None, mae: ArrayLike | None = None,
    mfe: ArrayLike | None = None, durations_s: ArrayLike | None = None, returns: ArrayLike | None = None,
    exits_s: ArrayLike | None = None,
) -> dict[str, Statistic]:  # fmt: skip
    """Every figure of a list of closed trades, by name; each argument has one value a trade, in the order of closing.

    `profits` in currency; `gross`: the same before charges, for what is held against MFE (default `profits`); `charges`, `mae`,
    `mfe` in currency; `durations_s`; `returns`: fractions; `exits_s`: when each closed, counted from any moment. Figures of what
    is not given are None.
    """
    values = np.asarray(profits, np.float64)
    before = values if gross is None else np.asarray(gross, np.float64)
    found = [
        *_counts(values), *_profits(values), *_durations(values, durations_s, exits_s), *_returns(returns),
        *_excursions(before, mae, mfe),
        Statistic("trade_charges", None if charges is None else float(np.sum(np.asarray(charges, np.float64))), "currency",
                  "charges of all closed trades", "trade"),
    ]  # fmt: skip
    return {one.name: one for one in found}


def _counts(values: Floats) -> list[Statistic]:
    return grouped(
        "trade",
        ("trades", len(values), "count", "closed trades"),
        ("winners", len(_winners(values)), "count", "with a profit above zero"),
        ("losers", len(_losers(values)), "count", "with a profit below zero"),
        ("win_rate", win_rate(values), "fraction", "winners / trades"),
        ("loss_rate", loss_rate(values), "fraction", "losers / trades"),
        ("win_loss_ratio", win_loss_ratio(values), "ratio", "winners / losers; none without a loser"),
        ("longest_winning_streak", longest_winning_streak(values), "count", "most winners in a row"),
        ("longest_losing_streak", longest_losing_streak(values), "count", "most losers in a row"),
    )  # fmt: skip


def _profits(values: Floats) -> list[Statistic]:
    winners, losers = _winners(values), _losers(values)
    return grouped(
        "trade",
        ("total_profit", float(values.sum()), "currency", "sum of profits"),
        ("gross_profit", float(winners.sum()), "currency", "sum of winners"),
        ("gross_loss", float(losers.sum()), "currency", "sum of losers"),
        ("profit_factor", profit_factor(values), "ratio", "sum of winners / |sum of losers|; none without a loser"),
        ("expectancy", expectancy(values), "currency", "mean profit of a trade"),
        ("expectancy_ratio", expectancy_ratio(values), "ratio", "expectancy / |average loss|"),
        ("average_win", average_win(values), "currency", "mean of winners"),
        ("average_loss", average_loss(values), "currency", "mean of losers"),
        ("largest_win", float(winners.max()) if len(winners) else None, "currency", "largest winner"),
        ("largest_loss", float(losers.min()) if len(losers) else None, "currency", "largest loser"),
        ("payoff_ratio", payoff_ratio(values), "ratio", "average win / |average loss|"),
        ("kelly", kelly(values), "fraction", "win rate - (1 - win rate) / payoff ratio"),
        ("trade_deviation", trade_deviation(values), "currency", "std (ddof 1) of profits"),
        ("loss_deviation", loss_deviation(values), "currency", "std (ddof 1) of losers"),
        ("trade_sharpe", trade_sharpe(values), "ratio", "expectancy / std (ddof 1) of profits; not annual"),
        ("trade_sortino", trade_sortino(values), "ratio", "expectancy / std (ddof 1) of losers; not annual"),
        ("sqn", sqn(values), "ratio", "sqrt(trades) * expectancy / std (ddof 1) of profits"),
        ("closed_drawdown", closed_drawdown(values), "currency", "deepest fall of summed profits below their highest so far"),
        ("profit_to_drawdown", profit_to_drawdown(values), "ratio", "sum of profits / |closed drawdown|"),
    )  # fmt: skip


def _durations(values: Floats, durations_s: ArrayLike | None, exits_s: ArrayLike | None) -> list[Statistic]:
    held = None if durations_s is None else np.asarray(durations_s, np.float64)
    ends = None if exits_s is None else np.asarray(exits_s, np.float64)
    below = None if held is None or ends is None or not len(ends) else closed_drawdown_s(values, ends, float(ends[0] - held[0]))
    won, lost = (None, None) if held is None else (held[values > 0], held[values < 0])
    return grouped(
        "trade",
        ("average_duration_s", _mean(held), "s", "mean time from entry to exit"),
        ("median_duration_s", _median(held), "s", "median time from entry to exit"),
        ("longest_duration_s", float(held.max()) if held is not None and len(held) else None, "s",
         "longest time from entry to exit"),
        ("average_winner_duration_s", _mean(won), "s", "mean time of winners"),
        ("average_loser_duration_s", _mean(lost), "s", "mean time of losers"),
        ("median_winner_duration_s", _median(won), "s", "median time of winners"),
        ("median_loser_duration_s", _median(lost), "s", "median time of losers"),
        ("closed_drawdown_s", below, "s", "longest time from a peak of summed profits to the next higher one"),
    )  # fmt: skip


def _returns(trade_returns: ArrayLike | None) -> list[Statistic]:
    values = None if trade_returns is None else sample(trade_returns)
    best, worst = (None, None) if values is None else (float(values.max()), float(values.min()))
    return grouped(
        "trade",
        ("best_trade", best, "fraction", "highest return of a trade: profit / entry value"),
        ("worst_trade", worst, "fraction", "lowest return of a trade"),
        ("average_trade", None if values is None else average_return(values), "fraction", "geometric mean of trades' returns"),
        ("expectancy_return", _mean(values), "fraction", "mean of trades' returns"),
    )  # fmt: skip


def _excursions(gross: Floats, mae: ArrayLike | None, mfe: ArrayLike | None) -> list[Statistic]:
    bad, good = (None if one is None else sample(one) for one in (mae, mfe))
    back = None if good is None else end_drawdowns(gross, good)
    edge, inside = (None, None) if bad is None or good is None else (edge_ratio(bad, good), intra_drawdown(gross, bad, good))
    return grouped(
        "excursion",
        ("average_mae", _mean(bad), "currency", "mean of the least profit of each trade while open, before charges"),
        ("average_mfe", _mean(good), "currency", "mean of the greatest profit of each trade while open, before charges"),
        ("median_mae", _median(bad), "currency", "median of MAE"),
        ("median_mfe", _median(good), "currency", "median of MFE"),
        ("largest_mae", None if bad is None else float(bad.min()), "currency", "deepest MAE of a trade"),
        ("largest_mfe", None if good is None else float(good.max()), "currency", "highest MFE of a trade"),
        ("edge_ratio", edge, "ratio", "mean MFE / |mean MAE|"),
        ("largest_end_drawdown", None if back is None else float(back.min()), "currency", "least of gross profit - MFE"),
        ("average_end_drawdown", _mean(back), "currency", "mean of gross profit - MFE"),
        ("intra_drawdown", inside, "currency",
         "deepest fall of summed profits, with MFE before MAE inside each trade"),
    )  # fmt: skip


def excursion_table(trades: pl.DataFrame) -> pl.DataFrame:
    """The distributions of MAE and MFE, of all trades, of winners and of losers: a row for each.

    `trades`: net, mae, mfe (from `match` or `round_trips`). Columns: what (mae, mfe), of (all, winners, losers), trades, mean,
    p05, p25, p50, p75, p95 (interpolated), least, greatest, in currency. No rows where there are no excursions.
    """
    known = trades.drop_nulls(("mae", "mfe"))
    groups = {"all": known, "winners": known.filter(pl.col("net") > 0), "losers": known.filter(pl.col("net") < 0)}
    rows = [
        {"what": what, "of": of, "trades": frame.height, "mean": frame[what].mean(),
         **{f"p{100 * q:02.0f}": frame[what].quantile(q, "linear") for q in QUANTILES},
         "least": frame[what].min(), "greatest": frame[what].max()}
        for what in ("mae", "mfe") for of, frame in groups.items() if frame.height
    ]  # fmt: skip
    numbers = ("mean", *(f"p{100 * q:02.0f}" for q in QUANTILES), "least", "greatest")
    return pl.DataFrame(
        rows, schema={"what": pl.String, "of": pl.String, "trades": pl.Int64, **dict.fromkeys(numbers, pl.Float64)}
    )


def _winners(profits: ArrayLike) -> Floats:
    values = np.asarray(profits, np.float64)
    return values[values > 0]


def _losers(profits: ArrayLike) -> Floats:
    values = np.asarray(profits, np.float64)
    return values[values < 0]


def _longest(of: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    ends = np.flatnonzero(np.concatenate(([True], ~of, [True])))
    return int(np.diff(ends).max()) - 1


def _over(mean: float | None, spread: float | None) -> float | None:
    return None if mean is None or spread is None else ratio(mean, spread)


def _mean(values: Floats | None) -> float | None:
    return float(values.mean()) if values is not None and len(values) else None


def _median(values: Floats | None) -> float | None:
    return float(np.median(values)) if values is not None and len(values) else None
