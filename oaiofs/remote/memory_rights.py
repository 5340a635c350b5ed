"""The in-memory twin of the rights that a self-hosted server's users have on stored files.

The rules are the same (``core.storedfiles``), the bookkeeping is its own: the contract suite compares it with the real
one's. Unlike there, names are told apart by case, and a folder that somebody without rights filled is in nobody's way
when an object is registered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .. import errors
from ..core.model import OaioId, Right
from ..core.storedfiles import Doing, Level, Standing, Verdict, verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .memory import Cloud


class Gate(Protocol):
    """What one login may do with the paths below a storage's root folder."""

    def check(self, doing: Doing, path: str, taken: bool) -> None:
        """Raises Forbidden, RemoteNotFound; *taken*: there is a folder of that object already."""

    def shown(self, names: Iterable[str]) -> list[str]:
        """Those of the names in the root folder that the login may see."""


class OpenGate:
    """The login of the account itself, which may do everything."""

    def check(self, doing: Doing, path: str, taken: bool) -> None:
        pass

    def shown(self, names: Iterable[str]) -> list[str]:
        return list(names)


class UserGate:
    """A user's login."""

    def __init__(self, cloud: Cloud, user: str) -> None:
        self._cloud = cloud
        self._user = user

    def check(self, doing: Doing, path: str, taken: bool) -> None:
        name, *inner = path.split("/")
        version = inner[0] if inner else None
        standing = self._standing(name, version)
        is_known = name in self._cloud.objects or name in self._cloud.held
        if not is_known and not taken and doing in (Doing.WRITE, Doing.MAKE_FOLDER):
            self._cloud.held[OaioId(name)] = {self._user: Right.CREATE}
            standing = self._standing(name, version)
        refused = verdict(doing, Level.of(1 + len(inner)), standing)
        if refused is Verdict.HIDDEN:
            raise errors.RemoteNotFound(refused.value)
        if refused is not Verdict.ALLOWED:
            raise errors.Forbidden(refused.value)

    def shown(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self._standing(name, None).right.may_read]

    def _standing(self, name: str, version: str | None) -> Standing:
        oaio_id = OaioId(name)
        known, until = self._cloud.objects.get(oaio_id), self._cloud.left.get((oaio_id, self._user), "")
        log = {one.stamp for one in self._cloud.log if one.oaio_id == name} | ({known.stamp} if known else set())
        announced = bool(log) if version is None else version in log
        rights = known.rights if known else self._cloud.held.get(oaio_id, {})
        right = rights.get(self._user, Right.NONE)
        if announced and version is not None and version <= until:
            right = Right.READ
        own_newest = known is not None and version == known.stamp and known.wire["username"] == self._user
        return Standing(right, known is not None, announced, own_newest)
