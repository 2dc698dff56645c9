"""`alphapanda run`, `paper` and `command`: services over a log, a whole session in one process, and orders to a running door."""

import contextlib
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from alphapanda.adapters.tape import Tape
from alphapanda.cli_terminal import Bar, err, out, pairs, print_json
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.contracts.events import HaltStrategy, KillSwitch
from alphapanda.runtime.container import AppContainer
from alphapanda.runtime.log import commands
from alphapanda.runtime.log.opening import LogKind, log_kind, open_log, session_folder
from alphapanda.runtime.log.partitions import Partitioning
from alphapanda.runtime.log.protocol import Log, LogError
from alphapanda.runtime.settings import Settings, load_settings
from alphapanda.runtime.spec import ReplaySpec, read_spec

SpecFile = Annotated[Path, typer.Argument(help="A replay spec: its tape says which market, its strategies and settings are run.")]
Prefix = Annotated[str, typer.Option(help="What stands before every topic's name, such as `paper.monday.`")]
Where = Annotated[str, typer.Option("--log", help="kafka: a broker's topics; embedded: a folder, all services in one process.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value, such as kafka.bootstrap_servers=localhost:9092.")
]
Partitions = Annotated[int | None, typer.Option(min=1, help="Partitions of ticks and features; else as in topics.yaml.")]
Port = Annotated[int, typer.Option(min=0, help="Port of /metrics, /health and /commands on the loopback; 0: a free one.")]
Speed = Annotated[float, typer.Option(min=0, help="Market seconds a second; 0: as fast as it goes.")]


def _opened(spec: ReplaySpec, set_: list[str] | None) -> tuple[Settings, AppContainer, Tape]:
    settings = load_settings({**spec.settings, **pairs(set_ or [], "--set")})
    return settings, AppContainer(settings), Tape.open(spec.tape)


def _check_topics(settings: Settings, prefix: str, partitions: int | None) -> None:
    """Refuse to start over topics that are missing or differ."""
    from alphapanda.adapters import kafka_topics

    if lines := kafka_topics.check(settings.kafka, prefix, kafka_topics.tick_partitions(partitions)):
        if all("partitions, wanted" in line for line in lines):
            raise LogError(f"{'; '.join(lines)}: say how many with --partitions, to each service alike")
        raise LogError(
            f"topics under {prefix!r} are not as topics.yaml has them: {'; '.join(lines[:5])}"
            f"{' and more' if len(lines) > 5 else ''}. Make them with `alphapanda topics create --prefix {prefix}`"
        )


