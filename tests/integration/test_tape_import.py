"""Other people's files become tapes: kinds, dirty rows, and errors that name file, row and column."""

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError, TapeError
from alphapanda.contracts.events import MarketTick
from alphapanda.runtime.tape_import import import_tape

INSTRUMENT = '[[instruments]]\nsymbol = "A"\ntoken = 7\n'
TIME = '[time]\nunit = "s"\n'
TRADES = f'kind = "trades"\nprofile = "always"\nsymbol = "A"\n[columns]\nprice = "p"\nsize = "q"\n{TIME}{INSTRUMENT}'
DAY = 1_709_251_200  # 2024-03-01 00:00:00Z
S = 1_000_000_000


def brought_in(folder: Path, plan: str, *texts: str) -> tuple[Tape, dict[str, Any]]:
    """The tape of these CSV files under this map."""
    for n, text in enumerate(texts):
        (folder / f"{n}.csv").write_text(text, encoding="utf-8")
    (folder / "map.toml").write_text(plan, encoding="utf-8")
    manifest = import_tape([folder / f"{n}.csv" for n in range(len(texts))], folder / "map.toml", folder / "tape")
    return Tape.open(folder / "tape"), manifest


def ticks(tape: Tape) -> list[MarketTick]:
    return [event.data for event in tape.events() if isinstance(event.data, MarketTick)]


def test_trades(tmp_path: Path) -> None:
    """Price and size become last price and quantity; what the file does not have is None."""
    tape, _ = brought_in(tmp_path, TRADES, f"ts,p,q\n{DAY},1.5,3\n{DAY + 1},1.6,4\n")
    assert ticks(tape) == [MarketTick(DAY * S, 7, 1.5, 3), MarketTick((DAY + 1) * S, 7, 1.6, 4)]


def test_quotes_at_mid(tmp_path: Path) -> None:
    """The last price of a two-sided quote is (bid + ask) / 2."""
    plan = f'kind = "quotes"\nprofile = "always"\nsymbol = "A"\n[columns]\nbid = "b"\nask = "a"\n{TIME}{INSTRUMENT}'
    tape, _ = brought_in(tmp_path, plan, f"ts,b,a\n{DAY},1.0,2.0\n")
    assert ticks(tape) == [MarketTick(DAY * S, 7, 1.5, bid=1.0, ask=2.0)]


def test_one_sided_quotes_carry_the_other_side(tmp_path: Path) -> None:
    """A row updates one side of its instrument; the first tick is the first row after which both are known."""
    plan = (
        'kind = "one_sided_quotes"\nprofile = "always"\nlast_price = "bid"\n[columns]\nsymbol = "s"\nbid = "b"\nask = "a"\n'
        f'bid_size = "bs"\nask_size = "as"\n{TIME}[auto]\nsymbol = "*"\n'
    )
    text = f"ts,s,b,bs,a,as\n{DAY},X,1,10,,0\n{DAY},Y,,0,9,5\n{DAY + 1},X,,0,2,20\n{DAY + 2},X,1.5,30,,0\n"
    tape, manifest = brought_in(tmp_path, plan, text)
    found = [(one.instrument_token, one.last_price, one.bid_quantity, one.ask, one.ask_quantity) for one in ticks(tape)]
    assert (found, manifest["dirty"]["one_side_unknown"]["rows"]) == ([(1, 1.0, 10, 2.0, 20), (1, 1.5, 30, 2.0, 20)], 2)


BARS = (
    'kind = "bars"\nprofile = "always"\nsymbol = "A"\n[columns]\nopen = "o"\nhigh = "h"\nlow = "l"\nclose = "c"\nvolume = "v"\n'
    f"{TIME}{INSTRUMENT}"
)


