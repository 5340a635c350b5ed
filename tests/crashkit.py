"""What a kill -9 leaves, taken between every two steps of a scenario, and what comes of it.

    async def scenario(run: Run) -> None:
        with run.killing("save"):
            await run.one.save("Notes/a.txt", b"new")

A *step* is any call into the operating system or the database that changed the client root, and any change in the
cloud: after each of them ``killing`` keeps an *image*, a copy of the client root and of the cloud. ``survive`` opens
an image as the device's next mount, and holds it to this:

- what is shown is what was shown before the interrupted call or what it would have shown after it, nothing between;
- rows and working copies agree (``oaiofs check``);
- synced against its own copy of the cloud, with another device, all have the same; nothing is lost, doubled, left
  over in the storage or made a needless conflict copy.

Steps are found by a profiler, which sees the trio thread alone, and in threads by the interpreter's audit events, so no
line of the tested code knows of this. The images of a process at a given moment are what a kill -9 leaves; what a power
cut leaves besides is not seen here (see ``oaiofs.cache.recover``).
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import trio

from oaiofs.cache.records import Kind, Node
from oaiofs.cache.recover import recover
from oaiofs.cache.store import Store
from oaiofs.cache.workdir import STAGING, TRASH
from oaiofs.remote import memory, memory_storage
from oaiofs.remote.faults import Faults
from oaiofs.remote.memory import Cloud
from tests.devicekit import USER, Device, World, problems, simulate

#: Calls after which the disk may be another one; files' own methods too, as of what is written through a buffer.
_DISK_CALLS = frozenset(
    ("rename", "replace", "unlink", "remove", "rmdir", "mkdir", "open", "write", "pwrite", "ftruncate", "truncate",
     "utime", "chmod", "fchmod", "symlink", "link", "close", "flush", "execute", "executemany", "executescript")
)
#: As the interpreter calls what threads do to the disk when they copy files.
_THREAD_STEPS = frozenset(("os.mkdir", "os.chmod", "os.utime", "shutil.copyfile", "shutil.copystat"))
#: What the servers do at once, whatever becomes of who asked for it.
_CLOUD_CALLS = frozenset(("register", "upload", "delete", "subscribe", "put", "copy", "remove"))
_CLOUD_FILES = frozenset((memory.__file__, memory_storage.__file__))
#: A disk on which syncing costs nothing: a kill does not show whether it was done.
_FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
_TESTED = ("/oaiofs/cache/", "/oaiofs/transfer/", "/oaiofs/vfs/", "/oaiofs/sync/", "/oaiofs/remote/memory")

#: What a device shows: path -> md5 of a file's bytes, "folder", or the text of a sidecar made comparable.
Look: TypeAlias = dict[str, str]
Scenario: TypeAlias = "Callable[[Run], Awaitable[None]]"
#: An announced version: its values, the bytes of its files by path, its stamp.
_Version: TypeAlias = tuple[object, dict[str, bytes], str]


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


# -- what a device shows -------------------------------------------------------------------------------------


def look_at(store: Store) -> Look:
    """Everything that the user sees of the objects, and all bytes in the trash."""
    shown: Look = {}
    for head in store.heads.values():
        shown[head.name] = "object"
        for path, node in store.walk(head.key):
            if store.is_sidecar(node):
                shown[f"{head.name}/values"] = _comparable(Path(store.absolute(node)).read_bytes())
            else:
                shown[f"{head.name}/{path}"] = _content(store, node)
    trash = Path(store.files.absolute(TRASH))
    for file in trash.rglob("*"):
        if file.is_file() and file.parent != trash and file.name != "values.json":
            shown[f"trash: {file.name}"] = md5(file.read_bytes())
    return shown


def _content(store: Store, node: Node) -> str:
    if node.kind is not Kind.FILE:
        return node.kind.name.lower()
    return md5(Path(store.absolute(node)).read_bytes()) if node.local else node.md5


def _comparable(text: bytes) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return text.decode()


def shared(device: Device) -> Look:
    """What a device shows of what the servers have, too."""
    store = device.store
    shown: Look = {}
    for head in store.heads.values():
        shown[head.name] = json.dumps(store.record(head.key).values, sort_keys=True)
        for path, node in store.attached(head.key).items():
            shown[f"{head.name}/{path}"] = _content(store, node)
    return shown


def in_the_cloud(world: World) -> Look:
    """The announced versions, as ``shared`` shows them."""
    shown: Look = {}
    for one in world.cloud.listing(USER, Faults()).objects:
        name = str(one.values.get("_name"))
        assert name not in shown, "two objects with one name"
        shown[name] = json.dumps(dict(one.values), sort_keys=True)
        for path, file in world.storage.below(f"{one.oaio_id}/{one.stamp}").items():
            assert path in one.file_paths, "the storage holds just what is announced"
            shown[f"{name}/{path}"] = file.fact.md5
        assert all(f"{name}/{path}" in shown for path in one.file_paths), "what is announced is there"
    return shown


# -- taking images -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    """What a kill at *where* leaves: a client root in *root*, and the cloud as it was at *time*."""

    number: int
    where: str
    root: Path
    cloud: Cloud
    time: datetime
    before: Look
    after: Look = field(default_factory=dict)


@dataclass
class Mount:
    """As much of a device as there is while its client root is recovered."""

    store: Store
    root: Path


class Run:
    """One scenario on its way: device ``one`` will be killed, again and again. Scenarios may set the rest.

    *replaced* are contents that somebody who saw them has done away with, *conflicts* is how many real ones there
    are, *appears* what a kill brings to light by ending a program that has a file open, *confirmed* says that the
    removal of everything is meant.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.one: Device
        self.images: list[Image] = []
        self.replaced: set[str] = set()
        self.conflicts = 0
        self.appears: Look = {}
        self.confirmed = False
        self._fingerprint: object = None
        self._committed = 0

    @contextmanager
    def killing(self, what: str) -> Iterator[None]:
        """Take images in all that happens in the block; *what* is being done is one call for the user."""
        before, first = look_at(self.one.store), len(self.images)
        with self.watching(self.one, what, before):
            yield
        after = look_at(self.one.store) if self.one.opened else before
        self.images[first:] = [replace(one, after=after) for one in self.images[first:]]

    @contextmanager
    def killing_in_threads(self, what: str) -> Iterator[None]:
        """Likewise in what threads do in the block: an image before each step of theirs, the trio thread standing."""
        before, first = look_at(self.one.store), len(self.images)

        def step(event: str) -> None:
            where = f"{what}, in a thread, before {event}"
            trio.from_thread.run_sync(self._take, self.one, where, before)

        with _audited(step):
            yield
        after = look_at(self.one.store)
        self.images[first:] = [replace(one, after=after) for one in self.images[first:]]

    @contextmanager
    def watching(self, mount: Device | Mount, what: str, before: Look) -> Iterator[None]:
        """Take images of *mount* in all that happens in the block, which begins at *before*."""
        self._fingerprint = self._state(mount)
        sys.setprofile(partial(self._profile, mount, what, before))
        try:
            yield
        finally:
            sys.setprofile(None)

    def _profile(
        self, mount: Device | Mount, what: str, before: Look, frame: FrameType, event: str, called: Any
    ) -> None:
        if event == "c_return":
            if called.__name__ not in _DISK_CALLS:
                return
        elif event != "return" or not _is_of_the_cloud(frame):
            return
        state = self._state(mount)
        if state != self._fingerprint:
            self._fingerprint = state
            self._take(mount, f"{what}, after {_place(frame)}", before)

    def _state(self, mount: Device | Mount) -> object:
        db = mount.store.db
        try:
            if not db.in_transaction:
                self._committed = db.total_changes
        except sqlite3.ProgrammingError:
            pass  # closed
        cloud = self.world.cloud
        objects = {oaio_id: (known.stamp, dict(known.rights)) for oaio_id, known in cloud.objects.items()}
        stored = {name: (dict(tree.files), set(tree.folders)) for name, tree in cloud.storages.items()}
        return self._committed, _disk(mount.root), objects, stored

    def _take(self, mount: Device | Mount, where: str, before: Look) -> None:
        number = len(self.images)
        root = self.world.folder / f"image {number}"
        copy_root(mount.root, root)
        self.images.append(Image(number, where, root, copy_cloud(self.world.cloud), self.world.now(), before))


