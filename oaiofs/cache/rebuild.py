"""After the state file was lost, whole or in part: objects made again from labels and working copies.

``state`` sets a damaged state file aside; ``fill`` makes the rows of a new one. Where only the newest rows are gone
(the write-ahead log was lost, or the power before it was on the disk), ``mend`` finds the objects whose working copies
and labels are newer than their rows.

What the rows alone knew is lost: which files are placeholders, and what was deleted here without the server having
heard of it. So such an object is ``rebuilt``: nothing of it is sent before the server's version was merged into it,
with the files of the agreed version that are here, and only those, as the base. Then a file that is not here was not
deleted, it is just not downloaded; one that is here and unchanged is agreed; one edited here is an edit. Deletions and
renames that had not been sent come undone; nothing else does.

| working copy | label | what becomes of it |
| --- | --- | --- |
| there | of a version | rebuilt: merged with the server's before anything is sent; gone there: kept here, flagged |
| there | never registered | the new object that it was |
| there, with files | none, or unusable | rebuilt without an identity, as a name is none: kept here, flagged, not sent |
| there, empty | none | killed while it was made: removed |
| none | there | removed here: the label goes; where the server still has the object it comes back |

Must not know the servers, nor what made the state file unusable.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator

from ..core import names
from ..core.model import Right
from . import conflicts, labels, records, tree
from .labels import Label
from .records import ConflictRecord, Kind, Node, ObjectRecord
from .state import DAMAGED
from .store import Head, Store
from .workdir import DETACHED, OBJECTS, TRASH, is_text, printable

log = logging.getLogger(__name__)

_NUMBERED = re.compile(r"(?P<name>.+)\.(?P<number>[1-9][0-9]{0,17})", re.DOTALL)
_SIDECAR = re.compile(r"values~*\.json")
#: Compares one object's working copy with its rows, and believes the disk (``recover``).
Compare = Callable[[Store, Head], None]


def fill(store: Store, compare: Compare) -> None:
    """Fill an empty state file that stands in place of one that was set aside; nothing for any other."""
    if not store.state.rebuild:
        return
    keep_detached(store)
    with store.state.transaction():
        reserve_numbers(store)
        made = [taken for folder in _folders(store) if (taken := _take_in(store, folder)) is not None]
        place = store.state.meta("rebuild") or DAMAGED
        store.state.forget_meta("rebuild")
    for head, label in made:
        _complete(store, head, label, compare)
    _drop_labels_of_nothing(store, place)
    log.warning("%d objects were made again from their working copies", len(made))


def mend(store: Store, compare: Compare) -> None:
    """After an end that was not ordered: objects that the rows know too little of are rebuilt."""
    keep_detached(store)
    with store.state.transaction():
        reserve_numbers(store)
    folders = set(_folders(store))
    for head in list(store.heads.values()):
        label = labels.read(store, head.folder)
        record = store.record(head.key)
        newer = label is not None and label.oaio_id and (label.stamp or "") > (record.base_stamp or "")
        if newer or (head.folder not in folders and _would_look_deleted(store, record)):
            log.warning("%s: the state file is older than the working copy: it is merged with the server", head.name)
            _distrust(store, record, label)
            _complete(store, store.heads[head.key], label, compare)
    for folder in sorted(folders - records.folders(store.db)):
        take_in(store, folder, compare)


def remake(store: Store, head: Head, compare: Compare) -> None:
    """Make an object's nodes again from its working copy, as after a loss of its rows: they contradict each other."""
    record = store.record(head.key)
    with store.state.transaction():
        for node in records.nodes_of(store.db, head.key):
            if node.parent != records.DISPLACED:
                store.delete_node(node.ino)
        _distrust(store, record, None)
    _complete(store, head, labels.read(store, head.folder), compare)


def take_in(store: Store, folder: str, compare: Compare) -> None:
    """Make an object of a working copy that no row speaks of; nothing where that was done meanwhile."""
    if folder in records.folders(store.db) or not os.path.isdir(store.files.absolute(f"{OBJECTS}/{folder}")):
        return
    with store.state.transaction():
        reserve_numbers(store)
        taken = _take_in(store, folder)
    if taken is not None:
        log.warning("%s was found without a word about it in the state file", taken[0].name)
        _complete(store, *taken, compare)


