"""The trash: what left the mount, as ordinary files with a note beside them.

    trash/NAME.N/              working copy of an object that was removed here, or is gone from the server
    trash/NAME.N STAMP/        files of an object that stayed, removed by its version STAMP from elsewhere
    trash/NAME.N replaced/     a file that a conflict was ended against, where nobody else has its bytes
    trash/recovered.N/         what was written into an open file of which no row speaks any more (``rebuild``)
    trash/NAME.N.json          the note of either (``core.trash``): the truth about it, no row knows more

Bytes and note get here, and away again, by intents, with the transaction that removes the rows: a kill at any moment
leaves an entry or none.

A version from elsewhere that removes nearly all files of an object is obeyed: no brake could tell a tidy-up from a bug
of a foreign client, and while it held, this device's next push would bring everything back for all. Instead each such
removal is one entry, with the files that were never downloaded, too (the storage host keeps them in the old version),
and one restore undoes it. Must not know the servers, nor how anything is brought back (``restore``).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import stat
from dataclasses import dataclass
from functools import partial

from ..core import trash
from ..core.model import RemoteObject
from ..core.trash import Kept, Note, What
from ..errors import DirectoryNotEmpty, StateError
from . import labels, objects, parked, records, tree
from .records import Kind, Node, ObjectRecord
from .store import Head, Store
from .workdir import OBJECTS, TRASH, is_text, read_file, snapshot

log = logging.getLogger(__name__)

_SUFFIX = ".json"
#: Written before the transaction that it belongs to; a leading dot is no entry's.
_NEW = ".new-"


# -- into the trash ------------------------------------------------------------------------------------------


def remove(store: Store, head: Head, *, even_full: bool = False) -> None:
    """Send the object to the trash; the server is told after the grace time.

    What was removed of it within the last moment goes along: `rm -r` takes the files first. Raises DirectoryNotEmpty
    while anything but the sidecar is in it, unless *even_full*: who may not remove the files can only leave the object
    as it is.
    """
    if not even_full and records.has_children(store.db, head.ino, besides=head.sidecar):
        raise DirectoryNotEmpty(f"{head.name} is not empty")
    with store.state.transaction():
        _take_along(store, head)
        to_trash(store, store.record(head.key), "removed here")
        store.update_object(head.key, removed_at=store.wall_clock())
        store.touch(head.key)
    objects.run_intents(store)


def leave(store: Store, record: ObjectRecord, why: str) -> None:
    """Let an object without unpushed edits leave the mount into the trash."""
    with store.state.transaction():
        to_trash(store, record, why)
        store.delete_object(record.key)
    objects.run_intents(store)


def _take_along(store: Store, head: Head) -> None:
    """The files that `rm -r` has just taken are in the object again, for the trash.

    Where it began too long ago to know, or before a restart, the agreed version tells what there was.
    """
    was = parked.collect(store, head.key)
    for path, one in sorted(was.items()):
        parent, name = tree.folder_for(store, head.ino, path, lambda name, taken: name)
        node = one.node
        if store.child(parent, name) is not None:  # a draft of values that have come back since
            if one.place:
                store.state.on_commit(partial(store.files.remove, one.place))
            continue
        store.add_node(
            Node(
                store.new_ino(), head.key, parent, name, node.kind, node.mode, node.local,
                node.dirty or path == head.sidecar, node.size, node.md5, node.mtime_ns, one.origin,
            )
        )  # fmt: skip
        inode = store.files.inode(one.place) if one.place else None
        if inode is not None:
            objects.move_later(store, one.place, f"{OBJECTS}/{head.folder}/{path}", inode)
    if not was and not store.attached(head.key):
        for path, fact in store.base_files(head.key).items():
            parent, name = tree.folder_for(store, head.ino, path, lambda name, taken: name)
            add_placeholder(store, head.key, parent, name, Kept(fact))


def add_placeholder(store: Store, key: int, parent: int, name: str, kept: Kept) -> None:
    """A file whose bytes the storage host has."""
    fact = kept.fact
    node = Node(
        store.new_ino(), key, parent, name, Kind.FILE, 0o644, local=False, dirty=False, size=fact.size, md5=fact.md5,
        mtime_ns=fact.mtime_ns, origin=kept.origin,
    )  # fmt: skip
    store.add_node(node)


def to_trash(store: Store, record: ObjectRecord, why: str) -> None:
    """Move the working copy to the trash, with a note of what else restoring it needs; part of a transaction."""
    note = Note(
        What.OBJECT, record.name, store.wall_clock(), why, oaio_id=record.oaio_id, stamp=record.base_stamp,
        values=record.values, shown=record.shown_values, csh_id=record.csh_id, dialect=record.dialect,
        sidecar=record.sidecar,
        files={path: kept_of(store, node) for path, node in store.attached(record.key).items()},
    )  # fmt: skip
    _put_note(store, record.folder, note)
    source = f"{OBJECTS}/{record.folder}"
    inode = store.files.inode(source)
    if inode is not None and not record.removed:
        objects.move_later(store, source, f"{TRASH}/{record.folder}", inode)
        _drop_label(store, record)


def _drop_label(store: Store, record: ObjectRecord) -> None:
    """The note tells what the working copy's label did."""
    label = labels.place(record.folder)
    inode = store.files.inode(label)
    if inode is not None:
        objects.move_later(store, label, "", inode)


