"""What ``oaiofs diff`` asks of a running mount: how two versions differ, or one and what is here now.

Must not know the socket, nor how the user is told.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from ..cache import tree
from ..cache.workdir import md5_of
from ..core import history, sidecar
from ..core.history import StoredVersion
from ..core.lines import MAX_BYTES, is_text
from ..core.model import FileFact, FileSet, Values
from ..errors import NotFound, UsageError
from ..transfer.history import History
from .subjects import Subject, source_of, subject_of, version_of

if TYPE_CHECKING:
    from . import Place

#: Changed files whose texts are compared in one answer.
_MOST_TEXTS = 100
_TRIES = 3


async def diff(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What differs between two of the *versions*, or between one and what is here now; with none, since the agreed one.

    Small texts come with both sides; ``binary`` and ``large`` say why others do not.
    """
    source, store = source_of(place), place.store
    subject = subject_of(store, arguments.get("word"))
    key = subject.head.key
    words = [*(arguments.get("versions") or []), *([subject.stamp] if subject.stamp else [])]
    if len(words) > 2:
        raise UsageError("two versions can be compared, not more")
    base = store.record(key).base_stamp
    if base is None:
        raise NotFound(f"{subject.head.name} has not been on the servers yet: there is nothing to compare it with")
    sides: list[_Side] = [_Old(source, key, await version_of(source, key, str(word))) for word in words or [base]]
    if len(sides) == 1:
        sides.append(await _Now(place, key).look())
    left, right = sides
    before, after = subject.files(left.files()), subject.files(right.files())
    changes = await trio.to_thread.run_sync(history.changes, before, after)
    files: list[dict[str, Any]] = [{"path": path, "what": "added", "size": after[path].size} for path in changes.added]
    files += [{"path": path, "what": "removed", "size": before[path].size} for path in changes.removed]
    budget = _MOST_TEXTS
    for path in changes.changed:
        entry = {"path": path, "what": "changed", "size": after[path].size, "old_size": before[path].size}
        if budget:
            budget -= 1
            texts = await _texts(left, right, path, before[path], after[path])
            if texts is None:
                continue  # only its time differs
            entry |= texts
        else:
            entry["large"] = True
        files.append(entry)
    return {
        "object": subject.head.name, "from": left.name(), "to": right.name(),
        "files": sorted(files, key=lambda entry: str(entry["path"])), "values": _values(subject, left, right),
    }  # fmt: skip


class _Old:
    """A stored version, as one side of a comparison."""

    def __init__(self, source: History, key: int, version: StoredVersion) -> None:
        self._source, self._key, self._version = source, key, version

    def name(self) -> str:
        return self._version.told.stamp

    def files(self) -> FileSet:
        return self._version.files

    def values(self) -> Values | None:
        return self._version.told.values

    async def read(self, path: str) -> bytes:
        return await self._source.read(self._key, self._version, path, MAX_BYTES + 1)


class _Now:
    """What is here now, likewise."""

    def __init__(self, place: Place, key: int) -> None:
        self._place, self._key = place, key
        self._nodes = place.store.attached(key)
        self._written: dict[str, FileFact] = {}

    async def look(self) -> _Now:
        """Hash what was written since it was hashed last: neither size nor time tell whether it is another content."""
        for path, node in self._nodes.items():
            if node.dirty:
                fact = await trio.to_thread.run_sync(_fact, self._place.store.absolute(node))
                self._written[path] = fact or node.fact
        return self

    def name(self) -> str:
        return ""

    def files(self) -> FileSet:
        return {path: self._written.get(path, node.fact) for path, node in self._nodes.items()}

    def values(self) -> Values | None:
        return self._place.store.record(self._key).values

    async def read(self, path: str) -> bytes:
        store, fetch = self._place.store, self._place.fetch
        for _ in range(_TRIES):
            node = store.find_node(self._nodes[path].ino)
            if node is None:
                break
            if not node.local:
                if fetch is None:
                    raise NotFound(f"{path} is not on this machine")
                return await fetch(tree.origin(store, node), MAX_BYTES + 1)
            try:
                return await trio.to_thread.run_sync(_read, store.absolute(node))
            except FileNotFoundError:
                continue  # evicted, renamed or removed in between: its node knows by now
        raise NotFound(f"{path} has just been changed or removed: try again")


_Side = _Old | _Now


def _fact(path: str) -> FileFact | None:
    """What stands at the absolute *path* now, None for nothing. Blocks."""
    try:
        status = os.stat(path)
        return FileFact(status.st_size, md5_of(path), status.st_mtime_ns)
    except OSError:
        return None


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(MAX_BYTES + 1)


async def _texts(
    left: _Side, right: _Side, path: str, before: FileFact, after: FileFact
) -> dict[str, Any] | None:
    """Both sides of a changed file, or why they are not told; None where the bytes are the same."""
    if max(before.size, after.size) > MAX_BYTES:
        return {"large": True}
    old, new = await left.read(path), await right.read(path)
    if old == new:
        return None
    if not (is_text(old) and is_text(new)):
        return {"binary": True}
    return {"old": old.decode(), "new": new.decode()}


def _values(subject: Subject, left: _Side, right: _Side) -> dict[str, Any]:
    """Both sides' values as sidecars show them, {} where they are the same; *unknown* where nobody here knows one."""
    if subject.path:
        return {}
    before, after = left.values(), right.values()
    if before is None or after is None:
        return {"unknown": [side.name() for side in (left, right) if side.values() is None]}
    old, new = sidecar.render(before).decode(), sidecar.render(after).decode()
    return {} if old == new else {"path": subject.head.sidecar, "old": old, "new": new}


VERBS = {"diff": diff}
