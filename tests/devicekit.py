"""Whole devices without FUSE, on the in-memory twins: real store, vfs, transfer and sync, and time turned by hand.

A ``World`` is the cloud that all devices of a test share, and its time. A ``Device`` is one client root with all that a
mount has above it but the kernel. Time is trio's ``MockClock`` at rate 0: ``World.go_on`` jumps from one deadline to
the next, but never while a thread is at work (an autojumping clock would), so a test takes the same course every time.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trio
from outcome import Outcome, acapture
from trio.testing import MockClock, wait_all_tasks_blocked

from oaiofs import errors
from oaiofs.cache import check, records
from oaiofs.cache.records import ConflictRecord, ObjectRecord
from oaiofs.cache.recover import recover
from oaiofs.cache.store import ROOT_INO, Store
from oaiofs.core.eviction import NO_LIMITS
from oaiofs.core.model import Listing, OaioId, RemoteObject, Right, Stamp
from oaiofs.progress import Progress
from oaiofs.remote.contract import StorageHost
from oaiofs.remote.memory import Cloud, Faults, MemoryOaioServer, StorageTree
from oaiofs.status import Status
from oaiofs.sync import Pace, Sync
from oaiofs.sync.eviction import Eviction
from oaiofs.sync.pinning import Pinning
from oaiofs.transfer import Transfer
from oaiofs.transfer.metered import MeteredHost
from oaiofs.transfer.traffic import Traffic
from oaiofs.verbs import VERBS, Place
from oaiofs.vfs import Identity, Outlook, Vfs

START = datetime(2026, 3, 1, tzinfo=UTC)
PACE = Pace(poll=10.0, quiet=2.0, longest=30.0)
USER = "alice"
CSH = "Digi"
#: Calls to the oaio server; all others are to the storage host.
SERVER_CALLS = ("register", "upload", "list_objects", "next_listing", "delete", "current_stamp")


class World:
    """The servers and the time of one test. Open it inside the trio run whose clock is *clock*."""

    def __init__(
        self,
        clock: MockClock,
        folder: Path,
        nursery: trio.Nursery,
        *,
        checks_base: bool = True,
        began: datetime = START,
        holds: float = 0.0,
    ) -> None:
        self.clock = clock
        self.began = began
        self.folder = folder
        self.nursery = nursery
        self.cloud = Cloud(clock=self.now, checks_base=checks_base, holds=holds)
        self.storage: StorageTree = self.cloud.add_storage(CSH)
        self.cloud.add_user(USER)
        self.devices: dict[str, Device] = {}
        self._ticks = itertools.count()

    def now(self) -> datetime:
        """The true time, a microsecond later at each look."""
        return self.began + timedelta(seconds=trio.current_time(), microseconds=next(self._ticks))

    async def quiet(self) -> None:
        """Return when nothing more happens without time going on: every task waits and no thread works."""
        limiter = trio.to_thread.current_default_thread_limiter()
        await wait_all_tasks_blocked()
        while limiter.borrowed_tokens:
            await wait_all_tasks_blocked(0.0002)

    async def go_on(self, seconds: float) -> None:
        """Let so much time go by, with everything that happens in it."""
        end = trio.current_time() + seconds
        while True:
            await self.quiet()
            left = end - trio.current_time()
            if left <= 0:
                return
            step = min(left, trio.lowlevel.current_statistics().seconds_to_next_deadline)
            self.clock.jump(max(step, 1e-6))

    async def during(self, doing: Callable[[], Any]) -> None:
        """Run the async function *doing* while time goes on as it needs; raises what it raises."""
        failed: list[BaseException] = []
        done = trio.Event()

        async def run() -> None:
            try:
                await doing()
            except Exception as error:
                failed.append(error)
            done.set()

        self.nursery.start_soon(run)
        while True:
            await self.quiet()
            if done.is_set():
                break
            self.clock.jump(max(trio.lowlevel.current_statistics().seconds_to_next_deadline, 1e-6))
        if failed:
            raise failed[0]

    def device(self, name: str, *, user: str = USER, root: Path | None = None, pace: Pace = PACE) -> Device:
        """A device, opened and not yet syncing."""
        made = Device(self, name, user, root or self.folder / name, pace)
        self.devices[name] = made
        return made

    async def syncing(self, name: str, *, user: str = USER, pace: Pace = PACE) -> Device:
        """A device that has looked at the server."""
        made = self.device(name, user=user, pace=pace)
        made.start()
        await self.go_on(0.2)
        return made

    async def settle(self) -> None:
        """Let so much time go by that all who are online look at the server and send what they have."""
        await self.go_on(3 * PACE.poll)

    async def apart(self, doing: Callable[[], object]) -> None:
        """Do what takes no time here."""
        doing()

    # -- what is in the cloud ------------------------------------------------------------------------------------

    def listing(self, user: str = USER) -> tuple[RemoteObject, ...]:
        return self.cloud.listing(user, Faults()).objects

    def stored_below(self, folder: str) -> dict[str, bytes]:
        """Path -> content of all that the storage has there."""
        return {path: file.content for path, file in self.storage.below(folder).items()}

    def announced(self, name: str, user: str = USER) -> RemoteObject:
        """The announced version of the object whose ``_name`` is *name*. Raises KeyError unless there is just one."""
        found = [
            one for one in self.cloud.listing(user, Faults()).objects if one.values.get("_name") == name
        ]  # fmt: skip
        if len(found) != 1:
            raise KeyError(f"{len(found)} objects are called {name}")
        return found[0]

    def stored(self, name: str) -> dict[str, bytes]:
        """Path -> content of the announced version's files."""
        one = self.announced(name)
        files = {path: file.content for path, file in self.storage.below(f"{one.oaio_id}/{one.stamp}").items()}
        assert sorted(files) == sorted(one.file_paths), "the storage holds just what is announced"
        return files

    def versions(self, name: str) -> int:
        """How many versions of the object were ever announced."""
        oaio_id = self.announced(name).oaio_id
        return sum(one.oaio_id == oaio_id and one.action in ("register", "upload") for one in self.cloud.log)

    def strays(self) -> set[str]:
        """Version folders with files in them that were never announced."""
        logged = {f"{one.oaio_id}/{one.stamp}" for one in self.cloud.log}
        return {"/".join(path.split("/")[:2]) for path in self.storage.files} - logged


