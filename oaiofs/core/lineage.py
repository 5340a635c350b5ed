"""What one version tells about whether it was made from another: stamps and contents are all that servers keep of that.

Must not know what follows from it (``plan``, ``cache.apply``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import merge, stamps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .model import FileSet, RemoteObject, Stamp, Values, Version

#: Clocks of devices that sync differ by no more than this (PROTOCOL.md), twice that between two of them.
_BLIND_SECONDS = 2 * 69


def may_be_blind(agreed: Stamp | None, listed: Stamp) -> bool:
    """Whether the version *listed*, on a server where the last writer wins, may have been made without *agreed*.

    Somebody who announces looks before; who looked before *agreed* was announced announces little later, by a clock
    that may be behind.
    """
    if agreed is None:
        return False
    return (stamps.to_datetime(listed) - stamps.to_datetime(agreed)).total_seconds() < _BLIND_SECONDS


def has_seen(prior: Version, agreed: Version, values: Values, files: FileSet) -> bool:
    """Whether a version with these *values* and *files* shows that it was made from *agreed* and not from *prior*.

    It does when it has something that came with *agreed*, and takes back nothing of that.
    """
    changes = [
        *_sides(prior.files, agreed.files, files, _alike),
        *_sides(prior.values, agreed.values, values, merge.same),
    ]
    return any(follows for follows, _ in changes) and not any(reverts for _, reverts in changes)


def _sides(
    before: Mapping[str, Any], after: Mapping[str, Any], now: Mapping[str, Any], same: Callable[[Any, Any], bool]
) -> Iterator[tuple[bool, bool]]:
    """For each key that changed from *before* to *after*: whether *now* has it as after, and whether as before."""
    for key in {*before, *after}:
        old, new, current = (side.get(key, merge.MISSING) for side in (before, after, now))
        if not same(old, new):
            yield same(current, new), same(current, old)


def restored(ancestor: Version, agreed: Version, listed: Values, files: FileSet) -> Version:
    """What every device makes of *agreed* and of a version with *listed* values and *files* that was made without it.

    *ancestor* is what both were made from. It goes by the stamp of *agreed*.
    """
    merged = merge.merge_values(ancestor.values, agreed.values, listed).values
    theirs = {path: fact for path, fact in files.items() if not _same_at(path, files, ancestor.files)}
    gone = {path for path in ancestor.files if path not in files and _same_at(path, agreed.files, ancestor.files)}
    ours = {path: fact for path, fact in agreed.files.items() if path not in gone}
    return replace(agreed, values=merged, files=ours | theirs)


def _same_at(path: str, a: FileSet, b: FileSet) -> bool:
    return _alike(a.get(path, merge.MISSING), b.get(path, merge.MISSING))


def _alike(a: Any, b: Any) -> bool:
    if a is merge.MISSING or b is merge.MISSING:
        return a is b
    return bool(a == b or a.same_content(b))


def went_on(agreed: Version, pending: Version, listed: RemoteObject, files: FileSet) -> bool:
    """Whether *listed*, whose files are *files*, was made from the *pending* version, whose own answer had been lost.

    Servers that tell no lineage leave it to the contents (``has_seen``).
    """
    if listed.lineage:
        return pending.stamp in listed.lineage
    return has_seen(agreed, pending, listed.values, files)


def is_announced(pending: Version, listed: RemoteObject) -> bool:
    """Whether the listed version is the pending one: the same stamp alone may be two clocks that agree."""
    same_files = set(listed.file_paths) == set(pending.files)
    return listed.stamp == pending.stamp and same_files and merge.same(listed.values, pending.values)
