"""The outside in two makes, for the contract suites: the in-memory twin, and HTTP to a real self-hosted server."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from oaiofs.core import stamps
from oaiofs.core.model import OaioId, Outgoing, Stamp, StorageAccount
from oaiofs.remote.contract import OaioServer, Source, StorageHost
from oaiofs.remote.hosts import open_storage
from oaiofs.remote.http import Surroundings
from oaiofs.remote.memory import Cloud
from oaiofs.remote.oaio import HttpOaioServer
from oaiofs.remote.retry import NO_RETRY
from oaiofs.transfer.metered import MeteredHost
from oaiofs.transfer.traffic import Limit, Traffic
from tests.serverkit import ServerKit

#: One failure is one failure: what retries do is tested where their time is made up.
ONCE = Surroundings(retry=NO_RETRY)


@dataclass(frozen=True)
class Account:
    name: str
    password: str


#: Asked for once per server: logins are slow on purpose.
_storage_accounts: dict[str, StorageAccount] = {}
_counter = itertools.count(1)


class World(Protocol):
    """What a contract suite needs of the outside.

    ``storage`` is new, empty and all of one test, ``storage_of`` the shared one by a user's own login.
    """

    def add_user(self, *, superuser: bool = False) -> Account: ...
    def session(self, account: Account, *, acting_for: str | None = None) -> OaioServer: ...
    async def storage(self) -> StorageHost: ...
    async def storage_of(self, account: Account) -> StorageHost: ...
    async def aclose(self) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.cloud = Cloud(holds=50.0)
        self.cloud.add_storage("Digi", total=1 << 40)
        self._numbers = itertools.count(1)

    def add_user(self, *, superuser: bool = False) -> Account:
        account = Account(f"user{next(self._numbers)}", "right")
        self.cloud.add_user(account.name, account.password, superuser=superuser)
        return account

    def session(self, account: Account, *, acting_for: str | None = None) -> OaioServer:
        return self.cloud.session(account.name, account.password, acting_for=acting_for)

    async def storage(self) -> StorageHost:
        return self.cloud.storage("Digi", root_folder="test")

    async def storage_of(self, account: Account) -> StorageHost:
        return self.cloud.storage("Digi", root_folder="test", user=account.name)

    async def aclose(self) -> None:
        pass


class HttpWorld:
    def __init__(self, kit: ServerKit) -> None:
        self._kit = kit
        self._opened: list[OaioServer | StorageHost] = []

    def add_user(self, *, superuser: bool = False) -> Account:
        return Account(*self._kit.fresh_user(superuser=superuser))

    def session(self, account: Account, *, acting_for: str | None = None) -> OaioServer:
        server = HttpOaioServer(
            self._kit.host,
            account.name,
            account.password,
            device_id="device",
            app_id="oaiofs",
            acting_for=acting_for,
            surroundings=ONCE,
        )
        self._opened.append(server)
        return server

    async def storage(self) -> StorageHost:
        account = _storage_accounts.get(self._kit.url)
        if account is None:
            account = await self.session(self.add_user()).storage_account("Digi")
            _storage_accounts[self._kit.url] = account
        # The server's storage is shared by the whole test run: each test works in a folder of its own.
        root = f"{account.arguments['root_folder']}/contract{next(_counter)}".strip("/")
        own = {**account.arguments, "root_folder": root}
        host = open_storage(replace(account, arguments=own), {}, surroundings=ONCE)
        self._opened.append(host)
        return host

    async def storage_of(self, account: Account) -> StorageHost:
        host = open_storage(await self.session(account).storage_account("Digi"), {}, surroundings=ONCE)
        self._opened.append(host)
        return host

    async def aclose(self) -> None:
        for opened in self._opened:
            await opened.aclose()


class Metered:
    """*world* whose storage hosts are counted and limited, far above what a test needs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.traffic = Traffic(Limit(200_000_000), Limit(200_000_000))

    def add_user(self, *, superuser: bool = False) -> Account:
        return self._world.add_user(superuser=superuser)

    def session(self, account: Account, *, acting_for: str | None = None) -> OaioServer:
        return self._world.session(account, acting_for=acting_for)

    async def storage(self) -> StorageHost:
        return MeteredHost(await self._world.storage(), "Digi", self.traffic)

    async def storage_of(self, account: Account) -> StorageHost:
        return MeteredHost(await self._world.storage_of(account), "Digi", self.traffic)

    async def aclose(self) -> None:
        await self._world.aclose()
        assert (self.traffic.shown(), self.traffic.to_go()) == ([], 0), "a transfer goes on for ever"
        assert self.traffic.moved >= 0


_START = datetime(2026, 5, 1, tzinfo=UTC)


def next_stamp() -> Stamp:
    """A stamp later than all before."""
    return stamps.make(_START + timedelta(seconds=next(_counter)))


def outgoing(values: dict[str, Any] | None = None, *paths: str, **changes: Any) -> Outgoing:
    """A new object, or with *changes* a new version of one."""
    stamp = next_stamp()
    made = Outgoing(
        oaio_id=OaioId(f"oaiofs⫻user﹫device⁄Größe⁄{stamp}"),
        stamp=stamp,
        base="",
        values=values if values is not None else {"_name": "Größe", "x": 1},
        file_paths=paths,
        base_values={},
        base_file_paths=(),
        csh_id="Digi",
    )
    return replace(made, **changes)


def next_version(of: Outgoing, values: dict[str, Any], *paths: str, **changes: Any) -> Outgoing:
    following = replace(
        of,
        stamp=next_stamp(),
        base=of.stamp,
        values=values,
        file_paths=paths,
        base_values=of.values,
        base_file_paths=of.file_paths,
    )
    return replace(following, **changes)


def source_of(content: bytes, chunk: int = 50_000) -> Source:
    """A Source of these bytes."""

    async def opened() -> AsyncIterator[bytes]:
        for start in range(0, len(content), chunk):
            yield content[start : start + chunk]

    return opened


async def read_all(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def ids(objects: Iterable[Any]) -> list[str]:
    return [known.oaio_id for known in objects]
