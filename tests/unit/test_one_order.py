"""The loop and `run_seq` against the executable model of the contract."""

import copy

import pytest

from alphapanda.pipeline import Stage
from alphapanda.runtime.replay import Loop
from tests.model_support import ModelLane, kind_class, model, ours


def loop_for(m: object) -> Loop:
    rooms = []
    for stage in m.PIPELINE:  # type: ignore[attr-defined]
        lanes = [ModelLane(m, room(lane)) for lane, room in stage.lanes.items()]  # type: ignore[arg-type]
        rooms.append((Stage(stage.rank, stage.name, stage.reads, stage.hears, {}, ""), lanes))
    return Loop(
        rooms,
        m.DELAY_MS,  # type: ignore[attr-defined]
        topics={kind_class(kind): topic for kind, topic in m.TOPIC_OF.items()},  # type: ignore[attr-defined]
        feedback=(m.FILLED, m.CANCELLED),  # type: ignore[attr-defined]
    )


@pytest.mark.untraced
@pytest.mark.parametrize("first", range(0, 300, 50))
def test_the_loop_equals_the_model_for_50_seeds(first: int) -> None:
    """Given the model's rooms and its tapes, our loop makes the model's reference outputs, event for event."""
    m = model()
    compared = 0
    for seed in range(first, first + 50):
        tape = tape_of(m, seed)
        loop = loop_for(m)
        actual = [
            (event.pos, event.ts_ns, event.data.kind, event.data.data)  # type: ignore[attr-defined]
            for root in tape
            for event in loop.step(ours(root))
        ]
        expected = [(e.pos, e.ts, e.kind, e.data) for e in copy.deepcopy(m.reference(tape))]
        compared += len(expected)
        assert actual == expected, f"seed {seed}"
    assert compared > 1_500


def tape_of(m: object, seed: int) -> list[object]:
    """A tape of the model's script, numbered as its door does, with the broker's replies put in after their orders."""
    world = m.World(seed)  # type: ignore[attr-defined]
    world.storm()
    world.settle()
    return m.tape_of(world.log)  # type: ignore[attr-defined, no-any-return]
