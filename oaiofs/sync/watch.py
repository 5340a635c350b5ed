"""Looking at the server: the poll loop, whether it can be reached, and what of its answers is believed.

Must not know what is done about a difference (``core.plan`` decides, ``Sync`` acts).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

import trio

from ..cache.store import ROOT_INO, Store
from ..core import pace
from ..core.model import Listing, OaioId, RemoteObject
from ..errors import OaiofsError
from ..remote.contract import OaioServer
from .sight import Sight

log = logging.getLogger(__name__)

_CHECKPOINT_BYTES = 16 << 20
_BACKOFF_CAP = 60.0
_FIRST_LOOK = 5.0


class Watch:
    """The server as this device sees it. *ring* is called after each look."""

    def __init__(
        self,
        store: Store,
        server: OaioServer,
        interval: float,
        announce: Callable[[int, str], None],
        ring: Callable[[int | None], None],
    ) -> None:
        self.store = store
        self.online: bool | None = None  # None: not tried yet
        self.outage: OaiofsError | None = None  # why not online
        self.brake = ""  # why a listing is not obeyed, for the user
        self.skipped: tuple[str, ...] = ()  # what the last listing had to leave out
        self.last_poll: float | None = None  # wall clock
        self.confirmed = False  # the user's word that removals are meant
        self.seen = Sight()
        self._server = server
        self._interval = interval
        self._announce = announce
        self._ring = ring
        self._bell = trio.Event()
        self._rounds = Rounds()
        self._refused_listing: frozenset[OaioId] | None = None

    def why_offline(self) -> str:
        """Why nothing can be fetched now, or ''."""
        return "" if self.online else str(self.outage or "the server has not been reached yet")

    def soon(self) -> None:
        """Do not wait for the interval to be over."""
        self._bell.set()

    async def first(self) -> None:
        """Return once the server was looked at, or some seconds later."""
        with trio.move_on_after(_FIRST_LOOK):
            while self.online is None:
                await self._rounds.next_whole()

    async def now(self) -> None:
        """Look at once. Raises what keeps the server from being reached."""
        self._bell.set()
        await self._rounds.next_whole()
        if self.outage is not None:
            raise self.outage

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        failures = 0
        while True:
            self._bell = trio.Event()
            self._rounds.begin()
            failures = 0 if await self._poll() else failures + 1
            self._rounds.end()
            self._ring(None)
            wait = self._interval
            if failures:
                wait = jittered(pace.backoff(failures, cap=max(self._interval, _BACKOFF_CAP)))
            with trio.move_on_after(wait):
                await self._bell.wait()

    async def _poll(self) -> bool:
        try:
            await self._look()
        except OaiofsError as error:
            self._failed(error)
        except Exception:
            log.exception("unexpected error in looking at the server")
            self._failed(OaiofsError("looking at the server failed because of a bug; the log has the details"))
        return bool(self.online)

    def _failed(self, error: OaiofsError) -> None:
        if self.online is not False:
            log.warning("offline: %s", error)
        self.online, self.outage = False, error

    async def _look(self) -> None:
        self.seen.begin()
        if self.last_poll is None:
            await self._server.current_stamp()
        listing = await self._server.list_objects()
        if self.online is False:
            log.info("online again")
        self.online, self.outage = True, None
        self.last_poll = self.store.wall_clock()
        self._observe(listing)
        if self.store.state.wal_bytes() > _CHECKPOINT_BYTES:
            await trio.to_thread.run_sync(self.store.state.checkpoint)

    def _observe(self, listing: Listing) -> None:
        """Note what the listing says; what it leaves out is believed only where the brake lets it be."""
        skipped = tuple(f"{one.what}: {one.why}" for one in listing.skipped)
        for message in set(skipped) - set(self.skipped):
            log.warning("left out of the listing: %s", message)
        self.skipped = skipped
        rows = self.store.db.execute("SELECT oaio_id, key, base_stamp FROM object WHERE oaio_id IS NOT NULL").fetchall()
        agreed = {i for i, key, stamp in rows if stamp is not None and key in self.store.heads}
        agreed -= self.seen.better_known()
        self._brake(agreed, frozenset(one.oaio_id for one in listing.objects))
        self.seen.take(listing, rows, complete=not listing.skipped and not self.brake)
        for one in listing.objects:
            self._follow_right(one)

    def _brake(self, agreed: set[OaioId], listed: frozenset[OaioId]) -> None:
        """Refuse to remove in masses until the user confirms it.

        Of a handful, a server that says the same the next time means it: else the last object could never go.
        """
        confirmed = self.confirmed or (listed == self._refused_listing and pace.is_handful(agreed - listed))
        self.brake = pace.listing_brake(agreed, listed, confirmed=confirmed) or ""
        if self.brake:
            log.warning("%s", self.brake)
        self._refused_listing = listed if self.brake or confirmed else None

    def _follow_right(self, remote: RemoteObject) -> None:
        """A right that was given or taken is in force at once."""
        key = self.seen.keys.get(remote.oaio_id)
        head = None if key is None else self.store.heads.get(key)
        if head is not None and head.right is not remote.right and remote.right.may_read:
            self.store.update_object(head.key, right=remote.right)
            self._announce(ROOT_INO, head.name)
            self._ring(head.key)


class Rounds:
    """Counts the rounds of a loop, so that others can wait for one that began after they asked."""

    def __init__(self) -> None:
        self._begun = self._ended = 0
        self._end = trio.Event()

    def begin(self) -> None:
        self._begun += 1

    def end(self) -> None:
        self._ended = self._begun
        ended, self._end = self._end, trio.Event()
        ended.set()

    async def next_whole(self) -> None:
        wanted = self._begun + 1
        while self._ended < wanted:
            await self._end.wait()


def jittered(seconds: float) -> float:
    """About *seconds*, so that many devices do not come back at the same moment."""
    return seconds * random.uniform(0.8, 1.2)
