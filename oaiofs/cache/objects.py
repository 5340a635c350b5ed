"""Objects as wholes: made, renamed, and their values shown as a sidecar.

Must not know who asked. The sidecar is an ordinary file of the working copy; its text is only ever replaced by a new
file under a new inode, and never while somebody writes it, edits a draft or has just taken it away to save anew.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import Any

from ..core import merge, names, sidecar, stamps
from ..core.model import NAME_KEY, ROOT_PATH_KEY, OaioId, RemoteObject, Right, Values
from ..errors import InvalidSidecar, NoSpace, NotADirectory
from . import conflicts, found, labels, records
from .records import Kind, Node, ObjectRecord
from .room import is_full
from .store import Head, Store
from .workdir import OBJECTS

log = logging.getLogger(__name__)

#: Seconds that an editor gets to put a new sidecar in the place of the one it removed.
SIDECAR_GRACE = 2.0
_FOLDER_NAME_BYTES = 120
_SPOILT = "could not be saved whole, this machine's disk was full: make room there and save it again"


def create(store: Store, name: str, *, csh_id: str, username: str, device_id: str, app_id: str) -> Head:
    """A new object of this device's, called *name*; the servers learn of it after the quiet time."""
    values = {NAME_KEY: name}
    with store.state.transaction():
        key = _add(
            store, name=name, values=values, oaio_id=None, right=Right.CREATE, csh_id=csh_id, username=username,
            device_id=device_id, app_id=app_id, dialect="classic", local_seq=1,
        )  # fmt: skip
        write_sidecar(store, key)
    run_intents(store)
    store.active(key)
    store.doorbell(key)
    return store.heads[key]


def create_from(
    store: Store, name: str, values: Values, shown: Values, *, csh_id: str, username: str, device_id: str, app_id: str,
    dialect: str, sidecar_name: str,
) -> Head:  # fmt: skip
    """A row of a new object of this device, whose working copy the caller brings along; part of its transaction."""
    key = _add(
        store, name=names.unique(name, store.by_name), values=values, oaio_id=None, right=Right.CREATE, csh_id=csh_id,
        username=username, device_id=device_id, app_id=app_id, dialect=dialect, local_seq=1, made=False,
    )  # fmt: skip
    store.update_object(key, shown_values=dict(shown), sidecar=sidecar_name)
    store.active(key)
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
    device_id: str, app_id: str, dialect: str, local_seq: int, made: bool = True,
) -> int:  # fmt: skip
    """A new row; its folder is made too, unless another one is about to become it (*made* False)."""
    row = store.db.execute("SELECT coalesce(max(key), 0) + 1 FROM object").fetchone()
    key = max(int(row[0]), int(store.state.meta("next_object") or 1))  # a folder name is never used twice
    store.state.set_meta("next_object", str(key + 1))
    folder = f"{names.safe_name(name).encode()[:_FOLDER_NAME_BYTES].decode(errors='ignore')}.{key}"
    if made:
        os.makedirs(store.files.absolute(f"{OBJECTS}/{folder}"), exist_ok=True)
        store.state.on_undo(lambda: store.files.remove(f"{OBJECTS}/{folder}"))
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
        store.unlabelled.add(head.key)
        store.touch(head.key)
    run_intents(store)


def name_from(store: Store, key: int, values: Values, file_paths: tuple[str, ...], oaio_id: str) -> str:
    """The display name that the object is to have now, unique among the others."""
    own = store.heads[key].name
    taken = {name for name, head in store.by_name.items() if head.key != key}
    wanted = names.display_name(values, file_paths, oaio_id)
    if own == wanted or (own.startswith(f"{wanted} ~") and wanted in taken):
        return own  # stable: it keeps its number as long as the plain name is taken
    return names.unique(wanted, taken)


def move_later(store: Store, source: str, target: str, inode: int) -> None:
    """Rename (or with no *target* remove) in the client root as part of the running transaction.

    Noted before it is done, so that a crash on either side of the commit leaves one of the two whole states; carried
    out by ``run_intents`` once the transaction is committed. What stands at *target* then is replaced in one step if
    its removal is noted too, after this.
    """
    records.add_intent(store.db, source, target, inode)


def make_folder_later(store: Store, path: str) -> None:
    """Make a folder in the client root after the moves of the running transaction, likewise noted."""
    records.add_intent(store.db, "", path, 0)


