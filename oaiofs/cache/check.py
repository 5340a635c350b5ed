"""Whether a client root is as the code relies on it to be: the invariants of rows, files, and both together.

Pure but for reading: rows and what a scan of the disk found go in, ``Problem`` sentences come out; ``mend`` carries a
remedy out. The invariants, each with what relies on it:

State file: SQLite finds it in order, and no row refers to one that is missing. Client root, state files and lock are
their owner's alone. No intent is left (``run_intents`` follows each commit). Numbers of inodes and folders are below
the next ones to be given, or one would be used twice. Heads and pins in memory are what the rows say.

Object: its working copy is there. ``local_seq >= settled_seq``; ``pending_since`` says since when they differ. One
never registered, or rebuilt, is dirty. One that is *not dirty* is the agreed version: values, paths and contents, but
for files that no storage host takes; otherwise an edit would never be sent. A draft has its sidecar; a sidecar that
nobody changed shows ``shown_values``. Conflict records of values say which value.

Node: below its object by a chain of directories of that same object, without cycles; a name that a disk can have, once.
A file, folder or link of that kind stands on the disk for each local one and for nothing else; local and not dirty, it
has the size and mtime of its row (deep: the md5 too). A placeholder, evicted or never downloaded, has no file, and its
bytes are known to be on a storage host: by its origin or the agreed version. A displaced node has its bytes at
``detached/INO``, and reversed.

Trash: each entry has its note, or it could not be restored. Staging: empty but for transfers of the running process.
Versions: each content has the size (deep: the md5) that it is named after.

Must not know the mount, nor the servers: what they have is not looked at.
"""

from __future__ import annotations

import enum
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..core import merge, names, sidecar
from ..errors import InvalidSidecar, StateError
from . import parked, pins, records, versions
from .records import Kind, Node, ObjectRecord
from .state import PRIVATE
from .store import Store
from .workdir import DETACHED, OBJECTS, STAGING, TRASH, is_text, md5_of, printable


class Remedy(enum.Enum):
    """What repairing does about a problem, as words after "--repair would"."""

    NONE = ""
    COMPARE = "take what is on the disk for the newest state"
    RESEND = "compare the object with the server again, and send what differs"
    REMAKE = "make its rows again from the working copy, which is merged with the server's version"
    TAKE_IN = "take it in as what its label says"
    CLOSE = "close it to other users"
    TIDY = "do what was left undone"
    FORGET = "forget that record"


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken invariant: *where* it is, *what* is wrong there, the *remedy*; *key* is the object that it is of."""

    where: str
    what: str
    remedy: Remedy = Remedy.NONE
    key: int | None = None

    def __str__(self) -> str:
        advice = f" (--repair would {self.remedy.value})" if self.remedy.value else ""
        return f"{self.where}: {self.what}{advice}"


@dataclass(frozen=True, slots=True)
class Found:
    """What stands at one path; *kind* None for what no node can be."""

    kind: Kind | None
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Disk:
    """One working copy: *files* by path, None where its folder is missing; the sidecar's text where there is one."""

    files: Mapping[str, Found] | None
    text: bytes | None


#: Of an object that is removed here.
NOWHERE = Disk(None, None)


# -- looking at the disk ----------------------------------------------------------------------------------------------


def look(root: str, folder: str, sidecar_name: str) -> Disk:
    """Look at one working copy below the client root *root*. Blocks: for threads."""
    top = f"{root}/{OBJECTS}/{folder}"
    if not os.path.isdir(top):
        return Disk(None, None)
    files: dict[str, Found] = {}
    pending = [""]
    while pending:
        prefix = pending.pop()
        try:
            entries = list(os.scandir(f"{top}/{prefix}"))
        except FileNotFoundError:
            continue  # removed meanwhile: whatever that means is looked at again
        except OSError:
            continue  # nobody can look into it, also those who would mend what is found
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            kind = _kind(status.st_mode) if is_text(entry.name) else None
            files[prefix + entry.name] = Found(kind, status.st_size, status.st_mtime_ns)
            if kind is Kind.DIRECTORY:
                pending.append(f"{prefix}{entry.name}/")
    try:
        with open(f"{top}/{sidecar_name}", "rb") as stream:
            return Disk(files, stream.read(sidecar.MAX_BYTES + 1))
    except OSError:
        return Disk(files, None)


