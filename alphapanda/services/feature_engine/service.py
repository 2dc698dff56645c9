"""feature_engine: bars of any interval and indicators, only where a strategy asks.

Reads market.ticks and market.clock. Writes market.features. Keeps, for each instrument, the bars under construction and
the indicators' windows. Refuses intervals that the beats cannot close.

Bars lie on a grid from the session's open, over [start, end), and are emitted by the first beat or session event at or
past their end: only these close time bars. A bar with no tick does not exist; the last bar of a session ends with it. A
feed gap or an epoch drops the bar it falls into, to its end. Indicators go on across sessions and gaps, but for those that
are anchored at the session's open.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import (
    Bar,
    Beat,
    Epoch,
    Event,
    FeatureSet,
    FeedGap,
    MarketTick,
    Payload,
    SessionClose,
    SessionOpen,
)  # fmt: skip
from alphapanda.core.handler import Lane, Outputs
from alphapanda.services.feature_engine.indicators import state_of
from alphapanda.services.feature_engine.models import FeatureRequest, Indicator
from alphapanda.services.feature_engine.rules import BarLike, OfCloses, OpenBar, State, TickBar

NS = 1_000_000_000


@dataclass(slots=True)
class Series:
    """What one interval of one instrument keeps; `interval_s` is 0 for ticks."""

    interval_s: int
    emit_bars: bool
    indicators: dict[tuple[str, ...], State]  # by the names of their values
    names: tuple[str, ...] | None = None  # of all values, sorted; None: they come in that order of themselves
    bar: OpenBar | None = None
    broken_until_ns: int = 0  # a gap fell into the bar that ends here
    bars: int = 0
    values_given: int = 0


@dataclass(slots=True)
class InstrumentState:
    """State of one instrument's lane."""

    series: dict[int, Series]
    open_ts_ns: int | None = None  # the running session's, None outside sessions
    close_ts_ns: int = 0
    volume: int | None = None  # last cumulative volume of the session
    due_ts_ns: int | None = None  # the earliest end of a bar under construction
    timed: list[Series] = field(default_factory=list)


def series_for(requests: Iterable[FeatureRequest]) -> dict[int, Series]:
    """One series for each interval asked for, shortest first, with each value once."""
    asked = list(requests)
    series = {}
    for interval in sorted({request.interval_s for request in asked}):
        mine = [request for request in asked if request.interval_s == interval]
        found = {request.names: request for request in mine if isinstance(request, Indicator)}
        bars = any(not isinstance(request, Indicator) for request in mine)
        names = [name for key in sorted(found) for name in key]
        states = {key: state_of(found[key]) for key in sorted(found)}
        series[interval] = Series(interval, bars, states, None if names == sorted(names) else tuple(sorted(names)))
    return series


