"""How the stored files of a new version are made from those of the version before, with the least to send.

Each announced version has a folder of its own with all of the object's files (PROTOCOL.md), so what is unchanged is
copied on the storage host itself. Of several ways to the same folder the cheapest is taken, by number of requests and
size of files. Must not know hosts or requests: it only counts them.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from .names import folders_of

if TYPE_CHECKING:
    from .model import FileFact, FileSet

#: A request costs as much as so many bytes sent: the time of its round trip on a usual line.
_REQUEST: Final = 64 * 1024
#: So many bytes that the host copies in vain cost as much as one sent: its time, and room that it lacks for a while.
_IN_VAIN: Final = 1024


class Copies(enum.IntEnum):
    """What a host can copy by itself."""

    NOTHING = 0
    FILES = 1
    FOLDERS = 2


@dataclass(frozen=True, slots=True)
class CopyFolder:
    """Copy the base version's folder whole to the new version's, which does not exist yet."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy the base version's file *source* to *target* in the new version, where nothing is, with the wanted mtime."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Put:
    """Send the local file *path*, replacing a file that is there."""

    path: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove *path*, a file or a folder with all in it, from the new version's folder; '': that folder itself."""

    path: str


Step: TypeAlias = CopyFolder | Copy | Put | Remove


def version_steps(base: FileSet, wanted: FileSet, copies: Copies = Copies.FOLDERS) -> tuple[Step, ...]:
    """The steps, to be done in order, that make the new version's folder hold exactly *wanted*.

    *base* is what the host has of the base version, all of it: its folder is copied with whatever is in there. Only
    contents that the host does not have are sent, so a renamed or duplicated file is a copy; of the two ways to the
    rest the cheaper one is taken (file by file where equal: it also sets times).
    """
    sources = _sources(base, wanted) if copies else {}
    sends: list[Step] = [Put(path) for path in sorted(wanted) if path not in sources]
    singly: list[Step] = [Copy(source, path) for path, source in sources.items()]
    if copies is Copies.FOLDERS:
        whole = _whole_folder_steps(base, wanted, sources)
        if _cost(whole, base, wanted) < _cost(singly, base, wanted):
            return (*whole, *sends)
    return (*singly, *sends)


def remaining_steps(
    there: FileSet,
    base: FileSet,
    wanted: FileSet,
    copies: Copies = Copies.FOLDERS,
    sure: Collection[str] = (),
) -> tuple[Step, ...]:
    """The steps, to be done in order, that complete a new version's folder which an earlier try has left in part.

    *there* is what the host has in it, *base* as in ``version_steps``, *sure* as in ``differing``. What is there is
    neither sent again nor, for its time alone, made anew. Where nothing that was sent is there, all is begun anew if
    that is cheaper.
    """
    sources = _sources(base, wanted) if copies else {}
    stays = wanted.keys() - differing(there, wanted, sure)
    stays = {path for path in stays if path not in sources or _same_time(there[path], wanted[path])}
    wanted_folders = {folder for path in wanted for folder in folders_of(path)}
    removed = {_outermost_unwanted(path, wanted_folders) for path in there if path not in wanted}
    removed |= {path for path in there if path in sources and path not in stays}  # a copy never replaces a file
    rest: tuple[Step, ...] = (
        *(Remove(path) for path in sorted(removed)),
        *(Copy(source, path) for path, source in sources.items() if path not in stays),
        *(Put(path) for path in sorted(wanted) if path not in sources and path not in stays),
    )
    anew = (Remove(""), *version_steps(base, wanted, copies))
    if stays <= sources.keys() and _cost(anew, base, wanted) < _cost(rest, base, wanted):
        return anew
    return rest


def differing(there: FileSet, wanted: FileSet, sure: Collection[str] = ()) -> set[str]:
    """The paths of *wanted* that *there* lacks, has otherwise, or does not surely have.

    Where the host tells no hash, only the size can be compared: that is enough for *sure* paths, whose bytes the host
    took or copied with a plain answer, and not for what was found there.
    """
    return {
        path
        for path, fact in wanted.items()
        if path not in there or not _same_bytes(there[path], fact, sure=path in sure)
    }


def _same_bytes(stored: FileFact, wanted: FileFact, *, sure: bool) -> bool:
    if stored.md5 and wanted.md5:
        return wanted.same_content(stored)
    return sure and stored.size == wanted.size


def _cost(steps: Iterable[Step], base: FileSet, wanted: FileSet) -> int:
    """In bytes sent: see ``_REQUEST`` and ``_IN_VAIN``."""
    cost = 0
    for step in steps:
        cost += _REQUEST
        if isinstance(step, Put):
            cost += wanted[step.path].size
        elif isinstance(step, CopyFolder):
            cost += sum(fact.size for path, fact in base.items() if not _kept(fact, wanted.get(path))) // _IN_VAIN
    return cost


def _kept(fact: FileFact, wanted: FileFact | None) -> bool:
    """Equal facts without a hash are those of a file that was never downloaded: here is nothing to send."""
    return fact == wanted or fact.same_content(wanted)


def _whole_folder_steps(base: FileSet, wanted: FileSet, sources: dict[str, str]) -> list[Step]:
    """All but the sends, when the base folder is copied whole first."""
    stays = {path for path, source in sources.items() if source == path and _same_time(base[path], wanted[path])}
    copies: list[Step] = [Copy(source, path) for path, source in sources.items() if path not in stays]
    wanted_folders = {folder for path in wanted for folder in folders_of(path)}
    # A copy never replaces a file, a send does.
    removed = {path for path in base if path in sources and path not in stays}
    removed |= {_outermost_unwanted(path, wanted_folders) for path in base if path not in wanted}
    return [CopyFolder(), *(Remove(path) for path in sorted(removed)), *copies]


def _sources(base: FileSet, wanted: FileSet) -> dict[str, str]:
    """For each wanted path whose content the base version has: the path that has it there, if it can be the same."""
    by_content: dict[tuple[int, str], str] = {}
    for path in sorted(base):
        fact = base[path]
        if fact.md5:
            by_content.setdefault((fact.size, fact.md5), path)
    sources = {}
    for path in sorted(wanted):
        fact = wanted[path]
        if path in base and _kept(base[path], fact):
            sources[path] = path
        elif fact.md5 and (fact.size, fact.md5) in by_content:
            sources[path] = by_content[fact.size, fact.md5]
    return sources


def _same_time(stored: FileFact, wanted: FileFact) -> bool:
    """Storage hosts keep milliseconds; 0 is a time that nobody knows."""
    return not wanted.mtime_ns or stored.mtime_ns // 1_000_000 == wanted.mtime_ns // 1_000_000


def _outermost_unwanted(path: str, wanted_folders: set[str]) -> str:
    """The outermost folder of *path* that the new version has no file in, or *path* itself."""
    return next((folder for folder in folders_of(path) if folder not in wanted_folders), path)
