"""Making what an old version had the content again: an edit of this device like any other, told with the next version.

Files of the old version become placeholders whose bytes the storage host has, so the next version is made there by
copies and nothing is downloaded for it. What they replace, and files that the old version did not have, go to the trash
where nobody else has their bytes, and so does what the version took away as a whole: one restore of that entry undoes
it. Making the agreed version the content takes back what was not sent, also where the right to send it has ended.
Must not know who asked, nor the servers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..core import merge, names
from ..core.history import below
from ..core.model import FileFact, FileSet, Stamp, Values
from ..errors import AccessDenied, DirectoryNotEmpty, NotADirectory
from . import apply, objects, records
from .records import Kind, Node
from .store import ROOT_INO, Head, Store


@dataclass(frozen=True, slots=True)
class Reverted:
    """What it came to: paths of files that are as they were again, and that are gone; whether values changed.

    *names* now mean something else, as (parent inode, name).
    """

    restored: tuple[str, ...]
    removed: tuple[str, ...]
    values: bool
    names: frozenset[tuple[int, str]]


def revert(
    store: Store,
    key: int,
    stamp: Stamp,
    files: FileSet,
    place: Callable[[str], str],
    device_id: str,
    *,
    path: str = "",
    values: Values | None = None,
    only_values: bool = False,
) -> Reverted:
    """Make the *files* of version *stamp* what is at *path* of the object ('': all of it), and *values* its values.

    *place* tells where the storage host has a file: ``csh_id/oaio_id/stamp/path``. *values* None leaves those,
    *only_values* the files. Raises AccessDenied with right r, unless it takes back what can't be sent with that;
    NotADirectory, DirectoryNotEmpty where something that is not part of it is in the way.
    """
    head, record = store.heads[key], store.record(key)
    if not head.right.may_update and not (record.differs and stamp == record.base_stamp):
        raise AccessDenied(f"you may only read {head.name}: its owner can give you right U")
    wanted = {one: fact for one, fact in below(files, path).items() if not _stays_here(store, key, one)}
    with store.state.transaction():
        work = _Reversal(store, key, stamp, device_id)
        gone, replaced, added = ([], [], []) if only_values else work.differences(wanted, path)
        if gone or replaced or added:
            work.check(wanted, {*gone, *replaced})
            work.put(wanted, gone, replaced, added, place)
            store.touch(key)
        changed = values is not None and work.take_values(values)
        work.note_folders()
    work.changed |= objects.run_intents(store)
    work.changed |= _renamed(store, head)
    return Reverted(tuple(sorted({*replaced, *added})), tuple(sorted(gone)), changed, frozenset(work.changed))


def _stays_here(store: Store, key: int, path: str) -> bool:
    """An editor's own file that an old version happened to have would never be sent again."""
    return store.is_local_only(key, path)


def _renamed(store: Store, before: Head) -> set[tuple[int, str]]:
    now = store.heads[before.key].name
    return set() if now == before.name else {(ROOT_INO, before.name), (ROOT_INO, now)}


class _Reversal(apply.Application):
    """The old version on its way into the object's tree; lives as long as its transaction."""

    def __init__(self, store: Store, key: int, stamp: Stamp, device_id: str) -> None:
        record = store.record(key)
        super().__init__(store, record, apply.nobody(record, stamp), device_id)
        self.attached = store.attached(key)

    def differences(self, wanted: FileSet, path: str) -> tuple[list[str], list[str], list[str]]:
        """Paths of files that go, that are replaced, and that come."""
        here = {one: node for one, node in self.attached.items() if not path or f"{one}/".startswith(f"{path}/")}
        gone = [one for one in here if one not in wanted]
        replaced = [one for one, fact in wanted.items() if one in here and not _has(here[one], fact)]
        added = [one for one in wanted if one not in here]
        return gone, replaced, added

    def check(self, wanted: Mapping[str, FileFact], leaving: set[str]) -> None:
        """Raises where a name that is needed belongs to what stays."""
        sidecar = self.store.heads[self.record.key].sidecar
        staying = {one: node.kind for one, node in self.nodes.items() if one not in leaving and one != sidecar}
        files = {one for one, kind in staying.items() if kind is not Kind.DIRECTORY}
        filled = {folder for one in files for folder in names.folders_of(one)}
        for path in wanted:
            for folder in names.folders_of(path):
                if folder in files:
                    raise NotADirectory(f"{folder} is a file now: rename it first, or restore the whole object")
            if path in filled:
                raise DirectoryNotEmpty(f"{path} is a folder now, with something in it: rename it first")

    def put(
        self, wanted: FileSet, gone: list[str], replaced: list[str], added: list[str], place: Callable[[str], str]
    ) -> None:
        self.rename_sidecar(wanted)
        only_here = [one for one in replaced if self._is_only_copy(self.nodes[one])]
        only_here += [one for one in added if one in self.nodes and self.nodes[one].kind is Kind.FILE]
        self.drop([*gone, *only_here], f"version {self.remote.stamp} was restored")
        for one in [*replaced, *added]:
            self.take_away(one)  # else a folder, empty by now
            node = self.place(one, wanted[one])
            self.store.update_node(node.ino, origin=place(one))
            self.nodes[one] = self.store.node(node.ino)
        self.remove_emptied()
        self.rename_sidecar({})

    def take_values(self, values: Values) -> bool:
        """Make *values* the object's, whatever stands in the sidecar; False where they are and it shows them."""
        store, record = self.store, self.store.record(self.record.key)
        sidecar = self.nodes.get(record.sidecar)
        is_draft = record.draft is not None and (sidecar is None or not store.writers[sidecar.ino])
        if is_draft:
            self.drop([record.sidecar], f"version {self.remote.stamp} was restored")
            store.update_object(record.key, draft=None)
        changed = not merge.same(values, record.values)
        if objects.set_values(store, record.key, values) if changed else objects.refresh_sidecar(store, record.key):
            self.changed.add((record.ino, record.sidecar))
        return changed or is_draft

    def _is_only_copy(self, node: Node) -> bool:
        """Whether the agreed version does not have these bytes."""
        stored = records.base_files(self.store.db, node.object).values()
        return node.dirty or not any(node.fact.same_content(fact) or node.fact == fact for fact in stored)


def _has(node: Node, fact: FileFact) -> bool:
    return not node.dirty and (node.fact.same_content(fact) or (node.fact.size, node.fact.md5) == (fact.size, fact.md5))
