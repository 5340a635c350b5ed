"""Paths on storage hosts: relative to the account's root folder, ``a/b/c``. Pure."""

from __future__ import annotations

import re

from .. import errors

#: Controls, backslash and half characters: no host takes them.
_REFUSED = re.compile("[\x00-\x1f\x7f\\\\\ud800-\udfff]")
#: Characters; beyond the longest id, a stamp and the longest path of an attached file.
_LONGEST = 8000


def is_storage_path(path: str) -> bool:
    """Whether *path* is relative, without empty or dotted parts, of characters that hosts take, and not endless."""
    if len(path) > _LONGEST:
        return False
    return _REFUSED.search(path) is None and {"", ".", ".."}.isdisjoint(path.split("/"))


def checked_path(path: str) -> str:
    """*path* itself. Raises InvalidName, so that nothing outside of the root folder, nor that itself, is ever named."""
    if not is_storage_path(path):
        raise errors.InvalidName(f"{path[:200]!r} can't be a path on a storage host: rename it.")
    return path


def parent(path: str) -> str:
    """The folder that *path* is in; '' at the top."""
    return path.rpartition("/")[0]