def _kind(mode: int) -> Kind | None:
    tests = ((stat.S_ISREG, Kind.FILE), (stat.S_ISDIR, Kind.DIRECTORY), (stat.S_ISLNK, Kind.LINK))
    return next((kind for test, kind in tests if test(mode)), None)


# -- the client root --------------------------------------------------------------------------------------------------


def examine_root(store: Store, *, in_use: bool) -> Iterator[Problem]:
    """Everything that is of no single object; *in_use* where transfers may be under way."""
    yield from _closed_to_others(store)
    for _, source, target, _ in records.intents(store.db):
        yield Problem(source, f"was to be {f'moved to {target}' if target else 'removed'} and still is", Remedy.TIDY)
    yield from _numbers(store)
    yield from _strays(store, in_use=in_use)
    by_key = {(head.ino, head.name) for head in store.heads.values()}
    by_name = {(head.ino, name) for name, head in store.by_name.items()}
    if not by_key == by_name == set(records.visible_names(store.db)):
        yield Problem("the mount", "shows other objects than the state file has: end it and mount again")
    if pins.load(store) != store.pins:
        yield Problem("the mount", "goes by other pins than the state file has: end it and mount again")


def _closed_to_others(store: Store) -> Iterator[Problem]:
    for name, allowed in (("", 0o700), *((name, 0o600) for name in PRIVATE)):
        path = store.files.absolute(name)
        try:
            mode = stat.S_IMODE(os.stat(path).st_mode)
        except FileNotFoundError:
            continue
        if mode & ~allowed:
            yield Problem(path.rstrip("/"), f"is open to other users (mode {mode:04o})", Remedy.CLOSE)


def _numbers(store: Store) -> Iterator[Problem]:
    ino = records.highest_ino(store.db)
    if ino and ino >= int(store.state.meta("next_ino") or 0):
        yield Problem("the state file", "would give an inode number a second time", Remedy.TIDY)
    key = int(store.db.execute("SELECT coalesce(max(key), 0) FROM object").fetchone()[0])
    if key and key >= int(store.state.meta("next_object") or 1):
        yield Problem("the state file", "would give a folder number a second time", Remedy.TIDY)


def _strays(store: Store, *, in_use: bool) -> Iterator[Problem]:
    root = store.files
    folders = records.folders(store.db)
    for name in sorted(os.listdir(root.absolute(OBJECTS))):
        if name not in folders and is_text(name) and os.path.isdir(root.absolute(f"{OBJECTS}/{name}")):
            yield Problem(f"{OBJECTS}/{name}", "is a working copy that the state file does not know", Remedy.TAKE_IN)
    displaced = {str(node.ino): node for node in records.displaced(store.db)}
    there = set(filter(is_text, os.listdir(root.absolute(DETACHED))))
    for name in sorted(there - displaced.keys()):
        yield Problem(f"{DETACHED}/{name}", "belongs to no file", Remedy.TIDY)
    for name in sorted(displaced.keys() - there):
        what = f"is gone: the bytes of {displaced[name].name}, which was open"
        yield Problem(f"{DETACHED}/{name}", what, Remedy.FORGET, displaced[name].object)
    moving = [source for _, source, _, _ in records.intents(store.db)]
    kept = {os.path.basename(place) for place in (*parked.places(store), *moving)}
    for name in sorted(set(os.listdir(root.absolute(STAGING))) - kept):
        if not (in_use and name.startswith(f"{os.getpid()}-")):
            yield Problem(f"{STAGING}/{printable(name)}", "was left by a transfer that has ended", Remedy.TIDY)
    yield from spoilt_versions(versions.spoilt(root.root))
    trash = set(os.listdir(root.absolute(TRASH)))
    for name in sorted(trash):
        if os.path.isdir(root.absolute(f"{TRASH}/{name}")) and f"{name}.json" not in trash:
            where = f"{TRASH}/{printable(name)}"
            yield Problem(where, "has no note, so it can't be restored by its name", Remedy.NONE)


