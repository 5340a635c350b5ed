"""Clients of the library in both worlds: on the in-memory twins, and over HTTP on a real server.

Each client root is checked at its end, as ``oaiofs check`` would.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from oaiofs.client import OaioClient
from oaiofs.remote.contract import OaioServer, OpenHost
from tests.devicekit import Hosts, problems
from tests.remote.worlds import Account, MemoryWorld
from tests.serverkit import ServerKit, oaio_server

__all__ = ["oaio_server"]


class Clients:
    """Makes users, and clients of theirs, in one of the worlds. A client made *offline* reaches nobody."""

    def __init__(self, world: Any, folder: Path) -> None:
        self.world, self.folder = world, folder

    def user(self, *, superuser: bool = False) -> Account:
        raise NotImplementedError

    def make(self, account: Account, device: str, **more: Any) -> OaioClient:
        raise NotImplementedError

    @asynccontextmanager
    async def open(self, account: Account, device: str = "desk", **more: Any) -> AsyncIterator[OaioClient]:
        client = self.make(account, device, **more)
        async with client:
            yield client
            assert problems(client._open.store) == []

    def root(self, account: Account, device: str) -> Path:
        return self.folder / f"{account.name}-{device}"


class _MemoryClient(OaioClient):
    """Reaches the twin instead of a host."""

    cloud: Any
    failing = False

    async def _connect(self) -> tuple[OaioServer, OpenHost]:
        session = self.cloud.session(
            self._owner.login, self._access.password, device_id=self.device_id, app_id=self.app_id,
            acting_for=self._owner.user,
        )  # fmt: skip
        hosts = Hosts(self.cloud, self.user_name)
        session.faults.offline = hosts.faults.offline = self.failing
        self._stack.push_async_callback(session.aclose)
        return session, hosts


class MemoryClients(Clients):
    world: MemoryWorld

    def user(self, *, superuser: bool = False) -> Account:
        return self.world.add_user(superuser=superuser)

    def make(self, account: Account, device: str, *, offline: bool = False, **more: Any) -> OaioClient:
        more = {"app_id": "test", "client_root": self.root(account, device), **more}
        credentials = {"username": account.name, "password": account.password}
        client = _MemoryClient("127.0.0.1:1", credentials, device_id=device, **more)
        client.cloud, client.failing = self.world.cloud, offline
        return client


class HttpClients(Clients):
    world: ServerKit

    def user(self, *, superuser: bool = False) -> Account:
        return Account(*self.world.fresh_user(superuser=superuser))

    def make(self, account: Account, device: str, *, offline: bool = False, **more: Any) -> OaioClient:
        more = {"app_id": "test", "client_root": self.root(account, device), **more}
        credentials = {"username": account.name, "password": account.password}
        client = OaioClient(self.world.host, credentials, device_id=device, **more)
        if offline:
            client._access = dataclasses.replace(client._access, url="http://127.0.0.1:9")  # discard: nobody listens
        return client


@pytest.fixture(params=["twin", "http"])
def clients(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Clients]:
    if request.param == "twin":
        yield MemoryClients(MemoryWorld(), tmp_path)
    else:
        kit: ServerKit = request.getfixturevalue("oaio_server")
        yield HttpClients(kit, tmp_path)
