"""Removing the stored files of deleted objects from the storage host, as the user wished (``cache.wipes``).

Tried until it is done, also after a restart. Must not know who wished it, nor when an object counts as deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from ..cache import trash, wipes
from ..cache.store import Store
from ..core.model import OaioId
from ..errors import OaiofsError
from ..remote.contract import OpenHost

log = logging.getLogger(__name__)

_RETRY = 60.0


class Wiping:
    """Carries out the wishes of one client root; ``ring`` when there may be something to do."""

    def __init__(self, store: Store, open_host: OpenHost, offline: Callable[[], str] = str) -> None:
        """*offline* tells why no host can be asked now, '' where they can."""
        self._store = store
        self._open_host = open_host
        self._offline = offline
        self._bell = trio.Event()

    def ring(self) -> None:
        self._bell.set()

    async def run(self) -> None:
        """Wipe what is due, until cancelled."""
        while True:
            self._bell = trio.Event()
            await self.once()
            with trio.move_on_after(_RETRY):
                await self._bell.wait()

    async def once(self) -> dict[OaioId, OaiofsError]:
        """Wipe what is due now, unless offline; for each object that could not be, why. It is tried again next time."""
        failed = {}
        for wipe in wipes.due(self._store) if not self._offline() else ():
            error = await self._wipe(wipe)
            if error is not None:
                failed[wipe.oaio_id] = error
        return failed

    async def _wipe(self, wipe: wipes.Wipe) -> OaiofsError | None:
        try:
            host = await self._open_host(wipe.csh_id)
            if await trio.to_thread.run_sync(_in_trash, self._store.files.root, wipe.oaio_id):
                return None
            if wipe not in wipes.due(self._store):
                return None  # what needs its bytes has just come back from the trash
            await host.remove(wipe.oaio_id)
        except OaiofsError as error:
            log.warning("the stored files of %s are still to be removed: %s", wipe.oaio_id, error)
            return error
        except Exception:
            log.exception("unexpected error in removing the stored files of %s", wipe.oaio_id)
        else:
            wipes.done(self._store, wipe)
            log.info("the stored files of %s are gone", wipe.oaio_id)
        return None


def _in_trash(root: str, oaio_id: str) -> bool:
    """Whether another object's entry in the trash has its bytes from this one; blocks."""
    others = (entry.note for entry in trash.entries(root) if entry.note.oaio_id != oaio_id)
    return any(f"/{oaio_id}/" in kept.origin for note in others for kept in note.files.values())
