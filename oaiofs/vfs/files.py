"""Open files: one descriptor per open, and what reading, writing and closing mean.

Must not know names: a file may be renamed, replaced or unlinked while it is open, and whatever happens to its name,
the handle keeps the bytes that it opened. O_APPEND is never used underneath: the kernel sends the offset.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from ..cache import apply, objects, tree
from ..cache.records import DISPLACED, Kind, Node
from ..cache.store import ROOT_INO, Store
from ..cache.workdir import sync_folder
from ..errors import AccessDenied, InvalidSidecar, IsADirectory, OaiofsError

log = logging.getLogger(__name__)

#: Bytes from which a thread is cheaper than holding up the loop (a hop costs about 0.1 ms).
_IN_THREAD = 256 * 1024


@dataclass(slots=True, eq=False)
class Handle:
    """One open(2) of a working copy; *unflushed* while its writes wait for a flush or fsync."""

    ino: int
    descriptor: int
    writable: bool
    unflushed: bool = False


@dataclass(slots=True, eq=False)
class OwnHandle:
    """One open(2) of one of the mount's own files, its content fixed then."""

    data: bytes


class OpenFiles:
    """The table of handles. *hydrate* brings a placeholder's bytes here and returns when they are."""

    def __init__(
        self,
        store: Store,
        hydrate: Callable[[int], Awaitable[None]],
        announce: Callable[[int, str], None],
        device_id: str,
    ) -> None:
        self.store = store
        self._hydrate = hydrate
        self._announce = announce
        self._device_id = device_id
        self._handles: dict[int, Handle] = {}
        self._own: dict[int, OwnHandle] = {}
        self._by_ino: dict[int, list[Handle]] = {}
        self._mtimes: dict[int, int] = {}  # inodes written since their last flush -> the mtime that the kernel shows
        self._next = 1

    # -- table -----------------------------------------------------------------------------------------------

    def descriptor_of(self, ino: int) -> int | None:
        """A descriptor of an open inode, preferably one that can write."""
        open_now = sorted(self._by_ino.get(ino, ()), key=lambda handle: not handle.writable)
        return open_now[0].descriptor if open_now else None

    def _enter(self, handle: Handle) -> int:
        number = self._next
        self._next += 1
        self._handles[number] = handle
        self._by_ino.setdefault(handle.ino, []).append(handle)
        if handle.writable:
            self.store.writers[handle.ino] += 1
        return number

    def add(self, node: Node, descriptor: int) -> int:
        """The handle of a file just created.

        Its writer is at it until the first flush: with the kernel's write-back cache no write need have come yet.
        """
        handle = Handle(node.ino, descriptor, writable=True)
        self._expect_flush(handle)
        return self._enter(handle)

    def add_data(self, data: bytes) -> int:
        """The handle of one of the mount's own files, its content fixed now."""
        number = self._next
        self._next += 1
        self._own[number] = OwnHandle(data)
        return number

    # -- open, read, write -----------------------------------------------------------------------------------

    async def open(self, ino: int, flags: int) -> int:
        """Open the file; downloads a placeholder first, unless it is to be emptied."""
        node = self.store.node(ino)
        if node.kind is not Kind.FILE:
            raise IsADirectory(f"{node.name} is no file")
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        if not node.local and flags & os.O_TRUNC:
            self._make_empty(node)
        elif not node.local:
            await self._hydrate(ino)
        node = self.store.node(ino)  # looked at anew: it may have been replaced while the bytes came
        mode = os.O_RDWR if writable else os.O_RDONLY  # never write-only: the kernel's cache reads through it
        descriptor = os.open(self.store.absolute(node), mode | os.O_NOFOLLOW | os.O_CLOEXEC)
        handle = Handle(ino, descriptor, writable)
        number = self._enter(handle)
        if flags & os.O_TRUNC:
            self._changing(handle, node)
            os.ftruncate(descriptor, 0)
        return number

    def _make_empty(self, node: Node) -> None:
        """A placeholder that is emptied needs no download."""
        descriptor = os.open(self.store.absolute(node), os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, node.mode | 0o600)
        os.close(descriptor)
        with self.store.state.transaction():
            self.store.update_node(node.ino, local=1, dirty=1)
            tree.mark_written(self.store, self.store.node(node.ino))

    async def read(self, number: int, offset: int, size: int) -> bytes:
        if number in self._own:
            return self._own[number].data[offset : offset + size]
        descriptor = self._handles[number].descriptor
        if size < _IN_THREAD:
            return os.pread(descriptor, size, offset)
        return await trio.to_thread.run_sync(os.pread, descriptor, size, offset)

    async def write(self, number: int, offset: int, data: bytes) -> int:
        handle = self._handles[number]
        if not handle.writable:
            raise AccessDenied("this file was not opened for writing")
        self._changing(handle, self.store.find_node(handle.ino))
        if len(data) < _IN_THREAD:
            return _write_all(handle.descriptor, data, offset)
        return await trio.to_thread.run_sync(_write_all, handle.descriptor, data, offset)

    def _changing(self, handle: Handle, node: Node | None) -> None:
        """Before any byte changes the database knows that it may have."""
        if handle.ino not in self._mtimes:
            self._mtimes[handle.ino] = os.fstat(handle.descriptor).st_mtime_ns
        self._expect_flush(handle)
        if node is not None:
            tree.mark_written(self.store, node)

    def _expect_flush(self, handle: Handle) -> None:
        if not handle.unflushed:
            handle.unflushed = True
            self.store.unflushed[handle.ino] += 1

    async def truncate(self, ino: int, size: int, number: int | None) -> None:
        """Give the file another length, through handle *number* or, with None, by its inode."""
        node = self.store.find_node(ino)
        if node is not None and not node.local:
            if size == 0:
                self._make_empty(node)
            else:
                await self._hydrate(ino)
        handle = self._handles[number] if number is not None else self._writer(ino)
        if handle is not None:
            self._changing(handle, self.store.find_node(ino))
            os.ftruncate(handle.descriptor, size)
            return
        node = self.store.node(ino)
        tree.mark_written(self.store, node)
        os.truncate(self.store.absolute(node), size)
        if self.store.is_sidecar(node):
            self._judge(node)

    def _writer(self, ino: int) -> Handle | None:
        return next((h for h in self._by_ino.get(ino, ()) if h.writable), None)

    def times_set(self, ino: int, mtime_ns: int) -> None:
        """The kernel tells the mtime that it shows: with its write-back cache that is its own, not our disk's."""
        if ino in self._mtimes:
            self._mtimes[ino] = mtime_ns

    # -- the end of writing ----------------------------------------------------------------------------------

    def flush(self, number: int) -> None:
        """close(2): the end of one program's writing; a sidecar is judged now. Raises InvalidSidecar."""
        if number not in self._own:
            self._written(self._handles[number])

    def _written(self, handle: Handle) -> None:
        if not handle.unflushed:
            return
        handle.unflushed = False
        self._count_down(self.store.unflushed, handle.ino)
        self._keep_mtime(handle)
        node = self.store.find_node(handle.ino)
        if node is None or node.object not in self.store.heads:
            return  # unlinked, or its object was removed
        if node.object in self.store.changes.objects:
            self.store.active(node.object)
        if self.store.is_sidecar(node):
            self._judge(node, raising=True)

    def _keep_mtime(self, handle: Handle) -> None:
        """Have the file show the mtime that programs have seen.

        The kernel sends its mtime before a flush, but not where a write fell into the same tick of its clock as the
        mtime that it knew: then our own write left a later one here.
        """
        shown = self._mtimes.pop(handle.ino, None)
        if shown is None:
            return
        now = os.fstat(handle.descriptor)
        if now.st_mtime_ns != shown:
            os.utime(handle.descriptor, ns=(now.st_atime_ns, shown))

    def _judge(self, node: Node, *, raising: bool = False) -> None:
        head = self.store.heads[node.object]
        try:
            objects.judge_sidecar(self.store, node)
        except InvalidSidecar:
            if raising:
                raise
            return
        renamed = self.store.heads[node.object].name
        if renamed != head.name:
            self._announce(ROOT_INO, head.name)
            self._announce(ROOT_INO, renamed)

    async def fsync(self, number: int) -> None:
        """Everything written so far is on this machine's disk, with its name and what the database knows of it."""
        handle = self._handles[number]
        node = self.store.find_node(handle.ino)
        folder = None if node is None else os.path.dirname(self.store.absolute(node))
        state = self.store.state

        def all_of_it(descriptor: int) -> None:
            os.fsync(descriptor)
            if folder is not None:
                sync_folder(folder)
            state.sync_to_disk()

        await trio.to_thread.run_sync(all_of_it, handle.descriptor)
        try:
            self._written(handle)
        except InvalidSidecar:
            self._expect_flush(handle)  # emacs ignores EINVAL of fsync, as pipes give it, and goes by close's
            raise

    def release(self, number: int) -> None:
        """The last close. Comes after close(2) returned: the name may already be another file's."""
        if self._own.pop(number, None) is not None:
            return
        handle = self._handles.pop(number)
        siblings = self._by_ino[handle.ino]
        siblings.remove(handle)
        if not siblings:
            del self._by_ino[handle.ino]
        if handle.writable:
            self._count_down(self.store.writers, handle.ino)
        try:
            self._written(handle)  # stores through mmap come after the last flush
        except OaiofsError:
            pass  # noted as a draft: nobody is left to tell
        finally:
            os.close(handle.descriptor)
            if handle.writable and not self.store.writers[handle.ino]:
                self._last_writer_gone(handle.ino)

    def _last_writer_gone(self, ino: int) -> None:
        node = self.store.find_node(ino)
        if node is None:
            self.store.writes.pop(ino, None)
        elif node.parent == DISPLACED:
            appeared = apply.take_back(self.store, node, self._device_id)
            if appeared is not None:
                self._announce(*appeared)
        elif self.store.is_sidecar(node) and objects.refresh_sidecar(self.store, node.object):
            self._announce(node.parent, node.name)

    @staticmethod
    def _count_down(counter: dict[int, int], ino: int) -> None:
        counter[ino] -= 1
        if counter[ino] <= 0:
            del counter[ino]

    def close_all(self) -> None:
        """The mount is gone: nobody can use these any more."""
        for number in list(self._handles):
            try:
                self.release(number)
            except (OaiofsError, OSError) as error:
                log.warning("closing an open file at the end: %s", error)


def _write_all(descriptor: int, data: bytes, offset: int) -> int:
    written = os.pwrite(descriptor, data, offset)
    while written < len(data):  # a full disk takes part of it first, and then says so
        written += os.pwrite(descriptor, memoryview(data)[written:], offset + written)
    return written

