"""The root of an existing client on the disk, only ever read: which objects are in it, and their files' bytes.

What is in it may have been put there by strangers: no link is followed below the folder of an object's files, and
nothing but ordinary files is opened. Must not know what becomes of it. All functions block.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import errors
from ..core import existing
from ..core.existing import Held
from ..core.leftout import LeftOut
from ..core.model import Skipped

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # not waiting for whoever writes a pipe


@dataclass(frozen=True, slots=True)
class Files:
    """Attached files that are there: path and bytes of each below the absolute *folder*; and what else is to be said.

    *absent* is how many of the object's files are not there.
    """

    folder: str
    sizes: dict[str, int]
    absent: int
    skipped: tuple[Skipped, ...]


class ExistingRoot:
    """One root, as its client's ``client_root``. Raises NotFound where *path* is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / existing.OBJECTS).is_dir():
            raise errors.NotFound(
                f"{path} is no root of an existing client: it has no folder {existing.OBJECTS}. By default it is "
                "~/.config/oaio_root."
            )

    def names(self) -> list[str]:
        """Names of all that may be an object's file; one may turn out to be none."""
        return sorted(os.listdir(self.path / existing.OBJECTS))

    def read(self, name: str) -> Held:
        """One object. Raises Protocol where it can't be used."""
        try:
            with self._open(str(self.path / existing.OBJECTS), name) as descriptor:
                if os.fstat(descriptor).st_size > existing.MOST_BYTES:
                    raise errors.Protocol(f"it is larger than {existing.MOST_BYTES} bytes")
                with open(descriptor, "rb", closefd=False) as stream:
                    data = stream.read(existing.MOST_BYTES + 1)
        except OSError as error:
            raise errors.Protocol(_why(error)) from None
        return existing.read(name, data)

    def own_folder(self, held: Held) -> str:
        """Where the files of an object without ``_root_path`` are."""
        return str(self.path / existing.FILES / held.now.oaio_id)

    def files(self, held: Held, folder: str) -> Files:
        """Which of the object's files are in the absolute *folder*."""
        sizes, absent = {}, 0
        skipped = LeftOut("attached files")
        for path in held.now.file_paths:
            try:
                with self._open(folder, path) as descriptor:
                    sizes[path] = os.fstat(descriptor).st_size
            except (FileNotFoundError, NotADirectoryError):
                absent += 1
            except OSError as error:
                absent += 1
                skipped.add(path, _why(error))
        return Files(folder, sizes, absent, skipped.all)

    def open(self, files: Files, path: str) -> int:
        """A descriptor of one of the files for reading. Raises OSError."""
        with self._open(files.folder, path) as descriptor:
            return os.dup(descriptor)

    @contextmanager
    def _open(self, folder: str, path: str) -> Iterator[int]:
        """The ordinary file *path* below *folder*, reached without following a link."""
        *folders, name = path.split("/")
        top, _, last = folder.rpartition("/")
        here = os.open(top or "/", _FOLDER)
        try:
            for part in (last, *folders):
                below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
                os.close(here)
                here = below
            descriptor = os.open(name, _FILE, dir_fd=here)
        finally:
            os.close(here)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(0, "it is no ordinary file")
            yield descriptor
        finally:
            os.close(descriptor)


def _why(error: OSError) -> str:
    return "it is a link" if error.errno == errno.ELOOP else error.strerror or str(error)
