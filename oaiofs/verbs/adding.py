"""``add``: a new object of a file, a folder or values that are somewhere on this machine.

    {"source": "/home/alice/trip", "name": "trip", "values": "/run/user/1000/x.json"}      either, or both
    {"root_path": "{doc}/letters", "source": "/home/alice/Documents/letters/one.txt"}      or without source: all of it

What is added is copied, whole, before the object begins to be: a kill leaves all of it or nothing. Rows of the copy are
made by the comparison that mends a client root after a crash, as when something comes back from the trash. Must not
know the socket, the command line or FUSE.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from .. import rootpaths
from ..cache import objects, rootchoice
from ..cache.recover import compare
from ..cache.store import ROOT_INO, Head, Store
from ..cache.workdir import OBJECTS
from ..core import names, sidecar
from ..core.model import FILES_KEY, NAME_KEY, ROOT_PATH_KEY, Values
from ..errors import Exists, InvalidName, NotFound, NotPermitted, OaiofsError, ReadOnly, UsageError
from .trash import maker

if TYPE_CHECKING:
    from . import Place


#: What an object's folder shows, as that of an object from the server.
_FOLDER_MODE = 0o755


@dataclass
class _Copy:
    """What has been copied into the folder *place* of the client root: paths in it, and paths left out with the why."""

    place: str
    files: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


async def add(place: Place, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Make an object of the file or folder at the absolute path *source*, with the *values* of that JSON file.

    It is called *name*, else as the values or the path say. With *root_path*, a folder that may have placeholders, the
    object tells other clients that its files belong there: *source* is in it, and by default all of it. *left_out*
    names what can't be in an object. Raises NotFound, Exists, InvalidName, NotPermitted for what is in the client root
    already, InvalidSidecar, ReadOnly, UsageError.
    """
    store = place.store
    if place.read_only:
        raise ReadOnly("this mount is read-only")
    path, values_path = _text(arguments, "source"), _text(arguments, "values")
    root = _root(place, _text(arguments, "root_path"))
    if path is None and values_path is None and root is None:
        raise UsageError("say what is to be added: a file, a folder or values")
    values = {} if values_path is None else await trio.to_thread.run_sync(_read_values, values_path)
    inside = ""
    if root is not None:
        # in a thread: the folder may be in this very mount, whose answers come from this one
        path, inside = await trio.to_thread.run_sync(root.place_of, path)
        values[ROOT_PATH_KEY] = root.kept
    wanted = _text(arguments, "name")
    name = _name(wanted, values, path)
    if root is None or wanted is not None:  # else it is the root path's last part, as for other clients
        values = {NAME_KEY: name} | values | {NAME_KEY: name}
    _check_name(store, name)
    copy = _Copy(store.files.new_staging())
    try:
        await trio.to_thread.run_sync(_copy, store.files.root, copy, path, inside)
        _check_name(store, name)  # that took a while
        head = _make(place, name, values, copy, chosen=root is not None)
    except BaseException:
        await _discard(store, copy)
        raise
    place.announce(ROOT_INO, head.name)
    await trio.to_thread.run_sync(store.state.sync_to_disk)
    return {
        "object": head.name, "files": len(copy.files), "mounted": place.mounted,
        "left_out": [{"path": one, "why": why} for one, why in copy.left_out],
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Root:
    """The folder that an object's files belong in: on this machine, and as the object's ``_root_path`` has it."""

    folder: str
    kept: str

    def place_of(self, path: str | None) -> tuple[str, str]:
        """What is added, by default all of the folder; and its path in it, '' for that. Blocks. Raises UsageError."""
        if path is None:
            return self.folder, ""
        inside = os.path.relpath(os.path.realpath(path), os.path.realpath(self.folder))
        if inside.split("/")[0] == "..":
            raise UsageError(f"{path} is not in the root path {self.folder}: only what is in it can be added with it")
        return path, "" if inside == "." else inside


def _root(place: Place, root_path: str | None) -> _Root | None:
    if root_path is None:
        return None
    app_id = maker(place).app_id
    return _Root(rootpaths.resolve(root_path, app_id), rootpaths.kept(root_path, app_id))


def _text(arguments: Mapping[str, Any], name: str) -> str | None:
    value = arguments.get(name)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name} is a text")
    return value


def _read_values(path: str) -> dict[str, Any]:
    with open(path, "rb") as stream:
        return {
            key: value for key, value in sidecar.parse(stream.read(sidecar.MAX_BYTES + 1)).items() if key != FILES_KEY
        }


