"""Market profiles: sessions by date, clear refusals, and an independent calendar as oracle."""

import warnings
from datetime import date, timedelta
from pathlib import Path

import pytest

from alphapanda.contracts.errors import ConfigurationError, ReferenceDataError
from alphapanda.reference.profiles import MarketProfile, load_profile

NS = 1_000_000_000
NSE = load_profile("nse")
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
