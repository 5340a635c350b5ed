"""Downloads: a placeholder's bytes come here, once for all who want them, streamed to the disk and verified.

Only a file that is complete and has the announced checksum becomes local. A large one is readable before (``open``).
When its bytes turn out to be others than announced, nobody gets any more of them: the name gets a new inode, as a
remote version gives it one, the kernel forgets the old one's pages, and who has that open gets EIO. A file that is
replaced, renamed or removed while it comes is still read to its end by those who have it open.

Must not know versions or when anything is wanted.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Awaitable, Callable

import trio

from ..cache import apply, tree
from ..cache.records import Node
from ..cache.room import is_full
from ..cache.store import Store
from ..errors import NoSpace, OaiofsError, RemoteError, RemoteNotFound, Stale, Unreachable
from ..remote.contract import OpenHost
from .flights import VERIFIED_FIRST, Flight
from .streams import Mismatch, Stream

log = logging.getLogger(__name__)

#: Seconds for which a download goes on that nobody wants any more: programs often look twice.
_LINGER = 10.0
#: Large files that are gone through at once: hosts take four transfers in all, and small files are not to wait.
_LARGE_AT_ONCE = 2


class Downloads:
    """One store's downloads.

    *offline* tells why nothing can be fetched now, or ''; *first_look* returns once that is known at all. *lost* is
    called when a host could not be reached although it seemed so. *make_room* frees this machine's disk for so many
    bytes, where it can. *announce* tells that (parent inode, name) means something else, *drop_pages* that the kernel
    is to forget what it holds of an inode's bytes.
    """

    def __init__(
        self, store: Store, open_host: OpenHost, announce: Callable[[int, str], None] = lambda parent, name: None
    ) -> None:
        self.store = store
        self.offline: Callable[[], str] = lambda: ""
        self.first_look: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        self.lost: Callable[[], None] = lambda: None
        self.make_room: Callable[[int], Awaitable[None]] = _as_it_is
        self.drop_pages: Callable[[int], None] = lambda ino: None
        self._announce = announce
        self._open_host = open_host
        self._flights: dict[int, Flight] = {}
        self._turns = trio.CapacityLimiter(_LARGE_AT_ONCE)
        self._nursery: trio.Nursery | None = None

    def bind(self, nursery: trio.Nursery) -> None:
        """Downloads run in *nursery*: they go on when the program that asked first gives up."""
        self._nursery = nursery

    # -- for those who want bytes ----------------------------------------------------------------------------

    async def hydrate(self, ino: int) -> None:
        """Bring a placeholder's bytes here; any number of callers share one download.

        Raises Unreachable at once when offline, Corrupt when the bytes are not the announced ones, Stale when the
        name went to another file meanwhile.
        """
        if self.store.node(ino).local:
            return
        with self.store.uses.waiting(ino):  # nobody evicts what somebody is about to open
            flight = await self._flight_of(ino)
            if flight is None:
                return
            with flight.interest():
                await flight.done.wait()
                if flight.error is not None and not self._is_local(ino):
                    raise flight.error.with_traceback(None)

    async def open(self, ino: int) -> tuple[int, Flight] | None:
        """A descriptor of a download that can be read while it goes on, once the host has begun to answer.

        None for a file that is here already, or is small enough to be verified first. Raises as ``hydrate`` does.
        """
        if self.store.node(ino).size <= VERIFIED_FIRST:
            return None
        with self.store.uses.waiting(ino):
            return await self._open(ino)

    async def _open(self, ino: int) -> tuple[int, Flight] | None:
        flight = await self._flight_of(ino)
        if flight is None:
            return None
        with flight.interest():
            await flight.stream.begun.wait()
            if self.store.node(ino).local:
                return None
            if flight.error is not None:
                raise flight.error.with_traceback(None)
            return flight.open(), flight

    async def fetch(self, place: str, most: int) -> bytes:
        """The bytes of a stored file, at *place* as ``tree.origin`` has it, but not more than *most* of them.

        Raises Unreachable at once when offline, RemoteNotFound, and what the host raises.
        """
        await self.be_online()
        csh_id, path = place.split("/", 1)
        host = await self._open_host(csh_id)
        fetched = bytearray()
        async with host.get(path) as chunks:
            async for chunk in chunks:
                fetched += chunk
                if len(fetched) > most:
                    break
        return bytes(fetched[:most])

    async def fetch_whole(self, place: str, target: str, size: int) -> str:
        """Stream a stored file of *size* bytes into the new file at the absolute path *target*, durably; its md5.

        Raises Corrupt where it has another size, and what ``fetch`` does.
        """
        await self.be_online()
        csh_id, path = place.split("/", 1)
        stream = Stream(functools.partial(self._open_host, csh_id), path, size, target, self._why_not)
        try:
            return await stream.run()
        finally:
            stream.close()

    async def be_online(self) -> None:
        """Raises Unreachable at once when offline."""
        await self._check("older versions are on the storage host")

    async def _check(self, what: str) -> None:
        """Raises Unreachable when nothing can be fetched now."""
        await self.first_look()
        reason = self.offline()
        if reason:
            raise Unreachable(f"{what}, and {reason}")

    def _why_not(self) -> str:
        return self.offline()  # which is told after this is made

    # -- flights ---------------------------------------------------------------------------------------------

    async def _flight_of(self, ino: int) -> Flight | None:
        """The download of a placeholder, which runs; None for a file that is here."""
        if self.store.node(ino).local:
            return None
        flight = self._flights.get(ino)
        if flight is not None and flight.running:
            return flight
        await self._check(f"{self.store.node(ino).name} is not on this machine yet")
        await self.make_room(self.store.node(ino).size)
        node = self.store.node(ino)  # looked at anew: it may have come, or been replaced, meanwhile
        if node.local:
            return None
        flight = self._flights.get(ino) or self._prepared(node)
        self._start(flight)
        return flight

    def _prepared(self, node: Node) -> Flight:
        """A download that does not run yet. Raises NoSpace, and OaiofsError where this disk takes no file."""
        if node.size > self.store.state.room.free():  # also what a hostile host announces: it would fill the disk
            raise NoSpace(
                f"{node.name} ({node.size} bytes) does not fit on this machine's disk: delete something on it, in the "
                "mount or elsewhere, and open it again"
            )
        csh_id, path = tree.origin(self.store, node).split("/", 1)
        staged = self.store.files.new_staging()
        target = self.store.files.absolute(staged)
        turns = self._turns if node.size > VERIFIED_FIRST else None
        try:
            stream = Stream(functools.partial(self._open_host, csh_id), path, node.size, target, self._why_not, turns)
        except OSError as error:
            raise self._disk_refused(error) from None
        flight = Flight(node, csh_id, staged, target, stream, begin=self._begin_anew, unwanted=self._unwanted)
        self._flights[node.ino] = flight
        return flight

    async def _begin_anew(self, flight: Flight) -> None:
        """Go on with one that failed, for those who have it open. Raises Unreachable."""
        await self._check(f"{flight.name} is not all on this machine yet")
        self._start(flight)

    def _start(self, flight: Flight) -> None:
        if flight.running:
            return
        if self._nursery is None or self._flights.get(flight.ino) is not flight:
            raise Unreachable("the mount is ending")
        flight.start()
        self._nursery.start_soon(self._fly, flight)

    def _unwanted(self, flight: Flight) -> None:
        if not flight.running:
            self._discard(flight)
        elif self._nursery is not None and not flight.worth_finishing:
            self._nursery.start_soon(self._linger, flight, flight.left)

    async def _linger(self, flight: Flight, left: int) -> None:
        await trio.sleep(_LINGER)
        if flight.left == left and not flight.wanted and not flight.worth_finishing:
            flight.scope.cancel()

    async def _fly(self, flight: Flight) -> None:
        ended: OaiofsError | None = Unreachable("the mount is ending")
        over = True
        try:
            while True:
                with flight.scope:
                    ended = await self._outcome(flight)
                if not (flight.scope.cancelled_caught and flight.wanted) or flight.abandoned:
                    break
                flight.scope = trio.CancelScope()  # somebody wants it again, just after it was given up
            over = flight.verified or flight.spoilt or flight.abandoned
        finally:
            flight.error = ended
            if over or not flight.wanted:  # else who has it open may have it go on
                self._discard(flight)
            flight.end()
            self.store.stirred()

    async def _outcome(self, flight: Flight) -> OaiofsError | None:
        try:
            self._land(flight, await flight.stream.run())
        except RemoteNotFound:
            self._note_missing(flight)
            return RemoteError(f"the storage host {flight.host} no longer has the bytes of {flight.name}")
        except Mismatch:
            self._spoil(flight)
            return flight.mismatch()
        except OaiofsError as error:
            if isinstance(error, Unreachable):
                self.lost()
            return error
        except OSError as error:
            return self._disk_refused(error)
        except Exception:
            log.exception("unexpected error in a download")
            return OaiofsError("the download failed because of a bug; the log has the details")
        return None

    def _land(self, flight: Flight, md5: str) -> None:
        """All bytes are here and durable: they become the local copy, if the name still stands for them."""
        if flight.md5 and md5 != flight.md5:
            raise Mismatch
        flight.verified = True
        size, ino = flight.stream.size, flight.ino
        if not apply.hydrated(self.store, ino, flight.staged, size, md5) and not self._is_local(ino):
            raise Stale(f"{flight.name} was replaced while it was being downloaded")

    def _note_missing(self, flight: Flight) -> None:
        """The host lacks a file of a version that it should have: what else it lacks of that, nobody knows."""
        node = self.store.find_node(flight.ino)
        if node is not None:
            self.store.uses.missed.add((node.object, self.store.record(node.object).base_stamp or ""))

    def _disk_refused(self, error: OSError) -> OaiofsError:
        if is_full(error):
            return self.store.state.room.refused()
        told = OaiofsError(f"the download could not be stored here: {error.strerror}")
        told.errno = error.errno or told.errno
        return told

    def _spoil(self, flight: Flight) -> None:
        """Nobody is to read, nor to have read, any of this."""
        flight.spoilt = True
        node = self.store.find_node(flight.ino)
        if flight.shown and node is not None and not node.local:
            moved = self.store.renumber(node)
            self._announce(moved.parent, moved.name)

    def _discard(self, flight: Flight) -> None:
        """It is over: what is not the local copy by now never will be."""
        if self._flights.get(flight.ino) is flight:
            del self._flights[flight.ino]
            flight.stream.close()
            if os.path.lexists(flight.target):
                os.unlink(flight.target)
            if flight.shown and not (flight.verified or flight.abandoned):
                self.drop_pages(flight.ino)  # of what was read, nothing is to outlive it

    def _is_local(self, ino: int) -> bool:
        node = self.store.find_node(ino)
        return node is not None and node.local


async def _as_it_is(_size: int) -> None:
    """Nobody makes room."""
