"""The bytes of a file, measured on their way to and from a storage host.

Must not know how they travel: ``http`` sends and receives, this module counts, hashes and refuses.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import TYPE_CHECKING
from urllib.parse import quote

import trio

from .. import errors
from .http import Body

if TYPE_CHECKING:
    from ..core.model import FileFact
    from .contract import Source
    from .http import Answer, Incoming

_HASH_INLINE = 64 * 1024
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(?:(\d{1,18})|\*)")


class Upload:
    """A file on its way, as a multipart body that can be sent again, measured and hashed as it goes."""

    def __init__(self, source: Source, size: int, path: str, name: str) -> None:
        self.path = path
        self.name = name
        self._source = source
        self._size = size
        boundary = secrets.token_hex(16)
        self._type = f"multipart/form-data; boundary={boundary}"
        # The name is in the query, where it can be any text; here it only has to be there.
        disposition = f'form-data; name="file"; filename="{quote(name, safe=" ")}"'
        self._head = (
            f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._md5: str | None = None

    @property
    def sent(self) -> bool:
        """Whether all of it went out at the last try: it may have been stored, whatever was answered."""
        return self._md5 is not None

    def body(self, arrived: Callable[[], Awaitable[Answer | None]] | None = None) -> Body:
        """See ``http.Body``."""
        return Body(self._chunks, len(self._head) + self._size + len(self._tail), self._type, arrived)

    def is_stored_as(self, fact: FileFact) -> bool:
        return self._md5 is not None and fact.size == self._size and fact.md5 == self._md5

    def check(self, fact: FileFact, host: str) -> None:
        """Raises Corrupt unless the host's view is what was sent."""
        if fact.size != self._size:
            raise errors.Corrupt(f"{host} stored {fact.size} bytes of {self.path} instead of {self._size}: try again.")
        if fact.md5 and fact.md5 != self._md5:
            raise errors.Corrupt(f"{host} stored other bytes of {self.path} than were sent: try again.")

    async def _chunks(self) -> AsyncIterator[bytes]:
        md5, sent = hashlib.md5(usedforsecurity=False), 0
        self._md5 = None
        yield self._head
        async with _closing(self._source()) as chunks:
            async for chunk in chunks:
                sent += len(chunk)
                if sent > self._size:
                    break
                if len(chunk) > _HASH_INLINE:
                    await trio.to_thread.run_sync(md5.update, chunk)
                else:
                    md5.update(chunk)
                yield chunk
        if sent != self._size:
            raise errors.Corrupt(f"{self.path} changed its size while it was being sent: it is sent again later.")
        self._md5 = md5.hexdigest()
        yield self._tail


class Nothing:
    """No bytes at all."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


class Counted:
    """The wanted part of *chunks*: *skip* bytes are dropped from its beginning and *wanted* are then passed on.

    *wanted* None takes all there is; *length* keeps what it was. Raises Corrupt when fewer bytes come, and with
    *exactly* also when more come.
    """

    def __init__(
        self, chunks: AsyncIterator[bytes], skip: int, wanted: int | None, path: str, *, exactly: bool = False
    ) -> None:
        self._chunks = chunks
        self._skip = skip
        self.length = self._left = wanted
        self._path = path
        self._exactly = exactly

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while self._left is None or self._left > 0 or self._exactly:
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                if self._left:
                    raise errors.Corrupt(f"{self._path} ended {self._left} bytes too early: try again.") from None
                raise
            part = self._wanted(chunk)
            if part:
                return part
        raise StopAsyncIteration

    def _wanted(self, chunk: bytes) -> bytes:
        skipped = min(self._skip, len(chunk))
        self._skip -= skipped
        part = chunk[skipped:] if skipped else chunk
        if self._left is None:
            return part
        if len(part) > self._left and self._exactly:
            raise errors.Corrupt(f"More bytes of {self._path} came than were announced: try again.")
        part = part[: self._left]
        self._left -= len(part)
        return part


def wanted_bytes(incoming: Incoming, path: str, start: int, length: int | None) -> Counted:
    """The bytes asked for, whether the host gave just those (206), all (200) or said that there are none (416)."""
    told = _CONTENT_RANGE.fullmatch(incoming.headers.get("content-range", ""))
    first, last, total = (int(number) if number else None for number in told.groups()) if told else (None, None, None)
    if incoming.status == 416:
        if total is not None and start != total:
            raise errors.Corrupt(f"{path} has only {total} bytes: it was replaced meanwhile, look again.")
        return Counted(Nothing(), 0, 0, path)
    if incoming.status == 206:
        if first != start or last is None:
            raise errors.Protocol(f"The storage host answered another part of {path} than was asked for.")
        return Counted(incoming.chunks, 0, last - start + 1, path, exactly=True)
    announced = incoming.headers.get("content-length", "")
    if not announced.isdecimal():
        return Counted(incoming.chunks, start, length, path)
    if start > int(announced):
        raise errors.Corrupt(f"{path} has only {announced} bytes: it was replaced meanwhile, look again.")
    available = int(announced) - start
    return Counted(incoming.chunks, start, available if length is None else min(length, available), path)


def _closing(chunks: AsyncIterator[bytes]) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
    return aclosing(chunks) if isinstance(chunks, AsyncGenerator) else nullcontext(chunks)
