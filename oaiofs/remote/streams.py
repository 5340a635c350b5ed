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


class Translated:
    """The chunks of a body, with errors in our words."""

    def __init__(self, chunks: AsyncIterator[bytes], host: str) -> None:
        self._chunks = chunks
        self._host = host

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except httpx.RemoteProtocolError:
            error: errors.RemoteError = errors.Corrupt(f"{self._host} ended its answer early: try again.")
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
