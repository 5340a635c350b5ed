"""The words that all of oaiofs shares: an object, its version, its files, a user's right.

Must not know where any of it came from: not the wire's spelling (``dialect``), not the local state, not the mount.
All types are immutable; *values* dicts are treated as immutable by convention (never changed in place).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NewType, TypeAlias

#: 20 digits, UTC, ``%Y%m%d%H%M%S%f``: names one version of one object. Stamps compare as strings.
Stamp = NewType("Stamp", str)
#: The object's name for all devices, made by its creator. Comes from other users: never use one as a path unchecked.
OaioId = NewType("OaioId", str)

Json: TypeAlias = "bool | int | float | str | list[Any] | dict[str, Any] | None"
#: An object's values as users see them: everything but the list of attached files.
Values: TypeAlias = Mapping[str, Any]

#: Reserved keys of values, in the spelling used inside oaiofs (the older one of the wire).
NAME_KEY = "_name"
ROOT_PATH_KEY = "_root_path"
FILES_KEY = "_file_paths"

#: The oldest stamp that servers and clients accept.
OLDEST_STAMP = Stamp("20221231111111012345")


class Right(enum.Enum):
    """What a user may do with an object. Each right includes those after it."""

    CREATE = "C"
    DELETE = "D"
    UPDATE = "U"
    READ = "r"
    NONE = "x"

    @property
    def may_read(self) -> bool:
        return self is not Right.NONE

    @property
    def may_update(self) -> bool:
        return self in (Right.CREATE, Right.DELETE, Right.UPDATE)

    @property
    def may_delete(self) -> bool:
        return self in (Right.CREATE, Right.DELETE)

    @property
    def may_share(self) -> bool:
        return self is Right.CREATE


@dataclass(frozen=True, slots=True)
class FileFact:
    """What is known of one attached file's content.

    *size* in bytes; *md5* lower-case hex, empty where the storage host tells none; *mtime_ns* nanoseconds since the
    epoch (storage hosts keep milliseconds). The mtime never decides whether two contents are the same.
    """

    size: int
    md5: str
    mtime_ns: int = 0

    def same_content(self, other: FileFact | None) -> bool:
        """True only when both are surely the same bytes: without a hash on both sides nothing is sure."""
        return other is not None and bool(self.md5) and self.size == other.size and self.md5 == other.md5


#: Attached files by their path relative to the object, ``/`` between the parts.
FileSet: TypeAlias = Mapping[str, FileFact]


@dataclass(frozen=True, slots=True)
class Version:
    """One state of one object that a server and this device agreed on, or one that is on its way there."""

    stamp: Stamp
    values: Values
    files: FileSet


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something from outside that was left out because it could do harm or makes no sense, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """One object as the oaio server lists it for this user.

    *values* are without the list of attached files, which is *file_paths* (already checked: safe, relative, unique);
    what had to be left out of that list is in *skipped*. *stamp* is the newest announced version's, *lineage* those
    that it was made from, each from the next, as far as the server tells: () where it does not.
    *dialect* names the spelling the object was received in (see ``core.dialect``).
    """

    oaio_id: OaioId
    stamp: Stamp
    values: Values
    file_paths: tuple[str, ...]
    right: Right
    csh_id: str
    username: str = ""
    device_id: str = ""
    app_id: str = ""
    dialect: str = "classic"
    skipped: tuple[Skipped, ...] = ()
    lineage: tuple[Stamp, ...] = ()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One version of an object on its way to the oaio server.

    *stamp* is the new version's, *base* the version it was made from ('' for an object never registered) and
    *base_values* that version's values. *merged* is one more that it was made from, where *base* was not ('': none).
    *file_paths* is what the storage host holds complete under *stamp*.
    """

    oaio_id: OaioId
    stamp: Stamp
    base: str
    values: Values
    file_paths: tuple[str, ...]
    base_values: Values
    base_file_paths: tuple[str, ...]
    csh_id: str
    right: Right = Right.CREATE
    dialect: str = "classic"
    merged: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A complete answer of the oaio server: all objects of the user, and what was left out of it as unusable."""

    objects: tuple[RemoteObject, ...]
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Quota:
    """Room on the storage host in bytes; *total* 0 means: not told."""

    total: int = 0
    used: int = 0


@dataclass(frozen=True, slots=True)
class StorageAccount:
    """How to reach one cloud storage host: a secret, kept in memory only.

    *arguments* are the driver's keyword arguments as the oaio server hands them out (root_folder, email, password,
    and base_url where the server offers one).
    """

    csh_id: str
    arguments: Mapping[str, str] = field(repr=False)
