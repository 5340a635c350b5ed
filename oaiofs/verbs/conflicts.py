"""What conflicts there are, told with both sides and what they were made from; and ending them as the user says.

Each is told as a JSON object: ``id object oaio_id kind device stamp time`` and, of a file, ``path copy`` with facts of
``mine theirs base``; of a value, the key ``path`` (also as text: ``key``) with the values ``mine theirs base``, a
missing one left out. *mine* is what lost: the conflict copy, or this device's value.

Must not know the socket, nor how the user is told.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import trio

from ..cache import resolve
from ..cache.conflicts import Conflict, FileConflict, ValueConflict, found
from ..cache.records import Kind, Node
from ..cache.resolve import Keep
from ..cache.store import Head, Store
from ..core import names
from ..core.keypaths import key_text
from ..core.merge import MISSING
from ..errors import NotFound, OaiofsError, ReadOnly, UsageError
from .naming import place_of, read_word

if TYPE_CHECKING:
    from . import Place

#: Larger texts, in bytes, are for the user's own tools to compare.
MAX_TEXT = 64 * 1024
#: Texts come with the first so many conflicts of an answer.
MAX_TEXTS = 50
_LEAST_ID = 4


# -- telling -------------------------------------------------------------------------------------------------


async def conflicts(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The conflicts that *words* mean (see ``_chosen``), all without any.

    With *texts* small UTF-8 files that are here come with their texts; with *show* they are brought here first, and
    the base's text comes from the storage host. Raises NotFound, UsageError.
    """
    chosen = _chosen(place.store, arguments.get("words") or [])
    told = [_entry(place.store, one) for one in chosen]
    if arguments.get("texts") or arguments.get("show"):
        for one, entry in list(zip(chosen, told, strict=True))[:MAX_TEXTS]:
            if isinstance(one, FileConflict):
                entry.update(await _texts(place, one, show=bool(arguments.get("show"))))
    return {"conflicts": told}


def listing(store: Store) -> dict[str, Any]:
    """All conflicts, as ``.oaiofs/conflicts.json`` shows them."""
    return {"conflicts": [_entry(store, one) for one in found(store)]}


def _entry(store: Store, one: Conflict) -> dict[str, Any]:
    record = store.record(one.object)
    here = store.state.meta("device_id") or "unknown"
    about = {"id": one.id, "object": record.name, "oaio_id": record.oaio_id or ""}
    if isinstance(one, ValueConflict):
        sides = (("base", one.base), ("mine", one.mine), ("theirs", one.theirs))
        return {
            **about, "kind": "value", "path": list(one.keys), "key": key_text(one.keys), "device": here, "here": True,
            "stamp": one.stamp, "time": _iso(one.at), **{side: value for side, value in sides if value is not MISSING},
        }  # fmt: skip
    mine = _facts(store, one.node, one.copy_path)
    standing = _standing(store, one)
    return {
        **about, "kind": "file", "path": one.path, "copy": one.copy_path, "device": one.copy.device,
        "here": one.copy.device == names.device_label(here), "stamp": one.copy.stamp, "time": mine["time"],
        "mine": mine, "theirs": None if standing is None else _facts(store, standing, one.path),
        "base": None if one.base is None else {
            "place": one.base.place, "size": one.base.size, "md5": one.base.md5,
        },
    }  # fmt: skip


def _standing(store: Store, one: FileConflict) -> Node | None:
    """What has the name that the copy lost."""
    return store.child(one.node.parent, one.path.rpartition("/")[2])


def _facts(store: Store, node: Node, path: str) -> dict[str, Any]:
    if node.kind is Kind.DIRECTORY:
        return {"path": path, "folder": True, "time": None}
    size, mtime_ns = node.size, node.mtime_ns
    if node.local:
        try:
            status = store.files.stat(store.work_path(node))
            size, mtime_ns = status.st_size, status.st_mtime_ns
        except FileNotFoundError:
            pass  # taken away by hand: the next start sees to it
    return {"path": path, "size": size, "time": _iso(mtime_ns / 1e9), "local": node.local}


