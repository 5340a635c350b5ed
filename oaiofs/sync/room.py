"""How much room the storage host has left: asked for now and then, and more often while something waits for it.

Must not know what is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from ..core.model import Quota
from ..errors import OaiofsError
from .trouble import Troubles

log = logging.getLogger(__name__)

_EVERY = 600.0  # seconds
_EVERY_WAITING = 30.0  # while a full storage keeps something from being sent


class Room:
    """The storage's *quota* as last seen. *made* is called when there is more of it than before, and it was missed."""

    def __init__(
        self, ask: Callable[[], Awaitable[Quota]], online: Callable[[], bool], troubles: Troubles, poll: float
    ) -> None:
        self.quota = Quota()
        self.made: Callable[[], None] = lambda: None
        self._ask = ask
        self._online = online
        self._troubles = troubles
        self._poll = poll
        self._told = False
        self._failures = 0  # in a row
        self._missed = trio.Event()

    def missed(self) -> None:
        """Something did not fit."""
        self._missed.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        least: int | None = None  # bytes that were free since something waits
        while True:
            self._missed = trio.Event()
            waiting = self._troubles.waiting_for_room()
            if self._online():
                free = await self._look()
                if waiting and least is not None and free is not None and free > least:
                    self._troubles.room_was_made()
                    self.made()
                least = free if waiting else None
            with trio.move_on_after(self._wait(waiting)):
                await self._missed.wait()

    def _wait(self, waiting: bool) -> float:
        if not self._told:  # often at first, but a host that does not tell is not to cost a request at every poll
            return min(self._poll * 2.0 ** min(self._failures, 16), max(self._poll, _EVERY))
        return max(self._poll, _EVERY_WAITING) if waiting else _EVERY

    async def _look(self) -> int | None:
        """Bytes that are free, None where the host does not tell."""
        try:
            self.quota = await self._ask()
            self._told = True
        except OaiofsError as error:
            self._failures += 1
            log.info("the storage's room is not known: %s", error)
            return None
        return self.quota.total - self.quota.used if self.quota.total else None
