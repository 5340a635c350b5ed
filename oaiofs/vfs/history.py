"""``OBJECT/.versions/STAMP/…``: every stored version, found by name, hidden from listings, read-only.

Lookups and listings below ``.versions`` may wait for the network (``transfer.history``), nothing else does; its own
entry is always there. Versions never change, so whatever is known of one the kernel may keep for long. Modes are those
of ordinary files, as in the snapshots of other file systems: a change is refused with EROFS whoever tries, and what is
copied out can be written.

Inodes are numbered as versions are met, for the mount's lifetime: a version's folder when it is listed, what is in it
in a block when that is known, in the order of the paths.
"""

from __future__ import annotations

import bisect
import os
import stat
from dataclasses import dataclass

import cachetools
import trio

from ..cache.store import Head, Store
from ..core import stamps
from ..core.history import StoredVersion
from ..core.model import Stamp
from ..core.names import VERSIONS_NAME, folders_of
from ..errors import IsADirectory, NotADirectory, NotFound, ReadOnly, Stale
from ..transfer.history import History
from .attributes import Attributes, Listing

#: Inode of an object's ``.versions``: this plus the inode of the object's directory. All from here on are below one.
_TOP = 1 << 49
_BELOW = 1 << 50
_FOLDER, _FILE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644
#: Files of all versions whose trees are kept; one that is not is made anew.
_MOST_KEPT = 100_000


def is_history(ino: int) -> bool:
    return ino >= _TOP


def top_ino(head: Head) -> int:
    """Inode of the object's ``.versions``."""
    return _TOP + head.ino


def refuse(*inos: int) -> None:
    """Raises ReadOnly where one of the inodes is in a ``.versions``, or is one."""
    if any(map(is_history, inos)):
        raise ReadOnly(f"{VERSIONS_NAME} shows stored versions and can only be read: copy out what you need")


@dataclass(frozen=True, slots=True)
class _Block:
    """Numbers from *start* on: of a version's folder alone (*paths* None), or of all *paths* in it, in their order."""

    start: int
    key: int
    stamp: Stamp
    paths: int | None = None  # the hash of the paths: those of a version never change


class _Tree:
    """One version as files and folders: *sizes* by path, None for folders; '' is the version's own folder."""

    def __init__(self, version: StoredVersion, sidecar: str, text: bytes | None) -> None:
        self.version = version
        self.sizes: dict[str, int | None] = {path: fact.size for path, fact in version.files.items()}
        self.text = text
        self.sidecar = sidecar
        if text is not None:
            self.sizes[sidecar] = len(text)
        for path in version.files:
            self.sizes.update(dict.fromkeys(folders_of(path)))
        self.paths = tuple(sorted(self.sizes))
        self.children: dict[str, list[str]] = {"": []}
        for path in self.paths:
            folder, _, name = path.rpartition("/")
            self.children.setdefault(folder, []).append(name)


def _grown(version: StoredVersion) -> _Tree:
    return _Tree(version, History.sidecar_name(version), History.values_text(version))


