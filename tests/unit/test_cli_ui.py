"""`alphapanda ui`: what it starts, and what it refuses before it starts anything."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from alphapanda import cli_ui
from alphapanda.cli import app
from alphapanda.contracts.errors import ConfigurationError


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def test_it_serves_the_loopback_without_telemetry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process becomes the server: signals reach it."""
    started: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(os, "execv", lambda path, words: started.append((path, words)))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["ui", "--port", "0", "--no-browser", "--json", "--runs", "r", "--sweeps", "/w"])
    ((path, words),) = started
    said = json.loads(done.stdout)
    assert (path, words[:4]) == (sys.executable, [sys.executable, "-m", "streamlit", "run"])
    expected = {
        "--server.address": "127.0.0.1", "--browser.gatherUsageStats": "false", "--server.headless": "true",
        "--server.port": said["url"].rpartition(":")[2], "--runs": str(tmp_path / "r"), "--sweeps": "/w",
        "--sessions": str(tmp_path / "data" / "sessions"),
    }  # fmt: skip
    assert {name: option(words, name) for name in expected} == expected
    assert Path(words[4]).name == "app.py"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(cli_ui, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"extra `ui`: pip install 'alphapanda\[ui\]'"):
        cli_ui.ui()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the pages."""
    monkeypatch.setattr(cli_ui, "find_spec", lambda name: name if name == "streamlit" else None)
    with pytest.raises(ConfigurationError, match="`dashboards` is not installed"):
        cli_ui.ui()


def test_a_port_that_is_taken_is_refused() -> None:
    """Before Streamlit is started."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        with pytest.raises(ConfigurationError, match="is taken"):
            cli_ui.ui(port=one.getsockname()[1])


def test_streamlit_is_imported_by_the_dashboard_alone() -> None:
    """The rest works without the extra."""
    package = Path(cli_ui.__file__).parent
    assert [path for path in package.rglob("*.py") if "import streamlit" in path.read_text()] == []
