"""The composition root: opens everything, wires it, runs it, and takes it down in order.

Nothing else spawns tasks for as long as the mount lives:

    trio.run
    +-- stack: client root -> server and hosts
        +-- services: sync loops, downloads, eviction, pinned files, who uses what, stored files to be removed,
            the trash's tending, control socket, signals, callers who wait, room on the disk
            +-- fuse.serve, returns when the mount is taken away
        down: unmount -> write the kernel's pages back -> push for a bounded time -> cancel services -> unwind

Must not know what a program does in the mount, nor how anything is sent.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio

from . import control, fuse, mountinfo, power, session
from .cache import objects, versions
from .cache.recover import recover
from .cache.store import Store
from .config import Settings
from .core.eviction import Limits
from .errors import Busy, Forbidden, OaiofsError, Unauthorized, UsageError
from .progress import Progress
from .remote.oaio import HttpOaioServer
from .session import Access, Owner
from .status import Status
from .sync import Pace, Sync
from .sync.eviction import Eviction
from .sync.pinning import Pinning
from .transfer import Transfer
from .transfer.hosts import Hosts
from .transfer.traffic import Limit, Traffic
from .verbs import VERBS, Place
from .verbs import trash as trash_verbs
from .vfs import Identity, Outlook, Vfs

log = logging.getLogger(__name__)

_WRITE_BACK_TIMEOUT = 10.0
_WRITERS_PATIENCE, _WRITERS_INTERVAL = 3.0, 0.1
_FIRST_LOOK_TIMEOUT = 15.0
_FIRST_CONTACT_TIMEOUT = 5.0  # of a server that is silent: what is refused is known at once
_ROOM_EVERY = 3.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(settings: Settings, *, ready: Callable[[], None] | None = None) -> None:
    """Mount and serve until the mount is taken away; *ready* is called when it answers.

    Raises UsageError for a mountpoint that can't be used, Busy when the client root has another mount, ConfigError
    when it belongs to another account, Unauthorized when the server does not accept the password, Forbidden when the
    account may not act for another user.
    """
    _prepare_mountpoint(settings.mountpoint)
    trio.run(_main, settings, ready, strict_exception_groups=True)


def _prepare_mountpoint(mountpoint: Path) -> None:
    mounted = mountinfo.at(mountpoint)
    if mounted is not None and mounted.is_oaiofs:
        if not mountinfo.is_dead(mountpoint):
            raise Busy(f"{mountpoint} is mounted already: `oaiofs umount {mountpoint}` ends that")
        log.warning("%s was left by a mount that was killed: unmounting it first", mountpoint)
        mountinfo.remove(mountpoint)
    try:
        entries = os.listdir(mountpoint)
    except FileNotFoundError:
        raise UsageError(f"{mountpoint} does not exist: make it with `mkdir -p {mountpoint}`") from None
    except OSError as error:
        raise UsageError(f"{mountpoint} can't be a mountpoint: {error.strerror}") from None
    if entries:
        raise UsageError(f"{mountpoint} is not empty: choose another folder, a mount would hide what is in it")


async def _main(settings: Settings, ready: Callable[[], None] | None) -> None:
    async with AsyncExitStack() as stack:
        store = _open_store(settings)
        ended_in_order = False
        stack.callback(lambda: store.close(clean=ended_in_order))
        recover(store)
        device_id = store.state.meta("device_id") or settings.device_id
        traffic = Traffic(Limit(settings.limit_up), Limit(settings.limit_down))
        server, hosts = await stack.enter_async_context(
            session.connected(
                _owner(settings), _access(settings), device_id=device_id, app_id=settings.app_id, traffic=traffic
            )
        )
        mount = _Mount(settings, store, server, hosts, traffic, device_id)
        stack.callback(mount.detach)
        await mount.serve(ready)
        ended_in_order = True


def _open_store(settings: Settings) -> Store:
    return session.open_root(
        settings.client_root, _owner(settings), device_id=settings.device_id, app_id=settings.app_id,
        csh_id=settings.csh_id, trash_days=settings.trash_days, local_only=settings.local_only,
    )  # fmt: skip


def _owner(settings: Settings) -> Owner:
    return Owner(settings.user, settings.server, settings.login)


def _access(settings: Settings) -> Access:
    return Access(settings.password.reveal(), settings.storage_urls, settings.insecure)


class _Mount:
    """One mount's parts, wired."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        server: HttpOaioServer,
        hosts: Hosts,
        traffic: Traffic,
        device_id: str,
    ) -> None:
        self.settings = settings
        self.announce = fuse.Announcer()
        transfer = Transfer(
            store, server, hosts, username=settings.user, device_id=device_id, app_id=settings.app_id,
            csh_id=settings.csh_id, announce=self.announce, longest_quiet=settings.longest_quiet,
            traffic=traffic,
        )  # fmt: skip
        pace = Pace(
            settings.poll_interval, settings.quiet_time, settings.longest_quiet, stretch=settings.poll_less,
            on_battery=power.on_battery,
        )  # fmt: skip
        self.sync = Sync(store, server, transfer, pace, self.announce)
        self.downloads, self.sharing, self.wiping = transfer.downloads, transfer.sharing, transfer.wiping
        limits = Limits(settings.cache_size, settings.cache_free)
        busy = self.sync.busy.__contains__
        self.eviction = Eviction(store, limits, busy=busy, announce=self.announce)
        self.pinning = Pinning(
            store, self.downloads.hydrate, limits, online=lambda: bool(self.sync.watch.online), announce=self.announce
        )
        self.downloads.make_room = self.eviction.make_room
        store.stirred = self._stirred
        self.downloads.drop_pages = self.announce.drop_pages
        account = {"server": settings.server, "user": settings.user, "device_id": device_id}
        self.progress = Progress(store, self.sync, traffic)
        account["mountpoint"] = str(settings.mountpoint)
        self.status = Status(store, self.sync, self.progress, account, limits, self.pinning.problem)
        outlook = Outlook(
            hydrate=transfer.downloads.hydrate, announce=self.announce, status=self.status.whole,
            conflicts=self.status.conflicts, state_of=self.status.state_of, error_of=self.status.error_of,
            quota=lambda: self.sync.quota, history=transfer.history, sharing=transfer.sharing,
            stream=transfer.downloads.open,
        )  # fmt: skip
        identity = Identity(settings.user, device_id, settings.app_id, settings.csh_id)
        self.vfs = Vfs(store, identity, outlook, read_only=settings.read_only)
        self.operations = fuse.Operations(self.vfs)
        self.place = Place(
            store, device_id, self.announce, hydrate=self.downloads.hydrate, fetch=self.downloads.fetch,
            history=transfer.history, sharing=transfer.sharing, state_of=self.status.state_of, busy=busy,
            time=self.sync.watch.time, read_only=settings.read_only, mounted=True,
        )  # fmt: skip
        self._attached = False  # to the kernel's FUSE
        self._mounted = False  # in the tree
        self._answers = trio.Event()  # set once the mount is there and answers
        self._device = ""  # what tells this mount from others at the same place
        self._ending = trio.Event()

    def attach(self) -> None:
        options = set(self.settings.fuse_options)
        options |= {"allow_other"} if self.settings.allow_other else set()
        options |= {"ro"} if self.settings.read_only else set()
        try:
            fuse.attach(self.operations, str(self.settings.mountpoint), options)
        except (OSError, RuntimeError) as error:
            raise OaiofsError(f"{self.settings.mountpoint} could not be mounted: {_mount_advice(error)}") from error
        self._attached = self._mounted = True
        mounted = mountinfo.at(self.settings.mountpoint)
        self._device = mounted.device if mounted else ""

    def detach(self) -> None:
        if self._attached:
            self._attached = False
            if self.announce.stop():
                fuse.detach(unmount=self._mounted)
            if self._mounted and self._is_there():  # libfuse leaves a broken connection's mount in the tree
                try:
                    mountinfo.remove(self.settings.mountpoint, lazy=True)
                except OaiofsError as error:
                    log.warning("%s", error)

    async def serve(self, ready: Callable[[], None] | None) -> None:
        settings = self.settings
        running = control.RunningMount(
            mountpoint=settings.mountpoint, pid=os.getpid(), client_root=settings.client_root, server=settings.server,
            user=settings.user,
        )  # fmt: skip
        async with trio.open_nursery() as services:
            self.downloads.bind(services)
            services.start_soon(self._watch_signals)
            services.start_soon(self.sync.run)
            services.start_soon(self.eviction.run)
            services.start_soon(self.pinning.run)
            services.start_soon(self.sharing.run)
            services.start_soon(self.wiping.run)
            services.start_soon(trash_verbs.tend, self.place, settings.trash_days, self.sync.watch.time)
            services.start_soon(self.operations.callers.watch)
            services.start_soon(self._keep_room)
            # Before the mount is there: finding the socket's name looks at the mountpoint, and nobody answers yet.
            await services.start(control.serve, running, self._handlers())
            await self._check_account()
            if self._ending.is_set():
                services.cancel_scope.cancel()
                return
            self.attach()
            services.start_soon(self._end_when_asked)
            services.start_soon(self._say_ready, ready)
            self.announce.start()
            await fuse.serve()
            self.detach()
            self.vfs.files.close_all()
            await self._last_push()
            services.cancel_scope.cancel()

    def _stirred(self) -> None:
        self.eviction.ring()
        self.pinning.ring()
        self.wiping.ring()

    async def _keep_room(self) -> None:
        """On a full disk: look again and again whether there is room, and then do what had to wait for it."""
        store = self.vfs.store
        while True:
            was_full = store.state.room.full
            if store.state.find_room():
                if was_full:
                    log.info("this machine's disk has room again")
                self._catch_up()
            else:
                await trio.to_thread.run_sync(versions.clear, store.files.root)  # a mere cache goes first
            await trio.sleep(_ROOM_EVERY)

    def _catch_up(self) -> None:
        try:
            objects.run_intents(self.vfs.store)
            self.vfs.files.catch_up()
        except (OaiofsError, OSError) as error:
            log.info("tried again in a while: %s", error)

    async def _check_account(self) -> None:
        """A password that is not accepted is told while somebody waits for it; an outage keeps no mount from beginning.

        Raises Unauthorized, and Forbidden for who may not act for the objects' user.
        """
        with trio.move_on_after(_FIRST_CONTACT_TIMEOUT):
            await self.sync.first_contact()
        outage, owner = self.sync.watch.outage, _owner(self.settings)
        if isinstance(outage, Unauthorized):
            raise outage
        if isinstance(outage, Forbidden) and owner.login not in ("", owner.user):
            raise Forbidden(f"{owner.login} may not act for {owner}: that needs a superuser's account. ({outage})")

    async def _say_ready(self, ready: Callable[[], None] | None) -> None:
        await trio.to_thread.run_sync(os.stat, self.settings.mountpoint, abandon_on_cancel=True)
        await trio.to_thread.run_sync(fuse.widen, self._device)
        self._answers.set()
        if self.vfs.store.state.meta("listed") is None:  # whoever looks at a new one should not see a part
            with trio.move_on_after(_FIRST_LOOK_TIMEOUT):
                await self.sync.first_look()
                if self.sync.watch.online:
                    self.vfs.store.state.set_meta("listed", "1")
        if ready is not None:
            ready()

    async def _last_push(self) -> None:
        """What is not on the servers yet has a little time to get there; the rest goes with the next mount."""
        if self.sync.pending() and self.sync.watch.online:
            try:
                await self.sync.finish(self.settings.shutdown_timeout)
            except OaiofsError as error:
                log.info("at the end: %s", error)
        if self.sync.pending():
            log.warning("changes to go to the server with the next mount, in objects: %d", self.sync.pending())

    async def _watch_signals(self) -> None:
        with trio.open_signal_receiver(*_SIGNALS) as received:
            async for _ in received:
                self._ending.set()

    async def _end_when_asked(self) -> None:
        """The ordered end: what the kernel still holds is written back while there is somebody to take it."""
        await self._ending.wait()
        self.operations.callers.give_up()
        with trio.move_on_after(_WRITE_BACK_TIMEOUT) as patience:
            try:
                await trio.to_thread.run_sync(self._take_away, abandon_on_cancel=True)
                await self.operations.written()
            except (OaiofsError, OSError) as error:  # of some earlier write, to whom it was told then
                log.info("writing back before the end: %s", error)
        if patience.cancelled_caught:
            log.warning("the end comes before everything that programs wrote could be taken")
        await self._writers_gone()
        await trio.to_thread.run_sync(self.announce.stop)  # while requests are answered that it may wait for
        if self._attached:  # else with nobody using it the mount ended as it was taken out, and its session is gone
            fuse.stop()

    async def _writers_gone(self) -> None:
        """Programs that have files open for writing get a little time to close them."""
        deadline = trio.current_time() + _WRITERS_PATIENCE
        while self.vfs.store.writers and trio.current_time() < deadline:  # noqa: ASYNC110 - a counter, and the end
            await trio.sleep(_WRITERS_INTERVAL)
        if self.vfs.store.writers:
            log.warning("ending with files open for writing: what programs write into them from now on is lost")

    def _is_there(self) -> bool:
        """Whether what is mounted at the mountpoint is this mount: not taken out already, nor below another one."""
        mounted = mountinfo.at(self.settings.mountpoint)
        return mounted is not None and mounted.device == self._device

    def _take_away(self) -> None:
        """Out of the tree first, so that nobody begins anew; then what the kernel holds. Blocks: for threads."""
        mountpoint = self.settings.mountpoint
        if not self._is_there():
            self._mounted = False
            return
        descriptor = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mountinfo.remove(mountpoint, lazy=True)
            self._mounted = False
            fuse.write_back(descriptor)
        finally:
            os.close(descriptor)

    # -- what commands may ask -----------------------------------------------------------------------------------

    def _handlers(self) -> Mapping[str, control.Handler]:
        handlers: dict[str, control.Handler] = {
            **{name: functools.partial(verb, self.place) for name, verb in VERBS.items()},
            "status": self._on_status, "sync": self._on_sync, "umount": self._on_umount,
        }  # fmt: skip
        return {name: functools.partial(self._once_there, handler) for name, handler in handlers.items()}

    async def _once_there(self, handler: control.Handler, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Who asks before the mount is there would go on to use the bare folder below it."""
        await self._answers.wait()
        answer = await handler(arguments)
        if not self._ending.is_set():  # then the answer has to be out before the mount is gone
            await self.announce.heard()  # else the kernel might still show them what was there before
        return answer

    async def _on_status(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        path = arguments.get("path")
        if arguments.get("brief"):
            return self.progress.brief()
        if path is None:
            return self.status.whole()
        name = Path(path).parts[0] if Path(path).parts else ""
        if name not in self.vfs.store.by_name:
            raise UsageError(f"there is no object called {name}")
        return self.status.whole(name)

    async def _on_sync(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        await self.sync.finish(arguments.get("timeout"), confirmed=bool(arguments.get("yes")))
        return {"pending": self.sync.pending(), "needing_user": self.sync.needing_user()}

    async def _on_umount(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Like umount(8): refused while programs use the mount, unless *force* is given."""
        if arguments.get("flush"):
            await self.sync.finish(arguments.get("timeout"))
        if not arguments.get("force") and self._is_there():
            await trio.to_thread.run_sync(mountinfo.remove, self.settings.mountpoint)
            self._mounted = False
        self._ending.set()
        return {"pending": self.sync.pending()}


def _mount_advice(error: Exception) -> str:
    return mountinfo.obstacle() or f"{error} (allow_other needs user_allow_other in /etc/fuse.conf)"
