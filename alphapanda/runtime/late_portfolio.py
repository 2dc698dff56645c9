"""A replay's portfolio, apart from the loop: no room hears it, so its part can be done later, and in another process.

In the loop `PortfolioNotes` stands in its place: it says nothing, and notes the clock events that the portfolio takes, and
at which prices it is to take these and the fills. `LatePortfolio` is handed these notes with each batch of events, and has
the portfolio say what it would have said.

Why that is the same: of ticks the portfolio keeps the last prices alone, and looks at them only in a seq in which it takes
a fill or a clock event. The prices are noted as such a seq comes to its stage, when every stage before it is done with the
seq; they are those of everything that some book holds then, or that the seq itself trades.
"""

from collections.abc import Mapping
from itertools import groupby, zip_longest
from typing import Any, ClassVar, NoReturn

from alphapanda.adapters.event_batch import Batch
from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import Beat, Event, MarketTick, OrderFill, Payload, Pos, SessionClose, SessionOpen
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.corporate_actions import Actions, due, quantity_after
from alphapanda.core.handler import NOT_HEARD, Lane, Outputs, run_seq
from alphapanda.pipeline import STAGES
from alphapanda.services.portfolio_manager.service import NS, BookKey, PortfolioManager, PortfolioState

PORTFOLIO = STAGES[-1].rank
CLOCK = (Beat, SessionOpen, SessionClose)
"""What the portfolio takes beside fills and ticks."""


class Prices(Payload, frozen=True, gc=False):
    """The prices of a batch's seqs, a row each: `tokens` [7, 9], `prices` [[99.5], [99.5, None]].

    The first seq needs none of 9, the second has none yet. A row without any is of a session's open: nothing is valued then.
    """

    seqs: list[list[int]]  # a compiled module forgets what its lists are of: no tuples, which would be decoded as lists
    tokens: list[int]
    prices: list[list[float | None]]


class PortfolioNotes(Lane):
    """What stands in the loop."""

    table: ClassVar[dict[type[Payload], str]] = {
        MarketTick: "on_tick",
        OrderFill: "on_fill",
        Beat: "on_beat",
        SessionOpen: "on_session_open",
        SessionClose: "on_session_close",
    }

    def __init__(self, room: PortfolioManager) -> None:
        """Go on from where the room is."""
        books, state = room.state.books, room.state
        super().__init__(0, PortfolioState({}, state.marks, state.next_snapshot_ns, state.session))
        self.next_after, self.actions = room.next_after, room.actions
        self._held: dict[tuple[BookKey, int], int] = {
            (key, token): quantity for key, book in books.items() for token, quantity in book.held.items()
        }
        self._begin()

    def _begin(self) -> None:
        self._tokens: dict[int, None] = dict.fromkeys(token for _, token in self._held)
        self._seqs: list[list[int]] = []
        self._rows: list[list[float | None]] = []
        self._clock: list[Event] = []
        self._epoch = self._number = -1  # the last seq

    def taken(self) -> Batch:
        """The notes since the last time, as events that are no topic's; to be called between two seqs."""
        notes: Batch = {cls: [event for event in self._clock if type(event.data) is cls] for cls in CLOCK}
        notes[Prices] = [Event(NOT_HEARD, 0, None, Prices(self._seqs, list(self._tokens), self._rows))]
        self._begin()
        return notes

    def _row(self, epoch: int, number: int) -> list[float | None]:
        """The prices as a seq comes to the portfolio: what it closes is held still, what it opens comes with its fill."""
        marks = self.state.marks
        row: list[float | None]
        try:
            row = [marks[token].last_price for token in self._tokens]
        except KeyError:  # what was held at the start need not have traded yet
            row = [marks[token].last_price if token in marks else None for token in self._tokens]
        self._epoch, self._number = epoch, number
        self._seqs.append([epoch, number])
        self._rows.append(row)
        return row

    def on_tick(self, event: Event) -> Outputs:
        """Note the mark."""
        tick: MarketTick = event.data  # type: ignore[assignment]
        self.state.marks[tick.instrument_token] = tick
        return ()

    def on_fill(self, event: Event) -> Outputs:
        """Note the prices, and what is held from here on, as `Book.fill` does; the fill itself is in the batch."""
        fill: OrderFill = event.data  # type: ignore[assignment]
        epoch, number, _, _, _ = event.pos
        row = self._rows[-1] if number == self._number and epoch == self._epoch else self._row(epoch, number)
        token, held = fill.instrument_token, self._held
        if token not in self._tokens:
            mark = self.state.marks.get(token)
            self._tokens[token] = None
            row.append(None if mark is None else mark.last_price)
        key = (fill.exec_mode, fill.strategy_id), token
        quantity = held.get(key, 0) + fill.quantity
        if quantity:
            held[key] = quantity
        else:
            del held[key]
        return ()

    def on_beat(self, event: Event) -> Outputs:
        """Noted where the portfolio makes snapshots."""
        if event.ts_ns >= self.state.next_snapshot_ns:
            self.state.next_snapshot_ns = self.next_after(event.ts_ns)
            self._row(event.pos[0], event.pos[1])
            self._clock.append(event)
        return ()

    def on_session_open(self, event: Event) -> Outputs:
        """Noted; corporate actions change what is held, as `act` does. The portfolio adjusts the prices it has by itself."""
        opened: SessionOpen = event.data  # type: ignore[assignment]
        self._row(event.pos[0], event.pos[1]).clear()
        self._clock.append(event)
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
        self._row(event.pos[0], event.pos[1])
        self._clock.append(event)
        return ()

    def snapshot(self) -> NoReturn:
        """Raises ContractError: the books are not here."""
        raise ContractError("a loop whose portfolio is apart has no snapshot: its books are elsewhere, and behind")

    def restore(self, snapshot: Any) -> NoReturn:
        """The same."""
        self.snapshot()


