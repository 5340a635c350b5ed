"""The in-memory twin of an oaio server and all around it; passes the same contract suite as ``oaio``.

A ``Cloud`` is the world that all devices of a test share: users, objects, log and storage accounts. What each device
sees of it is a session of its own, with faults of its own. Objects are kept as they are on the wire, so what goes in
and comes out takes the same checks as over HTTP. Deterministic: time comes from the clock that is handed in.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import trio

from .. import errors
from ..core import dialect, stamps
from ..core.model import Listing, OaioId, Outgoing, RemoteObject, Right, Stamp, StorageAccount
from .faults import Fault, Faults
from .memory_objects import KnownObject, LogEntry, User, copied, says_the_same
from .memory_rights import UserGate
from .memory_storage import MemoryStorage, StorageTree
from .oaio import MAX_CLOCK_SKEW
from .reading import read_listing, read_versions

__all__ = ["Cloud", "Fault", "Faults", "LogEntry", "MemoryOaioServer", "MemoryStorage", "StorageTree", "ticking_clock"]


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

    With *checks_base* an upload made from another than the current version is refused, and each version tells which
    ones it was made from, as with self-hosted servers; without, the last writer wins, as with servers in the field.
    *planted* are raw elements that a listing holds besides, for what a hostile or broken server may answer. For
    *holds* seconds a listing may be waited for, 0.0: never.
    """

    def __init__(
        self, *, clock: Callable[[], datetime] | None = None, checks_base: bool = True, holds: float = 0.0
    ) -> None:
        self.clock = clock or ticking_clock()
        self.checks_base = checks_base
        self.holds = holds
        self._changed = trio.Event()
        self.users: dict[str, User] = {}
        self.objects: dict[OaioId, KnownObject] = {}
        self.storages: dict[str, StorageTree] = {}
        #: Who has which right on what is stored for objects that are not registered: not yet, or not any more.
        self.held: dict[OaioId, dict[str, Right]] = {}
        #: The last version of who ended the own subscription, by object and user.
        self.left: dict[tuple[OaioId, str], str] = {}
        self.log: list[LogEntry] = []
        self.planted: list[object] = []
        self._subscriptions = itertools.count(1)

    def add_user(self, name: str, password: str = "", *, superuser: bool = False) -> None:
        self.users[name] = User(password, superuser)

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

    def storage(
        self, csh_id: str = "Digi", *, root_folder: str = "", faults: Faults | None = None, user: str | None = None
    ) -> MemoryStorage:
        """The storage with all rights, or those of *user*, as self-hosted servers' users have them."""
        gate = UserGate(self, user) if user is not None else None
        return MemoryStorage(self.storages[csh_id], root_folder, faults, gate)

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
        held = self.held.get(oaio_id)
        if known is not None and not (known.creator == user and says_the_same(known.wire, wire)):
            raise errors.RemoteExists(f"There is an object {oaio_id} already.")
        if held is not None and not held.get(user, Right.NONE).may_delete:
            raise errors.RemoteExists(f"The id {oaio_id} is another user's.")
        if known is None:
            self.held.pop(oaio_id, None)
            self.left = {place: stamp for place, stamp in self.left.items() if place[0] != oaio_id}
            dialect.read_object(wire)
            self.objects[oaio_id] = KnownObject(user, wire, {user: Right.CREATE})
            self._logged("register", user, wire)
            self._wake()
        return self.view(oaio_id, user)

    def upload(self, user: str, wire: dict[str, Any], base: str, merged: str = "") -> RemoteObject:
        known, right = self._visible(OaioId(wire["oaio_id"]), user)
        if not right.may_update:
            raise errors.Forbidden("Your right on this object is to read it.")
        if self.checks_base and base and known.stamp != base:
            if not says_the_same(known.wire, wire):
                raise errors.Conflict("Another device has changed the object meanwhile.")
        else:
            dialect.read_object(wire)
            known.wire = wire
            known.lineages[known.stamp] = known.lineage_from(str(wire["server_stamp"]), merged)
            self._logged("upload", user, wire)
            self._wake()
        return self.view(OaioId(wire["oaio_id"]), user)

    def delete(self, user: str, oaio_id: OaioId, base: str = "") -> None:
        if oaio_id not in self.objects or user not in self.objects[oaio_id].rights:
            return
        known, right = self._visible(oaio_id, user)
        if not right.may_delete:
            raise errors.Forbidden("To delete this object you need right D or C.")
        if self.checks_base and base and known.stamp != base:
            raise errors.Conflict("Another device has changed the object meanwhile.")
        self._drop(oaio_id)
        self.log.append(LogEntry("delete", user, oaio_id, known.stamp))
        self._wake()

    def subscribe(self, user: str, oaio_id: OaioId, other: str, right: Right, *, superuser: bool) -> int:
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
        self.left.pop((oaio_id, other), None)
        if right is Right.NONE:
            if known.rights.pop(other, None) and ends_own:
                self.left[oaio_id, other] = known.stamp
            key = known.keys.pop(other, 0)
        else:
            known.rights[other] = right
            key = known.keys.setdefault(other, next(self._subscriptions))
        self.log.append(LogEntry("subscribe", user, oaio_id, known.stamp))
        self._wake()
        return key

    def subscribers(self, user: str, oaio_id: OaioId) -> dict[str, Right]:
        known = self.objects.get(oaio_id)
        rights = known.rights if known is not None and user in known.rights else {}
        return {name: rights.get(name, Right.NONE) for name in self.users}

    def announced_versions(self, user: str, oaio_id: OaioId) -> tuple[RemoteObject, ...]:
        if not self.checks_base:
            raise errors.Unsupported("The server keeps no log of the versions that were announced.")
        known, right = self._visible(oaio_id, user)
        mine = [one for one in self.log if one.oaio_id == oaio_id and one.wire]
        began = max(number for number, one in enumerate(mine) if one.action == "register")
        wires: list[object] = [
            {
                **copied(one.wire),
                "csh_access_right": dialect.write_right(right),
                "lineage": list(known.lineages.get(one.stamp, ())),
            }
            for one in reversed(mine[began:])
        ]
        return read_versions(oaio_id, wires)

    def wipe_user(self, name: str) -> None:
        if name not in self.users:
            raise errors.RemoteNotFound(f"There is no user {name}.")
        del self.users[name]
        for oaio_id in [oaio_id for oaio_id, known in self.objects.items() if known.creator == name]:
            self._drop(oaio_id)
        self.left = {place: stamp for place, stamp in self.left.items() if place[1] != name}
        for rights in (*(known.rights for known in self.objects.values()), *self.held.values()):
            rights.pop(name, None)
        self._wake()

    async def new_listing(self, user: str, faults: Faults, seen: Listing, wait: float) -> Listing:
        """The listing once it is another than *seen*, or after so many seconds."""
        listing = self.listing(user, faults)
        with trio.move_on_after(min(wait, self.holds)):
            while listing == seen:
                await self._changed.wait()
                listing = self.listing(user, faults)
        return seen if listing == seen else listing

    def _wake(self) -> None:
        """Something may be new for those who wait."""
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def _drop(self, oaio_id: OaioId) -> None:
        self.held[oaio_id] = dict(self.objects.pop(oaio_id).rights)

    def _visible(self, oaio_id: OaioId, user: str) -> tuple[KnownObject, Right]:
        known = self.objects.get(oaio_id)
        if known is None or user not in known.rights:
            raise errors.RemoteNotFound("You have no such object.")
        return known, known.rights[user]

    def _wire_for(self, known: KnownObject, user: str) -> dict[str, Any]:
        right = dialect.write_right(known.rights[user])
        told: dict[str, Any] = {"server_stamp": known.stamp, "csh_access_right": right}
        if self.checks_base:
            told["lineage"] = list(known.lineages.get(known.stamp, ()))
        return {**copied(known.wire), **told}

    def _logged(self, action: str, user: str, wire: dict[str, Any]) -> None:
        self.log.append(LogEntry(action, user, wire["oaio_id"], wire["client_stamp"], copied(wire)))


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
        self._last_listing = Listing(())
        self._longest_hold = 0.0

    @property
    def checks_base(self) -> bool:
        return self.cloud.checks_base

    @property
    def longest_hold(self) -> float:
        return self._longest_hold

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
            self._longest_hold = self.cloud.holds
            listing = self.cloud.listing(self._user, self.faults)
            if listing != self._last_listing:
                self._last_listing = listing
            return self._last_listing

    async def next_listing(self, seen: Listing, wait: float) -> Listing:
        async with self._calling("next_listing"):
            wait = min(wait, self._longest_hold) if seen == self._last_listing else 0.0
            with trio.move_on_after(self.faults.cut_holds) as cut:
                self._last_listing = await self.cloud.new_listing(self._user, self.faults, seen, wait)
            if cut.cancelled_caught or self.faults.offline:
                raise errors.Unreachable("The connection was cut before the answer came.")
            return self._last_listing

    async def register(self, outgoing: Outgoing) -> RemoteObject:
        async with self._calling("register"):
            return self.cloud.register(self._user, self._wire(outgoing))

    async def upload(self, outgoing: Outgoing) -> RemoteObject:
        async with self._calling("upload"):
            return self.cloud.upload(self._user, self._wire(outgoing), outgoing.base, outgoing.merged)

    async def delete(self, oaio_id: OaioId, base: str = "") -> None:
        async with self._calling("delete"):
            self.cloud.delete(self._user, oaio_id, base)

    async def subscribe(self, oaio_id: OaioId, username: str, right: Right) -> int:
        async with self._calling("subscribe"):
            superuser = self.cloud.users[self._username].superuser
            return self.cloud.subscribe(self._user, oaio_id, username, right, superuser=superuser)

    async def subscribers(self, oaio_id: OaioId) -> dict[str, Right]:
        async with self._calling("subscribers"):
            return self.cloud.subscribers(self._user, oaio_id)

    async def announced_versions(self, oaio_id: OaioId) -> tuple[RemoteObject, ...]:
        async with self._calling("announced_versions"):
            return self.cloud.announced_versions(self._user, oaio_id)

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
        if self.faults.session_over:
            self.faults.session_over = False
            await self.faults.before("login")
        await self.faults.before(call)
        account = self.cloud.users.get(self._username)
        if account is None or account.password != self._password:
            raise errors.Unauthorized(f"The server does not accept this password for {self._username}.")
        if self._user != self._username and not (account.superuser and self._user in self.cloud.users):
            raise errors.Forbidden("Only a superuser acts for another user.")
        yield
        await self.faults.after(call)

    def _wire(self, outgoing: Outgoing) -> dict[str, Any]:
        return copied(
            dialect.write_object(outgoing, username=self._user, device_id=self._device_id, app_id=self._app_id)
        )
