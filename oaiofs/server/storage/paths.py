"""Which paths are let in, and when two names are the same.

Pure. Whatever passes here stays below the folder that it is joined to, as long as no part is a symbolic link: looking
at that is ``tree``'s.
"""

from __future__ import annotations

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
