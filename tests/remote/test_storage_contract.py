"""What every ``StorageHost`` must do: one suite for the twin and for Koofr's interface on the real self-hosted host.

Both as they are, and counted and limited on the way.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import pytest
import trio

from oaiofs import errors
from oaiofs.core.model import FileFact
from oaiofs.remote.contract import StorageHost
from tests.remote.worlds import Metered, World, read_all, source_of

MTIME_NS = 1_700_000_000_123_456_789
MTIME_MS_NS = 1_700_000_000_123_000_000


@pytest.fixture(params=["plain", "metered"], name="world")
async def plain_or_metered(request: pytest.FixtureRequest, world: World) -> AsyncIterator[World]:
    if request.param == "plain":
        yield world
        return
    made = Metered(world)
    yield made
    await made.aclose()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


async def put(host: StorageHost, path: str, content: bytes, mtime_ns: int = MTIME_NS) -> FileFact:
    return await host.put(path, source_of(content), len(content), mtime_ns)


async def get(host: StorageHost, path: str, start: int = 0, length: int | None = None) -> bytes:
    async with host.get(path, start, length) as chunks:
        return await read_all(chunks)


@pytest.mark.parametrize("content", [b"", b"x", b"hello\0world" * 10, bytes(range(256)) * 3000])
async def test_what_is_put_comes_back(world: World, content: bytes) -> None:
    host = await world.storage()
    fact = await put(host, "id/stamp/file", content)
    assert fact == FileFact(len(content), md5(content), MTIME_MS_NS)
    assert await get(host, "id/stamp/file") == content
    assert await host.list_tree("id/stamp") == {"file": fact}


@pytest.mark.parametrize(
    "path",
    [
        "oaiofs⫻jörg﹫device⁄n⁄20260101000000000001/2026/a",
        "i/s/Größe (1) & 100% #? +=;,'\"[]{}.txt",
        "i/s/ leading and trailing ",
        "i/s/%2e%2e%2f",
        "i/s/a/b/c/d/e/f/g",
        "i/s/.hidden",
        "i/s/日本語",
        "i/s/ü",
    ],
)
async def test_names(world: World, path: str) -> None:
    host = await world.storage()
    await put(host, path, b"content")
    assert await get(host, path) == b"content"
    top, _, rest = path.partition("/")
    assert list(await host.list_tree(top)) == [rest]
    await host.copy(path, "copy/of it")
    await host.remove(path)
    assert await get(host, "copy/of it") == b"content"
    with pytest.raises(errors.RemoteNotFound):
        await get(host, path)


@pytest.mark.parametrize("path", ["", "/", "..", "a/../b", "/a", "a/", "a//b", "a/.", "a\\b", "a\0b", "a\nb", "\ud800"])
async def test_paths_outside_of_the_root_are_refused(world: World, path: str) -> None:
    host = await world.storage()
    await put(host, "keep", b"1")
    with pytest.raises(errors.InvalidName):
        await put(host, path, b"")
    with pytest.raises(errors.InvalidName):
        await get(host, path)
    with pytest.raises(errors.InvalidName):
        await host.remove(path)
    with pytest.raises(errors.InvalidName):
        await host.copy(path, "x")
    with pytest.raises(errors.InvalidName):
        await host.copy("keep", path)
    assert list(await host.list_tree("")) == ["keep"]


async def test_put_replaces(world: World) -> None:
    host = await world.storage()
    await put(host, "a/f", b"old and long", 1_000_000_000)
    fact = await put(host, "a/f", b"new", 2_000_000_000)
    assert fact == FileFact(3, md5(b"new"), 2_000_000_000)
    assert await get(host, "a/f") == b"new"
    assert await host.list_tree("a") == {"f": fact}


@pytest.mark.parametrize("size", [5, 7])
async def test_put_of_a_file_that_changes_meanwhile(world: World, size: int) -> None:
    host = await world.storage()
    await put(host, "a/f", b"old")
    with pytest.raises(errors.Corrupt):
        await host.put("a/f", source_of(b"123456"), size, MTIME_NS)
    assert await get(host, "a/f") == b"old"


async def test_put_whose_source_fails(world: World) -> None:
    host = await world.storage()

    async def failing() -> AsyncIterator[bytes]:
        yield b"12"
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="fire"):
        await host.put("a/f", failing, 6, MTIME_NS)
    with pytest.raises(errors.RemoteNotFound):
        await get(host, "a/f")
    await put(host, "a/f", b"123456")


async def test_put_in_place_of_a_folder(world: World) -> None:
    host = await world.storage()
    await put(host, "a/b/f", b"1")
    with pytest.raises(errors.RemoteError):
        await put(host, "a/b", b"2")
    with pytest.raises(errors.RemoteError):
        await put(host, "a/b/f/g", b"3")
    assert await get(host, "a/b/f") == b"1"


@pytest.mark.parametrize(
    ("start", "length"), [(0, None), (0, 1), (0, 10), (0, 99), (3, None), (3, 4), (9, 1), (10, None), (10, 5), (4, 0)]
)
async def test_get_of_a_part(world: World, start: int, length: int | None) -> None:
    host = await world.storage()
    content = b"0123456789"
    await put(host, "f", content)
    expected = content[start:] if length is None else content[start : start + length]
    assert await get(host, "f", start, length) == expected


@pytest.mark.parametrize(("start", "length", "told"), [(0, None, 10), (3, None, 7), (3, 4, 4), (8, 9, 2), (4, 0, 0)])
async def test_get_tells_how_much_comes(world: World, start: int, length: int | None, told: int) -> None:
    host = await world.storage()
    await put(host, "f", b"0123456789")
    async with host.get("f", start, length) as chunks:
        assert chunks.length == told
        assert len(await read_all(chunks)) == told
        assert chunks.length == told, "of all, not of the rest"


async def test_get_of_parts_that_are_not_there(world: World) -> None:
    host = await world.storage()
    await put(host, "f", b"123")
    await put(host, "empty", b"")
    with pytest.raises(errors.Corrupt):
        await get(host, "f", 4)
    assert await get(host, "empty", 0, 5) == b""
    with pytest.raises(errors.RemoteNotFound):
        await get(host, "missing", 0, 0)
    with pytest.raises(errors.RemoteNotFound):
        await get(host, "missing/too")


async def test_get_may_be_left_half_read(world: World) -> None:
    host = await world.storage()
    content = bytes(3_000_000)
    await put(host, "f", content)
    for _ in range(6):
        async with host.get("f") as chunks:
            assert await anext(chunks)
    assert await get(host, "f") == content


async def test_one_task_may_read_many_files_at_once_up_to_the_limit(world: World) -> None:
    host = await world.storage()
    await put(host, "f", b"1" * 100_000)
    async with host.get("f") as first, host.get("f") as second:
        assert await anext(first)
        assert await anext(second)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(get, host, "f")


async def test_list_tree(world: World) -> None:
    host = await world.storage()
    with pytest.raises(errors.RemoteNotFound):
        await host.list_tree("i/s")
    for path in ("i/s/a", "i/s/b/c", "i/s/b/d/e", "i/t/a", "i2/s/a"):
        await put(host, path, path.encode())
    listed = await host.list_tree("i/s")
    assert {path: fact.size for path, fact in listed.items()} == {"a": 5, "b/c": 7, "b/d/e": 9}
    assert set(await host.list_tree("i")) == {"s/a", "s/b/c", "s/b/d/e", "t/a"}
    with pytest.raises(errors.RemoteNotFound):
        await host.list_tree("i/s/a")


async def test_the_root_folder_is_made_with_the_first_file(world: World) -> None:
    host = await world.storage()
    with pytest.raises(errors.RemoteNotFound):
        await host.list_tree("")
    await host.remove("nothing")
    await put(host, "f", b"1")
    assert list(await host.list_tree("")) == ["f"]


async def test_list_tree_of_an_empty_folder(world: World) -> None:
    host = await world.storage()
    await put(host, "i/s/a", b"1")
    await host.remove("i/s/a")
    assert await host.list_tree("i/s") == {}


async def test_copy_of_a_file(world: World) -> None:
    host = await world.storage()
    fact = await put(host, "a/f", b"1234")
    await host.copy("a/f", "new/folder/g")
    assert await host.list_tree("new") == {"folder/g": fact}
    await host.copy("a/f", "h", 5_000_000_000)
    assert (await host.list_tree(""))["h"] == FileFact(4, md5(b"1234"), 5_000_000_000)


async def test_copy_of_a_folder(world: World) -> None:
    host = await world.storage()
    for path in ("i/1/a", "i/1/b/c", "i/1/b/d/e"):
        await put(host, path, path.encode())
    await host.copy("i/1", "i/2")
    assert await host.list_tree("i/2") == await host.list_tree("i/1")
    await put(host, "i/2/a", b"changed")
    await host.remove("i/2/b/c")
    assert await get(host, "i/1/a") == b"i/1/a"
    assert await get(host, "i/1/b/c") == b"i/1/b/c"


async def test_copy_never_overwrites(world: World) -> None:
    host = await world.storage()
    await put(host, "a/f", b"1")
    await put(host, "b/f", b"1")
    with pytest.raises(errors.RemoteExists):
        await host.copy("a/f", "b/f")
    with pytest.raises(errors.RemoteExists):
        await host.copy("a", "b")
    with pytest.raises(errors.RemoteNotFound):
        await host.copy("missing", "c/d")
    with pytest.raises(errors.RemoteNotFound):
        await host.copy("missing", "b")
    with pytest.raises(errors.RemoteError):
        await host.copy("a", "a/b")
    assert await get(host, "b/f") == b"1"


async def test_remove(world: World) -> None:
    host = await world.storage()
    for path in ("a/f", "a/b/g", "ab/h"):
        await put(host, path, b"1")
    await host.remove("a")
    await host.remove("a")
    assert set(await host.list_tree("")) == {"ab/h"}
    await put(host, "a/f", b"2")
    assert await get(host, "a/f") == b"2"


async def test_many_puts_at_once_into_one_new_folder(world: World) -> None:
    host = await world.storage()
    async with trio.open_nursery() as nursery:
        for number in range(12):
            nursery.start_soon(put, host, f"new/deep/{number % 3}/{number}", bytes([number]) * 70_000 * (number % 2))
    assert len(await host.list_tree("new")) == 12


async def test_quota(world: World) -> None:
    host = await world.storage()
    quota = await host.quota()
    assert quota.used >= 0
    assert quota.total == 0 or quota.total >= quota.used


async def test_a_cancelled_call_leaves_the_host_usable(world: World) -> None:
    host = await world.storage()
    await put(host, "f", b"1")

    async def cancelling() -> AsyncIterator[bytes]:
        yield b"1"
        scope.cancel()
        await trio.lowlevel.checkpoint()
        yield b"2"

    with trio.CancelScope() as scope:
        await host.put("f", cancelling, 2, MTIME_NS)
    assert scope.cancelled_caught
    assert await get(host, "f") == b"1"
    await put(host, "f", b"3")


async def test_folders_are_listed_by_name_alone(world: World) -> None:
    host = await world.storage()
    for path in ("id/20260101000000000001/a/b", "id/20260101000000000002/c", "id/Größe (1)/d", "id/file", "idx/e/f"):
        await put(host, path, b"1")
    assert await host.list_folders("id") == ("20260101000000000001", "20260101000000000002", "Größe (1)")
    assert await host.list_folders("id/20260101000000000001") == ("a",)
    assert await host.list_folders("id/20260101000000000002") == ()
    assert await host.list_folders("") == ("id", "idx")
    for missing in ("missing", "id/missing"):
        with pytest.raises(errors.RemoteNotFound):
            await host.list_folders(missing)
    with pytest.raises(errors.InvalidName):
        await host.list_folders("id/../idx")
