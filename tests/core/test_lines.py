"""Merging texts by lines: every line that either side added is there, and where that is not sure there is no merge."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaiofs.core.lines import MAX_BYTES, MAX_LINES, is_text, merge_lines


def merged(base: str, mine: str, theirs: str) -> str | None:
    """The merge of texts whose letters are lines; it does not depend on who is who."""
    result = merge_lines(*(_text(letters) for letters in (base, mine, theirs)))
    assert merge_lines(*(_text(letters) for letters in (base, theirs, mine))) == result
    return None if result is None else result.decode().replace("\n", "")


def _text(letters: str) -> bytes:
    return "".join(f"{letter}\n" for letter in letters).encode()


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "result"),
    [
        ("abc", "Abc", "abC", "AbC"),
        ("abcde", "xabcde", "abcdey", "xabcdey"),
        ("abcde", "bcde", "abcd", "bcd"),
        ("abcde", "aXbcde", "abcdYe", "aXbcdYe"),
        ("abcde", "aXcde", "abcYe", "aXcYe"),
        ("abcdefg", "abxcdefg", "abxcdeyfg", "abxcdeyfg"),  # both made one of them
        ("abc", "abcX", "abcX", "abcX"),
        ("abcde", "ace", "ace", "ace"),
        ("", "x", "x", "x"),
        ("a-b-c", "A-b-c", "a-N-b-c", "A-N-b-c"),  # a paragraph edited, another one added behind it
        ("aaaa", "aaaaa", "aaaaa", "aaaaa"),
    ],
)
def test_what_merges(base: str, mine: str, theirs: str, result: str) -> None:
    assert merged(base, mine, theirs) == result


@pytest.mark.parametrize(
    ("base", "mine", "theirs"),
    [
        ("abc", "aXc", "aYc"),
        ("abc", "aXc", "ac"),
        ("abc", "Xbc", "aYc"),  # adjacent: nothing unchanged in between
        ("abc", "aXbc", "aYbc"),
        ("abc", "abcX", "abcY"),
        ("abc", "abcX", "abcXY"),
        ("abc", "aXbc", "aYc"),
        ("", "x", "y"),
        ("abc", "", "aXbc"),
        ("aaaa", "aaaaa", "aXaa"),  # before or after X?
        ("aaaa", "aaa", "aaXaa"),
        ("ababab", "abababab", "abaXbab"),
        ("abbbbbbbcbaa", "abbbbabcbcbaaa", "abbbbbbbcbaaa"),  # one more a each: the same one?
        ("ab", "ahabj", "igahabj"),  # theirs has mine already, but could be taken for another change
        ("gcd", "gcdkd", "gcghhdkd"),
    ],
)
def test_what_does_not(base: str, mine: str, theirs: str) -> None:
    assert merged(base, mine, theirs) is None


def test_line_ends_stay_as_they_are() -> None:
    assert merge_lines(b"a\r\nb\r\nc\r\n", b"A\r\nb\r\nc\r\n", b"a\r\nb\r\nC\r\n") == b"A\r\nb\r\nC\r\n"
    assert merge_lines(b"a\nb\nc", b"A\nb\nc", b"a\nb\nC") == b"A\nb\nC"
    assert merge_lines(b"a\nb\nc", b"A\nb\nc", b"a\nb\nc\n") == b"A\nb\nc\n"
    assert merge_lines(b"a\nb\nc\n", b"A\nb\nc\n", b"a\nb\nc") == b"A\nb\nc"
    assert merge_lines(b"a\nb\nc\n", b"a\r\nb\r\nc\r\n", b"a\nb\nC\n") is None
    assert merge_lines(b"a\nb\nc", b"a\nb\nc\nd", b"a\nb\nc\n") is None, "what follows a line without an end"
    assert merge_lines("ä\nb\nc\n".encode(), "ö\nb\nc\n".encode(), "ä\nb\n日\n".encode()) == "ö\nb\n日\n".encode()


@pytest.mark.parametrize(
    "data",
    [b"a\0b\n", b"\xff\n", b"\xc3", "ä".encode("utf-16"), b"x" * (MAX_BYTES + 1), b"\n" * MAX_LINES],
    ids=lambda data: repr(data[:8]),
)
def test_what_is_no_text_is_never_merged(data: bytes) -> None:
    assert not is_text(data)
    text = b"a\nb\nc\n"
    assert merge_lines(data, text, text + b"d\n") is None
    assert merge_lines(text, data, text) is None
    assert merge_lines(text, text, data) is None


def test_texts_at_the_limits_are_merged() -> None:
    base = [b"%d\n" % number for number in range(MAX_LINES - 2)]
    mine, theirs = b"".join([b"x\n", *base]), b"".join([*base, b"y\n"])
    assert merge_lines(b"".join(base), mine, theirs) == b"".join([b"x\n", *base, b"y\n"])
    assert is_text(b"x" * MAX_BYTES)


# ------------------------------------------------------------------------------------------------------- laws

#: Few letters, so that lines repeat and changes meet; and many, as texts have them.
few = st.text("ab", max_size=8)
some = st.text("abcdefghijkl", max_size=12)
three = st.one_of(st.tuples(few, few, few), st.tuples(some, some, some))


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, str, str]:
    """A text whose lines are different but for empty ones, and two edits of it that add lines not seen before."""
    length = draw(st.integers(0, 14))
    base = "".join("-" if draw(st.integers(0, 3)) == 0 else chr(ord("a") + number) for number in range(length))
    sides = []
    for new in ("ABCDEF", "UVWXYZ"):
        side = base
        for letter in new[: draw(st.integers(1, 3))]:
            start = draw(st.integers(0, len(side)))
            side = side[:start] + letter * draw(st.integers(0, 1)) + side[start + draw(st.integers(0, 2)) :]
        sides.append(side)
    return base, sides[0], sides[1]


@given(three | edits())
def test_one_side_alone_is_followed_to_the_letter(texts: tuple[str, str, str]) -> None:
    base, one, _ = texts
    assert merged(base, one, base) == merged(base, base, one) == merged(base, one, one) == one


@given(three | edits())
@settings(max_examples=500)
def test_nothing_is_lost_and_nothing_comes_twice(texts: tuple[str, str, str]) -> None:
    base, mine, theirs = texts
    result = merged(base, mine, theirs)
    if result is None:
        return
    for line in {*base, *mine, *theirs}:
        was, here, there = base.count(line), mine.count(line), theirs.count(line)
        added = max(here - was, 0), max(there - was, 0)
        removed = max(was - here, 0), max(was - there, 0)
        assert result.count(line) >= was - sum(removed) + max(added), "a line is lost"
        assert result.count(line) <= was + sum(added) - max(removed), "a line is back, or there once more"
    assert merged(base, result, theirs) in (None, result), "done again it adds nothing"
    assert merged(base, mine, result) in (None, result)
    assert merged(theirs, result, theirs) == result


@given(edits())
@settings(max_examples=300)
def test_lines_stand_in_the_order_of_their_side(texts: tuple[str, str, str]) -> None:
    base, mine, theirs = texts
    result = merged(base, mine, theirs)
    if result is not None:
        for side in (mine, theirs):
            new = [line for line in side if line not in base]
            assert [line for line in result if line in new] == new


@given(texts=edits())
@settings(max_examples=150)
def test_git_merges_alike(texts: tuple[str, str, str], tmp_path_factory: pytest.TempPathFactory) -> None:
    result = merged(*texts)
    if result is not None:
        assert git_merge(tmp_path_factory.getbasetemp(), *texts) in (result, None)


def git_merge(folder: Path, base: str, mine: str, theirs: str) -> str | None:
    for name, letters in (("base", base), ("mine", mine), ("theirs", theirs)):
        (folder / name).write_bytes(_text(letters))
    command = ["git", "merge-file", "-p", *(str(folder / name) for name in ("mine", "base", "theirs"))]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout.decode().replace("\n", "") if done.returncode == 0 else None


def test_most_of_what_git_merges_is_merged(tmp_path: Path) -> None:
    dice = random.Random(7)
    git, ours = 0, 0
    base = "abc-defgh-ijk-lmno-pqrs"
    for _ in range(60):
        here, there = dice.sample(range(len(base)), 2)
        mine, theirs = base[:here] + "X" + base[here + 1 :], base[:there] + "Y" + base[there:]
        if git_merge(tmp_path, base, mine, theirs) is not None:
            git += 1
            ours += merged(base, mine, theirs) is not None
    assert ours == git > 40


# ------------------------------------------------------------------------------------------------ hostile texts


def hostile() -> dict[str, tuple[list[bytes], list[bytes], list[bytes]]]:
    """Texts at the limits on which a naive difference takes minutes."""
    dice = random.Random(1)
    many = MAX_LINES - 100
    numbers = [b"%d\n" % number for number in range(many)]
    shuffled = dice.sample(numbers, many)
    coins = [[dice.choice([b"a\n", b"b\n"]) for _ in range(many)] for _ in range(3)]
    return {
        "equal lines": ([b"a\n"] * many, [b"b\n", *[b"a\n"] * (many - 5)], [*[b"a\n"] * (many - 3), b"c\n"]),
        "two kinds of lines": (coins[0], coins[1], coins[2]),
        "another order": (numbers, shuffled, numbers[::-1]),
        "changes everywhere": (
            numbers,
            [b"x" + line if number % 4 == 0 else line for number, line in enumerate(numbers)],
            [b"y" + line if number % 4 == 2 else line for number, line in enumerate(numbers)],
        ),
    }


@pytest.mark.parametrize("name", hostile())
def test_hostile_texts_come_to_an_end(name: str) -> None:
    base, mine, theirs = map(b"".join, hostile()[name])
    result = merge_lines(base, mine, theirs)
    assert (result is not None) == (name in ("changes everywhere", "equal lines"))
