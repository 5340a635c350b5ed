"""Pinned files come by themselves, and stay."""

from __future__ import annotations

import os
from functools import partial

import pytest

from oaiofs import errors
from oaiofs.core.eviction import Limits
from oaiofs.core.model import Right
from oaiofs.transfer.flights import Flight
from tests.devicekit import Device, World, share, simulated
from tests.sync.test_eviction import BLOCK, data, device_with, here, limit


async def far(world: World, *names: str) -> Device:
    """A second device, which has nothing but placeholders of what the first one made."""
    await device_with(world, *names)
    return await world.syncing("two")


def pin(device: Device, path: str, value: bytes = b"1") -> None:
    device.vfs.metadata.setxattr(device.ino(path), "user.oaio.pin", value)


def pinned(device: Device, path: str) -> str:
    try:
        return device.vfs.metadata.getxattr(device.ino(path), "user.oaio.pin").decode()
    except errors.NoAttribute:
        return ""


@simulated
async def test_a_pinned_file_comes_by_itself(world: World) -> None:
    two = await far(world, "a", "b")
    assert here(two) == set()
    answer = await two.ask("pin", paths=[["Notes/a", None]])
    assert (answer["pinned"], answer["missing"]) == (["Notes/a"], 1)
    await world.go_on(2)
    assert here(two) == {"a"}
    two.offline = True
    assert await two.read("Notes/a") == data("a")


@simulated
async def test_what_arrives_later_in_a_pinned_object_comes_too(world: World) -> None:
    two = await far(world, "a", "b")
    one = world.devices["one"]
    pin(two, "Notes")
    await world.go_on(2)
    assert here(two) == {"a", "b"}
    await one.write("Notes/a", data("newer"))
    one.mkdir("Notes/d")
    await one.write("Notes/d/c", data("c"))
    await world.settle()
    assert here(two) == {"a", "b", "d/c"}
    two.offline = True
    assert await two.files("Notes") == {"a": data("newer"), "b": data("b"), "d/c": data("c")}
    assert [pinned(two, path) for path in ("Notes", "Notes/a", "Notes/d", "Notes/d/c")] == ["1", *["inherited"] * 3]


@simulated
async def test_a_new_version_of_a_pinned_file_is_fetched_again(world: World) -> None:
    two = await far(world, "a", "b")
    pin(two, "Notes/a")
    await world.go_on(2)
    await world.devices["one"].write("Notes/a", data("newer"))
    await world.settle()
    assert here(two) == {"a"}
    assert pinned(two, "Notes/a") == "1"
    two.offline = True
    assert await two.read("Notes/a") == data("newer")


@simulated
async def test_a_pinned_mount_has_new_objects_too(world: World) -> None:
    two = await far(world, "a")
    await two.ask("pin", paths=[["mount", ""]])
    one = world.devices["one"]
    one.mkdir("Other")
    await one.write("Other/x", data("x"))
    await world.settle()
    assert (here(two), here(two, "Other")) == ({"a"}, {"x"})
    limit(two, kept=1)
    await world.go_on(60)
    assert (here(two), here(two, "Other")) == ({"a"}, {"x"})
    await two.ask("unpin", paths=[["mount", ""]])
    await world.go_on(60)
    assert (here(two), here(two, "Other")) == (set(), set())


@simulated
async def test_offline_it_is_later(world: World) -> None:
    two = await far(world, "a", "b")
    two.offline = True
    await world.go_on(14)
    pin(two, "Notes")
    await world.go_on(600)
    assert here(two) == set()
    assert two.calls["get"] == 0
    two.offline = False
    await world.go_on(120)
    assert here(two) == {"a", "b"}


@simulated
async def test_over_a_restart(world: World) -> None:
    two = await far(world, "a", "b")
    two.offline = True
    await world.go_on(14)
    pin(two, "Notes/b")
    await two.stop(clean=False)
    two.offline = False
    two.open()
    two.start()
    await world.go_on(20)
    assert here(two) == {"b"}


