"""After the state file is lost: objects are made again, and nothing of anybody's is lost by it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from oaiofs.cache.state import STATE_FILES
from oaiofs.core.model import Right
from oaiofs.errors import InvalidSidecar
from tests.devicekit import Device, World, share, simulated, simulated_foreign
from tests.sync.stories import two_with_notes

Damage = Callable[[Path], None]


def deleted(root: Path) -> None:
    for name in STATE_FILES:
        (root / name).unlink(missing_ok=True)


def emptied(root: Path) -> None:
    os.truncate(root / "state.db", 0)


def cut(root: Path) -> None:
    os.truncate(root / "state.db", (root / "state.db").stat().st_size // 2)


def zeros(root: Path) -> None:
    (root / "state.db").write_bytes(bytes((root / "state.db").stat().st_size))


def noise(root: Path) -> None:
    with open(root / "state.db", "r+b") as stream:
        stream.seek(4096)
        stream.write(os.urandom((root / "state.db").stat().st_size - 4096))


EVERY_DAMAGE = [deleted, emptied, cut, zeros, noise]


def is_sound(device: Device, *, rebuilt: bool = True) -> None:
    device.check()
    assert (device.store.state.meta("damaged") is not None) is rebuilt
    assert device.store.state.meta("device_id") == device.name


async def damaged(device: Device, damage: Damage = deleted, *, clean: bool = False) -> None:
    """The device's mount ends, its state file is damaged, and it is opened again; not syncing yet."""
    await device.stop(clean=clean)
    damage(device.root)
    device.open()
    is_sound(device)


async def with_placeholders(world: World) -> tuple[Device, Device]:
    """Two devices with Notes; on the second one only a.txt is downloaded, of a.txt, b.txt and d/c.txt."""
    one, two = await world.syncing("one"), await world.syncing("two")
    one.mkdir("Notes")
    one.mkdir("Notes/d")
    await one.write("Notes/a.txt", b"first")
    await one.write("Notes/b.txt", b"second")
    await one.write("Notes/d/c.txt", b"third")
    await one.set_value("Notes", "k", 1)
    await world.go_on(20)
    assert await two.read("Notes/a.txt") == b"first"
    return one, two


async def both_have(world: World, one: Device, two: Device, files: dict[str, bytes], name: str = "Notes") -> None:
    assert world.stored(name) == files
    assert await one.files(name) == files
    assert await two.files(name) == files
    assert await one.values(name) == await two.values(name) == world.announced(name).values
    assert [device.state(name) for device in (one, two)] == ["synced", "synced"]


FILES = {"a.txt": b"first", "b.txt": b"second", "d/c.txt": b"third"}


@pytest.mark.parametrize("damage", EVERY_DAMAGE)
@pytest.mark.parametrize("clean", [True, False], ids=["clean", "killed"])
@simulated
async def test_nothing_changed_and_nothing_is_pushed(world: World, damage: Damage, clean: bool) -> None:
    one, two = await with_placeholders(world)
    await damaged(two, damage, clean=clean)
    assert two.paths("Notes") == ["a.txt"], "the others were never here"
    assert await two.read("Notes/a.txt") == b"first"
    versions = world.versions("Notes")
    two.start()
    await world.go_on(60)
    assert world.versions("Notes") == versions
    assert [two.store.child(two.ino("Notes"), name).local for name in ("a.txt", "b.txt")] == [True, False]  # type: ignore[union-attr]
    await both_have(world, one, two, FILES)
    assert two.conflicts() == []


@pytest.mark.parametrize("damage", EVERY_DAMAGE)
@simulated
async def test_unsent_edits_are_sent_and_what_was_not_downloaded_stays(world: World, damage: Damage) -> None:
    one, two = await with_placeholders(world)
    two.offline = True
    await two.write("Notes/a.txt", b"edited")
    await two.write("Notes/d/new.txt", b"new")
    await two.set_value("Notes", "mine", [1])
    await world.go_on(20)
    await damaged(two, damage)
    two.start()
    await world.go_on(60)
    assert await two.read("Notes/a.txt") == b"edited", "it is of use offline"
    assert (await two.values("Notes"))["mine"] == [1]
    assert two.record("Notes").rebuilt
    two.offline = False
    await world.go_on(90)
    await both_have(world, one, two, {**FILES, "a.txt": b"edited", "d/new.txt": b"new"})
    assert world.announced("Notes").values == {"_name": "Notes", "k": 1, "mine": [1]}
    assert one.conflicts() == two.conflicts() == []


