"""When versions travel: look at the server now and then, and carry out what ``core.plan`` makes of it.

Two loops. The *poll loop* asks for the listing and keeps what differs from the agreed versions. The *plan loop* asks
the pure planner about each object with something to do and runs the one step that it names, a few objects at a time.
Nothing is queued: the work is a query over observations, asked anew after each step. A failed step is data on its
object (``Trouble``) and waits out its backoff; a bug that one object shows is logged and waits likewise.

Must not know FUSE, HTTP, or how a step is done (``transfer``). Times are seconds of trio's clock, so tests can turn it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import trio

from ..cache import apply, objects, records
from ..cache.records import ObjectRecord
from ..cache.store import ROOT_INO, Activity, Store
from ..core import names, pace, plan
from ..core.model import OaioId, Quota, Right
from ..core.plan import ObjectVerb
from ..errors import (
    AccessDenied,
    ChangedMeanwhile,
    Conflict,
    Forbidden,
    OaiofsError,
    RateLimited,
    Refused,
    StorageFull,
    TimedOut,
    Unauthorized,
    Unreachable,
    Unsupported,
)
from ..remote.contract import OaioServer
from ..transfer import Transfer
from .sight import Seen
from .watch import Rounds, Watch, jittered

log = logging.getLogger(__name__)

_PARALLEL = 4  # objects worked on at once
_COALESCE = 0.05  # seconds in which doorbells are one
_BREATH = 0.5  # seconds before a step that a change here has overtaken is tried again
_QUOTA_EVERY = 600.0
_PATIENCE = 3  # failures of an object after which a waiting `oaiofs sync` gives up
#: Rows with something that the servers do not know.
_UNSENT = "(local_seq > settled_seq OR removed_at IS NOT NULL)"
_OPEN = "local_seq > settled_seq OR removed_at IS NOT NULL OR pending IS NOT NULL"  # as the index has it
#: Trying these again soon changes nothing: the object waits, the others go on.
_PERMANENT = (StorageFull, Forbidden, AccessDenied, Unsupported)
_PERMANENT_WAIT = 300.0


#: Verbs that wait for the object's quiet time: what a program is in the middle of is neither sent nor merged.
_PATIENT = (
    ObjectVerb.REGISTER, ObjectVerb.PUSH, ObjectVerb.MERGE, ObjectVerb.DELETE, ObjectVerb.UNSUBSCRIBE,
    ObjectVerb.RESURRECT, ObjectVerb.FORGET,
)  # fmt: skip
#: Verbs with nothing to carry out now.
_RESTING = (ObjectVerb.NOTHING, ObjectVerb.KEEP_ORPHAN, ObjectVerb.PARK)

#: What a step is about: an object's number, or the id of one that is not known here yet.
Subject: TypeAlias = "int | OaioId"


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient to be, in seconds: between polls, after an object's last change, at most after its first."""

    poll: float = 15.0
    quiet: float = 2.0
    longest: float = 30.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an object's last step failed, how often in a row, and when it is tried again."""

    message: str
    failures: int
    not_before: float


