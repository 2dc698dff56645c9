"""Streams of rows become one: by key, in the order of the streams, opened only when they are due."""

import itertools
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from alphapanda.runtime.tape_merge import Stream, merged


def stream(name: int, keys: list[int], cuts: list[int]) -> Stream:
    """A stream of (key, stream, place in it) that comes in frames cut at `cuts`."""
    frame = pl.DataFrame({"_key": keys, "stream": [name] * len(keys), "place": range(len(keys))})
    bounds = [0, *sorted(cuts), len(keys)]

    def frames() -> Iterator[pl.DataFrame]:
        return (frame[a:b] for a, b in itertools.pairwise(bounds) if b > a)

    return Stream(keys[0], frames)


@pytest.mark.parametrize("seed", range(60))
def test_merging_equals_a_stable_sort(seed: int) -> None:
    """Many equal keys, frames cut anywhere: the order is (key, stream, place in the stream)."""
    rng = np.random.default_rng(seed)
    lists = [sorted(rng.integers(at, at + 6, 12).tolist()) for at in rng.integers(0, 12, 4).tolist()]
    streams = [stream(n, keys, rng.integers(0, 12, 4).tolist()) for n, keys in enumerate(lists)]
    expected = sorted((key, n, place) for n, keys in enumerate(lists) for place, key in enumerate(keys))
    assert pl.concat(merged(streams)).rows() == expected


def test_a_stream_is_opened_when_it_is_due() -> None:
    """The second of two streams that do not overlap is not open while the first is read."""
    opened: list[int] = []

    def one(name: int, first: int) -> Stream:
        plain = stream(name, [first, first + 1, first + 2], [1, 2])
        return Stream(first, lambda: (opened.append(name), plain.open())[1])

    frames = merged([one(1, 100), one(0, 0)])
    next(frames)
    assert opened == [0]


def test_no_stream_is_no_row() -> None:
    """Nothing comes of nothing."""
    assert list(merged([])) == []