@dataclass
class Hosts:
    """``contract.OpenHost`` on the world's storage, with one device's faults.

    *user*: whose rights it has, None for all, as where servers in the field hand out the account itself.
    """

    cloud: Cloud
    user: str | None
    faults: Faults = field(default_factory=Faults)
    traffic: Traffic = field(default_factory=Traffic)

    async def __call__(self, csh_id: str) -> StorageHost:
        await trio.lowlevel.checkpoint()
        if csh_id not in self.cloud.storages:
            raise errors.Unsupported(f"the server has no storage account {csh_id!r} for you")
        return MeteredHost(self.cloud.storage(csh_id, faults=self.faults, user=self.user), csh_id, self.traffic)

    async def forget(self) -> None:
        await trio.lowlevel.checkpoint()


class LateServer(MemoryOaioServer):
    """A session whose listings take *late* seconds on their way back: what they say may be old by then."""

    late = 0.0

    async def list_objects(self) -> Listing:
        late = self.late
        listing = await super().list_objects()
        await trio.sleep(late)
        return listing

    async def next_listing(self, seen: Listing, wait: float) -> Listing:
        late = self.late
        listing = await super().next_listing(seen, wait)
        await trio.sleep(late)
        return listing


class Device:
    """One client root with everything of a mount but the kernel. Paths are ``OBJECT/FOLDER/FILE``."""

    def __init__(self, world: World, name: str, user: str, root: Path, pace: Pace) -> None:
        self.world = world
        self.name = name
        self.user = user
        self.root = root
        self.pace = pace
        self.limits = NO_LIMITS  # as of the next open
        self.skew = 0.0  # seconds that this device's wall clock is ahead
        self.wrong_on_purpose = ""  # why the client root is not to be checked at the end
        self.hosts = Hosts(world.cloud, user if world.cloud.checks_base else None)
        password = world.cloud.users[user].password
        self.server = LateServer(world.cloud, user, password, device_id=name, app_id="oaiofs")
        self.announced: list[tuple[int, str]] = []
        self._running: trio.CancelScope | None = None
        self.open()

    # -- from mount to mount -------------------------------------------------------------------------------------

    def open(self) -> None:
        """Open the client root, as a mount does."""
        self.opened = True
        self.store = Store(self.root, wall_clock=self.wall_clock, steady_clock=trio.current_time)
        self.store.state.set_meta("device_id", self.name)
        recover(self.store)
        self.transfer = Transfer(
            self.store, self.server, self.hosts, username=self.user, device_id=self.name, app_id="oaiofs", csh_id=CSH,
            announce=self._announce, longest_quiet=self.pace.longest, traffic=self.hosts.traffic,
        )  # fmt: skip
        self.sync = Sync(self.store, self.server, self.transfer, self.pace, self._announce)
        self.progress = Progress(self.store, self.sync, self.hosts.traffic)
        downloads, busy = self.transfer.downloads, self.sync.busy.__contains__
        self.eviction = Eviction(self.store, self.limits, busy=busy, announce=self._announce)
        self.pinning = Pinning(
            self.store, downloads.hydrate, self.limits, online=lambda: bool(self.sync.watch.online),
            announce=self._announce,
        )  # fmt: skip
        downloads.make_room = self.eviction.make_room
        self.store.stirred = self._stirred
        self.status = Status(self.store, self.sync, self.progress, {}, self.limits, self.pinning.problem)
        outlook = Outlook(
            hydrate=self.transfer.downloads.hydrate, announce=self._announce, status=self.status.whole,
            conflicts=self.status.conflicts, state_of=self.status.state_of, error_of=self.status.error_of,
            quota=lambda: self.sync.quota, history=self.transfer.history, sharing=self.transfer.sharing,
            stream=self.transfer.downloads.open,
        )  # fmt: skip
        self.vfs = Vfs(self.store, Identity(self.user, self.name, "oaiofs", CSH), outlook)

    def wall_clock(self) -> float:
        return self.world.now().timestamp() + self.skew

    def _announce(self, parent: int, name: str) -> None:
        self.announced.append((parent, name))

    def _stirred(self) -> None:
        self.eviction.ring()
        self.pinning.ring()
        self.transfer.wiping.ring()

    def start(self) -> None:
        """Begin to sync and to download, to fetch what is pinned and to evict."""
        scope = self._running = trio.CancelScope()

        async def run() -> None:
            with scope:
                async with trio.open_nursery() as nursery:
                    self.transfer.downloads.bind(nursery)
                    nursery.start_soon(self.sync.run)
                    nursery.start_soon(self.eviction.run)
                    nursery.start_soon(self.pinning.run)
                    nursery.start_soon(self.transfer.sharing.run)
                    nursery.start_soon(self.transfer.wiping.run)

        self.world.nursery.start_soon(run)

    async def stop(self, *, clean: bool = True) -> None:
        """End the mount in order, or like a process that was killed between two of its awaits."""
        if self._running is not None:
            self._running.cancel()
            self._running = None
            await self.world.quiet()
        if clean:
            self.vfs.files.close_all()
        self.close(clean=clean)

    def close(self, *, clean: bool = True) -> None:
        """Close the client root; once more is nothing."""
        if self.opened:
            self.opened = False
            self.store.close(clean=clean)

    def check(self) -> None:
        """Nothing may be wrong with the client root, unless the test says that it is wrong on purpose."""
        if self.opened and not self.wrong_on_purpose:
            assert problems(self.store) == []

    async def restart(self, *, clean: bool = True) -> None:
        await self.stop(clean=clean)
        self.open()
        self.check()
        self.start()
        await self.world.go_on(0.2)

    def image(self, name: str) -> Device:
        """What a kill -9 at this very moment would leave, opened as the same device's next mount."""
        root = self.world.folder / name
        shutil.copytree(self.root, root, symlinks=True)
        made = Device(self.world, self.name, self.user, root, self.pace)
        self.world.devices[name] = made
        return made

    def stumble(self, call: str, *, lost: bool) -> None:
        """Let the next *call* fail; *lost*: it takes effect, and only its answer is lost."""
        faults = self.server.faults if call in SERVER_CALLS else self.hosts.faults
        if lost:
            faults.drop_answer(call)
        else:
            faults.fail(call, errors.ServerFault("the server stumbles"))

    def heal(self) -> None:
        """From now on nothing fails that was to."""
        self.server.faults.scripted.clear()
        self.hosts.faults.scripted.clear()

    @property
    def offline(self) -> bool:
        return self.server.faults.offline

    @offline.setter
    def offline(self, value: bool) -> None:
        self.server.faults.offline = self.hosts.faults.offline = value

    # -- what users do -------------------------------------------------------------------------------------------

    def ino(self, path: str) -> int:
        """The inode of a path. Raises NotFound."""
        ino = ROOT_INO
        for name in path.split("/") if path else ():
            ino = self.vfs.lookup(ino, name).ino
        return ino

    def place(self, path: str) -> tuple[int, str]:
        """(inode of the folder, last name)."""
        folder, _, name = path.rpartition("/")
        return self.ino(folder), name

    def exists(self, path: str) -> bool:
        try:
            self.ino(path)
        except errors.NotFound:
            return False
        return True

    def mkdir(self, path: str) -> None:
        parent, name = self.place(path)
        self.vfs.mkdir(parent, name, 0o755)

    async def open_file(self, path: str, flags: int = os.O_RDWR) -> int:
        """A handle; with O_CREAT the file is made where missing."""
        parent, name = self.place(path)
        if flags & os.O_CREAT and not self.exists(path):
            return self.vfs.create(parent, name, 0o644, os.getuid(), os.getgid())[0]
        return await self.vfs.open(self.ino(path), flags)

    def close_file(self, handle: int) -> None:
        try:
            self.vfs.files.flush(handle)
        finally:
            self.vfs.files.release(handle)

    async def write(self, path: str, data: bytes) -> None:
        """Write the whole file in place, as ``cat >`` does. Raises InvalidSidecar at the close."""
        handle = await self.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        if data:
            await self.vfs.files.write(handle, 0, data)
        self.close_file(handle)

    async def save(self, path: str, data: bytes) -> None:
        """Write by temporary and rename, as careful editors do."""
        temporary = f"{path.rpartition('/')[0]}/.save~"
        await self.write(temporary, data)
        await self.rename(temporary, path)

    async def read(self, path: str) -> bytes:
        handle = await self.vfs.open(self.ino(path), os.O_RDONLY)
        try:
            return await self.vfs.files.read(handle, 0, 1 << 20)
        finally:
            self.close_file(handle)

    async def rename(self, old: str, new: str) -> None:
        self.vfs.rename(*self.place(old), *self.place(new))

    def unlink(self, path: str) -> None:
        self.vfs.unlink(*self.place(path))

    def rmdir(self, path: str) -> None:
        self.vfs.rmdir(*self.place(path))

    async def remove_object(self, name: str) -> None:
        """``rm -r`` of an object."""
        for path in sorted(self.paths(name), reverse=True):
            if path != "values.json":
                self.unlink(f"{name}/{path}")
        for folder in sorted(self.folders(name), reverse=True):
            self.rmdir(f"{name}/{folder}")
        self.rmdir(name)

    async def values(self, name: str) -> dict[str, Any]:
        """What the sidecar shows."""
        shown: dict[str, Any] = json.loads(await self.read(self._sidecar(name)))
        return shown

    async def set_value(self, name: str, key: str, value: Any) -> None:
        """Change one value in the sidecar, in place."""
        text = json.dumps({**await self.values(name), key: value}, ensure_ascii=False)
        await self.write(self._sidecar(name), text.encode())

    async def change_value(self, name: str, key: str, new: Callable[[Any], Any]) -> None:
        """Make *new* of one value as an editor does that keeps the sidecar open from reading to writing.

        *new* is given None for a key that is not there.
        """
        handle = await self.open_file(self._sidecar(name), os.O_RDWR)
        try:
            text = await self.vfs.files.read(handle, 0, 1 << 20)
            values = json.loads(text)
            data = json.dumps({**values, key: new(values.get(key))}, ensure_ascii=False).encode()
            await self.vfs.files.write(handle, 0, data.ljust(len(text)))
        finally:
            self.close_file(handle)

    def _sidecar(self, name: str) -> str:
        head = self.store.by_name.get(name)
        if head is None:
            raise errors.NotFound(f"there is no object called {name}")
        return f"{name}/{head.sidecar}"

    # -- what is here --------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        return [name for _, name in self.vfs.entries(ROOT_INO)]

    def record(self, name: str) -> ObjectRecord:
        return self.store.record(self.store.by_name[name].key)

    def paths(self, name: str) -> list[str]:
        """All files of an object but the sidecar, editors' own ones too."""
        key = self.store.by_name[name].key
        files = [(path, node) for path, node in self.store.walk(key) if node.kind is records.Kind.FILE]
        return sorted(path for path, node in files if not self.store.is_sidecar(node))

    def folders(self, name: str) -> list[str]:
        key = self.store.by_name[name].key
        return sorted(path for path, node in self.store.walk(key) if node.kind is records.Kind.DIRECTORY)

    async def files(self, name: str) -> dict[str, bytes]:
        """Path -> content of all files of an object but the sidecar, downloaded where need be."""
        return {path: await self.read(f"{name}/{path}") for path in self.paths(name)}

    async def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """What a command gets that asks this device's mount."""
        downloads = self.transfer.downloads
        place = Place(
            self.store, self.name, self._announce, hydrate=downloads.hydrate, fetch=downloads.fetch,
            history=self.transfer.history, sharing=self.transfer.sharing, state_of=self.status.state_of,
            busy=self.sync.busy.__contains__, time=self.sync.watch.time,
        )  # fmt: skip
        return dict(await VERBS[verb](place, arguments))

    def conflicts(self) -> list[ConflictRecord]:
        return records.conflicts(self.store.db)

    def state(self, name: str) -> str:
        return self.status.state_of(self.store.by_name[name].key)

    def error(self, name: str) -> str:
        return self.status.error_of(self.store.by_name[name].key)

    def base(self, name: str) -> Stamp | None:
        return self.record(name).base_stamp

    def id(self, name: str) -> OaioId:
        found = self.record(name).oaio_id
        assert found is not None
        return found

    @property
    def calls(self) -> Mapping[str, int]:
        """Calls so far to server and storage host, by method."""
        return self.server.faults.calls + self.hosts.faults.calls

    def forget_calls(self) -> None:
        self.server.faults.calls.clear()
        self.hosts.faults.calls.clear()


