"""Objects as wholes: made, renamed, removed, and their values shown as a sidecar.

Must not know who asked. The sidecar is an ordinary file of the working copy; its text is only ever replaced by a new
file under a new inode, and never while somebody writes it, edits a draft or has just taken it away to save anew.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from ..core import merge, names, sidecar, stamps
from ..core.model import NAME_KEY, ROOT_PATH_KEY, OaioId, RemoteObject, Right, Stamp, Values
from ..errors import DirectoryNotEmpty, InvalidSidecar
from . import records
from .records import ConflictRecord, Kind, Node, ObjectRecord
from .store import Head, Store
from .workdir import OBJECTS, TRASH

log = logging.getLogger(__name__)

#: Seconds that an editor gets to put a new sidecar in the place of the one it removed.
SIDECAR_GRACE = 2.0
_FOLDER_NAME_BYTES = 120


def create(store: Store, name: str, *, csh_id: str, username: str, device_id: str, app_id: str) -> Head:
    """A new object of this device's, called *name*; the servers learn of it after the quiet time."""
    values = {NAME_KEY: name}
    with store.state.transaction():
        key = _add(
            store, name=name, values=values, oaio_id=None, right=Right.CREATE, csh_id=csh_id, username=username,
            device_id=device_id, app_id=app_id, dialect="classic", local_seq=1,
        )  # fmt: skip
        write_sidecar(store, key)
    store.active(key)
    store.doorbell(key)
    return store.heads[key]


def adopt(store: Store, remote: RemoteObject) -> Head:
    """A first, empty record of an object seen on the server; the version itself is applied after."""
    name = names.unique(names.display_name(remote.values, remote.file_paths, remote.oaio_id), store.by_name)
    key = _add(
        store, name=name, values={}, oaio_id=remote.oaio_id, right=remote.right, csh_id=remote.csh_id,
        username=remote.username, device_id=remote.device_id, app_id=remote.app_id, dialect=remote.dialect, local_seq=0,
    )  # fmt: skip
    return store.heads[key]


def _add(
    store: Store, *, name: str, values: Values, oaio_id: OaioId | None, right: Right, csh_id: str, username: str,
    device_id: str, app_id: str, dialect: str, local_seq: int,
) -> int:  # fmt: skip
    row = store.db.execute("SELECT coalesce(max(key), 0) + 1 FROM object").fetchone()
    key = max(int(row[0]), int(store.state.meta("next_object") or 1))  # a folder name is never used twice
    store.state.set_meta("next_object", str(key + 1))
    folder = f"{names.safe_name(name).encode()[:_FOLDER_NAME_BYTES].decode(errors='ignore')}.{key}"
    os.makedirs(store.files.absolute(f"{OBJECTS}/{folder}"), exist_ok=True)
    store.add_object(
        ObjectRecord(
            key=key, oaio_id=oaio_id, name=name, folder=folder, ino=store.new_ino(), sidecar="values.json", right=right,
            csh_id=csh_id, username=username, device_id=device_id, app_id=app_id, dialect=dialect, values=values,
            shown_values={}, base_stamp=None, base_values={}, prior=None, prior_until=None, pending=None,
            local_seq=local_seq, settled_seq=0,
            pending_since=store.wall_clock() if local_seq else None, removed_at=None, draft=None, orphan=False,
        )
    )  # fmt: skip
    return key


def rename(store: Store, head: Head, new_name: str) -> None:
    """Give the object the name *new_name*, in its values too."""
    record = store.record(head.key)
    with store.state.transaction():
        store.update_object(head.key, name=new_name, values={**record.values, NAME_KEY: new_name})
        refresh_sidecar(store, head.key)
        store.touch(head.key)


def name_from(store: Store, key: int, values: Values, file_paths: tuple[str, ...], oaio_id: str) -> str:
    """The display name that the object is to have now, unique among the others."""
    own = store.heads[key].name
    taken = {name for name, head in store.by_name.items() if head.key != key}
    wanted = names.display_name(values, file_paths, oaio_id)
    if own == wanted or (own.startswith(f"{wanted} ~") and wanted in taken):
        return own  # stable: it keeps its number as long as the plain name is taken
    return names.unique(wanted, taken)


