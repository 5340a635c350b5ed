"""Looking at the server: the poll loop, whether it can be reached, and what of its answers is believed.

Where the server holds requests the time between two looks is spent in one (``_held``), which anything that wants a look
ends; ``core.idle`` says how long all that may take. Must not know what is done about a difference (``core.plan``
decides, ``Sync`` acts).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from ..cache import records
from ..cache.store import ROOT_INO, Store
from ..core import idle, pace, patience
from ..core.model import Listing, OaioId, RemoteObject, Skipped
from ..errors import OaiofsError
from ..remote.contract import OaioServer
from .sight import Sight
from .trouble import jittered

log = logging.getLogger(__name__)

_CHECKPOINT_BYTES = 16 << 20
_FIRST_LOOK = 5.0
_CLOCK_EVERY = 3600.0  # seconds after which the clocks are compared again


#: A rebuilt object has agreed on nothing that a version could be compared with.
_AGREED = "SELECT oaio_id, key, CASE rebuilt WHEN 0 THEN base_stamp END FROM object WHERE oaio_id IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient to be, in seconds: between polls, after an object's last change, at most after its first.

    With *stretch* polls are rarer while nothing happens, and where *on_battery*, which is called in a thread, says so.
    """

    poll: float = 15.0
    quiet: float = 2.0
    longest: float = 30.0
    stretch: bool = False
    on_battery: Callable[[], bool] = lambda: False


