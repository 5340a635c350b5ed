"""What the servers do to the tree: a remote version comes in, a local one is agreed.

Each function is one transaction over rows; the renames in the working copy that belong to it are noted as intents and
carried out after the commit. A remote version never changes an inode: it gives the *name* a new one. Who has the old
one open keeps it; if they write into it after all, ``take_back`` makes a conflict copy of it.

Must not know how versions travel, nor decide: ``core.plan`` and ``core.merge`` did.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..core import lineage, merge, names, plan
from ..core.model import FileFact, FileSet, OaioId, RemoteObject, Stamp, Version
from . import agree, conflicts, found, objects, records, texts, trash, tree, xattrs
from .records import Kind, Node, ObjectRecord
from .store import ROOT_INO, Store
from .tree import note
from .workdir import DETACHED, TRASH, md5_of


@dataclass(frozen=True, slots=True)
class Applied:
    """What taking a remote version did: *names* that now mean something else, as (parent inode, name)."""

    names: frozenset[tuple[int, str]]
    conflicts: int


def remote_version(
    store: Store,
    key: int,
    remote: RemoteObject,
    files: FileSet,
    local: FileSet,
    device_id: str,
    *,
    ancestor: Version | None = None,
    merged_texts: Mapping[str, texts.MergedText] | None = None,
) -> Applied:
    """Merge the version *remote*, whose files are *files*, into what is here, and make it the base.

    *local* is what this device has, hashed; nothing may have changed since. *merged_texts* are by path; one that is
    not true any more is left out. Whatever differs from the new base afterwards leaves the object dirty. *ancestor* is
    what the two sides have in common where that is known and not the last agreed version (``Versions.ancestor``).
    """
    record = store.record(key)
    base = ancestor or agree.merge_base(store, record, remote, files)
    with store.state.transaction():
        work = Application(store, record, remote, device_id)
        work.base = base
        work.texts = texts.still_true(store, merged_texts or {}, work.nodes, base.files, files)
        work.rename_sidecar(files)
        work.keep_origins(files)
        contents = {path: text.fact for path, text in work.texts.items()}
        actions = plan.plan_files(base.files, local, files, rename=work.rename, merged=contents)
        work.drop([action.path for action in actions if action.verb is plan.FileVerb.DROP])
        for action in actions:
            work.run(action, files)
        work.remove_emptied()
        work.rename_sidecar(files)
        merged = merge.merge_values(base.values, record.values, remote.values)
        conflicts.values_came(store, key, merged.values, merged.conflicts, remote.stamp)
        conflicts.forget_lost_copies(store, key)
        new_files = any(work.is_unpushed(action, files) for action in actions)
        unpushed = new_files or not merge.same(merged.values, remote.values)
        restored = None
        if unpushed and ancestor is not None and record.base_stamp not in remote.lineage:
            restored = lineage.restored(ancestor, agree.agreed(store, record), remote.values, files)
        agree.keep_ancestor(store, record)
        known = base.files if ancestor is None and base.stamp == record.base_stamp else None
        records.set_base_files(store.db, key, files, known)
        _take_over(store, record, remote, dict(merged.values), unpushed=unpushed, restored=restored)
        if unpushed and base is record.prior:  # what it took back is restored, once: who takes it back again means it
            store.update_object(key, prior_until=remote.stamp)
        work.rename_object(files)
        if objects.refresh_sidecar(store, key):
            work.changed.add((record.ino, store.heads[key].sidecar))
        work.note_folders()
    work.changed |= objects.run_intents(store)
    for ino in {parent for parent, _ in work.changed} - {ROOT_INO}:
        if store.find_node(ino) is not None or ino in store.by_ino:
            store.files.noticed(store.folder_path(ino))
    return Applied(frozenset(work.changed), work.conflicts + len(merged.conflicts))


def _take_over(
    store: Store,
    record: ObjectRecord,
    remote: RemoteObject,
    values: dict[str, object],
    *,
    unpushed: bool,
    restored: Version | None,
) -> None:
    seq = record.local_seq + 1 if unpushed else record.local_seq
    store.update_object(
        record.key, oaio_id=remote.oaio_id, values=values, base_values=dict(remote.values), base_stamp=remote.stamp,
        right=remote.right, csh_id=remote.csh_id, username=remote.username, device_id=remote.device_id,
        app_id=remote.app_id, dialect=remote.dialect, **agree.NO_PRIOR, pending=None, local_seq=seq,
        settled_seq=record.local_seq, orphan=0, rebuilt=0, restored=restored,
        pending_since=(record.pending_since or store.wall_clock()) if unpushed else None,
    )  # fmt: skip
    store.unlabelled.add(record.key)
    if unpushed:
        store.active(record.key)
    else:
        store.settled(record.key)


class Application:
    """One remote version on its way into one object's tree; lives as long as its transaction."""

    def __init__(self, store: Store, record: ObjectRecord, remote: RemoteObject, device_id: str) -> None:
        self.store = store
        self.record = record
        self.remote = remote
        self.device_id = device_id
        self.nodes: dict[str, Node] = dict(store.walk(record.key))
        self.changed: set[tuple[int, str]] = set()
        self.emptied: set[str] = set()
        self.made: list[int] = []
        self.conflicts = 0
        self.base: Version | None = None
        self.texts: Mapping[str, texts.MergedText] = {}

    def note_folders(self) -> None:
        """The last step of the transaction: new folders come after whatever leaves their names."""
        for ino in self.made:
            objects.make_folder_later(self.store, self.store.folder_path(ino))

    def rename(self, path: str, taken: Collection[str]) -> str:
        """The conflict copy's path for the local file or folder *path*."""
        folder, slash, name = path.rpartition("/")
        prefix = folder + slash
        beside = {p[len(prefix) :] for p in [*taken, *self.nodes] if p.startswith(prefix)}
        return prefix + names.conflict_name(name, self.device_id, self.remote.stamp, beside)

    def copy_path(self, path: str) -> str:
        """The conflict copy's path for a file that was *path*, whatever has become of the folders above it.

        One that is a file by now is what lost its name, as in ``plan``: files of one such folder stay together.
        """
        copy = path
        while lost := next((one for one in names.folders_of(copy) if self._is_no_folder(one)), ""):
            beside = {one for one in self.nodes if self._is_no_folder(one)}
            copy = names.conflict_name(lost, self.device_id, self.remote.stamp, beside) + copy[len(lost) :]
        return copy if copy != path and copy not in self.nodes else self.rename(copy, ())

    def _is_no_folder(self, path: str) -> bool:
        return path in self.nodes and self.nodes[path].kind is not Kind.DIRECTORY

    def run(self, action: plan.FileAction, files: FileSet) -> None:
        verb = plan.FileVerb
        if action.verb is verb.MOVE:
            self.take_away(action.target)  # at most an empty folder
            self.move(action.path, action.target)
        elif action.verb is verb.TAKE:
            self.take_away(action.path)
            self.place(action.path, files[action.path])
        elif action.verb is verb.MERGE:
            self.replace(action.path, self.texts[action.path])
        elif action.verb is verb.KEEP_BOTH:
            self.move(action.path, action.target)
            self.note_conflict(action)

    def is_unpushed(self, action: plan.FileAction, files: FileSet) -> bool:
        """Whether the action leaves something that the server is to learn of; of editors' own files it never does."""
        if action.verb is plan.FileVerb.MERGE:
            return not self.texts[action.path].fact.same_content(files[action.path])
        if action.verb not in (plan.FileVerb.KEEP, plan.FileVerb.KEEP_BOTH):
            return False
        return not self.store.is_local_only(self.record.key, action.target or action.path)

    def take_away(self, path: str) -> None:
        """Free the name: its file goes, or where somebody may still write into it, out of sight."""
        node = self.nodes.get(path)
        if node is None:
            return
        if node.kind is Kind.DIRECTORY:
            self.remove_folder(path, node)
            return
        store = self.store
        source = store.work_path(node)
        inode = store.files.inode(source) if node.local else None
        if store.writers[node.ino] and inode is not None:
            objects.move_later(store, source, f"{DETACHED}/{node.ino}", inode)
            store.update_node(node.ino, parent=records.DISPLACED, name=path)
        else:
            if inode is not None:
                objects.move_later(store, source, "", inode)
            store.delete_node(node.ino)
        self.freed(path, node)

    def drop(self, paths: Collection[str], why: str = "removed elsewhere") -> None:
        """Take away what the version removes: to the trash, as one entry, where nobody may still write into it."""
        nodes = {path: self.nodes[path] for path in paths if path in self.nodes}
        kept = {p: node for p, node in nodes.items() if node.kind is Kind.FILE and not self.store.writers[node.ino]}
        if kept:
            trash.keep_files(self.store, self.record, self.remote, kept, why)
        for path, node in nodes.items():
            if path in kept:
                self.store.delete_node(node.ino)
                self.freed(path, node)
            else:
                self.take_away(path)

    def freed(self, path: str, node: Node) -> None:
        del self.nodes[path]
        self.changed.add((node.parent, node.name))
        if "/" in path:
            self.emptied.add(path.rpartition("/")[0])

    def remove_folder(self, path: str, node: Node) -> None:
        """A folder whose files are all gone gives its name to a file, with what empty folders are in it."""
        for below in sorted((p for p in self.nodes if p.startswith(path + "/")), reverse=True):
            self.remove_place(self.nodes.pop(below))
        self.remove_place(node)
        self.freed(path, node)

    def remove_place(self, node: Node) -> None:
        """Remove a node and what stands for it on the disk; a folder with something unknown in it stays there."""
        place = self.store.work_path(node)
        inode = self.store.files.inode(place)
        if inode is not None:
            objects.move_later(self.store, place, "", inode)
        self.store.delete_node(node.ino)

    def remove_emptied(self) -> None:
        """The servers know no folders: one that this version leaves empty goes with its last file."""
        while self.emptied:
            path = max(self.emptied, key=len)
            self.emptied.discard(path)
            node = self.nodes.get(path)
            if node is None or node.kind is not Kind.DIRECTORY:
                continue  # a file of the new version has taken the folder's name
            if not records.has_children(self.store.db, node.ino):
                self.remove_folder(path, node)

    def place(self, path: str, fact: FileFact, *, mode: int = 0o644, local: bool = False) -> Node:
        """A file with a new inode; not *local*: a placeholder for a file of the remote version."""
        parent, name = self.folder_for(path)
        node = Node(
            ino=self.store.new_ino(), object=self.record.key, parent=parent, name=name, kind=Kind.FILE, mode=mode,
            local=local, dirty=False, size=fact.size, md5=fact.md5, mtime_ns=fact.mtime_ns,
        )  # fmt: skip
        self.store.add_node(node)
        self.nodes[path] = node
        self.changed.add((parent, name))
        return node

    def replace(self, path: str, text: texts.MergedText) -> None:
        """A file that nobody writes gives its name to what was made of its edit and the other side's."""
        old = self.nodes[path]
        place = self.store.work_path(old)
        self.store.delete_node(old.ino)
        self.freed(path, old)
        texts.move_in(self.store, text, self.place(path, text.fact, mode=old.mode, local=True))
        # Noted after the move, which so renames over it: a power cut never finds the name without a file.
        objects.move_later(self.store, place, "", self.store.files.inode(place) or 0)

    def move(self, path: str, target: str) -> None:
        node = self.nodes[path]
        parent, name = self.folder_for(target)
        store = self.store
        if node.local:
            source = store.work_path(node)
            destination = f"{store.folder_path(parent)}/{name}"
            objects.move_later(store, source, destination, store.files.inode(source) or 0)
        store.update_node(node.ino, parent=parent, name=name)
        self.freed(path, node)
        self.nodes[target] = store.node(node.ino)
        self.changed.add((parent, name))

    def folder_for(self, path: str) -> tuple[int, str]:
        """Inode of the folder that *path* is to be in, made where missing, and the last name."""
        folder, _, name = path.rpartition("/")
        if not folder:
            return self.record.ino, name
        node = self.nodes.get(folder)
        if node is not None and node.kind is Kind.DIRECTORY:
            return node.ino, name
        parent, own = self.folder_for(folder)
        ino = self.store.new_ino()
        node = Node(ino, self.record.key, parent, own, Kind.DIRECTORY, 0o755, True, False, 0, "", 0)
        self.store.add_node(node)
        self.nodes[folder] = node
        self.made.append(ino)
        self.changed.add((parent, own))
        return ino, name

    def rename_object(self, files: FileSet) -> None:
        """Give the object the display name that its new version asks for."""
        key, old = self.record.key, self.store.heads[self.record.key].name
        values = self.store.record(key).values
        name = objects.name_from(self.store, key, values, tuple(files), self.remote.oaio_id)
        if name != old:
            self.store.update_object(key, name=name)
            self.changed |= {(ROOT_INO, old), (ROOT_INO, name)}

    def rename_sidecar(self, files: FileSet) -> None:
        """The sidecar leaves its name to an attached file, and has it back when that is gone."""
        old = self.store.heads[self.record.key].sidecar
        others = [path for path, node in self.nodes.items() if path != old and node.kind is not Kind.LINK]
        name = names.sidecar_name([*files, *others])
        if name == old or name in self.nodes:
            return
        if old in self.nodes:
            self.move(old, name)
        self.store.update_object(self.record.key, sidecar=name)
        self.changed |= {(self.record.ino, old), (self.record.ino, name)}

    def keep_origins(self, files: FileSet) -> None:
        """Note where placeholders that the new version does not have find their bytes: in the version agreed so far."""
        for path, node in self.nodes.items():
            if node.kind is not Kind.FILE or node.local or node.origin:
                continue
            if node.fact != files.get(path) and not node.fact.same_content(files.get(path)):
                self.store.update_node(node.ino, origin=tree.origin(self.store, node))
                self.nodes[path] = self.store.node(node.ino)

    def note_conflict(self, action: plan.FileAction) -> None:
        self.conflicts += 1
        conflicts.note_copy(self.store, self.record, action.path, action.target, self.remote.stamp, self.base)


