"""Amounts of two currencies are never added up: books are in the profile's, and what is in another is refused by name."""

from pathlib import Path
from typing import Any

import pytest

import alphapanda as ap
from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research.runs import Run
from alphapanda.runtime.tape_import import import_tape

DAY = 1_709_251_200  # 2024-03-01 00:00:00Z
HEAD = 'kind = "trades"\nprofile = "PROFILE"\n[columns]\nsymbol = "s"\nprice = "p"\nsize = "q"\n[time]\nunit = "s"\n'
PAIRS = {"EURUSD": "USD", "NZDUSD": "USD", "USDJPY": "JPY"}
INSTRUMENTS = "".join(f'[[instruments]]\nsymbol = "{symbol}"\ncurrency = "{currency}"\n' for symbol, currency in PAIRS.items())
YEN = '[profile]\nname = "yen"\nzone = "UTC"\ncurrency = "JPY"\n[[sessions]]\nopen = "00:00"\nclose = "00:00"\nclose_day = 1\n'


class BuyEach(ap.Strategy):
    """Buys one of each instrument at its first tick."""

    def on_start(self) -> None:
        self.bought: set[int] = set()

    def on_market_data(self, tick: Any) -> Any:
        if tick.instrument_token not in self.bought:
            self.bought.add(tick.instrument_token)
            yield self.buy(tick.instrument_token, 1)


def brought_in(folder: Path, plan: str, profile: str = "always") -> Path:
    """A tape of three pairs with two ticks each."""
    folder.mkdir()
    rows = [f"{DAY + i},{symbol},{1 + i},1" for i, symbol in enumerate([*PAIRS, *PAIRS])]
    (folder / "rows.csv").write_text("\n".join(["ts,s,p,q", *rows]), encoding="utf-8")
    (folder / "map.toml").write_text(plan.replace("PROFILE", profile), encoding="utf-8")
    weekdays = ", ".join(f'"{one}"' for one in ("mon", "tue", "wed", "thu", "fri", "sat", "sun"))
    (folder / "yen.toml").write_text(f"{YEN}weekdays = [{weekdays}]\n", encoding="utf-8")
    import_tape([folder / "rows.csv"], folder / "map.toml", folder / "tape")
    return folder / "tape"


def replayed(tape: Path, *symbols: str, **settings: Any) -> Run:
    return ap.replay(tape, [BuyEach(symbols=symbols)], settings=settings, out=tape.parent, progress=False)


@pytest.mark.parametrize(("profile", "currency"), [("always", "USD"), ("nse", "INR"), ("yen.toml", "JPY")])
def test_an_instrument_whose_currency_the_map_does_not_state_has_the_profiles(
    tmp_path: Path, profile: str, currency: str
) -> None:  # fmt: skip
    """Those of `auto` too."""
    tape = Tape.open(brought_in(tmp_path / "a", f'{HEAD}[[instruments]]\nsymbol = "EURUSD"\n[auto]\nsymbol = "*"\n', profile))
    assert {one.currency for one in tape.instruments.values()} == {currency}


def test_a_strategy_over_two_currencies_is_refused_and_over_one_is_not(tmp_path: Path) -> None:
    """The message names the instrument, its currency, and what to do."""
    tape = brought_in(tmp_path / "a", HEAD + INSTRUMENTS)
    with pytest.raises(ConfigurationError, match=r"USDJPY \(JPY\) would be .* than USD.*'always'.*symbols=.*profile of your"):
        replayed(tape)
    assert set(replayed(tape, "EURUSD", "NZDUSD").fills["symbol"]) == {"EURUSD", "NZDUSD"}


def test_books_in_another_currency_take_a_profile_of_ones_own(tmp_path: Path) -> None:
    """Then it is the others that are refused."""
    tape = brought_in(tmp_path / "a", HEAD + INSTRUMENTS, "yen.toml")
    run = replayed(tape, "USDJPY")
    assert (run.manifest["currency"], run.fills.height) == ("JPY", 1)
    with pytest.raises(ConfigurationError, match=r"EURUSD \(USD\), NZDUSD \(USD\) would be traded"):
        replayed(tape)


def test_a_position_held_at_the_start_counts_too(tmp_path: Path) -> None:
    """Its value would be added to that of the others."""
    tape = brought_in(tmp_path / "a", HEAD + INSTRUMENTS)
    held = [{"symbol": "USDJPY", "quantity": 1, "average_price": 1.0}]
    with pytest.raises(ConfigurationError, match=r"USDJPY \(JPY\)"):
        replayed(tape, "EURUSD", **{"portfolio.positions": held})


def test_what_is_not_traded_may_be_in_any_currency(tmp_path: Path) -> None:
    """An index that a strategy looks at."""
    plan = HEAD + INSTRUMENTS.replace('"JPY"', '"JPY"\ntradable = false')
    run = replayed(brought_in(tmp_path / "a", plan), *PAIRS)
    assert run.signals.select("symbol", "outcome").rows()[2] == ("USDJPY", "instrument")


def test_signals_of_a_run_over_one_currency_are_played_back(tmp_path: Path) -> None:
    """Though the tape has another; a strategy that said nothing is no reason to refuse either."""
    tape = brought_in(tmp_path / "a", HEAD + INSTRUMENTS)
    run = ap.replay(
        tape, [BuyEach(symbols=("NZDUSD",)), ap.Strategy(symbols=("EURUSD",))], out=tape.parent, progress=False
    )  # fmt: skip
    again = ap.replay(signals_from=run, out=tape.parent, progress=False)
    assert again.digest == run.digest
    assert run.why(run.fills["id"][0]).checks
