"""What the servers do to the tree: a remote version comes in, a local one is agreed.

Each function is one transaction over rows; the renames in the working copy that belong to it are noted as intents and
carried out after the commit. A remote version never changes an inode: it gives the *name* a new one. Who has the old
one open keeps it; if they write into it after all, ``take_back`` makes a conflict copy of it.

Must not know how versions travel, nor decide: ``core.plan`` and ``core.merge`` did.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass

from ..core import lineage, merge, names, plan
from ..core.model import FileFact, FileSet, OaioId, RemoteObject, Stamp, Version
from . import objects, records
from .records import ConflictRecord, Kind, Node, ObjectRecord
from .store import ROOT_INO, Store
from .tree import note
from .workdir import DETACHED, TRASH

_NO_PRIOR: dict[str, Version | Stamp | None] = {"prior": None, "prior_until": None}


@dataclass(frozen=True, slots=True)
class Applied:
    """What taking a remote version did: *names* that now mean something else, as (parent inode, name)."""

    names: frozenset[tuple[int, str]]
    conflicts: int


def remote_version(
    store: Store, key: int, remote: RemoteObject, files: FileSet, local: FileSet, device_id: str
) -> Applied:
    """Merge the version *remote*, whose files are *files*, into what is here, and make it the base.

    *local* is what this device has, hashed; nothing may have changed since. Whatever differs from the new base
    afterwards leaves the object dirty.
    """
    record = store.record(key)
    base = merge_base(store, record, remote, files)
    with store.state.transaction():
        work = _Application(store, record, remote, device_id)
        work.rename_sidecar(files)
        actions = plan.plan_files(base.files, local, files, rename=work.rename)
        for action in actions:
            work.run(action, files)
        work.remove_emptied()
        work.rename_sidecar(files)
        merged = merge.merge_values(base.values, record.values, remote.values)
        objects.note_conflicts(store, record, merged.conflicts, remote.stamp)
        unpushed = any(map(work.is_unpushed, actions)) or not merge.same(merged.values, remote.values)
        records.set_base_files(store.db, key, files)
        _take_over(store, record, remote, dict(merged.values), unpushed=unpushed)
        work.rename_object(files)
        if objects.refresh_sidecar(store, key):
            work.changed.add((record.ino, store.heads[key].sidecar))
    work.finish()
    return Applied(frozenset(work.changed), work.conflicts + len(merged.conflicts))


def merge_base(store: Store, record: ObjectRecord, remote: RemoteObject, files: FileSet) -> Version:
    """What this device and *remote* have in common: the agreed version, or where that is not sure the one before."""
    agreed = Version(record.base_stamp or Stamp(""), record.base_values, store.base_files(record.key))
    prior = record.prior
    if prior is None or not lineage.may_be_blind(record.base_stamp, remote.stamp):
        return agreed
    return agreed if lineage.has_seen(prior, agreed, remote.values, files) else prior


def _take_over(
    store: Store, record: ObjectRecord, remote: RemoteObject, values: dict[str, object], *, unpushed: bool
) -> None:
    seq = record.local_seq + 1 if unpushed else record.local_seq
    store.update_object(
        record.key, oaio_id=remote.oaio_id, values=values, base_values=dict(remote.values), base_stamp=remote.stamp,
        right=remote.right, csh_id=remote.csh_id, username=remote.username, device_id=remote.device_id,
        app_id=remote.app_id, dialect=remote.dialect, **_NO_PRIOR, pending=None, local_seq=seq,
        settled_seq=record.local_seq, orphan=0,
        pending_since=(record.pending_since or store.wall_clock()) if unpushed else None,
    )  # fmt: skip
    if unpushed:
        store.active(record.key)
    else:
        store.settled(record.key)


class _Application:
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

    def finish(self) -> None:
        """After the commit: the working copy follows the rows."""
        objects.run_intents(self.store)
        for ino in self.made:
            os.makedirs(self.store.files.absolute(self.store.folder_path(ino)), mode=0o755, exist_ok=True)

    def rename(self, path: str, taken: Collection[str]) -> str:
        """The conflict copy's path for the local file or folder *path*."""
        folder, slash, name = path.rpartition("/")
        prefix = folder + slash
        beside = {p[len(prefix) :] for p in [*taken, *self.nodes] if p.startswith(prefix)}
        return prefix + names.conflict_name(name, self.device_id, self.remote.stamp, beside)

    def run(self, action: plan.FileAction, files: FileSet) -> None:
        verb = plan.FileVerb
        if action.verb is verb.DROP:
            self.take_away(action.path)
        elif action.verb is verb.MOVE:
            self.take_away(action.target)  # at most an empty folder
            self.move(action.path, action.target)
        elif action.verb is verb.TAKE:
            self.take_away(action.path)
            self.place(action.path, files[action.path])
        elif action.verb is verb.KEEP_BOTH:
            self.move(action.path, action.target)
            self.note_conflict(action)

    def is_unpushed(self, action: plan.FileAction) -> bool:
        """Whether the action leaves something that the server is to learn of; of editors' own files it never does."""
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

    def place(self, path: str, fact: FileFact) -> None:
        """A placeholder for a file of the remote version."""
        parent, name = self.folder_for(path)
        node = Node(
            ino=self.store.new_ino(), object=self.record.key, parent=parent, name=name, kind=Kind.FILE, mode=0o644,
            local=False, dirty=False, size=fact.size, md5=fact.md5, mtime_ns=fact.mtime_ns,
        )  # fmt: skip
        self.store.add_node(node)
        self.nodes[path] = node
        self.changed.add((parent, name))

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

    def note_conflict(self, action: plan.FileAction) -> None:
        self.conflicts += 1
        records.add_conflict(
            self.store.db,
            ConflictRecord(
                object=self.record.key, kind="file", path=action.path, copy=action.target, base="", mine="", theirs="",
                stamp=self.remote.stamp, at=self.store.wall_clock(),
            ),
        )  # fmt: skip