def hydrated(store: Store, ino: int, staged: str, size: int, md5: str) -> bool:
    """Put downloaded bytes in the place of a placeholder; False when its name went to something else meanwhile."""
    node = store.find_node(ino)
    if node is None or node.local or node.size != size or (node.md5 and node.md5 != md5):
        return False
    found.set_aside(store, store.work_path(node))
    target = store.absolute(node)
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    source = store.files.absolute(staged)
    os.utime(source, ns=(node.mtime_ns, node.mtime_ns))
    os.chmod(source, node.mode | 0o600)
    xattrs.put_on(store, ino, source)
    with store.files.unnoticed(store.work_path(node)), store.state.transaction():
        store.rename_file(staged, store.work_path(node))
        store.update_node(ino, local=1, md5=md5, dirty=0)
    return True


def hashed(store: Store, ino: int, writes: int, size: int, md5: str, mtime_ns: int) -> bool:
    """Note the hash of a local file's bytes, unless they changed since its *writes* were counted.

    Not of a displaced one: were its edit no longer dirty, nobody would bring it back.
    """
    node = store.find_node(ino)
    if node is None or not node.local or node.parent == records.DISPLACED:
        return False
    if store.writes[ino] != writes or ino in store.marked:
        return False
    store.update_node(ino, dirty=0, size=size, md5=md5, mtime_ns=mtime_ns)
    return True