def remove(store: Store, head: Head, *, even_full: bool = False) -> None:
    """Send the object to the trash; the server is told after the grace time.

    Raises DirectoryNotEmpty while anything but the sidecar is in it, unless *even_full*: who may not remove the files
    can only leave the object as it is.
    """
    if not even_full and records.has_children(store.db, head.ino, besides=head.sidecar):
        raise DirectoryNotEmpty(f"{head.name} is not empty")
    with store.state.transaction():
        to_trash(store, store.record(head.key), "removed here")
        store.update_object(head.key, removed_at=store.wall_clock())
        store.touch(head.key)
    run_intents(store)


def leave(store: Store, record: ObjectRecord, why: str) -> None:
    """Let an object without unpushed edits leave the mount into the trash."""
    with store.state.transaction():
        to_trash(store, record, why)
        store.delete_object(record.key)
    run_intents(store)


def to_trash(store: Store, record: ObjectRecord, why: str) -> None:
    """Move the working copy to the trash, with a note of what else restoring it needs."""
    note = {
        "name": record.name, "oaio_id": record.oaio_id, "stamp": record.base_stamp, "values": record.values,
        "files": {p: [f.size, f.md5, f.mtime_ns] for p, f in store.base_files(record.key).items()},
        "csh_id": record.csh_id, "removed_at": store.wall_clock(), "why": why,
    }  # fmt: skip
    target = f"{TRASH}/{record.folder}"
    text = json.dumps(note, ensure_ascii=False, indent=1).encode()
    store.files.write_whole(f"{target}.json", text, int(store.wall_clock() * 1e9))
    source = f"{OBJECTS}/{record.folder}"
    inode = store.files.inode(source)
    if inode is not None and not record.removed:
        move_later(store, source, target, inode)


def move_later(store: Store, source: str, target: str, inode: int) -> None:
    """Rename (or with no *target* remove) in the client root as part of the running transaction.

    Noted before it is done, so that a crash on either side of the commit leaves one of the two whole states; carried
    out by ``run_intents`` once the transaction is committed.
    """
    records.add_intent(store.db, source, target, inode)


def run_intents(store: Store) -> None:
    """Carry out what committed transactions left to be renamed or removed."""
    if store.db.in_transaction:
        return  # the outermost one is followed by another call
    for number, source, target, inode in records.intents(store.db):
        try:
            if store.files.inode(source) == inode:  # else done before a crash, or something newer stands there
                if target and not store.files.exists(target):
                    store.files.move(source, target)
                elif not target:
                    store.files.remove(source)
        except OSError as error:
            log.error("%s could not be moved to %r, which is tried again: %s", source, target, error)
        else:
            records.clear_intent(store.db, number)


# -- the sidecar ---------------------------------------------------------------------------------------------


def refresh_sidecar(store: Store, key: int) -> bool:
    """Show the object's values as they are now, unless somebody is at the sidecar; True when it got a new inode.

    Put off while it is open for writing, a draft, or just taken away: the next release or look-up comes back to it.
    """
    record = store.record(key)
    node = store.child(record.ino, record.sidecar)
    if record.removed or record.draft is not None or (node is not None and store.writers[node.ino]):
        return False
    if node is None and key in store.sidecar_gone:
        return False
    if node is not None and merge.same(record.shown_values, record.values):
        return False
    write_sidecar(store, key)
    return True


def restore_sidecar(store: Store, head: Head) -> Node | None:
    """Bring a deleted sidecar back, once its editor had the time to put a new one there."""
    gone = store.sidecar_gone.get(head.key)
    if gone is not None and store.steady_clock() - gone < SIDECAR_GRACE:
        return None
    store.sidecar_gone.pop(head.key, None)
    with store.state.transaction():
        return write_sidecar(store, head.key)


def write_sidecar(store: Store, key: int) -> Node:
    """Put the object's values into a new sidecar file under a new inode."""
    record = store.record(key)
    data = sidecar.render(record.values)
    agreed = record.base_stamp is not None and not record.dirty
    mtime_ns = stamps.to_ns(record.base_stamp) if agreed and record.base_stamp else int(store.wall_clock() * 1e9)
    old = store.child(record.ino, record.sidecar)
    if old is not None:
        store.delete_node(old.ino)
    store.files.write_whole(f"{OBJECTS}/{record.folder}/{record.sidecar}", data, mtime_ns)
    node = Node(
        ino=store.new_ino(), object=key, parent=record.ino, name=record.sidecar, kind=Kind.FILE,
        mode=0o644 if old is None else old.mode, local=True, dirty=False, size=len(data), md5="", mtime_ns=mtime_ns,
    )  # fmt: skip
    store.add_node(node)
    store.update_object(key, shown_values=dict(record.values), draft=None)
    return node


