"""What becomes of edits on two devices: values, drafts, files, and files that are open."""

from __future__ import annotations

import json
import os

import pytest

from oaiofs.errors import InvalidSidecar
from tests.devicekit import Device, World, simulated, simulated_foreign
from tests.sync.stories import two_with_notes


def the_conflict_copy(device: Device, name: str = "Notes") -> str:
    found = [path for path in device.paths(name) if "(conflict " in path]
    assert len(found) == 1, device.paths(name)
    return found[0]


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


async def both_edit_a_file(world: World) -> tuple[Device, Device, str]:
    """Two devices after both edited Notes/a.txt; the conflict copy's path."""
    one, two = await two_with_notes(world)
    await one.write("Notes/a.txt", b"of one")
    await world.go_on(3)
    await two.write("Notes/a.txt", b"of two")
    await world.go_on(60)
    return one, two, the_conflict_copy(two)


@simulated
async def test_of_the_same_file_both_are_kept_on_both_devices(world: World) -> None:
    one, two, copy = await both_edit_a_file(world)
    assert copy.startswith("a (conflict two ")
    assert copy.endswith(".txt")
    expected = {"a.txt": b"of one", copy: b"of two", "b.txt": b"second"}
    assert await one.files("Notes") == await two.files("Notes") == world.stored("Notes") == expected
    assert [(record.kind, record.path, record.copy) for record in two.conflicts()] == [("file", "a.txt", copy)]
    assert one.conflicts() == []


@simulated
async def test_a_conflict_copy_that_another_device_removes_is_no_conflict_any_more(world: World) -> None:
    one, two, copy = await both_edit_a_file(world)
    assert [conflict.copy for conflict in two.conflicts()] == [copy]
    one.unlink(f"Notes/{copy}")
    await world.go_on(60)
    assert two.conflicts() == []


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
async def test_all_folders_that_a_displaced_file_brings_back_are_announced(world: World) -> None:
    """To the kernel their names are none."""
    one, two = await two_with_notes(world)
    one.mkdir("Notes/d")
    one.mkdir("Notes/d/e")
    await one.write("Notes/d/e/x.txt", b"old")
    await world.go_on(30)
    handle = await two.open_file("Notes/d/e/x.txt", os.O_RDWR)
    one.unlink("Notes/d/e/x.txt")
    await world.go_on(30)
    assert "d/e/x.txt" not in two.paths("Notes")
    await two.vfs.files.write(handle, 0, b"LATE!")
    two.announced.clear()
    two.close_file(handle)
    head = two.store.by_name["Notes"]
    [copy] = [path for path in two.paths("Notes") if path.startswith("d/e/x (conflict two ")]
    nodes = [two.store.at(head, path) for path in ("d", "d/e", copy)]
    assert set(two.announced) == {(node.parent, node.name) for node in nodes if node is not None}


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


@simulated_foreign
async def test_devices_that_doubt_each_others_versions_come_to_an_end(world: World) -> None:
    one, two = await two_with_notes(world)
    await two.write("Notes/new", b"x")
    await world.go_on(30)
    one.unlink("Notes/new")
    await world.go_on(120)
    before = world.versions("Notes")
    await world.go_on(300)
    assert world.versions("Notes") == before
    assert "new" not in world.stored("Notes"), "what was taken away twice was meant"
    assert one.paths("Notes") == two.paths("Notes") == ["a.txt", "b.txt"]