def run(
    service: Annotated[str, typer.Argument(help="market_feed, a stage such as risk_manager, or all (the stages, one process).")],
    spec: SpecFile,
    prefix: Prefix = "",
    log: Where = "kafka",
    shard: Annotated[str, typer.Option(help="i/n: this process owns every n-th partition, from i on.")] = "0/1",
    partitions: Partitions = None,
    speed: Speed = 1.0,
    port: Port = 0,
    until_end: Annotated[bool, typer.Option("--until-end", help="market_feed: stop when the tape has ended.")] = False,
    from_prefix: Annotated[
        str | None, typer.Option(help="market_feed: play what lies under this other prefix, in place of the spec's tape.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from-timestamp", "--from-offset", help="From this time, seq or offset (market.ticks/0@9) on."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to-timestamp", "--to-offset", help="Up to, not including, such a place.")] = None,
    set_: Set = None,
) -> None:
    """Run one service over the broker until SIGTERM; it goes on from its last snapshot.

    With --log embedded there is one process for everything: `all`, with the door and the recorder (as `alphapanda paper`).
    """
    from alphapanda.runtime.log.services import DOOR, make_worker

    if log_kind(log) == "embedded":
        if service != "all":
            raise ConfigurationError(f"a log in a folder has one process: run all, not {service}")
        if shard != "0/1" or from_prefix or start or end or until_end:
            raise ConfigurationError("--shard, --from-..., --to-... and --until-end are for services over a broker")
        paper(spec, None, prefix, log, speed, partitions, port, set_)
        return
    _check_options(service, shard, until_end=until_end)
    from alphapanda.runtime.log.feed import Feed, TapeSource
    from alphapanda.runtime.log.host import Service, serve, stop_on_signals
    from alphapanda.runtime.log.http_server import HttpServer, Mailbox
    from alphapanda.runtime.log.observe import ServiceMetrics, configure_logging

    read = read_spec(spec)
    settings, container, tape = _opened(read, set_)
    _check_topics(settings, prefix, partitions)
    broker, mailbox, stop = open_log(settings, prefix, "kafka"), Mailbox(), threading.Event()
    served: Service
    if service == DOOR:
        source = (
            TapeSource(tape, start or read.start, end or read.end)
            if from_prefix is None
            else _topic_source(settings, from_prefix, tape, start, end)
        )
        served = Feed(broker, Partitioning.of_log(broker), source, speed=speed, mailbox=mailbox, fan_out=settings.host.fan_out)
    elif from_prefix or start or end:
        raise ConfigurationError(
            f"the door plays the old topics into the new prefix, and {service} begins where that begins: give --from-prefix,"
            " --from-timestamp and --to-timestamp to market_feed"
        )
    else:
        served = make_worker(container, broker, prefix, tape, read.specs(), service, shard)
    metrics = ServiceMetrics(service, prefix)
    lines = configure_logging(service, prefix, pos=lambda: "{}-{}".format(*served.frontier))
    stop_on_signals(stop)
    with HttpServer(metrics, port) as server:
        if service == DOOR:
            server.post(commands.PATH, mailbox.ask)
        lines.info("serving", url=server.url)
        until = (lambda: served.ended) if until_end and isinstance(served, Feed) else None
        serve(served, stop, metrics, lines, snapshot_interval_s=settings.host.snapshot_interval_s, until=until)
    broker.close()


def _check_options(service: str, shard: str, *, until_end: bool) -> None:
    """Refuse what a service cannot do, before anyone waits for a broker."""
    from alphapanda.runtime.log.services import DOOR, SERVICES

    if service not in SERVICES:
        raise ConfigurationError(f"there is no service {service!r}: there are {', '.join(SERVICES)}")
    if service != DOOR and until_end:
        raise ConfigurationError(f"--until-end is for {DOOR}: {service} knows no end")
    if service == DOOR and shard != "0/1":
        raise ConfigurationError(f"{DOOR} cannot be shared: there is one door")


def _topic_source(settings: Settings, prefix: str, tape: Tape, start: str | None, end: str | None) -> Any:
    """What lies under another prefix, as a source of the door's."""
    from alphapanda.runtime.log.feed import TapeSource
    from alphapanda.runtime.log.from_topic import open_topic, place_in_topic

    topic = open_topic(open_log(settings, prefix, "kafka"), tape, prefix)
    return TapeSource(topic, place_in_topic(topic, start), place_in_topic(topic, end) or topic.seqs[1])


def paper(
    spec: SpecFile,
    tape: Annotated[Path | None, typer.Option(help="The tape to play; else the spec's.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Topic prefix; else a new one, paper.<time>.")] = None,
    log: Where = "embedded",
    speed: Speed = 1.0,
    partitions: Partitions = None,
    port: Port = 0,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Trade a tape on paper, as a live session would be: door, pipeline and recorder in one process; then show the session."""
    read = read_spec(spec, tape=tape)
    settings, container, opened = _opened(read, set_)
    name = prefix if prefix is not None else f"paper.{datetime.now(UTC):%Y%m%d-%H%M%S}."
    kind = log_kind(log)
    log_opened = _new_log(settings, name, kind, partitions)
    from alphapanda.runtime.log.host import stop_on_signals
    from alphapanda.runtime.log.observe import configure_logging
    from alphapanda.runtime.log.whole import play

    stop = threading.Event()
    stop_on_signals(stop)
    lines = configure_logging("paper", name, level=logging.WARNING)
    try:
        with contextlib.ExitStack() as stack:
            progress = None if as_json else stack.enter_context(Bar("paper"))
            finished = play(
                container, log_opened, name, opened, read.specs(), session_folder(settings, name),
                start=read.start, end=read.end, speed=speed, stop=stop, lines=lines, port=port, at=_told, progress=progress,
            )  # fmt: skip
    finally:
        log_opened.close()
    _show(finished, settings, name, as_json)


def _told(url: str) -> None:
    err.print(f"{url}/health; to stop trading: alphapanda command {url} --kill", highlight=False, soft_wrap=True)


def _new_log(settings: Settings, prefix: str, kind: LogKind, partitions: int | None) -> Log:
    if kind == "kafka":
        from alphapanda.adapters import kafka_topics

        kafka_topics.create(settings.kafka, prefix, kafka_topics.tick_partitions(partitions), old_times=True)
    return open_log(settings, prefix, kind, make=True, tick_partitions=partitions)


def _show(finished: Any, settings: Settings, prefix: str, as_json: bool) -> None:
    from alphapanda.research import report
    from alphapanda.research.runs import Run

    session, made = Run.open(finished.run), session_folder(settings, prefix)
    if as_json:
        said = {"session": str(made), "prefix": prefix, "tape": str(finished.tape)}
        print_json(report.as_dict(session) | said)
        return
    report.show(session, out)
    out.print(f"session: {made}   tape: {finished.tape}", soft_wrap=True, highlight=False)
    out.print(f"next: alphapanda verify {made} | alphapanda replay --tape {finished.tape} ...", soft_wrap=True, highlight=False)


def command(
    url: Annotated[str, typer.Argument(help="The door's address, as it says at its start: http://127.0.0.1:port")],
    kill: Annotated[bool, typer.Option("--kill", help="Engage the kill switch.")] = False,
    release: Annotated[bool, typer.Option("--release", help="Release the kill switch.")] = False,
    halt: Annotated[str | None, typer.Option(help="Halt this strategy.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it stands in the event.")] = "operator",
    as_json: AsJson = False,
) -> None:
    """Give a running door a command, and wait until it is on the tape."""
    if sum((kill, release, halt is not None)) != 1:
        raise ConfigurationError("give one of --kill, --release, --halt STRATEGY")
    payload = HaltStrategy(halt, reason) if halt is not None else KillSwitch(kill, reason)
    answer = commands.post(url, payload)
    if as_json:
        print_json(answer)
    else:
        out.print(f"acknowledged as {answer['id']}", highlight=False)


def mount(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(epilog="Example: alphapanda run risk_manager replays/demo.toml --prefix paper.monday.")(run)
    app.command(epilog="Example: alphapanda paper replays/demo.toml --speed 60")(paper)
    app.command(epilog="Example: alphapanda command http://127.0.0.1:8001 --kill --reason 'feed looks wrong'")(command)
