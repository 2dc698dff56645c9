"""`alphapanda new strategy`: what it writes runs at once; and errors in a strategy point at the author's line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import alphapanda
from alphapanda.cli import app
from alphapanda.cli_new import class_name, lab_command
from alphapanda.contracts.errors import ConfigurationError
from alphapanda.runtime.strategies import find_class

ROOT = Path(alphapanda.__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def run(*words: str, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode == status, done.stderr + done.stdout
    return done


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which one strategy was begun."""
    folder = tmp_path_factory.mktemp("home")
    run("alphapanda", "new", "strategy", "opening_gap", cwd=folder)
    return folder


def test_a_new_strategy_replays_at_once(home: Path) -> None:
    """The spec finds its class and its tape, and it trades."""
    found = json.loads(run("alphapanda", "replay", "replays/opening_gap.toml", "--json", cwd=home).stdout)
    assert (found["fills"] > 50, found["signals"] > 50) == (True, True)


def test_a_new_strategys_test_passes(home: Path) -> None:
    """As pytest finds it from that folder."""
    done = run("pytest", "-q", "-p", "no:cacheprovider", "tests/test_opening_gap.py", cwd=home)
    assert "3 passed" in done.stdout


def test_a_new_strategys_parameters_can_be_searched(home: Path) -> None:
    """By its name, in processes."""
    words = ("--tape", "data/tapes/demo", "--strategy", "strategies.opening_gap:OpeningGap", "--param", "window=5,10", "--json")
    assert json.loads(run("alphapanda", "sweep", *words, cwd=home).stdout)["tried"] == 2


def test_a_new_strategy_does_not_look_ahead(home: Path) -> None:
    """The check of `alphapanda lookahead` is clean."""
    run("alphapanda", "lookahead", "replays/opening_gap.toml", "--cuts", "3", cwd=home)


def test_strategies_that_come_with_alphapanda_stay_at_hand(home: Path) -> None:
    """Beside the folder's own."""
    done = subprocess.run(
        [sys.executable, "-c", "import strategies.ema_cross, strategies.opening_gap"], cwd=home, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 0


def test_nothing_is_overwritten(home: Path) -> None:
    """Where one of the files is there, none is written."""
    (home / "replays/second.toml").write_text("mine", encoding="utf-8")
    said = [run("alphapanda", "new", "strategy", name, cwd=home, status=2).stderr for name in ("opening_gap", "second")]
    assert ["stays as it is" in one for one in said] == [True, True]
    assert ((home / "strategies/second.py").exists(), (home / "replays/second.toml").read_text()) == (False, "mine")


@pytest.mark.parametrize("name", ["Gap", "1gap", "gap-1", "gap__1", "_gap", "class", "../gap", "gap.py", "", "g" * 61])
def test_names_that_are_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """And nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be a strategy's name"):
        class_name(name)
    assert isinstance(CliRunner().invoke(app, ["new", "strategy", "--", name]).exception, ConfigurationError)
    assert list(tmp_path.iterdir()) == []


def test_another_tape_is_named_in_the_spec_and_must_be_there(home: Path) -> None:
    """Only the demo's is made where it is missing."""
    run("alphapanda", "tape", "make", "data/tapes/mine", "--ticks", "2000", cwd=home)
    run("alphapanda", "new", "strategy", "third", "--tape", "data/tapes/mine", "--json", cwd=home)
    said = run("alphapanda", "new", "strategy", "fourth", "--tape", "data/tapes/none", cwd=home, status=2).stderr
    assert 'tape = "data/tapes/mine"' in (home / "replays/third.toml").read_text(encoding="utf-8")
    assert ("is not a tape" in said, (home / "strategies/fourth.py").exists()) == (True, False)


def test_what_is_written_keeps_to_the_projects_own_rules(home: Path) -> None:
    """Ruff and mypy, strict, as for the strategies that come with AlphaPanda."""
    written = home / "strategies/opening_gap.py"
    for words in (
        ("ruff", "check", "--config", str(ROOT / "pyproject.toml")),
        ("ruff", "format", "--check", "--line-length", "130"),
    ):
        done = subprocess.run([sys.executable, "-m", *words, str(written)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    words = ("mypy", "--strict", "--config-file", "", "--follow-imports", "silent", "--cache-dir", str(home / ".mypy"))
    done = subprocess.run([sys.executable, "-m", *words, str(written)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import alphapanda as ap\n\nclass A(ap.Strategy)\n    pass\n", r"SyntaxError: .*at broken\.py:3"),
        ("import alphapanda as ap\n\nraise ValueError('no')\n", r"ValueError: no, at broken\.py:3"),
        ("import alphapanda as ap\nimport not_there\n", r"No module named 'not_there', at broken\.py:2"),
        ("import alphapanda as ap\n\n\ndef f():\n    return 1 / 0\n\n\nX = f()\n", r"ZeroDivisionError: .*at broken\.py:5"),
    ],
)
def test_an_error_on_import_points_at_the_authors_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:  # fmt: skip
    """Of a file, and of a module."""
    (tmp_path / "broken.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("broken.py:A", "broken:A"):
        with pytest.raises(ConfigurationError, match=message):
            find_class(name)
    assert "broken" not in sys.modules


def test_a_wrong_parameter_is_told_in_one_line(home: Path) -> None:
    """Its class, its name, its value, and what would be accepted."""
    words = ("replay", "--tape", "data/tapes/demo", "--strategy", "strategies.opening_gap:OpeningGap")
    said = [
        run("alphapanda", *words, "--param", one, cwd=home, status=2).stderr for one in ("window=soon", "windows=5")
    ]  # fmt: skip
    assert ["OpeningGap.window='soon'" in said[0], "has no parameter 'windows'" in said[1]] == [True, True]
    assert not any("Traceback" in one for one in said)


# ---- notebooks


def test_jupyterlab_is_opened_on_the_loopback_at_the_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the folder above, so that data and strategies are found."""
    (home / "notebooks").mkdir(exist_ok=True)
    monkeypatch.chdir(home)
    words = lab_command(Path("notebooks"), 0, browser=False)
    assert words[1:3] == ["-m", "jupyterlab"]
    assert {f"--ServerApp.root_dir={home}", "--LabApp.default_url=/lab/tree/notebooks", "--ServerApp.ip=127.0.0.1"} < set(words)
    for folder, message in ((Path("none"), "no folder"), (home.parent, "outside")):
        with pytest.raises(ConfigurationError, match=message):
            lab_command(folder, 0, browser=True)


def test_every_command_has_help_with_an_example() -> None:
    """Also for scripts."""
    shown = [run("alphapanda", *words, "--help", cwd=ROOT).stdout for words in (("new", "strategy"), ("notebook",))]
    assert ["Example: alphapanda" in one and "--json" in one for one in shown] == [True, True]
