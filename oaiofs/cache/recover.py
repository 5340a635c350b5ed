"""After an end that was not ordered: bring rows and working copies back together.

What users make, write and remove is so on the disk before the rows tell of it, and there the disk is right. Renames,
and all that comes from the servers, are in the rows first, their part on the disk noted as intents in the same
transaction, and there the rows are. Nothing is ever deleted that might be an edit: what is found and not explained is
the user's newest content.

The crash table: state found -> cause -> who repairs it, and how. On this machine, here:

| on the disk | in the rows | cause | repaired by |
| --- | --- | --- | --- |
| anything | intent | killed between a commit and its renames, removals, new sidecar | carried out |
| something else at an intent's target | intent | put there by hand | set aside as a conflict copy (``found``) |
| file or folder | no node | killed between create or mkdir and its commit, or by hand | new node; a file is dirty |
| no file | local node, as agreed | killed between unlink or eviction and its commit, or by hand | a placeholder again |
| no file | local node, else | killed between unlink and its commit, or by hand | node removed, object dirty |
| file | placeholder | killed between download and its commit, or by hand | hashed: the announced bytes or an edit |
| file, other size or mtime | clean node | written without us, or a power cut | dirty |
| as agreed | dirty node | killed between the note that a file is about to change and its change | hashed at the push |
| no folder | folder's node | killed in rmdir, or by hand | made again |
| another kind than the row's | node | by hand | node removed, what is there taken in |
| what no row can tell of, or can't be looked at | no node | by hand | left alone, with a word in the log |
| folder or link called like the sidecar | clean node | by hand | taken in; the sidecar has another name |
| sidecar that differs, unwritten | clean node | by hand | written anew from the values |
| sidecar that was written | dirty node | killed between write and close, or rename and judging | judged, as at close |
| sidecar without text | dirty node | killed between truncate and write | written anew from the values |
| detached/INO | displaced node | killed while a program had it open | written to: a conflict copy; else removed |
| detached/INO that can't be brought back | displaced node | a disk or state file that refuses it | left, tried anew |
| detached/INO | no node | killed after its node was removed, or the rows were lost | kept in the trash |
| staging/* | - | killed in a download, upload or making a sidecar, before the commit | removed |
| staging/* | placeholder, or as agreed | killed in an eviction, after its commit or before it | removed |
| something else at objects/FOLDER | object | by hand | set aside (``found``), the folder made again |
| objects/FOLDER | no object | killed in mkdir or an adoption before its commit | removed if without files |
| objects/FOLDER with files | no object, or an older one | the state file or its newest rows were lost | ``rebuild`` |
| trash/FOLDER.json alone | object | killed before the commit of a removal | overwritten by the next one |
| none of it | local changes counted | nothing: dirty is derived, not queued | ``sync`` pushes after the start |

With the servers; nothing of it is repaired here, but by the step that ``core.plan`` names at the next look:

| on the servers | in the rows | cause | repaired by |
| --- | --- | --- | --- |
| nothing | pending version | killed before the first put | ``push`` forgets it and makes the next |
| version's folder, part or whole | pending version | killed before announcing it | ``push`` and ``pull`` remove it |
| announced version | the same pending | killed after it, or its answer lost | ``rebase_on_pending`` makes it the base |
| announced, and a newer one | pending | and somebody went on from it | ``pull`` makes that its base and merges |
| another version | pending | killed in giving up a version that came too late | ``pull`` removes and merges |
| announced version | settled | killed after ``settle`` | nothing to do |
| newer version | older base | killed in a pull before its commit | ``pull``, once more |
| newer version | its base, intents | killed in a pull after its commit | here, see above |
| object | removed, not told | killed in the grace time of a removal | ``sync`` deletes; a newer edit revives it |
| no object | removed | killed between the deletion there and its commit here | ``sync`` forgets it |
| no object | clean | killed before it left | ``sync`` lets it leave, into the trash |
| object | no row | killed before its adoption's commit | ``sync`` adopts it |

A power cut forgets, besides, whatever was not synced: commits of the last moments (WAL, ``synchronous=NORMAL``), names,
bytes; in any order. What makes that harmless:

- ``fsync`` of a file syncs its bytes, its name with those of all folders above it that are new, and the log of the
  rows: nothing acknowledged is forgotten, and the rows know that it is dirty. Rows that come too early only make
  something dirty that is not; rows that come too late find a file of another size or mtime, or none, as above.
- A push syncs the files that it sends, and the log with the version's stamp and the object's id, before anything is
  stored: no agreed file can be found half-written, no folder on the storage host is forgotten, no object is registered
  twice.
- A download is synced before it has its name. A sidecar is not: it is written anew from the values. Drafts are text
  that a program saved, and durable when that program synced it.
- An eviction syncs the log before bytes go: what says that they are agreed is not forgotten. If the eviction itself is,
  in part, there is no file at an agreed node, or a file at a placeholder, as above.
- Intents are forgotten after their renames, before those are synced; ext4 and xfs write names down in their order. On
  a disk that does not, the file of an older version can stand at a placeholder again: it becomes a new version, and the
  one that it replaces stays in the history.
- The log's own name, new at each start, is synced before anything is noted in it (``state``).

Must not know the servers.
"""

