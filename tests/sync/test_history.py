"""Old versions on whole devices: what is shown and told of them, and how they compare."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import trio

from oaiofs import errors
from oaiofs.remote.memory_storage import StoredFile
from tests.devicekit import Device, World, simulated, simulated_foreign
from tests.sync.oldversions import NEW, OLD, ask, shown, stamps, two_versions

# --------------------------------------------------------------------------------------------- what there is


@simulated
async def test_versions_with_their_files_and_values_and_what_changed(world: World) -> None:
    _, two = await two_versions(world)
    old, new = stamps(world)
    answer = await ask(world, two, "versions", "Notes")
    assert [one["stamp"] for one in answer["versions"]] == [new, old]
    newest, oldest = answer["versions"]
    assert (newest["files"], newest["bytes"], newest["current"]) == (2, 13, True)
    assert (newest["user"], newest["device"]) == ("alice", "one")
    changes = {"added": ["new.txt"], "removed": ["d/deep.bin"], "changed": ["a.txt"], "values": ["x", "y"], "more": 0}
    assert newest["changes"] == changes
    assert (oldest["files"], oldest["current"], oldest["changes"]["added"]) == (2, False, ["a.txt", "d/deep.bin"])
    assert await shown(two, old) == {**OLD, "values.json": b'{\n  "_name": "Notes",\n  "x": [\n    1,\n    2\n  ]\n}\n'}
    assert await shown(two, new) == {**NEW, "values.json": b'{\n  "_name": "Notes",\n  "y": 1\n}\n'}
    of_file = await ask(world, two, "versions", "Notes/new.txt")
    assert [(one["stamp"], one["changes"]["added"]) for one in of_file["versions"]] == [(new, ["new.txt"])]
    assert [one["stamp"] for one in (await ask(world, two, "versions", "Notes/values.json"))["versions"]] == [new, old]


@simulated
async def test_which_versions_there_are_costs_two_small_requests_and_is_kept(world: World) -> None:
    _, two = await two_versions(world)
    two.forget_calls()
    tree = two.vfs.history
    top = two.vfs.lookup(two.ino("Notes"), ".versions").ino
    assert two.calls == {}, "the entry itself asks nobody"
    for _ in range(3):
        assert len((await tree.listing(top)).entries) == 2
    assert {name: two.calls[name] for name in two.calls if name != "list_objects"} == {
        "announced_versions": 1, "list_folders": 1,
    }  # fmt: skip


@simulated
async def test_values_alone_are_versions_too(world: World) -> None:
    one = await world.syncing("one")
    one.mkdir("Plain")
    await world.go_on(20)
    await one.set_value("Plain", "k", 1)
    await world.go_on(20)
    answer = await ask(world, one, "versions", "Plain")
    assert [(told["files"], told["changes"]["values"]) for told in answer["versions"]] == [(0, ["k"]), (0, ["_name"])]
    first = answer["versions"][1]["stamp"]
    assert await shown(one, first, "Plain") == {"values.json": b'{\n  "_name": "Plain"\n}\n'}
    await ask(world, one, "restore", "Plain", version=first)
    assert await one.values("Plain") == {"_name": "Plain"}
    await world.go_on(20)
    assert world.announced("Plain").values == {"_name": "Plain"}
    assert len((await ask(world, one, "versions", "Plain"))["versions"]) == 3


@simulated
async def test_a_version_begun_and_never_announced_is_none(world: World) -> None:
    one, two = await two_versions(world)
    real = stamps(world)
    oaio_id = world.announced("Notes").oaio_id
    for stamp in (f"{int(real[0]) + 1}", "20990101000000000000", "no stamp", "20200101000000000000"):
        world.storage.store(f"{oaio_id}/{stamp}/half", StoredFile(b"half", 0))
    for device in (one, two):
        told = await ask(world, device, "versions", "Notes")
        assert [version["stamp"] for version in told["versions"]] == real[::-1]
    plan = await ask(world, one, "prune", "Notes", keep=1, days=0)
    assert [entry["stamp"] for entry in plan["would_remove"]] == real[:1], "one may be on its way"


@simulated_foreign
async def test_elsewhere_what_this_device_has_seen_tells_the_values(world: World) -> None:
    one, two = await two_versions(world)
    old, new = stamps(world)
    oaio_id = world.announced("Notes").oaio_id
    world.storage.store(f"{oaio_id}/20990101000000000000/half", StoredFile(b"half", 0))
    for device in (one, two):
        answer = await ask(world, device, "versions", "Notes")
        assert [(told["stamp"], told["values_known"]) for told in answer["versions"]] == [(new, True), (old, True)]
        assert json.loads((await shown(device, old))["values.json"]) == {"_name": "Notes", "x": [1, 2]}
    late = await world.syncing("late")
    answer = await ask(world, late, "versions", "Notes")
    assert [(told["stamp"], told["values_known"]) for told in answer["versions"]] == [(new, True), (old, False)]
    assert await shown(late, old) == OLD
    done = await ask(world, late, "restore", "Notes", version=old)
    assert (done["restored_files"], done["removed_files"], done["values_known"]) == (2, 1, False)
    assert await late.values("Notes") == {"_name": "Notes", "y": 1}
    with pytest.raises(errors.NotFound, match="known neither"):
        await ask(world, late, "restore", "Notes/values.json", version=old)
    await world.go_on(30)
    assert world.stored("Notes") == OLD


@simulated_foreign
async def test_hostile_names_in_old_versions_are_left_out(world: World) -> None:
    one, _ = await two_versions(world)
    oaio_id = world.announced("Notes").oaio_id
    old = "20250101000000000000"
    for path in ("good", "a/b", "a", ".versions/x", "..", "../x", "x" * 300, "\x07", "values.json", "d//e", "/abs"):
        world.storage.files[f"{oaio_id}/{old}/{path}"] = StoredFile(path.encode(), 0)
    world.storage.make_folder(f"{oaio_id}/{old}")
    assert await shown(one, old) == {"a": b"a", "good": b"good", "values.json": b"values.json"}
    done = await ask(world, one, "restore", "Notes", version=old)
    assert done["restored"] == ["a", "good", "values.json"]
    assert await one.files("Notes") == {"a": b"a", "good": b"good", "values.json": b"values.json"}
    assert one.store.by_name["Notes"].sidecar == "values~.json"
    await world.go_on(30)
    assert world.stored("Notes") == {"a": b"a", "good": b"good", "values.json": b"values.json"}


# ------------------------------------------------------------------------------------------------- comparing


@simulated
async def test_differences_of_texts_values_and_names(world: World) -> None:
    one, two = await two_versions(world)
    old, new = stamps(world)
    found = await ask(world, two, "diff", "Notes", versions=[old])
    assert found["files"] == [
        {"path": "a.txt", "what": "changed", "size": 7, "old_size": 6, "old": "first\n", "new": "second\n"},
        {"path": "d/deep.bin", "what": "removed", "size": 1000},
        {"path": "new.txt", "what": "added", "size": 6},
    ]
    assert json.loads(found["values"]["old"])["x"] == [1, 2]
    assert found["values"]["path"] == "values.json"
    back = await ask(world, two, "diff", "Notes", versions=[new, old])
    assert [entry["what"] for entry in back["files"]] == ["changed", "added", "removed"]
    assert (await ask(world, two, "diff", "Notes/values.json", versions=[old]))["files"] == []
    assert (await ask(world, two, "diff", "Notes"))["files"] == []
    one.offline = True
    await one.write("Notes/a.txt", b"third\n")
    await one.write("Notes/new.txt", NEW["new.txt"])
    await one.write("Notes/b", b"\0")
    one.offline = False
    unsent = await ask(world, one, "diff", "Notes")
    assert [(entry["path"], entry["what"]) for entry in unsent["files"]] == [("a.txt", "changed"), ("b", "added")]
    assert unsent["values"] == {}


@simulated
async def test_a_file_that_is_renamed_while_it_is_compared_is_still_found(world: World) -> None:
    one, _two = await two_versions(world)
    old = stamps(world)[0]
    answers: list[dict[str, Any]] = []

    async def compare() -> None:
        answers.append(await one.ask("diff", word=["Notes", "Notes"], versions=[old]))

    one.hosts.faults.latency = 5.0
    world.nursery.start_soon(compare)
    while not one.hosts.faults.calls["get"]:
        await world.go_on(0.1)
    await one.rename("Notes/a.txt", "Notes/z.txt")
    await world.go_on(10)
    [changed] = [entry for entry in answers[0]["files"] if entry["path"] == "a.txt"]
    assert (changed["old"], changed["new"]) == ("first\n", "second\n")


@simulated
async def test_what_can_not_be_shown_as_lines_is_said_to_differ(world: World) -> None:
    one = await world.syncing("one")
    one.mkdir("Notes")
    for path, data in (("bin", b"\0a"), ("large", b"x" * 300_000), ("same", b"s"), ("latin", b"\xff")):
        await one.write(f"Notes/{path}", data)
    await world.go_on(20)
    one.offline = True
    for path, data in (("bin", b"\0b"), ("large", b"y" * 300_000), ("same", b"s"), ("latin", b"\xfe")):
        await one.write(f"Notes/{path}", data)
    one.offline = False
    found = await ask(world, one, "diff", "Notes")
    assert {entry["path"]: entry.get("binary") or entry.get("large") for entry in found["files"]} == dict.fromkeys(
        ("bin", "large", "latin"), True
    )  # fmt: skip
    assert not any("old" in entry for entry in found["files"])
    with pytest.raises(errors.UsageError, match="two versions"):
        await ask(world, one, "diff", "Notes", versions=["1", "2", "3"])
    one.mkdir("New")
    with pytest.raises(errors.NotFound, match="has not been on the servers"):
        await ask(world, one, "diff", "New")


# ------------------------------------------------------------------------------------------------- offline


@simulated
async def test_offline_nothing_is_waited_for(world: World) -> None:
    one, _ = await two_versions(world)
    one.offline = True
    await world.go_on(20)
    before = trio.current_time()
    for verb in ("versions", "restore", "diff", "prune"):
        with pytest.raises(errors.Unreachable):
            await ask(world, one, verb, "Notes", version="2026", keep=1, days=0)
    assert trio.current_time() == before


@simulated
async def test_offline_what_was_seen_is_shown_for_as_long_as_that_lasts(world: World) -> None:
    one, _ = await two_versions(world)
    old, _ = stamps(world)
    before = await shown(one, old)
    one.offline = True
    await world.go_on(600)
    assert await shown(one, old) == before
    assert len((await ask(world, one, "versions", "Notes"))["versions"]) == 2
    with pytest.raises(errors.Unreachable):
        await ask(world, one, "prune", "Notes", keep=1, days=0)


# --------------------------------------------------------------------------------------------------- contents


async def opened(world: World, device: Device, path: str) -> bytes:
    """What a program reads of OBJECT/.versions/STAMP/NAME."""
    name, stamp, last = path.split("/")
    found: list[bytes] = []
    tree = device.vfs.history

    async def reading() -> None:
        top = device.vfs.lookup(device.ino(name), ".versions").ino
        entry = await tree.lookup((await tree.lookup(top, stamp)).ino, last)
        descriptor = await tree.open(entry.ino, os.O_RDONLY)
        found.append(os.pread(descriptor, 1 << 20, 0))
        os.close(descriptor)

    await world.during(reading)
    return found[0]


@simulated
async def test_spoilt_and_cut_contents_are_refused_and_not_kept(world: World) -> None:
    _, two = await two_versions(world)
    old, _ = stamps(world)
    faults = two.hosts.faults
    for spoil, value, good in (("flipped", True, False), ("cut_after", 0, None)):
        setattr(faults, spoil, value)
        with pytest.raises(errors.Corrupt):
            await opened(world, two, f"Notes/{old}/a.txt")
        setattr(faults, spoil, good)
        assert not list((two.root / "staging").iterdir())
    assert await opened(world, two, f"Notes/{old}/a.txt") == b"first\n"


@simulated
async def test_a_file_that_became_longer_is_not_taken_in_whole(world: World) -> None:
    _, two = await two_versions(world)
    old, _ = stamps(world)
    await ask(world, two, "versions", "Notes")
    path = f"{world.announced('Notes').oaio_id}/{old}/a.txt"
    world.storage.files[path] = StoredFile(b"x" * 1_000_000, 0)
    with pytest.raises(errors.Corrupt):
        await opened(world, two, f"Notes/{old}/a.txt")
    del world.storage.files[path]
    with pytest.raises(errors.NotFound):
        await opened(world, two, f"Notes/{old}/a.txt")


@simulated
async def test_readers_share_a_download_and_who_gives_up_leaves_it_to_the_next(world: World) -> None:
    one, two = await two_versions(world)
    old, new = stamps(world)
    await opened(world, two, f"Notes/{old}/values.json")
    two.forget_calls()
    two.hosts.faults.latency = 5.0
    read: list[bytes] = []

    async def reader() -> None:
        read.append(await opened_directly(two, old))

    async with trio.open_nursery() as nursery:
        gives_up = trio.CancelScope()

        async def impatient() -> None:
            with gives_up:
                await reader()

        nursery.start_soon(impatient)
        await world.go_on(1)
        nursery.start_soon(reader)
        nursery.start_soon(reader)
        await world.go_on(1)
        gives_up.cancel()
        await world.go_on(20)
    assert read == [b"first\n"] * 2
    assert two.calls["get"] == 2, "the one that was given up, and one for both"
    assert not list((two.root / "staging").iterdir())
    two.hosts.faults.latency = 0.0
    two.forget_calls()
    assert await opened(world, one, f"Notes/{new}/a.txt") == b"second\n"
    assert one.calls["get"] == 0, "it is here as a working copy"


async def opened_directly(device: Device, stamp: str) -> bytes:
    tree = device.vfs.history
    top = device.vfs.lookup(device.ino("Notes"), ".versions").ino
    entry = await tree.lookup((await tree.lookup(top, stamp)).ino, "a.txt")
    descriptor = await tree.open(entry.ino, os.O_RDONLY)
    try:
        return os.pread(descriptor, 100, 0)
    finally:
        os.close(descriptor)


@simulated
async def test_hosts_without_hashes(world: World) -> None:
    one, two = await two_versions(world)
    old, _ = stamps(world)
    for device in (one, two):
        device.hosts.faults.hashes = "none"
    assert await opened(world, two, f"Notes/{old}/a.txt") == b"first\n"
    done = await ask(world, two, "restore", "Notes", version=old)
    assert done["restored_files"] == 2
    await world.go_on(30)
    assert world.stored("Notes") == OLD
    assert await one.files("Notes") == OLD
