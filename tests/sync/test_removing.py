"""Objects that are removed here or elsewhere, rights that end, and the brakes before much goes."""

from __future__ import annotations

import os
import re

import pytest

from oaiofs import errors
from oaiofs.cache import trash as trash_rows
from oaiofs.core.model import Right
from oaiofs.core.plan import ObjectVerb
from oaiofs.verbs import Place, trash
from tests.devicekit import USER, Device, World, share, simulated
from tests.sync.stories import two_with_notes

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
async def test_who_waits_is_told_what_is_refused_by_name(world: World) -> None:
    one, _ = await two_with_notes(world, "More")
    one.server.faults.fail("delete", errors.Forbidden("no, you may not"), times=100)
    await one.remove_object("More")
    with pytest.raises(errors.Forbidden, match=r"^More: no, you may not"):
        await one.sync.finish(10)
    share(world, "Notes", "bob", Right.READ)
    bob = await world.syncing("bobs", user="bob")
    share(world, "Notes", "bob", Right.UPDATE)
    await world.go_on(14)
    await bob.set_value("Notes", "k", "of bob")
    share(world, "Notes", "bob", Right.READ)
    with pytest.raises(errors.AccessDenied, match=r"^Notes: you may only read this object now"):
        await bob.sync.finish(10)


async def parked_edit(world: World) -> tuple[Device, Device]:
    """Alice's device and bob's, whose edit of a file, the values and a new file may not be sent any more."""
    one, _ = await two_with_notes(world)
    share(world, "Notes", "bob", Right.UPDATE)
    bob = await world.syncing("bobs", user="bob")
    bob.offline = True
    await bob.write("Notes/a.txt", b"of bob")
    await bob.write("Notes/new.txt", b"new of bob")
    await bob.set_value("Notes", "k", "of bob")
    share(world, "Notes", "bob", Right.READ)
    bob.offline = False
    await world.go_on(20)
    assert "only read" in bob.error("Notes")
    return one, bob


async def take_back(world: World, bob: Device, path: str = "Notes", version: str = "") -> None:
    """What the error's own words tell bob to type, for one path."""
    [agreed] = re.findall(r"`oaiofs restore Notes --version (\d+)`", bob.error("Notes"))

    async def restoring() -> None:
        await bob.ask("restore", word=[path, path], version=version or agreed)

    await world.during(restoring)


@simulated
async def test_what_is_parked_for_a_right_can_be_taken_back(world: World) -> None:
    one, bob = await parked_edit(world)
    await one.write("Notes/b.txt", b"of alice")
    await world.go_on(30)
    assert await bob.read("Notes/b.txt") == b"second", "nothing comes in over what is parked"
    with pytest.raises(errors.AccessDenied):
        await take_back(world, bob, version=world.announced("Notes").stamp)
    await take_back(world, bob)
    await world.go_on(30)
    assert bob.error("Notes") == ""
    assert bob.sync.pending() == 0
    assert await bob.files("Notes") == {"a.txt": b"first", "b.txt": b"of alice"}
    assert await bob.values("Notes") == {"_name": "Notes"}
    kept = {path.name: path.read_bytes() for path in (bob.root / "trash").rglob("*.txt")}
    assert kept == {"a.txt": b"of bob", "new.txt": b"new of bob"}
    with pytest.raises(errors.AccessDenied):
        await bob.ask("restore", word=["Notes", "Notes"], version=bob.record("Notes").base_stamp)


@simulated
async def test_a_part_that_is_taken_back_leaves_the_rest_parked(world: World) -> None:
    _, bob = await parked_edit(world)
    for path in ("Notes/a.txt", "Notes/values.json"):
        await take_back(world, bob, path)
        await world.go_on(20)
        assert "only read" in bob.error("Notes")
    assert await bob.files("Notes") == {"a.txt": b"first", "b.txt": b"second", "new.txt": b"new of bob"}
    assert await bob.values("Notes") == {"_name": "Notes"}
    await take_back(world, bob)
    await world.go_on(20)
    assert (bob.error("Notes"), bob.sync.pending()) == ("", 0)


@simulated
async def test_a_touch_is_not_parked_for_a_right(world: World) -> None:
    one, _ = await two_with_notes(world)
    share(world, "Notes", "bob", Right.UPDATE)
    bob = await world.syncing("bobs", user="bob")
    await bob.write("Notes/a.txt", b"first")
    assert bob.sync.pending() == 1, "whether the bytes are others is not known yet"
    share(world, "Notes", "bob", Right.READ)
    bob.sync.watch.soon()
    await one.write("Notes/b.txt", b"of alice")
    await world.go_on(30)
    assert (bob.error("Notes"), bob.sync.pending()) == ("", 0)
    assert await bob.read("Notes/b.txt") == b"of alice"


