"""Devices with limits: what goes when they are full, what never does, and that all of it comes back."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import trio

from oaiofs import errors
from oaiofs.cache import copies, evict
from oaiofs.cache.records import Node
from oaiofs.cache.room import Room
from oaiofs.cache.store import Store
from oaiofs.core.eviction import NO_LIMITS, Hold, Limits
from tests.devicekit import Device, World, simulated

BLOCK = 4096


def data(name: str) -> bytes:
    """A file of one block."""
    return name.encode().ljust(BLOCK, b".")


async def device_with(world: World, *names: str) -> Device:
    """One device with the object Notes and files of a block each, on the servers, used in this order."""
    one = await world.syncing("one")
    one.mkdir("Notes")
    for name in names:
        await one.write(f"Notes/{name}", data(name))
        await world.go_on(1)
    await world.during(partial(one.sync.finish, 300.0))
    return one


def limit(device: Device, **limits: int) -> None:
    device.eviction.limits = Limits(**limits)
    device.eviction.ring()


def here(device: Device, name: str = "Notes") -> set[str]:
    """Which attached files are on the device."""
    head = device.store.by_name[name]
    on_disk = {path for path in device.paths(name) if (device.root / "objects" / head.folder / path).exists()}
    rows = {path for path, node in device.store.attached(head.key).items() if node.local}
    assert rows == on_disk
    return on_disk


def on_the_disk(device: Device) -> int:
    """How many files of a block each are in working copies."""
    return sum(path.stat().st_size == BLOCK for path in (device.root / "objects").glob("*/*"))


@simulated
async def test_the_oldest_go_and_come_back_when_opened(world: World) -> None:
    one = await device_with(world, "a", "b", "c", "d")
    inos = {name: one.ino(f"Notes/{name}") for name in "abcd"}
    limit(one, kept=2 * BLOCK)
    await world.go_on(5)
    assert here(one) == {"c", "d"}
    assert await one.read("Notes/a") == data("a")
    await world.go_on(5)
    assert here(one) == {"a", "d"}, "never more than the limit for long, and what was used last stays"
    assert {name: one.ino(f"Notes/{name}") for name in "abcd"} == inos
    assert await one.files("Notes") == {name: data(name) for name in "abcd"}
    await world.settle()
    assert world.versions("Notes") == 1, "nothing of it is a change"


@simulated
async def test_what_was_used_since_the_last_look_goes_last(world: World) -> None:
    """A new file, whose row says nothing of its use yet, went first."""
    one = await device_with(world, "a", "b", "c")
    await one.eviction.tend()
    await one.write("Notes/new", data("new"))
    await world.go_on(1)
    assert await one.read("Notes/a") == data("a")
    await world.during(partial(one.sync.finish, 300.0))
    inos = {one.ino(f"Notes/{name}"): name for name in ("a", "b", "c", "new")}
    order = [inos[ino] for some in copies.least_recently_used(one.store) for ino in some if ino in inos]
    assert order == ["b", "c", "new", "a"]


@simulated
async def test_without_limits_everything_stays(world: World) -> None:
    one = await device_with(world, "a", "b")
    await world.go_on(3600)
    assert here(one) == {"a", "b"}


@simulated
async def test_what_is_not_sent_stays_whatever_the_limit(world: World) -> None:
    one = await device_with(world, "a", "b")
    one.offline = True
    await one.write("Notes/new", data("new"))
    await one.write("Notes/a", data("edited"))
    limit(one, kept=1)
    await world.go_on(60)
    assert here(one) == {"new", "a"}
    one.offline = False
    await world.settle()
    await world.go_on(600)
    assert here(one) == set()
    assert world.stored("Notes") == {"a": data("edited"), "b": data("b"), "new": data("new")}
    assert await one.read("Notes/new") == data("new")


@simulated
async def test_an_open_file_stays_and_goes_once_it_is_closed(world: World) -> None:
    one = await device_with(world, "a", "b")
    handle = await one.open_file("Notes/a", os.O_RDONLY)
    limit(one, kept=1)
    await world.go_on(60)
    assert here(one) == {"a"}
    assert await one.vfs.files.read(handle, 0, BLOCK) == data("a")
    one.eviction.ring()
    await world.go_on(2)  # it has just looked, and would not again for half a minute
    one.close_file(handle)
    await world.go_on(2)
    assert here(one) == set()


@simulated
async def test_who_waits_for_a_file_gets_it_even_if_there_is_no_room_for_it(world: World) -> None:
    """Several wait for one download, and eviction comes at the worst moments: before they go on, and at each close."""
    one = await device_with(world, "a")
    limit(one, kept=1)
    await world.go_on(5)
    one.limits = one.eviction.limits = NO_LIMITS
    one.hosts.faults.latency = 1.0
    found: list[bytes] = []
    kept: list[Hold] = []
    ino = one.ino("Notes/a")

    def at_once() -> None:
        why = evict.look(one.store, ino)
        if isinstance(why, Hold):
            kept.append(why)
            return
        place = evict.evict(one.store, why)
        assert place is not None
        evict.remove(one.store, [place])

    async def read() -> None:
        found.append(await one.read("Notes/a"))

    async def all_of_them() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(read)

    one.store.stirred = at_once
    await world.during(all_of_them)
    assert found == [data("a")] * 5
    assert one.calls["get"] == 1
    assert kept[0] is Hold.OPEN
    assert here(one) == set()


@simulated
async def test_a_truncated_placeholder_is_not_evicted_in_between(world: World) -> None:
    one = await device_with(world, "a")
    limit(one, kept=1)
    await world.go_on(5)
    await one.vfs.truncate(one.ino("Notes/a"), 2, None)
    await world.settle()
    assert world.stored("Notes") == {"a": data("a")[:2]}


@simulated
async def test_offline_what_was_evicted_is_refused_at_once(world: World) -> None:
    one = await device_with(world, "a", "b")
    limit(one, kept=BLOCK)
    await world.go_on(5)
    one.offline = True
    await world.go_on(14)
    with pytest.raises(errors.Unreachable, match="a is not on this machine yet"):
        await one.read("Notes/a")
    assert await one.read("Notes/b") == data("b")


@simulated
async def test_a_new_version_of_an_evicted_file(world: World) -> None:
    one = await device_with(world, "a", "b")
    two = await world.syncing("two")
    limit(one, kept=1)
    await world.go_on(5)
    await two.write("Notes/a", data("theirs"))
    await world.settle()
    assert await one.files("Notes") == {"a": data("theirs"), "b": data("b")}
    assert world.versions("Notes") == 2


@simulated
async def test_a_push_goes_on_beside_eviction(world: World) -> None:
    """The files of an object that is being sent are left alone, though they are clean."""
    one = await device_with(world, *"abcdef")
    one.hosts.faults.latency = 1.0
    await one.write("Notes/g", data("g"))
    while not one.sync.busy:
        await world.go_on(0.1)
    limit(one, kept=1)
    await world.go_on(0.5)
    assert one.sync.busy
    assert here(one) == set("abcdefg")
    await world.settle()
    one.hosts.faults.latency = 0.0
    await world.settle()
    await world.go_on(60)
    assert world.stored("Notes") == {name: data(name) for name in "abcdefg"}
    assert here(one) == set()


@simulated
async def test_the_disk_has_to_have_room_left(world: World) -> None:
    one = await device_with(world, "a", "b", "c")
    free = [100 * BLOCK]
    one.store.state.room.free = lambda: free[0] - BLOCK * on_the_disk(one)  # type: ignore[method-assign]
    limit(one, free=97 * BLOCK)
    await world.go_on(60)
    assert here(one) == {"a", "b", "c"}
    free[0] -= 2 * BLOCK  # somebody else's doing: nobody rings
    await world.go_on(60)
    assert here(one) == {"c"}
    free[0] = 10 * BLOCK
    await world.go_on(60)
    assert here(one) == set()


@simulated
async def test_a_download_that_does_not_fit_gets_room(world: World) -> None:
    """Without any limit, too: a clean copy is worth less than an open that fails."""
    one = await device_with(world, "a", "b", "c")
    await one.ask("evict", paths=[["Notes/a", None]])
    one.store.state.room.free = lambda: (3 - on_the_disk(one)) * BLOCK - 1  # type: ignore[method-assign]
    assert await one.read("Notes/a") == data("a")
    assert here(one) == {"a", "c"}


@simulated
async def test_a_download_that_can_not_fit_is_refused(world: World) -> None:
    one = await device_with(world, "a", "b")
    await one.ask("evict", paths=[["Notes/a", None]])
    await one.ask("pin", paths=[["Notes/b", None]])
    one.store.state.room.free = lambda: 10  # type: ignore[method-assign]
    with pytest.raises(errors.NoSpace, match="does not fit"):
        await one.read("Notes/a")
    assert here(one) == {"b"}


@simulated
async def test_what_the_storage_lost_is_not_evicted(world: World) -> None:
    """Once a download found that the version's folder is damaged, the other files of it stay."""
    one = await device_with(world, "a", "b", "c")
    await one.ask("evict", paths=[["Notes/a", None]])
    remote = world.announced("Notes")
    for name in "abc":
        del world.storage.files[f"{remote.oaio_id}/{remote.stamp}/{name}"]
    with pytest.raises(errors.RemoteError, match="no longer has"):
        await one.read("Notes/a")
    limit(one, kept=1)
    await world.go_on(60)
    assert here(one) == {"b", "c"}


