"""Sharing by extended attributes: ``user.oaio.access.NAME`` of an object's directory is the right of the user NAME.

Reading tells what was last seen, and never waits. Setting and removing wait for the server, interruptibly: only it can
say that there is no such user, or that it refuses; what this machine knows (the own right) is refused at once. Must not
know who asks.
"""

from __future__ import annotations

from ..cache.store import Head, Store
from ..core.model import Right
from ..errors import InvalidName, NoAttribute, NotPermitted, ReadOnly
from ..transfer.sharing import Sharing
from .history import refuse

PREFIX = "user.oaio.access."


def is_access(name: str) -> bool:
    return name.startswith(PREFIX)


class Access:
    """Reads and changes the subscriptions of the objects in one mount."""

    def __init__(self, store: Store, sharing: Sharing, *, read_only: bool) -> None:
        self._store = store
        self._sharing = sharing
        self._read_only = read_only

    def get(self, ino: int, name: str) -> bytes:
        """The right as last seen: r, U, D or C.

        Raises NoAttribute where there is none and on what is no object, NotKnownYet where the server is only now being
        asked, Unreachable where it was never asked and can't be.
        """
        head = self._store.by_ino.get(ino)
        right = Right.NONE if head is None else self._sharing.seen(head.key, name.removeprefix(PREFIX))
        if right is Right.NONE:
            raise NoAttribute(f"there is no {name} here")
        return str(right.value).encode()

    async def set(self, ino: int, name: str, value: bytes) -> None:
        """Share the object, with x end that. Raises as ``Sharing.share`` does, InvalidName for another value."""
        head = self._object(ino)
        try:
            right = Right(value.strip(b"\0").decode())
        except ValueError:
            raise InvalidName(f"{name} is r to read, U to change, D also to delete, C also to share") from None
        await self._sharing.share(head.key, name.removeprefix(PREFIX), right)

    async def remove(self, ino: int, name: str) -> None:
        """End the user's subscription. Raises NoAttribute where there is none."""
        await self._sharing.unshare(self._object(ino).key, name.removeprefix(PREFIX))

    def _object(self, ino: int) -> Head:
        refuse(ino)
        head = self._store.by_ino.get(ino)
        if head is None:
            raise NotPermitted("objects are shared as a whole: set this on an object's directory")
        if self._read_only:
            raise ReadOnly("this mount is read-only")
        return head
