"""Names and paths: which are safe, what an object is called, and which files never leave this machine.

Text from outside (ids, values, lists of attached files) comes from other users and may be hostile; whatever is to
become a name on a disk passes through here. Must not know the mount, the disk or a storage host's protocol: every
function maps text to text. Attached files keep their exact names or are left out; only *display* names are changed.

Nothing is Unicode-normalized: a program finds a name again by the very bytes that it gave, and two attached files
may differ in nothing but their normalization.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from typing import TYPE_CHECKING

from ..errors import UsageError
from .leftout import LeftOut
from .model import NAME_KEY, ROOT_PATH_KEY, OaioId, Skipped, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Sequence

#: Longest single name in bytes of UTF-8 (Linux: NAME_MAX).
MAX_NAME_BYTES = 255
#: Longest path of an attached file in bytes, leaving room below PATH_MAX (4,096) for the client root or the mountpoint
#: and the object's folder in it; storage hosts want room for root folder, id and stamp, too.
MAX_PATH_BYTES = 3000
#: Most parts of an attached file's path.
MAX_PATH_DEPTH = 100
#: The folder of stored versions in each object directory: no attached file can live there.
VERSIONS_NAME = ".versions"
#: Regular expression of a file name's extension, see split_extension.
EXTENSION = r"(?:\.tar)?\.[^\s./]{1,16}"

_FALLBACK_NAME = "unnamed"
_REPORT_CHARS = 200
_CONFLICT_DEVICE_BYTES = 40
_CONFLICT_STAMP_BYTES = 40
_SIDECAR_STEM, _SIDECAR_EXTENSION = "values", ".json"

#: Files that editors and desktops make for themselves: kept here, never uploaded (see is_local_only).
#: A pattern must never swallow a user's document, so what can't be told apart from one is not in the list: the
#: temporaries of sed (`sedXXXXXX`, as is a folder "sediments"), rsync (`.f.XXXXXX`, as is ".env.sample"), perl, gawk
#: and Qt. These live for a moment and are renamed over the real file, which the quiet time before a push covers.
LOCAL_ONLY: tuple[str, ...] = (
    "*~",  # backups of vim, emacs and others; vim's persistent undo (.f.un~)
    "*.swp",  # vim's and nano's swap and lock files
    "*.swo",
    "*.swn",
    "*.swx",
    ".*.kate-swp",
    "4913",  # vim tries with it whether it can create files
    ".#*",  # emacs' lock links
    "#*#",  # emacs' auto-saves
    ".goutputstream-*",  # GLib: gedit, mousepad, gio
    "*___jb_tmp___",  # JetBrains
    "*___jb_old___",
    "~$*",  # Microsoft Office's and OnlyOffice's owner files
    ".~lock.*#",  # LibreOffice's lock files
    "lu[0-9]*.tmp",  # LibreOffice's temporaries
    "*.part",  # unfinished downloads of Firefox, KDE and others
    "*.crdownload",  # and of Chromium
    ".DS_Store",
    ".nfs*",  # deleted but open, on NFS
    ".fuse_hidden*",  # likewise, on libfuse
)

# PROTOCOL.md, "Terms": how the existing clients turn text into an id.
_DEFUSED = str.maketrans(
    {chr(code): chr(0x2400 + code) for code in range(32)}
    | dict(
        zip(
            "/|\\:*?\"'<>()[]{}#;@&=+$%^, \x7f",
            "\u2044\u0964\ufe68\ufe55\ufe61\ufe56\uff02\u2018\u27e8\u27e9\u27ee\u27ef\u27e6\u27e7\ufe5b\ufe5c\ufe5f\ufe54"
            "\ufe6b\ufe60\ufe66\ufe62\ufe69\ufe6a\uff3e\ufe50\u2423\u2421",
            strict=True,
        )
    )
)
_DEFUSED_SCHEME = "\u2afb"
_NO_PARENTHESES = {ord(char): char.translate(_DEFUSED) for char in "()"}

_REPLACEMENT = "\ufffd"
_SLASH = re.compile("/")
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x1f\x7f]")
# Controls of the C1 range, separators of lines, and what reverses the text around it: harmless to a file system,
# but a display name is printed in terminals and must not pose as another one.
_DECEPTIVE = re.compile("[\x80-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_UNWELCOME_IN_IDS = re.compile("[\ud800-\udfff\U00010000-\U0010ffff]")


# ---------------------------------------------------------------------------------------------- display names


def safe_name(text: str) -> str:
    """*text* as a display name that any file system takes; unchanged where it is one already.

    Never empty, at most 255 bytes, without slash, controls, lone surrogates, outer blanks or leading dot.
    """
    text = _SURROGATES.sub(_REPLACEMENT, text)
    text = _DECEPTIVE.sub(_REPLACEMENT, text.strip())
    text = _CONTROLS.sub(lambda match: match[0].translate(_DEFUSED), text).replace("/", "/".translate(_DEFUSED))
    if text.startswith("."):
        text = "_" + text[1:]
    return _cut(text, MAX_NAME_BYTES) or _FALLBACK_NAME


def display_name(values: Values, file_paths: Sequence[str], oaio_id: str) -> str:
    """What an object is called in the mount: its name, else its root folder's, its only file's, else its id."""
    root_path = values.get(ROOT_PATH_KEY)
    candidates = (
        values.get(NAME_KEY),
        _last_part(root_path.rstrip("/")) if isinstance(root_path, str) else None,
        _last_part(file_paths[0]) if len(file_paths) == 1 else None,
    )
    named = (text for text in candidates if isinstance(text, str) and text.strip())
    return safe_name(next(named, oaio_id))


def unique(name: str, taken: Container[str]) -> str:
    """*name* itself where it is free, else the first free one of ``name ~2``, ``name ~3``…; at most 255 bytes."""
    return first_free(lambda suffix: fit(name, suffix), taken)


def sidecar_name(file_paths: Iterable[str]) -> str:
    """The sidecar's name in an object with these attached files, which keep their names: ``values.json`` or a variant.

    With a file or folder ``values.json`` at the top it is ``values~.json``, then ``values~~.json`` and so on.
    """
    taken = {path.partition("/")[0] for path in file_paths}
    stem = _SIDECAR_STEM
    while stem + _SIDECAR_EXTENSION in taken:
        stem += "~"
    return stem + _SIDECAR_EXTENSION


def conflict_name(name: str, device: str, stamp: str, taken: Container[str]) -> str:
    """The free name for the local bytes that lost *name* to another device: ``name (conflict DEVICE STAMP).ext``.

    *name* may be a path: then the result is one in the same folder, and *taken* holds paths.
    """
    folder, slash, last = name.rpartition("/")
    stem, extension = split_extension(last)
    suffix = f" (conflict {device_label(device)} {_cut(_storable(safe_name(stamp)), _CONFLICT_STAMP_BYTES)})"
    return first_free(lambda number: folder + slash + fit(stem, suffix + number + extension), taken)


def device_label(device: str) -> str:
    """What a conflict copy's name calls the device: without parentheses, so that the name can be read back."""
    return _cut(_storable(safe_name(device)).translate(_NO_PARENTHESES), _CONFLICT_DEVICE_BYTES)


