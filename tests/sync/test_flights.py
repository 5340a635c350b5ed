"""What is read of a download before it is verified, and what is not."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from oaiofs import errors
from oaiofs.cache.records import Kind, Node
from oaiofs.remote.contract import StorageHost
from oaiofs.transfer.flights import Flight
from oaiofs.transfer.streams import Stream

from .test_streams import CONTENT, MIB, SIZE, Host


class Tower:
    """A flight, and what its ``Downloads`` would be asked."""

    def __init__(self, folder: Path) -> None:
        self.host = Host()
        target = str(folder / "film")

        async def open_host() -> StorageHost:
            await trio.lowlevel.checkpoint()
            return self.host

        async def begin(flight: Flight) -> None:
            raise errors.Unreachable("offline")

        stream = Stream(open_host, "film", SIZE, target, lambda: "")
        node = Node(1, 1, 1, "film", Kind.FILE, 0o644, False, False, SIZE, "", 0)
        self.flight = Flight(
            node, "Digi", "film", target, stream, begin=begin, unwanted=lambda flight: self.let_go.append(flight.left)
        )
        self.let_go: list[int] = []
        self.read: list[object] = []
        self.flight.start()

    async def ready(self, offset: int) -> None:
        """Wait for 1000 bytes; what came of it is noted."""
        try:
            await self.flight.ready(offset, 1000)
            self.read.append(offset)
        except errors.OaiofsError as error:
            self.read.append(type(error))


def in_flight(test: Callable[[Tower, trio.Nursery], Awaitable[None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        async def main() -> None:
            tower = Tower(tmp_path)
            async with trio.open_nursery() as nursery:
                await test(tower, nursery)
                nursery.cancel_scope.cancel()
            tower.flight.stream.close()

        trio.run(main)

    run.__name__ = test.__name__
    return run


@pytest.mark.parametrize("verified", [True, False])
def test_the_last_byte_comes_when_all_is_verified(tmp_path: Path, verified: bool) -> None:
    @in_flight
    async def run(tower: Tower, nursery: trio.Nursery) -> None:
        await tower.flight.stream.run()
        await tower.ready(0)
        nursery.start_soon(tower.ready, SIZE - 1000)
        await wait_all_tasks_blocked()
        assert tower.read == [0], "all is here, but who copies it must not take it for good"
        tower.flight.verified, tower.flight.spoilt = verified, not verified
        tower.flight.error = None if verified else tower.flight.mismatch()
        tower.flight.end()
        await wait_all_tasks_blocked()
        await tower.ready(5000)
        assert tower.read == ([0, SIZE - 1000, 5000] if verified else [0, errors.Corrupt, errors.Corrupt])

    run(tmp_path)


@in_flight
async def test_who_only_wants_the_end_does_not_wait_for_the_rest(tower: Tower, nursery: trio.Nursery) -> None:
    tower.host.allowed = MIB
    nursery.start_soon(tower.flight.stream.run)
    await tower.ready(SIZE - 1000)
    assert tower.read == [SIZE - 1000]
    descriptor = tower.flight.open()
    assert os.pread(descriptor, 2000, SIZE - 1000) == CONTENT[-1000:]
    os.close(descriptor)
    assert tower.flight.wanted
    tower.flight.let_go()
    assert tower.let_go == [1]


@in_flight
async def test_what_has_come_is_read_after_a_failure_and_the_rest_asked_for_anew(
    tower: Tower, nursery: trio.Nursery
) -> None:
    waiting = trio.Event()

    async def fail() -> None:
        await waiting.wait()
        tower.host.failing = errors.Forbidden("no more")
        with pytest.raises(errors.Forbidden):
            await tower.flight.stream.run()
        tower.flight.error = errors.Forbidden("no more")
        tower.flight.end()

    nursery.start_soon(fail)
    nursery.start_soon(tower.ready, 8 * MIB)
    await wait_all_tasks_blocked()
    waiting.set()
    await wait_all_tasks_blocked()
    await tower.ready(8 * MIB)
    assert tower.read == [errors.Forbidden, errors.Unreachable], "told what ended it; then that it can't go on"


@in_flight
async def test_nobody_waits_for_a_file_that_has_another_content_now(tower: Tower, nursery: trio.Nursery) -> None:
    async def fly() -> None:
        with tower.flight.scope:
            await tower.flight.stream.run()

    tower.host.allowed = MIB
    nursery.start_soon(fly)
    nursery.start_soon(tower.ready, 3 * MIB)
    while not tower.flight.stream.has(0, MIB):
        await trio.sleep(0.001)
    await wait_all_tasks_blocked()
    assert tower.read == []
    tower.flight.abandon()
    await wait_all_tasks_blocked()
    assert tower.read == [3 * MIB]
