"""What travels between this machine and the storage hosts just now: counted, and kept within the user's limits.

One ``Traffic`` is shared by all transfers of a mount; ``metered`` reports to it. Nothing here costs anything per byte.
Must not know HTTP, nor what the bytes are good for. Times are seconds of trio's clock, amounts are bytes.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import Enum

import trio

from ..core import bucket, rate
from ..core.model import FileSet

#: Limited uploads that run at once: hosts allow four transfers, of which one stays free for who wants to read.
_AT_ONCE = 3


class Direction(Enum):
    UP = "up"
    DOWN = "down"


class Limit:
    """At most *per_second* bytes a second, 0 for no limit; whoever shares it gets the same share."""

    def __init__(self, per_second: float = 0) -> None:
        self._per_second = per_second
        self._bucket: bucket.Bucket | None = None
        self._turns = trio.CapacityLimiter(_AT_ONCE if per_second else math.inf)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Few at a time: more would not be faster, and hold every transfer that a host allows, for as long as it takes.

        Somebody who opens a file meanwhile would wait for the end of one of them.
        """
        transfer = object()  # one task may have several
        await self._turns.acquire_on_behalf_of(transfer)
        try:
            yield
        finally:
            self._turns.release_on_behalf_of(transfer)

    @property
    def piece(self) -> int | None:
        """How many bytes are to be asked for at once, so that nobody has to wait long for others; None: any number."""
        return bucket.piece(self._per_second) if self._per_second else None

    async def wait(self, amount: int) -> None:
        """Return when *amount* bytes, at most a piece, may go."""
        if not self._per_second:
            return
        now = trio.current_time()
        self._bucket, seconds = (self._bucket or bucket.full(self._per_second, now)).take(amount, now)
        if seconds:
            try:
                await trio.sleep(seconds)
            except trio.Cancelled:
                self._bucket = self._bucket.give_back(amount)
                raise


@dataclass(eq=False, slots=True)
class Running:
    """One transfer: *place* is CSH_ID/PATH on the host. *rate* is None until bytes can travel at all."""

    place: str
    direction: Direction
    total: int | None
    since: float
    done: int = 0
    rate: rate.Rate | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A transfer as it is at one moment. *seconds* it has run; *remaining* ones, where anybody can tell."""

    place: str
    direction: Direction
    done: int
    total: int | None
    per_second: float | None
    remaining: float | None
    seconds: float


@dataclass(eq=False, slots=True)
class _Push:
    """One version being stored: of *planned* bytes so many were *sent* in transfers that are over."""

    planned: int
    sent: int = 0


@dataclass(slots=True)
class Traffic:
    """All transfers of one mount."""

    up: Limit = field(default_factory=Limit)
    down: Limit = field(default_factory=Limit)
    #: Bytes that have travelled since the beginning, what was in vain left out.
    moved: int = 0
    _running: list[Running] = field(default_factory=list)
    _pushes: dict[str, _Push] = field(default_factory=dict)
    _steps: dict[str, list[str]] = field(default_factory=dict)

    # -- reported by who does it ---------------------------------------------------------------------------------

    @contextmanager
    def transfer(self, direction: Direction, place: str, total: int | None) -> Iterator[Running]:
        """One transfer, for as long as the block runs; one that fails has moved nothing."""
        running = Running(place, direction, total, trio.current_time())
        self._running.append(running)
        try:
            yield running
        except BaseException:
            self.moved -= running.done
            raise
        else:
            push = self._pushes.get(object_of(place)) if direction is Direction.UP else None
            if push is not None:
                push.sent += running.done
        finally:
            self._running.remove(running)

    def begun(self, running: Running) -> None:
        """Bytes come from now on, and from the first one: a try before this one was in vain."""
        self.moved -= running.done
        running.done, running.rate = 0, rate.begin(trio.current_time())

    def counted(self, running: Running, amount: int) -> None:
        """So many more bytes have travelled."""
        self.moved += amount
        running.done += amount
        if running.rate is not None:
            running.rate = running.rate.after(amount, trio.current_time())

    @contextmanager
    def push(self, oaio_id: str, base: FileSet, wanted: FileSet) -> Iterator[None]:
        """A version of *wanted* files is stored, for as long as the block runs; what *base* has is on the host."""
        here = {(fact.size, fact.md5) for fact in base.values()}
        planned = sum(fact.size for fact in wanted.values() if not fact.md5 or (fact.size, fact.md5) not in here)
        self._pushes[oaio_id] = _Push(planned)
        try:
            yield
        finally:
            del self._pushes[oaio_id]

    @contextmanager
    def step(self, oaio_id: str, words: str) -> Iterator[None]:
        """What is done for an object while no bytes travel, for as long as the block runs."""
        self._steps.setdefault(oaio_id, []).append(words)
        try:
            yield
        finally:
            self._steps[oaio_id].remove(words)
            if not self._steps[oaio_id]:
                del self._steps[oaio_id]

    # -- asked by who shows it -----------------------------------------------------------------------------------

    def step_of(self, oaio_id: str) -> str:
        """The step that was begun last and is not over, or ''."""
        return self._steps.get(oaio_id, [""])[-1]

    def shown(self) -> list[Shown]:
        """All transfers as they are now, the oldest first."""
        now = trio.current_time()
        return [self._shown(running, now) for running in self._running]

    def to_go(self) -> int:
        """Bytes still to travel, as far as anybody knows: of the versions being stored, and of other transfers."""
        left = {oaio_id: push.planned - push.sent for oaio_id, push in self._pushes.items()}
        others = 0
        for running in self._running:
            oaio_id = object_of(running.place)
            if running.direction is Direction.UP and oaio_id in left:
                left[oaio_id] -= running.done
            elif running.total is not None:
                others += max(0, running.total - running.done)
        return others + sum(max(0, amount) for amount in left.values())

    @staticmethod
    def _shown(running: Running, now: float) -> Shown:
        per_second = None if running.rate is None else running.rate.per_second(now)
        remaining = rate.remaining(running.done, running.total, per_second)
        done, total = running.done, running.total
        return Shown(running.place, running.direction, done, total, per_second, remaining, now - running.since)


def object_of(place: str) -> str:
    """The id of the object that a *place* belongs to: CSH_ID/OAIO_ID/STAMP/PATH."""
    return parts(place)[1]


def parts(place: str) -> tuple[str, str, str, str]:
    """CSH_ID, OAIO_ID, STAMP and PATH of a *place*; '' for what it lacks."""
    csh_id, oaio_id, stamp, path = (*place.split("/", 3), "", "", "")[:4]
    return csh_id, oaio_id, stamp, path