def problems(store: Store) -> list[str]:
    """What ``oaiofs check`` would find, with nothing going on meanwhile."""
    found = [*store.state.examine(), *map(str, check.examine_root(store, in_use=False))]
    for key in check.known_keys(store):
        head = store.heads.get(key)
        disk = check.look(store.files.root, head.folder, head.sidecar) if head else check.NOWHERE
        found += map(str, check.examine_object(store, key, disk))
    return found


async def _in_world(
    clock: MockClock, folder: Path, test: Callable[[World], Awaitable[None]], how: Mapping[str, Any]
) -> None:
    """Run *test*; its devices are stopped after it. What it raises comes as it is, not in a group."""
    outcome: Outcome[None] | None = None
    async with trio.open_nursery() as nursery:
        world = World(clock, folder, nursery, **how)
        outcome = await acapture(test, world)
        nursery.cancel_scope.cancel()
    try:
        outcome.unwrap()
        for device in world.devices.values():
            device.check()
    finally:
        for device in world.devices.values():
            device.close()


def simulate(folder: Path, test: Callable[[World], Awaitable[None]], **how: Any) -> None:
    """Run the async function *test* in a new ``World`` with made-up time; its devices are in *folder*."""
    clock = MockClock()
    trio.run(_in_world, clock, folder, test, how, clock=clock)


