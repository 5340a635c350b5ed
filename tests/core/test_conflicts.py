"""What conflict copies' names tell, and values at key paths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core import conflicts, names
from oaiofs.core.conflicts import Copy, joined, original_name, plain_name, read_copy, value_at, with_value
from oaiofs.core.keypaths import key_text
from oaiofs.core.merge import MISSING, same
from oaiofs.core.model import Stamp
from oaiofs.errors import UsageError
from tests.core.values import objects

S1, S2 = "20260301120000000001", "20260301120000000002"

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=90)
NAMES |= st.from_regex(r"[a-z .()~]{1,12}(\.tar)?\.[a-z]{1,4}", fullmatch=True)
DEVICES = st.text(max_size=30) | st.sampled_from(
    ["lap", "my laptop", f"x (conflict y {S1})", "a) (b", ")", "~2", f"conflict x {S1}", "dev.txt"]
)
STAMPS = st.sampled_from([S1, S2])


def loses(name: str, device: str, stamp: str, others: int = 0) -> str:
    taken: set[str] = set()
    for _ in range(others):
        taken.add(names.conflict_name(name, device, stamp, taken))
    return names.conflict_name(name, device, stamp, taken)


@pytest.mark.parametrize(
    ("name", "original"),
    [
        (f"tea (conflict lap {S1}).txt", "tea.txt"),
        (f"tea (conflict lap {S1})", "tea"),
        (f"tea (conflict lap {S1}).tar.gz", "tea.tar.gz"),
        (f".bashrc (conflict lap {S1})", ".bashrc"),
        (f"a.b (conflict lap {S1}).c", "a.b.c"),
        (f"tea (conflict lap {S1}) ~2.txt", "tea.txt"),
        (f"tea (conflict lap {S1}) ~13", "tea"),
        (f"tea (conflict my old lap {S1}).txt", "tea.txt"),
        (f"tea (conflict lap {S1}) (conflict top {S2}).txt", f"tea (conflict lap {S1}).txt"),
        (f"tea (conflict lap {S1}).txt (conflict top {S2})", f"tea (conflict lap {S1}).txt"),
    ],
)
def test_a_copy_tells_what_it_was(name: str, original: str) -> None:
    copy = read_copy(name)
    assert copy is not None
    assert copy.name == original


@pytest.mark.parametrize(
    "name",
    [
        "tea.txt",
        "tea (conflict lap 42).txt",
        f"tea (conflict {S1}).txt",
        "tea (conflict lap 2026030112000000000).txt",
        "tea (conflict lap 20261301120000000001).txt",  # a month 13
        f"tea (conflict lap {S1[:-1]}٣).txt",
        f"tea (conflict lap {S1}",
        f" (conflict lap {S1}).txt",
        f"tea (conflict lap {S1}) ~1.txt",
        f"tea (conflict lap {S1}) ~02.txt",
        f"tea (conflict lap {S1}) (2).txt",
        f"tea (conflict lap {S1}) copy.txt",
        f"tea (conflict lap {S1}).txt.swp",
        f"tea(conflict lap {S1}).txt",
        f"tea (Conflict lap {S1}).txt",
    ],
)
def test_what_merely_looks_like_a_copy_is_none(name: str) -> None:
    assert read_copy(name) is None


@given(NAMES, DEVICES, STAMPS, st.integers(0, 3))
def test_reading_is_the_inverse_of_making(name: str, device: str, stamp: str, others: int) -> None:
    made = loses(name, device, stamp, others)
    copy = read_copy(made)
    assert copy is not None
    assert (copy.device, copy.stamp) == (names.device_label(device), stamp)
    if len(made.encode()) >= 240:
        assert name.startswith(copy.stem) or copy.stem == "unnamed"
        assert name.endswith(copy.extension)
        assert original_name(made, copy, lambda: [name, "other"]) in (name, copy.name)
    else:
        assert copy.name == name == original_name(made, copy, tuple)


@given(NAMES, DEVICES, DEVICES)
def test_a_copy_of_a_copy_is_read_from_the_outside_in(name: str, first: str, second: str) -> None:
    inner = loses(name, first, S1)
    outer = read_copy(loses(inner, second, S2))
    assert outer is not None
    assert (outer.device, outer.stamp) == (names.device_label(second), S2)
    if len(inner.encode()) < 120:
        assert outer.name == inner


@given(NAMES, DEVICES, st.integers(0, 3))
def test_a_copy_that_is_kept_gets_a_free_name_that_is_no_conflict(name: str, device: str, others: int) -> None:
    copy = read_copy(loses(name, device, S1))
    assert copy is not None
    taken = {name}
    for _ in range(others):
        taken.add(plain_name(copy, taken))
    made = plain_name(copy, taken)
    assert made not in taken
    assert len(made.encode()) <= names.MAX_NAME_BYTES
    assert names.storable_problem(made) is None or names.storable_problem(name) is not None
    if read_copy(name) is None:
        assert read_copy(made) is None


def test_the_plain_name_says_whose_it_is() -> None:
    copy = Copy("letter", ".txt", "my laptop", Stamp(S1))
    assert plain_name(copy, {"letter.txt"}) == "letter (my laptop).txt"
    assert plain_name(copy, {"letter (my laptop).txt"}) == "letter (my laptop) ~2.txt"


def test_a_name_that_was_cut_is_found_among_its_siblings() -> None:
    name = "ü" * 122 + ".text"
    made = loses(name, "lap", S1)
    copy = read_copy(made)
    assert copy is not None
    assert copy.name != name
    assert original_name(made, copy, lambda: [name, made, "other.text"]) == name
    assert original_name(made, copy, lambda: [made]) == copy.name
    assert original_name(made, copy, lambda: [name, "ü" * 121 + ".text"]) == copy.name
    assert original_name(made, copy, lambda: [name, copy.name]) == copy.name


# ------------------------------------------------------------------------------------------------------- values


def test_a_value_is_set_at_its_nested_place_and_nowhere_else() -> None:
    values = {"one": 1, "two": {"x": 1, "y": [1]}}
    assert with_value(values, ["two", "x"], 1.0) == {"one": 1, "two": {"x": 1.0, "y": [1]}}
    assert type(with_value(values, ["two", "x"], 1.0)["two"]["x"]) is float
    assert with_value(values, ["new", "a b", ""], None) == {**values, "new": {"a b": {"": None}}}
    assert with_value(values, ["two", "x"], MISSING) == {"one": 1, "two": {"y": [1]}}
    assert values == {"one": 1, "two": {"x": 1, "y": [1]}}
    with pytest.raises(UsageError, match=r"one\.x can't be set"):
        with_value(values, ["one", "x"], 2)


@given(objects, st.lists(st.text(max_size=3), min_size=1, max_size=3), st.integers())
def test_what_is_set_is_there(values: dict[str, Any], keys: list[str], value: int) -> None:
    try:
        changed = with_value(values, keys, value)
    except UsageError:
        return
    assert same(value_at(changed, keys), value)
    assert same(value_at(with_value(changed, keys, MISSING), keys), MISSING)
    assert list(changed)[: len(values)] == list(values), "the keys keep their order"


@pytest.mark.parametrize(
    ("mine", "theirs", "both"),
    [
        ([1, 2], [3, 1], [3, 1, 2]),
        ([1.0, True], [1], [1, 1.0, True]),
        ([[1], {"a": 1}], [{"a": 1}], [{"a": 1}, [1]]),
        ([], [1], [1]),
        ("a", "b", None),
        ([1], "b", None),
        ([1], MISSING, None),
        ({"a": 1}, {"a": 2}, None),
    ],
)
def test_only_lists_can_be_joined(mine: Any, theirs: Any, both: list[Any] | None) -> None:
    found = joined(mine, theirs)
    assert found == both
    assert [type(one) for one in found or ()] == [type(one) for one in both or ()]


@pytest.mark.parametrize(
    ("keys", "text"),
    [(["a"], "a"), (["two", "x"], "two.x"), (["a.b", "c"], '"a.b".c'), (["", 'q"'], '""."q\\""'), (["ü_1"], "ü_1"),
     (["1"], '"1"')],
)
def test_key_paths_as_text(keys: list[str], text: str) -> None:
    assert key_text(keys) == text


def test_the_mark_is_in_every_copy() -> None:
    assert conflicts.MARK in loses("a", "lap", S1)
