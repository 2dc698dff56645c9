"""Market profiles: sessions by date, clear refusals, and an independent calendar as oracle."""

import json
import tomllib
import warnings
from datetime import date, datetime, timedelta
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from alphapanda.contracts.errors import ConfigurationError, ReferenceDataError
from alphapanda.reference.profiles import MarketProfile, load_profile

NS = 1_000_000_000
NSE, NFO = load_profile("nse"), load_profile("nfo")
DIFFERENCES = {
    date(2019, 10, 27): "Muhurat session on a Sunday",
    date(2024, 1, 20): "full session on a Saturday",
    date(2024, 3, 2): "special session on a Saturday",
    date(2024, 5, 18): "special session on a Saturday",
    date(2025, 2, 1): "budget Saturday",
    date(2026, 2, 1): "budget Sunday",
}


def test_a_regular_day_in_utc() -> None:
    """2024-03-01 runs from 03:45 to 10:00 UTC, square-off 09:50."""
    one = NSE.session_on(date(2024, 3, 1))
    assert one == ("2024-03-01", 1_709_264_700 * NS, 1_709_287_200 * NS, 1_709_286_600 * NS)


def test_the_calendar_equals_an_independent_one_but_for_listed_days() -> None:
    """Every session day of the covered years, against pandas_market_calendars; each difference has its reason."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pandas_market_calendars

        oracle = pandas_market_calendars.get_calendar("NSE")
        theirs = {day.date() for year in NSE.years for day in oracle.schedule(f"{year}-01-01", f"{year}-12-31").index}
    days = [date(year, 1, 1) + timedelta(days=i) for year in NSE.years for i in range(365 + (year % 4 == 0))]
    ours = {day for day in days if day not in NSE.unknown and NSE.session_on(day)}
    assert ours ^ theirs == set(DIFFERENCES)


def test_a_date_outside_the_table_is_refused() -> None:
    """2023 is not in the table, and the message says which years are; hours that are not known are not guessed."""
    with pytest.raises(ReferenceDataError, match="2019, 2022, 2024, 2025, 2026"):
        NSE.session_on(date(2023, 6, 1))
    with pytest.raises(ReferenceDataError, match="hours"):
        NSE.session_on(date(2026, 11, 8))


def test_always_has_one_session_for_each_utc_day() -> None:
    """Two days, end to end."""
    found = load_profile("always").sessions_between(0, 2 * 86_400 * NS)
    assert [(one.open_ts_ns, one.close_ts_ns) for one in found] == [(0, 86_400 * NS), (86_400 * NS, 2 * 86_400 * NS)]


def test_a_profile_of_ones_own_follows_daylight_saving_time(tmp_path: Path) -> None:
    """New York opens at 13:30 UTC in summer, 14:30 in winter; the profile survives a manifest."""
    path = tmp_path / "us.toml"
    path.write_text(
        '[profile]\nname="us"\nzone="America/New_York"\ncurrency="USD"\n[[sessions]]\nweekdays=["mon","tue","wed","thu","fri"]\n'
        'open="09:30"\nclose="16:00"\n'
    )
    profile = MarketProfile.from_dict(load_profile(str(path)).to_dict())
    opens = [profile.session_on(day).open_ts_ns // NS % 86_400 / 3600 for day in (date(2013, 10, 7), date(2013, 12, 2))]  # type: ignore[union-attr]
    assert opens == [13.5, 14.5]


def test_a_malformed_profile_names_file_and_field(tmp_path: Path) -> None:
    """A zone that does not exist."""
    path = tmp_path / "bad.toml"
    path.write_text(
        '[profile]\nname="x"\nzone="Mars/Olympus"\ncurrency="INR"\n[[sessions]]\nweekdays=["mon"]\nopen="09:00"\nclose="10:00"\n'
    )
    with pytest.raises(ConfigurationError, match=r"bad\.toml.*zone"):
        load_profile(str(path))


def local(profile: MarketProfile, day: date) -> tuple[str, ...]:
    """Open, close and square-off as hours at the market."""
    one = profile.session_on(day)
    assert one is not None
    times = (one.open_ts_ns, one.close_ts_ns, one.square_off_ts_ns or 0)
    return tuple(datetime.fromtimestamp(ts_ns / NS, ZoneInfo(profile.zone)).strftime("%H:%M") for ts_ns in times)


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        (date(2024, 3, 1), ("09:15", "15:30", "15:25")),
        (date(2026, 7, 31), ("09:15", "15:30", "15:25")),
        (date(2026, 8, 3), ("09:15", "15:40", "15:25")),
        (date(2026, 12, 31), ("09:15", "15:40", "15:25")),
        (date(2024, 1, 20), ("09:15", "15:30", "15:25")),
        (date(2025, 2, 1), ("09:15", "15:30", "15:25")),
        (date(2026, 2, 1), ("09:15", "15:30", "15:25")),
    ],
)
def test_futures_and_options_trade_to_1540_since_2026_08_03(day: date, hours: tuple[str, ...]) -> None:
    """And to 15:30 before; intraday positions are squared off at 15:25, on special days too."""
    assert local(NFO, day) == hours


def test_cash_shares_keep_their_hours() -> None:
    """09:15 to 15:30, squared off at 15:20, before and since 2026-08-03."""
    actual = {local(NSE, day) for day in (date(2026, 7, 31), date(2026, 8, 3))}
    assert actual == {("09:15", "15:30", "15:20")}


def test_derivatives_have_the_days_of_the_cash_market_and_state_none_of_them() -> None:
    """Every day of every year, though the file has neither years nor holidays."""
    text = (resources.files("alphapanda.reference") / "tables/nfo.toml").read_text("utf-8")
    days = [date(year, 1, 1) + timedelta(days=i) for year in NSE.years for i in range(365 + (year % 4 == 0))]
    days = [day for day in days if day not in NSE.unknown]
    differ = [day for day in days if (NSE.session_on(day) is None) != (NFO.session_on(day) is None)]
    assert (differ, "holidays" in tomllib.loads(text), NFO.unknown) == ([], False, NSE.unknown)
    with pytest.raises(ReferenceDataError, match="'nfo', which covers the years 2019, 2022"):
        NFO.session_on(date(2023, 6, 1))


def test_a_profile_that_shares_a_calendar_survives_a_manifest() -> None:
    """What a tape keeps is whole: it does not ask the table again."""
    again = MarketProfile.from_dict(json.loads(json.dumps(NFO.to_dict())))
    assert again.session_on(date(2026, 8, 3)) == NFO.session_on(date(2026, 8, 3))
    assert again == NFO


def test_a_manifest_from_before_hours_had_dates_is_read() -> None:
    """Sessions without `since` hold always."""
    old = NSE.to_dict()
    for one in old["sessions"]:
        del one["since"]
    assert MarketProfile.from_dict(old) == NSE


def test_a_profile_of_ones_own_extends_a_calendar(tmp_path: Path) -> None:
    """Another year with its holidays, and the hours of a special session that the table does not know."""
    path = tmp_path / "mine.toml"
    path.write_text(
        '[profile]\nname="mine"\ncalendar="nse"\nzone="Asia/Kolkata"\ncurrency="INR"\nyears=[2023]\nholidays=[2023-01-26]\n'
        '[[sessions]]\nweekdays=["mon","tue","wed","thu","fri"]\nopen="09:15"\nclose="15:30"\n'
        '[[special]]\ndate=2026-11-08\nopen="18:00"\nclose="19:00"\n'
    )
    mine = load_profile(str(path))
    days = (date(2023, 1, 25), date(2023, 1, 26), date(2024, 1, 26), date(2026, 11, 8))
    assert [mine.session_on(day) is not None for day in days] == [True, False, False, True]


def test_a_calendar_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        '[profile]\nname="x"\ncalendar="lse"\nzone="UTC"\ncurrency="GBP"\n[[sessions]]\nweekdays=["mon"]\nopen="09:00"\nclose="10:00"\n'
    )
    with pytest.raises(ConfigurationError, match=r"bad\.toml: calendar: 'lse'.*nse, nfo, always"):
        load_profile(str(path))


@pytest.mark.parametrize(
    ("changes", "never_closes"),
    [
        ({}, True),
        ({"zone": "Asia/Kolkata"}, True),
        ({"open": "17:00", "close": "17:00"}, True),
        ({"close": "23:59"}, False),
        ({"close_day": 0}, False),
        ({"close_day": 2}, False),
        ({"weekdays": ["mon", "tue", "wed", "thu", "fri"]}, False),
        ({"since": "2024-01-01"}, False),
        ({"holidays": ["2024-12-25"]}, False),
        ({"unknown": ["2024-12-25"]}, False),
        ({"special": [{"date": "2024-12-25", "open": "00:00", "close": "12:00"}]}, False),
        ({"special": [{"date": "2024-12-25", "open": "00:00", "close": "00:00", "close_day": 1}]}, True),
    ],
)
def test_a_market_never_closes_where_each_session_ends_as_the_next_begins(changes: dict[str, object], never_closes: bool) -> None:
    """On every day: one holiday, one shorter day or one weekday without a session is enough to close it."""
    whole = load_profile("always").to_dict()
    hours = {name: value for name, value in changes.items() if name in whole["sessions"][0]}
    rest = {name: value for name, value in changes.items() if name not in hours}
    profile = MarketProfile.from_dict({**whole, **rest, "sessions": [{**whole["sessions"][0], **hours}]})
    assert profile.never_closes is never_closes


def test_the_markets_of_the_exchange_close() -> None:
    assert (NSE.never_closes, NFO.never_closes) == (False, False)
