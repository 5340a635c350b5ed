"""How a program sees that the mount refuses something: by errno."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest


def refused(number: int, attempt: Callable[[], object]) -> None:
    """*attempt* fails with this errno and no other."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what counts
        attempt()
    assert errno.errorcode.get(caught.value.errno or 0) == errno.errorcode[number]
