"""A storage host that knows its users' rights refuses: what a device makes of it."""

from __future__ import annotations

from oaiofs.core.model import Right
from tests.devicekit import USER, Device, World, share, simulated
from tests.peerkit import Peer
from tests.sync.stories import two_with_notes
from tests.sync.trashing import restore


async def bobs_device(world: World) -> tuple[Device, Device]:
    """The owner's device, and that of bob, who may change the object Notes."""
    one, _ = await two_with_notes(world)
    share(world, "Notes", "bob", Right.UPDATE)
    his = await world.syncing("his", user="bob")
    await world.go_on(20)
    return one, his


@simulated
async def test_a_right_that_ends_while_a_version_is_stored(world: World) -> None:
    one, his = await bobs_device(world)
    before = world.stored("Notes")
    his.hosts.faults.latency = 3.0
    await his.write("Notes/a.txt", b"bob's")
    await world.go_on(4)
    share(world, "Notes", "bob", Right.READ)
    await world.go_on(5)
    assert his.state("Notes") == "error"
    assert "to change its files you need right U" in his.error("Notes")
    assert "Ask the owner" in his.error("Notes")
    await world.go_on(60)
    assert "your changes are kept here" in his.error("Notes"), "by now the listing has told"
    assert await his.read("Notes/a.txt") == b"bob's"
    assert world.stored("Notes") == before
    share(world, "Notes", "bob", Right.UPDATE)
    await world.go_on(400)
    assert world.stored("Notes")["a.txt"] == await one.read("Notes/a.txt") == b"bob's"
    assert his.error("Notes") == ""
    assert world.strays() == set()


@simulated
async def test_a_version_that_arrived_and_was_overwritten_is_left_where_it_is(world: World) -> None:
    """Its author may have no right to remove it: what follows goes out all the same."""
    one, his = await bobs_device(world)
    peer = Peer(world)
    peer.sync()
    his.server.faults.drop_answer("upload")
    await his.write("Notes/a.txt", b"bob's")
    while world.versions("Notes") == 1:
        await world.go_on(0.1)
    his.offline = True
    peer.set_value("Notes", "k", "of who saw nothing of it")
    his.offline = False
    await world.go_on(60)
    assert his.error("Notes") == ""
    await his.write("Notes/b.txt", b"more of bob's")
    await world.go_on(60)
    assert (his.error("Notes"), his.sync.pending()) == ("", 0)
    assert await one.files("Notes") == await his.files("Notes") == world.stored("Notes")
    assert (await one.read("Notes/a.txt"), await one.read("Notes/b.txt")) == (b"bob's", b"more of bob's")
    assert world.announced("Notes").values["k"] == "of who saw nothing of it"


async def comes_back(world: World, his: Device) -> None:
    """Restored, it is an object of his own; the storage host copies what was never here."""
    await restore(his, "Notes")
    await world.go_on(60)
    assert (his.error("Notes"), his.sync.pending()) == ("", 0)
    assert his.record("Notes").right is Right.CREATE
    assert his.calls["get"] == 0
    assert await his.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}


@simulated
async def test_what_was_only_on_the_servers_comes_back_after_one_left_it(world: World) -> None:
    one, his = await bobs_device(world)
    await his.remove_object("Notes")
    await world.go_on(60)
    assert (his.names(), one.names()) == ([], ["Notes"])
    await comes_back(world, his)


@simulated
async def test_what_was_only_on_the_servers_comes_back_after_its_owner_deleted_it(world: World) -> None:
    """Whose right was to read may do so on: the files are copied into an object of their own."""
    _, two = await two_with_notes(world)
    share(world, "Notes", "bob", Right.READ)
    his = await world.syncing("his", user="bob")
    await world.go_on(20)
    assert his.sync.pending() == 0
    world.cloud.delete(USER, two.id("Notes"))
    await world.go_on(60)
    assert his.names() == []
    await comes_back(world, his)
