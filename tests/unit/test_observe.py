"""What a service says of itself: log lines, figures, health, posted commands."""

import http.client
import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from alphapanda.contracts.errors import AlphaPandaError, ConfigurationError, ContractError
from alphapanda.contracts.events import HaltStrategy, KillSwitch
from alphapanda.runtime.log import commands
from alphapanda.runtime.log.http_server import LONGEST_BODY, HttpServer, Mailbox
from alphapanda.runtime.log.observe import ServiceMetrics, configure_logging

KILL = KillSwitch(engaged=True, reason="test")


@pytest.fixture
def metrics() -> ServiceMetrics:
    return ServiceMetrics("risk_manager", "paper.monday.")


@pytest.fixture
def server(metrics: ServiceMetrics) -> Iterator[HttpServer]:
    with HttpServer(metrics) as server:
        yield server


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """The log's stream; what was configured before comes back."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], root.level = before, level
    structlog.reset_defaults()


def asked(server: HttpServer, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if answer.headers.get_content_type() == "application/json" else text.decode()


def posted(server: HttpServer, body: bytes, **headers: str) -> int:
    return asked(server, "POST", commands.PATH, body, **{"Content_Type": "application/json", **headers})[0]


def test_a_line_is_json_with_service_session_and_pos(lines: io.StringIO) -> None:
    """Ours, and those of the standard library's loggers."""
    log = configure_logging("risk_manager", "paper.monday.", pos=lambda: "1-7", stream=lines)
    log.warning("late", behind=3)
    logging.getLogger("alphapanda.kafka").error("broker %s is away", "A")
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [[one[name] for name in ("event", "level", "service", "session", "pos")] for one in found] == [
        ["late", "warning", "risk_manager", "paper.monday.", "1-7"],
        ["broker A is away", "error", "risk_manager", "paper.monday.", "1-7"],
    ]


def test_an_exception_is_one_line(lines: io.StringIO) -> None:
    """With its traceback."""
    log = configure_logging("risk_manager", "", stream=lines)
    try:
        int("seen")
    except ValueError:
        log.exception("stopping")
    (line,) = lines.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


def test_secrets_are_not_logged(lines: io.StringIO) -> None:
    """By their names, at any depth, and in URLs; a token that is an instrument's is none."""
    log = configure_logging("door", "", stream=lines)
    log.info("login", api_key="K1", session={"access_token": "K2"}, url="http://me:K3@host/x", instrument_token=408065)
    text = lines.getvalue()
    assert [name in text for name in ("K1", "K2", "K3", "408065")] == [False, False, False, True]


def test_figures_carry_service_and_session(metrics: ServiceMetrics, server: HttpServer) -> None:
    """One of each kind, as Prometheus reads them."""
    metrics.handled(5)
    metrics.handled(2)
    metrics.produced("orders.placed", 3)
    metrics.skipped(1)
    metrics.compared(4)
    metrics.dead_letter("not an event")
    metrics.exception()
    metrics.lag(("market.ticks", 2), 17)
    metrics.frontier((1, 40), 2_000_000_000)
    metrics.latency_order(0.003)
    metrics.latency_fill(0.3)
    status, text = asked(server, "GET", "/metrics")
    labels = 'service="risk_manager",session="paper.monday."'
    wanted = [
        f"alphapanda_handled_total{{{labels}}} 7.0",
        f'alphapanda_produced_total{{{labels},topic="orders.placed"}} 3.0',
        f"alphapanda_duplicates_skipped_total{{{labels}}} 1.0",
        f"alphapanda_outputs_compared_total{{{labels}}} 4.0",
        f"alphapanda_dead_letters_total{{{labels}}} 1.0",
        f"alphapanda_exceptions_total{{{labels}}} 1.0",
        f'alphapanda_consumer_lag_records{{partition="2",{labels},topic="market.ticks"}} 17.0',
        f"alphapanda_frontier_number{{{labels}}} 40.0",
        f"alphapanda_frontier_seconds{{{labels}}} 2.0",
        f"alphapanda_snapshot_age_seconds{{{labels}}} -1.0",
        f'alphapanda_tick_to_order_seconds_bucket{{le="0.004",{labels}}} 1.0',
        f'alphapanda_tick_to_fill_seconds_bucket{{le="0.5",{labels}}} 1.0',
    ]
    assert (status, [line for line in wanted if line not in text]) == (200, [])


