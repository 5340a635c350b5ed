"""What every ``OaioServer`` must do: one suite for the twin and for HTTP against the real self-hosted server."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
import trio.testing

from oaiofs import errors
from oaiofs.core import stamps
from oaiofs.core.model import Listing, OaioId, Right
from oaiofs.remote.contract import OaioServer
from tests.remote.worlds import Account, World, ids, next_version, outgoing


async def test_login_is_checked(world: World) -> None:
    alice = world.add_user()
    await world.session(alice).login()
    with pytest.raises(errors.Unauthorized) as caught:
        await world.session(Account(alice.name, "a wrong one")).login()
    assert "a wrong one" not in str(caught.value)


async def test_each_call_logs_in_by_itself(world: World) -> None:
    assert (await world.session(world.add_user()).list_objects()).objects == ()
    with pytest.raises(errors.Unauthorized):
        await world.session(Account(world.add_user().name, "wrong")).list_objects()


async def test_current_stamp(world: World) -> None:
    stamp = await world.session(world.add_user()).current_stamp()
    assert stamps.parse(stamp) == stamp


async def test_registered_object_comes_back_as_it_was(world: World) -> None:
    server = world.session(world.add_user())
    values = {
        "_name": "Größe",
        "_root_path": "{doc}/x",
        "numbers": [0, -1, 2**62, 1.5, 10**30],
        "nested": {"a": [None, True, {"ü": "\u2028"}]},
        "": "empty key",
    }
    new = outgoing(values, "a.txt", "Bilder/b ü.jpg")
    registered = await server.register(new)
    assert (registered.oaio_id, registered.stamp, registered.right) == (new.oaio_id, new.stamp, Right.CREATE)
    listing = await server.list_objects()
    assert listing.skipped == ()
    (listed,) = listing.objects
    assert listed == registered
    assert listed.values == values
    assert list(listed.values) == list(values)
    assert listed.file_paths == ("a.txt", "Bilder/b ü.jpg")
    assert listed.csh_id == "Digi"
    assert listed.device_id == "device"


@pytest.mark.parametrize("dialect", ["newer-keys", "newer-keys-root-path"])
async def test_newer_dialect_keeps_its_keys_through_a_server(world: World, dialect: str) -> None:
    server = world.session(world.add_user())
    values = {"_name": "n", "_root_path": "{doc}/x", "k": 1}
    new = outgoing(values, "f", dialect=dialect)
    await server.register(new)
    await server.upload(next_version(new, {**values, "k": 2}, "f", "g"))
    (listed,) = (await server.list_objects()).objects
    assert (listed.dialect, listed.values, listed.file_paths) == (dialect, {**values, "k": 2}, ("f", "g"))


async def test_register_twice_is_refused_or_repeated(world: World) -> None:
    server = world.session(world.add_user())
    new = outgoing()
    await server.register(new)
    assert (await server.register(new)).stamp == new.stamp
    with pytest.raises(errors.RemoteExists):
        await server.register(replace(new, values={"other": 1}))
    with pytest.raises(errors.RemoteExists):
        await world.session(world.add_user()).register(replace(new, values={"other": 1}))


async def test_upload_makes_a_new_version(world: World) -> None:
    server = world.session(world.add_user())
    first = outgoing({"x": 1}, "f")
    await server.register(first)
    second = next_version(first, {"x": 2}, "f", "g")
    uploaded = await server.upload(second)
    assert (uploaded.stamp, uploaded.values, uploaded.file_paths) == (second.stamp, {"x": 2}, ("f", "g"))
    assert (await server.list_objects()).objects == (uploaded,)
    assert uploaded.lineage == (first.stamp,), "each version tells what it was made from"


async def test_a_version_made_from_two_has_the_lineage_of_both(world: World) -> None:
    server = world.session(world.add_user())
    first = outgoing({"x": 1})
    await server.register(first)
    second = next_version(first, {"x": 2})
    overwritten = next_version(second, {"x": 3})
    blind = next_version(first, {"y": 1})
    for version in (second, overwritten, replace(blind, base="")):
        await server.upload(version)
    merged = next_version(blind, {"x": 3, "y": 1}, merged=overwritten.stamp)
    stamps = (blind.stamp, overwritten.stamp, second.stamp, first.stamp)
    assert (await server.upload(merged)).lineage == stamps


async def test_an_unchanged_listing_is_the_same_again(world: World) -> None:
    server = world.session(world.add_user())
    await server.register(outgoing())
    assert await server.list_objects() == await server.list_objects()
    await server.register(outgoing())
    assert len((await server.list_objects()).objects) == 2


async def test_upload_from_an_old_base_is_a_conflict(world: World) -> None:
    server = world.session(world.add_user())
    first = outgoing({"x": 1})
    await server.register(first)
    await server.upload(next_version(first, {"x": 2}))
    with pytest.raises(errors.Conflict):
        await server.upload(next_version(first, {"x": 3}))
    (listed,) = (await server.list_objects()).objects
    assert listed.values == {"x": 2}


async def test_upload_again_after_a_lost_answer_succeeds(world: World) -> None:
    server = world.session(world.add_user())
    first = outgoing({"x": 1})
    await server.register(first)
    second = next_version(first, {"x": 2})
    await server.upload(second)
    assert (await server.upload(second)).stamp == second.stamp


async def test_the_server_tells_that_it_checks_bases(world: World) -> None:
    server = world.session(world.add_user())
    for _ in range(2):
        await server.list_objects()
        assert server.checks_base


async def test_upload_of_an_unknown_object(world: World) -> None:
    with pytest.raises(errors.RemoteNotFound):
        await world.session(world.add_user()).upload(next_version(outgoing(), {}))


async def test_delete_is_for_all_and_may_be_repeated(world: World) -> None:
    alice, bob = world.add_user(), world.add_user()
    mine, others = world.session(alice), world.session(bob)
    new = outgoing()
    await mine.register(new)
    await mine.subscribe(new.oaio_id, bob.name, Right.READ)
    await mine.delete(new.oaio_id)
    await mine.delete(new.oaio_id)
    assert (await mine.list_objects()).objects == ()
    assert (await others.list_objects()).objects == ()
    await mine.delete(OaioId("there never was one"))


async def test_a_deletion_of_another_version_is_refused(world: World) -> None:
    server = world.session(world.add_user())
    first = outgoing()
    second = next_version(first, {"_name": "second"})
    await server.register(first)
    await server.upload(second)
    with pytest.raises(errors.Conflict):
        await server.delete(first.oaio_id, first.stamp)
    assert [one.stamp for one in (await server.list_objects()).objects] == [second.stamp]
    await server.delete(first.oaio_id, second.stamp)
    await server.delete(first.oaio_id, second.stamp)
    assert (await server.list_objects()).objects == ()


@pytest.mark.parametrize("right", [Right.READ, Right.UPDATE, Right.DELETE, Right.CREATE])
async def test_rights_are_kept(world: World, right: Right) -> None:
    alice, bob = world.add_user(), world.add_user()
    mine, others = world.session(alice), world.session(bob)
    new = outgoing({"x": 1})
    await mine.register(new)
    await mine.subscribe(new.oaio_id, bob.name, right)
    (listed,) = (await others.list_objects()).objects
    assert listed.right is right
    second = next_version(new, {"x": 2})
    if right.may_update:
        assert (await others.upload(second)).right is right
    else:
        with pytest.raises(errors.Forbidden):
            await others.upload(second)
    if not right.may_share:
        with pytest.raises(errors.Forbidden):
            await others.subscribe(new.oaio_id, bob.name, Right.CREATE)
    if right.may_delete:
        await others.delete(new.oaio_id)
    else:
        with pytest.raises(errors.Forbidden):
            await others.delete(new.oaio_id)
    assert len((await mine.list_objects()).objects) == (0 if right.may_delete else 1)


async def test_subscriptions_end(world: World) -> None:
    alice, bob = world.add_user(), world.add_user()
    mine, others = world.session(alice), world.session(bob)
    new = outgoing()
    await mine.register(new)
    await mine.subscribe(new.oaio_id, bob.name, Right.UPDATE)
    await others.subscribe(new.oaio_id, bob.name, Right.NONE)
    assert (await others.list_objects()).objects == ()
    with pytest.raises(errors.RemoteNotFound):
        await others.upload(next_version(new, {}))
    with pytest.raises(errors.Forbidden):
        await mine.subscribe(new.oaio_id, alice.name, Right.NONE)
    with pytest.raises(errors.RemoteNotFound):
        await mine.subscribe(new.oaio_id, "nobody of that name", Right.READ)


async def test_a_subscription_keeps_its_primary_key_until_it_ends(world: World) -> None:
    alice, bob, carol = world.add_user(), world.add_user(), world.add_user()
    mine = world.session(alice)
    new = outgoing()
    await mine.register(new)
    key = await mine.subscribe(new.oaio_id, bob.name, Right.READ)
    assert key > 0
    assert await mine.subscribe(new.oaio_id, carol.name, Right.READ) not in (0, key)
    assert await mine.subscribe(new.oaio_id, bob.name, Right.UPDATE) == key
    assert await mine.subscribe(new.oaio_id, bob.name, Right.NONE) == key
    assert await mine.subscribe(new.oaio_id, bob.name, Right.NONE) == 0


async def test_subscribers_are_all_users(world: World) -> None:
    alice, bob, carol = world.add_user(), world.add_user(), world.add_user()
    mine = world.session(alice)
    new = outgoing()
    await mine.register(new)
    await mine.subscribe(new.oaio_id, bob.name, Right.READ)
    rights = await mine.subscribers(new.oaio_id)
    assert (rights[alice.name], rights[bob.name], rights[carol.name]) == (Right.CREATE, Right.READ, Right.NONE)
    assert set((await mine.subscribers(OaioId("unknown"))).values()) == {Right.NONE}
    assert set((await world.session(carol).subscribers(new.oaio_id)).values()) == {Right.NONE}


async def test_storage_account(world: World) -> None:
    server = world.session(world.add_user())
    account = await server.storage_account("Digi")
    assert {"root_folder", "email", "password"} <= account.arguments.keys()
    assert account.csh_id == "Digi"
    assert "email" not in repr(account)
    with pytest.raises(errors.RemoteNotFound):
        await server.storage_account("Nowhere")


async def test_superusers_act_for_others_and_make_and_wipe_users(world: World) -> None:
    root, alice = world.add_user(superuser=True), world.add_user()
    acting = world.session(root, acting_for=alice.name)
    new = outgoing()
    await acting.register(new)
    assert ids((await world.session(alice).list_objects()).objects) == [new.oaio_id]
    await acting.subscribe(new.oaio_id, f"made for {alice.name}", Right.READ)
    assert (await acting.subscribers(new.oaio_id))[f"made for {alice.name}"] is Right.READ
    await world.session(root).wipe_user(alice.name)
    assert alice.name not in await world.session(root).subscribers(new.oaio_id)
    with pytest.raises(errors.RemoteNotFound):
        await world.session(root).wipe_user(alice.name)


async def test_only_superusers_may_do_that(world: World) -> None:
    alice, bob = world.add_user(), world.add_user()
    with pytest.raises(errors.Forbidden):
        await world.session(alice, acting_for=bob.name).list_objects()
    with pytest.raises(errors.Forbidden):
        await world.session(alice).wipe_user(bob.name)


async def test_concurrent_calls_share_a_session(world: World) -> None:
    server = world.session(world.add_user())
    new = [outgoing() for _ in range(8)]
    async with trio.open_nursery() as nursery:
        for each in new:
            nursery.start_soon(server.register, each)
    assert sorted(ids((await server.list_objects()).objects)) == sorted(each.oaio_id for each in new)


async def test_a_cancelled_call_leaves_the_session_usable(world: World) -> None:
    server = world.session(world.add_user())
    with trio.CancelScope() as scope:
        scope.cancel()
        await server.list_objects()
    assert scope.cancelled_caught
    assert (await server.list_objects()).objects == ()


async def test_closing_never_fails(world: World) -> None:
    server = world.session(world.add_user())
    await server.login()
    await server.aclose()
    await server.aclose()


# ---------------------------------------------------------------------------------------- listings that are held


async def test_the_server_tells_for_how_long_it_holds(world: World) -> None:
    server = world.session(world.add_user())
    assert server.longest_hold == 0.0, "until it has told"
    await server.list_objects()
    assert server.longest_hold > 30


async def test_a_change_in_another_session_ends_a_hold(world: World) -> None:
    alice = world.add_user()
    here, there = world.session(alice), world.session(alice)
    first = outgoing({"x": 1})
    await there.register(first)
    seen = await here.list_objects()
    for change in ("upload", "share", "delete"):
        news: list[Listing] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hold, here, seen, news)
            await trio.testing.wait_all_tasks_blocked(0.05)
            if change == "upload":
                await there.upload(next_version(first, {"x": 2}))
            elif change == "share":
                await world.session(world.add_user(superuser=True), acting_for=alice.name).register(outgoing({"y": 1}))
            else:
                await there.delete(first.oaio_id)
        assert news[0] != seen
        assert news[0] == await there.list_objects()
        seen = news[0]


async def _hold(server: OaioServer, seen: Listing, news: list[Listing]) -> None:
    news.append(await server.next_listing(seen, 50))


async def test_getting_and_losing_a_share_ends_a_hold(world: World) -> None:
    alice, bob = world.add_user(), world.add_user()
    mine, others = world.session(alice), world.session(bob)
    new = outgoing()
    await mine.register(new)
    seen = await others.list_objects()
    for right, count in ((Right.READ, 1), (Right.UPDATE, 1), (Right.NONE, 0)):
        news: list[Listing] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hold, others, seen, news)
            await trio.testing.wait_all_tasks_blocked(0.05)
            await mine.subscribe(new.oaio_id, bob.name, right)
        seen = news[0]
        assert [one.right for one in seen.objects] == [right] * count


async def test_a_hold_without_news_brings_the_same_listing_when_its_time_is_over(world: World) -> None:
    alice, bob = world.add_user(), world.add_user()
    server = world.session(alice)
    await server.register(outgoing())
    seen = await server.list_objects()
    others = world.session(bob)
    await others.list_objects()
    lasted: list[float] = []
    async with trio.open_nursery() as nursery:

        async def hold() -> None:
            begun = trio.current_time()
            assert await server.next_listing(seen, 2) is seen
            lasted.append(trio.current_time() - begun)

        nursery.start_soon(hold)
        await others.register(outgoing())
    assert lasted[0] >= 2, "what others have is nothing new"


async def test_what_the_caller_has_not_seen_is_not_waited_for(world: World) -> None:
    """Another part of the program has asked for the list meanwhile: what it got is news to this one."""
    alice = world.add_user()
    here, there = world.session(alice), world.session(alice)
    seen = await here.list_objects()
    await there.register(outgoing())
    newer = await here.list_objects()
    assert await here.next_listing(seen, 50) == newer
    assert newer != seen


async def test_a_hold_is_given_up_when_it_is_cancelled(world: World) -> None:
    alice = world.add_user()
    here, there = world.session(alice), world.session(alice)
    seen = await here.list_objects()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(here.next_listing, seen, 50)
            await trio.testing.wait_all_tasks_blocked(0.05)
            scope.cancel()
    assert scope.cancelled_caught
    await there.register(outgoing())
    assert len((await here.next_listing(seen, 50)).objects) == 1


async def test_other_calls_go_on_while_one_is_held(world: World) -> None:
    server = world.session(world.add_user())
    new = outgoing()
    seen = await server.list_objects()
    news: list[Listing] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_hold, server, seen, news)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await server.current_stamp()
        await server.register(new)
    assert ids(news[0].objects) == [new.oaio_id]


async def test_announced_versions_are_told_to_subscribers_newest_first(world: World) -> None:
    alice, bob = world.add_user(), world.add_user()
    owner, friend = world.session(alice), world.session(bob)
    first = outgoing({"_name": "n", "x": [1, 10**30]}, "a.txt")
    await owner.register(first)
    second = next_version(first, {"_name": "n", "y": "ü"}, "a.txt", "b/c.txt")
    listed = await owner.upload(second)
    told = await owner.announced_versions(first.oaio_id)
    assert told[0] == listed
    assert [(one.stamp, dict(one.values), one.file_paths) for one in told] == [
        (second.stamp, {"_name": "n", "y": "ü"}, ("a.txt", "b/c.txt")),
        (first.stamp, {"_name": "n", "x": [1, 10**30]}, ("a.txt",)),
    ]
    assert {(one.username, one.device_id, one.csh_id) for one in told} == {(alice.name, "device", "Digi")}
    with pytest.raises(errors.RemoteNotFound):
        await friend.announced_versions(first.oaio_id)
    await owner.subscribe(first.oaio_id, bob.name, Right.READ)
    assert [(one.stamp, one.right) for one in await friend.announced_versions(first.oaio_id)] == [
        (second.stamp, Right.READ), (first.stamp, Right.READ),
    ]  # fmt: skip
    await owner.subscribe(first.oaio_id, bob.name, Right.NONE)
    with pytest.raises(errors.RemoteNotFound):
        await friend.announced_versions(first.oaio_id)
    with pytest.raises(errors.RemoteNotFound):
        await owner.announced_versions(OaioId("never registered"))


async def test_an_id_that_was_deleted_and_is_registered_anew_begins_anew(world: World) -> None:
    alice, bob, reader = world.add_user(), world.add_user(), world.add_user()
    secret = outgoing({"_name": "n", "secret": 1})
    await world.session(alice).register(secret)
    await world.session(alice).subscribe(secret.oaio_id, bob.name, Right.DELETE)
    await world.session(alice).subscribe(secret.oaio_id, reader.name, Right.UPDATE)
    await world.session(alice).delete(secret.oaio_id)
    with pytest.raises(errors.RemoteNotFound):
        await world.session(alice).announced_versions(secret.oaio_id)
    again = next_version(secret, {"_name": "n"}, base="")
    for other in (reader, world.add_user()):
        with pytest.raises(errors.RemoteExists):
            await world.session(other).register(again)
    await world.session(bob).register(again)
    assert [one.stamp for one in await world.session(bob).announced_versions(secret.oaio_id)] == [again.stamp]
