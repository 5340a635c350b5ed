"""Three-way merge of values: what two devices changed, both kept wherever that can be.

Must not know objects, files or who merges. *base* is what both sides started from, *mine* this device's state and
*theirs* the server's. The side on the server wins a key that both changed differently, because it has been seen by
others; mine is then handed back as a conflict, never dropped.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .model import Values


class _Missing(enum.Enum):
    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


#: Stands for the value of a key that is not there, which is something else than null.
MISSING: Final = _Missing.MISSING


@dataclass(frozen=True, slots=True)
class ValueConflict:
    """One value that both sides changed differently, at the keys *path*; *base* is MISSING where both added it."""

    path: tuple[str, ...]
    base: Any
    mine: Any
    theirs: Any


@dataclass(frozen=True, slots=True)
class ValuesMerge:
    """The merged *values*, which hold *theirs* of each of the *conflicts*."""

    values: dict[str, Any]
    conflicts: tuple[ValueConflict, ...]


def same(a: object, b: object) -> bool:
    """True when *a* and *b* are the same JSON value: 1, 1.0 and True differ, the order of keys does not matter.

    0.0 and -0.0 are the same: JSON gives the sign of zero no meaning, and some stores drop it.
    """
    if a is b:
        return True
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return len(a) == len(b) and all(key in b and same(value, b[key]) for key, value in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def merge_values(base: Values | None, mine: Values, theirs: Values) -> ValuesMerge:
    """*mine* and *theirs*, both made from *base*, in one; without a base everything counts as added by both.

    Key by key and into nested objects. Per key: only one side changed it, that side's; both alike, once; changed
    here and deleted there, the change; lists that both sides only appended to, theirs' additions and then mine;
    anything else is a conflict. A merge done twice, say after a crash in between, gives the same.
    """
    conflicts: list[ValueConflict] = []
    values = _merge_objects(base or {}, mine, theirs, (), conflicts)
    return ValuesMerge(values, tuple(conflicts))


def _merge_objects(
    base: Values, mine: Values, theirs: Values, path: tuple[str, ...], conflicts: list[ValueConflict]
) -> dict[str, Any]:
    merged = {}
    for key in _key_order(base, mine, theirs):
        value = _merge_one(
            base.get(key, MISSING), mine.get(key, MISSING), theirs.get(key, MISSING), (*path, key), conflicts
        )
        if value is not MISSING:
            merged[key] = value
    return merged


def _merge_one(base: Any, mine: Any, theirs: Any, path: tuple[str, ...], conflicts: list[ValueConflict]) -> Any:
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        return _merge_objects(base if isinstance(base, Mapping) else {}, mine, theirs, path, conflicts)
    if same(mine, theirs) or same(base, mine):
        return theirs
    if same(base, theirs):
        return mine
    if mine is MISSING or theirs is MISSING:
        return theirs if mine is MISSING else mine  # one deleted what the other changed: the change is worth more
    appended = _merge_appended(base, mine, theirs)
    if appended is not None:
        return appended
    conflicts.append(ValueConflict(path, base, mine, theirs))
    return theirs


def _merge_appended(base: Any, mine: Any, theirs: Any) -> list[Any] | None:
    """The list with both sides' additions, or None where *base* is no list or one side did more than append."""
    if not (_starts_with(mine, base) and _starts_with(theirs, base)):
        return None
    # The longer of the two may already hold the other's additions: a merge that is done again must not add them twice.
    if _starts_with(theirs, mine):
        return list(theirs)
    if _starts_with(mine, theirs):
        return list(mine)
    return [*theirs, *mine[len(base) :]]


def _starts_with(longer: Any, shorter: Any) -> bool:
    return (
        isinstance(longer, list)
        and isinstance(shorter, list)
        and len(longer) >= len(shorter)
        and all(map(same, longer, shorter))
    )


def _key_order(base: Values, mine: Values, theirs: Values) -> list[str]:
    """All keys of both sides: in theirs' order, with mine's own after the key that they follow in mine.

    Where the server's order is as it was in *base*, mine's order leads instead: moving a line in the sidecar stays.
    """
    lead, follow = (mine, theirs) if list(theirs) == list(base) else (theirs, mine)
    followers: dict[str | None, list[str]] = {}
    anchor = None
    for key in follow:
        if key in lead:
            anchor = key
        else:
            followers.setdefault(anchor, []).append(key)
    first = followers.pop(None, [])
    rest = [key for shared in lead for key in (shared, *followers.get(shared, ()))]
    return first + rest if _share_a_key(lead, follow) else rest + first


def _share_a_key(a: Values, b: Iterable[str]) -> bool:
    return any(key in a for key in b)