from __future__ import annotations

import contextlib
import logging
import os

from ..core import merge, names, sidecar
from ..errors import InvalidSidecar, OaiofsError
from . import apply, found, objects, rebuild, records
from .records import Kind, Node
from .room import is_full
from .store import Head, Store
from .workdir import OBJECTS, md5_of

log = logging.getLogger(__name__)


def recover(store: Store) -> None:
    """Mend whatever the last process left. Quick after an ordered end; else one look at every local file."""
    objects.run_intents(store)
    store.files.clear_staging(keep=[source for _, source, _, _ in records.intents(store.db)])
    rebuild.fill(store, _compare_or_leave)
    if store.state.clean:
        store.state.forget_meta("damaged")  # seen to, and all was well since
    else:
        log.info("the last mount did not end in order: comparing the working copies")
        store.fresh |= set(store.by_ino) | records.directories(store.db)  # a kill is often followed by a power cut
        _clear_folders(store)
        rebuild.mend(store, _compare_or_leave)
        for head in list(store.heads.values()):
            _compare_or_leave(store, head)
    _take_back_displaced(store)
    rebuild.label_all(store)
    store.state.clean = True  # rows and working copies agree again


def compare(store: Store, head: Head) -> None:
    """Bring one object's rows and working copy together."""
    with store.state.transaction():
        _Comparison(store, head).run()
    objects.run_intents(store)


def _compare_or_leave(store: Store, head: Head) -> None:
    """What the disk refuses of one object keeps no other from being shown, and is tried again at the next start."""
    try:
        compare(store, head)
    except OSError as error:
        if is_full(error):
            raise
        log.error("%s could not be compared with its working copy: %s", head.name, error)


def _take_back_displaced(store: Store) -> None:
    device_id = store.state.meta("device_id") or "unknown"
    for node in records.displaced(store.db):
        try:
            apply.take_back(store, node, device_id)
        except (OaiofsError, OSError) as error:  # the others are not to wait for it, nor the mount
            name, place = f"{store.record(node.object).name}/{node.name}", store.absolute(node)
            log.error("%s, which was open, could not be brought back, and stays in %s: %s", name, place, error)


def _clear_folders(store: Store) -> None:
    """Working copies of no object that hold no file: they were just being made."""
    known = records.folders(store.db)
    for entry in list(os.scandir(store.files.absolute(OBJECTS))):
        if entry.name not in known and entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(OSError, RecursionError):  # not empty: all that is left of something
                for folder, _, _ in os.walk(entry.path, topdown=False):
                    os.rmdir(folder)


