"""Which conflicts there are: of files, what conflict copies' names say; of values, what was kept when they lost.

Every device sees the conflicts of files, as it sees the copies; a losing value is known to the device that lost it.
Changes rows of conflicts only, as versions come in and values are set; ``resolve`` ends what a user has decided. Must
not know the servers, nor how conflicts are shown.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..core import conflicts, merge
from ..core.conflicts import Copy
from ..core.model import Stamp, Values, Version
from . import records
from .records import ConflictRecord, Kind, Node, ObjectRecord
from .store import Store

_ID_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Base:
    """Where the storage host has what both sides of a file were made from: ``csh_id/oaio_id/stamp/path``."""

    place: str
    size: int
    md5: str


@dataclass(frozen=True, slots=True)
class FileConflict:
    """A conflict copy, file or folder. *path* is the name that it lost, *copy_path* its own.

    *base* is known on the device that made the copy, if to anyone.
    """

    id: str
    object: int
    path: str
    copy_path: str
    copy: Copy
    node: Node
    base: Base | None


@dataclass(frozen=True, slots=True)
class ValueConflict:
    """A value that lost its place *keys*: *mine*. *theirs* is there now; MISSING stands for no value."""

    id: str
    object: int
    keys: tuple[str, ...]
    base: Any
    mine: Any
    theirs: Any
    stamp: Stamp
    at: float
    row: int


Conflict: TypeAlias = FileConflict | ValueConflict


def found(store: Store, key: int | None = None) -> list[Conflict]:
    """All conflicts of one object, or of all in the mount: by object, files first; of one value the newest first."""
    noted = [one for one in records.conflicts(store.db, key) if one.object in store.heads]
    bases = {(one.object, one.copy): one for one in noted if one.kind == "file"}
    files = [
        _file_conflict(store, node, path, copy, bases.get((node.object, path)))
        for node, path, copy in _copies(store, key)
    ]
    values = [_value_conflict(store, one) for one in reversed(noted) if one.kind == "value"]
    return [
        *sorted(files, key=lambda one: (store.heads[one.object].name, one.path, one.copy_path)),
        *sorted(values, key=lambda one: (store.heads[one.object].name, one.keys)),
    ]


def count(store: Store, key: int | None = None) -> Counter[int]:
    """How many conflicts each object has that has any."""
    numbers = Counter(node.object for node, _, _ in _copies(store, key))
    noted = records.conflicts(store.db, key)
    numbers.update(one.object for one in noted if one.kind == "value" and one.object in store.heads)
    return numbers


def _copies(store: Store, key: int | None) -> Iterator[tuple[Node, str, Copy]]:
    for node in records.perhaps_copies(store.db, key):
        copy = conflicts.read_copy(node.name)
        if copy is None or node.object not in store.heads:
            continue
        path = store.path_in_object(node)
        if store.is_attached(node, path) or _holds_attached(store, node, path):
            yield node, path, copy


def _holds_attached(store: Store, folder: Node, path: str) -> bool:
    """Whether there is any file of the user's below: the servers, and so other devices, know no empty folders."""
    if folder.kind is not Kind.DIRECTORY:
        return False
    below = ((node, f"{path}/{node.name}") for node in store.children(folder.ino))
    return any(store.is_attached(node, own) or _holds_attached(store, node, own) for node, own in below)


def _file_conflict(store: Store, node: Node, path: str, copy: Copy, noted: ConflictRecord | None) -> FileConflict:
    record_id = store.record(node.object).oaio_id or store.heads[node.object].folder
    original = noted.path if noted is not None else _original(store, node, path, copy)
    base = None
    if noted is not None and noted.base:
        known = json.loads(noted.base)
        base = Base(known["place"], known["size"], known["md5"])
    return FileConflict(_id("file", record_id, path), node.object, original, path, copy, node, base)


def _original(store: Store, node: Node, path: str, copy: Copy) -> str:
    folder, slash, own = path.rpartition("/")

    def siblings() -> list[str]:
        return [sibling.name for sibling in store.children(node.parent)]

    return folder + slash + conflicts.original_name(own, copy, siblings)


def _value_conflict(store: Store, one: ConflictRecord) -> ValueConflict:
    base, mine, theirs = (json.loads(text) if text else merge.MISSING for text in (one.base, one.mine, one.theirs))
    name = _id("value", store.heads[one.object].folder, one.path, one.mine)
    keys = tuple(json.loads(one.path))
    return ValueConflict(name, one.object, keys, base, mine, theirs, Stamp(one.stamp), one.at, one.id)


