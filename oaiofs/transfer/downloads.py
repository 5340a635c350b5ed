"""Downloads: a placeholder's bytes come here, once for all who wait, streamed to the disk and verified.

Must not know versions or when anything is wanted.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from ..cache import apply, tree
from ..cache.store import Store
from ..errors import Corrupt, OaiofsError, RemoteError, RemoteNotFound, Stale, Unreachable
from ..remote.contract import OpenHost, StorageHost

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Flight:
    done: trio.Event = field(default_factory=trio.Event)
    error: OaiofsError | None = None
    begun: bool = False


class Downloads:
    """One store's downloads.

    *offline* tells why nothing can be fetched now, or ''; *first_look* returns once that is known at all.
    """

    def __init__(self, store: Store, open_host: OpenHost) -> None:
        self.store = store
        self.offline: Callable[[], str] = lambda: ""
        self.first_look: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        self._open_host = open_host
        self._flights: dict[int, _Flight] = {}
        self._nursery: trio.Nursery | None = None

    def bind(self, nursery: trio.Nursery) -> None:
        """Downloads run in *nursery*: they go on when the program that asked first gives up."""
        self._nursery = nursery

    async def hydrate(self, ino: int) -> None:
        """Bring a placeholder's bytes here; any number of callers share one download.

        Raises Unreachable at once when offline, Corrupt when the bytes are not the announced ones, Stale when the
        name went to another file meanwhile.
        """
        if self.store.node(ino).local:
            return
        flight = self._flights.get(ino)
        if flight is None:
            await self.first_look()
            reason = self.offline()
            if reason:
                raise Unreachable(f"{self.store.node(ino).name} is not on this machine yet, and {reason}")
            if self._nursery is None:
                raise Unreachable("the mount is ending")
            flight = self._flights.setdefault(ino, _Flight())
            if not flight.begun:
                flight.begun = True
                self._nursery.start_soon(self._fly, ino, flight)
        await flight.done.wait()
        if flight.error is not None:
            raise flight.error

    async def _fly(self, ino: int, flight: _Flight) -> None:
        try:
            await self._download(ino)
        except OaiofsError as error:
            flight.error = error
        except OSError as error:
            flight.error = OaiofsError(f"the download could not be stored here: {error.strerror}")
            flight.error.errno = error.errno or flight.error.errno
        except Exception:
            log.exception("unexpected error in a download")
            flight.error = OaiofsError("the download failed because of a bug; the log has the details")
        finally:
            if not flight.done.is_set() and flight.error is None and not self._is_local(ino):
                flight.error = Unreachable("the mount is ending")
            del self._flights[ino]
            flight.done.set()

    def _is_local(self, ino: int) -> bool:
        node = self.store.find_node(ino)
        return node is not None and node.local

    async def _download(self, ino: int) -> None:
        node = self.store.node(ino)
        csh_id, path = tree.origin(self.store, node).split("/", 1)
        host = await self._open_host(csh_id)
        staged = self.store.files.new_staging()
        absolute = self.store.files.absolute(staged)
        try:
            try:
                size, md5 = await _fetch(host, path, absolute, node.size)
            except RemoteNotFound:
                raise RemoteError(f"the storage host {csh_id} no longer has the bytes of {node.name}") from None
            if size != node.size or (node.md5 and md5 != node.md5):
                raise Corrupt(f"the storage host {csh_id} sent other bytes for {node.name} than were announced")
            if not apply.hydrated(self.store, ino, staged, size, md5) and not self._is_local(ino):
                raise Stale(f"{node.name} was replaced while it was being downloaded")
        finally:
            if os.path.lexists(absolute):
                os.unlink(absolute)


async def _fetch(host: StorageHost, path: str, target: str, expected: int) -> tuple[int, str]:
    """Stream a stored file into the new file *target*, durably; its size and md5.

    Stops soon after *expected* bytes: a host that sends without end does not fill the disk.
    """
    digest = hashlib.md5(usedforsecurity=False)  # the storage hosts' checksum
    size = 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def take(chunk: bytes) -> None:
        digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(descriptor, view) :]

    try:
        async with host.get(path) as chunks:
            async for chunk in chunks:
                await trio.to_thread.run_sync(take, chunk)
                size += len(chunk)
                if size > expected:
                    break
        await trio.to_thread.run_sync(os.fsync, descriptor)
    finally:
        os.close(descriptor)
    return size, digest.hexdigest()
