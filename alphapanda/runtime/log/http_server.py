"""A service's small HTTP server: `/metrics`, `/health`, and POST paths that its host registers.

It runs on threads of its own and answers on the loopback alone: another machine asks through whatever the operator puts
before it. Posted requests are listened to only as JSON and under the loopback's name, so that a page in a browser on this
machine cannot send commands.
"""

import contextlib
import ipaddress
import json
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from alphapanda.contracts.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
LONGEST_BODY = 64 << 10
Answer = tuple[int, Any]
"""(HTTP status, what is answered as JSON)."""


class Mailbox:
    """Posted requests on their way from the server's threads to the service's own, and the answers back.

    The service is for one thread alone: it takes what lies here between its batches, and answers when it can.
    """

    def __init__(self, *, timeout_s: float = 10.0, room: int = 100) -> None:
        self._timeout_s = timeout_s
        self._waiting: queue.Queue[tuple[Any, Future[Answer]]] = queue.Queue(room)

    def ask(self, body: Any) -> Answer:
        """Leave a request and wait for its answer. A handler for `HttpServer.post`."""
        answer: Future[Answer] = Future()
        try:
            self._waiting.put_nowait((body, answer))
        except queue.Full:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "too many requests wait: try again; nothing was done"}
        try:
            return answer.result(self._timeout_s)
        except TimeoutError:
            text = f"not acknowledged within {self._timeout_s:g} s, but it may still be: look before you send it again"
            return HTTPStatus.GATEWAY_TIMEOUT, {"error": text}

    def take(self) -> Iterator[tuple[Any, Callable[[int, Any], None]]]:
        """The requests that wait, each with what answers it."""
        with contextlib.suppress(queue.Empty):
            while True:
                body, answer = self._waiting.get_nowait()
                yield body, partial(_answer, answer)


def _answer(answer: Future[Answer], status: int, value: Any) -> None:
    answer.set_result((status, value))


class MetricsProtocol(Protocol):
    """What the server needs of `ServiceMetrics`."""

    service: str
    session: str
    content_type: str

    def text(self) -> bytes:
        """All figures."""
        ...

    def health(self) -> Any:
        """A named tuple with `ok`."""
        ...


class HttpServer:
    """`/metrics` and `/health`, and POST paths that the host registers. Use as a context manager, or `close` it."""

    def __init__(self, metrics: MetricsProtocol, port: int = 0) -> None:
        """Serve on the loopback; port 0 takes a free one. Raises ConfigurationError where the port is taken."""
        self.metrics = metrics
        self._posts: dict[str, Callable[[Any], Answer]] = {}
        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), self._handler())
        except OSError as error:
            raise ConfigurationError(
                f"the metrics' port {port} cannot be had ({error}): another service has it; give another, or 0 for a free one"
            ) from error
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://{LOOPBACK}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="metrics", daemon=True)
        self._thread.start()

    def post(self, path: str, answer: Callable[[Any], Answer]) -> None:
        """Answer POST requests to `path`. `answer` gets the JSON that was sent, on a thread of the server's (`Mailbox`)."""
        self._posts[path] = answer

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "HttpServer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            timeout = 30

            def do_GET(self) -> None:
                """Figures and health."""
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._send(HTTPStatus.OK, server.metrics.text(), server.metrics.content_type)
                elif path == "/health":
                    health = server.metrics.health()
                    said = {"service": server.metrics.service, "session": server.metrics.session, **health._asdict()}
                    self._say(HTTPStatus.OK if health.ok else HTTPStatus.SERVICE_UNAVAILABLE, said)
                else:
                    self._say(HTTPStatus.NOT_FOUND, {"error": f"{path}: there are /metrics and /health"})

            def do_POST(self) -> None:
                """What the host registered."""
                self._say(*self._posted())

            def _posted(self) -> Answer:
                answer = server._posts.get(self.path)
                if answer is None:
                    there = ", ".join(server._posts) or "nothing"
                    return HTTPStatus.NOT_FOUND, {"error": f"{self.path}: what can be posted to is {there}"}
                if (refused := _refusal(self.headers)) is not None:
                    return refused
                try:
                    body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                except ValueError as error:
                    return HTTPStatus.BAD_REQUEST, {"error": f"not JSON: {error}"}
                return answer(body)

            def _say(self, status: int, value: Any) -> None:
                self._send(status, json.dumps(value, default=str).encode() + b"\n", "application/json")

            def _send(self, status: int, body: bytes, kind: str) -> None:
                with contextlib.suppress(ConnectionError):  # who asked has gone
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Say nothing: a scrape every few seconds is no news."""

        return Handler


def _refusal(headers: Any) -> Answer | None:
    """Why a request is not listened to; None where it is."""
    if headers.get_content_type() != "application/json":
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"error": "send application/json"}
    if not _is_loopback(headers.get("Host", "")):
        return HTTPStatus.FORBIDDEN, {"error": f"asked as {headers.get('Host')!r}: this answers on the loopback alone"}
    length = headers.get("Content-Length", "")
    if not length.isdigit():
        return HTTPStatus.LENGTH_REQUIRED, {"error": "Content-Length is missing"}
    if int(length) > LONGEST_BODY:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"{length} bytes: at most {LONGEST_BODY} are read"}
    return None


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
