"""`alphapanda record` and `compact`, and `alphapanda tape from-topic`: from a log to what stays."""

import json
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.runtime.container import AppContainer
from alphapanda.runtime.log.opening import LogKind, open_log, session_folder
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.spec import read_spec

Prefix = Annotated[str, typer.Option(help="What stands before every topic's name, such as `paper.monday.`")]
Where = Annotated[str, typer.Option("--log", help="kafka: a broker's topics; embedded: a folder that no other process uses.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="section.key=value, such as storage.sessions=data/sessions.")]
out = Console()
POLL_S = 0.5


def _say(as_json: bool, said: dict[str, Any]) -> None:
    if as_json:
        sys.stdout.write(json.dumps(said, default=str) + "\n")
    else:
        for name, value in said.items():
            out.print(f"{name.replace('_', ' ')}: {value}", highlight=False, soft_wrap=True)


def _overrides(given: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in given or []]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ConfigurationError(f"--set {wrong[0]!r} is not understood: write section.key=value")
    return {name: value for name, _, value in pairs}


def log_kind(text: str) -> LogKind:
    """The kind of a log by its name on the command line. Raises ConfigurationError."""
    if text == "kafka":
        return "kafka"
    if text == "embedded":
        return "embedded"
    raise ConfigurationError(f"--log {text!r} is not understood: write kafka or embedded")


def record(
    spec: Annotated[Path, typer.Argument(help="The session's replay spec: its tape names the market, its strategies trade.")],
    prefix: Prefix = "",
    log: Where = "kafka",
    folder: Annotated[Path | None, typer.Option(help="The session's folder; default: by prefix, in storage.sessions.")] = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop where the log ends now, instead of when told.")] = False,
    compact: Annotated[bool, typer.Option(help="At the end make the session's tape and run.")] = True,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Record a session: every topic to Parquet, each event once across restarts, until SIGTERM or Ctrl-C; then compact it."""
    from alphapanda.runtime.log.compact import compact as make_compact
    from alphapanda.runtime.log.host import stop_on_signals
    from alphapanda.runtime.log.recorder import Recorder
    from alphapanda.runtime.log.session import begin_session

    wanted = read_spec(spec)
    settings = load_settings({**wanted.settings, **_overrides(set_)})
    place, stop = folder or session_folder(settings, prefix), threading.Event()
    opened = open_log(settings, prefix, log_kind(log))
    try:
        partitioning = Partitioning.of_log(opened)
        begin_session(place, prefix, AppContainer(settings), Tape.open(wanted.tape), wanted.specs(), partitioning)
        stop_on_signals(stop)
        recorder = Recorder(opened, partitioning, place)
        ends = recorder.ends() if until_end else None
        while not stop.is_set() and (ends is None or recorder.behind(ends)):
            recorder.step(POLL_S)
        recorder.close()
    finally:
        opened.close()
    said = {"session": place, "events": recorder.heard, "dead_letters": recorder.dead, "skipped": recorder.skipped}
    if compact:
        made = make_compact(place)
        said |= {"tape": made.tape, "run": made.run, "digest": made.manifest["digest"]}
    _say(as_json, said)


def compact(folder: Annotated[Path, typer.Argument(help="A session's folder.")], as_json: AsJson = False) -> None:
    """Make a recorded session's tape and run: what a replay reads, and what a replay would have written."""
    from alphapanda.runtime.log.compact import compact as make_compact

    made = make_compact(folder)
    counts, session = made.manifest["counts"], made.manifest["session"]
    _say(as_json, {
        "tape": made.tape, "run": made.run, "ticks": counts["ticks"], "fills": counts["fills"],
        "digest": made.manifest["digest"], "complete": session["complete"],
    })  # fmt: skip


def from_topic(
    dst: Annotated[Path, typer.Argument(help="The tape's folder; there must be none yet.")],
    market: Annotated[Path, typer.Option(help="A tape that names the market: instruments, profile, columns.")],
    prefix: Prefix = "",
    log: Where = "kafka",
    start: Annotated[str | None, typer.Option(help="From this time, seq (1-500) or offset (market.ticks/0@1234) on.")] = None,
    end: Annotated[str | None, typer.Option(help="Up to, not including, this time, seq or offset.")] = None,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Write what passed the door, between two places in a log, as a tape."""
    from alphapanda.runtime.log.from_topic import open_topic, tape_from_topic

    opened = open_log(load_settings(_overrides(set_)), prefix, log_kind(log))
    try:
        manifest = tape_from_topic(open_topic(opened, Tape.open(market), prefix), dst, start, end)
    finally:
        opened.close()
    _say(as_json, {"tape": dst, "ticks": manifest["ticks"], "seq": manifest["seq"], "digest": manifest["digest"]})


def mount(app: typer.Typer, tape_app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog="Example: alphapanda record replays/demo.toml --prefix paper.monday.")(record)
    app.command(epilog="Example: alphapanda compact data/sessions/paper.monday")(compact)
    tape_app.command(
        "from-topic", epilog="Example: alphapanda tape from-topic data/tapes/hour --market data/tapes/demo --prefix paper.monday."
    )(from_topic)
