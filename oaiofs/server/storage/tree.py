"""The files of one account: what list, put, copy, move and remove mean on plain files.

Must not know HTTP or JSON. Paths come as checked parts (``paths``); a symbolic link or device on the way is refused, so
nothing outside the account's folder is ever touched. Changes to one account are made one at a time; each becomes
visible by one rename, so readers see before or after. Nothing is changed in place, so files may share their bytes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader

from . import disk
from .disk import Draft, StorageError
from .index import Index, Known
from .names import Names
from .paths import Parts, join, numbered

_FOLDER_MODE = 0o700


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder; *size* in bytes, *modified* in milliseconds since the epoch, *md5* in hex ('' for a folder)."""

    name: str
    is_folder: bool
    size: int
    modified: int
    md5: str


@dataclass(frozen=True, slots=True)
class Condition:
    """What a file must still be; None asks for nothing."""

    md5: str | None = None
    size: int | None = None
    modified: int | None = None

    def holds(self, entry: Entry) -> bool:
        wanted = ((self.md5, entry.md5), (self.size, entry.size), (self.modified, entry.modified))
        return not entry.is_folder and all(value in (None, actual) for value, actual in wanted)

    def __bool__(self) -> bool:
        return self != Condition()

    def check(self, entry: Entry) -> None:
        """Raises StorageError Conflict."""
        if self and not self.holds(entry):
            raise StorageError("Conflict", "The file is not what the condition says any more.")


@dataclass(frozen=True, slots=True)
class PutRule:
    """What to do where the name is taken: replace (on *condition*), give another name, or refuse."""

    overwrite: bool = False
    autorename: bool = True
    condition: Condition = Condition()
    #: With a condition: a missing file meets it.
    missing_ok: bool = False


