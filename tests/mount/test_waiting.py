"""Programs that wait in a real mount for a silent network keep nobody else waiting there, however many they are."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from oaiofs import mountinfo
from oaiofs.fuse import session
from tests.faultproxy import Fault, ThreadedProxy, proxy_in_thread
from tests.mountkit import Account, MountKit, MountMaker, mounting, needs_fuse, wait_for
from tests.serverkit import ServerKit

from .trees import waits_for_mount

pytestmark = needs_fuse

MIB = 1 << 20
#: What takes too long is told, on a machine that does much else.
OUTAGE = (r"WARNING oaiofs\.sync\.watch: offline: ", r"WARNING oaiofs\.sync: \w+ of ")
CONNECTIONS = Path("/sys/fs/fuse/connections")
_CLONE_NEWNS = 0x20000

T = TypeVar("T")
Submit = Callable[[Callable[[], T]], "Future[T]"]


@pytest.fixture
def proxy(oaio_server: ServerKit) -> Iterator[ThreadedProxy]:
    with proxy_in_thread(oaio_server.url) as proxy:
        yield proxy


@contextlib.contextmanager
def far_from(proxy: ThreadedProxy, near: MountKit, *, fresh: bool = False) -> Iterator[MountKit]:
    """A device whose network is the proxy, with nothing here of what *near* has made."""
    with mounting(ServerKit(proxy.url, near.server.data, near.server.pid), near.account) as make:
        far = make("far", fresh=fresh)
        far.expect(*OUTAGE)
        yield far


@contextlib.contextmanager
def stuck(proxy: ThreadedProxy, held: list[Fault], calls: Sequence[Callable[[], object]]) -> Iterator[Submit[object]]:
    """While all of the *calls* wait in the mount; gives what runs another one beside them."""
    threads: list[int] = []

    def wait(call: Callable[[], object]) -> None:
        threads.append(threading.get_native_id())
        with contextlib.suppress(OSError):
            call()

    with ThreadPoolExecutor(len(calls) + 1) as pool:
        try:
            for call in calls:
                pool.submit(wait, call)
            wait_for(lambda: len(threads) == len(calls) and all(map(waits_for_mount, threads)), 60)
            yield pool.submit
            assert all(map(waits_for_mount, threads)), "they were waiting all the time"
        finally:
            for fault in held:
                proxy.release(fault)


def test_however_many_wait_others_are_answered(new_mount: MountMaker, proxy: ThreadedProxy) -> None:
    held = proxy.add("held", "GET", "*/files/get")
    near = new_mount("near")
    place = near.path / "many"
    place.mkdir()
    for number in range(120):
        (place / f"{number}").write_bytes(b"%d" % number)
    near.sync()
    with far_from(proxy, near) as far:
        wait_for((far.path / "many").exists)
        paths = [far.path / "many" / f"{number}" for number in range(120)]
        with stuck(proxy, [held], [path.read_bytes for path in paths]) as submit:
            assert submit((far.path / "many" / "nothing").exists).result(30) is False
    near.stop()


def in_sight_of_connections(body: Callable[[], None]) -> None:
    """Run *body* where the kernel's settings of FUSE mounts are to be seen: they may have to be mounted for it."""
    if any(CONNECTIONS.iterdir()) or os.path.ismount(CONNECTIONS):
        body()
        return
    if os.getuid() != 0:
        pytest.skip(f"needs {CONNECTIONS}, which only root can mount")

    def apart() -> None:  # what this thread mounts, and those that it begins, only they see
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
            pytest.skip("needs to mount something for itself")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "fusectl", "none", CONNECTIONS], check=True)
        with pytest.MonkeyPatch.context() as here:
            here.setattr(mountinfo, "_TABLE", "/proc/thread-self/mountinfo")
            body()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(apart).result()


def write_through(path: Path) -> None:
    with open(path, "wb") as file:
        file.write(b"mine" * 1000)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def opened(path: Path, times: int) -> Iterator[list[int]]:
    descriptors = [os.open(path, os.O_RDONLY) for _ in range(times)]
    try:
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def takes_what_the_kernel_grants(kit: MountKit) -> None:
    mounted = mountinfo.at(kit.path)
    assert mounted is not None
    with pytest.MonkeyPatch.context() as greedy:
        greedy.setattr(session, "_MOST_OF_KERNEL", 1 << 17)
        session.widen(mounted.device)
    folder = CONNECTIONS / mounted.device.partition(":")[2]
    most, congested = (int((folder / name).read_text()) for name in ("max_background", "congestion_threshold"))
    assert 12 < most < 1 << 16
    assert congested == most * 3 // 4


def test_however_many_read_others_write(
    oaio_server: ServerKit, account: Account, new_mount: MountMaker, proxy: ThreadedProxy
) -> None:
    # What comes of the file as a whole opens it; of its parts, which those ask for who read further on, nothing comes.
    parts = proxy.add("held", "GET", "*/files/get")
    whole = proxy.add("held", "GET", "*/files/get", after=MIB, whole=True)
    near = new_mount("near")
    (near.path / "film").mkdir()
    (near.path / "film" / "film.bin").write_bytes(bytes(24 * MIB))
    near.sync()

    def body() -> None:
        with far_from(proxy, near, fresh=True) as far:
            film = far.path / "film" / "film.bin"
            wait_for(film.exists)
            with opened(film, 20) as films:
                reads = [functools.partial(os.pread, one, 1000, at * MIB) for at, one in enumerate(films, 3)]
                with stuck(proxy, [parts, whole], reads) as submit:
                    submit(functools.partial(write_through, film.with_name("mine"))).result(30)
            takes_what_the_kernel_grants(far)

    in_sight_of_connections(body)
