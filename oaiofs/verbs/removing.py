"""``rm``: an object into the trash, whole; and with *wipe* its stored files away once the server has deleted it.

    {"word": ["notes", null], "wipe": false}

Must not know the socket, the command line or FUSE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from ..cache import records, trash, wipes
from ..cache.store import ROOT_INO
from ..errors import AccessDenied, Busy, ReadOnly, Refused
from .naming import object_of

if TYPE_CHECKING:
    from . import Place


async def rm(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Remove an object as ``rmdir`` does, with all that is in it. *for_all* says whether it goes for all its users.

    Raises AccessDenied for *wipe* without right D, Refused for it without *yes*, Busy while a program writes in the
    object, ReadOnly, NotFound, UsageError.
    """
    store = place.store
    head = object_of(store, arguments.get("word"))
    wipe = bool(arguments.get("wipe"))
    if place.read_only:
        raise ReadOnly("this mount is read-only")
    if wipe and not head.right.may_delete:
        raise AccessDenied(f"removing the stored files of {head.name} needs right D or C: ask its owner")
    if wipe and not arguments.get("yes"):
        raise Refused(
            f"all stored versions of {head.name} would be gone for good, for all its users: confirm with `oaiofs rm "
            "--wipe-files --yes`"
        )
    if any(store.writers[node.ino] for node in records.nodes_of(store.db, head.key)):
        raise Busy(f"a program is writing in {head.name}: close it first")
    if wipe:
        wipes.remove(store, head)
    else:
        trash.remove(store, head, even_full=True)
    place.announce(ROOT_INO, head.name)
    await trio.to_thread.run_sync(store.state.sync_to_disk)
    return {"object": head.name, "for_all": head.right.may_delete, "wipe": wipe, "mounted": place.mounted}


VERBS = {"rm": rm}
