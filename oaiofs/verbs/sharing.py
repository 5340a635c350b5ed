"""``users``, ``share`` and ``unshare``: who may use an object, asked of the server and changed there.

    {"word": ["notes", null], "user": "bob", "right": "U"}

Must not know the socket, the command line or FUSE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.model import Right
from ..errors import NotMounted, ReadOnly, UsageError
from ..transfer.sharing import Sharing
from .naming import object_of

if TYPE_CHECKING:
    from . import Place


async def users(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Who has which right on an object; without a *word* the names of all users that the server tells.

    Raises NotMounted where no server is to be asked, NotFound, UsageError, Busy for an object not registered yet,
    RemoteError.
    """
    sharing = _sharing(place)
    if arguments.get("word") is None:
        return {"users": [{"user": name} for name in await sharing.everybody()]}
    head = object_of(place.store, arguments["word"])
    rights = await sharing.users(head.key)
    told = [{"user": name, "right": rights[name].value, "me": name == sharing.username} for name in sorted(rights)]
    return {"object": head.name, "users": told}


async def share(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Give *user* the *right* on an object. Raises as ``users`` and ``Sharing.share`` do."""
    sharing, user = _sharing(place), _user(arguments)
    wanted = [right for right in Right if right.may_read and right.value == arguments.get("right")]
    if not wanted:
        raise UsageError("the right is r to read, U to change, D also to delete, C also to share")
    right = wanted[0]
    head = object_of(place.store, arguments.get("word"))
    _check_mount(place)
    await sharing.share(head.key, user, right)
    return {"object": head.name, "user": user, "right": right.value}


async def unshare(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Take the object away from *user*. Raises as ``users`` and ``Sharing.unshare`` do."""
    sharing, user = _sharing(place), _user(arguments)
    head = object_of(place.store, arguments.get("word"))
    _check_mount(place)
    await sharing.unshare(head.key, user)
    return {"object": head.name, "user": user}


def _sharing(place: Place) -> Sharing:
    if place.sharing is None:
        raise NotMounted("only the server knows who may use what, and it can't be asked here: mount it first")
    return place.sharing


def _check_mount(place: Place) -> None:
    if place.read_only:
        raise ReadOnly("this mount is read-only")


def _user(arguments: Mapping[str, Any]) -> str:
    user = arguments.get("user")
    if not isinstance(user, str) or not user.strip():
        raise UsageError("say which user is meant")
    return user


VERBS = {"users": users, "share": share, "unshare": unshare}