def spoilt_versions(wrong: Iterable[str]) -> Iterator[Problem]:
    """What ``versions.spoilt`` found."""
    for name in wrong:
        where = f"{versions.VERSIONS}/{printable(name)}"
        yield Problem(where, "is not the old version's content that it should be", Remedy.TIDY)


# -- one object -------------------------------------------------------------------------------------------------------


def examine_object(store: Store, key: int, disk: Disk) -> list[Problem]:
    """What is wrong with one object whose working copy is *disk*."""
    try:
        record = records.object_by(store.db, "key", key)
    except (ValueError, KeyError, TypeError) as error:
        return [Problem(f"object number {key}", f"its row can't be read: {error}", Remedy.NONE, key)]
    if record is None:
        return []
    if record.removed:
        return list(_counters(record))
    return list(_Examination(store, record, disk).problems())


def _counters(record: ObjectRecord) -> Iterator[Problem]:
    name, key = record.name, record.key
    if record.local_seq < record.settled_seq:
        yield Problem(name, "more is settled than was changed here", Remedy.RESEND, key)
    if record.dirty != (record.pending_since is not None):
        yield Problem(name, "it is not clear since when it waits to be sent", Remedy.RESEND, key)
    if record.base_stamp is None and not record.dirty:
        yield Problem(name, "it was never registered, and nothing would do so", Remedy.RESEND, key)
    if record.rebuilt and not record.dirty:
        yield Problem(name, "it is to be merged with the server, and nothing would do so", Remedy.RESEND, key)


class _Examination:
    """One object's rows against each other and against its working copy."""

    def __init__(self, store: Store, record: ObjectRecord, disk: Disk) -> None:
        self.store = store
        self.record = record
        self.disk = disk
        self.base = store.base_files(record.key)
        self.all = [node for node in records.nodes_of(store.db, record.key) if node.parent != records.DISPLACED]
        self.nodes: dict[str, Node] = dict(store.walk(record.key))

    def problem(self, path: str, what: str, remedy: Remedy) -> Problem:
        where = f"{self.record.name}/{path}" if path else self.record.name
        return Problem(where, what, remedy, self.record.key)

    def problems(self) -> Iterator[Problem]:
        yield from _counters(self.record)
        misplaced = list(self.misplaced())
        if misplaced:
            yield from misplaced  # what else is wrong may follow from it
            return
        yield from self.conflicts()
        if self.disk.files is None:
            yield self.problem("", f"its working copy {OBJECTS}/{self.record.folder} is gone", Remedy.COMPARE)
            return
        yield from self.kinds(self.disk.files)
        yield from self.contents(self.disk.files)
        yield from self.sidecar()
        if not self.record.dirty:
            yield from self.unsent()

    def misplaced(self) -> Iterator[Problem]:
        reached = {node.ino for node in self.nodes.values()}
        for node in self.all:
            if node.ino not in reached:
                yield self.problem(node.name, "is in no folder of its object", Remedy.REMAKE)
            elif node.name in ("", ".", "..") or "/" in node.name or "\0" in node.name:
                yield self.problem(repr(node.name), "is no name that a file can have", Remedy.REMAKE)

    def conflicts(self) -> Iterator[Problem]:
        for one in records.conflicts(self.store.db, self.record.key):
            if one.kind == "value" and not is_key_path(one.path):
                yield self.problem(one.path, "is said to be in conflict, but is no value's name", Remedy.FORGET)

    def kinds(self, found: Mapping[str, Found]) -> Iterator[Problem]:
        for path, there in found.items():
            node = self.nodes.get(path)
            if node is None and there.kind is None:
                continue  # a pipe or a device: nothing that an object can hold
            if node is None:
                yield self.problem(path, "is in the working copy, but not in the state file", Remedy.COMPARE)
            elif node.kind is not there.kind:
                yield self.problem(path, "is of another kind than in the state file", Remedy.COMPARE)
        for path, node in self.nodes.items():
            if path not in found and (node.local or node.kind is not Kind.FILE):
                yield self.problem(path, "is gone from the working copy", Remedy.COMPARE)

    def contents(self, found: Mapping[str, Found]) -> Iterator[Problem]:
        for path, node in self.nodes.items():
            there = found.get(path)
            if node.kind is not Kind.FILE:
                continue
            if not node.local:
                if there is not None:
                    yield self.problem(path, "is in the working copy, but said not to be downloaded", Remedy.COMPARE)
                if not node.origin and not self.is_stored(path, node):
                    yield self.problem(path, "is not downloaded, and no stored version has it", Remedy.REMAKE)
            elif there is None or node.dirty or self.store.is_sidecar(node):
                continue
            elif (there.size, there.mtime_ns) != (node.size, node.mtime_ns):
                yield self.problem(path, "was changed without the state file knowing", Remedy.COMPARE)

    def is_stored(self, path: str, node: Node) -> bool:
        fact = self.base.get(path)
        return fact is not None and fact.size == node.size and (fact.md5 == node.md5 or not (fact.md5 and node.md5))

    def sidecar(self) -> Iterator[Problem]:
        node = self.nodes.get(self.record.sidecar)
        if node is None:  # an editor's deletion: the next look-up brings it back
            if self.record.draft is not None:
                yield self.problem(self.record.sidecar, "is gone, and a draft with it", Remedy.COMPARE)
            return
        if node.dirty or self.record.draft is not None or self.disk.text is None:
            return
        try:
            same = merge.same(sidecar.parse(self.disk.text), self.record.shown_values)
        except InvalidSidecar:
            same = False
        if not same:
            yield self.problem(node.name, "shows other values than the state file has for it", Remedy.COMPARE)

    def unsent(self) -> Iterator[Problem]:
        """Nothing here differs from the version that both sides are said to have."""
        if not merge.same(self.record.values, self.record.base_values):
            yield self.problem(self.record.sidecar, "has values that would never be sent", Remedy.RESEND)
        attached = self.store.attached(self.record.key)
        refused = {one.what for one in names.unstorable(attached)}
        for path in sorted(self.base.keys() | attached.keys() - refused):
            node = attached.get(path)
            if node is None:
                yield self.problem(path, "is deleted here, which the server would never be told", Remedy.RESEND)
            elif path not in self.base or node.dirty or not self.is_stored(path, node):
                yield self.problem(path, "differs from the agreed version, and would never be sent", Remedy.RESEND)


