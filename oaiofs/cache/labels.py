"""Labels: what of an object's rows must outlive them, in an ordinary file beside its working copy.

    objects/NAME.N/         the working copy
    objects/NAME.N.json     its label: which object it is, and the version last agreed

A label repeats what only the rows know and no server can tell: from it, the working copy and the servers an object is
made again when the state file is lost (``rebuild``). It is written after the transaction with the rows that it
repeats, and after the renames and the sync to the disk that belong to them: it may lag behind, which costs a merge with
an older base, but never runs ahead, which would make the user's edits of what a version was about to replace.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core import merge
from ..core.model import OaioId, Right, Stamp, Values
from . import records
from .records import ConflictRecord, Kind
from .store import Store
from .workdir import OBJECTS, read_file

log = logging.getLogger(__name__)

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Label:
    """See the columns of the same names in ``schema.sql``.

    *stamp* and *agreed* are those of the version last agreed; *shown* are the values that the sidecar was made from and
    *values* those that they stood for: whoever changed the sidecar's text since did it to these. *moved* maps paths of
    renamed placeholders to (size, md5, mtime_ns, origin).
    """

    oaio_id: OaioId | None
    name: str
    sidecar: str
    csh_id: str
    right: Right
    username: str
    device_id: str
    app_id: str
    dialect: str
    stamp: Stamp | None
    agreed: Values
    shown: Values
    values: Values
    conflicts: tuple[Mapping[str, Any], ...]
    moved: Mapping[str, tuple[int, str, int, str]]


def place(folder: str) -> str:
    """Path in the client root of the label of a working copy."""
    return f"{OBJECTS}/{folder}.json"


def write_stale(store: Store) -> None:
    """Bring the labels up to date whose rows have changed."""
    if store.db.in_transaction:
        return  # the outermost one is followed by another call
    stale = sorted(store.unlabelled)
    store.unlabelled.clear()
    for key in stale:
        write(store, key)


def write(store: Store, key: int) -> None:
    """Have the object's label say what its rows say. Nothing for one that has left the mount."""
    record = records.object_by(store.db, "key", key)
    if record is None or record.removed:
        return
    moved = {
        path: [node.size, node.md5, node.mtime_ns, node.origin]
        for path, node in (store.walk(key) if records.has_origins(store.db, key) else ())
        if node.kind is Kind.FILE and not node.local and node.origin
    }
    conflicts = [dataclasses.asdict(one) for one in records.conflicts(store.db, key)]
    for one in conflicts:
        del one["object"], one["id"]
    text = {
        "format": _FORMAT, "oaio_id": record.oaio_id, "name": record.name, "sidecar": record.sidecar,
        "csh_id": record.csh_id, "right": record.right.value, "username": record.username,
        "device_id": record.device_id, "app_id": record.app_id, "dialect": record.dialect, "stamp": record.base_stamp,
        "agreed": record.base_values, "shown": _unless_same(record.shown_values, record.base_values),
        "values": _unless_same(record.values, record.base_values), "conflicts": conflicts, "moved": moved,
    }  # fmt: skip
    data = json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        store.files.write_whole(place(record.folder), data, int(store.wall_clock() * 1e9), can_wait=True)
    except OSError as error:  # the disk is full: what the label is for can wait for the next version
        log.info("the label of %s could not be written: %s", record.name, error)
        store.unlabelled.add(key)  # or for the next change, if there is room then


def _unless_same(values: Values, agreed: Values) -> Values | None:
    return None if merge.same(values, agreed) else values


def read(store: Store, folder: str) -> Label | None:
    """The label of a working copy; None where it has none, or one that can't be used."""
    try:
        data = read_file(store.files.absolute(place(folder)))
        return _parsed(json.loads(data.decode("utf-8", "surrogatepass")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.warning("the label of the working copy %s can't be used: %s", folder, error)
        return None


def _parsed(raw: dict[str, Any]) -> Label:
    if raw["format"] > _FORMAT:
        raise ValueError("written by a newer oaiofs")
    fields = {name: raw[name] for name in Label.__slots__}
    texts = ("name", "sidecar", "csh_id", "username", "device_id", "app_id", "dialect")
    for name in ("shown", "values"):
        fields[name] = fields["agreed"] if fields[name] is None else fields[name]
    mappings = ("agreed", "shown", "values", "moved")
    if not all(isinstance(fields[name], str) for name in texts) or not fields["name"]:
        raise ValueError("a text is missing")
    if not all(isinstance(fields[name], str | None) for name in ("oaio_id", "stamp")):
        raise ValueError("the id or the stamp is no text")
    if not all(isinstance(fields[name], dict) for name in mappings):
        raise ValueError("values are missing")
    fields["right"] = Right(fields["right"])
    fields["moved"] = {
        str(path): (int(size), str(md5), int(mtime_ns), str(origin))
        for path, (size, md5, mtime_ns, origin) in fields["moved"].items()
    }
    known = {field.name for field in dataclasses.fields(ConflictRecord)} - {"object", "id"}
    fields["conflicts"] = tuple(one for one in fields["conflicts"] if one.keys() == known)
    return Label(**fields)
