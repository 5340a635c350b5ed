"""Room on this machine's disk: kept back for the moment when it is full, and looked for from then on.

On a full disk reading, removing and renaming must go on, and each of them needs rows. So blocks are reserved while
there are some: past the end of SQLite's write-ahead log, of its index and of the database (``Reserve``, taken up by
SQLite itself without anybody else being able to grab them first), and in a file of its own (the *ballast*) that is
given up for a small file that must be written (a sidecar) and for opening the database at the next start.

Must not know SQL, nor what is stored.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import struct
from pathlib import Path

from ..errors import NoSpace

log = logging.getLogger(__name__)

_MIB = 1 << 20
_LOG_ROOM, _INDEX_ROOM, _DATABASE_ROOM = 4 * _MIB, 64 << 10, 1 * _MIB
_BALLAST_BYTES = 1 * _MIB
_BALLAST = "reserve"
_SCARCE = 1 * _MIB  # bytes free below which the disk counts as full
_KEEP_SIZE = 1  # linux/falloc.h: reserve blocks past the end of the file, which stays where it is
#: SQLite, "WAL-mode File Format": mxFrame and nBackfill in the index, a frame's header in the log.
_FRAMES_AT, _BACKFILLED_AT, _FRAME_HEADER, _PAGE = 16, 96, 24, 4096
_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_full(error: BaseException) -> bool:
    """Whether *error* says that this machine's disk, or this user's quota on it, is used up."""
    return isinstance(error, NoSpace) or (isinstance(error, OSError) and error.errno in _FULL)


class Room:
    """The room of one client root. *full* from the first refusal until ``look`` finds room again."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._ballast = f"{self._root}/{_BALLAST}"
        self.full = False

    def refused(self) -> NoSpace:
        """Note that the disk took no more; the error for the user."""
        if not self.full:
            log.warning("%s", self.sentence())
        self.full = True
        return NoSpace(self.sentence())

    def sentence(self) -> str:
        return (
            f"this machine's disk is full (the one with {self._root}): delete something on it, in the mount or "
            "elsewhere; everything goes on by itself then"
        )

    def free(self) -> int:
        """Bytes that this user can still write to the disk; quotas are not seen here."""
        disk = os.statvfs(self._root)
        return disk.f_bavail * disk.f_frsize

    def is_used_up(self) -> bool:
        """Whether really nothing more can be written, quotas included: tries it."""
        return not self._allocate(f"{self._ballast}.try", _INDEX_ROOM, keep=False)

    def give_up(self) -> bool:
        """Free the ballast for something that must be written now; False when there is none left."""
        try:
            os.unlink(self._ballast)
        except OSError:
            return False
        return True

    def look(self) -> bool:
        """Make the ballast where it is missing; True when there is room. A few system calls."""
        if not self.full and os.path.exists(self._ballast):
            self.full = self.free() < _SCARCE
        else:
            self.full = not self._allocate(self._ballast, _BALLAST_BYTES, keep=True) or self.free() < _SCARCE
        return not self.full

    def _allocate(self, path: str, size: int, *, keep: bool) -> bool:
        """Whether so many bytes could be had; they are in a file at *path* then, if it is to *keep* them."""
        new = f"{path}.new"
        try:
            descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)
            if keep:
                os.rename(new, path)
                return True
        except OSError as error:
            log.debug("no room: %s", error)
            _unlink(new)
            return False
        _unlink(new)
        return True


class Reserve:
    """Blocks that the open database's files have beyond what they need now.

    Keeps a descriptor of each: closing one would drop the locks that SQLite holds on that file, so ``close`` comes
    after SQLite's.
    """

    def __init__(self, database: str) -> None:
        self._files = [os.open(database + end, os.O_RDWR | os.O_CLOEXEC) for end in ("", "-wal", "-shm")]
        self._able = True
        self.restore()

    def close(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)

    def is_low(self) -> bool:
        """Whether the log has less than half of its reserve left. Cheap: asked before every transaction."""
        return self._able and self._log_room() < _LOG_ROOM // 2

    def _log_room(self) -> int:
        """Bytes that the write-ahead log can take up without asking the disk for more."""
        return os.fstat(self._files[1]).st_blocks * 512 - self._log_used()

    def _log_used(self) -> int:
        index = self._files[2]
        (frames,) = struct.unpack("=I", os.pread(index, 4, _FRAMES_AT))
        (backfilled,) = struct.unpack("=I", os.pread(index, 4, _BACKFILLED_AT))
        return 0 if frames == backfilled else int(frames) * (_PAGE + _FRAME_HEADER)  # 0: the next one begins anew

    def restore(self) -> bool:
        """Fill the reserve up; False when there is no room for it."""
        if not self._able:
            return True
        used = (os.fstat(self._files[0]).st_size, self._log_used(), os.fstat(self._files[2]).st_size)
        rooms = (_DATABASE_ROOM, _LOG_ROOM, _INDEX_ROOM)
        try:
            for descriptor, start, room in zip(self._files, used, rooms, strict=True):
                _fallocate(descriptor, start, room)
        except OSError as error:
            if error.errno not in _FULL:
                log.debug("this file system can't reserve blocks: %s", error)
                self._able = False
            return not self._able
        return True


_libc = ctypes.CDLL(None, use_errno=True)


def _fallocate(descriptor: int, start: int, length: int) -> None:
    """Reserve blocks without making the file longer, which os.posix_fallocate can't. Raises OSError."""
    call = getattr(_libc, "fallocate64", None) or _libc.fallocate
    if call(descriptor, _KEEP_SIZE, ctypes.c_int64(start), ctypes.c_int64(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
