"""What ``oaiofs versions``, ``restore`` and ``versions prune`` ask of a running mount; *word* as in ``subjects``.

Must not know the socket, nor how the user is told.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import trio

from ..cache import records, revert, trash, tree
from ..cache.store import Head, Store
from ..core import history, stamps
from ..core.history import StoredVersion
from ..core.model import FileSet, Stamp
from ..errors import AccessDenied, NotFound, OaiofsError, ReadOnly, UsageError
from ..vfs.history import top_ino
from .subjects import Subject, source_of, subject_of, version_of

if TYPE_CHECKING:
    from . import Place

#: Paths of each kind of change that are told one by one.
_MOST_PATHS = 50
_LONGEST_DAYS = 36_500.0


# -- which there are -----------------------------------------------------------------------------------------


async def versions(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The versions of the object, newest first; of something in it those in which that changed."""
    source = source_of(place)
    subject = subject_of(place.store, arguments.get("word"))
    record = place.store.record(subject.head.key)
    found = await source.all_of(subject.head.key)
    told = await trio.to_thread.run_sync(_told, subject, found, record.base_stamp)
    return {"object": subject.head.name, "id": record.oaio_id or "", "path": subject.path, "versions": told[::-1]}


def _told(subject: Subject, found: Iterable[StoredVersion], current: Stamp | None) -> list[dict[str, Any]]:
    told = []
    before: StoredVersion | None = None
    for version in found:
        changes = _between(subject, before, version)
        if changes or subject.whole:
            told.append({
                "stamp": version.told.stamp, "time": stamps.to_datetime(version.told.stamp).isoformat(),
                "current": version.told.stamp == current, "user": version.told.username,
                "device": version.told.device_id, "app": version.told.app_id,
                "values_known": version.told.values is not None, "incomplete": bool(version.lacking),
                **_size(subject.files(version.files)), "changes": _shown(changes),
            })  # fmt: skip
        before = version
    return told


def _between(subject: Subject, before: StoredVersion | None, after: StoredVersion) -> history.Changes:
    if before is None:
        return history.changes({}, subject.files(after.files), {}, subject.values_of(after.told.values))
    return history.changes(
        subject.files(before.files), subject.files(after.files), subject.values_of(before.told.values),
        subject.values_of(after.told.values),
    )  # fmt: skip


def _size(files: FileSet) -> dict[str, int]:
    return {"files": len(files), "bytes": sum(fact.size for fact in files.values())}


def _shown(changes: history.Changes) -> dict[str, Any]:
    kinds = {"added": changes.added, "removed": changes.removed, "changed": changes.changed, "values": changes.values}
    more = sum(max(0, len(paths) - _MOST_PATHS) for paths in kinds.values())
    return {kind: list(paths[:_MOST_PATHS]) for kind, paths in kinds.items()} | {"more": more}


# -- making one the content again ----------------------------------------------------------------------------


