"""Which paths are let in, when two names are the same, and where a path is, seen from the root folders.

Pure. Whatever passes here stays below the folder that it is joined to, as long as no part is a symbolic link: looking
at that is ``tree``'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_LONGEST_NAME = 255
_LONGEST_PATH = 3500
_REFUSED_NAMES = ("", ".", "..")
_REFUSED_CHARACTERS = frozenset("/\\\x7f") | {chr(code) for code in range(32)}

Parts = tuple[str, ...]


class BadPath(ValueError):
    """A path or name that no file may have; the text is a sentence for the user."""


def parse(path: str) -> Parts:
    """The names in *path*; one slash in front and at the end may be there or not, ``/`` is (). Raises BadPath."""
    if path in ("", "/"):
        return ()
    inner = path.removeprefix("/").removesuffix("/")
    if len(inner.encode(errors="replace")) > _LONGEST_PATH:
        raise BadPath(f"A path has at most {_LONGEST_PATH} bytes.")
    return tuple(checked_name(part) for part in inner.split("/"))


def checked_name(name: object) -> str:
    """*name* if a file may have it. Raises BadPath."""
    if not isinstance(name, str) or name in _REFUSED_NAMES or not _REFUSED_CHARACTERS.isdisjoint(name):
        raise BadPath("A name is not empty, not . or .. and holds no slash, backslash or control character.")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise BadPath("A name is text in Unicode.") from None
    if size > _LONGEST_NAME:
        raise BadPath(f"A name has at most {_LONGEST_NAME} bytes in UTF-8.")
    return name


def fold(name: str) -> str:
    """Two names are the same if they fold to the same text."""
    return name.casefold()


def numbered(name: str, number: int) -> str:
    """The name to give instead of a taken one: ``stem (1).ext``."""
    stem, dot, extension = name.rpartition(".")
    if not stem:
        stem, dot, extension = name, "", ""
    return f"{stem} ({number}){dot}{extension}"


def join(parts: Parts) -> str:
    return "/".join(parts)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path is, seen from the root folders that hold the objects.

    *object_name* and *version* are the first and the second name below the root folder, '' where the path ends before;
    *depth* is how many there are. *is_way*: a root folder, or one that leads there.
    """

    is_way: bool = False
    depth: int = 0
    object_name: str = ""
    version: str = ""


def place_of(parts: Parts, roots: Iterable[Parts]) -> Place:
    """Where *parts* are; below several root folders, the deepest of them counts."""
    folded = _folded(parts)
    below: int | None = None
    for root in map(_folded, roots):
        if root[: len(folded)] == folded:
            return Place(is_way=True)
        if folded[: len(root)] == root:
            below = max(below or 0, len(root))
    if below is None:
        return Place()
    inner = parts[below:]
    return Place(False, len(inner), inner[0], inner[1] if len(inner) > 1 else "")


def _folded(parts: Parts) -> Parts:
    return tuple(map(fold, parts))
