"""Numbers that look random and are the same everywhere: data whose results another system computed is made of them."""

from collections.abc import Iterator


def draws(seed: int) -> Iterator[int]:
    """Whole numbers from 0 to 999, by a linear congruence of whole numbers."""
    while True:
        seed = (seed * 1_103_515_245 + 12_345) % 2**31
        yield seed // 65_536 % 1_000
