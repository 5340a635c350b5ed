"""How versions travel: what a push sends, and what a lost answer, a failure or another device does to it."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from oaiofs import errors
from oaiofs.transfer.local import Local
from oaiofs.vfs import files
from oaiofs.vfs.losses import write_all
from tests.devicekit import World, simulated, simulated_foreign
from tests.sync.stories import two_with_a_number

PUSH_CALLS = ("register", "upload", "list_objects", "list_tree", "put", "copy", "remove", "storage_account")


# ---------------------------------------------------------------------------------------- what is sent


@simulated
async def test_a_changed_file_is_the_only_one_sent(world: World) -> None:
    one, two = await two_with_a_number(world)
    await one.write("Notes/a.txt", b"changed")
    await world.go_on(14)
    assert one.calls["put"] == 1
    assert world.stored("Notes") == {"a.txt": b"changed", "b.txt": b"second"}
    assert world.versions("Notes") == 2
    assert two.calls["get"] == 0, "nobody has opened it yet"
    assert await two.read("Notes/a.txt") == b"changed"


@simulated
async def test_a_changed_value_sends_no_file(world: World) -> None:
    one, two = await two_with_a_number(world)
    await one.set_value("Notes", "n", 2)
    await world.go_on(14)
    assert one.calls["put"] == 0
    assert world.stored("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    assert (await two.values("Notes"))["n"] == 2
    assert await two.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    assert two.calls["get"] == 0


@simulated
async def test_a_renamed_file_is_neither_sent_nor_fetched(world: World) -> None:
    one, two = await two_with_a_number(world)
    one.mkdir("Notes/old")
    await one.rename("Notes/a.txt", "Notes/old/c.txt")
    await world.go_on(14)
    assert one.calls["put"] == 0
    assert one.calls["copy"] > 0
    assert world.stored("Notes") == {"old/c.txt": b"first", "b.txt": b"second"}
    assert await two.files("Notes") == {"old/c.txt": b"first", "b.txt": b"second"}
    assert two.calls["get"] == 0


@simulated
async def test_a_renamed_placeholder_keeps_its_bytes_on_the_servers(world: World) -> None:
    one, _ = await two_with_a_number(world)
    three = await world.syncing("three")
    await three.rename("Notes/a.txt", "Notes/z.txt")
    await world.go_on(14)
    assert (three.calls["put"], three.calls["get"]) == (0, 0)
    assert world.stored("Notes") == {"z.txt": b"first", "b.txt": b"second"}
    assert await three.read("Notes/z.txt") == b"first"
    assert await one.read("Notes/z.txt") == b"first"


@simulated
async def test_a_touch_and_equal_bytes_make_no_version(world: World) -> None:
    one, _ = await two_with_a_number(world)
    await one.write("Notes/a.txt", b"first")
    await one.save("Notes/b.txt", b"second")
    one.vfs.metadata.set_times(one.ino("Notes/a.txt"), 5, 5)
    await one.write("Notes/values.json", await one.read("Notes/values.json"))
    await world.go_on(14)
    assert world.versions("Notes") == 1
    assert one.sync.pending() == 0
    assert one.calls["upload"] == one.calls["put"] == 0


@simulated
async def test_the_files_own_time_goes_along(world: World) -> None:
    one, two = await two_with_a_number(world)
    await one.write("Notes/a.txt", b"changed")
    when = 1_700_000_000_123_000_000
    one.vfs.metadata.set_times(one.ino("Notes/a.txt"), None, when)
    await world.go_on(14)
    assert two.vfs.getattr(two.ino("Notes/a.txt")).mtime_ns == when
    assert one.vfs.getattr(one.ino("Notes/a.txt")).mtime_ns == when


@simulated
async def test_editors_own_files_stay_here(world: World) -> None:
    one, _ = await two_with_a_number(world)
    await one.write("Notes/.a.txt.swp", b"vim")
    await one.write("Notes/a.txt~", b"backup")
    await world.go_on(14)
    assert world.versions("Notes") == 1
    assert one.sync.pending() == 0
    assert await one.read("Notes/.a.txt.swp") == b"vim"


@simulated
async def test_a_base_that_was_removed_behind_our_back_is_sent_again(world: World) -> None:
    one, _ = await two_with_a_number(world)
    remote = world.announced("Notes")
    world.storage.remove(f"{remote.oaio_id}/{remote.stamp}")
    await one.write("Notes/a.txt", b"changed")
    await world.go_on(14)
    assert world.stored("Notes") == {"a.txt": b"changed", "b.txt": b"second"}


@simulated
async def test_names_that_no_storage_host_takes_are_reported_and_the_rest_goes(world: World) -> None:
    one, _ = await two_with_a_number(world)
    await one.write("Notes/bad:name", b"x")
    await one.write("Notes/a.txt", b"changed")
    await world.go_on(14)
    assert world.stored("Notes") == {"a.txt": b"changed", "b.txt": b"second"}
    assert "bad:name" in " ".join(one.sync.refused[one.record("Notes").key])
    assert await one.read("Notes/bad:name") == b"x"


@simulated
async def test_a_storage_that_keeps_other_bytes_is_not_announced(world: World) -> None:
    one, _ = await two_with_a_number(world)
    one.hosts.faults.hashes = "wrong"
    await one.write("Notes/a.txt", b"changed")
    await world.go_on(14)
    assert world.versions("Notes") == 1
    assert one.sync.pending() == 1
    one.hosts.faults.hashes = "right"
    await world.go_on(60)
    assert world.stored("Notes") == {"a.txt": b"changed", "b.txt": b"second"}
    assert world.strays() == set()


# ---------------------------------------------------------------------------------------- settle by compare-and-set


@simulated
async def test_a_write_during_the_upload_stays_dirty_and_follows(world: World) -> None:
    one, _ = await two_with_a_number(world)
    await one.write("Notes/a.txt", b"third")
    one.hosts.faults.latency = 5.0
    await world.go_on(2.06)
    assert one.state("Notes") == "pushing"
    await one.write("Notes/b.txt", b"fourth")
    one.hosts.faults.latency = 0.0
    await world.go_on(40)
    assert world.stored("Notes") == {"a.txt": b"third", "b.txt": b"fourth"}
    assert world.versions("Notes") == 3
    assert one.sync.pending() == 0


@simulated
async def test_a_value_saved_during_the_upload_follows(world: World) -> None:
    one, two = await two_with_a_number(world)
    await one.set_value("Notes", "n", 2)
    one.server.faults.latency = 3.0
    await world.go_on(2.06)
    assert one.state("Notes") == "pushing"
    await one.set_value("Notes", "n", 3)
    one.server.faults.latency = 0.0
    await world.go_on(40)
    assert world.announced("Notes").values["n"] == 3
    assert (await two.values("Notes"))["n"] == 3
    assert one.conflicts() == two.conflicts() == []


@simulated
async def test_only_a_state_that_the_file_really_had_goes_out(world: World) -> None:
    """A file that changes between its hashing and its snapshot is not announced under the old hash."""
    one, _ = await two_with_a_number(world)
    one.hosts.faults.hashes = "none"  # so that the host would not notice
    await one.write("Notes/a.txt", b"third")
    one.hosts.faults.latency = 5.0
    await world.go_on(2.06)
    await one.write("Notes/a.txt", b"fifth")
    await world.go_on(120)
    assert world.stored("Notes")["a.txt"] == b"fifth"
    assert world.versions("Notes") == 2, "what was begun as the third was never announced"
    assert world.strays() == set()


# ---------------------------------------------------------------------------------------- lost answers and failures


@pytest.mark.parametrize("lost", [True, False], ids=["answer lost", "refused"])
@pytest.mark.parametrize("call", PUSH_CALLS)
@pytest.mark.parametrize("new", [True, False], ids=["new", "changed"])
@simulated
async def test_a_failed_call_neither_doubles_nor_loses(world: World, call: str, lost: bool, new: bool) -> None:
    if new:
        one, two = await world.syncing("one"), await world.syncing("two")
        one.mkdir("Notes")
        before = 0
    else:
        one, two = await two_with_a_number(world)
        before = world.versions("Notes")
    await one.write("Notes/a.txt", b"changed")
    await one.write("Notes/b.txt", b"also")
    for faults in (one.server.faults, one.hosts.faults):
        if lost:
            faults.drop_answer(call)
        else:
            faults.fail(call, errors.ServerFault("it stumbles"))
    await world.go_on(120)
    assert one.names() == two.names() == ["Notes"]
    assert world.stored("Notes") == {"a.txt": b"changed", "b.txt": b"also"}
    assert await one.files("Notes") == await two.files("Notes") == {"a.txt": b"changed", "b.txt": b"also"}
    assert world.versions("Notes") == before + 1
    assert one.sync.pending() == 0
    assert one.conflicts() == two.conflicts() == []
    assert world.strays() == set()


@pytest.mark.parametrize("call", ["register", "upload", "put", "list_tree"])
@simulated
async def test_a_device_killed_in_the_middle_of_a_call_finishes_it_next_time(world: World, call: str) -> None:
    one, two = await two_with_a_number(world)
    if call == "register":
        one.mkdir("More")
        await one.write("More/c.txt", b"changed")
    name, path = ("More", "c.txt") if call == "register" else ("Notes", "a.txt")
    await one.write(f"{name}/{path}", b"changed")
    for faults in (one.server.faults, one.hosts.faults):
        faults.drop_answer(call)
    await world.go_on(2.06)  # takes effect, and nobody hears of it
    again = one.image("after the kill")
    await one.stop()
    assert again.sync.pending() == 1
    again.start()
    await world.go_on(60)
    assert world.stored(name)[path] == b"changed"
    assert await two.read(f"{name}/{path}") == b"changed"
    assert world.versions(name) == (1 if name == "More" else 2)
    assert world.strays() == set()
    assert again.conflicts() == two.conflicts() == []


# ---------------------------------------------------------------------------------------- conflicts on the server


@simulated
async def test_a_conflict_is_merged_and_sent_again(world: World) -> None:
    one, two = await two_with_a_number(world)
    await one.write("Notes/a.txt", b"of one")
    await two.write("Notes/b.txt", b"of two")
    await world.go_on(60)
    assert one.calls["upload"] + two.calls["upload"] == 3, "one of them was refused"
    expected = {"a.txt": b"of one", "b.txt": b"of two"}
    assert world.stored("Notes") == expected
    assert await one.files("Notes") == await two.files("Notes") == expected
    assert one.conflicts() == two.conflicts() == []
    assert world.strays() == set()


@simulated_foreign
async def test_a_version_announced_between_check_and_announcement_is_merged(world: World) -> None:
    """On a server that takes the last writer: two devices announce at the same moment."""
    one, two = await two_with_a_number(world)
    await one.set_value("Notes", "of one", 1)
    await two.set_value("Notes", "of two", 2)
    one.server.faults.latency = two.server.faults.latency = 0.5
    await world.go_on(120)
    expected = {"_name": "Notes", "n": 1, "of one": 1, "of two": 2}
    assert world.announced("Notes").values == expected
    assert await one.values("Notes") == await two.values("Notes") == expected
    assert world.strays() == set()


@simulated_foreign
async def test_a_whole_push_between_anothers_check_and_announcement_loses_nothing(world: World) -> None:
    """One looks, announces and looks again, while two's look is on its way; then two overwrites what it did not see."""
    one, two = await two_with_a_number(world)
    await one.set_value("Notes", "of one", 1)
    await one.write("Notes/a.txt", b"of one")
    await two.set_value("Notes", "of two", 2)
    two.server.late = 1.0
    await world.go_on(6)
    two.server.late = 0.0
    await world.go_on(60)
    assert world.announced("Notes").values == {"_name": "Notes", "n": 1, "of one": 1, "of two": 2}
    assert await one.files("Notes") == await two.files("Notes") == {"a.txt": b"of one", "b.txt": b"second"}


