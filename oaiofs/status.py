"""What is going on, as one JSON object: for ``oaiofs status``, ``.oaiofs/status.json`` and the ``state`` attributes.

Reads the store and the sync's observations; must not change anything, ask the network, or print.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from datetime import UTC, datetime
from typing import Any

from .cache import conflicts, copies, records, states
from .cache.copies import Sizes
from .cache.records import ObjectRecord
from .cache.store import Store
from .core.eviction import NO_LIMITS, Limits
from .core.model import OaioId
from .core.plan import ObjectVerb
from .progress import Progress
from .sync import Sync
from .sync.steps import parked
from .verbs.conflicts import listing

#: A folder of thousands of names that can't be sent has as many messages.
_MOST_REFUSED = 10
_PULLING = (ObjectVerb.PULL, ObjectVerb.MERGE, ObjectVerb.ADOPT_PENDING)


class Status:
    """The present state of one mount. *account* has the fixed fields: mountpoint, server, user, device_id."""

    def __init__(
        self,
        store: Store,
        sync: Sync,
        progress: Progress,
        account: Mapping[str, str],
        limits: Limits = NO_LIMITS,
        pin_problem: Callable[[], str] = str,
    ) -> None:
        """*pin_problem* tells why pinned files are not here, '' where they are."""
        self._store = store
        self._sync = sync
        self._progress = progress
        self._account = dict(account)
        self._limits = limits
        self._pin_problem = pin_problem

    def whole(self, name: str | None = None) -> dict[str, Any]:
        """The object that ``oaiofs status --json`` prints; with *name* only the object shown under it.

        *failures* and *next_look* (seconds) are about looking at the server, *live* says that it tells of changes at
        once, so that *next_look* is only the latest; an object has *failures* and *retry_in* while it waits to be tried
        again. *total_bytes* are those of the attached files, *local_bytes* of them are here and *pinned_bytes* are to
        be; *cache_size* and *cache_free* are the limits (bytes, 0: none).
        """
        sync = self._sync
        conflicted = conflicts.count(self._store)
        sizes = copies.sizes(self._store)
        shown = [
            self._object(record, conflicted, sizes.get(record.key, Sizes()))
            for record in records.objects(self._store.db, "removed_at IS NULL")
            if name is None or record.name == name
        ]
        since = sync.pending_since()
        return {
            **self._account,
            "online": bool(sync.watch.online),
            "pending": sync.pending(),
            "pending_since": None if since is None else datetime.fromtimestamp(since, UTC).isoformat(),
            "conflicts": conflicted.total(),
            "errors": self._errors(shown),
            "failures": sync.watch.failures,
            "next_look": round(sync.watch.next_look(), 1),
            "transfers": [one for one in self._progress.transfers() if name in (None, one["object"])],
            "live": sync.watch.live,
            **{name: sum(one[name] for one in shown) for name in ("total_bytes", "local_bytes", "pinned_bytes")},
            "cache_size": self._limits.kept,
            "cache_free": self._limits.free,
            "objects": shown,
        }

    def conflicts(self) -> dict[str, Any]:
        """The conflicts that wait to be looked at, with both sides of each value."""
        return listing(self._store)

    def state_of(self, key: int) -> str:
        """One word for an object's state."""
        sizes = copies.sizes(self._store, key).get(key, Sizes())
        return self._state(self._store.record(key), conflicts.count(self._store, key), sizes)

    def error_of(self, key: int) -> str:
        """What is wrong with an object, as a sentence, or ''."""
        return self._problem(self._store.record(key))

    def _object(self, record: ObjectRecord, conflicted: Container[int], sizes: Sizes) -> dict[str, Any]:
        return {
            "id": record.oaio_id or "",
            "name": record.name,
            "state": self._state(record, conflicted, sizes),
            "stamp": record.base_stamp or "",
            "right": record.right.value,
            "pending": record.dirty,
            "error": self._problem(record),
            "total_bytes": sizes.total,
            "local_bytes": sizes.local,
            "pinned_bytes": sizes.pinned,
            **self._tries(record),
            **({"step": step} if (step := self._progress.step_of(record.oaio_id)) else {}),
            **({"draft": record.draft} if record.draft is not None else {}),
        }

    def _state(self, record: ObjectRecord, conflicted: Container[int], sizes: Sizes) -> str:
        verb = self._sync.busy.get(record.key)
        step = "" if verb in (None, ObjectVerb.PARK) else "pulling" if verb in _PULLING else "pushing"
        return states.state(record, conflicted, sizes, problem=bool(self._problem(record)), step=step)

    def _problem(self, record: ObjectRecord) -> str:
        if record.draft is not None and record.right.may_update:
            return f"{record.sidecar}: {record.draft['message']}"
        trouble = self._sync.trouble.get(record.key)
        if trouble is not None:
            return trouble.message
        if record.draft is not None:  # which can't be corrected
            return parked(record)
        if record.rebuilt and record.oaio_id is None:
            return (
                "made again after the state file was damaged, and nothing tells which object of the server it was: "
                "what is in it is kept here and not sent; copy what you need into that object, or into a new folder"
            )
        if record.orphan:
            return (
                "gone from the server (deleted or no longer shared); your unsent changes are kept here. To have it "
                "there as a new object, remove it and bring it back with `oaiofs trash restore`"
            )
        refused = self._sync.refused.get(record.key)
        return refusals(list(refused.values())) if refused else ""

    def _tries(self, record: ObjectRecord) -> dict[str, Any]:
        """How often the object's step failed in a row, and the seconds until it is tried again; {} where none did."""
        trouble = self._sync.trouble.get(record.key)
        if trouble is None or not trouble.failures:
            return {}
        return {"failures": trouble.failures, "retry_in": round(max(0.0, self._sync.trouble.left(record.key)), 1)}

    def _errors(self, shown: list[dict[str, Any]]) -> list[dict[str, str]]:
        sync = self._sync
        found = [{"name": one["name"], "message": one["error"]} for one in shown if one["error"]]
        if not sync.watch.online:
            found.append({"message": str(sync.watch.outage or "the server has not been reached yet")})
        room, damaged = self._store.state.room, self._store.state.meta("damaged")
        told = (sync.watch.brake, sync.removal_brake, damaged, self._pin_problem())
        found += [{"message": text} for text in told if text]
        found += [{"message": room.sentence()}] if room.full else []
        found += [{"what": "left out of the listing", "message": text} for text in sync.watch.skipped]
        for one in shown:
            for left in sync.watch.left_out.get(OaioId(one["id"]), ()):
                found.append({"name": one["name"], "what": "left out", "message": f"{left.what} {left.why}"})
        found += [
            {"name": subject, "message": trouble.message}
            for subject, trouble in sync.trouble.items()
            if isinstance(subject, str)
        ]
        return found


def refusals(sentences: list[str]) -> str:
    """The first of the *sentences* about files that can't be sent, and how many more there are."""
    left = len(sentences) - _MOST_REFUSED
    more = [f"And {left} more files can't be uploaded."] if left > 0 else []
    return " ".join([*sentences[:_MOST_REFUSED], *more])
