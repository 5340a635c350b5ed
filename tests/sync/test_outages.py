"""Outages and liars, on the twins: nothing is lost or doubled, progress is made, and what waits says so."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Literal

import pytest

from oaiofs import errors
from oaiofs.core.plan import ObjectVerb
from oaiofs.remote.memory import Faults
from tests.devicekit import USER, Device, World, simulated
from tests.sync.stories import two_with_a_number, two_with_notes

REFUSED = errors.Protocol("it refused the request (400)")
CUT = errors.Unreachable("The connection was cut.")
YEAR = 365 * 86_400.0


async def with_many_files(world: World, number: int = 100) -> Device:
    """A device with an object of many files that is not on the servers yet."""
    one = await world.syncing("one")
    one.mkdir("Big")
    for each in range(number):
        await one.write(f"Big/{each}", str(each).encode())
    return one


def many(number: int = 100) -> dict[str, bytes]:
    return {str(each): str(each).encode() for each in range(number)}


def seconds_waited(device: Device, name: str) -> float:
    """What the status says of how long the object waits."""
    (shown,) = device.status.whole(name)["objects"]
    return float(shown["retry_in"])


# ---------------------------------------------------------------------------------------- flaky storage


@simulated
async def test_a_storage_that_refuses_some_puts_gets_each_file_once(world: World) -> None:
    one = await with_many_files(world)
    one.hosts.faults.flaky("put", REFUSED, 0.05)
    await world.go_on(60)
    assert world.stored("Big") == many()
    refused = one.hosts.faults.raised["put"]
    assert refused > 0
    assert one.calls["put"] == 100 + refused, "no other file was sent again"
    assert one.calls["register"] == world.versions("Big") == 1
    assert one.error("Big") == ""


@pytest.mark.parametrize("after", [False, True], ids=["refused", "answer lost"])
@pytest.mark.parametrize("chance", [0.02, 0.3])
@simulated
async def test_progress_is_made_however_often_calls_fail(world: World, chance: float, after: bool) -> None:
    one = await with_many_files(world)
    for faults in (one.hosts.faults, one.server.faults):
        faults.flaky("*", CUT, chance, after=after)
    await world.go_on(600)
    for faults in (one.hosts.faults, one.server.faults):
        faults.scripted.clear()
    await world.go_on(400)  # an object waits for at most 300 s, and some more by chance
    assert world.stored("Big") == many()
    assert world.versions("Big") == 1
    assert one.calls["put"] <= 100 + one.hosts.faults.raised["put"]
    assert world.strays() == set()
    assert one.sync.pending() == 0


@simulated
async def test_a_version_that_broke_off_is_completed(world: World) -> None:
    one = await with_many_files(world)
    await world.go_on(1)
    one.hosts.faults.latency = 0.5
    await world.go_on(6)
    one.offline = True
    await world.go_on(60)
    sent = len(world.storage.files)
    assert 0 < sent < 100
    one.offline = False
    one.hosts.faults.latency = 0.0
    one.forget_calls()
    await world.go_on(120)
    assert world.stored("Big") == many()
    assert one.calls["put"] <= 100 - sent + 4, "those in the middle of it are sent again, no others"
    assert world.strays() == set()


@simulated
async def test_what_changed_while_a_version_was_broken_off_goes_out_as_it_is_now(world: World) -> None:
    one = await with_many_files(world, 20)
    await world.go_on(1)
    one.hosts.faults.latency = 0.5
    await world.go_on(2.5)
    one.offline = True
    await world.go_on(30)
    assert 0 < len(world.storage.files) < 20
    for path, data in (("0", b"new 0"), ("19", b"new 19"), ("fresh", b"fresh")):
        await one.write(f"Big/{path}", data)
    one.unlink("Big/1")
    await one.rename("Big/2", "Big/renamed")
    one.mkdir("Big/3d")
    await one.rename("Big/3", "Big/3d/in")
    one.offline = False
    one.hosts.faults.latency = 0.0
    await world.go_on(120)
    expected = many(20) | {"0": b"new 0", "19": b"new 19", "fresh": b"fresh", "renamed": b"2", "3d/in": b"3"}
    for gone in ("1", "2", "3"):
        del expected[gone]
    assert world.stored("Big") == expected
    assert world.versions("Big") == 1
    assert world.strays() == set()


@simulated
async def test_what_is_left_of_a_version_nobody_wants_any_more_is_cleared_away(world: World) -> None:
    one, _ = await two_with_a_number(world)
    one.hosts.faults.fail("list_tree", CUT, times=2)
    await one.write("Notes/a.txt", b"other")
    await world.go_on(2.2)
    assert world.strays() != set()
    await one.write("Notes/a.txt", b"first")
    await world.go_on(60)
    assert one.sync.pending() == 0
    assert world.versions("Notes") == 1
    assert world.strays() == set()


@simulated
async def test_a_version_of_another_device_comes_between_the_parts_of_ours(world: World) -> None:
    one, two = await two_with_a_number(world)
    one.hosts.faults.fail("put", CUT, times=12)
    await one.write("Notes/a.txt", b"of one")
    await world.go_on(4)
    await two.write("Notes/b.txt", b"of two")
    await two.set_value("Notes", "n", 2)
    await world.go_on(120)
    assert world.stored("Notes") == {"a.txt": b"of one", "b.txt": b"of two"}
    assert world.announced("Notes").values["n"] == 2
    assert await one.files("Notes") == await two.files("Notes") == world.stored("Notes")
    assert one.conflicts() == two.conflicts() == []
    assert world.strays() == set()


@pytest.mark.parametrize("spoil", ["half_sent", "hashes", "sizes"])
@simulated
async def test_a_file_that_was_not_stored_as_sent_is_sent_again_and_not_announced(world: World, spoil: str) -> None:
    one, two = await two_with_a_number(world)
    setattr(one.hosts.faults, spoil, 1000 if spoil == "half_sent" else "wrong")
    await one.write("Notes/a.txt", b"changed")
    await world.go_on(40)
    assert world.versions("Notes") == 1
    assert one.state("Notes") == "error"
    setattr(one.hosts.faults, spoil, 0 if spoil == "half_sent" else "right")
    await world.go_on(80)
    assert await two.read("Notes/a.txt") == b"changed"
    assert world.versions("Notes") == 2
    assert world.strays() == set()


@pytest.mark.parametrize("kind", [errors.Forbidden, errors.StorageFull, errors.Conflict, errors.RemoteNotFound])
@simulated
async def test_a_refusal_of_what_was_done_after_all_brings_nothing_back(
    world: World, kind: type[errors.RemoteError]
) -> None:
    one, two = await two_with_a_number(world)
    one.server.faults.fail("upload", kind("No."), after=True)
    await one.write("Notes/new.txt", b"1")
    await one.write("Notes/a.txt", b"2")
    await world.go_on(2.1)
    assert world.versions("Notes") == 2
    one.unlink("Notes/new.txt")
    await one.write("Notes/a.txt", b"3")
    await world.go_on(400)
    assert world.stored("Notes") == await two.files("Notes") == await one.files("Notes")
    assert await one.files("Notes") == {"a.txt": b"3", "b.txt": b"second"}
    assert one.conflicts() == two.conflicts() == []


@simulated
async def test_a_listing_that_lacks_an_object_is_no_reason_to_remove_a_version_of_it(world: World) -> None:
    one, two = await two_with_a_number(world)
    one.server.faults.fail("upload", errors.Forbidden("No."), after=True)
    await one.write("Notes/a.txt", b"changed")
    one.server.faults.listing = "empty"
    await world.go_on(2.1)
    assert world.versions("Notes") == 2
    assert world.stored("Notes") == {"a.txt": b"changed", "b.txt": b"second"}
    one.server.faults.listing = "complete"
    await world.go_on(400)
    assert await two.read("Notes/a.txt") == b"changed"
    assert world.versions("Notes") == 2
    assert one.sync.pending() == 0


# ---------------------------------------------------------------------------------------- parked


@pytest.mark.parametrize("kind", [errors.StorageFull, errors.Forbidden])
@simulated
async def test_what_is_parked_goes_on_when_something_of_it_changes(
    world: World, kind: type[errors.RemoteError]
) -> None:
    one, _ = await two_with_notes(world)
    one.server.faults.fail("upload", kind("It may not be."))
    await one.set_value("Notes", "k", 1)
    await world.go_on(20)
    assert (one.state("Notes"), one.calls["upload"]) == ("error", 1)
    assert seconds_waited(one, "Notes") > 200
    await one.set_value("Notes", "k", 2)
    await world.go_on(5)
    assert world.announced("Notes").values["k"] == 2
    assert one.error("Notes") == ""


@simulated
async def test_what_is_parked_and_changes_all_the_time_is_not_tried_all_the_time(world: World) -> None:
    one, _ = await two_with_notes(world)
    one.server.faults.fail("upload", errors.Forbidden("It may not be."), times=1000)
    for number in range(60):
        await one.set_value("Notes", "k", number)
        await world.go_on(1)
    assert one.calls["upload"] <= 6


@simulated
async def test_a_full_storage_lets_smaller_ones_through_and_the_big_one_when_there_is_room(world: World) -> None:
    one, two = await two_with_notes(world, "More", "Values")
    world.storage.total = world.storage.used + 500
    await one.write("Notes/big", b"x" * 1000)
    await one.write("More/small", b"y" * 10)
    await one.set_value("Values", "k", 1)
    await world.go_on(60)
    assert world.stored("More")["small"] == b"y" * 10
    assert world.announced("Values").values["k"] == 1
    assert "Make room there" in one.error("Notes")
    status = one.status.whole()
    assert (status["pending"], status["online"]) == (1, True)
    world.storage.total += 5000
    await world.go_on(40)
    assert world.stored("Notes")["big"] == b"x" * 1000, "well before the wait of a parked object is over"
    assert await two.read("Notes/big") == b"x" * 1000
    assert one.error("Notes") == ""


@simulated
async def test_who_waits_for_everything_is_told_what_is_parked_when_the_rest_is_sent(world: World) -> None:
    one, _ = await two_with_notes(world)
    one.server.faults.fail("upload", errors.Forbidden("It may not be."), times=2)
    await one.set_value("Notes", "k", 1)
    await world.go_on(2.2)
    assert one.state("Notes") == "error"
    one.hosts.faults.latency = 5.0
    one.mkdir("More")
    for number in range(20):  # by fours: later than the refusal
        await one.write(f"More/{number}", b"slow")

    async def refused() -> None:
        with pytest.raises(errors.Forbidden, match="Notes: It may not be"):
            await one.sync.finish()

    await world.during(refused)
    assert len(world.stored("More")) == 20


@simulated
async def test_a_file_made_smaller_goes_out_though_the_storage_is_full(world: World) -> None:
    one, _ = await two_with_notes(world)
    world.storage.total = world.storage.used + 500
    await one.write("Notes/big", b"x" * 1000)
    await world.go_on(20)
    await one.write("Notes/big", b"x" * 100)
    await world.go_on(5)
    assert world.stored("Notes")["big"] == b"x" * 100


# ---------------------------------------------------------------------------------------- backoff, shown and reset


@simulated
async def test_a_wait_is_shown_and_ended_by_who_asks_for_it(world: World) -> None:
    one, _ = await two_with_notes(world, "More")
    one.server.faults.fail("upload", errors.ServerFault("It stumbles."), times=8)
    await one.set_value("Notes", "k", 1)
    await world.go_on(100)
    (shown,) = one.status.whole("Notes")["objects"]
    assert shown["failures"] in (6, 7)
    assert 0 < shown["retry_in"] <= 1.2 * 64
    assert shown["error"] == "It stumbles."
    assert {"name": "Notes", "message": "It stumbles."} in one.status.whole()["errors"]
    (other,) = one.status.whole("More")["objects"]
    assert "retry_in" not in other
    begun = world.now()
    await world.during(one.sync.finish)
    assert world.announced("Notes").values["k"] == 1
    assert world.now() - begun < timedelta(seconds=5), "the count of failures began anew, and with it the backoff"


@simulated
async def test_the_next_look_at_the_server_is_shown_and_brought_on_by_who_asks(world: World) -> None:
    one, _ = await two_with_notes(world)
    one.offline = True
    await world.go_on(600)
    status = one.status.whole()
    assert status["failures"] >= 8
    assert 0 < status["next_look"] <= 72, "bounded: a minute and its jitter"
    one.offline = False
    await world.during(one.sync.finish)
    status = one.status.whole()
    assert (status["online"], status["failures"]) == (True, 0)
    assert 0 < status["next_look"] <= 10


@simulated
async def test_a_failed_sync_begins_the_looks_at_the_server_anew(world: World) -> None:
    one, _ = await two_with_notes(world)
    one.offline = True
    await world.go_on(600)

    async def unreachable() -> None:
        with pytest.raises(errors.Unreachable):
            await one.sync.finish(10)

    await world.during(unreachable)
    assert one.status.whole()["failures"] == 1
    assert one.status.whole()["next_look"] < 2


@simulated
async def test_nobody_is_kept_away_for_a_year(world: World) -> None:
    one, two = await two_with_notes(world)
    one.server.faults.fail("upload", errors.RateLimited("Come back next year.", YEAR))
    two.server.faults.fail("list_objects", errors.RateLimited("Come back next year.", YEAR))
    await one.set_value("Notes", "k", 1)
    await world.go_on(20)
    assert 3500 < seconds_waited(one, "Notes") <= 3600
    assert 3500 < two.status.whole()["next_look"] <= 3600
    await world.go_on(3700)
    assert (await two.values("Notes"))["k"] == 1


@simulated
async def test_a_server_that_asks_for_time_is_not_looked_at_before(world: World) -> None:
    one, _ = await two_with_notes(world)
    one.server.faults.fail("list_objects", errors.RateLimited("Too many requests.", 100.0))
    await world.go_on(12)
    one.forget_calls()
    await world.go_on(85)
    assert one.calls == {}
    await world.go_on(20)
    assert one.status.whole()["online"] is True


# ---------------------------------------------------------------------------------------- accounts and clocks


@simulated
async def test_a_changed_password_is_told_while_work_here_goes_on(world: World) -> None:
    one, two = await two_with_notes(world)
    await two.stop()
    world.cloud.users[USER].password = "another"
    await world.go_on(20)
    await one.write("Notes/a.txt", b"local")
    await world.go_on(600)
    status = one.status.whole()
    assert (status["online"], status["pending"]) == (False, 1)
    assert any("password" in each["message"] for each in status["errors"])
    assert one.calls["current_stamp"] + one.calls["list_objects"] < 12, "or the account may be locked"

    async def refused() -> None:
        with pytest.raises(errors.Unauthorized) as caught:
            await one.sync.finish(10)
        assert caught.value.exit_code == 4

    await world.during(refused)
    assert await one.read("Notes/a.txt") == b"local"
    world.cloud.users[USER].password = ""
    await world.during(one.sync.finish)
    assert world.stored("Notes")["a.txt"] == b"local"


@simulated
async def test_a_session_that_ends_in_the_middle_of_a_push_is_not_noticed(world: World) -> None:
    one, _ = await two_with_notes(world)
    await one.write("Notes/a.txt", b"changed")
    one.hosts.faults.latency = 1.0
    await world.go_on(3)
    assert one.state("Notes") == "pushing"
    one.server.faults.session_over = True
    await world.go_on(12)
    assert world.stored("Notes")["a.txt"] == b"changed"
    assert one.calls["login"] == 1
    assert one.error("Notes") == ""


@simulated
async def test_a_storage_password_that_is_changed_in_the_middle_of_a_push(world: World) -> None:
    one, _ = await two_with_notes(world)
    one.hosts.faults.fail("put", errors.Unauthorized("The storage does not accept us."), times=3)
    await one.write("Notes/a.txt", b"changed")
    await world.go_on(60)
    assert world.stored("Notes")["a.txt"] == b"changed"
    assert world.versions("Notes") == 2
    assert world.strays() == set()


@pytest.mark.parametrize("skew", [-80, 80])
@simulated
async def test_clocks_too_far_apart_are_told_while_work_here_goes_on(world: World, skew: int) -> None:
    one, two = await two_with_notes(world)
    one.server.faults.clock_skew = timedelta(seconds=skew)
    await world.go_on(3700)
    status = one.status.whole()
    assert status["online"] is False
    assert any("clock" in each["message"] for each in status["errors"])
    await one.write("Notes/a.txt", b"local")
    assert await one.read("Notes/a.txt") == b"local"
    await world.go_on(30)
    assert world.versions("Notes") == 1
    one.server.faults.clock_skew = timedelta(0)
    await world.go_on(100)
    assert await two.read("Notes/a.txt") == b"local"


# ---------------------------------------------------------------------------------------- listings


@simulated
async def test_a_listing_with_entries_twice_removes_nothing_and_brings_what_is_new(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    two.server.faults.listing = "duplicated"
    world.cloud.delete(USER, one.id("More"))
    await one.set_value("Notes", "k", 1)
    await world.go_on(60)
    assert two.names() == ["More", "Notes"], "it can't be told what such a listing lacks"
    assert (await two.values("Notes"))["k"] == 1
    assert "listed twice" in json.dumps(two.status.whole())
    two.server.faults.listing = "complete"
    await world.go_on(40)
    assert two.names() == ["Notes"]


@simulated
async def test_an_object_edited_after_it_was_planned_to_leave_stays(world: World) -> None:
    one, _ = await two_with_notes(world, "More")
    world.cloud.delete(USER, one.id("More"))
    await one.write("More/a.txt", b"edited just now")
    with pytest.raises(errors.ChangedMeanwhile):
        await one.sync._do(one.record("More").key, ObjectVerb.LEAVE)
    assert await one.read("More/a.txt") == b"edited just now"
    await world.go_on(40)
    assert one.record("More").orphan
    assert await one.read("More/a.txt") == b"edited just now"


@pytest.mark.parametrize("listing", ["empty", "partial"])
@simulated
async def test_a_storage_listing_that_lacks_files_removes_none_and_announces_none(
    world: World, listing: Literal["empty", "partial"]
) -> None:
    one, two = await two_with_a_number(world)
    two.hosts.faults.listing = one.hosts.faults.listing = listing
    await one.write("Notes/c.txt", b"third")
    await world.go_on(30)
    assert world.versions("Notes") == 1
    one.hosts.faults.listing = "complete"
    await world.go_on(90)
    assert world.versions("Notes") == 2
    assert two.paths("Notes") == ["a.txt", "b.txt"], "nothing removed, nothing half taken over"
    assert await two.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    two.hosts.faults.listing = "complete"
    await world.go_on(300)
    assert await two.files("Notes") == {"a.txt": b"first", "b.txt": b"second", "c.txt": b"third"}
    assert one.conflicts() == two.conflicts() == []
    assert world.strays() == set()


# ---------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("spoil", [{"flipped": True}, {"cut_after": 0}])
@simulated
async def test_wrong_bytes_are_an_error_for_the_reader_and_never_kept(world: World, spoil: dict[str, object]) -> None:
    one, two = await world.syncing("one"), await world.syncing("two")
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"first")
    await world.go_on(14)
    for name, value in spoil.items():
        setattr(two.hosts.faults, name, value)

    async def in_vain() -> None:
        for _ in range(2):
            with pytest.raises(errors.Corrupt) as caught:
                await two.read("Notes/a.txt")
            assert caught.value.errno == errors.OaiofsError.errno

    await world.during(in_vain)
    assert two.state("Notes") == "online-only"
    two.hosts.faults.flipped, two.hosts.faults.cut_after = False, None
    assert await two.read("Notes/a.txt") == b"first"


def test_the_twins_dice_fall_the_same_way_each_time() -> None:
    def course() -> list[bool]:
        faults, fallen = Faults(), []
        faults.flaky("put", CUT, 0.5)
        for _ in range(50):
            try:
                faults._raise("put", after=False)
                fallen.append(False)
            except errors.Unreachable:
                fallen.append(True)
        return fallen

    assert course() == course()
    assert 10 < sum(course()) < 40