def label_all(store: Store) -> None:
    """Give a label to every object that has none: those of a client root from before there were labels."""
    there = set(os.listdir(store.files.absolute(OBJECTS)))
    store.unlabelled |= {key for key, head in store.heads.items() if f"{head.folder}.json" not in there}
    labels.write_stale(store)


def keep_detached(store: Store) -> None:
    """Bytes that a program had open when a remote version took their name, and of which no row speaks, may be edits."""
    known = {str(node.ino) for node in records.displaced(store.db)}
    for name in sorted(set(os.listdir(store.files.absolute(DETACHED))) - known):
        if not is_text(name):
            log.warning("%s/%s is left alone: its name is no UTF-8", DETACHED, printable(name))
            continue
        try:
            _detached_to_trash(store, name, "open for writing when the state file was lost")
        except OSError as error:
            log.warning("%s/%s: nothing tells what it belongs to; it is left alone: %s", DETACHED, name, error.strerror)
        else:
            log.warning("%s/%s: nothing tells what it belongs to; it is kept in the trash", DETACHED, name)


def let_go_detached(store: Store, ino: int, *, written: bool) -> None:
    """The last writer of a file without a row is gone: if a remote version had taken its name, it is kept or removed.

    Removed when not *written*.
    """
    place = f"{DETACHED}/{ino}"
    if written and store.files.exists(place):
        log.warning("what was written into a file of an object that was removed is kept in the trash")
        _detached_to_trash(store, str(ino), "open for writing when its object was removed")
    elif not written:
        store.files.remove(place)


def _detached_to_trash(store: Store, name: str, why: str) -> None:
    folder = f"{TRASH}/recovered.{_next_number(store)}"
    note: dict[str, object] = {
        "name": f"recovered {name}", "oaio_id": None, "stamp": None, "values": {}, "files": {}, "csh_id": "",
        "removed_at": store.wall_clock(), "why": why,
    }  # fmt: skip
    text = json.dumps(note, ensure_ascii=False, indent=1).encode()
    store.files.write_whole(f"{folder}.json", text, int(store.wall_clock() * 1e9))
    try:
        store.files.move(f"{DETACHED}/{name}", f"{folder}/{name}")
    except BaseException:
        for left in (f"{folder}.json", folder):
            store.files.remove(left)
        raise


def _folders(store: Store) -> Iterator[str]:
    """The names of all working copies; what no row can speak of is left alone."""
    for entry in sorted(os.scandir(store.files.absolute(OBJECTS)), key=lambda entry: entry.name):
        if not entry.is_dir(follow_symlinks=False):
            continue
        if is_text(entry.name):
            yield entry.name
        else:
            log.warning("%s is left alone: its name is no UTF-8", printable(entry.path))


def reserve_numbers(store: Store) -> None:
    """Numbers of folders are never used twice, those in the trash included."""
    used = [0]
    for place in (OBJECTS, TRASH):
        for name in os.listdir(store.files.absolute(place)):
            found = _NUMBERED.fullmatch(name.removesuffix(".json"))
            used.append(int(found["number"]) if found else 0)
    following = max(used) + 1
    if following > int(store.state.meta("next_object") or 1):
        store.state.set_meta("next_object", str(following))


def _next_number(store: Store) -> int:
    with store.state.transaction():
        reserve_numbers(store)
        number = int(store.state.meta("next_object") or 1)
        store.state.set_meta("next_object", str(number + 1))
    return number


