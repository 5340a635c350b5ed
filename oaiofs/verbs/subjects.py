"""What a command about versions means by a word: an object, something in it, its values; and which version.

A word is [text, path in the mount or null]: an object, or a file or folder of it, which need not be there any more; its
sidecar stands for its values; a path in ``.versions`` for that version too. Must not know what is then done.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..cache.store import Head, Store
from ..core import history, names
from ..core.history import StoredVersion
from ..core.model import FileSet, Values
from ..errors import NotFound, NotMounted
from ..transfer.history import History
from .naming import place_of, read_word

if TYPE_CHECKING:
    from . import Place


@dataclass(frozen=True, slots=True)
class Subject:
    """What is meant: the object, the *path* in it ('': all), or its *values* alone; *stamp* where the word has one."""

    head: Head
    path: str = ""
    values: bool = False
    stamp: str = ""

    @property
    def whole(self) -> bool:
        return not self.path and not self.values

    def files(self, files: FileSet) -> FileSet:
        return {} if self.values else history.below(files, self.path)

    def values_of(self, values: Values | None) -> Values | None:
        return None if self.path else values


def source_of(place: Place) -> History:
    """Who knows old versions. Raises NotMounted where nobody does."""
    if place.history is None:
        raise NotMounted("old versions are on the storage host, and it can't be asked here: mount it first")
    return place.history


def subject_of(store: Store, word: object) -> Subject:
    """What *word* means. Raises NotFound, UsageError."""
    text, inside = read_word(word)
    found = place_of(store, text, inside)
    if found is None:
        raise NotFound(f"{text} is no object, nor a path in one")
    head, rest = found
    return _in_object(head, os.path.normpath(rest)) if rest else Subject(head)


def _in_object(head: Head, path: str) -> Subject:
    stamp = ""
    if path.split("/")[0] == names.VERSIONS_NAME:
        _, _, rest = path.partition("/")
        stamp, _, path = rest.partition("/")
    path = "" if path == "." else path
    is_values = path == head.sidecar
    return Subject(head, "" if is_values else path, is_values, stamp)


async def version_of(source: History, key: int, word: str) -> StoredVersion:
    """The version whose stamp begins with *word*. Raises NotFound, UsageError, and what asking may raise."""
    known = await source.versions(key)
    version = await source.version(key, history.choose(word, [one.stamp for one in known]))
    if key not in source.store.heads:
        raise NotFound("the object was removed meanwhile")
    return version
