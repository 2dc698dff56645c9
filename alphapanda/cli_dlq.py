"""`alphapanda dlq`: look at dead letters, and give a command that was one to the door again."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.topics import TOPICS
from alphapanda.runtime.log import commands, dead_letters
from alphapanda.runtime.log.opening import LogKind, open_log
from alphapanda.runtime.log.protocol import Log
from alphapanda.runtime.settings import load_settings

dlq = typer.Typer(no_args_is_help=True, help="Records that services could not read: list, show, requeue.")
Prefix = Annotated[str, typer.Option(help="What stands before every topic's name, such as `paper.monday.`")]
OfLog = Annotated[LogKind, typer.Option("--log", help="kafka, or embedded (no broker).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Service = Annotated[str, typer.Argument(help="The service, such as risk_manager.")]
At = Annotated[int, typer.Argument(help="The letter's number, as `dlq list` shows it.")]
SERVICES = tuple(name.removesuffix(".dlq") for name in TOPICS if name.endswith(".dlq"))


@contextmanager
def _opened(prefix: str, log: LogKind) -> Iterator[Log]:
    """The log under a prefix."""
    opened = open_log(load_settings(), prefix, log)
    try:
        yield opened
    finally:
        opened.close()


def _known(service: str) -> str:
    if service not in SERVICES:
        raise ConfigurationError(f"{service!r} has no dead letters: there are {', '.join(SERVICES)}")
    return service


def _as_dict(letter: dead_letters.DeadLetter) -> dict[str, Any]:
    """JSON-able; bytes that are no text come escaped."""
    texts = {
        name: value.decode(errors="backslashreplace") for name, value in letter._asdict().items() if isinstance(value, bytes)
    }
    return {**letter._asdict(), **texts}


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


@dlq.command("list", epilog="Example: alphapanda dlq list risk_manager --prefix paper.monday.")
def list_(
    service: Annotated[str | None, typer.Argument(help="The service; all of them where none is given.")] = None,
    prefix: Prefix = "",
    log: OfLog = "kafka",
    as_json: AsJson = False,
) -> None:
    """List the dead letters, each once."""
    services = SERVICES if service is None else (_known(service),)
    with _opened(prefix, log) as found_in:
        found = [letter for one in services for letter in dead_letters.read_dead_letters(found_in, one)]
    if as_json:
        _print_json({"prefix": prefix, "letters": [_as_dict(letter) for letter in found]})
        return
    table = Table("service", "letter", "topic", "partition", "offset", "reason")
    for one in found:
        table.add_row(one.service, str(one.at), one.topic, str(one.partition), str(one.offset), one.reason)
    Console().print(table if found else "no dead letters", highlight=False)


@dlq.command(epilog="Example: alphapanda dlq show risk_manager 0")
def show(service: Service, at: At, prefix: Prefix = "", log: OfLog = "kafka", as_json: AsJson = False) -> None:
    """Show one dead letter whole."""
    with _opened(prefix, log) as found_in:
        letter = dead_letters.find_dead_letter(found_in, _known(service), at)
    if as_json:
        _print_json(_as_dict(letter))
        return
    for name, value in _as_dict(letter).items():
        Console().print(f"{name}: {value}", highlight=False, markup=False, soft_wrap=True)


@dlq.command(epilog="Example: alphapanda dlq requeue risk_manager 0 --door http://127.0.0.1:9101 --value mended.json")
def requeue(
    service: Service,
    at: At,
    door: Annotated[str, typer.Option(help="Address of the running door, as it says at its start.")],
    value: Annotated[Path | None, typer.Option(help="File with the mended line; without it the letter as it is.")] = None,
    prefix: Prefix = "",
    log: OfLog = "kafka",
    as_json: AsJson = False,
) -> None:
    """Give a command that could not be read to the door again, as a new one. Nothing else can go back: the error says why."""
    with _opened(prefix, log) as found_in:
        letter = dead_letters.find_dead_letter(found_in, _known(service), at)
    command = dead_letters.requeued(letter, None if value is None else _read(value))
    answer = commands.post(door, command)
    if as_json:
        _print_json({"letter": _as_dict(letter), "command": commands.body_of(command), "door": answer})
    else:
        Console().print(f"{type(command).__name__} is acknowledged: {answer}", highlight=False, markup=False, soft_wrap=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"the mended line cannot be read from {path}: {error.strerror}") from error
