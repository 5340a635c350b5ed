"""What one version tells about whether it was made from another: stamps and contents are all that servers keep of that.

Must not know what follows from it (``plan``, ``cache.apply``).
"""

from __future__ import annotations

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


def _alike(a: Any, b: Any) -> bool:
    if a is merge.MISSING or b is merge.MISSING:
        return a is b
    return bool(a == b or a.same_content(b))


def is_announced(pending: Version, listed: RemoteObject) -> bool:
    """Whether the listed version is the pending one: the same stamp alone may be two clocks that agree."""
    same_files = set(listed.file_paths) == set(pending.files)
    return listed.stamp == pending.stamp and same_files and merge.same(listed.values, pending.values)
