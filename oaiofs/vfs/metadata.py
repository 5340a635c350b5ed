"""Modes, owners, times and extended attributes: kept on this machine, in the working copy, but for ``user.oaio.*``.

Must not know names. The servers know none of these but a file's mtime, which goes with the next version.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from ..cache import tree
from ..cache.records import Kind, Node
from ..cache.store import ROOT_INO, Store
from ..errors import Unsupported
from .access import Access, is_access
from .attributes import Attributes
from .files import OpenFiles
from .history import refuse
from .rights import Rights
from .xattrs import PIN, Xattrs


class Metadata:
    """Reads and changes them; *getattr* tells what stat(2) says now."""

    def __init__(
        self,
        store: Store,
        rights: Rights,
        files: OpenFiles,
        getattr_: Callable[[int], Attributes],
        xattrs: Xattrs,
        access: Access,
    ) -> None:
        self._store = store
        self._rights = rights
        self._files = files
        self._getattr = getattr_
        self._xattrs = xattrs
        self._access = access

    def chmod(self, ino: int, mode: int) -> None:
        """Kept on this machine: the servers know no modes."""
        self._rights.check_own(ino)
        mode = stat.S_IMODE(mode)
        node = self._store.find_node(ino)
        if node is None:
            place = self._place(ino)
            os.chmod(place, mode | (0o700 if ino in self._store.by_ino else 0))
            return
        if node.local and node.kind is not Kind.LINK:
            os.chmod(self._store.absolute(node), mode | (0o700 if node.kind is Kind.DIRECTORY else 0o600))
        self._store.update_node(ino, mode=mode)

    def chown(self, ino: int, uid: int, gid: int) -> None:
        """As the system allows for the working copy; -1 leaves as is."""
        self._rights.check_own(ino)
        now = self._getattr(ino)
        if uid in (-1, now.uid) and gid in (-1, now.gid):
            return
        place = self._place(ino)
        os.chown(place, uid, gid, follow_symlinks=isinstance(place, int))

    def set_times(self, ino: int, atime_ns: int | None, mtime_ns: int | None) -> None:
        """Kept exactly; the mtime goes to the storage with the next version."""
        self._rights.check_own(ino)
        node = self._store.find_node(ino)
        if node is not None and not node.local:
            if mtime_ns is not None:
                self._store.update_node(ino, mtime_ns=mtime_ns)
            return
        now = self._getattr(ino)
        times = (now.atime_ns if atime_ns is None else atime_ns, now.mtime_ns if mtime_ns is None else mtime_ns)
        place = self._place(ino)
        os.utime(place, ns=times, follow_symlinks=isinstance(place, int))
        self._files.times_set(ino, times[1])
        if mtime_ns is not None:
            tree.note_mtime(self._store, ino, mtime_ns)

    def _place(self, ino: int) -> str | int:
        """What stands for the inode in the working copy: a path, or the descriptor of an unlinked open file."""
        if ino in self._store.by_ino:
            return self._store.files.absolute(self._store.folder_path(ino))
        node = self._rights.named(ino)
        descriptor = self._files.descriptor_of(ino) if node is None else None
        return self._store.absolute(node or self._store.node(ino)) if descriptor is None else descriptor

    def _subject(self, ino: int) -> tuple[int, Node | None]:
        head = self._store.by_ino.get(ino)
        if head is not None:
            return head.key, None
        if ino == ROOT_INO or self._rights.is_own(ino):
            raise Unsupported("the mount's own files have no attributes")
        node = self._store.node(ino)
        return node.object, node

    def getxattr(self, ino: int, name: str) -> bytes:
        if is_access(name):
            return self._access.get(ino, name)
        return self._xattrs.get(*self._subject(ino), name)

    def listxattr(self, ino: int) -> list[str]:
        if ino == ROOT_INO or self._rights.is_own(ino):
            return []
        return self._xattrs.names(*self._subject(ino))

    def setxattr(self, ino: int, name: str, value: bytes) -> None:
        refuse(ino)
        subject = self._subject(ino)
        if name != PIN:
            self._rights.check_writable(ino)
        self._xattrs.set(*subject, name, value)

    def removexattr(self, ino: int, name: str) -> None:
        refuse(ino)
        subject = self._subject(ino)
        if name != PIN:
            self._rights.check_writable(ino)
        self._xattrs.remove(*subject, name)
