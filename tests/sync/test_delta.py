"""What a new version costs: copied on the host where that can be, sent where it can't, announced only when verified."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from oaiofs.core import stamps
from oaiofs.core.model import Outgoing, RemoteObject
from oaiofs.errors import Unreachable
from oaiofs.remote.memory_storage import StoredFile
from tests.devicekit import Device, LateServer, World, simulated

SIX = {f"d{number % 2}/{number}.txt": f"file {number}".encode() for number in range(6)}


async def with_six_files(world: World) -> Device:
    """A device whose object Notes has six files, in a version that is announced."""
    one = await world.syncing("one")
    one.mkdir("Notes")
    one.mkdir("Notes/d0")
    one.mkdir("Notes/d1")
    for path, data in SIX.items():
        await one.write(f"Notes/{path}", data)
    await world.go_on(20)
    assert world.stored("Notes") == SIX
    one.forget_calls()
    return one


def all_is_well(world: World, expected: dict[str, bytes], versions: int) -> None:
    assert world.stored("Notes") == expected
    assert world.versions("Notes") == versions
    assert world.strays() == set()


@simulated
async def test_one_value_of_an_object_with_files_is_three_calls(world: World) -> None:
    one = await with_six_files(world)
    await one.set_value("Notes", "n", 2)
    await world.go_on(5)
    all_is_well(world, SIX, 2)
    assert {call: number for call, number in one.calls.items() if call != "quota"} == {
        "copy": 1, "list_tree": 1, "upload": 1,
    }  # fmt: skip


@simulated
async def test_a_duplicated_file_is_copied(world: World) -> None:
    one = await with_six_files(world)
    await one.write("Notes/copy.txt", SIX["d0/0.txt"])
    await world.go_on(20)
    all_is_well(world, SIX | {"copy.txt": SIX["d0/0.txt"]}, 2)
    assert (one.calls["put"], one.calls["copy"]) == (0, 2)


@pytest.mark.parametrize(("copies", "copied", "sent"), [("files", 1 + 5, 1), ("nothing", 1, 6)])
@simulated
async def test_a_host_that_cannot_copy_it_all_gets_the_rest_sent(
    world: World, copies: str, copied: int, sent: int
) -> None:
    one = await with_six_files(world)
    one.hosts.faults.copies = copies  # type: ignore[assignment]
    await one.write("Notes/d0/0.txt", b"changed")
    await world.go_on(20)
    all_is_well(world, SIX | {"d0/0.txt": b"changed"}, 2)
    assert one.calls["put"] == sent
    assert one.calls["copy"] >= copied


@simulated
async def test_a_placeholder_is_fetched_for_a_host_that_cannot_copy(world: World) -> None:
    await with_six_files(world)
    two = await world.syncing("two")
    two.hosts.faults.copies = "nothing"
    await two.rename("Notes/d0/0.txt", "Notes/d0/new.txt")
    await world.go_on(20)
    expected = {path: data for path, data in SIX.items() if path != "d0/0.txt"} | {"d0/new.txt": SIX["d0/0.txt"]}
    all_is_well(world, expected, 2)
    assert two.calls["put"] == two.calls["get"] == 6


@simulated
async def test_a_folder_copy_that_broke_off_is_completed(world: World) -> None:
    one = await with_six_files(world)
    one.hosts.faults.half_copied = 1
    await one.set_value("Notes", "n", 2)
    await world.go_on(20)
    all_is_well(world, SIX, 2)
    assert one.calls["put"] == 0
    assert one.hosts.faults.raised["copy"] == 1


def begun(world: World, device: Device) -> str:
    """The folder of the version that the device is making."""
    record = device.record("Notes")
    assert record.pending is not None
    return f"{record.oaio_id}/{record.pending.stamp}"


@pytest.mark.parametrize("hashes", ["right", "none"])
@simulated
async def test_what_a_repeated_copy_finds_is_not_taken_for_its_own_result(world: World, hashes: str) -> None:
    """The answer was lost, and what is there when it is tried again is another file of the same size."""
    one = await with_six_files(world)
    one.hosts.faults.hashes = hashes  # type: ignore[assignment]
    one.hosts.faults.drop_answer("copy")
    await one.set_value("Notes", "n", 2)
    await world.go_on(2.1)
    assert one.hosts.faults.raised["copy"] == 1
    path = f"{begun(world, one)}/d0/0.txt"
    assert world.storage.files[path].content == b"file 0"
    world.storage.files[path] = StoredFile(b"FILE 0", 0)
    await world.go_on(20)
    all_is_well(world, SIX, 2)
    assert one.calls["put"] == 0


@simulated
async def test_a_lost_answer_on_a_host_without_hashes_costs_no_upload(world: World) -> None:
    one = await with_six_files(world)
    one.hosts.faults.hashes = "none"
    await one.write("Notes/d0/0.txt", b"changed")
    one.hosts.faults.drop_answer("copy")
    one.hosts.faults.drop_answer("put")
    await world.go_on(30)
    all_is_well(world, SIX | {"d0/0.txt": b"changed"}, 2)
    assert one.calls["put"] == 2


@simulated
async def test_another_devices_version_under_the_same_stamp_is_left_alone(world: World) -> None:
    one = await with_six_files(world)
    one.hosts.faults.latency = 5.0
    await one.set_value("Notes", "n", 2)
    await world.go_on(2.1)
    theirs = begun(world, one)
    world.storage.store(f"{theirs}/d0/0.txt", StoredFile(b"theirs", 0))
    one.hosts.faults.latency = 0.0
    await world.go_on(30)
    assert world.stored("Notes") == SIX
    assert world.announced("Notes").values["n"] == 2
    assert world.announced("Notes").stamp != theirs.rpartition("/")[2]
    assert world.stored_below(theirs) == {"d0/0.txt": b"theirs"}


@simulated
async def test_many_removals_and_renames_wait_for_each_other_only_four_at_a_time(world: World) -> None:
    one = await world.syncing("one")
    one.mkdir("Notes")
    for number in range(60):
        await one.write(f"Notes/{number}", f"{number}".encode())
    await world.go_on(20)
    for number in range(0, 20, 2):
        one.unlink(f"Notes/{number}")
    one.forget_calls()
    one.hosts.faults.latency = 1.0
    await world.go_on(2.1)
    begun_at = trio.current_time()
    while world.versions("Notes") == 1:
        await world.go_on(0.25)
    assert one.calls["remove"] == 10
    assert trio.current_time() - begun_at < 1 + 3 + 1 + 1.5, "one copy, three rounds of removals, one listing"


class MovingServer(LateServer):
    """One that gives a new object another stamp than it was registered with."""

    async def register(self, outgoing: Outgoing) -> RemoteObject:
        later = stamps.after(outgoing.stamp, stamps.to_datetime(outgoing.stamp), 1000)
        return await super().register(replace(outgoing, stamp=later))


@pytest.mark.parametrize("copies", ["folders", "nothing"])
@pytest.mark.parametrize("call", ["", "copy", "put", "list_tree", "remove", "register"])
@simulated
async def test_a_new_object_that_the_server_gave_another_stamp_has_its_files_there(
    world: World, call: str, copies: str
) -> None:
    """Also where what follows is interrupted."""
    one = await world.syncing("one")
    two = await world.syncing("two")
    one.server.__class__ = MovingServer  # none that knows rights on stored files
    one.hosts.user = None
    one.hosts.faults.copies = copies  # type: ignore[assignment]
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"first")
    await one.write("Notes/b.txt", b"second")
    await world.go_on(1)
    if call == "register":
        one.server.faults.drop_answer(call)
    elif call:
        one.hosts.faults.fail(call, Unreachable("cut"), times=5)
    await world.go_on(120)
    expected = {"a.txt": b"first", "b.txt": b"second"}
    all_is_well(world, expected, 1)
    assert await two.files("Notes") == await one.files("Notes") == expected
    assert one.sync.pending() == 0
    assert one.names() == two.names() == ["Notes"]
    assert one.conflicts() == two.conflicts() == []
