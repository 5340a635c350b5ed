"""How one object's bytes and versions travel: bring a placeholder's bytes, take over a version, make and announce one.

Each function does one thing to one object and returns or raises; when, in what order and how often is ``sync``'s.
Must not know FUSE, the mount, or HTTP (``remote.contract`` is all it sees of the outside).

A version is made complete under its own stamp on the storage host, compared with what was meant, and only then
announced. What is sent is a snapshot of the file, so a program may write on meanwhile; what changed under our hands is
found by comparing counters after every ``await``, never prevented by a lock.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import trio

from ..cache import apply, objects
from ..cache.records import Kind, ObjectRecord
from ..cache.store import ROOT_INO, Store
from ..cache.workdir import md5_of, sync_file
from ..core import lineage, merge, names, stamps
from ..core.model import OLDEST_STAMP, FileFact, FileSet, OaioId, Outgoing, Quota, RemoteObject, Stamp, Version
from ..errors import (
    ChangedMeanwhile,
    Conflict,
    Corrupt,
    Forbidden,
    RemoteError,
    RemoteExists,
    RemoteNotFound,
    StorageFull,
)
from ..remote.contract import OaioServer, OpenHost
from .downloads import Downloads
from .version import VersionBuilder

_NOT_KNOWN = FileFact(-1, "")  # a file in the middle of being written is like no other
_RECENT = 2.0  # seconds in which an editor that removed a file puts the new one in its place
_LATELY = 60.0  # seconds after which the kernel has written a file's bytes by itself


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push came to: *stamp* of the announced version, None when there was nothing new to announce.

    *postponed* paths were left out because somebody is in the middle of writing or replacing them; *refused* maps
    paths that no storage host takes to the reason.
    """

    stamp: Stamp | None
    postponed: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)


