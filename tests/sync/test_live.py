"""Learning of changes cheaply: requests that are held until something changes, and looks that grow rarer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import trio

from oaiofs import errors
from oaiofs.core.model import Right
from tests.devicekit import PACE, USER, Device, World, share, simulated, simulated_live

#: Looks at the server are of no help here: an hour until the next one.
SELDOM = replace(PACE, poll=3600.0)


async def two_live(world: World, *more: str) -> tuple[Device, Device]:
    """Two devices with the object Notes, and the objects *more*, that look at the server hardly ever."""
    one, two = await world.syncing("one", pace=SELDOM), await world.syncing("two", pace=SELDOM)
    for name in ("Notes", *more):
        one.mkdir(name)
    await one.write("Notes/a.txt", b"first")
    await world.go_on(10)
    assert two.names() == sorted(["Notes", *more])
    one.forget_calls()
    two.forget_calls()
    return one, two


def looks(device: Device) -> int:
    return device.calls["list_objects"] + device.calls["next_listing"] + device.calls["current_stamp"]


# ---------------------------------------------------------------------------------------- held requests


@simulated_live
async def test_a_change_shows_on_the_other_device_within_a_second(world: World) -> None:
    one, two = await two_live(world)
    for number in range(5):
        await one.write("Notes/a.txt", b"%d" % number)
        await world.go_on(PACE.quiet + 0.9)
        assert await two.read("Notes/a.txt") == b"%d" % number
        await two.set_value("Notes", "n", number)
        await world.go_on(PACE.quiet + 0.9)
        assert (await one.values("Notes"))["n"] == number


@simulated_live
async def test_an_idle_device_makes_about_one_request_a_minute(world: World) -> None:
    one, _ = await two_live(world)
    await world.go_on(600)
    assert 11 <= one.calls["next_listing"] <= 13
    assert sum(one.calls.values()) - one.calls["quota"] - one.calls["next_listing"] <= 1
    assert one.sync.watch.live
    assert one.status.whole()["live"]
    assert 0 < one.status.whole()["next_look"] <= 50


@simulated_live
async def test_a_share_and_its_end_show_at_once(world: World) -> None:
    await two_live(world, "More")
    share(world, "More", "bob", Right.READ)
    bob = await world.syncing("bobs", user="bob", pace=SELDOM)
    await world.go_on(5)
    for right, names in ((Right.READ, ["Notes"]), (Right.NONE, []), (Right.UPDATE, ["Notes"])):
        share(world, "Notes", "bob", right)
        await world.go_on(0.9)
        assert bob.names() == ["More", *names]


@simulated_live
async def test_what_others_do_costs_a_device_nothing(world: World) -> None:
    one, _ = await two_live(world)
    world.cloud.add_user("eve")
    eve = await world.syncing("eves", user="eve", pace=SELDOM)
    eve.mkdir("Secret")
    await world.go_on(60)
    assert looks(one) <= 2
    assert len(world.cloud.listing("eve", eve.server.faults).objects) == 1


@simulated_live
async def test_an_own_push_costs_one_listing_and_one_look_after_it(world: World) -> None:
    one, _ = await two_live(world)
    await world.go_on(1)
    one.forget_calls()
    for number in range(3):
        await one.set_value("Notes", "n", number)
        await world.go_on(10)
    assert one.calls["list_objects"] == 3
    assert one.calls["next_listing"] == 3


@simulated_live
async def test_a_burst_of_changes_elsewhere_is_no_burst_of_listings(world: World) -> None:
    one, two = await two_live(world)
    for number in range(100):
        two.mkdir(f"Object {number:02}")
    await world.go_on(30)
    assert len(one.names()) == 101
    assert looks(one) < 30


@simulated_live
async def test_sync_does_not_wait_for_what_is_held(world: World) -> None:
    one, two = await two_live(world)
    await world.go_on(20)
    begun = trio.current_time()
    await world.during(one.sync.finish)
    assert trio.current_time() - begun < 1
    assert one.sync.watch.failures == 0
    await two.set_value("Notes", "n", 1)
    await world.go_on(3)
    assert (await one.values("Notes"))["n"] == 1, "and it goes on to wait afterwards"


@simulated_live
async def test_the_end_of_a_mount_does_not_wait_for_what_is_held(world: World) -> None:
    one, two = await two_live(world)
    await world.go_on(20)
    begun = trio.current_time()
    await one.restart()
    assert trio.current_time() - begun < 1
    await two.set_value("Notes", "n", 1)
    await world.go_on(3)
    assert (await one.values("Notes"))["n"] == 1


@simulated_live
async def test_a_network_that_cuts_holds_is_no_outage_and_gets_shorter_ones(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = await two_live(world)
    one.server.faults.cut_holds = 30.0
    for _ in range(300):
        await world.go_on(1)
        assert one.sync.watch.online
        assert one.sync.watch.failures == 0
        assert one.status.whole()["errors"] == []
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    await two.set_value("Notes", "n", 1)
    await world.go_on(3)
    assert (await one.values("Notes"))["n"] == 1
    one.forget_calls()
    await world.go_on(250)
    assert one.calls["list_objects"] == 0, "holds of 25 seconds last"
    assert one.calls["next_listing"] == 10


@simulated_live
async def test_a_network_that_lets_no_hold_be_is_polled(world: World) -> None:
    await two_live(world)
    device = await world.syncing("polling")
    device.server.faults.cut_holds = 2.0
    await world.go_on(60)
    assert not device.sync.watch.live
    device.forget_calls()
    await world.go_on(100)
    assert device.calls["list_objects"] == 10
    assert device.calls["next_listing"] == 0
    assert device.sync.watch.online
    device.server.faults.cut_holds = float("inf")
    await world.go_on(600)
    assert device.sync.watch.live, "tried again after a while"


@simulated_live
async def test_another_network_is_tried_anew_at_once(world: World) -> None:
    await two_live(world)
    device = await world.syncing("moving")
    device.server.faults.cut_holds = 2.0
    await world.go_on(60)
    device.offline = True
    await world.go_on(30)
    device.server.faults.cut_holds, device.offline = float("inf"), False
    await world.go_on(60)
    assert device.sync.watch.live


@simulated_live
async def test_a_server_with_no_seat_left_is_not_asked_again_at_once(world: World) -> None:
    await two_live(world)
    device = await world.syncing("late")
    world.cloud.holds = 0.0  # as it says: 55, and then it does not
    device.forget_calls()
    await world.go_on(200)
    assert looks(device) <= 1 + 2 * 200 / PACE.poll


@simulated_live
async def test_an_outage_during_a_hold_is_found_out_and_recovered_from(world: World) -> None:
    one, two = await two_live(world)
    one.offline = True
    await world.go_on(60)
    assert one.sync.watch.online is False
    await two.set_value("Notes", "n", 1)
    await world.go_on(10)
    one.offline = False
    one.sync.watch.soon()
    await world.go_on(3)
    assert (await one.values("Notes"))["n"] == 1
    assert one.sync.watch.live


@simulated_live
async def test_an_error_of_a_step_ends_the_hold_for_a_look(world: World) -> None:
    one, _ = await two_live(world)
    one.server.faults.drop_answer("upload")
    await one.set_value("Notes", "n", 1)
    await world.go_on(PACE.quiet + 5)
    assert one.sync.pending() == 0
    assert world.versions("Notes") == 2


@simulated_live
async def test_a_doubtful_listing_is_looked_at_again_soon_and_not_waited_for(world: World) -> None:
    many = [f"Object {number:02}" for number in range(9)]
    one, two = await two_live(world, *many)
    for oaio_id in list(world.cloud.objects):
        world.cloud.delete(USER, oaio_id)
    await world.go_on(10)
    assert "no longer lists 10 of 10" in two.sync.watch.brake
    assert not two.sync.watch.live
    assert len(two.names()) == 10
    await world.go_on(80)
    assert two.names() == one.names() == []
    assert two.sync.watch.live


@simulated_live
async def test_a_change_elsewhere_right_after_an_own_one_is_not_missed(world: World) -> None:
    """The listing that the hold brings counts for nothing of what was announced from here meanwhile."""
    one, two = await two_live(world)
    one.server.late = 1.0
    await world.go_on(60)
    await one.set_value("Notes", "n", 1)
    await world.go_on(PACE.quiet + 0.3)
    await two.set_value("Notes", "m", 2)
    await world.go_on(8)
    for device in (one, two):
        assert {**await device.values("Notes"), "_name": ""} == {"_name": "", "n": 1, "m": 2}


@simulated_live
async def test_the_clocks_are_compared_now_and_then_all_the_same(world: World) -> None:
    one, _ = await two_live(world)
    await world.go_on(7300)
    assert one.calls["current_stamp"] == 2
    one.server.faults.clock_skew = timedelta(hours=2)
    await world.go_on(4000)
    assert isinstance(one.sync.watch.outage, errors.ClockSkew)


# ---------------------------------------------------------------------------------------- looks that grow rarer


async def _alone(world: World, *, battery: bool = False) -> Device:
    pace = replace(PACE, stretch=True, on_battery=lambda: battery)
    device = await world.syncing("one", pace=pace)
    device.mkdir("Notes")
    await world.go_on(40)
    return device


async def _looks_in(world: World, device: Device, seconds: float) -> int:
    device.forget_calls()
    await world.go_on(seconds)
    return device.calls["list_objects"]


@simulated
async def test_while_nothing_happens_looks_grow_rarer_up_to_a_bound(world: World) -> None:
    device = await _alone(world)
    assert await _looks_in(world, device, 100) == 10
    await world.go_on(400)
    assert await _looks_in(world, device, 400) == 10
    assert 0 < device.status.whole()["next_look"] <= 40


@simulated
@pytest.mark.parametrize("by", ["here", "there"])
async def test_a_change_brings_the_usual_pace_back(world: World, by: str) -> None:
    device = await _alone(world)
    await world.go_on(1000)
    if by == "here":
        begun = device.calls["list_objects"]
        await device.write("Notes/a.txt", b"x")
        await world.go_on(0.1)
        assert device.calls["list_objects"] == begun + 1, "who begins to work wants to see what is new"
    else:
        other = await world.syncing("two")
        other.mkdir("More")
        await world.go_on(60)
        assert device.names() == ["More", "Notes"]
    assert await _looks_in(world, device, 100) >= 10


@simulated
async def test_on_battery_looks_are_half_as_many(world: World) -> None:
    device = await _alone(world, battery=True)
    assert await _looks_in(world, device, 100) == 5
    await world.go_on(1000)
    assert await _looks_in(world, device, 800) == 10


@simulated
async def test_who_does_not_want_that_keeps_the_pace(world: World) -> None:
    device = await world.syncing("one")
    await world.go_on(1000)
    assert await _looks_in(world, device, 100) == 10


# ---------------------------------------------------------------------------------------- requests besides


@simulated
async def test_a_storage_that_does_not_tell_its_room_is_asked_less_and_less(world: World) -> None:
    device = await world.syncing("one")
    device.hosts.faults.fail("quota", errors.ServerFault("no"), times=1000)
    await device.restart()
    device.forget_calls()
    await world.go_on(1000)
    assert 3 <= device.calls["quota"] <= 8
