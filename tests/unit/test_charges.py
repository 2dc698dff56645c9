"""Charges: worked by hand from the stated rates, and held against other people's figures."""

import json
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.contracts.errors import ReferenceDataError
from alphapanda.contracts.events import Charges
from alphapanda.reference.charges import PAISA, ROUNDINGS, NoteRounding, contract_note, load_charges, note
from alphapanda.reference.rates import half_even
from tests.charge_support import E8, ZERODHA, charged
from tests.data_folder import need

LINES = ("brokerage_e8", "stt_e8", "exchange_e8", "sebi_e8", "stamp_e8", "gst_e8")
FUTURES, OPTIONS = ("NFO-FUT", "NRML", 75, "24000"), ("NFO-OPT", "NRML", 75, "120.50")  # worth 1,800,000 and 9,037.50
DELIVERY, INTRADAY = ("NSE", "CNC", 100, "1500"), ("NSE", "MIS", 40, "1250")  # worth 150,000 and 50,000
Trade = tuple[str, str, int, str]


def by_hand(value: str, brokerage: str, stt: str, exchange: str, stamp: str = "0") -> list[Decimal]:
    """Lines in rupees from rates in percent; brokerage in rupees. SEBI takes 10 rupees a crore, GST 18 % of three lines."""
    worth, percent = Decimal(value), Decimal("0.01")
    fee, turnover, sebi = Decimal(brokerage), worth * Decimal(exchange) * percent, worth * 10 / Decimal(10_000_000)
    gst = (fee + turnover + sebi) * 18 * percent
    return [fee, worth * Decimal(stt) * percent, turnover, sebi, worth * Decimal(stamp) * percent, gst]


@pytest.mark.parametrize(
    ("trade", "side", "day", "brokerage", "stt", "exchange", "stamp", "total_paise"),
    [
        # Delivery: STT on both sides, no brokerage.
        (DELIVERY, -1, "2024-03-31", "0", "0.1", "0.00335", "0", 156_11),
        (DELIVERY, -1, "2024-09-30", "0", "0.1", "0.00322", "0", 155_88),
        (DELIVERY, -1, "2024-10-01", "0", "0.1", "0.00297", "0", 155_43),
        (DELIVERY, -1, "2026-02-28", "0", "0.1", "0.00297", "0", 155_43),
        (DELIVERY, -1, "2026-03-01", "0", "0.1", "0.00307", "0", 155_61),
        (DELIVERY, +1, "2026-03-01", "0", "0.1", "0.00307", "0.015", 178_11),
        # Intraday: 0.03 % of 50,000 is 15.
        (INTRADAY, -1, "2024-09-30", "15", "0.025", "0.00322", "0", 32_16),
        (INTRADAY, -1, "2024-10-01", "15", "0.025", "0.00297", "0", 32_01),
        (INTRADAY, -1, "2026-03-01", "15", "0.025", "0.00307", "0", 32_07),
        (INTRADAY, +1, "2026-03-01", "15", "0", "0.00307", "0.003", 21_07),
        # Futures: 0.03 % of 1,800,000 would be 540.
        (FUTURES, -1, "2023-03-31", "20", "0.01", "0.002", "0", 248_20),
        (FUTURES, -1, "2023-04-01", "20", "0.0125", "0.002", "0", 293_20),
        (FUTURES, -1, "2024-09-30", "20", "0.0125", "0.00188", "0", 290_66),
        (FUTURES, -1, "2024-10-01", "20", "0.02", "0.00173", "0", 422_47),
        (FUTURES, -1, "2026-02-28", "20", "0.02", "0.00173", "0", 422_47),
        (FUTURES, -1, "2026-03-01", "20", "0.02", "0.00183", "0", 424_59),
        (FUTURES, -1, "2026-03-31", "20", "0.02", "0.00183", "0", 424_59),
        (FUTURES, -1, "2026-04-01", "20", "0.05", "0.00183", "0", 964_59),
        (FUTURES, +1, "2026-04-01", "20", "0", "0.00183", "0.002", 100_59),
        # Options: of the premium, and 20 an order whatever it is worth.
        (OPTIONS, -1, "2023-03-31", "20", "0.05", "0.053", "0", 33_78),
        (OPTIONS, -1, "2024-03-31", "20", "0.0625", "0.0505", "0", 34_64),
        (OPTIONS, -1, "2024-09-30", "20", "0.0625", "0.0495", "0", 34_54),
        (OPTIONS, -1, "2024-10-01", "20", "0.1", "0.03503", "0", 36_38),
        (OPTIONS, -1, "2026-03-01", "20", "0.1", "0.03553", "0", 36_44),
        (OPTIONS, -1, "2026-04-01", "20", "0.15", "0.03553", "0", 40_96),
        (OPTIONS, +1, "2026-04-01", "20", "0", "0.03553", "0.003", 27_67),
    ],
)
def test_each_line_and_the_total_to_the_paisa_on_both_sides_of_each_change(
    trade: Trade, side: int, day: str, brokerage: str, stt: str, exchange: str, stamp: str, total_paise: int
) -> None:
    """Rates in percent as the sources state them; the lines worked in decimals, the totals on paper."""
    segment, product, units, price = trade
    value = str(units * Decimal(price))
    fill = charged(day, segment, product, side * units, value)
    expected = [round(one * E8) for one in by_hand(value, brokerage, stt, exchange, stamp)]
    assert ([getattr(fill, name) for name in LINES], note([fill]).total_paise) == (expected, total_paise)