def test_bars_become_price_paths(tmp_path: Path) -> None:
    """Four ticks a bar at the stated offsets; the quantities add up to the bar's volume."""
    tape, _ = brought_in(tmp_path, BARS, f"ts,o,h,l,c,v\n{DAY},10,12,9,11,7\n")
    found = [(one.ts_ns // S - DAY, one.last_price, one.last_quantity) for one in ticks(tape)]
    assert found == [(0, 10.0, 1), (20, 12.0, 1), (40, 9.0, 1), (59, 11.0, 4)]


@pytest.mark.parametrize(
    ("interval_s", "expected"),
    [
        (60, [0, 20_000, 40_000, 59_000]),
        (3600, [0, 1_200_000, 2_400_000, 3_599_000]),
        (86_400, [0, 28_800_000, 57_600_000, 86_399_000]),
        (5, [0, 1_667, 3_333, 4_000]),
        (2, [0, 667, 1_333, 1_333]),
        (1, [0, 333, 667, 667]),
    ],
)
def test_a_bars_prices_are_spread_over_the_whole_of_it(tmp_path: Path, interval_s: int, expected: list[int]) -> None:
    """Its close comes a second before its end (in milliseconds here); of the shortest bars, with its third price."""
    plan = f"{BARS}[bar]\ninterval_s = {interval_s}\n"
    tape, _ = brought_in(tmp_path, plan, f"ts,o,h,l,c,v\n{DAY},10,12,9,11,7\n")
    found = [(round((one.ts_ns - DAY * S) / 1e6), one.last_price) for one in ticks(tape)]
    assert found == list(zip(expected, [10.0, 12.0, 9.0, 11.0], strict=True))


def test_bars_labelled_by_their_close_begin_one_interval_earlier(tmp_path: Path) -> None:
    """A bar stamped at 00:01:00 has its first tick at 00:00:00; the order of the path may be turned."""
    plan = BARS + '[bar]\nlabel = "close"\norder = "open_low_high_close"\n'
    tape, _ = brought_in(tmp_path, plan, f"ts,o,h,l,c,v\n{DAY + 60},10,12,9,11,7\n")
    assert [(one.ts_ns // S - DAY, one.last_price) for one in ticks(tape)] == [(0, 10.0), (20, 9.0), (40, 12.0), (59, 11.0)]


def test_sources_are_merged_by_time_and_in_their_order(tmp_path: Path) -> None:
    """Rows of one time come in the order of the files, whatever their times before."""
    one, other = f"ts,p,q\n{DAY + 1},1,1\n{DAY + 3},2,1\n", f"ts,p,q\n{DAY},3,1\n{DAY + 3},4,1\n{DAY + 9},5,1\n"
    tape, _ = brought_in(tmp_path, TRADES, one, other)
    assert [one.last_price for one in ticks(tape)] == [3.0, 1.0, 2.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("2024-03-01", -19_800),
        ("2024-03-01T09:15", 33_300 - 19_800),
        ("2024-03-01 09:15:00.5", 33_300.5 - 19_800),
        ("2024-03-01T09:15:00Z", 33_300),
        ("2024-03-01T09:15Z", 33_300),
        ("2024-03-01T09:15-02:00", 40_500),
    ],
)
def test_times_in_iso_8601_need_no_format(tmp_path: Path, text: str, expected_s: float) -> None:
    """A date alone is its midnight in the map's zone; a time without a zone is in it, too."""
    plan = TRADES.replace(TIME, '[time]\nzone = "Asia/Kolkata"\n')
    tape, _ = brought_in(tmp_path, plan, f"ts,p,q\n{text},1,1\n{text},2,1\n")
    assert [one.ts_ns for one in ticks(tape)] == [DAY * S + round(expected_s * S)] * 2


def test_a_column_of_dates_is_read_as_their_midnights(tmp_path: Path) -> None:
    """As Parquet has them."""
    pl.DataFrame({"ts": [date(2024, 3, 1), date(2024, 3, 2)], "p": [1.0, 2.0], "q": [1, 1]}).write_parquet(tmp_path / "a.parquet")
    (tmp_path / "map.toml").write_text(TRADES.replace(TIME, '[time]\nzone = "UTC"\n'), encoding="utf-8")
    import_tape([tmp_path / "a.parquet"], tmp_path / "map.toml", tmp_path / "tape")
    assert [one.ts_ns for one in ticks(Tape.open(tmp_path / "tape"))] == [DAY * S, (DAY + 86_400) * S]


def test_daily_bars_with_plain_dates_lie_in_their_sessions(tmp_path: Path) -> None:
    """As `docs/tapes.md` says it for the exchange's hours: nothing is outside a session."""
    plan = BARS.replace("always", "nse").replace(TIME, '[time]\nzone = "Asia/Kolkata"\n')
    plan += '[bar]\ninterval_s = 86400\noffsets_s = [33300, 40800, 48300, 55799]\n[dirty]\noutside_session = "error"\n'
    tape, _ = brought_in(tmp_path, plan, "ts,o,h,l,c,v\n2024-03-01,10,12,9,11,7\n2024-03-04,10,12,9,11,7\n")
    assert [(one.ts_ns // S - DAY) % 86_400 for one in ticks(tape)] == [13_500, 21_000, 28_500, 35_999] * 2


DIRT = {
    "exact_duplicates": (f"{DAY},1,1\n{DAY},1,1\n", "drop", 1),
    "backward_time": (f"{DAY + 5},1,1\n{DAY},2,1\n", "drop", 1),
    "zero_sizes": (f"{DAY},1,0\n{DAY},2,1\n", "drop", 1),
    "bad_price": (f"{DAY},,1\n{DAY},nan,1\n{DAY},2,1\n", "drop", 1),
    "truncated_last_row": (f"{DAY},1,1\n{DAY + 1},1", "drop", 1),
}


@pytest.mark.parametrize("name", DIRT)
def test_dirty_rows_are_dropped_where_the_map_says_so(tmp_path: Path, name: str) -> None:
    """What is dropped is counted in the manifest."""
    rows, treatment, left = DIRT[name]
    tape, manifest = brought_in(tmp_path, f'{TRADES}[dirty]\n{name} = "{treatment}"\n', f"ts,p,q\n{rows}")
    assert (len(ticks(tape)), manifest["dirty"][name]["rows"]) == (left, 2 if name == "bad_price" else 1)


@pytest.mark.parametrize("name", DIRT)
def test_dirty_rows_stop_the_import_where_the_map_says_so(tmp_path: Path, name: str) -> None:
    """The error names file and row, and there is no tape."""
    with pytest.raises(TapeError, match=r"0\.csv, row [12]"):
        brought_in(tmp_path, f'{TRADES}[dirty]\n{name} = "error"\n', f"ts,p,q\n{DIRT[name][0]}")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["0.csv", "map.toml"]


def test_dirty_rows_are_kept_and_counted_by_default(tmp_path: Path) -> None:
    """Repeats, zero sizes and backward time stay; the last takes the time of the row before."""
    tape, manifest = brought_in(tmp_path, TRADES, f"ts,p,q\n{DAY + 5},1,0\n{DAY + 5},1,0\n{DAY},2,1\n")
    counted = {name: one["rows"] for name, one in manifest["dirty"].items() if one["rows"]}
    assert ([one.ts_ns // S - DAY for one in ticks(tape)], counted) == (
        [5, 5, 5], {"exact_duplicates": 1, "backward_time": 1, "zero_sizes": 2})  # fmt: skip


def test_crossed_quotes_and_falling_volume(tmp_path: Path) -> None:
    """A bid above the ask is crossed; cumulative volume below the day's highest fell, until the next day."""
    plan = TRADES.replace('size = "q"', 'size = "q"\nvolume = "v"') + '[dirty]\nfalling_volume = "drop"\n'
    rows = f"{DAY},1,1,10\n{DAY + 1},2,1,8\n{DAY + 2},3,1,9\n{DAY + 3},4,1,12\n{DAY + 86_400},5,1,3\n"
    tape, manifest = brought_in(tmp_path, plan, f"ts,p,q,v\n{rows}")
    assert ([one.last_price for one in ticks(tape)], manifest["dirty"]["falling_volume"]["rows"]) == ([1.0, 4.0, 5.0], 2)


def test_rows_outside_the_session(tmp_path: Path) -> None:
    """09:14:59 and 15:30:00 IST are outside a session of [09:15, 15:30)."""
    plan = TRADES.replace("always", "nse") + '[dirty]\noutside_session = "drop"\n'
    moments = ("09:14:59", "09:15:00", "15:29:59", "15:30:00")
    plan = plan.replace(TIME, '[time]\nzone = "Asia/Kolkata"\n')
    tape, manifest = brought_in(tmp_path, plan, "ts,p,q\n" + "".join(f"2024-03-01 {one},1,1\n" for one in moments))
    assert (len(ticks(tape)), manifest["dirty"]["outside_session"]["rows"]) == (2, 2)


MALFORMED = {
    "text for a number": (f"{DAY},1,1\n{DAY},x,1\n", r"row 2, column p: 'x' is not a number"),
    "text for a time": ("soon,1,1\n", r"row 1, column ts: 'soon' is not a time"),
    "a field too many": (f"{DAY},1,1\n{DAY},1,1,1\n{DAY},1,1\n", r"row 2: 4 fields, the header has 3"),
    "a field too few inside": (f"{DAY},1\n{DAY},1,1\n", r"row 1: 2 fields, the header has 3"),
    "a fraction for a size": (f"{DAY},1,1.5\n", r"row 1, column q: '1.5' is not a whole number"),
    "nothing": ("", r"no row was left|nothing to write"),
}


UNREAD = {
    "no ISO 8601": ('zone = "UTC"', "01/03/2024", r"'01/03/2024' is not a time of UTC in ISO 8601.*set time\.format"),
    "another form": ('zone = "UTC"\nformat = "%d/%m/%Y"', "2024-03-01", r"is not .* form %d/%m/%Y.*time\.format"),
    "no number": ('unit = "ms"', "2024-03-01", r"'2024-03-01' is not a time in whole ms.*time\.unit"),
    "no zone": ("", "2024-03-01", r"times have no zone: set time\.zone"),
    "skipped by the clock": ('zone = "Europe/Paris"', "2024-03-31T02:30", r"T02:30' is not a time of Europe/Paris in ISO 8601"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_time_that_cannot_be_read_says_what_to_set(tmp_path: Path, name: str) -> None:
    """Not that it differs from a form which the map never stated."""
    stated, text, message = UNREAD[name]
    with pytest.raises(TapeError, match=message):
        brought_in(tmp_path, TRADES.replace(TIME, f"[time]\n{stated}\n"), f"ts,p,q\n{text},1,1\n")


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_named_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    """File, row and column stand in the message, and no folder is left behind."""
    rows, message = MALFORMED[name]
    with pytest.raises(TapeError, match=message):
        brought_in(tmp_path, TRADES, f"ts,p,q\n{rows}")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["0.csv", "map.toml"]


MAPS = {
    "an unknown key": (TRADES + "[dirty]\nsillyness = 1\n", "dirty.sillyness"),
    "a missing column": (TRADES.replace('price = "p"\n', ""), "needs price"),
    "a column of another kind": (TRADES.replace('price = "p"', 'price = "p"\nopen = "o"'), "does not take open"),
    "no symbol": (TRADES.replace('symbol = "A"\n[columns]', "[columns]"), "state one of symbol"),
    "a column that is not there": (TRADES.replace('"p"', '"px"'), "has no column px; it has ts, p, q"),
    "an instrument that is not there": (TRADES.replace('"A"\ntoken', '"B"\ntoken'), "'A' is no instrument of the map"),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_wrong_map_is_refused(tmp_path: Path, name: str) -> None:
    """The message says which key, and what to do."""
    plan, message = MAPS[name]
    with pytest.raises(AlphaPandaError, match=message):
        brought_in(tmp_path, plan, f"ts,p,q\n{DAY},1,1\n")
    assert not (tmp_path / "tape").exists()


def test_an_import_without_files_is_refused(tmp_path: Path) -> None:
    """There must be something to read."""
    (tmp_path / "map.toml").write_text(TRADES, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="name at least one"):
        import_tape([], tmp_path / "map.toml", tmp_path / "tape")
    assert not (tmp_path / "tape").exists()


def test_csv_and_parquet_give_one_tape(tmp_path: Path) -> None:
    """The same rows as text and as typed columns have one digest, also with integer tokens instead of symbols."""
    plan = TRADES.replace('symbol = "A"\n[columns]', '[columns]\ntoken = "k"').replace('"A"\ntoken', '"7"\ntoken')
    tape, _ = brought_in(tmp_path, plan, f"ts,k,p,q\n{DAY},7,1.25,3\n{DAY + 1},7,1.5,4\n")
    frame = pl.DataFrame({"ts": [DAY, DAY + 1], "k": [7, 7], "p": [1.25, 1.5], "q": [3, 4]})
    frame.write_parquet(tmp_path / "rows.parquet")
    import_tape([tmp_path / "rows.parquet"], tmp_path / "map.toml", tmp_path / "other")
    assert Tape.open(tmp_path / "other").digest == tape.digest


def test_the_size_of_chunks_leaves_no_trace(tmp_path: Path) -> None:
    """Bars of two instruments, read three rows at a time (so that a minute is cut) or all at once, give one digest."""
    plan = BARS.replace('symbol = "A"\n[columns]', '[columns]\nsymbol = "s"').replace(INSTRUMENT, '[auto]\nsymbol = "*"\n')
    rows = [(DAY + 60 * n, name, 10.0 + n, 12.0 + n, 9.0, 11.0, 4 * n + 1) for n in range(9) for name in "YX"]
    pl.DataFrame(rows, schema=["ts", "s", "o", "h", "l", "c", "v"], orient="row").write_parquet(tmp_path / "bars.parquet")
    (tmp_path / "map.toml").write_text(plan, encoding="utf-8")
    import_tape([tmp_path / "bars.parquet"], tmp_path / "map.toml", tmp_path / "whole")
    import_tape([tmp_path / "bars.parquet"], tmp_path / "map.toml", tmp_path / "small", chunk_rows=3)
    assert Tape.open(tmp_path / "small").digest == Tape.open(tmp_path / "whole").digest
