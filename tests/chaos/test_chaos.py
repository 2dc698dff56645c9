"""A short chaos over real processes comes out right; without one of three rules a shorter one does not."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.plan import KILL, STOP, Fault
from tests.chaos.run import Setting, chaos, setting, show
from tests.e2e.session import FEED

pytestmark = pytest.mark.untraced

FEATURES = "feature_engine"
SLOW_TO_SEND = {FEATURES: {"ALPHAPANDA_KAFKA__LINGER_MS": "1000"}}
"""What is sent stays with the process for a second: a snapshot without a flush would stand on nothing."""
FAULTS = (Fault(KILL, FEATURES, "snapshot in place"), Fault(STOP, FEED), *[Fault(KILL, FEATURES, "snapshot in place")] * 2)


def test_a_short_chaos_loses_doubles_and_changes_nothing(kafka: str, tmp_path: Path) -> None:
    """Kills at crash points, stopped processes that wake, a late copy, lost snapshots, commands; all services."""
    said = chaos(kafka, None, tmp_path, setting("short", 7))
    assert said["good"], show(said)
    assert (said["lost"], said["duplicate"], said["different"]) == (0, 0, 0)
    assert said["kills"]["all"] >= 8
    assert said["commands"]["acknowledged"] > 0
    assert min(said["events"].values()) > 1
    json.dumps(said)


def small(kafka: str, folder: Path, *options: str, stuck_s: float = 40.0) -> dict[str, Any]:
    """A door that sleeps and wakes behind its successor, and a stage that dies when it has just saved."""
    what = Setting(
        seed=3, plan=FAULTS, ticks=15_000, speed=120.0, services=(FEED, FEATURES), options=options, environment=SLOW_TO_SEND,
        stuck_s=stuck_s,
    )  # fmt: skip
    return chaos(kafka, None, folder, what)


def test_with_all_rules_the_small_one_is_good(kafka: str, tmp_path: Path) -> None:
    """What follows is due to the rules alone."""
    said = small(kafka, tmp_path)
    assert said["good"], show(said)
    assert said["happened"]["market_feed replaced"] == said["happened"]["woken"] == 1


def test_without_the_readers_rule_it_is_not(kafka: str, tmp_path: Path) -> None:
    """What the door wrote on after it woke is heard: it stops the stage, or one that was late takes it too."""
    said = small(kafka, tmp_path, "--without", "reader rule")
    assert not said["good"], show(said)
    stopped = "came after its seq was done" in " ".join(said["stopped_by_themselves"])
    assert stopped or said["different"] > 0, show(said)


def test_without_the_doors_promise_it_is_not(kafka: str, tmp_path: Path) -> None:
    """Nobody knows that the old door's numbers end: everything stands still."""
    said = small(kafka, tmp_path, "--without", "door promise", stuck_s=12.0)
    assert said["stuck"] is not None, show(said)


def test_without_the_flush_before_a_snapshot_it_is_not(kafka: str, tmp_path: Path) -> None:
    """Outputs that the snapshot stands on never came into the log."""
    said = small(kafka, tmp_path, "--without", "flush before snapshot")
    assert said["compared"]["outputs"]["lost"] > 0, show(said)
