"""What every ``OaioServer`` must do: one suite for the twin and for HTTP against the real self-hosted server."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from oaiofs import errors
from oaiofs.core import stamps
from oaiofs.core.model import OaioId, Right
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


async def test_newer_dialect_keeps_its_keys_through_a_server(world: World) -> None:
    server = world.session(world.add_user())
    new = outgoing({"_name": "n", "k": 1}, "f", dialect="newer-keys")
    await server.register(new)
    (listed,) = (await server.list_objects()).objects
    assert (listed.dialect, listed.values, listed.file_paths) == ("newer-keys", {"_name": "n", "k": 1}, ("f",))


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
