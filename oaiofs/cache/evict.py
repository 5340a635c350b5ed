"""Eviction: a clean local copy becomes a placeholder again, and its bytes leave the working copy.

Nothing else of the node changes: inode, mode, size, times and attributes stay, and so does what the kernel has cached
of it, the content being the same. ``core.eviction`` decides; here the facts are looked up and the copy is taken away.

The file is renamed out of the working copy within the transaction that makes it a placeholder, looked at once more
where nobody can open it by its name, and removed after the commit (``remove``, for threads: a large one takes its
time). Killed before the commit, the next start finds an agreed file missing: a placeholder. Killed after it, the bytes
in ``staging/`` go there. In neither case is anything of it taken for a file.

A power cut may forget the newest commits but not the removal: so whoever evicts has the rows on the disk that say that
a copy is agreed (``State.sync_to_disk``) before it goes, and looks again after that.

Must not know how much has to go, nor why.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Sequence

from ..core.eviction import Hold, LocalCopy, hold
from ..core.model import Right
from . import copies, pins, records, tree, xattrs
from .records import Kind, Node
from .store import Store

log = logging.getLogger(__name__)


def facts(store: Store, ino: int, *, busy: bool = False) -> LocalCopy:
    """What is known of the inode, as ``core.eviction`` asks for it. *busy*: its object is being synced."""
    node = store.find_node(ino)
    head = None if node is None else store.heads.get(node.object)
    if node is None or head is None or node.parent == records.DISPLACED:
        return _nothing(known=node is not None, removed=node is not None and head is None)
    path = store.path_in_object(node)
    row = copies.standing(store.db, node.object)
    base = records.base_file(store.db, node.object, path)
    status = _look(store, node)
    return LocalCopy(
        known=True, local=node.local, attached=store.is_attached(node, path), removed=False,
        open=store.uses.is_open(ino) or store.writers[ino] > 0 or store.unflushed[ino] > 0,
        busy=busy, dirty=node.dirty, hashed=bool(node.md5), orphan=row.orphan, rebuilt=row.rebuilt,
        readable=head.right is not Right.NONE, stored=bool(row.stamp) and node.fact.same_content(base),
        missed=(node.object, row.stamp) in store.uses.missed, pinned=pins.is_pinned(store, node.object, path),
        there=status is not None,
        unchanged=status is not None and _is_as_in_row(status, node),
        ours=status is not None and status.st_uid == os.getuid(),
    )  # fmt: skip


def _nothing(*, known: bool, removed: bool) -> LocalCopy:
    """Of what has no name in the mount nothing more is asked."""
    return LocalCopy(
        known=known, local=False, attached=False, removed=removed, open=False, busy=False, dirty=False, hashed=False,
        orphan=False, rebuilt=False, readable=False, stored=False, missed=False, pinned=False, there=False,
        unchanged=False, ours=False,
    )  # fmt: skip


def _look(store: Store, node: Node) -> os.stat_result | None:
    if not node.local or node.kind is not Kind.FILE:
        return None
    try:
        return store.files.stat(store.work_path(node))
    except OSError:
        return None


def _is_as_in_row(status: os.stat_result, node: Node) -> bool:
    size_and_time = (status.st_size, status.st_mtime_ns) == (node.size, node.mtime_ns)
    return size_and_time and stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def look(store: Store, ino: int, *, busy: bool = False) -> Node | Hold:
    """The node if its bytes may go now, else why they stay. An edit made behind our back is noted as one."""
    why = hold(facts(store, ino, busy=busy))
    node = store.find_node(ino)
    if why is None and node is not None:
        return node
    if why is Hold.CHANGED and node is not None:
        tree.mark_written(store, node)
        store.marked.discard(ino)  # nobody has it open who would note it anew
    return why or Hold.GONE


def note_attributes(store: Store, node: Node) -> None:
    """Note what no download would bring back, before the rows are synced to the disk.

    Where that can't be read ``evict`` leaves the file alone.
    """
    try:
        found = xattrs.on_file(store.absolute(node))
    except OSError as error:
        log.warning("%s stays on this machine, its attributes can't be read: %s", store.path_in_object(node), error)
        return
    xattrs.note(store, node.ino, found)


def evict(store: Store, node: Node) -> str | None:
    """Make a placeholder of a file that ``look`` let go; where its bytes are to be removed from.

    Its attributes are noted already. None where they or the bytes changed in the last moment: then everything is as
    before. Raises NoSpace, OSError.
    """
    place = store.work_path(node)
    status = store.files.stat(place)
    staged = store.files.new_staging()
    try:
        with store.files.unnoticed(place), store.state.transaction():
            store.update_node(node.ino, local=0, origin="")
            store.rename_file(place, staged)
            now = store.files.stat(staged)
            if now.st_ino != status.st_ino or not _is_as_in_row(now, node):
                raise _Overtaken
            if not _are_noted(store, node, store.files.absolute(staged)):
                raise _Overtaken
    except _Overtaken:
        return None
    return staged


def _are_noted(store: Store, node: Node, path: str) -> bool:
    try:
        return xattrs.on_file(path) == xattrs.noted(store, node.ino)
    except OSError:
        return False


class _Overtaken(Exception):
    """Somebody wrote into the file by its name in the working copy, just now."""


def remove(store: Store, places: Sequence[str]) -> None:
    """Remove what evictions took out of the working copies. Blocks: for threads."""
    for place in places:
        try:
            store.files.remove(place)
        except OSError as error:
            log.warning("%s could not be removed, the next start tries again: %s", place, error)
