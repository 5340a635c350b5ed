"""One stored file on its way into a sparse file here, readable before all of it has come.

One *fetcher* goes through the whole file, from gap to gap. Who reads far ahead of it has a fetcher of their own, which
brings windows, growing ones, for as long as somebody reads on behind it. What one of them brings, or is about to, the
others leave out. A connection that is cut is taken up where it was.

Only a few go through large files at a time (*turns*), so that the host's transfers are not all taken for as long as a
film lasts. Who reads one that has to wait for its turn has windows meanwhile.

Must not know the store, who reads, or what is done with a file that is complete.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from ..core import patience
from ..core.ranges import Ranges, window
from ..errors import Corrupt, OaiofsError, Protocol
from ..remote.contract import StorageHost
from ..remote.retry import RetryPolicy

#: Bytes ahead of a fetcher for which it is waited, rather than asking the host once more.
_NEAR: Final = 4 << 20
#: Bytes of the first window of who reads far ahead, and of the largest one.
_WINDOW: Final = 1 << 20
_LARGEST_WINDOW: Final = 16 << 20
#: Windows begin at multiples of this: the kernel's reads ahead come in any order.
_ALIGN: Final = 256 << 10
#: Fetchers far ahead at once: hosts take four transfers in all.
_MOST_AHEAD: Final = 2
_HASHED_AT_ONCE: Final = 32 << 20
_READ_BACK: Final = 1 << 20
#: How stubborn a fetcher is after each byte that came. Somebody may be waiting.
_STUBBORN: Final = RetryPolicy(attempts=8, first_delay=0.5, max_delay=10.0, total=60.0)
#: Likewise where a host answers, and what it answers is of no use.
_DOUBTFUL: Final = RetryPolicy(attempts=3, first_delay=0.5, total=10.0)


@dataclass(slots=True, eq=False)
class _Fetcher:
    """Brings [*position*, *stop*); *demand* is the end of what was read behind it so far."""

    position: int
    stop: int
    demand: int = 0
    error: Exception | None = None


class Stream:
    """The *size* bytes stored at *path* on the host that *open_host* gives, on their way into the new file *target*.

    *offline* tells why it is of no use to try again, or ''. *turns* is shared by all large files. *begun* is set once
    the host has begun to answer, or the run has ended without that; whoever runs it once more gives it a new one.
    """

    def __init__(
        self,
        open_host: Callable[[], Awaitable[StorageHost]],
        path: str,
        size: int,
        target: str,
        offline: Callable[[], str],
        turns: trio.CapacityLimiter | None = None,
    ) -> None:
        self.size = size
        self.begun = trio.Event()
        self._open_host = open_host
        self._path = path
        self._offline = offline
        self._turns = turns
        self._waiting = trio.CancelScope()  # for a turn
        self._refusal: Exception | None = None  # that came before any byte
        self._here = Ranges()
        self._main = _Fetcher(0, 0)
        self._ahead: list[_Fetcher] = []
        self._went_on: dict[int, int] = {}  # where one ended that went ahead -> the length of its next window
        self._nursery: trio.Nursery | None = None
        self._news = trio.Event()
        self._digest = hashlib.md5(usedforsecurity=False)  # the storage hosts' checksum
        self._hashed = 0
        self._descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(self._descriptor, size)
        except BaseException:
            os.close(self._descriptor)
            os.unlink(target)
            raise

    def close(self) -> None:
        """No more is stored; not while it runs."""
        os.close(self._descriptor)

    @property
    def complete(self) -> bool:
        return self._here.covers(0, self.size)

    @property
    def missing(self) -> int:
        """How many bytes have not come yet."""
        return self.size - self._here.total

    def has(self, start: int, stop: int) -> bool:
        """Whether these bytes, as far as the file has them, are in the file."""
        return self._here.covers(start, min(stop, self.size))

    # -- for readers -----------------------------------------------------------------------------------------

    async def wait_for(self, start: int, stop: int) -> None:
        """Return when these bytes are here, or the run has ended without them. Raises what keeps them from coming.

        Waits for a run that is about to begin, and for one to end that is about to.
        """
        stop = min(stop, self.size)
        while (gap := self._here.first_gap(start, stop)) is not None:
            news = self._news
            bringing = self._fetcher_for(gap[0], stop)
            await news.wait()
            if bringing is not None and bringing.error is not None:
                raise bringing.error.with_traceback(None)
            if self._nursery is None:
                return

    def note_demand(self, start: int, stop: int) -> None:
        """Somebody reads these bytes: who brings what comes next is to go on."""
        for fetcher in self._ahead:
            if fetcher.demand < stop and start <= fetcher.stop:
                fetcher.demand = stop

    def _fetcher_for(self, at: int, stop: int) -> _Fetcher | None:
        """Who brings byte *at*; None where somebody has to be done first."""
        if self._main.position <= at < min(self._main.stop, self._main.position + _NEAR):
            return self._main
        # At its stop one that goes ahead is about to see that it is to go on.
        found = next((one for one in self._ahead if one.position <= at <= one.stop), None)
        if found is None and len(self._ahead) < _MOST_AHEAD and self._nursery is not None:
            length = self._went_on.pop(at, _WINDOW)
            start, end = window(self._near_taken(), at, length, self.size, _ALIGN)
            found = _Fetcher(start, end, demand=stop)
            if self._main.position <= start < self._main.stop:
                self._main.stop = start
            self._ahead.append(found)
            self._nursery.start_soon(self._go_ahead, found, length)
        return found

    def _taken(self) -> Ranges:
        """What is here, or in a window that comes."""
        taken = Ranges(self._here)
        for fetcher in self._ahead:
            taken.add(fetcher.position, fetcher.stop)
        return taken

    def _near_taken(self) -> Ranges:
        """Likewise, with what comes next of the whole file."""
        taken = self._taken()
        taken.add(self._main.position, min(self._main.stop, self._main.position + _NEAR))
        return taken

    def tell(self) -> None:
        """Have all who wait look again."""
        self._news.set()
        self._news = trio.Event()

    # -- the run ---------------------------------------------------------------------------------------------

    async def run(self) -> str:
        """Bring all that is missing, and make it durable; the md5 of it. May be called again after it raised.

        Raises Corrupt when the host has another number of bytes, what the host raises, and OSError of this disk.
        """
        failure: OaiofsError | OSError | None = None
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self.tell()
                try:
                    await self._in_turn()
                except (OaiofsError, OSError) as error:
                    failure = error
                finally:
                    self._nursery = None
                nursery.cancel_scope.cancel()
        finally:
            self._main.stop = self._main.position
            self.begun.set()
            self.tell()
        if failure is not None:
            raise failure
        return await self._sealed()

    async def _in_turn(self) -> None:
        """Go through the file when its turn has come; not at all where it is complete, or refused, before."""
        if self._turns is None:
            await self._go_through()
            return
        try:
            self._turns.acquire_nowait()
        except trio.WouldBlock:
            if not await self._turn_came(self._turns):
                return
        try:
            await self._go_through()
        finally:
            self._turns.release()

    async def _turn_came(self, turns: trio.CapacityLimiter) -> bool:
        """Wait for a turn, which is taken then; False where all has come before that. Raises the host's refusal."""
        self._refusal = None
        with trio.CancelScope() as self._waiting:
            if (gap := self._here.first_gap(0, self.size)) is not None:
                self._fetcher_for(gap[0], gap[0])  # whoever opens it hears whether the host has it
            await turns.acquire()
            return True
        if self._refusal is not None:
            raise self._refusal
        return False

    async def _go_through(self) -> None:
        while not self.complete:
            gap = self._taken().first_gap(0, self.size)
            if gap is None:
                await self._news.wait()  # others bring the rest
                continue
            self._main.position, self._main.stop = gap
            await self._bring(self._main)

    async def _go_ahead(self, fetcher: _Fetcher, length: int) -> None:
        """Bring a window of *length*, and larger ones for as long as who wanted it reads on."""
        try:
            while True:
                begun = fetcher.position
                await self._bring(fetcher)
                length = min(2 * length, _LARGEST_WINDOW)
                at = fetcher.position
                gap = self._near_taken().first_gap(at, self.size)
                if gap is None or gap[0] != at or fetcher.demand < (begun + at) // 2:
                    break
                fetcher.stop = min(gap[1], at + length)
                if self._main.position <= at < self._main.stop:
                    self._main.stop = at
        except (OaiofsError, OSError) as error:
            fetcher.error = error
            if not self.begun.is_set():
                self._refusal = error
                self._waiting.cancel()
        else:
            self._went_on[fetcher.position] = length  # for who reads on later
        finally:
            self._ahead.remove(fetcher)
            self.tell()

    async def _bring(self, fetcher: _Fetcher) -> None:
        """All bytes of the fetcher, over as many requests as cut connections make of them."""
        failures, since, last = 0, trio.current_time(), fetcher.position
        while fetcher.position < fetcher.stop:
            try:
                await self._ask(fetcher)
            except OaiofsError as error:
                if fetcher.position > last:
                    failures, since, last = 0, trio.current_time(), fetcher.position
                failures += 1
                policy = _DOUBTFUL if isinstance(error, (Corrupt, Protocol)) else _STUBBORN
                wait = policy.delay(failures, trio.current_time() - since, random.random(), patience.asked(error))
                if wait is None or not self.begun.is_set() or self._offline() or not _may_go_on(error):
                    raise
                await trio.sleep(wait)

    async def _ask(self, fetcher: _Fetcher) -> None:
        """One request for what the fetcher lacks; left early where others have taken the rest meanwhile."""
        start, stop = fetcher.position, fetcher.stop
        host = await self._open_host()
        async with host.get(self._path, start, None if stop == self.size else stop - start) as chunks:
            self.begun.set()
            async for chunk in chunks:
                room = fetcher.stop - fetcher.position
                if len(chunk) > room and fetcher.stop == stop:
                    raise Mismatch(f"more bytes of {self._path} came than were announced")
                await self._store(fetcher, chunk[:room])
                if fetcher.position >= fetcher.stop and fetcher.stop < stop:
                    return
        if fetcher.position == start < fetcher.stop:
            raise Mismatch(f"fewer bytes of {self._path} came than were announced")

    async def _store(self, fetcher: _Fetcher, chunk: bytes) -> None:
        start, stop = fetcher.position, fetcher.position + len(chunk)
        hashing = fetcher is self._main and self._here.covers(self._hashed, start) and self._hashed <= start
        await trio.to_thread.run_sync(self._write, start, chunk, hashing)
        self._here.add(start, stop)
        fetcher.position = stop
        if self.complete:
            self._waiting.cancel()
        self.tell()

    # -- in threads ------------------------------------------------------------------------------------------

    def _write(self, start: int, chunk: bytes, hashing: bool) -> None:
        view, at = memoryview(chunk), start
        while view:
            written = os.pwrite(self._descriptor, view, at)
            view, at = view[written:], at + written
        if hashing:  # what others have brought in between is read back
            self._hash_to(start)
            self._digest.update(chunk)
            self._hashed = at

    def _hash_to(self, stop: int) -> None:
        while self._hashed < stop:
            part = os.pread(self._descriptor, min(_READ_BACK, stop - self._hashed), self._hashed)
            if not part:
                raise Corrupt(f"the bytes of {self._path} that had come are not there any more")
            self._digest.update(part)
            self._hashed += len(part)

    async def _sealed(self) -> str:
        while self._hashed < self.size:
            await trio.to_thread.run_sync(self._hash_to, min(self.size, self._hashed + _HASHED_AT_ONCE))
        await trio.to_thread.run_sync(os.fsync, self._descriptor)
        return self._digest.hexdigest()


class Mismatch(Corrupt):
    """Not cut, but other bytes than were announced: asking again changes nothing."""


def _may_go_on(error: OaiofsError) -> bool:
    return patience.may_go_on(error) and not isinstance(error, Mismatch)
