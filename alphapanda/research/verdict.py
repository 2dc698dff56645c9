"""What `verify` found: counts by service and topic, and the first difference with its causes."""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple


class Link(NamedTuple):
    """One cause: its id, its topic, and its line; `topic` None where it is not in the recording."""

    id: str
    topic: str | None
    line: str | None


@dataclass(frozen=True)
class Divergence:
    """One difference: what was recorded, what the service says now, and the causes back to what came from outside."""

    service: str
    topic: str
    id: str  # of a letter: topic/partition/offset of the record
    kind: str  # missing: it was not recorded; extra: it is not made again; different: it says something else
    recorded: str | None
    made: str | None
    fields: list[str]
    causes: list[Link]


@dataclass
class Counts:
    """How the events of one topic compare."""

    events: int = 0  # recorded
    equal: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0

    def add(self, other: "Counts") -> None:
        """Take in the counts of another topic."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def wrong(self) -> int:
        """All that is not equal."""
        return self.missing + self.extra + self.different


@dataclass
class ServiceReport:
    """One service."""

    service: str
    topics: dict[str, Counts]
    pending: int = 0  # outside events that it had not promised yet when this was looked at: not compared
    failed: str | None = None  # it raised here, and nothing after that was compared
    first: Divergence | None = None

    @property
    def total(self) -> Counts:
        """Over all its topics."""
        total = Counts()
        for counts in self.topics.values():
            total.add(counts)
        return total


@dataclass
class Report:
    """The verdict."""

    roots: int = 0  # outside events
    unreadable: int = 0  # of them dead letters, whose numbers count
    services: list[ServiceReport] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether all that was compared is equal, and nothing raised."""
        return all(not one.total.wrong and one.failed is None for one in self.services)

    @property
    def idle(self) -> list[str]:
        """Services of which nothing could be compared, though something came from outside: that proves nothing."""
        return [one.service for one in self.services if self.roots and one.pending == self.roots]

    @property
    def first(self) -> Divergence | None:
        """The first difference in the one order; letters come last."""
        found = [one.first for one in self.services if one.first is not None]
        return min(found, key=place_of, default=None)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        services = [
            {"service": one.service, **asdict(one.total), "pending": one.pending, "failed": one.failed,
             "topics": {topic: asdict(counts) for topic, counts in one.topics.items()}}
            for one in self.services
        ]  # fmt: skip
        first = self.first
        described = None if first is None else {**vars(first), "causes": [link._asdict() for link in first.causes]}
        return {"equal": self.equal, "roots": self.roots, "unreadable": self.unreadable, "services": services, "first": described}


def place_of(one: Divergence) -> tuple[bool, Any]:
    """Its place in the one order; letters come last."""
    return (True, one.id) if one.topic.endswith(".dlq") else (False, tuple(map(int, one.id.split("-"))))
