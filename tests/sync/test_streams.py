"""Streams: a file from a host into one here, read in any order, over a network that fails, with nothing sent twice."""

from __future__ import annotations

import functools
import hashlib
import os
import random
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from oaiofs import errors
from oaiofs.remote.bodies import Counted
from oaiofs.remote.contract import Chunks, StorageHost
from oaiofs.remote.memory_storage import MemoryStorage, StorageTree, StoredFile
from oaiofs.transfer.streams import Mismatch, Stream
from tests.depth import deep

MIB = 1 << 20
SIZE = 24 * MIB
CONTENT = random.Random(1).randbytes(SIZE)


class Host(MemoryStorage):
    """A storage host with one file, that sends no more than it is *allowed* of a whole one, and cuts where told."""

    def __init__(self, content: bytes = CONTENT) -> None:
        super().__init__(StorageTree({"film": StoredFile(content, 0)}))
        self.allowed = len(content)  # up to this byte of the file the open-ended requests get
        self.go_on = trio.Event()
        self.asked: list[tuple[int, int | None]] = []
        self.sent = 0
        self.cuts: list[int] = []  # how many bytes the next requests get before their connection is cut
        self.failing: errors.OaiofsError | None = None

    def allow(self, end: int = SIZE) -> None:
        self.allowed = end
        self.go_on.set()
        self.go_on = trio.Event()

    @asynccontextmanager
    async def _get(self, path: str, start: int, length: int | None) -> AsyncIterator[Chunks]:
        self.asked.append((start, length))
        if self.failing is not None:
            raise self.failing
        cut = self.cuts.pop(0) if self.cuts else None
        async with super()._get(path, start, length) as chunks:
            whole = length is None and start <= self.allowed
            async with aclosing(self._held(chunks, start, cut, whole=whole)) as held:
                yield Counted(held, 0, chunks.length, path)

    async def _held(
        self, chunks: AsyncIterator[bytes], at: int, cut: int | None, *, whole: bool
    ) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            while whole and at >= self.allowed:
                await self.go_on.wait()
            if cut is not None and len(chunk) >= cut:
                self.sent += cut
                yield chunk[:cut]
                raise errors.Unreachable("the connection was cut")
            cut = None if cut is None else cut - len(chunk)
            self.sent += len(chunk)
            at += len(chunk)
            yield chunk


class Case:
    """A stream that runs, and what it came to."""

    def __init__(self, host: Host, folder: Path, size: int, turns: trio.CapacityLimiter | None = None) -> None:
        self.host = host
        self.target = folder / f"target {len(list(folder.iterdir()))}"
        self.offline = ""

        async def open_host() -> StorageHost:
            await trio.lowlevel.checkpoint()
            return host

        self.stream = Stream(open_host, "film", size, str(self.target), lambda: self.offline, turns)
        self.md5 = ""
        self.error: Exception | None = None
        self.ended = trio.Event()

    async def run(self) -> None:
        try:
            self.md5 = await self.stream.run()
        except errors.OaiofsError as error:
            self.error = error
        self.ended.set()

    async def read(self, start: int, length: int) -> bytes:
        """As a handle reads."""
        while not self.stream.has(start, start + length):
            self.stream.note_demand(start, start + length)
            await self.stream.wait_for(start, start + length)
            if self.ended.is_set() and self.error is not None:
                raise self.error
        with open(self.target, "rb") as file:
            return os.pread(file.fileno(), length, start)


def streaming(test: Callable[..., Awaitable[None]]) -> Callable[[Path], None]:
    """Make a test of an async function of a host, a case that runs on it, and a nursery."""

    def run(tmp_path: Path) -> None:
        async def main() -> None:
            host = Host()
            case = Case(host, tmp_path, SIZE)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(case.run)
                await test(host, case, nursery)
                host.allow()
                nursery.cancel_scope.cancel()
            case.stream.close()

        trio.run(main, clock=MockClock(autojump_threshold=0.02))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


@streaming
async def test_all_of_it_in_one_request(host: Host, case: Case, nursery: trio.Nursery) -> None:
    await case.ended.wait()
    assert case.md5 == hashlib.md5(CONTENT).hexdigest()
    assert host.asked == [(0, None)]
    assert case.target.read_bytes() == CONTENT


@streaming
async def test_what_is_near_is_waited_for_and_what_is_far_is_not(
    host: Host, case: Case, nursery: trio.Nursery
) -> None:
    host.allowed = 2 * MIB
    assert await case.read(MIB, 1000) == CONTENT[MIB : MIB + 1000]
    with trio.move_on_after(1) as near:
        await case.read(4 * MIB, 1000)
    assert near.cancelled_caught, "it is about to come"
    assert host.asked == [(0, None)]
    assert await case.read(SIZE - 1000, 1000) == CONTENT[-1000:]
    assert await case.read(SIZE - 200_000, 1000) == CONTENT[SIZE - 200_000 : SIZE - 199_000], "aligned to the front"
    assert len(host.asked) == 2
    host.allow()
    await case.ended.wait()
    assert case.md5 == hashlib.md5(CONTENT).hexdigest()
    assert host.sent <= SIZE + MIB, "what was ahead is not fetched again"


@streaming
async def test_who_reads_on_gets_larger_windows(host: Host, case: Case, nursery: trio.Nursery) -> None:
    host.allowed = MIB
    for start in range(8 * MIB, 22 * MIB, 100_000):
        assert await case.read(start, 100_000) == CONTENT[start : start + 100_000]
    windows = [length or SIZE - start for start, length in host.asked[1:]]
    assert windows[:3] == [MIB, 2 * MIB, 4 * MIB]
    assert len(windows) <= 4


