"""Names on disk, found whatever their case, at the price of one look-up in a dict.

Must not know accounts or the index. Works on plain folders of a case-sensitive file system; a folder's names are
remembered for as long as its mtime stands, and own changes are told by ``added`` and ``removed``.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

from .paths import fold

#: Folders remembered at most; the longest unused is forgotten first.
_MOST_FOLDERS = 256


class Names:
    """The names in all folders below one account's. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: OrderedDict[str, tuple[int, dict[str, str]]] = OrderedDict()

    def find(self, folder: str, name: str) -> str | None:
        """How *name*, in any case, is spelled in *folder*; None if it isn't there."""
        if os.path.lexists(os.path.join(folder, name)):
            return name
        with self._lock:
            found = self._names(folder).get(fold(name))
        return found if found is not None and os.path.lexists(os.path.join(folder, found)) else None

    def added(self, folder: str, name: str) -> None:
        with self._lock:
            remembered = self._folders.get(folder)
            if remembered is not None:
                remembered[1][fold(name)] = name
                self._folders[folder] = (os.stat(folder).st_mtime_ns, remembered[1])

    def removed(self, folder: str, name: str) -> None:
        """*name* is gone from *folder*, and all that was remembered below it."""
        with self._lock:
            remembered = self._folders.get(folder)
            if remembered is not None:
                remembered[1].pop(fold(name), None)
                self._folders[folder] = (os.stat(folder).st_mtime_ns, remembered[1])
            gone = os.path.join(folder, name)
            for path in [path for path in self._folders if path == gone or path.startswith(gone + os.sep)]:
                del self._folders[path]

    def _names(self, folder: str) -> dict[str, str]:
        # the time is taken before the names: a change in between makes them stale at once instead of wrong for long
        mtime_ns = os.stat(folder).st_mtime_ns
        remembered = self._folders.get(folder)
        if remembered is None or remembered[0] != mtime_ns:
            remembered = (mtime_ns, {fold(name): name for name in os.listdir(folder)})
            self._folders[folder] = remembered
        self._folders.move_to_end(folder)
        if len(self._folders) > _MOST_FOLDERS:
            self._folders.popitem(last=False)
        return remembered[1]
