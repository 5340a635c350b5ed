"""Bringing back what is in the trash. State found -> what the entry becomes:

| the entry | here | it becomes |
| --- | --- | --- |
| object | its row, removed, not told to the server yet | what it was: the removal is taken back |
| object | no row, whether or not the server has it still | a new object with the old values and files |
| object | the same object again, resurrected or subscribed anew | likewise, beside that one |
| object without a readable note | - | a new object of the files and the sidecar that are there |
| files | their object | files of it again, under a name beside where theirs is taken: edits of this device |
| files | not their object | a new object of them |

A new object gets a new id with its next push: the old one may still be somebody's, and on a server that deleted it it
is no more. Files whose bytes are not here are placeholders of what the storage host has of the old versions.

Every change is one transaction with the renames as intents: after a kill the entry is in the trash or is back, whole.
Rows of what came back are made by the very comparison that mends a client root after a crash: the disk is right. Must
not know the servers.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from ..core import names
from ..core.model import NAME_KEY, Right
from ..core.trash import What, unknown
from ..errors import AccessDenied, NotFound, StateError
from . import objects, records, trash, tree, wipes
from .records import Kind, Node, ObjectRecord
from .recover import compare
from .store import ROOT_INO, Head, Store
from .trash import Entry
from .workdir import OBJECTS, TRASH


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes a new object, and the storage host of one whose note tells none."""

    username: str
    device_id: str
    app_id: str
    csh_id: str


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of an entry: the object it is (in), whether that is a new one, and the paths of restored files.

    *names* now mean something else, as (parent inode, name).
    """

    object: str
    anew: bool
    paths: tuple[str, ...]
    names: frozenset[tuple[int, str]]


def restore(store: Store, entry: Entry, files: list[str], maker: Maker) -> Restored:
    """Bring the entry back; *files* are those below its folder, as ``trash.files_below`` tells.

    Raises NotFound when it is not in the trash any more, AccessDenied where its object may only be read, StateError
    where something stands in its way.
    """
    if trash.is_stale(store, entry) or not _is_there(store, entry):
        raise NotFound(f"{entry.note.name} is not in the trash any more")
    record = records.object_by(store.db, "folder", entry.key)
    if record is not None and record.removed:
        return _take_back(store, entry, record)
    owner = store.record_of_id(entry.note.oaio_id) if entry.note.oaio_id else None
    if entry.note.what is What.FILES and owner is not None and not owner.removed:
        return _Files(store, entry, store.heads[owner.key]).restore(files)
    return _anew(store, entry, maker)


def _is_there(store: Store, entry: Entry) -> bool:
    place = f"{TRASH}/{entry.key}"
    return store.files.inode(place) == entry.folder and (
        entry.folder is not None or store.files.exists(trash.note_place(entry.key))
    )


# -- objects -------------------------------------------------------------------------------------------------


def _take_back(store: Store, entry: Entry, record: ObjectRecord) -> Restored:
    """The tombstone goes, the object is what it was."""
    with store.state.transaction():
        ino = store.new_ino()  # to the kernel the old one is a removed directory
        for node in store.children(record.ino):
            store.update_node(node.ino, parent=ino)
        name = names.unique(record.name, store.by_name)
        store.update_object(record.key, ino=ino, name=name, removed_at=None)
        wipes.withdraw(store, record)
        _move_in(store, entry, record.folder)
        store.touch(record.key)
    _finish(store, store.heads[record.key])
    return Restored(name, False, (), frozenset({(ROOT_INO, name)}))


def renew(store: Store, key: int) -> None:
    """Make the object, which its server has removed, a new one of the same content: registered with its next push."""
    with store.state.transaction():
        wipes.withdraw(store, store.record(key))
        for node in store.attached(key).values():
            if not node.local:
                store.update_node(node.ino, origin=tree.origin(store, node))
        records.set_base_files(store.db, key, {})
        store.update_object(
            key, oaio_id=None, base_stamp=None, base_values={}, prior=None, prior_until=None, restored=None,
            pending=None, right=Right.CREATE, orphan=0,
        )  # fmt: skip
        store.touch(key)


def _anew(store: Store, entry: Entry, maker: Maker) -> Restored:
    note = entry.note
    name = note.name or unknown(entry.key, "").name
    with store.state.transaction():
        head = objects.create_from(
            store, name, note.values or {NAME_KEY: name}, note.shown, csh_id=note.csh_id or maker.csh_id,
            username=maker.username, device_id=maker.device_id, app_id=maker.app_id, dialect=note.dialect,
            sidecar_name=note.sidecar or names.sidecar_name(note.files),
        )  # fmt: skip
        for path, kept in note.files.items():
            if kept.origin:
                parent, last = _plan_folders(store, head, path)
                trash.add_placeholder(store, head.key, parent, last, kept)
        _move_in(store, entry, head.folder)
    _finish(store, head)
    store.doorbell(head.key)
    shown = store.heads[head.key].name
    return Restored(shown, True, (), frozenset({(ROOT_INO, shown)}))


def _plan_folders(store: Store, head: Head, path: str) -> tuple[int, str]:
    """Rows of the folders that a placeholder is in; on the disk they are made after the working copy has come."""
    *folders, last = path.split("/")
    parent = head.ino
    for name in folders:
        node = store.child(parent, name)
        if node is None:
            node = Node(store.new_ino(), head.key, parent, name, Kind.DIRECTORY, 0o755, True, False, 0, "", 0)
            store.add_node(node)
        parent = node.ino
    return parent, last


def _move_in(store: Store, entry: Entry, folder: str) -> None:
    """Have the entry's folder become the working copy *folder*, and its note go."""
    target = f"{OBJECTS}/{folder}"
    if store.files.exists(target):
        _clear_way(store, target)
    if entry.folder is not None:
        objects.move_later(store, f"{TRASH}/{entry.key}", target, entry.folder)
    _drop_note(store, entry)