class _Comparison:
    """One object's working copy against its rows."""

    def __init__(self, store: Store, head: Head) -> None:
        self.store = store
        self.head = head
        self.base = store.base_files(head.key)
        self.changed = False

    def run(self) -> None:
        place = f"{OBJECTS}/{self.head.folder}"
        root = self.store.files.absolute(place)
        if not os.path.isdir(root):
            found.set_aside(self.store, place)
        os.makedirs(root, mode=0o700, exist_ok=True)
        folders = [(root, self.head.ino)]
        while folders:
            folders += self._folder(*folders.pop())
        self._sidecar()
        if self.changed:
            self.store.touch(self.head.key)

    def _folder(self, path: str, ino: int) -> list[tuple[str, int]]:
        """Compare what is right in one folder; the folders in it, with their inodes, that are still to be compared."""
        try:
            entries = {entry.name: entry for entry in os.scandir(path)}
        except OSError as error:
            log.warning("what is in %s is left alone: %s", path, error.strerror)
            return []
        below = []
        for node in self.store.children(ino):
            entry = entries.pop(node.name, None)
            if entry is None:
                below += self._missing(node, path)
            elif node.kind is Kind.DIRECTORY and entry.is_dir(follow_symlinks=False):
                below.append((entry.path, node.ino))
            elif node.kind is Kind.FILE and entry.is_file(follow_symlinks=False):
                self._compare(node, entry.path)
            elif not (node.kind is Kind.LINK and entry.is_symlink()):
                self._forget(node)
                entries[node.name] = entry
        for entry in entries.values():
            self._unknown(entry, ino)
        return below

    def _missing(self, node: Node, folder: str) -> list[tuple[str, int]]:
        if node.kind is Kind.DIRECTORY:
            os.makedirs(f"{folder}/{node.name}", mode=0o755, exist_ok=True)
            return [(f"{folder}/{node.name}", node.ino)]
        if node.local and not self.store.is_sidecar(node):
            path = self.store.path_in_object(node)
            if not node.dirty and node.fact.same_content(self.base.get(path)):
                self.store.update_node(node.ino, local=0)
                return []
            log.warning("%s/%s is gone from the working copy", self.head.name, path)
            self._forget(node)
        return []

    def _forget(self, node: Node) -> None:
        self.changed = True
        doomed = [node]
        for one in doomed:
            if one.kind is Kind.DIRECTORY:
                doomed += self.store.children(one.ino)
        for one in reversed(doomed):
            self.store.delete_node(one.ino)

    def _compare(self, node: Node, path: str) -> None:
        if self.store.is_sidecar(node):
            return
        try:
            status = os.stat(path)
            same = not node.local and status.st_size == node.size and md5_of(path) == node.md5
        except OSError as error:
            log.warning("%s is left alone: %s", path, error.strerror)
            return
        if not node.local:
            self.store.update_node(node.ino, local=1, dirty=int(not same), mtime_ns=status.st_mtime_ns)
            self.changed |= not same
        elif not node.dirty and (status.st_size, status.st_mtime_ns) != (node.size, node.mtime_ns):
            self.store.update_node(node.ino, dirty=1)
            self.changed |= self._is_attached(node)

    def _is_attached(self, node: Node) -> bool:
        return self.store.is_attached(node, self.store.path_in_object(node))

    def _unknown(self, entry: os.DirEntry[str], parent: int) -> None:
        node = found.take_in(self.store, self.head.key, parent, entry.path)
        if node is None or self.store.is_sidecar(node):
            return
        log.info("%s/%s was found in the working copy", self.head.name, self.store.path_in_object(node))
        below = f"{self.store.path_in_object(node)}/"
        self.changed |= any(f"{path}/".startswith(below) for path in self.store.attached(self.head.key))

    def _sidecar(self) -> None:
        node = self.store.child(self.head.ino, self.head.sidecar)
        if node is not None and node.kind is not Kind.FILE:
            self._leave_name()
            node = None
        if node is None or not node.dirty or self._is_emptied(node):
            if node is None or node.dirty or not self._shows_values(node):
                objects.write_sidecar(self.store, self.head.key)
            return
        try:
            objects.judge_sidecar(self.store, node)
        except (InvalidSidecar, OSError) as error:  # of what can't be read nobody knows whether it is an edit
            log.warning("%s/%s: %s", self.head.name, self.head.sidecar, error)

    def _leave_name(self) -> None:
        """A folder or link has the sidecar's name, as an attached file may have it."""
        taken = [path for path, _ in self.store.walk(self.head.key)]
        self.store.update_object(self.head.key, sidecar=names.sidecar_name(taken))

    def _is_emptied(self, node: Node) -> bool:
        """Whether a program had emptied it and not written yet: there is nothing to keep."""
        try:
            return not objects.sidecar_text(self.store, node).strip()
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def _shows_values(self, node: Node) -> bool:
        """Whether the sidecar's text is what its row says: the values as they are, or a draft."""
        record = self.store.record(self.head.key)
        if record.draft is not None:
            return True
        try:
            parsed = sidecar.parse(objects.sidecar_text(self.store, node))
        except (InvalidSidecar, OSError):
            return False
        return merge.same(parsed, record.values)