def test_health_is_that_of_the_frontier(server: HttpServer, metrics: ServiceMetrics) -> None:
    """It may stand where nothing waits; else not for long. A failure is said until the service has stopped."""
    metrics.stale_after_s = 0
    metrics.frontier((1, 7), 1, waits=False)
    idle = asked(server, "GET", "/health")
    metrics.frontier((1, 7), 1)
    stale = asked(server, "GET", "/health")
    metrics.failed("other bytes in orders.placed[0]")
    failed = asked(server, "GET", "/health")
    assert [(status, said["ok"], said["frontier"]) for status, said in (idle, stale, failed)] == [
        (200, True, "1-7"), (503, False, "1-7"), (503, False, "1-7"),
    ]  # fmt: skip
    assert ("nothing has moved" in stale[1]["why"], failed[1]["why"]) == (True, "other bytes in orders.placed[0]")


def test_the_age_of_a_snapshot_is_since_the_last(metrics: ServiceMetrics) -> None:
    """Not -1 any more."""
    metrics.snapshot_taken()
    assert 0 <= metrics.snapshot_age_s() < 5


def test_unknown_paths_are_named(server: HttpServer) -> None:
    """With what there is."""
    found = [asked(server, "GET", "/nothing")[0], asked(server, "POST", "/nothing", b"{}")[0]]
    assert found == [404, 404]


def test_a_port_that_is_taken_is_said(server: HttpServer, metrics: ServiceMetrics) -> None:
    """And what to do."""
    with pytest.raises(ConfigurationError, match=f"port {server.port} cannot be had"):
        HttpServer(metrics, server.port)


def test_a_command_is_answered_when_the_service_says_so(server: HttpServer) -> None:
    """Posted by one thread, taken and acknowledged by the service's own."""
    mailbox = Mailbox()
    server.post(commands.PATH, mailbox.ask)
    answers: list[Any] = []
    client = threading.Thread(target=lambda: answers.append(commands.post(server.url, KILL)))
    client.start()
    taken = []
    while not taken:
        for body, answer in mailbox.take():
            taken.append(commands.command_of(body))
            answer(200, {"id": "1-9-0-0-0"})
    client.join()
    assert (taken, answers) == ([KILL], [{"id": "1-9-0-0-0"}])


def test_a_command_without_an_answer_may_have_been_taken(server: HttpServer) -> None:
    """The client is told so."""
    server.post(commands.PATH, Mailbox(timeout_s=0.05).ask)
    with pytest.raises(AlphaPandaError, match=r"504.*may still be"):
        commands.post(server.url, KILL)


def test_more_requests_than_there_is_room_for_are_refused() -> None:
    """At once, and nothing is done."""
    mailbox = Mailbox(timeout_s=0.01, room=1)
    assert [mailbox.ask({})[0], mailbox.ask({})[0]] == [504, 503]


def test_only_json_of_the_loopback_is_listened_to(server: HttpServer) -> None:
    """A form, another host's name, too much, and what is no JSON."""
    server.post(commands.PATH, lambda body: (200, body))
    found = [
        posted(server, b"{}"), posted(server, b"{}", Content_Type="text/plain"), posted(server, b"{}", Host="evil.example"),
        posted(server, b"{}", Content_Length=str(LONGEST_BODY + 1)), posted(server, b"{"), posted(server, b"{}", Host="[::1]:80"),
    ]  # fmt: skip
    assert found == [200, 415, 403, 413, 400, 200]


def test_a_door_that_is_not_there_is_said() -> None:
    """And an address that is none."""
    with pytest.raises(AlphaPandaError, match=r"there is no door at .*nothing was sent"):
        commands.post("http://127.0.0.1:1", KILL)
    with pytest.raises(AlphaPandaError, match="not a door's address"):
        commands.post("kafka:9092", KILL)
    with pytest.raises(AlphaPandaError, match="not a door's address"):
        commands.post("http://127.0.0.1:abc", KILL)


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ([], "not a command"), ({"type": "MarketTick", "data": {}}, "not a command"), ({"type": "KillSwitch"}, "not a command"),
        ({"type": "KillSwitch", "data": {"engaged": "yes", "reason": ""}}, "Expected `bool`"),
        ({"type": "KillSwitch", "data": {"engaged": True, "reason": "", "by": "me"}}, r"there is no \['by'\]"),
        ({"type": "HaltStrategy", "data": 7}, "has the fields"),
    ],
)  # fmt: skip
def test_what_is_no_command_is_refused(body: Any, wrong: str) -> None:
    """With what would be one."""
    with pytest.raises(ContractError, match=wrong):
        commands.command_of(body)


def test_a_command_says_the_same_after_the_way_there() -> None:
    """Both kinds."""
    given = [KILL, HaltStrategy("pairs", "drawdown")]
    assert [commands.command_of(commands.body_of(one)) for one in given] == given
