"""`verify` over logs that went through crashes, doubles, sleepers and lost disks."""

import pytest

from alphapanda.research import recordings
from alphapanda.research.verdict import Report
from alphapanda.research.verify import verify
from tests import log_world

pytestmark = pytest.mark.untraced


def verified(world: log_world.World) -> Report:
    recording = recordings.LogRecording(world.log).recording()  # type: ignore[arg-type]  # as much of a log as is read
    return verify(recordings.isolated(log_world.fresh_rooms), log_world.DELAY_MS, recording)


def test_a_log_is_equal_in_the_middle_of_a_storm_and_after_it() -> None:
    """In the middle what is not promised, or whose inputs are not there yet, is pending; at the end nothing is."""
    wrong, compared, waiting = [], 0, 0
    for seed in range(60, 110):
        world = log_world.World(seed)
        world.storm()
        before = verified(world)
        world.settle()
        after = verified(world)
        compared += sum(one.total.equal for one in after.services)
        waiting += sum(one.pending for one in before.services)
        if not before.equal or not after.equal or any(one.pending for one in after.services):
            wrong.append(seed)
    assert (wrong, compared > 10_000, waiting > 1_000) == ([], True, True)
