"""Programs that wait in a real mount for a silent network keep nobody else waiting there, however many they are."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pytest

from tests.faultproxy import Fault, ThreadedProxy, proxy_in_thread
from tests.mountkit import MountKit, MountMaker, mounting, needs_fuse, wait_for
from tests.serverkit import ServerKit

from .trees import waits_for_mount

pytestmark = needs_fuse

#: What takes too long is told, on a machine that does much else.
OUTAGE = (r"WARNING oaiofs\.sync\.watch: offline: ", r"WARNING oaiofs\.sync: \w+ of ")

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
