"""The package with compiled rooms (`make compiled`): the same bytes, and the rooms' own tests hold for it."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = (
    "unit/test_one_order.py", "unit/test_rooms.py", "unit/test_engine.py", "unit/test_orders.py", "unit/test_order_streams.py",
    "unit/test_risk.py", "unit/test_risk_limits.py", "unit/test_risk_checks.py", "unit/test_first_look.py",
    "unit/test_ledger.py", "unit/test_lifecycle.py", "unit/test_resume.py", "unit/test_late_portfolio.py",
    "integration/test_replay.py", "integration/test_signals_from.py", "integration/test_why.py",
)  # fmt: skip
LEFT = [f"tests/unit/test_one_order.py::test_the_loop_equals_the_model_for_50_seeds[{first}]" for first in range(50, 300, 50)]
RUN = """
import sys, pytest
from alphapanda.core import handler, ledger
from alphapanda.runtime import replay
from alphapanda.services.risk_manager import service as risk
from alphapanda.services.trading_engine import service as engine
from alphapanda.services.portfolio_manager import service as portfolio
code = pytest.main(sys.argv[1:])
assert not [one.__file__ for one in (handler, ledger, replay, risk, engine, portfolio) if one.__file__.endswith(".py")]
sys.exit(code)
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the compiled package comes first."""
    if shutil.which("cc") is None or not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        why = "a C compiler and Python's headers are needed"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    out = tmp_path_factory.mktemp("compiled") / "build"
    into = [f"COMPILED={out}", f"BIN={sys.prefix}/bin", "--old-file=.venv/.installed"]  # this test's own environment is there
    subprocess.run(["make", "compiled", *into], cwd=ROOT, check=True)  # noqa: S607  # as a user does
    return {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": f"{out / 'site'}{os.pathsep}{ROOT}"}


def test_doctor_says_that_the_rooms_are_compiled(compiled: dict[str, str]) -> None:
    """And from the sources that they are not."""
    for environment, expected in ((compiled, "compiled"), (None, "from source")):
        command = [sys.executable, "-m", "alphapanda", "doctor", "--json"]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        rooms = next(one for one in json.loads(done.stdout) if one["check"] == "rooms")
        assert rooms["found"].startswith(expected)


def test_the_rooms_tests_hold(compiled: dict[str, str]) -> None:
    """Among them the golden digests, some of the model's seeds, and random order streams."""
    files = [f"tests/{one}" for one in ROOMS]
    options = ["--no-cov", "--quiet", "-p", "no:cacheprovider", "-p", "no:xdist", *files, *(f"--deselect={one}" for one in LEFT)]
    command = [sys.executable, "-c", RUN, *options]
    done = subprocess.run(command, env=compiled, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]
