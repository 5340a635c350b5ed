"""Which files programs have open, and when each was last used: what eviction goes by.

Openings are noted in memory and brought into the rows now and then (``flush``), never one by one: a kill forgets the
last of them, which makes these files look as old as they were before. Must not know what is done with it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .state import State

#: Rows changed in one go: about a millisecond.
_AT_ONCE = 100


class Uses:
    """The uses of one client root's files by inode. *wall_clock* in seconds."""

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._open: Counter[int] = Counter()
        self._noted: dict[int, int] = {}
        self.missed: set[tuple[int, str]] = set()  # (object, stamp) of versions of which the host lacked a file

    def opened(self, ino: int) -> None:
        """A program has the file open, or waits for it to be."""
        self._open[ino] += 1
        self._noted[ino] = int(self._wall_clock())

    def closed(self, ino: int) -> None:
        """One of those who had it open let go."""
        self._noted[ino] = int(self._wall_clock())
        self._open[ino] -= 1
        if self._open[ino] <= 0:
            del self._open[ino]

    def noted(self, ino: int) -> int | None:
        """When the file was used last, in wall-clock seconds; None where its row knows that."""
        return self._noted.get(ino)

    def is_open(self, ino: int) -> bool:
        return ino in self._open

    @contextmanager
    def waiting(self, ino: int) -> Iterator[None]:
        """Somebody waits for the file's bytes: they stay at least until the block has ended."""
        self.opened(ino)
        try:
            yield
        finally:
            self.closed(ino)

    def flush(self, state: State) -> bool:
        """Bring some of what was noted into the rows; True where there is more of it."""
        some = list(itertools.islice(self._noted.items(), _AT_ONCE))
        if not some:
            return False
        with state.transaction() as db:
            db.executemany("UPDATE node SET used = ? WHERE ino = ?", [(at, ino) for ino, at in some])
        for ino, at in some:
            if self._noted.get(ino) == at:
                del self._noted[ino]
        return bool(self._noted)
