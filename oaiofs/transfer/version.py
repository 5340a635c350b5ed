"""Building one version's folder on a storage host, by the steps that ``core.build`` worked out.

What came of them is compared with what was meant by the host's own listing: only that tells whether a copy that was
made again found its own result, half of it, or somebody else's. A host that tells no hashes is believed the size of
what it took, or copied, with a plain answer; what else is found there is made anew. Reading all back would tell more,
at the price of the whole object for each change.

Must not know the oaio server or when the version is announced.
"""

from __future__ import annotations

import functools
import hashlib
import os
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import trio

from ..cache import tree
from ..cache.records import Node, ObjectRecord
from ..cache.room import is_full
from ..cache.store import Store
from ..cache.workdir import snapshot
from ..core import build, merge, patience
from ..core.model import FileSet, RemoteObject, Version
from ..errors import (
    ChangedMeanwhile,
    Corrupt,
    OaiofsError,
    RemoteError,
    RemoteExists,
    RemoteNotFound,
    Unsupported,
)
from ..remote.contract import Source, StorageHost
from ..remote.retry import RetryPolicy
from .downloads import Downloads

T = TypeVar("T")

_CHUNK = 1 << 20
_LEFT_FREE = 16 << 20  # bytes that a snapshot leaves to the programs that write
_PARALLEL = 4  # transfers at once, as storage hosts like it
#: Hosts refuse or break off a call now and then without a reason: a version is not begun anew for that.
_STUBBORN = RetryPolicy(attempts=4, first_delay=0.5, max_delay=4.0)


