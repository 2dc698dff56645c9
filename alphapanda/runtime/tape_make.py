"""A seeded synthetic NSE-like tape: a U-shaped volume curve, spreads, jumps, quiet names and feed gaps.

For demonstrations and tests; prices follow no market. The same seed and arguments give the same digest.
"""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.profiles import TradingSession, load_profile

COLUMNS = ("ts_ns", "instrument_token", "last_price", "last_quantity", "volume", "bid", "ask", "bid_quantity", "ask_quantity")
TICK_SIZE = 0.05
_NAMES = (  # invented: symbol, price at the start, share of all ticks, typical spread in ticks
    ("BANYAN", 1540.0, 8.0, 1), ("CEDAR", 412.5, 6.0, 1), ("MANGROVE", 2875.0, 5.0, 2), ("NEEM", 96.4, 4.0, 1),
    ("PEEPAL", 731.2, 3.0, 2), ("SAL", 1210.0, 2.0, 2), ("TEAK", 3320.0, 1.0, 4), ("TAMARIND", 58.9, 0.3, 3),
)  # fmt: skip

MOST_INSTRUMENTS = 500


def _names(count: int) -> list[tuple[str, float, float, int]]:
    """The first `count` instruments: those above, then the same again with a number, dearer and quieter."""
    rounds = [divmod(i, len(_NAMES)) for i in range(count)]
    named = [(again, *_NAMES[i]) for again, i in rounds]
    return [
        (f"{name}{again + 1}" if again else name, price * (1 + again / 10), share / (1 + again), spread)
        for again, name, price, share, spread in named
    ]


def make_demo_tape(dst: Path) -> None:
    """The tape of the demo, which new strategies begin with."""
    make_tape(dst, seed=7, ticks=200_000)


def make_tape(
    dst: Path, *, seed: int = 7, days: Sequence[date] = (date(2024, 3, 1),), ticks: int = 100_000, instruments: int = 6,
    profile: str = "nse", progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write a tape of `ticks` ticks a day to `dst`; returns its manifest.

    Raises ConfigurationError for a day without a session or a number of instruments that is not there.
    """
    if not 1 <= instruments <= MOST_INSTRUMENTS:
        raise ConfigurationError(f"there are 1 to {MOST_INSTRUMENTS} made-up instruments, not {instruments}")
    names = _names(instruments)
    market, rng = load_profile(profile), np.random.Generator(np.random.PCG64(seed))
    table = [
        Instrument(1000 + i * 256 + 1, name, tick_size=TICK_SIZE, currency=market.currency)
        for i, (name, *_) in enumerate(names, 1)
    ]
    grid = np.array([round(price / TICK_SIZE) for _, price, *_ in names])
    source = f"synthetic, seed {seed}, {ticks} ticks a day"
    with TapeWriter(dst, profile=market, instruments=table, columns=COLUMNS, source=source) as writer:
        for done, day in enumerate(days):
            session = market.session_on(day)
            if session is None:
                raise ConfigurationError(f"{day} has no trading session in market profile {market.name!r}: choose another day")
            writer.rows(_day(rng, session, [one.instrument_token for one in table], grid, ticks))
            if progress is not None:
                progress((done + 1) * ticks, len(days) * ticks)
        return writer.close({"seed": seed})


def _day(rng: np.random.Generator, session: TradingSession, tokens: list[int], grid: Any, ticks: int) -> pl.DataFrame:
    """One day's rows; `grid` holds each instrument's price in ticks, and is moved on to the day's last."""
    ts_ns = _times(rng, session, ticks)
    shares = np.array([share for _, _, share, _ in _names(len(tokens))])
    which = rng.choice(len(tokens), ticks, p=shares / shares.sum())
    steps = rng.choice([-1, 0, 0, 0, 1], ticks) + _jumps(rng, ticks)
    quantity = rng.geometric(0.02, ticks)
    prices, volume, spread = np.empty(ticks, np.int64), np.empty(ticks, np.int64), np.empty(ticks, np.int64)
    for i, (_, _, _, typical) in enumerate(_names(len(tokens))):
        mine = which == i
        prices[mine] = np.maximum(20, grid[i] + np.cumsum(steps[mine]))
        grid[i] = prices[mine][-1] if mine.any() else grid[i]
        volume[mine] = np.cumsum(quantity[mine])
        spread[mine] = typical + rng.poisson(0.4, int(mine.sum()))
    bid = prices - np.where(rng.integers(0, 2, ticks) == 1, spread, 0)
    return pl.DataFrame({
        "ts_ns": ts_ns, "instrument_token": np.array(tokens)[which], "last_price": np.round(prices * TICK_SIZE, 2),
        "last_quantity": quantity, "volume": volume, "bid": np.round(bid * TICK_SIZE, 2),
        "ask": np.round((bid + spread) * TICK_SIZE, 2), "bid_quantity": rng.geometric(0.005, ticks),
        "ask_quantity": rng.geometric(0.005, ticks),
    })  # fmt: skip


def _times(rng: np.random.Generator, session: TradingSession, ticks: int) -> Any:
    """Sorted times, dense at open and close, with two silences of about two minutes."""
    edges = np.linspace(0, 1, 391)
    middle = (edges[:-1] + edges[1:]) / 2
    density = 1 + 3 * (2 * middle - 1) ** 4
    for start in (0.31, 0.72):
        density[(middle > start) & (middle < start + 0.006)] = 0
    minute = rng.choice(390, ticks, p=density / density.sum())
    length = session.close_ts_ns - session.open_ts_ns
    at = (edges[minute] + rng.random(ticks) / 390) * length
    return session.open_ts_ns + np.sort(at.astype(np.int64))


def _jumps(rng: np.random.Generator, ticks: int) -> Any:
    """Now and then a move of many ticks."""
    return np.where(rng.random(ticks) < 0.0002, rng.integers(-40, 41, ticks), 0)