@simulated_foreign
async def test_a_foreign_server_is_looked_at_before_it_is_overwritten(world: World) -> None:
    one, two = await two_with_a_number(world)
    await one.set_value("Notes", "of one", 1)
    await world.go_on(2.06)
    await two.set_value("Notes", "of two", 2)
    await world.go_on(40)
    values = [dict(entry.wire["client_values"]) for entry in world.cloud.log if entry.action == "upload"]
    assert all("of one" in announced for announced in values), "it was never overwritten"
    assert world.announced("Notes").values["of two"] == 2


@pytest.mark.parametrize("skew", [30.0, 0.0, -30.0])
@simulated
async def test_clocks_that_differ_make_no_two_versions_of_one_stamp(world: World, skew: float) -> None:
    """A base from the future leaves two other devices with the same next moment after it."""
    one, two = await two_with_a_number(world)
    three = await world.syncing("three")
    one.skew = skew
    await one.write("Notes/a.txt", b"ahead")
    await world.go_on(14)
    await two.write("Notes/a.txt", b"of two")
    await three.write("Notes/b.txt", b"of three")
    await world.go_on(60)
    expected = {"a.txt": b"of two", "b.txt": b"of three"}
    assert world.stored("Notes") == expected
    for device in (one, two, three):
        assert await device.files("Notes") == expected
        assert device.conflicts() == []
    assert world.strays() == set()


