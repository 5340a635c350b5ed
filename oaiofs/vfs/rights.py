"""Who may do what in the mount, and under which names.

Must not know what is then done. The servers hold the same line; here it is said at once, and to root too.
"""

from __future__ import annotations

from ..cache.records import Node
from ..cache.store import ROOT_INO, Head, Store
from ..core import names
from ..errors import AccessDenied, InvalidName, NameTooLong, NotPermitted, ReadOnly, Stale
from .history import is_history, refuse
from .virtual import OwnFiles

_LONGEST_NAME = 255


class Rights:
    """The rights of this mount's user on what is in it."""

    def __init__(self, store: Store, own: OwnFiles, *, read_only: bool) -> None:
        self._store = store
        self._own = own
        self._read_only = read_only

    def is_own(self, ino: int) -> bool:
        """Whether the inode is one of the mount's own files."""
        return self._own.has(ino) or is_history(ino)

    def named(self, ino: int) -> Node | None:
        """The node of an inode that still has its name in the mount."""
        node = self._store.find_node(ino)
        return node if node is not None and node.object in self._store.heads else None

    def head_of(self, ino: int) -> Head:
        """The object that a directory is, or that something is in."""
        head = self._store.by_ino.get(ino) or self._store.heads.get(self._store.node(ino).object)
        if head is None:
            raise Stale("the object that this belonged to was removed")
        return head

    def check_writable(self, ino: int) -> Head:
        refuse(ino)
        if self._own.has(ino):
            raise ReadOnly(".oaiofs is made by oaiofs and can only be read")
        if self._read_only:
            raise ReadOnly("this mount is read-only")
        head = self.head_of(ino)
        if not head.right.may_update:
            raise AccessDenied(f"you may only read {head.name}: its owner can give you right U")
        return head

    def check_own(self, ino: int) -> None:
        """Attributes of the root and of what one may only read can't be changed: EPERM, as for another user's file."""
        refuse(ino)
        if ino == ROOT_INO or self._own.has(ino) or self._read_only:
            raise NotPermitted("this belongs to the mount")
        if ino in self._store.by_ino or self.named(ino) is not None:
            head = self.head_of(ino)
            if not head.right.may_update:
                raise NotPermitted(f"you may only read {head.name}")


def check_name(name: str) -> None:
    """Raises NameTooLong for what no file system takes."""
    if len(name.encode()) > _LONGEST_NAME:
        raise NameTooLong(f"{name[:40]}… is longer than {_LONGEST_NAME} bytes")


def check_object_name(name: str) -> None:
    """Raises NotPermitted or InvalidName for a name that an object can't have on every device."""
    check_name(name)
    if name.startswith("."):
        raise NotPermitted(f"{name}: an object's name does not start with a dot")
    if name != names.safe_name(name):
        raise InvalidName(f"{name!r} can't be an object's name: other devices could not show it")
