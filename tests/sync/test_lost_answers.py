"""The answer to an announcement is lost, and before this device looks again the other one goes on from that version."""

from __future__ import annotations

from oaiofs import errors
from oaiofs.core.model import Outgoing, RemoteObject
from tests.devicekit import Device, World, simulated, simulated_foreign


async def _story(world: World) -> None:
    one = await world.syncing("one")
    two = await world.syncing("two")
    one.mkdir("A")
    await one.write("A/old", b"old")
    await one.set_value("A", "k", "first")
    await world.go_on(30)
    lose_network_with_the_answer(one)
    await one.write("A/new", b"new")
    await one.set_value("A", "k", "second")
    await world.go_on(12)
    assert two.exists("A/new")
    await two.write("A/from two", b"two")
    await world.go_on(12)
    assert "from two" in world.announced("A").file_paths
    assert one.record("A").pending is not None
    one.unlink("A/new")
    await one.set_value("A", "k", "third")
    one.offline = False
    await world.go_on(60)
    for device in (one, two):
        assert sorted(device.paths("A")) == ["from two", "old"], device.name
        assert (await device.values("A"))["k"] == "third", device.name
        assert device.conflicts() == []


def lose_network_with_the_answer(device: Device) -> None:
    """The next version arrives, and from that moment on nothing gets through."""
    upload = device.server.upload

    async def last_upload(outgoing: Outgoing) -> RemoteObject:
        await upload(outgoing)
        device.offline = True
        device.server.upload = upload  # type: ignore[method-assign]  # one answer is lost, on purpose
        raise errors.Unreachable("the network is gone")

    device.server.upload = last_upload  # type: ignore[method-assign]


@simulated
async def test_what_was_edited_after_it_is_kept(world: World) -> None:
    await _story(world)


@simulated_foreign
async def test_what_was_edited_after_it_is_kept_where_the_last_writer_wins(world: World) -> None:
    await _story(world)
