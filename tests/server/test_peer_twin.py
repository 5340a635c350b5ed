"""The existing client and its in-memory twin are given the same day, and after each step the servers hold the same.

So what the many stories on the twins say about the existing client is said about the real one.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from oaiofs.core import stamps
from oaiofs.core.model import OaioId, Outgoing, RemoteObject, Stamp
from oaiofs.remote.contract import OaioServer, StorageHost
from oaiofs.remote.hosts import open_storage
from oaiofs.remote.oaio import HttpOaioServer
from tests.devicekit import CSH, USER, World, simulate
from tests.httpworld import HttpWorld, live
from tests.peerkit import Peer
from tests.realpeer import PeerProcess, RealPeer, peers
from tests.remote.worlds import source_of
from tests.serverkit import ServerKit, oaio_server
from tests.sync.story import ForeignClient, Site

__all__ = ["oaio_server", "peers"]

pytestmark = pytest.mark.peer

#: What is there after a step, stamps as numbers in the order of their first appearance.
Seen: TypeAlias = dict[str, Any]


class Day:
    """One existing client, and somebody else who announces versions of the object Notes."""

    def __init__(
        self, site: Site, peer: ForeignClient, server: OaioServer, host: StorageHost, clock: Callable[[], datetime]
    ) -> None:
        self.site, self.peer, self.server, self.host, self.clock = site, peer, server, host, clock
        self.seen: list[Seen] = []
        self._stamps: list[str] = []

    async def play(self) -> None:
        await self.announce({"n": 1}, {"a.txt": b"first", "b.txt": b"second"})
        await self.step("takes it", self.peer.sync)
        await self.step("sets a value", lambda: self.peer.set_value("Notes", "k", 10**30))
        await self.step("writes a file in a folder", lambda: self.peer.write("Notes", "d/new.txt", b"new"))
        await self.announce({"n": 2}, {"a.txt": b"other", "d/new.txt": b"new"})
        await self.step("takes what has a file less", self.peer.sync)
        await self.step("writes a file, and the removed one is back", lambda: self.peer.write("Notes", "c", b"third"))
        await self.announce({"n": 3, "by other": [1]}, {"a.txt": b"third of other"})
        await self.step("overwrites what it has not seen", lambda: self.peer.set_value("Notes", "k", "mine"))
        await self.leave(lambda: self.peer.set_value("Notes", "away", True))
        await self.announce({"n": 4}, {"a.txt": b"fourth of other", "e": b"new of other"})
        await self.come_back()
        await self.leave(lambda: self.peer.write("Notes", "a.txt", b"from afar"), lambda: self.peer.sync())
        await self.come_back()
        await self.announce({"n": 5}, {})
        await self.step("takes what has no files", self.peer.sync)
        await self.leave(lambda: self.peer.set_value("Notes", "last", None))
        await self.server.delete(self._current().oaio_id)
        await self.come_back()
        await self.step("tries again", self.peer.sync)

    # -- steps -------------------------------------------------------------------------------------------------------

    async def step(self, what: str, *doing: Callable[[], object]) -> None:
        for one in doing:
            await self.site.apart(one)
        self.seen.append(deepcopy({"step": what, **self._look()}))

    async def leave(self, *doing: Callable[[], object]) -> None:
        """Work without a network."""
        self.peer.offline = True
        await self.step("works offline", self.peer.sync, *doing)

    async def come_back(self) -> None:
        self.peer.offline = False
        await self.step("is back", self.peer.sync)

    async def announce(self, values: dict[str, Any], files: dict[str, bytes]) -> None:
        """Somebody else makes the next version from the current one."""
        stamp = stamps.make(self.clock())
        values = {"_name": "Notes", **values}
        listed = tuple(self.site.listing())
        fresh = Outgoing(OaioId(f"notes{stamp}"), stamp, "", values, tuple(files), {}, (), CSH)
        outgoing = fresh
        if listed:
            outgoing = replace(
                fresh, oaio_id=listed[0].oaio_id, base=listed[0].stamp,
                base_values=listed[0].values, base_file_paths=listed[0].file_paths,
            )  # fmt: skip
        for path, content in files.items():
            await self.host.put(f"{outgoing.oaio_id}/{stamp}/{path}", source_of(content), len(content), 10**18)
        await (self.server.upload if listed else self.server.register)(outgoing)
        self.seen.append(deepcopy({"step": "somebody announces", **self._look()}))

    # -- what is there -----------------------------------------------------------------------------------------------

    def _current(self) -> RemoteObject:
        (one,) = self.site.listing()
        return one

    def _look(self) -> Seen:
        return {
            "server": [self._announced(one) for one in self.site.listing()],
            "strays": len(self.site.strays()),
            "peer": [
                {
                    "stamps": [self._number(wire["client_stamp"]), self._number(wire["server_stamp"])],
                    "values": [_ordered(wire["client_values"]), _ordered(wire["server_values"])],
                    "files": self.peer.files[oaio_id],
                }
                for oaio_id, wire in self.peer.objects.items()
            ],
        }

    def _announced(self, one: RemoteObject) -> Seen:
        return {
            "stamp": self._number(one.stamp),
            "lineage": [self._number(stamp) for stamp in one.lineage],
            "values": one.values,
            "paths": sorted(one.file_paths),
            "stored": self.site.stored_below(f"{one.oaio_id}/{one.stamp}"),
        }

    def _number(self, stamp: Stamp | str) -> int:
        if stamp not in self._stamps:
            self._stamps.append(stamp)
        return self._stamps.index(stamp)


def _ordered(values: dict[str, Any]) -> dict[str, Any]:
    """A folder's files come in any order."""
    return {key: sorted(value) if key == "_file_paths" else value for key, value in values.items()}


def day_of_the_twin(folder: Path) -> list[Seen]:
    seen: list[Seen] = []

    async def run(world: World) -> None:
        day = Day(world, Peer(world), world.cloud.session(USER), world.cloud.storage(CSH), world.now)
        await day.play()
        seen.extend(day.seen)

    simulate(folder, run)
    return seen


def day_of_the_real_one(kit: ServerKit, process: PeerProcess) -> list[Seen]:
    seen: list[Seen] = []

    async def run(world: HttpWorld) -> None:
        server = HttpOaioServer(kit.url, *world.account, device_id="other", app_id="oaiofs")
        host = open_storage(await server.storage_account(CSH), {})
        peer = RealPeer(process, kit, world.account, world.folder / "peer")
        day = Day(world, peer, server, host, lambda: datetime.now(UTC))
        try:
            await day.play()
        finally:
            await host.aclose()
            await server.aclose()
        seen.extend(day.seen)

    live(kit, run)
    return seen


def test_the_twin_does_as_the_real_one(oaio_server: ServerKit, peers: PeerProcess, tmp_path: Path) -> None:
    twin, real = day_of_the_twin(tmp_path), day_of_the_real_one(oaio_server, peers)
    for of_twin, of_real in zip(twin, real, strict=True):
        assert of_twin == of_real, of_twin["step"]
    assert len(twin) == 19
