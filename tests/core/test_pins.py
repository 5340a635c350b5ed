"""What is pinned: inherited downwards by path, and moved along with a rename."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core import pins

PINS = {"d", "d/e/f.txt", "a.txt"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", None), ("a.txt", "a.txt"), ("a.txt2", None), ("b.txt", None), ("d", "d"), ("d/x", "d"), ("dd", None),
        ("d/e/f.txt", "d/e/f.txt"), ("d/e/f.txt/g", "d/e/f.txt"), ("d/e/g.txt", "d"),
    ],
)  # fmt: skip
def test_the_nearest_pin_above(path: str, expected: str | None) -> None:
    assert pins.nearest(PINS, path) == expected
    assert pins.nearest(PINS | {""}, path) == ("" if expected is None else expected)
    assert pins.nearest(set(), path) is None


@pytest.mark.parametrize(
    ("path", "expected"), [("", PINS), ("d", {"d", "d/e/f.txt"}), ("d/e", {"d/e/f.txt"}), ("a", set())]
)
def test_the_pins_below(path: str, expected: set[str]) -> None:
    assert pins.below(PINS, path) == expected


def test_a_rename_takes_pins_along() -> None:
    assert pins.renamed(PINS, "d", "x/y") == {"d": "x/y", "d/e/f.txt": "x/y/e/f.txt"}
    assert pins.renamed(PINS, "a.txt", "b.txt") == {"a.txt": "b.txt"}
    assert pins.renamed(PINS, "other", "d") == {}


_paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


@given(st.sets(_paths), _paths)
def test_a_path_is_pinned_just_if_it_is_below_a_pin(pinned: set[str], path: str) -> None:
    above = {one for one in pinned if path in pins.below({path}, one)}
    assert pins.nearest(pinned, path) == max(above, key=len, default=None)
