"""Whether what events hold is of the type that the contract declares.

An int where a float is declared is more than untidy: as JSON it is `3`, and `3.0` once somebody has decoded it by its type,
so that hosts would differ in their bytes.
"""

import types
import typing
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any

import msgspec

from alphapanda.contracts.events import Event


def mistyped(event: Event) -> list[str]:
    """Every value of another type than its field's, as text."""
    return [f"{event.id} {type(event.data).__name__}{text}" for text in _in_struct(event.data)]


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _in_struct(value: msgspec.Struct) -> Iterator[str]:
    for name, hint in _hints(type(value)).items():
        yield from (f".{name}{text}" for text in _in(getattr(value, name), hint))


def _in(value: Any, hint: Any) -> Iterator[str]:
    kind = typing.get_origin(hint)
    if kind in (types.UnionType, typing.Union):
        tried = [list(_in(value, part)) for part in typing.get_args(hint)]
        if all(tried):
            yield from tried[0]
    elif kind is dict:
        yield from (text for one in value.values() for text in _in(one, typing.get_args(hint)[1]))
    elif isinstance(value, msgspec.Struct) and isinstance(value, hint):
        yield from _in_struct(value)
    elif not (type(value) is hint or (isinstance(value, Enum | str) and isinstance(value, hint))):
        yield f": {value!r} is not {hint}"