class InstrumentLane(Lane):
    """One instrument's bars and indicators."""

    table = {
        MarketTick: "on_tick",
        Beat: "on_beat",
        SessionOpen: "on_session_open",
        SessionClose: "on_session_close",
        Epoch: "on_gap",
        FeedGap: "on_gap",
    }

    def __init__(self, token: int, requests: Iterable[FeatureRequest], beat_interval_s: int) -> None:
        series = series_for(requests)
        for interval in series:
            if interval % beat_interval_s:
                raise ConfigurationError(
                    f"bars of {interval} s need a beat at their end, and beats come every {beat_interval_s} s:"
                    f" ask for a multiple of {beat_interval_s} s"
                )
        timed = [one for one in series.values() if one.interval_s]
        super().__init__(token, InstrumentState(series, timed=timed))

    def concerns(self, data: Payload) -> bool:
        """Ticks of this instrument, and all clock events."""
        return getattr(data, "instrument_token", self.lane) == self.lane

    @property
    def speaks_on_ticks(self) -> bool:
        """Whether a tick can make it say something at once."""
        return 0 in self.state.series

    def on_tick(self, event: Event) -> Outputs:
        """Take a tick; a value on ticks comes at once."""
        tick: MarketTick = event.data  # type: ignore[assignment]  # by the table
        return self.add(tick)

    def add(self, tick: MarketTick) -> Outputs:
        """Take one tick (also the host's short cut, which has no event yet)."""
        state, traded = self.state, self._traded(tick)
        if state.timed:
            self._add_to_bars(tick, traded)
        on_ticks = state.series.get(0)
        if on_ticks is None:
            return ()
        price = tick.last_price
        return self._values(on_ticks, TickBar(price, price, price, traded))

    def _traded(self, tick: MarketTick) -> int:
        """Volume since the last tick: the rise of the cumulative figure where the tape has it, else the last quantity."""
        if tick.volume is None:
            return tick.last_quantity or 0
        before, self.state.volume = self.state.volume, tick.volume
        return max(0, tick.volume - before) if before is not None else tick.last_quantity or 0

    def _add_to_bars(self, tick: MarketTick, volume: int) -> None:
        state, ts_ns, price = self.state, tick.ts_ns, tick.last_price
        if state.open_ts_ns is None:
            return
        for series in state.timed:
            bar = series.bar
            if bar is None:
                if ts_ns < series.broken_until_ns:
                    continue
                start, end = self._bucket(series, ts_ns)
                series.bar = OpenBar(start, end, price, price, price, price, volume, 1)
                state.due_ts_ns = end if state.due_ts_ns is None else min(end, state.due_ts_ns)
            else:
                bar.add(price, volume)

    def _bucket(self, series: Series, ts_ns: int) -> tuple[int, int]:
        interval_ns, opened = series.interval_s * NS, self.state.open_ts_ns
        start = opened + (ts_ns - opened) // interval_ns * interval_ns
        return start, min(start + interval_ns, self.state.close_ts_ns)

    def on_beat(self, event: Event) -> Outputs:
        """Close the bars whose end has come."""
        due = self.state.due_ts_ns
        return () if due is None or event.ts_ns < due else self._close_bars(event.ts_ns)

    def _close_bars(self, ts_ns: int) -> Outputs:
        outputs: list[tuple[int, Payload]] = []
        for series in self.state.timed:
            bar = series.bar
            if bar is None or bar.end_ts_ns > ts_ns:
                continue
            series.bar = None
            series.bars += 1
            if series.emit_bars:
                outputs.append((self.lane, self._made(series, bar)))
            outputs.extend(self._values(series, bar))
        ends = [series.bar.end_ts_ns for series in self.state.timed if series.bar is not None]
        self.state.due_ts_ns = min(ends, default=None)
        return outputs

    def _made(self, series: Series, bar: OpenBar) -> Bar:
        return Bar(
            self.lane, series.interval_s, bar.start_ts_ns, bar.end_ts_ns,
            bar.open, bar.high, bar.low, bar.close, bar.volume, bar.ticks,
        )  # fmt: skip

    def _values(self, series: Series, bar: BarLike) -> Outputs:
        """A FeatureSet of what is warm, by name; nothing while all of it warms up."""
        values: dict[str, float] = {}
        for names, one in series.indicators.items():
            if isinstance(one, OfCloses):  # the same as below, at half the cost
                if (value := one.add(bar.close)) is not None:
                    values[names[0]] = value
                continue
            for name, value in zip(names, one.update(bar), strict=True):
                if value is not None:
                    values[name] = value
        if not values:
            return ()
        if series.names is not None:
            values = {name: values[name] for name in series.names if name in values}
        series.values_given += 1
        return [(self.lane, FeatureSet(self.lane, series.interval_s, values))]

    def on_session_open(self, event: Event) -> Outputs:
        """A new grid; the day's cumulative volume, and what is anchored at the open, start over."""
        opened: SessionOpen = event.data  # type: ignore[assignment]  # by the table
        for series in self.state.series.values():
            for one in series.indicators.values():
                one.session_opened()
        self.state.open_ts_ns, self.state.close_ts_ns = opened.open_ts_ns, opened.close_ts_ns
        self.state.volume = 0
        return ()

    def on_session_close(self, event: Event) -> Outputs:
        """Close every bar: the session's last ends with it."""
        outputs = self._close_bars(self.state.close_ts_ns)
        self.state.open_ts_ns = None
        return outputs

    def on_gap(self, event: Event) -> Outputs:
        """Drop the bars under construction, and what is left of their intervals."""
        state = self.state
        state.volume = None  # what was traded meanwhile belongs to no bar
        for series in state.timed:
            if state.open_ts_ns is not None:
                start, end = self._bucket(series, event.ts_ns)
                series.broken_until_ns = end if event.ts_ns > start else start
            series.bar = None
        state.due_ts_ns = None
        return ()

    def warm_up(self) -> list[dict[str, object]]:
        """For each interval with indicators: how many bars were seen and how many values came."""
        return [
            {"instrument_token": self.lane, "interval_s": one.interval_s,
             "indicators": [name for names in one.indicators for name in names],
             "bars": one.bars, "values": one.values_given}
            for one in self.state.series.values() if one.indicators
        ]  # fmt: skip
