"""`alphapanda verify`: does every service say again what was recorded of it?"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.research import recordings
from alphapanda.research.recorded_rooms import Making, making_of, making_of_spec, read_json
from alphapanda.research.verdict import Report
from alphapanda.research.verify import Recording
from alphapanda.research.verify import verify as check
from alphapanda.runtime.log.opening import LogKind, open_log
from alphapanda.runtime.log.session import FILE
from alphapanda.runtime.settings import Settings, load_settings
from alphapanda.runtime.spec import read_spec

EXAMPLE = "Example: alphapanda verify data/sessions/paper.monday"
DIFFERENT = 1


def verify(
    session: Annotated[str | None, typer.Argument(help="A recorded session or a run: its folder, or its name.")] = None,
    log: Annotated[LogKind | None, typer.Option(help="Read the log itself: kafka, or embedded (no broker).")] = None,
    prefix: Annotated[str | None, typer.Option(help="With --log: the topic prefix; else the session's own.")] = None,
    spec: Annotated[Path | None, typer.Option(help="With --log: the spec it runs; else what it was begun with.")] = None,
    one_process: Annotated[
        bool, typer.Option("--one-process", help="It ran as `run all`, which does not read the inner topics back.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Work every service out again from its recorded inputs, and compare event by event; exit status 1 where one differs."""
    settings = load_settings()
    with _opened(settings, session, log, prefix, spec, one_process=one_process) as (making, recording):
        report = check(recordings.isolated(making.rooms), making.feedback_delay_ms, recording)
    if as_json:
        sys.stdout.write(json.dumps(report.as_dict()) + "\n")
    else:
        show(report, Console())
    if not report.equal or report.idle:
        raise typer.Exit(DIFFERENT)


@contextmanager
def _opened(
    settings: Settings, session: str | None, log: LogKind | None, prefix: str | None, spec: Path | None, *, one_process: bool
) -> Iterator[tuple[Making, Recording]]:
    """What is to be made again, and what was recorded."""
    folder = None if session is None else _folder(settings, session)
    if log is None:
        if folder is None:
            raise ConfigurationError("name a session or a run, or a log with --log")
        yield _recorded(folder)
        return
    said = {} if folder is None else read_json(folder / FILE)
    if spec is not None:
        making = making_of_spec(read_spec(spec))
    elif folder is not None:
        making = making_of(folder, said)
    else:
        raise ConfigurationError("a log does not say which strategies it runs: name its session, or the spec with --spec")
    opened = open_log(settings, str(said.get("prefix", "")) if prefix is None else prefix, log)
    try:
        yield making, recordings.LogRecording(opened, one_process=one_process).recording()
    finally:
        opened.close()


def _recorded(folder: Path) -> tuple[Making, Recording]:
    if (folder / FILE).is_file():
        said = read_json(folder / FILE)
        return making_of(folder, said), recordings.of_session(folder, said["partitions"])
    said = read_json(folder / "manifest.json")
    return making_of(folder, said), recordings.of_run(folder, said, Tape.open(said["tape"]["path"]))


def _folder(settings: Settings, name: str) -> Path:
    """Where a session or run of this name, or in this folder, lies. Raises ConfigurationError saying where it was looked for."""
    places = [Path(name), settings.storage.sessions / name.rstrip("."), settings.storage.runs / f"run_id={name}"]
    for place in places:
        if (place / FILE).is_file() or (place / "manifest.json").is_file():
            return place
    raise ConfigurationError(f"there is no session or run {name!r}: looked in {', '.join(map(str, places))}")


def show(report: Report, console: Console) -> None:
    """A row a service, then the first difference and where it comes from."""
    table = Table("service", "events", "equal", "missing", "extra", "different")
    for one in report.services:
        total = one.total
        style = "red" if total.wrong or one.failed else None
        table.add_row(one.service, *(f"{value:,}" for value in vars(total).values()), style=style)
    console.print(table)
    dead = f", of which {report.unreadable:,} are dead letters" if report.unreadable else ""
    console.print(f"{report.roots:,} outside events{dead}", highlight=False)
    for one in report.services:
        if one.failed is not None:
            console.print(f"[red]{one.service} raised[/red]", one.failed, highlight=False, soft_wrap=True)
        if one.pending:
            console.print(f"[yellow]{one.service} had not promised {one.pending:,} outside events yet: not compared[/yellow]")
    if report.idle:
        console.print(f"[red]nothing of {', '.join(report.idle)} could be compared[/red]: has it run? A session that is recorded"
                      " just now is verified with --log", soft_wrap=True)  # fmt: skip
    _show_first(report, console)


def _show_first(report: Report, console: Console) -> None:
    first = report.first
    if first is None:
        console.print("[green]equal[/green]" if report.equal and not report.idle else "[red]not equal[/red]")
        return
    fields = f" in {', '.join(first.fields)}" if first.fields else ""
    lines = [
        f"first difference: {first.id} in {first.topic} is {first.kind}{fields}",
        f"  recorded: {first.recorded or 'nothing'}",
        f"  made now: {first.made or 'nothing'}",
        *(f"  caused by {link.id}: " + (f"{link.topic} {link.line}" if link.topic else "not recorded") for link in first.causes),
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
