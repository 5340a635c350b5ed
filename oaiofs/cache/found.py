"""Bytes in the working copies that no row speaks of: taken in under their name, or set aside under a free one.

A kill leaves them, a full disk that undid a transaction, or somebody who put a file there while oaiofs was gone. They
may be the only copy of an edit: whatever needs their name, they are neither overwritten nor removed.

Must not know who needs the name, nor the servers.
"""

from __future__ import annotations

import logging
import os
import stat
from datetime import UTC, datetime

from ..core import names, stamps
from . import records
from .records import ConflictRecord, Kind, Node
from .store import Head, Store
from .workdir import OBJECTS, is_text, printable

log = logging.getLogger(__name__)


def take_in(store: Store, key: int, parent: int, path: str) -> Node | None:
    """Make what stands at the absolute *path*, and all below it, nodes of the object in the directory *parent*.

    Left alone, with a word in the log: what is neither file, folder nor link, what has a name that is no text, and what
    can't be looked at. None where that is *path* itself. Noting the change is the caller's.
    """
    top = _take_in_one(store, key, parent, path)
    pending = [(top, path)]
    while pending:
        node, place = pending.pop()
        if node is None or node.kind is not Kind.DIRECTORY:
            continue
        for name in _names_in(place):
            below = f"{place}/{name}"
            pending.append((_take_in_one(store, key, node.ino, below), below))
    return top


def _names_in(folder: str) -> list[str]:
    """The names in the absolute *folder*; none, with a word in the log, where it can't be looked into."""
    try:
        return os.listdir(folder)
    except OSError as error:
        log.warning("what is in %s is left alone: %s", folder, error.strerror)
        return []


def _take_in_one(store: Store, key: int, parent: int, path: str) -> Node | None:
    name = os.path.basename(path)
    if not is_text(name):
        why = "its name is no UTF-8, and other devices could not be told of it"
        log.warning("%s is left alone: %s", printable(path), why)
        return None
    try:
        status = os.lstat(path)
    except OSError as error:
        log.warning("%s is left alone: %s", path, error.strerror)
        return None
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        log.warning("%s is neither file nor folder: left alone", path)
        return None
    node = Node(
        store.new_ino(), key, parent, name, kind, stat.S_IMODE(status.st_mode), local=True,
        dirty=kind is Kind.FILE, size=0, md5="", mtime_ns=0,
    )  # fmt: skip
    store.add_node(node)
    return node


_KINDS = {stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.LINK}


def set_aside(store: Store, path: str) -> tuple[int, str] | None:
    """Free the name *path* (relative to the client root), of which no row or another row speaks.

    What stands there goes on as a conflict copy next to it; an empty file or folder holds no edit and is removed.
    Returns the (parent inode, name) that is new, if any. One with nothing there is success.
    """
    absolute = store.files.absolute(path)
    if not os.path.lexists(absolute) or _removed_empty(absolute):
        return None
    folder, name = os.path.split(path)
    head, parent = _place_of(store, folder)
    taken = set(os.listdir(store.files.absolute(folder)))
    if parent is not None:
        taken |= {node.name for node in store.children(parent)}
    device_id = store.state.meta("device_id") or "unknown"
    free = names.conflict_name(name, device_id, stamps.make(datetime.fromtimestamp(store.wall_clock(), UTC)), taken)
    log.warning("%s was found where something else has to be: it is kept as %s", absolute, free)
    if head is None or parent is None:
        os.rename(absolute, store.files.absolute(f"{folder}/{free}"))
        return None
    with store.state.transaction():
        os.rename(absolute, store.files.absolute(f"{folder}/{free}"))
        _note(store, head, parent, name, take_in(store, head.key, parent, store.files.absolute(f"{folder}/{free}")))
    return parent, free


def _removed_empty(absolute: str) -> bool:
    status = os.lstat(absolute)
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        os.unlink(absolute)
        return True
    if stat.S_ISDIR(status.st_mode) and not os.listdir(absolute):
        os.rmdir(absolute)
        return True
    return False


def _place_of(store: Store, folder: str) -> tuple[Head | None, int | None]:
    """The object that the folder (relative to the client root) belongs to, and its inode in the mount."""
    top, _, below = folder.partition("/")
    parts = below.split("/")
    head = next((one for one in store.heads.values() if top == OBJECTS and one.folder == parts[0]), None)
    ino = None if head is None else head.ino
    for name in parts[1:]:
        node = None if ino is None else store.child(ino, name)
        ino = None if node is None else node.ino
    return head, ino


def _note(store: Store, head: Head, parent: int, name: str, node: Node | None) -> None:
    """The object has something new, for all to see."""
    if node is None:
        return
    copy = store.path_in_object(node)
    records.add_conflict(
        store.db,
        ConflictRecord(
            object=head.key, kind="file", path=copy.removesuffix(node.name) + name, copy=copy, base="", mine="",
            theirs="", stamp=store.record(head.key).base_stamp or "", at=store.wall_clock(),
        ),
    )  # fmt: skip
    store.touch(head.key)
