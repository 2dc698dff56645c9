"""What is searched over: dimensions, and the sets that a grid or a random search draws from them.

A dimension is a list of choices, or a `Span` of numbers. As text: `10,20,30`, `10:100:10` (from, to, step; both ends
belong to it), `0.1:2.0` (any number between), `log:0.001:1` (the same, evenly over magnitudes).
"""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from alphapanda.contracts.errors import ConfigurationError

MOST_SETS = 100_000


class Span(msgspec.Struct, frozen=True, tag=True):
    """Numbers from `low` to `high`, both included: multiples of `step` from `low` on, or without one any number.

    `log`: drawn evenly over magnitudes. Raises ConfigurationError where there is no such number.
    """

    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)) or self.low > self.high:
            raise ConfigurationError(f"{self.low}:{self.high} is not a range: write from:to, such as 10:100")
        if self.step is not None and not self.step > 0:
            raise ConfigurationError(f"{self.low}:{self.high}:{self.step}: a step is above zero")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ConfigurationError(f"log:{self.low}:{self.high}: a logarithmic range is above zero and has no step")

    @property
    def whole(self) -> bool:
        """Whether all its numbers are integers."""
        return all(isinstance(one, int) for one in (self.low, self.high)) and isinstance(self.step, int | None)

    def values(self) -> list[float]:
        """Every number, where they can be counted. Raises ConfigurationError."""
        step = self.step if self.step is not None else 1 if self.whole and not self.log else None
        if step is None:
            raise ConfigurationError(
                f"{self.low}:{self.high} has no step, so its values cannot be counted: write {self.low}:{self.high}:STEP, or"
                " search it with the method random or optuna"
            )
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        if count > MOST_SETS:
            raise ConfigurationError(f"{self.low}:{self.high}:{step} has {count:,} values: at most {MOST_SETS:,}")
        return [self.low + i * step if self.whole else round(self.low + i * step, 12) for i in range(count)]

    def draw(self, rng: random.Random) -> float:
        """Any number of it."""
        if self.step is not None or (self.whole and not self.log):
            return rng.choice(self.values())
        if self.log:
            drawn = min(self.high, max(self.low, math.exp(rng.uniform(math.log(self.low), math.log(self.high)))))
            return round(drawn) if self.whole else drawn
        return rng.uniform(self.low, self.high)


Dimension = tuple[Any, ...] | Span
Point = dict[str, Any]
"""One value for each dimension, by name."""


def dimension(name: str, given: Any) -> Dimension:
    """A dimension from text, a sequence, a `Span`, a table of its fields, or one value. Raises ConfigurationError."""
    if isinstance(given, str):
        return _of_text(name, given)
    if isinstance(given, Mapping):
        try:
            return Span(**given)
        except TypeError as error:
            raise ConfigurationError(f"{name}: a range has low, high, and perhaps step or log: {dict(given)}") from error
    if isinstance(given, Span):
        return given
    values = tuple(given) if isinstance(given, Sequence | range) else (given,)
    if not values:
        raise ConfigurationError(f"{name} has no value to try")
    return values


def _of_text(name: str, text: str) -> Dimension:
    kind, colon, rest = text.partition(":")
    is_log = bool(colon) and kind == "log"
    numbers = [_number(part) for part in (rest if is_log else text).split(":")]
    if colon and len(numbers) in (2, 3) and None not in numbers:
        low, high, step = [*numbers, None][:3]
        return Span(low, high, step, is_log)  # type: ignore[arg-type]  # the ends are there
    values = tuple(part.strip() for part in text.split(",") if part.strip())
    if not values or is_log:
        raise ConfigurationError(f"{name}={text!r} is not understood: write 10,20,30 or 10:100:10 or 0.1:2.0 or log:0.001:1")
    return values


def _number(text: str) -> float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def grid(dimensions: Mapping[str, Dimension]) -> list[Point]:
    """Every combination, the last dimension changing fastest. Raises ConfigurationError above `MOST_SETS`."""
    values = [one.values() if isinstance(one, Span) else one for one in dimensions.values()]
    if (count := math.prod(map(len, values))) > MOST_SETS:
        raise ConfigurationError(f"the grid has {count:,} sets, at most {MOST_SETS:,}: take fewer values, or the method random")
    return [dict(zip(dimensions, chosen, strict=True)) for chosen in itertools.product(*values)]


def drawn(dimensions: Mapping[str, Dimension], count: int, seed: int) -> list[Point]:
    """`count` different sets by chance, all of them where there are fewer; the same for the same seed."""
    rng, found = random.Random(seed), dict[tuple[Any, ...], Point]()  # noqa: S311  # a search, not a secret
    for _ in range(count * 50):  # small spaces give the same set again and again
        if len(found) == count:
            break
        values = {name: one.draw(rng) if isinstance(one, Span) else rng.choice(one) for name, one in dimensions.items()}
        found.setdefault(tuple(map(repr, values.values())), values)
    if len(found) < count:
        return _all_or(dimensions, found)[:count]
    return list(found.values())


def _all_or(dimensions: Mapping[str, Dimension], found: Mapping[Any, Point]) -> list[Point]:
    """Every set of a space that can be counted, since so few were drawn; else those that were."""
    try:
        return grid(dimensions)
    except ConfigurationError:
        return list(found.values())
