"""What stat(2) says of each thing in the mount.

Must not know FUSE's types; ``fuse`` copies these fields into them. Timeouts are seconds for which the kernel may
answer by itself: long everywhere, because no inode changes but through the kernel itself and every name that comes to
mean something else is announced to it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import cachetools

from ..cache.records import Kind, Node
from ..cache.store import Head, Store

#: Seconds that the kernel may keep a name or attributes.
LONG = 3600.0
_WRITE_BITS = 0o222
_FOLDERS_KEPT = 1024
_TYPE = {Kind.FILE: stat.S_IFREG, Kind.DIRECTORY: stat.S_IFDIR, Kind.LINK: stat.S_IFLNK}


@dataclass(slots=True)
class Attributes:
    """stat(2) of one inode; times in nanoseconds, *size* in bytes, *blocks* of 512 bytes, None: as many as the size.

    ``du`` is to tell what is here: a placeholder takes one block. Never none: tar -S takes a file without any for one
    big hole, and would not read it. With more than none it asks lseek(2) where the data is, as cp does; that says that
    all of it is. Nor may a local file have none, as the kernel may hold bytes of it that are not here yet.
    """

    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    timeout: float = LONG
    blocks: int | None = None


class Listing(NamedTuple):
    """(inode, name) of all *entries* of a directory, and what tells of one of them without waiting for anything."""

    entries: list[tuple[int, str]]
    describe: Callable[[int, str], Attributes]


class Describer:
    """Builds attributes from the store's rows and the working copies."""

    def __init__(self, store: Store, *, read_only: bool) -> None:
        self.store = store
        self.read_only = read_only
        self.uid, self.gid = os.getuid(), os.getgid()
        self._folders: cachetools.LRUCache[int, Attributes] = cachetools.LRUCache(_FOLDERS_KEPT)  # as last described

    def may_write(self, head: Head) -> bool:
        return head.right.may_update and not self.read_only

    def head(self, head: Head) -> Attributes:
        """The directory of an object."""
        status = self.store.files.stat(self.store.folder_path(head.ino))
        return self._folder(head.ino, status, stat.S_IMODE(status.st_mode), writable=self.may_write(head))

    def node(self, node: Node) -> Attributes:
        """A file, folder or link below an object."""
        head = self.store.heads.get(node.object)
        writable = head is not None and self.may_write(head)
        if node.kind is Kind.DIRECTORY:
            status = self.store.files.stat(self.store.work_path(node))
            return self._folder(node.ino, status, node.mode, writable=writable)
        mode = _TYPE[node.kind] | (node.mode if writable else node.mode & ~_WRITE_BITS)
        if not node.local:
            time = node.mtime_ns
            return Attributes(node.ino, mode, 1, self.uid, self.gid, node.size, time, time, time, blocks=1)
        return self._file(node.ino, mode, self.store.files.stat(self.store.work_path(node)))

    def opened(self, ino: int, descriptor: int) -> Attributes:
        """A file that has lost its name and is still open."""
        status = os.fstat(descriptor)
        return replace(self._file(ino, status.st_mode, status), nlink=0)

    @staticmethod
    def _file(ino: int, mode: int, status: os.stat_result) -> Attributes:
        return Attributes(
            ino, mode, status.st_nlink, status.st_uid, status.st_gid, status.st_size, status.st_atime_ns,
            status.st_mtime_ns, status.st_ctime_ns, blocks=max(1, status.st_blocks),
        )  # fmt: skip

    def gone_folder(self, ino: int) -> Attributes | None:
        """A directory that is no more: a program may still be in it, as a shell that removes its own folder."""
        last = self._folders.get(ino)
        return None if last is None else replace(last, nlink=0)

    def _folder(self, ino: int, status: os.stat_result, mode: int, *, writable: bool) -> Attributes:
        mode = stat.S_IFDIR | (mode if writable else mode & ~_WRITE_BITS)
        mtime = status.st_mtime_ns  # also as ctime: the working copy's own changes with each download and eviction
        described = Attributes(ino, mode, 2, status.st_uid, status.st_gid, 4096, status.st_atime_ns, mtime, mtime)
        self._folders[ino] = described
        return described
