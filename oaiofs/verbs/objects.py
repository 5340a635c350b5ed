"""``ls``: the objects of a client root, or some of them.

    {"words": [["notes", null]]}
    {"objects": [{"id": …, "name": …, "right": "C", "state": "synced", "stamp": …, "size": 12, "local": 0, "files": 1}]}

Must not know the socket, the command line or FUSE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from ..cache import conflicts, copies, states
from ..cache.copies import Sizes
from ..cache.store import Head
from ..errors import UsageError
from .naming import object_of, read_word

if TYPE_CHECKING:
    from . import Place


async def list_(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The objects that *words* mean, by name; all where there are none, or one is the mount itself.

    *size* and *local* are bytes of attached files, all and those that are here. Raises NotFound, UsageError.
    """
    return {"objects": [await _entry(place, head) for head in _meant(place, arguments.get("words") or [])]}


def _meant(place: Place, words: Any) -> list[Head]:
    if not isinstance(words, list):
        raise UsageError("what is meant is a list of words")
    store = place.store
    if not words or any(read_word(word)[1] == "" for word in words):
        found = list(store.heads.values())
    else:
        found = list({head.key: head for head in (object_of(store, word) for word in words)}.values())
    return sorted(found, key=lambda head: head.name)


async def _entry(place: Place, head: Head) -> dict[str, Any]:
    await trio.lowlevel.checkpoint()  # there may be thousands
    store, record = place.store, place.store.record(head.key)
    sizes = copies.sizes(store, head.key).get(head.key, Sizes())
    if place.state_of is not None:
        word = place.state_of(head.key)
    else:
        word = states.state(record, conflicts.count(store, head.key), sizes)
    return {
        "id": record.oaio_id or "", "name": record.name, "right": record.right.value, "state": word,
        "stamp": record.base_stamp or "", "size": sizes.total, "local": sizes.local, "files": sizes.files,
        "csh": record.csh_id, "user": record.username, "device": record.device_id, "app": record.app_id,
    }  # fmt: skip


VERBS = {"ls": list_}
