"""One commission for everything, from settings: its sum, its least, its most, and its most of an order's value."""

from datetime import date
from typing import Any

import pytest

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.core.ledger import E8, to_e8
from alphapanda.reference.charges import ChargeSchedule
from alphapanda.runtime.container import AppContainer
from alphapanda.runtime.settings import load_settings

DAY = date(2024, 3, 1)


def schedule(**figures: Any) -> ChargeSchedule:
    """As a replay with these settings has it."""
    settings = {f"charges.{name}": value for name, value in figures.items()}
    return AppContainer(load_settings({"charges.profile": "custom", **settings})).charges("none")


def commission(of: ChargeSchedule, quantity: int, price: float, before: int = 0) -> float:
    """Of one fill, after `before` units of its order at the same price."""
    charges = of.charge(
        day=DAY, segment="US", product="CNC", quantity=quantity, notional_e8=abs(quantity) * to_e8(price),
        order_quantity_before=before, order_notional_before_e8=before * to_e8(price),
    )  # fmt: skip
    return charges.total_e8 / E8


TIERED = {"per_share": 0.005, "min": 1, "max_bps": 100}


@pytest.mark.parametrize(
    ("quantity", "price", "expected"),
    [
        (1000, 20.0, 5.0),  # 0.005 a share
        (100, 20.0, 1.0),  # the least
        (1000, 0.25, 2.5),  # 1 % of 250, below 5
        (-10, 5.0, 0.5),  # 1 % of 50, below the least
    ],
)
def test_an_order_pays_at_most_its_share_of_its_value(quantity: int, price: float, expected: float) -> None:
    """Even where that is less than the least."""
    assert commission(schedule(**TIERED), quantity, price) == expected


def test_a_part_pays_what_the_whole_would_have_paid() -> None:
    """Two fills of one order: 1 % of each one's value, since that is below the least for both."""
    custom = schedule(**TIERED)
    assert [commission(custom, 4, 5.0), commission(custom, 6, 5.0, before=4)] == [0.2, 0.3]


@pytest.mark.parametrize(("figures", "expected"), [({"max": 3}, 3.0), ({"max_bps": 5}, 2.5), ({"max": 3, "max_bps": 5}, 2.5)])
def test_of_two_limits_the_lower_counts(figures: dict[str, float], expected: float) -> None:
    """Of 5,000 at 10 basis points, which would be 5."""
    assert commission(schedule(bps=10, **figures), 100, 50.0) == expected


def test_a_share_of_nothing_is_nothing() -> None:
    """A limit of 0 is a limit."""
    assert commission(schedule(per_order=7, max_bps=0), 10, 50.0) == 0.0


def test_a_share_below_zero_is_refused() -> None:
    """By the name of the setting."""
    with pytest.raises(ConfigurationError, match=r"charges\.max_bps"):
        schedule(max_bps=-1)


def test_two_shares_are_two_schedules() -> None:
    """A run's manifest tells them apart."""
    assert schedule(bps=1, max_bps=5).version != schedule(bps=1, max_bps=6).version
