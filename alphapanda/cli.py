"""The command line."""

import contextlib
import sys
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from alphapanda import cli_new, cli_record, cli_results, cli_run, cli_sweep, cli_ui, cli_verify
from alphapanda.adapters.tape import Tape
from alphapanda.cli_dlq import dlq
from alphapanda.cli_terminal import Bar, err, out, pairs, print_json
from alphapanda.cli_topics import topics
from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError
from alphapanda.pipeline import TICKS
from alphapanda.research import report
from alphapanda.research.runs import Run, load
from alphapanda.research.runs import runs as all_runs
from alphapanda.runtime import doctor as checks
from alphapanda.runtime import topology as flow
from alphapanda.runtime.container import AppContainer
from alphapanda.runtime.log.from_topic import open_topic, replay_topic
from alphapanda.runtime.log.opening import LogKind, log_kind, open_log
from alphapanda.runtime.replay_run import Finished, run_replay
from alphapanda.runtime.settings import Settings, load_settings
from alphapanda.runtime.spec import ReplaySpec, make_spec, read_spec
from alphapanda.runtime.tape_import import import_tape
from alphapanda.runtime.tape_make import make_demo_tape, make_tape
from alphapanda.runtime.tape_slice import slice_tape, tape_info

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
tape_app = typer.Typer(no_args_is_help=True, help="Make, look at and cut tapes.")
app.add_typer(tape_app, name="tape")
app.add_typer(topics, name="topics")
app.add_typer(dlq, name="dlq")
app.command("verify", epilog=cli_verify.EXAMPLE)(cli_verify.verify)
cli_run.mount(app)
cli_record.mount(app, tape_app)
cli_ui.mount(app)
cli_results.mount(app)
cli_sweep.mount(app)
cli_new.mount(app)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
PROOF_FAILED = 3


