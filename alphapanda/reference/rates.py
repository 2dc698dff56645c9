"""Rates of one day, ready to be applied: whole numbers throughout, since a fill is charged on the hot path."""

from collections.abc import Mapping
from fractions import Fraction
from math import lcm
from typing import NamedTuple

E8 = 100_000_000
LINES = (
    "brokerage", "brokerage_per_unit", "brokerage_per_order", "brokerage_min", "brokerage_max", "brokerage_max_of_value",
    "stt_buy", "stt_sell", "exchange", "sebi", "stamp_buy", "gst", "dp",
)  # fmt: skip
Ratio = tuple[int, int]
NONE: Ratio = (0, 1)
ZERO = Fraction(0)


def half_even(numerator: int, denominator: int) -> int:
    """A fraction to the nearest whole number, halves to the even one; the numerator is at least 0, the denominator above."""
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return whole + 1 if twice > denominator or (twice == denominator and whole & 1) else whole


class Brokerage(NamedTuple):
    """Brokerage of an order in `scale` parts of a rounding step, so that every figure is a whole number."""

    scale: int
    of_value: int  # for each 1e-8 of value
    per_unit: int
    per_order: int
    least: int | None
    most: int | None
    most_of_value: int | None  # for each 1e-8 of value

    @classmethod
    def of(cls, figures: Mapping[str, Fraction], step: int) -> "Brokerage":
        """From figures by line, of which any may lack."""
        scale = lcm(*(figures[name].denominator for name in LINES[:6] if name in figures))

        def scaled(name: str, unit: int) -> int:
            return int(figures.get(name, ZERO) * scale * unit)

        least, most = (scaled(name, E8) if name in figures else None for name in ("brokerage_min", "brokerage_max"))
        per_unit, per_order = scaled("brokerage_per_unit", E8), scaled("brokerage_per_order", E8)
        of_value = scaled("brokerage_max_of_value", 1) if "brokerage_max_of_value" in figures else None
        return cls(scale * step, scaled("brokerage", 1), per_unit, per_order, least, most, of_value)

    def scaled(self, quantity: int, notional_e8: int) -> int:
        """For an order of which this much has been filled."""
        total = notional_e8 * self.of_value + quantity * self.per_unit + self.per_order
        if self.least is not None and total < self.least:
            total = self.least
        if self.most is not None and total > self.most:
            total = self.most
        if self.most_of_value is not None and total > notional_e8 * self.most_of_value:
            total = notional_e8 * self.most_of_value
        return total


class Rates(NamedTuple):
    """What one segment and product pay on one day; a ratio gives rounding steps for each 1e-8 of value."""

    free: bool  # nothing is charged for fills
    step: int  # to which lines are rounded, in 1e-8
    brokerage: Brokerage
    stt_buy: Ratio
    stt_sell: Ratio
    exchange: Ratio
    sebi: Ratio
    stamp_buy: Ratio
    gst: Ratio
    dp_e8: int

    @classmethod
    def of(cls, figures: Mapping[str, Fraction], decimals: int) -> "Rates":
        """From figures by line (see `LINES`), of which any may lack; lines are rounded to that many decimals."""
        step = 10 ** (8 - decimals)
        dp = figures.get("dp", ZERO) * (1 + figures.get("gst", ZERO)) * E8 / step
        not_by_themselves = ("brokerage_max", "brokerage_max_of_value", "gst", "dp")
        charged = any(value for name, value in figures.items() if name not in not_by_themselves)

        def ratio(name: str) -> Ratio:
            numerator, denominator = figures.get(name, ZERO).as_integer_ratio()
            return numerator, denominator * step

        return cls(
            not charged, step, Brokerage.of(figures, step), ratio("stt_buy"), ratio("stt_sell"), ratio("exchange"),
            ratio("sebi"), ratio("stamp_buy"), ratio("gst"), half_even(*dp.as_integer_ratio()) * step,
        )  # fmt: skip

    def lines_e8(self, buys: bool, quantity: int, notional_e8: int) -> tuple[int, int, int, int, int, int]:
        """Brokerage, STT, exchange, SEBI, stamp and GST of an order of which this much (absolute) has been filled."""
        step, fee = self.step, self.brokerage
        brokerage = half_even(fee.scaled(quantity, notional_e8), fee.scale) * step
        numerator, denominator = self.stt_buy if buys else self.stt_sell
        stt = half_even(notional_e8 * numerator, denominator) * step
        numerator, denominator = self.exchange
        exchange = half_even(notional_e8 * numerator, denominator) * step
        numerator, denominator = self.sebi
        sebi = half_even(notional_e8 * numerator, denominator) * step
        numerator, denominator = self.stamp_buy if buys else NONE
        stamp = half_even(notional_e8 * numerator, denominator) * step
        numerator, denominator = self.gst
        gst = half_even((brokerage + sebi + exchange) * numerator, denominator) * step
        return brokerage, stt, exchange, sebi, stamp, gst