@pytest.mark.parametrize("test_on", [simulated, simulated_foreign], ids=["checks base", "last writer"])
def test_the_server_moved_on_meanwhile(tmp_path: Path, test_on: Callable[..., Callable[..., None]]) -> None:
    async def test(world: World) -> None:
        one, two = await with_placeholders(world)
        two.offline = True
        await two.write("Notes/a.txt", b"edited here")
        await two.set_value("Notes", "mine", 2)
        await world.go_on(5)
        await damaged(two)
        await one.write("Notes/b.txt", b"edited there")
        one.unlink("Notes/d/c.txt")
        await one.set_value("Notes", "theirs", 3)
        await world.go_on(60)
        two.offline = False
        two.start()
        await world.go_on(90)
        await both_have(world, one, two, {"a.txt": b"edited here", "b.txt": b"edited there"})
        assert world.announced("Notes").values == {"_name": "Notes", "k": 1, "mine": 2, "theirs": 3}
        assert one.conflicts() == two.conflicts() == []

    test_on(test)(tmp_path=tmp_path)


@simulated
async def test_the_same_file_edited_on_both_sides_is_a_conflict_and_both_are_kept(world: World) -> None:
    one, two = await with_placeholders(world)
    two.offline = True
    await two.write("Notes/a.txt", b"edited here")
    await world.go_on(5)
    await damaged(two)
    await one.write("Notes/a.txt", b"edited there")
    await world.go_on(60)
    two.offline = False
    two.start()
    await world.go_on(90)
    stored = world.stored("Notes")
    [copy] = [path for path in stored if "(conflict two" in path]
    await both_have_conflict(world, one, two, {**FILES, "a.txt": b"edited there", copy: b"edited here"})


async def both_have_conflict(world: World, one: Device, two: Device, files: dict[str, bytes]) -> None:
    assert world.stored("Notes") == await one.files("Notes") == await two.files("Notes") == files


@simulated
async def test_an_agreed_version_that_no_host_has_any_more_is_no_base(world: World) -> None:
    one, two = await with_placeholders(world)
    old = two.base("Notes")
    two.offline = True
    await two.write("Notes/a.txt", b"edited here")
    await world.go_on(5)
    await damaged(two)
    await one.write("Notes/b.txt", b"edited there")
    await world.go_on(60)
    for path in [path for path in world.storage.files if f"/{old}/" in f"/{path}"]:
        del world.storage.files[path]
    two.offline = False
    two.start()
    await world.go_on(90)
    stored = world.stored("Notes")
    [copy] = [path for path in stored if "(conflict two" in path]
    assert stored == {**FILES, "b.txt": b"edited there", copy: b"edited here"}
    assert await one.files("Notes") == await two.files("Notes") == stored


@simulated
async def test_a_draft_stays_one(world: World) -> None:
    _, two = await two_with_notes(world)
    with pytest.raises(InvalidSidecar):
        await two.write("Notes/values.json", b'{"_name": "Notes", "k": oops}')
    await damaged(two)
    two.start()
    await world.go_on(60)
    assert await two.read("Notes/values.json") == b'{"_name": "Notes", "k": oops}'
    assert two.state("Notes") == "draft"
    await two.write("Notes/values.json", b'{"_name": "Notes", "k": 5}')
    await world.go_on(60)
    assert world.announced("Notes").values == {"_name": "Notes", "k": 5}