def judge_sidecar(store: Store, node: Node) -> None:
    """Take what has been saved as the sidecar for the object's values.

    Raises InvalidSidecar; then the text stays as it is as a draft, the values as they were.
    """
    accept_text(store, node.object, sidecar_text(store, node))
    store.update_node(node.ino, dirty=0)
    store.marked.discard(node.ino)


def sidecar_text(store: Store, node: Node) -> bytes:
    """The bytes of a file that is, or is to become, a sidecar: at most one more than a sidecar may have."""
    with open(store.absolute(node), "rb") as stream:
        return stream.read(sidecar.MAX_BYTES + 1)


def put_draft(store: Store, head: Head, data: bytes) -> None:
    """Make a text that is no values the sidecar's, for its author to correct."""
    with store.state.transaction():
        node = write_sidecar(store, head.key)
        store.files.write_whole(store.work_path(node), data, int(store.wall_clock() * 1e9))


def accept_text(store: Store, key: int, data: bytes) -> None:
    """Make the text of a sidecar the object's values, or note it as a draft and raise InvalidSidecar."""
    record = store.record(key)
    try:
        parsed = sidecar.parse(data)
    except InvalidSidecar as error:
        with store.state.transaction():
            store.update_object(key, draft={"message": str(error), "line": error.line, "column": error.column})
        raise
    store.sidecar_gone.pop(key, None)
    parsed = _with_free_name(store, record, parsed)
    merged = merge.merge_values(record.shown_values, parsed, record.values)
    with store.state.transaction():
        store.update_object(key, values=dict(merged.values), shown_values=parsed, draft=None)
        _forget_settled_conflicts(store, key, record.values, merged.values)
        note_conflicts(store, record, merged.conflicts, record.base_stamp or Stamp(""))
        if not merge.same(merged.values, record.values):
            store.touch(key)
            if any(record.values.get(k) != merged.values.get(k) for k in (NAME_KEY, ROOT_PATH_KEY)):
                paths, oaio_id = tuple(store.attached(key)), record.oaio_id or record.name
                store.update_object(key, name=name_from(store, key, merged.values, paths, oaio_id))


def _with_free_name(store: Store, record: ObjectRecord, parsed: dict[str, Any]) -> dict[str, Any]:
    """A new object that is filled with a copy of another one keeps the name that it was made with."""
    wanted = names.display_name(parsed, (), record.name)
    taken = store.by_name.get(wanted)
    if record.base_stamp is None and taken is not None and taken.key != record.key:
        return {**parsed, NAME_KEY: record.values.get(NAME_KEY, record.name)}
    return parsed


def _forget_settled_conflicts(store: Store, key: int, before: Values, after: Values) -> None:
    """A value in conflict that somebody sets anew has been seen to."""
    for one in records.conflicts(store.db, key):
        if one.kind == "value":
            keys = json.loads(one.path)
            if not merge.same(_at(before, keys), _at(after, keys)):
                records.forget_value_conflict(store.db, key, one.path)


def _at(values: Any, keys: list[str]) -> Any:
    for key in keys:
        values = values.get(key, merge.MISSING) if isinstance(values, dict) else merge.MISSING
    return values


def note_conflicts(
    store: Store, record: ObjectRecord, found: tuple[merge.ValueConflict, ...], stamp: Stamp
) -> None:
    """Keep the losing side of each value that two devices changed differently."""
    for one in found:
        records.add_conflict(
            store.db,
            ConflictRecord(
                object=record.key, kind="value", path=records.dump(list(one.path)), copy="", base=_text(one.base),
                mine=_text(one.mine), theirs=_text(one.theirs), stamp=stamp, at=store.wall_clock(),
            ),
        )  # fmt: skip


def _text(value: Any) -> str:
    return "" if value is merge.MISSING else records.dump(value)
