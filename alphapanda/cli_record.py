"""`alphapanda record` and `compact`, and `alphapanda tape from-topic`: from a log to what stays."""

import threading
from pathlib import Path
from typing import Annotated, Any

import typer

from alphapanda.adapters.tape import Tape
from alphapanda.cli_terminal import out, pairs, print_json
from alphapanda.runtime.container import AppContainer
from alphapanda.runtime.log.opening import log_kind, open_log, session_folder
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.spec import read_spec

Prefix = Annotated[str, typer.Option(help="What stands before every topic's name, such as `paper.monday.`")]
Where = Annotated[str, typer.Option("--log", help="kafka: a broker's topics; embedded: a folder that no other process uses.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="section.key=value, such as storage.sessions=data/sessions.")]


def _say(as_json: bool, said: dict[str, Any]) -> None:
    if as_json:
        print_json(said)
    else:
        for name, value in said.items():
            out.print(f"{name.replace('_', ' ')}: {value}", highlight=False, soft_wrap=True)


def record(
    spec: Annotated[Path, typer.Argument(help="The session's replay spec: its tape names the market, its strategies trade.")],
    prefix: Prefix = "",
    log: Where = "kafka",
    folder: Annotated[Path | None, typer.Option(help="The session's folder; default: by prefix, in storage.sessions.")] = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop where the log ends now, instead of when told.")] = False,
    port: Annotated[int, typer.Option(min=0, help="Port of /metrics and /health on the loopback; 0: a free one.")] = 0,
    compact: Annotated[bool, typer.Option(help="At the end make the session's tape and run.")] = True,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Record a session: every topic to Parquet, each event once across restarts, until SIGTERM or Ctrl-C; then compact it."""
    from alphapanda.runtime.log.compact import compact as make_compact
    from alphapanda.runtime.log.host import serve, stop_on_signals
    from alphapanda.runtime.log.http_server import HttpServer
    from alphapanda.runtime.log.observe import ServiceMetrics, configure_logging
    from alphapanda.runtime.log.recorder import NAME, RECORDED
    from alphapanda.runtime.log.session import begin_session
    from alphapanda.runtime.log.whole import RecorderService

    wanted = read_spec(spec)
    settings = load_settings({**wanted.settings, **pairs(set_ or [], "--set")})
    place, stop = folder or session_folder(settings, prefix), threading.Event()
    opened = open_log(settings, prefix, log_kind(log))
    try:
        partitioning = Partitioning.of_log(opened)
        begin_session(place, prefix, AppContainer(settings), Tape.open(wanted.tape), wanted.specs(), partitioning)
        stop_on_signals(stop)
        service = RecorderService(opened, partitioning, place)
        ends = {one: end for one, (_, end) in opened.bounds(partitioning.all(RECORDED)).items()}
        metrics, lines = ServiceMetrics(NAME, prefix), configure_logging(NAME, prefix)
        with HttpServer(metrics, port) as server:
            lines.info("serving", url=server.url)
            until = (lambda: not service.recorder.behind(ends)) if until_end else None
            serve(service, stop, metrics, lines, snapshot_interval_s=settings.host.snapshot_interval_s, until=until)
    finally:
        opened.close()
    recorder = service.recorder
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

    opened = open_log(load_settings(pairs(set_ or [], "--set")), prefix, log_kind(log))
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
