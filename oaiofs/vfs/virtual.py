"""The mount's own files: ``ROOT/.oaiofs/``, found by name, hidden from listings, read-only.

    status.json      what ``oaiofs status --json`` says
    conflicts.json   the conflicts that wait to be resolved
    by-id/OAIO_ID    symbolic links to the objects' directories

Must not know where the status comes from: it is handed in.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..cache.store import ROOT_INO, Store
from ..errors import NotFound
from .attributes import Attributes

FOLDER = ".oaiofs"
FOLDER_INO, STATUS_INO, CONFLICTS_INO, BY_ID_INO = 2, 3, 4, 5
_LINKS = 1 << 48  # inode of a by-id link: this plus the inode of its object's directory
_AFTER = 1 << 49  # from here on: ``history``
_LONGEST_NAME = 255


class OwnFiles:
    """What is in ``.oaiofs``. Contents are made anew at each open; the kernel keeps nothing of them."""

    def __init__(self, store: Store, contents: Mapping[str, Callable[[], Mapping[str, Any]]]) -> None:
        """*contents* gives for ``status.json`` and ``conflicts.json`` the object to show."""
        self.store = store
        self._contents = {STATUS_INO: contents["status.json"], CONFLICTS_INO: contents["conflicts.json"]}
        self._started = time.time_ns()

    @staticmethod
    def has(ino: int) -> bool:
        return FOLDER_INO <= ino <= BY_ID_INO or _LINKS <= ino < _AFTER

    @staticmethod
    def is_folder(ino: int) -> bool:
        return ino in (FOLDER_INO, BY_ID_INO)

    def lookup(self, parent: int, name: str) -> Attributes:
        """The entry *name* of one of the folders. Raises NotFound."""
        if parent == BY_ID_INO:
            record = self.store.record_of_id(name)
            if record is not None and not record.removed:
                return self.attributes(_LINKS + record.ino)
        for ino, own in self.entries(parent) if parent == FOLDER_INO else ():
            if own == name:
                return self.attributes(ino)
        raise NotFound(f"{name} does not exist")

    def entries(self, folder: int) -> Iterator[tuple[int, str]]:
        """(inode, name) of all entries of one of the folders."""
        if folder == FOLDER_INO:
            yield from ((STATUS_INO, "status.json"), (CONFLICTS_INO, "conflicts.json"), (BY_ID_INO, "by-id"))
        elif folder == BY_ID_INO:
            for head in list(self.store.heads.values()):
                oaio_id = self.store.record(head.key).oaio_id
                if oaio_id and "/" not in oaio_id and len(oaio_id.encode()) <= _LONGEST_NAME:
                    yield _LINKS + head.ino, oaio_id

    def attributes(self, ino: int) -> Attributes:
        if self.is_folder(ino):
            mode, size = stat.S_IFDIR | 0o555, 4096
        elif ino in self._contents:
            mode, size = stat.S_IFREG | 0o444, 0  # as in /proc: known when it is opened
        else:
            mode, size = stat.S_IFLNK | 0o777, len(self.target(ino).encode())
        now = self._started
        return Attributes(ino, mode, 1, os.getuid(), os.getgid(), size, now, now, now, timeout=0)

    def read(self, ino: int) -> bytes:
        return (json.dumps(self._contents[ino](), ensure_ascii=False, indent=2) + "\n").encode()

    def target(self, ino: int) -> str:
        """Where a by-id link points. Raises NotFound when the object has left."""
        head = self.store.by_ino.get(ino - _LINKS)
        if head is None:
            raise NotFound("this object is not in the mount any more")
        return f"../../{head.name}"


def is_own_name(parent: int, name: str) -> bool:
    return parent == ROOT_INO and name == FOLDER
