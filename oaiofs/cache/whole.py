"""Objects as a program makes and changes them: values and files in one step, all of it or nothing.

What is to be a file is staged first (in threads, whatever its size); the rows come in one transaction, and the staged
files come to their places by intents. A kill at any moment leaves the object as it was, or as it was to be.
Must not know who may do what, nor the servers.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

import trio

from ..core import names
from ..core.model import OaioId, Values
from ..errors import Exists, InvalidSidecar, IsADirectory
from . import objects, tree
from .records import Kind, Node
from .store import Head, Store
from .workdir import OBJECTS, md5_of, snapshot, sync_file, sync_folder


@dataclass(frozen=True, slots=True)
class Staged:
    """A file's bytes at *place* in the client root's staging folder; *md5* of them, hex."""

    place: str
    md5: str


async def stage(store: Store, source: str | bytes, mtime_ns: int) -> Staged:
    """Copy the file at the absolute path *source*, or these bytes, to where they can become a file of an object.

    Raises OSError.
    """
    if isinstance(source, bytes):

        def keep() -> Staged:
            place = store.files.stage(source, mtime_ns)
            return Staged(place, md5_of(store.files.absolute(place)))

        return await trio.to_thread.run_sync(keep)  # one hop: between two of them somebody could give up
    place, free = store.files.new_staging(), store.state.room.free()
    target = store.files.absolute(place)
    try:
        md5 = await trio.to_thread.run_sync(lambda: snapshot(source, target, free=free))
        mtime_ns = os.stat(source).st_mtime_ns
        os.utime(target, ns=(mtime_ns, mtime_ns))
    except BaseException:
        store.files.remove(place)
        raise
    return Staged(place, md5)


async def make_durable(store: Store, key: int, files: Collection[str]) -> None:
    """Return when these files of the object, their names and all rows so far are on this machine's disk."""
    head = store.heads.get(key)
    nodes = [node for path in files if head is not None and (node := store.at(head, path)) is not None and node.local]
    paths = [store.absolute(node) for node in nodes]
    folders = {folder for node in nodes for folder in store.names_to_sync(node.parent)}
    folders |= set(store.names_to_sync(head.ino)) if head is not None else set()

    def all_of_it() -> None:
        for path in paths:
            sync_file(path)
        for folder in folders:
            sync_folder(folder)
        store.state.sync_to_disk()

    await trio.to_thread.run_sync(all_of_it)


def drop(store: Store, files: Mapping[str, Staged]) -> None:
    """Remove staged files that are to become nothing; never ones that a committed transaction has."""
    for one in files.values():
        store.files.remove(one.place)


def create(
    store: Store, oaio_id: OaioId, values: Values, files: Mapping[str, Staged], *, csh_id: str, username: str,
    device_id: str, app_id: str,
) -> Head:  # fmt: skip
    """A new object of this device's with the *files* (by path); the servers learn of it with the next sync.

    Where it comes to nothing the staged files go.
    """
    with store.state.transaction():
        store.state.on_undo(lambda: drop(store, files))
        head = objects.create_from(
            store, names.display_name(values, tuple(files), oaio_id), values, {}, csh_id=csh_id, username=username,
            device_id=device_id, app_id=app_id, dialect="classic", sidecar_name=names.sidecar_name(files),
        )  # fmt: skip
        store.update_object(head.key, oaio_id=oaio_id)
        objects.make_folder_later(store, f"{OBJECTS}/{head.folder}")
        for path in sorted(files):
            _put(store, head, path, files[path])
        objects.write_sidecar(store, head.key)
    objects.run_intents(store)
    store.doorbell(head.key)
    return store.heads[head.key]


def change(store: Store, head: Head, values: Values, files: Mapping[str, Staged], gone: Collection[str]) -> None:
    """Give the object these values, these new or other files (by path), and take the files *gone* away.

    A file whose bytes are those staged is left alone. Where it comes to nothing the staged files go. Raises
    InvalidSidecar where a file would need the name of a sidecar that somebody is correcting, IsADirectory and
    NotADirectory where one is in the way.
    """
    with store.state.transaction():
        store.state.on_undo(lambda: drop(store, files))
        for path in sorted(gone):
            node = store.at(head, path)
            if node is not None:
                tree.unlink(store, node)
        _free_sidecar_name(store, head, files)
        for path in sorted(files):
            node = store.at(head, path)
            if node is None or node.dirty or node.md5 != files[path].md5:
                _put(store, head, path, files[path])
            else:
                store.state.on_commit(partial(drop, store, {path: files[path]}))
        objects.set_values(store, head.key, values)
    objects.run_intents(store)
    store.active(head.key)
    store.doorbell(head.key)


def _free_sidecar_name(store: Store, head: Head, files: Mapping[str, Staged]) -> None:
    """The sidecar leaves its name to a file, as it does to one of a version from elsewhere."""
    if head.sidecar not in {path.partition("/")[0] for path in files}:
        return
    if store.record(head.key).draft is not None:
        raise InvalidSidecar(f"{head.name}/{head.sidecar} has a mistake: correct it, then the file can have its name")
    node = store.child(head.ino, head.sidecar)
    if node is not None:
        place = store.work_path(node)
        standing = store.files.inode(place)
        store.delete_node(node.ino)
        if standing is not None:
            objects.move_later(store, place, "", standing)
    taken = [other.name for other in store.children(head.ino)]
    store.update_object(head.key, sidecar=names.sidecar_name([*files, *taken]))
    objects.write_sidecar(store, head.key)


def _put(store: Store, head: Head, path: str, staged: Staged) -> None:
    """The staged file is to be the object's at *path*; part of a transaction."""
    parent, name = objects.folder_later(store, head, path)
    place = f"{store.folder_path(parent)}/{name}"
    old = store.child(parent, name)
    if old is not None and old.kind is not Kind.FILE:
        raise (IsADirectory if old.kind is Kind.DIRECTORY else Exists)(f"{path} is no file in {head.name}")
    inode = store.files.stat(staged.place).st_ino
    objects.move_later(store, staged.place, place, inode)
    if old is not None:
        standing = store.files.inode(place) if old.local else None
        if standing is not None:
            objects.move_later(store, place, "", standing)
        store.delete_node(old.ino)
    node = Node(
        store.new_ino(), head.key, parent, name, Kind.FILE, 0o644, local=True, dirty=True, size=0, md5="", mtime_ns=0
    )
    store.add_node(node)
    tree.note(store, node)
