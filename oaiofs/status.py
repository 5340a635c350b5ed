"""What is going on, as one JSON object: for ``oaiofs status``, ``.oaiofs/status.json`` and the ``state`` attributes.

Reads the store and the sync's observations; must not change anything, ask the network, or print.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .cache import records
from .cache.records import ObjectRecord
from .cache.store import Store
from .core.plan import ObjectVerb
from .sync import Sync

_PULLING = (ObjectVerb.PULL, ObjectVerb.MERGE, ObjectVerb.ADOPT_PENDING)


class Status:
    """The present state of one mount. *account* has the fixed fields: mountpoint, server, user, device_id."""

    def __init__(self, store: Store, sync: Sync, account: Mapping[str, str]) -> None:
        self._store = store
        self._sync = sync
        self._account = dict(account)

    def whole(self, name: str | None = None) -> dict[str, Any]:
        """The object that ``oaiofs status --json`` prints; with *name* only the object shown under it."""
        sync = self._sync
        shown = [
            self._object(record)
            for record in records.objects(self._store.db, "removed_at IS NULL")
            if name is None or record.name == name
        ]
        since = sync.pending_since()
        return {
            **self._account,
            "online": bool(sync.watch.online),
            "pending": sync.pending(),
            "pending_since": None if since is None else datetime.fromtimestamp(since, UTC).isoformat(),
            "conflicts": len(records.conflicts(self._store.db)),
            "errors": self._errors(shown),
            "objects": shown,
        }

    def conflicts(self) -> dict[str, Any]:
        """The conflicts that wait to be looked at, with both sides of each value."""
        return {"conflicts": [self._conflict(one) for one in records.conflicts(self._store.db)]}

    def state_of(self, key: int) -> str:
        """One word for an object's state."""
        return self._state(self._store.record(key))

    def error_of(self, key: int) -> str:
        """What is wrong with an object, as a sentence, or ''."""
        return self._problem(self._store.record(key))

    def _object(self, record: ObjectRecord) -> dict[str, Any]:
        return {
            "id": record.oaio_id or "",
            "name": record.name,
            "state": self._state(record),
            "stamp": record.base_stamp or "",
            "right": record.right.value,
            "pending": record.dirty,
            "error": self._problem(record),
            **({"draft": record.draft} if record.draft is not None else {}),
        }

    def _state(self, record: ObjectRecord) -> str:
        verb = self._sync.busy.get(record.key)
        checks = (
            ("draft", record.draft is not None),
            ("error", bool(self._problem(record))),
            ("conflict", bool(records.conflicts(self._store.db, record.key))),
            ("pulling", verb in _PULLING),
            ("pushing", verb is not None),
            ("dirty", record.dirty or record.removed),
            ("online-only", self._nothing_local(record)),
        )
        return next((state for state, is_so in checks if is_so), "synced")

    def _problem(self, record: ObjectRecord) -> str:
        if record.draft is not None:
            return f"{record.sidecar}: {record.draft['message']}"
        trouble = self._sync.trouble.get(record.key)
        if trouble is not None:
            return trouble.message
        if record.orphan:
            return "gone from the server (deleted or no longer shared); your unsent changes are kept here"
        refused = self._sync.refused.get(record.key)
        return "; ".join(refused.values()) if refused else ""

    def _nothing_local(self, record: ObjectRecord) -> bool:
        query = "SELECT count(*), sum(local) FROM node WHERE object = ? AND kind = 0 AND NOT (parent = ? AND name = ?)"
        files, local = self._store.db.execute(query, (record.key, record.ino, record.sidecar)).fetchone()
        return bool(files) and not local

    def _errors(self, shown: list[dict[str, Any]]) -> list[dict[str, str]]:
        sync = self._sync
        found = [{"name": one["name"], "message": one["error"]} for one in shown if one["error"]]
        if not sync.watch.online:
            found.append({"message": str(sync.watch.outage or "the server has not been reached yet")})
        found += [{"message": text} for text in (sync.watch.brake, sync.removal_brake) if text]
        found += [{"what": "left out of the listing", "message": text} for text in sync.watch.skipped]
        found += [
            {"name": subject, "message": trouble.message}
            for subject, trouble in sync.trouble.items()
            if isinstance(subject, str)
        ]
        return found

    def _conflict(self, one: records.ConflictRecord) -> dict[str, Any]:
        head = self._store.heads.get(one.object)
        shown: dict[str, Any] = {"object": head.name if head else "", "kind": one.kind, "stamp": one.stamp}
        if one.kind == "file":
            return {**shown, "path": one.path, "copy": one.copy}
        sides = {side: json.loads(text) for side in ("base", "mine", "theirs") if (text := getattr(one, side))}
        return {**shown, "path": json.loads(one.path), **sides}
