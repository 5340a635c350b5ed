"""Three-way merge of small texts by lines: what two devices changed in different places of a file, both kept.

Must not know files, versions or who merges. Rather no merge than a wrong one: where two changes touch, or one could
as well have been made on the other side of the other, there is none, and the caller keeps both files.

Lines are matched as in a patience diff, by those that occur once on both sides and outwards from them, not by the
matching blocks of ``difflib``: that one takes minutes for a text made to be slow, this a fraction of a second for
any. What it leaves unmatched counts as changed, which at worst is a merge less.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Texts with more bytes or lines than this are not merged: what a person wrote is smaller.
MAX_BYTES: Final = 256 * 1024
MAX_LINES: Final = 8192
#: How often the stretches between matched lines are looked at for more of them.
_ROUNDS = 16


def is_text(data: bytes) -> bool:
    """Whether this is a text small enough to be merged: UTF-8 without NUL bytes, within the limits."""
    if len(data) > MAX_BYTES or b"\0" in data or data.count(b"\n") >= MAX_LINES:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def merge_lines(base: bytes, mine: bytes, theirs: bytes) -> bytes | None:
    """*mine* and *theirs*, both made from *base*, in one; None where changes meet or one of the three is no text.

    Lines keep their ends, be they LF, CRLF or, for the last one, none: a line whose end alone differs is changed.
    Takes up to half a second, for the largest texts with thousands of changes: for threads.
    """
    if not all(map(is_text, (base, mine, theirs))):
        return None
    original, here, there = map(_split, (base, mine, theirs))
    merged = _merge(original, here, there)
    if merged is None or any(
        merged != whole and _holds(original, whole, part) for whole, part in ((there, here), (here, there))
    ):
        return None  # in the second case one side may have been merged into the other before: never add twice
    return b"".join(merged)


def _holds(base: Sequence[bytes], whole: Sequence[bytes], part: Sequence[bytes]) -> bool:
    """Whether *whole* is what a merge with *part* comes to: taken out of it and merged again, it is the same."""
    rest = _merge(part, base, whole)
    return rest is not None and _merge(base, part, rest) == whole


def _merge(base: Sequence[bytes], mine: Sequence[bytes], theirs: Sequence[bytes]) -> list[bytes] | None:
    merged: list[bytes] = []
    done = 0
    for group in _groups(_changes(base, mine), _changes(base, theirs)):
        of_mine, of_theirs = (_changed(base, group, side) for side in (group.mine, group.theirs))
        if group.mine and group.theirs and of_mine != of_theirs:
            return None
        merged += base[done : group.start]
        merged += of_mine if group.mine else of_theirs
        done = group.end
    return [*merged, *base[done:]]


def _split(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


@dataclass(frozen=True, slots=True)
class _Change:
    """One side's *lines* in place of the base's from *start* to before *end*.

    Among equal lines nobody can tell where one was added or removed: *low* and *high* are the ends of the stretch in
    which the same change can be.
    """

    start: int
    end: int
    lines: Sequence[bytes]
    low: int
    high: int


@dataclass(slots=True)
class _Group:
    """Changes that meet, and what they span together."""

    start: int
    end: int
    low: int
    high: int
    mine: list[_Change]
    theirs: list[_Change]

    def meets(self, other: _Group) -> bool:
        """Whether no unchanged line is between the two, or one can be made on either side of the other."""
        touch = self.start <= other.end and other.start <= self.end
        return touch or (self.low < other.high and other.low < self.high)

    def joined(self, other: _Group) -> _Group:
        low, high = min(self.low, other.low), max(self.high, other.high)
        start, end = min(self.start, other.start), max(self.end, other.end)
        self.mine += other.mine
        self.theirs += other.theirs
        return _Group(start, end, low, high, self.mine, self.theirs)


def _changes(base: Sequence[bytes], side: Sequence[bytes]) -> list[_Change]:
    """What *side* changed, in order."""
    found: list[tuple[int, int, Sequence[bytes]]] = []
    at_base = at_side = 0
    for in_base, in_side in [*_matches(base, side), (len(base), len(side))]:
        if at_base < in_base or at_side < in_side:
            found.append((at_base, in_base, side[at_side:in_side]))
        at_base, at_side = in_base + 1, in_side + 1
    borders = [0, *(end for _, end, _ in found)], [*(start for start, _, _ in found[1:]), len(base)]
    return [
        _Change(start, end, lines, *_room(base, start, end, lines, lowest, highest))
        for (start, end, lines), lowest, highest in zip(found, *borders, strict=False)
    ]


def _room(
    base: Sequence[bytes], start: int, end: int, lines: Sequence[bytes], lowest: int, highest: int
) -> tuple[int, int]:
    """The stretch between *lowest* and *highest* in which the same lines can be added or removed to the same effect."""
    if lines and start < end:
        return start, end
    moving = lines or base[start:end]
    up = down = 0
    while start - up > lowest and base[start - up - 1] == moving[(-up - 1) % len(moving)]:
        up += 1
    while end + down < highest and base[end + down] == moving[down % len(moving)]:
        down += 1
    return start - up, end + down


def _groups(mine: Iterable[_Change], theirs: Iterable[_Change]) -> list[_Group]:
    """The changes of both sides in order, those that meet in one group."""
    single = [_Group(one.start, one.end, one.low, one.high, [one], []) for one in mine]
    single += [_Group(one.start, one.end, one.low, one.high, [], [one]) for one in theirs]
    groups: list[_Group] = []
    for group in sorted(single, key=lambda group: (group.start, group.end)):
        grown = group
        while groups and groups[-1].meets(grown):
            grown = groups.pop().joined(grown)
        groups.append(grown)
    return groups


def _changed(base: Sequence[bytes], group: _Group, changes: Iterable[_Change]) -> list[bytes]:
    """The base's lines that the *group* spans with one side's *changes*."""
    lines: list[bytes] = []
    at = group.start
    for change in changes:
        lines += [*base[at : change.start], *change.lines]
        at = change.end
    return [*lines, *base[at : group.end]]


# -- matching ------------------------------------------------------------------------------------------------


def _matches(base: Sequence[bytes], side: Sequence[bytes]) -> list[tuple[int, int]]:
    """Pairs of equal lines of both, as numbers, ascending on both sides."""
    pairs: list[tuple[int, int]] = []
    stretches = [(0, len(base), 0, len(side))]
    for _ in range(_ROUNDS):
        stretches = [
            smaller for stretch in stretches for smaller in _between_anchors(base, side, *stretch, pairs)
        ]  # fmt: skip
    return sorted(pairs)


def _between_anchors(
    base: Sequence[bytes], side: Sequence[bytes], b: int, b_end: int, s: int, s_end: int, pairs: list[tuple[int, int]]
) -> Iterator[tuple[int, int, int, int]]:
    """Match what begins and what ends both stretches alike; the smaller stretches that anchors make of the rest."""
    while b < b_end and s < s_end and base[b] == side[s]:
        pairs.append((b, s))
        b, s = b + 1, s + 1
    while b < b_end and s < s_end and base[b_end - 1] == side[s_end - 1]:
        b_end, s_end = b_end - 1, s_end - 1
        pairs.append((b_end, s_end))
    anchors = _anchors(base, side, range(b, b_end), range(s, s_end)) if b < b_end and s < s_end else ()
    if anchors:
        for (from_b, from_s), (to_b, to_s) in itertools.pairwise([(b, s), *anchors, (b_end, s_end)]):
            if from_b < to_b and from_s < to_s:
                yield from_b, to_b, from_s, to_s


def _anchors(base: Sequence[bytes], side: Sequence[bytes], here: range, there: range) -> list[tuple[int, int]]:
    """The longest ascending row of pairs of equal lines among those that both stretches have just once."""
    once_here = _only_once(base, here)
    once_there = _only_once(side, there)
    tails: list[int] = []  # for each length: the lowest last line, in side, of a row of so many pairs
    rows: list[tuple[int, int, int]] = []  # (in base, in side, number of the pair before it in the row)
    ends: list[int] = []
    for line, in_base in once_here.items():  # ascending in base
        if (in_side := once_there.get(line)) is None:
            continue
        length = bisect.bisect_left(tails, in_side)
        rows.append((in_base, in_side, ends[length - 1] if length else -1))
        tails[length : length + 1] = [in_side]
        ends[length : length + 1] = [len(rows) - 1]
    anchors: list[tuple[int, int]] = []
    number = ends[-1] if ends else -1
    while number >= 0:
        in_base, in_side, number = rows[number]
        anchors.append((in_base, in_side))
    return anchors[::-1]


def _only_once(lines: Sequence[bytes], stretch: range) -> dict[bytes, int]:
    counts = Counter(lines[number] for number in stretch)
    return {lines[number]: number for number in stretch if counts[lines[number]] == 1}