@simulated
async def test_conflicts_are_still_to_be_seen_to(world: World) -> None:
    one, two = await two_with_notes(world)
    await one.set_value("Notes", "k", "of one")
    await world.go_on(3)
    await two.set_value("Notes", "k", "of two")
    await world.go_on(60)
    [before] = two.conflicts()
    await damaged(two)
    assert two.conflicts() == [before]
    two.start()
    await world.go_on(60)
    assert two.conflicts() == [before]
    assert world.announced("Notes").values["k"] == "of one"


@simulated
async def test_a_conflict_that_somebody_saw_to_does_not_come_back(world: World) -> None:
    one, two = await with_placeholders(world)
    two.offline = True
    await two.write("Notes/a.txt", b"edited here")
    await one.write("Notes/a.txt", b"edited there")
    await world.go_on(30)
    two.offline = False
    await world.go_on(60)
    [conflict] = two.conflicts()
    two.offline = True
    two.unlink(f"Notes/{conflict.copy}")
    await world.go_on(5)
    await damaged(two)
    assert two.conflicts() == []


@simulated
async def test_values_that_came_in_while_an_editor_had_the_sidecar_are_not_taken_back(world: World) -> None:
    one, two = await two_with_notes(world)
    handle = await two.open_file("Notes/values.json")
    await one.set_value("Notes", "k", "of one")
    await world.go_on(60)
    assert two.record("Notes").base_values["k"] == "of one"
    assert b"of one" not in await two.read("Notes/values.json")
    image = without_newest_rows(two, "image", deleted)
    two.close_file(handle)
    await two.stop()
    image.start()
    await world.go_on(60)
    assert world.announced("Notes").values["k"] == "of one"
    assert (await image.values("Notes"))["k"] == "of one"


@simulated
async def test_a_removal_that_was_not_sent_comes_undone(world: World) -> None:
    one, two = await two_with_notes(world)
    two.offline = True
    await two.write("Notes/a.txt", b"last words")
    await two.remove_object("Notes")
    await world.go_on(5)
    await damaged(two)
    assert two.names() == []
    two.offline = False
    two.start()
    await world.go_on(60)
    await both_have(world, one, two, {"a.txt": b"first", "b.txt": b"second"})


@simulated
async def test_a_file_deleted_without_the_server_knowing_comes_back(world: World) -> None:
    one, two = await two_with_notes(world)
    two.offline = True
    two.unlink("Notes/b.txt")
    await world.go_on(5)
    await damaged(two)
    two.offline = False
    two.start()
    await world.go_on(60)
    await both_have(world, one, two, {"a.txt": b"first", "b.txt": b"second"})


@simulated
async def test_a_new_name_is_kept(world: World) -> None:
    one, two = await two_with_notes(world)
    two.offline = True
    await two.set_value("Notes", "mine", 1)
    await two.rename("Notes", "Diary")
    await two.set_value("Diary", "more", 2)
    await world.go_on(5)
    await damaged(two)
    assert two.names() == ["Diary"]
    two.offline = False
    two.start()
    await world.go_on(60)
    assert one.names() == two.names() == ["Diary"]
    await both_have(world, one, two, {"a.txt": b"first", "b.txt": b"second"}, "Diary")
    assert world.announced("Diary").values == {"_name": "Diary", "mine": 1, "more": 2}


@simulated
async def test_an_object_that_was_never_registered_is_registered_once(world: World) -> None:
    one, two = await two_with_notes(world)
    two.offline = True
    two.mkdir("New")
    await two.write("New/n.txt", b"new")
    await world.go_on(5)
    await damaged(two)
    two.offline = False
    two.start()
    await world.go_on(60)
    assert one.names() == two.names() == ["New", "Notes"]
    await both_have(world, one, two, {"n.txt": b"new"}, "New")


@simulated
async def test_a_registration_whose_answer_was_lost_is_no_second_object(world: World) -> None:
    one, two = await world.syncing("one"), await world.syncing("two")
    two.mkdir("New")
    await two.write("New/n.txt", b"new")
    two.server.faults.drop_answer("register")
    for _ in range(100):
        await world.go_on(0.1)
        if world.cloud.log:
            break
    assert two.base("New") is None
    await damaged(two)
    two.start()
    await world.go_on(60)
    assert one.names() == two.names() == ["New"]
    await both_have(world, one, two, {"n.txt": b"new"}, "New")


