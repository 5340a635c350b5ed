"""What ``oaiofs trash`` asks for: list, restore, empty; and the tending that lets old entries go by themselves.

The disk is looked at in threads, rows are changed on the trio thread; one of these verbs at a time, so that nothing is
removed while it is brought back. Must not know the socket, the command line or FUSE.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trio

from ..cache import parked, restore, trash
from ..cache.store import Store
from ..core import trash as notes
from ..errors import OaiofsError, ReadOnly, Refused, UsageError

if TYPE_CHECKING:
    from . import Place

log = logging.getLogger(__name__)

_SWEEP_EVERY = 30.0
_PURGE_EVERY = 86_400.0
_MOST_PATHS = 20


async def list_(place: Place, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Every entry, oldest first; times as ISO 8601 in UTC, *purged_at* None where it stays until it is emptied."""
    days = trash.days(place.store)
    async with place.trash_lock:
        found = await _entries(place.store)
    return {"days": days, "entries": [_shown(place.store, entry, days) for entry in found]}


def _shown(store: Store, entry: trash.Entry, days: float) -> dict[str, Any]:
    note = entry.note
    awaited = trash.is_awaited(store, entry.key)
    return {
        "entry": entry.key, "name": note.name, "what": note.what.value, "id": note.oaio_id or "",
        "removed_at": _iso(note.removed_at), "why": note.why, "by": note.device_id,
        "files": entry.files, "bytes": entry.bytes, "elsewhere": sum(bool(kept.origin) for kept in note.files.values()),
        "paths": _paths(note),
        "purged_at": None if awaited else _iso(notes.purge_time(note, days)), "server_knows": not awaited,
        "path": store.files.absolute(f"trash/{entry.key}"), "problems": list(note.problems),
    }  # fmt: skip


def _paths(note: notes.Note) -> list[str]:
    """Which files left an object that stayed, the first of many: one is looked for by its own name."""
    return sorted(note.files)[:_MOST_PATHS] if note.what is notes.What.FILES else []


def _iso(seconds: float | None) -> str | None:
    if seconds is None or math.isnan(seconds):
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


async def _entries(store: Store) -> list[trash.Entry]:
    found = await trio.to_thread.run_sync(trash.entries, store.files.root)
    return [entry for entry in found if not trash.is_stale(store, entry)]


async def _chosen(store: Store, wanted: object, *, everything: bool) -> list[trash.Entry]:
    """The entries of the names *wanted*, each once; of none all, where *everything*. Raises before anything is done."""
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise UsageError("names are a list of texts")
    found = await _entries(store)
    if everything and not wanted:
        return found
    shown = {entry.key: entry.note.name for entry in found}
    keys = dict.fromkeys(notes.choose(name, shown) for name in wanted)
    return [entry for entry in found if entry.key in keys]


async def restore_(place: Place, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Bring the entries of *names* back; what each has become. Raises at the first that can't be."""
    if place.read_only:
        raise ReadOnly("this mount is read-only: restore with one that is not")
    store = place.store
    done = []
    async with place.trash_lock:
        for entry in await _chosen(store, arguments.get("names"), everything=False):
            folder = os.path.join(store.files.root, "trash", entry.key)
            files = await trio.to_thread.run_sync(trash.files_below, folder)
            restored = restore.restore(store, entry, files, maker(place))
            for parent, name in restored.names:
                place.announce(parent, name)
            done.append(
                {"entry": entry.key, "name": entry.note.name, "object": restored.object, "new": restored.anew,
                 "paths": list(restored.paths)}
            )  # fmt: skip
        await trio.to_thread.run_sync(store.state.sync_to_disk)
    return {"restored": done}


def maker(place: Place) -> restore.Maker:
    """Who makes new objects in this client root."""
    meta = place.store.state.meta
    user = (meta("account") or "").partition(" ")[0]
    return restore.Maker(user, place.device_id, meta("app_id") or "oaiofs", meta("csh_id") or "Digi")


async def empty(place: Place, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Remove the entries of *names* for good, all where there are none. Raises Refused without *yes*."""
    store = place.store
    async with place.trash_lock:
        chosen = await _chosen(store, arguments.get("names"), everything=True)
        size = sum(entry.bytes for entry in chosen)
        if chosen and not arguments.get("yes"):
            raise Refused(
                f"{len(chosen)} entries of the trash, {size} bytes, would be gone for good: confirm with "
                "`oaiofs trash empty --yes`"
            )
        await _delete(store, chosen)
    store.doorbell(0)  # a brake that was waiting for this word
    return {"emptied": [entry.key for entry in chosen], "bytes": size}


async def _delete(store: Store, chosen: Sequence[trash.Entry]) -> None:
    for entry in chosen:
        await trio.to_thread.run_sync(trash.delete, store.files.root, entry.key)


async def tend(place: Place, days: float, time: Callable[[], float | None]) -> None:
    """Let go of what is old enough, at the start and once a day, and of files removed in passing; until cancelled.

    *time* gives the wall clock's time once the server has confirmed it: a clock set far ahead purges nothing.
    """
    next_purge = -math.inf
    while True:
        try:
            now = time()
            if now is not None and trio.current_time() >= next_purge:
                next_purge = trio.current_time() + _PURGE_EVERY
                await _purge(place, now, days)
            while parked.sweep(place.store):
                await trio.lowlevel.checkpoint()
        except (OaiofsError, OSError) as error:
            log.warning("the trash could not be cleared of what is old: %s", error)
        except Exception:
            log.exception("unexpected error in tending the trash")
        await trio.sleep(_SWEEP_EVERY)


async def _purge(place: Place, now: float, days: float) -> None:
    store = place.store
    async with place.trash_lock:
        trash.clear_leftovers(store)
        old = trash.due(store, await _entries(store), now, days)
        for entry in old:
            log.info("%s was in the trash for %g days and goes for good", entry.key, days)
        await _delete(store, old)


VERBS = {"trash_list": list_, "trash_restore": restore_, "trash_empty": empty}
