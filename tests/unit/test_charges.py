"""Charges: worked by hand from the stated rates, and held against other people's figures."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.contracts.errors import ConfigurationError, ReferenceDataError
from alphapanda.contracts.events import Charges
from alphapanda.reference.charges import load_charges, note

E8 = 100_000_000
ZERODHA = load_charges("zerodha")


def zerodha(day: str, product: str, quantity: int, value: float) -> Charges:
    return ZERODHA.charge(
        day=date.fromisoformat(day), segment="NSE", product=product, quantity=quantity, notional_e8=round(value * E8)
    )


def test_delivery_before_the_change_of_2024_10_01_pays_the_old_exchange_rate() -> None:
    """Kite's sample order of 2023 (kiteconnect-mocks, order charges): one share at 560; stamp is zero in the sample only."""
    actual = zerodha("2023-07-03", "CNC", 1, 560)
    expected = Charges(stt_e8=56_000_000, exchange_e8=1_876_000, sebi_e8=56_000, stamp_e8=8_400_000, gst_e8=347_760)
    assert actual == expected


@pytest.mark.parametrize(
    ("day", "exchange_e8"),
    [
        ("2024-09-30", 335 * E8 // 100),
        ("2024-10-01", 297 * E8 // 100),
        ("2026-02-28", 297 * E8 // 100),
        ("2026-03-01", 307 * E8 // 100),
    ],
)
def test_exchange_charge_changes_on_its_dates(day: str, exchange_e8: int) -> None:
    """A value of 100,000 pays 3.35, 2.97, then 3.07."""
    actual = zerodha(day, "CNC", -100, 100_000).exchange_e8
    assert actual == exchange_e8


def test_intraday_brokerage_is_capped_at_20_for_an_order() -> None:
    """0.03 % of 50,000 is 15; of 100,000 it would be 30."""
    actual = zerodha("2025-06-02", "MIS", 10, 50_000).brokerage_e8, zerodha("2025-06-02", "MIS", 10, 100_000).brokerage_e8
    expected = (15 * E8, 20 * E8)
    assert actual == expected


def test_an_intraday_sale_to_the_paisa() -> None:
    """Value 100,000 on 2025-06-02: 20 + STT 25 + exchange 2.97 + SEBI 0.10 + GST 18 % of 23.07 = 52.2226, note 52.22."""
    fill = zerodha("2025-06-02", "MIS", -100, 100_000)
    actual = (fill.total_e8, note([fill]).total_paise)
    assert actual == (5_222_260_000, 5_222)


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 10**13)), min_size=1, max_size=6))
def test_partial_fills_of_an_order_pay_the_brokerage_of_the_whole(parts: list[tuple[int, int]]) -> None:
    """Brokerage of the parts adds up exactly to that of one fill of the same size."""
    schedule = load_charges({"per_share": 0.005, "min": 1, "max": 30, "bps": 1.5})
    day, done, worth, paid = date(2025, 1, 2), 0, 0, 0
    for quantity, notional_e8 in parts:
        paid += schedule.charge(
            day=day, segment="X", product="CNC", quantity=quantity, notional_e8=notional_e8,
            order_quantity_before=done, order_notional_before_e8=worth,
        ).total_e8  # fmt: skip
        done, worth = done + quantity, worth + notional_e8
    whole = schedule.charge(day=day, segment="X", product="CNC", quantity=done, notional_e8=worth)
    assert paid == whole.total_e8


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


def test_what_the_table_does_not_know_is_refused() -> None:
    """A date before the table, another segment, another profile: each error names what was asked."""
    with pytest.raises(ReferenceDataError, match="before 2020-07-01"):
        zerodha("2019-01-01", "CNC", 1, 100)
    with pytest.raises(ReferenceDataError, match="segment NFO"):
        ZERODHA.rates_on(date(2025, 1, 1), "NFO", "NRML")
    with pytest.raises(ConfigurationError, match="'flat' is not known"):
        load_charges("flat")