@simulated
async def test_what_the_server_has_no_more_is_kept_and_not_registered_again(world: World) -> None:
    one, two = await two_with_notes(world, "More", "Yet more")
    await damaged(two)
    await one.remove_object("Notes")
    await world.go_on(30)
    two.start()
    await world.go_on(60)
    assert two.names() == ["More", "Notes", "Yet more"]
    assert "gone from the server" in two.error("Notes")
    assert await two.read("Notes/a.txt") == b"first"
    assert one.names() == ["More", "Yet more"]


@simulated
async def test_a_working_copy_without_a_label_is_kept_and_sent_to_nobody(world: World) -> None:
    one, two = await two_with_notes(world)
    two.offline = True
    await two.write("Notes/a.txt", b"edited")
    await world.go_on(5)
    await two.stop(clean=False)
    deleted(two.root)
    [label] = (two.root / "objects").glob("*.json")
    label.write_text('{"format": 1, "name": 7}')
    two.open()
    is_sound(two)
    two.offline = False
    two.start()
    await world.go_on(60)
    assert two.names() == ["Notes", "Notes ~2"]
    assert one.names() == ["Notes"]
    assert await two.read("Notes/a.txt") == b"edited"
    assert "which object" in two.error("Notes")
    assert await two.files("Notes ~2") == await one.files("Notes") == {"a.txt": b"first", "b.txt": b"second"}
    await two.restart()
    assert two.names() == ["Notes", "Notes ~2"]


@simulated
async def test_an_object_that_may_only_be_read_is_agreed_again(world: World) -> None:
    await world.syncing("one")
    one = world.devices["one"]
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"first")
    await world.go_on(20)
    share(world, "Notes", "bob", Right.READ)
    two = await world.syncing("two", user="bob")
    assert await two.files("Notes") == {"a.txt": b"first"}
    await damaged(two)
    assert two.record("Notes").right is Right.READ
    two.start()
    await world.go_on(60)
    assert two.state("Notes") == "synced"
    assert not two.record("Notes").dirty


@simulated
async def test_a_host_without_hashes_is_no_reason_for_conflicts(world: World) -> None:
    one, two = await with_placeholders(world)
    two.hosts.faults.hashes = "none"
    await damaged(two)
    await one.write("Notes/a.txt", b"edited there")
    await world.go_on(60)
    two.start()
    await world.go_on(60)
    assert await two.read("Notes/a.txt") == b"edited there"
    assert two.paths("Notes") == ["a.txt", "b.txt", "d/c.txt"]


@simulated
async def test_a_renamed_placeholder_keeps_its_bytes(world: World) -> None:
    one, two = await with_placeholders(world)
    two.offline = True
    two.mkdir("Other")
    await two.rename("Notes/b.txt", "Other/moved.txt")
    await world.go_on(5)
    await damaged(two)
    two.offline = False
    two.start()
    await world.go_on(60)
    await both_have(world, one, two, {"moved.txt": b"second"}, "Other")
    await both_have(world, one, two, FILES)


@simulated
async def test_bytes_of_an_open_file_whose_name_was_taken_are_in_the_trash(world: World) -> None:
    one, two = await two_with_notes(world)
    handle = await two.open_file("Notes/a.txt")
    await one.save("Notes/a.txt", b"edited there")
    await world.go_on(60)
    await two.vfs.files.write(handle, 0, b"edited here")
    image = without_newest_rows(two, "image", deleted)
    assert os.listdir(image.root / "detached") == []
    [kept] = (image.root / "trash").glob("*/*")
    assert kept.read_bytes() == b"edited here"
    assert json.loads(kept.parent.with_name(kept.parent.name + ".json").read_text())["name"].startswith("recovered")
    two.close_file(handle)


