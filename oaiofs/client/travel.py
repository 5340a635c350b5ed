"""When things travel for a library: in a call, and never else. The mount's sync runs for as long as the call takes.

Must not know what was changed, nor who asked.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import trio

from ..cache import records
from ..cache.store import Store
from ..core import stamps
from ..errors import OaiofsError, Unreachable
from ..remote.contract import OaioServer
from ..sync import Pace, Sync
from ..transfer import Transfer

log = logging.getLogger(__name__)

#: Where the client root keeps the stamp of the last synchronization.
LAST_SYNC = "last_sync_stamp"
_PACE = Pace(poll=10.0, quiet=0.0, longest=30.0)  # seconds


class Travel:
    """Sends and fetches for one open client root; one synchronization at a time."""

    def __init__(self, store: Store, server: OaioServer, transfer: Transfer) -> None:
        self._store = store
        self._transfer = transfer
        # One for all calls: what the server said before counts, as where it no longer lists many objects.
        self._sync = Sync(store, server, transfer, _PACE)
        self._lock = trio.Lock()
        #: Why the last synchronization did not reach the server; '' where it did, or there was none.
        self.why_offline = ""

    async def synchronize_if_online(self, timeout: float | None, *, confirmed: bool) -> bool:
        """``synchronize``, False where the server can't be reached: *why_offline* tells the reason."""
        self.why_offline = ""
        try:
            await self.synchronize(timeout, confirmed=confirmed)
        except Unreachable as error:
            if self._sync.watch.online:  # it took too long, or a storage host is away
                raise
            log.info("not synchronized: %s", error)
            self.why_offline = str(error)
            return False
        return True

    async def synchronize(self, timeout: float | None = None, *, confirmed: bool = False) -> None:
        """Make everything the same here and on the servers, as ``Sync.finish`` does, and raise what that raises."""
        store, transfer = self._store, self._transfer
        failed: OaiofsError | None = None
        async with self._lock, trio.open_nursery() as nursery:
            transfer.downloads.bind(nursery)
            nursery.start_soon(self._sync.run)
            try:
                await self._sync.finish(timeout, confirmed=confirmed)
            except OaiofsError as error:  # as it is, not in a group
                failed = error
            nursery.cancel_scope.cancel()
        for key in list(transfer.stamps):
            if key not in store.heads or not store.record(key).dirty:
                del transfer.stamps[key]
        await transfer.wiping.once()
        if failed is not None:
            raise failed
        store.state.set_meta(LAST_SYNC, stamps.make(datetime.fromtimestamp(store.wall_clock(), UTC)))

    async def send(self, key: int) -> None:
        """Synchronize after a change of one object: being offline is no error, nor what concerns other objects."""
        try:
            await self.synchronize()
        except Unreachable as error:
            log.info("kept here until the server is reached: %s", error)
        except OaiofsError as error:
            record = records.object_by(self._store.db, "key", key)
            if record is not None and record.dirty:
                raise
            log.warning("synchronized, but: %s", error)

    async def hydrate(self, ino: int) -> None:
        """Bring a placeholder's bytes here. Raises as ``Downloads.hydrate``."""
        downloads = self._transfer.downloads
        failed: OaiofsError | None = None
        async with self._lock, trio.open_nursery() as nursery:
            downloads.bind(nursery)
            downloads.offline = lambda: ""  # whether it can be reached is seen by trying, and nobody looks meanwhile
            downloads.first_look = trio.lowlevel.checkpoint
            try:
                await downloads.hydrate(ino)
            except OaiofsError as error:
                failed = error
            nursery.cancel_scope.cancel()
        if failed is not None:
            raise failed
