"""``pin``, ``unpin`` and ``evict``: which files are to be on this machine, as the user says it.

    {"paths": [["notes/a.txt", "notes/a.txt"]]}     each a text, and the path in the mount that it is, or null

A path is the mount itself (''), an object (its name, or its id as the text), a folder or a file in it. All of them are
looked for before anything is done. Pins of a client root without a mount hold from the next mount on. Must not know the
socket, the command line or FUSE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from ..cache import copies, pins
from ..cache.store import Head, Store
from ..core.eviction import Hold
from ..errors import NotFound, UsageError
from ..sync.eviction import evict_all
from .naming import place_of, read_word

if TYPE_CHECKING:
    from . import Place

#: Not worth a word: they are no local copies of anything.
_SILENT = (Hold.NO_FILE, Hold.GONE)


@dataclass(frozen=True, slots=True)
class _Meant:
    """What one word means: the mount (*head* None), or *path* in an object, '' for all of it."""

    head: Head | None
    path: str

    @property
    def shown(self) -> str:
        return f"{self.head.name}/{self.path}".rstrip("/") if self.head else ""


async def pin(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Pin what *paths* mean; *missing* is how many pinned files are still to come, of all there are.

    Raises NotFound, UsageError.
    """
    store = place.store
    meant = _all_meant(store, arguments.get("paths"))
    with store.state.transaction():
        for one in meant:
            if one.head is None:
                pins.pin_everything(store)
            else:
                pins.pin(store, one.head.key, one.path)
    missing = 0
    for some in copies.missing(store):
        missing += len(some)
        await trio.lowlevel.checkpoint()
    return {"pinned": [one.shown for one in meant], "missing": missing, "mounted": place.mounted}


async def unpin(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Take away the pins of what *paths* mean and of what is in it.

    *unpinned* tells how many there were for each; *held* those that stay pinned all the same, by what is above them.
    Raises NotFound, UsageError.
    """
    await trio.lowlevel.checkpoint()
    store = place.store
    unpinned, held = [], []
    for one in _all_meant(store, arguments.get("paths")):
        if one.head is None:
            unpinned.append({"path": "", "pins": pins.unpin_everything(store)})
            continue
        gone = pins.unpin(store, one.head.key, one.path)
        unpinned.append({"path": one.shown, "pins": len(gone)})
        by = pins.holder(store, one.head.key, one.path)
        if by is not None:
            held.append({"path": one.shown, "by": by})
    return {"unpinned": unpinned, "held": held}


async def evict(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Evict the local copies of what *paths* mean that may go: *files* and *bytes* that went, *away* already.

    *kept* tells how many stay for each reason. Raises NotFound, UsageError, NoSpace.
    """
    store = place.store
    inos: dict[int, None] = {}
    for one in _all_meant(store, arguments.get("paths")):
        for top in _tops(store, one):
            inos.update(dict.fromkeys(copies.files_below(store, top)))
            await trio.lowlevel.checkpoint()
    done = await evict_all(store, inos, busy=place.busy, announce=place.announce)
    away = done.kept.pop(Hold.NOT_HERE, 0)
    most_first = sorted(done.kept.items(), key=lambda item: (-item[1], item[0].value))
    kept = {why.value: number for why, number in most_first if why not in _SILENT}
    return {"files": done.files, "bytes": done.bytes, "away": away, "kept": kept}


def _tops(store: Store, meant: _Meant) -> list[int]:
    """Inodes of the objects, the folder or the file that are meant."""
    if meant.head is None:
        return list(store.by_ino)
    if not meant.path:
        return [meant.head.ino]
    node = store.at(meant.head, meant.path)
    return [] if node is None else [node.ino]  # gone since it was looked for


def _all_meant(store: Store, words: Any) -> list[_Meant]:
    if not isinstance(words, list) or not words:
        raise UsageError("say which files, folders or objects are meant")
    return [_meant(store, *read_word(word)) for word in words]


def _meant(store: Store, text: str, inside: str | None) -> _Meant:
    if inside == "":
        return _Meant(None, "")
    found = place_of(store, text, inside, lambda head, path: store.at(head, path) is not None)
    if found is None:
        raise NotFound(f"{text} is no object, file or folder here")
    return _Meant(*found)


VERBS = {"pin": pin, "unpin": unpin, "evict": evict}
