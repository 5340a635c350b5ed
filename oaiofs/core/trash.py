"""Notes of the trash: what each entry was, what bringing it back needs, and when it may go for good.

The note of an entry is the truth about it, and an ordinary file that anybody may have edited: each name in it is
checked before it is used, and one that makes no sense is left out and told. Must not know the disk or a clock.
"""

from __future__ import annotations

import enum
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import NotFound, StateError, UsageError
from . import names, stamps
from .model import NAME_KEY, OLDEST_STAMP, FileFact, OaioId, Stamp, Values

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Bytes of a note that is read at all: an object of 100,000 files has one of about 20 MB.
MAX_NOTE_BYTES = 64 << 20
DAYS = 30.0
_DAY = 86_400.0
_MOST_LISTED = 10
_SIDECAR = re.compile(r"values~*\.json")
_FOLDER_NUMBER = re.compile(r"\.\d+$")
#: A clock that says less was never set.
_OLDEST = stamps.to_ns(OLDEST_STAMP) / 1e9
_MAX_BYTES = 1 << 62


class What(enum.Enum):
    """What an entry holds."""

    OBJECT = "object"
    FILES = "files"  #: of an object that itself stayed, removed by a version from elsewhere


@dataclass(frozen=True, slots=True)
class Kept:
    """One file of an entry. *origin* says where the storage host has its bytes (see ``Node``); '': they are here."""

    fact: FileFact
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """What an entry was. *removed_at* in seconds of the wall clock; *device_id* of who removed it, where known.

    *shown* are the values that the sidecar's text was made from. *problems* tells what of the note is not used.
    """

    what: What
    name: str
    removed_at: float
    why: str
    oaio_id: OaioId | None = None
    stamp: Stamp | None = None
    values: Values = field(default_factory=dict)
    shown: Values = field(default_factory=dict)
    files: Mapping[str, Kept] = field(default_factory=dict)
    csh_id: str = ""
    dialect: str = "classic"
    sidecar: str = ""
    device_id: str = ""
    problems: tuple[str, ...] = ()


def dump(note: Note) -> bytes:
    """The note as JSON, for ``load`` and for people."""
    raw = {
        "what": note.what.value, "name": note.name, "removed_at": note.removed_at, "why": note.why,
        "oaio_id": note.oaio_id, "stamp": note.stamp, "device_id": note.device_id, "csh_id": note.csh_id,
        "dialect": note.dialect, "sidecar": note.sidecar, "values": note.values, "shown": note.shown,
        "files": {p: [k.fact.size, k.fact.md5, k.fact.mtime_ns, k.origin] for p, k in note.files.items()},
    }  # fmt: skip
    return json.dumps(raw, ensure_ascii=False, indent=1).encode(errors="surrogatepass")


