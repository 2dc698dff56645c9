"""Door events in stretches of one kind: what tapes and logs hand to a host that takes many at once."""

from typing import NamedTuple

from alphapanda.contracts.events import Event, MarketTick


class Ticks(NamedTuple):
    """Ticks with nothing between them; the columns are of one length."""

    epoch: int
    numbers: list[int]
    tokens: list[int]
    ticks: list[MarketTick]

    def part(self, start: int, stop: int) -> "Ticks":
        """Those at places [start, stop)."""
        return Ticks(self.epoch, self.numbers[start:stop], self.tokens[start:stop], self.ticks[start:stop])


class Beats(NamedTuple):
    """Beats with nothing between them."""

    epoch: int
    numbers: list[int]
    ts_ns: list[int]


class Controls(NamedTuple):
    """Any other door events."""

    events: list[Event]


Stretch = Ticks | Beats | Controls
