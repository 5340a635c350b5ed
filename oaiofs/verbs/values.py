"""``get`` and ``set``: one value of an object, by its key path (``core.keypaths``), or all.

    {"word": ["notes", null], "key": "two.x", "value": 5}      without "value" the one that is there goes

Setting is an edit like saving ``values.json``: judged as strictly, done here at once, sent with the next version. Must
not know the socket, the command line or FUSE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from ..cache import conflicts, objects
from ..cache.store import ROOT_INO, Head, Store
from ..core import keypaths, merge, sidecar
from ..core.conflicts import value_at, with_value
from ..core.merge import MISSING
from ..core.model import FILES_KEY, Values
from ..errors import AccessDenied, Busy, NotFound, ReadOnly, UsageError
from .naming import object_of

if TYPE_CHECKING:
    from . import Place


async def get(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The value at *key*, all values without one. Raises NotFound, UsageError."""
    await trio.lowlevel.checkpoint()
    head = object_of(place.store, arguments.get("word"))
    values = place.store.record(head.key).values
    if arguments.get("key") is None:
        return {"object": head.name, "value": dict(values)}
    keys = _keys(arguments)
    value = value_at(values, keys)
    if value is MISSING:
        raise NotFound(f"{head.name} has no value {keypaths.key_text(keys)}")
    return {"object": head.name, "key": keypaths.key_text(keys), "value": value}


async def set_(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Set the value at *key*, making the objects on the way; without a *value* take it away.

    *object* is the object's name after that. Raises AccessDenied with right r, ReadOnly, InvalidSidecar for a value
    that can't be, NotFound for one to be taken away that is not there, UsageError, Busy while the sidecar is a draft.
    """
    store = place.store
    head = object_of(store, arguments.get("word"))
    keys = _keys(arguments)
    if place.read_only:
        raise ReadOnly("this mount is read-only")
    if not head.right.may_update:
        raise AccessDenied(f"you may only read {head.name}: its owner can give you right U")
    record = store.record(head.key)
    if record.draft is not None:
        raise Busy(
            f"{head.name}/{head.sidecar} is a draft that is no values yet ({record.draft['message']}): correct or "
            "remove it first"
        )
    value = arguments.get("value", MISSING)
    if value is MISSING and value_at(record.values, keys) is MISSING:
        raise NotFound(f"{head.name} has no value {keypaths.key_text(keys)}")
    values = sidecar.parse(_text(_with_value(record.values, keys, value)))
    if not merge.same(values, record.values):
        for parent, name in _take(store, head, values):
            place.announce(parent, name)
        await trio.to_thread.run_sync(store.state.sync_to_disk)
    return {"object": store.heads[head.key].name if head.key in store.heads else head.name}


def _keys(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    key = arguments.get("key")
    if not isinstance(key, str):
        raise UsageError("say which value is meant, by its key path")
    return keypaths.parse(key)


def _with_value(values: Values, keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    if keys[0] == FILES_KEY:
        raise UsageError(f"{FILES_KEY} is the list of attached files: add and remove the files themselves")
    try:
        return with_value(values, keys, value)
    except UsageError:
        raise UsageError(
            f"{keypaths.key_text(keys)} can't be set: something on the way there has another value than an object"
        ) from None


def _text(values: Values) -> bytes:
    try:
        return sidecar.render(values)
    except ValueError as error:
        raise UsageError(f"this can't be a value: {error}") from None


def _take(store: Store, head: Head, values: Values) -> set[tuple[int, str]]:
    """Make them the object's; the (parent inode, name) of what means something else now."""
    record = store.record(head.key)
    with store.state.transaction():
        conflicts.values_set(store, record, values)
        changed = {(head.ino, head.sidecar)} if objects.set_values(store, head.key, values) else set()
    objects.run_intents(store)
    now = store.heads[head.key]
    return changed if now.name == head.name else changed | {(ROOT_INO, head.name), (ROOT_INO, now.name)}


VERBS = {"get": get, "set": set_}
