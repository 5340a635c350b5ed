"""How a program deletes an object: for all its users or not at all.

What is removed in the mount without the right to delete it ends the own subscription, once the server has been heard. A
program that asked for a deletion must not get that instead, so the right is looked at anew before anything is done.
Must not know when anything is sent (``Travel``), nor how stored files are removed (``transfer.wiping``).
"""

from __future__ import annotations

import trio

from ..cache import trash, wipes
from ..cache.records import ObjectRecord
from ..cache.store import Store
from ..core.model import Right
from ..errors import AccessDenied, Conflict, NotFound, Unreachable
from ..remote.contract import OaioServer
from ..transfer import Transfer
from .travel import Travel


async def unregister(
    store: Store, server: OaioServer, transfer: Transfer, travel: Travel, record: ObjectRecord, *, wipe_files: bool
) -> None:
    """``OaioClient.unregister_object``, and raises what that raises."""
    _check(record, record.right)
    if record.oaio_id is not None and record.base_stamp is not None:
        try:
            _check(record, (await server.subscribers(record.oaio_id)).get(transfer.username, Right.NONE))
        except Unreachable:  # it goes with the right as it is then
            if wipe_files:
                raise
    head = store.heads.get(record.key)
    if head is None:
        raise NotFound(f"{record.name} was removed meanwhile")
    if wipe_files:
        wipes.remove(store, head)
    else:
        trash.remove(store, head, even_full=True)
    await travel.send(record.key)
    left = store.record_of_id(record.oaio_id) if record.oaio_id else None
    if left is not None and not left.removed:
        raise Conflict(f"{record.name} was changed elsewhere meanwhile, so it is back: look again, then delete it")
    if wipe_files and left is None:
        failed = await transfer.wiping.once()
        if record.oaio_id in failed:
            raise failed[record.oaio_id]
        await trio.to_thread.run_sync(trash.delete, store.files.root, record.folder)


def _check(record: ObjectRecord, right: Right) -> None:
    """Raises AccessDenied. An object that is gone there may go here."""
    if right is not Right.NONE and not right.may_delete:
        raise AccessDenied(f"you may not delete {record.name}: that needs right D or C (unsubscribe ends your own)")
