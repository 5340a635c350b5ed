"""Whole devices without FUSE on a real server over HTTP: ``devicekit``'s, with real time and short waits.

What users do and what is here is asked as of any ``Device``. Its ``url`` may be a ``faultproxy``'s.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import trio

from oaiofs.core.eviction import NO_LIMITS
from oaiofs.core.model import StorageAccount
from oaiofs.errors import OaiofsError
from oaiofs.remote.contract import StorageHost
from oaiofs.remote.hosts import open_storage
from oaiofs.remote.http import Surroundings
from oaiofs.remote.oaio import HttpOaioServer
from oaiofs.remote.retry import RetryPolicy
from oaiofs.sync import Pace
from oaiofs.transfer.hosts import Hosts
from tests.devicekit import Device

SHORT = Pace(poll=0.3, quiet=0.05, longest=1.0)
#: Failed requests are made again soon, and not often; how long one takes says how busy the machine is.
BRISK = Surroundings(retry=RetryPolicy(attempts=3, first_delay=0.02, max_delay=0.1, total=60.0))


class _BriskHosts(Hosts):
    def _connect(self, account: StorageAccount) -> StorageHost:
        return open_storage(account, self._storage_urls, surroundings=BRISK)


class HttpDevice(Device):
    """One device of *user* at the server *url*, opened and not yet syncing; its tasks run in *nursery*."""

    def __init__(
        self, url: str, user: str, password: str, name: str, root: Path, nursery: trio.Nursery, pace: Pace = SHORT
    ) -> None:
        self.name, self.user, self.root, self.pace = name, user, root, pace
        self.announced = []
        self.limits = NO_LIMITS
        self.wrong_on_purpose = ""
        self._url, self._password, self._nursery = url, password, nursery
        self._running = None
        self._ended = trio.Event()
        self.open()

    def wall_clock(self) -> float:
        return time.time()

    def open(self) -> None:
        self.server: Any = HttpOaioServer(
            self._url, self.user, self._password, device_id=self.name, app_id="oaiofs", surroundings=BRISK
        )
        self.hosts: Any = _BriskHosts(self.server, {"Digi": self._url})
        super().open()

    def start(self) -> None:
        scope = self._running = trio.CancelScope()
        ended = self._ended = trio.Event()

        async def live() -> None:
            with scope:
                async with trio.open_nursery() as nursery:
                    self.transfer.downloads.bind(nursery)
                    for run in (self.sync.run, self.eviction.run, self.pinning.run):
                        nursery.start_soon(run)
            ended.set()

        self._nursery.start_soon(live)

    async def stop(self, *, clean: bool = True) -> None:
        if self._running is not None:
            self._running.cancel()
            self._running = None
            await self._ended.wait()
        if clean:
            self.vfs.files.close_all()
        self.check()
        self.close(clean=clean)
        await self.hosts.aclose()
        await self.server.aclose()

    async def restart(self, *, clean: bool = True) -> None:
        await self.stop(clean=clean)
        self.open()
        self.start()

    async def synced(self, seconds: float = 30.0) -> None:
        """``oaiofs sync``, again until it succeeds. Raises the last reason where it does not within *seconds*."""
        end = trio.current_time() + seconds
        while True:
            try:
                await self.sync.finish(max(0.1, end - trio.current_time()))
                return
            except OaiofsError:
                if trio.current_time() > end:
                    raise
                await trio.sleep(0.05)
