"""Market profiles: which sessions a market has, in which zone, and what trading costs by default.

`nse`, `nfo` and `always` come with AlphaPanda; any other market is a TOML file of the same form (see `tables/nse.toml`). With
`calendar = "nse"` a profile has the years, holidays and special sessions of that one and states only what it has besides, or
otherwise (see `tables/nfo.toml`). A date outside a profile's years is an error: sessions are never guessed.
"""

import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from alphapanda.contracts.errors import ConfigurationError, ReferenceDataError

BUILT_IN = ("nse", "nfo", "always")
NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class TradingSession(NamedTuple):
    """One trading session over [open, close), in nanoseconds UTC."""

    session: str  # local date, 2024-03-01
    open_ts_ns: int
    close_ts_ns: int
    square_off_ts_ns: int | None


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is not a time zone such as Asia/Kolkata") from error
    return name


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Hours(_Part):
    """Local hours; `close_day` 1 means the close is on the next day."""

    open: time
    close: time
    close_day: int = 0
    square_off: time | None = None


class Regular(Hours):
    """Hours of these weekdays, from a date on: of two that have begun, the later one counts."""

    weekdays: tuple[Weekday, ...]
    since: date | None = None  # None: always


class Special(Hours):
    """Hours of one date, whatever its weekday."""

    date: date


class MarketProfile(_Part):
    """Sessions, zone, currency and default charges of a market."""

    name: str
    zone: Annotated[str, AfterValidator(_zone)]
    currency: str
    charges: str = "none"  # default charge profile
    years: tuple[int, ...] = ()  # the years the table covers; empty: every date
    holidays: tuple[date, ...] = ()
    unknown: tuple[date, ...] = ()  # dates with a session whose hours the table does not know
    sessions: tuple[Regular, ...]
    special: tuple[Special, ...] = ()

    @cached_property
    def _zone_info(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    @cached_property
    def _special_by_date(self) -> dict[date, Special]:
        return {one.date: one for one in self.special}

    def _regular(self, day: date) -> Regular | None:
        weekday = _WEEKDAYS[day.weekday()]
        begun = [one for one in self.sessions if weekday in one.weekdays and (one.since is None or one.since <= day)]
        return max(begun, key=lambda one: one.since or date.min, default=None)

    @cached_property
    def _known(self) -> dict[date, TradingSession | None]:
        return {}

    @cached_property
    def never_closes(self) -> bool:
        """Whether each session closes when the next one opens, on every day: then no moment is outside a session."""
        hours = (*self.sessions, *self.special)
        weekdays = {weekday for one in self.sessions if one.since is None for weekday in one.weekdays}
        return (
            not self.holidays and not self.unknown and len(weekdays) == len(_WEEKDAYS)
            and all((one.open, one.close, one.close_day) == (hours[0].open, hours[0].open, 1) for one in hours)
        )  # fmt: skip

    def session_on(self, day: date) -> TradingSession | None:
        """The trading session that opens on this local date; None on holidays and free weekdays.

        Raises ReferenceDataError for a date outside the table's years.
        """
        if self.years and day.year not in self.years:
            raise ReferenceDataError(
                f"{day} is outside the calendar of market profile {self.name!r}, which covers the years"
                f" {', '.join(map(str, self.years))}: use a profile of your own (a TOML file) that covers it, or `always`"
            )
        if day in self.unknown:
            raise ReferenceDataError(
                f"{day} had a special session whose hours market profile {self.name!r} does not know:"
                " state them in a profile of your own (a TOML file), under [[special]]"
            )
        if day not in self._known:
            self._known[day] = self._make(day)
        return self._known[day]

    def _make(self, day: date) -> TradingSession | None:
        hours: Hours | None = self._special_by_date.get(day)
        if hours is None and day not in self.holidays:
            hours = self._regular(day)
        if hours is None:
            return None
        close = self._ns(day + timedelta(days=hours.close_day), hours.close)
        off = None if hours.square_off is None else self._ns(day, hours.square_off)
        return TradingSession(day.isoformat(), self._ns(day, hours.open), close, off)

    def _ns(self, day: date, at: time) -> int:
        since = datetime.combine(day, at, self._zone_info) - _EPOCH
        return (since.days * 86_400 + since.seconds) * NS

    def sessions_between(self, start_ns: int, end_ns: int) -> list[TradingSession]:
        """The sessions that share a moment with [start, end), in order."""
        longest = 1 + max((one.close_day for one in (*self.sessions, *self.special)), default=0)
        day, last = self.local_date(start_ns) - timedelta(days=longest - 1), self.local_date(end_ns)
        if self.years and day.year not in self.years:
            day = self.local_date(start_ns)
        found = []
        while day <= last:
            one = self.session_on(day)
            if one is not None and one.open_ts_ns < end_ns and one.close_ts_ns > start_ns:
                found.append(one)
            day += timedelta(days=1)
        return found

    def local_date(self, ts_ns: int) -> date:
        """The date at this market when it is `ts_ns`."""
        return (_EPOCH + timedelta(seconds=ts_ns // NS)).astimezone(self._zone_info).date()

    def to_dict(self) -> dict[str, Any]:
        """The whole profile, JSON-able."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MarketProfile":
        """The profile that `to_dict` wrote."""
        return cls.model_validate(values)


def load_profile(name_or_path: str) -> MarketProfile:
    """A built-in profile by name, or one from a TOML file. Raises ConfigurationError naming file and field."""
    if name_or_path in BUILT_IN:
        text = _built_in(name_or_path)
    elif Path(name_or_path).is_file():
        text = Path(name_or_path).read_text(encoding="utf-8")
    else:
        raise ConfigurationError(
            f"market profile {name_or_path!r} is neither {', '.join(BUILT_IN)} nor a TOML file that is there"
        )
    try:
        table = tomllib.loads(text)
        profile = {**table.pop("profile", {}), **table}
        calendar = profile.pop("calendar", None)
        own = MarketProfile.model_validate(profile)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{name_or_path}: not TOML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigurationError(f"{name_or_path}: {wrong}") from error
    return own if calendar is None else _on_calendar(own, calendar, name_or_path)


def _built_in(name: str) -> str:
    return resources.files("alphapanda.reference").joinpath(f"tables/{name}.toml").read_text("utf-8")


def _on_calendar(own: MarketProfile, calendar: object, file: str) -> MarketProfile:
    """The profile over the dates of a built-in one; hours it states itself for a date count."""
    if calendar not in BUILT_IN:
        raise ConfigurationError(f"{file}: calendar: {calendar!r} is not a profile to share: there are {', '.join(BUILT_IN)}")
    shared = load_profile(str(calendar))
    stated = {one.date for one in own.special}
    dates: dict[str, Any] = {
        "years": tuple(sorted({*shared.years, *own.years})),
        "holidays": tuple(sorted({*shared.holidays, *own.holidays})),
        "unknown": tuple(sorted({*shared.unknown, *own.unknown} - stated)),
        "special": (*(one for one in shared.special if one.date not in stated), *own.special),
    }
    return own.model_copy(update=dates)