def load(data: bytes) -> Note:
    """The note that *data* holds; details that can't be right are left out, and told in its *problems*.

    Raises StateError where nothing can be made of it.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise StateError(f"its note is longer than {MAX_NOTE_BYTES >> 20} MiB")
    try:
        raw = json.loads(data.decode(errors="surrogatepass"), parse_constant=_no_number)
        json.dumps(raw)  # what can be read and not be written again is too deep for the state file
    except (ValueError, RecursionError):
        raise StateError("its note is not JSON") from None
    if not isinstance(raw, dict):
        raise StateError("its note is no JSON object")
    problems: list[str] = []

    def read(key: str, kind: type, default: Any) -> Any:
        value = raw.get(key, default)
        if isinstance(value, kind) and (not isinstance(value, str) or _is_text(value)):
            return value
        if value is not None:
            problems.append(f"{key} is not what it should be")
        return default

    return Note(
        what=_what(raw.get("what", "object")),
        name=names.safe_name(read("name", str, "")) if raw.get("name") else "",
        removed_at=_time(raw.get("removed_at"), problems),
        why=names.safe_name(read("why", str, "") or "unknown"),
        oaio_id=OaioId(text) if (text := read("oaio_id", str, "")) else None,
        stamp=stamps.parse(raw.get("stamp")),
        values=read("values", dict, {}),
        shown=read("shown", dict, {}),
        files=_files(read("files", dict, {}), problems),
        csh_id=read("csh_id", str, ""),
        dialect=read("dialect", str, "classic"),
        sidecar=_sidecar(read("sidecar", str, ""), problems),
        device_id=read("device_id", str, ""),
        problems=tuple(problems),
    )


def unknown(entry: str, problem: str) -> Note:
    """What stands for the note of the entry *entry* where there is none that can be read."""
    name = names.safe_name(_FOLDER_NUMBER.sub("", entry))
    return Note(What.OBJECT, name, math.nan, "unknown", values={NAME_KEY: name}, problems=(problem,))


def _no_number(text: str) -> float:
    raise ValueError(text)


def _is_text(value: str) -> bool:
    return len(value) <= names.MAX_PATH_BYTES and not any("\ud800" <= char <= "\udfff" for char in value)


def _what(value: object) -> What:
    try:
        return What(value)
    except ValueError:
        raise StateError("its note does not say what it was") from None


def _time(value: object, problems: list[str]) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e11:
        return float(value)
    problems.append("when it was removed is not known")
    return math.nan


def _sidecar(value: str, problems: list[str]) -> str:
    if not value or _SIDECAR.fullmatch(value):
        return value
    problems.append("sidecar is not what it should be")
    return ""


def _files(raw: dict[str, Any], problems: list[str]) -> dict[str, Kept]:
    """The files with a path that an attached file can have; of two that can't both exist the first."""
    paths, skipped = names.check_paths(list(raw))
    found: dict[str, Kept] = {}
    bad = [one.what for one in skipped]
    for path in paths:
        kept = _kept(raw[path])
        if kept is None:
            bad.append(repr(path[:80]))
        else:
            found[path] = kept
    if bad:
        problems.append(f"{len(bad)} of its files make no sense, {bad[0]} for one")
    return found


def _kept(raw: object) -> Kept | None:
    match raw:
        case [int(size), str(md5), int(mtime_ns), *rest] if 0 <= size < _MAX_BYTES and abs(mtime_ns) < _MAX_BYTES:
            origin = rest[0] if rest else ""
            if len(rest) <= 1 and isinstance(origin, str) and _is_origin(origin) and re.fullmatch("[0-9a-f]*", md5):
                return Kept(FileFact(size, md5, mtime_ns), origin)
    return None


def _is_origin(text: str) -> bool:
    """Whether *text* can be ``csh_id/oaio_id/stamp/path``; '' is fine too."""
    return not text or (text.count("/") >= 3 and names.path_problem(text) is None)


# --------------------------------------------------------------------------------------------------- deciding


def purge_time(note: Note, days: float) -> float | None:
    """When the entry may go for good, in seconds of the wall clock; None: never by itself.

    Not without knowing when it was removed: a clock that was not set then (older than oaio itself) knows nothing.
    """
    if not days or math.isnan(note.removed_at) or note.removed_at < _OLDEST:
        return None
    return note.removed_at + days * _DAY


def choose(wanted: str, entries: Mapping[str, str]) -> str:
    """The entry that the user means by *wanted*: its own name, or the display name that only it has.

    *entries* maps entries to display names. Raises NotFound, and UsageError with the candidates where several fit.
    """
    if wanted in entries:
        return wanted
    fitting = sorted(entry for entry, name in entries.items() if name == wanted)
    if not fitting:
        raise NotFound(f"There is no {wanted} in the trash: `oaiofs trash list` shows what is.")
    if len(fitting) > 1:
        raise UsageError(f"The trash has {wanted} {len(fitting)} times. Say which one is meant: {_listed(fitting)}.")
    return fitting[0]


def _listed(entries: Iterable[str]) -> str:
    every = [repr(entry) for entry in entries]
    more = f" and {len(every) - _MOST_LISTED} more" if len(every) > _MOST_LISTED else ""
    return ", ".join(every[:_MOST_LISTED]) + more
