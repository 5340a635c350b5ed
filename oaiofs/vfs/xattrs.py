"""Extended attributes: ``user.oaio.*`` tells about objects, other ``user.*`` belong to the user.

Must not know who asks. ``security.*`` and ``system.*`` are not kept: ``getxattr`` says that there are none, cheaply,
because the kernel asks for ``security.capability`` before writes.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ..cache.records import Node, ObjectRecord
from ..cache.store import Store
from ..errors import NoAttribute, NotPermitted, Unsupported

PREFIX = "user.oaio."


class Xattrs:
    """*state_of* and *error_of* tell an object's sync state and last error by its number."""

    def __init__(self, store: Store, state_of: Callable[[int], str], error_of: Callable[[int], str]) -> None:
        self._store = store
        self._state_of = state_of
        self._error_of = error_of

    def get(self, key: int, node: Node | None, name: str) -> bytes:
        """The attribute of an object (*node* None) or of something in it. Raises NoAttribute."""
        if name.startswith(PREFIX):
            value = self._own(self._store.record(key), name[len(PREFIX) :])
            if not value:
                raise NoAttribute(f"there is no {name} here")
            return value.encode()
        if name.startswith("user."):
            return os.getxattr(self._place(key, node), name, follow_symlinks=False)
        raise NoAttribute(f"{name} is not kept")

    def names(self, key: int, node: Node | None) -> list[str]:
        """The user's own attributes; ours are found by name only.

        What is listed is copied by mv, cp -a and rsync -X: they would fail to set it here and take it out of here.
        """
        try:
            kept = os.listxattr(self._place(key, node), follow_symlinks=False)
        except (NoAttribute, OSError):
            return []
        return [name for name in kept if name.startswith("user.") and not name.startswith(PREFIX)]

    def set(self, key: int, node: Node | None, name: str, value: bytes) -> None:
        os.setxattr(self._changeable(key, node, name), name, value, follow_symlinks=False)

    def remove(self, key: int, node: Node | None, name: str) -> None:
        os.removexattr(self._changeable(key, node, name), name, follow_symlinks=False)

    def _changeable(self, key: int, node: Node | None, name: str) -> str:
        if name.startswith(PREFIX):
            raise NotPermitted(f"{name} can only be read")
        if not name.startswith("user."):
            raise Unsupported(f"{name}: only user.* attributes are kept")
        try:
            return self._place(key, node)
        except NoAttribute:
            raise Unsupported("a file that is not downloaded yet takes no attributes: open it first") from None

    def _place(self, key: int, node: Node | None) -> str:
        """The file or folder in the working copy that keeps the user's own attributes."""
        if node is None:
            return self._store.files.absolute(self._store.folder_path(self._store.heads[key].ino))
        if not node.local:
            raise NoAttribute("not downloaded yet")
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

