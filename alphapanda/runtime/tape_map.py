"""MAP.toml: what an importer must know of somebody else's files. Unknown keys are refused."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from alphapanda.contracts.errors import ConfigurationError

Kind = Literal["trades", "quotes", "one_sided_quotes", "values", "bars"]
Treatment = Literal["keep", "drop", "error"]

REQUIRED: dict[str, tuple[str, ...]] = {
    "trades": ("price", "size"),
    "quotes": ("bid", "ask"),
    "one_sided_quotes": ("bid", "ask"),
    "values": ("price",),
    "bars": ("open", "high", "low", "close"),
}
ALLOWED: dict[str, tuple[str, ...]] = {
    "trades": ("price", "size", "volume", "bid", "ask", "bid_size", "ask_size"),
    "quotes": ("bid", "ask", "bid_size", "ask_size"),
    "one_sided_quotes": ("bid", "ask", "bid_size", "ask_size"),
    "values": ("price",),
    "bars": ("open", "high", "low", "close", "volume"),
}
COUNTS = ("size", "volume", "bid_size", "ask_size")
"""Columns that become integers; the others are prices."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Time(_Part):
    """Where a row's time stands, and how it is written.

    A timestamp column is taken as it is. An integer needs `unit`. Text is ISO 8601 unless `format` (of strptime) is
    given. `zone` is that of timestamps and text without one; a date alone, as text or as a column of dates, is its midnight
    there.
    """

    column: str = "ts"
    unit: Literal["s", "ms", "us", "ns"] | None = None
    zone: str | None = None
    format: str | None = None


class Columns(_Part):
    """The file's name for each thing; what is left out the file does not have."""

    symbol: str | None = None
    token: str | None = None  # instead of a symbol: the instrument's integer id
    price: str | None = None
    size: str | None = None
    volume: str | None = None  # trades: cumulative volume of the day; bars: volume of the bar
    bid: str | None = None
    ask: str | None = None
    bid_size: str | None = None
    ask_size: str | None = None
    open: str | None = None
    high: str | None = None
    low: str | None = None
    close: str | None = None

    def named(self, kind: str) -> dict[str, str]:
        """What the file has for `kind`: our name -> its name."""
        return {name: getattr(self, name) for name in ALLOWED[kind] if getattr(self, name) is not None}


Offsets = tuple[float, float, float, float]


def _spread(values: dict[str, Any]) -> Offsets:
    """Over the whole bar: at its start and its thirds, and a second before its end."""
    interval_s = float(values.get("interval_s", 60))
    return 0.0, interval_s / 3, 2 * interval_s / 3, max(2 * interval_s / 3, interval_s - 1)


class BarPath(_Part):
    """How a bar becomes four ticks: its prices in the stated order, at the stated seconds after its start.

    Unless these are stated they are 0, a third and two thirds of the interval, and a second before its end.

    The path is a convention, not what happened: between open and close the order of high and low is not known. The bar's
    volume is spread evenly over the ticks, what does not divide goes to the last: its sum is exact.
    """

    interval_s: int = Field(60, gt=0)
    label: Literal["start", "close"] = "start"
    order: Literal["open_high_low_close", "open_low_high_close"] = "open_high_low_close"
    offsets_s: Offsets = Field(default_factory=_spread)

    @model_validator(mode="after")
    def _inside(self) -> "BarPath":
        if list(self.offsets_s) != sorted(self.offsets_s) or self.offsets_s[0] < 0 or self.offsets_s[-1] >= self.interval_s:
            raise ValueError(f"offsets_s must rise within [0, {self.interval_s})")
        return self


class Dirty(_Part):
    """What is done with dirty rows; every one is counted, whatever is done with it."""

    exact_duplicates: Treatment = "keep"  # time and values equal to the instrument's row before
    backward_time: Literal["clamp", "drop", "error"] = "clamp"  # clamp: the row takes the time of the row before
    crossed_quotes: Treatment = "keep"  # bid above ask
    zero_sizes: Treatment = "keep"
    falling_volume: Treatment = "keep"  # cumulative volume below the day's highest so far
    outside_session: Treatment = "keep"
    bad_price: Literal["drop", "error"] = "drop"  # no price, or one that is not finite
    truncated_last_row: Literal["drop", "error"] = "drop"  # a CSV's last row with fewer fields than its header


class MapInstrument(_Part):
    """One row of the tape's instruments table."""

    symbol: str
    token: int | None = Field(None, gt=0)
    segment: str = "NSE"
    tick_size: float = Field(0.05, gt=0)
    lot_size: int = Field(1, gt=0)
    multiplier: float = Field(1.0, gt=0)
    currency: str | None = None  # None: the market profile's
    expiry: str | None = None
    tradable: bool = True
    underlying: str | None = None
    strike: float | None = Field(None, gt=0)
    option_type: Literal["CE", "PE"] | None = None
    freeze_quantity: int | None = Field(None, gt=0)
    lower_band: float | None = Field(None, ge=0)
    upper_band: float | None = Field(None, gt=0)


class Map(_Part):
    """A whole MAP.toml.

    Instruments without a token get the smallest free ones from 1 on, in the order of the table; with `auto` symbols that
    are not in the table do too, in alphabetical order, and are otherwise as `auto` says.
    """

    kind: Kind
    profile: str = "nse"  # a built-in market profile, or a TOML file beside the map
    note: str = ""
    beat_interval_s: int = Field(1, gt=0)
    last_price: Literal["mid", "bid", "ask"] = "mid"  # of quotes
    quantity_unit: float = Field(1.0, gt=0)  # one unit of quantity on the tape is this much in the file
    symbol: str | None = None  # of files without a symbol column
    symbols: tuple[str, ...] = ()  # only these; empty: all
    delimiter: str = Field(",", min_length=1, max_length=1)  # of CSV
    time: Time = Time()
    columns: Columns = Columns()
    bar: BarPath = BarPath()
    dirty: Dirty = Dirty()
    instruments: tuple[MapInstrument, ...] = ()
    auto: MapInstrument | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Map":
        missing = [name for name in REQUIRED[self.kind] if getattr(self.columns, name) is None]
        if missing:
            raise ValueError(f"columns: kind {self.kind!r} needs {', '.join(missing)}")
        given = self.columns.model_dump(exclude_none=True, exclude={"symbol", "token"})
        extra = [name for name in given if name not in ALLOWED[self.kind]]
        if extra:
            raise ValueError(f"columns: kind {self.kind!r} does not take {', '.join(extra)}")
        if sum(one is not None for one in (self.symbol, self.columns.symbol, self.columns.token)) != 1:
            raise ValueError("state one of symbol, columns.symbol and columns.token")
        return self


def load_map(path: Path) -> Map:
    """The map in a TOML file. Raises ConfigurationError naming file and key."""
    try:
        return Map.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'map'}: {one['msg']}" for one in error.errors())
        raise ConfigurationError(f"{path}: {wrong}") from error
