"""The replay host: a tape through the whole pipeline, in one process.

`Replay.step` is the specification: every seq goes through every stage before the next seq begins. `Replay.ticks` and
`Replay.beats` are its short cuts for events that nobody says anything about; a test holds them to the same bytes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from alphapanda.contracts.events import Beat, Event, MarketTick, Payload, StrategyHalted, pos_text
from alphapanda.core.handler import LaneProtocol, Outbox, Outputs, run_seq, still_unheard
from alphapanda.pipeline import FEEDBACK, STAGES, TOPIC_OF, Stage
from alphapanda.services.feature_engine.service import InstrumentLane
from alphapanda.services.portfolio_manager.service import PortfolioManager
from alphapanda.services.risk_manager.service import RiskManager
from alphapanda.services.strategy_runner.service import StrategyLane
from alphapanda.services.trading_engine.service import TradingEngine

NS_PER_MS = 1_000_000
Hook = tuple[StrategyLane, Callable[[MarketTick], Any]]
QUIET_ON_TICKS = frozenset({3, 5})
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

        self.rooms = [(stage, lanes, types_in(stage.reads), deque[Event]()) for stage, lanes in rooms]
        self.delay_ns, self._feedback = feedback_delay_ns, types_in(feedback)

    def step(self, root: Event) -> list[Event]:
        """One seq through all stages. Returns what they made, in `pos` order."""
        return self.go_on(root, [root], 0)

    def go_on(self, root: Event, events: list[Event], first: int, quiet: frozenset[int] = frozenset()) -> list[Event]:
        """The same from the room at index `first` on, `events` holding the root and what the rooms before it made.

        Stages whose rank is in `quiet` do nothing with this root alone, and are passed over where they have no more.
        """
        due_ts_ns = root.ts_ns - self.delay_ns
        for stage, lanes, reads, unheard in self.rooms[first:]:
            inputs = [event for event in events if event is root or type(event.data) in reads]
            if len(inputs) == 1 and stage.rank in quiet:
                continue
            events += run_seq(stage.rank, lanes, inputs, unheard, due_ts_ns)
            while unheard and not still_unheard(unheard[0], lanes):
                unheard.popleft()
        made = events[1:]
        if told := [event for event in made if type(event.data) in self._feedback]:
            self._tell(told)
        return made

    def _tell(self, told: list[Event]) -> None:
        for stage, lanes, _, unheard in self.rooms:
            if stage.hears:
                unheard.extend(event for event in told if still_unheard(event, lanes))


class Rooms:
    """The lanes of every stage, and the marks they share."""

    def __init__(
        self, instruments: list[InstrumentLane], strategies: list[StrategyLane], risk: RiskManager,
        engine: TradingEngine, portfolio: PortfolioManager, marks: dict[int, MarketTick],
    ) -> None:  # fmt: skip
        self.instruments, self.strategies, self.marks = instruments, strategies, marks
        self.risk, self.engine, self.portfolio = risk, engine, portfolio

    def by_stage(self) -> list[tuple[Stage, Sequence[LaneProtocol]]]:
        """Each stage with its lanes, in flow order."""
        lanes: tuple[Sequence[LaneProtocol], ...] = (
            self.instruments, self.strategies, [self.risk], [self.engine], [self.portfolio],
        )  # fmt: skip
        return list(zip(STAGES, lanes, strict=True))


class Replay:
    """The loop with its short cuts. `emit` is called with the outputs of each seq that has any, in `pos` order."""

    def __init__(self, rooms: Rooms, feedback_delay_ms: int, emit: Callable[[list[Event]], None]) -> None:
        self.rooms, self.emit = rooms, emit
        self.loop = Loop(rooms.by_stage(), feedback_delay_ms * NS_PER_MS)
        self._timed = any(lane.state.timed for lane in rooms.instruments)
        self._told = self.loop.rooms[1][3]  # feedback that strategies are still to hear
        self._listeners: dict[int, tuple[Callable[[MarketTick], Outputs] | None, tuple[Hook, ...]]] = {}
        self._listen()

    def _listen(self) -> None:
        """For each instrument: who computes features of its ticks, and which strategies are called with them."""
        hooks: dict[int, list[Hook]] = {}
        for lane in self.rooms.strategies:
            hook = lane.on_tick
            for token in lane.instruments if hook is not None else ():
                hooks.setdefault(token, []).append((lane, hook))
        add = {lane.lane: lane.add for lane in self.rooms.instruments}
        self._listeners.clear()  # the loop holds on to this table
        self._listeners.update((token, (add.get(token), tuple(hooks.get(token, ())))) for token in {*hooks, *add})

    def event(self, root: Event) -> None:
        """Any event, by the specification."""
        if made := self.loop.step(root):
            self.emit(made)
            if any(type(one.data) is StrategyHalted for one in made):
                self._listen()

    def beats(self, epoch: int, numbers: list[int], times_ns: list[int]) -> None:
        """Beats; without bars to close, only those at which the portfolio speaks."""
        portfolio = self.rooms.portfolio.state
        for number, ts_ns in zip(numbers, times_ns, strict=True):
            if self._timed or ts_ns >= portfolio.next_snapshot_ns:
                self.event(_root(epoch, number, ts_ns, Beat()))

    def ticks(self, epoch: int, numbers: list[int], ticks: list[MarketTick]) -> None:
        """Ticks: note the mark, call who listens, and go on by the specification only where someone spoke."""
        marks, working, listeners = self.rooms.marks, self.rooms.engine.state.working, self._listeners
        told, delay_ns = self._told, self.loop.delay_ns
        for i, tick in enumerate(ticks):
            token = tick.instrument_token
            if told and told[0].ts_ns <= tick.ts_ns - delay_ns:
                self.event(_root(epoch, numbers[i], tick.ts_ns, tick))
                continue
            marks[token] = tick
            signals: Outputs = ()
            if token in listeners:
                add, hooks = listeners[token]
                if add is not None and (made := add(tick)):
                    self._spoken(_root(epoch, numbers[i], tick.ts_ns, tick), 1, made)
                    continue
                for lane, on_tick in hooks:
                    try:
                        if yielded := [*(on_tick(tick) or ())]:
                            signals = [*signals, *lane.sent(yielded)]
                    except Exception as error:  # noqa: BLE001  # an author's code halts that strategy alone
                        signals = [*signals, *lane.halt(error)]
            if signals:
                self._spoken(_root(epoch, numbers[i], tick.ts_ns, tick), 2, signals)
            elif token in working:
                self._spoken(_root(epoch, numbers[i], tick.ts_ns, tick), 3, ())

    def _spoken(self, root: Event, rank: int, outputs: Outputs) -> None:
        """Finish a tick's seq from the stage after `outputs` on; with rank 3 the first three stages had nothing to say."""
        outbox = Outbox(root.pos, root.ts_ns, rank)
        outbox.put(root, outputs)
        if made := self.loop.go_on(root, [root, *outbox.in_order()], rank, QUIET_ON_TICKS):
            self.emit(made)
            if any(type(one.data) is StrategyHalted for one in made):
                self._listen()


def _root(epoch: int, number: int, ts_ns: int, data: Payload) -> Event:
    pos = (epoch, number, 0, 0, 0)
    return Event(pos, pos_text(pos), ts_ns, None, data)