def main() -> None:
    """Run the command line; a user's mistake is one red line and exit status 2."""
    try:
        app()
    except AlphaPandaError as error:
        err.print(f"[red]error:[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(2)


@app.command(epilog="Example: alphapanda replay --tape data/tapes/demo --strategy strategies.ema_cross:EmaCross --param fast=20")
def replay(
    spec: Annotated[Path | None, typer.Argument(help="A TOML file that says what to replay.")] = None,
    tape: Annotated[Path | None, typer.Option(help="The tape's folder.")] = None,
    strategy: Annotated[list[str] | None, typer.Option(help="module:Class or file.py:Class; may be repeated.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="name=value for the strategies given here.")] = None,
    start: Annotated[
        str | None,
        typer.Option("--start", "--start-timestamp", help="From this seq (1-500), time or offset (market.ticks/0@9) on."),
    ] = None,
    end: Annotated[str | None, typer.Option("--end", "--end-timestamp", help="Up to, not including, such a place.")] = None,
    from_topic: Annotated[
        str | None, typer.Option(help="market.ticks: replay what lies in a log; --tape then names the market alone.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="With --from-topic: what stands before the topics' names.")] = "",
    log: Annotated[str, typer.Option(help="With --from-topic: kafka, or embedded for a log in a folder.")] = "kafka",
    signals_from: Annotated[
        str | None, typer.Option(help="A run: play back its signals in place of strategies, with its settings but for --set.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, such as execution.latency_ms=5.")] = None,
    out_dir: Annotated[Path | None, typer.Option("--out", help="Folder of runs.")] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Replay so often, and fail unless all digests are equal.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Replay a tape through the whole pipeline."""
    if signals_from is not None:
        if spec or strategy or from_topic:
            raise ConfigurationError(
                "--signals-from takes the place of strategies: beside it give --tape, --start, --end, --set or --out alone"
            )
        overrides = pairs(set_ or [], "--set")
        _show([_replay_signals(signals_from, tape, start, end, overrides, out_dir, as_json) for _ in range(repeat)], as_json)
        return
    given = {"tape": tape, "start": start, "end": end, "out": out_dir}
    if strategy:
        given["strategies"] = [{"class": one, "params": pairs(param or [], "--param")} for one in strategy]  # type: ignore[assignment]
    elif param:
        raise ConfigurationError("--param needs --strategy: in a spec, parameters stand beside their strategy")
    wanted = (
        read_spec(spec, **given) if spec else make_spec("replay", {key: one for key, one in given.items() if one is not None})
    )
    if from_topic not in (None, TICKS):
        raise ConfigurationError(f"--from-topic {from_topic} is not understood: {TICKS} stands for all that passed the door")
    if from_topic is None and (prefix or log != "kafka"):
        raise ConfigurationError("--prefix and --log say which log: they need --from-topic market.ticks")
    where = None if from_topic is None else (prefix, log_kind(log))
    finished = [_replay(wanted, pairs(set_ or [], "--set"), quiet=as_json, log=where) for _ in range(repeat)]
    _show(finished, as_json)


def _replay(
    spec: ReplaySpec, overrides: dict[str, str], *, quiet: bool, log: tuple[str, LogKind] | None = None
) -> Finished:  # fmt: skip
    """Replay a spec's tape, or with `log` what lies under a prefix."""
    settings = load_settings({**spec.settings, **overrides})
    container, tape, specs = AppContainer(settings), Tape.open(spec.tape), spec.specs()
    with contextlib.ExitStack() as stack:
        progress = None if quiet else stack.enter_context(Bar("replay"))
        if log is None:
            return run_replay(container, tape, specs, start=spec.start, end=spec.end, out=spec.out, progress=progress)
        prefix, kind = log
        opened = open_log(settings, prefix, kind)
        stack.callback(opened.close)
        topic = open_topic(opened, tape, prefix)
        return replay_topic(container, topic, specs, start=spec.start, end=spec.end, out=spec.out, progress=progress)


def _replay_signals(
    source: str, tape: Path | None, start: str | None, end: str | None, overrides: dict[str, str], out_dir: Path | None,
    quiet: bool,
) -> Finished:  # fmt: skip
    from alphapanda.workbench import replay_signals

    with contextlib.ExitStack() as stack:
        progress = None if quiet else stack.enter_context(Bar("replay"))
        run = replay_signals(
            load(source, _settings().storage.runs), tape, start=start, end=end, settings=overrides, out=out_dir, progress=progress
        )
    return Finished(run.id, run.path, run.manifest)


def _show(finished: list[Finished], as_json: bool) -> None:
    run, digests = Run.open(finished[-1].path), {one.manifest["digest"] for one in finished}
    if as_json:
        print_json(report.as_dict(run) | {"repeated": len(finished), "same": len(digests) == 1})
    else:
        report.show(run, out)
        if len(finished) > 1:
            verdict = "[green]same bytes[/green]" if len(digests) == 1 else "[red]DIFFERENT[/red]"
            out.print(f"replayed {len(finished)} times: {verdict}  {' '.join(sorted(digests))}")
    if len(digests) > 1:
        raise typer.Exit(PROOF_FAILED)


@app.command(epilog="Example: alphapanda demo")
def demo(as_json: AsJson = False) -> None:
    """Make the demo tape, replay it twice, show the proof, the statistics and the tearsheet."""
    spec = read_spec(Path("replays/demo.toml"))
    if not spec.tape.exists():
        make_demo_tape(spec.tape)
    finished = [_replay(spec, {}, quiet=as_json) for _ in range(2)]
    Run.open(finished[-1].path).tearsheet()
    _show(finished, as_json)
    if not as_json:
        out.print(f"\ntearsheet: {finished[-1].path / 'tearsheet.html'}", soft_wrap=True)
        out.print(
            "next: alphapanda runs | alphapanda topology | alphapanda replay replays/demo.toml --set execution.latency_ms=5"
        )


@app.command(epilog="Example: alphapanda runs")
def runs(as_json: AsJson = False) -> None:
    """List the runs, newest first."""
    found = all_runs(_settings().storage.runs)
    if as_json:
        print_json(found.to_dicts())
    else:
        report.table(out, "runs", found.select("run_id", "tape", "strategies", "ticks", "fills", "digest"))


@app.command(epilog="Example: alphapanda tearsheet latest")
def tearsheet(
    run: Annotated[str, typer.Argument(help="A run's id or folder, or `latest`.")] = "latest",
    to: Annotated[Path | None, typer.Option(help="Where to write it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's tearsheet and say where it is."""
    path = load(run, _settings().storage.runs).tearsheet(to)
    print_json({"tearsheet": str(path)}) if as_json else out.print(str(path), soft_wrap=True)


@app.command(epilog="Example: alphapanda topology --mermaid")
def topology(
    mermaid: Annotated[bool, typer.Option("--mermaid", help="Print the flow as a mermaid diagram.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the pipeline: what each room reads and writes."""
    if as_json:
        print_json({"stages": flow.as_dict(), "topics": flow.topics()})
    elif mermaid:
        sys.stdout.write(flow.mermaid() + "\n")
    else:
        report.show_topology(flow.as_dict(), out)


@app.command(epilog="Example: alphapanda doctor")
def doctor(as_json: AsJson = False) -> None:
    """Tell what is missing on this machine; exit status 1 where something is."""
    found = checks.examine(_settings())
    if as_json:
        print_json(found)
    else:
        report.show_checks(found, out)
    if not all(one["ok"] for one in found):
        raise typer.Exit(1)


@tape_app.command("make", epilog="Example: alphapanda tape make data/tapes/day --seed 7 --day 2024-03-01 --ticks 200000")
def tape_make(
    dst: Path,
    seed: int = 7,
    day: Annotated[list[str] | None, typer.Option(help="A session's date; may be repeated.")] = None,
    ticks: Annotated[int, typer.Option(min=100, help="Ticks a day.")] = 100_000,
    instruments: Annotated[int, typer.Option(help="Number of made-up instruments.")] = 6,
    as_json: AsJson = False,
) -> None:
    """Make a synthetic NSE-like tape."""
    days = [_day(text) for text in day or ["2024-03-01"]]
    make_tape(dst, seed=seed, days=days, ticks=ticks, instruments=instruments)
    _info(dst, as_json)


@tape_app.command("import", epilog="Example: alphapanda tape import quotes.parquet --map map.toml data/tapes/quotes")
def tape_import(
    paths: Annotated[list[Path], typer.Argument(help="CSV or Parquet files, then the tape's folder.", metavar="SRC... DST")],
    map_: Annotated[Path, typer.Option("--map", help="A TOML file that says what the columns mean.")],
    as_json: AsJson = False,
) -> None:
    """Make a tape of other people's recordings."""
    if len(paths) < 2:
        raise ConfigurationError("tape import needs at least one file, and the folder of the tape to make")
    *sources, dst = paths
    if as_json:
        import_tape(sources, map_, dst)
    else:
        with Bar("import") as bar:
            import_tape(sources, map_, dst, progress=bar)
    _info(dst, as_json)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"--day {text!r} is not a date such as 2024-03-01") from error


@tape_app.command("info", epilog="Example: alphapanda tape info data/tapes/demo")
def tape_info_(tape: Path, as_json: AsJson = False) -> None:
    """Show what is on a tape."""
    _info(tape, as_json)


def _info(path: Path, as_json: bool) -> None:
    found = tape_info(Tape.open(path))
    print_json(found) if as_json else report.show_tape(found, out)


@tape_app.command("slice", epilog="Example: alphapanda tape slice data/tapes/demo data/tapes/hour --end 2024-03-01T04:45:00Z")
def tape_slice(
    src: Path, dst: Path, start: str | None = None, end: str | None = None, as_json: AsJson = False
) -> None:  # fmt: skip
    """Cut [start, end) out of a tape, by seq or time; seqs stay."""
    slice_tape(src, dst, start, end)
    _info(dst, as_json)


def _settings() -> Settings:
    return load_settings()
