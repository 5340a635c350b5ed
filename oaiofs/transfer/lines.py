"""Texts that two devices edited are merged by lines on their way in, where that can be done.

Finds them, fetches what both edits started from (the storage host keeps old versions) and what the other device made
of it, and has the outcome ready on the disk. Must not know how it gets into the tree (``cache.apply``) nor how lines
are merged (``core.lines``). Whatever is missing, wrong or changed meanwhile comes to a conflict copy, as for any file.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from ..cache import agree, texts
from ..cache.records import Node
from ..cache.store import Store
from ..cache.texts import MergedText
from ..cache.workdir import sync_file
from ..core import lines, plan
from ..core.model import FileFact, FileSet, RemoteObject, Version
from ..errors import RateLimited, RemoteError, Unauthorized, Unreachable
from ..remote.contract import OpenHost, StorageHost
from .version import in_parallel

log = logging.getLogger(__name__)

#: Files merged in one pull; the others that both sides edited become conflict copies. With two small requests each,
#: four at a time, this many hold up the object for seconds, not for minutes.
MOST = 200
#: How often those are merged anew that a program saved meanwhile, before they become conflict copies.
_ROUNDS = 3
#: What is no answer about the file: the whole pull fails and is tried again.
_TRANSIENT = (Unreachable, RateLimited, Unauthorized)


@dataclass(frozen=True, slots=True)
class _Job:
    """One file to merge: its inode and its contents here, in the last common version and in the one that comes in.

    *base_place* and *place* are where the storage host has the last two.
    """

    path: str
    ino: int
    base: FileFact
    mine: FileFact
    theirs: FileFact
    base_place: str
    place: str


class TextMerges:
    """Merges texts of one store's objects."""

    def __init__(self, store: Store, open_host: OpenHost) -> None:
        self.store = store
        self._open_host = open_host

    @asynccontextmanager
    async def ready(
        self,
        key: int,
        remote: RemoteObject,
        files: FileSet,
        look: Callable[[], Awaitable[None]],
        ancestor: Version | None = None,
    ) -> AsyncIterator[Mapping[str, MergedText]]:
        """The merged texts by path, for as long as the context lasts; *look* learns what is here now.
        *ancestor* as in ``apply.remote_version``.

        Nothing is awaited between the last look and the body. Raises Unreachable, RateLimited and Unauthorized.
        """
        merged: dict[str, MergedText] = {}
        tried: dict[str, _Job] = {}
        try:
            for _ in range(_ROUNDS):
                await look()
                jobs = [job for job in self._jobs(key, remote, files, ancestor) if tried.get(job.path) != job]
                jobs = jobs[: MOST - len(tried)]
                if not jobs:
                    break
                tried |= {job.path: job for job in jobs}
                texts.discard(self.store, {job.path: merged.pop(job.path) for job in jobs if job.path in merged})
                host = await self._open_host(remote.csh_id)
                await in_parallel([functools.partial(self._merge, host, job, merged) for job in jobs])
            else:
                await look()
            yield merged
        finally:
            texts.discard(self.store, merged)

    def _jobs(self, key: int, remote: RemoteObject, files: FileSet, ancestor: Version | None) -> list[_Job]:
        """The files that both sides edited, their bytes all here and nobody writing them."""
        record = self.store.record(key)
        if record.csh_id != remote.csh_id:
            return []  # the host that has what both started from may be gone for good
        base = ancestor or agree.merge_base(self.store, record, remote, files)
        agreed = agree.agreed(self.store, record)
        nodes = {
            path: node
            for path, node in self.store.attached(key).items()
            if path in base.files and path in files and node.fact != base.files[path] and self._is_still(node)
        }
        was, comes = ({path: side[path] for path in nodes} for side in (base.files, files))
        local = {path: node.fact for path, node in nodes.items()}
        return [
            _Job(
                path, nodes[path].ino, was[path], local[path], comes[path],
                base_place=f"{record.oaio_id}/{_having(path, was[path], agreed, base).stamp}/{path}",
                place=f"{remote.oaio_id}/{remote.stamp}/{path}",
            )
            for path in plan.both_edited(was, local, comes, at_most=lines.MAX_BYTES)
        ]  # fmt: skip

    def _is_still(self, node: Node) -> bool:
        return node.local and not node.dirty and not self.store.writers[node.ino]

    async def _merge(self, host: StorageHost, job: _Job, merged: dict[str, MergedText]) -> None:
        """Add to *merged* what comes of the job, if anything does."""
        node = self.store.find_node(job.ino)
        if node is None:
            return
        mine = await trio.to_thread.run_sync(_read_text, self.store.absolute(node), job.mine)
        base = None if mine is None else await _fetch(host, job.base_place, job.base.size)
        theirs = None if base is None else await _fetch(host, job.place, job.theirs.size)
        if mine is None or base is None or theirs is None:
            return
        staged = self.store.files.new_staging()
        try:
            place, now_ns = self.store.files.absolute(staged), int(self.store.wall_clock() * 1e9)
            fact = await trio.to_thread.run_sync(_merge_into, place, job, base, mine, theirs, now_ns)
        except BaseException:
            self.store.files.remove(staged)
            raise
        if fact is not None:
            merged[job.path] = MergedText(job.ino, job.base, job.mine, job.theirs, fact, staged)


def _having(path: str, fact: FileFact, *versions: Version) -> Version:
    """The first of the *versions* that has this content at *path*, the last where none has."""
    return next((one for one in versions if fact.same_content(one.files.get(path))), versions[-1])


def _fact(data: bytes, mtime_ns: int = 0) -> FileFact:
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()  # the storage hosts' checksum
    return FileFact(len(data), md5, mtime_ns)


def _read_text(path: str, fact: FileFact) -> bytes | None:
    """The text at the absolute *path*; None when it is none, or not *fact*. Blocks."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(fact.size + 1)
    except FileNotFoundError:
        return None  # renamed or removed meanwhile
    return data if lines.is_text(data) and fact.same_content(_fact(data)) else None


def _merge_into(path: str, job: _Job, base: bytes, mine: bytes, theirs: bytes, now_ns: int) -> FileFact | None:
    """Write what comes of three contents to the new file *path*, durably; None when nothing does. Blocks."""
    if not (job.base.same_content(_fact(base)) and job.theirs.same_content(_fact(theirs))):
        return None
    merged = lines.merge_lines(base, mine, theirs)
    if merged is None:
        return None
    fact = _fact(merged, now_ns)
    if fact.same_content(job.theirs):
        fact = job.theirs  # its time too: to this device's user nothing is newer than that
    with open(path, "xb") as stream:
        stream.write(merged)
    os.utime(path, ns=(fact.mtime_ns, fact.mtime_ns))
    sync_file(path)
    return fact


async def _fetch(host: StorageHost, path: str, size: int) -> bytes | None:
    """What is stored at *path*, but little more than *size* bytes; None when it can't be had."""
    data = bytearray()
    try:
        async with host.get(path) as chunks:
            async for chunk in chunks:
                data += chunk
                if len(data) > size:
                    break
    except _TRANSIENT:
        raise
    except RemoteError as error:
        log.info("%s can't be had, so there is no merge by lines: %s", path, error)
        return None
    return bytes(data)
