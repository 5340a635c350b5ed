"""Merging values: nothing that either side did is lost, and all devices end with the same."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oaiofs.core.merge import MISSING, ValueConflict, merge_values, same
from tests.depth import examples

from .values import json_values, objects, small_objects, small_values

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
        ({"l": [1]}, {"l": [1, 2]}, {"l": [1, 3, 2]}, {"l": [1, 3, 2]}),  # theirs has mine already
        ({"l": [1]}, {"l": [1, 2]}, {"l": [0, 1]}, {"l": [0, 1, 2]}),  # mine only appended
        ({"l": [1]}, {"l": [0, 1]}, {"l": [1, 2]}, {"l": [0, 1, 2]}),  # theirs did
        ({"l": [1, 2]}, {"l": [1]}, {"l": [1, 2, 3]}, {"l": [1, 3]}),
        ({"l": [1]}, {"l": []}, {"l": [1, 2]}, {"l": [2]}),
        ({"l": [1, 2]}, {"l": [1, 2, 1, 1]}, {"l": [2, 1]}, {"l": [2, 1, 1, 1]}),
        ({"l": [1]}, {"l": [1, 1.0]}, {"l": [True, 1]}, {"l": [True, 1, 1.0]}),  # none of these is the other
        ({"l": [{"a": [1]}]}, {"l": [{"a": [1]}, {"b": 2}]}, {"l": [{"a": []}]}, {"l": [{"a": []}, {"b": 2}]}),
        ({"l": [1]}, {"l": [0, 2]}, {"l": [0]}, {"l": [0, 2]}),  # both changed it alike and mine appended
        ({"l": [1]}, {"l": [1, 2]}, {}, {"l": [1, 2]}),
        ({"o": {"l": [1], "x": 1}}, {}, {"o": {"l": [1, 2], "x": 1}}, {"o": {"l": [1, 2], "x": 1}}),
        ({"o": {"p": {"x": 1}}}, {"o": {}}, {"o": {"p": {"x": 2}}}, {"o": {"p": {"x": 2}}}),  # its parent deleted
        ({"o": {"p": {"x": 1}}}, {"o": {"p": {}}}, {"o": {"p": {"x": 1, "y": 1}}}, {"o": {"p": {"y": 1}}}),
        ({"o": [1]}, {"o": {"x": 1}}, {"o": {"y": 1}}, {"o": {"x": 1, "y": 1}}),  # both made an object of a list
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
        ({"o": {"x": 1}}, {"o": [1]}, {"o": {"x": 2}}, ValueConflict(("o",), {"x": 1}, [1], {"x": 2})),  # type changes
        ({"o": [1]}, {"o": [1, 2]}, {"o": {"x": 2}}, ValueConflict(("o",), [1], [1, 2], {"x": 2})),
        ({"l": [1]}, {"l": [2, 1]}, {"l": [3, 1]}, ValueConflict(("l",), [1], [2, 1], [3, 1])),  # neither only appended
        ({"l": [1]}, {"l": [1, 1]}, {"l": [2]}, ValueConflict(("l",), [1], [1, 1], [2])),  # removed what mine added
        ({"l": [1, 2]}, {"l": [1]}, {"l": [1, 2, 2]}, ValueConflict(("l",), [1, 2], [1], [1, 2, 2])),
        ({"l": [1, 2, 3]}, {"l": [1]}, {"l": [1, 2]}, ValueConflict(("l",), [1, 2, 3], [1], [1, 2])),  # each removed
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
@settings(max_examples=examples(300))
@example({"l": []}, {"l": [1]}, {"l": [2]})
def test_a_merge_done_again_changes_nothing(base: Obj, mine: Obj, theirs: Obj) -> None:
    once = merge_values(base, mine, theirs).values
    assert same(merge_values(base, once, theirs).values, once)
    assert same(merge_values(theirs, once, theirs).values, once)


LISTS = [list(items) for length in range(4) for items in itertools.product((1, 2), repeat=length)]


def test_every_small_list() -> None:
    merged_cleanly = 0
    for base, mine, theirs in itertools.product(LISTS, LISTS, LISTS):
        result = merge_values({"l": base}, {"l": mine}, {"l": theirs})
        check_list(base, mine, theirs, result.values["l"], beaten=bool(result.conflicts))
        merged_cleanly += not result.conflicts
    assert merged_cleanly > 1_300


def check_list(base: list[int], mine: list[int], theirs: list[int], items: list[int], *, beaten: bool) -> None:
    """What either side added is there as often, at the end and in its order, however often the merge is done."""
    shown = f"{base}: {mine} and {theirs} became {items}"
    for side in (theirs, mine):
        if side[: len(base)] == base and not (beaten and side is mine):
            added = side[len(base) :]
            assert all(items.count(item) >= (side.count(item) if item in added else 0) for item in added), shown
            assert any(items[start : start + len(added)] == added for start in range(len(items) + 1)), shown
    if beaten:
        assert items == theirs, shown
        appended = [side for side in (mine, theirs) if side[: len(base)] == base]
        changed = [side for side in (mine, theirs) if side[: len(base)] != base]
        assert len(changed) == 2 or lost_and_added(base, changed[0], appended[0]), f"{shown}: a needless conflict"
    else:
        assert all(items.count(item) <= mine.count(item) + theirs.count(item) for item in items), shown
        for side in (mine, theirs):  # nobody's removal is undone by the other side's leaving it
            for item in base:
                if side.count(item) < base.count(item) and mine.count(item) + theirs.count(item) < 2 * base.count(item):
                    assert items.count(item) < base.count(item), shown
    again = [merge_values({"l": base}, {"l": m}, {"l": t}).values["l"] for m, t in ((items, theirs), (mine, items))]
    assert again == [items, items], f"{shown}, and done again {again}"


def lost_and_added(base: list[int], changed: list[int], appended: list[int]) -> bool:
    return any(changed.count(item) < base.count(item) for item in appended[len(base) :])


lists = st.lists(small_values, max_size=5)


@given(lists, lists, lists, st.booleans())
def test_additions_are_kept_on_whichever_side_they_are(
    base: list[Any], added: list[Any], changed: list[Any], mine: bool
) -> None:
    sides = [[*base, *added], changed] if mine else [changed, [*base, *added]]
    result = merge_values({"l": base}, *({"l": side} for side in sides))
    items = result.values["l"]
    if not result.conflicts:
        assert all(any(same(item, kept) for kept in items) for item in added)
    assert same(merge_values({"l": base}, {"l": items}, {"l": sides[1]}).values["l"], items)
    assert same(merge_values({"l": base}, {"l": sides[0]}, {"l": items}).values["l"], items)


def test_a_long_list_of_equal_items_is_merged_at_once() -> None:
    base: list[Any] = [0] * 50_000
    theirs = [1, *base, 2, *base]
    assert merged({"l": base}, {"l": [*base, *base, 3]}, {"l": theirs})["l"] == [*theirs, *base, 3]


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


def holds(there: Any, value: Any, before: Any) -> bool:
    """*value*, made from *before*, is *there*: as it is, or what is new of a list, or, of an empty object, filled."""
    if isinstance(value, list) and isinstance(there, list):
        appended = isinstance(before, list) and len(before) <= len(value) and all(map(same, before, value))
        rest = iter(there)
        return all(any(same(item, other) for other in rest) for item in value[len(before) if appended else 0 :])
    return same(there, value) or (value == {} and isinstance(there, dict))


@given(small_objects, small_objects, small_objects)
@settings(max_examples=examples(300))
@example({"l": [0]}, {"l": [0, 1]}, {"l": [0, 2]})
@example({"l": [0]}, {"l": []}, {"l": [0, 1]})
def test_no_edit_is_lost(base: Obj, mine: Obj, theirs: Obj) -> None:
    result = merge_values(base, mine, theirs)
    for path, value in leaves(theirs):
        if not same(at(base, path), value):
            assert holds(at(result.values, path), value, at(base, path)), "theirs always has the name"
    for path, value in leaves(mine):
        if same(at(base, path), value):
            continue
        beaten = [conflict for conflict in result.conflicts if path[: len(conflict.path)] == conflict.path]
        kept = beaten and same(at(beaten[0].mine, path[len(beaten[0].path) :]), value)
        assert kept or holds(at(result.values, path), value, at(base, path))
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
