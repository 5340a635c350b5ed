"""Pinned files come to this machine by themselves: when they are pinned, and when a new version brings another content.

A loop of its own beside the others. It is rung like eviction is (``Store.stirred``), and looks again now and then while
something is missing: offline, or on a full disk, that is later. A few files at a time, so that programs that open files
need not wait for it. Must not know FUSE, nor how bytes come.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from ..cache import copies, pins
from ..cache.records import Node
from ..cache.store import Store
from ..core.eviction import NO_LIMITS, Limits, excess
from ..errors import NoSpace, OaiofsError, Unreachable
from .trouble import Troubles

log = logging.getLogger(__name__)

_PARALLEL = 2  # downloads at once: storage hosts like four, and programs want some too
_AT_ONCE = 200  # files that are looked for in one go
_COALESCE = 0.1  # seconds in which rings are one
_EVERY = 600.0  # seconds between two looks where nothing is missing
_AGAIN = 15.0  # seconds until it is tried again offline
_LEFT_FREE = 64 << 20  # bytes of the disk that are left to programs, whatever the limits say


class Pinning:
    """Fetches one store's pinned files. *hydrate* brings the bytes of an inode here; *online* whether that may work."""

    def __init__(
        self,
        store: Store,
        hydrate: Callable[[int], Awaitable[None]],
        limits: Limits = NO_LIMITS,
        *,
        online: Callable[[], bool] = lambda: True,
        announce: Callable[[int, str], None] = lambda parent, name: None,
    ) -> None:
        self.store = store
        self.trouble = Troubles()  # of inodes
        self._hydrate = hydrate
        self._limits = Limits(free=max(limits.free, _LEFT_FREE))
        self._online = online
        self._announce = announce
        self._bell = trio.Event()

    def ring(self) -> None:
        """Something may be missing now."""
        if self.store.pins or self.trouble.items():
            self._bell.set()

    def problem(self) -> str:
        """Why pinned files are not here, for the user; '' where they are, or on their way."""
        messages = [trouble.message for _, trouble in self.trouble.items()]
        more = f" ({len(messages) - 1} more like this)" if len(messages) > 1 else ""
        return f"pinned, but not here: {messages[0]}{more}" if messages else ""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        wait = 0.0
        while True:
            with trio.move_on_after(wait):
                await self._bell.wait()
                await trio.sleep(_COALESCE)
            self._bell = trio.Event()
            try:
                wait = await self._look()
            except (OaiofsError, OSError) as error:
                log.warning("pinned files could not be looked for: %s", error)
                wait = _AGAIN
            except Exception:
                log.exception("unexpected error in fetching pinned files")
                wait = _EVERY

    async def _look(self) -> float:
        """Fetch what can be had now; seconds until it makes sense to look again."""
        pins.tidy(self.store)
        self._forget_settled()
        due, more = await self._missing()
        if not self._online():
            return _AGAIN if due or more else _EVERY
        whole = await self._fetch_all(due)
        if more and whole:
            return 0.0
        return min((self.trouble.left(ino) for ino, _ in self.trouble.items()), default=_AGAIN if due else _EVERY)

    async def _missing(self) -> tuple[list[Node], bool]:
        """Missing files that may be tried now, not more than a few; and whether there are more of them."""
        due: list[Node] = []
        for some in copies.missing(self.store):
            due += [node for node in some if self.trouble.left(node.ino) <= 0]
            if len(due) >= _AT_ONCE:
                return due[:_AT_ONCE], True
            await trio.lowlevel.checkpoint()
        return due, False

    def _forget_settled(self) -> None:
        """Troubles of what is here by now, or not wanted any more."""
        for ino, _ in list(self.trouble.items()):
            node = self.store.find_node(int(ino))
            wanted = node is not None and not node.local
            if node is None or not wanted or not self._is_pinned(node):
                self.trouble.over(ino)

    def _is_pinned(self, node: Node) -> bool:
        return pins.is_pinned(self.store, node.object, self.store.path_in_object(node))

    async def _fetch_all(self, nodes: list[Node]) -> bool:
        """Whether all of them were tried."""
        queue = iter(nodes)
        whole = True

        async def work() -> None:
            nonlocal whole
            for node in queue:
                if not self._online() or not await self._fetch(node):
                    whole = False
                    return

        async with trio.open_nursery() as nursery:
            for _ in range(min(_PARALLEL, len(nodes))):
                nursery.start_soon(work)
        return whole

    async def _fetch(self, node: Node) -> bool:
        """Bring one file here; False where it makes no sense to go on with others just now."""
        try:
            if excess(self._limits, kept=0, free=self.store.state.room.free(), coming=node.size):
                raise NoSpace(f"this machine's disk has no room for {node.name} ({node.size} bytes)")
            await self._hydrate(node.ino)
        except (OaiofsError, OSError) as error:
            if self.store.find_node(node.ino) is None:
                return True  # replaced meanwhile: looked for anew
            log.info("%s is pinned, but could not be brought here: %s", node.name, error)
            self.trouble.failed(node.ino, error, str(error))
            return not isinstance(error, Unreachable)
        self.trouble.over(node.ino)
        self._announce(node.parent, node.name)  # it takes room on the disk now, which du is to see
        return True
