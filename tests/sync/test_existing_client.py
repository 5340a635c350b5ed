"""Beside the existing client, which overwrites whatever the server has with what it has: no edit made here is lost."""

from __future__ import annotations

from tests.devicekit import Device, World, simulated, simulated_foreign
from tests.peerkit import Peer
from tests.sync.stories import two_with_notes

HOURS = 3 * 3600.0


async def with_peer(world: World) -> tuple[Device, Device, Peer]:
    """Two devices and an existing client that have the object Notes."""
    one, two = await two_with_notes(world)
    peer = Peer(world)
    peer.sync()
    return one, two, peer


async def edited_apart(world: World, one: Device, peer: Peer, hours: float) -> None:
    """The peer, offline, and a device change different things; the peer comes back after that time."""
    peer.offline = True
    peer.set_value("Notes", "by peer", 1)
    peer.write("Notes", "b.txt", b"by peer")
    await one.set_value("Notes", "by one", 2)
    await one.write("Notes/a.txt", b"by one")
    await one.write("Notes/new.txt", b"new by one")
    await world.go_on(max(14, hours))
    assert world.announced("Notes").values == {"_name": "Notes", "by one": 2}
    peer.offline = False
    peer.sync()


async def all_have_both(world: World, one: Device, two: Device) -> None:
    await world.go_on(40)
    values = {"_name": "Notes", "by peer": 1, "by one": 2}
    files = {"a.txt": b"by one", "b.txt": b"by peer", "new.txt": b"new by one"}
    assert world.announced("Notes").values == values
    assert world.stored("Notes") == files
    for device in (one, two):
        assert await device.values("Notes") == values
        assert await device.files("Notes") == files
        assert device.conflicts() == []
    assert world.strays() == set()


@simulated
async def test_a_client_that_was_offline_for_hours_overwrites_and_both_edits_are_kept(world: World) -> None:
    one, two, peer = await with_peer(world)
    before = world.announced("Notes").stamp
    await edited_apart(world, one, peer, HOURS)
    assert world.announced("Notes").lineage == (before,)
    await all_have_both(world, one, two)
    peer.sync()
    values = dict(peer.values("Notes"))
    assert sorted(values.pop("_file_paths")) == ["a.txt", "b.txt", "new.txt"]
    assert values == {"_name": "Notes", "by peer": 1, "by one": 2}


@simulated
async def test_several_versions_were_agreed_since_the_one_it_has(world: World) -> None:
    one, two, peer = await with_peer(world)
    peer.offline = True
    peer.set_value("Notes", "by peer", 1)
    for number in range(5):
        await (one if number % 2 else two).set_value("Notes", f"n{number}", number)
        await world.go_on(60)
    peer.offline = False
    peer.sync()
    await world.go_on(40)
    assert world.announced("Notes").values == {"_name": "Notes", "by peer": 1} | {f"n{n}": n for n in range(5)}
    assert one.conflicts() == two.conflicts() == []


@simulated
async def test_files_never_downloaded_that_it_did_not_know_of_stay(world: World) -> None:
    one, two, peer = await with_peer(world)
    peer.offline = True
    peer.set_value("Notes", "by peer", 1)
    await one.write("Notes/new.txt", b"new by one")
    await world.go_on(HOURS)
    await one.stop()  # whoever made it is away; the other device has it as a placeholder only
    peer.offline = False
    peer.sync()
    await world.go_on(40)
    assert world.stored("Notes") == {"a.txt": b"first", "b.txt": b"second", "new.txt": b"new by one"}
    assert await two.read("Notes/new.txt") == b"new by one"


@simulated
async def test_whoever_made_the_overwritten_edit_was_away_and_others_went_on_without_it(world: World) -> None:
    one, two, peer = await with_peer(world)
    peer.offline = two.offline = True
    peer.set_value("Notes", "by peer", 1)
    await one.set_value("Notes", "by one", 2)
    await world.go_on(HOURS)
    one.offline, peer.offline = True, False
    peer.sync()
    two.offline = False
    await world.go_on(80)
    await two.set_value("Notes", "by two", 3)
    await world.go_on(HOURS)
    assert world.announced("Notes").values == {"_name": "Notes", "by peer": 1, "by two": 3}
    one.offline = False
    await world.go_on(80)
    assert world.announced("Notes").values == {"_name": "Notes", "by peer": 1, "by two": 3, "by one": 2}
    assert await one.values("Notes") == await two.values("Notes") == world.announced("Notes").values


@simulated
async def test_what_it_took_back_on_purpose_stays_taken_back(world: World) -> None:
    one, two, peer = await with_peer(world)
    await one.set_value("Notes", "pinned", True)
    await world.go_on(14)
    peer.sync()
    peer.set_value("Notes", "pinned", False)
    await world.go_on(14)
    assert (await one.values("Notes"))["pinned"] is False
    await two.set_value("Notes", "pinned", True)
    await world.go_on(14)
    assert (await one.values("Notes"))["pinned"] is True
    assert one.conflicts() == two.conflicts() == []


@simulated
async def test_both_changed_the_same_and_the_losing_side_is_kept(world: World) -> None:
    one, two, peer = await with_peer(world)
    peer.offline = True
    peer.set_value("Notes", "k", "by peer")
    peer.write("Notes", "a.txt", b"by peer")
    await one.set_value("Notes", "k", "by one")
    await one.write("Notes/a.txt", b"by one")
    await world.go_on(HOURS)
    peer.offline = False
    peer.sync()
    await world.go_on(40)
    stored = world.stored("Notes")
    assert stored.pop("a.txt") == b"by peer"
    assert stored.pop("b.txt") == b"second"
    assert set(stored.values()) == {b"by one"}
    assert world.announced("Notes").values["k"] == "by peer"
    assert {lost.mine for lost in (*one.conflicts(), *two.conflicts()) if lost.kind == "value"} == {'"by one"'}


@simulated_foreign
async def test_on_a_server_that_tells_nothing_a_client_that_looked_little_before_overwrites_nothing(
    world: World,
) -> None:
    one, two, peer = await with_peer(world)
    await edited_apart(world, one, peer, 14)
    await all_have_both(world, one, two)


@simulated
async def test_both_devices_restore_what_it_took_back_and_edit_on(world: World) -> None:
    """The lines of each edit were made from what both had then, be that restored or the existing client's."""
    one, two, peer = await with_peer(world)
    lines = [f"line {number}" for number in range(9)]
    theirs = [f"their {number}" for number in range(9)]
    await one.write("Notes/a.txt", "\n".join(lines).encode())
    await world.go_on(40)
    peer.write("Notes", "b.txt", "\n".join(theirs).encode())
    for device, number in ((one, 0), (two, 8)):
        while (await device.files("Notes"))["b.txt"] == b"second":
            await world.go_on(0.1)
        assert (device.record("Notes").restored is not None), "not yet sent"
        mine, their = ([*side[:number], f"by {device.name}", *side[number + 1 :]] for side in (lines, theirs))
        await device.write("Notes/a.txt", "\n".join(mine).encode())
        await device.write("Notes/b.txt", "\n".join(their).encode())
    await world.go_on(60)
    for device in (one, two):
        for path, side in (("a.txt", lines), ("b.txt", theirs)):
            text = "\n".join(["by one", *side[1:8], "by two"])
            assert (await device.files("Notes"))[path].decode() == text
        assert device.conflicts() == []
        assert len(device.paths("Notes")) == 2
