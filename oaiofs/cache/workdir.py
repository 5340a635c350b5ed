"""The ordinary files and folders under the client root.

    objects/FOLDER/...   working copies, under the attached files' own names
    objects/FOLDER.json  what of their rows must outlive the state file (``labels``)
    damaged/STAMP/       state files that were set aside
    staging/             downloads and snapshots on their way, files removed a moment ago; emptied at each start
    detached/INO         bytes of a file whose name a remote version took while a program had it open
    versions/            contents of old versions that somebody looked at, a mere cache (see ``versions``)
    trash/ENTRY/...      what left the mount, with a note ENTRY.json beside it (see ``trash``)

Must not know the database. Paths are relative to the root, ``/`` between the parts. Functions that move content block
on the disk and belong into a thread; the others are single system calls.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from .room import is_full

log = logging.getLogger(__name__)

OBJECTS, STAGING, DETACHED, TRASH = "objects", "staging", "detached", "trash"
_FICLONE = 0x40049409  # linux/fs.h: share the blocks of another file
_CHUNK = 1 << 20


class Workdir:
    """The files of one client root."""

    def __init__(self, root: Path) -> None:
        self.root = os.fspath(root)
        for name in (OBJECTS, STAGING, DETACHED, TRASH):
            os.makedirs(os.path.join(self.root, name), mode=0o700, exist_ok=True)
        self._serials = itertools.count(time.time_ns())  # what an earlier process left may still be on its way
        self.give_up: Callable[[], bool] = lambda: False  # frees some room on a full disk

    def absolute(self, path: str) -> str:
        return f"{self.root}/{path}"

    def new_staging(self) -> str:
        """An unused relative path in the staging folder; from any thread."""
        return f"{STAGING}/{os.getpid()}-{next(self._serials)}"

    def clear_staging(self, keep: Collection[str] = ()) -> None:
        """Remove all but the relative paths *keep* from the staging folder."""
        with os.scandir(self.absolute(STAGING)) as entries:
            for entry in entries:
                if f"{STAGING}/{entry.name}" not in keep:
                    _remove_all(entry)

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

    def write_whole(self, path: str, data: bytes, mtime_ns: int, *, can_wait: bool = False) -> None:
        """Put *data* at *path* by temporary and rename, so that no reader sees a part.

        Unless it *can_wait*, in the room that is kept back on a full disk.
        """
        staged = self.stage(data, mtime_ns, can_wait=can_wait)
        try:
            os.rename(self.absolute(staged), self.absolute(path))
        except BaseException:
            self.remove(staged)
            raise

    def stage(self, data: bytes, mtime_ns: int, *, can_wait: bool = False) -> str:
        """Write *data* to a new file in the staging folder, on a full disk in the room kept back for it; its path."""
        staged = self.new_staging()
        try:
            self._write_new(staged, data, mtime_ns)
        except OSError as error:
            if can_wait or not (is_full(error) and self.give_up()):
                raise
            self._write_new(staged, data, mtime_ns)
        return staged

    def _write_new(self, path: str, data: bytes, mtime_ns: int) -> None:
        descriptor = os.open(self.absolute(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as stream:
                stream.write(data)
            os.utime(descriptor, ns=(mtime_ns, mtime_ns))
        except BaseException:
            os.unlink(self.absolute(path))
            raise
        finally:
            os.close(descriptor)

    def rename(self, source: str, target: str) -> tuple[Callable[[], None], Callable[[], None]]:
        """rename(2), for now: the answer is how to take it back and how to make it final.

        What stood at *target* is kept until then by another link to it, so that at no moment the name is free. Where
        the disk has no hard links it is not, and taking back brings only *source* back.
        """
        kept, folder = self._keep(target)
        old, new = self.absolute(source), self.absolute(target)
        try:
            os.rename(old, new)
        except BaseException:
            self._drop(kept)
            raise

        def undo() -> None:
            os.rename(new, old)
            if kept:
                os.rename(self.absolute(kept), new)
            elif folder is not None:
                os.mkdir(new, folder)

        return undo, lambda: self._drop(kept)

    def _keep(self, path: str) -> tuple[str, int | None]:
        """Another name for the file at *path*, '' for none; the mode of the empty folder there."""
        absolute = self.absolute(path)
        try:
            mode = os.lstat(absolute).st_mode
            if stat.S_ISDIR(mode):
                return "", stat.S_IMODE(mode)
            kept = self.new_staging()
            os.link(absolute, self.absolute(kept), follow_symlinks=False)
        except OSError:
            return "", None
        return kept, None

    def _drop(self, kept: str) -> None:
        if kept:
            os.unlink(self.absolute(kept))

    @contextlib.contextmanager
    def unnoticed(self, path: str) -> Iterator[None]:
        """The block takes bytes away from *path* or puts them there, and its folder's mtime tells nothing of it.

        For users nothing has changed in the folder: tar would say that it did while it was reading.
        """
        folder = os.path.dirname(self.absolute(path))
        before = os.stat(folder)
        try:
            yield
        finally:
            os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))

    def noticed(self, folder: str) -> None:
        """Something in *folder* has another name or content now, also where no byte of it is here: its mtime tells."""
        with contextlib.suppress(OSError):  # of a folder that is gone or somebody else's: nothing hangs on it
            os.utime(self.absolute(folder))

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


def is_text(name: str) -> bool:
    """False for a name on the disk that is no UTF-8: no row can hold it, nor could other devices be told of it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(path: str) -> str:
    """A path on the disk for people to read, whatever its bytes are."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _remove_all(entry: os.DirEntry[str]) -> None:
    """Remove a file, or a folder with all in it, following no link; what can't be removed is no more than left over."""
    try:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
    except (OSError, RecursionError) as error:
        log.warning("%s could not be removed, and is in nobody's way: %s", printable(entry.path), error)


def read_file(path: str, most: int = -1) -> bytes:
    """The bytes of the file at the absolute *path*, or the first so many: no link is followed, and nobody waited for.

    Raises OSError, also for what is no file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no file", path)
        return stream.read(most)


def md5_of(path: str) -> str:
    """Hex digest of the file at the absolute *path*. Blocks: for threads."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, _md5).hexdigest()


def md5_of_open(descriptor: int) -> str:
    """Likewise of an open file from its position on, which stays open. Blocks: for threads."""
    with open(descriptor, "rb", closefd=False) as stream:
        return hashlib.file_digest(stream, _md5).hexdigest()


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)  # the storage hosts' checksum


def snapshot(source: str, target: str, *, free: int) -> str:
    """Copy the file *source* to *target* (absolute paths), sharing blocks where the disk can; its md5. Blocks.

    Raises OSError (ENOSPC) where that takes more than *free* bytes.
    The copy's mtime is the source's, so that it can be told whether the source moved on meanwhile.
    """
    with open(source, "rb") as reader, open(target, "xb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:  # not this file system: EOPNOTSUPP, EXDEV, EINVAL, ENOTTY
            if os.fstat(reader.fileno()).st_size > free:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target) from None
            return copy_hashing(reader.fileno(), writer.fileno())
    return md5_of(target)


def copy_hashing(reader: int, writer: int) -> str:
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
