"""The tearsheet: a run as one self-contained HTML file that opens offline.

The plotting library and the figures are packed into the page and unpacked by the browser, so the file stays under 3 MB.
"""

import base64
import gzip
import html
import json
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go
import polars as pl

from alphapanda.research import figures, series
from alphapanda.research.performance import Statistic
from alphapanda.research.prices import NoPricesError, buy_and_hold, price_points, thinned
from alphapanda.research.runs import Run

MOST_INSTRUMENTS = 4
_STYLE = """
:root{color-scheme:light dark;--ink:#1b2330;--soft:#647084;--line:#dfe4ec;--card:#fff;--back:#f5f7fa}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf3;--soft:#98a3b5;--line:#2c3442;--card:#171c25;--back:#0f131a}}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:auto;padding:28px 20px}h1{margin:0;font-size:26px}h2{font-size:18px;margin:28px 0 8px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(230px,1fr));gap:12px;margin:20px 0}
.card,.plot,table{background:var(--card);border:1px solid var(--line);border-radius:10px}.card{padding:12px 16px}
.card b{display:block;font-size:21px;font-variant-numeric:tabular-nums}.card span,td.soft,.soft{color:var(--soft);font-size:13px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,460px),1fr));gap:14px;margin:14px 0}
.plot{overflow:hidden}.wide{grid-column:1/-1}table{width:100%;border-collapse:separate;border-spacing:0;overflow:hidden}
td,th{padding:6px 12px;border-top:1px solid var(--line);text-align:left;vertical-align:top}
tr:first-child td,tr:first-child th{border-top:0}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}code{font-size:12px;overflow-wrap:anywhere}
.why{border-left:4px solid #d18b2f;padding:8px 14px;background:var(--card)}
"""
_SCRIPT = """
(async()=>{const text=async id=>{const packed=atob(document.getElementById(id).textContent.trim());
const bytes=Uint8Array.from(packed,c=>c.charCodeAt(0));
return await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text();};
const script=document.createElement('script');script.textContent=await text('library');document.head.append(script);
const made=JSON.parse(await text('figures'));
for(const plot of document.querySelectorAll('.plot')){const f=made[plot.dataset.figure];plot.textContent='';
await Plotly.newPlot(plot,f.data,f.layout,{responsive:true,displaylogo:false,displayModeBar:false});}
document.body.dataset.drawn='yes';})();
"""
CONVENTIONS = (
    "Returns are simple, from equity at session closes; a year has 252 sessions; the risk-free rate is zero; deviations are"
    " of the sample (ddof 1). `none` stands where a figure has no value."
)
_CARDS = ("net_pnl", "total_return", "sharpe", "max_drawdown", "fills", "win_rate", "charges", "slippage")


def shown(one: Statistic) -> str:
    """A statistic for reading: percent for fractions, two decimals for amounts, `none` where there is none."""
    if one.value is None:
        return "none"
    if one.unit == "fraction":
        return f"{one.value:.2%}"
    return f"{one.value:,.2f}" if isinstance(one.value, float) else f"{one.value:,}"


class Section(NamedTuple):
    """Figures under one heading; `wide` ones take the whole width."""

    title: str
    wide: list[go.Figure]
    narrow: list[go.Figure]
    note: str = ""


