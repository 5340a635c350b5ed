"""What comes back from the trash, on the devices and the servers: each row of the table in ``cache/restore.py``."""

from __future__ import annotations

import pytest

from oaiofs import errors
from oaiofs.core.model import Right
from oaiofs.core.plan import ObjectVerb
from tests.devicekit import USER, World, share, simulated, simulated_foreign
from tests.sync.stories import two_with_notes
from tests.sync.trashing import entries, restore

# ---------------------------------------------------------------------------------------- before the server knows


@simulated
async def test_a_removal_is_taken_back_before_the_server_hears_of_it(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    before = one.id("Notes")
    await one.remove_object("Notes")
    await world.go_on(1)
    assert one.names() == ["More"]
    old_ino = one.store.record_of_id(before).ino  # type: ignore[union-attr]
    assert await restore(one, "Notes") == {
        "entry": "Notes.1", "name": "Notes", "object": "Notes", "new": False, "paths": []
    }  # fmt: skip
    assert (1, "Notes") in one.announced
    assert one.ino("Notes") != old_ino, "to the kernel that one is a removed directory"
    await world.go_on(40)
    assert one.names() == two.names() == ["More", "Notes"]
    assert one.id("Notes") == two.id("Notes") == before
    assert await one.files("Notes") == await two.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    assert world.versions("Notes") == 1, "as if nothing had happened"
    assert [one.action for one in world.cloud.log].count("delete") == 0
    assert await entries(one) == []


@simulated
async def test_edits_that_nobody_else_has_come_back_too(world: World) -> None:
    """`rm -r` takes the files one by one, before it takes the object."""
    one, two = await two_with_notes(world, "More")
    one.offline = True
    await one.write("Notes/a.txt", b"unsent")
    one.mkdir("Notes/deep")
    await one.write("Notes/deep/new.txt", b"new and unsent")
    await one.write("Notes/.a.txt.swp", b"vim's")
    await one.set_value("Notes", "k", "unsent too")
    await one.remove_object("Notes")
    await world.go_on(60)
    (entry,) = await entries(one)
    assert (entry["what"], entry["why"], entry["server_knows"]) == ("object", "removed here", False)
    assert entry["purged_at"] is None
    await restore(one, "Notes")
    expected = {"a.txt": b"unsent", "b.txt": b"second", "deep/new.txt": b"new and unsent"}
    assert await one.files("Notes") == expected, "offline"
    assert (await one.values("Notes"))["k"] == "unsent too"
    one.offline = False
    await world.go_on(100)  # the next look after an outage may be a minute away
    assert await two.files("Notes") == expected
    assert (await two.values("Notes"))["k"] == "unsent too"


@simulated
async def test_a_draft_comes_back(world: World) -> None:
    one, _ = await two_with_notes(world, "More")
    with pytest.raises(errors.InvalidSidecar):
        await one.write("Notes/values.json", b'{"_name": "Notes", "half')
    for name in ("a.txt", "b.txt", "values.json"):
        one.unlink(f"Notes/{name}")
    one.rmdir("Notes")
    await restore(one, "Notes")
    assert await one.read("Notes/values.json") == b'{"_name": "Notes", "half'
    assert one.state("Notes") == "draft"


@simulated
async def test_files_that_were_never_downloaded_come_back_as_they_were(world: World) -> None:
    one = await world.syncing("one")
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"first")
    await world.go_on(14)
    two = await world.syncing("two")
    two.offline = True
    await two.remove_object("Notes")
    await world.go_on(1)
    (entry,) = await entries(two)
    assert (entry["files"], entry["elsewhere"]) == (1, 1), "the sidecar, and one that is elsewhere"
    await restore(two, "Notes")
    assert two.paths("Notes") == ["a.txt"]
    with pytest.raises(errors.Unreachable):
        await two.read("Notes/a.txt")
    two.offline = False
    await world.go_on(20)
    assert await two.files("Notes") == {"a.txt": b"first"}
    assert world.versions("Notes") == 1


@simulated
async def test_after_a_restart_the_agreed_files_come_back(world: World) -> None:
    """The mount ended between rm's files and rm's folder."""
    one, _ = await two_with_notes(world, "More")
    one.offline = True
    for name in ("a.txt", "b.txt"):
        one.unlink(f"Notes/{name}")
    await one.restart(clean=False)
    one.rmdir("Notes")
    await restore(one, "Notes")
    one.offline = False
    await world.go_on(20)
    assert await one.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}


