"""Rules of trading by date: each look-up against figures transcribed from the sources, and its refusals."""

from datetime import date, time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphapanda.contracts.errors import ReferenceDataError
from alphapanda.reference import rules
from alphapanda.reference.rules import (
    ClosingAuction,
    closing_auction,
    freeze_quantity,
    lot_size,
    margin_rate,
    order_limits,
    price_bands,
    tick_size,
)

BEFORE, SINCE = date(2025, 4, 14), date(2025, 4, 15)


@pytest.mark.parametrize(
    ("price", "tick"),
    [
        (1.0, 0.01), (249.99, 0.01), (250.0, 0.05), (1_000.0, 0.05), (1_000.05, 0.1), (5_000.0, 0.1), (5_000.1, 0.5),
        (10_000.0, 0.5), (10_000.5, 1.0), (20_000.0, 1.0), (20_001.0, 5.0), (150_000.0, 5.0),
    ],
)  # fmt: skip
def test_ticks_of_shares_by_price_since_2025_04_15(price: float, tick: float) -> None:
    """Below 250 0.01, to 1,000 0.05, to 5,000 0.10, to 10,000 0.50, to 20,000 1, above 5; their futures alike."""
    assert [tick_size(SINCE, segment, price) for segment in ("NSE", "NFO-FUT")] == [tick, tick]


def test_ticks_of_shares_before() -> None:
    """0.05 at every price; 0.01 below 250 since 2024-06-10, and for their futures since 2024-07-08."""
    days = (date(2024, 6, 9), date(2024, 6, 10), date(2024, 7, 8), BEFORE)
    actual = [(tick_size(day, "NSE", 100.0), tick_size(day, "NFO-FUT", 100.0), tick_size(day, "NSE", 12_000.0)) for day in days]
    assert actual == [(0.05, 0.05, 0.05), (0.01, 0.05, 0.05), (0.01, 0.01, 0.05), (0.01, 0.01, 0.05)]


def test_ticks_of_index_futures_and_options() -> None:
    """Index futures 0.05 to 15,000, 0.10 to 30,000, 0.20 above since 2025-04-15, 0.05 before; options 0.05 always."""
    futures = [tick_size(SINCE, "NFO-FUT", level, is_index=True) for level in (15_000.0, 15_000.05, 30_000.0, 30_000.1)]
    before = tick_size(BEFORE, "NFO-FUT", 52_000.0, is_index=True)
    options = [tick_size(day, "NFO-OPT", price) for day in (BEFORE, SINCE) for price in (2.5, 2_500.0)]
    assert (futures, before, options) == ([0.05, 0.1, 0.1, 0.2], 0.05, [0.05] * 4)


@given(st.dates(date(2019, 1, 1), date(2030, 1, 1)), st.floats(0.01, 1e6), st.floats(0.01, 1e6))
def test_a_dearer_share_never_has_a_finer_tick(day: date, one: float, other: float) -> None:
    """Whatever the day and the prices, there is a tick, and it rises with the price."""
    cheap, dear = sorted((one, other))
    assert tick_size(day, "NSE", cheap) <= tick_size(day, "NSE", dear)


def test_lots_and_freeze_quantities_of_2026() -> None:
    """NIFTY 65 and 1,800, BANKNIFTY 30 and 600, FINNIFTY 60 and 1,800, MIDCPNIFTY 120 and 2,800."""
    names, day = ("NIFTY", "BANKNIFTY", "FINNIFTY", "MIDCPNIFTY"), date(2026, 2, 2)
    assert [lot_size(day, name) for name in names] == [65, 30, 60, 120]
    assert [freeze_quantity(day, name) for name in names] == [1_800, 600, 1_800, 2_800]


def test_lots_and_freeze_quantities_are_known_on_their_first_and_last_days() -> None:
    days = [(date(2025, 12, 31), date(2026, 12, 31)), (date(2026, 2, 1), date(2026, 12, 31))]
    actual = [lot_size(day, "NIFTY") for day in days[0]], [freeze_quantity(day, "NIFTY") for day in days[1]]
    assert actual == ([65, 65], [1_800, 1_800])


def test_an_underlying_that_is_not_listed_has_no_freeze_quantity() -> None:
    assert freeze_quantity(date(2026, 2, 2), "RELIANCE") is None


