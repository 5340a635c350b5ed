"""Open files: one descriptor per open, and what reading, writing and closing mean.

Must not know names: a file may be renamed, replaced or unlinked while it is open, and whatever happens to its name,
the handle keeps the bytes that it opened. O_APPEND is never used underneath: the kernel sends the offset.

The kernel's write-back cache takes writes before this machine's disk does. So that a full disk is told by write(2)
itself, files made or emptied only for writing bypass the cache while the disk is nearly full (*direct*). Those can't be
mapped into memory anyway, so that nothing breaks; others would keep their mtime, which then nobody tells the kernel.
Who writes in any other way hears of it at fsync or close. Then bytes are lost that the kernel still shows (``losses``):
when its last writer has gone the name gets a new inode, so that the kernel asks anew what it has.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Awaitable, Callable

import trio

from ..cache import apply, found, objects, rebuild, tree
from ..cache.records import DISPLACED, Kind, Node
from ..cache.room import is_full
from ..cache.store import ROOT_INO, Store
from ..cache.workdir import sync_folder
from ..errors import AccessDenied, InvalidSidecar, IsADirectory, OaiofsError, Stale
from .handles import Handle, OwnHandle, Streams, redirect
from .losses import Losses, Refusal, write_all

log = logging.getLogger(__name__)

#: Bytes from which a thread is cheaper than holding up the loop (a hop costs about 0.1 ms).
_IN_THREAD = 256 * 1024
#: Seconds for the kernel to see that a file was cut, before a read beyond its end is answered: where it still knows the
#: old length, it fills what is missing in an answer up with zeros, and gives them to the reader.
_CUT_SEEN = 0.1
#: Bytes free on this machine's disk below which it counts as nearly full.
_NEARLY_FULL = 128 << 20


class OpenFiles:
    """The table of handles. *hydrate* brings a placeholder's bytes here and returns when they are."""

    def __init__(
        self,
        store: Store,
        hydrate: Callable[[int], Awaitable[None]],
        announce: Callable[[int, str], None],
        device_id: str,
        stream: Streams,
    ) -> None:
        self.store = store
        self._hydrate = hydrate
        self._stream = stream
        self._announce = announce
        self._device_id = device_id
        self._handles: dict[int, Handle] = {}
        self._own: dict[int, OwnHandle] = {}
        self._by_ino: dict[int, list[Handle]] = {}
        self._mtimes: dict[int, int] = {}  # inodes written since their last flush -> the mtime that the kernel shows
        self._losses = Losses()
        self._cut: dict[int, float] = {}  # inodes cut while they are open -> when, in trio's time
        self._later: dict[int, bool] = {}  # inodes to look after once there is room -> whether to renumber them
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
        self.store.uses.opened(handle.ino)
        if handle.writable:
            self.store.writers[handle.ino] += 1
        return number

    def add(self, node: Node, descriptor: int, flags: int) -> int:
        """The handle of a file just created.

        Its writer is at it until the first flush: with the kernel's write-back cache no write need have come yet.
        """
        handle = Handle(node.ino, descriptor, writable=True, direct=self._goes_direct(flags))
        self._expect_flush(handle)
        return self._enter(handle)

    def add_reading(self, ino: int, descriptor: int) -> int:
        """The handle of a file that is no working copy and never changes, open for reading."""
        return self._enter(Handle(ino, descriptor, writable=False))

    def add_data(self, data: bytes) -> int:
        """The handle of one of the mount's own files, its content fixed now."""
        number = self._next
        self._next += 1
        self._own[number] = OwnHandle(data)
        return number

    def is_direct(self, number: int) -> bool:
        """Whether the kernel is to hand this handle's writes on at once, past its cache."""
        return number in self._own or self._handles[number].direct

    def may_wait(self, number: int) -> bool:
        """Whether a read through this handle may have to wait for the network."""
        return number not in self._own and self._handles[number].incoming is not None

    def _goes_direct(self, flags: int) -> bool:  # asked for files that are made or emptied
        return flags & os.O_ACCMODE == os.O_WRONLY and self.store.state.room.free() < _NEARLY_FULL

    # -- open, read, write -----------------------------------------------------------------------------------

    async def open(self, ino: int, flags: int) -> int:
        """Open the file; downloads a placeholder first, unless it is to be emptied, or can be read as it comes."""
        node = self.store.node(ino)
        if node.kind is not Kind.FILE:
            raise IsADirectory(f"{node.name} is no file")
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        if not node.local and flags & os.O_TRUNC:
            self._make_empty(node)
        elif not node.local:
            opened = None if writable else await self._stream(ino)
            if opened is not None:
                return self._enter(Handle(ino, opened[0], writable=False, incoming=opened[1]))
            await self._bring(node)
        node = self.store.node(ino)  # looked at anew: it may have been replaced while the bytes came
        mode = os.O_RDWR if writable else os.O_RDONLY  # never write-only: the kernel's cache reads through it
        descriptor = os.open(self.store.absolute(node), mode | os.O_NOFOLLOW | os.O_CLOEXEC)
        handle = Handle(ino, descriptor, writable, direct=bool(flags & os.O_TRUNC) and self._goes_direct(flags))
        number = self._enter(handle)
        if flags & os.O_TRUNC:
            try:
                self._set_length(handle, node, 0)
            except BaseException:
                self.release(number)
                raise
        return number

    async def _bring(self, node: Node) -> None:
        """Have the bytes here. Raises Stale for a file replaced meanwhile: the kernel opens what has the name then.

        Only once: so that is here before it is told.
        """
        try:
            await self._hydrate(node.ino)
        except Stale:
            while (now := self.store.child(node.parent, node.name)) and now.kind is Kind.FILE and not now.local:
                with contextlib.suppress(Stale):
                    await self._hydrate(now.ino)
            raise

    def _set_length(self, handle: Handle, node: Node | None, size: int) -> None:
        self._changing(handle, node)
        os.ftruncate(handle.descriptor, size)
        self._losses.cut(handle.ino, size)
        self._note_cut(handle.ino)

    def _note_cut(self, ino: int) -> None:
        if ino in self._by_ino:
            self._cut[ino] = trio.current_time()

    def _make_empty(self, node: Node) -> None:
        """A placeholder that is emptied needs no download."""
        place = self.store.work_path(node)
        found.set_aside(self.store, place)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(self.store.files.absolute(place), flags, 0o600)
        try:
            os.fchmod(descriptor, node.mode | 0o600)
            with self.store.state.transaction():
                self.store.update_node(node.ino, local=1, dirty=1)
                tree.mark_written(self.store, self.store.node(node.ino))
        except BaseException:
            self.store.files.remove(place)
            raise
        finally:
            os.close(descriptor)
        redirect(self._by_ino.get(node.ino, ()), self.store.files.absolute(place))
        self._note_cut(node.ino)

    async def read(self, number: int, offset: int, size: int) -> bytes:
        if number in self._own:
            return self._own[number].data[offset : offset + size]
        handle = self._handles[number]
        if handle.incoming is not None:
            await handle.incoming.ready(offset, size)
        descriptor = handle.descriptor
        if size < _IN_THREAD:
            data = os.pread(descriptor, size, offset)
        else:
            data = await trio.to_thread.run_sync(os.pread, descriptor, size, offset)
        if len(data) < size and handle.ino in self._cut:
            await trio.sleep_until(self._cut[handle.ino] + _CUT_SEEN)
        return data

    async def write(self, number: int, offset: int, data: bytes) -> int:
        handle = self._handles[number]
        if not handle.writable:
            raise AccessDenied("this file was not opened for writing")
        lost = self._losses.of(handle.ino)
        if lost is not None:
            raise lost.with_traceback(None)
        descriptor, error = handle.descriptor, None
        try:
            self._changing(handle, self.store.find_node(handle.ino))
            if len(data) < _IN_THREAD:
                taken, error = write_all(descriptor, data, offset)
            else:
                taken, error = await trio.to_thread.run_sync(write_all, descriptor, data, offset)
                # What was learnt of the file meanwhile, or told by its flush, is of the time before these bytes.
                self._changing(handle, self.store.find_node(handle.ino))
        except (OaiofsError, OSError) as refusal:  # the database, or of the descriptor
            return self._not_taken(handle, offset, 0, refusal)
        return taken if error is None else self._not_taken(handle, offset, taken, error)

    def _not_taken(self, handle: Handle, offset: int, taken: int, error: Refusal) -> int:
        """Part of a write was refused. The one who wrote is told, now or at the next flush or fsync of theirs."""
        if is_full(error):
            error = self.store.state.room.refused()
        else:
            log.error("writing to the working copy failed: %s", error)
        if all(one.direct for one in self._by_ino.get(handle.ino, ()) if one.writable):
            handle.refused = True
            if taken:
                return taken  # as write(2) does it: the next one is refused
            raise error
        self._losses.note(handle.ino, offset + taken, error)
        node = self.store.find_node(handle.ino)
        if node is not None:
            self._announce(node.parent, node.name)  # whoever asks for it once it is closed: not to be told from memory
        raise error

    def _changing(self, handle: Handle, node: Node | None) -> None:
        """Before any byte changes the database knows that it may have."""
        if handle.ino not in self._mtimes:
            status = os.fstat(handle.descriptor)
            self._mtimes[handle.ino] = status.st_mtime_ns
            self._losses.writing(handle.ino, status.st_size)
        self._expect_flush(handle)
        if node is not None:
            tree.mark_written(self.store, node)
        else:
            self.store.writes[handle.ino] += 1

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
            self._set_length(handle, self.store.find_node(ino), size)
            return
        node = self.store.node(ino)
        tree.mark_written(self.store, node)
        os.truncate(self.store.absolute(node), size)
        self._note_cut(ino)
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
        """close(2): the end of one program's writing; a sidecar is judged. Raises InvalidSidecar, NoSpace, OSError."""
        if number not in self._own:
            self._written(self._handles[number])

    def _written(self, handle: Handle) -> None:
        lost = self._losses.of(handle.ino)
        if handle.unflushed:
            handle.unflushed = False
            self._count_down(self.store.unflushed, handle.ino)
            self._keep_mtime(handle)
            self._end_of_writing(handle, whole=lost is None and not handle.refused)
        if lost is not None:
            raise lost.with_traceback(None)

    def _end_of_writing(self, handle: Handle, *, whole: bool) -> None:
        node = self.store.find_node(handle.ino)
        if node is None or node.object not in self.store.heads:
            return  # unlinked, or its object was removed
        if node.object in self.store.changes.objects:
            self.store.active(node.object)
        if self.store.is_sidecar(node) and not whole:
            objects.spoil(self.store, node.object)
        elif self.store.is_sidecar(node):
            self._judge(node, raising=True)

    def _keep_mtime(self, handle: Handle) -> None:
        """Have the file show the mtime that programs have seen.

        The kernel sends its mtime before a flush, but not where a write fell into the same tick of its clock as the
        mtime that it knew: then our own write left a later one here.
        """
        self._losses.flushed(handle.ino)
        shown = self._mtimes.pop(handle.ino, None)
        if shown is None:
            return
        now = os.fstat(handle.descriptor)
        if now.st_mtime_ns != shown:
            os.utime(handle.descriptor, ns=(now.st_atime_ns, shown))
            tree.note_mtime(self.store, handle.ino, shown)

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
        named = node is not None and node.parent != DISPLACED and node.object in self.store.heads
        folders = self.store.names_to_sync(node.parent) if node is not None and named else ()
        state = self.store.state

        def all_of_it(descriptor: int) -> None:
            os.fsync(descriptor)
            for folder in folders:
                sync_folder(folder)
            state.sync_to_disk()

        try:
            await trio.to_thread.run_sync(all_of_it, handle.descriptor)
        except OSError as error:
            if handle.writable:  # nobody knows which bytes are lost: none is cut off
                self._losses.note(handle.ino, os.fstat(handle.descriptor).st_size, error)
            raise
        if node is not None and folders:
            self.store.names_synced(node.parent, folders)
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
            self._cut.pop(handle.ino, None)
        self.store.uses.closed(handle.ino)
        if handle.writable:
            self._count_down(self.store.writers, handle.ino)
        try:
            self._written(handle)  # stores through mmap come after the last flush
        except (OaiofsError, OSError) as error:  # told at the close before, or noted as a draft: nobody is left to tell
            log.debug("after the last close: %s", error)
        finally:
            try:
                if handle.writable and not self.store.writers[handle.ino]:
                    self._last_writer_gone(handle)
            finally:
                os.close(handle.descriptor)
                if handle.incoming is not None:
                    handle.incoming.let_go()
                self.store.stirred()

    def _last_writer_gone(self, handle: Handle) -> None:
        lost = self._losses.settle(handle.ino, handle.descriptor)
        try:
            self._look_after(handle.ino, renumber=lost)
        except (OaiofsError, OSError) as error:
            if not is_full(error):
                raise
            self._later[handle.ino] = lost

    def _look_after(self, ino: int, *, renumber: bool) -> None:
        node = self.store.find_node(ino)
        if node is None:  # unlinked; or its object has left while its name was already another file's
            rebuild.let_go_detached(self.store, ino, written=bool(self.store.writes.pop(ino, 0)))
            return
        if node.parent == DISPLACED:
            for parent, name in apply.take_back(self.store, node, self._device_id):
                self._announce(parent, name)
        here = self.store.find_node(ino)
        if here is None:
            return
        if renumber:
            if not self.store.is_sidecar(here):  # that one is a draft now
                tree.mark_written(self.store, here)  # it was cut: what was sent of it meanwhile is not what is here
            here = self.store.renumber(here)
            self._announce(here.parent, here.name)
        if self.store.is_sidecar(here) and objects.refresh_sidecar(self.store, here.object):
            self._announce(here.parent, here.name)

    def catch_up(self) -> None:
        """There is room again: do what the last closes of files left undone."""
        for ino, renumber in list(self._later.items()):
            if ino not in self.store.writers:
                self._look_after(ino, renumber=renumber)
                del self._later[ino]

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
