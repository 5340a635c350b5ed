"""Placeholders and the bytes that come for them."""

from __future__ import annotations

import os

import pytest
import trio

from oaiofs import errors
from oaiofs.cache.workdir import md5_of
from oaiofs.core import sidecar
from oaiofs.core.model import Right
from oaiofs.errors import OaiofsError
from tests.devicekit import World, share, simulated
from tests.sync.stories import two_with_a_number


@simulated
async def test_many_readers_share_one_download(world: World) -> None:
    await two_with_a_number(world)
    three = await world.syncing("three")
    three.hosts.faults.latency = 1.0
    found: list[bytes] = []

    async def read() -> None:
        found.append(await three.read("Notes/a.txt"))

    async def all_of_them() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(read)

    await world.during(all_of_them)
    assert found == [b"first"] * 5
    assert three.calls["get"] == 1


@simulated
async def test_who_gives_up_does_not_end_the_download(world: World) -> None:
    await two_with_a_number(world)
    three = await world.syncing("three")
    three.hosts.faults.latency = 1.0

    async def impatient() -> None:
        with trio.move_on_after(0.5) as scope:
            await three.read("Notes/a.txt")
        assert scope.cancelled_caught

    await world.during(impatient)
    await world.go_on(2)
    three.offline = True
    assert await three.read("Notes/a.txt") == b"first"


@simulated
async def test_a_file_that_is_not_here_is_refused_at_once_offline(world: World) -> None:
    await two_with_a_number(world)
    three = await world.syncing("three")
    three.offline = True
    await world.go_on(14)
    with pytest.raises(errors.Unreachable, match=r"a\.txt is not on this machine yet"):
        await three.read("Notes/a.txt")
    assert three.calls["get"] == 0
    three.offline = False
    await world.go_on(120)
    assert await three.read("Notes/a.txt") == b"first"


@simulated
async def test_bytes_that_fail_their_checksum_never_show(world: World) -> None:
    await two_with_a_number(world)
    three = await world.syncing("three")
    three.hosts.faults.flipped = True
    with pytest.raises(errors.Corrupt):
        await three.read("Notes/a.txt")
    three.hosts.faults.flipped, three.hosts.faults.cut_after = False, 0

    async def in_vain() -> None:
        with pytest.raises(OaiofsError):
            await three.read("Notes/a.txt")

    await world.during(in_vain)
    assert three.calls["get"] > 2, "it was tried again"
    three.hosts.faults.cut_after = None
    assert await three.read("Notes/a.txt") == b"first"
    assert os.listdir(three.root / "staging") == []


@simulated
async def test_a_cut_download_is_taken_up_where_it_was(world: World) -> None:
    await two_with_a_number(world)
    three = await world.syncing("three")
    three.hosts.faults.cut_after = 2

    async def read() -> None:
        assert await three.read("Notes/a.txt") == b"first"

    await world.during(read)
    assert three.calls["get"] == 3, "fi, rs, t"


@simulated
async def test_a_file_replaced_while_it_is_downloaded_is_not_mixed_up(world: World) -> None:
    one, _ = await two_with_a_number(world)
    three = await world.syncing("three")
    ino = three.ino("Notes/a.txt")
    three.hosts.faults.latency = 30.0

    async def read() -> None:
        with pytest.raises(errors.Stale):
            await three.vfs.open(ino, os.O_RDONLY)
        three.offline = True  # the kernel opens once more by name, and not again: what has that now is here
        three.hosts.faults.latency = 0.0

    async def replaced() -> None:
        await trio.sleep(0.1)
        three.hosts.faults.latency = 1.0  # for all but the call that waits
        await one.write("Notes/a.txt", b"newer")

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(replaced)

    await world.during(both)
    assert await three.read("Notes/a.txt") == b"newer"
    assert three.ino("Notes/a.txt") != ino
    assert os.listdir(three.root / "staging") == []


@simulated
async def test_a_placeholder_is_no_sidecar_and_nobody_waits_to_find_out(world: World) -> None:
    one, two = await two_with_a_number(world)
    await one.write("Notes/new.json", b'{"_name": "Notes", "n": 2}')
    await one.write("Notes/large.json", b" " * (sidecar.MAX_BYTES + 1))
    await world.go_on(14)
    for name, refusal in (("new.json", errors.CrossesObjects), ("large.json", errors.InvalidSidecar)):
        with pytest.raises(refusal):
            await two.rename(f"Notes/{name}", "Notes/values.json")
    assert "get" not in two.calls, "nothing was downloaded for it"
    assert await two.values("Notes") == {"_name": "Notes", "n": 1}
    assert two.store.record(two.store.by_name["Notes"].key).draft is None
    assert {"new.json", "large.json"} <= set(await two.files("Notes")), "both are where they were"


@simulated
async def test_a_placeholder_renamed_while_it_is_downloaded_gets_its_bytes(world: World) -> None:
    await two_with_a_number(world)
    three = await world.syncing("three")
    three.hosts.faults.latency = 1.0

    async def read() -> None:
        handle = await three.vfs.open(three.ino("Notes/a.txt"), os.O_RDONLY)
        assert await three.vfs.files.read(handle, 0, 100) == b"first"
        three.close_file(handle)

    async def rename() -> None:
        await trio.sleep(0.5)
        await three.rename("Notes/a.txt", "Notes/z.txt")

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(rename)

    await world.during(both)
    assert await three.read("Notes/z.txt") == b"first"


@simulated
async def test_a_download_leaves_the_object_clean_and_its_inode_alone(world: World) -> None:
    await two_with_a_number(world)
    three = await world.syncing("three")
    assert three.state("Notes") == "online-only"
    before = three.vfs.getattr(three.ino("Notes/a.txt"))
    await three.read("Notes/a.txt")
    after = three.vfs.getattr(three.ino("Notes/a.txt"))
    assert (before.ino, before.size, before.mtime_ns) == (after.ino, after.size, after.mtime_ns)
    assert three.sync.pending() == 0
    assert three.state("Notes") == "synced"
    node = three.store.node(after.ino)
    assert md5_of(three.store.absolute(node)) == node.md5


@simulated
async def test_emptying_a_placeholder_downloads_nothing(world: World) -> None:
    one, _ = await two_with_a_number(world)
    three = await world.syncing("three")
    await three.write("Notes/a.txt", b"anew")
    assert three.calls["get"] == 0
    await world.go_on(14)
    assert await one.read("Notes/a.txt") == b"anew"


@simulated
async def test_a_read_only_object_is_shown_and_not_written(world: World) -> None:
    await two_with_a_number(world)
    share(world, "Notes", "bob", Right.READ)
    bob = await world.syncing("bobs", user="bob")
    assert await bob.read("Notes/a.txt") == b"first"
    with pytest.raises(errors.AccessDenied):
        await bob.write("Notes/a.txt", b"no")


@simulated
async def test_a_new_version_drops_only_the_files_whose_bytes_are_others(world: World) -> None:
    one, two = await two_with_a_number(world)
    kept, replaced = two.ino("Notes/b.txt"), two.ino("Notes/a.txt")
    await one.write("Notes/a.txt", b"newer")
    await one.set_value("Notes", "n", 2)
    await world.settle()
    assert await two.values("Notes") == {"_name": "Notes", "n": 2}
    assert two.ino("Notes/b.txt") == kept
    assert two.ino("Notes/a.txt") != replaced
    two.offline = True
    assert await two.read("Notes/b.txt") == b"second"
    assert two.calls["get"] == 0
    assert not two.store.node(two.ino("Notes/a.txt")).local