def restored_name(name: str, taken: Container[str]) -> str:
    """*name* itself where it is free, else the first free one of ``stem (restored).ext``, ``stem (restored) ~2.ext``"""
    if name not in taken:
        return name
    stem, extension = split_extension(name)
    return first_free(lambda number: fit(stem, f" (restored){number}{extension}"), taken)


def first_free(candidate: Callable[[str], str], taken: Container[str]) -> str:
    """The first of ``candidate("")``, ``candidate(" ~2")``, ``candidate(" ~3")``… that is not taken."""
    suffix, number = "", 1
    while (name := candidate(suffix)) in taken:
        number += 1
        suffix = f" ~{number}"
    return name


def split_extension(name: str) -> tuple[str, str]:
    """Stem and extension of a file name; a double one for compressed tar files, none for dot-files and sentences."""
    match = re.fullmatch(rf"(.+?)({EXTENSION})", name, re.DOTALL)
    if match is None or not match[1].strip("."):
        return name, ""
    return match[1], match[2]


def _last_part(path: str) -> str:
    return path.rpartition("/")[2]


def fit(stem: str, suffix: str) -> str:
    """*stem* cut so that with *suffix* it makes one name."""
    return (_cut(stem, MAX_NAME_BYTES - len(_encoded(suffix))) or _FALLBACK_NAME) + suffix


