"""What travels just now, and what waits for what: cheap enough to be asked every second, however much is mounted.

Reads counts and what is in memory, never the files of all objects; must not change anything, or print.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from .cache import records
from .cache.store import Store
from .core import pace
from .core.model import OaioId
from .sync import Sync
from .transfer.traffic import Shown, Traffic, parts


class Progress:
    """The present traffic of one mount."""

    def __init__(self, store: Store, sync: Sync, traffic: Traffic) -> None:
        self._store = store
        self._sync = sync
        self._traffic = traffic

    def brief(self) -> dict[str, Any]:
        """What ``oaiofs status --watch`` and the bar of ``oaiofs sync`` are made of.

        *moved* counts bytes since the mount began, *to_go* those that are known to follow; *pending* and *incoming* are
        objects with something to be sent, and others with something to be fetched, *busy* those worked on now; *steps*
        is what is done for some of these. *waiting* says why the others are not, with *seconds* until the next of them
        where that is known.
        """
        sync, seen = self._sync, self._sync.watch.seen
        return {
            "online": bool(sync.watch.online),
            "pending": sync.pending(),
            "incoming": len(seen.unknown) + len(seen.differing.difference(records.open_keys(self._store.db))),
            "busy": len(sync.busy),
            "steps": list(self._steps()),
            "waiting": list(self._waiting()),
            "moved": self._traffic.moved,
            "to_go": self._traffic.to_go(),
            "transfers": self.transfers(),
        }

    def transfers(self) -> list[dict[str, Any]]:
        """Every transfer of a file: *done* and *total* in bytes, *rate* a second, *remaining* in seconds.

        None is what is not known. *object* is the name of the object, or its id where it is not shown here (yet).
        """
        return [self._transfer(shown) for shown in self._traffic.shown()]

    def step_of(self, oaio_id: str | None) -> str:
        """What is done for an object while none of its bytes travel, or ''."""
        return self._traffic.step_of(oaio_id or "")

    def _transfer(self, shown: Shown) -> dict[str, Any]:
        _, oaio_id, stamp, path = parts(shown.place)
        since = datetime.fromtimestamp(self._store.wall_clock(), UTC) - timedelta(seconds=shown.seconds)
        return {
            "object": self._name(oaio_id),
            "path": path,
            "stamp": stamp,
            "direction": shown.direction.value,
            "done": shown.done,
            "total": shown.total,
            "rate": None if shown.per_second is None else round(shown.per_second),
            "remaining": None if shown.remaining is None else round(shown.remaining, 1),
            "since": since.isoformat(timespec="seconds"),
        }

    def _name(self, oaio_id: str) -> str:
        record = self._store.record_of_id(OaioId(oaio_id))
        return record.name if record else oaio_id

    def _steps(self) -> Iterator[dict[str, Any]]:
        for subject in self._sync.busy:
            record = records.object_by(self._store.db, "key", subject) if isinstance(subject, int) else None
            oaio_id = record.oaio_id if record else str(subject)
            if step := self.step_of(oaio_id):
                yield {"object": record.name if record else oaio_id, "step": step}

    def _waiting(self) -> Iterator[dict[str, Any]]:
        sync = self._sync
        if not sync.watch.online:
            why = str(sync.watch.outage or "the server has not been reached yet")
            yield {"why": "offline", "message": why, "seconds": round(sync.watch.next_look(), 1)}
        for brake in filter(None, (sync.watch.brake, sync.removal_brake)):
            yield {"why": "brake", "message": brake}
        tries = {subject: sync.trouble.left(subject) for subject, _ in sync.trouble.items()}
        for why, waits in (("retry", tries), ("quiet", {} if sync.hurried else self._quiet())):
            left = [seconds for seconds in waits.values() if seconds > 0]
            if left:
                yield {"why": why, "objects": len(left), "seconds": round(min(left), 1)}

    def _quiet(self) -> dict[Any, float]:
        """Seconds that each changed object is still left alone, as programs may go on with it."""
        now, every = self._store.steady_clock(), self._sync.pace
        changes = self._store.changes.objects
        return {
            key: pace.push_due(now, change.first, change.last, quiet=every.quiet, longest=every.longest)
            for key in records.open_keys(self._store.db)
            if (change := changes.get(key)) is not None
        }