@simulated
async def test_files_removed_long_before_their_object_stay_removed(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    one.unlink("Notes/a.txt")
    await world.go_on(60)
    one.unlink("Notes/b.txt")
    one.rmdir("Notes")
    await restore(one, "Notes")
    await world.go_on(40)
    assert await one.files("Notes") == await two.files("Notes") == {"b.txt": b"second"}


@simulated
async def test_the_name_may_be_taken_meanwhile(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    one.offline = True
    await one.remove_object("Notes")
    one.mkdir("Notes")
    await one.write("Notes/mine.txt", b"new")
    assert (await restore(one, "Notes"))["object"] == "Notes ~2"
    one.offline = False
    await world.go_on(60)
    assert one.names() == two.names() == ["More", "Notes", "Notes ~2"]
    found = sorted([await two.files("Notes"), await two.files("Notes ~2")], key=len)
    assert found == [{"mine.txt": b"new"}, {"a.txt": b"first", "b.txt": b"second"}]


# ---------------------------------------------------------------------------------------- while and after it is told


@simulated
async def test_restored_while_the_server_is_removing_it(world: World) -> None:
    """The deletion is on its way when the user changes their mind: what comes back is a new object."""
    one, two = await two_with_notes(world, "More")
    before = one.id("Notes")
    one.server.late = 5.0
    await one.remove_object("Notes")
    while not one.sync.busy:
        await world.go_on(0.5)
    await restore(one, "Notes")
    await world.go_on(90)
    assert before not in world.cloud.objects
    assert one.names() == two.names() == ["More", "Notes"]
    assert one.id("Notes") == two.id("Notes") != before
    assert await two.files("Notes") == await one.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    assert one.sync.pending() == 0


@simulated
async def test_a_step_that_was_planned_for_a_removal_does_not_remove_what_is_back(world: World) -> None:
    one, _ = await two_with_notes(world, "More")
    await one.remove_object("Notes")
    await restore(one, "Notes")
    with pytest.raises(errors.ChangedMeanwhile, match="planned anew"):
        await one.sync._do(one.record("Notes").key, ObjectVerb.DELETE)
    assert len(world.cloud.objects) == 2


@simulated
async def test_what_the_server_has_no_more_comes_back_as_a_new_object(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    before = one.id("Notes")
    await one.set_value("Notes", "k", [1, 1.0, True])
    await world.go_on(20)
    await one.remove_object("Notes")
    await world.go_on(20)
    assert two.names() == ["More"]
    (entry,) = await entries(one)
    assert entry["server_knows"]
    assert (await restore(one, "Notes"))["new"]
    await world.go_on(40)
    assert one.names() == two.names() == ["More", "Notes"]
    assert one.id("Notes") == two.id("Notes") != before
    assert await two.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    assert (await two.values("Notes"))["k"] == [1, 1.0, True]
    assert await entries(one) == []
    (left,) = await entries(two)
    assert left["why"] == "no longer on the server"


@simulated
async def test_placeholders_of_an_object_deleted_elsewhere_come_back(world: World) -> None:
    one, _ = await two_with_notes(world, "More")
    three = await world.syncing("three")
    await three.read("Notes/a.txt")
    await one.remove_object("Notes")
    await world.go_on(20)
    assert three.names() == ["More"]
    (entry,) = await entries(three)
    assert (entry["files"], entry["elsewhere"]) == (2, 1)
    restored = await restore(three, "Notes")
    assert restored["new"]
    assert await three.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    await world.go_on(30)
    assert one.names() == ["More", "Notes"]
    assert await one.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}


@simulated
async def test_placeholders_are_copied_on_the_storage_host_and_not_downloaded(world: World) -> None:
    one, _ = await two_with_notes(world, "More")
    three = await world.syncing("three")
    await one.remove_object("Notes")
    await world.go_on(20)
    three.forget_calls()
    await restore(three, "Notes")
    await world.go_on(30)
    assert three.calls["get"] == three.calls["put"] == 0
    assert await one.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}


@simulated
async def test_an_object_that_is_in_the_mount_again_is_not_overwritten(world: World) -> None:
    """Removed here, edited elsewhere: the edit brought it back, and the trash still has what was here."""
    one, two = await two_with_notes(world, "More")
    await two.write("Notes/a.txt", b"edited")
    await world.go_on(0.5)
    one.offline = True
    await one.write("Notes/b.txt", b"only here")
    await one.remove_object("Notes")
    one.offline = False
    await world.go_on(60)
    assert await one.read("Notes/a.txt") == b"edited"
    restored = await restore(one, "Notes")
    assert (restored["object"], restored["new"]) == ("Notes ~2", True)
    await world.go_on(40)
    assert one.names() == two.names() == ["More", "Notes", "Notes ~2"]
    assert await two.files("Notes") == {"a.txt": b"edited", "b.txt": b"second"}
    assert await two.files("Notes ~2") == {"a.txt": b"first", "b.txt": b"only here"}


@simulated
async def test_an_object_never_registered_comes_back(world: World) -> None:
    one = await world.syncing("one")
    one.mkdir("Short")
    await one.write("Short/a.txt", b"never sent")
    await one.remove_object("Short")
    await world.go_on(20)
    assert one.sync.pending() == 0
    assert (await restore(one, "Short"))["new"]
    await world.go_on(20)
    assert world.stored("Short") == {"a.txt": b"never sent"}


@simulated
async def test_what_is_no_longer_shared_comes_back_as_ones_own(world: World) -> None:
    await two_with_notes(world, "More")
    for name in ("Notes", "More"):
        share(world, name, "bob", Right.READ)
    bob = await world.syncing("bobs", user="bob")
    await bob.files("Notes")
    share(world, "Notes", "bob", Right.NONE)
    await world.go_on(14)
    assert bob.names() == ["More"]
    await restore(bob, "Notes")
    assert bob.record("Notes").right is Right.CREATE
    assert await bob.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    await world.go_on(30)
    assert len(world.cloud.listing("bob", bob.server.faults).objects) == 2
    assert len(world.cloud.listing(USER, bob.server.faults).objects) == 2


# ---------------------------------------------------------------------------------------- orphans


@simulated
async def test_an_object_gone_from_the_server_with_unsent_changes_becomes_a_new_one(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    two.offline = True
    await two.write("Notes/a.txt", b"unsent")
    await one.remove_object("Notes")
    await world.go_on(14)
    two.offline = False
    await world.go_on(60)
    assert "oaiofs trash restore" in two.error("Notes")
    await two.remove_object("Notes")
    await world.go_on(20)
    await restore(two, "Notes")
    await world.go_on(30)
    assert one.names() == ["More", "Notes"]
    assert await one.files("Notes") == {"a.txt": b"unsent", "b.txt": b"second"}
    assert two.error("Notes") == ""


# ---------------------------------------------------------------------------------------- kills


@simulated
async def test_a_kill_after_the_commit_of_leaving_and_of_coming_back(world: World) -> None:
    """Rows say one thing and the disk still the other: the next start carries out what was noted."""
    one, two = await two_with_notes(world, "More")
    await one.remove_object("Notes")
    kill = one.image("killed after rm")
    assert [entry["name"] for entry in await entries(kill)] == ["Notes"]
    assert kill.names() == ["More"]
    await restore(kill, "Notes")
    again = kill.image("killed after restore")
    assert again.names() == ["More", "Notes"]
    assert await again.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    assert await entries(again) == []
    await world.go_on(20)
    (left,) = (entry for entry in await entries(two) if entry["what"] == "object")
    assert two.names() == ["More"]
    await restore(two, left["entry"])
    after = two.image("killed after a new one")
    assert after.names() == ["More", "Notes"]
    assert await after.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    assert await entries(after) == []


@simulated_foreign
async def test_everything_holds_where_the_last_writer_wins(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    await one.remove_object("Notes")
    await restore(one, "Notes")
    await world.go_on(30)
    one.unlink("Notes/a.txt")
    await world.go_on(200)  # before, who brings the file back might be one who never saw that it was removed
    await restore(two, "Notes")
    await world.go_on(30)
    assert await one.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    await two.remove_object("Notes")
    await world.go_on(20)
    await restore(one, "Notes")
    await world.go_on(40)
    assert await two.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