@simulated
async def test_a_host_that_stumbles_is_asked_again_ever_more_slowly(world: World) -> None:
    two = await far(world, "a", "b")
    two.hosts.faults.flipped = True
    pin(two, "Notes/a")
    await world.go_on(600)
    assert here(two) == set()
    assert "a sent other bytes" in two.pinning.problem() or "sent other bytes for a" in two.pinning.problem()
    assert any("pinned, but not here" in one["message"] for one in two.status.whole()["errors"])
    tries = two.calls["get"]
    assert 3 < tries < 60
    two.hosts.faults.flipped = False
    await world.go_on(600)
    assert here(two) == {"a"}
    assert two.pinning.problem() == ""


@simulated
async def test_a_file_that_fails_does_not_keep_the_others(world: World) -> None:
    two = await far(world, "a", "b", "c")
    remote = world.announced("Notes")
    del world.storage.files[f"{remote.oaio_id}/{remote.stamp}/a"]
    pin(two, "Notes")
    await world.go_on(60)
    assert here(two) == {"b", "c"}
    assert "no longer has the bytes of a" in two.pinning.problem()


@simulated
async def test_no_room_for_it(world: World) -> None:
    """The disk's floor holds for what comes by itself; making room elsewhere is enough."""
    two = await far(world, "a", "b")
    free = [BLOCK]
    two.store.state.room.free = lambda: free[0]  # type: ignore[method-assign]
    pin(two, "Notes/a")
    await world.go_on(60)
    assert here(two) == set()
    assert "no room for a" in two.pinning.problem()
    free[0] = 1 << 30
    await world.go_on(120)
    assert here(two) == {"a"}


@simulated
async def test_pinned_files_stay_whatever_the_limit_and_go_once_unpinned(world: World) -> None:
    two = await far(world, "a", "b", "c")
    await two.files("Notes")
    pin(two, "Notes/a")
    limit(two, kept=BLOCK)
    await world.go_on(60)
    assert here(two) == {"a"}
    await two.read("Notes/b")
    await world.go_on(60)
    assert here(two) == {"a"}
    two.vfs.metadata.removexattr(two.ino("Notes/a"), "user.oaio.pin")
    await two.read("Notes/b")
    await world.go_on(60)
    assert here(two) == {"b"}
    assert two.status.whole()["pinned_bytes"] == 0


@simulated
async def test_a_program_that_saves_anew_keeps_the_pin(world: World) -> None:
    one = await device_with(world, "a", "b")
    pin(one, "Notes/a")
    await one.save("Notes/a", data("saved"))
    await world.settle()
    limit(one, kept=1)
    await world.go_on(60)
    assert here(one) == {"a"}
    await one.rename("Notes/a", "Notes/z")
    await world.settle()
    await world.go_on(60)
    assert here(one) == {"z"}
    one.unlink("Notes/z")
    await world.settle()
    one.pinning.ring()
    await world.go_on(60)
    assert one.store.pins == {}


@simulated
async def test_the_attribute(world: World) -> None:
    one = await device_with(world, "a")
    attributes = one.vfs.metadata
    assert [pinned(one, path) for path in ("Notes", "Notes/a")] == ["", ""]
    pin(one, "Notes", b"1\0")
    assert [pinned(one, path) for path in ("Notes", "Notes/a")] == ["1", "inherited"]
    pin(one, "Notes/a")
    assert pinned(one, "Notes/a") == "1"
    assert attributes.listxattr(one.ino("Notes/a")) == []
    pin(one, "Notes", b"0")
    assert [pinned(one, path) for path in ("Notes", "Notes/a")] == ["", "1"]
    attributes.removexattr(one.ino("Notes/a"), "user.oaio.pin")
    with pytest.raises(errors.NoAttribute):
        attributes.removexattr(one.ino("Notes/a"), "user.oaio.pin")
    with pytest.raises(errors.InvalidName):
        pin(one, "Notes/a", b"yes")
    with pytest.raises(errors.NotPermitted):
        pin(one, "Notes/values.json")
    with pytest.raises(errors.NotPermitted):
        attributes.setxattr(one.ino("Notes/a"), "user.oaio.id", b"mine")


