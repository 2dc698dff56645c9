"""Times of day, for strategies that keep hours: a strategy has no clock, only the times of its events."""

from datetime import time

from alphapanda.contracts.errors import ConfigurationError

MINUTE_NS = 60_000_000_000
DAY_NS = 86_400_000_000_000


def of_day_ns(text: str) -> int:
    """Nanoseconds from midnight of a time such as 09:15. Raises ConfigurationError."""
    try:
        at = time.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is no time of day: write it as 09:15") from error
    return (at.hour * 60 + at.minute) * MINUTE_NS