def _take_in(store: Store, folder: str) -> tuple[Head, Label | None] | None:
    """A row for a working copy that has none; what is in it is looked at in ``_complete``."""
    label = labels.read(store, folder)
    if label is not None and label.oaio_id and store.record_of_id(label.oaio_id) is not None:
        label = None  # there is a newer working copy of that object
    path = store.files.absolute(f"{OBJECTS}/{folder}")
    try:
        there = os.listdir(path)
    except OSError as error:
        log.warning("what is in %s is left alone: %s", path, error.strerror)
        return None
    if label is None and not there:
        os.rmdir(path)
        return None
    found = _NUMBERED.fullmatch(folder)
    key = int(found["number"]) if found else 0
    if not key or records.object_by(store.db, "key", key) is not None:
        key = _next_number(store)
    plain = names.safe_name(found["name"] if found else folder)
    name = names.unique(label.name if label and names.safe_name(label.name) == label.name else plain, store.by_name)
    user = (store.state.meta("account") or "").partition(" ")[0]
    device_id = store.state.meta("device_id") or "unknown"
    store.add_object(
        ObjectRecord(
            key=key, oaio_id=label.oaio_id if label else None, name=name, folder=folder, ino=store.new_ino(),
            sidecar=_sidecar_name(there, label), right=label.right if label else Right.CREATE,
            csh_id=label.csh_id if label else "", username=label.username if label else user,
            device_id=label.device_id if label else device_id, app_id=label.app_id if label else "oaiofs",
            dialect=label.dialect if label else "classic", values=label.values if label else {},
            shown_values=label.shown if label else {}, base_stamp=label.stamp if label else None,
            base_values=label.agreed if label else {},
            prior=None, prior_until=None, pending=None, local_seq=1, settled_seq=0, pending_since=store.wall_clock(),
            removed_at=None, draft=None, orphan=False, rebuilt=label is None or label.stamp is not None,
        )
    )  # fmt: skip
    for one in label.conflicts if label else ():
        records.add_conflict(store.db, ConflictRecord(object=key, **one))
    return store.heads[key], label


def _sidecar_name(there: list[str], label: Label | None) -> str:
    if label is not None and _SIDECAR.fullmatch(label.sidecar):
        return label.sidecar
    return max(filter(_SIDECAR.fullmatch, there), key=len, default=names.sidecar_name(()))


def _would_look_deleted(store: Store, record: ObjectRecord) -> bool:
    """Whether rows without any working copy would be taken for edited files that the user deleted."""
    files = store.attached(record.key).values()
    return record.base_stamp is not None and any(node.local and node.dirty for node in files)


def _distrust(store: Store, record: ObjectRecord, label: Label | None) -> None:
    """Keep of the rows only what the disk can confirm; the label, if any, tells which version was agreed."""
    with store.state.transaction():
        for node in records.nodes_of(store.db, record.key):
            if node.kind is not Kind.FILE or node.parent == records.DISPLACED:
                continue
            if node.local and store.files.exists(store.work_path(node)):
                store.update_node(node.ino, dirty=1)
            elif node.local or not node.origin:
                store.delete_node(node.ino)
        if label is not None:
            store.update_object(
                record.key, oaio_id=label.oaio_id, base_stamp=label.stamp, base_values=dict(label.agreed),
                values=dict(label.values), shown_values=dict(label.shown), right=label.right, csh_id=label.csh_id,
            )  # fmt: skip
        records.set_base_files(store.db, record.key, {})
        rebuilt = int((label.stamp if label else record.base_stamp) is not None)
        store.update_object(
            record.key, rebuilt=rebuilt, prior=None, prior_until=None, restored=None, pending=None
        )
        store.touch(record.key)


def _complete(store: Store, head: Head, label: Label | None, compare: Compare) -> None:
    """The nodes of a rebuilt object: every file that is here is new to us, and so dirty."""
    compare(store, head)
    with store.state.transaction():
        for path, (size, md5, mtime_ns, origin) in label.moved.items() if label else ():
            _placeholder(store, store.heads[head.key], path, size, md5, mtime_ns, origin)
        conflicts.forget_lost_copies(store, head.key)  # seen to since the label was written
    labels.write(store, head.key)


def _placeholder(store: Store, head: Head, path: str, size: int, md5: str, mtime_ns: int, origin: str) -> None:
    """A renamed placeholder is known from the label alone; whatever stands at its path now is newer."""
    *folders, name = path.split("/")
    parent = head.ino
    for folder in folders:
        node = store.child(parent, folder) or tree.make_folder(store, parent, folder, 0o755)
        if node.kind is not Kind.DIRECTORY:
            return
        parent = node.ino
    if store.child(parent, name) is None:
        store.add_node(
            Node(store.new_ino(), head.key, parent, name, Kind.FILE, 0o644, False, False, size, md5, mtime_ns, origin)
        )


def _drop_labels_of_nothing(store: Store, place: str) -> None:
    """Labels without a working copy are of objects that were removed here: with the damaged state file they go."""
    for entry in list(os.scandir(store.files.absolute(OBJECTS))):
        folder = entry.name.removesuffix(".json")
        if entry.is_file(follow_symlinks=False) and not os.path.isdir(store.files.absolute(f"{OBJECTS}/{folder}")):
            store.files.move(f"{OBJECTS}/{entry.name}", f"{place}/{entry.name}")
