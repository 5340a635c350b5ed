"""Spans of bytes against what is obviously right: sets of numbers."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core.ranges import Ranges, window

SIZE = 40
numbers = st.integers(0, SIZE)
spans = st.tuples(numbers, numbers)


def bytes_of(made: list[tuple[int, int]]) -> set[int]:
    return {number for start, stop in made for number in range(start, stop)}


@given(st.lists(spans), spans)
def test_ranges_are_sets_of_numbers(made: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    ranges, there = Ranges(made), bytes_of(made)
    kept = list(ranges)
    assert bytes_of(kept) == there
    assert ranges.total == len(there)
    assert all(start < stop for start, stop in kept)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(kept)), "in order, none touching"
    wanted = set(range(*asked))
    assert ranges.covers(*asked) == (wanted <= there)
    gap = ranges.first_gap(*asked)
    missing = sorted(wanted - there)
    if not missing:
        assert gap is None
    else:
        assert gap is not None
        assert gap[0] == missing[0]
        assert set(range(*gap)) <= set(missing)
        assert gap[1] == asked[1] or gap[1] in there


@given(st.lists(spans), st.integers(0, SIZE - 1), st.integers(1, SIZE), st.integers(1, 16))
def test_a_window_has_the_wanted_byte_and_nothing_that_is_taken(
    made: list[tuple[int, int]], at: int, length: int, align: int
) -> None:
    taken = bytes_of(made) - {at}
    ranges = Ranges((number, number + 1) for number in taken)
    start, stop = window(ranges, at, length, SIZE, align)
    assert start <= at < stop <= min(SIZE, at + length)
    assert not set(range(start, stop)) & taken
    assert at - start < align
    assert start % align == 0 or start - 1 in taken, "as far to the front as it may"
    assert stop in taken or stop == min(SIZE, at + length)