class Sync:
    """Keeps one store and one account on the server the same."""

    def __init__(
        self,
        store: Store,
        server: OaioServer,
        transfer: Transfer,
        pace_: Pace,
        announce: Callable[[int, str], None] = lambda parent, name: None,
    ) -> None:
        self.store = store
        self.pace = pace_
        self._server = server
        self._transfer = transfer
        self._announce = announce
        self.watch = Watch(store, server, pace_.poll, announce, self.ring)
        self.removal_brake = ""  # why removals here are not told to the server, for the user
        self.quota = Quota()
        self.trouble: dict[Subject, Trouble] = {}
        self.refused: dict[int, dict[str, str]] = {}  # object -> path -> why no storage host takes it
        self.busy: dict[Subject, ObjectVerb] = {}
        self._not_before: dict[Subject, float] = {}  # steps that were overtaken by a change here
        self._bell = trio.Event()
        self._plans = Rounds()
        self._hurry = 0  # how many wait for everything to be sent at once
        store.doorbell = self.ring
        transfer.downloads.offline = self.watch.why_offline
        transfer.downloads.first_look = self.watch.first

    # -- doors ---------------------------------------------------------------------------------------------------

    def ring(self, key: int | None = None) -> None:
        """Something changed: in the object *key*, or in what is known of all."""
        if key in self.trouble and self.trouble[key].failures == 0:
            del self.trouble[key]  # parked for a reason that may be gone
        self._bell.set()

    async def run(self) -> None:
        """All loops, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watch.run)
            nursery.start_soon(self._plan_loop, nursery)
            nursery.start_soon(self._quota_loop)
            nursery.start_soon(self._find_refused)

    async def finish(self, timeout: float | None = None, *, confirmed: bool = False) -> None:
        """Return when every local change is on the servers and every remote one is here.

        Ignores quiet times and ends backoffs; *confirmed* releases the brakes. Raises Unreachable or Unauthorized,
        Refused where a brake holds, what keeps an object from being sent, or TimedOut; then the rest goes on in the
        background.
        """
        self._hurry += 1
        self.watch.confirmed = confirmed
        self.trouble.clear()
        try:
            with trio.move_on_after(float("inf") if timeout is None else timeout):
                await self.watch.now()
                self._bell.set()
                while True:  # whatever changes rings the bell, and so begins a round
                    await self._plans.next_whole()
                    if self._idle():
                        break
                    self._raise_trouble()
                self._raise_what_remains()
                return
            raise TimedOut(f"after {timeout:g} s the changes of {self.pending()} objects are still to be sent")
        finally:
            self._hurry -= 1
            self.watch.confirmed = False

    async def first_contact(self) -> None:
        """Return once the server was reached, or it is known that it can't be."""
        while self.watch.online is None:
            await self._plans.next_whole()

    async def first_look(self) -> None:
        """Return once every object that the server lists is shown, or it can't be reached."""
        while self.watch.online is None or (self.watch.online and self.watch.seen.unknown):
            await self._plans.next_whole()

    def _raise_what_remains(self) -> None:
        """Nothing can be done any more; is there nothing left to do?"""
        if self.watch.outage is not None:
            raise self.watch.outage
        if self.watch.brake or self.removal_brake:
            raise Refused(self.watch.brake or self.removal_brake)
        if self.pending():
            raise OaiofsError(f"the changes of {self.pending()} objects can't be sent: `oaiofs status` says why")

    def needing_user(self) -> int:
        """Objects with something that only the user can bring on its way: a draft, or a name that no host takes."""
        drafts = self.store.db.execute("SELECT count(*) FROM object WHERE draft IS NOT NULL").fetchone()[0]
        return int(drafts) + sum(map(bool, self.refused.values()))

    def _raise_trouble(self) -> None:
        for subject, trouble in self.trouble.items():
            if trouble.failures > _PATIENCE or trouble.not_before - trio.current_time() > _PERMANENT_WAIT / 2:
                head = self.store.heads.get(subject) if isinstance(subject, int) else None
                raise OaiofsError(f"{head.name if head else subject}: {trouble.message}")

    def _idle(self) -> bool:
        return not self.busy and next(self._steps(), None) is None

    def pending(self) -> int:
        """Objects with something that the servers do not know yet."""
        return int(self.store.db.execute(f"SELECT count(*) FROM object WHERE {_UNSENT}").fetchone()[0])  # noqa: S608

    def pending_since(self) -> float | None:
        """Wall-clock time of the oldest change that is not on the servers."""
        query = f"SELECT min(pending_since) FROM object WHERE {_UNSENT}"  # noqa: S608 - our own words
        found = self.store.db.execute(query).fetchone()[0]
        return None if found is None else float(found)

    async def _find_refused(self) -> None:
        """Files that no storage host takes are known again after a remount."""
        for key in list(self.store.heads):
            await trio.lowlevel.checkpoint()
            if key in self.store.heads:
                refused = {one.what: one.why for one in names.unstorable(self.store.attached(key))}
                if refused:
                    self.refused[key] = refused

    async def _quota_loop(self) -> None:
        while True:
            if self.watch.online:
                try:
                    self.quota = await self._transfer.quota()
                except OaiofsError as error:
                    log.info("the storage's room is not known: %s", error)
            await trio.sleep(_QUOTA_EVERY if self.quota.total else self.pace.poll)

    # -- plan ----------------------------------------------------------------------------------------------------

    async def _plan_loop(self, nursery: trio.Nursery) -> None:
        while True:
            self._bell = trio.Event()
            self._plans.begin()
            wait = float("inf")
            for subject, verb, due in self._steps():
                if due > 0:
                    wait = min(wait, due)
                elif len(self.busy) < _PARALLEL:
                    self.busy[subject] = verb
                    nursery.start_soon(self._step, subject, verb)
                else:
                    break
            self._plans.end()
            with trio.move_on_after(wait):
                await self._bell.wait()
                await trio.sleep(0 if self._hurry else _COALESCE)

    def _steps(self) -> Iterator[tuple[Subject, ObjectVerb, float]]:
        """What is to be done and not being done: (subject, verb, seconds until due)."""
        if not self.watch.online:
            return
        now = trio.current_time()
        for key in [row[0] for row in self.store.db.execute(f"SELECT key FROM object WHERE {_OPEN}")]:  # noqa: S608
            yield from self._step_of(key, now)
        for key in list(self.watch.seen.differing):
            yield from self._step_of(key, now)
        for oaio_id in list(self.watch.seen.unknown):
            if oaio_id not in self.busy:
                yield oaio_id, ObjectVerb.PULL, self._backoff_left(oaio_id, now)

    def _step_of(self, key: int, now: float) -> Iterator[tuple[Subject, ObjectVerb, float]]:
        record = records.object_by(self.store.db, "key", key)
        if key in self.busy or record is None:
            return
        verb = plan.plan_object(self._state(record), self.watch.seen.of(record))
        if verb in _RESTING or (record.removed and self._braked(record)):
            self._rest(record, verb)
            return
        quiet = self._quiet_left(record) if verb in _PATIENT and not self._hurry else 0.0
        yield key, verb, max(quiet, self._backoff_left(key, now))

    def _state(self, record: ObjectRecord) -> plan.ObjectState:
        return plan.ObjectState(
            base=record.base_stamp, dirty=record.dirty, removed=record.removed, draft=record.draft is not None,
            right=record.right, pending=self.watch.seen.pending(record),
        )  # fmt: skip

    def _backoff_left(self, subject: Subject, now: float) -> float:
        trouble = self.trouble.get(subject)
        not_before = max(self._not_before.get(subject, now), now if trouble is None else trouble.not_before)
        return not_before - now

    def _quiet_left(self, record: ObjectRecord) -> float:
        if record.removed_at is not None:
            return max(0.0, record.removed_at + self.pace.quiet - self.store.wall_clock())
        activity = self.store.changes.objects.get(record.key)
        if activity is None:  # changed before this process began
            return 0.0
        now = self.store.steady_clock()
        return pace.push_due(now, activity.first, activity.last, quiet=self.pace.quiet, longest=self.pace.longest)

    def _braked(self, record: ObjectRecord) -> bool:
        if record.base_stamp is None:
            return False
        count = "SELECT count(*), sum(removed_at IS NOT NULL) FROM object WHERE base_stamp IS NOT NULL"
        known, removed = self.store.db.execute(count).fetchone()
        self.removal_brake = "" if self.watch.confirmed else pace.removal_brake(int(removed or 0), int(known)) or ""
        return bool(self.removal_brake)

    def _rest(self, record: ObjectRecord, verb: ObjectVerb) -> None:
        self.watch.seen.differing.discard(record.key)
        if verb is ObjectVerb.KEEP_ORPHAN or (verb is ObjectVerb.NOTHING and not record.dirty):
            self.trouble.pop(record.key, None)  # of a step that is not to be done any more
        if verb is ObjectVerb.KEEP_ORPHAN and not record.orphan:
            log.warning("%s is gone from the server; its unsent changes are kept here", record.name)
            self.store.update_object(record.key, orphan=1)
        elif verb is ObjectVerb.PARK:
            message = "you may only read this object now: your changes are kept here and can't be sent"
            self.trouble[record.key] = Trouble(message, 0, 0.0)

    # -- one step ------------------------------------------------------------------------------------------------

    async def _step(self, subject: Subject, verb: ObjectVerb) -> None:
        try:
            await self._do(subject, verb)
        except ChangedMeanwhile as error:
            log.debug("%s: %s", subject, error)
            self._not_before[subject] = trio.current_time() + min(self.pace.quiet, _BREATH)
        except Conflict as error:
            log.info("%s: %s", subject, error)
            self._failed(subject, error)
            self.watch.soon()
        except (OaiofsError, OSError) as error:
            log.warning("%s of %s: %s", verb.value, subject, error)
            self._failed(subject, error)
            if isinstance(error, Unauthorized):
                await self._transfer.forget_hosts()
            if isinstance(error, (Unreachable, Unauthorized)):
                self.watch.soon()
        except Exception as error:
            # A bug, shown by one object: the others, and what programs write, are not to suffer for it.
            log.exception("unexpected error in %s of %s", verb.value, subject)
            self._failed(subject, error)
        else:
            self.trouble.pop(subject, None)
            self._not_before.pop(subject, None)
        finally:
            del self.busy[subject]
            self._bell.set()

    def _failed(self, subject: Subject, error: Exception) -> None:
        before = self.trouble.get(subject)
        failures = 1 + (before.failures if before else 0)
        wait = jittered(pace.backoff(failures))
        if isinstance(error, _PERMANENT):
            wait = _PERMANENT_WAIT
        elif isinstance(error, RateLimited) and error.retry_after is not None:
            wait = max(wait, error.retry_after)
        message = str(error)
        if isinstance(error, OSError):
            message = f"{error.strerror or error} on this machine: look at the disk with {self.store.state.root}"
        self.trouble[subject] = Trouble(message, failures, trio.current_time() + wait)

    async def _do(self, subject: Subject, verb: ObjectVerb) -> None:
        if not isinstance(subject, int):
            await self._adopt(subject)
            return
        record = self.store.record(subject)
        oaio_id = record.oaio_id
        match verb:
            case ObjectVerb.REGISTER | ObjectVerb.PUSH:
                await self._push(record)
            case ObjectVerb.PULL | ObjectVerb.MERGE:
                remote = self.watch.seen.moved.get(oaio_id) if oaio_id else None
                if remote is None:
                    self.watch.seen.differing.discard(subject)
                    raise ChangedMeanwhile(f"{record.name}: waiting for the next look at the server")
                await self._transfer.pull(subject, remote)
                self.watch.seen.done(remote.oaio_id, remote.stamp)
            case ObjectVerb.ADOPT_PENDING:
                last_writer_wins = not self._server.checks_base
                apply.rebase_on_pending(self.store, subject, last_writer_wins=last_writer_wins)
                self.watch.seen.differing.discard(subject)
            case ObjectVerb.LEAVE:
                if self._being_written(subject):
                    raise ChangedMeanwhile(f"{record.name} is gone from the server, but a program is writing in it")
                objects.leave(self.store, record, "no longer on the server")
                self._gone(record)
            case ObjectVerb.DELETE | ObjectVerb.UNSUBSCRIBE | ObjectVerb.FORGET | ObjectVerb.RESURRECT:
                await self._bury(record, verb)

    def _being_written(self, key: int) -> bool:
        return any(self.store.writers[node.ino] for node in records.nodes_of(self.store.db, key))

    async def _adopt(self, oaio_id: OaioId) -> None:
        remote = self.watch.seen.moved.get(oaio_id)
        if remote is None:
            raise ChangedMeanwhile(f"{oaio_id}: no longer listed")
        if self.store.record_of_id(oaio_id) is None:
            await self._transfer.adopt(remote)
        known = self.store.record_of_id(oaio_id)
        if known is not None:
            self.watch.seen.adopted(oaio_id, known.key, remote.stamp)

    async def _push(self, record: ObjectRecord) -> None:
        pushed = await self._transfer.push(record.key)
        after = self.store.record(record.key)
        if pushed.stamp is not None and after.oaio_id is not None:
            self.watch.seen.announced(after.oaio_id, record.key, Seen(pushed.stamp, after.right))
        self.refused[record.key] = pushed.refused
        if pushed.postponed:
            now = self.store.steady_clock()
            self.store.changes.objects[record.key] = Activity(now, now)
            raise ChangedMeanwhile(f"{', '.join(pushed.postponed)} will follow: being written just now")

    async def _bury(self, record: ObjectRecord, verb: ObjectVerb) -> None:
        """Carry out, or take back, a removal."""
        if verb is ObjectVerb.DELETE and record.oaio_id:
            await self._transfer.delete(record)
        elif verb is ObjectVerb.UNSUBSCRIBE and record.oaio_id:
            await self._server.subscribe(record.oaio_id, self._transfer.username, Right.NONE)
        self.store.delete_object(record.key)  # the trash keeps its files and a note
        self._gone(record)
        if verb is ObjectVerb.RESURRECT and record.oaio_id in self.watch.seen.moved:
            self.watch.seen.unknown.add(record.oaio_id)

    def _gone(self, record: ObjectRecord) -> None:
        self.watch.seen.forget(record)
        self.trouble.pop(record.key, None)
        self.refused.pop(record.key, None)
        if not record.removed:
            self._announce(ROOT_INO, record.name)
