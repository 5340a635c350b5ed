"""The user's own extended attributes: on the file in the working copy and, of files that are not here, in rows.

Before a copy is evicted its attributes are noted (``note``), and synced to the disk with the rows that let it go; a
download puts them on the new file before that has its name (``put_on``). Rows stay as they are then: they mean nothing
while there is a file, and are noted anew before the next eviction. Must not know names' meanings.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .store import Store

_USERS = "user."


def on_file(path: str) -> dict[str, bytes]:
    """The user's attributes of the file at the absolute *path*; {} on a disk without any.

    Raises OSError where they can't be read: they would be lost with the copy.
    """
    try:
        names = [name for name in os.listxattr(path, follow_symlinks=False) if name.startswith(_USERS)]
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return {}


def noted(store: Store, ino: int) -> dict[str, bytes]:
    """Those in the rows: of a placeholder these are all that it has."""
    return dict(store.db.execute("SELECT name, value FROM xattr WHERE ino = ?", (ino,)).fetchall())


def note(store: Store, ino: int, attributes: Mapping[str, bytes]) -> None:
    """Have the rows say just this. Nothing is written where they do."""
    if attributes == noted(store, ino):
        return
    with store.state.transaction() as db:
        db.execute("DELETE FROM xattr WHERE ino = ?", (ino,))
        db.executemany("INSERT INTO xattr VALUES (?, ?, ?)", [(ino, name, value) for name, value in attributes.items()])


def put_on(store: Store, ino: int, path: str) -> None:
    """Put what is noted on the file at the absolute *path*, as far as its disk takes it."""
    for name, value in noted(store, ino).items():
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except OSError:
            continue
