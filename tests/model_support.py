"""The executable model of the one order, where its file is at hand, and its rooms as lanes of ours."""

import functools
import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest

from alphapanda.contracts.events import Event
from tests.data_folder import shared


def model() -> ModuleType:
    """The model as a module; skips the test where it is not at hand."""
    path = shared("design/model.py")
    if path is None:
        pytest.skip("the executable model is not at hand: set ALPHAPANDA_TEST_DATA to the folder that holds design/")
    spec = importlib.util.spec_from_file_location("order_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["order_model"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Said:
    """A model event's data as a payload; each kind has a class of its own (`kind_class`)."""

    kind = ""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data


@functools.cache
def kind_class(kind: str) -> type[Said]:
    """The payload class of this kind."""
    return type(kind, (Said,), {"kind": kind})


class ModelLane:
    """A room of the model as a lane: it sees the model's events, and gives payloads."""

    def __init__(self, order_model: ModuleType, room: Any) -> None:
        self.model, self.room = order_model, room
        self.heard = room.heard or (0, 0, 0, 0, 0)

    def _theirs(self, event: Event) -> Any:
        return self.model.Event(event.pos, event.ts_ns, event.data.kind, event.data.data)  # type: ignore[attr-defined]

    def taker(self, event: Event) -> Any:
        return self._handle if self.room.wants(self._theirs(event)) else None

    def decides_on(self, event: Event) -> bool:
        return event.data.kind not in self.room.notes  # type: ignore[attr-defined]

    def _handle(self, event: Event) -> Any:
        return [(lane, kind_class(kind)(data)) for kind, lane, data in self.room.handle(self._theirs(event))]


def ours(event: Any) -> Event:
    """A model event as one of ours."""
    return Event(event.pos, event.ts, None, kind_class(event.kind)(event.data))  # type: ignore[arg-type]
