"""When versions travel, and what becomes of edits on several devices."""

from __future__ import annotations

import json
import os

import pytest

from oaiofs import errors
from oaiofs.core.model import Right
from oaiofs.errors import InvalidSidecar
from tests.devicekit import PACE, USER, Device, World, share, simulated


async def two_with_notes(world: World, *more: str) -> tuple[Device, Device]:
    """Two devices with the object Notes, and the objects *more*."""
    one, two = await world.syncing("one"), await world.syncing("two")
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"first")
    await one.write("Notes/b.txt", b"second")
    for name in more:
        one.mkdir(name)
    await world.go_on(20)
    assert two.names() == sorted(["Notes", *more])
    await two.files("Notes")
    one.forget_calls()
    two.forget_calls()
    return one, two


def the_conflict_copy(device: Device, name: str = "Notes") -> str:
    found = [path for path in device.paths(name) if "(conflict " in path]
    assert len(found) == 1, device.paths(name)
    return found[0]


# ---------------------------------------------------------------------------------------- there and back


@simulated
async def test_an_object_reaches_the_other_device_and_an_edit_comes_back(world: World) -> None:
    one, two = await world.syncing("one"), await world.syncing("two")
    one.mkdir("Notes")
    one.mkdir("Notes/deep")
    await one.write("Notes/deep/a.txt", b"hello")
    await one.write("Notes/empty", b"")
    await world.go_on(14)
    assert world.stored("Notes") == {"deep/a.txt": b"hello", "empty": b""}
    assert two.names() == ["Notes"]
    assert await two.files("Notes") == {"deep/a.txt": b"hello", "empty": b""}
    await two.set_value("Notes", "zahl", 2**70)
    await world.go_on(14)
    assert await one.values("Notes") == {"_name": "Notes", "zahl": 2**70}
    assert world.strays() == set()


@simulated
async def test_a_new_object_never_shows_empty_or_half(world: World) -> None:
    one, two = await world.syncing("one"), await world.syncing("two")
    two.hosts.faults.latency = 4.0
    one.mkdir("Notes")
    for number in range(5):
        await one.write(f"Notes/{number}", b"x")
    seen = set()
    for _ in range(60):
        await world.go_on(0.5)
        seen.add(len(two.paths("Notes")) if "Notes" in two.names() else None)
    assert seen == {None, 5}


@simulated
async def test_a_deleted_file_goes_and_its_emptied_folder_with_it(world: World) -> None:
    one, two = await two_with_notes(world)
    one.mkdir("Notes/d")
    await one.write("Notes/d/only", b"x")
    await world.go_on(14)
    assert two.folders("Notes") == ["d"]
    one.unlink("Notes/d/only")
    one.unlink("Notes/b.txt")
    await world.go_on(14)
    assert two.paths("Notes") == ["a.txt"]
    assert two.folders("Notes") == []
    assert one.folders("Notes") == ["d"], "empty folders stay on the machine that has them"


@simulated
async def test_a_renamed_object_is_the_same_object(world: World) -> None:
    one, two = await two_with_notes(world)
    ino, oaio_id = two.ino("Notes"), one.id("Notes")
    await one.rename("Notes", "Diary")
    await world.go_on(14)
    assert two.names() == ["Diary"]
    assert two.ino("Diary") == ino
    assert world.announced("Diary").oaio_id == oaio_id
    assert await two.values("Diary") == {"_name": "Diary"}


@simulated
async def test_what_the_kernel_may_remember_is_announced(world: World) -> None:
    one, two = await two_with_notes(world)
    root, notes = 1, two.ino("Notes")
    two.announced.clear()
    await one.write("Notes/a.txt", b"changed")
    await one.write("Notes/new", b"x")
    one.unlink("Notes/b.txt")
    await one.set_value("Notes", "k", 1)
    await one.rename("Notes", "Diary")
    await world.go_on(14)
    names = {(notes, name) for name in ("a.txt", "b.txt", "new", "values.json")}
    assert names | {(root, "Notes"), (root, "Diary")} <= set(two.announced)


