"""An object that an existing client holds becomes one of this client root, with copies of its files.

It is made as after the loss of a state file (``rebuild``): which version was agreed is known, and the working copy, but
not what the server has of it. So nothing of it is sent before the server's version was merged in: what the client had
not sent is an edit of the agreed version, what it had is in step, and what is not here is only not downloaded. Files
that the client's unsent version removed are remembered as agreed, so that they are removed.

One transaction for each object, its files in the staging folder before: after a kill it is there whole, or not at all.
Must not know where the files come from, nor the servers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..core import names
from ..core.existing import Held
from ..core.model import FileFact
from ..errors import ChangedMeanwhile
from . import objects, records
from .records import Kind, Node
from .store import Head, Store
from .workdir import OBJECTS, Workdir, copy_hashing


@dataclass(frozen=True, slots=True)
class Copied:
    """One attached file, copied to the relative path *staged*."""

    path: str
    staged: str
    mode: int
    fact: FileFact


def copy(files: Workdir, paths: Iterable[str], open_file: Callable[[str], int]) -> list[Copied]:
    """Copy what *open_file* opens for each path into the staging folder, and on to the disk. Blocks; for threads.

    The bytes are never shared with the original, which its own client may write. Raises ChangedMeanwhile where one is
    written just now, OSError; then none is left.
    """
    made: list[Copied] = []
    try:
        made.extend(_copy(files, path, open_file) for path in paths)
    except BaseException:
        _drop(files, made)
        raise
    return made


def _drop(files: Workdir, made: Iterable[Copied]) -> None:
    for one in made:
        files.remove(one.staged)


def _copy(files: Workdir, path: str, open_file: Callable[[str], int]) -> Copied:
    staged = files.new_staging()
    source = open_file(path)
    try:
        before = os.fstat(source)
        target = os.open(files.absolute(staged), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            md5 = copy_hashing(source, target)
            os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
            os.fsync(target)
            size = os.fstat(target).st_size
        finally:
            os.close(target)
        after = os.fstat(source)
        if (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns):
            raise ChangedMeanwhile(f"{path} is being written just now: end the program that does, and import again")
    except BaseException:
        files.remove(staged)
        raise
    finally:
        os.close(source)
    mode = stat.S_IMODE(before.st_mode) & 0o777 | 0o600
    return Copied(path, staged, mode, FileFact(size, md5, before.st_mtime_ns))


def take_over(store: Store, held: Held, files: Sequence[Copied], *, csh_id: str) -> Head:
    """Make the object, with *files* as its working copy; *csh_id* is for one that names no storage host.

    The caller has seen that no row has its id. Where this fails the copies are gone.
    """
    now = held.now
    with store.state.transaction():
        store.state.on_undo(lambda: _drop(store.files, files))
        head = objects.create_from(
            store, names.display_name(now.values, now.file_paths, now.oaio_id), now.values, {},
            csh_id=now.csh_id or csh_id, username=now.username, device_id=now.device_id, app_id=now.app_id,
            dialect=now.dialect, sidecar_name=names.sidecar_name(now.file_paths),
        )  # fmt: skip
        store.update_object(
            head.key, oaio_id=now.oaio_id, right=now.right, base_stamp=held.base_stamp,
            base_values=dict(held.base_values), rebuilt=int(held.agreed is not None),
        )  # fmt: skip
        records.set_base_files(store.db, head.key, dict.fromkeys(held.removed, FileFact(0, "")))
        objects.make_folder_later(store, f"{OBJECTS}/{head.folder}")
        for one in files:
            _place(store, head, one)
        objects.write_sidecar(store, head.key)
    objects.run_intents(store)
    store.doorbell(head.key)
    return store.heads[head.key]


def _place(store: Store, head: Head, one: Copied) -> None:
    parent, name = objects.folder_later(store, head, one.path)
    node = Node(
        store.new_ino(), head.key, parent, name, Kind.FILE, one.mode, local=True, dirty=False, size=one.fact.size,
        md5=one.fact.md5, mtime_ns=one.fact.mtime_ns,
    )  # fmt: skip
    os.chmod(store.files.absolute(one.staged), one.mode)
    inode = store.files.stat(one.staged).st_ino
    objects.move_later(store, one.staged, f"{store.folder_path(parent)}/{name}", inode)
    store.add_node(node)
