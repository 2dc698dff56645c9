"""Strategies: parameters, hooks, and what happens when one raises."""

from typing import Any

import msgspec
import pytest

import alphapanda as ap
from alphapanda.contracts.codec import decode, encode
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import Event, StrategyHalted, TradingSignal
from alphapanda.runtime.strategies import code_digest, find_class
from alphapanda.services.strategy_runner.service import StrategyLane
from tests.builders import INSTRUMENTS, made, session_open, tick


class Sample(ap.Strategy):
    fast: int = 20
    weights: tuple[float, ...] = (0.5,)

    def on_start(self) -> None:
        self.seen = 0

    def on_market_data(self, tick: Any) -> Any:
        self.seen += 1
        if self.seen == self.fast:
            yield self.buy(tick.instrument_token, 1)
        if self.seen > self.fast:
            yield self.buy(tick.instrument_token, 1)
            raise ZeroDivisionError("no more")


def lane(strategy: ap.Strategy) -> StrategyLane:
    return StrategyLane(1, "sample", strategy, {101: INSTRUMENTS[101]})


def said(room: StrategyLane, *events: Event) -> list[Any]:
    return [data for event in events if room.taker(event) for _, data in room.handle(event)]


def test_parameters_are_taken_by_name_and_converted_from_text() -> None:
    """As the command line gives them."""
    made = Sample.from_params({"fast": "7", "symbols": "AAA, BBB"})
    assert made.params() == {"symbols": ("AAA", "BBB"), "fast": 7, "weights": (0.5,)}


@pytest.mark.parametrize(
    ("params", "message"), [({"slow": 1}, "no parameter 'slow': it has symbols, fast"), ({"fast": "x"}, "fast='x'")]
)
def test_a_wrong_parameter_is_named(params: dict[str, Any], message: str) -> None:
    """With what there is."""
    with pytest.raises(ConfigurationError, match=message):
        Sample.from_params(params)


def test_a_strategy_is_handed_its_own_instruments_alone() -> None:
    """Ticks of BBB are not for it; nor are events it has no hook for."""
    room = lane(Sample(fast=1))
    taken = [room.taker(event) is not None for event in (tick(1, 1.0), tick(2, 1.0, token=102), session_open())]
    assert taken == [True, False, False]


def test_a_strategy_that_raises_is_halted_at_the_authors_line() -> None:
    """What it yielded in that call is not sent, and it is handed no more."""
    room = lane(Sample(fast=1))
    found = said(room, tick(1, 1.0), tick(2, 1.0), tick(3, 1.0))
    assert [type(one) for one in found] == [TradingSignal, StrategyHalted]
    assert (found[1].error, found[1].where.split(":")[0]) == ("ZeroDivisionError: no more", "test_strategy.py")


def test_what_is_no_signal_halts_the_strategy() -> None:
    """A yielded number is a mistake, said so."""

    class Wrong(ap.Strategy):
        def on_market_data(self, tick: Any) -> Any:
            yield 1

    (halted,) = said(lane(Wrong()), tick(1, 1.0))
    assert "yield self.buy" in halted.error


class Whole(ap.Strategy):
    """Says prices as ints where they are whole, and one that is no number at last."""

    def on_market_data(self, tick: Any) -> Any:
        yield self.buy(tick.instrument_token, 1, price=100, trigger=98, limit=99, stop_loss=90, take_profit=120)
        if tick.last_price > 1:
            yield self.buy(tick.instrument_token, 1, price="dear")  # type: ignore[arg-type]


def test_prices_leave_as_floats_so_that_their_lines_come_back_as_they_were() -> None:
    """Also by the short cut; what is no number halts the strategy."""
    (signal,) = said(lane(Whole()), tick(1, 1.0))
    prices = (signal.reference_price, *msgspec.structs.astuple(signal.terms))
    assert [repr(one) for one in prices if isinstance(one, int | float)] == ["100.0", "99.0", "98.0", "90.0", "120.0"]
    line = encode(made(1, 2, 1, signal))
    assert encode(decode(line)) == line
    room = lane(Whole())
    ((_, ((_, short),)), (_, ((_, halted),))) = room.on_ticks([tick(n, float(n)).data for n in (1, 2)])  # type: ignore[misc]
    assert (short, type(halted)) == (signal, StrategyHalted)


def test_state_is_everything_but_parameters_and_can_be_put_back() -> None:
    """Seen twice, put back to once."""
    room = lane(Sample())
    said(room, tick(1, 1.0))
    taken = room.snapshot()
    said(room, tick(2, 1.0))
    room.restore(taken)
    assert room.strategy.state() == {"seen": 1}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("EmaCross", "module:Class"),
        ("strategies.ema_cross:Nothing", "it has EmaCross"),
        ("no.such:Thing", "cannot be imported"),
        ("no.py:X", "is not there"),
    ],
)
def test_a_strategy_that_cannot_be_found_is_explained(name: str, message: str) -> None:
    """What was looked for, and what there is."""
    with pytest.raises(ConfigurationError, match=message):
        find_class(name)


def test_the_code_digest_covers_the_strategys_own_imports(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change in a module that the strategy imports changes its digest."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "helper_one.py").write_text("LEVEL = 1\n")
    text = "import alphapanda as ap\nimport helper_one\n\nclass Mine(ap.Strategy):\n    level: int = helper_one.LEVEL\n"
    (tmp_path / "mine_one.py").write_text(text)
    cls = find_class("mine_one:Mine")
    before = code_digest(cls)
    (tmp_path / "helper_one.py").write_text("LEVEL = 2\n")
    assert (before == code_digest(cls), len(before)) == (False, 64)
