"""The replay host: a tape through the whole pipeline, in one process.

`Loop.step` is the specification: every seq goes through every stage before the next seq begins. `Replay` has short cuts,
past the stages that would say nothing to an event; tests hold them to the same bytes.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby, islice
from typing import Any

import numpy as np
from mypy_extensions import mypyc_attr
from numpy.typing import NDArray

from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import (
    FEEDBACK_EVENTS,
    Beat,
    Event,
    MarketTick,
    OrderFill,
    OrderPlaced,
    TradingSignal,
    ValidatedSignal,
)  # fmt: skip
from alphapanda.core.handler import LaneProtocol, Outputs, run_seq, said_of, said_of_each, still_unheard
from alphapanda.core.stretches import Beats, Stretch, Ticks
from alphapanda.pipeline import FEEDBACK, STAGES, TOPIC_OF, Stage
from alphapanda.runtime.late_portfolio import LatePortfolio, PortfolioNotes, apart
from alphapanda.services.feature_engine.service import InstrumentLane
from alphapanda.services.portfolio_manager.service import PortfolioManager
from alphapanda.services.risk_manager.service import RiskManager
from alphapanda.services.strategy_runner.service import StrategyLane
from alphapanda.services.trading_engine.service import TradingEngine

NS_PER_MS = 1_000_000
RUNNER, RISK, ENGINE, PORTFOLIO = (stage.rank for stage in STAGES[1:])
QUIET_ON_TICKS = frozenset({RISK, PORTFOLIO})
"""Risk and portfolio take ticks as marks alone, and the marks are shared: the host has noted the tick already."""


class Loop:
    """The loop itself: stages, their lanes, and feedback that is still to be heard."""

    def __init__(
        self, rooms: Sequence[tuple[Stage, Sequence[LaneProtocol]]], feedback_delay_ns: int,
        topics: Mapping[Any, str] = TOPIC_OF, feedback: Iterable[str] = FEEDBACK,
    ) -> None:  # fmt: skip
        """`topics` maps payload types to topics; `feedback` names the topics that are heard late."""

        def types_in(names: Iterable[str]) -> frozenset[Any]:
            return frozenset(cls for cls, topic in topics.items() if topic in frozenset(names))

        self.rooms = [(stage.rank, lanes, types_in(stage.reads), deque[Event]()) for stage, lanes in rooms]
        self._from = [self.rooms[first:] for first in range(len(self.rooms))]
        self.delay_ns, self._feedback = feedback_delay_ns, types_in(feedback)
        self._hearing = [room for room, (stage, _) in zip(self.rooms, rooms, strict=True) if stage.hears]

    def step(self, root: Event) -> list[Event]:
        """One seq through all stages. Returns what they made, in `pos` order."""
        return self.go_on(root, [], 0)

    def go_on(self, root: Event, made: list[Event], first: int, quiet: frozenset[int] = frozenset()) -> list[Event]:
        """The same from the room at index `first` on, `made` being what the rooms before it made.

        Stages whose rank is in `quiet` do nothing with this root, and are not handed it.
        """
        due_ts_ns = root.ts_ns - self.delay_ns
        for rank, lanes, reads, unheard in self._from[first]:
            inputs = [] if rank in quiet else [root]
            for event in made:
                if type(event.data) in reads:
                    inputs.append(event)  # cheaper than a comprehension where there are so few
            if not inputs:
                continue
            made += run_seq(rank, lanes, inputs, unheard, due_ts_ns)
            while unheard and unheard[0].ts_ns <= due_ts_ns and not still_unheard(unheard[0], lanes):
                unheard.popleft()
        for event in made:
            self.tell(event)
        return made

    def tell(self, event: Event) -> None:
        """Keep what was just made for those who hear it late, if it is feedback."""
        if type(event.data) in self._feedback:
            for _, lanes, _, unheard in self._hearing:
                if still_unheard(event, lanes):
                    unheard.append(event)


class Rooms:
    """The lanes of every stage, and the marks they share."""

    def __init__(
        self, instruments: list[InstrumentLane], strategies: list[StrategyLane], risk: RiskManager,
        engine: TradingEngine, portfolio: PortfolioManager, marks: dict[int, MarketTick],
    ) -> None:  # fmt: skip
        self.instruments, self.strategies, self.marks = instruments, strategies, marks
        self.risk, self.engine = risk, engine
        self.portfolio: PortfolioManager | PortfolioNotes = portfolio

    def snapshot(self) -> Any:
        """State of every lane, copied."""
        return [[lane.snapshot() for lane in lanes] for _, lanes in self.by_stage()]  # type: ignore[attr-defined]

    def restore(self, snapshot: Any) -> None:
        """Give every lane its state back; the marks are shared again."""
        for (_, lanes), kept in zip(self.by_stage(), snapshot, strict=True):
            for lane, state in zip(lanes, kept, strict=True):
                lane.restore(state)  # type: ignore[attr-defined]
        self.marks.clear()
        self.marks.update(self.risk.state.marks)
        for room in (self.risk, self.engine, self.portfolio):
            room.state.marks = self.marks

    def by_stage(self) -> list[tuple[Stage, Sequence[LaneProtocol]]]:
        """Each stage with its lanes, in flow order."""
        lanes: tuple[Sequence[LaneProtocol], ...] = (
            self.instruments, self.strategies, [self.risk], [self.engine], [self.portfolio],
        )  # fmt: skip
        return list(zip(STAGES, lanes, strict=True))


@mypyc_attr(allow_interpreted_subclasses=True)
class Replay:
    """The loop with its short cuts. `emit` is called with the outputs of each seq that has any, in `pos` order.

    Strategies hear nothing of later stages but feedback, and that is late by rule. So for a stretch of ticks in which
    none falls due they are called first, one strategy after the other; then the later stages take up what they said,
    and the working orders, tick by tick.
    """

    def __init__(self, rooms: Rooms, feedback_delay_ms: int, emit: Callable[[list[Event]], None]) -> None:
        self.rooms, self.emit = rooms, emit
        self.loop = Loop(rooms.by_stage(), feedback_delay_ms * NS_PER_MS)
        self._timed = any(lane.state.timed for lane in rooms.instruments)
        self._bars = {lane.lane: lane.add for lane in rooms.instruments}
        self._features_on_ticks = any(lane.speaks_on_ticks for lane in rooms.instruments)
        self._hearing = {token for lane in rooms.strategies if lane.hears for token in lane.instruments}
        self._told = self.loop.rooms[1][3]  # feedback that strategies are still to hear
        self._risk_unheard = self.loop.rooms[2][3]

    def snapshot(self) -> Any:
        """All state, copied; between two stretches."""
        return self.rooms.snapshot(), [list(unheard) for _, _, _, unheard in self.loop.rooms]

    def restore(self, snapshot: Any) -> None:
        """Become what the loop was when `snapshot` was taken."""
        rooms, queues = snapshot
        self.rooms.restore(rooms)
        for (_, _, _, unheard), kept in zip(self.loop.rooms, queues, strict=True):
            unheard.clear()
            unheard.extend(kept)

    def set_portfolio_apart(self) -> tuple[PortfolioNotes, LatePortfolio]:
        """From here on have what the portfolio would take noted; returns the notes, and who is to be handed them."""
        room = self.rooms.portfolio
        if isinstance(room, PortfolioNotes):
            raise ContractError("the portfolio is apart already")
        notes, late = apart(room)
        self.rooms.portfolio = notes
        _, lanes, _, _ = self.loop.rooms[-1]
        lanes[:] = [notes]  # type: ignore[index]
        return notes, late

    def event(self, root: Event) -> None:
        """Any event, by the specification."""
        if made := self.loop.step(root):
            self.emit(made)

    def take(self, stretch: Stretch) -> None:
        """Any stretch."""
        if isinstance(stretch, Ticks):
            self.ticks(stretch)
        elif isinstance(stretch, Beats):
            self.beats(stretch)
        else:
            for event in stretch.events:
                self.event(event)

    def heard_beats(self, times_ns: Sequence[int] | NDArray[np.int64]) -> list[int]:
        """Which of the coming beats, by their place here, anyone says something at: without the others stretches are longer."""
        if self._timed:
            return list(range(len(times_ns)))
        portfolio, heard = self.rooms.portfolio, []
        place = bisect_left(times_ns, portfolio.state.next_snapshot_ns)
        while place < len(times_ns):
            heard.append(place)
            place = bisect_left(times_ns, portfolio.next_after(int(times_ns[place])), place + 1)
        return heard

    def beats(self, run: Beats) -> None:
        """Beats, without those at which nobody says anything."""
        for place in self.heard_beats(run.ts_ns):
            self._beat(Event((run.epoch, run.numbers[place], 0, 0, 0), run.ts_ns[place], None, Beat()))

    def _beat(self, root: Event) -> None:
        if self._timed:
            self.event(root)
        elif outputs := self.rooms.portfolio.on_beat(root):  # without bars nobody else takes beats
            self.emit(said_of(root, PORTFOLIO, root, outputs))

    def ticks(self, run: Ticks) -> None:
        """Ticks with nothing between them."""
        at, count = 0, len(run.ticks)
        while at < count:
            until = self._quiet_until(run, at)
            if until == at:
                self.event(_tick(run, at))
                until = at + 1
            else:
                whole = at == 0 and until == count
                self._stretch(run if whole else run.part(at, until))
            at = until

    def _quiet_until(self, run: Ticks, at: int) -> int:
        """The end of the stretch from `at` on in which no strategy is to hear feedback first, nor a feature."""
        if self._features_on_ticks:
            return at
        ticks, tokens = run.ticks, run.tokens
        if not self._hearing:
            return len(ticks)
        oldest_ns = min(self._told[0].ts_ns, ticks[at].ts_ns) if self._told else ticks[at].ts_ns
        place = bisect_left(ticks, oldest_ns + self.loop.delay_ns, lo=at, key=_ts_ns)
        while place < len(tokens) and tokens[place] not in self._hearing:
            place += 1
        return place

    def _stretch(self, run: Ticks) -> None:
        """Ticks in which strategies hear of nothing but ticks."""
        tokens, ticks = run.tokens, run.ticks
        if self._timed:
            for token, tick in zip(tokens, ticks, strict=True):
                if token in self._bars:
                    self._bars[token](tick)
        working, marks = self.rooms.engine.state.working, self.rooms.marks
        unnoted, noted = zip(tokens, ticks, strict=True), 0
        for place, outputs in (*self._said(tokens, ticks), (len(ticks), ())):
            while working and (at := _next_of(tokens, working, noted, place)) < place:
                marks.update(islice(unnoted, at + 1 - noted))
                noted = at + 1
                self._match(run, at)
            marks.update(islice(unnoted, place + 1 - noted))
            noted = place + 1
            if outputs:
                self._speak(run, place, outputs)

    def _said(self, tokens: list[int], ticks: list[MarketTick]) -> list[tuple[int, Outputs]]:
        """What the strategies say in these ticks: (place, outputs of all lanes in order), by place."""
        said: list[tuple[int, Outputs]] = []
        for lane in self.rooms.strategies:
            if not lane.takes_ticks:
                continue
            if len(lane.instruments) == len(self.rooms.risk.instruments):
                said += lane.on_ticks(ticks)
            else:
                places = [place for place, token in enumerate(tokens) if token in lane.instruments]
                mine = lane.on_ticks([ticks[place] for place in places])
                said += [(places[i], outputs) for i, outputs in mine]
        if len(self.rooms.strategies) == 1:
            return said
        said.sort(key=_place)  # lanes are in order already, and stay so
        return [(place, [one for _, outputs in group for one in outputs]) for place, group in groupby(said, _place)]

    def _speak(self, run: Ticks, at: int, outputs: Outputs) -> None:
        """What strategies said at a tick, through the later stages."""
        root = _tick(run, at)
        made = said_of(root, RUNNER, root, outputs)
        if run.tokens[at] in self.rooms.engine.state.working:  # the engine takes the tick too
            self.emit(self.loop.go_on(root, made, RISK - 1, QUIET_ON_TICKS))
        else:
            self.emit(self._decide(root, made))

    def _decide(self, root: Event, made: list[Event]) -> list[Event]:
        """`Loop.go_on` from risk on, for signals alone: each stage has one lane, and takes nothing but what the last one said."""
        rooms, unheard, due_ts_ns = self.rooms, self._risk_unheard, root.ts_ns - self.loop.delay_ns
        if unheard and unheard[0].ts_ns <= due_ts_ns and _has_signal(made):
            while unheard and unheard[0].ts_ns <= due_ts_ns:
                rooms.risk.hear(unheard.popleft())
        weighed = said_of_each(root, RISK, made, TradingSignal, rooms.risk.on_signal)
        orders = said_of_each(root, ENGINE, weighed, ValidatedSignal, rooms.engine.on_validated)
        made += weighed
        if self._hearing:
            for event in weighed:
                self.loop.tell(event)  # keeps what is feedback: rejections
        if len(orders) == 1 and type(orders[0].data) is OrderPlaced:  # as nearly always: nothing to book or to hear
            made += orders
            return made
        return self._booked(root, made, orders)

    def _match(self, run: Ticks, at: int) -> None:
        """A tick at which no strategy speaks, of an instrument with working orders: the engine may fill them."""
        root = _tick(run, at)
        if outputs := self.rooms.engine.on_tick(root):
            self.emit(self._booked(root, [], said_of(root, ENGINE, root, outputs)))

    def _booked(self, root: Event, made: list[Event], orders: list[Event]) -> list[Event]:
        """`Loop.go_on` from what the engine said on: the portfolio books fills, and feedback waits to be heard."""
        booked = said_of_each(root, PORTFOLIO, orders, OrderFill, self.rooms.portfolio.on_fill)
        for event in orders:
            if type(event.data) in FEEDBACK_EVENTS:
                if self._hearing:
                    self.loop.tell(event)
                else:
                    self._risk_unheard.append(event)  # risk hears all of them
        if made:
            made += orders
        else:
            made = orders
        made += booked
        return made


def _next_of(tokens: list[int], wanted: Collection[int], start: int, stop: int) -> int:
    """The first place in [start, stop) with a token that is wanted, else `stop`."""
    if len(wanted) == 1:  # as nearly always
        try:
            return tokens.index(next(iter(wanted)), start, stop)
        except ValueError:
            return stop
    while start < stop and tokens[start] not in wanted:
        start += 1
    return start


def _has_signal(made: list[Event]) -> bool:
    for event in made:  # noqa: SIM110  # `any` would cost more than the question
        if type(event.data) is TradingSignal:
            return True
    return False


def _place(item: tuple[int, Outputs]) -> int:
    return item[0]


def _ts_ns(tick: MarketTick) -> int:
    return tick.ts_ns


def _tick(run: Ticks, at: int) -> Event:
    tick = run.ticks[at]
    return Event((run.epoch, run.numbers[at], 0, 0, 0), tick.ts_ns, None, tick)
