"""Bytes that the kernel had taken from programs, and that this machine's disk did not take from the kernel.

With the write-back cache a write(2) is answered before the disk was asked. When the disk then refuses, the program
hears of it at fsync or close, and until its last writer has gone the inode is *lost*: nothing more is taken from it,
because a later piece behind a missing one would leave a gap, and a gap reads as zeros.

Must not know names, nor where the errors come from.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import OaiofsError

Refusal: TypeAlias = "OaiofsError | OSError"


@dataclass(slots=True)
class _Lost:
    error: Refusal
    offset: int  # of the first lost byte
    size_before: int  # of the file when the writing began that lost it


class Losses:
    """All inodes being written, and what of them is lost."""

    def __init__(self) -> None:
        self._lost: dict[int, _Lost] = {}
        self._sizes: dict[int, int] = {}  # of inodes written since their last flush: the size before

    def writing(self, ino: int, size: int) -> None:
        """A file of so many bytes begins to change."""
        self._sizes.setdefault(ino, size)

    def flushed(self, ino: int) -> None:
        """What was written so far is here, or else noted."""
        self._sizes.pop(ino, None)

    def of(self, ino: int) -> Refusal | None:
        """Why bytes of the inode are lost, or None."""
        lost = self._lost.get(ino)
        return None if lost is None else lost.error

    def note(self, ino: int, offset: int, error: Refusal) -> None:
        """From *offset* on something of a write is lost."""
        lost = self._lost.setdefault(ino, _Lost(error, offset, self._sizes.get(ino, 0)))
        lost.offset = min(lost.offset, offset)

    def cut(self, ino: int, size: int) -> None:
        """The file has another length now: what was lost behind its end is not wanted any more."""
        self._sizes[ino] = min(size, self._sizes.get(ino, size))
        lost = self._lost.get(ino)
        if lost is not None:
            lost.size_before = min(size, lost.size_before)
            if size <= lost.offset:
                del self._lost[ino]

    def settle(self, ino: int, descriptor: int) -> bool:
        """The last writer has gone: end the file before its first gap, but keep what it had before the writing.

        False when nothing was lost. Raises OSError.
        """
        lost = self._lost.pop(ino, None)
        self._sizes.pop(ino, None)
        if lost is None:
            return False
        end = max(lost.offset, lost.size_before)
        if os.fstat(descriptor).st_size > end:
            os.ftruncate(descriptor, end)
        return True


def write_all(descriptor: int, data: bytes, offset: int) -> tuple[int, OSError | None]:
    """How much was taken, and why not all of it: a full disk takes a part first, and then says so."""
    written = 0
    view = memoryview(data)
    try:
        while written < len(data):
            written += os.pwrite(descriptor, view[written:], offset + written)
    except OSError as error:
        return written, error
    return written, None
