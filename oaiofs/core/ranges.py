"""Which bytes of a file are there: a set of numbers kept as spans. Pure.

A span is (start, stop): from byte *start* up to, not including, byte *stop*.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]


class Ranges:
    """Spans in their order, none empty, none touching the next."""

    __slots__ = ("_starts", "_stops")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in spans:
            self.add(start, stop)

    def __iter__(self) -> Iterator[Span]:
        return iter(list(zip(self._starts, self._stops, strict=True)))

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

    @property
    def total(self) -> int:
        """How many bytes there are in all spans."""
        return sum(self._stops) - sum(self._starts)

    def add(self, start: int, stop: int) -> None:
        """Take in a span, whatever of it is there already; an empty one is nothing."""
        if start >= stop:
            return
        first = bisect_left(self._stops, start)  # the first one that ends at *start* or later
        last = bisect_right(self._starts, stop)  # behind the last one that begins at *stop* or before
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def covers(self, start: int, stop: int) -> bool:
        """Whether all of a span is there; of an empty one it is."""
        return self.first_gap(start, stop) is None

    def first_gap(self, start: int, stop: int) -> Span | None:
        """The first part of a span that is missing, up to where the next byte is there or to its end."""
        number = bisect_right(self._starts, start)
        if number and self._stops[number - 1] > start:
            start = self._stops[number - 1]
        if start >= stop:
            return None
        return start, min(stop, self._starts[number]) if number < len(self._starts) else stop


def window(taken: Ranges, at: int, length: int, size: int, align: int) -> Span:
    """The span of a file of *size* bytes to ask for where byte *at*, which is not *taken*, is wanted first.

    It begins at the multiple of *align* before (the kernel's requests come in any order), is *length* long from *at*
    on, and has no byte that is taken.
    """
    begin = at - at % align
    while (gap := taken.first_gap(begin, at + 1)) is not None and gap[1] <= at:
        begin = gap[1]
    start, _ = gap or (at, at)
    _, stop = taken.first_gap(at, min(size, at + length)) or (at, at)
    return start, stop
