"""The portfolio behind the loop: nobody in the pipeline hears it, so its part of a run can be done later, or elsewhere.

In the loop `Behind` stands in its place: it says nothing, and notes what the portfolio is to take, and at which prices.
`Bookings` is handed these notes with each batch of events, and has the portfolio say what it would have said.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from alphapanda.adapters.event_batch import Batch
from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import Beat, Event, MarketTick, OrderFill, Payload, Pos, SessionClose, SessionOpen
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.corporate_actions import Actions, due, quantity_after
from alphapanda.core.handler import NOT_HEARD, Outputs, run_seq
from alphapanda.pipeline import STAGES
from alphapanda.services.portfolio_manager.service import NS, BookKey, PortfolioManager

PORTFOLIO = STAGES[-1].rank
CLOCK = (Beat, SessionOpen, SessionClose)
"""What the portfolio takes beside fills, and ticks, of which it needs the prices alone."""


class Prices(Payload, frozen=True, gc=False):
    """The last prices in each seq in which the portfolio takes something, of all that is held then, and of more.

    Those of a seq are of the first so many `tokens`; None: there was none yet.
    """

    numbers: list[int]  # of the seqs
    tokens: list[int]
    prices: list[list[float | None]]


class Behind(PortfolioManager):
    """Takes what the portfolio takes in a loop, and notes it."""

    def __init__(self, portfolio: PortfolioManager) -> None:
        state = portfolio.state
        super().__init__({}, {}, portfolio.interval_ns // NS, state.marks, actions=portfolio.actions)
        self.state.next_snapshot_ns, self.state.session = state.next_snapshot_ns, state.session
        self._held: dict[tuple[BookKey, int], int] = {
            (key, token): quantity for key, book in state.books.items() for token, quantity in book.held.items()
        }
        self._clear()

    def _clear(self) -> None:
        self._tokens: list[int] = list(dict.fromkeys(token for _, token in self._held))
        self._numbers: list[int] = []
        self._prices: list[list[float | None]] = []
        self._clock: list[Event] = []
        self._epoch = self._number = -1  # the last seq

    def noted(self) -> Batch:
        """The notes since the last time; to be called between two seqs."""
        batch: Batch = {cls: [event for event in self._clock if type(event.data) is cls] for cls in CLOCK}
        batch[Prices] = [Event(NOT_HEARD, 0, None, Prices(self._numbers, self._tokens, self._prices))]
        self._clear()
        return batch

    def _price(self, number: int) -> list[float | None]:
        """The prices of a seq as it comes to the portfolio: what it closes is held now, what it opens comes with its fill."""
        marks = self.state.marks
        prices: list[float | None]
        try:
            prices = [marks[token].last_price for token in self._tokens]
        except KeyError:  # what was held at the start need not have traded yet
            prices = [marks[token].last_price if token in marks else None for token in self._tokens]
        self._numbers.append(number)
        self._prices.append(prices)
        return prices

    def on_fill(self, event: Event) -> Outputs:
        """Note the prices, and what is held from here on; the fill itself is an event like others."""
        fill: OrderFill = event.data  # type: ignore[assignment]
        epoch, number, _, _, _ = event.pos
        if number != self._number or epoch != self._epoch:
            self._epoch, self._number = epoch, number
            prices = self._price(number)
        else:
            prices = self._prices[-1]
        token, held = fill.instrument_token, self._held
        key = (fill.exec_mode, fill.strategy_id), token
        before = held.get(key)
        if before is None:
            held[key] = fill.quantity
            if token not in self._tokens:
                mark = self.state.marks.get(token)
                self._tokens.append(token)
                prices.append(None if mark is None else mark.last_price)
        elif before + fill.quantity:
            held[key] = before + fill.quantity
        else:
            del held[key]
        return ()

    def on_beat(self, event: Event) -> Outputs:
        """Noted where the portfolio makes snapshots."""
        if event.ts_ns >= self.state.next_snapshot_ns:
            self.state.next_snapshot_ns = self.next_after(event.ts_ns)
            self._note(event)
        return ()

    def on_session_open(self, event: Event) -> Outputs:
        """Noted; corporate actions change what is held."""
        opened: SessionOpen = event.data  # type: ignore[assignment]
        self._note(event)
        for action in due(self.actions, self.state.session, opened.session):
            for key, quantity in list(self._held.items()):
                if key[1] == action.instrument_token:
                    self._held[key] = quantity_after(quantity, action)
                    if not self._held[key]:
                        del self._held[key]
        self.state.session = opened.session
        return ()

    def on_session_close(self, event: Event) -> Outputs:
        """Noted."""
        self._note(event)
        return ()

    def _note(self, event: Event) -> None:
        self._epoch, self._number = event.pos[0], event.pos[1]
        self._price(self._number)
        self._clock.append(event)


class Bookings:
    """Has a portfolio take what `Behind` noted."""

    notes: tuple[type[Payload], ...] = (Prices, *CLOCK)
    """What batches have for it beside the pipeline's events."""

    def __init__(self, portfolio: PortfolioManager) -> None:
        self.portfolio = portfolio
        portfolio.state.marks = portfolio.state.marks.copy()  # the loop's go on, and this room is behind

    def __reduce__(self) -> tuple[Any, ...]:
        """By the room's parts: a compiled room does not pickle itself."""
        room = self.portfolio
        return _bookings, (room.instruments, room.interval_ns // NS, room.actions, room.snapshot())

    def __call__(self, batch: Batch) -> Batch:
        """The batch with what the portfolio says, and without the notes. Batches come in order, each of whole seqs."""
        (noted,) = batch.pop(Prices)
        found: Prices = noted.data  # type: ignore[assignment]
        clock = [event for cls in CLOCK for event in batch.pop(cls, ())]
        inputs = [*batch.get(OrderFill, ()), *clock]
        if clock:
            inputs.sort(key=_pos)
        seqs = [list(together) for _, together in groupby(inputs, _seq)]
        if [events[0].pos[1] for events in seqs] != found.numbers:
            raise ContractError("the notes for the portfolio are not of the fills and clock events beside them")
        for events, prices in zip(seqs, found.prices, strict=True):
            self._mark(found.tokens, prices)
            for event in run_seq(PORTFOLIO, [self.portfolio], events, (), 0):
                batch.setdefault(type(event.data), []).append(event)
        return batch

    def _mark(self, tokens: list[int], prices: list[float | None]) -> None:
        marks = self.portfolio.state.marks
        for token, price in zip(tokens, prices, strict=False):
            mark = marks.get(token)
            if price is not None and (mark is None or mark.last_price != price):
                marks[token] = MarketTick(0, token, price)


def _bookings(instruments: Mapping[int, Instrument], interval_s: int, actions: Actions, snapshot: object) -> Bookings:
    room = PortfolioManager(instruments, {}, interval_s, {}, actions=actions)
    room.restore(snapshot)
    return Bookings(room)


def _seq(event: Event) -> tuple[int, int]:
    return event.pos[0], event.pos[1]


def _pos(event: Event) -> Pos:
    return event.pos