def kept_of(store: Store, node: Node) -> Kept:
    """What the note tells of a file; where its bytes are not here, where they are."""
    return Kept(node.fact, "" if node.local else tree.origin(store, node))


def keep_files(
    store: Store, record: ObjectRecord, remote: RemoteObject, dropped: dict[str, Node], why: str
) -> None:
    """The version *remote* removes the files *dropped* (by path): theirs go to the trash; part of a transaction.

    Whoever calls it removes the nodes.
    """
    entry = _free(store, f"{record.folder} {remote.stamp}")
    note = Note(
        What.FILES, record.name, store.wall_clock(), why, oaio_id=remote.oaio_id, stamp=remote.stamp,
        values={}, csh_id=record.csh_id, device_id=remote.device_id,
        files={path: kept_of(store, node) for path, node in dropped.items()},
    )  # fmt: skip
    _put_note(store, entry, note)
    for path, node in dropped.items():
        source = store.work_path(node)
        inode = store.files.inode(source) if node.local else None
        if inode is not None:
            objects.move_later(store, source, f"{TRASH}/{entry}/{path}", inode)


def keep_replaced(store: Store, node: Node) -> None:
    """A file is about to lose its name by its user's word, and nobody else has its bytes: the trash gets them too.

    By a hard link, so that what a program that has it open still writes is in there.
    """
    record, path = store.record(node.object), store.path_in_object(node)
    entry = _free(store, f"{record.folder} replaced")
    target = store.files.absolute(f"{TRASH}/{entry}/{path}")
    note = Note(
        What.FILES, record.name, store.wall_clock(), "a conflict was ended with another version of it",
        oaio_id=record.oaio_id, stamp=record.base_stamp, values={}, csh_id=record.csh_id,
        files={path: kept_of(store, node)},
    )  # fmt: skip
    store.files.write_whole(note_place(entry), trash.dump(note), int(store.wall_clock() * 1e9))
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    try:
        os.link(store.absolute(node), target)
    except OSError:
        snapshot(store.absolute(node), target, free=store.state.room.free())  # a disk without hard links


def _put_note(store: Store, entry: str, note: Note) -> None:
    """Have the note come with the running transaction; an older one of that name, left by a kill, goes."""
    place, new = note_place(entry), f"{TRASH}/{_NEW}{entry}{_SUFFIX}"
    store.files.write_whole(new, trash.dump(note), int(store.wall_clock() * 1e9))
    store.state.on_undo(lambda: store.files.remove(new))
    old = store.files.inode(place)
    if old is not None:
        objects.move_later(store, place, "", old)
    objects.move_later(store, new, place, store.files.inode(new) or 0)


def note_place(entry: str) -> str:
    """Where in the client root the entry's note is."""
    return f"{TRASH}/{entry}{_SUFFIX}"


def _free(store: Store, entry: str) -> str:
    coming = {target for _, _, target, _ in records.intents(store.db)}  # also of the running transaction

    def taken(place: str) -> bool:
        return place in coming or store.files.exists(place)

    candidate, number = entry, 1
    while taken(f"{TRASH}/{candidate}") or taken(note_place(candidate)):
        number += 1
        candidate = f"{entry} ~{number}"
    return candidate


# -- what is in it -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in the trash: its *note*, the number of *files* and *bytes* that are here, the folder's st_ino."""

    key: str
    note: Note
    files: int
    bytes: int
    folder: int | None


