"""What an open file is: a descriptor, how its writes go, and where its bytes still come from.

Must not know names, nor what opening and closing mean.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias


class Incoming(Protocol):
    """A download that is read while it goes on."""

    async def ready(self, offset: int, size: int) -> None:
        """Return when these bytes can be read from the descriptor; raises OaiofsError when they can't."""

    def abandon(self) -> None:
        """The file has another content now, made here: nobody is to wait for this one."""

    def let_go(self) -> None:
        """A descriptor of it is closed."""


#: Opens the download of an inode for reading: its descriptor with it; None for one that is to be whole first.
Streams: TypeAlias = Callable[[int], Awaitable["tuple[int, Incoming] | None"]]


@dataclass(slots=True, eq=False)
class Handle:
    """One open(2) of a working copy; *unflushed* while its writes wait for a flush or fsync.

    *direct*: its writes come here at once. *refused*: one of them was not taken. *incoming*: not all of its bytes need
    be here yet.
    """

    ino: int
    descriptor: int
    writable: bool
    direct: bool = False
    unflushed: bool = False
    refused: bool = False
    incoming: Incoming | None = None


@dataclass(slots=True, eq=False)
class OwnHandle:
    """One open(2) of one of the mount's own files, its content fixed now."""

    data: bytes


def redirect(handles: Iterable[Handle], path: str) -> None:
    """Have those of an inode's *handles* whose bytes were still to come read its new content, the file at *path*."""
    for handle in handles:
        if handle.incoming is not None:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.dup2(descriptor, handle.descriptor, inheritable=False)
            finally:
                os.close(descriptor)
            incoming, handle.incoming = handle.incoming, None
            incoming.abandon()
            incoming.let_go()
