"""Bodies on their way through httpx: what it takes, what it gives, and how to leave one half read in good order.

Must not know what the bytes mean nor when they are sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import trio

from .. import errors
from .failures import FOREIGN, error_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


#: Bytes a second: no line that is in use is slower for minutes.
SLOWEST = 1024


class Sending(httpx.AsyncByteStream):
    """A request body as httpx wants it. Not a generator: one that a refusal leaves half used would not be closed."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def aclose(self) -> None:
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()


class Whole:
    """The chunks of a body that is in memory. No generator either, as httpx's own is."""

    def __init__(self, content: bytes) -> None:
        self._left = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        content, self._left = self._left, b""
        if not content:
            raise StopAsyncIteration
        return content


class Unhurried:
    """Chunks of our own for a call with a deadline, *scope*: what they take to come is not the host's fault.

    A limit on what is sent may let them wait for long.
    """

    def __init__(self, chunks: AsyncIterator[bytes], scope: trio.CancelScope) -> None:
        self._chunks = chunks
        self._scope = scope

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        left = self._scope.deadline - trio.current_time()
        self._scope.deadline = float("inf")
        try:
            return await anext(self._chunks)
        finally:
            self._scope.deadline = trio.current_time() + left

    async def aclose(self) -> None:
        close = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()


class Translated:
    """The chunks of a body, with errors in our words.

    Raises TimedOut where they come so slowly that they might go on for ever: *seconds* is how much longer than at
    SLOWEST they may take. Only waiting for the host counts.
    """

    def __init__(self, chunks: AsyncIterator[bytes], host: str, seconds: float) -> None:
        self._chunks = chunks
        self._host = host
        self._most = self._patience = seconds

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        begun = trio.current_time()
        try:
            with trio.move_on_after(self._patience):
                chunk = await anext(self._chunks)
                waited = trio.current_time() - begun
                left = self._patience - waited + len(chunk) / SLOWEST
                self._patience = max(0.0, min(self._most, left))  # what comes just too late is still taken
                return chunk
            error: errors.RemoteError = errors.TimedOut(f"{self._host} sends too slowly: try again.")
        except httpx.RemoteProtocolError:
            error = errors.Corrupt(f"{self._host} ended its answer early: try again.")
        except FOREIGN as foreign:
            error = error_of(foreign, self._host)
        raise error


async def discard(response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
    """Close a response whose body may not have been read to its end.

    httpx and httpcore read bodies through nested generators, which closing the outermost leaves to the garbage
    collector. Reading on from the closed connection fails at once, and that ends them all in order.
    """
    with trio.CancelScope(shield=True):
        await response.aclose()
        try:
            async for _ in chunks:
                pass
        except Exception:  # noqa: S110 - the connection is closed: any failure is the expected one
            pass
