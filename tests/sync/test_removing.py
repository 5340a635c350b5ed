"""Objects that are removed here or elsewhere, and those that are no longer shared."""

from __future__ import annotations

import os

from oaiofs.cache import trash
from oaiofs.core.model import Right
from tests.devicekit import World, share, simulated
from tests.sync.stories import two_with_notes


@simulated
async def test_a_removed_object_goes_to_the_trash_and_leaves_the_others(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    await one.remove_object("Notes")
    assert one.names() == ["More"]
    assert len(world.cloud.objects) == 2, "not before the grace time"
    await world.go_on(14)
    assert len(world.cloud.objects) == 1
    assert two.names() == ["More"]
    (kept,) = (two.root / "trash").glob("Notes.*/a.txt")
    assert kept.read_bytes() == b"first"


@simulated
async def test_a_clock_set_back_keeps_no_removal_waiting(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    await one.remove_object("Notes")
    one.skew = -365 * 86_400.0
    await world.go_on(20)
    assert two.names() == ["More"]


@simulated
async def test_an_object_edited_between_the_look_at_it_and_its_deletion_comes_back(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    one.server.faults.latency = 1.0  # it looks 3 s from now, and deletes 4 s from now
    await one.remove_object("Notes")
    await world.go_on(1.5)
    await two.write("Notes/a.txt", b"edited")
    await world.go_on(40)
    assert one.calls["delete"] == 1, "it came that close"
    assert one.names() == two.names() == ["More", "Notes"]
    assert await one.files("Notes") == await two.files("Notes") == {"a.txt": b"edited", "b.txt": b"second"}


@simulated
async def test_an_object_edited_elsewhere_comes_back(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    await two.write("Notes/a.txt", b"edited")
    await world.go_on(0.5)
    await one.remove_object("Notes")
    await world.go_on(40)
    assert one.names() == two.names() == ["More", "Notes"]
    assert await one.files("Notes") == {"a.txt": b"edited", "b.txt": b"second"}


@simulated
async def test_unsent_changes_of_an_object_deleted_elsewhere_stay(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    two.offline = True
    await two.write("Notes/a.txt", b"unsent")
    await one.remove_object("Notes")
    await world.go_on(14)
    two.offline = False
    await world.go_on(120)
    assert two.names() == ["More", "Notes"]
    assert await two.read("Notes/a.txt") == b"unsent"
    assert two.record("Notes").orphan
    assert "gone from the server" in two.error("Notes")
    await two.restart(clean=False)
    await world.go_on(40)
    assert await two.read("Notes/a.txt") == b"unsent"


@simulated
async def test_an_object_never_registered_is_removed_without_a_word(world: World) -> None:
    one = await world.syncing("one")
    one.mkdir("Short")
    one.rmdir("Short")
    await world.go_on(14)
    assert world.cloud.log == []
    assert one.sync.pending() == 0


@simulated
async def test_a_lost_answer_to_a_deletion_does_it_once(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    one.server.faults.drop_answer("delete")
    await one.remove_object("More")
    await world.go_on(60)
    assert one.names() == two.names() == ["Notes"]
    assert one.sync.pending() == 0


@simulated
async def test_who_may_not_delete_unsubscribes(world: World) -> None:
    one, _ = await two_with_notes(world, "More")
    share(world, "More", "bob", Right.UPDATE)
    share(world, "Notes", "bob", Right.READ)
    bob = await world.syncing("bobs", user="bob")
    assert bob.names() == ["More", "Notes"]
    for name in ("More", "Notes"):
        bob.rmdir(name)
    await world.go_on(14)
    assert bob.names() == []
    assert bob.sync.pending() == 0
    assert world.cloud.listing("bob", bob.server.faults).objects == ()
    assert one.names() == ["More", "Notes"]


@simulated
async def test_an_unshared_object_leaves(world: World) -> None:
    await two_with_notes(world, "More")
    for name in ("Notes", "More"):
        share(world, name, "bob", Right.READ)
    bob = await world.syncing("bobs", user="bob")
    share(world, "Notes", "bob", Right.NONE)
    await world.go_on(14)
    assert bob.names() == ["More"]


@simulated
async def test_a_file_of_a_removed_object_can_still_be_synced_to_the_disk(world: World) -> None:
    one = await world.syncing("one")
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"first")
    handle = await one.open_file("Notes/a.txt")
    one.unlink("Notes/a.txt")
    other = await one.open_file("Notes/b.txt", os.O_RDWR | os.O_CREAT)
    trash.remove(one.store, one.store.by_name["Notes"], even_full=True)
    for number in (handle, other):
        await one.vfs.files.fsync(number)
        one.close_file(number)
