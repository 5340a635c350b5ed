"""What callers of the library get to see: an object as the wire has it, copied.

Must not know how anything is changed.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict

from ..cache.records import ObjectRecord
from ..cache.store import Store
from ..core import dialect, stamps
from ..core.model import FILES_KEY, OLDEST_STAMP, Values


@dataclass(frozen=True, slots=True)
class OaiObject:
    """One object as it is here: a copy, which later calls don't change. The fields are those of the wire.

    *client_stamp* names the newest version made or seen here, *server_stamp* the one agreed with the server ('' for an
    object that it never got): while the former is later, a change waits to be sent. *client_values* and *server_values*
    are those versions' values, with the list of attached files as ``_file_paths`` where there are any.
    *csh_access_right* is this user's right, ``C D U r``.
    """

    oaio_id: str
    client_stamp: str
    server_stamp: str
    client_values: dict[str, Any] = field(default_factory=dict)
    server_values: dict[str, Any] = field(default_factory=dict)
    csh_id: str = ""
    username: str = ""
    device_id: str = ""
    app_id: str = ""
    csh_access_right: str = ""


class UserAccess(TypedDict):
    """One user's right on an object: ``C D U r``, or ``x`` for none."""

    username: str
    access_right: str


def shown(store: Store, record: ObjectRecord, asked: str = "") -> OaiObject:
    """The object as it is now; *asked* is the stamp that somebody wants its next version to have, or ''."""
    base = record.base_stamp or ""
    stamp: str = base
    if record.dirty or not base:
        since = datetime.fromtimestamp(record.pending_since or store.wall_clock(), UTC)
        stamp = asked if asked > base else stamps.after(base or OLDEST_STAMP, since)
    return OaiObject(
        oaio_id=record.oaio_id or record.name, client_stamp=stamp, server_stamp=base,
        client_values=with_files(record.values, store.attached(record.key)),
        server_values=with_files(record.base_values, store.base_files(record.key)),
        csh_id=record.csh_id, username=record.username, device_id=record.device_id, app_id=record.app_id,
        csh_access_right=dialect.write_right(record.right),
    )  # fmt: skip


def with_files(values: Values, files: Collection[str]) -> dict[str, Any]:
    """A copy of the values, with the list of attached files as it is on the wire."""
    own = copy.deepcopy(dict(values))
    return {**own, FILES_KEY: sorted(files)} if files else own
