"""Who may do what with stored files: every right × operation × depth × state of object and version."""

from __future__ import annotations

import itertools

import pytest

from oaiofs.core.model import Right
from oaiofs.core.storedfiles import STRANGER, Doing, Level, Standing, Verdict, on_the_way, outside, verdict

#: What is to come of READ, MAKE_FOLDER, WRITE and REMOVE, by letters.
LETTERS = {
    "a": Verdict.ALLOWED,
    "h": Verdict.HIDDEN,
    "o": Verdict.READ_ONLY,
    "s": Verdict.STAYS,
    "d": Verdict.DELETED,
    "y": Verdict.HISTORY,
}
#: By state: per right (C D U r) and level (object, version, inside), the four letters.
TABLE = {
    # a version that was never announced; of the object's folder that says that nothing of it was
    "registered, fresh": {
        "C": ("aaaa", "aaaa", "aaaa"),
        "D": ("aaaa", "aaaa", "aaaa"),
        "U": ("aaaa", "aaaa", "aaaa"),
        "r": ("aooo", "aooo", "aooo"),
    },
    "registered, announced": {
        "C": ("aaya", "ayya", "ayyy"),
        "D": ("aaya", "ayya", "ayyy"),
        "U": ("aays", "ayys", "ayyy"),
        "r": ("aooo", "aooo", "aooo"),
    },
    "registered, own newest": {
        "C": ("aaya", "ayya", "aaaa"),
        "D": ("aaya", "ayya", "aaaa"),
        "U": ("aays", "ayys", "aaaa"),
        "r": ("aooo", "aooo", "aooo"),
    },
    "deleted, fresh": {
        "C": ("aaaa", "aaaa", "aaaa"),
        "D": ("aaaa", "aaaa", "aaaa"),
        "U": ("addd", "addd", "addd"),
        "r": ("addd", "addd", "addd"),
    },
    "deleted, announced": {
        "C": ("aaya", "ayya", "ayyy"),
        "D": ("aaya", "ayya", "ayyy"),
        "U": ("addd", "addd", "addd"),
        "r": ("addd", "addd", "addd"),
    },
}
CASES = [(state, right, level) for state, right, level in itertools.product(TABLE, "CDUr", Level)]


def standing(state: str, right: Right) -> Standing:
    object_state, _, version_state = state.partition(", ")
    newest = version_state == "own newest"
    return Standing(right, object_state == "registered", version_state == "announced" or newest, newest)


@pytest.mark.parametrize(("state", "right", "level"), CASES)
def test_table(state: str, right: str, level: Level) -> None:
    letters = TABLE[state][right][level - 1]
    found = [verdict(doing, level, standing(state, Right(right))) for doing in Doing]
    assert found == [LETTERS[letter] for letter in letters]


def test_all_is_hidden_from_strangers() -> None:
    strangers = {STRANGER, *(standing(state, Right.NONE) for state in TABLE)}
    assert len(strangers) == 5
    for one, doing, level in itertools.product(strangers, Doing, Level):
        assert verdict(doing, level, one) is Verdict.HIDDEN


def test_a_larger_right_allows_all_that_a_smaller_one_does() -> None:
    order = [Right.NONE, Right.READ, Right.UPDATE, Right.DELETE, Right.CREATE]
    for state, doing, level in itertools.product(TABLE, Doing, Level):
        allowed = [verdict(doing, level, standing(state, right)) is Verdict.ALLOWED for right in order]
        assert allowed == sorted(allowed)


def test_nobody_writes_what_others_announced() -> None:
    for state, right, level in itertools.product(TABLE, Right, Level):
        if state.endswith("announced"):
            assert verdict(Doing.WRITE, level, standing(state, right)) is not Verdict.ALLOWED


def test_outside_of_objects() -> None:
    assert [on_the_way(doing) for doing in Doing] == [Verdict.ALLOWED, Verdict.ALLOWED, Verdict.WAY, Verdict.WAY]
    hidden = Verdict.HIDDEN
    assert [outside(doing) for doing in Doing] == [hidden, Verdict.OUTSIDE, Verdict.OUTSIDE, hidden]


def test_levels_and_sentences() -> None:
    assert [Level.of(depth) for depth in (1, 2, 3, 4, 99)] == [1, 2, 3, 3, 3]
    for one in Verdict:
        assert (one is Verdict.ALLOWED) is not one.value.endswith(".")