@simulated
async def test_nothing_to_do_costs_one_request_per_poll(world: World) -> None:
    one, _ = await two_with_notes(world)
    await world.go_on(0.5)
    one.forget_calls()
    await world.go_on(100)
    assert one.calls["list_objects"] == 10
    assert sum(one.calls.values()) - one.calls["quota"] == 10


# ---------------------------------------------------------------------------------------- quiet time


@simulated
async def test_a_push_waits_for_the_quiet_time(world: World) -> None:
    one, _ = await two_with_notes(world)
    for number in range(5):
        await one.write("Notes/a.txt", b"%d" % number)
        await world.go_on(1.5)
    assert world.versions("Notes") == 1
    await world.go_on(0.6)
    assert world.versions("Notes") == 2
    assert world.stored("Notes")["a.txt"] == b"4"


@simulated
async def test_but_not_for_ever(world: World) -> None:
    one, _ = await two_with_notes(world)
    for number in range(int(PACE.longest)):
        await one.write("Notes/a.txt", b"%d" % number)
        await world.go_on(1.0)
    await world.go_on(1.0)
    assert world.versions("Notes") == 2


@simulated
async def test_a_file_in_the_middle_of_being_written_waits_and_the_rest_goes(world: World) -> None:
    one, two = await two_with_notes(world)
    handle = await one.open_file("Notes/a.txt", os.O_RDWR)
    await one.vfs.files.write(handle, 0, b"HALF")
    await one.write("Notes/b.txt", b"whole")
    await world.go_on(14)
    assert world.stored("Notes") == {"a.txt": b"first", "b.txt": b"whole"}
    assert one.sync.pending() == 1
    assert await two.read("Notes/a.txt") == b"first"
    await one.vfs.files.write(handle, 4, b"WHOLE")
    one.close_file(handle)
    await world.go_on(40)
    assert world.stored("Notes")["a.txt"] == b"HALFWHOLE"
    assert one.sync.pending() == 0


@simulated
async def test_an_editors_save_by_removing_and_writing_anew_is_one_version(world: World) -> None:
    one, two = await two_with_notes(world)
    one.unlink("Notes/a.txt")
    await world.go_on(0.5)
    await one.write("Notes/a.txt", b"saved")
    await world.go_on(14)
    assert world.versions("Notes") == 2
    assert await two.read("Notes/a.txt") == b"saved"


# ---------------------------------------------------------------------------------------- values and drafts


@simulated
async def test_different_values_are_merged(world: World) -> None:
    one, two = await two_with_notes(world)
    await one.set_value("Notes", "one", {"a": 1})
    await two.set_value("Notes", "two", [1.0, 2])
    await world.go_on(60)
    expected = {"_name": "Notes", "one": {"a": 1}, "two": [1.0, 2]}
    assert await one.values("Notes") == await two.values("Notes") == world.announced("Notes").values == expected
    assert one.conflicts() == two.conflicts() == []


@simulated
async def test_of_the_same_value_the_servers_stands_and_the_other_is_recorded(world: World) -> None:
    one, two = await two_with_notes(world)
    await one.set_value("Notes", "k", "of one")
    await world.go_on(3)
    await two.set_value("Notes", "k", "of two")
    await world.go_on(60)
    assert await one.values("Notes") == await two.values("Notes") == {"_name": "Notes", "k": "of one"}
    (record,) = two.conflicts()
    sides = json.loads(record.path), json.loads(record.mine), json.loads(record.theirs)
    assert sides == (["k"], "of two", "of one")
    assert one.conflicts() == []
    assert two.state("Notes") == "conflict"
    shown = two.status.conflicts()["conflicts"]
    assert [(one["object"], one["path"], one["mine"]) for one in shown] == [("Notes", ["k"], "of two")]


