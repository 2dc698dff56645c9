"""What holds for every room: no I/O below the hosts, and state that can be taken and put back."""

import ast
import random
from pathlib import Path

from alphapanda.adapters.tape import Tape
from alphapanda.contracts.codec import encode
from alphapanda.core.handler import Lane
from alphapanda.runtime.container import AppContainer, named
from alphapanda.runtime.replay import Loop, Rooms
from alphapanda.runtime.settings import load_settings
from alphapanda.runtime.tape_make import make_tape
from strategies.ema_cross import EmaCross
from strategies.mean_reversion import MeanReversion

PACKAGE = Path(__file__).parents[2] / "alphapanda"
PURE = ("contracts", "core", "services")
FORBIDDEN = {
    "os", "io", "time", "datetime", "random", "uuid", "socket", "subprocess", "threading", "asyncio", "pathlib", "secrets",
    "polars", "duckdb", "logging", "tempfile", "shutil", "sys",
}  # fmt: skip
ALLOWED = {
    "contracts/codec.py": {"datetime"},  # turns integers into text; asks no clock
    "contracts/schema.py": {"pathlib"},  # a tool that writes the schema files
    "services/strategy_runner/service.py": {"pathlib"},  # a file's name without its folder
}
LAYERS = {"core": {"contracts", "pipeline"}, "services": {"contracts", "core", "pipeline"}}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_no_room_can_reach_a_clock_a_file_or_the_network() -> None:
    """Imports of contracts, core and services, but for three stated exceptions."""
    wrong = {
        (str(path.relative_to(PACKAGE)), name)
        for folder in PURE
        for path in (PACKAGE / folder).rglob("*.py")
        for name in {one.split(".")[0] for one in imports(path)} & FORBIDDEN
        if name not in ALLOWED.get(str(path.relative_to(PACKAGE)), set())
    }
    assert wrong == set()


def test_imports_point_one_way() -> None:
    """Core knows contracts; services know core and contracts; neither knows who hosts them."""
    wrong = {
        (str(path.relative_to(PACKAGE)), name)
        for folder, allowed in LAYERS.items()
        for path in (PACKAGE / folder).rglob("*.py")
        for name in imports(path)
        if name.startswith("alphapanda.") and name.split(".")[1] not in {folder, *allowed}
    }
    assert wrong == set()


def test_only_the_settings_read_the_environment() -> None:
    """No other module of the package mentions it."""
    readers = {path.name for path in PACKAGE.rglob("*.py") if "os.environ" in path.read_text() or "getenv" in path.read_text()}
    assert readers == {"settings.py"}


def rooms_for(tape: Tape) -> Rooms:
    settings = load_settings({"risk.max_position": 20, "risk.max_gross_exposure": 90_000, "risk.max_daily_loss": 5_000})
    return AppContainer(settings).rooms(
        tape, named([EmaCross(fast=5, slow=20, quantity=10), MeanReversion(window=3, interval="5s")])
    )


def all_lanes(rooms: Rooms) -> list[Lane]:
    return [lane for _, lanes in rooms.by_stage() for lane in lanes]  # type: ignore[misc]


def test_a_room_restored_anywhere_says_what_it_would_have_said(tmp_path: Path) -> None:
    """Every lane is replaced by a fresh one with its snapshot at ten random places; the bytes stay the same."""
    make_tape(tmp_path / "tape", ticks=3_000, instruments=3)
    tape, rng = Tape.open(tmp_path / "tape"), random.Random(3)  # noqa: S311  # places, not secrets
    events = [event for event in tape.events() if type(event.data).__name__ != "Beat" or event.pos[1] % 5 == 0]
    whole = Loop(rooms_for(tape).by_stage(), 250_000_000)
    expected = [encode(made) for event in events for made in whole.step(event)]
    stops, actual = set(rng.sample(range(len(events)), 10)), []
    rooms = rooms_for(tape)
    loop = Loop(rooms.by_stage(), 250_000_000)
    for i, event in enumerate(events):
        if i in stops:
            rooms, loop = restored(tape, rooms, loop)
        actual += [encode(made) for made in loop.step(event)]
    assert len(expected) > 500
    assert actual == expected


def restored(tape: Tape, rooms: Rooms, loop: Loop) -> tuple[Rooms, Loop]:
    """Fresh rooms with the old ones' snapshots, and a loop with the old one's unheard feedback."""
    fresh = rooms_for(tape)
    for old, new in zip(all_lanes(rooms), all_lanes(fresh), strict=True):
        new.restore(old.snapshot())
    again = Loop(fresh.by_stage(), 250_000_000)
    for (*_, theirs), (*_, ours) in zip(loop.rooms, again.rooms, strict=True):
        ours.extend(theirs)
    return fresh, again


def test_a_snapshot_does_not_change_with_the_room(tmp_path: Path) -> None:
    """It is a copy."""
    make_tape(tmp_path / "tape", ticks=200, instruments=2)
    tape = Tape.open(tmp_path / "tape")
    rooms = rooms_for(tape)
    loop, taken = Loop(rooms.by_stage(), 250_000_000), []
    for i, event in enumerate(tape.events()):
        if i == 100:
            taken = [(repr(lane.snapshot()), lane.snapshot()) for lane in all_lanes(rooms)]
        loop.step(event)
        if i > 400:
            break
    assert [repr(snapshot) for _, snapshot in taken] == [text for text, _ in taken]