#: Told of what other threads than the main one are about to do; of the interpreter's hooks none can be taken away.
_steps: list[Callable[[str], None]] = []


@contextmanager
def _audited(step: Callable[[str], None]) -> Iterator[None]:
    _install_audit()
    _steps.append(step)
    try:
        yield
    finally:
        _steps.remove(step)


@functools.cache
def _install_audit() -> None:
    def audit(event: str, arguments: object) -> None:
        if _steps and event in _THREAD_STEPS and threading.current_thread() is not threading.main_thread():
            _steps[-1](event)

    sys.addaudithook(audit)


def _is_of_the_cloud(frame: FrameType) -> bool:
    return frame.f_code.co_filename in _CLOUD_FILES and frame.f_code.co_name in _CLOUD_CALLS


def _place(frame: FrameType) -> str:
    """The innermost line of the tested code."""
    at: FrameType | None = frame
    while at is not None and not any(part in at.f_code.co_filename for part in _TESTED):
        at = at.f_back
    if at is None:
        return "something else"
    return f"{at.f_code.co_filename.rpartition('/oaiofs/')[2]}:{at.f_lineno} {at.f_code.co_name}"


def _disk(folder: Path) -> list[object]:
    """Everything in a client root, with contents: these are small."""
    found: list[object] = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if relative.startswith(("state.db", "lock", f"{STAGING}/")):
            continue
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found.append((relative, status.st_ino, status.st_mode, status.st_mtime_ns if path.is_file() else 0, content))
    return found


