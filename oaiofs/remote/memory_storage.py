"""The in-memory twin of a storage host; passes the same contract suite as ``koofr``.

Behaves as the real ones do where that can matter to a caller: times are cut to milliseconds, folders outlive their
files, a put is whole or nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import trio

from .. import errors
from ..core.model import FileFact, FileSet, Quota
from ..core.storedfiles import Doing
from .bodies import Counted
from .faults import Faults
from .memory_rights import Gate, OpenGate
from .paths import checked_path, parent

if TYPE_CHECKING:
    from .contract import Chunks, Source

_CHUNK = 64 * 1024
_MILLISECOND_NS = 1_000_000
_WRONG_MD5 = "0" * 32


@dataclass(frozen=True, slots=True)
class StoredFile:
    content: bytes = field(repr=False)
    mtime_ns: int

    @property
    def fact(self) -> FileFact:
        return FileFact(len(self.content), hashlib.md5(self.content, usedforsecurity=False).hexdigest(), self.mtime_ns)


@dataclass(slots=True)
class StorageTree:
    """What one account stores, shared by all who open it; paths are relative to its top. *total* 0: no limit."""

    files: dict[str, StoredFile] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {""})
    total: int = 0

    @property
    def used(self) -> int:
        return sum(len(stored.content) for stored in self.files.values())

    def exists(self, path: str) -> bool:
        return path in self.files or path in self.folders

    def make_folder(self, path: str) -> None:
        """Make *path* and those above. Raises Protocol where one of them is a file."""
        while path:
            if path in self.files:
                raise errors.Protocol(f"{path} is a file on the storage host, not a folder.")
            self.folders.add(path)
            path = parent(path)

    def store(self, path: str, stored: StoredFile) -> None:
        """Raises StorageFull, or Protocol where *path* is a folder."""
        if path in self.folders:
            raise errors.Protocol(f"{path} is a folder on the storage host.")
        freed = len(self.files[path].content) if path in self.files else 0
        if self.total and self.used - freed + len(stored.content) > self.total:
            raise errors.StorageFull("The storage is full: remove something there.")
        self.make_folder(parent(path))
        self.files[path] = stored

    def below(self, folder: str) -> dict[str, StoredFile]:
        """The files below *folder* by their path relative to it."""
        prefix = f"{folder}/" if folder else ""
        return {path[len(prefix) :]: stored for path, stored in self.files.items() if path.startswith(prefix)}

    def remove(self, path: str) -> None:
        self.files = {name: file for name, file in self.files.items() if not _is_at_or_below(name, path)}
        self.folders = {name for name in self.folders if not _is_at_or_below(name, path)}

    def copy(self, source: str, target: str, mtime_ns: int | None) -> None:
        """Raises RemoteNotFound, RemoteExists, Protocol, StorageFull."""
        if not self.exists(source):
            raise errors.RemoteNotFound(f"There is no {source} on the storage host to copy.")
        if self.exists(target):
            raise errors.RemoteExists(f"The storage host has a {target} already.")
        if _is_at_or_below(target, source):
            raise errors.Protocol(f"{source} can't be copied into itself.")
        if source in self.files:
            stored = self.files[source]
            self.store(target, stored if mtime_ns is None else replace(stored, mtime_ns=_milliseconds(mtime_ns)))
            return
        self.make_folder(target)
        for folder in [name for name in self.folders if name.startswith(f"{source}/")]:
            self.make_folder(target + folder[len(source) :])
        for path, stored in self.below(source).items():
            self.store(f"{target}/{path}", stored)


class MemoryStorage:
    """``contract.StorageHost`` on a StorageTree, below *root_folder* of it, for a login that *gate* knows."""

    def __init__(
        self, tree: StorageTree, root_folder: str = "", faults: Faults | None = None, gate: Gate | None = None
    ) -> None:
        self.tree = tree
        self.faults = faults or Faults()
        self._gate = gate or OpenGate()
        self._prefix = f"{root_folder.strip('/')}/" if root_folder.strip("/") else ""

    async def list_tree(self, folder: str) -> FileSet:
        top = self._full(folder) if folder else self._prefix.rstrip("/")
        await self.faults.before("list_tree")
        self._check(Doing.READ, folder)
        if top not in self.tree.folders:
            raise errors.RemoteNotFound(f"There is no folder {folder} on the storage host.")
        below = self.tree.below(top)
        if not folder:
            names = set(self._gate.shown({path.partition("/")[0] for path in below}))
            below = {path: stored for path, stored in below.items() if path.partition("/")[0] in names}
        files = {path: self._told(below[path].fact) for path in self.faults.shown(list(below))}
        await self.faults.after("list_tree")
        return files

    async def list_folders(self, folder: str) -> tuple[str, ...]:
        top = self._full(folder) if folder else self._prefix.rstrip("/")
        await self.faults.before("list_folders")
        self._check(Doing.READ, folder)
        if top not in self.tree.folders:
            raise errors.RemoteNotFound(f"There is no folder {folder} on the storage host.")
        names = [path.rpartition("/")[2] for path in self.tree.folders if path and parent(path) == top]
        names = names if folder else self._gate.shown(names)
        await self.faults.after("list_folders")
        return tuple(sorted(set(self.faults.shown(names))))

    async def put(self, path: str, source: Source, size: int, mtime_ns: int) -> FileFact:
        target = self._full(path)
        await self.faults.before("put")
        self._check(Doing.WRITE, path)
        content = bytearray()
        async for chunk in source():
            content += chunk
        if len(content) != size:
            raise errors.Corrupt(f"{path} changed its size while it was being sent: it is sent again later.")
        if self.faults.half_sent:
            self.faults.half_sent -= 1
            self.faults.raised["put"] += 1
            raise errors.Unreachable("The connection was cut in the middle of the file.")
        self._check(Doing.WRITE, path)  # the right may have ended meanwhile
        stored = StoredFile(bytes(content), _milliseconds(mtime_ns))
        self.tree.store(target, stored)
        await self.faults.after("put")
        if self.faults.hashes == "wrong" or self.faults.sizes == "wrong":
            raise errors.Corrupt(f"The storage host stored other bytes of {path} than were sent: try again.")
        return self._told(stored.fact)

    def get(self, path: str, start: int = 0, length: int | None = None) -> AbstractAsyncContextManager[Chunks]:
        return self._get(path, start, length)

    @asynccontextmanager
    async def _get(self, path: str, start: int, length: int | None) -> AsyncIterator[Chunks]:
        target = self._full(path)
        await self.faults.before("get")
        self._check(Doing.READ, path)
        stored = self.tree.files.get(target)
        if stored is None:
            raise errors.RemoteNotFound(f"There is no {path} on the storage host.")
        if start > len(stored.content):
            raise errors.Corrupt(f"{path} has only {len(stored.content)} bytes: it was replaced meanwhile, look again.")
        part = stored.content[start:] if length is None else stored.content[start : start + length]
        async with aclosing(self._chunks(path, part)) as chunks:
            yield Counted(chunks, 0, len(part), path)
        await self.faults.after("get")

    async def copy(self, source: str, target: str, mtime_ns: int | None = None) -> None:
        source_path, target_path = self._full(source), self._full(target)
        await self.faults.before("copy")
        self._check(Doing.READ, source)
        self._check(Doing.WRITE, target)
        is_file = source_path in self.tree.files
        if self.faults.copies == "nothing" or (self.faults.copies == "files" and not is_file):
            raise errors.Unsupported(f"The storage host can't copy {source}.")
        self.tree.copy(source_path, target_path, mtime_ns)
        if self.faults.half_copied and not is_file:
            self.faults.half_copied -= 1
            self.faults.raised["copy"] += 1
            for path in list(self.tree.below(target_path))[1::2]:
                self.tree.remove(f"{target_path}/{path}")
            raise errors.Unreachable("The connection was cut in the middle of the copy.")
        await self.faults.after("copy")

    async def remove(self, path: str) -> None:
        target = self._full(path)
        await self.faults.before("remove")
        with contextlib.suppress(errors.RemoteNotFound):
            self._check(Doing.REMOVE, path)
            self.tree.remove(target)
        await self.faults.after("remove")

    async def quota(self) -> Quota:
        await self.faults.before("quota")
        quota = Quota(self.tree.total, self.tree.used)
        await self.faults.after("quota")
        return quota

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    def _check(self, doing: Doing, path: str) -> None:
        """Raises Forbidden, RemoteNotFound; on the way to the objects there is nothing to refuse."""
        if path:
            self._gate.check(doing, path, self.tree.exists(self._prefix + path.partition("/")[0]))

    def _full(self, path: str) -> str:
        return self._prefix + checked_path(path)

    def _told(self, fact: FileFact) -> FileFact:
        told = {"right": fact.md5, "none": "", "wrong": _WRONG_MD5}
        return replace(fact, md5=told[self.faults.hashes], size=fact.size + (self.faults.sizes == "wrong"))

    async def _chunks(self, path: str, content: bytes) -> AsyncGenerator[bytes, None]:
        if self.faults.flipped and content:
            content = bytes([content[0] ^ 0xFF]) + content[1:]
        end = len(content) if self.faults.cut_after is None else min(len(content), self.faults.cut_after)
        for start in range(0, end, _CHUNK):
            await trio.lowlevel.checkpoint()
            yield content[start : min(start + _CHUNK, end)]
        if end < len(content):
            raise errors.Corrupt(f"{path} ended {len(content) - end} bytes too early: try again.")


def _is_at_or_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _milliseconds(mtime_ns: int) -> int:
    return max(0, mtime_ns) // _MILLISECOND_NS * _MILLISECOND_NS
