"""Telling the kernel what its caches must forget: names that mean something else now, bytes that turned out wrong.

Must not know why.
"""

from __future__ import annotations

import errno
import functools
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol

import pyfuse3
import trio

log = logging.getLogger(__name__)

#: Seconds that the end, or who waits for it, waits for the last one: the kernel needs none of them, unless a request
#: holds the directory; a machine that does much else may take some.
_TIMEOUT = 8.0


class Kernel(Protocol):
    """What of pyfuse3 reaches the kernel's caches. Both raise OSError, ENOENT for what is not in them."""

    def invalidate_entry(self, inode_p: Any, name: Any) -> None: ...
    def invalidate_inode(self, inode: Any, attr_only: bool = ...) -> None: ...


class Announcer:
    """Tells the kernel which names mean something else now.

    On a thread of its own: the kernel takes the directory's lock for it, which a request may hold that waits for us.
    """

    def __init__(self, kernel: Kernel = pyfuse3) -> None:
        self._kernel = kernel
        self._queue: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def __call__(self, parent: int, name: str) -> None:
        """Returns at once; while nothing is mounted nobody needs to know."""
        self._put(functools.partial(self._tell, parent, name))

    def drop_pages(self, ino: int) -> None:
        """Have the kernel forget what it holds of a file's bytes. Returns at once."""
        self._put(functools.partial(self._kernel.invalidate_inode, ino))

    async def heard(self) -> None:
        """Return when the kernel has heard all that was announced so far, or does not listen for a while."""
        heard = trio.Event()
        if self._put(functools.partial(trio.lowlevel.current_trio_token().run_sync_soon, heard.set)):
            with trio.move_on_after(_TIMEOUT):
                await heard.wait()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="announcer", daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """No more: the mount is going. Blocks for a while: for threads, while requests are still answered.

        False when the kernel keeps the last one waiting. Then the session must not be closed: the thread uses it.
        """
        self._stopping = True
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(_TIMEOUT)
        return self._thread is None or not self._thread.is_alive()

    def _put(self, step: Callable[[], object]) -> bool:
        """Whether *step* will be made."""
        if self._thread is None or self._stopping:
            return False
        self._queue.put(step)
        return True

    def _work(self) -> None:
        while (step := self._queue.get()) is not None and not self._stopping:
            try:
                step()
            except OSError as error:
                if error.errno != errno.ENOENT:  # not known to the kernel: nothing to forget
                    log.debug("announcing: %s", error)

    def _tell(self, parent: int, name: str) -> None:
        try:
            self._kernel.invalidate_entry(parent, name.encode())
        except FileNotFoundError:  # as of most names that are new; the directory is known all the same
            pass
        self._kernel.invalidate_inode(parent, attr_only=True)  # the directory's times