def _clear_way(store: Store, target: str) -> None:
    """Raises StateError when it is no empty folder: whatever stands there is somebody's."""
    try:
        os.rmdir(store.files.absolute(target))
    except OSError as error:
        raise StateError(f"{store.files.absolute(target)} is in the way: move it elsewhere and try again") from error


def _drop_note(store: Store, entry: Entry) -> None:
    place = trash.note_place(entry.key)
    inode = store.files.inode(place)
    if inode is not None:
        objects.move_later(store, place, "", inode)


def _finish(store: Store, head: Head) -> None:
    """After the commit: the working copy comes, and its rows follow it. A kill before leaves that to the next start."""
    objects.run_intents(store)
    if any(target == f"{OBJECTS}/{head.folder}" for _, _, target, _ in records.intents(store.db)):
        store.state.rolled_back = True  # so that the next start compares, once the disk lets the folder be moved
        raise StateError(f"{head.name} is coming back, but the disk refuses it: look at the log, then mount anew")
    store.unlabelled.add(head.key)
    compare(store, head)


# -- files of an object that stayed --------------------------------------------------------------------------


class _Files:
    """Files on their way back into their object."""

    def __init__(self, store: Store, entry: Entry, head: Head) -> None:
        self.store = store
        self.entry = entry
        self.head = head
        self.folder = f"{TRASH}/{entry.key}"
        self.names: set[tuple[int, str]] = set()
        self.paths: list[str] = []

    def restore(self, files: list[str]) -> Restored:
        store, head = self.store, self.head
        place = store.files.absolute(self.folder)
        if not head.right.may_update:
            raise AccessDenied(f"you may only read {head.name} now: take the files from {place}")
        here = [file.removeprefix(place + "/") for file in files]
        with store.state.transaction():
            for path in here:
                self._bring(path)
            for path, kept in self.entry.note.files.items():
                if kept.origin and path not in here:
                    parent, name = self._free_name(path)
                    trash.add_placeholder(store, head.key, parent, name, kept)
            for folder in sorted({folder for path in here for folder in names.folders_of(path)}, reverse=True):
                self._remove(f"{self.folder}/{folder}")
            self._remove(self.folder)
            _drop_note(store, self.entry)
            store.touch(head.key)
        objects.run_intents(store)
        return Restored(head.name, False, tuple(self.paths), frozenset(self.names))

    def _bring(self, path: str) -> None:
        store = self.store
        source = f"{self.folder}/{path}"
        status = store.files.stat(source)
        parent, name = self._free_name(path)
        node = Node(
            store.new_ino(), self.head.key, parent, name, Kind.FILE, stat.S_IMODE(status.st_mode), local=True,
            dirty=True, size=0, md5="", mtime_ns=0,
        )  # fmt: skip
        objects.move_later(store, source, f"{store.folder_path(parent)}/{name}", status.st_ino)
        store.add_node(node)
        tree.note(store, node)

    def _free_name(self, path: str) -> tuple[int, str]:
        """Where the file comes to stand: under its old path, or beside what stands there now."""
        store, top = self.store, self.head.ino
        parent, name = tree.folder_for(store, top, path, names.restored_name)
        taken = {node.name for node in store.children(parent)} | ({self.head.sidecar} if parent == top else set())
        name = names.restored_name(name, taken)
        self.names.add((parent, name))
        self.paths.append(tree.join(store, parent, name))
        if "/" in path:  # a folder may be new, or have gone with its last file
            self.names.add((top, path.partition("/")[0]))
        return parent, name

    def _remove(self, place: str) -> None:
        inode = self.store.files.inode(place)
        if inode is not None:
            objects.move_later(self.store, place, "", inode)
