"""Files on the way of ``rm -r``: programs remove an object's files one by one before they remove the object.

So a file that loses its name is kept out of sight for a moment. Is the object itself removed within that moment, its
files go to the trash with it, whole; else they go for good. Only for as long as the process: after a crash what was
unlinked is unlinked. Must not know the trash.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .workdir import STAGING

if TYPE_CHECKING:
    from .records import Node
    from .store import Store

#: Seconds after the last removal in an object in which a removal of the object itself belongs to it.
MOMENT = 30.0
#: Files that are let go in one go: each takes the disk some hundredths of a millisecond, during which all else waits.
_AT_ONCE = 100
#: Seconds that a file is kept at most while other files of the object go on being removed.
LONGEST = 300.0


@dataclass(frozen=True, slots=True)
class Parked:
    """One removed file. *place* of its bytes in the client root, '' for a placeholder; *origin* as in ``Node``."""

    node: Node
    origin: str
    place: str
    at: float


def park(store: Store, node: Node, path: str, origin: str) -> None:
    """Free the name of the file *node* and keep what it stood for; nobody is writing into it. Part of a transaction."""
    place = _move(store, node) if node.local else ""
    if place is None:
        return
    _let_go(store, node.object, store.steady_clock(), _AT_ONCE)
    kept = store.parked.setdefault(node.object, {})
    earlier = kept.pop(path, None)  # the order is that of the times
    kept[path] = Parked(node, origin, place, store.steady_clock())
    store.state.on_undo(lambda: _forget(store, node.object, path))
    if earlier is not None and earlier.place:
        store.files.remove(earlier.place)


def _forget(store: Store, key: int, path: str) -> None:
    store.parked.get(key, {}).pop(path, None)


def _move(store: Store, node: Node) -> str | None:
    """Where the bytes are now; None where they go, as on a disk so full that their room may be what is wanted."""
    source, place = store.absolute(node), f"{STAGING}/unlinked-{node.ino}"
    target, work_path = store.files.absolute(place), store.work_path(node)
    try:
        if os.lstat(source).st_size <= store.state.room.free():
            os.rename(source, target)
            store.state.on_undo(lambda: os.rename(target, source))
            return place
    except OSError:
        pass  # gone behind our back, or not even a name fits on the disk any more
    store.state.on_commit(lambda: store.files.remove(work_path))
    return None


def collect(store: Store, key: int) -> dict[str, Parked]:
    """What was removed of the object just before the object itself, by path; from now on the caller's.

    Part of a transaction: with one that comes to nothing it is as before.
    """
    while _let_go(store, key, store.steady_clock(), _AT_ONCE):
        pass
    kept = store.parked.pop(key, {})
    if kept:
        store.state.on_undo(lambda: store.parked.update({key: kept}))
    return kept


def sweep(store: Store) -> bool:
    """Let go of what was removed too long ago; True where there is more of it than was let go at once."""
    now = store.steady_clock()
    return any(_let_go(store, key, now, _AT_ONCE) for key in list(store.parked))


def places(store: Store) -> list[str]:
    """Where the kept bytes are in the client root."""
    return [one.place for files in store.parked.values() for one in files.values() if one.place]


def let_all_go(store: Store) -> None:
    """The mount ends: what was removed is removed."""
    for place in places(store):
        store.files.remove(place)
    store.parked.clear()


def _let_go(store: Store, key: int, now: float, most: int) -> bool:
    """Let go of so many files of the object at *most*; True where there are more of them."""
    kept = store.parked.get(key)
    if not kept:
        return False
    at_rest = now - next(reversed(kept.values())).at > MOMENT
    while kept:
        path, one = next(iter(kept.items()))  # the earliest
        if not at_rest and now - one.at <= LONGEST:
            return False
        if not most:
            return True
        most -= 1
        if one.place:
            store.files.remove(one.place)
        del kept[path]
    del store.parked[key]
    return False
