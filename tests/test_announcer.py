"""When the kernel has heard what its caches must forget, and who waits for that."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

from oaiofs.fuse import Announcer


class SlowKernel:
    """Listens only once it is *free*; *heard* is what it was told."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.heard: list[tuple[Any, ...]] = []

    def invalidate_entry(self, inode_p: int, name: bytes) -> None:
        self.free.wait(60)
        self.heard.append((inode_p, name))
        if name == b"unknown":
            raise OSError(errno.ENOENT, "not in its caches")

    def invalidate_inode(self, inode: int, attr_only: bool = False) -> None:
        self.free.wait(60)
        self.heard.append((inode, attr_only))


@pytest.fixture
def kernel() -> SlowKernel:
    return SlowKernel()


@pytest.fixture
def announcer(kernel: SlowKernel) -> Iterator[Announcer]:
    announcer = Announcer(kernel)
    announcer.start()
    yield announcer
    kernel.free.set()
    assert announcer.stop()


async def test_the_kernel_has_heard_everything_announced_so_far(
    announcer: Announcer, kernel: SlowKernel, mock_clock: trio.testing.MockClock
) -> None:
    announcer(1, "unknown")
    announcer(2, "näme")
    announcer.drop_pages(3)
    done = trio.Event()

    async def wait() -> None:
        await announcer.heard()
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not done.is_set()
        assert kernel.heard == []
        kernel.free.set()
    assert kernel.heard == [
        (1, b"unknown"), (1, True), (2, "näme".encode()), (2, True), (3, False),
    ]  # fmt: skip


async def test_a_kernel_that_does_not_listen_keeps_nobody_waiting_for_ever(
    announcer: Announcer, autojump_clock: trio.testing.MockClock
) -> None:
    announcer(1, "name")
    before = trio.current_time()
    await announcer.heard()
    assert 0 < trio.current_time() - before < 10


async def test_without_a_mount_nobody_waits(kernel: SlowKernel) -> None:
    announcer = Announcer(kernel)
    announcer(1, "name")
    announcer.drop_pages(1)
    await announcer.heard()
    announcer.start()
    assert announcer.stop()
    announcer(1, "name")
    await announcer.heard()
    assert kernel.heard == []
