"""Room for what is used: clean local copies leave this machine when the user's limits ask for it.

A loop of its own. It is rung when copies came, went or may go now (``Store.stirred``), and looks now and then besides,
as the disk fills up by others' doing. Work is done in slices, so that programs go on meanwhile: long queries, syncs and
removals in threads. ``core.eviction`` decides which copies may go, ``cache.evict`` takes them away.

Must not know FUSE, nor how bytes come back.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import trio

from ..cache import copies, evict
from ..cache.records import Node
from ..cache.store import Store
from ..core.eviction import NO_LIMITS, Hold, Limits, excess
from ..errors import NoSpace, OaiofsError

log = logging.getLogger(__name__)

_EVERY = 30.0  # seconds between two looks at the disk
_PAUSE = 0.5  # seconds at least from the end of one look to the next
_PATIENCE = 20.0  # so many times as long as a look took is waited after it,
_LONGEST_PAUSE = 10.0  # but not longer: a machine that was busy for a while is no reason to leave the disk full
_LOOKS = 50  # files that are looked at in one go
_SLICE = 100  # files that one sync of the rows to the disk is for


def _idle(_key: int) -> bool:
    """Where nothing syncs no object is busy."""
    return False


@dataclass(slots=True)
class Evicted:
    """What came of evicting: *files* and *bytes* that went, and how many stay for each reason."""

    files: int = 0
    bytes: int = 0
    kept: Counter[Hold] = field(default_factory=Counter)


async def evict_all(
    store: Store,
    inos: Iterable[int],
    *,
    busy: Callable[[int], bool] = _idle,
    announce: Callable[[int, str], None] = lambda parent, name: None,
    most: float = float("inf"),
) -> Evicted:
    """Evict those of the files that may go, in their order, until *most* bytes went.

    Raises NoSpace, StateError, OSError; what went until then is gone.
    """
    done = Evicted()
    chosen: list[Node] = []
    for ino in inos:
        found = evict.look(store, ino, busy=_is_busy(store, ino, busy))
        if isinstance(found, Hold):
            done.kept[found] += 1
        else:
            chosen.append(found)
        if len(chosen) >= _SLICE or sum(node.size for node in chosen) >= most - done.bytes:
            await _evict_slice(store, chosen, done, busy, announce)
            chosen = []
        if done.bytes >= most:
            return done
        await trio.lowlevel.checkpoint()
    await _evict_slice(store, chosen, done, busy, announce)
    return done


def _is_busy(store: Store, ino: int, busy: Callable[[int], bool]) -> bool:
    node = store.find_node(ino)
    return node is not None and busy(node.object)


async def _evict_slice(
    store: Store,
    chosen: list[Node],
    done: Evicted,
    busy: Callable[[int], bool],
    announce: Callable[[int, str], None],
) -> None:
    """Evict what was chosen, if the rows that say that it may go are the same once they are on the disk."""
    if not chosen:
        return
    for node in chosen:
        evict.note_attributes(store, node)
    await trio.to_thread.run_sync(store.state.sync_to_disk)
    taken_out = []
    try:
        for node in chosen:
            found = evict.look(store, node.ino, busy=_is_busy(store, node.ino, busy))
            place = evict.evict(store, node) if found == node else None
            if place is None:
                done.kept[found if isinstance(found, Hold) else Hold.CHANGED] += 1
                continue
            taken_out.append(place)
            done.files += 1
            done.bytes += copies.on_disk(node.size)
            announce(node.parent, node.name)  # it takes less of the disk now, which du is to see
            await trio.lowlevel.checkpoint()
    finally:
        if taken_out:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(evict.remove, store, taken_out)


class Eviction:
    """Keeps one store within its *limits*. *busy* tells which objects are being synced."""

    def __init__(
        self,
        store: Store,
        limits: Limits,
        *,
        busy: Callable[[int], bool] = _idle,
        announce: Callable[[int, str], None] = lambda parent, name: None,
    ) -> None:
        self.store = store
        self.limits = limits
        self._busy = busy
        self._announce = announce
        self._bell = trio.Event()
        self._one_at_a_time = trio.Lock()

    def ring(self) -> None:
        """Copies came, or may go now."""
        if self.limits != NO_LIMITS:
            self._bell.set()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            with trio.move_on_after(_EVERY):
                await self._bell.wait()
            self._bell = trio.Event()
            begun = trio.current_time()
            try:
                await self.tend()
            except (OaiofsError, OSError) as error:
                log.warning("local copies could not be evicted: %s", error)
            except Exception:
                log.exception("unexpected error in eviction")
            took = trio.current_time() - begun
            await trio.sleep(min(max(_PAUSE, _PATIENCE * took), _LONGEST_PAUSE))

    async def tend(self) -> Evicted:
        """Evict as much as the limits ask for."""
        async with self._one_at_a_time:
            await self._flush()
            if self.limits == NO_LIMITS:
                return Evicted()
            kept = await self.kept_bytes() if self.limits.kept else 0
            return await self._evict(excess(self.limits, kept=kept, free=self.store.state.room.free()))

    async def make_room(self, size: int) -> None:
        """Before *size* bytes come here: evict where the disk has no room for them, or not more than has to be free."""
        limits = Limits(free=self.limits.free)
        if excess(limits, kept=0, free=self.store.state.room.free(), coming=size):
            async with self._one_at_a_time:
                await self._flush()
                await self._evict(excess(limits, kept=0, free=self.store.state.room.free(), coming=size))

    async def kept_bytes(self) -> int:
        """Bytes that local copies take on the disk."""
        kept, changing = await trio.to_thread.run_sync(copies.clean_bytes, self.store.state)
        for start in range(0, len(changing), _LOOKS):
            kept += copies.bytes_on_disk(self.store, changing[start : start + _LOOKS])
            await trio.lowlevel.checkpoint()
        return kept

    async def _flush(self) -> None:
        """What is known of the order goes into the rows that say it, unless the disk is too full for that."""
        try:
            while self.store.uses.flush(self.store.state):
                await trio.lowlevel.checkpoint()
        except NoSpace as error:
            log.debug("the order of evictions may be an older one: %s", error)

    async def _evict(self, most: int) -> Evicted:
        done = Evicted()
        if most <= 0:
            return done
        for inos in copies.least_recently_used(self.store):
            some = await evict_all(
                self.store, inos, busy=self._busy, announce=self._announce, most=most - done.bytes
            )  # fmt: skip
            done.files += some.files
            done.bytes += some.bytes
            done.kept += some.kept
            if done.bytes >= most:
                break
        if done.files:
            log.info("%d local copies were evicted, %d bytes", done.files, done.bytes)
        return done