@simulated
async def test_a_file_that_no_storage_host_takes_is_parked_for_a_right_too(world: World) -> None:
    await two_with_notes(world)
    share(world, "Notes", "bob", Right.UPDATE)
    bob = await world.syncing("bobs", user="bob")
    await bob.write("Notes/bad:name", b"of bob")
    share(world, "Notes", "bob", Right.READ)
    bob.sync.watch.soon()
    await world.go_on(20)
    assert "only read" in bob.error("Notes")
    assert bob.sync.pending() == 1


@simulated
async def test_what_was_stored_before_the_right_ended_holds_up_nothing(world: World) -> None:
    one, _ = await two_with_notes(world)
    share(world, "Notes", "bob", Right.UPDATE)
    bob = await world.syncing("bobs", user="bob")
    bob.server.faults.fail("upload", errors.Unreachable("the connection was cut"), times=100)
    await bob.write("Notes/a.txt", b"of bob")
    await world.go_on(3)
    begun = bob.record("Notes").pending
    assert begun is not None, "its files are stored, nobody was told of it"
    share(world, "Notes", "bob", Right.READ)
    await one.write("Notes/b.txt", b"of alice")
    await world.go_on(30)
    await take_back(world, bob)
    await world.go_on(30)
    assert (bob.error("Notes"), bob.sync.pending()) == ("", 0)
    assert await bob.files("Notes") == {"a.txt": b"first", "b.txt": b"of alice"}


@simulated
async def test_what_is_taken_back_while_it_is_looked_at_is_looked_at_again(world: World) -> None:
    _, bob = await parked_edit(world)
    before = bob.record("Notes")
    await take_back(world, bob, "Notes/a.txt")
    with pytest.raises(errors.ChangedMeanwhile):
        await bob.sync._steps.take(before, ObjectVerb.PARK)


@simulated
async def test_an_outage_in_which_a_right_ended_does_not_hold_up_what_is_said_of_it(world: World) -> None:
    await two_with_notes(world)
    share(world, "Notes", "bob", Right.UPDATE)
    bob = await world.syncing("bobs", user="bob")
    bob.server.faults.fail("upload", errors.ServerFault("503"), times=100)
    await bob.write("Notes/a.txt", b"of bob")
    await world.go_on(60)
    share(world, "Notes", "bob", Right.READ)
    assert bob.sync.trouble.left(bob.record("Notes").key) > 5
    bob.sync.watch.soon()
    await world.go_on(1)
    assert "only read" in bob.error("Notes")


@simulated
async def test_a_look_at_what_is_parked_that_fails_is_not_repeated_at_once(world: World) -> None:
    _, bob = await parked_edit(world)
    key = bob.record("Notes").key
    for step, waits in ((ObjectVerb.PARK, True), (ObjectVerb.PUSH, False)):
        bob.sync.trouble.failed(key, errors.Forbidden("no"), "no", step)
        [due] = [seconds for subject, _, seconds in bob.sync._to_do() if subject == key]
        assert (due > 60) is waits, step


@simulated
async def test_an_edit_that_arrived_after_all_is_not_taken_for_taken_back(world: World) -> None:
    one, _ = await two_with_notes(world)
    one.server.faults.drop_answer("upload")
    one.server.faults.fail("list_objects", errors.Unreachable("no network"), times=1000)
    await one.write("Notes/a.txt", b"changed")
    await world.go_on(14)
    assert world.stored("Notes")["a.txt"] == b"changed"
    await one.write("Notes/a.txt", b"first")
    one.server.faults.scripted.clear()
    with pytest.raises(errors.Conflict, match="had arrived after all"):
        await one.transfer.settle_unchanged(one.record("Notes").key)
    await world.go_on(120)
    assert await one.read("Notes/a.txt") == world.stored("Notes")["a.txt"] == b"first"


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
async def test_a_brake_that_holds_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    _, two = await two_with_notes(world, *(f"Object {number:02}" for number in range(20)))
    two.server.faults.listing = "partial"
    before = two.calls["list_objects"]
    await world.go_on(40)
    assert two.calls["list_objects"] > before + 1
    assert "10 of 21" in two.sync.watch.brake
    assert sum("no longer lists" in record.message for record in caplog.records) == 1
    two.server.faults.listing = "complete"
    await world.go_on(30)


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
async def test_a_mass_removal_is_believed_when_the_server_keeps_saying_it(world: World) -> None:
    many = [f"Object {number:02}" for number in range(9)]
    _, two = await two_with_notes(world, *many)
    two.hosts.faults.offline = True  # it can look, but not send
    await two.write("Notes/a.txt", b"unsent")
    two.mkdir("Mine")
    await two.write("Mine/b.txt", b"new")
    for oaio_id in list(world.cloud.objects):
        world.cloud.delete(USER, oaio_id)
    await world.go_on(50)
    assert len(two.names()) == 11
    assert "no longer lists 10 of 10" in two.sync.watch.brake
    await world.go_on(30)
    assert set(two.names()) >= {"Mine", "Notes"}, "what nobody else has stays"
    assert len(two.names()) == 2
    assert await two.read("Notes/a.txt") == b"unsent"
    assert two.sync.watch.brake == ""
    assert len(list((two.root / "trash").glob("Object *.json"))) == 9


