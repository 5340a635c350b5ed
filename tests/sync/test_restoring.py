"""Old versions of objects become the content again on whole devices, and nothing that they replace is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from oaiofs import errors
from oaiofs.core.model import Right
from tests.devicekit import World, share, simulate, simulated
from tests.sync.oldversions import NEW, OLD, ask, shown, stamps, two_versions


@simulated
async def test_a_restored_object_is_a_new_version_made_without_any_bytes_on_the_way(world: World) -> None:
    one, two = await two_versions(world)
    old, _ = stamps(world)
    await two.rename("Notes", "Renamed")
    await world.go_on(20)
    one.forget_calls()
    done = await ask(world, one, "restore", "Renamed", version=old)
    assert done == {
        "object": "Notes", "version": old, "restored": ["a.txt", "d/deep.bin"], "restored_files": 2,
        "removed": ["new.txt"], "removed_files": 1, "values": True, "values_known": True,
    }  # fmt: skip
    assert one.names() == ["Notes"]
    assert (one.ino(""), "Renamed") in one.announced
    await world.go_on(30)
    assert one.calls["put"] == one.calls["get"] == 0
    assert len(stamps(world)) == 4, "history is never rewritten"
    assert world.stored("Notes") == OLD
    assert two.names() == ["Notes"]
    for device in (one, two):
        assert await device.files("Notes") == OLD
        assert await device.values("Notes") == {"_name": "Notes", "x": [1, 2]}
    entry = next((one.root / "trash").glob("*.json"))
    assert json.loads(entry.read_text())["why"] == f"version {old} was restored"


@pytest.mark.parametrize("foreign", [False, True])
def test_one_of_many_files_is_restored_in_a_folder_that_is_copied_whole(tmp_path: Path, foreign: bool) -> None:
    async def test(world: World) -> None:
        one = await world.syncing("one")
        one.mkdir("Notes")
        files = {f"{number}.txt": b"%d" % number for number in range(12)}
        for path, data in files.items():
            await one.write(f"Notes/{path}", data)
        await world.go_on(20)
        (old,) = stamps(world)
        await one.write("Notes/5.txt", b"changed")
        await world.go_on(20)
        one.forget_calls()
        await ask(world, one, "restore", "Notes", version=old)
        await world.go_on(30)
        assert world.stored("Notes") == files
        assert one.calls["put"] == one.calls["get"] == 0
        assert not one.record("Notes").dirty

    simulate(tmp_path, test, checks_base=not foreign)


@simulated
async def test_one_file_or_folder_is_restored_and_the_rest_stays(world: World) -> None:
    one, two = await two_versions(world)
    old, _ = stamps(world)
    before = await one.values("Notes")
    assert (await ask(world, two, "restore", "Notes/d", version=old))["restored"] == ["d/deep.bin"]
    assert (await ask(world, two, "restore", f"Notes/.versions/{old}/a.txt"))["restored"] == ["a.txt"]
    await world.go_on(30)
    assert await one.files("Notes") == {**OLD, "new.txt": b"added\n"}
    assert await one.values("Notes") == before
    for path in ("Notes/new.txt", "Notes/never"):
        with pytest.raises(errors.NotFound, match="has no"):
            await ask(world, two, "restore", path, version=old)
    assert (await ask(world, two, "restore", "Notes/a.txt", version=old))["restored"] == [], "it is so already"
    assert not two.record("Notes").dirty
    await ask(world, two, "restore", "Notes/values.json", version=old)
    assert await two.values("Notes") == {"_name": "Notes", "x": [1, 2]}
    assert await two.files("Notes") == {**OLD, "new.txt": b"added\n"}


@simulated
async def test_what_was_not_sent_yet_goes_to_the_trash(world: World) -> None:
    one, _ = await two_versions(world)
    old, _ = stamps(world)
    one.offline = True
    await one.write("Notes/a.txt", b"unsent\n")
    await one.write("Notes/unsent.txt", b"unsent too\n")
    one.offline = False
    await world.go_on(0.1)
    handle = await one.open_file("Notes/new.txt")
    await one.vfs.files.write(handle, 0, b"being")
    await ask(world, one, "restore", "Notes", version=old)
    kept = {path.name: path.read_bytes() for path in (one.root / "trash").rglob("*.txt")}
    assert kept == {"a.txt": b"unsent\n", "unsent.txt": b"unsent too\n"}
    await one.vfs.files.write(handle, 5, b" written")
    one.close_file(handle)
    await world.go_on(30)
    (copy,) = [path for path in one.paths("Notes") if "conflict" in path]
    assert await one.read(f"Notes/{copy}") == b"being written", "an open file's edit comes back as a conflict copy"
    assert {path: data for path, data in world.stored("Notes").items() if path != copy} == OLD


@pytest.mark.parametrize("path", ["Notes", "Notes/values.json"])
@pytest.mark.parametrize("back", [0, 1])
def test_a_draft_goes_to_the_trash_where_values_are_restored(tmp_path: Path, path: str, back: int) -> None:
    async def test(world: World) -> None:
        one, _ = await two_versions(world)
        wanted = stamps(world)[-1 - back]
        values = {"_name": "Notes", "x": [1, 2]} if back else await one.values("Notes")
        with pytest.raises(errors.InvalidSidecar):
            await one.write("Notes/values.json", b"{bad")
        assert one.state("Notes") == "draft"
        done = await ask(world, one, "restore", path, version=wanted)
        assert done["values"]
        assert (one.ino("Notes"), "values.json") in one.announced
        assert json.loads(await one.read("Notes/values.json")) == await one.values("Notes") == values
        await world.go_on(30)
        assert one.state("Notes") == ("online-only" if back and path == "Notes" else "synced")
        [kept] = (one.root / "trash").rglob("values.json")
        assert kept.read_bytes() == b"{bad"

    simulate(tmp_path, test)


@simulated
async def test_a_draft_that_is_being_written_stays(world: World) -> None:
    one, _ = await two_versions(world)
    _, now = stamps(world)
    with pytest.raises(errors.InvalidSidecar):
        await one.write("Notes/values.json", b"{bad")
    handle = await one.open_file("Notes/values.json", os.O_RDWR)
    await ask(world, one, "restore", "Notes", version=now)
    assert await one.read("Notes/values.json") == b"{bad"
    await one.vfs.files.write(handle, 0, b'{"_name": "Notes", "x": 5} ')
    one.close_file(handle)
    assert (await one.values("Notes"))["x"] == 5


@simulated
async def test_what_stands_in_the_way_is_not_destroyed(world: World) -> None:
    one, _ = await two_versions(world)
    old, _ = stamps(world)
    await one.write("Notes/d", b"a file now")
    with pytest.raises(errors.NotADirectory):
        await ask(world, one, "restore", "Notes/d/deep.bin", version=old)
    one.unlink("Notes/a.txt")
    one.mkdir("Notes/a.txt")
    await one.write("Notes/a.txt/x.swp", b"an editor's")
    with pytest.raises(errors.DirectoryNotEmpty):
        await ask(world, one, "restore", "Notes", version=old)
    assert await one.read("Notes/d") == b"a file now"
    one.unlink("Notes/a.txt/x.swp")
    await one.write("Notes/a.txt/x", b"unsent")
    await ask(world, one, "restore", "Notes", version=old)
    assert await one.files("Notes") == OLD
    in_trash = {path.name for path in (one.root / "trash").rglob("*") if path.is_file() and path.suffix != ".json"}
    assert {"d", "x"} <= in_trash


@simulated
async def test_who_may_only_read_restores_and_prunes_nothing(world: World) -> None:
    await two_versions(world)
    old, _ = stamps(world)
    share(world, "Notes", "bob", Right.READ)
    bob = await world.syncing("bobs", user="bob")
    assert await shown(bob, old)
    with pytest.raises(errors.AccessDenied):
        await ask(world, bob, "restore", "Notes", version=old)
    for right in (Right.READ, Right.UPDATE):
        world.cloud.subscribe("alice", bob.id("Notes"), "bob", right, superuser=False)
        await world.go_on(20)
        with pytest.raises(errors.AccessDenied):
            await ask(world, bob, "prune", "Notes", keep=1, days=0, yes=True)
    assert await bob.files("Notes") == NEW


@simulated
async def test_a_kill_at_any_time_after_a_restore_loses_nothing(world: World) -> None:
    one, _ = await two_versions(world)
    old, _ = stamps(world)
    await ask(world, one, "restore", "Notes", version=old)
    again = one.image("again")
    await one.stop()
    again.check()
    again.start()
    await world.go_on(30)
    assert await again.files("Notes") == OLD
    assert world.stored("Notes") == OLD


@simulated
async def test_words_that_mean_no_version(world: World) -> None:
    one, _ = await two_versions(world)
    for word, error in (("2026", errors.UsageError), ("20991231", errors.NotFound), ("", errors.UsageError)):
        with pytest.raises(error):
            await ask(world, one, "restore", "Notes", version=word)
    with pytest.raises(errors.NotFound):
        await ask(world, one, "versions", "Nothing")
    for word in ("Notes/a.txt", "Notes/values.json"):
        with pytest.raises(errors.UsageError, match="whole"):
            await ask(world, one, "prune", word, keep=1, days=0)
    for wrong in (-1, True, "1", float("nan")):
        with pytest.raises(errors.UsageError):
            await ask(world, one, "prune", "Notes", keep=1, days=wrong)