@simulated
async def test_a_sidecar_that_is_no_json_is_kept_as_a_draft_and_sent_to_nobody(world: World) -> None:
    one, two = await two_with_notes(world)
    with pytest.raises(InvalidSidecar):
        await one.write("Notes/values.json", b'{"_name": "Notes",\n "k": oops}')
    assert await one.read("Notes/values.json") == b'{"_name": "Notes",\n "k": oops}'
    assert one.state("Notes") == "draft"
    assert "line 2" in one.error("Notes").lower()
    await world.go_on(20)
    assert world.versions("Notes") == 1
    # what comes in meanwhile is merged with the draft once it is finished
    await two.set_value("Notes", "of two", 2)
    await two.write("Notes/a.txt", b"of two")
    await world.go_on(20)
    assert await one.read("Notes/a.txt") == b"of two"
    assert b"oops" in await one.read("Notes/values.json")
    await one.write("Notes/values.json", b'{"_name": "Notes", "k": 1}')
    await world.go_on(20)
    expected = {"_name": "Notes", "k": 1, "of two": 2}
    assert await one.values("Notes") == await two.values("Notes") == expected
    assert one.state("Notes") == "synced"


@simulated
async def test_a_draft_survives_a_restart(world: World) -> None:
    one, _ = await two_with_notes(world)
    with pytest.raises(InvalidSidecar):
        await one.save("Notes/values.json", b"{nonsense")
    for clean in (True, False):
        await one.restart(clean=clean)
        assert await one.read("Notes/values.json") == b"{nonsense"
        assert one.state("Notes") == "draft"


@simulated
async def test_an_open_sidecar_is_not_refreshed_under_the_editor(world: World) -> None:
    one, two = await two_with_notes(world)
    handle = await one.open_file("Notes/values.json", os.O_RDWR)
    ino = one.ino("Notes/values.json")
    await two.set_value("Notes", "of two", 2)
    await world.go_on(20)
    assert one.ino("Notes/values.json") == ino
    text = json.dumps({"_name": "Notes", "of one": 1}).encode()
    await one.vfs.truncate(ino, 0, handle)
    await one.vfs.files.write(handle, 0, text)
    one.close_file(handle)
    await world.go_on(30)
    expected = {"_name": "Notes", "of one": 1, "of two": 2}
    assert await one.values("Notes") == await two.values("Notes") == expected
    assert one.conflicts() == two.conflicts() == []


@simulated
async def test_a_sidecar_only_read_is_refreshed_at_once_under_a_new_inode(world: World) -> None:
    one, two = await two_with_notes(world)
    ino = one.ino("Notes/values.json")
    handle = await one.open_file("Notes/values.json", os.O_RDONLY)
    await two.set_value("Notes", "of two", 2)
    await world.go_on(20)
    assert one.ino("Notes/values.json") != ino
    assert json.loads(await one.vfs.files.read(handle, 0, 1000)) == {"_name": "Notes"}
    one.close_file(handle)


# ---------------------------------------------------------------------------------------- files on both devices


@simulated
async def test_of_the_same_file_both_are_kept_on_both_devices(world: World) -> None:
    one, two = await two_with_notes(world)
    await one.write("Notes/a.txt", b"of one")
    await world.go_on(3)
    await two.write("Notes/a.txt", b"of two")
    await world.go_on(60)
    copy = the_conflict_copy(two)
    assert copy.startswith("a (conflict two ")
    assert copy.endswith(".txt")
    expected = {"a.txt": b"of one", copy: b"of two", "b.txt": b"second"}
    assert await one.files("Notes") == await two.files("Notes") == world.stored("Notes") == expected
    assert [(record.kind, record.path, record.copy) for record in two.conflicts()] == [("file", "a.txt", copy)]
    assert one.conflicts() == []


@simulated
async def test_equal_edits_are_no_conflict(world: World) -> None:
    one, two = await two_with_notes(world)
    await one.write("Notes/a.txt", b"the same")
    await two.write("Notes/a.txt", b"the same")
    await one.set_value("Notes", "k", 1)
    await two.set_value("Notes", "k", 1)
    await world.go_on(60)
    assert await one.files("Notes") == await two.files("Notes") == {"a.txt": b"the same", "b.txt": b"second"}
    assert one.conflicts() == two.conflicts() == []


