"""One word for how an object does. Pure but for what it is handed; must not know who is told."""

from __future__ import annotations

from collections.abc import Container

from .copies import Sizes
from .records import ObjectRecord


def state(
    record: ObjectRecord, conflicted: Container[int], sizes: Sizes, *, problem: bool = False, step: str = ""
) -> str:
    """The first that is so of: draft, error, conflict, pulling, pushing, dirty, online-only, synced.

    *problem*: something is wrong with it; *step*: what is being done with it, pulling or pushing. *conflicted* has the
    objects with conflicts. A draft that its user may not correct any more is an error.
    """
    checks = (
        ("draft", record.draft is not None and record.right.may_update),
        ("error", problem or record.orphan or record.draft is not None),
        ("conflict", record.key in conflicted),
        (step, bool(step)),
        ("dirty", record.dirty or record.removed),
        ("online-only", bool(sizes.files) and not sizes.here),
    )
    return next((word for word, is_so in checks if is_so), "synced")
