"""A version begun here of which it is not known whether the server was told: what becomes of it.

The row of an object has it (``pending``) from before its first byte is stored until it is agreed on or cleared away, so
that a killed process, a lost answer or a right that ended in between leave nothing that looks like somebody's version.
Must not know how a version is stored or announced.
"""

from __future__ import annotations

import logging

import trio

from ..cache import agree
from ..cache.records import ObjectRecord
from ..cache.store import Store
from ..core import lineage, merge
from ..core.model import FileSet, RemoteObject, Stamp, Version
from ..errors import Conflict, Forbidden, RemoteError
from ..remote.contract import OaioServer, OpenHost

log = logging.getLogger(__name__)

_ABANDON = 10.0  # seconds for what is tried again before the next push anyway


class Pending:
    """The pending versions of one store's objects."""

    def __init__(self, store: Store, server: OaioServer, open_host: OpenHost) -> None:
        self._store = store
        self._server = server
        self._open_host = open_host
        #: Versions being stored, or left in part by a try that failed: surely nobody was told of them.
        self._unheard: dict[int, Stamp] = {}

    def begin(self, key: int, stamp: Stamp) -> None:
        """This one is being stored."""
        self._unheard[key] = stamp

    def announcing(self, key: int) -> None:
        """It is stored: from now on somebody may have heard of it."""
        self._unheard.pop(key, None)

    def forget(self, key: int) -> None:
        """Another device's version has this stamp: nothing of it is ours."""
        self._unheard.pop(key, None)
        self._store.update_object(key, pending=None)

    async def begun(self, record: ObjectRecord) -> Version | None:
        """A version begun before that can still become the next one; what can't is cleared away.

        Raises Conflict when it has become the server's and only the answer was lost, or another one may have been made
        from it.
        """
        pending = record.pending
        if pending is not None and self._unheard.get(record.key) != pending.stamp:
            current = await self._told(record)
            if current is not None and current.stamp not in (record.base_stamp, pending.stamp):
                raise Conflict(f"{record.name} was changed elsewhere")
            if current is not None and current.stamp == pending.stamp:
                pending = None
        if pending is not None and pending.stamp > (record.base_stamp or ""):
            return pending
        await self.clear(record)
        return None

    def goes_on(self, begun: Version, record: ObjectRecord, wanted: FileSet) -> bool:
        """Whether the next version may be made under this stamp: the server may still get to hear of what it was."""
        unheard = self._unheard.get(record.key) == begun.stamp
        return unheard or (same_files(begun.files, wanted) and merge.same(begun.values, record.values))

    async def end(self, key: int, remote: RemoteObject, files: FileSet) -> None:
        """Another version came than the pending one: made from that, it makes it the base; else it never was one.

        Merged from the base before, what was edited here after the pending version would seem to be edited there too.
        """
        record = self._store.record(key)
        pending = record.pending
        if pending is None or pending.stamp == remote.stamp:  # the latter is somebody else's by now
            return
        if not record.rebuilt and lineage.went_on(agree.agreed(self._store, record), pending, remote, files):
            self._unheard.pop(key, None)
            agree.rebase_on_pending(self._store, key, last_writer_wins=not self._server.checks_base)
        else:
            await self.clear(record)

    async def abandon(self, key: int) -> None:
        """Remove a version's folder that will not be announced; what fails now is tried again before the next push."""
        try:
            with trio.move_on_after(_ABANDON, shield=True):
                await self.clear(self._store.record(key))
        except RemoteError:
            return

    async def clear(self, record: ObjectRecord) -> None:
        """Clear away a version begun before, once the server says that it did not become the current one.

        Raises Conflict when it did, whatever the answer was: to be adopted, by no means removed or forgotten.
        """
        self._unheard.pop(record.key, None)
        if record.pending is None:
            return
        current = await self._told(record)
        if current is not None and (
            lineage.is_announced(record.pending, current) or record.pending.stamp in current.lineage
        ):
            raise Conflict(f"the last version of {record.name} had arrived after all")
        if current is None or current.stamp != record.pending.stamp:
            await self._remove(record, record.pending)
        self._store.update_object(record.key, pending=None)

    async def _told(self, record: ObjectRecord) -> RemoteObject | None:
        """What the server lists of the object; None only for one that it surely has not registered.

        A listing that lacks a registered object, or has entries that can't be read, is no reason to remove anything.
        """
        listing = await self._server.list_objects()
        found = next((one for one in listing.objects if one.oaio_id == record.oaio_id), None)
        if found is None and (listing.skipped or record.base_stamp is not None):
            raise RemoteError(f"{record.name} is not in the server's list just now: looking again later")
        return found

    async def _remove(self, record: ObjectRecord, pending: Version) -> None:
        if not record.oaio_id or pending.stamp == record.base_stamp or not pending.files:
            return
        host = await self._open_host(record.csh_id)
        try:
            await host.remove(f"{record.oaio_id}/{pending.stamp}")
        except Forbidden:  # the right was taken away meanwhile
            log.info("%s: a version that nobody was told of stays on the storage host", record.name)


def same_files(a: FileSet, b: FileSet) -> bool:
    """The same paths with the same contents."""
    return a.keys() == b.keys() and all(fact.same_content(b[path]) or fact == b[path] for path, fact in a.items())
