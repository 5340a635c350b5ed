"""One step of one object, as the planner named it: carried out, and what was learnt of the server's side noted.

Must not know when a step is due, nor what becomes of one that fails.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable

from ..cache import agree, records, restore, trash
from ..cache.records import ObjectRecord
from ..cache.store import Activity, Store
from ..core.model import OaioId, Right
from ..core.plan import ObjectVerb
from ..errors import AccessDenied, ChangedMeanwhile, OaiofsError
from ..remote.contract import OaioServer
from ..transfer import Transfer
from .sight import Seen, Sight


class Steps:
    """What can be done with objects. *gone* hears of those that are no more."""

    def __init__(
        self, store: Store, server: OaioServer, transfer: Transfer, seen: Sight, gone: Callable[[ObjectRecord], None]
    ) -> None:
        self._store = store
        self._server = server
        self._transfer = transfer
        self._seen = seen
        self._gone = gone
        self.refused: dict[int, dict[str, str]] = {}  # object -> path -> why no storage host takes it

    async def take(self, record: ObjectRecord, verb: ObjectVerb) -> OaiofsError | None:
        """Carry out the step. What is returned says why there is none to make until something changes."""
        match verb:
            case ObjectVerb.REGISTER | ObjectVerb.PUSH:
                await self._push(record)
            case ObjectVerb.PULL | ObjectVerb.MERGE:
                await self._pull(record)
            case ObjectVerb.ADOPT_PENDING:
                last_writer_wins = not self._server.checks_base
                agree.rebase_on_pending(self._store, record.key, last_writer_wins=last_writer_wins)
                self._seen.differing.discard(record.key)
            case ObjectVerb.LEAVE:
                if self._being_written(record.key):
                    raise ChangedMeanwhile(f"{record.name} is gone from the server, but a program is writing in it")
                trash.leave(self._store, record, "no longer on the server")
                self._gone(record)
            case ObjectVerb.DELETE | ObjectVerb.UNSUBSCRIBE | ObjectVerb.FORGET | ObjectVerb.RESURRECT:
                await self._bury(record, verb)
            case ObjectVerb.PARK:
                return await self._park(record)
        return None

    async def adopt(self, oaio_id: OaioId) -> None:
        """Show an object that was never seen here."""
        remote = self._seen.moved.get(oaio_id)
        if remote is None:
            raise ChangedMeanwhile(f"{oaio_id}: no longer listed")
        if self._store.record_of_id(oaio_id) is None:
            await self._transfer.adopt(remote)
        known = self._store.record_of_id(oaio_id)
        if known is not None:
            self._seen.adopted(oaio_id, known.key, remote.stamp)

    async def _push(self, record: ObjectRecord) -> None:
        pushed = await self._transfer.push(record.key)
        after = self._store.record(record.key)
        if pushed.stamp is not None and after.oaio_id is not None:
            self._seen.announced(after.oaio_id, record.key, Seen(pushed.stamp, after.right))
        self.refused[record.key] = pushed.refused
        if pushed.postponed:
            now = self._store.steady_clock()
            self._store.changes.objects[record.key] = Activity(now, now)
            raise ChangedMeanwhile(f"{', '.join(pushed.postponed)} will follow: being written just now")

    async def _pull(self, record: ObjectRecord) -> None:
        remote = self._seen.moved.get(record.oaio_id) if record.oaio_id else None
        if remote is None:
            self._seen.differing.discard(record.key)
            raise ChangedMeanwhile(f"{record.name}: waiting for the next look at the server")
        await self._transfer.pull(record.key, remote)
        self._seen.done(remote.oaio_id, remote.stamp)

    async def _park(self, record: ObjectRecord) -> OaiofsError | None:
        if await self._transfer.settle_unchanged(record.key):
            return None
        if self._store.record(record.key).local_seq != record.local_seq:
            raise ChangedMeanwhile(f"{record.name}: changed while it was looked at")
        return AccessDenied(parked(record))

    def _being_written(self, key: int) -> bool:
        return any(self._store.writers[node.ino] for node in records.nodes_of(self._store.db, key))

    async def _bury(self, record: ObjectRecord, verb: ObjectVerb) -> None:
        """Carry out, or take back, a removal. Raises ChangedMeanwhile where the trash gave the object back."""
        if not record.removed:
            raise ChangedMeanwhile(f"{record.name} was restored")
        if verb is ObjectVerb.DELETE and record.oaio_id:
            await self._transfer.delete(record)
        elif verb is ObjectVerb.UNSUBSCRIBE and record.oaio_id:
            await self._server.subscribe(record.oaio_id, self._transfer.username, Right.NONE)
        if not self._store.record(record.key).removed:
            self._renew(record)
            return
        self._store.delete_object(record.key)  # the trash keeps its files and a note
        self._gone(record)
        if verb is ObjectVerb.RESURRECT and record.oaio_id in self._seen.moved:
            self._seen.unknown.add(record.oaio_id)

    def _renew(self, record: ObjectRecord) -> None:
        """The object came back from the trash while the server was removing it: it becomes a new one there."""
        self._seen.forget(record)
        restore.renew(self._store, record.key)


def parked(record: ObjectRecord) -> str:
    """What holds changes here of an object that may only be read by now, and what the user can do, as a sentence."""
    return (
        "you may only read this object now: your changes are kept here until its owner gives you right U, or until you "
        f"take them back with `oaiofs restore {shlex.quote(record.name)} --version {record.base_stamp}`"
    )
