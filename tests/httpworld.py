"""The world of ``tests/sync/story.py`` on a real server: real time, whole devices over HTTP, each behind its own proxy.

What the server has is asked of it directly, what its storage and its log hold is read from its data directory.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import trio
from outcome import Outcome, acapture

from oaiofs.cache.store import Store
from oaiofs.core.model import OaioId, RemoteObject
from oaiofs.errors import OaiofsError
from oaiofs.remote.reading import read_listing
from oaiofs.server.service import DEFAULT_EMAIL, DEFAULT_ROOT_FOLDER
from tests.devicekit import problems
from tests.faultproxy import Fault, FaultProxy
from tests.httpdevice import SHORT, HttpDevice
from tests.server.clients import Oaio
from tests.serverkit import ServerKit

#: A story's seconds are made for ``devicekit.PACE``; these devices wait for so much less.
SCALE = 1 / 40
#: Seconds within which a healthy server and healthy devices get anything done.
PATIENCE = 10.0
#: What a call of the contract is on the wire.
ON_THE_WIRE = {
    "register": ("POST", "/api/register/"),
    "upload": ("POST", "/api/upload/"),
    "list_objects": ("GET", "/api/oaio_stampz/"),
    "next_listing": ("GET", "/api/oaio_stampz/"),
    "delete": ("POST", "/api/delete/"),
    "current_stamp": ("GET", "/api/current_stamp/"),
    "list_tree": ("GET", "*/files/listrecursive"),
    "put": ("POST", "*/files/put"),
    "copy": ("PUT", "*/files/copy"),
    "get": ("GET", "*/files/get"),
    "remove": ("DELETE", "*/files/remove"),
}
#: So often must a call fail for the device to notice: it tries again by itself.
_STUBBORN = 3


class ProxiedDevice(HttpDevice):
    """A device whose network is a fault proxy."""

    def __init__(self, proxy: FaultProxy, account: tuple[str, str], name: str, root: Path, nursery: trio.Nursery):
        self.proxy = proxy
        self._cable = Fault("cut_before", times=0)
        proxy.faults.append(self._cable)
        super().__init__(proxy.url, *account, name, root, nursery)

    @property
    def offline(self) -> bool:
        return self._cable.times > 0

    @offline.setter
    def offline(self, value: bool) -> None:
        self._cable.times = float("inf") if value else 0

    def stumble(self, call: str, *, lost: bool) -> None:
        method, path = ON_THE_WIRE[call]
        if lost:
            self.proxy.add("lost", method, path, times=1)
        else:
            self.proxy.add("status", method, path, times=_STUBBORN, status=503)

    def heal(self) -> None:
        self.proxy.faults[:] = [self._cable]

    def check_closed(self) -> None:
        """Nothing is wrong with the client root that it left."""
        store = Store(self.root, wall_clock=self.wall_clock, steady_clock=time.monotonic)
        try:
            assert problems(store) == []
        finally:
            store.close(clean=True)


class HttpWorld:
    """The devices of one new user of a server."""

    def __init__(
        self, kit: ServerKit, account: tuple[str, str], observer: Oaio, folder: Path, nursery: trio.Nursery
    ) -> None:
        self.kit = kit
        self.account = account
        self.folder = folder
        self.devices: dict[str, ProxiedDevice] = {}
        self._observer = observer
        self._nursery = nursery

    async def syncing(self, name: str) -> ProxiedDevice:
        """A device that has looked at the server."""
        proxy = FaultProxy(self.kit.url, holds=True)
        await proxy.listen(self._nursery)
        made = ProxiedDevice(proxy, self.account, name, self.folder / name, self._nursery)
        self.devices[name] = made
        made.start()
        await made.sync.first_contact()
        return made

    async def go_on(self, seconds: float) -> None:
        await trio.sleep(seconds * SCALE)

    async def settle(self) -> None:
        for _ in range(2):  # what one sends is there for the others to be taken
            async with trio.open_nursery() as nursery:
                for device in self.devices.values():
                    nursery.start_soon(self._finish, device)

    async def _finish(self, device: ProxiedDevice) -> None:
        try:
            await device.sync.finish(PATIENCE)
        except OaiofsError:
            await trio.sleep(SHORT.poll)

    async def apart(self, doing: Callable[[], object]) -> None:
        await trio.to_thread.run_sync(doing)

    # -- what is there -------------------------------------------------------------------------------------------

    def listing(self) -> tuple[RemoteObject, ...]:
        answer = self._observer.get("oaio_stampz/", X_OAIO_features="lineage")
        assert answer.status_code == httpx.codes.OK, answer.text
        return read_listing(answer.json()).objects

    def stored_below(self, folder: str) -> dict[str, bytes]:
        """Path -> content of all that the storage has there."""
        top = self._storage / folder
        while True:
            try:
                return {os.path.relpath(path, top): path.read_bytes() for path in top.rglob("*") if path.is_file()}
            except FileNotFoundError:
                pass  # some device has just removed what was begun and not announced

    def strays(self) -> set[str]:
        """Version folders of the user's objects with files in them that were never announced."""
        rows = self._rows("SELECT oaio_id, stamp FROM oaio_logentry WHERE username = ?", self.account[0])
        logged = {f"{oaio_id}/{stamp}" for oaio_id, stamp in rows}
        assert logged, "the log is read"
        ids: set[OaioId] = {OaioId(one.partition("/")[0]) for one in logged}
        held = {f"{oaio_id}/{path.split('/')[0]}" for oaio_id in ids for path in self.stored_below(oaio_id)}
        return held - logged

    @functools.cached_property
    def _storage(self) -> Path:
        ((account,),) = self._rows("SELECT directory FROM oaio_storageaccount WHERE email = ?", DEFAULT_EMAIL)
        return self.kit.data / "storage" / account / DEFAULT_ROOT_FOLDER.strip("/")

    def _rows(self, query: str, *values: str) -> list[tuple[str, ...]]:
        """From the server's database."""
        with contextlib.closing(sqlite3.connect(f"file:{self.kit.data}/oaio.sqlite3?mode=ro", uri=True)) as database:
            return database.execute(query, values).fetchall()


async def _in_world(kit: ServerKit, folder: Path, test: Callable[[HttpWorld], Awaitable[None]]) -> None:
    """Run *test*; its devices are stopped after it, and their client roots checked. What it raises comes as it is."""
    account = kit.fresh_user("story")
    outcome: Outcome[None] | None = None
    with Oaio(kit, *account) as observer:
        async with trio.open_nursery() as nursery:
            world = HttpWorld(kit, account, observer, folder, nursery)
            outcome = await acapture(test, world)
            with trio.CancelScope(shield=True):
                for device in world.devices.values():
                    device.heal()
                    await device.stop()
            nursery.cancel_scope.cancel()
    outcome.unwrap()
    for device in world.devices.values():
        device.check_closed()


def live(kit: ServerKit, test: Callable[[HttpWorld], Awaitable[None]]) -> None:
    """Run the async function *test* in a new world on the server *kit*."""
    with tempfile.TemporaryDirectory() as folder:
        trio.run(_in_world, kit, Path(folder), test)
