"""The tearsheet: a run as one self-contained HTML file that opens offline.

The plotting library is packed into the page and unpacked by the browser, so the file stays well under 3 MB.
"""

import base64
import gzip
import html
import json
from importlib import resources
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import polars as pl

from alphapanda.pipeline import TICKS
from alphapanda.research import figures
from alphapanda.research.performance import Statistic
from alphapanda.research.runs import Run

MOST_INSTRUMENTS = 4
_STYLE = """
:root{color-scheme:light dark;--ink:#1b2330;--soft:#647084;--line:#dfe4ec;--card:#fff;--back:#f5f7fa}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf3;--soft:#98a3b5;--line:#2c3442;--card:#171c25;--back:#0f131a}}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:auto;padding:28px 20px}h1{margin:0;font-size:26px}h2{font-size:18px;margin:28px 0 8px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px;margin:20px 0}
.card,.plot,table{background:var(--card);border:1px solid var(--line);border-radius:10px}.card{padding:12px 16px}
.card b{display:block;font-size:21px;font-variant-numeric:tabular-nums}.card span,td.soft,.soft{color:var(--soft);font-size:13px}
.plot{margin:14px 0;min-height:340px}table{width:100%;border-collapse:separate;border-spacing:0;overflow:hidden}
td,th{padding:6px 12px;border-top:1px solid var(--line);text-align:left;vertical-align:top}
tr:first-child td,tr:first-child th{border-top:0}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}code{font-size:12px;overflow-wrap:anywhere}
.why{border-left:4px solid #d18b2f;padding:8px 14px;background:var(--card)}
"""
_SCRIPT = """
(async()=>{const bytes=Uint8Array.from(atob(document.getElementById('library').textContent.trim()),c=>c.charCodeAt(0));
const text=await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
const script=document.createElement('script');script.textContent=text;document.head.append(script);
for(const plot of document.querySelectorAll('.plot')){const f=JSON.parse(plot.querySelector('script').textContent);
await Plotly.newPlot(plot,f.data,f.layout,{responsive:true,displaylogo:false,displayModeBar:false});}})();
"""
_CARDS = ("net_pnl", "total_return", "sharpe", "max_drawdown", "fills", "win_rate", "charges", "slippage")


def shown(one: Statistic) -> str:
    """A statistic for reading: percent for fractions, two decimals for amounts, `none` where there is none."""
    if one.value is None:
        return "none"
    if one.unit == "fraction":
        return f"{one.value:.2%}"
    return f"{one.value:,.2f}" if isinstance(one.value, float) else f"{one.value:,}"


def write_tearsheet(run: Run, path: Path) -> Path:
    """Write the tearsheet of `run` to `path`; returns `path`."""
    library = resources.files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    packed = base64.b64encode(gzip.compress(library, 9, mtime=0)).decode()
    title = f"AlphaPanda tearsheet {run.id}"
    body = "".join((_head(run), _cards(run), _why(run), *map(_plot, _figures(run)), _statistics(run), _details(run)))
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><main>{body}</main>'
        f'<script id="library" type="text/plain">{packed}</script><script>{_SCRIPT}</script></body></html>\n'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


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


def explain(run: Run) -> list[str]:
    """Why there are few or no fills, in words: halted strategies, rejections, features that never warmed up."""
    counts, lines = run.manifest["counts"], []
    for row in run.halted.iter_rows(named=True):
        lines.append(f"{row['strategy_id']} was halted at {row['where']}: {row['error']}")
    if counts["rejected"]:
        lines.append("rejected signals: " + ", ".join(f"{count} {reason}" for reason, count in counts["rejected"].items()))
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


def _figures(run: Run) -> list[go.Figure]:
    currency = run.manifest["currency"]
    made = [
        figures.equity_figure(run.equity, currency),
        figures.drawdown_figure(run.equity),
        figures.exposure_figure(run.equity, currency),
    ]
    traded = run.fills.group_by("instrument_token", "symbol").len().sort("len", "instrument_token", descending=[True, False])
    for token, symbol, _ in traded.head(MOST_INSTRUMENTS).iter_rows():
        made.append(figures.fills_figure(symbol, _prices(run, token), run.fills.filter(pl.col("instrument_token") == token)))
    if run.manifest["counts"]["rejected"]:
        made.append(figures.rejections_figure(run.manifest["counts"]["rejected"]))
    return made


def _prices(run: Run, token: int) -> pl.DataFrame | None:
    folder = Path(run.manifest["tape"]["path"]) / TICKS
    files = sorted(folder.glob("date=*/part-*.parquet"))
    if not files:
        return None
    lazy = pl.scan_parquet(files, hive_partitioning=False, glob=False).filter(pl.col("instrument_token") == token)
    return lazy.select(pl.from_epoch("ts_ns", time_unit="ns").dt.replace_time_zone("UTC").alias("ts"), "last_price").collect()


def _plot(figure: go.Figure) -> str:
    text = json.dumps(json.loads(figure.to_json()), separators=(",", ":")).replace("</", "<\\/")
    label = html.escape(figure.layout.title.text)
    return f'<div class=plot role="img" aria-label="{label}"><script type="application/json">{text}</script></div>'


def _statistics(run: Run) -> str:
    rows = (
        f"<tr><td>{one.name.replace('_', ' ')}</td><td class=n>{shown(one)}</td>"
        f"<td class=soft>{html.escape(one.formula)}</td></tr>"
        for one in run.statistics.values()
    )
    return f"<h2>Statistics</h2><table>{''.join(rows)}</table>"


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
