"""What is asked of an oaio server for one object, at the address that this server has for it.

The half-released model of the wire names the actions anew (``dialect.ACTIONS``), and a server of that age may have
renamed its addresses with them. Such a server answers 404, which elsewhere means that the object is gone: taken for
that, a deletion would seem done. So the first 404 is followed by a look at the address itself, which on a server that
has it answers GET. Must not know what the actions mean.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from .. import errors
from ..core import dialect
from .http import Answer

_NOT_FOUND = 404


class Actions:
    """One session's. *call* asks (method, path, what, …); *is_known* says that the server is surely a classic one."""

    def __init__(self, call: Callable[..., Awaitable[Answer]], is_known: Callable[[], bool]) -> None:
        self._call = call
        self._is_known = is_known
        self._renamed: bool | None = None

    async def ask(self, action: str, what: str, *, accept: Iterable[int] = (), **how: Any) -> Answer:
        """POST for the *action*. A 404 that is not in *accept* raises RemoteNotFound; else as *call*."""
        try:
            answer = await self._post(action, what, accept, how)
        except errors.RemoteNotFound:
            if not await self._is_renamed(action, what):
                raise
        else:
            if answer.status != _NOT_FOUND or not await self._is_renamed(action, what):
                return answer
        return await self._post(action, what, accept, how)

    async def _post(self, action: str, what: str, accept: Iterable[int], how: dict[str, Any]) -> Answer:
        name = dialect.ACTIONS[action] if self._renamed else action
        return await self._call("POST", f"{name}/", what, accept=accept, **how)

    async def _is_renamed(self, action: str, what: str) -> bool:
        """Whether it turns out now that the server has the newer addresses."""
        if self._renamed is not None or self._is_known():
            return False
        self._renamed = not await self._has(action, what) and await self._has(dialect.ACTIONS[action], what)
        return self._renamed

    async def _has(self, name: str, what: str) -> bool:
        answer = await self._call("GET", f"{name}/", what, accept=(_NOT_FOUND,))
        return answer.status != _NOT_FOUND