def copy_root(source: Path, target: Path) -> None:
    """Copy a client root with everything in it; what it says of inodes is made true of the copies."""
    shutil.copytree(source, target, symlinks=True)
    db = sqlite3.connect(target / "state.db", isolation_level=None)
    try:
        for number, path, inode in db.execute("SELECT id, source, inode FROM intent").fetchall():
            same = os.path.lexists(source / path) and os.lstat(source / path).st_ino == inode
            copied = os.lstat(target / path).st_ino if same else 0
            db.execute("UPDATE intent SET inode = ? WHERE id = ?", (copied, number))
    finally:
        db.close()


def copy_cloud(cloud: Cloud) -> Cloud:
    """The same servers once more, for another course of things."""
    made = Cloud(clock=cloud.clock, checks_base=cloud.checks_base)
    made.users, made.objects, made.log = dict(cloud.users), copy.deepcopy(cloud.objects), list(cloud.log)
    made.held, made.left = copy.deepcopy(cloud.held), dict(cloud.left)
    for name, tree in cloud.storages.items():
        made.storages[name] = copy.copy(tree)
        made.storages[name].files, made.storages[name].folders = dict(tree.files), set(tree.folders)
    return made


# -- what comes of an image ----------------------------------------------------------------------------------


async def _survive(run: Run, image: Image, meanwhile: bool, world: World) -> None:
    world.cloud = copy_cloud(image.cloud)
    world.cloud.clock = world.now
    world.storage = world.cloud.storages["Digi"]
    two = await world.syncing("two")
    if meanwhile:
        await _edit(two)
    one = world.device("one", root=image.root)
    shown = look_at(one.store)
    expected = [image.before, image.after, image.before | run.appears, image.after | run.appears]
    assert shown in expected, _difference(shown, image)
    assert not problems(one.store), problems(one.store)

    one.start()
    await world.go_on(0.2)
    for device in (one, two, one):
        await world.during(partial(device.sync.finish, 300.0, confirmed=run.confirmed))
    assert not problems(one.store), problems(one.store)
    assert shared(one) == shared(two) == in_the_cloud(world)
    kept = {content for path, content in look_at(one.store).items() if not path.endswith("/values")}
    lost = {path for path, content in shown.items() if content not in kept | run.replaced and "/values" not in path}
    assert not lost, f"lost: {lost}"
    assert len(one.conflicts()) + len(two.conflicts()) <= run.conflicts, [*one.conflicts(), *two.conflicts()]
    assert not world.strays(), "versions begun and left"
    assert not list(_doubled(world)), "announced twice"

    agreed = look_at(one.store)
    await one.restart(clean=False)
    assert look_at(one.store) == agreed, "once more after another kill"


