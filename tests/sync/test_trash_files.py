"""Files that a version from elsewhere removed: in the trash and back; and what goes from the trash by itself."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from oaiofs import errors
from oaiofs.core.model import Right
from oaiofs.verbs import trash as verbs
from tests.devicekit import World, share, simulated
from tests.sync.stories import two_with_notes
from tests.sync.trashing import entries, place, restore

# ---------------------------------------------------------------------------------------- files


@simulated
async def test_a_file_removed_elsewhere_is_in_the_trash_and_comes_back_as_an_edit(world: World) -> None:
    one, two = await two_with_notes(world)
    one.mkdir("Notes/d")
    await one.write("Notes/d/deep.txt", b"deep")
    await world.go_on(20)
    await two.files("Notes")
    one.unlink("Notes/a.txt")
    one.unlink("Notes/d/deep.txt")
    one.rmdir("Notes/d")
    await world.go_on(20)
    assert two.paths("Notes") == ["b.txt"]
    (entry,) = await entries(two)
    assert (entry["what"], entry["name"], entry["by"]) == ("files", "Notes", "one")
    assert (entry["files"], entry["bytes"]) == (2, 9)
    assert entry["paths"] == ["a.txt", "d/deep.txt"]
    assert await entries(one) == []
    restored = await restore(two, "Notes")
    assert (restored["object"], restored["paths"]) == ("Notes", ["a.txt", "d/deep.txt"])
    assert (two.ino("Notes"), "a.txt") in two.announced
    assert (two.ino("Notes"), "d") in two.announced
    assert not list((two.root / "trash").iterdir())
    await world.go_on(30)
    assert await one.files("Notes") == {"a.txt": b"first", "b.txt": b"second", "d/deep.txt": b"deep"}


@simulated
async def test_files_are_restored_beside_what_has_their_name_now(world: World) -> None:
    one, two = await two_with_notes(world)
    one.unlink("Notes/a.txt")
    await world.go_on(20)
    await two.write("Notes/a.txt", b"another")
    assert (await restore(two, "Notes"))["paths"] == ["a (restored).txt"]
    await world.go_on(30)
    assert await one.files("Notes") == {"a.txt": b"another", "a (restored).txt": b"first", "b.txt": b"second"}


@simulated
async def test_a_folder_whose_name_went_to_a_file_is_restored_beside_it(world: World) -> None:
    one, two = await two_with_notes(world)
    one.mkdir("Notes/d")
    await one.write("Notes/d/deep.txt", b"deep")
    await world.go_on(20)
    await two.files("Notes")
    one.unlink("Notes/d/deep.txt")
    one.rmdir("Notes/d")
    await one.write("Notes/d", b"a file now")
    await world.go_on(30)
    assert await two.files("Notes") == {"a.txt": b"first", "b.txt": b"second", "d": b"a file now"}
    assert (await restore(two, "Notes"))["paths"] == ["d (restored)/deep.txt"]
    await world.go_on(30)
    assert (await one.files("Notes"))["d (restored)/deep.txt"] == b"deep"


@simulated
async def test_a_renamed_or_replaced_file_is_no_removed_one(world: World) -> None:
    one, two = await two_with_notes(world)
    await one.rename("Notes/a.txt", "Notes/moved.txt")
    await one.write("Notes/b.txt", b"replaced")
    await world.go_on(20)
    assert await two.files("Notes") == {"moved.txt": b"first", "b.txt": b"replaced"}
    assert await entries(two) == []


@simulated
async def test_hundreds_of_files_removed_elsewhere_come_back_with_one_command(world: World) -> None:
    """No brake holds a version that removes nearly all: everything is in the trash, downloaded or not."""
    one, two = await two_with_notes(world)
    contents = {f"f{number:03}": b"%d" % number for number in range(200)}
    for name, data in contents.items():
        await one.write(f"Notes/{name}", data)
    await world.go_on(20)
    for name in list(contents)[:100]:
        await two.read(f"Notes/{name}")
    for name in contents:
        one.unlink(f"Notes/{name}")
    await world.go_on(20)
    assert two.paths("Notes") == ["a.txt", "b.txt"]
    (entry,) = await entries(two)
    assert (entry["files"], entry["elsewhere"]) == (100, 100)
    await restore(two, "Notes")
    await world.go_on(60)
    assert await one.files("Notes") == {**contents, "a.txt": b"first", "b.txt": b"second"}


@simulated
async def test_files_of_an_object_that_is_gone_too_come_back_in_a_new_one(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    one.unlink("Notes/a.txt")
    await world.go_on(60)
    await one.remove_object("Notes")
    await world.go_on(20)
    files, whole = await entries(two)
    assert (files["what"], whole["what"]) == ("files", "object")
    with pytest.raises(errors.UsageError, match="2 times"):
        await restore(two, "Notes")
    assert (await restore(two, files["entry"]))["new"]
    await restore(two, whole["entry"])
    await world.go_on(40)
    assert one.names() == ["More", "Notes", "Notes ~2"]
    found = [await one.files("Notes"), await one.files("Notes ~2")]
    assert sorted(found, key=str) == [{"a.txt": b"first"}, {"b.txt": b"second"}]


@simulated
async def test_files_of_an_object_that_one_may_only_read_stay_in_the_trash(world: World) -> None:
    one, _ = await two_with_notes(world)
    share(world, "Notes", "bob", Right.READ)
    bob = await world.syncing("bobs", user="bob")
    await bob.files("Notes")
    one.unlink("Notes/a.txt")
    await world.go_on(20)
    with pytest.raises(errors.AccessDenied, match="take the files from"):
        await restore(bob, "Notes")
    (entry,) = await entries(bob)
    assert entry["files"] == 1


@simulated
async def test_a_file_that_a_program_writes_into_is_a_conflict_copy_and_not_trash(world: World) -> None:
    one, two = await two_with_notes(world)
    handle = await two.open_file("Notes/a.txt")
    one.unlink("Notes/a.txt")
    await world.go_on(20)
    assert await entries(two) == []
    await two.vfs.files.write(handle, 0, b"FIRST")
    two.close_file(handle)
    await world.go_on(20)
    (copy,) = [path for path in one.paths("Notes") if "conflict two" in path]
    assert await one.read(f"Notes/{copy}") == b"FIRST"


# ---------------------------------------------------------------------------------------- by itself, after some time

DAY = 86_400.0


@simulated
async def test_old_entries_go_by_themselves_once_a_day(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    await one.remove_object("Notes")
    await world.go_on(20)
    one.sync.watch._interval = two.sync.watch._interval = DAY / 4  # so that time passes quickly
    world.nursery.start_soon(verbs.tend, place(two), 3.0, two.sync.watch.time)
    await world.go_on(2.9 * DAY)
    assert len(await entries(two)) == 1
    await world.go_on(1.5 * DAY)
    assert await entries(two) == []
    assert len(await entries(one)) == 1, "nobody tends that one"


@simulated
async def test_a_clock_set_far_ahead_purges_nothing(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    await one.remove_object("Notes")
    await world.go_on(20)
    two.skew = 365 * DAY  # set ahead while the mount runs
    world.nursery.start_soon(verbs.tend, place(two), 30.0, two.sync.watch.time)
    await world.go_on(200)
    assert len(await entries(two)) == 1
    assert two.sync.watch.time() < two.wall_clock() - 364 * DAY  # type: ignore[operator]
    two.server.faults.clock_skew = timedelta(days=-365)  # and before it begins: then the server says so
    await two.restart()
    assert two.sync.watch.time() is None
    world.nursery.start_soon(verbs.tend, place(two), 30.0, two.sync.watch.time)
    await world.go_on(200)
    assert len(await entries(two)) == 1


@simulated
async def test_what_is_kept_for_ever_is(world: World) -> None:
    one, two = await two_with_notes(world, "More")
    await one.remove_object("Notes")
    await world.go_on(20)
    now = two.wall_clock() + 10_000 * DAY
    world.nursery.start_soon(verbs.tend, place(two), 0.0, lambda: now)
    await world.go_on(60)
    assert len(await entries(two)) == 1
    world.nursery.start_soon(verbs.tend, place(two), 30.0, lambda: now)
    await world.go_on(60)
    assert await entries(two) == []


@simulated
async def test_files_removed_in_passing_go_soon(world: World) -> None:
    one = await world.syncing("one")
    one.mkdir("Notes")
    await one.write("Notes/a.txt", b"x")
    one.unlink("Notes/a.txt")
    assert len(list((one.root / "staging").iterdir())) == 1
    world.nursery.start_soon(verbs.tend, place(one), 30.0, one.sync.watch.time)
    await world.go_on(70)
    assert list((one.root / "staging").iterdir()) == []


@pytest.mark.parametrize("written", [True, False])
@simulated
async def test_what_is_written_after_the_server_was_told_of_the_removal_is_kept(world: World, written: bool) -> None:
    """By a program that has a file open whose name a version from elsewhere had taken: it has no row any more."""
    one, two = await two_with_notes(world, "More")
    handle = await two.open_file("Notes/a.txt", os.O_RDWR)
    await one.write("Notes/a.txt", b"of one")
    await world.go_on(20)
    await two.remove_object("Notes")
    await world.go_on(20)
    assert two.store.db.execute("SELECT count(*) FROM object").fetchone() == (1,)
    if written:
        await two.vfs.files.write(handle, 0, b"of two, late")
    two.close_file(handle)
    assert list((two.root / "detached").iterdir()) == []
    kept = [path.read_bytes() for path in (two.root / "trash").glob("recovered.*/*")]
    assert kept == ([b"of two, late"] if written else [])
    await two.restart()