@simulated
async def test_rows_are_on_the_disk_before_bytes_go(world: World) -> None:
    """A power cut may forget commits: so what says that a copy is agreed is synced first, and then looked at again."""
    one = await device_with(world, "a", "b")
    happened: list[str] = []
    ino = one.ino("Notes/a")
    sync, take = one.store.state.sync_to_disk, evict.evict

    def synced() -> None:
        sync()
        happened.append("sync")
        if len(happened) == 1:
            trio.from_thread.run_sync(one.store.uses.opened, ino)

    def taken(store: Store, node: Node) -> str | None:
        happened.append(node.name)
        return take(store, node)

    one.store.state.sync_to_disk = synced  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evict, "evict", taken)
        answer = await one.ask("evict", paths=[["Notes", None]])
    assert happened == ["sync", "b"]
    assert answer["kept"] == {"open in a program": 1}
    one.store.uses.closed(ino)


@simulated
async def test_a_thousand_files_go_in_slices(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await device_with(world, *(f"{number:03}" for number in range(350)))
    limit(one, kept=100 * BLOCK)
    in_one_go: list[int] = []
    remove = evict.remove

    def counted(store: object, places: list[str]) -> None:
        in_one_go.append(len(places))
        remove(one.store, places)

    monkeypatch.setattr(evict, "remove", counted)
    await world.go_on(60)
    assert len(here(one)) == 100
    assert here(one) == {f"{number:03}" for number in range(250, 350)}
    assert max(in_one_go) <= 100
    assert sum(in_one_go) == 250


@simulated
async def test_restarted_in_the_middle(world: World) -> None:
    one = await device_with(world, *"abcdef")
    limit(one, kept=3 * BLOCK)
    await world.go_on(5)
    await one.restart(clean=False)
    assert here(one) == {"d", "e", "f"}
    limit(one, kept=2 * BLOCK)
    await world.go_on(60)
    assert len(here(one)) == 2
    assert await one.files("Notes") == {name: data(name) for name in "abcdef"}


@simulated
async def test_what_is_left_out_of_one_listing_stays(world: World) -> None:
    """An object that the server lists no more, with edits here, is kept whole: nobody else may have it."""
    one = await device_with(world, "a", "b")
    two = await world.syncing("two")
    one.offline = True
    await one.write("Notes/a", data("edited"))
    await two.remove_object("Notes")
    await world.during(partial(two.sync.finish, 300.0, confirmed=True))
    one.offline = False
    await world.during(partial(one.sync.watch.now))
    await world.settle()
    limit(one, kept=1)
    await world.go_on(60)
    assert here(one) == {"a", "b"}


# -- evict, as the user says -------------------------------------------------------------------------------------------


@simulated
async def test_evicting_by_name_tells_what_stays_and_why(world: World) -> None:
    one = await device_with(world, "a", "b", "c")
    one.mkdir("Notes/d")
    await one.write("Notes/d/e", data("e"))
    await world.during(partial(one.sync.finish, 300.0))
    await one.ask("pin", paths=[["Notes/b", None]])
    await one.ask("evict", paths=[["Notes/c", None]])
    one.offline = True
    await one.write("Notes/new", data("new"))
    answer = await one.ask("evict", paths=[["Notes", None], ["Notes/a", None]])
    assert answer == {
        "files": 2, "bytes": 2 * BLOCK, "away": 1,
        "kept": {"changed here, and not sent yet": 1, "pinned": 1},
    }  # fmt: skip
    assert here(one) == {"b", "new"}


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        ([["Notes/d", None]], {"d/b"}), ([["Notes/d/", None]], {"d/b"}), ([["x", ""]], {"a", "d/b"}),
        ([["/m/Notes/a", "Notes/a"]], {"a"}), ([["Notes", "Notes"]], {"a", "d/b"}),
    ],
)  # fmt: skip
@simulated
async def test_what_a_path_means(world: World, words: list[list[str]], gone: set[str]) -> None:
    one = await device_with(world, "a")
    one.mkdir("Notes/d")
    await one.write("Notes/d/b", data("b"))
    await world.during(partial(one.sync.finish, 300.0))
    await one.ask("evict", paths=words)
    assert here(one) == {"a", "d/b"} - gone


