"""Stored files that are to go: the user's wish, kept until the object is deleted and the storage host has done it.

A wish belongs to one removal of one object (its number here). Only a deletion that the server has confirmed to this
device lets it be carried out; a restored object, or one that lives on for others, takes it back. Must not know the
servers. Kept in one row of ``meta``, as there are few and seldom any.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..core.model import OaioId
from . import objects, records, trash, tree
from .records import ObjectRecord
from .store import Head, Store

_META = "wipes"


@dataclass(frozen=True, slots=True)
class Wipe:
    """All versions of one object on one storage host."""

    oaio_id: OaioId
    csh_id: str


def remove(store: Store, head: Head) -> None:
    """Send the object to the trash, full as it may be, and have its stored files go once it is deleted."""
    with store.state.transaction():
        _wish(store, store.record(head.key))
        trash.remove(store, head, even_full=True)
    objects.run_intents(store)


def _wish(store: Store, record: ObjectRecord) -> None:
    if record.oaio_id is not None:
        _save(store, {**_load(store), record.oaio_id: {"csh": record.csh_id, "key": record.key, "deleted": False}})


def withdraw(store: Store, record: ObjectRecord) -> None:
    """The object is back: its files stay."""
    wishes = _load(store)
    if record.oaio_id is not None and wishes.pop(record.oaio_id, None) is not None:
        _save(store, wishes)


def deleted(store: Store, record: ObjectRecord) -> None:
    """The server has deleted the object for this device."""
    wishes = _load(store)
    wished = wishes.get(record.oaio_id or "")
    if wished is not None and wished["key"] == record.key:
        _save(store, {**wishes, str(record.oaio_id): {**wished, "deleted": True}})


def due(store: Store) -> list[Wipe]:
    """What may go now. What another object here still has its bytes from waits until it does not."""
    found, dropped = [], []
    for oaio_id, wished in _load(store).items():
        if wished["deleted"]:
            found += [] if _is_needed(store, oaio_id) else [Wipe(OaioId(oaio_id), wished["csh"])]
        elif records.object_by(store.db, "key", wished["key"]) is None:
            dropped.append(oaio_id)  # it was not deleted: the removal was taken back, or only left the object
    if dropped:
        _save(store, {oaio_id: wished for oaio_id, wished in _load(store).items() if oaio_id not in dropped})
    return found


def done(store: Store, wipe: Wipe) -> None:
    """The storage host has nothing of it any more."""
    _save(store, {oaio_id: wished for oaio_id, wished in _load(store).items() if oaio_id != wipe.oaio_id})


def _is_needed(store: Store, oaio_id: str) -> bool:
    query = "SELECT ino FROM node WHERE NOT local AND instr(origin, ?) > 0"
    nodes = (store.find_node(ino) for (ino,) in store.db.execute(query, (f"/{oaio_id}/",)).fetchall())
    return any(f"/{oaio_id}/" in tree.origin(store, node) for node in nodes if node is not None)  # not merely had


def _load(store: Store) -> dict[str, dict[str, Any]]:
    return dict(json.loads(store.state.meta(_META) or "{}"))


def _save(store: Store, wishes: dict[str, dict[str, Any]]) -> None:
    if wishes:
        store.state.set_meta(_META, json.dumps(wishes))
    else:
        store.state.forget_meta(_META)
