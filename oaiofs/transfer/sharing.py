"""Who else may use an object: asked of the server and changed there, with what it said last remembered.

What is remembered lives as long as the process, and may be old: only the server's answer is true. Must not know who
asks, nor how it is shown.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping

import trio

from ..cache.records import ObjectRecord
from ..cache.store import Store
from ..core.model import OaioId, Right
from ..errors import (
    AccessDenied,
    Busy,
    NoAttribute,
    NotFound,
    NotKnownYet,
    OaiofsError,
    RemoteNotFound,
    Unreachable,
)
from ..remote.contract import OaioServer

log = logging.getLogger(__name__)

#: Seconds for which an answer is not asked for again, unless somebody waits for it.
_FRESH = 15.0
#: An id that no object has: of it a server tells all users, none with a right (PROTOCOL: ``user_subz``).
_NO_OBJECT = OaioId("-")


class Sharing:
    """One user's view of the subscriptions of one client root's objects."""

    def __init__(self, store: Store, server: OaioServer, username: str, offline: Callable[[], str] = str) -> None:
        """*offline* tells why the server can't be asked now, '' where it can."""
        self.store = store
        self.username = username
        self._server = server
        self._offline = offline
        self._seen: dict[int, tuple[float, Mapping[str, Right]]] = {}
        self._wanted: set[int] = set()
        self._changes: Counter[int] = Counter()  # made by this device, by object
        self._bell = trio.Event()

    async def run(self) -> None:
        """Ask for what ``seen`` could not tell, until cancelled."""
        while True:
            await self._bell.wait()
            self._bell = trio.Event()
            while self._wanted:
                key = self._wanted.pop()
                if key in self.store.heads and not self._offline():
                    try:
                        await self.users(key)
                    except Exception as error:  # who wants to know asks again, and whoever waits is told
                        log.log(logging.DEBUG if isinstance(error, OaiofsError) else logging.ERROR, "%s", error)

    # -- who may use it --------------------------------------------------------------------------------------

    async def everybody(self) -> list[str]:
        """The names of all users that the server tells, sorted. Raises RemoteError."""
        self._check_online()
        return sorted(await self._server.subscribers(_NO_OBJECT))

    async def users(self, key: int) -> Mapping[str, Right]:
        """The users of an object with their rights. Raises RemoteError, and Busy for one not registered yet."""
        record = self.store.record(key)
        oaio_id = self._registered(record)
        self._check_online()
        while True:
            changes = self._changes[key]
            told = await self._server.subscribers(oaio_id)
            if changes == self._changes[key]:
                break  # else it may be the answer of before
        rights = {user: right for user, right in told.items() if right.may_read}
        self._seen[key] = trio.current_time(), rights
        return rights

    def seen(self, key: int, user: str) -> Right:
        """The right of *user* as last seen; asks nobody, but has the server asked where that was long ago.

        Raises NotKnownYet where it was never asked, Unreachable where it can't be.
        """
        record = self.store.record(key)
        if user == self.username:
            return record.right
        if record.oaio_id is None or record.base_stamp is None:
            return Right.NONE  # of an object that the server does not know
        asked = self._seen.get(key)
        if asked is None or trio.current_time() - asked[0] > _FRESH:
            self._wanted.add(key)
            self._bell.set()
        if asked is not None:
            return asked[1].get(user, Right.NONE)
        self._check_online()
        raise NotKnownYet(f"who may use {record.name} is being asked of the server: look again in a moment")

    # -- changing it -----------------------------------------------------------------------------------------

    async def share(self, key: int, user: str, right: Right) -> None:
        """Give *user* this right on the object, or with NONE take it away (``unshare``).

        Raises AccessDenied without right C, Busy for an object not registered yet, NotFound for a user that the server
        does not know, RemoteError.
        """
        if right is Right.NONE:
            await self.unshare(key, user)
            return
        record = self.store.record(key)
        if not record.right.may_share:
            raise AccessDenied(f"sharing {record.name} needs right C, and you have {record.right.value}: ask its owner")
        oaio_id = self._registered(record)
        self._check_online()
        try:
            await self._server.subscribe(oaio_id, user, right)
        except RemoteNotFound:
            if user in await self._server.subscribers(oaio_id):
                raise
            raise NotFound(
                f"the server knows no user {user}, or not for you: `oaiofs users` tells whom it knows"
            ) from None
        self._note(key, user, right)

    async def unshare(self, key: int, user: str) -> None:
        """End *user*'s subscription; everybody may end the own one.

        Raises NoAttribute where there is none, and otherwise as ``share`` does.
        """
        record = self.store.record(key)
        if not record.right.may_share and user != self.username:
            raise AccessDenied(
                f"taking {record.name} away from others needs right C, and you have {record.right.value}: ask its owner"
            )
        oaio_id = self._registered(record)
        if user not in await self.users(key):
            raise NoAttribute(f"{user} has no right on {record.name}")
        await self._server.subscribe(oaio_id, user, Right.NONE)
        self._note(key, user, Right.NONE)

    def _note(self, key: int, user: str, right: Right) -> None:
        self._changes[key] += 1
        asked = self._seen.get(key)
        if asked is not None:
            rights = {name: known for name, known in asked[1].items() if name != user}
            self._seen[key] = asked[0], {**rights, user: right} if right.may_read else rights
        else:
            self._wanted.add(key)
            self._bell.set()

    def _check_online(self) -> None:
        if why := self._offline():
            raise Unreachable(f"only the server knows who may use what, and it can't be reached: {why}")

    @staticmethod
    def _registered(record: ObjectRecord) -> OaioId:
        if record.oaio_id is None or record.base_stamp is None:
            raise Busy(f"{record.name} is not on the servers yet: `oaiofs sync` sends it, then it can be shared")
        return record.oaio_id