@simulated
async def test_attributes_of_files_that_are_not_here(world: World) -> None:
    one = await device_with(world, "a")
    attributes, ino = one.vfs.metadata, one.ino("Notes/a")
    attributes.setxattr(ino, "user.mine", b"kept")
    await one.ask("evict", paths=[["Notes", None]])
    assert here(one) == set()
    assert (attributes.listxattr(ino), attributes.getxattr(ino, "user.mine")) == (["user.mine"], b"kept")
    attributes.setxattr(ino, "user.more", b"set far away")
    with pytest.raises(errors.Unsupported, match="open it first"):
        attributes.setxattr(ino, "user.large", bytes(3000))
    attributes.removexattr(ino, "user.mine")
    for name in ("user.mine", "user.none"):
        with pytest.raises(errors.NoAttribute):
            attributes.getxattr(ino, name)
        with pytest.raises(errors.NoAttribute):
            attributes.removexattr(ino, name)
    await one.read("Notes/a")
    assert here(one) == {"a"}
    assert (attributes.listxattr(ino), attributes.getxattr(ino, "user.more")) == (["user.more"], b"set far away")


@simulated
async def test_who_may_only_read_may_pin(world: World) -> None:
    await device_with(world, "a")
    share(world, "Notes", "bob", Right.READ)
    bob = await world.syncing("bob", user="bob")
    pin(bob, "Notes/a")
    await world.go_on(5)
    assert here(bob) == {"a"}
    share(world, "Notes", "bob", Right.NONE)
    await world.settle()


@simulated
async def test_unpinning_tells_what_stays_pinned(world: World) -> None:
    one = await device_with(world, "a")
    for path in ("Notes", "Notes/a"):
        await one.ask("pin", paths=[[path, None]])
    answer = await one.ask("unpin", paths=[["Notes/a", None]])
    assert answer == {"unpinned": [{"path": "Notes/a", "pins": 1}], "held": [{"path": "Notes/a", "by": "Notes"}]}
    answer = await one.ask("unpin", paths=[["Notes", None]])
    assert answer == {"unpinned": [{"path": "Notes", "pins": 1}], "held": []}
    answer = await one.ask("unpin", paths=[["Notes", None]])
    assert answer["unpinned"] == [{"path": "Notes", "pins": 0}]


@simulated
async def test_hundreds_of_pinned_files_come_two_at_a_time(world: World) -> None:
    names = [f"{number:03}" for number in range(250)]
    two = await far(world, *names)
    two.hosts.faults.latency = 0.1
    at_once: list[int] = []
    watched = two.transfer.downloads._fly

    async def fly(flight: Flight) -> None:
        at_once.append(len(two.transfer.downloads._flights))
        await watched(flight)

    two.transfer.downloads._fly = fly  # type: ignore[method-assign]
    pin(two, "Notes")
    await world.go_on(60)
    assert len(here(two)) == 250
    assert max(at_once) == 2


@simulated
async def test_nothing_is_asked_where_nothing_is_pinned(world: World) -> None:
    two = await far(world, "a")
    two.forget_calls()
    await world.go_on(1300)
    assert two.calls["get"] == 0
    assert two.pinning.problem() == ""


@simulated
async def test_the_limits_hold_while_programs_read_and_a_device_is_killed(world: World) -> None:
    """Pinned, dirty and open ones stay through it all, everything can be read, and check finds nothing wrong."""
    one = await device_with(world, *(f"{number:02}" for number in range(20)))
    two = await world.syncing("two")
    two.limits = Limits(kept=4 * BLOCK)
    await two.restart()
    pin(two, "Notes/03")
    handle = await two.open_file("Notes/05", os.O_RDONLY)
    for number in range(20):
        assert await two.read(f"Notes/{number:02}") == data(f"{number:02}")
        await world.go_on(1)
        assert len(here(two)) <= 5, "the limit and one file"
        assert {"03", "05"} <= here(two)
        two.check()
    two.close_file(handle)
    two.offline = True
    await two.write("Notes/07", data("mine"))
    await two.restart(clean=False)
    await world.go_on(60)
    assert {"03", "07"} <= here(two)
    two.offline = False
    await world.settle()
    await world.go_on(60)
    assert len(here(two)) <= 4
    await world.during(partial(one.sync.finish, 300.0))
    expected = {f"{number:02}": data(f"{number:02}") for number in range(20)} | {"07": data("mine")}
    assert await two.files("Notes") == await one.files("Notes") == expected
    assert not two.conflicts()
