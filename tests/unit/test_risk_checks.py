"""What `why` shows of a check is what the check says where it objects."""

import random
from typing import Any

from alphapanda.contracts.events import MarketTick, OrderTerms, OrderType, Product
from alphapanda.contracts.instruments import Instrument
from alphapanda.core.ledger import E8
from alphapanda.research.risk_checks import MEASURES, NOT_LIMITED, NOT_REACHED, OBJECTS, PASSES, check_rows
from alphapanda.services.risk_manager import rules
from alphapanda.services.risk_manager.models import BookLimits, Figures, Proposal, RiskLimits
from tests.builders import OPEN_NS, S

RNG = random.Random(3)  # noqa: S311  # cases, not secrets


def some(*values: Any) -> Any:
    return RNG.choice(values)


def figures() -> Figures:
    return Figures(
        RNG.randint(-30, 30), RNG.randint(0, 2000) * E8, RNG.randint(-900, 900) * E8, RNG.randint(-900, 900) * E8,
        RNG.randint(-200, 200) * E8, RNG.randint(1, 1000) * E8, RNG.randint(0, 1000) * E8,
    )  # fmt: skip


def book_limits() -> dict[str, Any]:
    return {
        "max_position": some(None, 5, 20), "max_gross_exposure": some(None, 700.0), "max_net_exposure": some(None, 300.0),
        "max_daily_loss": some(None, 50.0), "max_drawdown": some(None, 0.3),
    }  # fmt: skip


def limits() -> RiskLimits:
    return RiskLimits(
        **book_limits(), max_order_quantity=some(None, 8), max_order_notional=some(None, 900.0),
        duplicate_window_s=some(None, 3.0), max_quote_age_s=some(None, 5.0), require_cash=some(True, False),
        require_session=some(True, False), require_margin=some(True, False), price_band_pct=some(None, 4.0),
        broker_rules=some(True, False), orders_per_second=some(None, 3), orders_per_minute=some(None, 4),
        orders_per_day=some(None, 5), max_modifications=some(None, 2), freeze_quantity=some("off", "refuse", "slice"),
        max_slices=2, forbid_self_cross=some(True, False), account=BookLimits(**book_limits()),
    )  # fmt: skip


def price() -> float | None:
    found: float | None = some(None, None, 100.0, 103.05, 94.01, 110.0, -1.0)
    return found


def proposal() -> Proposal:
    instrument = Instrument(
        1, "A", tick_size=0.05, lot_size=some(1, 5), multiplier=some(1.0, 2.5), tradable=some(True, True, False),
        freeze_quantity=some(None, 4), lower_band=some(None, 95.0), upper_band=some(None, 104.0),
    )  # fmt: skip
    terms = OrderTerms(some(*OrderType), price(), price(), stop_loss=price())
    return Proposal(
        ts_ns=OPEN_NS, instrument=some(instrument, instrument, None),
        mark=some(MarketTick(OPEN_NS - RNG.randint(0, 9) * S, 1, 100.0), None), quantity=RNG.randint(-12, 12), price_e8=100 * E8,
        reference_price=price(), position=RNG.randint(-25, 25), size=RNG.randint(-12, 12), orders=some(1, 1, 3),
        killed=some(False, True), halted=some(False, True), session_open=some(True, False),
        cash_after_e8=RNG.randint(-500, 500) * E8, book=figures(), account=figures(), terms=some(None, terms),
        product=some(*Product), kind=some("quantity", "modify"), known_order=some(True, False), turns=some(False, False, True),
        modifications=RNG.randint(0, 4), squared_off=some(True, False), protected=some(True, False),
        duplicate_age_s=some(None, 1.5, 9.0), second=RNG.randint(0, 6), minute=RNG.randint(0, 6), today=RNG.randint(0, 6),
        margin_after_e8=RNG.randint(0, 900) * E8, margin_e8=RNG.randint(0, 900) * E8, crossing=some(0, 0, 4),
    )  # fmt: skip


def test_every_check_is_measured() -> None:
    """A check that is new must say what it looks at."""
    assert set(MEASURES) == {*rules.CHECKS, *rules.CANCEL_CHECKS}


def test_where_a_check_objects_value_limit_and_unit_are_its_own() -> None:
    """Over random proposals and limits; each check objects to some of them."""
    objected = dict.fromkeys(MEASURES, 0)
    for _ in range(4_000):
        p, under = proposal(), limits()
        for check, measure in MEASURES.items():
            said = check(p, under)
            found = measure(p, under)
            if said is not None:
                objected[check] += 1
                assert found == said, check.__name__
    assert [check.__name__ for check, count in objected.items() if count < 20] == []


def test_rows_stop_at_the_first_objection() -> None:
    """What comes after it was not reached, and what no limit asks is not limited."""
    under = RiskLimits(max_position=5, max_order_quantity=3)
    p = Proposal(
        ts_ns=OPEN_NS, instrument=Instrument(1, "A"), mark=MarketTick(OPEN_NS, 1, 100.0), quantity=10, price_e8=100 * E8,
        reference_price=None, position=0, size=10, orders=1, killed=False, halted=False, session_open=True,
        cash_after_e8=50 * E8, book=Figures(), account=Figures(),
    )  # fmt: skip
    rows = {one.name: one for one in check_rows(p, under, rules.asked(under), rules.CHECKS)}
    assert (rows["lot_size"].result, rows["order_quantity"].result, rows["position"].result) == (PASSES, OBJECTS, NOT_REACHED)
    assert (rows["drawdown"].result, rows["order_quantity"].value, rows["order_quantity"].limit) == (NOT_LIMITED, 10, 3)
    assert all(one.meaning for one in rows.values())
