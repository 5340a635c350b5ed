"""The in-memory twin of an oaio server and all around it; passes the same contract suite as ``oaio``.

A ``Cloud`` is the world that all devices of a test share: users, objects, log and storage accounts. What each device
sees of it is a session of its own, with faults of its own. Objects are kept as they are on the wire, so what goes in
and comes out takes the same checks as over HTTP. Deterministic: time comes from the clock that is handed in.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from .. import errors
from ..core import dialect, stamps
from ..core.model import Listing, OaioId, Outgoing, RemoteObject, Right, Stamp, StorageAccount
from .faults import Fault, Faults
from .memory_storage import MemoryStorage, StorageTree
from .oaio import MAX_CLOCK_SKEW, read_listing

__all__ = ["Cloud", "Fault", "Faults", "LogEntry", "MemoryOaioServer", "MemoryStorage", "StorageTree", "ticking_clock"]


@dataclass(slots=True)
class _User:
    password: str = field(repr=False)
    superuser: bool = False


@dataclass(slots=True)
class _Object:
    """One registered object: its current version as wire JSON, and who may do what."""

    creator: str
    wire: dict[str, Any]
    rights: dict[str, Right]

    @property
    def stamp(self) -> str:
        return str(self.wire["client_stamp"])


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One change that took effect. *wire* is the object as announced, {} for the other actions."""

    action: str
    username: str
    oaio_id: str
    stamp: str
    wire: dict[str, Any] = field(repr=False, default_factory=dict)


