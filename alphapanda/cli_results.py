"""`alphapanda diff`, `why`, `lookahead` and `sql`: questions to runs, and to a strategy about the future."""

from pathlib import Path
from typing import Annotated

import typer

from alphapanda.cli_terminal import out, pairs, print_json
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research.runs import load, runs
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.spec import read_spec

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RunName = Annotated[str, typer.Option("--run", help="A run's id or folder, or `latest`.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="section.key=value, such as execution.latency_ms=5.")]


def _root() -> Path:
    return load_settings().storage.runs


def diff(
    a: Annotated[str, typer.Argument(help="A run's id or folder, or `latest`.")],
    b: Annotated[str, typer.Argument(help="Another run over the same tape.")],
    page: Annotated[Path | None, typer.Option("--html", help="Write the comparison as one HTML file that opens offline.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Changed decisions shown in the table.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show which decisions two runs took otherwise, from the first on, and what each was worth; exit status 1 where they do."""
    from alphapanda.research import report
    from alphapanda.research.comparison import compare

    root = _root()
    found = compare(load(a, root), load(b, root))
    if page is not None:
        found.to_html(page)
    if as_json:
        print_json(found.as_dict() if found else {"equal": True, "difference": None})
    else:
        report.show_comparison(found, out, most)
        if page is not None:
            out.print(f"page: {page}", highlight=False, soft_wrap=True)
    if found:
        raise typer.Exit(1)


def why(
    event: Annotated[str, typer.Argument(help="The id of a fill, rejection, order or other event, such as 1-500-4-1-0.")],
    run: RunName = "latest",
    checks: Annotated[bool, typer.Option(help="Work out again what each risk check found (replays the tape to there).")] = True,
    as_json: AsJson = False,
) -> None:
    """From a fill or rejection back through order, risk checks, signal and features to the tick."""
    from alphapanda.research.why import show

    found = load(run, _root()).why(event, checks=checks)
    print_json(found.as_dict()) if as_json else show(found, out)


def lookahead(
    spec: Annotated[Path, typer.Argument(help="A replay spec: a TOML file.")],
    cuts: Annotated[int, typer.Option(min=1, help="At how many decisions the future is cut off or changed.")] = 4,
    seed: Annotated[int, typer.Option(help="Chooses the cuts and the changes.")] = 7,
    workers: Annotated[int | None, typer.Option(min=1, help="Replays at one time; default: as many as there are cores.")] = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Replay with the future cut off, and with other futures: a decision that changes has looked ahead; exit status 1 then."""
    from alphapanda.research.lookahead import check, lines

    read = read_spec(spec)
    wanted = read.model_copy(update={"settings": {**read.settings, **pairs(set_ or [], "--set")}})
    found = check(wanted, cuts=cuts, seed=seed, workers=workers)
    if as_json:
        print_json(found.as_dict())
    else:
        out.print("[green]clean[/green]" if found.clean else "[red]NOT CLEAN[/red]")
        for line in lines(found):
            out.print(line, highlight=False, markup=False, soft_wrap=True)
    if not found.clean:
        raise typer.Exit(1)


def sql(
    query: Annotated[str, typer.Argument(help="SQL over the views of all runs and tapes, or with --run of one run.")],
    run: Annotated[str | None, typer.Option("--run", help="One run alone: its id or folder, or `latest`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask all runs and tapes, or one run, in SQL (DuckDB). The views are named in docs/results.md."""
    import duckdb

    from alphapanda.research import store

    storage = load_settings().storage
    try:
        found = store.query(query, runs(storage.runs), storage.tapes) if run is None else load(run, storage.runs).sql(query)
        rows = found.fetchall()
    except duckdb.Error as error:
        raise ConfigurationError(str(error)) from error
    if as_json:
        print_json({"columns": found.columns, "rows": [list(row) for row in rows]})
        return
    from rich.table import Table

    grid = Table(*found.columns)
    for row in rows:
        grid.add_row(*("" if value is None else str(value) for value in row))
    out.print(grid)


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog="Example: alphapanda diff RUN_A RUN_B --html diff.html")(diff)
    app.command(epilog="Example: alphapanda why 1-500-4-1-0 --run latest")(why)
    app.command(epilog="Example: alphapanda lookahead replays/demo.toml --cuts 6")(lookahead)
    app.command(epilog='Example: alphapanda sql "select run_id, count(*), sum(charges) from fills group by 1"')(sql)
