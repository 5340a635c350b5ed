"""Three-way merge of values: what two devices changed, both kept wherever that can be.

Must not know objects, files or who merges. *base* is what both sides started from, *mine* this device's state and
*theirs* the server's. The side on the server wins a key that both changed differently, because it has been seen by
others; mine is then handed back as a conflict, never dropped.
"""

from __future__ import annotations

import enum
from collections import Counter
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
    here and deleted there, the change; a list that one side only appended to, its additions at the end of what the
    other side made of the list (theirs, and then mine, where both did); anything else is a conflict. A merge done
    twice, say after a crash in between, gives the same.
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
    if isinstance(base, list) and isinstance(mine, list) and isinstance(theirs, list):
        merged = _merge_lists(base, mine, theirs)
        if merged is not None:
            return merged
    conflicts.append(ValueConflict(path, base, mine, theirs))
    return theirs


def _merge_lists(base: list[Any], mine: list[Any], theirs: list[Any]) -> list[Any] | None:
    """The list with what one side or both appended, or None where there is more to it than that.

    Either side may already hold the other's additions: a merge that is done again must not add them twice.
    """
    if _starts_with(mine, base) and _starts_with(theirs, base):
        mine_added, theirs_added = mine[len(base) :], theirs[len(base) :]
        if _holds_run(theirs_added, mine_added):
            return theirs
        return mine if _holds_run(mine_added, theirs_added) else [*theirs, *mine_added]
    if _starts_with(mine, base):
        return _extended(theirs, base, mine)
    if _starts_with(theirs, base):
        return _extended(mine, base, theirs)
    for longer, shorter in ((mine, theirs), (theirs, mine)):  # both changed it alike, and one appended
        if _starts_with(longer, shorter) and not _lacks(shorter, base, longer[len(shorter) :]):
            return longer
    return None


def _extended(changed: list[Any], base: list[Any], appended: list[Any]) -> list[Any] | None:
    """*changed* with what the other side *appended* to *base*.

    None where *changed* has lost an item equal to an added one: nobody can tell whether that one is to stay.
    """
    added = appended[len(base) :]
    if _holds_run(changed, added) and not _lacks(changed, appended, added):
        return changed
    return None if _lacks(changed, base, added) else [*changed, *added]


def _lacks(items: list[Any], reference: list[Any], among: list[Any]) -> bool:
    """Whether *items* has any of the values *among* less often than *reference* has."""
    wanted = set(map(_hashable, among))
    missing = Counter(key for key in map(_hashable, reference) if key in wanted)
    missing.subtract(map(_hashable, items))
    return any(missing[key] > 0 for key in wanted)


def _holds_run(items: list[Any], run: list[Any]) -> bool:
    """Whether *run*, which is not empty, stands in *items* without a gap; in linear time (Knuth, Morris, Pratt)."""
    wanted = list(map(_hashable, run))
    borders = [0]  # for each beginning of the run: how long an ending of it begins the run again
    for key in wanted[1:]:
        borders.append(_matched(wanted, borders, borders[-1], key))
    matched = 0
    for key in map(_hashable, items):
        matched = _matched(wanted, borders, matched, key)
        if matched == len(wanted):
            return True
    return False


def _matched(wanted: list[object], borders: list[int], matched: int, key: object) -> int:
    """How much of the beginning of *wanted* is there when *key* follows *matched* items of it."""
    while matched and wanted[matched] != key:
        matched = borders[matched - 1]
    return matched + (wanted[matched] == key)


def _hashable(value: Any) -> object:
    """Equal for values that are the same, and for no others."""
    if isinstance(value, Mapping):
        return frozenset((key, _hashable(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    return type(value), value


def _starts_with(longer: list[Any], shorter: list[Any]) -> bool:
    return len(longer) >= len(shorter) and all(map(same, longer, shorter))


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
