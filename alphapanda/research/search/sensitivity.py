"""How a result hangs on what was assumed of fills: one strategy under several fill models, latencies and slippages."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import polars as pl

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research.search import figures, honest
from alphapanda.research.search.outcome import STATS
from alphapanda.research.search.space import Dimension, Point, Span, grid
from alphapanda.research.search.sweep import Sweep, problems

MODEL, LATENCY, SLIPPAGE = "execution.fill_model", "execution.latency_ms", "execution.slippage_ticks"
DEFAULTS: dict[str, tuple[Any, ...]] = {
    MODEL: ("next_tick", "bar_open", "depth", "immediate"), LATENCY: (0, 50, 250, 1000), SLIPPAGE: (0, 1, 2),
}  # fmt: skip
_DEPTH_NEEDS = {"bid", "ask", "bid_quantity", "ask_quantity"}


def assumptions(columns: Sequence[str], given: Mapping[str, Any], *, depth: bool = True) -> dict[str, Any]:
    """The settings to be varied: `given`, with the defaults for those it does not name.

    Of the defaults `depth` is left out where it is not wanted, or the tape has no quoted quantities.
    """
    depth = depth and set(columns) >= _DEPTH_NEEDS
    models = tuple(one for one in DEFAULTS[MODEL] if one != "depth" or depth)
    return {**DEFAULTS, MODEL: models, **given}


def points(baseline: Point, dimensions: Mapping[str, Dimension]) -> list[Point]:
    """What stands in the settings first, then every combination that differs: `immediate` knows no latency."""
    if MODEL not in dimensions or any(isinstance(one, Span) for one in dimensions.values()):
        raise ConfigurationError("a sensitivity table has values to be compared, no ranges")
    found = [baseline]
    for point in grid(dimensions):
        if point[MODEL] == "immediate" and LATENCY in point:
            point[LATENCY] = 0.0
        if point not in found:
            found.append(point)
    return found


class Sensitivity(Sweep):
    """A table over assumptions; the first row is what the settings say."""

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row a combination: its settings, net P&L, its difference from the first row, figures."""
        short = {name: name.partition(".")[2] for name in self.plan.dimensions}
        frame = self.results.select(*self.plan.dimensions, *STATS, "problem").rename(short)
        if frame.height == 0:
            return frame.with_columns(pl.lit(None, pl.Float64).alias("change"))
        first = frame["net_pnl"][0]
        return frame.with_columns((pl.col("net_pnl") - first).alias("change"))

    @cached_property
    def warnings(self) -> list[str]:
        """What must be said beside the table."""
        said, made = problems(self.results), self.results["net_pnl"].drop_nulls()
        if made.len() and self.results["net_pnl"][0] is not None:
            first = float(self.results["net_pnl"][0])
            turned = int(((made > 0) != (first > 0)).sum())
            if turned:
                gained = "gain" if first > 0 else "loss"
                said.append(f"the {gained} of {first:,.2f} turns under {turned} of {made.len() - 1} other assumptions")
            said += honest.few_round_trips("the result", self.results["round_trips"][0])
        return said

    def heatmap(self, x: str | None = None, y: str | None = None, value: str = "net_pnl") -> Any:
        """A plotly figure of a statistic over two of the assumptions, the mean over the third."""
        across, down = figures.axes(list(self.plan.dimensions), x or LATENCY, y or MODEL)
        return figures.heatmap(self.results, across, down, value)

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {"name": self.name, "path": str(self.path), "table": self.table.to_dicts(), "warnings": self.warnings}

    def __repr__(self) -> str:
        return f"<Sensitivity {self.name} combinations={self.table.height} warnings={len(self.warnings)}>"

    def _repr_html_(self) -> str:
        from alphapanda.research.search.show import sensitivity_card

        return sensitivity_card(self)
