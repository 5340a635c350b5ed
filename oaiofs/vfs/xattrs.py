"""Extended attributes: ``user.oaio.*`` tells about objects, other ``user.*`` belong to the user.

Must not know who asks. ``security.*`` and ``system.*`` are not kept: ``getxattr`` says that there are none, cheaply,
because the kernel asks for ``security.capability`` before writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ..cache import pins, xattrs
from ..cache.records import Node, ObjectRecord
from ..cache.store import Store
from ..errors import InvalidName, NoAttribute, NotPermitted, Unsupported

PREFIX = "user.oaio."
#: "1" on what is pinned, "inherited" on what is so with something above it. It can be set, whatever one's right.
PIN = "user.oaio.pin"
_MOST_NOTED = 2048  # bytes of a placeholder's attributes: every disk takes as much when the file comes


class Xattrs:
    """*state_of* and *error_of* tell an object's sync state and last error by its number."""

    def __init__(self, store: Store, state_of: Callable[[int], str], error_of: Callable[[int], str]) -> None:
        self._store = store
        self._state_of = state_of
        self._error_of = error_of

    def get(self, key: int, node: Node | None, name: str) -> bytes:
        """The attribute of an object (*node* None) or of something in it. Raises NoAttribute."""
        if name.startswith(PREFIX):
            value = self._pin(key, node) if name == PIN else self._own(self._store.record(key), name[len(PREFIX) :])
            if not value:
                raise NoAttribute(f"there is no {name} here")
            return value.encode()
        if name.startswith("user."):
            if node is not None and not node.local:
                return self._noted(node, name)
            return os.getxattr(self._place(key, node), name, follow_symlinks=False)
        raise NoAttribute(f"{name} is not kept")

    def names(self, key: int, node: Node | None) -> list[str]:
        """The user's own attributes; ours are found by name only.

        What is listed is copied by mv, cp -a and rsync -X: they would fail to set it here and take it out of here.
        """
        if node is not None and not node.local:
            return list(xattrs.noted(self._store, node.ino))
        try:
            kept = os.listxattr(self._place(key, node), follow_symlinks=False)
        except OSError:
            return []
        return [name for name in kept if name.startswith("user.") and not name.startswith(PREFIX)]

    def set(self, key: int, node: Node | None, name: str, value: bytes) -> None:
        if name == PIN:
            self._set_pin(key, node, value.strip(b"\0"))
            return
        self._check_users(name)
        if node is not None and not node.local:
            kept = {**xattrs.noted(self._store, node.ino), name: value}
            if sum(len(name.encode()) + len(value) for name, value in kept.items()) > _MOST_NOTED:
                raise Unsupported("a file that is not here takes no more attributes: open it first")
            xattrs.note(self._store, node.ino, kept)
        else:
            os.setxattr(self._place(key, node), name, value, follow_symlinks=False)

    def remove(self, key: int, node: Node | None, name: str) -> None:
        if name == PIN:
            if not pins.has_own(self._store, key, self._path(node)):
                raise NoAttribute("it has no pin of its own")
            pins.unpin(self._store, key, self._path(node), alone=True)
            return
        self._check_users(name)
        if node is not None and not node.local:
            self._noted(node, name)
            kept = xattrs.noted(self._store, node.ino)
            del kept[name]
            xattrs.note(self._store, node.ino, kept)
        else:
            os.removexattr(self._place(key, node), name, follow_symlinks=False)

    def _path(self, node: Node | None) -> str:
        return "" if node is None else self._store.path_in_object(node)

    def _pin(self, key: int, node: Node | None) -> str:
        if pins.has_own(self._store, key, self._path(node)):
            return "1"
        return "inherited" if pins.is_pinned(self._store, key, self._path(node)) else ""

    def _set_pin(self, key: int, node: Node | None, value: bytes) -> None:
        """Raises InvalidName for what is neither on nor off, NotPermitted for the sidecar."""
        if value not in (b"0", b"1"):
            raise InvalidName(f"{PIN} is set to 1 or 0")
        if value == b"1":
            pins.pin(self._store, key, self._path(node))
        else:
            pins.unpin(self._store, key, self._path(node), alone=True)

    @staticmethod
    def _check_users(name: str) -> None:
        if name.startswith(PREFIX):
            raise NotPermitted(f"{name} can only be read")
        if not name.startswith("user."):
            raise Unsupported(f"{name}: only user.* attributes are kept")

    def _noted(self, node: Node, name: str) -> bytes:
        """An attribute that waits for its file's bytes."""
        kept = xattrs.noted(self._store, node.ino)
        if name not in kept:
            raise NoAttribute(f"there is no {name} here")
        return kept[name]

    def _place(self, key: int, node: Node | None) -> str:
        """The file or folder in the working copy that keeps the user's own attributes."""
        if node is None:
            return self._store.files.absolute(self._store.folder_path(self._store.heads[key].ino))
        return self._store.absolute(node)

    def _own(self, record: ObjectRecord, name: str) -> str:
        answers: dict[str, Callable[[], str]] = {
            "id": lambda: record.oaio_id or "",
            "stamp": lambda: record.base_stamp or "",
            "state": lambda: self._state_of(record.key),
            "right": lambda: record.right.value,
            "name": lambda: str(record.values.get("_name", record.name)),
            "csh": lambda: record.csh_id,
            "device": lambda: record.device_id,
            "app": lambda: record.app_id,
            "error": lambda: self._error_of(record.key),
        }
        return answers[name]() if name in answers else ""
