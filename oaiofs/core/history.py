"""An object's versions: which there are, how one is meant by a word, what changed between two, which may go.

Announced versions are never changed; only whole ones are removed. Pure. Must not know servers, hosts or the mount.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..errors import NotFound, UsageError
from . import merge, names, stamps
from .model import FileFact, FileSet, Skipped, Stamp, Values

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_LEAST_WORD = 4
_MOST_CANDIDATES = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of an announced version besides its stored files.

    *values* None: not known. *file_paths* None: not known either; else the announced ones, in any order. *files* is
    their number where that alone is known.
    """

    stamp: Stamp
    values: Values | None = None
    file_paths: tuple[str, ...] | None = None
    files: int | None = None
    username: str = ""
    device_id: str = ""
    app_id: str = ""
    csh_id: str = ""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version with its *files* as the storage host has them; *lacking* announced ones are not there any more.

    *left_out* are stored files whose paths can't be shown here.
    """

    told: Told
    files: FileSet
    lacking: int = 0
    left_out: tuple[Skipped, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(fact.size for fact in self.files.values())


# -- which there are -----------------------------------------------------------------------------------------


def listed(
    folders: Iterable[str], told: Iterable[Told], agreed: Stamp | None, *, logged_from: Stamp | None
) -> tuple[Told, ...]:
    """The versions that are history, oldest first: of *folders* on the storage host, *told* what is known of some.

    A version that was begun and never announced is none. From *logged_from* on the server told all that there are;
    where it tells none (None), a folder of which nothing is known counts if it is older than the last *agreed*
    version. One that had files and has no folder any more was removed; one without files has no folder at all.
    """
    known = {one.stamp: one for one in told}
    stored = {stamp for stamp in map(stamps.parse, folders) if stamp is not None}
    limit = logged_from or agreed
    shown = [one for stamp, one in known.items() if stamp in stored or not (one.files or one.file_paths)]
    shown += [Told(stamp) for stamp in stored - known.keys() if limit is not None and stamp < limit]
    return tuple(sorted(shown, key=lambda one: one.stamp))


def by_version(tree: FileSet) -> dict[str, dict[str, FileFact]]:
    """A recursive listing of an object's folder, folder by folder of its versions."""
    versions: dict[str, dict[str, FileFact]] = {}
    for path, fact in tree.items():
        folder, slash, rest = path.partition("/")
        if slash:
            versions.setdefault(folder, {})[rest] = fact
    return versions


def stored(told: Told, files: FileSet) -> StoredVersion:
    """The version with what can be shown of the *files* in its folder: where it is known what it had, only that."""
    if told.file_paths is not None:
        kept = {path: files[path] for path in told.file_paths if path in files}
        return StoredVersion(told, dict(sorted(kept.items())), lacking=len(told.file_paths) - len(kept))
    usable, left_out = names.check_paths(sorted(files))
    lacking = max(0, told.files - len(files)) if told.files is not None else 0
    return StoredVersion(told, {path: files[path] for path in usable}, lacking, left_out)


def stored_in(tree: FileSet, versions: Iterable[Told]) -> dict[Stamp, StoredVersion]:
    """The *versions*, of the recursive listing of their object's folder."""
    found = by_version(tree)
    return {told.stamp: stored(told, found.get(told.stamp, {})) for told in versions}


def choose(word: str, known: Collection[str]) -> Stamp:
    """The version whose stamp is, or begins with, *word*. Raises NotFound, or UsageError where several do."""
    if word in known:
        return Stamp(word)
    found = sorted(stamp for stamp in known if word and stamp.startswith(word))
    if len(found) == 1 and len(word) >= _LEAST_WORD:
        return Stamp(found[0])
    if not found:
        raise NotFound(f"there is no version {word[:40]}: `oaiofs versions` lists those that there are")
    shown = ", ".join(found[:_MOST_CANDIDATES]) + (", …" if len(found) > _MOST_CANDIDATES else "")
    raise UsageError(f"{word} is the beginning of several versions' stamps, give more of one: {shown}")


# -- what changed --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Changes:
    """What one state has differently from another: paths of files, and top keys of values where both are known."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.values)


def changes(
    before: FileSet, after: FileSet, values_before: Values | None = None, values_after: Values | None = None
) -> Changes:
    """From *before* to *after*; files that hosts tell no hash of are the same where size and time are."""
    keys: list[str] = []
    if values_before is not None and values_after is not None:
        keys = [
            key
            for key in {**values_before, **values_after}
            if not merge.same(values_before.get(key, merge.MISSING), values_after.get(key, merge.MISSING))
        ]
    return Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(sorted(path for path in before.keys() & after.keys() if not alike(before[path], after[path]))),
        values=tuple(keys),
    )


def alike(one: FileFact, other: FileFact) -> bool:
    """Whether two contents are the same for all that is known of them."""
    if one.md5 and other.md5:
        return one.same_content(other)
    return one.size == other.size and one.mtime_ns // 1_000_000 == other.mtime_ns // 1_000_000


def below(files: FileSet, path: str) -> dict[str, FileFact]:
    """Those of the *files* that *path* is or holds: all for ''."""
    return {one: fact for one, fact in files.items() if not path or one == path or one.startswith(path + "/")}


# -- which may go --------------------------------------------------------------------------------------------


def prunable(
    versions: Sequence[Told],
    *,
    keep: int,
    older_than: timedelta,
    now: datetime,
    announced: Stamp,
    needed: Collection[str],
) -> tuple[Stamp, ...]:
    """Stamps of the *versions* (all that there are, oldest first) that may be removed for good.

    Never the *announced* one nor any newer one, the *keep* newest, one that is *needed* here, one younger than
    *older_than*, nor the last that a device announced: a device that is away has agreed on that one at least.
    """
    newest = {one.stamp for one in versions[max(0, len(versions) - keep) :]}
    last_of: Mapping[str, Stamp] = {one.device_id: one.stamp for one in versions if one.device_id}
    untouched = {announced, *newest, *needed, *last_of.values()}
    limit = min(announced, stamps.make(max(now - older_than, _EPOCH)))
    return tuple(one.stamp for one in versions if one.stamp not in untouched and one.stamp < limit)