def test_margins_are_fractions_of_the_value() -> None:
    """Delivery is paid in full, intraday a fifth, futures about 15 %; an option's buyer pays the premium, its writer 15 %."""
    day = date(2026, 4, 1)
    kinds = [("NSE", "CNC"), ("NSE", "MIS"), ("NFO-FUT", "NRML"), ("NFO-FUT", "MIS"), ("NFO-OPT", "NRML"), ("NFO-OPT", "MIS")]
    assert [margin_rate(day, *kind) for kind in kinds] == [1, Fraction(1, 5), Fraction(3, 20), Fraction(3, 20), 1, 1]
    shorts = [margin_rate(day, *kind, is_short=True) for kind in kinds[1:]]
    assert shorts == [Fraction(1, 5), Fraction(3, 20), Fraction(3, 20), Fraction(3, 20), Fraction(3, 20)]


def test_kites_limits_on_orders_and_what_they_were() -> None:
    """10 a second, 400 a minute, 5,000 a day, 25 changes; older pages say 200 and 3,000."""
    limits = [order_limits(day) for day in (date(2024, 3, 1), date(2026, 4, 1))]
    actual = [(one.per_second, one.per_minute, one.per_day, one.modifications_per_order, one.slices_per_order) for one in limits]
    assert actual == [(10, 200, 3_000, 25, None), (10, 400, 5_000, 25, 10)]


def test_price_bands() -> None:
    """2, 5, 10 and 20 %, and 10 % for shares with derivatives."""
    bands = price_bands(date(2026, 4, 1))
    assert ([one * 100 for one in bands.fixed], bands.dynamic * 100) == ([2, 5, 10, 20], 10)


def test_the_closing_auction_begins_on_2026_08_03() -> None:
    """15:15 to 15:35; none before."""
    actual = [closing_auction(day) for day in (date(2026, 8, 2), date(2026, 8, 3))]
    assert actual == [None, ClosingAuction(time(15, 15), time(15, 35))]


@pytest.mark.parametrize(
    ("ask", "wrong"),
    [
        (lambda: tick_size(date(2018, 12, 31), "NSE", 100.0), "tick size of segment NSE: none known before 2019-01-01"),
        (lambda: tick_size(SINCE, "MCX-FUT", 100.0), "tick size of segment MCX-FUT: the table has none: state the instrument's"),
        (lambda: tick_size(SINCE, "NSE", 0.0), "0.0 is no price"),
        (lambda: tick_size(SINCE, "NSE", float("nan")), "nan is no price"),
        (lambda: lot_size(date(2025, 12, 30), "NIFTY"), "lot size of NIFTY: none known before 2025-12-31"),
        (lambda: lot_size(date(2027, 1, 1), "NIFTY"), "lot size of NIFTY: none known after 2026-12-31"),
        (lambda: lot_size(date(2026, 2, 2), "RELIANCE"), "lot size of RELIANCE: the table has none"),
        (lambda: freeze_quantity(date(2026, 1, 31), "NIFTY"), "freeze quantities: none known before 2026-02-01"),
        (lambda: freeze_quantity(date(2027, 1, 1), "NIFTY"), "freeze quantities: none known after 2026-12-31"),
        (lambda: margin_rate(date(2021, 8, 31), "NSE", "MIS"), "product MIS: none known before 2021-09-01"),
        (lambda: margin_rate(date(2026, 1, 1), "NSE", "NRML"), "segment NSE, product NRML: the table has none"),
        (lambda: margin_rate(date(2026, 1, 1), "NSE", "CNC", is_short=True), "cannot be sold short"),
        (lambda: order_limits(date(2018, 1, 1)), "order limits: none known before"),
        (lambda: price_bands(date(2018, 1, 1)), "price bands: none known before"),
    ],
)
def test_what_the_tables_do_not_know_is_refused(ask: object, wrong: str) -> None:
    """Each message says what was asked, what is known, and what to do."""
    with pytest.raises(ReferenceDataError, match=wrong):
        ask()  # type: ignore[operator]


def test_every_entry_has_a_source_and_every_price_a_band() -> None:
    """No figure without its origin; the last band of each list of ticks has no bound, the others have one."""
    table = rules._rules()
    entries = [one for name in type(table).model_fields for one in getattr(table, name)]
    assert [one for one in entries if not one.source] == []
    bounds = [[band.below is None and band.up_to is None for band in one.bands] for one in table.tick_sizes]
    assert bounds == [[False] * (len(one) - 1) + [True] for one in bounds]
