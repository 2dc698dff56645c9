"""portfolio_manager: books fills and values the books.

Reads orders.filled, market.ticks (marks) and market.clock. Writes portfolio.positions on each fill, and
portfolio.snapshots on each fill, on beats every `snapshot_interval_s`, and at session close. Keeps one book for each
(exec_mode, strategy). Refuses a fill for a book it was not given. Corporate actions take effect at the open of their
ex-date; futures are marked to market at session close: what they gained is realised, and the close is their cost from
there on. Both say the new position. A snapshot on a fill is of that fill's book; with
several books a total (`strategy_id` `*`) stands beside them, with one the book is the total.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from alphapanda.contracts.errors import ContractError
from alphapanda.contracts.events import (
    ALL_BOOKS,
    Beat,
    Event,
    ExecMode,
    MarketTick,
    OrderFill,
    Payload,
    PortfolioSnapshot,
    PositionUpdate,
    SessionClose,
    SessionOpen,
)  # fmt: skip
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.corporate_actions import Actions, act, adjust, due
from alphapanda.core.handler import Lane, Outputs
from alphapanda.core.ledger import Book, Position, to_e8, unless_one, value_e8

NS = 1_000_000_000
BookKey = tuple[ExecMode, str]
Said = list[tuple[int, Payload]]


@dataclass(slots=True)
class PortfolioState:
    """Books and marks."""

    books: dict[BookKey, Book]
    marks: dict[int, MarketTick]
    next_snapshot_ns: int = 0
    session: str = ""  # the last that opened
    closed: tuple[int, ...] = ()  # the seq that closed it


class PortfolioManager(Lane):
    """One room over all books."""

    table = {
        MarketTick: "on_tick",
        OrderFill: "on_fill",
        Beat: "on_beat",
        SessionOpen: "on_session_open",
        SessionClose: "on_session_close",
    }

    def __init__(
        self, instruments: Mapping[int, Instrument], books: Mapping[str, Book], snapshot_interval_s: int,
        marks: dict[int, MarketTick], *, actions: Actions = (),
    ) -> None:  # fmt: skip
        super().__init__(0, PortfolioState({(ExecMode.PAPER, name): book for name, book in books.items()}, marks))
        self.instruments, self.actions = instruments, actions
        self._futures = frozenset(token for token, one in instruments.items() if one.segment.endswith("-FUT"))
        self.interval_ns = snapshot_interval_s * NS
        self._multipliers_e8 = {token: one.multiplier_e8 for token, one in instruments.items()}
        self._odd_e8 = unless_one(self._multipliers_e8)

    def on_tick(self, event: Event) -> Outputs:
        """Note the mark."""
        tick: Any = event.data
        self.state.marks[tick.instrument_token] = tick
        return ()

    def on_fill(self, event: Event) -> Outputs:
        """Book the fill; say what the position and the book are now."""
        fill: Any = event.data
        key, token = (fill.exec_mode, fill.strategy_id), fill.instrument_token
        book = self.state.books.get(key)
        if book is None:
            raise ContractError(f"fill {event.id} is for book {key}, and there are {sorted(self.state.books)}")
        multiplier_e8 = self._multipliers_e8[token]
        notional_e8 = value_e8(to_e8(fill.price), fill.quantity, multiplier_e8)
        reason = "end" if event.pos[:2] == self.state.closed else "fill"  # a settlement belongs to the day that it ends
        position = book.fill(token, fill.quantity, notional_e8, fill.charges.total_e8)
        said: Said = [(0, self._update(key, token, position)), (0, self._snapshot(key, reason, book))]
        return [*said, *self._totals(reason, (key[0],))] if len(self.state.books) > 1 else said

    def _update(self, key: BookKey, token: int, position: Position) -> PositionUpdate:
        return PositionUpdate(
            *key, token, position.quantity, position.average_price(self._multipliers_e8[token]), position.cost_e8,
            position.realised_e8, position.charges_e8,
        )  # fmt: skip

    def on_session_open(self, event: Event) -> Outputs:
        """Corporate actions of the session's date."""
        opened: Any = event.data
        actions = due(self.actions, self.state.session, opened.session)
        self.state.session = opened.session
        adjust(self.state.marks, actions, opened.session)
        return [
            (0, self._update(key, action.instrument_token, book.positions[action.instrument_token]))
            for action in actions
            for key, book in self.state.books.items()
            if act(book, action)
        ]

    def on_beat(self, event: Event) -> Outputs:
        """A snapshot of every book, once each interval."""
        if event.ts_ns < self.state.next_snapshot_ns:
            return ()
        self.state.next_snapshot_ns = self.next_after(event.ts_ns)
        return self.snapshots("clock")

    def next_after(self, ts_ns: int) -> int:
        """When the first beat makes snapshots again, after one at `ts_ns` did."""
        return (ts_ns // self.interval_ns + 1) * self.interval_ns

    def on_session_close(self, event: Event) -> Outputs:
        """Mark futures to market; the day's last word on every book."""
        self.state.closed = event.pos[:2]
        return [*self._marked_to_market(), *self.snapshots("end")]

    def _marked_to_market(self) -> list[tuple[int, Payload]]:
        said: list[tuple[int, Payload]] = []
        for key, book in self.state.books.items():
            for token, quantity in book.held.items():
                if token in self._futures and (mark := self.state.marks.get(token)) is not None:
                    book.settle(token, value_e8(to_e8(mark.last_price), quantity, self._multipliers_e8[token]))
                    said.append((0, self._update(key, token, book.positions[token])))
        return said

    def snapshots(self, reason: str) -> Said:
        """A snapshot of each book, and the totals of their modes where there are several."""
        books = self.state.books
        made: Said = [(0, self._snapshot(key, reason, book)) for key, book in books.items()]
        return [*made, *self._totals(reason, dict.fromkeys(mode for mode, _ in books))] if len(books) > 1 else made

    def _snapshot(self, key: BookKey, reason: str, book: Book) -> PortfolioSnapshot:
        worths_e8 = book.worths_e8(self.state.marks, self._odd_e8)
        return _valued(key, reason, book.cash_e8, book.realised_e8, book.charges_e8, book.cost_e8, worths_e8)

    def _totals(self, reason: str, modes: Iterable[ExecMode]) -> Said:
        """A snapshot of all books of each mode together."""
        said: Said = []
        for mode in modes:
            books = [book for (of, _), book in self.state.books.items() if of is mode]
            worths_e8 = [worth for book in books for worth in book.worths_e8(self.state.marks, self._odd_e8)]
            said.append((0, _valued(
                (mode, ALL_BOOKS), reason, sum(book.cash_e8 for book in books), sum(book.realised_e8 for book in books),
                sum(book.charges_e8 for book in books), sum(book.cost_e8 for book in books), worths_e8,
            )))  # fmt: skip
        return said


def _valued(
    key: BookKey, reason: str, cash_e8: int, realised_e8: int, charges_e8: int, cost_e8: int, worths_e8: list[int]
) -> PortfolioSnapshot:  # fmt: skip
    """Books whose open positions cost `cost_e8` and are worth `worths_e8` now."""
    net_e8, gross_e8 = sum(worths_e8), sum(map(abs, worths_e8))
    mode, strategy_id = key
    return PortfolioSnapshot(
        mode, strategy_id, reason, cash_e8, realised_e8, net_e8 - cost_e8, charges_e8, cash_e8 + net_e8, gross_e8, net_e8
    )
