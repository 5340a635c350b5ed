"""A storage host whose traffic is counted and kept within the user's limits.

Itself a ``contract.StorageHost``, so neither who asks nor who answers knows of it. Only the bytes of files count:
listings and other small talk are not held up. Bytes that came already wait here, not on the wire: so the host learns
of the limit by the window that stays closed. Must not know HTTP or what is shown of the counts.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager

from ..core.model import FileFact, FileSet, Quota
from ..remote.contract import Chunks, Source, StorageHost
from .traffic import Direction, Limit, Running, Traffic, object_of


class MeteredHost:
    """*host*, whose csh id is *csh_id*, reporting to *traffic*."""

    def __init__(self, host: StorageHost, csh_id: str, traffic: Traffic) -> None:
        self._host = host
        self._csh_id = csh_id
        self._traffic = traffic

    def __repr__(self) -> str:
        return f"<MeteredHost {self._host!r}>"

    async def list_tree(self, folder: str) -> FileSet:
        with self._traffic.step(self._object(folder), "checking what is stored"):
            return await self._host.list_tree(folder)

    async def list_folders(self, folder: str) -> tuple[str, ...]:
        return await self._host.list_folders(folder)

    async def put(self, path: str, source: Source, size: int, mtime_ns: int) -> FileFact:
        with self._traffic.transfer(Direction.UP, f"{self._csh_id}/{path}", size) as running:
            async with self._traffic.up.turn():
                return await self._host.put(path, lambda: self._sent(source, running), size, mtime_ns)

    def get(self, path: str, start: int = 0, length: int | None = None) -> AbstractAsyncContextManager[Chunks]:
        return self._get(path, start, length)

    async def copy(self, source: str, target: str, mtime_ns: int | None = None) -> None:
        with self._traffic.step(self._object(target), "copying on the host"):
            await self._host.copy(source, target, mtime_ns)

    async def remove(self, path: str) -> None:
        await self._host.remove(path)

    async def quota(self) -> Quota:
        return await self._host.quota()

    async def aclose(self) -> None:
        await self._host.aclose()

    def _object(self, path: str) -> str:
        return object_of(f"{self._csh_id}/{path}")

    async def _sent(self, source: Source, running: Running) -> AsyncGenerator[bytes, None]:
        """The bytes of *source* as they may go. Whoever asks for more has sent what he got."""
        self._traffic.begun(running)
        async with AsyncExitStack() as stack:
            chunks = source()
            if isinstance(chunks, AsyncGenerator):
                await stack.enter_async_context(aclosing(chunks))
            async for chunk in chunks:
                for piece in _pieces(chunk, self._traffic.up):
                    await self._traffic.up.wait(len(piece))
                    yield piece
                    self._traffic.counted(running, len(piece))

    @asynccontextmanager
    async def _get(self, path: str, start: int, length: int | None) -> AsyncIterator[Chunks]:
        with self._traffic.transfer(Direction.DOWN, f"{self._csh_id}/{path}", length) as running:
            async with self._host.get(path, start, length) as chunks:
                running.total = length if chunks.length is None else chunks.length
                self._traffic.begun(running)
                yield _Received(chunks, running, self._traffic)


class _Received:
    """Chunks that came, as they may be passed on."""

    def __init__(self, chunks: Chunks, running: Running, traffic: Traffic) -> None:
        self._chunks = chunks
        self._running = running
        self._traffic = traffic
        self._rest = b""  # what came and was not passed on

    @property
    def length(self) -> int | None:
        return self._chunks.length

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._rest:
            self._rest = await anext(self._chunks)
        limit = self._traffic.down
        size = limit.piece or len(self._rest)
        await limit.wait(min(size, len(self._rest)))  # who gives up here and asks again misses nothing
        piece, self._rest = self._rest[:size], self._rest[size:]
        self._traffic.counted(self._running, len(piece))
        return piece


def _pieces(chunk: bytes, limit: Limit) -> Iterator[bytes]:
    """*chunk* in parts that are not too large for the *limit*; as it is without one."""
    size = limit.piece
    if size is None or len(chunk) <= size:
        yield chunk
        return
    for start in range(0, len(chunk), size):
        yield chunk[start : start + size]
