"""What rooms begin with: books with opening positions, corporate actions, and settlement prices, by instrument."""

from collections.abc import Mapping
from functools import cached_property

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import Product
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.corporate_actions import CorporateAction
from alphapanda.core.ledger import Book, opened, to_e8, value_e8
from alphapanda.runtime.settings import OpeningPosition, PortfolioSettings
from alphapanda.services.trading_engine.state import NetKey


class StartBooks:
    """The portfolio settings, with symbols and strategies found. Raises ConfigurationError for what is not there."""

    def __init__(self, settings: PortfolioSettings, lanes: Mapping[str, int], instruments: Mapping[int, Instrument]) -> None:
        self._settings, self._lanes, self._instruments = settings, lanes, instruments
        self._by_symbol = {one.symbol: one for one in instruments.values()}

    def books(self) -> dict[str, Book]:
        """A fresh book of each strategy: each room needs its own."""
        books = {strategy_id: opened(to_e8(self._settings.start_cash)) for strategy_id in self._lanes}
        for one in self._settings.positions:
            instrument = self._find(one.symbol, "portfolio.positions")
            cost_e8 = value_e8(to_e8(one.average_price), one.quantity, instrument.multiplier_e8)
            book = books[self._owner(one)]
            if instrument.instrument_token in book.positions:
                raise ConfigurationError(f"portfolio.positions: {one.symbol} is given twice for {self._owner(one)}: add it up")
            book.adopt(instrument.instrument_token, one.quantity, cost_e8)
        return books

    @cached_property
    def net(self) -> dict[NetKey, int]:
        """What each strategy holds in each product at the start."""
        found = {}
        for one in self._settings.positions:
            owner, instrument = self._owner(one), self._find(one.symbol, "portfolio.positions")
            product = instrument.product(Product(one.product))
            found[self._lanes[owner], owner, instrument.instrument_token, str(product)] = one.quantity
        return found

    @cached_property
    def actions(self) -> list[CorporateAction]:
        """Corporate actions by ex-date, those of one day in the order in which they are given."""
        found = []
        for one in self._settings.corporate_actions:
            token = self._find(one.symbol, "portfolio.corporate_actions").instrument_token
            found.append(CorporateAction(token, one.ex_date.isoformat(), one.kind, one.new, one.old, to_e8(one.amount)))
        return sorted(found, key=lambda action: action.ex_date)

    @cached_property
    def settlements_e8(self) -> dict[int, int]:
        """Settlement prices of derivatives in 1e-8: their own, else what follows from their underlying's."""
        given = self._settings.settlements
        known = {*self._by_symbol, *(one.underlying for one in self._instruments.values())}
        if unknown := [name for name in given if name not in known]:
            raise ConfigurationError(f"portfolio.settlements: {', '.join(unknown)} is no symbol of the tape, and no underlying")
        found = {}
        for token, one in self._instruments.items():
            if one.symbol in given:
                found[token] = to_e8(given[one.symbol])
            elif one.underlying in given:
                found[token] = to_e8(intrinsic(one, given[one.underlying]))
        return found

    def _owner(self, position: OpeningPosition) -> str:
        if position.quantity == 0:
            raise ConfigurationError(f"portfolio.positions: {position.symbol} has quantity 0")
        if position.strategy_id in self._lanes:
            return position.strategy_id
        if position.strategy_id or len(self._lanes) != 1:
            raise ConfigurationError(
                f"portfolio.positions: {position.symbol} is for strategy_id {position.strategy_id!r}, which is none of"
                f" {', '.join(self._lanes)}"
            )
        return next(iter(self._lanes))

    def _find(self, symbol: str, where: str) -> Instrument:
        if symbol not in self._by_symbol:
            raise ConfigurationError(f"{where}: the tape has no {symbol}; it has {', '.join(sorted(self._by_symbol))}")
        return self._by_symbol[symbol]


def intrinsic(instrument: Instrument, underlying: float) -> float:
    """What a derivative is worth at expiry: a future its underlying, an option what exercising it brings."""
    if instrument.option_type is None or instrument.strike is None:
        return underlying
    worth = underlying - instrument.strike if instrument.option_type == "CE" else instrument.strike - underlying
    return max(0.0, worth)
