"""Two runs over the same tape beside each other: settings, the first decision that differs, all that changed after it.

`run.diff(other)`, `alphapanda diff A B`. See `attribution` for what a changed decision is worth, and why it adds up.
"""

import html
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from alphapanda.contracts.errors import AlphaPandaError
from alphapanda.core.ledger import E8
from alphapanda.pipeline import FILLED
from alphapanda.research.attribution import RISK, Decision, changed, changed_frame, decisions
from alphapanda.research.diff import Difference, diff
from alphapanda.research.runs import Run
from alphapanda.research.tape_view import NoTapeError
from alphapanda.research.why import Why, explain

MOST_ROWS = 2_000
"""More changed decisions than this are not shown in a page."""


@dataclass(frozen=True)
class Attribution:
    """The difference of the equities at the end (b less a), in 1e-8, and what it is made of: the parts add up to it exactly."""

    total_e8: int
    decisions_e8: int  # changed decisions
    end_e8: int  # unchanged decisions, valued at other final prices: where the runs end in different places
    start_e8: int  # other cash or positions at the start
    rest_e8: int  # rounding of fractional multipliers, and corporate actions

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with amounts in currency beside the integers."""
        exact = asdict(self)
        return exact | {name.removesuffix("_e8"): value / E8 for name, value in exact.items()}


@dataclass(frozen=True)
class FirstDecision:
    """The first decision that differs, what each run says of it, and how it came to it."""

    id: str
    changed: str
    a: str | None
    b: str | None
    why_a: Why | None
    why_b: Why | None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        ways = {name: None if way is None else way.as_dict() for name, way in (("why_a", self.why_a), ("why_b", self.why_b))}
        return {"id": self.id, "changed": self.changed, "a": self.a, "b": self.b, **ways}


@dataclass
class Comparison:
    """How run `b` differs from run `a`. False where every event is the same."""

    a: Run
    b: Run
    made_with: list[tuple[str, Any, Any]]  # settings, parameters, code: name, in a, in b
    first: Difference | None  # the first differing event
    decision: FirstDecision | None
    changed: pl.DataFrame  # one row a changed decision
    attribution: Attribution | None  # None where a tape is not at hand
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether every event is the same."""
        return self.first is None

    def __bool__(self) -> bool:
        return not self.equal

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        rows = self.changed.with_columns(pl.col("ts").dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ")).to_dicts()
        return {
            "a": self.a.id, "b": self.b.id, "equal": self.equal,
            "made_with": [{"name": name, "a": a, "b": b} for name, a, b in self.made_with],
            "difference": None if self.first is None else self.first.as_dict(),
            "first_decision": None if self.decision is None else self.decision.as_dict(),
            "decisions": rows, "attribution": None if self.attribution is None else self.attribution.as_dict(),
            "notes": self.notes,
        }  # fmt: skip

    def by_change(self) -> pl.DataFrame:
        """How many decisions changed in what, and what that was worth: changed, decisions, difference_e8, difference."""
        worth = pl.col("difference_e8").sum()
        frame = self.changed.group_by("changed").agg(pl.len().alias("decisions"), worth)
        return frame.sort("changed").with_columns((pl.col("difference_e8") / E8).alias("difference"))

    def to_html(self, path: Path | str) -> Path:
        """Write one file that opens offline; returns where it is."""
        from alphapanda.research.comparison_page import page

        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(page(self), encoding="utf-8")
        return place

    def __repr__(self) -> str:
        if self.equal:
            return f"<Comparison {self.a.id} {self.b.id}: equal>"
        total = "" if self.attribution is None else f", {self.attribution.total_e8 / E8:+,.2f}"
        first = "" if self.decision is None else f", first {self.decision.id} ({self.decision.changed})"
        return f"<Comparison {self.a.id} {self.b.id}: {self.changed.height} changed decisions{first}{total}>"

    def _repr_html_(self) -> str:
        from alphapanda.research.comparison_page import body

        return f"<div>{html.escape(repr(self))}</div>" if self.equal else body(self, most=50)


def compare(a: Run, b: Run, *, ways: bool = True) -> Comparison:
    """Compare two runs; `ways=False` leaves out how each came to the first differing decision, which may replay the tape."""
    made_with = list(differing(_made_with(a), _made_with(b)))
    first = diff(a, b)
    notes = list(_tapes(a, b))
    if first is None:
        return Comparison(a, b, made_with, None, None, changed_frame([], {}, priced=True), Attribution(0, 0, 0, 0, 0), notes)
    try:
        final = _final(a), _final(b)
        priced = True
    except NoTapeError as error:
        notes.append(f"{error}: nothing can be valued")
        final, priced = (dict.fromkeys(_traded(a), 0.0), dict.fromkeys(_traded(b), 0.0)), False
    sides = decisions(a, final[0]), decisions(b, final[1])
    found = list(changed(*sides))
    symbols = dict(pl.concat([one.instruments.select("instrument_token", "symbol") for one in (a, b)]).iter_rows())
    frame = changed_frame(found, symbols, priced=priced)
    attribution = None
    if priced:
        all_e8 = sum(one.pnl_e8 for one in sides[1].values()) - sum(one.pnl_e8 for one in sides[0].values())
        attribution = _attributed(a, b, final, int(frame["difference_e8"].sum()), all_e8)
    decision = _first(a, b, found[0], notes, ways=ways) if found else None
    return Comparison(a, b, made_with, first, decision, frame, attribution, notes)


def _tapes(a: Run, b: Run) -> Iterator[str]:
    """What to know where the runs are not of the same part of one tape."""
    one, other = a.manifest["tape"], b.manifest["tape"]
    if one["digest"] != other["digest"]:
        yield "the runs are of different tapes: what stands at the same place is not the same moment"
    elif (one["start"], one["end"]) != (other["start"], other["end"]):
        yield "the runs are of different parts of the tape: each is valued at its own end"


def _traded(run: Run) -> list[int]:
    tokens: list[int] = run.topic(FILLED)["instrument_token"].unique().to_list()
    return tokens


def _final(run: Run) -> dict[int, float]:
    """Each traded or held instrument's last price in the run."""
    history = run.history
    return history.prices(history.view.end, {*_traded(run), *history.held_at_start()})


def _attributed(
    a: Run, b: Run, final: tuple[dict[int, float], dict[int, float]], changed_e8: int, all_e8: int
) -> Attribution:  # fmt: skip
    """`all_e8`: the difference of all decisions, `changed_e8` of the changed ones."""
    ends = [run.history.at(run.history.view.end).equity_e8 for run in (a, b)]
    starts = [run.history.start_worth_e8(prices) for run, prices in zip((a, b), final, strict=True)]
    total_e8, start_e8 = ends[1] - ends[0], starts[1] - starts[0]
    return Attribution(total_e8, changed_e8, all_e8 - changed_e8, start_e8, total_e8 - all_e8 - start_e8)


def _first(
    a: Run, b: Run, found: tuple[str, Decision | None, Decision | None], notes: list[str], *, ways: bool
) -> FirstDecision:  # fmt: skip
    what, one, other = found
    key = (one or other).key  # type: ignore[union-attr]  # it is there in one of the two
    ways_found: list[Why | None] = [None, None]
    for i, (run, side) in enumerate(((a, one), (b, other))):
        if not ways or side is None:
            continue
        try:
            ways_found[i] = explain(run, key, checks=what == RISK)
        except AlphaPandaError as error:
            notes.append(f"how {run.id} came to {key} cannot be told: {error}")
    return FirstDecision(key, what, None if one is None else str(one), None if other is None else str(other), *ways_found)


# ---- what runs were made with


def _made_with(run: Run) -> dict[str, Any]:
    """Settings, charges and strategies of a run, flat."""
    manifest = run.manifest
    found = dict(_flat("", manifest["settings"]))
    found["charges version"] = manifest["charges_version"]
    for name in ("digest", "start", "end"):
        found[f"tape.{name}"] = manifest["tape"][name]
    source = manifest.get("signals_from")
    found["signals from"] = None if source is None else source["run_id"]
    for one in manifest["strategies"]:
        name = f"strategy of lane {one['lane']}"
        found[name] = one["strategy_id"]
        found |= {f"{name}: class": one["class"], f"{name}: code": one["code_digest"][:12]}
        found |= {f"{name}: {key}": value for key, value in one["params"].items()}
    return found


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, one in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else name, one)
    else:
        yield prefix, value


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Names whose values differ, with both; None where there is none."""
    for name in dict.fromkeys((*a, *b)):
        if a.get(name) != b.get(name):
            yield name, a.get(name), b.get(name)