class Shared:
    """What all requests to one account share."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.names = Names()


class Tree:
    """One account's files below *root*; *spool* is a folder on the same file system, *quota* bytes or None."""

    def __init__(self, root: str, spool: str, index: Index, shared: Shared, quota: int | None) -> None:
        self._root = root
        self._spool = spool
        self._index = index
        self._shared = shared
        self._quota = quota
        os.makedirs(root, _FOLDER_MODE, exist_ok=True)

    def info(self, parts: Parts) -> Entry:
        """Raises StorageError NotFound, as all methods do."""
        with disk.translated():
            actual, status = self._locate(parts)
            return self._entry(actual, status)

    def entries(self, parts: Parts) -> list[Entry]:
        """What is in the folder, by name. Raises StorageError NotDir."""
        with disk.translated():
            return self._entries(self._folder(parts))

    def walk(
        self,
        parts: Parts,
        shown: Callable[[Parts, list[Entry]], list[Entry]] = lambda _, entries: entries,
        masked: Callable[[Parts, Entry], Entry] = lambda _, entry: entry,
    ) -> Iterator[tuple[str, Entry | StorageError]]:
        """The folder itself as ``/`` and all below it by relative path, a folder before its content.

        Of a folder's entries only those *shown*, the folder itself *masked*. Raises StorageError NotFound and NotDir
        before the first item; later ones are items.
        """
        with disk.translated():
            top = self._folder(parts)
            yield "/", masked(top, self._entry(top, os.lstat(self._path(top))))
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            below = "/" + "".join(f"{name}/" for name in folder[len(top) :])
            try:
                with disk.translated():
                    entries = shown(folder, self._entries(folder))
            except StorageError as error:
                yield below, error
                continue
            yield from ((below + entry.name, entry) for entry in entries)
            waiting += [(*folder, entry.name) for entry in reversed(entries) if entry.is_folder]

    def open(self, parts: Parts) -> tuple[BufferedReader, Entry]:
        """The file's bytes, which stay the same whatever happens to its name, and what it is. Raises NotFile."""
        with disk.translated(), contextlib.ExitStack() as stack:
            actual, status = self._locate(parts)
            if not stat.S_ISREG(status.st_mode):
                raise StorageError("NotFile", "That is a folder.")
            file = stack.enter_context(disk.open_file(self._path(actual)))
            entry = self._entry(actual, os.fstat(file.fileno()))
            stack.pop_all()
            return file, entry

    def check_folder(self, parts: Parts) -> None:
        """Raises StorageError NotFound, NotDir."""
        with disk.translated():
            self._folder(parts)

    def space(self) -> tuple[int, int]:
        """Bytes in all and bytes used."""
        used = self._index.used()
        return (self._quota if self._quota is not None else used + shutil.disk_usage(self._root).free), used

    def check_put(self, folder: Parts, name: str, rule: PutRule, size: int) -> None:
        """Refuse what ``put`` would refuse, before the bytes are read. Raises as put."""
        with disk.translated():
            _, current = self._put_target(self._folder(folder), name, rule)
            self._check_room(size - (current.size if current else 0))

    def put(self, folder: Parts, name: str, draft: Draft, rule: PutRule, modified: int) -> Entry:
        """Give *draft* its place; answers what it is called now.

        Raises StorageError NotDir, NotFile (a folder has the name), Taken, Conflict, QuotaExceeded.
        """
        with self._changing() as touched:
            parent = self._folder(folder)
            name, current = self._put_target(parent, name, rule)
            self._check_room(draft.size - (current.size if current else 0))
            os.utime(draft.path, ns=(modified * 1_000_000,) * 2)
            known = Known(draft.md5, modified)
            # first the row: until the rename it doesn't fit the old file, which costs a hash and no more
            self._index.record(join((*parent, name)), os.lstat(draft.path), known)
            os.rename(draft.path, self._path((*parent, name)))
            self._shared.names.added(self._path(parent), name)
            touched(self._path(parent))
        return Entry(name, False, draft.size, modified, draft.md5)

    def make_folder(self, parent: Parts, name: str) -> Entry:
        """Raises StorageError AlreadyExists, NotDir."""
        with self._changing() as touched:
            actual = self._folder(parent)
            self._check_free(actual, name)
            path = self._path((*actual, name))
            os.mkdir(path, _FOLDER_MODE)
            self._shared.names.added(self._path(actual), name)
            touched(self._path(actual))
            return self._entry((*actual, name), os.lstat(path))

    def remove(self, parts: Parts, condition: Condition, only_empty: bool = False) -> None:
        """Remove a file, or a folder with all below it. Raises StorageError Conflict."""
        doomed = os.path.join(self._spool, f"removed-{uuid.uuid4()}")
        with self._changing() as touched:
            actual, status = self._locate(self._not_root(parts))
            condition.check(self._entry(actual, status))
            if only_empty and stat.S_ISDIR(status.st_mode) and os.listdir(self._path(actual)):
                raise StorageError("Conflict", "The folder is not empty.")
            os.rename(self._path(actual), doomed)
            self._index.remove(join(actual))
            self._shared.names.removed(self._path(actual[:-1]), actual[-1])
            touched(self._path(actual[:-1]))
        disk.discard(doomed)

    def copy(self, source: Parts, target: Parts, modified: int | None, condition: Condition) -> Entry:
        """Copy a file or a whole folder to the full new path *target*.

        *modified* is the copy's new time (for a folder: nothing, as folders have none of their own here). Raises
        StorageError AlreadyExists, CopyIntoSelf, Conflict, QuotaExceeded.
        """
        draft = os.path.join(self._spool, f"copy-{uuid.uuid4()}")
        with self._changing() as touched:
            old, status = self._locate(self._not_root(source))
            entry = self._entry(old, status)
            condition.check(entry)
            new = self._new_place(target, old, "CopyIntoSelf")
            self._check_room(self._index.size_below(join(old)))
            try:
                disk.clone(self._path(old), draft)
                self._index.copy(join(old), join(new))
                if modified is not None and not entry.is_folder:
                    self._index.record(join(new), os.lstat(draft), Known(entry.md5, modified))
                os.rename(draft, self._path(new))
            except BaseException:
                disk.discard(draft)
                self._index.remove(join(new))
                raise
            self._shared.names.added(self._path(new[:-1]), new[-1])
            touched(self._path(new[:-1]))
            return self._entry(new, os.lstat(self._path(new)))

    def move(self, source: Parts, target: Parts, condition: Condition) -> Entry:
        """Move a file or folder to the full new path *target*.

        Raises StorageError AlreadyExists, MoveIntoSelf, Conflict.
        """
        with self._changing() as touched:
            old, status = self._locate(self._not_root(source))
            condition.check(self._entry(old, status))
            new = self._new_place(target, old, "MoveIntoSelf")
            if new != old:
                os.rename(self._path(old), self._path(new))
                self._index.move(join(old), join(new))
                self._shared.names.removed(self._path(old[:-1]), old[-1])
                self._shared.names.added(self._path(new[:-1]), new[-1])
                touched(self._path(old[:-1]))
                touched(self._path(new[:-1]))
            return self._entry(new, os.lstat(self._path(new)))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[Callable[[str], None]]:
        """One change at a time; the folders named to the yielded function are made durable afterwards."""
        touched: list[str] = []
        with disk.translated(), self._shared.lock:
            yield touched.append
        for folder in touched:
            disk.sync_folder(folder)

    def _path(self, actual: Parts) -> str:
        return os.path.join(self._root, *actual)

    def _locate(self, parts: Parts) -> tuple[Parts, os.stat_result]:
        """How *parts* are spelled on disk, and the status of the last one."""
        actual: Parts = ()
        status = os.lstat(self._root)
        for name in parts:
            found = self._shared.names.find(self._path(actual), name) if stat.S_ISDIR(status.st_mode) else None
            if found is None:
                raise StorageError("NotFound", "There is no file or folder at that path.")
            actual = (*actual, found)
            status = os.lstat(self._path(actual))
            if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
                raise StorageError("InvalidPath", "The path leads to something that is neither a file nor a folder.")
        return actual, status

    def _folder(self, parts: Parts) -> Parts:
        actual, status = self._locate(parts)
        if not stat.S_ISDIR(status.st_mode):
            raise StorageError("NotDir", "That is a file, not a folder.")
        return actual

    def _not_root(self, parts: Parts) -> Parts:
        if not parts:
            raise StorageError("InvalidPath", "The root folder stays where it is.")
        return parts

    def _check_free(self, folder: Parts, name: str) -> None:
        if self._shared.names.find(self._path(folder), name) is not None:
            raise StorageError("AlreadyExists", "There is a file or folder of that name already.")

    def _new_place(self, target: Parts, old: Parts, into_self: str) -> Parts:
        """The spelling of the free place *target*; *old* itself in another case counts as free for a move."""
        parent = self._folder(self._not_root(target)[:-1])
        if parent[: len(old)] == old:
            raise StorageError(into_self, "A folder can't go into itself.")
        found = self._shared.names.find(self._path(parent), target[-1])
        if found is not None and ((*parent, found) != old or into_self == "CopyIntoSelf"):
            raise StorageError("AlreadyExists", "There is a file or folder at the new path already.")
        return (*parent, target[-1])

    def _put_target(self, parent: Parts, name: str, rule: PutRule) -> tuple[str, Entry | None]:
        """The name that a put gets, and the file that it replaces."""
        found = self._shared.names.find(self._path(parent), name)
        if found is None:
            if rule.condition and not rule.missing_ok:
                raise StorageError("Conflict", "The file that was to be replaced is not there.")
            return name, None
        if not rule.overwrite:
            return self._other_name(parent, name, rule), None
        actual = (*parent, found)
        entry = self._entry(actual, os.lstat(self._path(actual)))
        if entry.is_folder:
            raise StorageError("NotFile", "A folder has that name.")
        rule.condition.check(entry)
        return found, entry

    def _other_name(self, parent: Parts, name: str, rule: PutRule) -> str:
        if not rule.autorename:
            raise StorageError("Taken", "There is a file or folder of that name already.")
        number = 1
        while self._shared.names.find(self._path(parent), numbered(name, number)) is not None:
            number += 1
        return numbered(name, number)

    def _check_room(self, extra: int) -> None:
        if self._quota is not None and extra > 0 and self._index.used() + extra > self._quota:
            raise StorageError("QuotaExceeded", "The storage account is full.")

    def _entries(self, folder: Parts) -> list[Entry]:
        statuses = {}
        with os.scandir(self._path(folder)) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # gone since
                    statuses[entry.name] = entry.stat(follow_symlinks=False)
        files = {join((*folder, name)): status for name, status in statuses.items() if stat.S_ISREG(status.st_mode)}
        known = self._index.known_of(files)
        found = []
        for name in sorted(statuses):
            if stat.S_ISDIR(statuses[name].st_mode) or stat.S_ISREG(statuses[name].st_mode):
                with contextlib.suppress(FileNotFoundError):
                    actual = (*folder, name)
                    found.append(self._entry(actual, statuses[name], known.get(join(actual))))
        return found

    def _entry(self, actual: Parts, status: os.stat_result, known: Known | None = None) -> Entry:
        name = actual[-1] if actual else ""
        modified = status.st_mtime_ns // 1_000_000
        if stat.S_ISDIR(status.st_mode):
            return Entry(name, True, 0, modified, "")
        known = known or self._index.known(join(actual), status)
        if known is None:
            known = Known(disk.md5_of(self._path(actual)), modified)
            self._index.record(join(actual), status, known)
        return Entry(name, False, status.st_size, known.modified, known.md5)
