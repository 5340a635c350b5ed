"""One client root as a tree: who stands where, what changed, what is in use.

``Store`` holds the database, the working copies and the few things that live only as long as the process: which inodes
programs have open, when an object last changed. ``tree`` and ``objects`` change it for the mount's users, ``apply``
for the servers. Must not know FUSE or HTTP, nor whether anybody is online.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cachetools

from ..core import names
from ..core.model import FileFact, Right
from ..errors import NoSpace, Stale, StateError
from . import parked, pins, records
from .database import Damaged
from .parked import Parked
from .records import Kind, Node, ObjectRecord
from .state import State
from .uses import Uses
from .workdir import OBJECTS, Workdir

ROOT_INO = 1
_FIRST_INO = 1000  # below: the mount's own files
_INO_BLOCK = 10_000
_NODES_CACHED = 16_384


@dataclass(frozen=True, slots=True)
class Head:
    """What nearly every operation needs to know of an object; all heads are in memory."""

    key: int
    ino: int
    name: str
    folder: str
    sidecar: str
    right: Right


@dataclass(slots=True)
class Activity:
    """When an object changed, in seconds of the store's steady clock."""

    first: float
    last: float


@dataclass(slots=True)
class Changes:
    """The local changes of this process's time that quiet time and upload snapshots are judged by."""

    objects: dict[int, Activity]
    contents: dict[int, float]  # inode -> last write or new name
    vanished: dict[tuple[int, str], float]  # (object, path) -> when its name went


