"""What of the files is on this machine and what is not: queries over the rows, and sizes.

The bytes that copies take are counted as whole blocks of the sizes in their rows, so that no file need be looked at; of
files being changed the rows know no size, and the disk is asked. A sparse file counts as if it were none, which it is
once it was evicted and comes back. Must not know what is done about any of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..core import pins as pinned_paths
from . import pins
from .records import Node
from .state import State
from .store import Store

_BLOCK = 4096
_AT_ONCE = 100


#: inode, size and whether it is being changed, of the files that an inode is or has below it.
_FILES_BELOW = (
    "WITH RECURSIVE below(ino) AS (SELECT ? UNION ALL "
    "SELECT child.ino FROM node child JOIN below ON child.parent = below.ino WHERE child.parent > 0) "
    "SELECT node.ino, node.size, node.local AND node.dirty FROM below JOIN node ON node.ino = below.ino "
    "WHERE node.kind = 0"
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What of an object tells whether its agreed version can be relied on: *stamp* '' where there is none."""

    stamp: str
    orphan: bool
    rebuilt: bool


def standing(db: sqlite3.Connection, key: int) -> Standing:
    """Not by the whole record: asked for each file."""
    row = db.execute("SELECT base_stamp, orphan, rebuilt FROM object WHERE key = ?", (key,)).fetchone()
    return Standing(row[0] or "", bool(row[1]), bool(row[2]))


def least_recently_used(store: Store) -> Iterator[list[int]]:
    """Inodes of the clean local files with something in them, those not used for longest first, some at a time.

    Asked for anew each time: rows may change in between. Of what was used since ``Uses.flush`` the rows do not know:
    that comes last.
    """
    newer: dict[int, int] = {}
    query = (
        "SELECT used, ino FROM node WHERE local = 1 AND kind = 0 AND dirty = 0 AND size > 0 AND (used, ino) > (?, ?) "
        "ORDER BY used, ino LIMIT ?"
    )
    last = (-1, -1)
    while True:
        rows = store.db.execute(query, (*last, _AT_ONCE)).fetchall()
        noted = {ino: store.uses.noted(ino) for _, ino in rows}
        newer |= {ino: at for ino, at in noted.items() if at is not None}
        yield [ino for ino in noted if ino not in newer]
        if len(rows) < _AT_ONCE:
            yield sorted(newer, key=lambda ino: (newer[ino], ino))
            return
        last = rows[-1]


def missing(store: Store) -> Iterator[list[Node]]:
    """The pinned files that are not here, a few of them (or none) at a time: programs may go on in between."""
    query = "SELECT ino FROM node WHERE object = ? AND local = 0 AND kind = 0 AND ino > ? ORDER BY ino LIMIT ?"
    for key in list(store.heads) if pins.everything(store) else list(store.pins):
        last = 0
        while key in store.heads and store.heads[key].right.may_read:
            far = [row[0] for row in store.db.execute(query, (key, last, _AT_ONCE))]
            nodes = [node for ino in far if (node := store.find_node(ino)) is not None]
            yield [node for node in nodes if pins.is_pinned(store, key, store.path_in_object(node))]
            if len(far) < _AT_ONCE:
                break
            last = far[-1]


# -- sizes -------------------------------------------------------------------------------------------------------------

_CHANGING = "SELECT n.ino, n.object, n.size FROM node n WHERE n.local = 1 AND n.dirty = 1 AND n.kind = 0"
_SIZES = (
    "SELECT n.object, sum(n.size), sum(n.size * n.local), count(*), sum(n.local) "
    "FROM node n JOIN object o ON o.key = n.object "
    "WHERE n.kind = 0 AND n.parent > 0 AND NOT (n.parent = o.ino AND n.name = o.sidecar)"
)


def clean_bytes(state: State) -> tuple[int, list[int]]:
    """Bytes on the disk of all local copies that did not change, and the inodes of the others. Blocks: for threads.

    Sidecars are not counted: they are always here.
    """
    sidecar = "SELECT 1 FROM object WHERE object.ino = node.parent AND object.sidecar = node.name"
    where = f"FROM node WHERE local = 1 AND kind = 0 AND NOT EXISTS ({sidecar})"
    with state.reading() as db:
        total = f"SELECT coalesce(sum((size + {_BLOCK - 1}) / {_BLOCK}), 0) * {_BLOCK} {where} AND dirty = 0"
        [[kept]] = db.execute(total).fetchall()
        return int(kept), [row[0] for row in db.execute(f"SELECT ino {where} AND dirty = 1")]


def bytes_on_disk(store: Store, inos: list[int]) -> int:
    """Bytes that files take on the disk, looked at one by one."""
    total = 0
    for ino in inos:
        node = store.find_node(ino)
        if node is not None and node.local:
            try:
                total += store.files.stat(store.work_path(node)).st_blocks * 512
            except OSError:
                continue  # gone by hand, or with its object
    return total


def on_disk(size: int) -> int:
    """What a file of *size* bytes is counted as."""
    return -(-size // _BLOCK) * _BLOCK


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of an object's files but its sidecar, in bytes: all of them, those that are here, those that are pinned.

    *files* is how many there are, *here* how many of them have their bytes here.
    """

    total: int = 0
    local: int = 0
    pinned: int = 0
    files: int = 0
    here: int = 0


def sizes(store: Store, key: int | None = None) -> Mapping[int, Sizes]:
    """By object, of all that have files or of one. Files being changed have the size that the disk has just now."""
    which, arguments = ("", ()) if key is None else (" AND n.object = ?", (key,))
    growth: dict[int, int] = {}
    for ino, of, size in store.db.execute(f"{_CHANGING}{which}", arguments).fetchall():
        node = store.find_node(ino)
        if node is not None and not store.is_sidecar(node):
            growth[of] = growth.get(of, 0) + _size(store, node) - size
    found = {}
    for of, total, local, files, here in store.db.execute(f"{_SIZES}{which} GROUP BY n.object", arguments).fetchall():
        more = growth.get(of, 0)
        found[of] = Sizes(total + more, local + more, _pinned(store, of, total + more), files, here)
    return found


def _size(store: Store, node: Node) -> int:
    try:
        return store.files.stat(store.work_path(node)).st_size
    except OSError:
        return node.size


def _pinned(store: Store, key: int, total: int) -> int:
    if pins.is_pinned(store, key, ""):
        return total
    head, own = store.heads.get(key), store.pins.get(key, set())
    tops = [path for path in own if pinned_paths.nearest(own - {path}, path) is None]
    if head is None or not tops:
        return 0
    nodes = [node for path in tops if (node := store.at(head, path)) is not None]
    rows = [row for node in nodes for row in store.db.execute(_FILES_BELOW, (node.ino,)).fetchall()]
    return sum(_size(store, store.node(ino)) if changing else size for ino, size, changing in rows)


def files_below(store: Store, ino: int) -> list[int]:
    """Inodes of all files in a directory and below it, or of just the file that *ino* is."""
    return [row[0] for row in store.db.execute(_FILES_BELOW, (ino,))]
