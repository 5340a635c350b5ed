"""When versions travel: look at the server now and then, and carry out what ``core.plan`` makes of it.

Two loops. The *poll loop* asks for the listing and keeps what differs from the agreed versions. The *plan loop* asks
the pure planner about each object with something to do and runs the one step that it names, a few objects at a time.
Nothing is queued: the work is a query over observations, asked anew after each step. A failed step is data on its
object (``Trouble``) and waits out its backoff; a bug that one object shows is logged and waits likewise.

Must not know FUSE, HTTP, or how a step is done (``steps``). Times are seconds of trio's clock, so tests can turn it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import trio

from ..cache import records, trash
from ..cache.records import ObjectRecord
from ..cache.room import is_full
from ..cache.store import ROOT_INO, Store
from ..core import names, pace, plan
from ..core.model import Quota
from ..core.plan import ObjectVerb
from ..errors import (
    ChangedMeanwhile,
    Conflict,
    OaiofsError,
    Refused,
    StorageFull,
    TimedOut,
    Unauthorized,
    Unreachable,
    UsageError,
)
from ..remote.contract import OaioServer
from ..transfer import Transfer
from . import newcomers
from .room import Room
from .steps import Steps
from .trouble import Subject, Troubles
from .watch import Pace, Rounds, Watch

__all__ = ["Pace", "Sync"]

log = logging.getLogger(__name__)

_PARALLEL = 4  # objects worked on at once
_COALESCE = 0.05  # seconds in which doorbells are one
_BREATH = 0.5  # seconds before a step that a change here has overtaken is tried again
_PATIENCE = 3  # failures of an object after which a waiting `oaiofs sync` gives up
_LONG = 150.0  # seconds of waiting for which it does not stay
#: Verbs that wait for the object's quiet time: what a program is in the middle of is neither sent nor merged.
_PATIENT = (
    ObjectVerb.REGISTER, ObjectVerb.PUSH, ObjectVerb.MERGE, ObjectVerb.DELETE, ObjectVerb.UNSUBSCRIBE,
    ObjectVerb.RESURRECT, ObjectVerb.FORGET,
)  # fmt: skip
#: Verbs with nothing to carry out now.
_RESTING = (ObjectVerb.NOTHING, ObjectVerb.KEEP_ORPHAN)


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
        self._transfer = transfer
        self._announce = announce
        self.watch = Watch(store, server, pace_, announce, self.ring)
        self.removal_brake = ""  # why removals here are not told to the server, for the user
        self._unmeant: set[int] = set()  # objects removed here that the user may not have meant
        self.trouble = Troubles()
        self._room = Room(transfer.quota, lambda: bool(self.watch.online), self.trouble, pace_.poll)
        self._steps = Steps(store, server, transfer, self.watch.seen, self._gone)
        self.refused = self._steps.refused
        self.busy: dict[Subject, ObjectVerb] = {}
        self._bell = trio.Event()
        self._plans = Rounds()
        self._hurry = 0  # how many wait for everything to be sent at once
        store.doorbell = self.ring
        self._room.made = self.ring
        self.watch.registering = lambda key: self.busy.get(key) is ObjectVerb.REGISTER
        transfer.downloads.offline = self.watch.why_offline
        transfer.downloads.first_look = self.watch.first
        transfer.downloads.lost = self.watch.soon

    # -- doors ---------------------------------------------------------------------------------------------------

    def ring(self, key: int | None = None) -> None:
        """Something changed: in the object *key*, or in what is known of all."""
        if key is not None:
            self.trouble.changed(key)
            self.watch.active()
        self._bell.set()

    async def run(self) -> None:
        """All loops, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watch.run)
            nursery.start_soon(self._plan_loop, nursery)
            nursery.start_soon(self._room.run)
            nursery.start_soon(self._find_refused)

    async def finish(self, timeout: float | None = None, *, confirmed: bool = False) -> None:
        """Return when every local change is on the servers and every remote one is here.

        Ignores quiet times and ends backoffs; *confirmed* releases the brakes. Raises Unreachable or Unauthorized,
        Refused where a brake holds, what keeps an object from being sent, or TimedOut; then the rest goes on in the
        background. UsageError where *timeout*, in seconds, can't be waited.
        """
        if timeout is not None and not timeout >= 0:  # nan is neither
            raise UsageError(f"a timeout is a number of seconds, not below 0; {timeout} is none")
        self._hurry += 1
        self.watch.confirmations += confirmed
        self.trouble.reset()
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
            raise TimedOut(f"after {timeout:g} s, objects with changes still to be sent: {self.pending()}")
        finally:
            self._hurry -= 1
            self.watch.confirmations -= confirmed

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
            for subject, trouble in self.trouble.items():
                raise trouble.error(self._called(subject))
            raise OaiofsError(f"`oaiofs status` says why changes can't be sent, in objects: {self.pending()}")

    @property
    def quota(self) -> Quota:
        """Room on the storage host of new objects, as last seen."""
        return self._room.quota

    def needing_user(self) -> int:
        """Objects with something that only the user can bring on its way: a draft, or a name that no host takes."""
        return records.drafts(self.store.db) + sum(map(bool, self.refused.values()))

    def _raise_trouble(self) -> None:
        """Raise what keeps an object from being sent, once all the others are."""
        hopeless = {
            subject: trouble
            for subject, trouble in self.trouble.items()
            if (trouble.failures and (trouble.parked or trouble.failures > _PATIENCE))
            or self.trouble.left(subject) > _LONG
        }
        if self.busy or any(subject not in hopeless for subject, _, _ in self._to_do()):
            return
        for subject, trouble in hopeless.items():
            raise trouble.error(self._called(subject))

    def _idle(self) -> bool:
        return not self.busy and next(self._to_do(), None) is None

    @property
    def hurried(self) -> bool:
        """Whether somebody waits for everything to be sent at once."""
        return self._hurry > 0

    def pending(self) -> int:
        """Objects with something that the servers do not know yet."""
        return records.unsent(self.store.db)[0]

    def pending_since(self) -> float | None:
        """Wall-clock time of the oldest change that is not on the servers."""
        return records.unsent(self.store.db)[1]

    async def _find_refused(self) -> None:
        """Files that no storage host takes are known again after a remount."""
        for key in list(self.store.heads):
            await trio.lowlevel.checkpoint()
            if key in self.store.heads:
                found = await trio.to_thread.run_sync(names.unstorable, tuple(self.store.attached(key)))
                if refused := {one.what: one.why for one in found}:
                    self.refused[key] = refused

    # -- plan ----------------------------------------------------------------------------------------------------

    async def _plan_loop(self, nursery: trio.Nursery) -> None:
        while True:
            self._bell = trio.Event()
            self._plans.begin()
            if self.watch.online:
                await newcomers.show(self.watch.seen, self.trouble, self.busy, self._steps.adopt)
            wait, coalesce = float("inf"), _COALESCE
            for subject, verb, due in self._to_do():
                if due > 0:
                    wait = min(wait, due)
                elif len(self.busy) < _PARALLEL:
                    self.busy[subject] = verb
                    nursery.start_soon(self._step, subject, verb)
                else:
                    coalesce = 0.0  # a place that becomes free is taken at once
                    break
            self._plans.end()
            with trio.move_on_after(wait):
                await self._bell.wait()
                await trio.sleep(0 if self._hurry else coalesce)

    def _to_do(self) -> Iterator[tuple[Subject, ObjectVerb, float]]:
        """What is to be done and not being done: (subject, verb, seconds until due)."""
        if not self.watch.online:
            return
        self._look_at_removals()
        for key in records.open_keys(self.store.db):
            yield from self._step_of(key)
        for key in list(self.watch.seen.differing):
            yield from self._step_of(key)
        for oaio_id in list(self.watch.seen.unknown):
            if oaio_id not in self.busy:
                yield oaio_id, ObjectVerb.PULL, self.trouble.left(oaio_id)

    def _step_of(self, key: int) -> Iterator[tuple[Subject, ObjectVerb, float]]:
        if key in self.busy:
            return
        record = records.object_by(self.store.db, "key", key)
        if record is None:
            return
        verb = plan.plan_object(self._state(record), self.watch.seen.of(record))
        if verb in _RESTING or (record.removed and self._braked(record)):
            self._rest(record, verb)
            return
        trouble = self.trouble.get(key)
        if verb is ObjectVerb.PARK and trouble is not None:
            if trouble.rests:
                return
            if trouble.step is not verb:  # what can't be sent any more need not wait until it is tried to be sent
                self.trouble.over(key)
        quiet = self._quiet_left(record) if verb in _PATIENT and not self._hurry else 0.0
        yield key, verb, max(quiet, self.trouble.left(key))

    def _state(self, record: ObjectRecord) -> plan.ObjectState:
        return plan.ObjectState(
            base=record.base_stamp, dirty=record.dirty, removed=record.removed, draft=record.draft is not None,
            right=record.right, pending=self.watch.seen.pending(record), rebuilt=record.rebuilt,
        )  # fmt: skip

    def _quiet_left(self, record: ObjectRecord) -> float:
        at, quiet = record.removed_at, self.pace.quiet
        if at is not None:
            return pace.push_due(self.store.wall_clock(), at, at, quiet=quiet, longest=quiet)
        activity = self.store.changes.objects.get(record.key)
        if activity is None:  # changed before this process began
            return 0.0
        now = self.store.steady_clock()
        return pace.push_due(now, activity.first, activity.last, quiet=quiet, longest=self.pace.longest)

    def _braked(self, record: ObjectRecord) -> bool:
        """Whether the removal of this object is one of too many to be told to the server without the user's word."""
        return bool(self.removal_brake) and record.key in self._unmeant

    def _look_at_removals(self) -> None:
        self._unmeant = trash.unmeant(self.store)
        self.removal_brake = ""
        if self._unmeant and not self.watch.confirmed:
            known = self.store.db.execute("SELECT count(*) FROM object WHERE base_stamp IS NOT NULL").fetchone()[0]
            self.removal_brake = pace.removal_brake(len(self._unmeant), int(known)) or ""

    def _rest(self, record: ObjectRecord, verb: ObjectVerb) -> None:
        self.watch.seen.differing.discard(record.key)
        if verb is ObjectVerb.KEEP_ORPHAN or (verb is ObjectVerb.NOTHING and not record.dirty):
            self.trouble.over(record.key)  # of a step that is not to be done any more
        if verb is ObjectVerb.KEEP_ORPHAN and not record.orphan:
            log.warning("%s is gone from the server; its unsent changes are kept here", record.name)
            self.store.update_object(record.key, orphan=1)

    # -- one step ------------------------------------------------------------------------------------------------

    async def _step(self, subject: Subject, verb: ObjectVerb) -> None:
        try:
            rests = await self._do(subject, verb)
        except ChangedMeanwhile as error:
            log.debug("%s: %s", subject, error)
            self.trouble.overtaken(subject, min(self.pace.quiet, _BREATH))
        except Conflict as error:
            log.info("%s: %s", subject, error)
            self._failed(subject, verb, error)
            self.watch.soon()
        except (OaiofsError, OSError) as error:
            log.warning("%s of %s: %s", verb.value, self._called(subject), error)
            self._failed(subject, verb, error)
            if isinstance(error, Unauthorized):
                await self._transfer.forget_hosts()
            if isinstance(error, (Unreachable, Unauthorized)):
                self.watch.soon()
        except Exception as error:
            # A bug, shown by one object: the others, and what programs write, are not to suffer for it.
            log.exception("unexpected error in %s of %s", verb.value, self._called(subject))
            self._failed(subject, verb, error)
        else:
            self.trouble.over(subject)
            if rests is not None:
                self.trouble.resting(subject, rests)
        finally:
            del self.busy[subject]
            self._bell.set()
            self.store.stirred()

    def _called(self, subject: Subject) -> str:
        """What the user knows an object by."""
        record = records.object_by(self.store.db, "key", subject) if isinstance(subject, int) else None
        return record.name if record else str(subject)

    def _failed(self, subject: Subject, verb: ObjectVerb, error: Exception) -> None:
        if is_full(error):
            error = self.store.state.room.refused()
        message = str(error)
        if isinstance(error, OSError):
            message = f"{error.strerror or error} on this machine: look at the disk with {self.store.state.root}"
        self.trouble.failed(subject, error, message, verb)
        if isinstance(error, StorageFull):
            self._room.missed()

    async def _do(self, subject: Subject, verb: ObjectVerb) -> OaiofsError | None:
        """Carry out the step. What is returned says why there is none to make until something changes."""
        if not isinstance(subject, int):
            await self._steps.adopt(subject)
            return None
        record = self.store.record(subject)
        if plan.plan_object(self._state(record), self.watch.seen.of(record)) is not verb:  # edited since
            raise ChangedMeanwhile(f"{record.name}: planned anew")
        return await self._steps.take(record, verb)

    def _gone(self, record: ObjectRecord) -> None:
        self.watch.seen.forget(record)
        self.trouble.over(record.key)
        self.refused.pop(record.key, None)
        if not record.removed:
            self._announce(ROOT_INO, record.name)
