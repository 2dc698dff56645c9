"""Where two runs part: the first event, in `pos` order, that only one of them has or that says something else."""

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from alphapanda.pipeline import OUTPUT_TOPICS
from alphapanda.research.runs import Run

_POS = ["epoch", "number", "stage", "lane", "n"]


@dataclass(frozen=True)
class TopicCounts:
    """How many events of a topic are equal, and how many are not."""

    topic: str
    equal: int
    only_a: int
    only_b: int
    different: int


@dataclass(frozen=True)
class Difference:
    """The first differing event, what each run says there, and its causes back to the root."""

    topic: str
    id: str
    a: dict[str, Any] | None
    b: dict[str, Any] | None
    fields: list[str]
    causes: list[str]
    topics: list[TopicCounts]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def diff(a: Run, b: Run) -> Difference | None:
    """The first difference, or None where both say the same. Topics with equal digests are not read."""
    firsts: list[tuple[tuple[int, ...], str]] = []
    counted = []
    for topic in OUTPUT_TOPICS:
        if a.manifest["digests"][topic] == b.manifest["digests"][topic]:
            counted.append(TopicCounts(topic, a.topic(topic).height, 0, 0, 0))
            continue
        counts, first = _compare(topic, a.topic(topic), b.topic(topic))
        counted.append(counts)
        if first is not None:
            firsts.append((first, topic))
    if not firsts:
        return None
    # A copy of a topic sorts after the original, so the name decides between equal places.
    pos, topic = min(firsts)
    found = "-".join(map(str, pos))
    row_a, row_b = _row(a, topic, found), _row(b, topic, found)
    fields = [name for name in (row_a or row_b or {}) if (row_a or {}).get(name) != (row_b or {}).get(name)]
    one, row = (a, row_a) if row_a is not None else (b, row_b)
    return Difference(topic, found, row_a, row_b, fields, _causes(one, row), counted)


def _compare(topic: str, a: pl.DataFrame, b: pl.DataFrame) -> tuple[TopicCounts, tuple[int, ...] | None]:
    fields = [name for name in a.columns if name in b.columns and name not in ("id", *_POS)]
    joined = a.join(b, on=_POS, how="full", suffix="_b", coalesce=True).sort(_POS)
    only_a, only_b = pl.col("id_b").is_null(), pl.col("id").is_null()
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_b")) for name in fields) | only_a | only_b
    wrong = joined.filter(differs)
    alone = wrong.select(only_a.sum(), only_b.sum().alias("other")).row(0)
    counts = TopicCounts(topic, joined.height - wrong.height, alone[0], alone[1], wrong.height - alone[0] - alone[1])
    return counts, wrong.select(_POS).row(0) if wrong.height else None


def _row(run: Run, topic: str, event_id: str) -> dict[str, Any] | None:
    rows = run.topic(topic).filter(pl.col("id") == event_id).drop("id", *_POS)
    return (
        None
        if rows.height == 0
        else {
            name: value if isinstance(value, int | float | str | dict | None) else str(value)
            for name, value in rows.row(0, named=True).items()
        }
    )


def _causes(run: Run, row: dict[str, Any] | None) -> list[str]:
    """Ids from the event's cause back to the one that came from outside."""
    found: list[str] = []
    cause = row["cause"] if row else None
    while cause is not None:
        found.append(cause)
        stage = int(cause.split("-")[2])
        rows = [one for topic in OUTPUT_TOPICS if stage and (one := _row(run, topic, cause)) is not None]
        cause = rows[0]["cause"] if rows else None
    return found
