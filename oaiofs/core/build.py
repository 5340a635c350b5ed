"""How the stored files of a new version are made from those of the version before, with the least to send.

Each announced version has a folder of its own with all of the object's files (PROTOCOL.md), so what is unchanged is
copied on the storage host itself. Must not know hosts or requests: it only counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .names import folders_of

if TYPE_CHECKING:
    from .model import FileFact, FileSet


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
    """Remove *path*, a file or a folder with all in it, from the new version's folder."""

    path: str


Step: TypeAlias = CopyFolder | Copy | Put | Remove


def version_steps(base: FileSet, wanted: FileSet, *, copy_folder: bool = True) -> tuple[Step, ...]:
    """The steps, to be done in order, that make the new version's folder hold exactly *wanted*.

    *base* is what the host has of the base version, all of it: its folder is copied with whatever is in there. Only
    contents that the host does not have are sent, so a renamed or duplicated file is a copy; of the two ways to the
    rest the one with fewer requests is taken (file by file where equal: it also sets times). *copy_folder* False is
    for hosts where copying a folder fails or is no single request.
    """
    sources = _sources(base, wanted)
    sends: list[Step] = [Put(path) for path in sorted(wanted) if path not in sources]
    singly: list[Step] = [Copy(source, path) for path, source in sources.items()]
    if copy_folder:
        whole = _whole_folder_steps(base, wanted, sources)
        if len(whole) < len(singly):
            return (*whole, *sends)
    return (*singly, *sends)


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
        # Equal facts without a hash are those of a file that was never downloaded: here is nothing to send.
        if path in base and (fact.same_content(base[path]) or fact == base[path]):
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
