"""Telling the kernel what its caches must forget: names that mean something else now, bytes that turned out wrong.

Must not know why.
"""

from __future__ import annotations

import errno
import logging
import queue
import threading

import pyfuse3
from pyfuse3 import FileNameT, InodeT

log = logging.getLogger(__name__)

_TIMEOUT = 2.0  # seconds that the end waits for the last one


class Announcer:
    """Tells the kernel which names mean something else now.

    On a thread of its own: the kernel takes the directory's lock for it, which a request may hold that waits for us.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[int, str | None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def __call__(self, parent: int, name: str) -> None:
        """Returns at once; while nothing is mounted nobody needs to know."""
        if self._thread is not None and not self._stopping:
            self._queue.put((parent, name))

    def drop_pages(self, ino: int) -> None:
        """Have the kernel forget what it holds of a file's bytes. Returns at once."""
        if self._thread is not None and not self._stopping:
            self._queue.put((ino, None))

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

    def _work(self) -> None:
        while (announcement := self._queue.get()) is not None and not self._stopping:
            ino, name = announcement
            try:
                if name is None:
                    pyfuse3.invalidate_inode(InodeT(ino))
                    continue
                pyfuse3.invalidate_entry(InodeT(ino), FileNameT(name.encode()))
                pyfuse3.invalidate_inode(InodeT(ino), attr_only=True)  # the directory's times
            except OSError as error:
                if error.errno != errno.ENOENT:  # not known to the kernel: nothing to forget
                    log.debug("announcing %r: %s", name or ino, error)
