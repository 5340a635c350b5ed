"""How one object's bytes and versions travel: bring a placeholder's bytes, take over a version, make and announce one.

Each function does one thing to one object and returns or raises; when, in what order and how often is ``sync``'s.
Must not know FUSE, the mount, or HTTP (``remote.contract`` is all it sees of the outside).

A version is made complete under its own stamp on the storage host, compared with what was meant, and only then
announced. What is sent is a snapshot of the file, so a program may write on meanwhile; what changed under our hands is
found by comparing counters after every ``await``, never prevented by a lock.
"""

from __future__ import annotations

import functools
import os
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import trio

from ..cache import agree, apply, labels, objects, records, wipes
from ..cache.records import ObjectRecord
from ..cache.store import ROOT_INO, Store
from ..cache.workdir import sync_file
from ..core import merge, names, stamps
from ..core.model import OLDEST_STAMP, FileFact, FileSet, OaioId, Outgoing, Quota, RemoteObject, Stamp, Version
from ..errors import (
    ChangedMeanwhile,
    Conflict,
    Forbidden,
    RemoteExists,
    RemoteNotFound,
    StorageFull,
)
from ..remote.contract import OaioServer, OpenHost
from .downloads import Downloads
from .history import History
from .lines import TextMerges
from .local import Local, Moment
from .pending import Pending, same_files
from .sharing import Sharing
from .traffic import Traffic
from .version import VersionBuilder, is_moved
from .versions import Versions
from .wiping import Wiping

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
        traffic: Traffic | None = None,
    ) -> None:
        self.store = store
        self.server = server
        self._open_host = open_host
        self.username, self.device_id, self.app_id = username, device_id, app_id
        self._csh_id = csh_id
        self._announce = announce
        self._longest_quiet = longest_quiet
        self._traffic = traffic or Traffic()
        self.downloads = Downloads(store, open_host, announce)
        self.versions = Versions(store, open_host)
        self.history = History(store, server, open_host, self.downloads)
        self.sharing = Sharing(store, server, username, self._why_offline)
        self.wiping = Wiping(store, open_host, self._why_offline)
        self._local = Local(store, longest_quiet)
        self._texts = TextMerges(store, open_host)
        #: Stamps that somebody asked for the next versions of objects; kept while there is no newer version.
        self.stamps: dict[int, Stamp] = {}
        self._pending = Pending(store, server, open_host)

    def _why_offline(self) -> str:
        return self.downloads.offline()  # who knows that is wired later

    # -- a version from the server ---------------------------------------------------------------------------

    async def pull(self, key: int, remote: RemoteObject) -> None:
        """Take over the version *remote*, merged with what changed here; what differs stays dirty."""
        record = self.store.record(key)
        if record.base_stamp is None and is_moved(record.pending, remote, self.device_id):
            await self._move(record, remote.stamp)
        files = await self.versions.files_of(remote)
        await self._pending.end(key, remote, files)
        record = self.store.record(key)
        ancestor = None if record.rebuilt else await self.versions.ancestor(record, remote)
        stored = await self.versions.stored_base(record) if record.rebuilt else {}
        look = functools.partial(self._local.hash_changed, key)
        async with self._texts.ready(key, remote, files, look, ancestor) as texts:
            if self.store.record(key).removed:
                raise ChangedMeanwhile("the object was removed here while a new version of it came in")
            if record.rebuilt:
                self.versions.take_base(key, stored)
            local = self._local.facts(key)
            applied = apply.remote_version(
                self.store, key, remote, files, local, self.device_id, ancestor=ancestor, merged_texts=texts
            )
        self._tell(applied.names)

    async def adopt(self, remote: RemoteObject) -> None:
        """Show an object never seen here, once all of it is known: never empty, never half."""
        files = await self.versions.files_of(remote)
        with self.store.state.transaction():
            head = objects.adopt(self.store, remote)
            applied = apply.remote_version(self.store, head.key, remote, files, {}, self.device_id)
        objects.run_intents(self.store)
        self._tell(applied.names | {(ROOT_INO, head.name)})

    def _tell(self, names: Iterable[tuple[int, str]]) -> None:
        """Those that are gone first: nobody is to find anything by its old name who has seen it by its new one."""
        for parent, name in sorted(names, key=self._is_there):
            self._announce(parent, name)

    def _is_there(self, place: tuple[int, str]) -> bool:
        parent, name = place
        return name in self.store.by_name if parent == ROOT_INO else self.store.child(parent, name) is not None

    async def forget_hosts(self) -> None:
        """A storage password is not accepted any more: the server may have a new one."""
        await self._open_host.forget()

    async def quota(self) -> Quota:
        """Room on the storage host of new objects."""
        return await (await self._open_host(self._csh_id)).quota()

    # -- a version for the server ----------------------------------------------------------------------------

    async def push(self, key: int) -> Pushed:
        """Make the next version of what is here now and announce it.

        Raises Conflict when the server's version is another one than ours was made from, ChangedMeanwhile, and what
        the outside raises. Whatever happens, what is here stays, and dirty.
        """
        begun = await self._pending.begun(self.store.record(key))
        await self._local.hash_changed(key)
        moment = await self._local.moment(key)
        record, base = moment.record, moment.base
        if record.removed:
            raise ChangedMeanwhile(f"{record.name} was removed")
        if record.rebuilt:
            raise ChangedMeanwhile(f"{record.name} was made again here: the server's version comes in first")
        wanted, postponed, refused = await self._wanted(moment)
        seq = record.local_seq - bool(postponed)
        if _is_agreed(moment, wanted):
            await self._pending.clear(record)
            agree.nothing_to_push(self.store, key, seq)
            return Pushed(None, postponed, refused)
        if begun is not None and not self._pending.goes_on(begun, record, wanted):
            await self._pending.clear(record)
            raise ChangedMeanwhile(f"{record.name}: a version begun before is out of date")
        version = await self._next_version(record, wanted, None if begun is None else begun.stamp)
        if begun is None:  # else it may have been announced before, with the answer or the call itself on its way
            self._pending.begin(key, version.stamp)
        try:
            await self._make_durable(version.files, moment)
            stored = await self._store_version(key, version, moment, begun=begun is not None)
            self._pending.announcing(key)
            with self._traffic.step(self.store.record(key).oaio_id or "", "announcing"):
                answer = await self._announce_version(key, replace(version, files=stored), moment)
        except (ChangedMeanwhile, Conflict, Forbidden, RemoteNotFound, StorageFull):
            await self._pending.abandon(key)
            raise
        except RemoteExists:  # by chance another device's version has this stamp: nothing of ours is there
            self._pending.forget(key)
            raise ChangedMeanwhile(f"{record.name}: another version is being made under the same stamp") from None
        # Any other failure leaves the outcome open: what is pending says so until the server can be asked.
        agreed = Version(answer.stamp, version.values, stored)
        before = Version(record.base_stamp or OLDEST_STAMP, record.base_values, base)
        agree.settle(
            self.store, key, seq, answer, agreed, before=before, last_writer_wins=not self.server.checks_base
        )  # fmt: skip
        await trio.to_thread.run_sync(self.store.state.sync_to_disk)
        labels.write(self.store, key)  # after the rows that it repeats, also after a power cut
        return Pushed(answer.stamp, postponed, refused)

    async def settle_unchanged(self, key: int) -> bool:
        """Take what is here for the agreed version if it is, as after a touch or an edit that was taken back.

        Raises as ``push``: Conflict when a version begun here has become the server's.
        """
        await self._local.hash_changed(key)
        moment = await self._local.moment(key)
        wanted, postponed, refused = await self._wanted(moment)
        if postponed or refused or moment.record.rebuilt or not _is_agreed(moment, wanted):
            return False
        await self._pending.clear(moment.record)
        agree.nothing_to_push(self.store, key, moment.record.local_seq)
        return True

    async def _wanted(self, moment: Moment) -> tuple[dict[str, FileFact], tuple[str, ...], dict[str, str]]:
        """The files of the next version, the paths that wait, and those that no storage host takes."""
        nodes, base = moment.nodes, moment.base
        unstorable = await trio.to_thread.run_sync(names.unstorable, tuple(nodes))
        refused = {one.what: one.why for one in unstorable}
        wanted = {path: node.fact for path, node in nodes.items() if path not in refused and not node.dirty}
        waiting = {path for path, node in nodes.items() if node.dirty and path not in refused}
        waiting |= self._just_gone(moment.record.key, {path for path in base if path not in nodes})
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

    async def _next_version(self, record: ObjectRecord, wanted: FileSet, begun: Stamp | None = None) -> Version:
        now = datetime.fromtimestamp(self.store.wall_clock(), UTC)
        # Where that clock was ahead of ours: not just the next moment, every device with a right clock would take it.
        step = random.randint(1, 1_000_000)
        base, asked = record.base_stamp or OLDEST_STAMP, self.stamps.get(record.key)
        stamp = begun or (asked if asked and asked > base else stamps.after(base, now, step))
        version = Version(stamp, record.values, wanted)
        oaio_id = record.oaio_id or names.make_oaio_id(
            self.app_id, self.username, self.device_id, record.values, tuple(wanted), stamp
        )
        pending = await trio.to_thread.run_sync(records.dump_version, version)
        self.store.update_object(record.key, oaio_id=oaio_id, pending=pending)
        if record.oaio_id is None:
            labels.write(self.store, record.key)  # before any server hears of it
        return version

    async def _store_version(self, key: int, version: Version, moment: Moment, *, begun: bool) -> FileSet:
        """Build the version's folder on the storage host; its files as the host lists them."""
        if not version.files:
            return {}
        record = self.store.record(key)
        host = await self._open_host(record.csh_id)
        folder = f"{record.oaio_id}/{version.stamp}"
        base_folder = f"{record.oaio_id}/{record.base_stamp}" if record.base_stamp else ""
        builder = VersionBuilder(
            self.store, self.downloads, host, record, folder, base_folder, version.files, moment.nodes
        )  # fmt: skip
        with self._traffic.push(record.oaio_id or "", moment.base, version.files):
            listed = await builder.run(moment.base, begun=begun)
        return {path: FileFact(one.size, one.md5, listed[path].mtime_ns) for path, one in version.files.items()}

    async def _announce_version(self, key: int, version: Version, moment: Moment) -> RemoteObject:
        record = self.store.record(key)
        outgoing = Outgoing(
            oaio_id=OaioId(record.oaio_id or ""), stamp=version.stamp, base=record.base_stamp or "",
            values=version.values, file_paths=tuple(version.files), base_values=record.base_values,
            base_file_paths=tuple(moment.base),
            csh_id=record.csh_id, right=record.right, dialect=record.dialect,
            merged=record.restored.stamp if record.restored else "",
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
        if answer.stamp != outgoing.stamp:
            await self._move(record, answer.stamp)
        return answer

    async def _move(self, record: ObjectRecord, stamp: Stamp) -> None:
        """The server gave a new object another *stamp* (PROTOCOL.md): its files are looked for under that one."""
        if record.pending is None or not record.pending.files:
            return
        files, nodes = record.pending.files, self.store.attached(record.key)
        host = await self._open_host(record.csh_id)
        old, new = f"{record.oaio_id}/{record.pending.stamp}", f"{record.oaio_id}/{stamp}"
        builder = VersionBuilder(self.store, self.downloads, host, record, new, old, files, nodes)
        await builder.run(files, begun=True)
        await host.remove(old)

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
        await self.server.delete(record.oaio_id, record.base_stamp)
        wipes.deleted(self.store, record)

    async def _listed(self, record: ObjectRecord) -> RemoteObject | None:
        listing = await self.server.list_objects()
        return next((one for one in listing.objects if one.oaio_id == record.oaio_id), None)

    async def _make_durable(self, files: FileSet, moment: Moment) -> None:
        """Before a version is begun: after a power cut its id, stamp and folder must be known, and its files whole.

        Else what the database calls agreed could be found half-written, as if that were an edit.
        """
        paths = await self._local.places([moment.nodes[path] for path in files if path in moment.nodes])

        def sync_all() -> None:
            for path in filter(_written_lately, paths):
                sync_file(path)
            self.store.state.sync_to_disk()

        await trio.to_thread.run_sync(sync_all)


def _is_agreed(moment: Moment, wanted: FileSet) -> bool:
    """Whether the object with the *wanted* files is the version that was agreed on."""
    record = moment.record
    if not record.base_stamp:
        return False
    return same_files(moment.base, wanted) and merge.same(record.values, record.base_values)


def _written_lately(path: str) -> bool:
    try:
        return time.time() - os.stat(path).st_ctime < _LATELY
    except FileNotFoundError:
        return False