class Transfer:
    """Moves bytes between one store and the outside. *username*, *device_id*, *app_id* sign what is made here."""

    def __init__(
        self,
        store: Store,
        server: OaioServer,
        open_host: OpenHost,
        *,
        username: str,
        device_id: str,
        app_id: str,
        csh_id: str,
        announce: Callable[[int, str], None] = lambda parent, name: None,
        longest_quiet: float = 30.0,
    ) -> None:
        self.store = store
        self.server = server
        self._open_host = open_host
        self.username, self.device_id, self.app_id = username, device_id, app_id
        self._csh_id = csh_id
        self._announce = announce
        self._longest_quiet = longest_quiet
        self.downloads = Downloads(store, open_host)

    # -- what is here ----------------------------------------------------------------------------------------

    async def _hash_changed(self, key: int) -> None:
        """Learn the content of every changed file that nobody is writing just now."""
        for node in list(self.store.attached(key).values()):
            if not node.dirty or not node.local or self._being_written(node.ino):
                continue
            writes = self.store.writes[node.ino]
            self.store.marked.discard(node.ino)  # a write from now on is noted anew
            path = self.store.absolute(node)
            try:
                status = os.stat(path)
                md5 = await trio.to_thread.run_sync(md5_of, path)
            except FileNotFoundError:
                continue  # renamed or removed meanwhile: seen at the next look
            apply.hashed(self.store, node.ino, writes, status.st_size, md5, status.st_mtime_ns)

    def _being_written(self, ino: int) -> bool:
        """Whether a program has written and neither closed nor synced, nor paused for long: a part may be missing."""
        last = self.store.changes.contents.get(ino, 0.0)
        return self.store.unflushed[ino] > 0 and self.store.steady_clock() - last < self._longest_quiet

    def _facts(self, key: int) -> dict[str, FileFact]:
        """What is here, editors' own files too, for a merge: those being written count as changed."""
        facts = {}
        for path, node in self.store.walk(key):
            if node.kind is not Kind.DIRECTORY and not self.store.is_sidecar(node):
                facts[path] = _NOT_KNOWN if node.dirty or node.kind is Kind.LINK else node.fact
        return facts

    # -- a version from the server ---------------------------------------------------------------------------

    async def pull(self, key: int, remote: RemoteObject) -> None:
        """Take over the version *remote*, merged with what changed here; what differs stays dirty."""
        record = self.store.record(key)
        if record.pending is not None and record.pending.stamp != remote.stamp:  # else it is somebody else's by now
            await self._remove_leftover(record)
        files = await self.list_version(remote)
        await self._hash_changed(key)
        if self.store.record(key).removed:
            raise ChangedMeanwhile("the object was removed here while a new version of it came in")
        applied = apply.remote_version(self.store, key, remote, files, self._facts(key), self.device_id)
        for parent, name in applied.names:
            self._announce(parent, name)

    async def adopt(self, remote: RemoteObject) -> None:
        """Show an object never seen here, once all of it is known: never empty, never half."""
        files = await self.list_version(remote)
        with self.store.state.transaction():
            head = objects.adopt(self.store, remote)
            applied = apply.remote_version(self.store, head.key, remote, files, {}, self.device_id)
        objects.run_intents(self.store)
        for parent, name in applied.names | {(ROOT_INO, head.name)}:
            self._announce(parent, name)

    async def forget_hosts(self) -> None:
        """A storage password is not accepted any more: the server may have a new one."""
        await self._open_host.forget()

    async def quota(self) -> Quota:
        """Room on the storage host of new objects."""
        return await (await self._open_host(self._csh_id)).quota()

    async def list_version(self, remote: RemoteObject) -> FileSet:
        """The attached files of an announced version, as the storage host has them; RemoteError if it lacks any."""
        if not remote.file_paths:
            return {}
        host = await self._open_host(remote.csh_id)
        shown = names.safe_name(remote.oaio_id)[:80]
        missing = f"version {remote.stamp} of {shown} is announced, but the storage host "
        try:
            listed = await host.list_tree(f"{remote.oaio_id}/{remote.stamp}")
        except RemoteNotFound:
            raise RemoteError(missing + "does not have it") from None
        lacking = [path for path in remote.file_paths if path not in listed]
        if lacking:
            raise RemoteError(f"{missing}lacks {len(lacking)} of its files, {lacking[0][:80]!r} for one")
        return {path: listed[path] for path in remote.file_paths}

    # -- a version for the server ----------------------------------------------------------------------------

    async def push(self, key: int) -> Pushed:
        """Make the next version of what is here now and announce it.

        Raises Conflict when the server's version is another one than ours was made from, ChangedMeanwhile, and what
        the outside raises. Whatever happens, what is here stays, and dirty.
        """
        await self._remove_leftover(self.store.record(key))
        await self._hash_changed(key)
        record = self.store.record(key)
        if record.removed:
            raise ChangedMeanwhile(f"{record.name} was removed")
        wanted, postponed, refused = self._wanted(record)
        base = self.store.base_files(key)
        seq = record.local_seq - bool(postponed)
        if record.base_stamp and _same_files(base, wanted) and merge.same(record.values, record.base_values):
            apply.nothing_to_push(self.store, key, seq)
            return Pushed(None, postponed, refused)
        version = self._next_version(record, wanted)
        try:
            stored = await self._store_version(key, version, base)
            answer = await self._announce_version(key, replace(version, files=stored), base)
        except (ChangedMeanwhile, Conflict, Corrupt, Forbidden, RemoteNotFound, StorageFull):
            await self._abandon(key, version.stamp)
            raise
        # Any other failure leaves the outcome open: what is pending says so until the server can be asked.
        agreed = Version(answer.stamp, version.values, stored)
        apply.settle(self.store, key, seq, answer, agreed, last_writer_wins=not self.server.checks_base)
        await self._make_durable(key, stored)
        return Pushed(answer.stamp, postponed, refused)

    def _wanted(self, record: ObjectRecord) -> tuple[dict[str, FileFact], tuple[str, ...], dict[str, str]]:
        """The files of the next version, the paths that wait, and those that no storage host takes."""
        nodes = self.store.attached(record.key)
        base = self.store.base_files(record.key)
        refused = {one.what: one.why for one in names.unstorable(nodes)}
        wanted = {path: node.fact for path, node in nodes.items() if path not in refused and not node.dirty}
        waiting = {path for path, node in nodes.items() if node.dirty and path not in refused}
        waiting |= self._just_gone(record.key, {path for path in base if path not in nodes})
        wanted |= {path: base[path] for path in waiting if path in base}
        return wanted, tuple(sorted(waiting)), refused

    def _just_gone(self, key: int, gone: set[str]) -> set[str]:
        """Names that vanished in a busy object so lately that an editor may be about to put a new file there."""
        changes = self.store.changes
        activity = changes.objects.get(key)
        now = self.store.steady_clock()
        if activity is None or now - activity.first < self._longest_quiet:
            return set()
        recent = (path for path in gone if now - changes.vanished.get((key, path), 0.0) < _RECENT)
        return set(recent)

    def _next_version(self, record: ObjectRecord, wanted: FileSet) -> Version:
        now = datetime.fromtimestamp(self.store.wall_clock(), UTC)
        base = record.base_stamp or OLDEST_STAMP
        if stamps.make(now) <= base:
            # That clock was ahead of ours. Not just the next moment: every device with a right clock would take it.
            now = stamps.to_datetime(base) + timedelta(microseconds=random.randint(1, 1_000_000))
        stamp = stamps.after(base, now)
        version = Version(stamp, record.values, wanted)
        oaio_id = record.oaio_id or names.make_oaio_id(
            self.app_id, self.username, self.device_id, record.values, tuple(wanted), stamp
        )
        self.store.update_object(record.key, oaio_id=oaio_id, pending=version)
        return version

    async def _store_version(self, key: int, version: Version, base: FileSet) -> FileSet:
        """Build the version's folder on the storage host; its files as the host lists them."""
        if not version.files:
            return {}
        record = self.store.record(key)
        host = await self._open_host(record.csh_id)
        folder = f"{record.oaio_id}/{version.stamp}"
        base_folder = f"{record.oaio_id}/{record.base_stamp}" if record.base_stamp else ""
        await VersionBuilder(self.store, self.downloads, host, record, folder, base_folder, version.files).run(base)
        listed = dict(await host.list_tree(folder))
        for stray in listed.keys() - version.files.keys():  # came along with the base version's folder
            await host.remove(f"{folder}/{stray}")
            del listed[stray]
        if not _same_files(version.files, listed, unknown_is_same=True):
            raise Corrupt(f"the storage host did not keep the files of {record.name} as they were sent")
        return {path: replace(fact, mtime_ns=listed[path].mtime_ns) for path, fact in version.files.items()}

    async def _announce_version(self, key: int, version: Version, base: FileSet) -> RemoteObject:
        record = self.store.record(key)
        outgoing = Outgoing(
            oaio_id=OaioId(record.oaio_id or ""), stamp=version.stamp, base=record.base_stamp or "",
            values=version.values, file_paths=tuple(version.files), base_values=record.base_values,
            base_file_paths=tuple(base),
            csh_id=record.csh_id, right=record.right, dialect=record.dialect,
        )  # fmt: skip
        if record.base_stamp is None:
            return await self._register(record, outgoing)
        await self._check_current(record)
        answer = await self.server.upload(outgoing)
        if not self.server.checks_base:
            answer = await self._listed(record) or answer  # whoever came after us has the last word there
        if answer.stamp != version.stamp:
            raise Conflict(f"somebody announced another version of {record.name} at the same moment")
        return answer

    async def _register(self, record: ObjectRecord, outgoing: Outgoing) -> RemoteObject:
        try:
            answer = await self.server.register(outgoing)
        except RemoteExists:
            raise Conflict(f"the server has another version of {record.name} already") from None
        if answer.stamp != outgoing.stamp and outgoing.file_paths:
            # The server may move the stamp of a new object (PROTOCOL.md): its files are looked for under that one.
            host = await self._open_host(record.csh_id)
            await host.copy(f"{record.oaio_id}/{outgoing.stamp}", f"{record.oaio_id}/{answer.stamp}")
            await host.remove(f"{record.oaio_id}/{outgoing.stamp}")
        return answer

    async def _check_current(self, record: ObjectRecord) -> None:
        """Servers in the field let the last writer win: look just before announcing that the base is still theirs."""
        if self.server.checks_base:
            return
        current = await self._listed(record)
        if current is not None and current.stamp != record.base_stamp:
            raise Conflict(f"{record.name} was changed elsewhere")

    async def delete(self, record: ObjectRecord) -> None:
        """Delete a registered object for all users. Raises Conflict when somebody changed it since it was agreed."""
        current = await self._listed(record)
        if record.oaio_id is None or current is None or current.stamp != record.base_stamp:
            raise Conflict(f"{record.name} was changed elsewhere: look again before it is deleted")
        await self.server.delete(record.oaio_id)

    async def _listed(self, record: ObjectRecord) -> RemoteObject | None:
        listing = await self.server.list_objects()
        return next((one for one in listing.objects if one.oaio_id == record.oaio_id), None)

    async def _abandon(self, key: int, stamp: Stamp) -> None:
        """Remove a version's folder that will not be announced; what fails now is tried again before the next push."""
        record = self.store.record(key)
        try:
            with trio.move_on_after(10, shield=True):
                current = await self._listed(record)
                if current is None or current.stamp != stamp:  # else it is somebody's after all
                    await self._remove_version(record, stamp)
                self.store.update_object(key, pending=None)
        except RemoteError:
            return

    async def _remove_leftover(self, record: ObjectRecord) -> None:
        """Clear away a version begun before, once the server says that it did not become the current one.

        Raises Conflict when it did and only the answer was lost: to be adopted, by no means removed.
        """
        if record.pending is None:
            return
        current = await self._listed(record)
        if current is not None and lineage.is_announced(record.pending, current):
            raise Conflict(f"the last version of {record.name} had arrived after all")
        if current is None or current.stamp != record.pending.stamp:
            await self._remove_version(record, record.pending.stamp)
        self.store.update_object(record.key, pending=None)

    async def _remove_version(self, record: ObjectRecord, stamp: Stamp) -> None:
        if record.oaio_id and stamp != record.base_stamp and record.pending and record.pending.files:
            host = await self._open_host(record.csh_id)
            await host.remove(f"{record.oaio_id}/{stamp}")

    async def _make_durable(self, key: int, stored: FileSet) -> None:
        """What the database now calls agreed must not be found half-written after a power cut."""
        nodes = self.store.attached(key)
        paths = [self.store.absolute(nodes[path]) for path in stored if path in nodes and nodes[path].local]

        def sync_all() -> None:
            for path in filter(_written_lately, paths):
                sync_file(path)
            self.store.state.sync_to_disk()

        await trio.to_thread.run_sync(sync_all)


def _same_files(a: FileSet, b: FileSet, *, unknown_is_same: bool = False) -> bool:
    """The same paths with the same contents; *unknown_is_same* trusts a host that tells no hashes for equal sizes."""
    return a.keys() == b.keys() and all(
        fact.same_content(b[path])
        or fact == b[path]
        or (unknown_is_same and fact.size == b[path].size and not (fact.md5 and b[path].md5))
        for path, fact in a.items()
    )


def _written_lately(path: str) -> bool:
    try:
        return time.time() - os.stat(path).st_ctime < _LATELY
    except FileNotFoundError:
        return False
