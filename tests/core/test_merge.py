"""Merging values: nothing that either side did is lost, and all devices end with the same."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings

from oaiofs.core.merge import MISSING, ValueConflict, merge_values, same

from .values import json_values, objects, small_objects

Obj = dict[str, Any]


def merged(base: Obj | None, mine: Obj, theirs: Obj) -> Obj:
    """The merge of what must merge without a conflict."""
    result = merge_values(base, mine, theirs)
    assert result.conflicts == ()
    return result.values


# ------------------------------------------------------------------------------------------------------ sameness

DISTINCT = [None, True, False, 0, 1, 1.5, 2.0, 2, "", "1", [], [1], [1.0], [True], {}, {"a": 1}, {"a": None}, MISSING]


@pytest.mark.parametrize("number", range(len(DISTINCT)))
def test_each_value_is_the_same_as_itself_alone(number: int) -> None:
    assert [same(DISTINCT[number], other) for other in DISTINCT] == [number == n for n in range(len(DISTINCT))]


def test_the_order_of_keys_and_the_sign_of_zero_make_no_difference() -> None:
    assert same({"a": 1, "b": {"c": [{}], "d": 2}}, {"b": {"d": 2, "c": [{}]}, "a": 1})
    assert not same({"a": 1, "b": 2}, {"a": 1, "c": 2})
    assert not same([1, 2], [2, 1])
    assert same(0.0, -0.0)
    assert not same(0, 0.0)


@given(json_values, json_values)
def test_same_is_symmetric(a: object, b: object) -> None:
    assert same(a, a)
    assert same(a, b) == same(b, a)


# ---------------------------------------------------------------------------------------------------- the table


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "result"),
    [
        ({"a": 1}, {"a": 2}, {"a": 1, "b": 3}, {"a": 2, "b": 3}),  # different keys
        ({"a": 1, "b": 1}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2}),  # deletion and edit of another
        ({"a": 1}, {}, {"a": 2}, {"a": 2}),  # an edit is worth more than a deletion
        ({"a": 1}, {"a": 2}, {}, {"a": 2}),
        ({"a": 1}, {}, {}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}, {"a": 2}),
        ({"a": None}, {}, {"a": None}, {}),  # null is a value, no key is none
        ({"o": {"x": 1, "y": 1}}, {"o": {"x": 2, "y": 1}}, {"o": {"x": 1, "y": 2}}, {"o": {"x": 2, "y": 2}}),
        ({"o": {"x": 1}}, {}, {"o": {"x": 2}}, {"o": {"x": 2}}),
        ({}, {"o": {"x": 1}}, {"o": {"y": 1}}, {"o": {"y": 1, "x": 1}}),
        (None, {"a": 1, "b": 1}, {"a": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}),
        ({"l": [1]}, {"l": [1, 2]}, {"l": [1, 3]}, {"l": [1, 3, 2]}),  # theirs, then mine
        ({"l": [1]}, {"l": [1, 2]}, {"l": [1]}, {"l": [1, 2]}),
        ({"l": []}, {"l": [1, 2]}, {"l": [1]}, {"l": [1, 2]}),  # mine has theirs already
        ({"l": [1, 2]}, {"l": [1]}, {"l": [1, 2]}, {"l": [1]}),
    ],
)
def test_what_merges(base: Obj | None, mine: Obj, theirs: Obj, result: Obj) -> None:
    assert same(merged(base, mine, theirs), result)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "conflict"),
    [
        ({"a": 1}, {"a": 2}, {"a": 3}, ValueConflict(("a",), 1, 2, 3)),
        ({"a": 1}, {"a": 1.0}, {"a": True}, ValueConflict(("a",), 1, 1.0, True)),
        ({}, {"a": 2}, {"a": 3}, ValueConflict(("a",), MISSING, 2, 3)),
        (None, {"a": [1]}, {"a": [2]}, ValueConflict(("a",), MISSING, [1], [2])),
        (
            {"o": {"p": {"x": 1}}},
            {"o": {"p": {"x": 2}}},
            {"o": {"p": {"x": 3}}},
            ValueConflict(("o", "p", "x"), 1, 2, 3),
        ),
        ({"o": {}}, {"o": 1}, {"o": {"x": 1}}, ValueConflict(("o",), {}, 1, {"x": 1})),
        ({"l": [1]}, {"l": [1, 2]}, {"l": [0, 1]}, ValueConflict(("l",), [1], [1, 2], [0, 1])),  # appended and changed
        ({"l": [1]}, {"l": []}, {"l": [1, 2]}, ValueConflict(("l",), [1], [], [1, 2])),
        ({"l": "ab"}, {"l": "abc"}, {"l": "abd"}, ValueConflict(("l",), "ab", "abc", "abd")),
    ],
)
def test_what_does_not(base: Obj | None, mine: Obj, theirs: Obj, conflict: ValueConflict) -> None:
    result = merge_values(base, mine, theirs)
    assert same(result.values, theirs)
    assert result.conflicts == (conflict,)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "order"),
    [
        ("abc", "abc", "cab", "cab"),  # theirs moved lines
        ("abc", "cab", "abc", "cab"),  # mine did
        ("abc", "bca", "cab", "cab"),  # both did: the server's
        ("ab", "axb", "aby", "axby"),  # mine's new line stays where it was put
        ("ab", "xab", "aby", "xaby"),
        ("ab", "abx", "aby", "abxy"),
        ("", "xy", "ab", "abxy"),
        ("abc", "axyc", "abcz", "axycz"),
    ],
)
def test_the_order_of_keys(base: str, mine: str, theirs: str, order: str) -> None:
    result = merged(*(dict.fromkeys(keys, 1) for keys in (base, mine, theirs)))
    assert "".join(result) == order
    nested = merged(*({"o": dict.fromkeys(keys, 1)} for keys in (base, mine, theirs)))
    assert "".join(nested["o"]) == order


# ------------------------------------------------------------------------------------------------------- laws


@given(objects, objects)
def test_one_side_alone_is_followed_to_the_letter(base: Obj, changed: Obj) -> None:
    assert same(merged(base, changed, base), changed)
    assert same(merged(base, base, changed), changed)
    assert same(merged(base, changed, changed), changed)
    assert same(merged(None, changed, changed), changed)
    assert list(merged(base, changed, base)) == list(changed)
    assert list(merged(base, base, changed)) == list(changed)


@given(small_objects, small_objects, small_objects)
@settings(max_examples=300)
@example({"l": []}, {"l": [1]}, {"l": [2]})
def test_a_merge_done_again_changes_nothing(base: Obj, mine: Obj, theirs: Obj) -> None:
    once = merge_values(base, mine, theirs).values
    assert same(merge_values(base, once, theirs).values, once)
    assert same(merge_values(theirs, once, theirs).values, once)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value that is no object, and each empty object, with its path."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


def at(values: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        values = values.get(key, MISSING) if isinstance(values, dict) else MISSING
    return values


def holds(there: Any, value: Any) -> bool:
    """*value* is *there*: as it is, or its items in a longer list, or, of an empty object, filled."""
    if isinstance(value, list) and isinstance(there, list):
        rest = iter(there)
        return all(any(same(item, other) for other in rest) for item in value)
    return same(there, value) or (value == {} and isinstance(there, dict))


@given(small_objects, small_objects, small_objects)
@settings(max_examples=300)
@example({"l": [0]}, {"l": [0, 1]}, {"l": [0, 2]})
def test_no_edit_is_lost(base: Obj, mine: Obj, theirs: Obj) -> None:
    result = merge_values(base, mine, theirs)
    for path, value in leaves(theirs):
        if not same(at(base, path), value):
            assert holds(at(result.values, path), value), "theirs always has the name"
    for path, value in leaves(mine):
        if same(at(base, path), value):
            continue
        beaten = [conflict for conflict in result.conflicts if path[: len(conflict.path)] == conflict.path]
        kept = beaten and same(at(beaten[0].mine, path[len(beaten[0].path) :]), value)
        assert kept or holds(at(result.values, path), value)
    for conflict in result.conflicts:
        assert same(at(mine, conflict.path), conflict.mine)
        assert same(at(theirs, conflict.path), conflict.theirs)
        assert same(at(result.values, conflict.path), conflict.theirs)
        assert not same(conflict.mine, conflict.theirs)


@given(small_objects, small_objects, small_objects)
def test_nothing_comes_from_nowhere(base: Obj, mine: Obj, theirs: Obj) -> None:
    for path, value in leaves(merge_values(base, mine, theirs).values):
        if not isinstance(value, list) and value != {}:
            assert same(at(mine, path), value) or same(at(theirs, path), value)


@given(small_objects, small_objects, small_objects)
def test_devices_end_alike_whoever_comes_first(base: Obj, one: Obj, two: Obj) -> None:
    for first, second in [(one, two), (two, one)]:
        server = merged(base, first, base)  # the first to push finds the server as it was
        server = merge_values(base, second, server).values  # the second merges and pushes
        assert same(merged(first, first, server), server)  # and the first, clean by now, pulls it


@given(small_objects, small_objects, small_objects)
def test_without_a_conflict_the_order_of_devices_matters_for_lists_only(base: Obj, one: Obj, two: Obj) -> None:
    there, back = merge_values(base, one, two), merge_values(base, two, one)
    assert [conflict.path for conflict in sorted(there.conflicts, key=lambda item: item.path)] == [
        conflict.path for conflict in sorted(back.conflicts, key=lambda item: item.path)
    ]
    if not there.conflicts:
        assert {path for path, _ in leaves(there.values)} == {path for path, _ in leaves(back.values)}


@given(small_objects, small_objects, small_objects)
def test_arguments_stay_untouched(base: Obj, mine: Obj, theirs: Obj) -> None:
    before = repr((base, mine, theirs))
    merge_values(base, mine, theirs)
    assert repr((base, mine, theirs)) == before
