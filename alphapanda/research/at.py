"""Positions, cash and P&L of a run at any moment, exactly as a replay stopped there would have them.

The recorded fills are booked again with the ledger's own functions, corporate actions and the marking of futures at
session closes beside them, and what is held is valued at the tape's last prices before that moment. A seq or time means
just before it, as the end of a replay does; an event's id means after everything of its seq.
"""

import html
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from alphapanda.adapters.tape import Seq
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import ALL_BOOKS, ExecMode, SessionOpen, parse_pos
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.corporate_actions import Actions, act, due, price_after
from alphapanda.core.ledger import E8, Book, to_e8, value_e8
from alphapanda.pipeline import FILLED
from alphapanda.research.recorded_rooms import container_of
from alphapanda.research.runs import Run
from alphapanda.research.tape_view import TapeView
from alphapanda.runtime.replay_run import place
from alphapanda.runtime.start_books import StartBooks

When = str | datetime | Seq
BookKey = tuple[str, str]
"""(exec mode, strategy)."""
_AMOUNTS = (
    "cash_e8", "realised_e8", "unrealised_e8", "charges_e8", "equity_e8", "gross_exposure_e8", "net_exposure_e8"
)  # fmt: skip
_POSITION = {
    "exec_mode": pl.String, "strategy_id": pl.String, "instrument_token": pl.Int64, "symbol": pl.String, "quantity": pl.Int64,
    "average_price": pl.Float64, "last_price": pl.Float64, "cost_e8": pl.Int64, "value_e8": pl.Int64, "realised_e8": pl.Int64,
    "unrealised_e8": pl.Int64, "charges_e8": pl.Int64,
}  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """A run as it stood before `seq`.

    `positions`: one row an instrument that a book traded (also where it is flat by now); `books`: one row a book, and the
    total of a mode (`*`) where there are several. Amounts are exact integers of 1e-8 in columns that end in `_e8`, and
    floats in currency in those of the same name without it.
    """

    seq: Seq
    positions: pl.DataFrame
    books: pl.DataFrame

    @property
    def _whole(self) -> pl.DataFrame:
        return self.books if self.books.height == 1 else self.books.filter(pl.col("strategy_id") == ALL_BOOKS)

    def _total(self, name: str) -> float:
        return float(self._whole[name].sum())

    @property
    def cash(self) -> float:
        """Cash of all books."""
        return self._total("cash")

    @property
    def equity(self) -> float:
        """Cash and what is held, of all books."""
        return self._total("equity")

    @property
    def equity_e8(self) -> int:
        """The same, exactly."""
        return int(self._whole["equity_e8"].sum())

    @property
    def realised(self) -> float:
        """Profit of closed quantity, of all books, before charges."""
        return self._total("realised")

    @property
    def unrealised(self) -> float:
        """Profit of open quantity, of all books."""
        return self._total("unrealised")

    @property
    def charges(self) -> float:
        """Brokerage, taxes and fees of all books."""
        return self._total("charges")

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"seq": list(self.seq), "positions": self.positions.to_dicts(), "books": self.books.to_dicts()}

    def _repr_html_(self) -> str:
        held = self.positions.filter(pl.col("quantity") != 0)
        shown = held.select("strategy_id", "symbol", "quantity", "average_price", "last_price", "unrealised", "realised")
        names = ("equity", "cash", "realised", "unrealised", "charges")
        figures = ", ".join(f"{name} {getattr(self, name):,.2f}" for name in names)
        return f"<b>before {html.escape('-'.join(map(str, self.seq)))}</b>: {figures}{shown._repr_html_()}"