def write_tearsheet(run: Run, path: Path) -> Path:
    """Write the tearsheet of `run` to `path`; returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(run), encoding="utf-8")
    return path


def page(run: Run) -> str:
    """The tearsheet of `run` as one HTML page."""
    made = sections(run)
    drawn = [figure for one in made for figure in (*one.wide, *one.narrow)]
    numbers = iter(range(len(drawn)))
    body = "".join(
        (_head(run), _cards(run), _why(run), *(_section(one, numbers) for one in made), _statistics(run), _details(run))
    )
    library = resources.files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    packed = json.dumps([json.loads(figure.to_json()) for figure in drawn], separators=(",", ":")).encode()
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(f'AlphaPanda tearsheet {run.id}')}</title>"
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><main>{body}</main>'
        f'<script id="library" type="text/plain">{_packed(library)}</script>'
        f'<script id="figures" type="text/plain">{_packed(packed)}</script><script>{_SCRIPT}</script></body></html>\n'
    )


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _head(run: Run) -> str:
    tape = run.manifest["tape"]
    names = ", ".join(one["strategy_id"] for one in run.manifest["strategies"])
    params = "; ".join(f"{one['strategy_id']} {_params(one['params'])}" for one in run.manifest["strategies"])
    return (
        f"<h1>{html.escape(names)}</h1><p class=soft>{html.escape(params)}</p>"
        f"<p class=soft>{html.escape(Path(tape['path']).name)} &middot;"
        f" {run.manifest['counts']['ticks']:,} ticks &middot; {html.escape(run.manifest['created'])} &middot;"
        f" digest <code>{run.digest}</code></p>"
    )


def _params(params: dict[str, Any]) -> str:
    return "(" + ", ".join(f"{name}={value}" for name, value in params.items() if value not in ((), [])) + ")"


def _cards(run: Run) -> str:
    cells = (
        f"<div class=card><span>{name.replace('_', ' ')}</span><b>{shown(run.statistics[name])}</b></div>" for name in _CARDS
    )
    return f"<div class=cards>{''.join(cells)}</div>"


def _why(run: Run) -> str:
    lines = explain(run)
    return f"<div class=why>{'<br>'.join(map(html.escape, lines))}</div>" if lines else ""


_REMEDIES = {
    "session_open": "no trading session was open: a bar that closes with its session is decided on after it; with"
    " risk.require_session=false the orders wait for the next open",
    "stale_quote": "the last quote was older than risk.max_quote_age_s allows; none lets any age pass",
}
"""By reason of a rejection: what it means, and which setting lets the signal pass."""


def explain(run: Run) -> list[str]:
    """Why there are few or no fills, in words: halted strategies, rejections, features that never warmed up."""
    counts, lines = run.manifest["counts"], []
    for row in run.halted.iter_rows(named=True):
        lines.append(f"{row['strategy_id']} was halted at {row['where']}: {row['error']}")
    if counts["rejected"]:
        which = "no fills: every signal was rejected: " if run.all_rejected else "rejected signals: "
        lines.append(which + ", ".join(f"{count} {reason}" for reason, count in counts["rejected"].items()))
    lines += [f"{reason}: {_REMEDIES[reason]}" for reason in counts["rejected"] if reason in _REMEDIES]
    cold = [one for one in run.manifest["warm_up"] if not one["values"]]
    if cold:
        lines.append(
            f"{len(cold)} of {len(run.manifest['warm_up'])} features never warmed up: the tape is too short for their window"
        )
    if counts["fills"] == 0 and counts["signals"] == 0:
        lines.append("no fills: the strategy gave no signal")
    if run.manifest["open_orders"]:
        lines.append(f"{run.manifest['open_orders']} orders were still open at the end of the tape")
    return lines


def sections(run: Run) -> list[Section]:
    """All figures of a run, in the order of the tearsheet."""
    currency, zone, start = run.manifest["currency"], run.manifest["tape"]["zone"], run.start_equity
    benchmark, note = benchmark_of(run)
    equity, execution = run.equity, series.execution(run.fills, run.orders)
    returns = series.distribution(equity, start)
    rolling = series.rolling_sharpe(equity, start)
    end_ts = equity["ts"][-1] if equity.height else None
    made = [
        Section("Equity", [
            figures.equity_figure(equity, currency, benchmark, zone), figures.drawdown_figure(equity, zone, start),
        ], [], note),
        Section("Returns", [figures.monthly_figure(series.monthly(equity, start, zone))], [
            figures.returns_figure(*returns), figures.round_trips_figure(run.round_trips, currency),
            figures.rolling_sharpe_figure(rolling, series.ROLLING_SESSIONS, zone),
            figures.turnover_figure(series.turnover(run.fills, equity, zone), zone),
        ]),
        Section("Exposure", [], [
            figures.exposure_figure(equity, currency, zone),
            figures.positions_figure(series.quantities(run.positions), end_ts, zone),
        ]),
        Section("Execution", [], [
            figures.latency_figure(series.market_latencies(execution)),
            figures.costs_figure(execution),
        ]),
        _fills(run, zone),
    ]  # fmt: skip
    if run.manifest["counts"]["rejected"]:
        made[3].narrow.append(figures.rejections_figure(run.manifest["counts"]["rejected"]))
    return made


def benchmark_of(run: Run) -> tuple[pl.DataFrame | None, str]:
    """Buying and holding what was traded, at the times of the equity that is drawn; with a sentence about it."""
    try:
        benchmark = buy_and_hold(run, thinned(run.equity, "equity")["ts"])
    except NoPricesError as error:
        return None, f"No benchmark: {error}."
    if benchmark.height == 0:
        return None, "No benchmark: nothing was traded."
    gain = benchmark["benchmark"][-1] / run.start_equity - 1 if run.start_equity else 0.0
    return benchmark, (
        f"Benchmark: the start equity in equal parts in the traded instruments, from each one's first price on, without"
        f" charges. It returned {gain:.2%}."
    )


def _fills(run: Run, zone: str) -> Section:
    traded = run.fills.group_by("instrument_token", "symbol").len().sort("len", "instrument_token", descending=[True, False])
    made, note = [], ""
    for token, symbol, _ in traded.head(MOST_INSTRUMENTS).iter_rows():
        prices = None
        try:
            prices = price_points(run, token)
        except NoPricesError as error:
            note = f"{error}."
        made.append(figures.fills_figure(symbol, prices, run.fills.filter(pl.col("instrument_token") == token), zone))
    if traded.height > MOST_INSTRUMENTS:
        note += f" The {MOST_INSTRUMENTS} instruments with most fills, of {traded.height}."
    return Section("Fills on price", made, [], note.strip())


def _section(one: Section, numbers: Iterator[int]) -> str:
    if not one.wide and not one.narrow:
        return ""
    plots = [_plot(figure, next(numbers), "plot wide") for figure in one.wide]
    plots += [_plot(figure, next(numbers), "plot") for figure in one.narrow]
    note = f"<p class=soft>{html.escape(one.note)}</p>" if one.note else ""
    return f"<h2>{html.escape(one.title)}</h2>{note}<div class=plots>{''.join(plots)}</div>"


def _plot(figure: go.Figure, number: int, kind: str) -> str:
    label = html.escape(figure.layout.title.text.partition("<br>")[0])
    return (
        f'<div class="{kind}" role="img" aria-label="{label}" data-figure="{number}"'
        f' style="min-height:{figure.layout.height}px">{label}</div>'
    )


def _statistics(run: Run) -> str:
    head = "<tr><th>statistic</th><th>value</th><th>unit</th><th>formula</th></tr>"
    rows = "".join(
        f"<tr><th colspan=4>{html.escape(group)}</th></tr>{''.join(map(_statistic, of_it))}"
        if group
        else "".join(map(_statistic, of_it))
        for group, of_it in by_group(run.statistics)
    )
    return f"<h2>Statistics</h2><p class=soft>{CONVENTIONS}</p><table>{head}{rows}</table>"


def by_group(statistics: Mapping[str, Statistic]) -> list[tuple[str, list[Statistic]]]:
    """Statistics of a kind together, in the order in which they come first."""
    found: dict[str, list[Statistic]] = {}
    for one in statistics.values():
        found.setdefault(one.group, []).append(one)
    return list(found.items())


def _statistic(one: Statistic) -> str:
    return (
        f"<tr><td>{one.name.replace('_', ' ')}</td><td class=n>{shown(one)}</td>"
        f"<td class=soft>{html.escape(one.unit)}</td><td class=soft>{html.escape(one.formula)}</td></tr>"
    )


def _details(run: Run) -> str:
    lines = run.fills["charge_lines"].struct.unnest().sum().row(0, named=True) if run.fills.height else {}
    charges = {name.removesuffix("_e8"): f"{amount / 1e8:,.2f}" for name, amount in lines.items() if amount}
    settings = {
        f"{section}.{name}": value for section, values in run.manifest["settings"].items() for name, value in values.items()
    }
    return "".join(
        _table(*one) for one in (("Charges by line", charges), ("Settings", settings), ("Digests", run.manifest["digests"]))
    )


def _table(title: str, rows: dict[str, Any]) -> str:
    if not rows:
        return ""
    cells = (
        f"<tr><td>{html.escape(name)}</td><td class=n><code>{html.escape(str(value))}</code></td></tr>"
        for name, value in rows.items()
    )
    return f"<h2>{title}</h2><table>{''.join(cells)}</table>"