class VersionBuilder:
    """Makes *folder* on *host* hold exactly *wanted*, which *nodes* have here.

    *base_folder* has the base version's files, '' for none.
    """

    def __init__(
        self,
        store: Store,
        downloads: Downloads,
        host: StorageHost,
        record: ObjectRecord,
        folder: str,
        base_folder: str,
        wanted: FileSet,
        nodes: Mapping[str, Node],
    ) -> None:
        self._store = store
        self._downloads = downloads
        self._host = host
        self._record = record
        self._folder = folder
        self._base_folder = base_folder
        self._wanted = wanted
        self._nodes = nodes
        self._base: FileSet = {}
        self._copies = build.Copies.FOLDERS
        self._begun = False  # there may be something in the folder
        self._sure: set[str] = set()  # what the host took or copied, by its own plain word

    async def run(self, base: FileSet, *, begun: bool = False) -> FileSet:
        """The files of the folder as the host lists them, which are those wanted, and no others.

        Raises ChangedMeanwhile when a file is no longer what was wanted, Corrupt when the host does not keep what it
        is sent, RemoteExists where the new folder is there already, and what the host raises. With *begun* an earlier
        try may have left a part of the folder, which is not sent again.
        """
        self._base = base if self._base_folder else {}
        self._begun = begun
        await self._carry_out(await self._listed() if begun else None)
        listed = dict(await self._host.list_tree(self._folder))
        if build.differing(listed, self._wanted, self._sure):  # a copy that broke off, or something came in between
            await self._carry_out(listed)
            listed = dict(await self._host.list_tree(self._folder))
        if differing := build.differing(listed, self._wanted, self._sure):
            raise Corrupt(
                f"the storage host did not keep the files of {self._record.name} as they were sent: "
                f"{min(differing)} is another one there"
            )
        strays = sorted(listed.keys() - self._wanted.keys())  # came along with the base version's folder
        await in_parallel([functools.partial(self._remove, stray) for stray in strays])
        return {path: listed[path] for path in self._wanted}

    async def _carry_out(self, there: FileSet | None) -> None:
        """Do what is to be done with *there* in the folder (None: not even the folder), by the means that work."""
        while True:
            try:
                await self._run(await self._steps(there))
                return
            except Unsupported:
                if self._copies is build.Copies.NOTHING:
                    raise
                self._copies = build.Copies(self._copies - 1)
            except RemoteNotFound:
                if not self._base:
                    raise
                self._base = {}  # its folder was removed behind our back: everything is sent
            there = await self._listed()

    async def _steps(self, there: FileSet | None) -> Sequence[build.Step]:
        """Worked out beside the loop: there may be thousands of files."""
        if there is None:
            return await trio.to_thread.run_sync(build.version_steps, self._base, self._wanted, self._copies)
        self._begun = True
        return await trio.to_thread.run_sync(
            build.remaining_steps, there, self._base, self._wanted, self._copies, frozenset(self._sure)
        )

    async def _listed(self) -> FileSet | None:
        """What is in the folder, None where not even that is there."""
        try:
            return await self._host.list_tree(self._folder)
        except RemoteNotFound:
            return None

    async def _run(self, steps: Sequence[build.Step]) -> None:
        """Steps of one kind do not depend on each other; the kinds are in their order."""
        removes: list[Callable[[], Awaitable[None]]] = []
        copies: list[Callable[[], Awaitable[None]]] = []
        puts: list[Callable[[], Awaitable[None]]] = []
        for step in steps:
            match step:
                case build.Remove(""):
                    await self._remove("")
                case build.CopyFolder():
                    await self._copy_folder()
                case build.Remove(path):
                    removes.append(functools.partial(self._remove, path))
                case build.Copy(source, target):
                    copies.append(functools.partial(self._copy, f"{self._base_folder}/{source}", target))
                case build.Put(path):
                    puts.append(functools.partial(self._put, path))
        for jobs in (removes, copies, puts):
            await in_parallel(jobs)

    async def _remove(self, path: str) -> None:
        await self._host.remove(f"{self._folder}/{path}" if path else self._folder)

    async def _copy_folder(self) -> None:
        if await self._copied(self._base_folder, self._folder):
            self._sure |= self._base.keys()

    async def _copy(self, source: str, path: str) -> None:
        if await self._copied(source, f"{self._folder}/{path}", self._wanted[path].mtime_ns or None):
            self._sure.add(path)

    async def _copied(self, source: str, target: str, mtime_ns: int | None = None) -> bool:
        """Whether the host said plainly that it copied: not so where a try that failed may have left what is there.

        Raises RemoteExists where nothing of ours can be there.
        """
        tries = 0

        async def once() -> bool:
            nonlocal tries
            tries += 1
            try:
                await self._host.copy(source, target, mtime_ns)
            except RemoteExists:
                if tries == 1 and not self._begun:
                    raise
                return False
            return True

        return await _stubbornly(once)

    async def _put(self, path: str) -> None:
        self._sure.discard(path)  # it may be the base version's that is there
        node = self._store.find_node(self._nodes[path].ino) if path in self._nodes else None
        if node is None:
            raise ChangedMeanwhile(f"{path} was removed while its version was being made")
        if not node.local:
            csh_id, origin = tree.origin(self._store, node).split("/", 1)
            if csh_id == self._record.csh_id and self._copies:
                if path in self._base or self._begun:
                    await self._remove(path)  # a copy never replaces a file
                await self._copy(origin, path)
                return
            await self._downloads.hydrate(node.ino)
        await self._send(path, self._store.node(node.ino))
        self._sure.add(path)

    async def _send(self, path: str, node: Node) -> None:
        """Send a snapshot, so that only a state that the file really had goes out, and only the one that was meant."""
        fact = self._wanted[path]
        staged = self._store.files.absolute(self._store.files.new_staging())
        try:
            try:
                free = self._store.state.room.free() - _LEFT_FREE
                take = functools.partial(snapshot, self._store.absolute(node), staged, free=free)
                md5 = await trio.to_thread.run_sync(take)
            except FileNotFoundError:
                raise ChangedMeanwhile(f"{path} was renamed while its version was being made") from None
            except OSError as error:
                if not is_full(error):
                    raise
                md5 = ""
            if not md5:
                os.unlink(staged)
                await _stubbornly(lambda: self._send_itself(path, node))
                return
            self._check(path, node, md5)
            target = f"{self._folder}/{path}"
            await _stubbornly(lambda: self._host.put(target, _source(staged), fact.size, fact.mtime_ns))
        finally:
            if os.path.lexists(staged):
                os.unlink(staged)

    async def _send_itself(self, path: str, node: Node) -> None:
        """No room for a snapshot: the file itself is sent, and only then is it known whether it was what was meant.

        Else the whole version is given up.
        """
        fact = self._wanted[path]
        md5 = ""

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal md5
            digest = hashlib.md5(usedforsecurity=False)
            async for chunk in _source(self._store.absolute(node), fact.size)():
                digest.update(chunk)
                yield chunk
            md5 = digest.hexdigest()

        try:
            await self._host.put(f"{self._folder}/{path}", chunks, fact.size, fact.mtime_ns)
        except FileNotFoundError:
            raise ChangedMeanwhile(f"{path} was renamed while its version was being made") from None
        except Corrupt:
            self._check(path, node, md5)
            raise
        self._check(path, node, md5)

    def _check(self, path: str, node: Node, md5: str) -> None:
        if md5 != self._wanted[path].md5:
            self._store.update_node(node.ino, dirty=1)  # whoever changed it: it is to be hashed anew
            raise ChangedMeanwhile(f"{path} was changed while its version was being made")


def _source(path: str, most: int | None = None) -> Source:
    """The bytes of a file, at *most* so many."""

    async def chunks() -> AsyncIterator[bytes]:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        left = sys.maxsize if most is None else most
        try:
            while chunk := await trio.to_thread.run_sync(os.read, descriptor, min(_CHUNK, left)):
                left -= len(chunk)
                yield chunk
        finally:
            os.close(descriptor)

    return chunks


def is_moved(pending: Version | None, remote: RemoteObject, device_id: str) -> bool:
    """Whether *remote* is what this device registered as *pending*, and the server has given it another stamp."""
    return (
        pending is not None
        and pending.stamp != remote.stamp
        and remote.device_id == device_id
        and pending.files.keys() == set(remote.file_paths)
        and merge.same(pending.values, remote.values)
    )


async def _stubbornly(call: Callable[[], Awaitable[T]]) -> T:
    """Make the *call* until it succeeds, a few times if what it raises may pass, with a pause before each other."""
    begun = trio.current_time()
    failures = 0
    while True:
        try:
            return await call()
        except RemoteError as error:
            failures += 1
            delay = _STUBBORN.delay(failures, trio.current_time() - begun, random.random())
            if delay is None or not patience.is_passing(error):
                raise
        await trio.sleep(delay)


async def in_parallel(jobs: Sequence[Callable[[], Awaitable[None]]]) -> None:
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
