"""Texts that two devices edited: merged by lines where the edits don't meet, else both are kept."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import pytest

from oaiofs.cache.workdir import Workdir
from oaiofs.core.lines import MAX_BYTES
from oaiofs.errors import Corrupt, RemoteNotFound, Unreachable
from oaiofs.transfer import lines
from tests.devicekit import Device, World, simulated, simulated_foreign

BASE = b"one\ntwo\nthree\nfour\nfive\nsix\n"
TOP = b"ONE\ntwo\nthree\nfour\nfive\nsix\n"
END = b"one\ntwo\nthree\nfour\nfive\nSIX\n"
BOTH = b"ONE\ntwo\nthree\nfour\nfive\nSIX\n"
MIDDLE = b"one\ntwo\nTHREE\nfour\nfive\nsix\n"
ALL = b"ONE\ntwo\nTHREE\nfour\nfive\nSIX\n"
END_TOO = b"one\ntwo\nthree\nfour\nfive\n6\n"


async def with_text(world: World, *names: str, content: bytes = BASE) -> list[Device]:
    """Devices that all have the object Notes with the file a.txt, downloaded."""
    devices = [await world.syncing(name) for name in names]
    devices[0].mkdir("Notes")
    await devices[0].write("Notes/a.txt", content)
    await world.go_on(20)
    for device in devices:
        assert await device.read("Notes/a.txt") == content
        device.forget_calls()
    return devices


async def edit_apart(world: World, edits: dict[Device, bytes], path: str = "Notes/a.txt") -> None:
    """Each device edits while it is offline; then they come online, one after the other, in the given order."""
    for device, content in edits.items():
        device.offline = True
        await device.write(path, content)
    for device in edits:
        device.offline = False
        await world.go_on(60)
    await world.go_on(30)


async def all_have(world: World, devices: list[Device], expected: dict[str, bytes]) -> None:
    """Every device and the storage have just these files, nothing is pending and no conflict is recorded."""
    for device in devices:
        assert await device.files("Notes") == expected, device.name
        assert device.sync.pending() == 0
        assert os.listdir(device.root / "staging") == []
        assert device.store.db.execute("SELECT count(*) FROM intent").fetchone()[0] == 0
    assert world.stored("Notes") == expected
    assert world.strays() == set()


def conflict_free(devices: list[Device]) -> bool:
    return all(device.conflicts() == [] for device in devices)


async def kept_both(world: World, devices: list[Device], loser: Device, mine: bytes, theirs: bytes) -> None:
    """The server's has the name, and the loser's is there under another one, everywhere."""
    (copy,) = set(loser.paths("Notes")) - {"a.txt"}
    assert copy.startswith(f"a (conflict {loser.name} ")
    await all_have(world, devices, {"a.txt": theirs, copy: mine})
    assert [record.copy for record in loser.conflicts()] == [copy]


# ---------------------------------------------------------------------------------------- what merges


@simulated
async def test_edits_of_different_lines_are_merged(world: World) -> None:
    one, two = await with_text(world, "one", "two")
    ino, mode = two.ino("Notes/a.txt"), 0o640
    two.vfs.metadata.chmod(ino, mode)
    await edit_apart(world, {one: TOP, two: END})
    await all_have(world, [one, two], {"a.txt": BOTH})
    assert conflict_free([one, two])
    assert two.ino("Notes/a.txt") != ino, "the name has a new inode"
    assert two.vfs.getattr(two.ino("Notes/a.txt")).mode & 0o777 == mode
    assert (two.store.by_name["Notes"].ino, "a.txt") in two.announced
    assert world.versions("Notes") == 3, "made, edited by one, merged by two"


@simulated_foreign
async def test_edits_are_merged_where_the_last_writer_wins(world: World) -> None:
    one, two = await with_text(world, "one", "two")
    await edit_apart(world, {one: TOP, two: END})
    await all_have(world, [one, two], {"a.txt": BOTH})
    assert conflict_free([one, two])


@simulated_foreign
async def test_a_version_made_blindly_is_merged_with_ours(world: World) -> None:
    one, two = await with_text(world, "one", "two")
    for device, content in ((one, TOP), (two, END)):
        device.server.late = 0.5  # both look before either has announced
        await device.write("Notes/a.txt", content)
    await world.go_on(90)
    await all_have(world, [one, two], {"a.txt": BOTH})
    assert conflict_free([one, two])


@simulated
async def test_three_devices_come_to_one_text(world: World) -> None:
    one, two, three = await with_text(world, "one", "two", "three")
    await edit_apart(world, {one: TOP, two: END, three: MIDDLE})
    await all_have(world, [one, two, three], {"a.txt": ALL})
    assert conflict_free([one, two, three])
    for device in (one, two, three):
        await device.restart()
        await world.go_on(20)
    await all_have(world, [one, two, three], {"a.txt": ALL})
    assert world.versions("Notes") == 4


@simulated
async def test_the_same_edit_and_one_more_make_no_version_twice(world: World) -> None:
    one, two = await with_text(world, "one", "two")
    await edit_apart(world, {one: BOTH, two: TOP})
    await all_have(world, [one, two], {"a.txt": BOTH})
    assert conflict_free([one, two])
    assert world.versions("Notes") == 2, "two had nothing that one had not"
    await edit_apart(world, {one: END, two: ALL.replace(b"ONE", b"one")})
    assert conflict_free([one, two])
    await all_have(world, [one, two], {"a.txt": ALL.replace(b"ONE", b"one")})


@simulated
async def test_values_and_texts_are_merged_in_one_version(world: World) -> None:
    one, two = await with_text(world, "one", "two")
    await one.set_value("Notes", "k", 1)
    await two.set_value("Notes", "l", 2)
    await edit_apart(world, {one: TOP, two: END})
    await all_have(world, [one, two], {"a.txt": BOTH})
    assert await one.values("Notes") == await two.values("Notes") == {"_name": "Notes", "k": 1, "l": 2}


@simulated
async def test_who_reads_the_old_text_goes_on_reading_it(world: World) -> None:
    one, two = await with_text(world, "one", "two")
    two.offline = True
    await two.write("Notes/a.txt", END)
    handle = await two.open_file("Notes/a.txt", os.O_RDONLY)
    await edit_apart(world, {one: TOP})
    two.offline = False
    await world.go_on(60)
    assert await two.vfs.files.read(handle, 0, 100) == END
    two.close_file(handle)
    await all_have(world, [one, two], {"a.txt": BOTH})


# ---------------------------------------------------------------------------------------- what does not


@simulated
async def test_edits_of_the_same_line_keep_both(world: World) -> None:
    one, two = await with_text(world, "one", "two")
    await edit_apart(world, {one: END_TOO, two: END})
    await kept_both(world, [one, two], two, END, END_TOO)


@pytest.mark.parametrize(
    "prefix", [b"\0\n", b"\xff\n", b"x" * MAX_BYTES + b"\n"], ids=["NUL", "not UTF-8", "too large"]
)
@simulated
async def test_what_is_no_small_text_keeps_both(world: World, prefix: bytes) -> None:
    one, two = await with_text(world, "one", "two", content=prefix + BASE)
    await edit_apart(world, {one: prefix + TOP, two: prefix + END})
    assert two.calls["get"] == 0, "there is no use in fetching anything"
    await kept_both(world, [one, two], two, prefix + END, prefix + TOP)


@simulated
async def test_without_the_common_version_both_are_kept(world: World) -> None:
    one, two = await with_text(world, "one", "two")
    first = world.announced("Notes")
    one.offline = two.offline = True
    await one.write("Notes/a.txt", TOP)
    await two.write("Notes/a.txt", END)
    one.offline = False
    await world.go_on(60)
    world.storage.remove(f"{first.oaio_id}/{first.stamp}")
    two.offline = False
    await world.go_on(90)
    await kept_both(world, [one, two], two, END, TOP)


@pytest.mark.parametrize("error", [RemoteNotFound("gone"), Corrupt("cut")], ids=["missing", "cut"])
@simulated
async def test_a_version_that_can_not_be_fetched_is_kept_beside(world: World, error: Exception) -> None:
    one, two = await with_text(world, "one", "two")
    two.hosts.faults.fail("get", error, times=1)  # type: ignore[arg-type]
    await edit_apart(world, {one: TOP, two: END})
    await kept_both(world, [one, two], two, END, TOP)


@simulated
async def test_other_bytes_than_agreed_are_never_merged(world: World) -> None:
    one, two = await with_text(world, "one", "two")
    first = world.announced("Notes")
    place = f"{first.oaio_id}/{first.stamp}/a.txt"
    stored = world.storage.files[place]
    one.offline = two.offline = True
    await one.write("Notes/a.txt", TOP)
    await two.write("Notes/a.txt", END)
    one.offline = False
    await world.go_on(60)
    world.storage.files[place] = type(stored)(BASE.replace(b"one", b"ONE"), stored.mtime_ns)
    two.offline = False
    await world.go_on(90)
    await kept_both(world, [one, two], two, END, TOP)


@simulated
async def test_an_outage_on_the_way_makes_no_conflict(world: World) -> None:
    one, two = await with_text(world, "one", "two")
    two.hosts.faults.fail("get", Unreachable("cut"), times=2)
    await edit_apart(world, {one: TOP, two: END})
    await all_have(world, [one, two], {"a.txt": BOTH})
    assert conflict_free([one, two])


@simulated
async def test_a_text_being_written_is_not_touched(world: World) -> None:
    one, two = await with_text(world, "one", "two")
    two.offline = True
    handle = await two.open_file("Notes/a.txt", os.O_RDWR)
    await two.vfs.files.write(handle, 0, END)
    await edit_apart(world, {one: TOP})
    two.offline = False
    await world.go_on(60)
    assert await two.read("Notes/a.txt") == TOP
    await two.vfs.files.write(handle, 0, END.replace(b"two", b"2!!"))
    two.close_file(handle)
    await world.go_on(60)
    await kept_both(world, [one, two], two, END.replace(b"two", b"2!!"), TOP)


@simulated
async def test_only_so_many_files_hold_up_a_version(world: World) -> None:
    one, two = await with_text(world, "one", "two")
    count = lines.MOST + 3
    for number in range(count):
        await one.write(f"Notes/{number:03}", BASE)
    await world.go_on(30)
    await two.files("Notes")
    one.offline = two.offline = True
    for number in range(count):
        await one.write(f"Notes/{number:03}", TOP)
        await two.write(f"Notes/{number:03}", END)
    two.forget_calls()
    for device in (one, two):
        device.offline = False
        await world.go_on(60)
    await world.go_on(30)
    assert two.calls["get"] == 2 * lines.MOST
    stored = world.stored("Notes")
    assert sum(content == BOTH for content in stored.values()) == lines.MOST
    assert sum("(conflict two " in path for path in stored) == len(two.conflicts()) == 3
    assert await one.files("Notes") == stored == await two.files("Notes")


# ---------------------------------------------------------------------------------------- while it is merged


async def slowly(world: World, doing: Callable[[Device], Awaitable[None]]) -> tuple[Device, Device]:
    """Both edit; while the second fetches what to merge with, *doing* is done on it."""
    one, two = await with_text(world, "one", "two")
    two.offline = True
    await two.write("Notes/a.txt", END)
    await edit_apart(world, {one: TOP})
    await world.go_on(10)
    two.offline = False
    gets = two.calls["get"]
    two.hosts.faults.latency = 1.0
    while two.calls["get"] == gets:
        await world.go_on(0.25)
    await doing(two)
    two.hosts.faults.latency = 0.0
    await world.go_on(90)
    return one, two


@pytest.mark.parametrize("save", [Device.write, Device.save], ids=["in place", "by rename"])
@simulated
async def test_an_edit_meanwhile_is_merged_too(
    world: World, save: Callable[[Device, str, bytes], Awaitable[None]]
) -> None:
    async def edit(two: Device) -> None:
        await save(two, "Notes/a.txt", END.replace(b"three", b"THREE"))

    one, two = await slowly(world, edit)
    await all_have(world, [one, two], {"a.txt": ALL})
    assert conflict_free([one, two])


@simulated
async def test_an_edit_meanwhile_that_meets_theirs_keeps_both(world: World) -> None:
    other = END.replace(b"one", b"1")

    async def edit(two: Device) -> None:
        await two.write("Notes/a.txt", other)

    one, two = await slowly(world, edit)
    await kept_both(world, [one, two], two, other, TOP)


@simulated
async def test_a_program_that_opens_it_meanwhile_keeps_its_file(world: World) -> None:
    opened: list[int] = []

    async def begin(two: Device) -> None:
        opened.append(await two.open_file("Notes/a.txt", os.O_RDWR))

    one, two = await slowly(world, begin)
    await two.vfs.files.write(opened[0], 0, b"1NE")
    two.close_file(opened[0])
    await world.go_on(60)
    await kept_both(world, [one, two], two, END.replace(b"one", b"1NE"), TOP)


@simulated
async def test_a_file_removed_or_renamed_meanwhile_stays_so(world: World) -> None:
    async def rename(two: Device) -> None:
        await two.rename("Notes/a.txt", "Notes/b.txt")

    one, two = await slowly(world, rename)
    await all_have(world, [one, two], {"a.txt": TOP, "b.txt": END})


# ---------------------------------------------------------------------------------------- kills


@simulated
async def test_a_kill_at_any_moment_loses_nothing(world: World) -> None:
    """Images of the device at each step of a merge and its push, each opened as the next mount would be."""
    images: list[Device] = []

    async def take_images(two: Device) -> None:
        two.hosts.faults.latency = two.server.faults.latency = 0.5
        for number in range(24):
            await world.go_on(0.25)
            images.append(two.image(f"after the kill {number}"))
        await two.stop(clean=False)

    one, _ = await slowly(world, take_images)
    contents = [await image.read("Notes/a.txt") for image in images]
    assert set(contents) == {END, BOTH}, "before and after"
    assert contents == sorted(contents, key=lambda content: content == BOTH)
    for image in images:  # each goes on from where it was, as if it were the one that was mounted again
        assert os.listdir(image.root / "staging") == []
        image.start()
        await world.go_on(60)
        assert await one.files("Notes") == await image.files("Notes") == world.stored("Notes") == {"a.txt": BOTH}
        assert conflict_free([one, image])
        assert image.sync.pending() == 0
        await image.stop()


@simulated
async def test_a_rename_that_fails_for_now_is_done_later(world: World, caplog: pytest.LogCaptureFixture) -> None:
    one, two = await with_text(world, "one", "two")
    two.offline = True
    await two.write("Notes/a.txt", END)
    await edit_apart(world, {one: TOP})
    two.store.files = Immovable(two.root)
    two.offline = False
    while two.base("Notes") != world.announced("Notes").stamp:
        await world.go_on(0.1)
    await two.stop(clean=False)
    assert "could not be moved" in caplog.text
    caplog.clear()
    two.open()
    assert await two.read("Notes/a.txt") == BOTH
    two.start()
    await world.go_on(60)
    await all_have(world, [one, two], {"a.txt": BOTH})


class Immovable(Workdir):
    """A client root in which nothing can be renamed for now."""

    def move(self, source: str, target: str) -> None:
        raise PermissionError(13, "not now")