@simulated
async def test_a_version_of_another_device_under_our_stamp_is_never_taken_for_ours(world: World) -> None:
    """What is pending here was not announced, but somebody else's version has its stamp by chance."""
    one, two = await two_with_a_number(world)
    one.offline = True
    await one.set_value("Notes", "of one", 1)
    await world.go_on(5)
    await two.set_value("Notes", "of two", 2)
    await world.go_on(5)
    record = one.record("Notes")
    theirs = world.announced("Notes")
    pending = replace(await two.transfer._next_version(record, {}), stamp=theirs.stamp)
    one.store.update_object(record.key, pending=replace(pending, values=record.values))
    one.offline = False
    await world.go_on(120)
    assert world.announced("Notes").values == {"_name": "Notes", "n": 1, "of one": 1, "of two": 2}


@simulated
async def test_a_file_renamed_while_another_is_hashed_keeps_its_own_content(world: World) -> None:
    """As log files are rotated; the other content is one that the storage host has, so that nothing would be sent."""
    one, two = await two_with_a_number(world)
    await one.write("Notes/d.txt", b"known to all")
    await world.go_on(20)
    await one.write("Notes/a.txt", b"an edit")
    await one.write("Notes/b.txt", b"an edit too")
    key = one.store.by_name["Notes"].key
    _, later = (path for path, node in one.store.attached(key).items() if node.dirty)
    threads = trio.to_thread.current_default_thread_limiter()
    tokens = [object() for _ in range(int(threads.available_tokens))]
    for token in tokens:
        threads.acquire_on_behalf_of_nowait(token)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Local(one.store, 30.0).hash_changed, key)
        await wait_all_tasks_blocked()
        await one.rename(f"Notes/{later}", "Notes/old.txt")
        await one.rename("Notes/d.txt", f"Notes/{later}")
        for token in tokens:
            threads.release_on_behalf_of(token)
    await world.go_on(40)
    expected = await one.files("Notes")
    assert expected["old.txt"].startswith(b"an edit")
    assert world.stored("Notes") == expected
    assert await two.files("Notes") == expected


