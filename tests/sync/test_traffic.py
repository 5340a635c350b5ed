"""What travels is counted, shown and kept within limits: on the twins, in a time of the test's own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from oaiofs import errors
from oaiofs.core import bucket
from oaiofs.core.model import FileFact
from oaiofs.remote.memory import Faults, MemoryStorage, StorageTree
from oaiofs.remote.memory_storage import StoredFile
from oaiofs.transfer.metered import MeteredHost
from oaiofs.transfer.traffic import Direction, Limit, Traffic, parts
from tests.devicekit import World, simulated
from tests.remote.worlds import source_of

SLOW = 8192


@pytest.fixture
def tree() -> StorageTree:
    return StorageTree()


def host(tree: StorageTree, traffic: Traffic, faults: Faults | None = None) -> MeteredHost:
    return MeteredHost(MemoryStorage(tree, faults=faults), "Digi", traffic)


async def put(host: MeteredHost, path: str, size: int) -> None:
    await host.put(path, source_of(bytes(size), 1 << 20), size, 0)


async def get(host: MeteredHost, path: str, start: int = 0, length: int | None = None) -> bytes:
    async with host.get(path, start, length) as chunks:
        return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("size", [SLOW * 10, 3 << 20])
async def test_both_directions_take_as_long_as_the_limit_says(
    autojump_clock: MockClock, tree: StorageTree, size: int
) -> None:
    for direction in Direction:
        tree.files = {"i/s/f": StoredFile(bytes(size), 0)}
        up = direction is Direction.UP
        traffic = Traffic(up=Limit(SLOW)) if up else Traffic(down=Limit(SLOW))
        begun = trio.current_time()
        await (put(host(tree, traffic), "i/s/f", size) if up else get(host(tree, traffic), "i/s/f"))
        took = trio.current_time() - begun
        burst = bucket.full(SLOW, 0.0).burst
        assert took == pytest.approx((size - burst) / SLOW, rel=1e-6)
        assert traffic.moved == size


async def test_without_a_limit_nothing_is_cut_or_held_up(autojump_clock: MockClock, tree: StorageTree) -> None:
    traffic = Traffic()
    seen: list[int] = []

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(1 << 20)

    class Watching(MemoryStorage):
        async def put(self, path, source, size, mtime_ns):  # type: ignore[no-untyped-def]
            seen.extend([len(chunk) async for chunk in source()])
            return FileFact(size, "")

    begun = trio.current_time()
    await MeteredHost(Watching(tree), "Digi", traffic).put("i/s/f", chunks, 3 << 20, 0)
    assert (seen, trio.current_time()) == ([1 << 20] * 3, begun)


async def test_who_shares_a_limit_gets_the_same_share(autojump_clock: MockClock, tree: StorageTree) -> None:
    traffic = Traffic(up=Limit(SLOW))
    storage = host(tree, traffic)
    shares: list[list[int]] = []

    async def look() -> None:
        for _ in range(10):
            await trio.sleep(5)
            shares.append([shown.done for shown in traffic.shown()])

    async with trio.open_nursery() as nursery:
        for number in range(3):  # one after the other, and one has been at it for long
            nursery.start_soon(put, storage, f"i/s/{number}", SLOW * 60)
            await trio.sleep(4 if number == 0 else 0)
        await look()
        nursery.cancel_scope.cancel()
    for before, after in itertools.pairwise(shares):
        grown = [now - then for then, now in zip(before, after, strict=True)]
        assert max(grown) - min(grown) <= 2 * bucket.piece(SLOW), "nobody is left behind"
        assert sum(grown) == pytest.approx(5 * SLOW, abs=4 * bucket.piece(SLOW))
    assert (traffic.shown(), traffic.moved) == ([], 0), "what was given up has moved nothing"


@pytest.mark.parametrize(("limit", "expected"), [(SLOW, 3), (0, 9)])
async def test_limited_uploads_leave_a_transfer_to_who_wants_to_read(
    autojump_clock: MockClock, tree: StorageTree, limit: int, expected: int
) -> None:
    traffic = Traffic(up=Limit(limit))
    faults = Faults(latency=10.0)
    storage = host(tree, traffic, faults)
    async with trio.open_nursery() as nursery:
        for number in range(9):
            nursery.start_soon(put, storage, f"i/s/{number}", 1000)
        await trio.sleep(1)
        assert faults.calls["put"] == expected
        assert len(traffic.shown()) == 9
    assert faults.calls["put"] == len(tree.files) == 9


async def test_a_transfer_is_shown_while_it_runs(autojump_clock: MockClock, tree: StorageTree) -> None:
    traffic = Traffic(up=Limit(SLOW), down=Limit(SLOW))
    storage = host(tree, traffic)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, storage, "oaiö/2026/a/b", SLOW * 100)
        await trio.sleep(20)
        (shown,) = traffic.shown()
        assert (shown.place, shown.direction, shown.total) == ("Digi/oaiö/2026/a/b", Direction.UP, SLOW * 100)
        assert shown.seconds == pytest.approx(20)
        assert shown.done == pytest.approx(SLOW * 20, abs=SLOW)
        assert shown.per_second == pytest.approx(SLOW, rel=0.1)
        assert shown.remaining == pytest.approx(80, abs=8)
        assert traffic.to_go() == SLOW * 100 - shown.done
        assert traffic.moved == shown.done
    assert (traffic.shown(), traffic.to_go(), traffic.moved) == ([], 0, SLOW * 100)
    for start, length, total in ((0, None, SLOW * 100), (SLOW, SLOW * 4, SLOW * 4), (SLOW * 90, None, SLOW * 10)):
        async with storage.get("oaiö/2026/a/b", start, length) as chunks:
            assert chunks.length == total
            await anext(chunks)
            (shown,) = traffic.shown()
            assert (shown.direction, shown.total) == (Direction.DOWN, total)
            assert 0 < shown.done <= total


async def test_one_that_waits_for_its_turn_has_no_rate(autojump_clock: MockClock, tree: StorageTree) -> None:
    traffic = Traffic()
    faults = Faults(latency=30.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(put, host(tree, traffic, faults), "i/s/f", 1000)
        await trio.sleep(10)
        (shown,) = traffic.shown()
        assert (shown.done, shown.total, shown.per_second, shown.remaining) == (0, 1000, None, None)


async def test_a_failure_takes_back_what_was_counted(autojump_clock: MockClock, tree: StorageTree) -> None:
    traffic, faults = Traffic(), Faults()
    storage = host(tree, traffic, faults)
    faults.half_sent = 1
    with pytest.raises(errors.Unreachable):
        await put(storage, "i/s/f", 1000)
    assert (traffic.shown(), traffic.moved) == ([], 0)
    await put(storage, "i/s/f", 200_000)
    assert traffic.moved == 200_000
    faults.cut_after = 100_000
    with pytest.raises(errors.Corrupt):
        await get(storage, "i/s/f")
    assert (traffic.shown(), traffic.moved) == ([], 200_000)


async def test_a_body_that_is_sent_again_counts_from_the_beginning(tree: StorageTree) -> None:
    traffic = Traffic()
    seen: list[int] = []

    class Stubborn(MemoryStorage):
        async def put(self, path, source, size, mtime_ns):  # type: ignore[no-untyped-def]
            for _ in range(2):
                seen.extend([traffic.shown()[0].done async for _ in source()])
            return FileFact(size, "")

    await MeteredHost(Stubborn(tree), "Digi", traffic).put("i/s/f", source_of(bytes(300), 100), 300, 0)
    assert seen == [0, 100, 200, 0, 100, 200]
    assert traffic.moved == 300


async def test_who_gives_up_waiting_and_asks_again_misses_nothing(
    autojump_clock: MockClock, tree: StorageTree
) -> None:
    content = bytes(range(256)) * 100
    tree.files = {"i/s/f": StoredFile(content, 0)}
    came = b""
    async with host(tree, Traffic(down=Limit(SLOW))).get("i/s/f") as chunks:
        while len(came) < len(content):
            with trio.move_on_after(0.01):
                came += await anext(chunks)
    assert came == content


async def test_a_push_knows_what_is_to_go_before_its_files_are_sent() -> None:
    traffic = Traffic()
    base = {"a": FileFact(10, "1" * 32), "gone": FileFact(99, "2" * 32)}
    wanted = {"renamed": FileFact(10, "1" * 32), "b": FileFact(20, "3" * 32), "unknown": FileFact(5, "")}
    with traffic.push("id", base, wanted):
        assert traffic.to_go() == 25
        with traffic.transfer(Direction.UP, "Digi/id/s/b", 20) as running:
            traffic.begun(running)
            traffic.counted(running, 15)
            assert traffic.to_go() == 10
            traffic.begun(running)
            assert traffic.to_go() == 25
            traffic.counted(running, 20)
        assert traffic.to_go() == 5
        with traffic.transfer(Direction.UP, "Digi/id/s/b", 20) as running:  # once more, against the plan
            traffic.counted(running, 20)
        assert traffic.to_go() == 0
    with traffic.push("id", {}, wanted):
        assert traffic.to_go() == 35
    assert (traffic.to_go(), traffic.moved) == (0, 40), "what is given up is not waited for"


async def test_steps_of_several_tasks() -> None:
    traffic = Traffic()
    assert traffic.step_of("id") == ""
    with traffic.step("id", "first"):
        with traffic.step("id", "second"):
            assert (traffic.step_of("id"), traffic.step_of("other")) == ("second", "")
        assert traffic.step_of("id") == "first"
    assert traffic.step_of("id") == ""


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("Digi/id/stamp/a/b", ("Digi", "id", "stamp", "a/b")),
        ("Digi/id/stamp", ("Digi", "id", "stamp", "")),
        ("Digi/id", ("Digi", "id", "", "")),
        ("Digi", ("Digi", "", "", "")),
    ],
)
def test_parts_of_a_place(place: str, expected: tuple[str, str, str, str]) -> None:
    assert parts(place) == expected


# -- whole devices -----------------------------------------------------------------------------------------------


@simulated
async def test_the_status_shows_uploads_and_downloads_of_objects_by_name(world: World) -> None:
    one, two = await world.syncing("one"), await world.syncing("two")
    one.hosts.traffic.up = two.hosts.traffic.down = Limit(SLOW)
    content = bytes(SLOW * 40)
    one.mkdir("Photos")
    await one.write("Photos/a.jpg", content)
    await world.go_on(12)
    brief = one.progress.brief()
    (up,) = brief["transfers"]
    assert one.status.whole()["transfers"] == brief["transfers"]
    assert (up["object"], up["path"], up["direction"], up["total"]) == ("Photos", "a.jpg", "up", len(content))
    assert 0 < up["done"] == brief["moved"] < len(content)
    assert brief["to_go"] == len(content) - up["done"]
    assert up["rate"] == pytest.approx(SLOW, rel=0.15)
    assert 0 < up["remaining"] < 40
    assert (brief["online"], brief["pending"], brief["busy"]) == (True, 1, 1)
    await world.go_on(60)
    assert one.progress.brief() | {"transfers": []} == one.progress.brief()
    assert (one.progress.brief()["moved"], one.progress.brief()["to_go"]) == (len(content), 0)

    async def read() -> None:
        assert await two.read("Photos/a.jpg") == content

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await world.go_on(12)
        (down,) = two.progress.transfers()
        assert (down["object"], down["direction"], down["total"]) == ("Photos", "down", len(content))
        assert 0 < down["done"] < len(content)
        await world.go_on(60)
    assert two.progress.transfers() == []


@simulated
async def test_what_waits_for_what(world: World) -> None:
    one = await world.syncing("one")
    assert one.progress.brief()["waiting"] == []
    one.mkdir("Notes")
    (waiting,) = one.progress.brief()["waiting"]
    assert (waiting["why"], waiting["objects"]) == ("quiet", 1)
    assert 0 < waiting["seconds"] <= one.pace.quiet
    one.server.faults.fail("register", errors.ServerFault("the server stumbles"))
    await world.go_on(2.3)
    (waiting,) = one.progress.brief()["waiting"]
    assert (waiting["why"], waiting["objects"]) == ("retry", 1)
    assert waiting["seconds"] > 0
    await world.go_on(30)
    assert (one.progress.brief()["waiting"], one.progress.brief()["pending"]) == ([], 0)
    one.offline = True
    await world.go_on(30)
    (waiting,) = one.progress.brief()["waiting"]
    assert waiting["why"] == "offline"
    assert waiting["message"] == str(one.sync.watch.outage)
    assert waiting["seconds"] > 0
    one.offline = False


@simulated
async def test_who_is_in_a_hurry_waits_for_no_quiet_time(world: World) -> None:
    one = await world.syncing("one")
    one.hosts.faults.latency = 1.0
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.sync.finish)
        await world.go_on(0.5)
        assert (one.progress.brief()["waiting"], one.progress.brief()["busy"]) == ([], 1)
        await world.go_on(10)
    assert one.progress.brief()["pending"] == 0


@simulated
async def test_an_object_to_be_sent_and_fetched_is_one(world: World) -> None:
    one, two = await world.syncing("one"), await world.syncing("two")
    one.mkdir("Notes")
    one.mkdir("Other")
    await world.go_on(20)
    two.server.faults.fail("list_objects", errors.ServerFault("not now"), times=2)
    await one.write("Notes/a.txt", b"1")
    await one.write("Other/a.txt", b"1")
    await world.go_on(5)
    two.hosts.faults.latency = 60.0  # what comes takes its time
    await two.write("Notes/b.txt", b"2")
    for _ in range(300):
        if two.sync.watch.seen.differing:
            break
        await world.go_on(0.1)
    assert len(two.sync.watch.seen.differing) == 2
    brief = two.progress.brief()
    assert (brief["pending"], brief["incoming"]) == (1, 1)
    two.hosts.faults.latency = 0.0
    await world.go_on(150)
    assert (two.progress.brief()["pending"], two.progress.brief()["incoming"]) == (0, 0)


@simulated
async def test_the_steps_of_a_push_are_told(world: World) -> None:
    one = await world.syncing("one")
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"1")
    await world.go_on(5)
    one.server.faults.latency = one.hosts.faults.latency = 0.5
    one.hosts.faults.calls.clear()
    await one.write("Notes/b.txt", b"2")
    seen: list[str] = []
    for _ in range(80):
        await world.go_on(0.1)
        for step in one.progress.brief()["steps"]:
            assert step["object"] == "Notes"
            if step["step"] not in seen[-1:]:
                seen.append(step["step"])
        (shown,) = one.status.whole()["objects"]
        assert shown.get("step", "") == (seen[-1] if one.progress.brief()["steps"] else "")
    assert seen == ["copying on the host", "checking what is stored", "announcing"]
