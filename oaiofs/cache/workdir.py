"""The ordinary files and folders under the client root.

    objects/FOLDER/...   working copies, under the attached files' own names
    staging/             downloads and snapshots on their way; emptied at each start
    detached/INO         bytes of a file whose name a remote version took while a program had it open
    trash/FOLDER/...     working copies of objects that left the mount

Must not know the database. Paths are relative to the root, ``/`` between the parts. Functions that move content block
on the disk and belong into a thread; the others are single system calls.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path

OBJECTS, STAGING, DETACHED, TRASH = "objects", "staging", "detached", "trash"
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file
_CHUNK = 1 << 20


class Workdir:
    """The files of one client root."""

    def __init__(self, root: Path) -> None:
        self.root = os.fspath(root)
        for name in (OBJECTS, STAGING, DETACHED, TRASH):
            os.makedirs(os.path.join(self.root, name), mode=0o700, exist_ok=True)
        self._serial = 0

    def absolute(self, path: str) -> str:
        return f"{self.root}/{path}"

    def new_staging(self) -> str:
        """An unused relative path in the staging folder."""
        self._serial += 1
        return f"{STAGING}/{os.getpid()}-{self._serial}"

    def clear_staging(self) -> None:
        for entry in os.scandir(self.absolute(STAGING)):
            os.unlink(entry.path)

    def inode(self, path: str) -> int | None:
        """st_ino of what stands at *path*, None where nothing does."""
        try:
            return os.lstat(self.absolute(path)).st_ino
        except (FileNotFoundError, NotADirectoryError):
            return None

    def stat(self, path: str) -> os.stat_result:
        return os.lstat(self.absolute(path))

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.absolute(path))

    def write_whole(self, path: str, data: bytes, mtime_ns: int) -> None:
        """Put *data* at *path* by temporary and rename, so that no reader sees a part."""
        temporary = self.absolute(self.new_staging())
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as stream:
                stream.write(data)
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
            os.rename(temporary, self.absolute(path))
        except BaseException:
            os.unlink(temporary)
            raise
        finally:
            os.close(descriptor)

    def move(self, source: str, target: str) -> None:
        """Rename within the client root, making *target*'s folders."""
        absolute = self.absolute(target)
        try:
            os.rename(self.absolute(source), absolute)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(absolute), mode=0o700, exist_ok=True)
            os.rename(self.absolute(source), absolute)

    def remove(self, path: str) -> None:
        """Remove a file or an empty folder; one already gone is success, a folder with something in it stays."""
        try:
            os.unlink(self.absolute(path))
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):
            try:
                os.rmdir(self.absolute(path))
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise


def md5_of(path: str) -> str:
    """Hex digest of the file at the absolute *path*. Blocks: for threads."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, _md5).hexdigest()


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)  # the storage hosts' checksum


def snapshot(source: str, target: str) -> str:
    """Copy the file *source* to *target* (absolute paths), sharing blocks where the disk can; its md5. Blocks.

    The copy's mtime is the source's, so that it can be told whether the source moved on meanwhile.
    """
    with open(source, "rb") as reader, open(target, "xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:  # not this file system: EOPNOTSUPP, EXDEV, EINVAL, ENOTTY
            return _copy_hashing(reader.fileno(), writer.fileno())
    return md5_of(target)


def _copy_hashing(reader: int, writer: int) -> str:
    digest = _md5()
    while chunk := os.read(reader, _CHUNK):
        digest.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(writer, view) :]
    return digest.hexdigest()


def sync_file(path: str) -> None:
    """Make the file at the absolute *path* and its name durable; one already gone is success. Blocks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(os.path.dirname(path))


def sync_folder(path: str) -> None:
    """Make the names in the absolute folder *path* durable. Blocks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