@streaming
async def test_a_cut_connection_is_taken_up_where_it_was(host: Host, case: Case, nursery: trio.Nursery) -> None:
    host.cuts = [100, 0, 0, 200, 0, 50]
    await case.ended.wait()
    assert case.md5 == hashlib.md5(CONTENT).hexdigest()
    assert [start for start, _ in host.asked] == [0, 100, 100, 100, 300, 300, 350]
    assert host.sent == SIZE


@streaming
async def test_a_host_that_only_cuts_is_given_up(host: Host, case: Case, nursery: trio.Nursery) -> None:
    host.cuts = [100, *[0] * 100]
    await case.ended.wait()
    assert isinstance(case.error, errors.Unreachable)
    assert 3 < len(host.asked) < 20
    host.cuts = []
    case.stream.begun = trio.Event()
    await case.run()
    assert case.md5 == hashlib.md5(CONTENT).hexdigest()
    assert host.asked[-1] == (100, None), "once more, from where it was"


@streaming
async def test_offline_it_is_not_tried_again(host: Host, case: Case, nursery: trio.Nursery) -> None:
    host.cuts = [100, 100]
    case.offline = "there is no network"
    await case.ended.wait()
    assert isinstance(case.error, errors.Unreachable)
    assert len(host.asked) == 1


@streaming
async def test_a_refusal_ahead_is_told_to_who_wanted_it_and_to_nobody_else(
    host: Host, case: Case, nursery: trio.Nursery
) -> None:
    host.allowed = MIB
    await case.read(0, 1000)
    host.failing = errors.Forbidden("no ranges for you")
    with pytest.raises(errors.Forbidden):
        await case.read(20 * MIB, 1000)
    host.failing = None
    host.allow()
    await case.ended.wait()
    assert case.md5 == hashlib.md5(CONTENT).hexdigest()


@streaming
async def test_who_waits_hears_that_it_has_ended(host: Host, case: Case, nursery: trio.Nursery) -> None:
    host.allowed = MIB
    host.cuts = [2 * MIB]
    await case.read(0, 1000)
    case.offline = "there is no network"
    failed = trio.Event()

    async def wait() -> None:
        with pytest.raises(errors.Unreachable):
            await case.read(3 * MIB, 1000)
        failed.set()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    host.allow()
    await failed.wait()


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1, 1, 0])
def test_a_file_of_another_size_is_refused_for_good(tmp_path: Path, size: int) -> None:
    async def main() -> None:
        case = Case(Host(), tmp_path, size)
        await case.run()
        if size:
            assert isinstance(case.error, Mismatch)
        else:
            assert case.md5 == hashlib.md5(b"").hexdigest()
            assert case.host.asked == []
        case.stream.close()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_who_waits_for_its_turn_is_read_by_windows(tmp_path: Path) -> None:
    async def main() -> None:
        turns = trio.CapacityLimiter(1)
        first, second, third = (Case(Host(), tmp_path, SIZE, turns) for _ in range(3))
        first.host.allowed = MIB
        third.host.failing = errors.Forbidden("not for you")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.run)
            await first.read(0, 1000)
            nursery.start_soon(third.run)
            await third.ended.wait()
            assert isinstance(third.error, errors.Forbidden), "refused without a turn"
            nursery.start_soon(second.run)
            await second.stream.begun.wait()
            for start in range(0, SIZE, 200_000):
                assert await second.read(start, 200_000) == CONTENT[start : start + 200_000]
            await second.ended.wait()
            assert second.md5 == hashlib.md5(CONTENT).hexdigest(), "complete without a turn"
            assert not first.ended.is_set()
            first.host.allow()
        assert turns.available_tokens == 1
        for case in (first, second, third):
            case.stream.close()

    trio.run(main, clock=MockClock(autojump_threshold=0.02))


@settings(max_examples=deep(12, 400), deadline=None)
@given(
    reads=st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, 300_000)), max_size=12),
    cuts=st.lists(st.integers(0, 8 * MIB), max_size=6),
    allowed=st.integers(0, SIZE),
)
def test_whatever_is_read_in_any_order_is_what_is_stored(
    reads: list[tuple[int, int]], cuts: list[int], allowed: int
) -> None:
    async def main(folder: Path) -> None:
        host = Host()
        host.allowed, host.cuts = allowed, cuts
        case = Case(host, folder, SIZE)

        async def read(start: int, length: int) -> None:
            assert await case.read(start, length) == CONTENT[start : start + length]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(case.run)
            for one in reads:
                nursery.start_soon(read, *one)
                await trio.sleep(0.01)
            host.allow()
        assert case.error is None
        assert case.md5 == hashlib.md5(CONTENT).hexdigest()
        assert case.target.read_bytes() == CONTENT
        assert host.sent <= SIZE + len(reads) * 128 * 1024, "each byte once, but for the chunks on their way"
        case.stream.close()

    with tempfile.TemporaryDirectory() as folder:
        trio.run(functools.partial(main, Path(folder)), clock=MockClock(autojump_threshold=0.02))


@streaming
async def test_a_host_whose_answers_are_of_no_use_is_soon_given_up(
    host: Host, case: Case, nursery: trio.Nursery
) -> None:
    host.faults.cut_after = 0  # whoever wants the file waits for that: not for as long as for a network
    await case.ended.wait()
    assert isinstance(case.error, errors.Corrupt)
    assert len(host.asked) == 3
