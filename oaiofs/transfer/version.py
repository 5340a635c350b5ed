"""Building one version's folder on a storage host, by the steps that ``core.build`` worked out.

Must not know the oaio server or when the version is announced.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import trio

from ..cache import tree
from ..cache.records import Node, ObjectRecord
from ..cache.store import Store
from ..cache.workdir import snapshot
from ..core import build
from ..core.model import FileSet
from ..errors import ChangedMeanwhile, OaiofsError, RemoteNotFound
from ..remote.contract import Source, StorageHost
from .downloads import Downloads

_CHUNK = 1 << 20
_PARALLEL = 4  # transfers at once, as storage hosts like it


class VersionBuilder:
    """Makes *folder* on *host* hold exactly *wanted*; *base_folder* has the base version's files, '' for none."""

    def __init__(
        self,
        store: Store,
        downloads: Downloads,
        host: StorageHost,
        record: ObjectRecord,
        folder: str,
        base_folder: str,
        wanted: FileSet,
    ) -> None:
        self._store = store
        self._downloads = downloads
        self._host = host
        self._record = record
        self._folder = folder
        self._base_folder = base_folder
        self._wanted = wanted
        self._nodes = store.attached(record.key)

    async def run(self, base: FileSet) -> None:
        """Raises ChangedMeanwhile when a file is no longer what was wanted, and what the host raises."""
        try:
            await self._run(build.version_steps(base if self._base_folder else {}, self._wanted))
        except RemoteNotFound:
            if not base:
                raise
            # The base version's folder was removed behind our back: everything is sent.
            await self._host.remove(self._folder)
            await self._run(build.version_steps({}, self._wanted))

    async def _run(self, steps: Sequence[build.Step]) -> None:
        """Steps of one kind do not depend on each other; the kinds are in their order."""
        copies: list[Callable[[], Awaitable[None]]] = []
        puts: list[Callable[[], Awaitable[None]]] = []
        for step in steps:
            match step:
                case build.CopyFolder():
                    await self._host.copy(self._base_folder, self._folder)
                case build.Remove(path):
                    await self._host.remove(f"{self._folder}/{path}")
                case build.Copy(source, target):
                    copies.append(self._copy_job(f"{self._base_folder}/{source}", target))
                case build.Put(path):
                    puts.append(self._put_job(path))
        await _all(copies)
        await _all(puts)

    def _copy_job(self, source: str, target: str) -> Callable[[], Awaitable[None]]:
        async def job() -> None:
            mtime_ns = self._wanted[target].mtime_ns
            await self._host.copy(source, f"{self._folder}/{target}", mtime_ns or None)

        return job

    def _put_job(self, path: str) -> Callable[[], Awaitable[None]]:
        async def job() -> None:
            node = self._store.find_node(self._nodes[path].ino) if path in self._nodes else None
            if node is None:
                raise ChangedMeanwhile(f"{path} was removed while its version was being made")
            if not node.local:
                csh_id, origin = tree.origin(self._store, node).split("/", 1)
                if csh_id == self._record.csh_id:
                    await self._copy_job(origin, path)()
                    return
                await self._downloads.hydrate(node.ino)
            await self._put(path, self._store.node(node.ino))

        return job

    async def _put(self, path: str, node: Node) -> None:
        """Send a snapshot, so that only a state that the file really had goes out, and only the one that was meant."""
        fact = self._wanted[path]
        staged = self._store.files.absolute(self._store.files.new_staging())
        try:
            try:
                md5 = await trio.to_thread.run_sync(snapshot, self._store.absolute(node), staged)
            except FileNotFoundError:
                raise ChangedMeanwhile(f"{path} was renamed while its version was being made") from None
            if md5 != fact.md5:
                self._store.update_node(node.ino, dirty=1)  # whoever changed it: it is to be hashed anew
                raise ChangedMeanwhile(f"{path} was changed while its version was being made")
            await self._host.put(f"{self._folder}/{path}", _source(staged), fact.size, fact.mtime_ns)
        finally:
            if os.path.lexists(staged):
                os.unlink(staged)


def _source(path: str) -> Source:
    async def chunks() -> AsyncIterator[bytes]:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while chunk := await trio.to_thread.run_sync(os.read, descriptor, _CHUNK):
                yield chunk
        finally:
            os.close(descriptor)

    return chunks


async def _all(jobs: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Run the jobs, a few at a time; the first error ends the others and is raised as itself, not in a group."""
    failed: list[OaiofsError | OSError] = []
    queue = iter(jobs)

    async def work(cancel: trio.CancelScope) -> None:
        for job in queue:
            try:
                await job()
            except (OaiofsError, OSError) as error:
                failed.append(error)
                cancel.cancel()
                return

    async with trio.open_nursery() as nursery:
        for _ in range(min(_PARALLEL, len(jobs))):
            nursery.start_soon(work, nursery.cancel_scope)
    if failed:
        raise failed[0]
