"""`alphapanda sweep`, `walkforward` and `sensitivity`: searching from the command line."""

from pathlib import Path
from typing import Annotated, Any

import typer

from alphapanda.cli_terminal import out, pairs, print_json
from alphapanda.contracts.errors import ConfigurationError

Spec = Annotated[Path | None, typer.Argument(help="A TOML file: a replay spec, perhaps with a table [search].")]
Tapes = Annotated[list[Path] | None, typer.Option("--tape", help="A tape's folder; may be repeated.")]
Strategies = Annotated[list[str] | None, typer.Option("--strategy", help="module:Class or file.py:Class; may be repeated.")]
Params = Annotated[
    list[str] | None, typer.Option("--param", help="name=10,20,30 or 10:100:10 or 0.1:2.0; of several strategies, id.name=...")
]
Vary = Annotated[list[str] | None, typer.Option("--vary", help="section.key=values: a setting to be searched over.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="section.key=value: a setting that stays.")]
Start = Annotated[str | None, typer.Option(help="From this seq (1-500) or time on.")]
End = Annotated[str | None, typer.Option(help="Up to, not including, such a place.")]
MethodOption = Annotated[str | None, typer.Option("--method", help="grid, random or optuna. Default: grid.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Sets to be tried by random and optuna. Default: 64.")]
Objective = Annotated[str | None, typer.Option(help="The statistic that decides. Default: net_pnl.")]
Seed = Annotated[int | None, typer.Option(help="Of random and optuna. Default: 7.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=0, help="Processes. Default: one a core; 0: this one.")]
Name = Annotated[str | None, typer.Option(help="The search's folder. Default: by strategy and plan.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of searches. Default: storage.sweeps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def _wanted(
    spec: Path | None, tapes: list[Path] | None, strategies: list[str] | None, place: dict[str, str | None],
    settings: list[str] | None, search: dict[str, Any],
) -> Any:  # fmt: skip
    """What is to be searched: the spec's table with the options on top."""
    from alphapanda.research.search.wanted import make_wanted, read_wanted

    table = read_wanted(spec) if spec is not None else {}
    if tapes:
        table = {name: one for name, one in table.items() if name != "tape"} | {"tapes": tapes}
    if strategies:
        table["strategies"] = [{"class": one} for one in strategies]
    table |= {name: one for name, one in place.items() if one is not None}
    table["settings"] = {**table.get("settings", {}), **pairs(settings or [], "--set")}
    said = {name: one for name, one in search.items() if one not in (None, {})}
    kept = table.get("search", {})
    if not isinstance(kept, dict):
        raise ConfigurationError(f"{spec}: [search] is a table")
    table["search"] = {**kept, **said}
    return make_wanted(str(spec or "search"), table)


def _search(param: list[str] | None, vary: list[str] | None, **more: Any) -> dict[str, Any]:
    return {"params": pairs(param or [], "--param"), "settings": pairs(vary or [], "--vary"), **more}


def _how(workers: int | None, name: str | None, out_dir: Path | None, *, quiet: bool, keep_runs: bool = False) -> Any:
    from alphapanda.research.search.api import How

    return How(workers=workers, name=name, out=out_dir, progress=not quiet, keep_runs=keep_runs)


def sweep(
    spec: Spec = None, tape: Tapes = None, strategy: Strategies = None, param: Params = None, vary: Vary = None,
    method: MethodOption = None, trials: Trials = None, objective: Objective = None,
    holdout: Annotated[float | None, typer.Option(help="Part of each tape that is kept back, such as 0.3.")] = None,
    seed: Seed = None, start: Start = None, end: End = None, workers: WorkersOption = None, name: Name = None,
    out_dir: Out = None,
    keep_runs: Annotated[bool, typer.Option("--keep-runs", help="Keep each replay's run in the search's folder.")] = False,
    heatmap: Annotated[Path | None, typer.Option(help="Write the heatmap to this HTML file.")] = None,
    set_: Set = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Try many parameter sets; choose on the training part, look at the holdout. Run again, it goes on where it was stopped."""
    from alphapanda.research.search import show
    from alphapanda.research.search.api import run_sweep

    search = _search(param, vary, method=method, trials=trials, objective=objective, holdout=holdout, seed=seed)
    wanted = _wanted(spec, tape, strategy, {"start": start, "end": end}, set_, search)
    found = run_sweep(wanted, _how(workers, name, out_dir, quiet=as_json, keep_runs=keep_runs), {})
    if heatmap is not None:
        found.heatmap().write_html(heatmap, include_plotlyjs=True)
    if as_json:
        print_json(found.as_dict())
    else:
        show.print_found(out, f"sweep {found.name}", show.ranked(found), show.facts_of(found), found)


def walkforward(
    spec: Spec = None, tape: Tapes = None, strategy: Strategies = None, param: Params = None, vary: Vary = None,
    train: Annotated[str | None, typer.Option(help="Sessions (20) or, on a tape of one, market time (90m).")] = None,
    test: Annotated[str | None, typer.Option(help="As --train: what follows it.")] = None,
    gap: Annotated[str | None, typer.Option(help="As --train: what is left out between the two.")] = None,
    mode: Annotated[str | None, typer.Option(help="rolling, or anchored: every training begins where the tape does.")] = None,
    method: MethodOption = None, trials: Trials = None, objective: Objective = None, seed: Seed = None, start: Start = None,
    end: End = None, workers: WorkersOption = None, name: Name = None, out_dir: Out = None, set_: Set = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Fold after fold: choose on the training stretch, look at the test stretch that follows it."""
    from alphapanda.research.search import show
    from alphapanda.research.search.api import run_walkforward
    from alphapanda.research.search.wanted import read_wanted

    kept = {} if spec is None else read_wanted(spec).get("search", {}).get("walk", {})
    given = {"train": train, "test": test, "gap": gap, "mode": mode}
    walk = {**kept, **{key: one for key, one in given.items() if one is not None}}
    search = _search(param, vary, method=method, trials=trials, objective=objective, seed=seed, walk=walk)
    wanted = _wanted(spec, tape, strategy, {"start": start, "end": end}, set_, search)
    found = run_walkforward(wanted, _how(workers, name, out_dir, quiet=as_json), {})
    if as_json:
        print_json(found.as_dict())
    else:
        show.print_found(out, f"walk-forward {found.name}", show.walk_table(found), show.walk_facts(found), found)


def sensitivity(
    spec: Spec = None, tape: Tapes = None, strategy: Strategies = None,
    param: Annotated[list[str] | None, typer.Option(help="name=value for the strategies given here.")] = None,
    vary: Vary = None, start: Start = None, end: End = None, workers: WorkersOption = None, name: Name = None,
    out_dir: Out = None, set_: Set = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """The same strategies under several fill models, latencies and slippages: does the result hang on the assumption?"""
    from alphapanda.research.search import show
    from alphapanda.research.search.api import run_sensitivity

    if param and not strategy:
        raise ConfigurationError("--param needs --strategy: in a spec, parameters stand beside their strategy")
    wanted = _wanted(spec, tape, strategy, {"start": start, "end": end}, set_, {"settings": pairs(vary or [], "--vary")})
    if param:
        given = pairs(param, "--param")
        wanted = wanted.model_copy(
            update={"strategies": tuple(one.model_copy(update={"params": given}) for one in wanted.strategies)}
        )
    found = run_sensitivity(wanted, _how(workers, name, out_dir, quiet=as_json), {})
    if as_json:
        print_json(found.as_dict())
    else:
        show.print_found(out, f"sensitivity {found.name}", show.shown_table(found), [], found)


_ON = "--tape data/tapes/demo --strategy strategies.ema_cross:EmaCross"


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    example = "--tape data/tapes/demo --strategy strategies.ema_cross:EmaCross"
    app.command(epilog=f"Example: alphapanda sweep {example} --param fast=50,100,200 --param slow=500:2000:500 --holdout 0.3")(
        sweep
    )
    app.command(epilog=f"Example: alphapanda walkforward {example} --param fast=50,100 --train 2h --test 1h --gap 5m")(
        walkforward
    )
    app.command(epilog=f"Example: alphapanda sensitivity {example} --param fast=200 --param slow=1000")(sensitivity)