def _name(wanted: str | None, values: Values, path: str | None) -> str:
    if wanted is not None:
        return wanted
    said = [text for key in (NAME_KEY, ROOT_PATH_KEY) if isinstance(text := values.get(key), str) and text.strip()]
    if said or path is None:
        return names.display_name(values, (), "") if said else _nameless()
    return os.path.basename(path.rstrip("/"))


def _nameless() -> str:
    raise UsageError(f"these values have no {NAME_KEY}: say what the object is called with --name")


def _check_name(store: Store, name: str) -> None:
    if name != names.safe_name(name):
        raise InvalidName(f"{name!r} can't be an object's name on every device: give another one with --name")
    if name in store.by_name:
        raise Exists(f"an object called {name} exists already: give another name with --name")


# -- copying, in a thread ------------------------------------------------------------------------------------


def _copy(root: str, copy: _Copy, path: str | None, inside: str) -> None:
    """Copy the file, or what is in the folder, into a new folder in the client root, there at *inside*; blocks."""
    target = os.path.join(root, copy.place)
    os.mkdir(target, 0o700)
    os.chmod(target, _FOLDER_MODE)
    if path is None:
        return
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist") from None
    real = os.path.realpath(path)
    if os.path.commonpath([real, os.path.realpath(root)]) in (real, os.path.realpath(root)):
        raise NotPermitted(f"{path} has to do with the client root itself: add something else")
    if problem := names.path_problem(inside) if inside else None:
        raise InvalidName(f"{inside!r} can't be attached: {problem}")
    if stat.S_ISREG(status.st_mode):
        inside = inside or os.path.basename(path)
        os.makedirs(os.path.dirname(os.path.join(target, inside)), 0o700, exist_ok=True)
        _copy_file(path, target, inside, copy)
    elif stat.S_ISDIR(status.st_mode):
        os.makedirs(os.path.join(target, inside), 0o700, exist_ok=True)
        _copy_folder(path, target, f"{inside}/" if inside else "", copy)
    else:
        raise UsageError(f"{path} is neither a file nor a folder")
    copy.files.sort()


def _copy_folder(source: str, target: str, prefix: str, copy: _Copy) -> None:
    with os.scandir(source) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                if os.path.ismount(entry.path):
                    copy.left_out.append((path, "another file system"))
                    continue
                if problem := names.path_problem(path):
                    copy.left_out.append((path, problem))
                    continue
                os.mkdir(os.path.join(target, path), 0o700)
                _copy_folder(entry.path, target, path + "/", copy)
                shutil.copystat(entry.path, os.path.join(target, path))
                os.chmod(os.path.join(target, path), 0o700 | stat.S_IMODE(entry.stat().st_mode))
            elif entry.is_file(follow_symlinks=False):
                _copy_file(entry.path, target, path, copy)
            else:
                copy.left_out.append((path, "a link" if entry.is_symlink() else "neither a file nor a folder"))


def _copy_file(source: str, target: str, path: str, copy: _Copy) -> None:
    """One file with its times and mode, durable before anything speaks of it."""
    if problem := names.path_problem(path):
        copy.left_out.append((path, problem))
        return
    place = os.path.join(target, path)
    shutil.copyfile(source, place)
    shutil.copystat(source, place)
    os.chmod(place, 0o600 | stat.S_IMODE(os.stat(source).st_mode) & 0o777)
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    copy.files.append(path)


async def _discard(store: Store, copy: _Copy) -> None:
    with trio.CancelScope(shield=True):
        folder = store.files.absolute(copy.place)
        await trio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


# -- the object ----------------------------------------------------------------------------------------------


def _make(place: Place, name: str, values: Values, copy: _Copy, *, chosen: bool) -> Head:
    """Have the copied folder become the working copy of a new object; *chosen*: its root path is the user's word."""
    store, who = place.store, maker(place)
    inode = store.files.inode(copy.place)
    if inode is None:
        raise OaiofsError(f"what was copied for {name} was taken away: try again")
    with store.state.transaction():
        head = objects.create_from(
            store, name, values, {}, csh_id=who.csh_id, username=who.username, device_id=who.device_id,
            app_id=who.app_id, dialect="classic", sidecar_name=names.sidecar_name(copy.files),
        )  # fmt: skip
        objects.move_later(store, copy.place, f"{OBJECTS}/{head.folder}", inode)
        if chosen:
            rootchoice.choose(store, head.key, values)
    objects.run_intents(store)
    store.unlabelled.add(head.key)
    compare(store, store.heads[head.key])
    store.doorbell(head.key)
    return store.heads[head.key]


VERBS = {"add": add}
