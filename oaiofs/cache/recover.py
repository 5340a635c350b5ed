"""After an end that was not ordered: bring rows and working copies back together.

For changes of users the disk is right (they are done there first), for changes of the servers the rows are (their
renames are noted as intents first). Nothing is ever deleted that might be an edit: what is found and not explained is
taken as the user's newest content. State found -> cause -> what is done:

| on the disk | in the rows | cause | here |
| --- | --- | --- | --- |
| anything | intent | killed between a commit and its renames | carry them out |
| file | no node | killed between create or rename and its commit | new node, dirty |
| no file | local node, as agreed | killed in an unlink or rename, or the folder was lost | a placeholder again |
| no file | local node, else | killed between unlink or rename and its commit | node removed, object dirty |
| file | placeholder | killed between download and its commit, or by hand | hashed: the announced bytes or an edit |
| file, other size or mtime | clean node | written without us, or a power cut | dirty |
| sidecar that differs, unwritten | clean node | killed while values came in | written anew from the values |
| sidecar that was written | dirty node | killed between write and close | judged, as at close |
| detached/INO | displaced node | killed while it was open | written to: a conflict copy; else removed |
| folder | no node, or reversed | as for files | node or folder made |

Must not know the servers.
"""

from __future__ import annotations

import logging
import os
import stat

from ..core import merge, sidecar
from ..errors import InvalidSidecar
from . import apply, objects, records
from .records import Kind, Node
from .store import Head, Store
from .workdir import DETACHED, OBJECTS, md5_of

log = logging.getLogger(__name__)


def recover(store: Store) -> None:
    """Mend whatever the last process left. Quick after an ordered end; else one look at every local file."""
    objects.run_intents(store)
    store.files.clear_staging()
    if store.state.clean:
        _take_back_displaced(store)
        return
    log.info("the last mount did not end in order: comparing the working copies")
    for head in list(store.heads.values()):
        with store.state.transaction():
            _Comparison(store, head).run()
    _take_back_displaced(store)
    _remove_strays(store)


def _take_back_displaced(store: Store) -> None:
    device_id = store.state.meta("device_id") or "unknown"
    for node in records.displaced(store.db):
        apply.take_back(store, node, device_id)


def _remove_strays(store: Store) -> None:
    """Detached bytes that no row speaks of were dropped before the end."""
    for entry in os.scandir(store.files.absolute(DETACHED)):
        os.unlink(entry.path)


class _Comparison:
    """One object's working copy against its rows."""

    def __init__(self, store: Store, head: Head) -> None:
        self.store = store
        self.head = head
        self.base = store.base_files(head.key)
        self.changed = False

    def run(self) -> None:
        root = self.store.files.absolute(f"{OBJECTS}/{self.head.folder}")
        os.makedirs(root, mode=0o700, exist_ok=True)
        self._folder(root, self.head.ino)
        self._sidecar()
        if self.changed:
            self.store.touch(self.head.key)

    def _folder(self, path: str, ino: int) -> None:
        found = {entry.name: entry for entry in os.scandir(path)}
        for node in self.store.children(ino):
            entry = found.pop(node.name, None)
            if entry is None:
                self._missing(node, path)
            elif node.kind is Kind.DIRECTORY and entry.is_dir(follow_symlinks=False):
                self._folder(entry.path, node.ino)
            elif node.kind is Kind.FILE and entry.is_file(follow_symlinks=False):
                self._compare(node, entry.path)
            elif not (node.kind is Kind.LINK and entry.is_symlink()):
                self._forget(node)
                found[node.name] = entry
        for entry in found.values():
            self._unknown(entry, ino)

    def _missing(self, node: Node, folder: str) -> None:
        if node.kind is Kind.DIRECTORY:
            os.makedirs(f"{folder}/{node.name}", mode=0o755, exist_ok=True)
            self._folder(f"{folder}/{node.name}", node.ino)
        elif node.local and not self.store.is_sidecar(node):
            path = self.store.path_in_object(node)
            if not node.dirty and node.fact.same_content(self.base.get(path)):
                self.store.update_node(node.ino, local=0)
                return
            log.warning("%s/%s is gone from the working copy", self.head.name, path)
            self._forget(node)

    def _forget(self, node: Node) -> None:
        if node.kind is Kind.DIRECTORY:
            for child in self.store.children(node.ino):
                self._forget(child)
        self.changed = True
        self.store.delete_node(node.ino)

    def _compare(self, node: Node, path: str) -> None:
        if self.store.is_sidecar(node):
            return
        status = os.stat(path)
        if not node.local:
            same = status.st_size == node.size and md5_of(path) == node.md5
            self.store.update_node(node.ino, local=1, dirty=int(not same))
            self.changed |= not same
        elif not node.dirty and (status.st_size, status.st_mtime_ns) != (node.size, node.mtime_ns):
            self.store.update_node(node.ino, dirty=1)
            self.changed |= self._is_attached(node)

    def _is_attached(self, node: Node) -> bool:
        return self.store.is_attached(node, self.store.path_in_object(node))

    def _unknown(self, entry: os.DirEntry[str], parent: int) -> None:
        kinds = ((entry.is_symlink(), Kind.LINK), (entry.is_dir(follow_symlinks=False), Kind.DIRECTORY))
        kind = next((kind for is_so, kind in kinds if is_so), Kind.FILE)
        mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
        if kind is Kind.FILE and not entry.is_file(follow_symlinks=False):
            log.warning("%s is neither file nor folder: left alone", entry.path)
            return
        node = Node(
            self.store.new_ino(), self.head.key, parent, entry.name, kind, mode, local=True, dirty=kind is Kind.FILE,
            size=0, md5="", mtime_ns=0,
        )  # fmt: skip
        self.store.add_node(node)
        if kind is Kind.DIRECTORY:
            self._folder(entry.path, node.ino)
        elif kind is Kind.FILE and not self.store.is_sidecar(node):
            log.info("%s/%s was found in the working copy", self.head.name, self.store.path_in_object(node))
            self.changed |= self._is_attached(node)

    def _sidecar(self) -> None:
        node = self.store.child(self.head.ino, self.head.sidecar)
        if node is None or not node.dirty:
            if node is None or not self._shows_values(node):
                objects.write_sidecar(self.store, self.head.key)
            return
        try:
            objects.judge_sidecar(self.store, node)
        except (InvalidSidecar, FileNotFoundError) as error:
            log.warning("%s/%s: %s", self.head.name, self.head.sidecar, error)

    def _shows_values(self, node: Node) -> bool:
        """Whether the sidecar's text is what its row says: the values as they are, or a draft."""
        record = self.store.record(self.head.key)
        if record.draft is not None:
            return True
        try:
            parsed = sidecar.parse(objects.sidecar_text(self.store, node))
        except (InvalidSidecar, FileNotFoundError):
            return False
        return merge.same(parsed, record.values)
