"""Random tapes, settings and strategies, and every way to run them.

A seed decides all three.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import date
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import polars as pl

from alphapanda.adapters.event_batch import by_type
from alphapanda.adapters.tape import Tape
from alphapanda.adapters.tape_writer import TapeWriter
from alphapanda.contracts.codec import encode
from alphapanda.contracts.events import STAGE_EVENTS, Event, FeedGap, HaltStrategy, KillSwitch
from alphapanda.contracts.instruments import Instrument
from alphapanda.reference.profiles import load_profile
from alphapanda.runtime.container import AppContainer, StrategySpec, named
from alphapanda.runtime.replay import RUNNER, Replay
from alphapanda.runtime.replay_run import drive, run_replay, start_cold
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.signals_from import RecordedSignals
from tests.careless import seeded, strategies

MS = 1_000_000
DAYS = (date(2024, 3, 1), date(2024, 3, 4))
COLD_START = (1, 400)
TOKENS = (101, 101, 102, 103, 104, 105)
"""The first trades twice as often; the last two not from the beginning on."""
COLUMNS = ("ts_ns", "instrument_token", "last_price", "last_quantity", "bid", "ask", "bid_quantity", "ask_quantity")
GAPS_MS = (0, 0, 125, 125, 250, 250, 500, 1_000)
"""Between two ticks: some at one time, some exactly as far apart as feedback is late."""

SETTINGS: dict[str, tuple[Any, ...]] = {
    "execution.fill_model": ("next_tick", "next_tick", "immediate", "bar_open", "depth"),
    "execution.price": ("last", "opposite", "mid"),
    "execution.latency_ms": (0, 0, 125.5, 700),
    "execution.latency_samples_ms": ((), (), (3.0, 900.0)),
    "execution.participation": (None, None, 0.3),
    "execution.slippage_bps": (0, 1.5),
    "execution.limit_rule": ("touch", "through"),
    "execution.limit_price": ("quote", "limit"),
    "execution.bar_interval_s": (5,),
    "execution.market_protection_pct": (None, 1.0),
    "execution.product": ("CNC", "MIS", "CNC"),
    "execution.stale_quote_s": (None, 1.0),
    "risk.freeze_quantity": ("off", "refuse", "slice", "slice"),
    "risk.forbid_self_cross": (False, True),
    "risk.require_cash": (True, True, False),
    "risk.require_margin": (False, True),
    "risk.broker_rules": (False, False, True),
    "risk.max_modifications": (None, 2),
    "risk.duplicate_window_s": (None, 1.0),
    "risk.orders_per_second": (None, 2),
    "risk.orders_per_minute": (None, 30),
    "risk.orders_per_day": (None, 500),
    "risk.max_position": (None, 100),
    "risk.max_gross_exposure": (None, 60_000.0),
    "risk.max_net_exposure": (None, 50_000.0),
    "risk.max_daily_loss": (None, 300.0),
    "risk.max_drawdown": (None, 0.01),
    "risk.price_band_pct": (None, 0.4),
    "risk.account": ({}, {"max_position": 150}, {"max_gross_exposure": 90_000.0, "max_drawdown": 0.02}),
    "risk.strategies": ({}, {"careless": {"max_position": 40}}, {"listener": {"max_daily_loss": 50.0}}),
    "pipeline.feedback_delay_ms": (250, 250, 125, 1),
    "pipeline.snapshot_interval_s": (300, 900),
    "portfolio.start_cash": (1_000_000.0, 30_000.0),
    "portfolio.settlements": ({"DFUT": 101.5},),
    "portfolio.corporate_actions": ((), (
        {"symbol": "A", "ex_date": "2024-03-04", "kind": "split", "new": 2, "old": 1},
        {"symbol": "B", "ex_date": "2024-03-04", "kind": "dividend", "amount": 1.5},
    )),
    "portfolio.positions": ((), (
        {"symbol": "A", "quantity": 30, "average_price": 99.0, "strategy_id": "careless"},
        {"symbol": "E", "quantity": 7, "average_price": 50.0, "strategy_id": "careless"},
    )),
    "charges.profile": ("", "none"),
    "execution.stop_price": ("quote", "trigger"),
}  # fmt: skip
"""What each may be; None leaves it out."""


def settings(seed: int) -> dict[str, Any]:
    rng = seeded(seed + 1_000)
    chosen = {name: rng.choice(values) for name, values in SETTINGS.items()}
    if chosen["execution.price"] != "last" or chosen["execution.fill_model"] == "depth":
        del chosen["execution.stop_price"]  # goes with last prices only
    return {name: value for name, value in chosen.items() if value is not None}


def instruments(seed: int) -> list[Instrument]:
    """Two shares, one with lots and a multiplier, a future that expires on the second day, and what cannot be traded."""
    return [
        Instrument(101, "A"),
        Instrument(102, "B", lot_size=10, freeze_quantity=50),
        Instrument(103, "C", multiplier=1.0 if seed % 3 else 0.25),
        Instrument(
            104, "DFUT", segment="NFO-FUT", lot_size=5, expiry="2024-03-04", underlying="A", freeze_quantity=20,
            multiplier=1.0 if seed % 2 else 2.5,
        ),
        Instrument(105, "E", tradable=False),
    ]  # fmt: skip


class Market:
    """Prices that walk, and quotes about them: some crossed, some empty."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.ts_ns = rng, 0
        self.prices = dict.fromkeys(TOKENS, 100.0)

    def row(self, tokens: Sequence[int]) -> tuple[float, ...]:
        rng, token = self.rng, self.rng.choice(tokens)
        self.ts_ns += rng.choice(GAPS_MS) * MS
        price = self.prices[token] = round(self.prices[token] + rng.randint(-2, 2) * 0.05, 2)
        ask = round(price + rng.choice((-0.05, 0.0, 0.05, 0.05, 0.05, 0.1)), 2)
        return self.ts_ns, token, price, rng.randrange(40), price, ask, rng.randrange(60), rng.randrange(60)

    def rows(self, tokens: Sequence[int]) -> pl.DataFrame:
        return pl.DataFrame([self.row(tokens) for _ in range(90)], schema=COLUMNS, orient="row")

    def control(self, part: int) -> Iterator[Any]:
        """What else comes through the door after a part of a session."""
        if part == 0 and self.rng.random() < 0.5:
            yield FeedGap("a gap")
        if part == 1 and self.rng.random() < 0.4:
            yield KillSwitch(engaged=True, reason="stop")
        if part == 2:
            yield KillSwitch(engaged=False, reason="go on")
            if self.rng.random() < 0.3:
                yield HaltStrategy("careless", "enough")