def simulated(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a test of an async function whose first argument is the world: on a server that checks the base."""
    return _simulated(test, checks_base=True)


def simulated_foreign(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Likewise, on a server as there are in the field: the last writer wins."""
    return _simulated(test, checks_base=False)


def simulated_live(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Likewise, on a server that holds requests until something changes, as the self-hosted one does."""
    return _simulated(test, holds=55.0)


def _simulated(test: Callable[..., Awaitable[None]], **how: Any) -> Callable[..., None]:
    @functools.wraps(test)
    def run(tmp_path: Path, **arguments: Any) -> None:
        simulate(tmp_path, functools.partial(test, **arguments), **how)

    others = [one for name, one in inspect.signature(test).parameters.items() if name != "world"]
    folder = inspect.Parameter("tmp_path", inspect.Parameter.KEYWORD_ONLY, annotation=Path)
    kwonly = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in others]
    run.__signature__ = inspect.Signature([folder, *kwonly])  # type: ignore[attr-defined]
    del run.__wrapped__  # pytest is to see these fixtures, not the world
    return run


def share(world: World, name: str, user: str, right: Right) -> None:
    """Give *user* a right on alice's object."""
    if user not in world.cloud.users:
        world.cloud.add_user(user)
    world.cloud.subscribe(USER, world.announced(name).oaio_id, user, right, superuser=False)