class History:
    """What moved a run's books, in order."""

    def __init__(self, run: Run) -> None:
        self.view = TapeView.of(run)
        self.instruments = self.view.tape.instruments
        settings = container_of(run.manifest["settings"]).settings
        self._start = StartBooks(settings.portfolio, {one["strategy_id"]: one["lane"] for one in run.manifest["strategies"]},
                            self.instruments)  # fmt: skip
        self._fills = _fills(run, self.instruments)
        self._sessions = self.view.sessions()
        self._actions = dict(self._due())  # by the seq of the session's open

    def seq(self, when: When) -> Seq:
        """The seq that a moment stands before. Raises ConfigurationError for what is none."""
        if isinstance(when, datetime):
            if when.tzinfo is None:
                raise ConfigurationError(f"{when} has no time zone: say which it is, such as tzinfo=UTC")
            when = when.isoformat()
        if isinstance(when, str) and when.count("-") == 4 and "T" not in when:
            try:
                pos = parse_pos(when)
            except ValueError as error:
                raise ConfigurationError(f"{when!r} is no event's id: {error}") from error
            return pos[0], pos[1] + 1
        found = place(self.view.tape, when)
        return self.view.end if found is None else found

    def at(self, seq: Seq) -> Moment:
        """Books and positions before `seq`."""
        seq = min(max(seq, self.view.start), self.view.end)
        books = self.booked(seq)
        tokens = {token for book in books.values() for token in book.held}
        prices = self.prices(seq, tokens)
        positions = [row for key, book in books.items() for row in self._positions(key, book, prices)]
        found = {key: self._valued(book, prices) for key, book in books.items()}
        rows = [{"exec_mode": mode, "strategy_id": name, **amounts} for (mode, name), amounts in found.items()]
        if len(found) > 1:
            total = {name: sum(one[name] for one in found.values()) for name in _AMOUNTS}
            rows.append({"exec_mode": ExecMode.PAPER.value, "strategy_id": ALL_BOOKS, **total})
        schema = {"exec_mode": pl.String, "strategy_id": pl.String, **dict.fromkeys(_AMOUNTS, pl.Int64)}
        return Moment(seq, _floats(pl.DataFrame(positions, schema=_POSITION)), _floats(pl.DataFrame(rows, schema=schema)))

    def _due(self) -> Iterator[tuple[Seq, Actions]]:
        """The corporate actions that take effect as each session opens."""
        last = ""
        for event in self._sessions:
            if isinstance(event.data, SessionOpen):
                yield (event.pos[0], event.pos[1]), due(self._start.actions, last, event.data.session)
                last = event.data.session

    def prices(self, before: Seq, tokens: Collection[int]) -> dict[int, float]:
        """Each instrument's last price before a seq, as it is after the corporate actions since its tick."""
        found = {}
        for token, (price, seq) in self.view.last_prices(before, tokens).items():
            for opened, actions in self._actions.items():
                for action in actions if seq < opened < before else ():
                    price = price_after(price, action) if action.instrument_token == token else price
            found[token] = price
        return found

    def held_at_start(self) -> set[int]:
        """Instruments that some book holds before the first event."""
        return {token for book in self._start.books().values() for token in book.held}

    def start_worth_e8(self, prices: Mapping[int, float]) -> int:
        """The books at the start, with what they held valued at these prices."""
        books = self._start.books().values()
        return sum(book.cash_e8 + sum(self._worth_e8(book, token, prices) for token in book.held) for book in books)

    def booked(self, seq: Seq) -> dict[BookKey, Book]:
        """The books before `seq`."""
        books = {(ExecMode.PAPER.value, name): book for name, book in self._start.books().items()}
        for place_, move in self._moves(seq):
            if move is None:  # a session's open or close
                event = self._sessions[place_]
                at = event.pos[0], event.pos[1]
                if not isinstance(event.data, SessionOpen):
                    self._mark_futures(books, at)
                for action in self._actions.get(at, ()):
                    for book in books.values():
                        act(book, action)
            else:
                key, token, quantity, notional_e8, charges_e8 = move
                books[key].fill(token, quantity, notional_e8, charges_e8)
        return books

    def _moves(self, before: Seq) -> Iterator[tuple[int, Any]]:
        """Fills, and places of session events, in `pos` order: a seq's door event comes before what it caused."""
        sessions = [(event.pos[:2], i) for i, event in enumerate(self._sessions)]
        at = 0
        for seq, move in self._fills:
            if seq >= before:
                break
            while at < len(sessions) and sessions[at][0] <= seq:
                yield sessions[at][1], None
                at += 1
            yield -1, move
        while at < len(sessions) and sessions[at][0] < before:
            yield sessions[at][1], None
            at += 1

    def _mark_futures(self, books: dict[BookKey, Book], seq: Seq) -> None:
        """Daily mark-to-market, as the portfolio does it at session close."""
        held = {token for book in books.values() for token in book.held if self.instruments[token].segment.endswith("-FUT")}
        prices = self.prices(seq, held)
        for book in books.values():
            for token, quantity in list(book.held.items()):
                if token in prices:
                    book.settle(token, value_e8(to_e8(prices[token]), quantity, self.instruments[token].multiplier_e8))

    def _valued(self, book: Book, prices: dict[int, float]) -> dict[str, int]:
        worth = [self._worth_e8(book, token, prices) for token in book.held]
        net_e8 = sum(worth)
        amounts = (
            book.cash_e8, book.realised_e8, net_e8 - book.cost_e8, book.charges_e8, book.cash_e8 + net_e8, sum(map(abs, worth)),
            net_e8,
        )  # fmt: skip
        return dict(zip(_AMOUNTS, amounts, strict=True))

    def _worth_e8(self, book: Book, token: int, prices: Mapping[int, float]) -> int:
        position = book.positions[token]
        if token not in prices:  # held from the start, and no price yet: at its cost
            return position.cost_e8
        return value_e8(to_e8(prices[token]), position.quantity, self.instruments[token].multiplier_e8)

    def _positions(self, key: BookKey, book: Book, prices: dict[int, float]) -> Iterator[dict[str, Any]]:
        for token, position in sorted(book.positions.items()):
            instrument = self.instruments[token]
            worth_e8 = self._worth_e8(book, token, prices) if position.quantity else 0
            yield {
                "exec_mode": key[0], "strategy_id": key[1], "instrument_token": token, "symbol": instrument.symbol,
                "quantity": position.quantity, "average_price": position.average_price(instrument.multiplier_e8),
                "last_price": prices.get(token), "cost_e8": position.cost_e8, "value_e8": worth_e8,
                "realised_e8": position.realised_e8, "unrealised_e8": worth_e8 - position.cost_e8,
                "charges_e8": position.charges_e8,
            }  # fmt: skip


def _fills(run: Run, instruments: dict[int, Instrument]) -> list[tuple[Seq, Any]]:
    """Each fill's seq, and what the ledger takes of it."""
    frame = run.topic(FILLED).with_columns(pl.sum_horizontal(pl.col("charges").struct.unnest()).alias("charges_e8"))
    columns = ("epoch", "number", "exec_mode", "strategy_id", "instrument_token", "quantity", "price", "charges_e8")
    return [
        ((epoch, number), ((mode, name), token, quantity,
                           value_e8(to_e8(price), quantity, instruments[token].multiplier_e8), charges_e8))
        for epoch, number, mode, name, token, quantity, price, charges_e8 in frame.select(columns).iter_rows()
    ]  # fmt: skip


def _floats(frame: pl.DataFrame) -> pl.DataFrame:
    exact = [name for name in frame.columns if name.endswith("_e8")]
    return frame.with_columns(pl.Series(name.removesuffix("_e8"), frame[name].to_numpy() / E8, pl.Float64) for name in exact)