@simulated
async def test_an_edit_wins_against_a_deletion(world: World) -> None:
    one, two = await two_with_notes(world)
    one.unlink("Notes/a.txt")
    await two.write("Notes/a.txt", b"edited")
    two.unlink("Notes/b.txt")
    await one.write("Notes/b.txt", b"edited too")
    await world.go_on(60)
    expected = {"a.txt": b"edited", "b.txt": b"edited too"}
    assert await one.files("Notes") == await two.files("Notes") == world.stored("Notes") == expected


@simulated
async def test_both_make_an_object_of_one_name(world: World) -> None:
    one, two = await world.syncing("one"), await world.syncing("two")
    for device in (one, two):
        device.mkdir("Notes")
        await device.write("Notes/mine", device.name.encode())
    await world.go_on(30)
    assert one.names() == two.names() == ["Notes", "Notes ~2"]
    assert await one.read("Notes/mine") == b"one"
    assert await two.read("Notes/mine") == b"two"
    assert await one.read("Notes ~2/mine") == b"two"
    assert one.sync.pending() == two.sync.pending() == 0


@simulated
async def test_who_has_a_replaced_file_open_for_reading_keeps_it(world: World) -> None:
    one, two = await two_with_notes(world)
    handle = await two.open_file("Notes/a.txt", os.O_RDONLY)
    await one.write("Notes/a.txt", b"newer")
    await world.go_on(14)
    assert await two.vfs.files.read(handle, 0, 100) == b"first"
    assert await two.read("Notes/a.txt") == b"newer"
    two.close_file(handle)
    assert await two.files("Notes") == {"a.txt": b"newer", "b.txt": b"second"}


@simulated
async def test_a_displaced_file_that_is_written_comes_back_as_a_conflict_copy(world: World) -> None:
    one, two = await two_with_notes(world)
    handle = await two.open_file("Notes/a.txt", os.O_RDWR)
    await one.write("Notes/a.txt", b"newer")
    await world.go_on(14)
    assert await two.read("Notes/a.txt") == b"newer"
    await two.vfs.files.write(handle, 0, b"LATE!")
    await world.go_on(14)
    two.close_file(handle)
    copy = the_conflict_copy(two)
    assert await two.read(f"Notes/{copy}") == b"LATE!"
    await world.go_on(30)
    expected = {"a.txt": b"newer", copy: b"LATE!", "b.txt": b"second"}
    assert await one.files("Notes") == await two.files("Notes") == world.stored("Notes") == expected
    assert os.listdir(two.root / "detached") == []


@simulated
async def test_a_displaced_file_that_is_not_written_is_dropped(world: World) -> None:
    one, two = await two_with_notes(world)
    handle = await two.open_file("Notes/a.txt", os.O_RDWR)
    await one.write("Notes/a.txt", b"newer")
    await world.go_on(14)
    two.close_file(handle)
    assert await two.files("Notes") == {"a.txt": b"newer", "b.txt": b"second"}
    assert os.listdir(two.root / "detached") == []
    await world.go_on(14)
    assert world.versions("Notes") == 2
    assert two.conflicts() == []


@simulated
async def test_a_displaced_file_that_was_written_before_a_kill_comes_back(world: World) -> None:
    one, two = await two_with_notes(world)
    handle = await two.open_file("Notes/a.txt", os.O_RDWR)
    await one.write("Notes/a.txt", b"newer")
    await world.go_on(14)
    await two.vfs.files.write(handle, 0, b"LATE!")
    again = two.image("after the kill")
    copy = the_conflict_copy(again)
    assert await again.read(f"Notes/{copy}") == b"LATE!"
    assert os.listdir(again.root / "detached") == []


# ---------------------------------------------------------------------------------------- races with a listing


