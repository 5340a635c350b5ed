"""pyfuse3's requests in, ``vfs`` calls, pyfuse3's replies out. The one errno boundary.

Must not know what anything means: no rights, no states, no names of its own. In pyfuse3 any exception but FUSEError
ends the mount, so every handler goes through ``_answered``: an OaiofsError has its errno, an OSError its own, anything
else is a bug: logged, counted, EIO. There is no nursery below this module (it would hide an error in a group), and no
conditional ENOSYS (the kernel remembers it for good).
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

import pyfuse3
import trio
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FlagT,
    InodeT,
    ModeT,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
    XAttrNameT,
)

from ..callers import Callers
from ..core.model import Quota
from ..errors import InvalidName, NotFound, NotPermitted, OaiofsError
from ..vfs import Vfs
from ..vfs.access import is_access
from ..vfs.attributes import LONG, Attributes, Listing
from ..vfs.history import is_history

log = logging.getLogger(__name__)

_Handler = TypeVar("_Handler", bound=Callable[..., Awaitable[Any]])
_BLOCK = 4096
_NAME_MAX = 255
_QUIET = 0.05  # seconds without a write, after which the kernel has sent what it had


def _answered(handler: _Handler) -> _Handler:
    """Turn whatever the handler raises into the errno that the program is to see."""

    @functools.wraps(handler)
    async def answer(self: Operations, *arguments: Any) -> Any:
        try:
            return await handler(self, *arguments)
        except pyfuse3.FUSEError:
            raise
        except OaiofsError as error:
            log.debug("%s: %s", handler.__name__, error)
            raise pyfuse3.FUSEError(error.errno) from None
        except OSError as error:
            log.info("%s: %s", handler.__name__, error)
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from None
        except Exception:
            self.faults += 1
            log.exception("unexpected error in %s%r", handler.__name__, arguments[:2])
            raise pyfuse3.FUSEError(errno.EIO) from None

    return cast("_Handler", answer)


class Operations(pyfuse3.Operations):
    """One mount's handlers. *faults* counts the bugs that were answered with EIO."""

    supports_dot_lookup = False
    enable_writeback_cache = True  # safe because no inode ever changes but through the kernel
    enable_acl = False

    def __init__(self, vfs: Vfs) -> None:
        super().__init__()
        self.vfs = vfs
        self.faults = 0
        self.callers = Callers()
        self._writes_begun = self._writes_ended = 0
        self._listings: dict[int, tuple[int, Listing]] = {}
        self._next_listing = 1
        self._readers: dict[int, int] = {}  # handle whose reads may wait -> who opened it

    # -- names -----------------------------------------------------------------------------------------------

    @_answered
    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        text = _text(name)
        if is_history(parent_inode):
            with self.callers.waiting(ctx.pid):
                return _entry(await self.vfs.history.lookup(parent_inode, text))
        try:
            return _entry(self.vfs.lookup(parent_inode, text))
        except NotFound:
            if self.vfs.may_appear(parent_inode, text):
                raise
            missing = EntryAttributes()
            missing.st_ino = InodeT(0)  # a negative entry: the kernel need not ask again
            missing.entry_timeout = LONG
            return missing

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        """Nothing hangs on the kernel's references: nodes live in the database, open files in their handles."""

    @_answered
    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> EntryAttributes:
        return _entry(self.vfs.mkdir(parent_inode, _text(name), mode))

    @_answered
    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        self.vfs.rmdir(parent_inode, _text(name))

    @_answered
    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        self.vfs.unlink(parent_inode, _text(name))

    @_answered
    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        self.vfs.rename(parent_inode_old, _text(name_old), parent_inode_new, _text(name_new), flags)

    @_answered
    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        return _entry(self.vfs.symlink(parent_inode, _text(name), _text(target)))

    @_answered
    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        return FileNameT(os.fsencode(self.vfs.readlink(inode)))

    @_answered
    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        self.vfs.check_name(new_parent_inode, _text(new_name))
        raise NotPermitted("there are no hard links here")

    @_answered
    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        self.vfs.check_name(parent_inode, _text(name))
        if not stat.S_ISREG(mode):
            raise NotPermitted("there are no device nodes, pipes or sockets here")
        handle, attributes = self.vfs.create(parent_inode, _text(name), mode, ctx.uid, ctx.gid)
        self.vfs.files.release(handle)
        return _entry(attributes)

    # -- attributes ------------------------------------------------------------------------------------------

    @_answered
    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        if is_history(inode):
            with self.callers.waiting(ctx.pid):
                return _entry(await self._attributes(inode))
        return _entry(self.vfs.getattr(inode))

    async def _attributes(self, inode: int) -> Attributes:
        return await self.vfs.history.getattr(inode) if is_history(inode) else self.vfs.getattr(inode)

    @_answered
    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        if not self.vfs.exists(inode):
            # The kernel's late write-back of the times of a file that is gone: an error would be the next syncfs's.
            return _entry(Attributes(inode, stat.S_IFREG, 0, 0, 0, 0, 0, 0, 0, timeout=0))
        if fields.update_size:
            with self.callers.waiting(ctx.pid):
                await self.vfs.truncate(inode, attr.st_size, fh)
        if fields.update_mode:
            self.vfs.metadata.chmod(inode, attr.st_mode)
        if fields.update_uid or fields.update_gid:
            uid = attr.st_uid if fields.update_uid else -1
            gid = attr.st_gid if fields.update_gid else -1
            self.vfs.metadata.chown(inode, uid, gid)
        if fields.update_atime or fields.update_mtime:
            atime = attr.st_atime_ns if fields.update_atime else None
            mtime = attr.st_mtime_ns if fields.update_mtime else None
            self.vfs.metadata.set_times(inode, atime, mtime)
        return _entry(await self._attributes(inode))

    @_answered
    async def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:
        if not name.startswith(b"user."):  # security.capability is asked for again and again
            raise pyfuse3.FUSEError(errno.ENODATA)
        return self.vfs.metadata.getxattr(inode, _text(name))

    @_answered
    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        return [XAttrNameT(name.encode()) for name in self.vfs.metadata.listxattr(inode)]

    @_answered
    async def setxattr(self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext) -> None:
        if is_access(text := _text(name)):
            with self.callers.waiting(ctx.pid):
                await self.vfs.access.set(inode, text, value)
        else:
            self.vfs.metadata.setxattr(inode, text, value)

    @_answered
    async def removexattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> None:
        if is_access(text := _text(name)):
            with self.callers.waiting(ctx.pid):
                await self.vfs.access.remove(inode, text)
        else:
            self.vfs.metadata.removexattr(inode, text)

    @_answered
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        room = self.vfs.statfs()
        reply = StatvfsData()
        reply.f_namemax = _NAME_MAX
        reply.f_bsize = reply.f_frsize = _BLOCK
        if isinstance(room, Quota):
            reply.f_blocks = room.total // _BLOCK
            reply.f_bfree = reply.f_bavail = max(0, room.total - room.used) // _BLOCK
            return reply
        reply.f_bsize, reply.f_frsize = room.f_bsize, room.f_frsize
        reply.f_blocks, reply.f_bfree, reply.f_bavail = room.f_blocks, room.f_bfree, room.f_bavail
        reply.f_files, reply.f_ffree, reply.f_favail = room.f_files, room.f_ffree, room.f_favail
        return reply

    # -- directories -----------------------------------------------------------------------------------------

    @_answered
    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        if is_history(inode):
            with self.callers.waiting(ctx.pid):
                listing = await self.vfs.history.listing(inode)
        else:
            listing = self.vfs.listing(inode)
        handle = self._next_listing
        self._next_listing += 1
        self._listings[handle] = (inode, listing)
        return FileHandleT(handle)

    @_answered
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        _, listing = self._listings[fh]
        for index in range(start_id, len(listing.entries)):
            ino, name = listing.entries[index]
            try:  # as it is now: the kernel takes the name up with what it is told here, and believes that for long
                attributes = listing.describe(ino, name)
            except (OaiofsError, OSError):  # gone since the listing was made
                continue
            if not pyfuse3.readdir_reply(token, FileNameT(name.encode()), _entry(attributes), index + 1):
                return

    @_answered
    async def releasedir(self, fh: FileHandleT) -> None:
        self._listings.pop(fh, None)

    @_answered
    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        await self.vfs.sync_folder(self._listings[fh][0])

    # -- files -----------------------------------------------------------------------------------------------

    @_answered
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        with self.callers.waiting(ctx.pid):
            handle = await self.vfs.open(inode, flags)
        if self.vfs.files.may_wait(handle):
            self._readers[handle] = ctx.pid
        return self._opened(handle)

    def _opened(self, handle: int) -> FileInfo:
        direct = self.vfs.files.is_direct(handle)
        return FileInfo(fh=FileHandleT(handle), direct_io=direct, keep_cache=not direct)

    @_answered
    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        handle, attributes = self.vfs.create(parent_inode, _text(name), mode, ctx.uid, ctx.gid, flags)
        return self._opened(handle), _entry(attributes)

    @_answered
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        thread = self._readers.get(fh)
        if thread is None:
            return await self.vfs.files.read(fh, off, size)
        with self.callers.waiting(thread):  # pyfuse3 does not tell who reads: most often it is who opened
            return await self.vfs.files.read(fh, off, size)

    @_answered
    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        self._writes_begun += 1
        try:
            return await self.vfs.files.write(fh, off, buf)
        finally:
            self._writes_ended += 1

    async def written(self) -> None:
        """Return once no write of the kernel's is under way: syncfs(2) only begins those of a FUSE mount."""
        while True:
            ended = self._writes_ended
            await trio.sleep(_QUIET)
            if self._writes_begun == ended:
                return

    @_answered
    async def flush(self, fh: FileHandleT) -> None:
        self.vfs.files.flush(fh)

    @_answered
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        await self.vfs.files.fsync(fh)

    @_answered
    async def release(self, fh: FileHandleT) -> None:
        self._readers.pop(fh, None)
        self.vfs.files.release(fh)


def _text(name: bytes) -> str:
    """A name from the kernel; the wire carries text only, so names that are no UTF-8 are refused here."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise InvalidName("names must be UTF-8: other devices could not be told this one") from None


def _entry(attributes: Attributes) -> EntryAttributes:
    entry = EntryAttributes()
    entry.st_ino = InodeT(attributes.ino)
    entry.st_mode = ModeT(attributes.mode)
    entry.st_nlink = attributes.nlink
    entry.st_uid, entry.st_gid = attributes.uid, attributes.gid
    entry.st_size = attributes.size
    entry.st_blksize = _BLOCK
    entry.st_blocks = (attributes.size + 511) // 512 if attributes.blocks is None else attributes.blocks
    entry.st_atime_ns, entry.st_mtime_ns, entry.st_ctime_ns = (
        attributes.atime_ns,
        attributes.mtime_ns,
        attributes.ctime_ns,
    )
    entry.entry_timeout = entry.attr_timeout = attributes.timeout
    return entry