def is_key_path(text: str) -> bool:
    """Whether a conflict record of a value says which one."""
    try:
        return isinstance(json.loads(text), list)
    except ValueError:
        return False


# -- contents ---------------------------------------------------------------------------------------------------------


def hashes(store: Store, key: int) -> dict[int, tuple[str, str]]:
    """inode -> (absolute path, md5 on record) of the object's files whose bytes are said to be known."""
    known = store.attached(key).values() if key in store.heads else ()
    return {
        node.ino: (store.absolute(node), node.md5) for node in known if node.local and not node.dirty and node.md5
    }


def spoilt(known: Mapping[int, tuple[str, str]]) -> list[int]:
    """Inodes of *known* files whose bytes are others than on record. Blocks: for threads."""
    wrong = []
    for ino, (path, md5) in known.items():
        try:
            if md5_of(path) != md5:
                wrong.append(ino)
        except OSError:
            wrong.append(ino)
    return wrong


def examine_contents(store: Store, key: int, wrong: list[int]) -> Iterator[Problem]:
    """What is still to be said of the inodes that ``spoilt`` found, now that nobody can have changed them meanwhile."""
    for ino in spoilt({ino: one for ino, one in hashes(store, key).items() if ino in wrong}):
        node = store.node(ino)
        where = f"{store.heads[key].name}/{store.path_in_object(node)}"
        yield Problem(where, "has other bytes than it had, with the same size and time: is the disk failing?", key=key)


def known_keys(store: Store) -> list[int]:
    """The numbers of all objects."""
    try:
        return [int(row[0]) for row in store.db.execute("SELECT key FROM object ORDER BY key")]
    except StateError:
        return []
