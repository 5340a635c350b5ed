"""What the mount's users do to the tree below the objects: create, write, rename, remove.

Each function is one whole change of files and rows: where one of the two is refused (a full disk), the other is as it
was before. What is made is made on the disk first, and taken back there when its rows can't be written: after a crash
between the two, ``recover`` believes the disk. What is removed goes from the rows first, but for files that are kept
for a moment (``parked``). Renaming does the rows first, with the rename noted as an intent: else a file found under its
new name would be one more. Must not know rights (``vfs`` checked them) nor the servers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection

from ..errors import DirectoryNotEmpty, Exists, IsADirectory, NotADirectory
from . import found, objects, parked, pins, records
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
    place = f"{store.folder_path(parent)}/{name}"
    found.set_aside(store, place)
    path = store.files.absolute(place)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if mode & 0o177:
            os.fchmod(descriptor, (mode & 0o777) | 0o600)
        node = _add(store, parent, name, Kind.FILE, mode, dirty=True)
    except BaseException:
        os.close(descriptor)
        store.files.remove(place)
        raise
    store.marked.add(node.ino)
    return node, descriptor


def make_folder(store: Store, parent: int, name: str, mode: int) -> Node:
    """A new folder below an object. Raises Exists."""
    if store.child(parent, name) is not None:
        raise Exists(f"{name} exists already")
    place = f"{store.folder_path(parent)}/{name}"
    path = store.files.absolute(place)
    try:
        os.mkdir(path, 0o700 | (mode & 0o777))
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    return _add_made(store, place, parent, name, Kind.DIRECTORY, mode)


def make_link(store: Store, parent: int, name: str, target: str) -> Node:
    """A symbolic link, for editors' locks. Raises Exists."""
    if store.child(parent, name) is not None:
        raise Exists(f"{name} exists already")
    place = f"{store.folder_path(parent)}/{name}"
    os.symlink(target, store.files.absolute(place))
    return _add_made(store, place, parent, name, Kind.LINK, 0o777)


def _add_made(store: Store, place: str, parent: int, name: str, kind: Kind, mode: int) -> Node:
    """The row of what was just made at *place*, which goes again without one."""
    try:
        return _add(store, parent, name, kind, mode, dirty=False)
    except BaseException:
        store.files.remove(place)
        raise


def folder_for(store: Store, top: int, path: str, taken: Callable[[str, Collection[str]], str]) -> tuple[int, str]:
    """Inode of the folder that *path* below the directory *top* is to be in, made where missing, and the last name.

    Where a folder's name belongs to something else, *taken* gives another one, from it and all names beside it.
    """
    *folders, last = path.split("/")
    for name in folders:
        node = store.child(top, name)
        if node is not None and node.kind is not Kind.DIRECTORY:
            name = taken(name, {other.name for other in store.children(top)})
            node = store.child(top, name)
        top = (node or make_folder(store, top, name, 0o755)).ino
    return top, last


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


def note_mtime(store: Store, ino: int, mtime_ns: int) -> None:
    """Note the time that was given to a local file; one that is hashed just now had another one."""
    node = store.find_node(ino)
    if node is None:
        return
    if node.dirty:
        store.writes[ino] += 1
        store.active(node.object)
    else:
        store.update_node(ino, mtime_ns=mtime_ns)


def unlink(store: Store, node: Node) -> None:
    """Remove a file or link; who has it open keeps what they opened."""
    if node.kind is Kind.DIRECTORY:
        raise IsADirectory(f"{node.name} is a folder")
    path, place = store.path_in_object(node), store.work_path(node)
    keep = not store.writers[node.ino] and (store.is_attached(node, path) or _is_draft(store, node))
    with store.state.transaction():
        if keep:
            parked.park(store, node, path, "" if node.local else origin(store, node))
        _gone(store, node, path)
        store.delete_node(node.ino)
    if node.local and not keep:
        _remove_from_disk(store, node, lambda: store.files.remove(place))