def _id(*parts: str) -> str:
    """Short and the same at every look; of a file on every device."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_ID_DIGITS]


# -- what becomes of them ------------------------------------------------------------------------------------


def note_copy(
    store: Store, record: ObjectRecord, path: str, copy: str, stamp: Stamp, base: Version | None
) -> None:
    """A conflict copy of *path* was made here: note what its name can't tell. Both sides were made from *base*."""
    store.unlabelled.add(record.key)
    fact = base.files.get(path) if base is not None else None
    text = ""
    if base is not None and fact is not None:
        place = f"{record.csh_id}/{record.oaio_id}/{base.stamp}/{path}"
        text = records.dump({"place": place, "size": fact.size, "md5": fact.md5})
    records.add_conflict(
        store.db,
        ConflictRecord(
            object=record.key, kind="file", path=path, copy=copy, base=text, mine="", theirs="", stamp=stamp,
            at=store.wall_clock(),
        ),
    )  # fmt: skip


def forget_lost_copies(store: Store, key: int) -> None:
    """What was noted of conflict copies that are gone, here or by a remote version, is of no more use."""
    noted = [one for one in records.conflicts(store.db, key) if one.kind == "file"]
    if noted:
        present = {path for path, _ in store.walk(key)}
        for one in noted:
            if one.copy not in present:
                records.delete_conflict(store.db, one.id)


def values_came(store: Store, key: int, values: Values, lost: tuple[merge.ValueConflict, ...], stamp: Stamp) -> None:
    """A remote version was merged into *values*, over what *lost*.

    A value that is what once lost ends that conflict; any other only shows what stands against it now, as nobody who
    wrote it knew of the one that lost.
    """
    store.unlabelled.add(key)
    for one in _noted_values(store, key):
        present = conflicts.value_at(values, json.loads(one.path))
        if merge.same(present, _load(one.mine)):
            records.delete_conflict(store.db, one.id)
        elif not merge.same(present, _load(one.theirs)):
            records.update_conflict(store.db, one.id, _text(present), stamp)
    _note_values(store, key, lost, stamp)


def values_set(
    store: Store, record: ObjectRecord, values: Values, lost: tuple[merge.ValueConflict, ...] = ()
) -> None:
    """The user of this device has set *values* over the record's: whoever sets a value anew has seen to its conflict.

    *lost* is what of it did not get its place, as another value had come in since the user looked.
    """
    store.unlabelled.add(record.key)
    for one in _noted_values(store, record.key):
        keys = json.loads(one.path)
        if not merge.same(conflicts.value_at(record.values, keys), conflicts.value_at(values, keys)):
            records.delete_conflict(store.db, one.id)
    _note_values(store, record.key, lost, record.base_stamp or Stamp(""))


def end_value(store: Store, ended: ValueConflict, values: Values) -> None:
    """The user has decided this one; others that lost the same place stay, against what is there now."""
    store.unlabelled.add(ended.object)
    for one in _noted_values(store, ended.object):
        present = conflicts.value_at(values, json.loads(one.path))
        if one.id == ended.row or merge.same(present, _load(one.mine)):
            records.delete_conflict(store.db, one.id)
        else:
            records.update_conflict(store.db, one.id, _text(present), Stamp(one.stamp))


def _noted_values(store: Store, key: int) -> list[ConflictRecord]:
    return [one for one in records.conflicts(store.db, key) if one.kind == "value"]


def _note_values(store: Store, key: int, lost: tuple[merge.ValueConflict, ...], stamp: Stamp) -> None:
    """Keep each losing value, once."""
    noted = {(one.path, one.mine): one for one in _noted_values(store, key)}
    for one in lost:
        path, mine, theirs = records.dump(list(one.path)), _text(one.mine), _text(one.theirs)
        if (path, mine) in noted:
            records.update_conflict(store.db, noted[path, mine].id, theirs, stamp)
            continue
        records.add_conflict(
            store.db,
            ConflictRecord(
                object=key, kind="value", path=path, copy="", base=_text(one.base), mine=mine, theirs=theirs,
                stamp=stamp, at=store.wall_clock(),
            ),
        )  # fmt: skip


def _text(value: Any) -> str:
    return "" if value is merge.MISSING else records.dump(value)


def _load(text: str) -> Any:
    return json.loads(text) if text else merge.MISSING


# -- kept apart from the database ----------------------------------------------------------------------------

_KEPT = ("kind", "path", "copy", "base", "mine", "theirs", "stamp", "at")


def dump(store: Store, key: int) -> list[dict[str, Any]]:
    """What a lost database would take along of an object's conflicts, as JSON."""
    return [{name: getattr(one, name) for name in _KEPT} for one in records.conflicts(store.db, key)]


def load(store: Store, key: int, dumped: list[dict[str, Any]]) -> None:
    """Take over what ``dump`` gave, into an object that has no conflicts noted. Raises TypeError for anything else."""
    for one in dumped:
        records.add_conflict(store.db, ConflictRecord(object=key, **one))
