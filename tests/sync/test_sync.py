"""When versions travel: there and back, quiet times, listings that are late, and trouble on the way."""

from __future__ import annotations

import json
import os

import pytest

from oaiofs import errors
from tests.devicekit import PACE, USER, Device, World, simulated
from tests.sync.stories import two_with_notes

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


# ---------------------------------------------------------------------------------------- races with a listing


async def ask_for_a_late_listing(world: World, device: Device) -> None:
    """A listing that tells of now and comes in five seconds."""
    device.server.late = 5.0
    device.sync.watch.soon()
    await world.quiet()
    device.server.late = 0.0


@simulated
async def test_a_listing_asked_for_before_a_push_does_not_revert_it(world: World) -> None:
    one, two = await two_with_notes(world)
    await ask_for_a_late_listing(world, one)
    await one.set_value("Notes", "k", "mine")
    await world.go_on(4)
    assert world.announced("Notes").values["k"] == "mine"
    await world.go_on(2)
    assert await one.values("Notes") == {"_name": "Notes", "k": "mine"}
    assert one.base("Notes") == world.announced("Notes").stamp
    await world.go_on(40)
    assert await one.values("Notes") == await two.values("Notes") == {"_name": "Notes", "k": "mine"}
    assert world.versions("Notes") == 2
    assert one.conflicts() == []


@simulated
async def test_a_listing_asked_for_before_an_object_was_registered_does_not_bury_it(world: World) -> None:
    one, two = await two_with_notes(world)
    await ask_for_a_late_listing(world, one)
    one.mkdir("New")
    await world.go_on(4)
    assert len(world.cloud.objects) == 2
    await world.go_on(2)
    assert one.names() == ["New", "Notes"]
    assert os.listdir(one.root / "trash") == []
    await world.go_on(20)
    assert one.names() == two.names() == ["New", "Notes"]


@simulated
async def test_an_object_deleted_while_a_listing_is_on_its_way_does_not_come_back(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    await ask_for_a_late_listing(world, one)
    await one.remove_object("More")
    await world.go_on(4)
    assert len(world.cloud.objects) == 1
    await world.go_on(2)
    assert one.names() == ["Notes"]
    await world.go_on(20)
    assert one.names() == two.names() == ["Notes"]
    assert [entry.action for entry in world.cloud.log].count("delete") == 1


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
    assert one.error("Notes").startswith("You may not do that. Ask the owner")
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
    assert status["pending_since"].startswith("2026-03-01T00:00:")
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


@simulated
async def test_an_object_that_is_being_registered_is_not_missing_in_an_older_listing(world: World) -> None:
    """The answer to a question asked before comes after the server has it, and before that is noted here."""
    one = await world.syncing("one")
    one.server.faults.latency = 0.5
    one.mkdir("Notes")
    await world.during(lambda: one.sync.finish(60))
    assert one.sync.watch.brake == ""
    assert one.record("Notes").base_stamp is not None
