"""The mounted tree and what each operation in it means: the semantics table of the README, as code.

One directory per object, its values as a sidecar, its attached files as files. Must not know FUSE (``fuse`` translates
its requests and our errors), nor when anything reaches the servers (``sync`` is told by the store's doorbell). Only
``open``, ``read`` and ``truncate`` of a placeholder, ``history`` and changing ``access`` wait for the network. Nothing
that changes names does: the kernel holds their folder meanwhile, and whatever is announced to it would have to wait.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from ..cache import objects, trash, tree
from ..cache.records import Kind, Node, visible_names
from ..cache.room import is_full
from ..cache.store import ROOT_INO, Head, Store
from ..cache.workdir import OBJECTS, sync_folder
from ..core import names, sidecar
from ..core.model import Quota
from ..errors import (
    CrossesObjects,
    DirectoryNotEmpty,
    Exists,
    InvalidName,
    InvalidSidecar,
    IsADirectory,
    NotADirectory,
    NotFound,
    NotPermitted,
    OaiofsError,
    ReadOnly,
)
from ..transfer.history import History
from ..transfer.sharing import Sharing
from .access import Access
from .attributes import Attributes, Describer, Listing
from .files import OpenFiles
from .handles import Streams
from .history import VersionsTree, is_history, refuse, top_ino
from .metadata import Metadata
from .rights import Rights, check_name, check_object_name
from .virtual import FOLDER_INO, OwnFiles, is_own_name
from .xattrs import Xattrs

__all__ = ["Identity", "Outlook", "Vfs"]

_BLOCK = 4096
RENAME_NOREPLACE = 1


@dataclass(frozen=True, slots=True)
class Identity:
    """Who makes new objects here: what their records and ids say."""

    username: str
    device_id: str
    app_id: str
    csh_id: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the tree shows of the world outside it, handed in so that it need not know who knows."""

    hydrate: Callable[[int], Awaitable[None]]
    announce: Callable[[int, str], None]  # (parent inode, name) means something else now
    status: Callable[[], Mapping[str, Any]]
    conflicts: Callable[[], Mapping[str, Any]]
    state_of: Callable[[int], str]
    error_of: Callable[[int], str]
    quota: Callable[[], Quota]
    history: History
    sharing: Sharing
    stream: Streams


