"""What to do: three states of an object (base, local, remote) in, a list of actions that can be printed out.

Everything that decides between this device and the servers is in this module and nothing in it acts: a dry run, the
status and a test see the very list that is then carried out. Must not know how a file, a server or a storage host is
reached, nor what time it is. How one stored version is built from another is in ``build``.

*Base* is what this device and the server last agreed on, *local* is what is here, *remote* the newest version there.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from .names import folders_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from .model import FileFact, FileSet, OaioId, Right, Stamp

# ------------------------------------------------------------------------------------------ files of one object


class FileVerb(enum.Enum):
    """What to do with one path; a path with nothing to do has no action."""

    NOTHING = "nothing"  #: never in a plan: both sides are as agreed, or deleted it alike
    TAKE = "take"  #: the remote content takes the name, as a placeholder; what stands there was agreed or moved away
    DROP = "drop"  #: the remote side removed it, and it is unchanged here
    MOVE = "move"  #: the remote side renamed it: rename *path* to *target*, nothing to download
    ADOPT = "adopt"  #: both sides have the same new content: note it as agreed
    KEEP = "keep"  #: this side's state stands, be it a file or its absence, and goes into the next version
    MERGE = "merge"  #: what was made of both sides' edits takes the name, and goes into the next version
    KEEP_BOTH = "keep both"  #: rename the local *path* to *target*; whatever needs the name comes as its own TAKE


@dataclass(frozen=True, slots=True)
class FileAction:
    """One step; *target* is the new path of MOVE and KEEP_BOTH."""

    path: str
    verb: FileVerb
    target: str = ""

    def __str__(self) -> str:
        return f"{self.verb.value}: {self.path}" + (f" -> {self.target}" if self.target else "")


class Change(enum.Enum):
    """What one side did to a path since base; a path in neither is SAME."""

    SAME = "same"
    EDITED = "edited"  #: or added
    GONE = "gone"


#: (here, remote) -> verb. Where both edited, _file_verb looks first whether they came to one content, or can.
FILE_TABLE: Mapping[tuple[Change, Change], FileVerb] = {
    (Change.SAME, Change.SAME): FileVerb.NOTHING,
    (Change.SAME, Change.EDITED): FileVerb.TAKE,  # only the remote side moved: follow it
    (Change.SAME, Change.GONE): FileVerb.DROP,
    (Change.EDITED, Change.SAME): FileVerb.KEEP,  # only this side moved: the next push brings it there
    (Change.EDITED, Change.EDITED): FileVerb.KEEP_BOTH,
    (Change.EDITED, Change.GONE): FileVerb.KEEP,  # an edit is worth more than a deletion
    (Change.GONE, Change.SAME): FileVerb.KEEP,
    (Change.GONE, Change.EDITED): FileVerb.TAKE,  # likewise, the other way round
    (Change.GONE, Change.GONE): FileVerb.NOTHING,
}


def plan_files(
    base: FileSet,
    local: FileSet,
    remote: FileSet,
    *,
    rename: Callable[[str, Collection[str]], str],
    merged: FileSet | None = None,
) -> tuple[FileAction, ...]:
    """The actions that bring *remote* here without losing what is here, to be carried out one after the other.

    *rename* gives a free path, in the same folder, for a local file or folder that has to leave its name, from its
    path and all taken paths. *merged* has what came out for paths of ``both_edited``. In the order given no action
    meets anything in its way but an empty folder, which whoever carries it out removes. Afterwards *remote* is the
    new base: whatever differs from it is unpushed.

    *local* should also hold the files that never leave this machine, so that a clash with one is seen. A local file
    without a hash counts as changed unless its facts are base's: at worst a needless upload or copy.
    """
    verbs = _file_verbs(base, local, remote, merged or {})
    aside = _renames_aside(verbs, local, remote, rename)
    moves = _moves(verbs, local, remote)
    moved_here = set(moves.values())
    actions = [FileAction(path, FileVerb.KEEP_BOTH, target) for path, target in sorted(aside.items())]
    actions += [FileAction(path, FileVerb.DROP) for path in _paths_of(verbs, FileVerb.DROP) if path not in moves]
    actions += [FileAction(path, FileVerb.MOVE, target) for path, target in sorted(moves.items())]
    actions += [
        FileAction(path, FileVerb.TAKE)
        for path in _paths_of(verbs, FileVerb.TAKE, FileVerb.KEEP_BOTH)
        if path not in moved_here
    ]
    actions += [FileAction(path, FileVerb.MERGE) for path in _paths_of(verbs, FileVerb.MERGE)]
    actions += [FileAction(path, FileVerb.ADOPT) for path in _paths_of(verbs, FileVerb.ADOPT)]
    actions += [FileAction(path, FileVerb.KEEP) for path in _paths_of(verbs, FileVerb.KEEP) if path not in aside]
    return tuple(actions)


def both_edited(base: FileSet, local: FileSet, remote: FileSet, *, at_most: int) -> tuple[str, ...]:
    """The paths whose two contents a merge could make one of: all are known by hash and none has over *at_most* bytes.

    Where nothing comes of that the plan keeps both.
    """
    verbs = _file_verbs(base, local, remote, {})
    return tuple(
        path
        for path in _paths_of(verbs, FileVerb.KEEP_BOTH)
        if path in base and all(side[path].md5 and side[path].size <= at_most for side in (base, local, remote))
    )


def _paths_of(verbs: Mapping[str, FileVerb], *wanted: FileVerb) -> list[str]:
    return sorted(path for path, verb in verbs.items() if verb in wanted)


def _file_verbs(base: FileSet, local: FileSet, remote: FileSet, merged: FileSet) -> dict[str, FileVerb]:
    return {
        path: _file_verb(base.get(path), local.get(path), remote.get(path), merged.get(path))
        for path in {*base, *local, *remote}
    }


def _file_verb(
    base: FileFact | None, local: FileFact | None, remote: FileFact | None, merged: FileFact | None
) -> FileVerb:
    here, there = _local_change(base, local), _remote_change(base, remote)
    if here is there is Change.EDITED and local:
        if local.same_content(remote):
            return FileVerb.ADOPT
        if merged:
            return FileVerb.KEEP if local.same_content(merged) else FileVerb.MERGE
    return FILE_TABLE[here, there]


def _local_change(base: FileFact | None, local: FileFact | None) -> Change:
    if local is None:
        return Change.SAME if base is None else Change.GONE
    # Equal facts without a hash are those of a placeholder that was never opened.
    return Change.SAME if local.same_content(base) or local == base else Change.EDITED


def _remote_change(base: FileFact | None, remote: FileFact | None) -> Change:
    if remote is None:
        return Change.SAME if base is None else Change.GONE
    return Change.SAME if base and _unchanged_there(base, remote) else Change.EDITED


def _unchanged_there(base: FileFact, remote: FileFact) -> bool:
    """With hashes by content. Where the host tells none, by size and time, in the milliseconds that hosts keep.

    An edit that restores both goes unseen on such a host until the next one; taking every hashless file as changed
    would instead make a conflict copy of each local edit.
    """
    if base.md5 and remote.md5:
        return base.same_content(remote)
    return base.size == remote.size and base.mtime_ns // 1_000_000 == remote.mtime_ns // 1_000_000


def _moves(verbs: Mapping[str, FileVerb], local: FileSet, remote: FileSet) -> dict[str, str]:
    """Old path -> new path of what the remote side renamed: a dropped content that it has under a name not in use here.

    A rename that turns a file into a folder or back is left as drop and take, which need no order among them.
    """
    dropped: dict[tuple[int, str], list[str]] = {}
    for path in reversed(_paths_of(verbs, FileVerb.DROP)):
        fact = local[path]
        if fact.md5:
            dropped.setdefault((fact.size, fact.md5), []).append(path)
    local_folders = {folder for path in local for folder in folders_of(path)}
    moves: dict[str, str] = {}
    for path in _paths_of(verbs, FileVerb.TAKE):
        fact = remote[path]
        sources = dropped.get((fact.size, fact.md5))
        in_use = path in local or path in local_folders or any(folder in local for folder in folders_of(path))
        if sources and not in_use:
            moves[sources.pop()] = path
    return moves


def _renames_aside(
    verbs: Mapping[str, FileVerb], local: FileSet, remote: FileSet, rename: Callable[[str, Collection[str]], str]
) -> dict[str, str]:
    """Old path -> new path of each local file that has to leave its name to the remote side.

    That is a file edited on both sides, and one whose name becomes a folder, or whose folder becomes a file; files
    of one such folder stay together.
    """
    arriving = set(_paths_of(verbs, FileVerb.TAKE, FileVerb.KEEP_BOTH))
    arriving_folders = {folder for path in arriving for folder in folders_of(path)}
    taken = {name for path in (*local, *remote) for name in (path, *folders_of(path))}
    targets: dict[str, str] = {}
    aside: dict[str, str] = {}
    for path in _paths_of(verbs, FileVerb.KEEP, FileVerb.KEEP_BOTH):
        if path in arriving or path in arriving_folders:
            leaves = path
        else:
            leaves = next((folder for folder in folders_of(path) if folder in arriving), "")
        if path in local and leaves:
            if leaves not in targets:
                targets[leaves] = rename(leaves, taken)
                taken.add(targets[leaves])
            aside[path] = targets[leaves] + path[len(leaves) :]
    return aside


# ------------------------------------------------------------------------------------------------- one object


class ObjectVerb(enum.Enum):
    """What to do with one object."""

    NOTHING = "nothing"
    REGISTER = "register"  #: announce a new object
    PUSH = "push"  #: build and announce the next version
    PULL = "pull"  #: nothing unpushed here: follow the remote version
    MERGE = "merge"  #: both moved: merge_values and plan_files, then look again
    ADOPT_PENDING = "adopt pending"  #: the remote version is the one announced from here: only the reply was lost
    LEAVE = "leave"  #: nothing unpushed here and gone there: into the trash
    KEEP_ORPHAN = "keep orphan"  #: gone there with something unpushed here: stays in the mount, flagged
    DELETE = "delete"  #: removed here: delete for all users
    UNSUBSCRIBE = "unsubscribe"  #: removed here without the right to delete: end the own subscription
    RESURRECT = "resurrect"  #: removed here but edited there since: it comes back
    FORGET = "forget"  #: removed here and gone there: the tombstone has done its work (the trash keeps what it has)
    PARK = "park"  #: unpushed changes that the right no longer allows to push: kept as they are, flagged, if any are


@dataclass(frozen=True, slots=True)
class ObjectState:
    """What this device knows of one object.

    *base* is the last agreed version (None: never registered); *dirty* that something here is unpushed; *removed*
    that a tombstone has outlived its grace time; *draft* that a values.json with a mistake in it is kept, with the
    values it was made from (so a remote version may come in: once finished, the draft is merged with it); *pending*
    the stamp last announced whose reply has not come; *rebuilt* that what was known here of the object got lost but
    for its files: what is missing among them says nothing, so nothing is sent before the server's version came in.
    """

    base: Stamp | None
    dirty: bool
    removed: bool
    draft: bool
    right: Right
    pending: Stamp | None
    rebuilt: bool = False


class Unseen(enum.Enum):
    """Why there is no remote version to look at."""

    ABSENT = "absent"  #: a complete listing does not have it
    UNKNOWN = "unknown"  #: offline, never listed, or the listing was not complete


ABSENT, UNKNOWN = Unseen.ABSENT, Unseen.UNKNOWN


class Seen(Protocol):
    """An object as listed (model.RemoteObject is one)."""

    @property
    def stamp(self) -> Stamp: ...
    @property
    def right(self) -> Right: ...


Remote: TypeAlias = "Seen | Unseen"


class Relation(enum.Enum):
    """How the remote side stands to what this device agreed on."""

    UNKNOWN = "unknown"
    GONE = "gone"
    SAME = "same"  #: its version is base
    OURS = "ours"  #: its version is the pending one
    MOVED = "moved"  #: any other; an older stamp too, as clocks differ and servers take the last writer


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the verb depends on. *unpushed* is what would be lost with the local copy."""

    relation: Relation
    removed: bool
    registered: bool
    unpushed: bool
    may_update: bool
    may_delete: bool
    rebuilt: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row of OBJECT_TABLE: the verb, its reason, and the facts that it asks for (None: any)."""

    verb: ObjectVerb
    why: str
    relation: Relation | None = None
    removed: bool | None = None
    registered: bool | None = None
    unpushed: bool | None = None
    may_update: bool | None = None
    may_delete: bool | None = None
    rebuilt: bool | None = None

    def fits(self, facts: Facts) -> bool:
        return all(getattr(self, name) in (None, getattr(facts, name)) for name in Facts.__slots__)


_V, _R = ObjectVerb, Relation
#: The first row that fits decides.
OBJECT_TABLE: tuple[Row, ...] = (
    Row(_V.NOTHING, "without a look at the server nothing about it is decided", _R.UNKNOWN),
    # removed here
    Row(_V.FORGET, "gone on both sides", _R.GONE, removed=True),
    Row(_V.RESURRECT, "somebody's edit is worth more than this deletion", _R.MOVED, removed=True),
    Row(_V.DELETE, "removed here, unchanged there", removed=True, may_delete=True),
    Row(_V.UNSUBSCRIBE, "others may keep what this user may not delete", removed=True),
    # not on the server
    Row(_V.REGISTER, "made here and never seen there", _R.GONE, registered=False),
    Row(_V.KEEP_ORPHAN, "what nobody else has is never dropped", _R.GONE, unpushed=True),
    Row(_V.LEAVE, "deleted there or no longer shared; the trash can restore it", _R.GONE),
    # on the server
    Row(_V.ADOPT_PENDING, "our own version: its reply was lost", _R.OURS),
    Row(_V.MERGE, "what was known here got lost: first of all the server's version", _R.MOVED, rebuilt=True),
    Row(_V.PULL, "only the other side moved", _R.MOVED, unpushed=False),
    Row(_V.MERGE, "both sides moved", _R.MOVED, may_update=True),
    Row(_V.NOTHING, "both sides are as agreed", _R.SAME, unpushed=False),
    Row(_V.PUSH, "only this side moved", _R.SAME, may_update=True),
    Row(_V.PARK, "these changes can't be pushed with this right, but they are the user's"),
)


def plan_object(state: ObjectState, remote: Remote) -> ObjectVerb:
    """What to do with one object now. One call, one step: carry it out, look, and ask again."""
    return explain_object(state, remote).verb


def explain_object(state: ObjectState, remote: Remote) -> Row:
    """The row of OBJECT_TABLE that decides."""
    relation = _relation(state, remote)
    right = state.right if isinstance(remote, Unseen) else remote.right
    return _deciding_row(
        Facts(
            relation=relation,
            removed=state.removed,
            registered=state.base is not None or state.rebuilt,
            # A draft alone is nothing to push yet, but nobody else has it.
            unpushed=state.dirty or state.rebuilt or (state.draft and relation is Relation.GONE),
            may_update=right.may_update,
            may_delete=right.may_delete,
            rebuilt=state.rebuilt,
        )
    )


@functools.cache  # a poll asks for each of ten thousand objects, with few different facts
def _deciding_row(facts: Facts) -> Row:
    return next(row for row in OBJECT_TABLE if row.fits(facts))


def _relation(state: ObjectState, remote: Remote) -> Relation:
    if isinstance(remote, Unseen):
        return Relation.UNKNOWN if remote is UNKNOWN else Relation.GONE
    if not remote.right.may_read:
        return Relation.GONE
    if state.rebuilt:
        return Relation.MOVED
    if state.pending is not None and remote.stamp == state.pending:
        return Relation.OURS
    return Relation.SAME if remote.stamp == state.base else Relation.MOVED


def observation(oaio_id: OaioId, listed: Mapping[OaioId, Seen], *, complete: bool) -> Remote:
    """What a listing says of one object; one missing where unusable entries were left out is not known to be gone."""
    return listed.get(oaio_id, ABSENT if complete else UNKNOWN)
