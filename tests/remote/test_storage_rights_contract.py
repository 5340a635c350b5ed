"""What users may do with stored files on a self-hosted server: one suite for the twin's rights and the real ones."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from oaiofs import errors
from oaiofs.core.model import Outgoing, Right
from oaiofs.remote.contract import OaioServer, StorageHost
from tests.remote.worlds import Account, World, next_stamp, next_version, outgoing, read_all, source_of

OLD, NEWEST, FRESH = "old", "newest", "fresh"


async def put(host: StorageHost, path: str, content: bytes = b"content") -> None:
    await host.put(path, source_of(content), len(content), 10**18)


async def get(host: StorageHost, path: str) -> bytes:
    async with host.get(path) as chunks:
        return await read_all(chunks)


@dataclass
class Person:
    account: Account
    server: OaioServer
    host: StorageHost


async def person(world: World) -> Person:
    account = world.add_user()
    return Person(account, world.session(account), await world.storage_of(account))


@dataclass
class Stored:
    """An object with files in an old, the newest and a never announced version."""

    oaio_id: str
    stamps: dict[str, str]
    newest: Outgoing

    def folder(self, version: str) -> str:
        return f"{self.oaio_id}/{self.stamps[version]}"


async def made_by(owner: Person) -> Stored:
    first = outgoing({"_name": "n"}, "a", "b")
    second = next_version(first, {"_name": "n", "x": 2}, "a", "b")
    stored = Stored(first.oaio_id, {OLD: first.stamp, NEWEST: second.stamp, FRESH: next_stamp()}, second)
    for version, path in itertools.product((OLD, NEWEST, FRESH), ("a", "b")):
        await put(owner.host, f"{stored.folder(version)}/{path}")
    await owner.server.register(first)
    await owner.server.upload(second)
    return stored


async def outcome(doing: Awaitable[object]) -> str:
    try:
        await doing
    except errors.Forbidden:
        return "forbidden"
    except errors.RemoteNotFound:
        return "not found"
    return "done"


@dataclass
class Tries:
    """What somebody tries with one version of an object; *own* is a folder of theirs that has a file f."""

    host: StorageHost
    folder: str
    own: str

    async def read(self) -> None:
        assert set(await self.host.list_tree(self.folder)) >= {"a"}
        assert await self.host.list_folders(self.folder) == ()
        assert await get(self.host, f"{self.folder}/a") == b"content"
        await self.host.copy(self.folder, f"{self.own}/{next_stamp()}")

    async def add(self) -> None:
        await put(self.host, f"{self.folder}/new")

    async def change(self) -> None:
        await put(self.host, f"{self.folder}/b", b"changed")

    async def copy_over(self) -> None:
        await self.host.copy(f"{self.own}/f", f"{self.folder}/deep/copied")

    async def remove_file(self) -> None:
        await self.host.remove(f"{self.folder}/b")

    async def remove_version(self) -> None:
        await self.host.remove(self.folder)

    async def remove_object(self) -> None:
        await self.host.remove(self.folder.partition("/")[0])


ATTEMPTS: tuple[Callable[[Tries], Awaitable[None]], ...] = (
    Tries.read, Tries.add, Tries.change, Tries.copy_over, Tries.remove_file, Tries.remove_version, Tries.remove_object,
)  # fmt: skip
#: + done, - forbidden, by attempt; of removals by who sees nothing: . as if done.
REGISTERED = {
    (OLD, "C"): "+----++", (NEWEST, "C"): "+----++", (FRESH, "C"): "+++++++",
    (OLD, "D"): "+----++", (NEWEST, "D"): "+----++", (FRESH, "D"): "+++++++",
    (OLD, "U"): "+------", (NEWEST, "U"): "+------", (FRESH, "U"): "++++++-",
    (OLD, "r"): "+------", (NEWEST, "r"): "+------", (FRESH, "r"): "+------",
    (OLD, "x"): "0000...", (NEWEST, "x"): "0000...", (FRESH, "x"): "0000...",
}  # fmt: skip
DELETED = {**REGISTERED, (FRESH, "U"): "+------"}
MEANING = {"+": "done", "-": "forbidden", "0": "not found", ".": "done"}


@pytest.mark.parametrize("deleted", [False, True], ids=["registered", "deleted"])
@pytest.mark.parametrize("right", "CDUrx")
@pytest.mark.parametrize("version", [OLD, NEWEST, FRESH])
async def test_every_right(world: World, version: str, right: str, deleted: bool) -> None:
    owner, friend = await person(world), await person(world)
    stored = await made_by(owner)
    if right != "x":
        await owner.server.subscribe(stored.newest.oaio_id, friend.account.name, Right(right))
    if deleted:
        await owner.server.delete(stored.newest.oaio_id)
    own = outgoing().oaio_id
    await put(friend.host, f"{own}/f")
    tries = Tries(friend.host, stored.folder(version), own)
    found = [await outcome(attempt(tries)) for attempt in ATTEMPTS]
    letters = (DELETED if deleted else REGISTERED)[version, right]
    assert found == [MEANING[letter] for letter in letters]
    if letters.count("+") <= 1:
        assert await get(owner.host, f"{stored.folder(version)}/b") == b"content"
        assert set(await owner.host.list_tree(stored.folder(version))) == {"a", "b"}


async def test_what_is_not_registered_is_its_makers(world: World) -> None:
    maker, other = await person(world), await person(world)
    new = outgoing({"_name": "n"}, "f")
    folder = f"{new.oaio_id}/{new.stamp}"
    await put(maker.host, f"{folder}/f")
    own = outgoing().oaio_id
    await put(other.host, f"{own}/f")
    tries = Tries(other.host, folder, own)
    assert [await outcome(attempt(tries)) for attempt in ATTEMPTS] == ["not found"] * 4 + ["done"] * 3
    with pytest.raises(errors.RemoteExists):
        await other.server.register(new)
    await put(maker.host, f"{folder}/f", b"again")
    await maker.host.remove(f"{folder}/f")
    await put(maker.host, f"{folder}/f")
    await maker.server.register(new)
    assert await get(maker.host, f"{folder}/f") == b"content"


async def test_the_root_folder_lists_the_users_own(world: World) -> None:
    owner, friend = await person(world), await person(world)
    stored, private = await made_by(owner), await made_by(owner)
    await owner.server.subscribe(stored.newest.oaio_id, friend.account.name, Right.READ)
    started = outgoing().oaio_id
    await put(friend.host, f"{started}/f")
    assert set(await friend.host.list_folders("")) == {stored.oaio_id, started}
    assert {path.partition("/")[0] for path in await friend.host.list_tree("")} == {stored.oaio_id, started}
    assert set(await owner.host.list_folders("")) == {stored.oaio_id, private.oaio_id}


async def test_who_announced_the_newest_version_may_store_it_again(world: World) -> None:
    owner, friend = await person(world), await person(world)
    stored = await made_by(owner)
    await owner.server.subscribe(stored.newest.oaio_id, friend.account.name, Right.UPDATE)
    place = f"{stored.folder(NEWEST)}/a"
    await owner.host.remove(place)
    await put(owner.host, place, b"again")
    assert await outcome(friend.host.remove(place)) == "forbidden"
    own = next_version(stored.newest, {"_name": "n", "x": 3}, "a")
    await friend.host.copy(stored.folder(NEWEST), f"{stored.oaio_id}/{own.stamp}")
    await friend.server.upload(own)
    assert await outcome(put(friend.host, f"{stored.oaio_id}/{own.stamp}/a")) == "done"
    assert await outcome(friend.host.remove(f"{stored.oaio_id}/{own.stamp}")) == "forbidden"
    assert await outcome(put(owner.host, place)) == "forbidden"


async def test_who_registers_what_was_deleted_has_the_files(world: World) -> None:
    owner, friend, reader = await person(world), await person(world), await person(world)
    stored = await made_by(owner)
    for one, right in ((friend, Right.DELETE), (reader, Right.READ)):
        await owner.server.subscribe(stored.newest.oaio_id, one.account.name, right)
    await owner.server.delete(stored.newest.oaio_id)
    again = replace(stored.newest, stamp=next_stamp(), base="")
    await put(friend.host, f"{stored.oaio_id}/{again.stamp}/a")
    assert await get(reader.host, f"{stored.folder(OLD)}/a") == b"content"
    await friend.server.register(again)
    assert await outcome(get(reader.host, f"{stored.folder(OLD)}/a")) == "not found"
    assert await outcome(put(friend.host, f"{stored.folder(OLD)}/a")) == "forbidden"


async def test_who_leaves_may_fetch_what_there_was(world: World) -> None:
    owner, friend = await person(world), await person(world)
    stored = await made_by(owner)
    oaio_id, me = stored.newest.oaio_id, friend.account.name
    await owner.server.subscribe(oaio_id, me, Right.DELETE)
    await friend.server.subscribe(oaio_id, me, Right.NONE)
    newer = next_version(stored.newest, {"_name": "n", "x": 3}, "a", stamp=stored.stamps[FRESH])
    await owner.server.upload(newer)
    own = outgoing().oaio_id
    await put(friend.host, f"{own}/f")
    outcomes = {}
    for version in (NEWEST, FRESH):
        tries = Tries(friend.host, stored.folder(version), own)
        outcomes[version] = [await outcome(attempt(tries)) for attempt in ATTEMPTS[:4]]
    assert outcomes == {NEWEST: ["done"] + ["forbidden"] * 3, FRESH: ["not found"] * 4}
    assert await outcome(friend.host.list_folders(oaio_id)) == "not found"
    assert oaio_id not in await friend.host.list_folders("")
    await owner.server.subscribe(oaio_id, me, Right.NONE)
    assert await outcome(get(friend.host, f"{stored.folder(NEWEST)}/a")) == "not found"


async def test_what_a_wiped_user_made_stays_for_its_users(world: World) -> None:
    owner, friend, reader = await person(world), await person(world), await person(world)
    stored = await made_by(owner)
    for one, right in ((friend, Right.DELETE), (reader, Right.READ)):
        await owner.server.subscribe(stored.newest.oaio_id, one.account.name, right)
    await world.session(world.add_user(superuser=True)).wipe_user(owner.account.name)
    assert await get(reader.host, f"{stored.folder(OLD)}/a") == b"content"
    assert await outcome(reader.host.remove(stored.oaio_id)) == "forbidden"
    assert await outcome(put(friend.host, f"{stored.folder(OLD)}/a")) == "forbidden"
    await friend.host.remove(stored.oaio_id)
    assert await outcome(get(reader.host, f"{stored.folder(OLD)}/a")) == "not found"