class VersionsTree:
    """The ``.versions`` of all objects of a mount."""

    def __init__(self, store: Store, source: History) -> None:
        self._store = store
        self._source = source
        self._blocks: list[_Block] = []  # by start
        self._folders: dict[tuple[int, Stamp], int] = {}
        self._contents: dict[tuple[int, Stamp], _Block] = {}
        self._next = _BELOW
        self._trees: cachetools.LRUCache[tuple[int, Stamp], _Tree] = cachetools.LRUCache(
            _MOST_KEPT, getsizeof=lambda tree: len(tree.paths) + 1
        )

    # -- without waiting -------------------------------------------------------------------------------------

    def is_name(self, parent: int, name: str) -> bool:
        """Whether the entry is an object's ``.versions``; not where one of an older oaiofs's time is a user's own."""
        return name == VERSIONS_NAME and parent in self._store.by_ino and self._store.child(parent, name) is None

    def top(self, parent: int) -> Attributes:
        """The ``.versions`` of the object whose directory is *parent*."""
        base = self._store.record(self._store.by_ino[parent].key).base_stamp
        return self._described(_TOP + parent, _FOLDER, 4096, 0 if base is None else stamps.to_ns(base))

    @staticmethod
    def _described(ino: int, mode: int, size: int, mtime_ns: int) -> Attributes:
        nlink = 2 if stat.S_ISDIR(mode) else 1
        return Attributes(ino, mode, nlink, os.getuid(), os.getgid(), size, mtime_ns, mtime_ns, mtime_ns)

    # -- which may wait --------------------------------------------------------------------------------------

    async def lookup(self, parent: int, name: str) -> Attributes:
        """The entry *name* of a ``.versions`` or something below. Raises NotFound, RemoteError."""
        if parent < _BELOW:
            head = self._head(parent)
            stamp = stamps.parse(name)
            if stamp is None or not await self._exists(head.key, stamp):
                raise NotFound(f"there is no version {name}")
            return self._folder(head.key, stamp)
        block, tree, path = await self._find(parent)
        path = f"{path}/{name}".lstrip("/")
        if path not in tree.sizes:
            raise NotFound(f"{name} does not exist in this version")
        return self._entry(block.key, block.stamp, tree, path)

    async def _exists(self, key: int, stamp: Stamp) -> bool:
        return any(one.stamp == stamp for one in await self._source.versions(key))

    async def getattr(self, ino: int) -> Attributes:
        if ino < _BELOW:
            return self.top(self._head(ino).ino)
        block = self._block(ino)
        if block.paths is None:
            return self._folder(block.key, block.stamp)
        _, tree, path = await self._find(ino)
        return self._entry(block.key, block.stamp, tree, path)

    async def listing(self, ino: int) -> Listing:
        """Everything in the directory, in a fixed order."""
        if ino < _BELOW:
            key = self._head(ino).key
            return Listing(
                [(self._folder_ino(key, one.stamp), one.stamp) for one in await self._source.versions(key)],
                lambda _, name: self._folder(key, Stamp(name)),
            )
        block, tree, path = await self._find(ino)
        if path not in tree.children:
            raise NotADirectory(f"{path} is no folder")
        start = self._numbers(block.key, block.stamp, tree)
        prefix = f"{path}/" if path else ""
        return Listing(
            [(start + _index(tree, prefix + name), name) for name in tree.children[path]],
            lambda ino, name: self._inside(ino, block.stamp, tree, prefix + name),
        )

    async def open(self, ino: int, flags: int) -> int:
        """A descriptor of a file's bytes, brought here where they are not yet."""
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            refuse(ino)
        block, tree, path = await self._find(ino)
        if tree.sizes.get(path) is None:
            raise IsADirectory(f"{path} is a folder")
        if path == tree.sidecar and tree.text is not None:
            return _in_memory(tree.text)
        return await self._source.open(block.key, tree.version, path)

    # -- inodes ----------------------------------------------------------------------------------------------

    def _head(self, ino: int) -> Head:
        head = self._store.by_ino.get(ino - _TOP)
        if head is None:
            raise Stale("the object that these versions were of was removed")
        return head

    def _folder(self, key: int, stamp: Stamp) -> Attributes:
        return self._described(self._folder_ino(key, stamp), _FOLDER, 4096, stamps.to_ns(stamp))

    def _entry(self, key: int, stamp: Stamp, tree: _Tree, path: str) -> Attributes:
        if not path:
            return self._folder(key, stamp)
        return self._inside(self._numbers(key, stamp, tree) + _index(tree, path), stamp, tree, path)

    def _inside(self, ino: int, stamp: Stamp, tree: _Tree, path: str) -> Attributes:
        size = tree.sizes[path]
        if size is None:
            return self._described(ino, _FOLDER, 4096, stamps.to_ns(stamp))
        fact = tree.version.files.get(path)
        return self._described(ino, _FILE, size, fact.mtime_ns if fact is not None else stamps.to_ns(stamp))

    def _folder_ino(self, key: int, stamp: Stamp) -> int:
        ino = self._folders.get((key, stamp))
        if ino is None:
            ino = self._folders[key, stamp] = self._new(_Block(self._next, key, stamp), 1)
        return ino

    def _numbers(self, key: int, stamp: Stamp, tree: _Tree) -> int:
        """The first number of what is in the version."""
        paths = hash(tree.paths)
        block = self._contents.get((key, stamp))
        if block is None or block.paths != paths:  # somebody changed what never changes
            block = self._contents[key, stamp] = _Block(self._next, key, stamp, paths)
            self._new(block, len(tree.paths))
        return block.start

    def _new(self, block: _Block, size: int) -> int:
        if size:
            self._blocks.append(block)
            self._next += size
        return block.start

    def _block(self, ino: int) -> _Block:
        at = bisect.bisect_right(self._blocks, ino, key=lambda block: block.start) - 1
        if at < 0 or ino >= self._next:
            raise Stale("this is no version's file")
        return self._blocks[at]

    async def _find(self, ino: int) -> tuple[_Block, _Tree, str]:
        """What the inode of a version's folder, or of something in it, stands for."""
        block = self._block(ino)
        tree = await self._tree(block.key, block.stamp)
        if block.paths is None:
            return block, tree, ""
        if block.paths != hash(tree.paths):
            raise Stale("this version's files are not what they were")
        return block, tree, tree.paths[ino - block.start]

    async def _tree(self, key: int, stamp: Stamp) -> _Tree:
        tree = self._trees.get((key, stamp))
        if tree is None:
            if key not in self._store.heads:
                raise Stale("the object that this version was of was removed")
            version = await self._source.version(key, stamp)
            tree = await trio.to_thread.run_sync(_grown, version)
            if len(tree.paths) < _MOST_KEPT:
                self._trees[key, stamp] = tree
        return tree


def _index(tree: _Tree, path: str) -> int:
    return bisect.bisect_left(tree.paths, path)


def _in_memory(data: bytes) -> int:
    """A descriptor of these bytes."""
    descriptor = os.memfd_create("values", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