@simulated
async def test_an_object_by_its_id_and_a_word_that_means_nothing(world: World) -> None:
    one = await device_with(world, "a")
    with pytest.raises(errors.NotFound, match="Nowhere is no object"):
        await one.ask("evict", paths=[[one.id("Notes"), None], ["Nowhere", None]])
    assert here(one) == {"a"}, "nothing is done before every word is known"
    await one.ask("evict", paths=[[one.id("Notes"), None]])
    assert here(one) == set()
    for wrong in (None, [], ["Notes"], "Notes"):
        with pytest.raises(errors.UsageError):
            await one.ask("evict", paths=wrong)


@simulated
async def test_status_tells_bytes(world: World) -> None:
    one = await device_with(world, "a", "b", "c")
    await one.ask("pin", paths=[["Notes/a", None]])
    await one.ask("evict", paths=[["Notes", None]])
    whole = one.status.whole()
    [notes] = whole["objects"]
    for told in (whole, notes):
        assert (told["total_bytes"], told["local_bytes"], told["pinned_bytes"]) == (3 * BLOCK, BLOCK, BLOCK)
    assert (whole["cache_size"], whole["cache_free"]) == (0, 0)
    assert one.state("Notes") == "synced"
    await one.ask("unpin", paths=[["Notes", None]])
    await one.ask("evict", paths=[["Notes", None]])
    assert one.state("Notes") == "online-only"


#: What other programs may write or remove between two looks at a disk.
SLACK = 1 << 28


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def test_free_is_of_the_disk_with_the_client_root(tmp_path: Path) -> None:
    before, free, after = (_free(tmp_path), Room(tmp_path).free(), _free(tmp_path))
    assert min(before, after) - SLACK < free < max(before, after) + SLACK
    assert copies.on_disk(1) == copies.on_disk(4096) == 4096
    assert copies.on_disk(0) == 0