async def restore(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Make what *version* had of *word* the content now, as an edit here. Raises AccessDenied, ReadOnly, NotFound."""
    source, store = source_of(place), place.store
    if place.read_only:
        raise ReadOnly("this mount is read-only")
    subject = subject_of(store, arguments.get("word"))
    key = subject.head.key
    word = arguments.get("version") or subject.stamp
    if not word:
        raise UsageError("say which version: --version STAMP, as `oaiofs versions` lists them")
    version = await version_of(source, key, word)
    stamp = version.told.stamp
    if subject.path and not subject.files(version.files):
        raise NotFound(f"version {stamp} has no {subject.path}: `oaiofs versions` says in which it changed")
    if version.lacking and not subject.path and not subject.values:
        raise OaiofsError(
            f"the storage host lacks {version.lacking} of the files of version {stamp}: restore others by their paths"
        )
    values = subject.values_of(version.told.values)
    if subject.values and values is None:
        raise NotFound(f"the values of version {stamp} are known neither to the server nor here")
    done = revert.revert(
        store, key, stamp, version.files, lambda path: source.place(key, version, path), place.device_id,
        path=subject.path, values=values, only_values=subject.values,
    )  # fmt: skip
    for parent, name in done.names:
        place.announce(parent, name)
    await trio.to_thread.run_sync(store.state.sync_to_disk)
    return {
        "object": store.heads[key].name, "version": stamp, "restored": list(done.restored[:_MOST_PATHS]),
        "restored_files": len(done.restored), "removed": list(done.removed[:_MOST_PATHS]),
        "removed_files": len(done.removed), "values": done.values, "values_known": version.told.values is not None,
    }  # fmt: skip


# -- letting go of old ones ----------------------------------------------------------------------------------


async def prune(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Versions beyond the *keep* newest and older than *days* that nobody is known to need; with *yes* they go.

    With *stamps* only those of them. Raises AccessDenied without right D: what is removed is gone for all users.
    """
    source, store = source_of(place), place.store
    subject = subject_of(store, arguments.get("word"))
    head = subject.head
    if not subject.whole:
        raise UsageError("versions are removed whole: name the object, nothing in it")
    if place.read_only:
        raise ReadOnly("this mount is read-only")
    if not head.right.may_delete:
        raise AccessDenied(f"removing versions of {head.name} for all users needs right D: ask its owner")
    keep, days = _number(arguments.get("keep"), "--keep"), _number(arguments.get("days"), "--older-than")
    announced = await source.announced(head.key)
    known = await source.versions(head.key, anew=True)
    needed = await _needed(store, head)
    confirmed = place.time()
    now = store.wall_clock() if confirmed is None else confirmed
    stamps_ = history.prunable(
        known, keep=int(max(1, keep)), older_than=timedelta(days=min(days, _LONGEST_DAYS)),
        now=datetime.fromtimestamp(now, UTC), announced=announced.stamp, needed=needed,
    )  # fmt: skip
    stored = {one.told.stamp: one for one in await source.all_of(head.key)}
    old = [stored[stamp] for stamp in stamps_ if stamp in stored and stored[stamp].files]
    chosen = arguments.get("stamps")
    if chosen is not None:
        old = [one for one in old if one.told.stamp in chosen]
    removed = []
    for version in old:
        if arguments.get("yes"):
            if version.told.stamp in await _needed(store, head):
                continue  # restored meanwhile: with many versions the others take a while
            await source.remove(head.key, version.told.stamp, version.told.csh_id)
            place.announce(top_ino(head), version.told.stamp)
        removed.append({"stamp": version.told.stamp, **_size(version.files)})
    return {
        "object": head.name, "removed" if arguments.get("yes") else "would_remove": removed,
        "bytes": sum(one["bytes"] for one in removed), "kept": len(known) - len(removed),
    }  # fmt: skip


def _number(value: object, option: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise UsageError(f"{option} is a number, not below 0")
    return value


async def _needed(store: Store, head: Head) -> set[Stamp]:
    """Versions of the object that this device is to come back to: agreed, begun, or with the bytes of its files."""
    record = store.record(head.key)
    kept = (record.pending, record.prior, record.restored)
    found = {version.stamp for version in kept if version is not None}
    found |= {stamp for stamp in (record.base_stamp, record.prior_until) if stamp is not None}
    moved = store.db.execute("SELECT ino FROM node WHERE origin != '' AND NOT local AND parent > 0").fetchall()
    places = []
    for (ino,) in moved:
        await trio.lowlevel.checkpoint()
        node = store.find_node(ino)
        places += [] if node is None else [tree.origin(store, node)]  # in the agreed version, where that has it too
    for conflict in records.conflicts(store.db):
        base = json.loads(conflict.base) if conflict.kind == "file" and conflict.base else {}
        places.append(str(base.get("place", "")))
    for entry in await trio.to_thread.run_sync(trash.entries, store.files.root):
        places += [kept_file.origin for kept_file in entry.note.files.values()]
    return found | _stamps_of(places, str(record.oaio_id))


def _stamps_of(places: Iterable[str], oaio_id: str) -> set[Stamp]:
    """The versions of the object that are among the *places* ``csh_id/oaio_id/stamp/path``."""
    parts = (place.split("/", 3) for place in places)
    return {Stamp(one[2]) for one in parts if len(one) == 4 and one[1] == oaio_id}


VERBS = {"versions": versions, "restore": restore, "prune": prune}
