"""Work on plain files: drafts, clones, durable folders, and what the system's errors mean to a storage host.

Must not know accounts, the index or HTTP.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader

_CHUNK = 1024 * 1024
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
#: No hard link here: another file system, too many links, or a file system without them.
_NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


class StorageError(Exception):
    """A refusal in the storage host's own words: *code* is one of the API's error codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Draft:
    """A new file, whole and durable, that has no place yet."""

    path: str
    size: int
    md5: str


class DraftWriter:
    """Takes a new file's bytes in *spool*; what is not finished is gone after the ``with`` block."""

    def __init__(self, spool: str) -> None:
        self._path = os.path.join(spool, f"put-{uuid.uuid4()}")
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0

    def __enter__(self) -> DraftWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._fd)
        with contextlib.suppress(FileNotFoundError):  # a put has given it its place
            os.unlink(self._path)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self._md5.update(data)
        self._size += len(data)

    def finish(self) -> Draft:
        os.fsync(self._fd)
        return Draft(self._path, self._size, self._md5.hexdigest())


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise the system's errors of everyday life as StorageError."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise StorageError("NotFound", "There is no file or folder at that path.") from None
    except FileExistsError:
        raise StorageError("AlreadyExists", "There is a file or folder of that name already.") from None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise StorageError("InvalidPath", "The path is too long or leads over a link.") from None
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError("QuotaExceeded", "The server's disk is full.") from error
        raise


def open_file(path: str) -> BufferedReader:
    """The plain file's bytes; a link is refused with ELOOP."""
    return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def md5_of(path: str) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def clone(source: str, target: str) -> None:
    """Make *target* the same as *source*, file or folder with all below it, without doubling bytes where possible."""
    if not os.path.isdir(source):
        _link_or_copy(source, target)
        return
    waiting = [(source, target)]
    while waiting:
        old, new = waiting.pop()
        os.mkdir(new, _FOLDER_MODE)
        with os.scandir(old) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, os.path.join(new, entry.name)))
                elif entry.is_file(follow_symlinks=False):
                    _link_or_copy(entry.path, os.path.join(new, entry.name))
        sync_folder(new)


def discard(path: str) -> None:
    """Remove *path*, file or folder, if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def sync_folder(path: str) -> None:
    """Make the names in the folder durable; a folder that is gone meanwhile needs that no more."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy(source, target)


def _copy(source: str, target: str) -> None:
    with (
        open_file(source) as reader,
        open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE), "wb") as writer,
    ):
        shutil.copyfileobj(reader, writer, _CHUNK)
        writer.flush()
        os.fsync(writer.fileno())
        status = os.fstat(reader.fileno())
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
