"""Key paths as text and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oaiofs.core import keypaths
from oaiofs.errors import UsageError


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_what_is_told_is_read_back(keys: list[str]) -> None:
    assert keypaths.parse(keypaths.key_text(keys)) == tuple(keys)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a", ("a",)), ("two.x", ("two", "x")), ('two."a.b".x', ("two", "a.b", "x")), ('""', ("",)),
        ("file-1.0", ("file-1", "0")),
    ],
)  # fmt: skip
def test_what_users_write_is_read(text: str, keys: tuple[str, ...]) -> None:
    assert keypaths.parse(text) == keys


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", '"a', 'a"b"', '"a"b', '"\\x"'])
def test_what_is_not_clear_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no key path"):
        keypaths.parse(text)
