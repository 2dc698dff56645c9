"""`alphapanda topics`: make, compare and look at the topics of a session."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.topics import TOPICS
from alphapanda.runtime.settings import load_settings

topics = typer.Typer(no_args_is_help=True, help="Make, compare and look at the topics on the broker.")
Prefix = Annotated[str, typer.Option(help="What stands before every topic's name, such as `paper.monday.`")]
Partitions = Annotated[int | None, typer.Option(min=1, help="Partitions of ticks and features; else as in topics.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DIFFERENT = 1


def _adapter() -> ModuleType:
    """Imported when it is needed: the broker's client is an extra."""
    try:
        from alphapanda.adapters import kafka_topics
    except ImportError as error:
        raise ConfigurationError(f"the broker's client is not installed ({error}): pip install 'alphapanda[kafka]'") from error
    return kafka_topics


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


@topics.command(epilog="Example: alphapanda topics create --prefix paper.monday. --partitions 8")
def create(
    prefix: Prefix = "",
    partitions: Partitions = None,
    old_times: Annotated[
        bool, typer.Option("--old-times", help="A recorded tape will play here: keep everything, whatever its age.")
    ] = False,
    fan_out: Annotated[
        Path | None, typer.Option(help="A tape: also a topic for each of its instruments, for the door's copies (host.fan_out).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the topics that are not there; refused where one that is there differs."""
    adapter, settings = _adapter(), load_settings().kafka
    made = adapter.create(settings, prefix, adapter.tick_partitions(partitions), old_times=old_times)
    tokens = Tape.open(fan_out).instruments if fan_out is not None else ()
    copies = adapter.create_fan_out(settings, prefix, tokens, old_times=old_times)
    if as_json:
        said = {"made": made, "there": len(TOPICS) - len(made), "copies": copies}
        _print_json({"broker": settings.bootstrap_servers, "prefix": prefix, **said})
    else:
        Console().print(f"{len(made)} topics made, {len(TOPICS) - len(made)} were there", highlight=False)


@topics.command(epilog="Example: alphapanda topics check --prefix paper.monday.")
def check(prefix: Prefix = "", partitions: Partitions = None, as_json: AsJson = False) -> None:
    """Say which topics are missing or differ from topics.yaml; exit status 1 where one does."""
    adapter, settings = _adapter(), load_settings().kafka
    differences = adapter.check(settings, prefix, adapter.tick_partitions(partitions))
    if as_json:
        _print_json({"broker": settings.bootstrap_servers, "prefix": prefix, "differences": differences})
    else:
        for line in differences or [f"all {len(TOPICS)} topics are as they must be"]:
            Console().print(line, highlight=False, soft_wrap=True)
    if differences:
        raise typer.Exit(DIFFERENT)


@topics.command(epilog="Example: alphapanda topics describe --json")
def describe(prefix: Prefix = "", as_json: AsJson = False) -> None:
    """Show the topics as the broker has them."""
    found = _adapter().describe(load_settings().kafka, prefix)
    if as_json:
        _print_json({name: {"partitions": one.partitions, "config": one.config} for name, one in found.items()})
        return
    table = Table("topic", "partitions", "retention.ms", "cleanup")
    for name, one in found.items():
        table.add_row(name, str(one.partitions), one.config.get("retention.ms"), one.config.get("cleanup.policy"))
    Console().print(table)
