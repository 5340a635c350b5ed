"""Literals as the existing client writes them are read back; nothing else is, and nothing is evaluated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core.literals import MOST_DEPTH, parse

LONG = 1 << 20
#: What says why: Python's own words too.
SENTENCE = r"\w+ \w+"

atoms = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
keys = st.none() | st.booleans() | st.integers() | st.text() | st.binary()
literals = st.recursive(
    atoms,
    lambda below: (
        st.lists(below, max_size=4)
        | st.lists(below, max_size=4).map(tuple)
        | st.dictionaries(keys, below, max_size=4)
    ),
    max_leaves=20,
)


@given(literals)
def test_whatever_repr_makes_is_read_back(value: Any) -> None:
    assert repr(parse(repr(value), LONG)) == repr(value)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text, LONG)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "x", "f()", "__import__('os').system('id')", "[1, x]", "1 + 1", "1j", "- 1", "--1", "{1, 2}", "{1: }",
        "{1}", "{[]: 1}", "{(1,): 1}", "[1 2]", "[1,,2]", "[,]", "[", "(", "{", "{'a'", "{'a':", "]", "[1)", "'a' 'b'",
        "f'{1}'", "r'a'", "'a", '"a\n"', "'\\x'", "b'ü'", "'\\N{x}'", "Nonesuch", "Falsehood", "1_000", "0x10", "01a",
        "[1] # comment", "lambda: 0", "[*[1]]", "{**{}}", "1 if 1 else 2", "[0 for x in [1]]", "a[0]", "[0][0]", "...",
        "(1)[0]", "1" * 5000, "\0", "'a'\0",
    ],
)  # fmt: skip
def test_what_is_no_literal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=SENTENCE):
        parse(text, LONG)


@pytest.mark.parametrize("opening", ["[", "(", "{0:", "[{1:", "-", "+", "not ", "~", "a(", "a[", "lambda:"])
def test_endless_nesting_ends(opening: str) -> None:
    with pytest.raises(ValueError, match=SENTENCE):
        parse(opening * 200_000, 1 << 30)


def test_the_bounds() -> None:
    assert parse("[" * MOST_DEPTH + "]" * MOST_DEPTH, LONG)
    with pytest.raises(ValueError, match="deeper"):
        parse("[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1), LONG)
    assert parse("'abc'", 5) == "abc"
    with pytest.raises(ValueError, match="longer than 4"):
        parse("'abc'", 4)
