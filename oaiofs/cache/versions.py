"""Contents of old versions that somebody looked at: a cache, ``versions/`` below the client root.

Clean data only, each file whole and under the name of its content: all of it may be removed at any time. What was used
last stays longest, within a bound. Must not know versions, nor where the bytes come from.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from typing import Final

from ..core.model import FileFact
from ..errors import NoSpace
from .store import Store
from .workdir import md5_of, snapshot, sync_file

VERSIONS: Final = "versions"
#: Bytes that are kept; a larger file has the cache to itself.
MOST_BYTES: Final = 512 << 20
_MD5_DIGITS = 32


def spoilt(root: str, *, deep: bool = False) -> list[str]:
    """Names in the cache of the client root *root* whose content is another one, *deep* by their hashes. Blocks."""
    place = f"{root}/{VERSIONS}"
    wrong = []
    for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
        what, _, size = name.rpartition("-")
        with contextlib.suppress(FileNotFoundError):  # let go meanwhile
            has_size = str(os.lstat(f"{place}/{name}").st_size) == size
            if not has_size or (deep and len(what) == _MD5_DIGITS and md5_of(f"{place}/{name}") != what):
                wrong.append(name)
    return wrong


def clear(root: str) -> None:
    """Let go of everything."""
    shutil.rmtree(f"{root}/{VERSIONS}", ignore_errors=True)


class VersionFiles:
    """The cache of one client root. *most* is its bound in bytes."""

    def __init__(self, store: Store, most: int = MOST_BYTES) -> None:
        self._store = store
        self._most = most

    def name(self, fact: FileFact, place: str) -> str:
        """What a content is called here: by its hash, so that versions share it, or else by where it is stored."""
        what = fact.md5 or hashlib.sha256(f"{place}\0{fact.mtime_ns}".encode()).hexdigest()
        return f"{what}-{fact.size}"

    def open(self, name: str) -> int | None:
        """A descriptor of the content for reading, None where it is not here."""
        try:
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if os.fstat(descriptor).st_size != int(name.rpartition("-")[2]):  # not ours, or cut by a power cut
            os.close(descriptor)
            self._drop(name)
            return None
        with contextlib.suppress(OSError):  # only for what is let go first
            os.utime(descriptor)
        return descriptor

    def put(self, staged: str, name: str) -> None:
        """Take a whole, verified file of the staging folder in."""
        os.makedirs(self._path(""), mode=0o700, exist_ok=True)
        os.rename(self._store.files.absolute(staged), self._path(name))

    def local_like(self, key: int, fact: FileFact) -> str:
        """The absolute path of a working copy of the object that should have these bytes, '' where there is none."""
        query = (
            "SELECT ino FROM node WHERE object = ? AND md5 = ? AND size = ? AND local AND NOT dirty AND parent > 0"
        )
        row = self._store.db.execute(query, (key, fact.md5, fact.size)).fetchone() if fact.md5 else None
        return "" if row is None else self._store.absolute(self._store.node(row[0]))

    def take_local(self, fact: FileFact, name: str, source: str, staged: str) -> None:
        """Copy the working copy *source* here by way of *staged*, if it has this content. Blocks: for threads."""
        target = self._store.files.absolute(staged)
        try:
            if snapshot(source, target, free=self._store.state.room.free()) == fact.md5:
                sync_file(target)  # after a power cut it would pass for whole
                self.put(staged, name)
        except OSError:
            return  # gone, being replaced, or a full disk: then it is downloaded, or refused for that
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target)

    def make_room(self, size: int) -> None:
        """Let go of what was used longest ago, until *size* more bytes fit. Blocks: for threads.

        Who has a file open keeps it. Raises NoSpace where the disk is too full.
        """
        kept = sorted(self._contents(), key=lambda entry: entry[1])
        total = sum(entry[2] for entry in kept)
        while kept and (total + size > self._most or size > self._store.state.room.free()):
            name, _, freed = kept.pop(0)
            self._drop(name)
            total -= freed
        if size > self._store.state.room.free():
            raise NoSpace(
                f"{size} bytes of an old version do not fit on this machine's disk: delete something on it, try again"
            )

    def _contents(self) -> list[tuple[str, float, int]]:
        """Name, time of last use and size of all that is here."""
        found = []
        try:
            for entry in os.scandir(self._path("")):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.name, status.st_mtime, status.st_size))
        except FileNotFoundError:
            pass
        return found

    def _drop(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._path(name))

    def _path(self, name: str) -> str:
        return self._store.files.absolute(f"{VERSIONS}/{name}").rstrip("/")
