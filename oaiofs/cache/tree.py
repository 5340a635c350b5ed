"""What the mount's users do to the tree below the objects: create, write, rename, remove.

Each function is one whole change: files on the disk first, then the rows, in one transaction. After a crash between
the two, ``recover`` believes the disk. Must not know rights (``vfs`` checked them) nor the servers.
"""

from __future__ import annotations

import os
import stat

from ..errors import DirectoryNotEmpty, Exists, IsADirectory, NotADirectory
from . import objects, records
from .records import Kind, Node
from .store import Store


def owner_of(store: Store, parent: int) -> int:
    """Number of the object that the directory *parent* is, or is in."""
    head = store.by_ino.get(parent)
    return head.key if head else store.node(parent).object


def join(store: Store, parent: int, name: str) -> str:
    """Path relative to its object of *name* in the directory *parent*."""
    return name if parent in store.by_ino else f"{store.path_in_object(store.node(parent))}/{name}"


def create_file(store: Store, parent: int, name: str, mode: int) -> tuple[Node, int]:
    """A new empty file; its node and a descriptor open for reading and writing. Raises Exists."""
    if store.child(parent, name) is not None:
        raise Exists(f"{name} exists already")
    path = store.files.absolute(f"{store.folder_path(parent)}/{name}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if mode & 0o177:
            os.fchmod(descriptor, (mode & 0o777) | 0o600)
        node = _add(store, parent, name, Kind.FILE, mode, dirty=True)
    except BaseException:
        os.close(descriptor)
        raise
    store.marked.add(node.ino)
    return node, descriptor


def make_folder(store: Store, parent: int, name: str, mode: int) -> Node:
    """A new folder below an object. Raises Exists."""
    if store.child(parent, name) is not None:
        raise Exists(f"{name} exists already")
    path = store.files.absolute(f"{store.folder_path(parent)}/{name}")
    try:
        os.mkdir(path, 0o700 | (mode & 0o777))
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    return _add(store, parent, name, Kind.DIRECTORY, mode, dirty=False)


def make_link(store: Store, parent: int, name: str, target: str) -> Node:
    """A symbolic link, for editors' locks. Raises Exists."""
    if store.child(parent, name) is not None:
        raise Exists(f"{name} exists already")
    os.symlink(target, store.files.absolute(f"{store.folder_path(parent)}/{name}"))
    return _add(store, parent, name, Kind.LINK, 0o777, dirty=False)


def _add(store: Store, parent: int, name: str, kind: Kind, mode: int, *, dirty: bool) -> Node:
    key = owner_of(store, parent)
    node = Node(
        ino=store.new_ino(), object=key, parent=parent, name=name, kind=kind, mode=stat.S_IMODE(mode), local=True,
        dirty=dirty, size=0, md5="", mtime_ns=0,
    )  # fmt: skip
    with store.state.transaction():
        store.add_node(node)
        note(store, node)
    return node


def note(store: Store, node: Node) -> None:
    """Tell the object that this node's content or name is new, where that concerns the servers."""
    store.content_changed(node)
    if store.is_sidecar(node):
        store.sidecar_gone.pop(node.object, None)
    elif node.kind is Kind.FILE and not store.is_local_only(node.object, store.path_in_object(node)):
        store.touch(node.object)


def mark_written(store: Store, node: Node) -> None:
    """Note that the node's bytes are about to change; cheap after the first time since the last snapshot."""
    store.writes[node.ino] += 1
    if node.ino in store.marked:
        store.active(node.object)
        store.content_changed(node)
        return
    with store.state.transaction():
        store.update_node(node.ino, dirty=1)
        note(store, node)
    store.marked.add(node.ino)


def unlink(store: Store, node: Node) -> None:
    """Remove a file or link; who has it open keeps what they opened."""
    if node.kind is Kind.DIRECTORY:
        raise IsADirectory(f"{node.name} is a folder")
    path = store.path_in_object(node)
    if node.local:
        store.files.remove(store.work_path(node))
    with store.state.transaction():
        _gone(store, node, path)
        store.delete_node(node.ino)


def _gone(store: Store, node: Node, path: str) -> None:
    if store.is_sidecar(node):
        store.sidecar_gone[node.object] = store.steady_clock()
        store.update_object(node.object, draft=None)
    elif node.kind is Kind.FILE and not store.is_local_only(node.object, path):
        store.name_gone(node.object, path)
        records.forget_file_conflict(store.db, node.object, path)
        store.touch(node.object)


def remove_folder(store: Store, node: Node) -> None:
    """Remove an empty folder."""
    if node.kind is not Kind.DIRECTORY:
        raise NotADirectory(f"{node.name} is no folder")
    if records.has_children(store.db, node.ino):
        raise DirectoryNotEmpty(f"{node.name} is not empty")
    os.rmdir(store.absolute(node))
    with store.state.transaction():
        store.delete_node(node.ino)


def rename(store: Store, node: Node, parent: int, name: str) -> None:
    """Give the node another name or folder, replacing what stands there, in one step.

    Raises IsADirectory, NotADirectory, DirectoryNotEmpty as rename(2) does.
    """
    target = store.child(parent, name)
    if target is not None and target.ino == node.ino:
        return
    if target is not None:
        _check_replaceable(store, node, target)
    old_path, old_key = store.path_in_object(node), node.object
    attached = _attached_below(store, node, old_path)
    source, destination = store.work_path(node), f"{store.folder_path(parent)}/{name}"
    was_sidecar = store.is_sidecar(node)
    with store.state.transaction():
        if node.local:
            os.rename(store.files.absolute(source), store.files.absolute(destination))
        elif target is not None and target.local:
            # Nothing to rename onto it: the placeholder has no bytes yet. Removed once this is committed.
            objects.move_later(store, destination, "", store.files.inode(destination) or 0)
        if target is not None:
            store.delete_node(target.ino)
        _keep_origins(store, node)
        key = owner_of(store, parent)
        store.update_node(node.ino, parent=parent, name=name, object=key)
        if key != old_key and node.kind is Kind.DIRECTORY:
            _change_owner(store, node.ino, key)
        _note_rename(store, node.ino, old_key, attached, was_sidecar=was_sidecar)
    objects.run_intents(store)


def _check_replaceable(store: Store, node: Node, target: Node) -> None:
    if target.kind is Kind.DIRECTORY:
        if node.kind is not Kind.DIRECTORY:
            raise IsADirectory(f"{target.name} is a folder")
        if records.has_children(store.db, target.ino):
            raise DirectoryNotEmpty(f"{target.name} is not empty")
    elif node.kind is Kind.DIRECTORY:
        raise NotADirectory(f"{target.name} is no folder")


def _attached_below(store: Store, node: Node, path: str) -> list[str]:
    """Paths of the attached files that the node is or holds."""
    if node.kind is Kind.DIRECTORY:
        prefix = path + "/"
        return [p for p in store.attached(node.object) if p.startswith(prefix)]
    return [path] if store.is_attached(node, path) else []


def _keep_origins(store: Store, node: Node) -> None:
    """Note where placeholders that are about to be renamed find their bytes."""
    if node.kind is Kind.DIRECTORY:
        for child in store.children(node.ino):
            _keep_origins(store, child)
    elif not node.local and not node.origin:
        store.update_node(node.ino, origin=origin(store, node))


def origin(store: Store, node: Node) -> str:
    """Where the storage host has a placeholder's bytes: ``csh_id/oaio_id/stamp/path``."""
    record = store.record(node.object)
    path = store.path_in_object(node)
    if not node.origin or node.fact.same_content(store.base_files(node.object).get(path)):
        return f"{record.csh_id}/{record.oaio_id}/{record.base_stamp}/{path}"
    return node.origin


def _change_owner(store: Store, folder: int, key: int) -> None:
    for child in store.children(folder):
        store.update_node(child.ino, object=key)
        if child.kind is Kind.DIRECTORY:
            _change_owner(store, child.ino, key)


def _note_rename(store: Store, ino: int, old_key: int, attached: list[str], *, was_sidecar: bool) -> None:
    moved = store.node(ino)
    if was_sidecar:
        store.sidecar_gone[old_key] = store.steady_clock()
        store.update_object(old_key, draft=None)
    for path in attached:
        store.name_gone(old_key, path)
        records.forget_file_conflict(store.db, old_key, path)
    if attached:
        store.touch(old_key)
    if store.is_sidecar(moved):
        note(store, moved)
    elif moved.kind is Kind.DIRECTORY:
        if attached:
            store.touch(moved.object)
    else:
        note(store, moved)