def _cut(text: str, size: int) -> str:
    """*text* cut at a character's boundary to *size* bytes, and left without a blank at the cut."""
    encoded = _encoded(text)
    if len(encoded) <= size:
        return text
    return encoded[:size].decode("utf-8", "ignore").rstrip()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


# --------------------------------------------------------------------------------------------- attached files


def path_problem(path: object) -> str | None:
    """Why *path* can't be an attached file's path inside an object (a sentence's end), or None where it can.

    Backslashes, colons, outer blanks and leading dots are fine on this machine; see storable_problem for the hosts.
    """
    if not isinstance(path, str):
        return "is not text"
    if not path:
        return "is empty"
    if _SURROGATES.search(path):
        return "is not valid Unicode"
    if _CONTROLS.search(path):
        return "has a control character"
    if path.startswith("/"):
        return "is absolute"
    if len(_encoded(path)) > MAX_PATH_BYTES:
        return f"is longer than {MAX_PATH_BYTES} bytes"
    return _parts_problem(path.split("/"))


def _parts_problem(parts: Sequence[str]) -> str | None:
    if len(parts) > MAX_PATH_DEPTH:
        return f"is deeper than {MAX_PATH_DEPTH} folders"
    if not all(parts):
        return "has an empty part"
    if "." in parts or ".." in parts:
        return "has a part '.' or '..'"
    if any(len(_encoded(part)) > MAX_NAME_BYTES for part in parts):
        return f"has a name longer than {MAX_NAME_BYTES} bytes"
    if parts[0] == VERSIONS_NAME:
        return f"is below {VERSIONS_NAME}, where stored versions are shown"
    return None


def check_paths(paths: object) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """A list of attached files from outside, as the paths that can be used, in their order, and what was left out.

    No list at all is one thing left out. Of two paths that can't both exist (``a`` and ``a/b``) the first is kept, so
    that all devices, which see the same list, keep the same one.
    """
    if not isinstance(paths, list | tuple):
        return (), (Skipped(_shown(paths), "the list of attached files is not a list"),)
    kept: dict[str, None] = {}
    folders: set[str] = set()
    skipped = LeftOut("attached files")
    for path in paths:
        problem = path_problem(path) or _clash(path, kept, folders)
        if problem:
            skipped.add(_shown(path), problem)
        else:
            kept[path] = None
            folders.update(folders_of(path))
    return tuple(kept), skipped.all


def _clash(path: str, kept: Container[str], folders: Container[str]) -> str | None:
    if path in kept:
        return "is in the list twice"
    if path in folders:
        return "is a folder of another attached file"
    for folder in folders_of(path):
        if folder in kept:
            return f"is below {_shown(folder)}, which is a file"
    return None


def folders_of(path: str) -> Iterator[str]:
    """All folders on the way to *path*, outermost first: ``a``, ``a/b`` for ``a/b/c``."""
    return (path[: match.start()] for match in _SLASH.finditer(path))


def _shown(what: object) -> str:
    """A short, printable picture of anything; of a container, which may be huge, only its kind and size."""
    if isinstance(what, str):
        return repr(what[:_REPORT_CHARS])[:_REPORT_CHARS]
    if isinstance(what, list | tuple | dict):
        return f"{type(what).__name__} of {len(what)}"
    if isinstance(what, int) and what.bit_length() > _REPORT_CHARS:
        return "a huge number"  # printing one can take long, or be refused by the interpreter
    return repr(what)[:_REPORT_CHARS]


# ---------------------------------------------------------------------------------------------- storage hosts

_REFUSED_BY_HOSTS = re.compile(r"[\\:\x00-\x1f\x7f]")


def storable_problem(path: str) -> str | None:
    """Why storage hosts can't take an attached file of this path: a sentence for the user, None where they can.

    From STORAGE_APIS.md A10 (Koofr refuses backslash, controls and DEL) and PROTOCOL.md (the existing client's driver
    refuses the colon). Names with 4-byte UTF-8 are left to the host, as only some refuse them.
    """
    if problem := path_problem(path):
        return f"{_shown(path)} can't be uploaded: the path {problem}. Rename it."
    if match := _REFUSED_BY_HOSTS.search(path):
        return f"{_shown(path)} can't be uploaded: storage hosts refuse {match[0]!r} in names. Rename it."
    return None


