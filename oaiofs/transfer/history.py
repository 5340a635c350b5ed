"""The versions of an object that were announced before, and their contents: asked for when wanted, and kept a while.

Which versions there are is the storage host's folders together with what the server's log tells (the self-hosted one)
or what this device has agreed on (all others). Contents come into a cache of their own below the client root, which
may be removed at any time. Nobody but who asked waits here; offline, what is not kept is refused at once.

Must not know the mount, nor commands.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import cachetools
import trio

from ..cache import records
from ..cache.records import ObjectRecord
from ..cache.store import Store
from ..cache.versions import VersionFiles
from ..core import history, names, sidecar
from ..core.history import StoredVersion, Told
from ..core.model import FileFact, OaioId, RemoteObject, Stamp
from ..errors import Corrupt, NotFound, RemoteNotFound, Unsupported
from ..remote.contract import OaioServer, OpenHost
from .downloads import Downloads

#: Seconds for which the list of versions is believed while no version comes in that this device hears of.
_FRESH = 15.0
#: Objects whose lists of versions are kept in memory, each with the values of all its versions.
_MOST_OBJECTS = 16
#: Files of all the versions that are kept in memory; one version may have more.
_MOST_FILES = 100_000


@dataclass(frozen=True, slots=True)
class _Known:
    """The versions of one object, oldest first, as asked at *at* (steady clock), when *base* was the agreed one."""

    at: float
    base: Stamp | None
    versions: tuple[Told, ...]


class History:
    """The old versions of one store's objects, by the objects' numbers."""

    def __init__(self, store: Store, server: OaioServer, open_host: OpenHost, downloads: Downloads) -> None:
        self.store = store
        self.contents = VersionFiles(store)
        self._server = server
        self._open_host = open_host
        self._downloads = downloads
        self._known: cachetools.LRUCache[int, _Known] = cachetools.LRUCache(_MOST_OBJECTS)
        self._files: cachetools.LRUCache[tuple[int, Stamp], StoredVersion] = cachetools.LRUCache(
            _MOST_FILES, getsizeof=lambda version: len(version.files) + 1
        )
        self._asking: dict[object, trio.Lock] = {}

    # -- which there are -------------------------------------------------------------------------------------

    async def versions(self, key: int, *, anew: bool = False) -> tuple[Told, ...]:
        """All versions of the object, oldest first. Raises RemoteError; Unreachable offline where none are known."""
        async with self._one_at_a_time(key):
            record = self.store.record(key)
            known = self._known.get(key)
            if known is not None and (self._downloads.offline() or (self._is_fresh(known, record) and not anew)):
                return known.versions
            versions = await self._ask(record)
            self._known[key] = _Known(self.store.steady_clock(), record.base_stamp, versions)
            return versions

    def _is_fresh(self, known: _Known, record: ObjectRecord) -> bool:
        return known.base == record.base_stamp and self.store.steady_clock() - known.at < _FRESH

    async def _ask(self, record: ObjectRecord) -> tuple[Told, ...]:
        if record.oaio_id is None or record.base_stamp is None:
            return ()
        await self._downloads.be_online()
        logged = {one.stamp: one for one in await self._logged(record)}
        begin = min(logged, default=None)  # of the server's log; what was agreed before it is remembered here alone
        told = {stamp: one for stamp, one in self._agreed(record).items() if begin is None or stamp < begin} | logged
        folders = await self._folders(record)
        return history.listed(folders, told.values(), record.base_stamp, logged_from=begin)

    async def _logged(self, record: ObjectRecord) -> tuple[Told, ...]:
        """What the server's log tells; () where it keeps none."""
        try:
            return tuple(map(_told, await self._server.announced_versions(OaioId(record.oaio_id or ""))))
        except Unsupported:
            return ()

    def _agreed(self, record: ObjectRecord) -> dict[Stamp, Told]:
        """What this device remembers of the versions that it had."""
        found = {
            stamp: Told(stamp, values, files=files)
            for stamp, (values, files) in records.ancestors(self.store.db, record.key).items()
        }
        if record.prior is not None:
            found[record.prior.stamp] = Told(record.prior.stamp, record.prior.values, tuple(record.prior.files))
        if record.base_stamp is not None:
            paths = None if record.rebuilt else tuple(self.store.base_files(record.key))
            found[record.base_stamp] = Told(
                record.base_stamp, record.base_values, paths,
                username=record.username, device_id=record.device_id, app_id=record.app_id, csh_id=record.csh_id,
            )  # fmt: skip
        return found

    async def _folders(self, record: ObjectRecord) -> tuple[str, ...]:
        host = await self._open_host(record.csh_id)
        try:
            return await host.list_folders(str(record.oaio_id))
        except RemoteNotFound:
            return ()  # no version of it ever had a file

    # -- one version -----------------------------------------------------------------------------------------

    async def version(self, key: int, stamp: Stamp) -> StoredVersion:
        """One of the ``versions``, with its files. Raises NotFound where there is none of that stamp."""
        kept = self._files.get((key, stamp))
        if kept is not None:
            return kept
        told = next((one for one in await self.versions(key) if one.stamp == stamp), None)
        if told is None:
            raise NotFound(f"there is no version {stamp}")
        async with self._one_at_a_time((key, stamp)):
            kept = self._files.get((key, stamp))
            if kept is not None:
                return kept
            tree = await self._tree(key, told)
            return self._keep(key, await trio.to_thread.run_sync(history.stored, told, tree))

    async def _tree(self, key: int, told: Told) -> Mapping[str, FileFact]:
        record = self.store.record(key)
        if told.file_paths == () or told.files == 0:
            return {}
        if told.stamp == record.base_stamp and not record.rebuilt:
            return self.store.base_files(key)
        await self._downloads.be_online()
        host = await self._open_host(told.csh_id or record.csh_id)
        try:
            return await host.list_tree(f"{record.oaio_id}/{told.stamp}")
        except RemoteNotFound:
            return {}

    async def all_of(self, key: int) -> tuple[StoredVersion, ...]:
        """All versions with their files, oldest first: with one listing of everything where several are not known."""
        versions = await self.versions(key)
        missing = [told for told in versions if (key, told.stamp) not in self._files and self._is_elsewhere(key, told)]
        if len(missing) > 1:
            await self._downloads.be_online()
            record = self.store.record(key)
            host = await self._open_host(record.csh_id)
            try:
                tree = await host.list_tree(str(record.oaio_id))
            except RemoteNotFound:
                tree = {}
            fetched = await trio.to_thread.run_sync(history.stored_in, tree, missing)
            for version in fetched.values():
                self._keep(key, version)
        else:
            fetched = {}
        return tuple([fetched.get(told.stamp) or await self.version(key, told.stamp) for told in versions])

    def _is_elsewhere(self, key: int, told: Told) -> bool:
        record = self.store.record(key)
        has_files = told.file_paths != () and told.files != 0
        return has_files and (told.stamp != record.base_stamp or record.rebuilt) and told.csh_id in ("", record.csh_id)

    def _keep(self, key: int, version: StoredVersion) -> StoredVersion:
        with contextlib.suppress(ValueError):  # larger than all that is kept
            self._files[key, version.told.stamp] = version
        return version

    def place(self, key: int, version: StoredVersion, path: str) -> str:
        """Where the storage host has the file: ``csh_id/oaio_id/stamp/path``."""
        record = self.store.record(key)
        return f"{version.told.csh_id or record.csh_id}/{record.oaio_id}/{version.told.stamp}/{path}"

    # -- contents --------------------------------------------------------------------------------------------

    async def open(self, key: int, version: StoredVersion, path: str) -> int:
        """A descriptor of the file's bytes, for reading. Raises what a download does."""
        fact, place = version.files[path], self.place(key, version, path)
        content = self.contents.name(fact, place)
        async with self._one_at_a_time(content):
            descriptor = self.contents.open(content)
            here = self.contents.local_like(key, fact) if descriptor is None else ""
            if here:
                staged = self.store.files.new_staging()
                await trio.to_thread.run_sync(self.contents.take_local, fact, content, here, staged)
                descriptor = self.contents.open(content)
            return await self._download(fact, place, content) if descriptor is None else descriptor

    async def _download(self, fact: FileFact, place: str, content: str) -> int:
        await trio.to_thread.run_sync(self.contents.make_room, fact.size)
        staged = self.store.files.new_staging()
        absolute = self.store.files.absolute(staged)
        try:
            try:
                md5 = await self._downloads.fetch_whole(place, absolute, fact.size)
            except RemoteNotFound:
                raise NotFound("the storage host does not have this file any more: its version was removed") from None
            if fact.md5 and md5 != fact.md5:
                raise Corrupt("the storage host sent other bytes of an old version than it announced")
            self.contents.put(staged, content)
        finally:
            self.store.files.remove(staged)
        descriptor = self.contents.open(content)
        if descriptor is None:
            raise NotFound("the file was removed from the cache at the same moment: open it again")
        return descriptor

    async def read(self, key: int, version: StoredVersion, path: str, most: int) -> bytes:
        """The first *most* bytes of a file."""
        descriptor = await self.open(key, version, path)
        try:
            return await trio.to_thread.run_sync(os.pread, descriptor, most, 0)
        finally:
            os.close(descriptor)

    @staticmethod
    def values_text(version: StoredVersion) -> bytes | None:
        """The version's values as the sidecar showed them; None where nobody here knows them."""
        return None if version.told.values is None else sidecar.render(version.told.values)

    @staticmethod
    def sidecar_name(version: StoredVersion) -> str:
        """What the values are called beside the version's files."""
        return names.sidecar_name(version.files)

    # -- removing --------------------------------------------------------------------------------------------

    async def remove(self, key: int, stamp: Stamp, csh_id: str) -> None:
        """Remove a version's files from the storage host, for all. Which may go is decided elsewhere."""
        await self._downloads.be_online()
        record = self.store.record(key)
        host = await self._open_host(csh_id or record.csh_id)
        await host.remove(f"{record.oaio_id}/{stamp}")
        self._files.pop((key, stamp), None)
        self._known.pop(key, None)

    async def announced(self, key: int) -> RemoteObject:
        """The object's current version, as the server says now. Raises RemoteNotFound."""
        await self._downloads.be_online()
        oaio_id = self.store.record(key).oaio_id
        listing = await self._server.list_objects()
        found = next((one for one in listing.objects if one.oaio_id == oaio_id), None)
        if found is None:
            raise RemoteNotFound("the server does not list this object just now: try again later")
        return found

    # -- asking ----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _one_at_a_time(self, what: object) -> AsyncIterator[None]:
        """Who asks for the same at the same time shares the answer; one who gives up lets the next one ask."""
        lock = self._asking.setdefault(what, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._asking.pop(what, None)


def _told(one: RemoteObject) -> Told:
    return Told(
        one.stamp, one.values, one.file_paths, username=one.username, device_id=one.device_id, app_id=one.app_id,
        csh_id=one.csh_id,
    )  # fmt: skip