async def _edit(device: Device) -> None:
    """Another device goes on while this one is dead."""
    for name in device.names():
        await device.write(f"{name}/meanwhile.txt", b"meanwhile")
        await device.set_value(name, "meanwhile", True)
    await device.world.during(partial(device.sync.finish, 300.0))


def _difference(shown: Look, image: Image) -> str:
    def against(other: Look) -> str:
        return str({path: (other.get(path), shown.get(path)) for path in {*other, *shown}
                    if other.get(path) != shown.get(path)})  # fmt: skip

    return f"neither as before, {against(image.before)}, nor as after, {against(image.after)}"


def _doubled(world: World) -> Iterator[str]:
    """Versions that say the same as the one before."""
    last: dict[str, list[_Version]] = {}
    for one in world.cloud.log:
        if one.action in ("register", "upload"):
            last.setdefault(one.oaio_id, []).append(
                (one.wire["client_values"], _contents(world, f"{one.oaio_id}/{one.stamp}"), one.stamp)
            )
    for oaio_id, versions in last.items():
        for (values, files, _), (next_values, next_files, stamp) in pairwise(versions):
            if values == next_values and files == next_files:
                yield f"{oaio_id}/{stamp}"


def _contents(world: World, folder: str) -> dict[str, bytes]:
    return {path: file.content for path, file in world.storage.below(folder).items()}


def chosen(images: list[Image], name: str, most: int | None) -> list[Image]:
    """*most* of the images, evenly, beginning elsewhere for each *name*; all with None."""
    if most is None or len(images) <= most:
        return images
    step = len(images) / most
    first = zlib.crc32(name.encode()) % 1000 / 1000 * step
    return [images[int(first + step * number)] for number in range(most)]


def try_all(scenario: Scenario, *, checks_base: bool, most: int | None = None) -> int:
    """Run the scenario, then see what comes of its images, or of *most* of them; how many were tried.

    After every other kill another device has gone on before the killed one is back; after some the next mount is killed
    too.
    """
    with tempfile.TemporaryDirectory(dir=_FAST) as folder:
        runs: list[Run] = []

        async def play(world: World) -> None:
            runs.append(Run(world))
            await scenario(runs[0])

        simulate(Path(folder), play, checks_base=checks_base)
        images = chosen(runs[0].images, scenario.__name__, most)
        assert images, "nothing happened in this scenario"
        kills = 0
        for number, image in enumerate(images):
            for meanwhile in (False, True) if most is None else (image.number % 2 == 1,):
                _try(runs[0], image, meanwhile, checks_base)
                kills += 1
            if most is None or number == 0:
                kills += _try_again(runs[0], image, checks_base, Path(folder), most=1 if most else 3)
        return kills


def _try_again(run: Run, image: Image, checks_base: bool, folder: Path, *, most: int) -> int:
    """Kill the next mount too, in the middle of its mending; how often."""
    runs: list[Run] = []
    root = folder / f"again {image.number}"
    copy_root(image.root, root)

    async def mend(world: World) -> None:
        world.cloud = image.cloud
        again = Run(world)
        runs.append(again)
        store = Store(root, wall_clock=lambda: world.now().timestamp(), steady_clock=trio.current_time)
        store.state.set_meta("device_id", "one")
        with again.watching(Mount(store, root), f"{image.where}; again in mending that", image.before):
            recover(store)
        store.close(clean=False)

    with tempfile.TemporaryDirectory(dir=_FAST) as inner:
        simulate(Path(inner), mend, checks_base=checks_base, began=image.time + timedelta(seconds=30))
        found = chosen(runs[0].images, image.where, most)
        for one in found:
            _try(run, replace(one, after=image.after), False, checks_base)
        return len(found)


def _try(run: Run, image: Image, meanwhile: bool, checks_base: bool) -> None:
    with tempfile.TemporaryDirectory(dir=_FAST) as folder:
        root = Path(folder) / "one"
        copy_root(image.root, root)
        again = replace(image, root=root)
        began = image.time + timedelta(seconds=60)
        try:
            simulate(Path(folder), partial(_survive, run, again, meanwhile), checks_base=checks_base, began=began)
        except BaseException as error:
            error.add_note(f"killed in: {image.where} (image {image.number}{', meanwhile' * meanwhile})")
            raise