def unstorable(paths: Iterable[str]) -> tuple[Skipped, ...]:
    """All *paths* that storage hosts can't take together: *what* is the path itself, *why* a sentence for the user.

    Koofr's names are case-insensitive (STORAGE_APIS.md A10): of two that differ in case only, one would overwrite
    the other. The first in sorted order is kept, so that devices agree.
    """
    spelling: dict[str, str] = {}
    refused: list[Skipped] = []
    for path in sorted(paths):
        problem = storable_problem(path) or _case_problem(path, spelling)
        if problem:
            refused.append(Skipped(path, problem))
    return tuple(refused)


def _case_problem(path: str, spelling: dict[str, str]) -> str | None:
    prefixes = [*folders_of(path), path]
    for prefix in prefixes:
        other = spelling.get(prefix.lower(), prefix)
        if other != prefix:
            return (
                f"{_shown(path)} can't be uploaded: storage hosts don't tell {_shown(_last_part(prefix))} from "
                f"{_shown(_last_part(other))}. Rename one of them."
            )
    spelling.update((prefix.lower(), prefix) for prefix in prefixes)
    return None


def _storable(name: str) -> str:
    return _REFUSED_BY_HOSTS.sub(lambda match: match[0].translate(_DEFUSED), name)


# ------------------------------------------------------------------------------------------- local-only files


def is_local_only(path: str, patterns: Sequence[str]) -> bool:
    """True when the file *path* is one that stays on this machine.

    A pattern (fnmatch, case-sensitive) is for the file's own name; one that ends in a slash is for the name of any
    folder on the way (``node_modules/``). The two are kept apart because a *folder* named ``4913`` or ``1.part`` is
    a user's. A path that an agreed version has attached is never local-only, whatever its name: don't ask for it.
    """
    file_pattern, folder_pattern = _compiled(tuple(patterns))
    *folders, name = path.split("/")
    return file_pattern.match(name) is not None or any(folder_pattern.match(folder) for folder in folders)


@functools.lru_cache(maxsize=16)
def _compiled(patterns: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    return (
        _any_of(pattern for pattern in patterns if not pattern.endswith("/")),
        _any_of(pattern.rstrip("/") for pattern in patterns if pattern.endswith("/")),
    )


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"(?!)")


# ------------------------------------------------------------------------------------------------------- ids


def defuse(text: str) -> str:
    """*text* with each character of meaning in URLs, shells or paths replaced by a look-alike (PROTOCOL.md)."""
    return text.replace("://", _DEFUSED_SCHEME).translate(_DEFUSED)


def make_oaio_id(
    app_id: str, username: str, device_id: str, values: Values, file_paths: Sequence[str], stamp: str
) -> OaioId:
    """The id of a new object, as PROTOCOL.md has it; unique by its stamp. Raises UsageError where a part is empty.

    Ids are opaque to everyone but their maker, so what would strand the object is taken out: 4-byte characters and
    lone surrogates (hosts that refuse them would refuse the object's folder, for good), and as much of the name's
    end as makes the id longer than 255 bytes (the existing client stores an object in a file named by its id).
    """
    parts = {"app id": app_id, "user name": username, "device id": device_id, "stamp": stamp}
    for what, text in parts.items():
        if not text:
            raise UsageError(f"An object can't be made with an empty {what}: set one.")
    name = _id_name(values, file_paths)
    room = MAX_NAME_BYTES if name is not None else 0
    while True:
        middle = "" if name is None else f"/{name[:room]}"
        oaio_id = _UNWELCOME_IN_IDS.sub(_REPLACEMENT, defuse(f"{app_id}://{username}@{device_id}{middle}/{stamp}"))
        if not room or len(_encoded(oaio_id)) <= MAX_NAME_BYTES:
            return OaioId(oaio_id)
        room -= 1


def _id_name(values: Values, file_paths: Sequence[str]) -> str | None:
    """The name part of an id: the first that is there, even an empty one, as in the existing client."""
    if isinstance(name := values.get(NAME_KEY), str):
        return name
    if isinstance(root_path := values.get(ROOT_PATH_KEY), str):
        return root_path.strip("/")
    return file_paths[0] if len(file_paths) == 1 else None