class Vfs:
    """The tree. Names are str, inodes and handles int; every refusal is an ``OaiofsError`` or an ``OSError``."""

    def __init__(self, store: Store, identity: Identity, outlook: Outlook, *, read_only: bool = False) -> None:
        self.store = store
        self.identity = identity
        self.read_only = read_only
        self._outlook = outlook
        self.describe = Describer(store, read_only=read_only)
        self.files = OpenFiles(store, outlook.hydrate, outlook.announce, identity.device_id, outlook.stream)
        self.own = OwnFiles(store, {"status.json": outlook.status, "conflicts.json": outlook.conflicts})
        self.history = VersionsTree(store, outlook.history)
        self.rights = Rights(store, self.own, read_only=read_only)
        xattrs = Xattrs(store, outlook.state_of, outlook.error_of)
        self.access = Access(store, outlook.sharing, read_only=read_only)
        self.metadata = Metadata(store, self.rights, self.files, self.getattr, xattrs, self.access)

    # -- looking ---------------------------------------------------------------------------------------------

    def lookup(self, parent: int, name: str) -> Attributes:
        """The entry *name* of a directory. Raises NotFound; ``may_appear`` tells for how long to believe that."""
        if is_own_name(parent, name):
            return self.own.attributes(FOLDER_INO)
        if self.history.is_name(parent, name):
            return self.history.top(parent)
        if self.own.has(parent):
            return self.own.lookup(parent, name)
        if parent == ROOT_INO:
            head = self.store.by_name.get(name)
            if head is None:
                raise NotFound(f"there is no object called {name}")
            return self.describe.head(head)
        node = self._child(parent, name)
        if node is None:
            raise NotFound(f"{name} does not exist")
        return self.describe.node(node)

    def may_appear(self, parent: int, name: str) -> bool:
        """True for a missing name that can come into being without the kernel hearing of it: a deleted sidecar's."""
        head = self.store.by_ino.get(parent)
        return self.own.has(parent) or (head is not None and name == head.sidecar)

    def _child(self, parent: int, name: str) -> Node | None:
        node = self.store.child(parent, name)
        if node is None:
            head = self.store.by_ino.get(parent)
            if head is not None and name == head.sidecar:
                return self._restored_sidecar(head)
            if head is None:
                self.store.node(parent)  # Stale, where the directory itself is gone
        return node

    def _restored_sidecar(self, head: Head) -> Node | None:
        """The sidecar when it is due again; on a full disk it is missing for now, and the rest goes on."""
        try:
            return objects.restore_sidecar(self.store, head)
        except (OaiofsError, OSError) as error:
            if not is_full(error):
                raise
            self.store.state.room.refused()
            return None

    def getattr(self, ino: int) -> Attributes:
        if ino == ROOT_INO:
            return self._root()
        if self.own.has(ino):
            return self.own.attributes(ino)
        head = self.store.by_ino.get(ino)
        if head is not None:
            return self.describe.head(head)
        node = self.rights.named(ino)
        descriptor = self.files.descriptor_of(ino) if node is None else None
        if descriptor is not None:
            return self.describe.opened(ino, descriptor)
        gone = self.describe.gone_folder(ino) if node is None else None
        return gone or self.describe.node(node or self.store.node(ino))

    def exists(self, ino: int) -> bool:
        """Whether the inode still stands for something: has a name, or is open."""
        known = ino == ROOT_INO or self.rights.is_own(ino) or ino in self.store.by_ino
        return known or self.rights.named(ino) is not None or self.files.descriptor_of(ino) is not None

    def _root(self) -> Attributes:
        status = os.stat(self.store.files.absolute(OBJECTS))
        mode = stat.S_IFDIR | (0o555 if self.read_only else 0o755)
        time = status.st_mtime_ns
        return Attributes(ROOT_INO, mode, 2, self.describe.uid, self.describe.gid, _BLOCK, time, time, time)

    def entries(self, ino: int) -> list[tuple[int, str]]:
        """(inode, name) of everything a listing of the directory shows, in a fixed order."""
        if ino == ROOT_INO:
            return visible_names(self.store.db)
        if self.own.is_folder(ino):
            return list(self.own.entries(ino))
        head = self.store.by_ino.get(ino)
        if head is not None:
            self._child(ino, head.sidecar)
        elif self.rights.named(ino) is None and self.describe.gone_folder(ino) is not None:
            return []
        elif self.store.node(ino).kind is not Kind.DIRECTORY:
            raise NotADirectory(f"{self.store.node(ino).name} is no folder")
        return sorted(((node.ino, node.name) for node in self.store.children(ino)), key=lambda entry: entry[1])

    def listing(self, ino: int) -> Listing:
        """What a program is told that lists the directory, one entry after the other, while names may change."""
        return Listing(self.entries(ino), functools.partial(self._listed, ino))

    def _listed(self, folder: int, ino: int, name: str) -> Attributes:
        """What the entry (*ino*, *name*) of an older listing of the folder is now; by name, whatever inode that has.

        Raises NotFound where the name is gone, also when what had it goes on under another one.
        """
        node = self.store.find_node(ino)
        if node is not None and (node.parent, node.name) == (folder, name):
            return self.getattr(ino)
        return self.lookup(folder, name)

    async def sync_folder(self, ino: int) -> None:
        """The names in the directory are on this machine's disk."""
        if is_history(ino):
            return
        folder = ROOT_INO if self.own.has(ino) else ino
        paths = self.store.names_to_sync(folder)

        def all_of_it() -> None:
            for path in paths:
                sync_folder(path)
            self.store.state.sync_to_disk()

        await trio.to_thread.run_sync(all_of_it)
        self.store.names_synced(folder, paths)

    def readlink(self, ino: int) -> str:
        if self.own.has(ino):
            return self.own.target(ino)
        return os.readlink(self.store.absolute(self.store.node(ino)))

    def check_name(self, parent: int, name: str) -> None:
        """Raises ReadOnly for a name that is an object's history, or in it."""
        refuse(parent, top_ino(self.store.by_ino[parent]) if self.history.is_name(parent, name) else parent)

    # -- objects ---------------------------------------------------------------------------------------------

    def mkdir(self, parent: int, name: str, mode: int) -> Attributes:
        """A new object in the root, a new folder anywhere else."""
        self.check_name(parent, name)
        if parent != ROOT_INO:
            head = self.rights.check_writable(parent)
            check_name(name)
            if parent == head.ino and name == head.sidecar:
                raise Exists(f"{name} shows the object's values and can't be a folder")
            return self.describe.node(tree.make_folder(self.store, parent, name, mode))
        if self.read_only:
            raise ReadOnly("this mount is read-only")
        check_object_name(name)
        if name in self.store.by_name:
            raise Exists(f"an object called {name} exists already")
        who = self.identity
        head = objects.create(
            self.store, name, csh_id=who.csh_id, username=who.username, device_id=who.device_id, app_id=who.app_id
        )
        return self.describe.head(head)

    def rmdir(self, parent: int, name: str) -> None:
        self.check_name(parent, name)
        if parent == ROOT_INO:
            self._remove_object(name)
            return
        self.rights.check_writable(parent)
        tree.remove_folder(self.store, self._existing(parent, name))

    def _remove_object(self, name: str) -> None:
        head = self.store.by_name.get(name)
        if head is None:
            raise NotFound(f"there is no object called {name}")
        if self.read_only:
            raise ReadOnly("this mount is read-only")
        trash.remove(self.store, head, even_full=not head.right.may_update)

    def _rename_object(self, old: str, new: str, *, replace: bool) -> None:
        head = self.store.by_name.get(old)
        if head is None:
            raise NotFound(f"there is no object called {old}")
        self.rights.check_writable(head.ino)
        check_object_name(new)
        if old == new:
            return
        if new in self.store.by_name:
            raise (DirectoryNotEmpty if replace else Exists)(f"another object is called {new}")
        objects.rename(self.store, head, new)
        self._outlook.announce(head.ino, head.sidecar)  # it shows the new name, under a new inode

    # -- names below objects ---------------------------------------------------------------------------------

    def _existing(self, parent: int, name: str) -> Node:
        node = self.store.child(parent, name)
        if node is None:
            raise NotFound(f"{name} does not exist")
        return node

    def create(
        self, parent: int, name: str, mode: int, uid: int, gid: int, flags: int = os.O_RDWR
    ) -> tuple[int, Attributes]:
        """A new file, opened; its handle and attributes."""
        self.check_name(parent, name)
        if parent == ROOT_INO:
            raise NotPermitted(f"{name}: objects are directories; make one with mkdir and put the file in it")
        self.rights.check_writable(parent)
        check_name(name)
        self._child(parent, name)  # a sidecar due to come back is there again
        node, descriptor = tree.create_file(self.store, parent, name, mode)
        if uid != self.describe.uid and self.describe.uid == 0:
            try:
                os.fchown(descriptor, uid, gid)
            except OSError:  # that user's quota is used up
                os.close(descriptor)
                tree.unlink(self.store, node)
                raise
        return self.files.add(node, descriptor, flags), self.describe.node(node)

    def symlink(self, parent: int, name: str, target: str) -> Attributes:
        """Only editors' lock links, which never leave this machine."""
        self.check_name(parent, name)
        if parent == ROOT_INO or not names.is_local_only(name, self.store.local_only):
            raise NotPermitted(f"{name}: objects hold files and folders, no links")
        self.rights.check_writable(parent)
        check_name(name)
        return self.describe.node(tree.make_link(self.store, parent, name, target))

    def unlink(self, parent: int, name: str) -> None:
        self.check_name(parent, name)
        if parent == ROOT_INO:
            raise IsADirectory(f"{name} is an object: remove it with rmdir")
        self.rights.check_writable(parent)
        tree.unlink(self.store, self._existing(parent, name))

    def rename(self, parent: int, name: str, new_parent: int, new_name: str, flags: int = 0) -> None:
        """rename(2), with RENAME_NOREPLACE. Raises CrossesObjects where programs are to copy instead."""
        self.check_name(parent, name)
        self.check_name(new_parent, new_name)
        if flags & ~RENAME_NOREPLACE:
            raise InvalidName("names can't be exchanged in one step here")
        replace = not flags & RENAME_NOREPLACE
        if parent == ROOT_INO and new_parent == ROOT_INO:
            self._rename_object(name, new_name, replace=replace)
            return
        if parent == ROOT_INO or (new_parent == ROOT_INO and self._existing(parent, name).kind is Kind.DIRECTORY):
            raise CrossesObjects("an object can't be moved into another one, nor a folder out of one, in one step")
        if new_parent == ROOT_INO:
            raise NotPermitted(f"{new_name}: objects are directories; make one with mkdir and put the file in it")
        self.rights.check_writable(parent)
        head = self.rights.check_writable(new_parent)
        check_name(new_name)
        node = self._existing(parent, name)
        if not replace and self._child(new_parent, new_name) is not None:
            raise Exists(f"{new_name} exists already")
        if new_parent == head.ino and new_name == head.sidecar and not self.store.is_sidecar(node):
            self._save_sidecar(node, head)
            return
        tree.rename(self.store, node, new_parent, new_name)

    def _save_sidecar(self, node: Node, head: Head) -> None:
        """A file renamed over the sidecar is the new sidecar if it holds values; else its text is kept as a draft.

        Raises CrossesObjects for one that is not here: programs copy it then, and wait for its bytes as they read it.
        """
        if node.kind is not Kind.FILE:
            raise NotPermitted(f"{head.sidecar} shows the object's values and can't be a folder or a link")
        if not node.local:
            sidecar.check_size(node.size)  # which would be downloaded for nothing
            raise CrossesObjects(f"{node.name} is not on this machine: copy it over {head.sidecar}")
        data = objects.sidecar_text(self.store, node)
        try:
            sidecar.parse(data)
        except InvalidSidecar as error:
            objects.put_draft(self.store, head, data, error)
            self._outlook.announce(head.ino, head.sidecar)
            raise
        tree.rename(self.store, node, head.ino, head.sidecar)
        objects.judge_sidecar(self.store, self.store.node(node.ino))
        if objects.refresh_sidecar(self.store, head.key):  # values that came in meanwhile are merged into it
            self._outlook.announce(head.ino, head.sidecar)
        if self.store.heads[head.key].name != head.name:
            self._outlook.announce(ROOT_INO, head.name)
            self._outlook.announce(ROOT_INO, self.store.heads[head.key].name)

    # -- open files ------------------------------------------------------------------------------------------

    async def open(self, ino: int, flags: int) -> int:
        """A handle of the file. Raises AccessDenied for writing with right r; whatever a download may raise."""
        if self.own.has(ino):
            if flags & os.O_ACCMODE != os.O_RDONLY:
                raise ReadOnly(".oaiofs is made by oaiofs and can only be read")
            return self.files.add_data(self.own.read(ino))
        if is_history(ino):
            return self.files.add_reading(ino, await self.history.open(ino, flags))
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            self.rights.check_writable(ino)
        return await self.files.open(ino, flags)

    async def truncate(self, ino: int, size: int, handle: int | None) -> None:
        refuse(ino)
        if handle is None:
            if self.store.find_node(ino) is not None:
                self.rights.check_writable(ino)
            elif self.files.descriptor_of(ino) is None:
                raise IsADirectory("only files have a length")
        await self.files.truncate(ino, size, handle)

    # -- the rest --------------------------------------------------------------------------------------------

    def statfs(self) -> os.statvfs_result | Quota:
        """The storage host's quota as last seen, or this machine's disk while it is not known."""
        quota = self._outlook.quota()
        return quota if quota.total else os.statvfs(self.store.files.root)