def write_tape(seed: int, path: Path) -> None:
    """Two sessions; the first ends in its last 25 minutes, when intraday positions are squared off."""
    profile, market = load_profile("nse"), Market(seeded(seed))
    tape = TapeWriter(path, profile=profile, instruments=instruments(seed), columns=COLUMNS, source="seed", beat_interval_s=5)
    with tape as writer:
        for day in DAYS:
            session = profile.session_on(day)
            assert session is not None
            market.ts_ns = session.open_ts_ns
            for part in range(4):
                if day == DAYS[0] and part == 3:
                    market.ts_ns = session.close_ts_ns - 25 * 60_000 * MS
                early = day == DAYS[0] and part == 0
                writer.rows(market.rows(TOKENS[:4] if early else TOKENS))
                for data in market.control(part):
                    writer.take(market.ts_ns + 1, data)
        writer.close()


class RandomWorld:
    """A tape, settings and strategies of one seed; each way to run them gives events in the order they were emitted."""

    def __init__(self, seed: int, path: Path) -> None:
        write_tape(seed, path)
        self.seed, self.tape, self.container = seed, Tape.open(path), AppContainer(load_settings(settings(seed)))
        self.delay_ms = self.container.settings.pipeline.feedback_delay_ms

    def specs(self, prices: str = "grid") -> list[StrategySpec]:
        return named(strategies(self.seed, prices))

    def host(self, emitted: list[Event], prices: str = "grid") -> Replay:
        return Replay(self.container.rooms(self.tape, self.specs(prices)), self.delay_ms, emitted.extend)

    @cached_property
    def specified(self) -> list[Event]:
        """By `Loop.step`, event by event."""
        emitted: list[Event] = []
        loop = self.host(emitted).loop
        for event in self.tape.events():
            emitted += loop.step(event)
        return emitted

    def driven(self, batch_rows: int, prices: str = "grid") -> list[Event]:
        """By the host with its short cuts."""
        emitted: list[Event] = []
        drive(self.host(emitted, prices), self.tape, None, None, batch_rows)
        return emitted

    def with_portfolio_apart(self, events_a_batch: int, *, cold: bool = False) -> list[Event]:
        """With the portfolio handed its part a batch at a time."""
        waiting, booked = list[Event](), list[Event]()
        host = self.host(waiting)
        if cold:
            start_cold(host, self.tape, COLD_START)
        notes, late = host.set_portfolio_apart()

        def book() -> None:
            batch = late(by_type(waiting) | notes.taken())
            assert not set(batch) - set(STAGE_EVENTS)
            booked.extend(sorted((event for events in batch.values() for event in events), key=lambda event: event.pos))
            waiting.clear()

        def emit(events: list[Event]) -> None:
            waiting.extend(events)
            if len(waiting) >= events_a_batch:
                book()

        host.emit = emit
        drive(host, self.tape, COLD_START if cold else None, None, 50)
        book()
        return booked

    def digests(self, runs: Path) -> dict[str, str]:
        """Of the topics of a run in this folder."""
        digests: dict[str, str] = run_replay(self.container, self.tape, self.specs(), out=runs).manifest["digests"]
        return digests

    def restored(self) -> list[Event]:
        """The same, with a snapshot and its restoration here and there: half of them into rooms that are new."""
        emitted, rng = list[Event](), seeded(self.seed)
        host = self.host(emitted)
        for run in self.tape.runs(None, None, 17, host.heard_beats):
            host.take(run)
            if rng.random() < 0.15:
                snapshot = host.snapshot()
                host = self.host(emitted) if rng.random() < 0.5 else host
                host.restore(snapshot)
        return emitted

    def from_the_middle(self, *, by_short_cuts: bool) -> list[Event]:
        """With empty books from a place in the first session on."""
        emitted: list[Event] = []
        host = self.host(emitted)
        start_cold(host, self.tape, COLD_START)
        if by_short_cuts:
            drive(host, self.tape, COLD_START, None, 50)
        else:
            for event in self.tape.events(COLD_START):
                emitted += host.loop.step(event)
        return emitted

    def played_back(self) -> list[Event]:
        """With what the strategies said in `specified` in place of the strategies."""
        emitted: list[Event] = []
        strategies_then = [{"strategy_id": spec.strategy_id, "lane": spec.lane} for spec in self.specs()]
        signals = RecordedSignals([event for event in self.specified if event.pos[2] == RUNNER], strategies_then, {})
        host = signals.host(self.container.rooms(self.tape, signals.specs(self.tape)), self.delay_ms, emitted.extend)
        drive(host, self.tape, None, None, 100)
        return emitted


def difference(found: Sequence[Event], expected: Sequence[Event]) -> tuple[bytes, bytes] | None:
    """The first lines that differ; None where all are the same."""
    pairs = zip_longest(map(encode, found), map(encode, expected), fillvalue=b"nothing more")
    return next((pair for pair in pairs if pair[0] != pair[1]), None)
