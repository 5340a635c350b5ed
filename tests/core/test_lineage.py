"""Whether a version was made from another."""

from __future__ import annotations

import pytest

from oaiofs.core.lineage import has_seen, may_be_blind, restored
from oaiofs.core.model import FileFact, Stamp, Version

A, B, C = (FileFact(1, letter * 32, 0) for letter in "abc")
EARLY, LATE = Stamp("20260101000000000000"), Stamp("20260101000100000000")
PRIOR = Version(EARLY, {"k": 1, "kept": 0}, {"f": A, "kept": C})
AGREED = Version(LATE, {"k": 2, "kept": 0}, {"f": B, "new": C, "kept": C})


@pytest.mark.parametrize(
    ("values", "files", "seen"),
    [
        ({"k": 2, "kept": 1}, {"f": B, "new": C, "kept": C}, True),  # all of it is in there
        ({"k": 2}, {"f": C, "new": C}, True),  # edited further
        ({"k": 2}, {"f": A, "new": C}, False),  # one file as before
        ({"k": 1}, {"f": B, "new": C}, False),  # one value as before
        ({"k": 2}, {"f": B}, False),  # the added file is not there
        ({"k": 3}, {"f": C, "new": A}, False),  # everything changed again: nothing to go by
        ({"k": 1}, {"f": A}, False),
    ],
)
def test_a_version_shows_what_it_was_made_from(values: dict[str, int], files: dict[str, FileFact], seen: bool) -> None:
    assert has_seen(PRIOR, AGREED, values, files) is seen


def test_only_little_later_a_writer_may_not_have_looked() -> None:
    assert may_be_blind(EARLY, LATE)
    assert may_be_blind(LATE, EARLY)
    assert not may_be_blind(EARLY, Stamp("20260101000300000000"))
    assert not may_be_blind(None, LATE)


def test_what_comes_of_a_version_and_one_that_was_made_without_it() -> None:
    ancestor = Version(EARLY, {"k": 1, "l": 1}, {"f": A, "g": A, "both": A, "gone here": A, "gone there": A, "x": A})
    agreed = Version(LATE, {"k": 2, "l": 1}, {"f": B, "g": A, "both": B, "new": B, "gone there": A, "x": B})
    listed = {"f": A, "g": C, "both": C, "gone here": A, "newer": C}
    assert restored(ancestor, agreed, {"k": 1, "l": 3}, listed) == Version(
        LATE, {"k": 2, "l": 3}, {"f": B, "g": C, "both": C, "new": B, "newer": C, "x": B}
    )