@simulated
async def test_numbers_are_never_used_twice(world: World) -> None:
    _, two = await two_with_notes(world)
    highest = max(node.ino for _, node in two.store.walk(two.record("Notes").key))
    two.offline = True
    two.mkdir("Gone")
    await two.write("Gone/x", b"x")
    gone = two.record("Gone").folder
    await two.remove_object("Gone")
    await damaged(two)
    assert min(node.ino for _, node in two.store.walk(two.record("Notes").key)) > highest
    two.mkdir("Gone")
    assert two.record("Gone").folder != gone
    assert await two.values("Gone") == {"_name": "Gone"}


@simulated
async def test_the_status_speaks_of_it_until_all_was_well_once(world: World) -> None:
    _, two = await two_with_notes(world)
    await damaged(two)
    two.start()
    await world.go_on(20)
    assert any("damaged" in one["message"] for one in two.status.whole()["errors"])
    await two.restart()
    assert two.status.whole()["errors"] == []
    is_sound(two, rebuilt=False)


@simulated
async def test_being_killed_while_it_is_made_again_makes_it_again(world: World) -> None:
    one, two = await with_placeholders(world)
    await damaged(two)
    image = two.image("image")
    is_sound(image)
    image.start()
    await world.go_on(60)
    await both_have(world, one, image, FILES)


# ------------------------------------------------------------------------------------------ the newest rows are lost


def log_gone(root: Path) -> None:
    (root / "state.db-wal").unlink()
    (root / "state.db-shm").unlink(missing_ok=True)


def log_is_noise(root: Path) -> None:
    path = root / "state.db-wal"
    path.write_bytes(os.urandom(path.stat().st_size))
    (root / "state.db-shm").unlink(missing_ok=True)


def without_newest_rows(device: Device, name: str, lose: Damage) -> Device:
    """The device after a kill -9 that also took its state file, or the newest rows of it."""
    image = device.image(name)
    image.close(clean=False)
    shutil.rmtree(image.root)
    shutil.copytree(device.root, image.root, symlinks=True)
    lose(image.root)
    image.open()
    is_sound(image, rebuilt=lose is deleted)
    return image


@pytest.mark.parametrize("lose", [log_gone, log_is_noise])
@simulated
async def test_what_was_made_since_the_rows_that_are_left(world: World, lose: Damage) -> None:
    one, two = await with_placeholders(world)
    await two.restart()  # from here on the log is lost
    two.offline = True
    await two.write("Notes/a.txt", b"edited")
    two.mkdir("New")
    await two.write("New/n.txt", b"new")
    image = without_newest_rows(two, "image", lose)
    await two.stop()
    assert image.names() == ["New", "Notes"]
    image.start()
    await world.go_on(90)
    await both_have(world, one, image, {**FILES, "a.txt": b"edited"})
    await both_have(world, one, image, {"n.txt": b"new"}, "New")
    assert image.conflicts() == []


@pytest.mark.parametrize("lose", [log_gone, log_is_noise])
@simulated
async def test_rows_older_than_the_label_are_no_edit(world: World, lose: Damage) -> None:
    one, two = await with_placeholders(world)
    await two.restart()  # from here on the log is lost
    await one.write("Notes/b.txt", b"edited there")
    await one.set_value("Notes", "k", 2)
    await world.go_on(60)
    await two.write("Notes/n.txt", b"new")
    await world.go_on(60)
    image = without_newest_rows(two, "image", lose)
    await two.stop()
    image.start()
    await world.go_on(90)
    await both_have(world, one, image, {**FILES, "b.txt": b"edited there", "n.txt": b"new"})
    assert world.announced("Notes").values["k"] == 2
    assert image.conflicts() == []


@simulated
async def test_an_object_removed_since_the_rows_that_are_left_loses_no_file_for_others(world: World) -> None:
    one, two = await with_placeholders(world)
    two.offline = True
    await two.write("Notes/a.txt", b"edited")
    await two.restart(clean=False)
    await two.remove_object("Notes")
    image = without_newest_rows(two, "image", log_gone)
    await two.stop()
    image.start()
    await world.go_on(90)
    await both_have(world, one, image, FILES)