class LatePortfolio:
    """The portfolio, and what it is handed."""

    takes: tuple[type[Payload], ...] = (Prices, *CLOCK)
    """What batches have for it beside the pipeline's events."""

    def __init__(self, room: PortfolioManager) -> None:
        self.room = room

    def __reduce__(self) -> tuple[Any, ...]:
        """By the room's parts: a compiled room does not pickle itself."""
        room = self.room
        return _restored, (room.instruments, room.interval_ns // NS, room.actions, room.snapshot())

    def __call__(self, batch: Batch) -> Batch:
        """The batch with what the portfolio says, and without the notes. Batches come in order, each of whole seqs."""
        (notes,) = batch.pop(Prices)
        found: Prices = notes.data  # type: ignore[assignment]
        clock = [event for cls in CLOCK for event in batch.pop(cls, ())]
        inputs = [*batch.get(OrderFill, ()), *clock]
        if clock:
            inputs.sort(key=_pos)
        by_seq = [(seq, list(events)) for seq, events in groupby(inputs, _seq)]
        if (seqs := [[*seq] for seq, _ in by_seq]) != found.seqs:
            noted, came = next(pair for pair in zip_longest(found.seqs, seqs) if pair[0] != pair[1])
            raise ContractError(f"the notes go on with seq {noted}, the fills and clock events beside them with {came}")
        for (_, events), row in zip(by_seq, found.prices, strict=True):
            self._mark(found.tokens, row)
            for event in run_seq(PORTFOLIO, [self.room], events, (), 0):
                batch.setdefault(type(event.data), []).append(event)
        return batch

    def _mark(self, tokens: list[int], row: list[float | None]) -> None:
        marks = self.room.state.marks
        for token, price in zip(tokens, row, strict=False):
            mark = marks.get(token)
            if price is not None and (mark is None or mark.last_price != price):
                marks[token] = MarketTick(0, token, price)


def _restored(instruments: Mapping[int, Instrument], interval_s: int, actions: Actions, snapshot: object) -> LatePortfolio:
    room = PortfolioManager(instruments, {}, interval_s, {}, actions=actions)
    room.restore(snapshot)
    return LatePortfolio(room)


def apart(room: PortfolioManager) -> tuple[PortfolioNotes, LatePortfolio]:
    """What stands in the loop from here on, and what takes its notes: the room itself, with marks of its own."""
    notes = PortfolioNotes(room)
    room.state.marks = room.state.marks.copy()
    return notes, LatePortfolio(room)


def _seq(event: Event) -> tuple[int, int]:
    return event.pos[0], event.pos[1]


def _pos(event: Event) -> Pos:
    return event.pos