@simulated
async def test_a_listing_asked_for_before_a_push_does_not_revert_it(world: World) -> None:
    one, two = await two_with_notes(world)
    await one.set_value("Notes", "k", "mine")
    one.server.faults.latency = 1.5  # the poll at 30 s is under way while the push is made and announced
    await world.go_on(60)
    assert await one.values("Notes") == {"_name": "Notes", "k": "mine"}
    assert await two.values("Notes") == {"_name": "Notes", "k": "mine"}
    assert world.versions("Notes") == 2
    assert one.conflicts() == []


@simulated
async def test_a_listing_asked_for_before_an_object_was_registered_does_not_bury_it(world: World) -> None:
    one, two = await two_with_notes(world)
    one.sync.watch.soon()
    await world.quiet()
    before = one.calls["list_objects"]
    one.mkdir("New")
    await world.go_on(2.2)
    one.server.faults.latency = 4.0  # a slow listing
    one.sync.watch.soon()
    await world.quiet()
    one.server.faults.latency = 0.0
    one.mkdir("Newer")
    await world.go_on(3)
    assert one.calls["list_objects"] > before
    await world.go_on(40)
    assert one.names() == two.names() == ["New", "Newer", "Notes"]
    assert os.listdir(one.root / "trash") == []


@simulated
async def test_an_object_removed_while_a_listing_is_on_its_way_does_not_come_back(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    await one.remove_object("More")
    await world.go_on(1)
    one.server.faults.latency = 2.0
    one.sync.watch.soon()
    await world.quiet()
    one.server.faults.latency = 0.0
    await world.go_on(40)
    assert one.names() == two.names() == ["Notes"]
    assert [entry.action for entry in world.cloud.log].count("delete") == 1


# ---------------------------------------------------------------------------------------- removing


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
async def test_a_right_that_is_taken_away_parks_what_is_unsent(world: World) -> None:
    one, _ = await two_with_notes(world, "More")
    share(world, "Notes", "bob", Right.UPDATE)
    share(world, "More", "bob", Right.UPDATE)
    bob = await world.syncing("bobs", user="bob")
    bob.offline = True
    await bob.write("Notes/a.txt", b"of bob")
    await bob.set_value("More", "k", "of bob")
    share(world, "Notes", "bob", Right.READ)
    bob.offline = False
    await world.go_on(120)
    assert world.stored("Notes")["a.txt"] == b"first"
    assert await bob.read("Notes/a.txt") == b"of bob"
    assert "only read" in bob.error("Notes")
    assert world.announced("More").values["k"] == "of bob", "the others go on"
    share(world, "Notes", "bob", Right.UPDATE)
    await world.go_on(60)
    assert world.stored("Notes")["a.txt"] == b"of bob"
    assert bob.error("Notes") == ""
    assert await one.read("Notes/a.txt") == b"of bob"


@simulated
async def test_an_unshared_object_leaves(world: World) -> None:
    await two_with_notes(world, "More")
    for name in ("Notes", "More"):
        share(world, name, "bob", Right.READ)
    bob = await world.syncing("bobs", user="bob")
    share(world, "Notes", "bob", Right.NONE)
    await world.go_on(14)
    assert bob.names() == ["More"]


# ---------------------------------------------------------------------------------------- brakes


@simulated
async def test_an_empty_listing_is_refused_and_shown(world: World) -> None:
    _, two = await two_with_notes(world, "More")
    two.server.faults.listing = "empty"
    await world.go_on(9)
    two.sync.watch.soon()
    await world.quiet()
    two.server.faults.listing = "complete"
    assert two.names() == ["More", "Notes"]
    assert "no longer lists 2 of 2" in two.sync.watch.brake
    assert any("no longer lists" in one["message"] for one in two.status.whole()["errors"])
    await world.go_on(30)
    assert two.sync.watch.brake == ""
    assert two.names() == ["More", "Notes"]


@simulated
async def test_a_partial_listing_is_refused_and_edits_go_on(world: World) -> None:
    many = [f"Object {number:02}" for number in range(20)]
    _, two = await two_with_notes(world, *many)
    two.server.faults.listing = "partial"
    two.sync.watch.soon()
    await world.go_on(0.5)
    assert "10 of 21" in two.sync.watch.brake
    assert len(two.names()) == 21
    two.server.faults.listing = "complete"
    await two.set_value("Object 07", "k", 1)
    await world.go_on(14)
    assert world.announced("Object 07").values["k"] == 1
    assert two.sync.watch.brake == ""
    assert len(two.names()) == 21


@simulated
async def test_the_user_releases_the_listing_brake(world: World) -> None:
    _, two = await two_with_notes(world, "More")
    for oaio_id in list(world.cloud.objects):
        world.cloud.delete(USER, oaio_id)

    async def unconfirmed() -> None:
        with pytest.raises(errors.Refused, match="no longer lists"):
            await two.sync.finish(10)

    async def confirmed() -> None:
        await two.sync.finish(10, confirmed=True)

    await world.during(unconfirmed)
    assert two.names() == ["More", "Notes"]
    await world.during(confirmed)
    assert two.names() == []


@simulated
async def test_a_mass_deletion_here_waits_for_the_users_word(world: World) -> None:
    many = [f"Object {number:02}" for number in range(9)]
    one, two = await two_with_notes(world, *many)
    for name in many[:6]:
        await one.remove_object(name)
    await world.go_on(40)
    assert len(two.names()) == 10
    assert "6 of 10 objects were removed here" in one.sync.removal_brake
    await one.set_value("Notes", "k", 1)
    await world.go_on(14)
    assert world.announced("Notes").values["k"] == 1, "edits go on"

    async def confirmed() -> None:
        await one.sync.finish(30, confirmed=True)

    await world.during(confirmed)
    assert len(world.cloud.objects) == 4
    assert one.sync.removal_brake == ""


# ---------------------------------------------------------------------------------------- trouble


@simulated
async def test_a_full_storage_parks_one_object_and_not_the_rest(world: World) -> None:
    one, _ = await two_with_notes(world, "More")
    world.storage.total = world.storage.used + 100
    await one.write("Notes/big", b"x" * 1000)
    await one.set_value("More", "k", 1)
    await world.go_on(40)
    assert world.announced("More").values["k"] == 1
    assert one.state("Notes") == "error"
    assert "full" in one.error("Notes")
    assert one.calls["put"] == 1, "no use in trying again soon"
    assert world.strays() == set()
    world.storage.total = 0
    await world.go_on(400)
    assert world.stored("Notes")["big"] == b"x" * 1000
    assert one.error("Notes") == ""


@simulated
async def test_a_refused_upload_parks_one_object_and_not_the_rest(world: World) -> None:
    one, _ = await two_with_notes(world, "More")
    one.server.faults.fail("upload", errors.Forbidden("You may not do that."))
    await one.set_value("Notes", "k", 1)
    await world.go_on(2.06)
    await one.set_value("More", "k", 1)
    await world.go_on(40)
    assert world.announced("More").values["k"] == 1
    assert one.error("Notes") == "You may not do that."
    assert one.sync.pending() == 1
    await world.go_on(400)
    assert world.announced("Notes").values["k"] == 1


@simulated
async def test_as_long_as_the_server_asks_nothing_is_tried(world: World) -> None:
    one, _ = await two_with_notes(world)
    one.server.faults.fail("upload", errors.RateLimited("Too many requests.", 100.0))
    await one.set_value("Notes", "k", 1)
    await world.go_on(95)
    assert one.calls["upload"] == 1
    await world.go_on(30)
    assert world.announced("Notes").values["k"] == 1


@simulated
async def test_what_fails_is_tried_less_and_less_often(world: World) -> None:
    one, _ = await two_with_notes(world)
    one.server.faults.fail("upload", errors.ServerFault("it stumbles"), times=6)
    await one.set_value("Notes", "k", 1)
    await world.go_on(30)
    assert 3 <= one.calls["upload"] <= 6
    await world.go_on(60)
    assert world.announced("Notes").values["k"] == 1
    assert one.error("Notes") == ""


@simulated
async def test_hostile_objects_are_reported_while_the_others_go_on(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    good = dict(world.cloud.objects[one.id("Notes")].wire)
    world.cloud.planted += [
        "nonsense",
        {**good, "oaio_id": "../../etc", "client_stamp": "now"},
        {**good, "oaio_id": "hostile", "csh_access_right": "C", "client_values": {"_file_paths": ["../evil", "/abs"]}},
    ]
    await one.set_value("Notes", "k", 1)
    await world.go_on(20)
    assert (await two.values("Notes"))["k"] == 1
    assert {"More", "Notes"} <= set(two.names())
    assert len(two.sync.watch.skipped) >= 2
    shown = json.dumps(two.status.whole())
    assert "left out of the listing" in shown
    inside = {os.path.join(folder, name) for folder, _, names in os.walk(world.folder) for name in names}
    assert not any("evil" in path or path.endswith("/abs") for path in inside)
    # An incomplete listing says nothing about what it lacks.
    world.cloud.delete(USER, one.id("More"))
    await world.go_on(40)
    assert "More" in two.names()
    world.cloud.planted.clear()
    await world.go_on(40)
    assert "More" not in two.names()


# ---------------------------------------------------------------------------------------- offline


@simulated
async def test_offline_everything_waits_and_follows_by_itself(world: World) -> None:
    one, two = await two_with_notes(world)
    one.offline = True
    await world.go_on(14)
    await one.write("Notes/a.txt", b"offline")
    one.mkdir("Made offline")
    one.unlink("Notes/b.txt")
    await world.go_on(100)
    status = one.status.whole()
    assert status["online"] is False
    assert status["pending"] == 2
    assert status["pending_since"] < status["pending_since"][:0] + "2026-03-02"
    assert one.calls["put"] == 0
    one.offline = False
    await world.go_on(80)
    assert world.stored("Notes") == {"a.txt": b"offline"}
    assert two.names() == ["Made offline", "Notes"]
    assert one.status.whole()["pending"] == 0
    assert one.status.whole()["pending_since"] is None


@simulated
async def test_a_device_that_starts_offline_shows_and_takes_everything(world: World) -> None:
    one, two = await two_with_notes(world)
    one.offline = True
    await one.restart()
    assert one.names() == ["Notes"]
    assert await one.read("Notes/a.txt") == b"first"
    await one.write("Notes/a.txt", b"offline")
    await world.go_on(20)
    await one.restart(clean=False)
    one.offline = False
    await world.go_on(80)
    assert await two.read("Notes/a.txt") == b"offline"


@simulated
async def test_finish_returns_when_all_is_sent_and_fetched(world: World) -> None:
    one, two = await two_with_notes(world)
    await two.set_value("Notes", "of two", 2)
    await world.during(two.sync.finish)
    await one.write("Notes/a.txt", b"of one")
    await world.during(one.sync.finish)
    assert world.stored("Notes")["a.txt"] == b"of one"
    assert (await one.values("Notes"))["of two"] == 2


@simulated
async def test_finish_says_what_keeps_it(world: World) -> None:
    one, _ = await two_with_notes(world)
    one.offline = True

    async def unreachable() -> None:
        with pytest.raises(errors.Unreachable):
            await one.sync.finish(10)

    await world.during(unreachable)
    one.offline = False
    await world.go_on(80)
    one.server.faults.fail("upload", errors.Forbidden("You may not do that."))
    await one.set_value("Notes", "k", 1)

    async def forbidden() -> None:
        with pytest.raises(errors.OaiofsError, match=r"Notes: You may not do that\."):
            await one.sync.finish(10)

    await world.during(forbidden)
    one.hosts.faults.latency = 100
    await one.write("Notes/a.txt", b"slow")

    async def slow() -> None:
        with pytest.raises(errors.TimedOut):
            await one.sync.finish(5)

    await world.during(slow)