@simulated
async def test_what_is_written_while_the_file_is_hashed_is_not_taken_for_sent(world: World) -> None:
    """A write that waits for the disk; a program that shares its handle closes; a newer version comes in."""
    one, two = await two_with_a_number(world)
    handle = await one.open_file("Notes/a.txt", os.O_RDWR)
    key, large = one.record("Notes").key, b"N" * 300_000
    disk = threading.Event()

    def slow(descriptor: int, data: bytes, offset: int) -> object:
        assert disk.wait(60)
        return write_all(descriptor, data, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "write_all", slow)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.vfs.files.write, handle, 0, large)
            await trio.lowlevel.checkpoint()
            one.vfs.files.flush(handle)
            await Local(one.store, 30.0).hash_changed(key)
            disk.set()
    await two.write("Notes/a.txt", b"theirs")
    await world.go_on(20)
    one.close_file(handle)
    await world.go_on(20)
    assert {b"theirs", large} <= set((await one.files("Notes")).values())
    assert world.stored("Notes") == await one.files("Notes") == await two.files("Notes")


@simulated
async def test_the_stamp_of_a_version_that_may_have_been_announced_never_gets_another_content(world: World) -> None:
    """The announcement is lost or late; the next try breaks off while storing; then the file is edited once more."""
    one, _ = await two_with_a_number(world)
    lost = errors.Unreachable("There is no network.")
    one.server.faults.fail("upload", lost)
    await one.write("Notes/a.txt", b"of the first try")
    while not one.server.faults.raised["upload"]:
        await world.go_on(0.1)
    announced = one.record("Notes").pending
    assert announced is not None
    one.hosts.faults.fail("list_tree", lost)
    while not one.hosts.faults.raised["list_tree"]:
        await world.go_on(0.1)
    assert one.record("Notes").pending == announced
    await one.write("Notes/a.txt", b"of the second try")
    await world.go_on(60)
    assert world.stored("Notes")["a.txt"] == b"of the second try"
    assert world.announced("Notes").stamp != announced.stamp
    assert world.strays() == set()


@simulated
async def test_a_file_that_is_cut_where_the_disk_lost_bytes_is_sent_as_it_is_then(world: World) -> None:
    """It was sent between the close(2) that told of the loss and the last one, which cuts it."""
    one, two = await two_with_a_number(world)
    handle = await one.open_file("Notes/a.txt", os.O_RDWR)
    await one.vfs.files.write(handle, 0, b"0123456789")
    one.vfs.files._losses.note(one.ino("Notes/a.txt"), 7, errors.NoSpace("the disk is full"))
    with pytest.raises(errors.NoSpace):
        one.vfs.files.flush(handle)
    await world.go_on(20)
    one.vfs.files.release(handle)
    await world.go_on(20)
    assert await one.read("Notes/a.txt") == b"0123456"
    assert world.stored("Notes") == await one.files("Notes") == await two.files("Notes")
