"""Who wrote what, having seen what: so that at the end every edit can be asked for, and every conflict for its reason.

Each edit is a line of text of its own, in a file or as a value, so it can be found again wherever it went. An edit may
only be missing in the end where somebody who saw it replaced or deleted it. A conflict copy has a reason if what is
in it and what somebody else wrote at the same place were written without knowing of each other.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

#: Stands between edits in a file of several lines; is no edit.
FILLING = "-"
_CONFLICT = re.compile(r" \(conflict [^ /]+ \d{20}\)(?: ~\d+)?(?=\.[^/.]*$|$)")


@dataclass
class Edit:
    """One line; *seen* are the edits that its author knew of at that place, and *places* the names it ever had.

    *hands* are all who put it somewhere: its author, and whoever renamed what it is in.
    """

    author: str
    seen: frozenset[str]
    places: set[str]
    hands: set[str]


class Ledger:
    """All edits of one story.

    *doubting*: the server takes the last writer and tells nothing of what a version was made from. Of one that
    replaces a version of some moments ago nobody knows whether its author saw that, so a copy of it is no fault.
    """

    def __init__(self, *, doubting: bool = False) -> None:
        self._doubting = doubting
        self.edits: dict[str, Edit] = {}
        self.alive: set[str] = set()
        self._numbers = itertools.count(1)

    def write(self, author: str, place: str, seen: Iterable[str], replaced: Iterable[str]) -> str:
        """A new edit at *place* by somebody who saw the edits *seen* there and does away with *replaced*."""
        known = {one for one in seen if one in self.edits}
        before = frozenset(known.union(*(self.edits[one].seen for one in known)))
        line = f"edit {next(self._numbers)} by {author}"
        self.edits[line] = Edit(author, before, {place}, {author})
        self.remove(replaced)
        self.alive.add(line)
        return line

    def remove(self, lines: Iterable[str]) -> None:
        """Somebody who saw them has done away with these."""
        self.alive.difference_update(lines)

    def moved(self, by: str, lines: Iterable[str], place: str) -> None:
        """Somebody gave what holds these edits another name."""
        for line in lines:
            if line in self.edits:
                self.edits[line].places.add(place)
                self.edits[line].hands.add(by)

    def missing(self, found: Collection[str]) -> set[str]:
        return self.alive - set(found)

    def is_conflict_real(self, losing: Iterable[str], place: str) -> bool:
        """Whether somebody else wrote at *place* without knowing of an edit among *losing*, and vice versa."""
        mine = [line for line in losing if line in self.edits]
        return any(
            place in self.edits[other].places and (self._doubting or self._unaware(other, line))
            for line in mine
            for other in self.edits
            if len(self.edits[other].hands | self.edits[line].hands) > 1
        )

    def _unaware(self, a: str, b: str) -> bool:
        return a not in self.edits[b].seen and b not in self.edits[a].seen


def lines_of(text: str) -> list[str]:
    """The edits in a file's text."""
    return [line for line in text.split("\n") if line not in ("", FILLING)]


def original(path: str) -> str | None:
    """The name that a conflict copy lost, None for a name that is no copy's."""
    folder, slash, name = path.rpartition("/")
    plain = name
    while (shorter := _CONFLICT.sub("", plain)) != plain:
        plain = shorter
    return None if plain == name else folder + slash + plain