def folder_later(store: Store, head: Head, path: str) -> tuple[int, str]:
    """Inode of the folder that *path* of the object is to be in, and the last name; part of the running transaction.

    Folders that are missing are made with it. Raises NotADirectory where something else has a folder's name.
    """
    *folders, last = path.split("/")
    parent = head.ino
    for name in folders:
        node = store.child(parent, name)
        if node is None:
            node = Node(store.new_ino(), head.key, parent, name, Kind.DIRECTORY, 0o755, True, False, 0, "", 0)
            store.add_node(node)
            make_folder_later(store, store.folder_path(node.ino))
        elif node.kind is not Kind.DIRECTORY:
            raise NotADirectory(f"{name} is no folder in {head.name}")
        parent = node.ino
    return parent, last


def run_intents(store: Store) -> set[tuple[int, str]]:
    """Carry out what committed transactions left to be renamed, removed or made.

    Returns the (parent inode, name) of what had to be set aside for it.
    """
    appeared: set[tuple[int, str]] = set()
    if store.db.in_transaction:
        return appeared  # the outermost one is followed by another call
    waiting = records.intents(store.db)
    doomed = {(source, inode) for _, source, target, inode in waiting if not target}
    refused: set[str] = set()
    for number, source, target, inode in waiting:
        if not target and source in refused:
            continue  # what was to replace it is not there: the name is not to be empty until it is
        try:
            if number not in store.carried_out:  # its inode number may be another file's by now
                appeared |= _carry_out(store, source, target, inode, doomed)
            store.carried_out.add(number)
            records.clear_intent(store.db, number)
            store.carried_out.discard(number)
        except (OSError, NoSpace) as error:
            level = logging.INFO if is_full(error) else logging.ERROR
            log.log(level, "%s could not be moved to %r, which is tried again: %s", source, target, error)
            refused.add(target)
    labels.write_stale(store)
    return appeared


def _carry_out(
    store: Store, source: str, target: str, inode: int, doomed: set[tuple[str, int]]
) -> set[tuple[int, str]]:
    if not source:
        return _make(store, target)
    if store.files.inode(source) == inode:  # else done before a crash, or something newer stands there
        if target:
            return _move(store, source, target, doomed)
        store.files.remove(source)
    return set()


def _make(store: Store, folder: str) -> set[tuple[int, str]]:
    kept = None
    if not os.path.isdir(store.files.absolute(folder)):
        kept = found.set_aside(store, folder)
    os.makedirs(store.files.absolute(folder), mode=0o755, exist_ok=True)
    return {kept} if kept else set()


def _move(store: Store, source: str, target: str, doomed: set[tuple[str, int]]) -> set[tuple[int, str]]:
    """Rename in the client root; what stands at *target* unasked is set aside, not lost."""
    standing, kept = store.files.inode(target), None
    if standing is not None and (target, standing) not in doomed:
        kept = found.set_aside(store, target)
    try:
        store.files.move(source, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR):
            raise
        kept = found.set_aside(store, target)  # a folder that was to be empty
        store.files.move(source, target)
    return {kept} if kept else set()


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
    node = write_sidecar(store, head.key)
    store.sidecar_gone.pop(head.key, None)
    return node


def write_sidecar(store: Store, key: int, draft: bytes | None = None) -> Node:
    """Show the object's values, or the text *draft*, in a new sidecar file under a new inode.

    In a transaction the file comes to its place after the commit, like all that belongs to the rows: before it, the
    name may be an attached file's, or nobody's.
    """
    record = store.record(key)
    data = sidecar.render(record.values) if draft is None else draft
    agreed = record.base_stamp is not None and not record.dirty and draft is None
    mtime_ns = stamps.to_ns(record.base_stamp) if agreed and record.base_stamp else int(store.wall_clock() * 1e9)
    old = store.child(record.ino, record.sidecar)
    with store.state.transaction():
        if old is not None:
            store.delete_node(old.ino)
        _put_later(store, f"{OBJECTS}/{record.folder}/{record.sidecar}", data, mtime_ns, replacing=old is not None)
        node = Node(
            ino=store.new_ino(), object=key, parent=record.ino, name=record.sidecar, kind=Kind.FILE,
            mode=0o644 if old is None else old.mode, local=True, dirty=False, size=len(data), md5="",
            mtime_ns=mtime_ns,
        )  # fmt: skip
        store.add_node(node)
        store.update_object(key, shown_values=dict(record.values), draft=None)
        store.unlabelled.add(key)
    run_intents(store)
    return node