class Watch:
    """The server as this device sees it. *ring* is called after each look."""

    def __init__(
        self,
        store: Store,
        server: OaioServer,
        pace_: Pace,
        announce: Callable[[int, str], None],
        ring: Callable[[int | None], None],
    ) -> None:
        self.store = store
        self.online: bool | None = None  # None: not tried yet
        self.outage: OaiofsError | None = None  # why not online
        self.brake = ""  # why a listing is not obeyed, for the user
        self.skipped: tuple[str, ...] = ()  # what the last listing had to leave out
        self.left_out: dict[OaioId, tuple[Skipped, ...]] = {}  # attached files of the last listing that can't be here
        self.last_poll: float | None = None  # wall clock
        self.failures = 0  # of the last looks, in a row
        self.confirmations = 0  # of those who wait: their user's word that removals are meant
        self.seen = Sight()
        self.registering: Callable[[int], bool] = lambda key: False  # whether that is being done with an object now
        self._server = server
        self._pace, self._interval = pace_, pace_.poll
        self._announce = announce
        self._ring = ring
        self._bell = trio.Event()
        self._rounds = Rounds()
        self._refused_listing: frozenset[OaioId] | None = None
        self._refused_since = 0.0  # steady clock: its first answer
        self._time_checked: tuple[float, float] | None = None  # wall and steady clock, as the server agreed
        self._next = 0.0  # when to look again
        self._unchanged = 0  # looks in a row that found nothing new, and nothing was done here
        self._listing = Listing(())  # what the last look saw
        self._holding = idle.Holding()
        self._hold: trio.CancelScope | None = None  # of the request that is being held

    @property
    def live(self) -> bool:
        """Whether the server tells of changes at once."""
        return self._hold is not None

    def next_look(self) -> float:
        """Seconds until the server is looked at again."""
        return max(0.0, self._next - trio.current_time())

    def _is_time_unsure(self) -> bool:
        """Whether the clocks were last compared long ago."""
        checked = self._time_checked
        return checked is None or self.store.steady_clock() - checked[1] > _CLOCK_EVERY

    @property
    def confirmed(self) -> bool:
        return self.confirmations > 0

    def why_offline(self) -> str:
        """Why nothing can be fetched now, or ''."""
        return "" if self.online else str(self.outage or "the server has not been reached yet")

    def time(self) -> float | None:
        """The wall clock's time as far as the server confirmed it, None where it did not yet.

        A clock that is set ahead afterwards is not followed.
        """
        if self._time_checked is None:
            return None
        wall, steady = self._time_checked
        return min(self.store.wall_clock(), wall + self.store.steady_clock() - steady)

    def soon(self) -> None:
        """Do not wait for the interval to be over, nor for what is held."""
        self._bell.set()
        if self._hold is not None:
            self._hold.cancel()

    def active(self) -> None:
        """Something was done here, so others may be at work as well: from now on looks are as frequent as usual."""
        if self._pace.stretch and idle.is_stretched(self._unchanged) and not self.live:
            self.soon()
        self._unchanged = 0

    async def first(self) -> None:
        """Return once the server was looked at, or some seconds later."""
        with trio.move_on_after(_FIRST_LOOK):
            while self.online is None:
                await self._rounds.next_whole()

    async def now(self) -> None:
        """Look at once, as if it were for the first time. Raises what keeps the server from being reached."""
        self.failures = 0
        self.soon()
        await self._rounds.next_whole()
        if self.outage is not None:
            raise self.outage

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._bell = trio.Event()
            self._rounds.begin()
            self.failures = 0 if await self._poll() else self.failures + 1
            self._next = trio.current_time() + await self._wait()
            self._rounds.end()
            self._ring(None)
            while await self._held():
                pass
            with trio.move_on_at(self._next):
                await self._bell.wait()

    async def _poll(self) -> bool:
        try:
            await self._look(self._server.list_objects)
        except OaiofsError as error:
            self._failed(error)
        except Exception:
            log.exception("unexpected error in looking at the server")
            self._failed(OaiofsError("looking at the server failed because of a bug; the log has the details"))
        else:
            self._holding = self._holding.looked()
        return bool(self.online)

    async def _wait(self) -> float:
        """Seconds until the next look, unless a held request takes its place."""
        if self.failures:
            return jittered(patience.after_failed_look(self.outage, self.failures, self._interval))
        if self.brake and self._server.longest_hold:
            return idle.soon(self._interval)
        if not self._pace.stretch:
            return self._interval
        on_battery = await trio.to_thread.run_sync(self._pace.on_battery)
        return idle.next_look(self._interval, self._unchanged, on_battery=on_battery)

    async def _held(self) -> bool:
        """Look by a request that is held; True where another one may follow."""
        if not self._hold_for():
            return False
        if self._unchanged == 0:
            with trio.move_on_after(idle.breath(len(self._listing.objects), self._interval)):
                await self._bell.wait()
        if self.seen.better_known():
            self._next = trio.current_time()  # what was announced from here meanwhile is to be seen listed before
            return False
        wait, seen, begun = self._hold_for(), self._listing, trio.current_time()
        if not wait:
            return False
        self._next = begun + wait
        try:
            with trio.CancelScope() as self._hold:
                await self._look(lambda: self._server.next_listing(seen, wait))
        except Exception as error:
            log.log(logging.DEBUG if isinstance(error, OaiofsError) else logging.ERROR, "a hold was cut: %s", error)
            self._holding = self._holding.cut()
            self._next = trio.current_time()  # whether anything is wrong, a plain look tells
            return False
        finally:
            self._hold = None
        if self._bell.is_set():
            return False
        self._holding = self._holding.kept()
        again = self._unchanged == 0 or idle.was_held(trio.current_time() - begun, wait)
        self._next = trio.current_time() + (await self._wait() if again else idle.soon(self._interval))
        self._ring(None)
        return again

    def _hold_for(self) -> float:
        """Seconds for which a request may be held now; 0.0 where a plain look is to come next."""
        if self.failures or self.brake or self._bell.is_set():
            return 0.0
        return min(self._holding.wait, self._server.longest_hold)

    def _failed(self, error: OaiofsError) -> None:
        if self.online is not False:
            log.warning("offline: %s", error)
        self.online, self.outage = False, error
        self._refused_listing = None  # a server that comes and goes has not said the same all the time

    async def _look(self, ask: Callable[[], Awaitable[Listing]]) -> None:
        self.seen.begin()
        if not self.online or self._is_time_unsure():
            await self._server.current_stamp()
            self._time_checked = (self.store.wall_clock(), self.store.steady_clock())
        listing = await ask()
        if self.online is False:
            log.info("online again")
        if not self.online:
            self._holding = idle.Holding()  # it may be another network
        self.online, self.outage = True, None
        self.last_poll = self.store.wall_clock()
        self._unchanged = self._unchanged + 1 if listing == self._listing else 0
        self._listing = listing
        self._observe(listing)
        if self.store.state.wal_bytes() > _CHECKPOINT_BYTES:
            await trio.to_thread.run_sync(self.store.state.checkpoint)

    def _observe(self, listing: Listing) -> None:
        """Note what the listing says; what it leaves out is believed only where the brake lets it be."""
        skipped = tuple(f"{one.what}: {one.why}" for one in listing.skipped)
        for message in set(skipped) - set(self.skipped):
            log.warning("left out of the listing: %s", message)
        self.skipped = skipped
        self._note_left_out(listing)
        rows = self.store.db.execute(_AGREED).fetchall()
        self.seen.sending(oaio_id for oaio_id, key, _ in rows if self.registering(key))
        agreed = {i for i, key, stamp in rows if stamp is not None and key in self.store.heads}
        agreed -= self.seen.better_known()
        self._brake(agreed, frozenset(one.oaio_id for one in listing.objects), complete=not listing.skipped)
        self.seen.take(listing, rows, complete=not listing.skipped and not self.brake)
        for one in listing.objects:
            self._follow_right(one)

    def _note_left_out(self, listing: Listing) -> None:
        left_out = {one.oaio_id: one.skipped for one in listing.objects if one.skipped}
        for oaio_id, skipped in left_out.items():
            if self.left_out.get(oaio_id) != skipped:
                first = skipped[0]
                log.warning(
                    "%d attached files of %.200s are left out: %s %s", len(skipped), oaio_id, first.what, first.why
                )
        self.left_out = left_out

    def _brake(self, agreed: set[OaioId], listed: frozenset[OaioId], *, complete: bool) -> None:
        """Refuse to remove in masses until the user confirms it, or the server has said the same for long enough.

        An incomplete or another answer, an outage, and a new mount begin anew.
        """
        now = self.store.steady_clock()
        repeated_for = now - self._refused_since if complete and listed == self._refused_listing else None
        confirmed = self.confirmed or pace.is_meant(len(agreed - listed), repeated_for)
        told, self.brake = self.brake, pace.listing_brake(agreed, listed, confirmed=confirmed) or ""
        if self.brake and self.brake != told:  # not again at each look: it may hold for days
            log.warning("%s", self.brake)
        if repeated_for is None:
            self._refused_since = now
        self._refused_listing = listed if complete and (self.brake or confirmed) else None

    def _follow_right(self, remote: RemoteObject) -> None:
        """A right that was given or taken is in force at once, also for an object whose removal is to be told."""
        key = self.seen.keys.get(remote.oaio_id)
        known = None if key is None else self.store.heads.get(key) or records.object_by(self.store.db, "key", key)
        if known is not None and known.right is not remote.right and remote.right.may_read:
            self.store.update_object(known.key, right=remote.right)
            if known.key in self.store.heads:
                self._announce(ROOT_INO, known.name)
            self._ring(known.key)


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