def ticking_clock(start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> Callable[[], datetime]:
    """A clock that is a millisecond later each time it is looked at."""
    now = start

    def clock() -> datetime:
        nonlocal now
        now += timedelta(milliseconds=1)
        return now

    return clock


class Cloud:
    """An oaio server's and its storage hosts' state, and the rules for changing it.

    With *checks_base* an upload made from another than the current version is refused, as self-hosted servers do;
    without, the last writer wins, as with servers in the field. *planted* are raw elements that a listing holds
    besides, for what a hostile or broken server may answer.
    """

    def __init__(self, *, clock: Callable[[], datetime] | None = None, checks_base: bool = True) -> None:
        self.clock = clock or ticking_clock()
        self.checks_base = checks_base
        self.users: dict[str, _User] = {}
        self.objects: dict[OaioId, _Object] = {}
        self.storages: dict[str, StorageTree] = {}
        self.log: list[LogEntry] = []
        self.planted: list[object] = []

    def add_user(self, name: str, password: str = "", *, superuser: bool = False) -> None:
        self.users[name] = _User(password, superuser)

    def add_storage(self, csh_id: str = "Digi", *, total: int = 0) -> StorageTree:
        """A storage account for all users; *total* bytes, 0 for no limit."""
        return self.storages.setdefault(csh_id, StorageTree(total=total))

    def session(
        self,
        username: str,
        password: str | None = None,
        *,
        device_id: str = "device",
        app_id: str = "oaiofs",
        acting_for: str | None = None,
        faults: Faults | None = None,
    ) -> MemoryOaioServer:
        """A device's session; *password* None is the right one."""
        if password is None:
            password = self.users[username].password
        return MemoryOaioServer(
            self, username, password, device_id=device_id, app_id=app_id, acting_for=acting_for, faults=faults
        )

    def storage(self, csh_id: str = "Digi", *, root_folder: str = "", faults: Faults | None = None) -> MemoryStorage:
        return MemoryStorage(self.storages[csh_id], root_folder, faults)

    # ---- the server's rules; each raises RemoteError where it refuses

    def view(self, oaio_id: OaioId, user: str) -> RemoteObject:
        """The object's current version as *user* sees it."""
        return dialect.read_object(self._wire_for(self._visible(oaio_id, user)[0], user))

    def listing(self, user: str, faults: Faults) -> Listing:
        mine = {
            oaio_id: self._wire_for(known, user) for oaio_id, known in self.objects.items() if user in known.rights
        }
        return read_listing([*(mine[OaioId(oaio_id)] for oaio_id in faults.shown(list(mine))), *self.planted])

    def register(self, user: str, wire: dict[str, Any]) -> RemoteObject:
        oaio_id = dialect.read_id(wire["oaio_id"])
        known = self.objects.get(oaio_id)
        if known is not None and not (known.creator == user and _says_the_same(known.wire, wire)):
            raise errors.RemoteExists(f"There is an object {oaio_id} already.")
        if known is None:
            dialect.read_object(wire)
            self.objects[oaio_id] = _Object(user, wire, {user: Right.CREATE})
            self._logged("register", user, wire)
        return self.view(oaio_id, user)

    def upload(self, user: str, wire: dict[str, Any], base: str) -> RemoteObject:
        known, right = self._visible(OaioId(wire["oaio_id"]), user)
        if not right.may_update:
            raise errors.Forbidden("Your right on this object is to read it.")
        if self.checks_base and base and known.stamp != base:
            if not _says_the_same(known.wire, wire):
                raise errors.Conflict("Another device has changed the object meanwhile.")
        else:
            dialect.read_object(wire)
            known.wire = wire
            self._logged("upload", user, wire)
        return self.view(OaioId(wire["oaio_id"]), user)

    def delete(self, user: str, oaio_id: OaioId) -> None:
        if oaio_id not in self.objects or user not in self.objects[oaio_id].rights:
            return
        known, right = self._visible(oaio_id, user)
        if not right.may_delete:
            raise errors.Forbidden("To delete this object you need right D or C.")
        del self.objects[oaio_id]
        self.log.append(LogEntry("delete", user, oaio_id, known.stamp))

    def subscribe(self, user: str, oaio_id: OaioId, other: str, right: Right, *, superuser: bool) -> None:
        known, own_right = self._visible(oaio_id, user)
        ends_own = other == user and right is Right.NONE
        if not own_right.may_share and not ends_own:
            raise errors.Forbidden("Only users with right C share this object.")
        if other not in self.users:
            if not superuser:
                raise errors.RemoteNotFound(f"There is no user {other}.")
            self.add_user(other)
        if other == known.creator and right is not Right.CREATE:
            raise errors.Forbidden("The creator's own subscription stays as it is.")
        if right is Right.NONE:
            known.rights.pop(other, None)
        else:
            known.rights[other] = right
        self.log.append(LogEntry("subscribe", user, oaio_id, known.stamp))

    def subscribers(self, user: str, oaio_id: OaioId) -> dict[str, Right]:
        known = self.objects.get(oaio_id)
        rights = known.rights if known is not None and user in known.rights else {}
        return {name: rights.get(name, Right.NONE) for name in self.users}

    def wipe_user(self, name: str) -> None:
        if name not in self.users:
            raise errors.RemoteNotFound(f"There is no user {name}.")
        del self.users[name]
        self.objects = {oaio_id: known for oaio_id, known in self.objects.items() if known.creator != name}
        for known in self.objects.values():
            known.rights.pop(name, None)

    def _visible(self, oaio_id: OaioId, user: str) -> tuple[_Object, Right]:
        known = self.objects.get(oaio_id)
        if known is None or user not in known.rights:
            raise errors.RemoteNotFound("You have no such object.")
        return known, known.rights[user]

    def _wire_for(self, known: _Object, user: str) -> dict[str, Any]:
        right = dialect.write_right(known.rights[user])
        return {**_copied(known.wire), "server_stamp": known.stamp, "csh_access_right": right}

    def _logged(self, action: str, user: str, wire: dict[str, Any]) -> None:
        self.log.append(LogEntry(action, user, wire["oaio_id"], wire["client_stamp"], _copied(wire)))


class MemoryOaioServer:
    """``contract.OaioServer`` on a Cloud."""

    def __init__(
        self,
        cloud: Cloud,
        username: str,
        password: str,
        *,
        device_id: str,
        app_id: str,
        acting_for: str | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.cloud = cloud
        self.faults = faults or Faults()
        self._username = username
        self._password = password
        self._user = acting_for or username
        self._device_id = device_id
        self._app_id = app_id

    @property
    def checks_base(self) -> bool:
        return self.cloud.checks_base

    async def login(self) -> None:
        async with self._calling("login"):
            pass

    async def current_stamp(self) -> Stamp:
        async with self._calling("current_stamp"):
            stamp = stamps.make(self.cloud.clock() + self.faults.clock_skew)
        if abs(self.faults.clock_skew) > MAX_CLOCK_SKEW:
            raise errors.ClockSkew("This machine's clock and the server's are too far apart: set it right.")
        return stamp

    async def list_objects(self) -> Listing:
        async with self._calling("list_objects"):
            return self.cloud.listing(self._user, self.faults)

    async def register(self, outgoing: Outgoing) -> RemoteObject:
        async with self._calling("register"):
            return self.cloud.register(self._user, self._wire(outgoing))

    async def upload(self, outgoing: Outgoing) -> RemoteObject:
        async with self._calling("upload"):
            return self.cloud.upload(self._user, self._wire(outgoing), outgoing.base)

    async def delete(self, oaio_id: OaioId) -> None:
        async with self._calling("delete"):
            self.cloud.delete(self._user, oaio_id)

    async def subscribe(self, oaio_id: OaioId, username: str, right: Right) -> None:
        async with self._calling("subscribe"):
            superuser = self.cloud.users[self._username].superuser
            self.cloud.subscribe(self._user, oaio_id, username, right, superuser=superuser)

    async def subscribers(self, oaio_id: OaioId) -> dict[str, Right]:
        async with self._calling("subscribers"):
            return self.cloud.subscribers(self._user, oaio_id)

    async def storage_account(self, csh_id: str) -> StorageAccount:
        async with self._calling("storage_account"):
            if csh_id not in self.cloud.storages:
                raise errors.RemoteNotFound(f"The server knows no storage {csh_id}: check --csh-id.")
        return StorageAccount(csh_id, {"root_folder": "", "email": f"{self._username}@example", "password": ""})

    async def wipe_user(self, username: str) -> None:
        async with self._calling("wipe_user"):
            if not self.cloud.users[self._username].superuser:
                raise errors.Forbidden("Only a superuser wipes users.")
            self.cloud.wipe_user(username)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def _calling(self, call: str) -> AsyncIterator[None]:
        """Around what *call* does: its faults, and who may call at all."""
        await self.faults.before(call)
        account = self.cloud.users.get(self._username)
        if account is None or account.password != self._password:
            raise errors.Unauthorized(f"The server does not accept this password for {self._username}.")
        if self._user != self._username and not (account.superuser and self._user in self.cloud.users):
            raise errors.Forbidden("Only a superuser acts for another user.")
        yield
        await self.faults.after(call)

    def _wire(self, outgoing: Outgoing) -> dict[str, Any]:
        return _copied(
            dialect.write_object(outgoing, username=self._user, device_id=self._device_id, app_id=self._app_id)
        )


def _copied(wire: dict[str, Any]) -> dict[str, Any]:
    """*wire* as it comes out of a journey as JSON text."""
    copy: dict[str, Any] = json.loads(json.dumps(wire))
    return copy


def _says_the_same(known: dict[str, Any], wire: dict[str, Any]) -> bool:
    """Whether *wire* is what was announced already, as when a lost answer makes a client try again."""
    return all(known[key] == wire[key] for key in ("client_stamp", "client_values"))