def _put_later(store: Store, place: str, data: bytes, mtime_ns: int, *, replacing: bool) -> None:
    """Have a new file at *place* once the running transaction is committed, *replacing* what stands there now."""
    staged = store.files.new_staging()
    store.files.write_whole(staged, data, mtime_ns)
    store.state.on_undo(lambda: store.files.remove(staged))
    records.drop_intents_to(store.db, place)  # what was to be renamed to there is obsolete
    move_later(store, staged, place, store.files.stat(staged).st_ino)
    standing = store.files.inode(place)
    if replacing and standing is not None:
        move_later(store, place, "", standing)


def judge_sidecar(store: Store, node: Node) -> None:
    """Take what has been saved as the sidecar for the object's values.

    Raises InvalidSidecar; then the text stays as it is as a draft, the values as they were. Also with NoSpace.
    """
    try:
        accept_text(store, node.object, sidecar_text(store, node), node.ino)
    except NoSpace:
        spoil(store, node.object)
        raise
    store.marked.discard(node.ino)


def spoil(store: Store, key: int) -> None:
    """What stands in the sidecar could not be saved whole: a draft whatever it says, the values as they were."""
    try:
        store.update_object(key, draft={"message": _SPOILT, "line": 0, "column": 0})
    except NoSpace as error:  # then the row says that it was written, and the next start judges it
        log.info("not even a draft could be noted: %s", error)


def sidecar_text(store: Store, node: Node) -> bytes:
    """The bytes of a file that is, or is to become, a sidecar: at most one more than a sidecar may have."""
    with open(store.absolute(node), "rb") as stream:
        return stream.read(sidecar.MAX_BYTES + 1)


def put_draft(store: Store, head: Head, data: bytes, error: InvalidSidecar) -> None:
    """Make a text that is no values the sidecar's, for its author to correct."""
    with store.state.transaction():
        write_sidecar(store, head.key, data)
        store.update_object(head.key, draft=_draft(error))
    run_intents(store)


def _draft(error: InvalidSidecar) -> dict[str, Any]:
    return {"message": str(error), "line": error.line, "column": error.column}


def accept_text(store: Store, key: int, data: bytes, ino: int) -> None:
    """Make the text of a sidecar (inode *ino*) the object's values, or note it as a draft and raise InvalidSidecar."""
    record = store.record(key)
    try:
        parsed = sidecar.parse(data)
    except InvalidSidecar as error:
        store.update_object(key, draft=_draft(error))
        raise
    store.sidecar_gone.pop(key, None)
    parsed = _with_free_name(store, record, parsed)
    merged = merge.merge_values(record.shown_values, parsed, record.values)
    with store.state.transaction():
        store.update_object(key, values=dict(merged.values), shown_values=parsed, draft=None)
        store.update_node(ino, dirty=0)
        conflicts.values_set(store, record, merged.values, merged.conflicts)
        if not merge.same(merged.values, record.values):
            _changed(store, record, merged.values)
    labels.write_stale(store)


def set_values(store: Store, key: int, values: Values) -> bool:
    """Make *values* the object's, without a word to their conflicts; True when the sidecar got a new inode."""
    record = store.record(key)
    with store.state.transaction():
        store.update_object(key, values=dict(values))
        _changed(store, record, values)
        changed = refresh_sidecar(store, key)
    labels.write_stale(store)
    return changed


def _changed(store: Store, record: ObjectRecord, values: Values) -> None:
    """The object's values were changed here to *values*, which may give it another name."""
    store.touch(record.key)
    if any(record.values.get(key) != values.get(key) for key in (NAME_KEY, ROOT_PATH_KEY)):
        paths, oaio_id = tuple(store.attached(record.key)), record.oaio_id or record.name
        store.update_object(record.key, name=name_from(store, record.key, values, paths, oaio_id))
        store.unlabelled.add(record.key)


def _with_free_name(store: Store, record: ObjectRecord, parsed: dict[str, Any]) -> dict[str, Any]:
    """A new object that is filled with a copy of another one keeps the name that it was made with."""
    wanted = names.display_name(parsed, (), record.name)
    taken = store.by_name.get(wanted)
    if record.base_stamp is None and taken is not None and taken.key != record.key:
        return {**parsed, NAME_KEY: record.values.get(NAME_KEY, record.name)}
    return parsed
