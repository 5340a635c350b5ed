"""The brakes before much goes at once, from the server or from here."""

from __future__ import annotations

import functools

import pytest
import trio

from oaiofs import errors
from oaiofs.verbs import Place, trash
from tests.devicekit import USER, Device, World, simulated
from tests.sync.stories import two_with_notes


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


async def of_many_removed(world: World, number: int) -> tuple[Device, Device, list[str]]:
    """Two devices with ten objects, and so many of them just removed on the first; the names of all but Notes."""
    many = [f"Object {place:02}" for place in range(9)]
    one, two = await two_with_notes(world, *many)
    for name in many[:number]:
        await one.remove_object(name)
    return one, two, many


@simulated
async def test_a_mass_deletion_here_waits_for_the_users_word(world: World) -> None:
    one, two, _ = await of_many_removed(world, 6)
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
async def test_the_users_word_is_not_taken_back_by_another_who_waits(world: World) -> None:
    one, _, _ = await of_many_removed(world, 6)
    one.server.faults.latency = 1.0

    async def impatient() -> None:
        with pytest.raises(errors.TimedOut):
            await one.sync.finish(0.1)

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(functools.partial(one.sync.finish, 60, confirmed=True))
            nursery.start_soon(impatient)

    await world.during(both)
    assert len(world.cloud.objects) == 4


@simulated
async def test_a_mass_deletion_here_goes_on_when_the_trash_is_emptied(world: World) -> None:
    one, two, many = await of_many_removed(world, 7)
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
