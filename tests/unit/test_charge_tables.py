"""Tables of charges: of one's own, malformed, asked for what they lack; and what the documentation shows."""

from datetime import date
from pathlib import Path

import pytest

from alphapanda.contracts.errors import ConfigurationError, ReferenceDataError
from alphapanda.contracts.events import Charges
from alphapanda.reference.charges import load_charges
from tests.charge_support import E8, ZERODHA, charged
from tests.data_folder import ROOT

OWN = """
name = "mine"
version = "7"
base = "zerodha"
[[rates]]
segments = ["NFO-OPT"]
products = ["NRML"]
brokerage_per_order = 10
stt_sell = [{ since = 2024-10-01, value = "0.001" }, { since = 2026-04-01, value = 0.0015, source = "Finance Act 2026" }]
[[rates]]
segments = ["BFO-OPT"]
exchange = "0.000325"
"""


def test_a_table_of_ones_own_stands_before_its_base(tmp_path: Path) -> None:
    """Its groups count where they cover; the rest is the base's; a bare figure holds always."""
    path = tmp_path / "mine.toml"
    path.write_text(OWN)
    schedule = load_charges(str(path))
    asked = [(date(2026, 4, 1), "NFO-OPT", "NRML"), (date(2026, 4, 1), "NFO-OPT", "MIS"), (date(2001, 1, 1), "BFO-OPT", "MIS")]
    actual = [
        schedule.charge(day=day, segment=segment, product=product, quantity=-1, notional_e8=1_000 * E8)
        for day, segment, product in asked
    ]
    assert actual[0] == Charges(brokerage_e8=10 * E8, stt_e8=150_000_000)
    assert actual[1] == charged("2026-04-01", "NFO-OPT", "MIS", -1, "1000")
    assert actual[2] == Charges(exchange_e8=32_500_000)


def test_a_table_of_ones_own_is_told_apart_by_its_content(tmp_path: Path) -> None:
    """Two tables of one name and version have two versions in a run's manifest, and one table has one."""
    versions = []
    for name, text in (("a", OWN), ("b", OWN), ("c", OWN.replace("0.0015", "0.0016"))):
        (tmp_path / f"{name}.toml").write_text(text)
        versions.append(load_charges(str(tmp_path / f"{name}.toml")).version)
    assert (versions[0] == versions[1], versions[0] == versions[2], versions[0].startswith("7+")) == (True, False, True)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("rates = [", r"bad\.toml: not TOML"),
        ('base = "other"', r"bad\.toml: base: 'other' is not known"),
        ("[[rates]]\nstt = '0.1'", r"bad\.toml: rates\.0\.stt: Extra inputs"),
        ("[[rates]]\nsebi = 'much'", r"bad\.toml: rates\.0\.sebi\.0\.value: .*'much'"),
        ("[[rates]]\nsebi = '1/0'", r"bad\.toml: rates\.0\.sebi\.0\.value: .*no number"),
        ("[[rates]]\ngst = -0.18", r"bad\.toml: rates\.0\.gst\.0\.value: .*negative"),
        (
            "[[rates]]\ngst = [{since = 2025-01-01, value = '1'}, {since = 2025-01-01, value = '2'}]",
            r"bad\.toml: rates\.0\.gst: .*dates must rise",
        ),
        ("name = 'x'", r"bad\.toml: rates: Field required"),
        ("decimals = 9\n[[rates]]", r"bad\.toml: decimals: .*less than or equal to 8"),
    ],
)
def test_a_malformed_table_names_file_and_field(tmp_path: Path, text: str, wrong: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=wrong):
        load_charges(str(path))


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml: cannot be read"):
        load_charges(str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("segment", "product", "day", "wrong"),
    [
        ("NSE", "CNC", date(2020, 6, 30), "segment NSE, product CNC before 2020-07-01"),
        ("NFO-FUT", "NRML", date(2021, 3, 31), "before 2021-04-01"),
        ("MCX-FUT", "NRML", date(2023, 3, 31), "before 2023-04-01"),
        ("BFO-OPT", "NRML", date(2026, 4, 1), "no rates for segment BFO-OPT.*it has MCX-FUT MIS"),
        ("BSE", "CNC", date(2026, 4, 1), "no rates for segment BSE"),
        ("NSE", "NRML", date(2026, 4, 1), "product NRML.*NSE CNC, NSE MIS"),
    ],
)
def test_what_the_table_does_not_know_is_refused(segment: str, product: str, day: date, wrong: str) -> None:
    """A date before the table, a segment or product that it lacks: each error names what was asked, and what there is."""
    with pytest.raises(ReferenceDataError, match=wrong):
        ZERODHA.rates_on(day, segment, product)


def test_a_profile_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'flat' is not known.*zerodha, none, custom"):
        load_charges("flat")


def test_every_figure_of_the_table_has_its_source() -> None:
    """And a date, since a figure without one would hold for ever."""
    steps = [step for group in ZERODHA.rates for line in group._lines.values() for step in line]
    assert [step for step in steps if not step.source or step.since == date.min] == []


def test_rates_of_a_day_are_worked_out_once() -> None:
    """The second fill of a day asks a dictionary."""
    schedule = load_charges("zerodha")
    asked = [schedule.rates_on(date(2026, 4, 1), "NFO-FUT", "NRML") for _ in range(2)]
    assert asked[0] is asked[1]


def test_what_costs_nothing_is_known_to() -> None:
    """`none` is free on every day; a table that refuses some days is not, though its rates be nothing."""
    actual = [load_charges("none").free, load_charges({"bps": 0}).free, ZERODHA.free, load_charges({"per_order": 1}).free]
    assert actual == [True, True, False, False]


def test_the_table_in_the_documentation_is_one(tmp_path: Path) -> None:
    """Its example loads, and does what its comments say."""
    text = (ROOT / "docs/charges.md").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.split("```toml\n")[1].split("```")[0])
    fill = load_charges(str(path)).charge(
        day=date(2026, 4, 1), segment="NFO-OPT", product="NRML", quantity=-75, notional_e8=1_000 * E8
    )
    assert fill == Charges(brokerage_e8=10 * E8, stt_e8=150_000_000)


def test_a_table_can_round_each_line_of_an_order_to_the_paisa(tmp_path: Path) -> None:
    """1,234.56: STT 1.23456, exchange 0.0366664, GST 18 % of the rounded 0.04; a line of 0 is none; DP 13.55 and 18 % 15.989."""
    path = tmp_path / "coarse.toml"
    lines = 'brokerage = 0\nstt_sell = "0.001"\nexchange = "0.0000297"\ngst = "0.18"\ndp = "13.55"\n'
    path.write_text(f"decimals = 2\n[[rates]]\n{lines}")
    schedule, day = load_charges(str(path)), date(2026, 4, 1)
    fill = schedule.charge(day=day, segment="X", product="CNC", quantity=-1, notional_e8=123_456_000_000)
    dp_e8 = schedule.dp_e8(day=day, segment="X", product="CNC")
    assert (fill, dp_e8) == (Charges(stt_e8=123_000_000, exchange_e8=4_000_000, gst_e8=1_000_000), 1_599_000_000)