def take_back(store: Store, node: Node, device_id: str) -> frozenset[tuple[int, str]]:
    """The last writer of a displaced file let go: written to, it comes back as a conflict copy; else it is dropped.

    Returns the names that mean something else now, as (parent inode, name): the copy's, those of folders made for it.
    """
    record = store.record(node.object)
    place = store.work_path(node)
    inode = store.files.inode(place)
    written = inode is not None and node.dirty and not _is_as_it_was(store, node)
    if inode is None or not written or record.removed:
        with store.state.transaction():
            if inode is not None:
                stem, extension = names.split_extension(node.name.rpartition("/")[2])
                name = names.fit(f"{node.ino} {stem}", extension)  # written after its object had gone: to the trash
                target = f"{TRASH}/{record.folder}/{name}" if written else ""
                objects.move_later(store, place, target, inode)
            store.delete_node(node.ino)
        return frozenset(objects.run_intents(store))
    stamp = record.base_stamp or Stamp("")
    with store.state.transaction():
        work = Application(store, record, nobody(record, stamp), device_id)
        path = work.copy_path(node.name)
        parent, name = work.folder_for(path)
        objects.move_later(store, place, f"{store.folder_path(parent)}/{name}", inode)
        store.update_node(node.ino, parent=parent, name=name)
        work.note_conflict(plan.FileAction(node.name, plan.FileVerb.KEEP_BOTH, path))
        note(store, store.node(node.ino))
        work.note_folders()
    return frozenset({(parent, name), *work.changed, *objects.run_intents(store)})


def _is_as_it_was(store: Store, node: Node) -> bool:
    """Whether a file that was about to be written into holds nothing new: killed in between, or the disk was full.

    Its bytes are read only where size and time say that they are the old ones.
    """
    path = store.absolute(node)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return True
    same = (status.st_size, status.st_mtime_ns) == (node.size, node.mtime_ns)
    return same and bool(node.md5) and md5_of(path) == node.md5


def nobody(record: ObjectRecord, stamp: Stamp) -> RemoteObject:
    return RemoteObject(record.oaio_id or OaioId(record.name), stamp, {}, (), record.right, record.csh_id)