def _iso(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return None  # a time that a foreign program set


async def _texts(place: Place, one: FileConflict, *, show: bool) -> dict[str, Any]:
    """The texts of the sides that have any, and why one is missing that could be had."""
    texts: dict[str, str] = {}
    missing: dict[str, str] = {}
    sides = {"mine": place.store.find_node(one.node.ino), "theirs": _standing(place.store, one)}
    for side, node in sides.items():
        try:
            data = None if node is None else await _bytes(place, node, show=show)
        except (OaiofsError, OSError) as error:
            missing[side] = str(error)
            continue
        _add_text(texts, side, data)
    if show and one.base is not None and one.base.size <= MAX_TEXT:
        try:
            _add_text(texts, "base", await _base(place, one.base.place))
        except OaiofsError as error:
            missing["base"] = str(error)
    return {"texts": texts, **({"missing": missing} if missing else {})}


async def _bytes(place: Place, node: Node, *, show: bool) -> bytes | None:
    if node.kind is not Kind.FILE or node.size > MAX_TEXT:
        return None
    if not node.local:
        if not show:
            return None
        if place.hydrate is None:
            raise NotFound("not on this machine, and nothing is mounted that could bring it")
        await place.hydrate(node.ino)
        node = place.store.node(node.ino)
    return await trio.to_thread.run_sync(_read, place.store.absolute(node))


def _read(path: str) -> bytes | None:
    if os.path.getsize(path) > MAX_TEXT:
        return None
    with open(path, "rb") as stream:
        return stream.read(MAX_TEXT)


async def _base(place: Place, stored: str) -> bytes:
    if place.fetch is None:
        raise NotFound("on the storage host, and nothing is mounted that could ask it")
    return await place.fetch(stored, MAX_TEXT)


def _add_text(texts: dict[str, str], side: str, data: bytes | None) -> None:
    if data is not None and b"\0" not in data:
        try:
            texts[side] = data.decode()
        except UnicodeDecodeError:
            return  # no text


# -- ending --------------------------------------------------------------------------------------------------


async def resolve_conflicts(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """End the conflicts that *words* mean, or with *all* all of them, *keep* being ``mine``, ``theirs`` or ``both``.

    Where one can't be ended so, that is refused before any is. Raises AccessDenied, ReadOnly, NotFound, UsageError.
    """
    await trio.lowlevel.checkpoint()
    try:
        keep = Keep(arguments.get("keep"))
    except ValueError:
        raise UsageError("what is to be kept is mine, theirs or both") from None
    words = arguments.get("words") or []
    if not words and not arguments.get("all"):
        raise UsageError("say which conflicts are meant: their ids, an object or a path, or --all")
    if place.read_only:
        raise ReadOnly("this mount is read-only")
    store = place.store
    chosen = _chosen(store, words)
    for one in chosen:
        resolve.check(store, one, keep)
    # A conflict copy's own conflict copy first, the older of two values that lost one place before the newer.
    order = chosen[::-1]
    order.sort(key=lambda one: len(one.copy_path) if isinstance(one, FileConflict) else 0, reverse=True)
    ended = [entry for one in order if (entry := _end(place, one.object, one.id, keep)) is not None]
    return {"resolved": ended}


def _end(place: Place, key: int, conflict_id: str, keep: Keep) -> dict[str, Any] | None:
    """End one, as it is by now; None where ending others has ended it."""
    store = place.store
    one = next((one for one in found(store, key) if one.id == conflict_id), None)
    if one is None:
        return None
    told = _entry(store, one)
    for parent, name in resolve.resolve(store, one, keep):
        place.announce(parent, name)
    if isinstance(one, FileConflict) and keep is not Keep.THEIRS:
        told["now"] = store.path_in_object(store.node(one.node.ino))
    return told


# -- which are meant -----------------------------------------------------------------------------------------


def _chosen(store: Store, words: Any) -> list[Conflict]:
    """The conflicts meant by *words*, each once, in their order.

    A word is [text, path in the mount or null]: the text may be a conflict's id or its beginning, an object's name or
    id; the path an object, a file or folder in it on either side of a conflict, or its sidecar for all its values.
    Raises NotFound for a word that means nothing here, UsageError for one that is not clear.
    """
    everything = found(store)
    if not words:
        return everything
    meant: dict[str, Conflict] = {}
    for word in words if isinstance(words, list) else [words]:
        meant.update((one.id, one) for one in _meant(store, everything, *read_word(word)))
    return [one for one in everything if one.id in meant]


def _meant(store: Store, everything: list[Conflict], text: str, inside: str | None) -> Iterable[Conflict]:
    by_id = [one for one in everything if len(text) >= _LEAST_ID and one.id.startswith(text.lower())]
    if len(by_id) > 1:
        raise UsageError(f"{text} is the beginning of {len(by_id)} conflicts' ids: give more of it")
    if by_id:
        return by_id
    if inside == "":
        return everything
    place = place_of(store, text, inside, lambda head, path: bool(store.at(head, path) or _at(everything, head, path)))
    if place is None:
        raise NotFound(f"{text} is no conflict, object or path here: `oaiofs conflicts` lists the conflicts")
    return _at(everything, *place)


def _at(everything: list[Conflict], head: Head, path: str) -> list[Conflict]:
    """The object's conflicts at *path* or below it, which is all of them for ''."""
    return [one for one in everything if one.object == head.key and _is_at(one, head, path)]


def _is_at(one: Conflict, head: Head, path: str) -> bool:
    if not path:
        return True
    if isinstance(one, ValueConflict):
        return path == head.sidecar
    return any(own == path or own.startswith(path + "/") for own in (one.path, one.copy_path))


VERBS = {"conflicts": conflicts, "resolve": resolve_conflicts}