def entries(root: str, key: str = "") -> list[Entry]:
    """Everything in the trash of the client root *root*, oldest first, or what is under *key*. Blocks: for threads."""
    place = os.path.join(root, TRASH)
    found: dict[str, None] = {}
    for one in sorted(os.scandir(place), key=lambda one: one.name):
        if not one.name.startswith("."):
            is_folder = one.is_dir(follow_symlinks=False)
            found[one.name if is_folder else one.name.removesuffix(_SUFFIX)] = None
    known = [_entry(place, name) for name in found if key in ("", name)]
    return sorted(known, key=lambda entry: (entry.note.removed_at or 0.0, entry.key))


def _entry(place: str, key: str) -> Entry:
    path = os.path.join(place, key)
    try:
        note = trash.load(read_file(f"{path}{_SUFFIX}", trash.MAX_NOTE_BYTES + 1))
    except FileNotFoundError:
        note = trash.unknown(key, "it has no note")
    except OSError as error:
        note = trash.unknown(key, f"its note can't be read: {error.strerror}")
    except StateError as error:
        note = trash.unknown(key, str(error))
    status = _status(path)
    if status is None or not stat.S_ISDIR(status.st_mode):
        return Entry(key, note, 0, 0, None)
    sizes = _sizes_below(path)
    return Entry(key, note, len(sizes), sum(sizes.values()), status.st_ino)


def files_below(folder: str) -> list[str]:
    """Absolute paths of all files below *folder* that an object can have; links are neither followed nor told. Blocks.

    Without those that go meanwhile: the trash may be emptied, by command or by hand.
    """
    return sorted(filter(is_text, _sizes_below(folder)))


def _sizes_below(folder: str) -> dict[str, int]:
    """Absolute path -> size in bytes of all files below."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            status = _status(f"{path}/{name}")
            if status is not None and stat.S_ISREG(status.st_mode):
                found[f"{path}/{name}"] = status.st_size
    return found


def _status(path: str) -> os.stat_result | None:
    """Of what stands there; None where nothing does, or nobody can tell."""
    try:
        return os.lstat(path)
    except OSError:
        return None


def is_stale(store: Store, entry: Entry) -> bool:
    """Whether it is nothing but a note of an object that is in the mount: left by a kill, or taken back meanwhile."""
    record = records.object_by(store.db, "folder", entry.key)
    return entry.folder is None and record is not None and not record.removed


def is_awaited(store: Store, key: str) -> bool:
    """Whether the server is still to be told of this removal."""
    record = records.object_by(store.db, "folder", key)
    return record is not None and record.removed


def unmeant(store: Store) -> set[int]:
    """Objects removed here that the server still has and the trash too: those that the user may not have meant.

    Emptying the trash says that it is meant, by command or by hand.
    """
    query = "SELECT key, folder FROM object WHERE removed_at IS NOT NULL AND base_stamp IS NOT NULL"
    rows = store.db.execute(query).fetchall()
    return {
        key for key, folder in rows if store.files.exists(note_place(folder)) or store.files.exists(f"{TRASH}/{folder}")
    }


# -- out of it for good --------------------------------------------------------------------------------------


def delete(root: str, key: str) -> None:
    """Remove an entry for good: its note last, so that what a kill leaves of it is still known. Blocks: for threads."""
    path = os.path.join(root, TRASH, key)
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    for left in (path, f"{path}{_SUFFIX}"):
        if os.path.isdir(left) and not os.path.islink(left):
            continue  # what is called like a note and is none is an entry of its own
        if os.path.lexists(left):
            os.unlink(left)


def due(store: Store, found: list[Entry], now: float, days: float) -> list[Entry]:
    """Entries that are to go by themselves now; never one whose removal the server has not been told."""
    times = ((entry, trash.purge_time(entry.note, days)) for entry in found)
    old = [entry for entry, time in times if time is not None and time <= now]
    return [entry for entry in old if not is_awaited(store, entry.key)]


def clear_leftovers(store: Store) -> None:
    """Notes of transactions that a kill kept from being committed."""
    awaited = {source for _, source, _, _ in records.intents(store.db)}
    for one in os.scandir(store.files.absolute(TRASH)):
        if one.name.startswith(_NEW) and f"{TRASH}/{one.name}" not in awaited and one.is_file(follow_symlinks=False):
            os.unlink(one.path)


def days(store: Store) -> float:
    """How long the last mount of this client root was told to keep things here; 0: for ever."""
    return float(json.loads(store.state.meta("trash_days") or str(trash.DAYS)))