def test_exchange_and_sebi_fees_of_shares_before_2023() -> None:
    """On 1,000,000: 32.50 and SEBI 5 a crore from 2020-07-01; 34.50 from 2021-01-01; SEBI 10 a crore from 2021-04-01."""
    days = ("2020-07-01", "2020-12-31", "2021-01-01", "2021-03-31", "2021-04-01", "2023-03-31", "2023-04-01")
    fills = {product: [charged(day, "NSE", product, -100, "1000000") for day in days] for product in ("CNC", "MIS")}
    expected = [(32_50, 50), (32_50, 50), (34_50, 50), (34_50, 50), (34_50, 1_00), (34_50, 1_00), (33_50, 1_00)]
    actual = {name: [(one.exchange_e8 * 100 // E8, one.sebi_e8 * 100 // E8) for one in some] for name, some in fills.items()}
    assert actual == {"CNC": expected, "MIS": expected}


@pytest.mark.parametrize(("segment", "first"), [("NFO-FUT", "2021-04-01"), ("NFO-OPT", "2021-04-01"), ("MCX-FUT", "2023-04-01")])
def test_a_table_begins_with_its_first_day(segment: str, first: str) -> None:
    """The day itself is known, and costs what the day after does."""
    second = (date.fromisoformat(first) + timedelta(days=1)).isoformat()
    actual = [charged(day, segment, "NRML", -1, "1000") for day in (first, second)]
    assert actual[0] == actual[1]


def test_both_products_of_derivatives_pay_the_same() -> None:
    """NRML and MIS differ in how long a position is held, not in what it costs to trade."""
    days = ("2023-07-03", "2026-04-01")
    pairs = [
        (charged(day, segment, "NRML", -1, "500000"), charged(day, segment, "MIS", -1, "500000"))
        for day in days for segment in ("NFO-FUT", "NFO-OPT", "MCX-FUT")
    ]  # fmt: skip
    assert [a for a, _ in pairs] == [b for _, b in pairs]


def test_a_commodity_future_of_one_million_after_the_exchanges_charges_became_uniform() -> None:
    """20 + CTT 100 + exchange 21 (2.10 a lakh) + SEBI 1 + GST 18 % of 42 = 149.56; a buyer pays stamp 20 instead of CTT."""
    actual = [note([charged("2024-10-01", "MCX-FUT", "NRML", side, "1000000")]).total_paise for side in (-1, 1)]
    assert actual == [149_56, 69_56]


def test_kites_sample_orders_line_by_line() -> None:
    """Known answer 14: every line that follows stated rates; stamp is 0 in the sample, and two of its GST bases are odd."""
    known = json.loads(need("known-answers/14_kite_order_charges.json").read_text())
    orders = {one["n"]: one for one in known["inputs"]["orders"]}
    kinds = {1: ("NSE", "CNC"), 2: ("MCX-FUT", "NRML"), 3: ("NFO-OPT", "NRML")}
    actual, expected = {}, {}
    for charges in known["expected"]["charges"]:
        order = orders[charges["n"]]
        quantity = order["qty"] if order["side"] == "BUY" else -order["qty"]
        fill = charged("2023-07-03", *kinds[order["n"]], quantity, str(order["qty"] * order["price"]))
        actual[order["n"]] = (fill.stt_e8, fill.exchange_e8, fill.sebi_e8, fill.brokerage_e8)
        tax = charges.get("stt", charges.get("ctt"))
        expected[order["n"]] = tuple(round(one * E8) for one in (tax, charges["exchange"], charges["sebi"], charges["brokerage"]))
        if order["n"] == 2:  # the one whose GST is of brokerage, exchange and SEBI, as everywhere
            actual["whole"], expected["whole"] = (fill.gst_e8, fill.total_e8), (34_503_732, 284_811_132)
    assert actual == expected


def test_kites_sample_basket_pays_the_same_tax_on_a_written_option() -> None:
    """50 of NIFTY23JUL20600CE at 53.475 (kiteconnect-mocks, basket margins): 1.67109375."""
    assert charged("2023-07-03", "NFO-OPT", "NRML", -50, "2673.75").stt_e8 == 167_109_375


def test_intraday_brokerage_is_capped_at_20_for_an_order() -> None:
    """0.03 % of 50,000 is 15; of 100,000 it would be 30."""
    actual = [charged("2025-06-02", "NSE", "MIS", 10, value).brokerage_e8 for value in ("50000", "100000")]
    assert actual == [15 * E8, 20 * E8]


def test_the_depositorys_charge_of_a_delivery_sale_with_gst() -> None:
    """13 and 18 % are 15.34 since 2024-10-01, 13.50 and 18 % 15.93 before; no other product or segment has one."""
    asked = [("2024-09-30", "NSE", "CNC"), ("2024-10-01", "NSE", "CNC"), ("2026-05-04", "NSE", "CNC"),
             ("2026-05-04", "NSE", "MIS"), ("2026-05-04", "NFO-FUT", "NRML"), ("2026-05-04", "MCX-FUT", "NRML")]  # fmt: skip
    actual = [ZERODHA.dp_e8(day=date.fromisoformat(day), segment=segment, product=product) for day, segment, product in asked]
    assert actual == [1_593_000_000, 1_534_000_000, 1_534_000_000, 0, 0, 0]


def test_a_fill_leaves_the_depositorys_charge_to_the_day() -> None:
    """It is for a scrip and day, so no fill knows whether it is the one that owes it."""
    assert charged("2026-05-04", "NSE", "CNC", -100, "150000").dp_e8 == 0
    with pytest.raises(ReferenceDataError, match="before 2020-07-01"):
        ZERODHA.dp_e8(day=date(2020, 6, 30), segment="NSE", product="CNC")


KINDS = [("NSE", "CNC"), ("NSE", "MIS"), ("NFO-FUT", "NRML"), ("NFO-OPT", "NRML"), ("MCX-FUT", "MIS")]
PARTS = st.lists(st.tuples(st.integers(1, 500), st.integers(1, 10**13)), min_size=1, max_size=6)


@given(PARTS, st.sampled_from(KINDS), st.sampled_from([-1, 1]), st.dates(date(2023, 4, 1), date(2026, 12, 31)))
def test_partial_fills_of_an_order_add_up_to_the_whole_line_by_line(
    parts: list[tuple[int, int]], kind: tuple[str, str], side: int, day: date
) -> None:
    """Whatever the parts: each line's sum over them is that of one fill of the same size."""
    (segment, product), done, worth, paid = kind, 0, 0, [0] * len(LINES)
    for quantity, notional_e8 in parts:
        fill = ZERODHA.charge(
            day=day, segment=segment, product=product, quantity=side * quantity, notional_e8=notional_e8,
            order_quantity_before=done, order_notional_before_e8=worth,
        )  # fmt: skip
        paid = [so_far + getattr(fill, name) for so_far, name in zip(paid, LINES, strict=True)]
        done, worth = done + quantity, worth + notional_e8
    whole = ZERODHA.charge(day=day, segment=segment, product=product, quantity=side * done, notional_e8=worth)
    assert paid == [getattr(whole, name) for name in LINES]


@given(PARTS, st.sampled_from([8, 4, 2, 0]))
def test_partial_fills_add_up_in_a_custom_profile_too(parts: list[tuple[int, int]], decimals: int) -> None:
    """With a fee for each share, a minimum, a maximum, and rounding to fewer decimals."""
    schedule = load_charges({"per_share": 0.005, "min": 1, "max": 30, "bps": 1.5, "decimals": decimals})
    day, done, worth, paid = date(2025, 1, 2), 0, 0, 0
    for quantity, notional_e8 in parts:
        paid += schedule.charge(
            day=day, segment="X", product="CNC", quantity=quantity, notional_e8=notional_e8,
            order_quantity_before=done, order_notional_before_e8=worth,
        ).total_e8  # fmt: skip
        done, worth = done + quantity, worth + notional_e8
    whole = schedule.charge(day=day, segment="X", product="CNC", quantity=done, notional_e8=worth)
    assert paid == whole.total_e8


@given(st.integers(0, 10**30), st.integers(1, 10**12))
def test_whole_numbers_round_as_fractions_do(numerator: int, denominator: int) -> None:
    """Half to even, against the standard library's fractions; and exactly half way, which chance does not meet."""
    odd_half = 2 * denominator * (numerator % 1000) + denominator
    actual = half_even(numerator, denominator), half_even(odd_half, 2 * denominator)
    assert actual == (round(Fraction(numerator, denominator)), round(Fraction(odd_half, 2 * denominator)))


@pytest.mark.parametrize(("value", "paid_e8"), [(70_000, 140_000_000), (70_020, 140_000_000)])
def test_a_proportional_fee_is_rounded_to_the_cent(value: int, paid_e8: int) -> None:
    """0.00002 of the notional, to two decimals (nautilus_trader's five-quote smoke test): 1.40 each time."""
    schedule = load_charges({"bps": 0.2, "decimals": 2})
    actual = schedule.charge(day=date(2020, 1, 1), segment="FX", product="CNC", quantity=100_000, notional_e8=value * E8)
    assert actual.total_e8 == paid_e8


def test_a_fee_for_each_share_has_a_minimum_and_a_maximum() -> None:
    """0.005 a share, at least 1, at most 10: 100, 1,000 and 10,000 shares pay 1, 5 and 10."""
    schedule = load_charges({"per_share": 0.005, "min": 1, "max": 10})
    actual = [
        schedule.charge(day=date(2020, 1, 1), segment="US", product="CNC", quantity=count, notional_e8=1).total_e8 // E8
        for count in (100, 1_000, 10_000)
    ]
    assert actual == [1, 5, 10]


def test_a_fee_has_a_maximum_of_the_value_that_goes_before_its_minimum(tmp_path: Path) -> None:
    """0.005 a share, at least 1, at most 1 % of the value: Interactive Brokers' own examples, and one below the minimum."""
    path = tmp_path / "fixed.toml"
    path.write_text('name = "fixed"\n[[rates]]\nbrokerage_per_unit = 0.005\nbrokerage_min = 1\nbrokerage_max_of_value = 0.01\n')
    schedule = load_charges(str(path))

    def paid(count: int, price: str, before: int = 0) -> Decimal:
        worth = int(Decimal(price) * E8)
        charges = schedule.charge(
            day=date(2020, 1, 1), segment="US", product="CNC", quantity=count, notional_e8=count * worth,
            order_quantity_before=before, order_notional_before_e8=before * worth,
        )  # fmt: skip
        return Decimal(charges.total_e8) / E8

    assert [paid(100, "25"), paid(1_000, "25"), paid(1_000, "0.25"), paid(100, "0.25")] == [1, 5, Decimal("2.5"), Decimal("0.25")]
    assert paid(400, "0.25") + paid(600, "0.25", before=400) == paid(1_000, "0.25")


def test_a_note_rounds_nothing_but_its_total_unless_asked() -> None:
    """An intraday sale of 10,100 on 2025-06-02: STT 2.525; 3.03 + 2.525 + 0.29997 + 0.0101 + GST 0.6012126 = 6.4662826."""
    fill = charged("2025-06-02", "NSE", "MIS", -100, "10100")
    actual = note([fill])
    assert (actual.lines, actual.shown, actual.total_paise) == (fill, fill, 647)


def test_the_brokers_note_rounds_tax_to_the_rupee_for_each_scrip() -> None:
    """2.525 and 2.60 become 3 and 3; summed first they would become 5. The lines stay as they are."""
    fills = {"A": [charged("2025-06-02", "NSE", "MIS", -100, "10100")], "B": [charged("2025-06-02", "NSE", "MIS", -100, "10400")]}
    by_scrip, by_note = contract_note(fills), contract_note(fills, NoteRounding("whole", stt_step_e8=E8, stt_by="note"))
    actual = [by_scrip.shown.stt_e8, by_note.shown.stt_e8, by_scrip.lines.stt_e8]
    assert actual == [6 * E8, 5 * E8, 512_500_000]
    assert ROUNDINGS["contract_note"].stt_by == "scrip"


def test_half_a_rupee_of_tax_is_rounded_up() -> None:
    """A delivery sale of 500 pays 0.50, which becomes 1; one of 499 becomes nothing; so does stamp of a buy of 3,333."""
    notes = [contract_note({"A": [charged("2025-06-02", "NSE", "CNC", side, value)]}).shown
             for side, value in ((-1, "500"), (-1, "499"), (1, "3333"))]  # fmt: skip
    assert [(one.stt_e8 // E8, one.stamp_e8) for one in notes] == [(1, 0), (0, 0), (3, 0)]


def test_a_real_contract_note_to_the_paisa() -> None:
    """2 bought at 105.34 on 2024-11-13 (a note that stands on the web): the net total is 210.69, of which 0.01 charges."""
    assert contract_note({"ETF": [charged("2024-11-13", "NSE", "CNC", 2, "210.68")]}).total_paise == 1


def test_the_brokers_note_leaves_out_what_goes_to_the_ledger() -> None:
    """The depository's charge costs the book its 15.34, but stands on no contract note."""
    fill = Charges(stt_e8=15 * E8, dp_e8=1_534_000_000)
    assert (note([fill], PAISA).total_paise, contract_note({"A": [fill]}).total_paise) == (30_34, 15_00)
