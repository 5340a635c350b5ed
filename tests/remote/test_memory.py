"""The twins' own: faults as data, foreign servers' ways, hostile answers, and that all of it repeats."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio

from oaiofs import errors
from oaiofs.core.model import Right
from oaiofs.remote.faults import ANY
from oaiofs.remote.memory import Cloud, Faults, MemoryStorage, StorageTree
from tests.remote.worlds import ids, next_version, outgoing, read_all, source_of


@pytest.fixture
def cloud() -> Cloud:
    made = Cloud()
    made.add_user("alice", "right")
    made.add_storage("Digi")
    return made


async def put(host: MemoryStorage, path: str, content: bytes = b"0123456789") -> None:
    await host.put(path, source_of(content), len(content), 0)


async def test_offline(cloud: Cloud) -> None:
    faults = Faults(offline=True)
    alice, host = cloud.session("alice", faults=faults), cloud.storage(faults=faults)
    with pytest.raises(errors.Unreachable):
        await alice.list_objects()
    with pytest.raises(errors.Unreachable):
        await host.quota()
    faults.offline = False
    await alice.list_objects()
    assert faults.calls == {"list_objects": 2, "quota": 1}


async def test_faults_are_one_sessions_own(cloud: Cloud) -> None:
    cloud.session("alice", faults=Faults(offline=True))
    await cloud.session("alice").list_objects()


async def test_latency_is_slept(cloud: Cloud, autojump_clock: trio.testing.MockClock) -> None:
    await cloud.session("alice", faults=Faults(latency=5.0)).list_objects()
    assert trio.current_time() == 5.0


async def test_the_next_calls_fail(cloud: Cloud) -> None:
    alice = cloud.session("alice")
    new = outgoing()
    alice.faults.fail("register", errors.ServerFault("it fails"), times=2)
    alice.faults.fail(ANY, errors.RateLimited("wait", 3))
    with pytest.raises(errors.ServerFault):
        await alice.register(new)
    with pytest.raises(errors.ServerFault):
        await alice.register(new)
    with pytest.raises(errors.RateLimited):
        await alice.register(new)
    assert cloud.objects == {}
    await alice.register(new)


async def test_a_lost_answer_takes_effect(cloud: Cloud) -> None:
    alice, host = cloud.session("alice"), cloud.storage()
    alice.faults.drop_answer("register")
    new = outgoing()
    with pytest.raises(errors.Unreachable):
        await alice.register(new)
    assert ids((await alice.list_objects()).objects) == [new.oaio_id]
    host.faults.drop_answer("put")
    with pytest.raises(errors.Unreachable):
        await put(host, "d/f")
    assert set(await host.list_tree("d")) == {"f"}


async def test_listings_may_lie(cloud: Cloud) -> None:
    alice, host = cloud.session("alice"), cloud.storage()
    for number in range(4):
        await alice.register(outgoing({"x": number}))
        await put(host, f"d/{number}")
    for faults in (alice.faults, host.faults):
        faults.listing = "partial"
    assert len((await alice.list_objects()).objects) == 2
    assert set(await host.list_tree("d")) == {"0", "2"}
    for faults in (alice.faults, host.faults):
        faults.listing = "empty"
    assert (await alice.list_objects()).objects == ()
    assert await host.list_tree("d") == {}


async def test_hostile_elements_of_a_listing_are_skipped(cloud: Cloud) -> None:
    alice = cloud.session("alice")
    await alice.register(outgoing())
    cloud.planted = [None, {"oaio_id": "../x"}]
    listing = await alice.list_objects()
    assert (len(listing.objects), len(listing.skipped)) == (1, 2)


@pytest.mark.parametrize(("seconds", "fine"), [(69, True), (-69, True), (70, False), (-70, False)])
async def test_clocks_that_differ(cloud: Cloud, seconds: int, fine: bool) -> None:
    alice = cloud.session("alice", faults=Faults(clock_skew=timedelta(seconds=seconds)))
    if fine:
        await alice.current_stamp()
    else:
        with pytest.raises(errors.ClockSkew):
            await alice.current_stamp()


async def test_servers_in_the_field_take_the_last_writer() -> None:
    cloud = Cloud(checks_base=False)
    cloud.add_user("alice")
    alice = cloud.session("alice")
    first = outgoing({"x": 1})
    await alice.register(first)
    await alice.upload(next_version(first, {"x": 2}))
    await alice.upload(next_version(first, {"x": 3}))
    (listed,) = (await alice.list_objects()).objects
    assert listed.values == {"x": 3}
    assert [entry.action for entry in cloud.log] == ["register", "upload", "upload"]


async def test_what_is_stored_is_a_copy(cloud: Cloud) -> None:
    alice = cloud.session("alice")
    values = {"x": [1]}
    await alice.register(outgoing(values))
    values["x"].append(2)
    (listed,) = (await alice.list_objects()).objects
    listed.values["x"].append(3)
    assert (await alice.list_objects()).objects[0].values == {"x": [1]}


async def test_wiping_a_user_ends_all_that_was_theirs(cloud: Cloud) -> None:
    cloud.add_user("root", superuser=True)
    cloud.add_user("bob")
    alice, bob = cloud.session("alice"), cloud.session("bob")
    mine, theirs = outgoing(), outgoing()
    await alice.register(mine)
    await bob.register(theirs)
    await bob.subscribe(theirs.oaio_id, "alice", Right.READ)
    await cloud.session("root").wipe_user("alice")
    assert ids((await bob.list_objects()).objects) == [theirs.oaio_id]
    assert await bob.subscribers(theirs.oaio_id) == {"root": Right.NONE, "bob": Right.CREATE}
    with pytest.raises(errors.Unauthorized):
        await alice.list_objects()


@pytest.mark.parametrize("cut", [0, 3, 9])
async def test_cut_contents(cloud: Cloud, cut: int) -> None:
    host = cloud.storage()
    await put(host, "f")
    host.faults.cut_after = cut
    received = bytearray()

    async def read() -> None:
        async with host.get("f") as chunks:
            async for chunk in chunks:
                received.extend(chunk)

    with pytest.raises(errors.Corrupt):
        await read()
    assert received == b"0123456789"[:cut]


async def test_flipped_contents(cloud: Cloud) -> None:
    host = cloud.storage()
    await put(host, "f")
    host.faults.flipped = True
    async with host.get("f") as chunks:
        assert await read_all(chunks) == b"\xcf123456789"


async def test_hashes_that_are_missing_or_wrong(cloud: Cloud) -> None:
    host = cloud.storage()
    await put(host, "f")
    host.faults.hashes = "none"
    assert (await host.list_tree(""))["f"].md5 == ""
    await put(host, "f")
    host.faults.hashes = "wrong"
    assert (await host.list_tree(""))["f"].md5 == "0" * 32
    with pytest.raises(errors.Corrupt):
        await put(host, "f")


async def test_a_full_storage(cloud: Cloud) -> None:
    cloud.storages["Digi"].total = 25
    host = cloud.storage()
    await put(host, "a")
    await put(host, "b")
    await put(host, "b")
    with pytest.raises(errors.StorageFull):
        await put(host, "c")
    with pytest.raises(errors.StorageFull):
        await host.copy("a", "c")
    quota = await host.quota()
    assert (quota.total, quota.used) == (25, 20)


async def test_two_root_folders_of_one_account_are_apart() -> None:
    tree = StorageTree()
    one, other = MemoryStorage(tree, "one"), MemoryStorage(tree, "/other/")
    await put(one, "f")
    with pytest.raises(errors.RemoteNotFound):
        await other.list_tree("")
    assert set(tree.files) == {"one/f"}


async def test_the_same_again_is_the_same() -> None:
    async def history() -> object:
        cloud = Cloud()
        cloud.add_user("alice")
        alice = cloud.session("alice")
        return [await alice.current_stamp() for _ in range(3)]

    assert await history() == await history()
