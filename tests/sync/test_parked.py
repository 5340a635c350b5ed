"""What was changed here before the right to change it ended: kept, said, and taken back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oaiofs import errors
from oaiofs.core.model import Right
from oaiofs.core.plan import ObjectVerb
from tests.devicekit import Device, World, share, simulate, simulated
from tests.sync.stories import two_with_notes


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


@pytest.mark.parametrize("more", [False, True])
def test_a_draft_that_can_not_be_corrected_any_more_is_taken_back(tmp_path: Path, more: bool) -> None:
    async def test(world: World) -> None:
        await two_with_notes(world)
        share(world, "Notes", "bob", Right.UPDATE)
        bob = await world.syncing("bobs", user="bob")
        with pytest.raises(errors.InvalidSidecar):
            await bob.write("Notes/values.json", b"{bad")
        assert bob.state("Notes") == "draft"
        if more:
            await bob.write("Notes/a.txt", b"of bob")
        share(world, "Notes", "bob", Right.READ)
        bob.sync.watch.soon()
        await world.go_on(20)
        assert bob.state("Notes") == "error", "correct it, as is said of a draft, is what bob can't do"
        await take_back(world, bob)
        await world.go_on(20)
        assert (bob.error("Notes"), bob.sync.pending(), bob.sync.needing_user()) == ("", 0, 0)
        assert await bob.values("Notes") == {"_name": "Notes"}

    simulate(tmp_path, test)


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
    while bob.sync.trouble.left(bob.record("Notes").key) < 5:
        await world.go_on(1)
    share(world, "Notes", "bob", Right.READ)
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