def settle(
    store: Store, key: int, seq: int, remote: RemoteObject, version: Version, *, last_writer_wins: bool = False
) -> None:
    """The server has *version*, made of the local state numbered *seq*: it is the new base.

    *last_writer_wins*: somebody may replace it who never saw it, so what was agreed before is kept for that merge.
    """
    with store.state.transaction():
        record = store.record(key)
        store.update_object(key, **(_prior(store, record, version.stamp) if last_writer_wins else _NO_PRIOR))
        records.set_base_files(store.db, key, version.files)
        store.update_object(
            key, oaio_id=remote.oaio_id, base_stamp=remote.stamp, base_values=dict(version.values), pending=None,
            username=remote.username or record.username, device_id=remote.device_id or record.device_id,
            app_id=remote.app_id or record.app_id, settled_seq=seq, orphan=0,
            pending_since=None if record.local_seq == seq else record.pending_since,
        )  # fmt: skip
    if record.local_seq == seq:
        store.settled(key)


def _prior(store: Store, record: ObjectRecord, stamp: Stamp) -> dict[str, Version | Stamp | None]:
    """The version before the one of *stamp*; of several in quick succession the one before them all."""
    if record.prior is not None and lineage.may_be_blind(record.prior_until, stamp):
        return {"prior": record.prior, "prior_until": record.prior_until}
    if record.base_stamp is None:
        return _NO_PRIOR
    before = Version(record.base_stamp, record.base_values, store.base_files(record.key))
    return {"prior": before, "prior_until": stamp}


def nothing_to_push(store: Store, key: int, seq: int) -> None:
    """The local state numbered *seq* turned out to be the agreed one: a touch, or a save of equal bytes."""
    record = store.record(key)
    store.update_object(key, settled_seq=seq, pending_since=None if record.local_seq == seq else record.pending_since)
    if record.local_seq == seq:
        store.settled(key)


def rebase_on_pending(store: Store, key: int, *, last_writer_wins: bool = False) -> None:
    """The version that was pending is the server's now: only the reply had been lost. See ``settle``."""
    record = store.record(key)
    pending = record.pending
    if pending is None:
        return
    with store.state.transaction():
        store.update_object(key, **(_prior(store, record, pending.stamp) if last_writer_wins else _NO_PRIOR))
        records.set_base_files(store.db, key, pending.files)
        store.update_object(key, base_stamp=pending.stamp, base_values=dict(pending.values), pending=None)


def hydrated(store: Store, ino: int, staged: str, size: int, md5: str) -> bool:
    """Put downloaded bytes in the place of a placeholder; False when its name went to something else meanwhile."""
    node = store.find_node(ino)
    if node is None or node.local or node.size != size or (node.md5 and node.md5 != md5):
        return False
    target = store.absolute(node)
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    source = store.files.absolute(staged)
    os.utime(source, ns=(node.mtime_ns, node.mtime_ns))
    os.chmod(source, node.mode | 0o600)
    os.rename(source, target)
    store.update_node(ino, local=1, md5=md5, dirty=0)
    return True


def hashed(store: Store, ino: int, writes: int, size: int, md5: str, mtime_ns: int) -> bool:
    """Note the hash of a local file's bytes, unless they changed since its *writes* were counted."""
    node = store.find_node(ino)
    if node is None or not node.local or store.writes[ino] != writes or ino in store.marked:
        return False
    store.update_node(ino, dirty=0, size=size, md5=md5, mtime_ns=mtime_ns)
    return True


def take_back(store: Store, node: Node, device_id: str) -> tuple[int, str] | None:
    """The last writer of a displaced file let go: written to, it comes back as a conflict copy; else it is dropped.

    Returns the (parent inode, name) that is new, if any.
    """
    record = store.record(node.object)
    if not node.dirty or record.removed:
        if node.dirty:  # written after its object had gone: to the trash with it
            name = node.name.rpartition("/")[2]
            store.files.move(store.work_path(node), f"{TRASH}/{record.folder}/{node.ino} {name}")
        store.files.remove(store.work_path(node))
        store.delete_node(node.ino)
        return None
    stamp = record.base_stamp or Stamp("")
    with store.state.transaction():
        work = _Application(store, record, _nobody(record, stamp), device_id)
        path = work.rename(node.name, ())
        parent, name = work.folder_for(path)
        source = store.work_path(node)
        inode = store.files.inode(source) or 0
        objects.move_later(store, source, f"{store.folder_path(parent)}/{name}", inode)
        store.update_node(node.ino, parent=parent, name=name)
        work.note_conflict(plan.FileAction(node.name, plan.FileVerb.KEEP_BOTH, path))
        note(store, store.node(node.ino))
    work.finish()
    return parent, name


def _nobody(record: ObjectRecord, stamp: Stamp) -> RemoteObject:
    return RemoteObject(record.oaio_id or OaioId(record.name), stamp, {}, (), record.right, record.csh_id)
