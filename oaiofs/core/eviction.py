"""Which local copies may leave this machine, and how much has to: decisions as a table, pure.

A copy may be evicted when the storage host surely gives the same bytes again and nobody needs them here now. Whatever
is not known to be so keeps it. Must not know where the facts come from, nor in which order copies are looked at.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Hold(enum.Enum):
    """Why a local copy stays, as words after "kept: "."""

    GONE = "replaced or removed meanwhile"
    NOT_HERE = "not downloaded"
    NO_FILE = "no attached file"
    OPEN = "open in a program"
    BUSY = "its object is being synced just now"
    REMOVED = "its object was removed"
    DIRTY = "changed here, and not sent yet"
    UNHASHED = "its content is not known yet"
    ORPHAN = "its object is gone from the server"
    REBUILT = "its object is to be merged with the server first"
    UNREADABLE = "you have no right to read it any more"
    UNSENT = "not in the version that the server has"
    MISSED = "the storage host did not have a file of its object"
    PINNED = "pinned"
    MISSING = "gone from the working copy"
    CHANGED = "changed in the working copy by hand"
    OTHER_OWNER = "belongs to another user of this machine"


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """What is known of one node and its bytes.

    *attached*: a file that belongs to the versions on the servers: no folder, link, sidecar, editor's own file, nor one
    whose name a remote version took. *stored*: the agreed version has these very bytes at its path, by size and hash.
    *missed*: a download of its object's agreed version found that the host lacks it. *there*: a file stands on the
    disk; *unchanged*: with the size and time of its row; *ours*: of the user whose mount it is, as a download is.
    """

    known: bool
    local: bool
    attached: bool
    open: bool
    busy: bool
    removed: bool
    dirty: bool
    hashed: bool
    orphan: bool
    rebuilt: bool
    readable: bool
    stored: bool
    missed: bool
    pinned: bool
    there: bool
    unchanged: bool
    ours: bool


#: What keeps a copy: the fact, the value of it that does, and what is then said. The first that is so is told.
TABLE: tuple[tuple[str, bool, Hold], ...] = (
    ("known", False, Hold.GONE),
    ("removed", True, Hold.REMOVED),
    ("attached", False, Hold.NO_FILE),
    ("local", False, Hold.NOT_HERE),
    ("open", True, Hold.OPEN),
    ("dirty", True, Hold.DIRTY),
    ("hashed", False, Hold.UNHASHED),
    ("orphan", True, Hold.ORPHAN),
    ("rebuilt", True, Hold.REBUILT),
    ("readable", False, Hold.UNREADABLE),
    ("stored", False, Hold.UNSENT),
    ("missed", True, Hold.MISSED),
    ("pinned", True, Hold.PINNED),
    ("busy", True, Hold.BUSY),
    ("there", False, Hold.MISSING),
    ("unchanged", False, Hold.CHANGED),
    ("ours", False, Hold.OTHER_OWNER),
)


def hold(copy: LocalCopy) -> Hold | None:
    """Why the copy stays, None where it may go."""
    return next((why for fact, value, why in TABLE if getattr(copy, fact) is value), None)


@dataclass(frozen=True, slots=True)
class Limits:
    """In bytes: how much may be *kept* here, how much of the disk stays *free*; 0 for no limit."""

    kept: int = 0
    free: int = 0


NO_LIMITS = Limits()


def excess(limits: Limits, *, kept: int, free: int, coming: int = 0) -> int:
    """Bytes that have to go so that neither limit is broken, with *coming* bytes more on the disk."""
    over = kept + coming - limits.kept if limits.kept else 0
    short = limits.free + coming - free if limits.free or coming else 0
    return max(0, over, short)
