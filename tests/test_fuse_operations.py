"""What the kernel's requests are answered with, where that takes more than handing on."""

from __future__ import annotations

from typing import Any

import pyfuse3
import pytest

from oaiofs import transfer, vfs
from oaiofs.cache.store import ROOT_INO
from oaiofs.fuse import Operations
from tests.devicekit import Device, World, simulated
from tests.sync.oldversions import stamps, two_versions

CALLER = pyfuse3.RequestContext()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(name, inode) of all that listings told the kernel, as much as it would take at once."""
    told: list[tuple[str, int]] = []

    def reply(_token: object, name: bytes, entry: pyfuse3.EntryAttributes, _next: int) -> bool:
        told.append((name.decode(), entry.st_ino))
        return True

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    return told


async def listed(operations: Operations, handle: Any) -> None:
    await operations.readdir(handle, 0, pyfuse3.ReaddirToken())
    await operations.releasedir(handle)


async def with_files(world: World) -> Device:
    one = await world.syncing("one")
    one.mkdir("Notes")
    one.mkdir("Notes/d")
    for name in ("a", "b", "c", "d/e"):
        await one.write(f"Notes/{name}", name.encode())
    return one


@simulated
async def test_a_listing_tells_of_no_name_that_is_gone_by_now(world: World, told: list[tuple[str, int]]) -> None:
    one = await with_files(world)
    folder, kept = one.ino("Notes"), one.ino("Notes/d")
    operations = Operations(one.vfs)
    handle = await operations.opendir(pyfuse3.InodeT(folder), CALLER)
    await one.rename("Notes/a", "Notes/g")
    await one.rename("Notes/c", "Notes/d/c")
    one.unlink("Notes/b")
    await one.write("Notes/b", b"another b")
    await listed(operations, handle)
    assert told == [("b", one.ino("Notes/b")), ("d", kept), ("values.json", one.ino("Notes/values.json"))]


@simulated
async def test_a_listing_of_the_mount_tells_of_no_object_by_its_old_name(
    world: World, told: list[tuple[str, int]]
) -> None:
    one = await with_files(world)
    one.mkdir("Other")
    operations = Operations(one.vfs)
    handle = await operations.opendir(pyfuse3.InodeT(ROOT_INO), CALLER)
    await one.rename("Notes", "Diary")
    await listed(operations, handle)
    assert told == [("Other", one.ino("Other"))]


@simulated
async def test_a_version_too_large_to_be_kept_is_listed_with_one_look_at_it(
    world: World, told: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer.history, "_MOST_FILES", 1)
    monkeypatch.setattr(vfs.history, "_MOST_KEPT", 1)
    _, two = await two_versions(world)
    operations, tree = Operations(two.vfs), two.vfs.history
    top = two.vfs.lookup(two.ino("Notes"), ".versions").ino
    version = await tree.lookup(top, stamps(world)[0])
    two.forget_calls()
    handle = await operations.opendir(pyfuse3.InodeT(version.ino), CALLER)
    assert two.calls["list_tree"] == 1
    await listed(operations, handle)
    assert two.calls["list_tree"] == 1
    assert told == [(name, (await tree.lookup(version.ino, name)).ino) for name in ("a.txt", "d", "values.json")]
    told.clear()
    await listed(operations, await operations.opendir(pyfuse3.InodeT(top), CALLER))
    assert told == [(stamp, (await tree.lookup(top, stamp)).ino) for stamp in stamps(world)]
