"""Playing back the signals of a recorded run, in place of its strategies, under other limits, charges or fill settings.

Each signal is said again at the seq it was recorded at, in its lane, so its `pos` and every byte of it are the same; what
comes of it is decided anew. Strategies are not called, and no feature is computed: nobody asks for one. What a strategy
would have said to other fills is not known here: that takes a replay of the strategy.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphapanda.adapters.tape import Seq, Tape
from alphapanda.adapters.topic_events import events_in
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import Event, MarketTick, Payload, Pos, TradingSignal
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.handler import NOT_HEARD, Outputs, Taker
from alphapanda.core.stretches import Ticks
from alphapanda.pipeline import GENERATED
from alphapanda.runtime.container import StrategySpec
from alphapanda.runtime.replay import RUNNER, Replay, Rooms
from alphapanda.services.strategy_runner.strategy import Strategy


class Recorded(Strategy):
    """Stands where a strategy stood whose signals are played back; says nothing itself."""


class SignalLane:
    """One strategy's lane that says what was recorded of it."""

    hears = False
    takes_ticks = True

    def __init__(self, lane: int, instruments: dict[int, Instrument], said: dict[Seq, list[Payload]]) -> None:
        self.lane, self.instruments, self.said = lane, instruments, said
        self.heard: Pos = NOT_HEARD

    def taker(self, event: Event) -> Taker | None:
        """Takes the outside events at which something was said."""
        return self.handle if event.pos[2] == 0 and event.pos[:2] in self.said else None

    def decides_on(self, event: Event) -> bool:
        """It hears no feedback, so it need not be asked."""
        return False

    def handle(self, event: Event) -> Outputs:
        """What was said then."""
        return [(self.lane, data) for data in self.said[event.pos[0], event.pos[1]]]

    def snapshot(self) -> Any:
        """The place in the feedback, which is all that changes."""
        return self.heard

    def restore(self, snapshot: Any) -> None:
        """That again."""
        self.heard = snapshot


class SignalReplay(Replay):
    """The replay host with such lanes: they are asked by seq, where strategies are asked by tick."""

    def __init__(
        self, rooms: Rooms, feedback_delay_ms: int, emit: Callable[[list[Event]], None], spoken: Mapping[Seq, int]
    ) -> None:  # fmt: skip
        """`spoken`: the seqs at which something is said, with their times."""
        super().__init__(rooms, feedback_delay_ms, emit)
        self._times_ns = np.array(sorted(set(spoken.values())), np.int64)
        self._numbers: dict[int, list[int]] = {}
        for epoch, number in sorted(spoken):
            self._numbers.setdefault(epoch, []).append(number)
        self._now: Ticks | None = None

    def heard_beats(self, times_ns: Sequence[int] | NDArray[np.int64]) -> list[int]:
        """Beats that the portfolio wants, and those at which a signal may have been said."""
        spoken = np.flatnonzero(np.isin(np.asarray(times_ns, np.int64), self._times_ns)).tolist()
        return sorted({*super().heard_beats(times_ns), *spoken})

    def _beat(self, root: Event) -> None:
        self.event(root)  # signals may have been said at beats too

    def _stretch(self, run: Ticks) -> None:
        self._now = run
        super()._stretch(run)

    def _said(self, tokens: list[int], ticks: list[MarketTick]) -> list[tuple[int, Outputs]]:
        assert self._now is not None  # noqa: S101  # `_stretch` is what asks
        epoch, numbers = self._now.epoch, self._now.numbers
        spoken = self._numbers.get(epoch, [])
        found: list[tuple[int, Outputs]] = []
        for number in spoken[bisect_left(spoken, numbers[0]) : bisect_right(spoken, numbers[-1])]:
            place = bisect_left(numbers, number)
            if numbers[place] == number:  # else it is of a beat or session event between these ticks
                lanes: Sequence[Any] = self.rooms.strategies
                said = [(lane.lane, data) for lane in lanes for data in lane.said.get((epoch, number), ())]
                found.append((place, said))
        return found


class RecordedSignals:
    """What the strategies of one run said: everything in its trading.signals.generated."""

    def __init__(self, events: Iterable[Event], strategies: Sequence[dict[str, Any]], source: dict[str, Any]) -> None:
        """`strategies` as the run's manifest has them; `source` says in the new manifest whose signals these are."""
        self.strategies, self.source = list(strategies), source
        self._causes: dict[Pos, Pos | None] = {}
        self._spoken: dict[Seq, int] = {}
        self._said: dict[int, dict[Seq, list[Payload]]] = {one["lane"]: {} for one in strategies}
        for event in events:
            self._causes[event.pos] = event.cause
            seq = event.pos[0], event.pos[1]
            self._spoken[seq] = event.ts_ns
            self._said[event.pos[3]].setdefault(seq, []).append(event.data)

    @classmethod
    def of_run(cls, folder: Path, manifest: Mapping[str, Any], tape: Tape) -> "RecordedSignals":
        """Those of a run on disk. Raises ConfigurationError where it is of another tape: seqs of one mean nothing on another."""
        if manifest["tape"]["digest"] is None:
            raise ConfigurationError(f"{folder} is recorded just now: `alphapanda compact {folder}` makes its tape and run first")
        if manifest["tape"]["digest"] != tape.digest:
            raise ConfigurationError(
                f"the signals of run {manifest['run_id']} are of the tape {manifest['tape']['digest'][:12]}"
                f" ({manifest['tape']['path']}), and {tape.path} is {tape.digest[:12]}: seqs of one mean nothing on another"
            )
        source = {name: manifest[name] for name in ("run_id", "digest")} | {"signals": manifest["digests"][GENERATED]}
        return cls(events_in(folder / f"{GENERATED}.parquet"), manifest["strategies"], source)

    def specs(self, tape: Tape) -> list[StrategySpec]:
        """Stand-ins with the run's strategies' ids and lanes, over what they gave signals of: books and limits are by these."""
        if not tape.instruments:
            raise ConfigurationError(f"{tape.path} has no instrument")
        currency = tape.profile.currency
        silent = min(tape.instruments.values(), key=lambda one: (one.tradable and one.currency != currency, one.instrument_token))
        made = []
        for one in self.strategies:
            tokens = {data.instrument_token for data in self._signals(one["lane"])} & tape.instruments.keys()
            symbols = tuple(tape.instruments[token].symbol for token in sorted(tokens)) or (silent.symbol,)
            made.append(StrategySpec(one["strategy_id"], one["lane"], Recorded(symbols=symbols)))
        return made

    def _signals(self, lane: int) -> Iterator[TradingSignal]:
        return (data for said in self._said[lane].values() for data in said if isinstance(data, TradingSignal))

    def host(self, rooms: Rooms, feedback_delay_ms: int, emit: Callable[[list[Event]], None]) -> Replay:
        """A replay over these rooms in which the recorded signals stand for the strategies."""
        lanes = [SignalLane(lane, rooms.risk.instruments, self._said[lane]) for lane in sorted(self._said)]  # type: ignore[arg-type]
        rooms.strategies = lanes  # type: ignore[assignment]  # all that the host asks of a strategy's lane
        return SignalReplay(rooms, feedback_delay_ms, self._with_causes(emit), self._spoken)

    def _with_causes(self, emit: Callable[[list[Event]], None]) -> Callable[[list[Event]], None]:
        """Signals name what caused them when they were recorded (a bar, a fill), not the tick they are played back at."""

        def restored(events: list[Event]) -> None:
            emit([
                Event(event.pos, event.ts_ns, self._causes[event.pos], event.data) if event.pos[2] == RUNNER else event
                for event in events
            ])  # fmt: skip

        return restored