@simulated
@pytest.mark.parametrize("interruption", ["another answer", "incomplete", "outage", "restart"])
async def test_what_interrupts_the_repetition_begins_it_anew(world: World, interruption: str) -> None:
    many = [f"Object {number:02}" for number in range(19)]
    _, two = await two_with_notes(world, *many)
    two.server.faults.listing = "empty"
    await world.go_on(45)
    assert two.sync.watch.brake
    match interruption:
        case "another answer":
            two.server.faults.listing = "partial"
            await world.go_on(11)
        case "incomplete":
            world.cloud.planted.append({"oaio_id": 5})
            await world.go_on(11)
            world.cloud.planted.clear()
        case "outage":
            two.offline = True
            await world.go_on(11)
            two.offline = False
        case "restart":
            await two.restart()
    two.server.faults.listing = "empty"
    await world.go_on(45)
    assert len(two.names()) == 20
    assert two.sync.watch.brake
    await world.go_on(60)
    assert two.names() == []


@simulated
@pytest.mark.parametrize("planted", [{"oaio_id": 5}, "twice"])
async def test_a_listing_that_is_not_whole_never_removes(world: World, planted: object) -> None:
    """Broken entries, and ones that are there twice."""
    _, two = await two_with_notes(world, "More")
    notes = world.announced("Notes").oaio_id
    more = world.cloud.objects[world.announced("More").oaio_id]
    world.cloud.planted.append({**more.wire, "csh_access_right": "C"} if planted == "twice" else planted)
    world.cloud.delete(USER, notes)
    await world.go_on(300)
    assert two.names() == ["More", "Notes"]
    assert two.sync.watch.skipped
    world.cloud.planted.clear()
    await world.go_on(20)
    assert two.names() == ["More"]


@simulated
async def test_a_handful_is_believed_the_second_time(world: World) -> None:
    _, two = await two_with_notes(world, "More")
    for oaio_id in list(world.cloud.objects):
        world.cloud.delete(USER, oaio_id)
    await world.go_on(9)
    assert two.names() == ["More", "Notes"]
    await world.go_on(13)
    assert two.names() == []


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
    await one.restart()
    await world.go_on(120)
    assert "6 of 10 objects were removed here" in one.sync.removal_brake, "a new mount is no yes"
    assert len(world.cloud.objects) == 10
    await one.set_value("Notes", "k", 1)
    await world.go_on(14)
    assert world.announced("Notes").values["k"] == 1, "edits go on"

    async def confirmed() -> None:
        await one.sync.finish(30, confirmed=True)

    await world.during(confirmed)
    assert len(world.cloud.objects) == 4
    assert one.sync.removal_brake == ""


@simulated
async def test_a_mass_deletion_here_goes_on_when_the_trash_is_emptied(world: World) -> None:
    many = [f"Object {number:02}" for number in range(9)]
    one, two = await two_with_notes(world, *many)
    for name in many[:7]:
        await one.remove_object(name)
    await world.go_on(40)
    assert len(world.cloud.objects) == 10
    place = Place(one.store, one.name)
    with pytest.raises(errors.Refused, match="--yes"):
        await trash.empty(place, {"names": [many[0]]})
    await trash.empty(place, {"names": [many[0]], "yes": True})
    await world.go_on(20)
    assert many[0] not in two.names(), "that one is meant"
    assert len(world.cloud.objects) == 9
    await trash.restore_(place, {"names": [many[1]]})
    await world.go_on(20)
    assert one.sync.removal_brake == "", "the five that are left are a handful"
    assert two.names() == ["Notes", *sorted([many[1], *many[7:]])]


@simulated
async def test_a_file_of_a_removed_object_can_still_be_synced_to_the_disk(world: World) -> None:
    one = await world.syncing("one")
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"first")
    handle = await one.open_file("Notes/a.txt")
    one.unlink("Notes/a.txt")
    other = await one.open_file("Notes/b.txt", os.O_RDWR | os.O_CREAT)
    trash_rows.remove(one.store, one.store.by_name["Notes"], even_full=True)
    for number in (handle, other):
        await one.vfs.files.fsync(number)
        one.close_file(number)