class Store:
    """The open client root. All methods are synchronous and short; trio thread only."""

    def __init__(
        self,
        root: Path,
        *,
        local_only: Sequence[str] | None = None,
        wall_clock: Callable[[], float] = time.time,
        steady_clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open or make the client root. Raises Busy and StateError (see ``state``).

        *local_only* are the name patterns of files that never leave this machine: None for those that the last mount
        was told (``keep_local_only``).
        """
        self.files = Workdir(root)
        self.wall_clock = wall_clock
        self.steady_clock = steady_clock
        self.doorbell: Callable[[int], None] = lambda key: None
        self.stirred: Callable[[], None] = lambda: None  # copies came, went or may go now: see ``sync.eviction``
        self.uses = Uses(wall_clock)
        self.pins: dict[int, set[str]] = {}  # object -> pinned paths: see ``pins``
        self.heads: dict[int, Head] = {}
        self.by_ino: dict[int, Head] = {}
        self.by_name: dict[str, Head] = {}
        self.changes = Changes({}, {}, {})
        self.writers: Counter[int] = Counter()  # handles open for writing, by inode
        self.unflushed: Counter[int] = Counter()  # handles with writes that no flush or fsync followed yet
        self.writes: Counter[int] = Counter()  # writes so far by inode: tells whether a snapshot is still true
        self.marked: set[int] = set()  # inodes whose present writing is already noted in the database
        self.fresh: set[int] = set()  # directories whose names may not be on the disk yet: see names_to_sync
        self.sidecar_gone: dict[int, float] = {}  # object -> when an editor took its sidecar away
        self.parked: dict[int, dict[str, Parked]] = {}  # object -> path -> file removed a moment ago (see ``parked``)
        self.unlabelled: set[int] = set()  # objects whose labels are older than their rows
        self.carried_out: set[int] = set()  # intents that are done, but not yet cleared from their table
        self._nodes: cachetools.LRUCache[int, Node] = cachetools.LRUCache(_NODES_CACHED)
        self._open(root)
        self.local_only = self._kept_local_only() if local_only is None else tuple(local_only)

    def _kept_local_only(self) -> tuple[str, ...]:
        try:
            kept = json.loads(self.state.meta("local_only") or "null")
        except ValueError:
            return names.LOCAL_ONLY
        fits = isinstance(kept, list) and all(isinstance(pattern, str) for pattern in kept)
        return tuple(kept) if fits else names.LOCAL_ONLY

    def keep_local_only(self) -> None:
        """What the mount was told counts for commands and programs on this client root, too."""
        self.state.set_meta("local_only", json.dumps(self.local_only))

    def _open(self, root: Path) -> None:
        """Open the state file; one that turns out to be damaged as its objects are read is set aside."""
        self._use(State(root))
        try:
            self._reload()
        except (Damaged, ValueError, KeyError, TypeError) as error:
            reason = error.reason if isinstance(error, Damaged) else f"its rows make no sense: {error}"
            self.state.close(clean=False)
            self._use(State(root, condemned=reason))
            self._reload()
        except BaseException:
            self.state.close(clean=False)
            raise

    def _use(self, state: State) -> None:
        self.state = state
        self.state.on_rollback = self._reload
        self.db = state.db
        self.files.give_up = state.room.give_up

    def _reload(self) -> None:
        """Have in memory what the rows say: at the start, and after a transaction that came to nothing."""
        for known in (self.heads, self.by_ino, self.by_name):
            known.clear()
        self._nodes.clear()
        self.marked.clear()  # at worst noted once more
        self._next_ino = self._reserved = 0
        for record in records.objects(self.db, "removed_at IS NULL"):
            self._know(_head(record))
        self.pins = pins.load(self)

    def close(self, *, clean: bool) -> None:
        """End the use of the client root; *clean* says that rows and working copies agree."""
        if clean:
            parked.let_all_go(self)
            self._note_uses()
        self.state.close(clean=clean and not self.state.rolled_back)

    def _note_uses(self) -> None:
        with suppress(NoSpace):  # only the order of evictions
            while self.uses.flush(self.state):
                pass

    # -- inode numbers --------------------------------------------------------------------------------------------

    def new_ino(self) -> int:
        """A number never used before, also not before the last crash: blocks are reserved in the database."""
        if self._next_ino >= self._reserved:
            start = max(_FIRST_INO, int(self.state.meta("next_ino") or 0))
            self.state.set_meta("next_ino", str(start + _INO_BLOCK))
            self._next_ino, self._reserved = start, start + _INO_BLOCK
        self._next_ino += 1
        return self._next_ino - 1

    def skip_inos(self) -> None:
        """Give no number out that a row has already."""
        highest = records.highest_ino(self.db)
        if highest >= int(self.state.meta("next_ino") or 0):
            self._next_ino = self._reserved = 0
            self.state.set_meta("next_ino", str(highest + 1))

    # -- objects ----------------------------------------------------------------------------------------------------

    def record(self, key: int) -> ObjectRecord:
        """The whole record of an object. Raises StateError when there is none."""
        found = records.object_by(self.db, "key", key)
        if found is None:
            raise StateError(f"object number {key} is not known here")
        return found

    def record_of_id(self, oaio_id: str) -> ObjectRecord | None:
        return records.object_by(self.db, "oaio_id", oaio_id)

    def add_object(self, new: ObjectRecord) -> None:
        records.add_object(self.db, new)
        if not new.removed:
            self.fresh.add(new.ino)
            self._know(_head(new))

    def update_object(self, key: int, **fields: object) -> None:
        """Change fields of an object, keeping its head in step."""
        records.update_object(self.db, key, **fields)
        if not fields.keys().isdisjoint(("name", "sidecar", "right", "removed_at")):
            self._forget(key)
            record = self.record(key)
            if not record.removed:
                self._know(_head(record))

    def delete_object(self, key: int) -> None:
        records.delete_object(self.db, key)
        self._forget(key)
        self.pins.pop(key, None)
        self._nodes.clear()
        self.changes.objects.pop(key, None)

    def _know(self, head: Head) -> None:
        self.heads[head.key] = self.by_ino[head.ino] = self.by_name[head.name] = head

    def _forget(self, key: int) -> None:
        head = self.heads.pop(key, None)
        if head is not None:
            del self.by_ino[head.ino]
            self.by_name.pop(head.name, None)

    # -- nodes --------------------------------------------------------------------------------------------------------

    def node(self, ino: int) -> Node:
        """The node of an inode below an object. Raises Stale when its name went to something else."""
        found = self._nodes.get(ino)
        if found is None:
            found = records.node(self.db, ino)
            if found is None:
                raise Stale("this file or folder has been replaced or removed")
            self._nodes[ino] = found
        return found

    def find_node(self, ino: int) -> Node | None:
        try:
            return self.node(ino)
        except Stale:
            return None

    def child(self, parent: int, name: str) -> Node | None:
        return records.child(self.db, parent, name)

    def children(self, parent: int) -> list[Node]:
        return records.children(self.db, parent)

    def add_node(self, new: Node) -> None:
        records.add_node(self.db, new)
        self._nodes[new.ino] = new
        if new.kind is Kind.DIRECTORY:
            self.fresh.add(new.ino)

    def update_node(self, ino: int, **fields: object) -> None:
        records.update_node(self.db, ino, **fields)
        self._nodes.pop(ino, None)

    def delete_node(self, ino: int) -> None:
        records.delete_node(self.db, ino)
        self._nodes.pop(ino, None)
        self.fresh.discard(ino)
        self.changes.contents.pop(ino, None)
        self.marked.discard(ino)
        self.writes.pop(ino, None)

    def renumber(self, node: Node) -> Node:
        """Give the name a new inode, its content being another than the kernel believes; the node as it is now."""
        ino = self.new_ino()
        records.renumber(self.db, node.ino, ino)
        self._nodes.pop(node.ino, None)
        for known in (self.writes, self.changes.contents):
            known.pop(node.ino, None)
        self.marked.discard(node.ino)
        moved = self.node(ino)
        self.content_changed(moved)
        return moved

    def rename_file(self, source: str, target: str) -> None:
        """Rename in the client root as part of the running transaction: taken back when that comes to nothing."""
        undo, settle = self.files.rename(source, target)
        self.state.on_undo(undo)
        self.state.on_commit(settle)

    # -- places -----------------------------------------------------------------------------------------------------

    def path_in_object(self, node: Node) -> str:
        """The node's path relative to its object; for a displaced node the one that it had."""
        if node.parent == records.DISPLACED:
            return node.name
        parts = [node.name]
        head_ino = self.heads[node.object].ino if node.object in self.heads else self.record(node.object).ino
        while node.parent != head_ino:
            node = self.node(node.parent)
            parts.append(node.name)
        return "/".join(reversed(parts))

    def at(self, head: Head, path: str) -> Node | None:
        """What stands at *path* in an object."""
        ino, node = head.ino, None
        for name in path.split("/"):
            node = self.child(ino, name)
            if node is None:
                return None
            ino = node.ino
        return node

    def folder_path(self, ino: int) -> str:
        """Path in the client root of the working copy of a directory: an object's or one below."""
        parts: list[str] = []
        while ino not in self.by_ino:  # no recursion: folders may be nested deeper than that goes
            node = self.node(ino)
            parts.append(node.name)
            ino = node.parent
        return "/".join((OBJECTS, self.by_ino[ino].folder, *reversed(parts)))

    def work_path(self, node: Node) -> str:
        """Path in the client root where the node's bytes are, or would be when local."""
        if node.parent == records.DISPLACED:
            return f"detached/{node.ino}"
        return f"{self.folder_path(node.parent)}/{node.name}"

    def absolute(self, node: Node) -> str:
        return self.files.absolute(self.work_path(node))

    def names_to_sync(self, folder: int) -> tuple[str, ...]:
        """The absolute folders that have to be synced for the names in the directory *folder* to be durable.

        That is the folder, and those above it for as long as their own names are fresh; ``objects`` for the root.
        """
        if folder == ROOT_INO:
            return (self.files.absolute(OBJECTS),)
        here = self.files.absolute(self.folder_path(folder))
        return (here, *self.names_to_sync(self._above(folder))) if folder in self.fresh else (here,)

    def names_synced(self, folder: int, synced: Sequence[str]) -> None:
        """The folders *synced* are on the disk: *folder* and those above, unless renamed or gone meanwhile."""
        if folder == ROOT_INO or folder not in self.fresh:
            return
        try:
            unchanged = self.names_to_sync(folder) == synced
        except Stale:
            unchanged = False
        if unchanged:
            above = self._above(folder)
            self.fresh.discard(folder)
            self.names_synced(above, synced[1:])

    def _above(self, folder: int) -> int:
        return ROOT_INO if folder in self.by_ino else self.node(folder).parent

    def is_sidecar(self, node: Node) -> bool:
        head = self.by_ino.get(node.parent)
        return head is not None and node.name == head.sidecar

    def is_attached(self, node: Node, path: str) -> bool:
        """True for what belongs to the versions on the servers: neither the sidecar nor an editor's own file."""
        if node.kind is not Kind.FILE or node.parent == records.DISPLACED or self.is_sidecar(node):
            return False
        return not self.is_local_only(node.object, path)

    def is_local_only(self, key: int, path: str) -> bool:
        """True for an editor's own file, by its name; one that the agreed version has is the user's all the same."""
        return names.is_local_only(path, self.local_only) and not records.has_base_file(self.db, key, path)

    # -- the object's files -------------------------------------------------------------------------------------------

    def attached(self, key: int) -> dict[str, Node]:
        """All attached files of an object by path, dirty ones with the facts they last had."""
        return {path: node for path, node in self.walk(key) if self.is_attached(node, path)}

    def walk(self, key: int, nodes: Iterable[Node] | None = None) -> Iterator[tuple[str, Node]]:
        """All nodes of an object with their paths, folders before what is in them; displaced ones left out.

        *nodes* are its nodes, where the caller has them.
        """
        below: dict[int, list[Node]] = {}
        for node in records.nodes_of(self.db, key) if nodes is None else nodes:
            below.setdefault(node.parent, []).append(node)
        open_folders = [("", self.heads[key].ino if key in self.heads else self.record(key).ino)]
        while open_folders:
            prefix, ino = open_folders.pop()
            for node in below.get(ino, ()):
                path = prefix + node.name
                yield path, node
                if node.kind is Kind.DIRECTORY:
                    open_folders.append((path + "/", node.ino))

    def base_files(self, key: int) -> dict[str, FileFact]:
        return records.base_files(self.db, key)

    # -- noting changes -----------------------------------------------------------------------------------------------

    def touch(self, key: int) -> None:
        """Note a local change of the object that the servers are to learn of."""
        records.bump(self.db, key, self.wall_clock())
        self.active(key)
        self.doorbell(key)

    def active(self, key: int) -> None:
        """Put off the object's next push: something is going on in it."""
        now = self.steady_clock()
        activity = self.changes.objects.get(key)
        if activity is None:
            self.changes.objects[key] = Activity(now, now)
        else:
            activity.last = now

    def content_changed(self, node: Node) -> None:
        self.changes.contents[node.ino] = self.steady_clock()

    def name_gone(self, key: int, path: str) -> None:
        self.changes.vanished[(key, path)] = self.steady_clock()

    def settled(self, key: int) -> None:
        """Forget the times of an object's changes: all of them are on the servers."""
        self.changes.objects.pop(key, None)
        for gone in [entry for entry in self.changes.vanished if entry[0] == key]:
            del self.changes.vanished[gone]


def _head(record: ObjectRecord) -> Head:
    return Head(record.key, record.ino, record.name, record.folder, record.sidecar, record.right)
