"""What the user wants to have on this machine at all times: pins in the state file, all of them in memory too.

``core.pins`` says what a pin means. Pins are this machine's own: no server hears of them. Must not know how bytes come
here, nor when.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import pins
from ..errors import NotPermitted

if TYPE_CHECKING:
    from .store import Store

_EVERYTHING = "pin_all"
_MOUNT = 0  # number of no object: has a pin where the whole mount is pinned


def load(store: Store) -> dict[int, set[str]]:
    """The rows, by object."""
    found: dict[int, set[str]] = {_MOUNT: {""}} if store.state.meta(_EVERYTHING) is not None else {}
    for key, path in store.db.execute("SELECT object, path FROM pin"):
        found.setdefault(key, set()).add(path)
    return found


def everything(store: Store) -> bool:
    """Whether the whole mount is pinned, with what will appear in it."""
    return _MOUNT in store.pins


def pin_everything(store: Store) -> None:
    store.state.set_meta(_EVERYTHING, "1")
    store.pins[_MOUNT] = {""}
    store.stirred()


def pin(store: Store, key: int, path: str) -> None:
    """Pin the file or folder, '' for the whole object; once more is nothing. Raises NotPermitted for the sidecar."""
    head = store.heads.get(key)
    if head is not None and path == head.sidecar:
        raise NotPermitted(f"{head.name}/{path} is always here")
    store.db.execute("INSERT OR IGNORE INTO pin VALUES (?, ?)", (key, path))
    store.pins.setdefault(key, set()).add(path)
    store.stirred()


def unpin(store: Store, key: int, path: str, *, alone: bool = False) -> set[str]:
    """Take the pins of *path* and, unless it *alone* is meant, of what is in it away; which ones there were."""
    own = store.pins.get(key, set())
    gone = own & {path} if alone else pins.below(own, path)
    with store.state.transaction():
        for one in gone:
            _forget(store, key, one)
    store.stirred()
    return gone


def unpin_everything(store: Store) -> int:
    """Take all pins away; how many there were."""
    number = sum(map(len, store.pins.values()))
    with store.state.transaction():
        store.state.forget_meta(_EVERYTHING)
        store.db.execute("DELETE FROM pin")
    store.pins.clear()
    store.stirred()
    return number


def _forget(store: Store, key: int, path: str) -> None:
    store.db.execute("DELETE FROM pin WHERE object = ? AND path = ?", (key, path))
    kept = store.pins.get(key, set())
    kept.discard(path)
    if not kept:
        store.pins.pop(key, None)


def has_own(store: Store, key: int, path: str) -> bool:
    """Whether just this file, folder or object is pinned, apart from what it inherits."""
    return path in store.pins.get(key, ())


def is_pinned(store: Store, key: int, path: str) -> bool:
    """Whether it is to be kept here, by its own pin or by one above it."""
    own = store.pins.get(key)
    return (own is not None and pins.nearest(own, path) is not None) or everything(store)


def holder(store: Store, key: int, path: str) -> str | None:
    """What has the pin that *path* inherits: a path in the mount, '' for the mount itself; None where nothing has."""
    above = pins.nearest(store.pins.get(key, set()), path)
    if above is not None and key in store.heads:
        return f"{store.heads[key].name}/{above}".rstrip("/")
    return "" if everything(store) else None


def renamed(store: Store, old: tuple[int, str], new: tuple[int, str], *, folder: bool) -> None:
    """A file or folder has another (object, path) from now on, and its pin goes along; part of the transaction.

    But not to the name of an editor's own file: the editor has moved the old text aside and puts the new one there.
    """
    if old[0] not in store.pins or (not folder and store.is_local_only(*new)):
        return
    for pinned, target in pins.renamed(store.pins[old[0]], old[1], new[1]).items():
        _forget(store, old[0], pinned)
        store.db.execute("INSERT OR IGNORE INTO pin VALUES (?, ?)", (new[0], target))
        store.pins.setdefault(new[0], set()).add(target)


def tidy(store: Store) -> None:
    """Forget pins of what is gone for good: not here, nor in a version, nor just being saved anew."""
    for key, own in list(store.pins.items()):
        head = store.heads.get(key)
        gone = [path for path in own if head is not None and path and store.at(head, path) is None]
        if gone and not store.record(key).dirty:
            for path in gone:
                _forget(store, key, path)
