"""Who may do what with the stored files of an object, on a storage host that knows rights.

Pure. The rules are the self-hosted server's, and its in-memory twin's. Must not know paths, HTTP, or where a right
comes from. Whoever has no right on an object learns nothing: all is as if there were no such folder.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .model import Right


class Doing(enum.Enum):
    """What is to be done with a file or folder; copying reads the one and writes the other."""

    READ = "read"
    MAKE_FOLDER = "make folder"
    WRITE = "write"
    REMOVE = "remove"


class Level(enum.IntEnum):
    """How deep in an object something is: its folder, a version's folder in that, or what is in a version."""

    OBJECT = 1
    VERSION = 2
    INSIDE = 3

    @classmethod
    def of(cls, depth: int) -> Level:
        """That of something *depth* names below the root folder, at least one."""
        return cls(min(depth, cls.INSIDE))


@dataclass(frozen=True, slots=True)
class Standing:
    """What one user is to an object, and to the version that is about.

    *right* on an object that is not *registered* is C for who is making it, and of a deleted one what it was then; who
    ended the own subscription reads the versions of before.
    *announced*: the server was told of that version; at the level of the object: of any. *own_newest*: it is the
    object's current one, and this user told.
    """

    right: Right
    registered: bool = False
    announced: bool = False
    own_newest: bool = False


#: Of what is not there, and of what is another's.
STRANGER = Standing(Right.NONE)


class Verdict(enum.Enum):
    """Allowed, or why not: a sentence for the user."""

    ALLOWED = ""
    HIDDEN = "There is no file or folder at that path."
    READ_ONLY = "Your right on this object is to read it: to change its files you need right U, D or C."
    STAYS = "Your right on this object is to change it: to remove its versions you need right D or C."
    DELETED = "The object was deleted: its files can only be removed, or be stored anew, with right D or C."
    HISTORY = "This version was announced and stays as it is: store what is new as a new version."
    WAY = "This folder leads to the objects: it stays where it is, and holds nothing but folders."
    OUTSIDE = "There is room for the files of objects only, below the storage's root folder."


def verdict(doing: Doing, level: Level, standing: Standing) -> Verdict:
    """Whether a user of this *standing* may do that *level* deep in the object.

    What was announced is written by nobody and only removed as a whole, which takes right D or C. But who announced
    the newest version may store its files again: the existing client does after an answer was lost, removing each file
    before; in that version nothing is to be spoilt that they could not have stored spoilt just before.
    """
    right = standing.right
    if right is Right.NONE:
        return Verdict.HIDDEN
    if doing is Doing.READ:
        return Verdict.ALLOWED
    if standing.registered and not right.may_update:
        return Verdict.READ_ONLY
    if not standing.registered and not right.may_delete:
        return Verdict.DELETED
    if doing is Doing.MAKE_FOLDER and level is Level.OBJECT:
        return Verdict.ALLOWED
    if not standing.announced or (standing.own_newest and level is Level.INSIDE):
        return Verdict.ALLOWED
    if doing is Doing.REMOVE and level is not Level.INSIDE:
        return Verdict.ALLOWED if right.may_delete else Verdict.STAYS
    return Verdict.HISTORY


def on_the_way(doing: Doing) -> Verdict:
    """Whether a user may do that with a root folder, or a folder that leads to one; what is read is but the way."""
    return Verdict.ALLOWED if doing in (Doing.READ, Doing.MAKE_FOLDER) else Verdict.WAY


def outside(doing: Doing) -> Verdict:
    """The same for what leads nowhere: for a user nothing is there."""
    return Verdict.HIDDEN if doing in (Doing.READ, Doing.REMOVE) else Verdict.OUTSIDE