def _remove_from_disk(store: Store, node: Node, remove: Callable[[], None]) -> None:
    """What has no row any more goes from the disk too; what the disk does not let go keeps its row."""
    try:
        remove()
    except BaseException:
        store.add_node(node)
        raise


def _is_draft(store: Store, node: Node) -> bool:
    return store.is_sidecar(node) and store.record(node.object).draft is not None


def _gone(store: Store, node: Node, path: str) -> None:
    if store.is_sidecar(node):
        store.sidecar_gone[node.object] = store.steady_clock()
        store.update_object(node.object, draft=None)
    elif node.kind is Kind.FILE and not store.is_local_only(node.object, path):
        store.name_gone(node.object, path)
        store.touch(node.object)


def remove_folder(store: Store, node: Node) -> None:
    """Remove an empty folder."""
    if node.kind is not Kind.DIRECTORY:
        raise NotADirectory(f"{node.name} is no folder")
    if records.has_children(store.db, node.ino):
        raise DirectoryNotEmpty(f"{node.name} is not empty")
    place = store.absolute(node)
    store.delete_node(node.ino)
    _remove_from_disk(store, node, lambda: os.rmdir(place))


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
    was_sidecar = store.is_sidecar(node)
    with store.state.transaction():
        _rename_later(store, node, target, f"{store.folder_path(parent)}/{name}")
        if target is not None:
            store.delete_node(target.ino)
        _keep_origins(store, node)
        key = owner_of(store, parent)
        if not node.local or node.kind is Kind.DIRECTORY:  # labels say where renamed placeholders have their bytes
            store.unlabelled |= {key, old_key}
        store.update_node(node.ino, parent=parent, name=name, object=key)
        target_path = join(store, parent, name)
        pins.renamed(store, (old_key, old_path), (key, target_path), folder=node.kind is Kind.DIRECTORY)
        if key != old_key and node.kind is Kind.DIRECTORY:
            _change_owner(store, node.ino, key)
        if node.kind is Kind.DIRECTORY:
            store.fresh.add(node.ino)
        _note_rename(store, node.ino, old_key, attached, was_sidecar=was_sidecar)
    objects.run_intents(store)


def _rename_later(store: Store, node: Node, target: Node | None, destination: str) -> None:
    """The part of a rename that is the disk's: a placeholder has no bytes to rename, but may replace some."""
    if node.local:
        source = store.work_path(node)
        objects.move_later(store, source, destination, store.files.stat(source).st_ino)
    if target is not None and target.local:
        objects.move_later(store, destination, "", store.files.inode(destination) or 0)


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
    if node.kind is not Kind.DIRECTORY:
        return [path] if store.is_attached(node, path) else []
    below = ((child, f"{path}/{child.name}") for child in store.children(node.ino))
    return [attached for child, own in below for attached in _attached_below(store, child, own)]


def _keep_origins(store: Store, node: Node) -> None:
    """Note where placeholders that are about to be renamed find their bytes."""
    if node.kind is Kind.DIRECTORY:
        for child in store.children(node.ino):
            _keep_origins(store, child)
    elif not node.local and not node.origin:
        store.update_node(node.ino, origin=origin(store, node))


def origin(store: Store, node: Node) -> str:
    """Where the storage host has a placeholder's bytes: ``csh_id/oaio_id/stamp/path``."""
    path = store.path_in_object(node)
    if not node.origin or node.fact.same_content(records.base_file(store.db, node.object, path)):
        return f"{records.base_place(store.db, node.object)}/{path}"  # not by the whole record: asked for each file
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
        store.update_node(ino, dirty=1)  # nobody has looked at a sidecar's bytes but for its values
        moved = store.node(ino)
    for path in attached:
        store.name_gone(old_key, path)
    if attached:
        store.touch(old_key)
    if store.is_sidecar(moved):
        store.update_node(ino, dirty=1)  # its text is still to be judged
        note(store, moved)
    elif moved.kind is Kind.DIRECTORY:
        if attached:
            store.touch(moved.object)
    else:
        note(store, moved)
