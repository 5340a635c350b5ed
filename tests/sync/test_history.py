"""Old versions on whole devices: what is shown of them, restoring, comparing, and which may be removed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from oaiofs import errors
from oaiofs.core.model import Right
from oaiofs.remote.memory_storage import StoredFile
from oaiofs.vfs.history import top_ino
from tests.devicekit import Device, World, share, simulate, simulated, simulated_foreign

OLD = {"a.txt": b"first\n", "d/deep.bin": b"\0" * 1000}
NEW = {"a.txt": b"second\n", "new.txt": b"added\n"}


async def two_versions(world: World) -> tuple[Device, Device]:
    """Two devices with an object of two versions."""
    one, two = await world.syncing("one"), await world.syncing("two")
    one.mkdir("Notes")
    one.mkdir("Notes/d")
    for path, data in OLD.items():
        await one.write(f"Notes/{path}", data)
    await one.set_value("Notes", "x", [1, 2])
    await world.go_on(20)
    one.unlink("Notes/d/deep.bin")
    one.rmdir("Notes/d")
    for path, data in NEW.items():
        await one.write(f"Notes/{path}", data)
    await one.write("Notes/values.json", b'{"_name": "Notes", "y": 1}')
    await world.go_on(20)
    assert world.stored("Notes") == NEW
    return one, two


def stamps(world: World, name: str = "Notes") -> list[str]:
    """The stored versions of the object, oldest first."""
    oaio_id = world.announced(name).oaio_id
    return sorted({path.split("/")[1] for path in world.storage.files if path.startswith(oaio_id)})


async def ask(world: World, device: Device, verb: str, word: str, **arguments: Any) -> dict[str, Any]:
    """What a command gets, while time goes on."""
    answers: list[dict[str, Any]] = []

    async def asking() -> None:
        answers.append(await device.ask(verb, word=[word, word], **arguments))

    await world.during(asking)
    return answers[0]


async def shown(device: Device, stamp: str, name: str = "Notes") -> dict[str, bytes]:
    """All files below OBJECT/.versions/STAMP."""
    tree = device.vfs.history
    found: dict[str, bytes] = {}

    async def walk(ino: int, prefix: str) -> None:
        for entry, last in await tree.entries(ino):
            attributes = await tree.getattr(entry)
            assert (await tree.lookup(ino, last)) == attributes
            if attributes.mode & 0o40000:
                await walk(entry, f"{prefix}{last}/")
            else:
                descriptor = await tree.open(entry, os.O_RDONLY)
                found[prefix + last] = os.pread(descriptor, 1 << 20, 0)
                os.close(descriptor)
                assert len(found[prefix + last]) == attributes.size

    top = device.vfs.lookup(device.ino(name), ".versions").ino
    await walk((await tree.lookup(top, stamp)).ino, "")
    return found


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
        assert len(await tree.entries(top)) == 2
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


# ------------------------------------------------------------------------------------------------- restoring


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


# --------------------------------------------------------------------------------------------------- pruning


async def many_versions(world: World, number: int) -> Device:
    one = await world.syncing("one")
    one.mkdir("Notes")
    for count in range(number):
        await one.write("Notes/a.txt", b"%d" % count)
        await world.go_on(10)
    return one


@simulated
async def test_pruning_keeps_the_newest_the_young_and_what_is_needed(world: World) -> None:
    one = await many_versions(world, 6)
    all_of = stamps(world)
    assert len(all_of) == 6
    assert (await ask(world, one, "prune", "Notes", keep=2, days=30))["would_remove"] == [], "they are young"
    plan = await ask(world, one, "prune", "Notes", keep=2, days=0)
    assert [entry["stamp"] for entry in plan["would_remove"]] == all_of[:4]
    assert plan["bytes"] == 4
    assert stamps(world) == all_of, "nothing is removed without a word"
    one.offline = True
    await ask(world, one, "restore", "Notes", version=all_of[1])  # its bytes are to come from there
    one.offline = False
    done = await ask(world, one, "prune", "Notes", keep=2, days=0, yes=True, stamps=[*all_of[:3], all_of[5]])
    assert [entry["stamp"] for entry in done["removed"]] == [all_of[0], all_of[2]]
    assert (top_ino(one.store.by_name["Notes"]), all_of[0]) in one.announced
    await world.go_on(30)
    assert world.stored("Notes") == {"a.txt": b"1"}
    told = await ask(world, one, "versions", "Notes")
    assert [entry["stamp"] for entry in told["versions"]] == sorted(stamps(world), reverse=True)


@simulated
async def test_pruning_never_touches_the_announced_version_nor_another_devices_last(world: World) -> None:
    one, two = await two_versions(world)
    await two.write("Notes/a.txt", b"by two")
    await world.go_on(20)
    of_two = world.announced("Notes").stamp
    await two.stop()
    for count in range(3):
        await one.write("Notes/a.txt", b"%d" % count)
        await world.go_on(20)
    announced = world.announced("Notes").stamp
    done = await ask(world, one, "prune", "Notes", keep=1, days=0, yes=True)
    assert len(done["removed"]) == 4
    assert stamps(world) == [of_two, announced]


@simulated
async def test_pruning_when_another_device_has_just_announced(world: World) -> None:
    one = await many_versions(world, 3)
    two = await world.syncing("two")
    await two.write("Notes/a.txt", b"newer")
    await world.go_on(3)
    assert len(stamps(world)) == 4
    plan = await ask(world, one, "prune", "Notes", keep=1, days=0)
    assert world.announced("Notes").stamp not in [entry["stamp"] for entry in plan["would_remove"]]
    assert one.base("Notes") not in [entry["stamp"] for entry in plan["would_remove"]]


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
