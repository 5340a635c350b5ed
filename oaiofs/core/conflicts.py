"""Conflicts as they can be read from what is there: a conflict copy by its name, a losing value by its key path.

Must not know where files or records are kept, nor who asks. ``names.conflict_name`` makes the names that are read here;
``merge`` finds the values.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from . import names, stamps
from .keypaths import key_text
from .merge import MISSING, same

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from .model import Stamp, Values

#: Every conflict copy's name has this in it: what to search for before ``read_copy``.
MARK = " (conflict "
#: Names shorter than this, in bytes, were made without cutting the original's: a blank at the cut costs a few more.
_PERHAPS_CUT = names.MAX_NAME_BYTES - 40
_COPY = re.compile(
    rf"(?P<stem>.+){re.escape(MARK)}(?P<device>[^()]+) (?P<stamp>[0-9]{{20}})\)(?: ~(?:[2-9]|[1-9][0-9]+))?"
    rf"(?P<extension>{names.EXTENSION})?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Copy:
    """What a conflict copy's name tells: of which *device* its bytes are, and the *stamp* of the version that won.

    *stem* and *extension* are the original's name, cut where it was too long; *device* is as ``names.device_label``.
    """

    stem: str
    extension: str
    device: str
    stamp: Stamp

    @property
    def name(self) -> str:
        return self.stem + self.extension


@functools.lru_cache(maxsize=4096)  # every status asks for each copy again, and judging a stamp takes its time
def read_copy(name: str) -> Copy | None:
    """The inverse of ``names.conflict_name`` for one name without folders; None for every other name."""
    match = _COPY.fullmatch(name) if MARK in name else None
    stamp = stamps.parse(match["stamp"]) if match else None
    if match is None or stamp is None:
        return None
    return Copy(match["stem"], match["extension"] or "", match["device"], stamp)


def original_name(name: str, copy: Copy, siblings: Callable[[], Iterable[str]]) -> str:
    """The name that *copy*, itself called *name*, lost; it need not exist any more.

    *siblings* gives the names beside it. Where the name may have been cut to make room, and is none of them, it is the
    only one that begins and ends like it; with none or several it stays the cut one.
    """
    if len(name.encode("utf-8", "replace")) < _PERHAPS_CUT:
        return copy.name
    alike = {
        sibling
        for sibling in siblings()
        if sibling.startswith(copy.stem) and sibling.endswith(copy.extension) and read_copy(sibling) is None
    }
    return alike.pop() if len(alike) == 1 and copy.name not in alike else copy.name


def plain_name(copy: Copy, taken: Container[str]) -> str:
    """A free name for a conflict copy that is to stay: ``name (DEVICE).ext``, which is no conflict copy's."""
    named = f" ({copy.device})"
    if read_copy(names.fit(copy.stem, named + copy.extension)) is not None:
        named = ""  # a device that calls itself like a conflict
    return names.first_free(lambda number: names.fit(copy.stem, named + number + copy.extension), taken)


# ------------------------------------------------------------------------------------------------------- values


def value_at(values: Values, keys: Sequence[str]) -> Any:
    """The value at the key path *keys*, MISSING where there is none."""
    value: Any = values
    for key in keys:
        value = value.get(key, MISSING) if isinstance(value, dict) else MISSING
    return value


def with_value(values: Values, keys: Sequence[str], value: Any) -> dict[str, Any]:
    """*values* with *value* at *keys* (MISSING: without it); objects on the way are made where missing.

    Raises UsageError where something on the way is there and no object.
    """
    first, *rest = keys
    if not rest:
        changed = dict(values)
        if value is MISSING:
            changed.pop(first, None)
        else:
            changed[first] = value
        return changed
    below = values.get(first, {})
    if not isinstance(below, dict):
        raise UsageError(
            f"{key_text(keys)} can't be set, as {json.dumps(first)} holds something else by now: set what you want in "
            "values.json, then resolve with `--keep theirs`."
        )
    return {**values, first: with_value(below, rest, value)}


def joined(mine: Any, theirs: Any) -> list[Any] | None:
    """Both lists in one, theirs first and each item of mine that is not in it; None where not both are lists."""
    if not (isinstance(mine, list) and isinstance(theirs, list)):
        return None
    items = list(theirs)
    for item in mine:
        if not any(same(item, other) for other in items):
            items.append(item)
    return items
