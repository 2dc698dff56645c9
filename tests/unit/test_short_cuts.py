"""The replay host's short cuts give the lines of `Loop.step`, over random tapes, settings and strategies."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from alphapanda.adapters import run_folder
from alphapanda.adapters.event_batch import by_type
from alphapanda.adapters.topic_files import TopicFiles
from alphapanda.contracts.events import (
    Event,
    OrderCancelled,
    OrderModified,
    OrderPlaced,
    OrderTriggered,
    RejectedSignal,
    StrategyHalted,
    TradingSignal,
)  # fmt: skip
from alphapanda.runtime.container import feature_names
from alphapanda.runtime.replay import RISK
from tests.random_world import RandomWorld, difference
from tests.typed import mistyped

pytestmark = pytest.mark.untraced

SEEDS = range(10)
FEATURE_ENGINE = 1
"""The rank whose outputs a playback leaves out: nobody is there to ask for features."""

Worlds = Callable[[int], RandomWorld]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Worlds:
    """Each seed's world, made once."""
    folder = tmp_path_factory.mktemp("worlds")
    return cache(lambda seed: RandomWorld(seed, folder / str(seed)))


@pytest.fixture(params=SEEDS)
def world(worlds: Worlds, request: pytest.FixtureRequest) -> RandomWorld:
    return worlds(request.param)


@pytest.mark.parametrize("batch_rows", [4_096, 7])
def test_batches_give_the_lines_of_the_specification(world: RandomWorld, batch_rows: int) -> None:
    assert difference(world.driven(batch_rows), world.specified) is None


@pytest.mark.parametrize("events_a_batch", [1, 40])
def test_a_portfolio_apart_from_the_loop_says_what_it_would_say_in_it(world: RandomWorld, events_a_batch: int) -> None:
    assert difference(world.with_portfolio_apart(events_a_batch), world.specified) is None


def test_a_portfolio_apart_after_a_cold_start_begins_with_what_the_start_left(world: RandomWorld) -> None:
    assert difference(world.with_portfolio_apart(40, cold=True), world.from_the_middle(by_short_cuts=False)) is None


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_runs_of_every_size_have_the_digests_of_the_specification(
    worlds: Worlds, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written by a process of their own, which has decoded what it writes, or by the one that made the events."""
    world = worlds(seed)
    (tmp_path / "expected").mkdir()
    expected = TopicFiles(tmp_path / "expected", feature_names(world.specs()))
    expected.take(by_type(world.specified))
    digests = expected.close()
    monkeypatch.setattr(run_folder, "EVENTS_A_BATCH", 50)
    for few in (1, 100_000):
        monkeypatch.setattr(run_folder, "FEW_EVENTS", few)
        assert world.digests(tmp_path / str(few)) == digests


def test_values_are_of_the_types_of_their_fields(world: RandomWorld) -> None:
    assert [text for event in world.specified for text in mistyped(event)] == []


def test_restored_snapshots_leave_no_trace(world: RandomWorld) -> None:
    assert difference(world.restored(), world.specified) is None


def test_a_cold_start_goes_on_as_the_specification_does(world: RandomWorld) -> None:
    expected = world.from_the_middle(by_short_cuts=False)
    assert len(expected) > 100
    assert difference(world.from_the_middle(by_short_cuts=True), expected) is None


def test_signals_played_back_give_the_lines_of_their_run(world: RandomWorld) -> None:
    """All but features: these nobody asks for any more."""
    expected = [event for event in world.specified if event.pos[2] != FEATURE_ENGINE]
    assert difference(world.played_back(), expected) is None


@pytest.mark.parametrize("seed", SEEDS[2:4])
def test_whole_prices_are_the_same_as_ints_and_as_floats(worlds: Worlds, seed: int) -> None:
    in_ints = worlds(seed).driven(4_096, "int")
    assert difference(in_ints, worlds(seed).driven(4_096, "float")) is None
    assert difference(in_ints, worlds(seed).specified) is not None  # so that these prices mattered


def kinds(event: Event) -> Iterator[str]:
    """What this event shows to have happened, as far as the next test asks."""
    data: Any = event.data
    if isinstance(data, RejectedSignal):
        yield f"rejected: {data.reason}"
    elif isinstance(data, TradingSignal):
        if event.cause is not None and event.cause[2] == RISK:
            yield "answer to a rejection"
    elif isinstance(data, OrderPlaced):
        yield "settlement" if data.order_type == "SETTLEMENT" else "order"
        if data.parent_id:
            yield "leg of a bracket"
    elif isinstance(data, OrderCancelled):
        yield "lost to another of its OCO group" if data.reason == "oco" else f"cancelled: {data.reason}"
    elif isinstance(data, OrderModified | OrderTriggered | StrategyHalted):
        yield type(data).__name__


def test_these_worlds_meet_the_rules_of_trading(worlds: Worlds) -> None:
    """The lines compared above are of much that can happen, and would say nothing if they were not."""
    met = Counter(kind for seed in SEEDS for event in worlds(seed).specified for kind in kinds(event))
    assert len([kind for kind in met if kind.startswith("rejected: ")]) >= 15, met
    assert len([kind for kind in met if kind.startswith("cancelled: ")]) >= 3, met
    assert met.keys() >= {
        "answer to a rejection", "order", "leg of a bracket", "lost to another of its OCO group", "settlement",
        "OrderModified", "OrderTriggered", "StrategyHalted",
    }, met  # fmt: skip
    for seed in SEEDS:
        assert sum(isinstance(event.data, OrderPlaced) for event in worlds(seed).specified) > 20, seed
