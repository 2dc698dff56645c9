"""`alphapanda ui`: the dashboard, in a process of its own in place of this one."""

import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from alphapanda.cli_terminal import err, print_json
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.runtime.settings import load_settings

HOST = "127.0.0.1"


def _checked() -> Path:
    """Where the dashboard is. Raises ConfigurationError that says what is missing."""
    if find_spec("streamlit") is None:
        raise ConfigurationError("the dashboard needs Streamlit, which is the extra `ui`: pip install 'alphapanda[ui]'")
    found = find_spec("dashboards.app") if find_spec("dashboards") is not None else None
    if found is None or found.origin is None:
        raise ConfigurationError("the package `dashboards` is not installed: install AlphaPanda from its checkout or wheel")
    return Path(found.origin)


def _port(wanted: int) -> int:
    """A port that nobody uses; 0 stands for any. Raises ConfigurationError where the wanted one is taken."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, wanted))
        except OSError as error:
            raise ConfigurationError(f"port {wanted} is taken: give another one with --port, or 0 for a free one") from error
        return int(one.getsockname()[1])


def command(app: Path, port: int, folders: dict[str, Path], *, browser: bool) -> list[str]:
    """What is run: loopback only, no telemetry, no questions, nothing watched."""
    options = {
        "server.address": HOST, "server.port": port, "server.headless": str(not browser).lower(),
        "server.showEmailPrompt": "false", "server.fileWatcherType": "none", "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal", "runner.magicEnabled": "false",
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    places = [word for name, place in folders.items() for word in (f"--{name}", str(place.absolute()))]
    return [sys.executable, "-m", "streamlit", "run", str(app), *words, "--", *places]


def ui(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port on the loopback; 0: a free one.")] = 8501,
    runs: Annotated[Path | None, typer.Option(help="Folder of runs; default: storage.runs.")] = None,
    sessions: Annotated[Path | None, typer.Option(help="Folder of recorded sessions; default: storage.sessions.")] = None,
    sweeps: Annotated[Path | None, typer.Option(help="Folder of sweeps; default: storage.sweeps.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open a browser.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Say where it is as one JSON object, then serve.")] = False,
) -> None:
    """Serve the dashboard on the loopback, read-only, until Ctrl-C."""
    app, storage = _checked(), load_settings().storage
    folders = {"runs": runs or storage.runs, "sessions": sessions or storage.sessions, "sweeps": sweeps or storage.sweeps}
    taken = _port(port)
    url = f"http://{HOST}:{taken}"
    if as_json:
        print_json({"url": url, "pid": os.getpid(), **{name: str(place) for name, place in folders.items()}})
    else:
        err.print(f"dashboard: {url}   Ctrl-C ends it", highlight=False, soft_wrap=True)
    sys.stdout.flush()
    words = command(app, taken, folders, browser=not no_browser)
    os.execv(words[0], words)  # noqa: S606  # our own interpreter; signals then reach the server itself


def mount(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog="Example: alphapanda ui --port 0 --no-browser")(ui)
